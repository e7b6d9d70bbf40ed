"""What schedules promise, one sentence at a time. The clock changes of all zones are in test_schedules_oracle, RRULEs in test_schedules_rrule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from time import process_time
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato.core.errors import ScheduleError, UsageError
from legato.core.schedules import (
    CronSchedule,
    IntervalSchedule,
    RRuleSchedule,
    Schedule,
    describe,
    dst_notes,
    fires_between,
    next_fires,
)
from legato.core.schedules.cron import validate_cron

NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)


def local(schedule: Schedule, after: datetime, limit: int) -> list[str]:
    """The next fires as the schedule's own wall clock shows them, with offset."""
    return [f"{fire.astimezone(ZoneInfo(schedule.timezone)):%Y-%m-%d %H:%M:%S%z}" for fire in next_fires(schedule, after, limit)]


def hours(schedule: Schedule, after: datetime, limit: int) -> list[str]:
    return [line[11:16] + line[19:] for line in local(schedule, after, limit)]


# cron and clock changes


def test_a_fixed_time_that_is_skipped_fires_once_right_after_the_gap() -> None:
    schedule = CronSchedule(cron="30 2 * * *", timezone="America/New_York")

    assert local(schedule, datetime(2026, 3, 7, 12, tzinfo=UTC), 2) == ["2026-03-08 03:00:00-0400", "2026-03-09 02:30:00-0400"]


def test_several_fixed_times_in_one_gap_fire_once_together() -> None:
    schedule = CronSchedule(cron="0,30 2 * * *", timezone="America/New_York")

    assert local(schedule, datetime(2026, 3, 7, 12, tzinfo=UTC), 2) == ["2026-03-08 03:00:00-0400", "2026-03-09 02:00:00-0400"]


def test_a_skipped_time_and_one_at_the_end_of_the_gap_are_one_fire() -> None:
    schedule = CronSchedule(cron="0 2,3 * * *", timezone="America/New_York")

    assert hours(schedule, datetime(2026, 3, 8, 5, tzinfo=UTC), 2) == ["03:00-0400", "02:00-0400"]


def test_a_fixed_time_that_comes_twice_fires_the_first_time_only() -> None:
    schedule = CronSchedule(cron="30 1 * * *", timezone="America/New_York")

    assert local(schedule, datetime(2026, 11, 1, 0, tzinfo=UTC), 2) == ["2026-11-01 01:30:00-0400", "2026-11-02 01:30:00-0500"]


def test_asked_within_the_second_pass_a_fixed_time_has_had_its_fire() -> None:
    schedule = CronSchedule(cron="30 1 * * *", timezone="America/New_York")

    assert local(schedule, datetime(2026, 11, 1, 6, 5, tzinfo=UTC), 1) == ["2026-11-02 01:30:00-0500"]


@pytest.mark.parametrize("cron", ["0 * * * *", "@hourly"])
def test_an_hourly_job_fires_in_both_of_two_equal_hours(cron: str) -> None:
    schedule = CronSchedule(cron=cron, timezone="America/New_York")

    assert hours(schedule, datetime(2026, 11, 1, 4, 30, tzinfo=UTC), 3) == ["01:00-0400", "01:00-0500", "02:00-0500"]


def test_a_half_hourly_job_keeps_its_beat_when_clocks_go_back() -> None:
    schedule = CronSchedule(cron="*/30 * * * *", timezone="America/New_York")

    fires = next_fires(schedule, datetime(2026, 11, 1, 0, tzinfo=UTC), 30)

    assert {later - earlier for earlier, later in pairwise(fires)} == {timedelta(minutes=30)}


def test_a_wildcard_job_in_a_gap_is_left_out_and_not_caught_up() -> None:
    schedule = CronSchedule(cron="30 */2 * * *", timezone="America/New_York")

    assert hours(schedule, datetime(2026, 3, 8, 5, 0, tzinfo=UTC), 2) == ["00:30-0500", "04:30-0400"]


def test_on_a_day_that_did_not_happen_a_daily_job_fires_as_the_next_one_begins() -> None:
    schedule = CronSchedule(cron="30 12 * * *", timezone="Pacific/Apia")

    assert local(schedule, datetime(2011, 12, 29, tzinfo=UTC), 3) == [
        "2011-12-29 12:30:00-1000",
        "2011-12-31 00:00:00+1400",
        "2011-12-31 12:30:00+1400",
    ]


