"""RRULEs against python-dateutil, which evaluates them in another way: it walks from DTSTART, we jump."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from time import process_time

import pytest
from dateutil.rrule import rruleset, rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from legato.core.errors import ScheduleError
from legato.core.schedules import CronSchedule, RRuleSchedule, fires_between, next_fires
from legato.core.schedules.rule_texts import read_recurrence

STARTS = st.datetimes(datetime(2020, 1, 1), datetime(2024, 12, 31)).map(lambda start: start.replace(microsecond=0))


def quickest_s(work: Callable[[], object]) -> float:
    """Processor seconds of the best of three: a garbage collection of the test process is none of ours."""

    def once() -> float:
        read_recurrence.cache_clear()
        begin = process_time()
        work()
        return process_time() - begin

    return min(once() for _ in range(3))


def numbers(low: int, high: int, *, most: int = 3, negative: bool = False) -> st.SearchStrategy[str]:
    values = st.integers(low, high)
    either = st.one_of(values, values.map(lambda value: -value)) if negative else values
    return st.lists(either, min_size=1, max_size=most, unique=True).map(lambda found: ",".join(map(str, found)))


def weekdays(*, numbered: bool) -> st.SearchStrategy[str]:
    names = st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"])
    if numbered:
        names = st.tuples(st.sampled_from([1, 2, 3, 4, 5, -1, -2]), names).map(lambda pair: f"{pair[0]}{pair[1]}")
    return st.lists(names, min_size=1, max_size=4, unique=True).map(",".join)


@st.composite
def rules(draw: st.DrawFn) -> tuple[str, str]:
    """(frequency, rule), of the kinds that people write and that dateutil reads as RFC 5545 does."""
    frequency = draw(st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"]))
    longest = {"YEARLY": 3, "MONTHLY": 14, "WEEKLY": 9, "DAILY": 40, "HOURLY": 100, "MINUTELY": 5000, "SECONDLY": 100_000}
    parts = {"FREQ": frequency, "INTERVAL": str(draw(st.integers(1, longest[frequency])))}
    options = {
        "BYMONTH": numbers(1, 12),
        "BYMONTHDAY": numbers(1, 31, negative=True, most=6),
        "BYYEARDAY": numbers(1, 366, negative=True, most=9),
        "BYWEEKNO": numbers(1, 51, most=9),  # dateutil misplaces the last week's days in January: see the test with isocalendar
        "BYDAY": weekdays(numbered=frequency in {"YEARLY", "MONTHLY"} and draw(st.booleans())),
        "BYHOUR": numbers(0, 23),
        "BYMINUTE": numbers(0, 59),
        "BYSECOND": numbers(0, 59),
        "WKST": st.sampled_from(["MO", "SU", "TH"]),
    }
    if frequency in {"YEARLY", "MONTHLY", "DAILY"}:
        options["BYSETPOS"] = numbers(1, 4, negative=True)
    for key in draw(st.lists(st.sampled_from(sorted(options)), max_size=3, unique=True)):
        parts[key] = draw(options[key])
    return frequency, ";".join(f"{key}={value}" for key, value in parts.items())


@settings(deadline=None, derandomize=True, max_examples=1_000)
@given(rules(), STARTS, st.integers(0, 900))
def test_a_rule_fires_when_dateutil_says_so(rule: tuple[str, str], start: datetime, periods_later: int) -> None:
    frequency, text = rule
    day = {"HOURLY": timedelta(hours=1), "MINUTELY": timedelta(minutes=1), "SECONDLY": timedelta(seconds=1)}.get(
        frequency, timedelta(days=1)
    )
    after = start + periods_later * day
    lines = f"DTSTART:{start:%Y%m%dT%H%M%S}\nRRULE:{text}"
    try:
        found = next_fires(RRuleSchedule(rrule=lines), after.replace(tzinfo=UTC), 6)
    except ScheduleError:
        assume(False)

    expected = list(rrulestr(lines).xafter(after, count=len(found)))

    assert [fire.replace(tzinfo=None) for fire in found] == expected


@pytest.mark.parametrize("weeks", ["1", "2", "51", "52", "52,53"])
def test_week_numbers_are_those_of_the_calendar(weeks: str) -> None:
    since = date(2020, 12, 1)
    rule = RRuleSchedule(rrule=f"DTSTART:{since:%Y%m%d}T000000\nRRULE:FREQ=DAILY;BYWEEKNO={weeks}")
    days = [since + timedelta(days=n) for n in range(366 * 5)]

    expected = [day for day in days if str(day.isocalendar().week) in weeks.split(",")]

    assert [fire.date() for fire in next_fires(rule, datetime(2020, 11, 30, tzinfo=UTC), len(expected))] == expected


@settings(deadline=None, derandomize=True, max_examples=300)
@given(rules(), STARTS, st.integers(1, 60))
def test_a_counted_rule_ends_with_the_fire_dateutil_ends_with(rule: tuple[str, str], start: datetime, count: int) -> None:
    lines = f"DTSTART:{start:%Y%m%dT%H%M%S}\nRRULE:{rule[1]};COUNT={count}"
    try:
        found = next_fires(RRuleSchedule(rrule=lines), (start - timedelta(seconds=1)).replace(tzinfo=UTC), 100)
    except ScheduleError:
        assume(False)

    assert [fire.replace(tzinfo=None) for fire in found] == list(rrulestr(lines))


def test_dates_are_added_and_taken_away_as_dateutil_does() -> None:
    lines = (
        "DTSTART:20260101T080000\nRRULE:FREQ=DAILY;COUNT=10\nRRULE:FREQ=WEEKLY;BYDAY=SU;BYHOUR=9;UNTIL=20260201T090000\n"
        "RDATE:20260103T120000,20260105T080000\nEXDATE:20260102T080000\nEXDATE:20260104T090000"
    )
    expected = rrulestr(lines)
    assert isinstance(expected, rruleset)

    found = next_fires(RRuleSchedule(rrule=lines), datetime(2025, 12, 1, tzinfo=UTC), 100)

    assert [fire.replace(tzinfo=None) for fire in found] == list(expected)


def test_two_weekly_positions_are_counted_in_the_whole_week_even_the_first() -> None:
    # dateutil counts the first week from DTSTART on; RFC 5545 speaks of the set of the whole period
    lines = "DTSTART:20260108T080000\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"  # 8 January is a Thursday

    assert next_fires(RRuleSchedule(rrule=lines), datetime(2026, 1, 1, tzinfo=UTC), 2) == [
        datetime(2026, 1, 9, 8, tzinfo=UTC),
        datetime(2026, 1, 16, 8, tzinfo=UTC),
    ]


def test_plain_and_numbered_weekdays_in_one_rule_are_a_union() -> None:
    # dateutil asks for both at once and finds nothing before the year 9999
    lines = "DTSTART:20260101T080000\nRRULE:FREQ=MONTHLY;BYDAY=MO,1FR"

    assert [fire.day for fire in next_fires(RRuleSchedule(rrule=lines), datetime(2026, 1, 1, tzinfo=UTC), 5)] == [2, 5, 12, 19, 26]


def test_positions_from_the_end_are_counted_in_the_whole_period_even_the_one_that_until_cuts() -> None:
    schedule = RRuleSchedule(rrule="FREQ=YEARLY;BYDAY=MO;BYSETPOS=-2;UNTIL=20201221")

    assert next_fires(schedule, datetime(2020, 1, 1, tzinfo=UTC), 5) == [datetime(2020, 12, 21, tzinfo=UTC)]


def test_until_in_utc_is_an_instant_whatever_the_zone() -> None:
    schedule = RRuleSchedule(rrule="DTSTART:20260101T080000\nRRULE:FREQ=DAILY;UNTIL=20260103T130000Z", timezone="America/New_York")

    assert next_fires(schedule, datetime(2025, 1, 1, tzinfo=UTC), 10)[-1] == datetime(2026, 1, 3, 13, tzinfo=UTC)


def test_until_a_date_includes_the_day() -> None:
    schedule = RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=8;UNTIL=20260103", timezone="Europe/Rome")

    assert next_fires(schedule, datetime(2026, 1, 2, 12, tzinfo=UTC), 10) == [datetime(2026, 1, 3, 7, tzinfo=UTC)]


def test_a_start_in_utc_is_read_on_the_wall_of_the_zone() -> None:
    schedule = RRuleSchedule(rrule="DTSTART:20260101T130000Z\nRRULE:FREQ=DAILY", timezone="America/New_York")

    assert next_fires(schedule, datetime(2026, 7, 1, tzinfo=UTC), 1) == [datetime(2026, 7, 1, 12, tzinfo=UTC)]


def test_an_exdate_without_a_time_takes_the_day_away() -> None:
    schedule = RRuleSchedule(rrule="DTSTART:20260101T080000\nRRULE:FREQ=HOURLY\nEXDATE;VALUE=DATE:20260102")

    fires = fires_between(schedule, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC), 1_000)

    assert {fire.day for fire in fires} == {1, 3, 4}


def test_exact_exdates_take_away_one_of_two_equal_local_times() -> None:
    plain, exact = "EXDATE:20261101T010000", "EXDATE:20261101T060000Z"
    begin, end = datetime(2026, 11, 1, 4, 30, tzinfo=UTC), datetime(2026, 11, 1, 7, tzinfo=UTC)

    def hours(line: str) -> list[int]:
        schedule = RRuleSchedule(rrule=f"RRULE:FREQ=HOURLY\n{line}", timezone="America/New_York")
        return [fire.hour for fire in fires_between(schedule, begin, end, 10)]

    assert hours(plain) == [7]
    assert hours(exact) == [5, 7]


def test_a_rule_that_is_over_fires_no_more_and_is_no_error() -> None:
    schedule = RRuleSchedule(rrule="DTSTART:20260101T080000\nRRULE:FREQ=DAILY;COUNT=3")

    assert next_fires(schedule, datetime(2026, 1, 3, 7, tzinfo=UTC), 5) == [datetime(2026, 1, 3, 8, tzinfo=UTC)]
    assert next_fires(schedule, datetime(2026, 1, 3, 8, tzinfo=UTC), 5) == []


def test_a_rule_that_starts_in_twenty_years_fires_in_twenty_years() -> None:
    schedule = RRuleSchedule(rrule="DTSTART:20460101T080000\nRRULE:FREQ=YEARLY")

    assert next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 1) == [datetime(2046, 1, 1, 8, tzinfo=UTC)]


def test_a_second_rule_since_1970_is_as_quick_as_any() -> None:
    schedule = RRuleSchedule(rrule="DTSTART:19700101T000000\nRRULE:FREQ=SECONDLY;INTERVAL=7")

    fires = next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 10)

    assert quickest_s(lambda: next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 10)) < 0.05
    assert [(fire - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() % 7 for fire in fires] == [0] * 10


def test_rare_days_in_several_rules_are_a_union() -> None:
    schedule = RRuleSchedule(rrule="\n".join(f"RRULE:FREQ=DAILY;BYMONTH={month};BYMONTHDAY=4" for month in range(1, 9)))

    assert [fire.month for fire in next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 8)] == list(range(1, 9))


def test_folded_lines_and_small_letters_are_read() -> None:
    schedule = RRuleSchedule(rrule="dtstart:20260101t080000\r\nrrule:freq=daily;\r\n byhour=9\r\n")

    assert next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 1) == [datetime(2026, 1, 1, 9, tzinfo=UTC)]


IMPOSSIBLE = [
    "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=SECONDLY;INTERVAL=2;BYSECOND=1",
    "FREQ=MINUTELY;INTERVAL=1440;BYHOUR=3",
    "FREQ=HOURLY;INTERVAL=24;BYHOUR=5",
    "FREQ=YEARLY;INTERVAL=6",
    "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6",
    "FREQ=YEARLY;BYMONTH=1;BYDAY=53MO",
    "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=366",
    "FREQ=SECONDLY;INTERVAL=86399;BYHOUR=8;BYMINUTE=0;BYSECOND=0",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=13;BYDAY=FR",
    "FREQ=WEEKLY;BYDAY=MO;BYYEARDAY=366;BYMONTH=1",
    "FREQ=DAILY;UNTIL=20191231T000000",
]

COSTLY = [
    "DTSTART:20260101T000000\nRRULE:FREQ=SECONDLY;COUNT=999999999",
    "DTSTART:19000101T000000\nRRULE:FREQ=DAILY;COUNT=100000",
    "DTSTART:20260101T000000\nRRULE:FREQ=YEARLY;BYDAY=MO;COUNT=5000",
    "FREQ=SECONDLY;INTERVAL=7919;BYHOUR=0,2,4,6,8,10,12,14,16,18,20,22;BYMINUTE=59;BYSECOND=59;BYMONTHDAY=31",
]


@pytest.mark.parametrize("rrule", IMPOSSIBLE)
def test_an_impossible_rule_is_refused_within_50_ms(rrule: str) -> None:
    def refusal() -> None:
        with pytest.raises(ScheduleError):
            RRuleSchedule(rrule=rrule)

    assert quickest_s(refusal) < 0.05


ALL = ",".join(map(str, range(60)))


@pytest.mark.parametrize(
    "rrule",
    [
        *COSTLY,
        f"FREQ=YEARLY;BYHOUR={ALL[:60]};BYMINUTE={ALL};BYSECOND={ALL};BYSETPOS=-1",
        f"FREQ=SECONDLY;BYMINUTE={ALL};BYSECOND={ALL}",
        "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU",
        "FREQ=MINUTELY;INTERVAL=1439;BYHOUR=3;BYMINUTE=7",
        "FREQ=SECONDLY;INTERVAL=61;BYHOUR=8;BYDAY=MO",
        "FREQ=SECONDLY;BYHOUR=8;BYMINUTE=0;BYSECOND=0;BYMONTH=12;BYMONTHDAY=25",
        "FREQ=YEARLY;BYYEARDAY=-1;BYWEEKNO=1,52,53",
        *(f"DTSTART:20200101T000000\nRRULE:FREQ={frequency};COUNT=2400" for frequency in ("DAILY", "HOURLY", "MINUTELY", "SECONDLY")),
        "\n".join(["RRULE:FREQ=DAILY;BYWEEKNO=15;BYDAY=MO"] * 150),
        "\n".join(["RRULE:FREQ=DAILY;BYWEEKNO=15;BYDAY=MO"] * 8),
        "\n".join(f"RRULE:FREQ=SECONDLY;INTERVAL={7 + number}" for number in range(8)),
        "\n".join(f"RRULE:FREQ=DAILY;BYHOUR={hour % 24}" for hour in range(200)),
        "RRULE:FREQ=DAILY\nEXDATE:" + ",".join(f"2026{month:02}{day:02}T000000" for month in range(1, 13) for day in range(1, 29)),
    ],
)
def test_whatever_is_asked_the_answer_or_the_refusal_comes_within_50_ms(rrule: str) -> None:
    def read() -> RRuleSchedule | None:
        try:
            return RRuleSchedule(rrule=rrule)
        except ScheduleError:
            return None

    assert quickest_s(read) < 0.05
    schedule = read()
    if schedule is not None:
        assert quickest_s(lambda: next_fires(schedule, datetime(2026, 5, 17, 11, 11, tzinfo=UTC), 1)) < 0.05


@pytest.mark.parametrize(
    ("rrule", "says", "and_then"),
    [
        ("FREQ=DAYLY", "FREQ=DAYLY is not known", "FREQ=DAILY"),
        ("BYHOUR=8", "FREQ is missing", "FREQ is one of"),
        ("FREQ=DAILY;BYHOURS=8", "'BYHOURS' is not known", "Did you mean BYHOUR?"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR=24 is not valid", "0 to 23"),
        ("FREQ=DAILY;BYHOUR=8;BYHOUR=9", "comes twice", "once"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0", "INTERVAL=2"),
        ("FREQ=DAILY;COUNT=3", "nothing to count from", "DTSTART:"),
        ("DTSTART:20260101T080000\nRRULE:FREQ=DAILY;COUNT=3;UNTIL=20270101", "both COUNT and UNTIL", "Keep one"),
        ("FREQ=WEEKLY;BYDAY=2MO", "BYDAY=2MO needs FREQ=MONTHLY or YEARLY", "BYDAY=MO"),
        ("FREQ=HOURLY;BYSETPOS=1", "BYSETPOS needs FREQ=DAILY", "BYMINUTE"),
        ("FREQ=WEEKLY;WKST=XX", "WKST=XX", "MO TU"),
        ("EXRULE:FREQ=DAILY", "EXRULE", "EXDATE"),
        ("DTSTART:20260230T080000\nRRULE:FREQ=DAILY", "20260230T080000", "20260131T080000"),
        ("DTSTART;TZID=Europe/Rome:20260101T080000\nRRULE:FREQ=DAILY", "Europe/Rome", "timezone='Europe/Rome'"),
        ("DTSTART:20260101\nDTSTART:20260102\nRRULE:FREQ=DAILY", "2 DTSTARTs", "Keep one"),
        ("DTSTART:20260101T080000", "no rule and no RDATE", "FREQ=DAILY"),
        ("", "no rule", "FREQ=DAILY"),
        ("FREQ=DAILY;" + "X" * 7000, "too long", "6500"),
        ("every day", "'EVERY DAY' is not known", "Known: "),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_write(rrule: str, says: str, and_then: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        RRuleSchedule(rrule=rrule)

    assert says in refusal.value.message
    assert and_then in refusal.value.hint


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(alphabet="FREQ=DAILYBMONTHUS;:,0123456789-+TZ\n ", max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    for rrule in (text, "FREQ=DAILY;" + text, f"DTSTART:{text}\nRRULE:FREQ=DAILY"):
        try:
            schedule = RRuleSchedule(rrule=rrule)
        except ScheduleError:
            continue
        assert len(list(islice(next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 3), 3))) <= 3


def is_taken(make: Callable[[], object]) -> bool:
    try:
        make()
    except ScheduleError:
        return False
    return True


@pytest.mark.parametrize("month", range(1, 13))
def test_a_day_of_the_year_is_taken_or_refused_however_it_is_written(month: int) -> None:
    """29 February comes every fourth year until 2096, and is a schedule; a fifth Friday in February is silent for 28 years, and is none."""
    of_days = {
        day: (
            f"0 0 {day} {month} *",
            f"FREQ=YEARLY;BYMONTH={month};BYMONTHDAY={day}",
            f"FREQ=MONTHLY;BYMONTH={month};BYMONTHDAY={day}",
            f"FREQ=DAILY;BYMONTH={month};BYMONTHDAY={day}",
            f"DTSTART:2016{month:02}{day:02}T000000\nRRULE:FREQ=YEARLY",
            f"DTSTART:2016{month:02}{day:02}T000000\nRRULE:FREQ=YEARLY;INTERVAL=4",
        )
        for day in range(1, 32)
    }
    of_weekdays = {
        f"{day}{n}": (
            f"0 0 * {month} {day}#{n}",
            f"FREQ=YEARLY;BYMONTH={month};BYDAY={n}{day[:2]}",
            f"FREQ=MONTHLY;BYMONTH={month};BYDAY={n}{day[:2]}",
        )
        for day in ("SUN", "FRI")
        for n in range(1, 6)
    }

    for said in [*of_days.values(), *of_weekdays.values()]:
        taken = [
            is_taken(lambda text=text: CronSchedule(cron=text) if text.startswith("0 0") else RRuleSchedule(rrule=text))  # type: ignore[misc]
            for text in said
        ]
        assert len(set(taken)) == 1, dict(zip(said, taken, strict=True))