def test_a_gap_of_half_an_hour_moves_a_fixed_time_to_its_end() -> None:
    schedule = CronSchedule(cron="15 2 * * *", timezone="Australia/Lord_Howe")

    assert hours(schedule, datetime(2026, 10, 2, 20, tzinfo=UTC), 1) == ["02:30+1100"]


def test_seconds_in_a_fixed_minute_follow_the_rule_of_fixed_times() -> None:
    schedule = CronSchedule(cron="*/20 30 1 * * *", timezone="America/New_York")

    assert [line[8:] for line in local(schedule, datetime(2026, 11, 1, 5, tzinfo=UTC), 4)] == [
        "01 01:30:00-0400",
        "01 01:30:20-0400",
        "01 01:30:40-0400",
        "02 01:30:00-0500",
    ]


# what cron can say


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("@hourly", ["2026-01-01 01:00:00", "2026-01-01 02:00:00"]),
        ("@daily", ["2026-01-02 00:00:00", "2026-01-03 00:00:00"]),
        ("@midnight", ["2026-01-02 00:00:00", "2026-01-03 00:00:00"]),
        ("@WEEKLY", ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
        ("@monthly", ["2026-02-01 00:00:00", "2026-03-01 00:00:00"]),
        ("@yearly", ["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("@annually", ["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("30 15 10 * * *", ["2026-01-01 10:15:30", "2026-01-02 10:15:30"]),
        ("0 8 * * mon", ["2026-01-05 08:00:00", "2026-01-12 08:00:00"]),
        ("0 8 1 JAN,jul *", ["2026-01-01 08:00:00", "2026-07-01 08:00:00"]),
        ("0 8 * * 0", ["2026-01-04 08:00:00", "2026-01-11 08:00:00"]),
        ("0 8 * * 7", ["2026-01-04 08:00:00", "2026-01-11 08:00:00"]),
        ("0 8 * * SAT-SUN", ["2026-01-03 08:00:00", "2026-01-04 08:00:00"]),
        ("0 8 L * *", ["2026-01-31 08:00:00", "2026-02-28 08:00:00"]),
        ("0 8 LW * *", ["2026-01-30 08:00:00", "2026-02-27 08:00:00"]),
        ("0 8 * * 5L", ["2026-01-30 08:00:00", "2026-02-27 08:00:00"]),
        ("0 8 * * MON#2", ["2026-01-12 08:00:00", "2026-02-09 08:00:00"]),
        ("0 8 31 * *", ["2026-01-31 08:00:00", "2026-03-31 08:00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("0 0 19 1 *", ["2026-01-19 00:00:00", "2027-01-19 00:00:00"]),
    ],
)
def test_cron_expressions_mean_what_they_mean_elsewhere(cron: str, expected: list[str]) -> None:
    assert [line[:19] for line in local(CronSchedule(cron=cron), datetime(2026, 1, 1, tzinfo=UTC), 2)] == expected


def test_day_of_month_or_day_of_week_unless_both_are_asked_for() -> None:
    begin = datetime(2026, 2, 1, tzinfo=UTC)
    either = CronSchedule(cron="0 8 13 * FRI")
    both = CronSchedule(cron="0 8 13 * FRI", day_or=False)

    assert [fire.day for fire in next_fires(either, begin, 4)] == [6, 13, 20, 27]
    assert [(fire.month, fire.day) for fire in next_fires(both, begin, 3)] == [(2, 13), (3, 13), (11, 13)]


def test_schedules_go_on_past_2038_and_over_the_missing_leap_day_of_2100() -> None:
    assert next_fires(CronSchedule(cron="0 0 1 1 *"), datetime(2038, 2, 1, tzinfo=UTC), 1)[0].year == 2039
    assert [fire.year for fire in next_fires(CronSchedule(cron="0 0 29 2 *"), datetime(2090, 1, 1, tzinfo=UTC), 5)] == [2092, 2096]


# intervals


def test_a_daily_interval_keeps_the_wall_clock() -> None:
    schedule = IntervalSchedule(interval=DAY, anchor_date=datetime(2026, 1, 1, 8), timezone="America/New_York")

    assert local(schedule, datetime(2026, 3, 7, tzinfo=UTC), 3) == [
        "2026-03-07 08:00:00-0500",
        "2026-03-08 08:00:00-0400",
        "2026-03-09 08:00:00-0400",
    ]


def test_a_daily_interval_that_meets_a_skipped_midnight_comes_back_to_midnight() -> None:
    schedule = IntervalSchedule(interval=DAY, timezone="Africa/Cairo")

    assert hours(schedule, datetime(2026, 4, 22, 12, tzinfo=UTC), 3) == ["00:00+0200", "01:00+0300", "00:00+0300"]


@pytest.mark.parametrize(
    "interval", [timedelta(hours=1), timedelta(hours=12), timedelta(hours=36), timedelta(minutes=7), timedelta(seconds=1.5)]
)
def test_an_interval_that_is_not_whole_days_keeps_elapsed_time(interval: timedelta) -> None:
    fires = next_fires(IntervalSchedule(interval=interval, timezone="America/New_York"), datetime(2026, 10, 31, tzinfo=UTC), 200)

    assert {later - earlier for earlier, later in pairwise(fires)} == {interval}


def test_intervals_are_counted_from_the_first_moment_of_2020_in_their_zone() -> None:
    schedule = IntervalSchedule(interval=timedelta(days=7), timezone="Asia/Tokyo")

    assert local(schedule, datetime(2020, 1, 1, tzinfo=UTC), 1) == ["2020-01-08 00:00:00+0900"]


def test_an_anchor_counts_in_both_directions() -> None:
    schedule = IntervalSchedule(interval=timedelta(hours=5), anchor_date=datetime(2030, 1, 1, tzinfo=UTC))

    (fire,) = next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 1)

    assert (datetime(2030, 1, 1, tzinfo=UTC) - fire) % timedelta(hours=5) == timedelta(0)


def test_equal_anchors_in_other_offsets_make_equal_schedules() -> None:
    plus_two = timezone(timedelta(hours=2))
    one = IntervalSchedule(interval=DAY, anchor_date=datetime(2026, 1, 1, 8, tzinfo=plus_two))
    other = IntervalSchedule(interval=DAY, anchor_date=datetime(2026, 1, 1, 6, tzinfo=UTC))

    assert one == other
    assert msgspec.json.encode(one) == msgspec.json.encode(other)


@settings(deadline=None, derandomize=True)
@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=1800)),
    st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)),
    st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)),
)
def test_the_next_interval_is_never_further_than_one_interval(interval: timedelta, anchor: datetime, after: datetime) -> None:
    schedule = IntervalSchedule(interval=interval, anchor_date=anchor.replace(tzinfo=UTC))
    after = after.replace(tzinfo=UTC)

    (fire,) = next_fires(schedule, after, 1)

    assert after < fire <= after + interval
    assert (fire - anchor.replace(tzinfo=UTC)) % interval == timedelta(0)


# refusals


@pytest.mark.parametrize(
    ("make", "says", "and_then"),
    [
        (lambda: CronSchedule(cron="every day"), "has 2 fields", "0 8 * * *"),
        (lambda: CronSchedule(cron="61 * * * *"), "minute field '61'", "0-59"),
        (lambda: CronSchedule(cron="0 24 * * *"), "hour field '24'", "0-23"),
        (lambda: CronSchedule(cron="0 8 * * MONDAY"), "day-of-week field 'MONDAY'", "SUN-SAT"),
        (lambda: CronSchedule(cron="0 8 ? * *"), "day-of-month field '?'", "*"),
        (lambda: CronSchedule(cron="*/90 * * * *"), "minute field '*/90'", "IntervalSchedule"),
        (lambda: CronSchedule(cron="0 0 30 2 *"), "never fires", "day-of-month"),
        (lambda: CronSchedule(cron="0 0 31 4,6,9,11 *"), "never fires", "day-of-month"),
        (lambda: CronSchedule(cron="0 0 31 4 MON", day_or=False), "never fires", "day-of-month"),
        (lambda: CronSchedule(cron="0 0 29 2 MON", day_or=False), "silent for over five years", "more often"),
        (lambda: CronSchedule(cron="@dayly"), "'@dayly' is not known", "'@daily'"),
        (lambda: CronSchedule(cron="@reboot"), "'@reboot' is not known", "@hourly"),
        (lambda: CronSchedule(cron=5), "5 is not a string", "cron="),  # type: ignore[arg-type]
        (lambda: CronSchedule(cron=""), "has 0 fields", "0 8 * * *"),
        (lambda: CronSchedule(cron="0 8 * * *", timezone="Europe/Roma"), "'Europe/Roma' is not known", "'Europe/Rome'"),
        (lambda: CronSchedule(cron="0 8 * * *", timezone="europe/rome"), "is not known", "'Europe/Rome'"),
        (lambda: CronSchedule(cron="0 8 * * *", timezone="new york"), "is not known", "'America/New_York'"),
        (lambda: CronSchedule(cron="0 8 * * *", timezone="America"), "is not known", "add the city"),
        (lambda: CronSchedule(cron="0 8 * * *", timezone="localtime"), "'localtime' is not known", "IANA"),
        (lambda: CronSchedule(cron="0 8 * * *", timezone="../../etc/passwd"), "is not known", "IANA"),
        (lambda: CronSchedule(cron="0 8 * * *", timezone=None), "None is not known", "IANA"),  # type: ignore[arg-type]
        (lambda: IntervalSchedule(interval=timedelta(0)), "0:00:00 is too short", "one second"),
        (lambda: IntervalSchedule(interval=timedelta(milliseconds=999)), "is too short", "one second"),
        (lambda: IntervalSchedule(interval=-DAY), "is too short", "one second"),
        (lambda: IntervalSchedule(interval=1828 * DAY), "is too long", "five years"),
        (lambda: IntervalSchedule(interval=300), "300 is not a timedelta", "timedelta(minutes=5)"),  # type: ignore[arg-type]
        (lambda: IntervalSchedule(interval=DAY, anchor_date="today"), "'today' is not a datetime", "datetime("),  # type: ignore[arg-type]
        (lambda: IntervalSchedule(interval=DAY, anchor_date=datetime(1, 1, 1)), "is out of range", "1900"),
        (lambda: next_fires(CronSchedule(cron="@daily"), datetime(2026, 1, 1), 1), "has no time zone", "tzinfo=UTC"),
        (lambda: next_fires(CronSchedule(cron="@daily"), datetime.max.replace(tzinfo=UTC), 1), "is out of range", "2500"),
        (
            lambda: fires_between(CronSchedule(cron="@daily"), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1), 1),
            "end",
            "tzinfo=UTC",
        ),
    ],
)
def test_a_refusal_names_the_value_and_what_to_write_instead(make: object, says: str, and_then: str) -> None:
    assert callable(make)
    with pytest.raises(ScheduleError) as refusal:
        make()

    assert says in refusal.value.message
    assert and_then in refusal.value.hint
    assert isinstance(refusal.value, UsageError)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.lists(st.text(alphabet="0123456789*/-,#LWMONFRISU ", max_size=7), min_size=4, max_size=7).map(" ".join))
def test_no_text_breaks_the_cron_reader_and_what_it_accepts_fires(text: str) -> None:
    try:
        schedule = CronSchedule(cron=text, timezone="Europe/Rome")
    except ScheduleError:
        return

    assert len(next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 3)) == 3


# questions


def test_nothing_is_asked_for_and_nothing_comes() -> None:
    assert next_fires(CronSchedule(cron="@daily"), datetime(2026, 1, 1, tzinfo=UTC), 0) == []


def test_after_is_not_included_and_end_is() -> None:
    schedule = CronSchedule(cron="@daily")
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)

    assert fires_between(schedule, first, second, 10) == [second]
    assert next_fires(schedule, first - timedelta(microseconds=1), 1) == [first]
    assert next_fires(schedule, first, 1) == [second]


def test_an_empty_or_reversed_range_holds_nothing() -> None:
    schedule = CronSchedule(cron="0 0 29 2 *")
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)

    assert fires_between(schedule, begin, end, 10) == []
    assert fires_between(schedule, end, begin, 10) == []


def test_the_answer_does_not_depend_on_the_zone_of_the_question() -> None:
    schedule = CronSchedule(cron="*/15 * * * *", timezone="Europe/London")
    after = datetime(2026, 10, 24, 23, tzinfo=UTC)

    assert next_fires(schedule, after.astimezone(NEW_YORK), 20) == next_fires(schedule, after, 20)


def test_a_limit_bounds_a_range() -> None:
    schedule = CronSchedule(cron="* * * * *")

    assert len(fires_between(schedule, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), 120)) == 120


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "59 59 23 31 12 *", "0 0 * 3 MON#5", "* * * * * *", "0 0 LW 2 *", "59 23 29 2 *"])
def test_the_sparsest_and_the_densest_cron_answer_within_50_ms(cron: str) -> None:
    def once() -> float:
        validate_cron.cache_clear()
        begin = process_time()
        next_fires(CronSchedule(cron=cron, timezone="America/New_York"), datetime(2026, 3, 1, tzinfo=UTC), 10)
        return process_time() - begin

    assert min(once() for _ in range(3)) < 0.05  # the best of three: a garbage collection of the test process is none of ours


# on the wire

EXAMPLES: list[Schedule] = [
    IntervalSchedule(interval=timedelta(minutes=5)),
    IntervalSchedule(interval=timedelta(days=1, seconds=1.5), anchor_date=datetime(2026, 1, 1, 8), timezone="Europe/Rome"),
    IntervalSchedule(interval=DAY, anchor_date=datetime(2026, 1, 1, 8, tzinfo=NEW_YORK)),
    CronSchedule(cron="0 8 * * *", timezone="Europe/Rome", day_or=False),
    RRuleSchedule(rrule="DTSTART:20260101T080000\nRRULE:FREQ=DAILY;COUNT=5\nEXDATE:20260102T080000", timezone="Asia/Tokyo"),
]


@pytest.mark.parametrize("schedule", EXAMPLES, ids=str)
def test_a_schedule_comes_back_from_json_as_it_went(schedule: Schedule) -> None:
    back = msgspec.json.decode(msgspec.json.encode(schedule), type=Schedule)

    assert back == schedule
    assert hash(back) == hash(schedule)
    assert next_fires(back, datetime(2026, 1, 1, tzinfo=UTC), 3) == next_fires(schedule, datetime(2026, 1, 1, tzinfo=UTC), 3)


def test_json_names_the_kind() -> None:
    assert [msgspec.to_builtins(schedule)["kind"] for schedule in EXAMPLES] == ["interval", "interval", "interval", "cron", "rrule"]


def test_a_bad_schedule_is_refused_as_it_comes_from_the_wire() -> None:
    with pytest.raises(msgspec.ValidationError, match="minute field '61'"):
        msgspec.json.decode(b'{"kind":"cron","cron":"61 * * * *"}', type=Schedule)


# in words


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (IntervalSchedule(interval=timedelta(minutes=5)), "every 5 minutes"),
        (IntervalSchedule(interval=timedelta(hours=1)), "every hour"),
        (IntervalSchedule(interval=timedelta(minutes=90)), "every 1 hour 30 minutes"),
        (IntervalSchedule(interval=timedelta(seconds=1.5)), "every 1.5 seconds"),
        (IntervalSchedule(interval=DAY, anchor_date=datetime(2026, 1, 1, 8), timezone="Europe/Rome"), "every day at 08:00 (Europe/Rome)"),
        (IntervalSchedule(interval=7 * DAY), "every 7 days at 00:00 (UTC)"),
        (CronSchedule(cron="*/5 * * * *"), "every 5 minutes"),
        (CronSchedule(cron="* * * * *"), "every minute"),
        (CronSchedule(cron="*/10 * * * * *"), "every 10 seconds"),
        (CronSchedule(cron="@hourly"), "every hour"),
        (CronSchedule(cron="15 * * * *"), "at minute 15 of every hour"),
        (CronSchedule(cron="0 8 * * *", timezone="Europe/Rome"), "at 08:00 every day (Europe/Rome)"),
        (CronSchedule(cron="0 8,17 * * *"), "at 08:00 and 17:00 every day (UTC)"),
        (CronSchedule(cron="0 8 * * MON-FRI"), "at 08:00 Monday to Friday (UTC)"),
        (CronSchedule(cron="0 8 * * 1,4"), "at 08:00 every Monday and Thursday (UTC)"),
        (CronSchedule(cron="0 8 * * FRI-SUN"), "at 08:00 every Friday, Saturday and Sunday (UTC)"),
        (CronSchedule(cron="@weekly"), "at 00:00 every Sunday (UTC)"),
        (CronSchedule(cron="0 8 1 * *"), "at 08:00 on day 1 of every month (UTC)"),
        (CronSchedule(cron="0 8 L * *"), "at 08:00 on the last day of every month (UTC)"),
        (CronSchedule(cron="@yearly"), "at 00:00 on 1 January every year (UTC)"),
        (CronSchedule(cron="*/7 3-5 1-7 * MON"), "cron */7 3-5 1-7 * MON (UTC)"),
        (RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=8"), "at 08:00 every day (UTC)"),
        (RRuleSchedule(rrule="FREQ=DAILY;INTERVAL=2;BYHOUR=8"), "at 08:00 every 2 days (UTC)"),
        (RRuleSchedule(rrule="FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=8"), "at 08:00 every Monday and Thursday (UTC)"),
        (RRuleSchedule(rrule="FREQ=WEEKLY;INTERVAL=2;BYDAY=MO"), "at 00:00 on Monday every 2 weeks (UTC)"),
        (RRuleSchedule(rrule="FREQ=MONTHLY;BYMONTHDAY=-1"), "at 00:00 on the last day of every month (UTC)"),
        (RRuleSchedule(rrule="FREQ=YEARLY;BYMONTH=7;BYMONTHDAY=4"), "at 00:00 on 4 July every year (UTC)"),
        (RRuleSchedule(rrule="FREQ=MINUTELY;INTERVAL=10"), "every 10 minutes (UTC)"),
        (RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=8;UNTIL=20270101"), "at 08:00 every day, until 2027-01-01 (UTC)"),
        (RRuleSchedule(rrule="DTSTART:20260101T080000\nRRULE:FREQ=DAILY;COUNT=3"), "at 08:00 every day, 3 times (UTC)"),
        (RRuleSchedule(rrule="FREQ=MONTHLY;BYDAY=2MO"), "rrule FREQ=MONTHLY;BYDAY=2MO (UTC)"),
    ],
    ids=str,
)
def test_a_schedule_in_words(schedule: Schedule, words: str) -> None:
    assert describe(schedule) == words


# notes for a preview

YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def test_a_preview_says_that_a_skipped_time_fires_after_the_gap() -> None:
    ((at, sentence),) = dst_notes(CronSchedule(cron="30 2 * * *", timezone="America/New_York"), *YEAR)

    assert at == datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert (
        sentence == "America/New_York: clocks go forward from 02:00 to 03:00 on 2026-03-08; 02:30 does not exist and fires once, at 03:00"
    )


def test_a_preview_says_that_a_repeated_time_fires_the_first_time_only() -> None:
    ((at, sentence),) = dst_notes(CronSchedule(cron="0,30 1 * * *", timezone="America/New_York"), *YEAR)

    assert at == datetime(2026, 11, 1, 5, tzinfo=UTC)
    assert sentence.endswith("01:00 and 1 more come twice and fire the first time only")


def test_a_preview_of_a_wildcard_speaks_of_both_changes() -> None:
    forward, back = dst_notes(CronSchedule(cron="0 * * * *", timezone="America/New_York"), *YEAR)

    assert forward[1].endswith("times between 02:00 and 03:00 do not exist and do not fire")
    assert back == (
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        (
            "America/New_York: clocks go back from 02:00 to 01:00 on 2026-11-01; "
            "times between 01:00 and 02:00 come twice and fire both times"
        ),
    )


@pytest.mark.parametrize(
    "schedule",
    [
        CronSchedule(cron="0 8 * * *", timezone="America/New_York"),
        CronSchedule(cron="30 2 * * *"),
        IntervalSchedule(interval=timedelta(minutes=30), timezone="America/New_York"),
    ],
    ids=str,
)
def test_a_schedule_that_no_clock_change_touches_has_no_notes(schedule: Schedule) -> None:
    assert dst_notes(schedule, *YEAR) == []


def test_every_note_of_a_fixed_time_stands_at_one_of_its_fires() -> None:
    for name in ("Europe/Rome", "Australia/Lord_Howe", "Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll"):
        for cron in ("0 0 * * *", "15 1 * * *", "30 2 * * *", "45 23 * * *"):
            schedule = CronSchedule(cron=cron, timezone=name)
            fires = fires_between(schedule, *YEAR, 400)

            assert {at for at, _ in dst_notes(schedule, *YEAR)} <= set(fires)


def test_a_preview_of_more_than_five_years_is_refused() -> None:
    with pytest.raises(ScheduleError, match="too long"):
        dst_notes(CronSchedule(cron="@daily"), datetime(2026, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC))
