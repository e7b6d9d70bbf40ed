"""Every schedule against a clock on the wall: an oracle that looks at it once a minute and knows nothing of how schedules are computed.

The oracle shares no code with `legato.core.schedules`: it walks UTC minute by minute, reads the local time from zoneinfo and remembers what
it has seen. It is asked about the hours around every clock change of every IANA zone from 2020 to 2037.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from legato.core.schedules import CronSchedule, IntervalSchedule, RRuleSchedule, Schedule, fires_between, next_fires

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
BEFORE, AROUND = 14 * HOUR, 7 * HOUR

ZONES = sorted(available_timezones() - {"localtime", "posixrules", "Factory"})

FIXED_MINUTES = ("0", "30", "0,30", "15,45", "59", "0-10", "7", "10/20")
FIXED_HOURS = ("0", "1", "2", "3", "23", "0,1,2,3", "1-4", "22,23,0", "0-23", "2/3")
STAR_MINUTES = ("*", "*/5", "*/30", "*/7")
STAR_HOURS = ("*", "*/2", "*/3", "*")
DAYS = ("* * *", "* * *", "* * *", "* * 0", "* * 7", "* * 1-5", "1,15,25-31 * *", "* 3,10,11 *", "8-14 * 0")


class Cron:
    """A cron expression as the oracle reads it."""

    def __init__(self, expression: str) -> None:
        minute, hour, monthday, month, weekday = expression.split()
        self.minutes, self.hours = self._values(minute, 0, 59), self._values(hour, 0, 23)
        self.monthdays, self.months = self._values(monthday, 1, 31), self._values(month, 1, 12)
        self.weekdays = {value % 7 for value in self._values(weekday, 0, 7)}
        self.either_day = monthday != "*" and weekday != "*"
        self.wildcard = minute[0] == "*" or hour[0] == "*"

    @staticmethod
    def _values(field: str, low: int, high: int) -> set[int]:
        values: set[int] = set()
        for term in field.split(","):
            span, _, step = term.partition("/")
            first, _, last = span.partition("-")
            start = low if first == "*" else int(first)
            end = high if first == "*" or (step and not last) else int(last or first)
            values.update(range(start, end + 1, int(step or 1)))
        return values

    def matches(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        monthday, weekday = wall.day in self.monthdays, wall.isoweekday() % 7 in self.weekdays
        return (monthday or weekday) if self.either_day else (monthday and weekday)


def clock(zone: ZoneInfo, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """(instant, what the wall clock shows) for each minute after `start` up to `end`."""
    minutes = int((end - start) / MINUTE)
    instants = [start + MINUTE * step for step in range(1, minutes + 1)]
    return [(instant, instant.astimezone(zone).replace(tzinfo=None)) for instant in instants]


def watch(cron: Cron, shown: list[tuple[datetime, datetime]]) -> list[datetime]:
    """The minutes at which the job starts, by somebody who sits in front of the clock."""
    if cron.wildcard:
        return [instant for instant, wall in shown if cron.matches(wall)]
    fires, seen = [], set()
    before = shown[0][1] - MINUTE
    for instant, wall in shown:
        skipped = [before + MINUTE * step for step in range(1, int((wall - before) / MINUTE))]
        if any(cron.matches(time) and time not in seen for time in [*skipped, wall]):
            fires.append(instant)
        seen.update(skipped, [wall])
        before = wall
    return fires


def clock_changes(zone: ZoneInfo) -> list[tuple[datetime, timedelta, timedelta]]:
    """(instant, offset before, offset after), found by looking once a week and then closer."""
    changes, here = [], BEGIN
    while here < END:
        there = here + 7 * DAY
        if here.astimezone(zone).utcoffset() != there.astimezone(zone).utcoffset():
            low, high = here, there
            while high - low > MINUTE:
                middle = low + (high - low) // MINUTE // 2 * MINUTE
                same = middle.astimezone(zone).utcoffset() == here.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            changes.append((high, low.astimezone(zone).utcoffset(), high.astimezone(zone).utcoffset()))
        here = there
    return changes


@cache
def zones_that_differ() -> list[tuple[str, list[tuple[datetime, timedelta, timedelta]]]]:
    """All zones, those that show the same time from 2020 to 2037 only once."""
    known: dict[object, tuple[str, list[tuple[datetime, timedelta, timedelta]]]] = {}
    for name in ZONES:
        zone = ZoneInfo(name)
        changes = clock_changes(zone)
        key = (BEGIN.astimezone(zone).utcoffset(), tuple(changes))
        known.setdefault(key, (name, changes))
    return list(known.values())


def some_crons(dice: random.Random) -> list[str]:
    minutes, hours = (FIXED_MINUTES, FIXED_HOURS) if dice.random() < 0.6 else (FIXED_MINUTES + STAR_MINUTES, STAR_HOURS)
    return [f"{dice.choice(minutes)} {dice.choice(hours)} {dice.choice(DAYS)}" for _ in range(3)] + ["30 2 * * *"]


def assert_agrees(expression: str, name: str, shown: list[tuple[datetime, datetime]], begin: datetime) -> None:
    end = shown[-1][0]
    expected = [fire for fire in watch(Cron(expression), shown) if fire > begin]

    found = fires_between(CronSchedule(cron=expression, timezone=name), begin, end, 10_000)

    assert found == expected, f"{expression} in {name} after {begin}"


def test_cron_agrees_with_the_wall_clock_around_every_clock_change_of_every_zone() -> None:
    dice = random.Random(20260127)
    looked_at = 0
    for name, changes in zones_that_differ():
        zone = ZoneInfo(name)
        instants = [at for at, _, _ in changes] or [BEGIN + DAY * dice.randrange(6000)]
        for at in instants:
            shown = clock(zone, at - BEFORE, at + AROUND)
            for expression in some_crons(dice):
                assert_agrees(expression, name, shown, at - AROUND + MINUTE * dice.randrange(12 * 60))
                looked_at += 1
    assert looked_at > 5_000


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),  # half an hour back
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),  # Ramadan
        ("Africa/Casablanca", datetime(2026, 3, 22, 2, tzinfo=UTC)),
        ("Europe/Dublin", datetime(2026, 3, 29, 1, tzinfo=UTC)),  # summer is standard time, winter has the negative offset
        ("Europe/Dublin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),  # midnight is skipped
        ("America/Havana", datetime(2026, 3, 8, 5, tzinfo=UTC)),
        ("America/Nuuk", datetime(2023, 3, 26, 1, tzinfo=UTC)),  # to a new standard time
        ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),  # two hours forward
        ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),  # 30 December did not happen
        ("Pacific/Kwajalein", datetime(1993, 8, 21, 12, tzinfo=UTC)),
        ("America/Caracas", datetime(2016, 5, 1, 7, tzinfo=UTC)),
        ("Asia/Pyongyang", datetime(2018, 5, 4, 15, tzinfo=UTC)),
        ("Europe/London", datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(1985, 12, 31, 18, 30, tzinfo=UTC)),  # fifteen minutes, at midnight
    ],
)
def test_cron_agrees_with_the_wall_clock_from_any_minute_of_an_unusual_day(name: str, at: datetime) -> None:
    dice = random.Random(f"{name} {at}")
    shown = clock(ZoneInfo(name), at - 26 * HOUR, at + 26 * HOUR)
    for expression in [*(cron for _ in range(5) for cron in some_crons(dice)), "* * * * *", "0-59 0-23 * * *"]:
        for _ in range(3):
            assert_agrees(expression, name, shown, at - 25 * HOUR + MINUTE * dice.randrange(50 * 60))


def every_kind() -> list[Schedule]:
    return [
        CronSchedule(cron="30 2 * * *", timezone="America/New_York"),
        CronSchedule(cron="*/30 * * * *", timezone="America/New_York"),
        CronSchedule(cron="0,30 0-3 * * *", timezone="Australia/Lord_Howe"),
        CronSchedule(cron="*/20 30 1 * * *", timezone="Europe/London"),
        IntervalSchedule(interval=DAY, anchor_date=datetime(2020, 1, 1, 1, 30), timezone="America/New_York"),
        IntervalSchedule(interval=7 * DAY, anchor_date=datetime(2020, 1, 5), timezone="Africa/Cairo"),
        IntervalSchedule(interval=timedelta(minutes=7), timezone="Europe/Rome"),
        RRuleSchedule(rrule="FREQ=HOURLY;BYMINUTE=0,20,40", timezone="America/New_York"),
        RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=0,1,2;BYMINUTE=15", timezone="Africa/Casablanca"),
        RRuleSchedule(rrule="RRULE:FREQ=DAILY;BYHOUR=1\nRRULE:FREQ=HOURLY\nEXDATE:20261101T010000", timezone="America/New_York"),
    ]


@pytest.mark.parametrize("schedule", every_kind(), ids=str)
def test_a_range_cut_anywhere_fires_as_the_whole_does(schedule: Schedule) -> None:
    dice = random.Random(str(schedule))
    for change in (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)):
        begin, end = change - DAY, change + DAY
        whole = fires_between(schedule, begin, end, 10_000)
        for _ in range(25):
            cut = begin + timedelta(seconds=dice.randrange(2 * 86400), microseconds=dice.choice([0, 0, 1, 500_000]))

            parts = fires_between(schedule, begin, cut, 10_000) + fires_between(schedule, cut, end, 10_000)

            assert parts == whole
            assert next_fires(schedule, cut, 1)[0] == next(iter([f for f in whole if f > cut]), next_fires(schedule, end, 1)[0])


@pytest.mark.parametrize("schedule", every_kind(), ids=str)
def test_fires_ascend_without_duplicates_in_utc(schedule: Schedule) -> None:
    fires = next_fires(schedule, datetime(2026, 10, 20, tzinfo=UTC), 1_000)

    assert len(fires) == 1_000
    assert all(earlier < later for earlier, later in pairwise(fires))
    assert {fire.tzinfo for fire in fires} == {UTC}


def test_one_fire_at_a_time_walks_through_a_clock_change_as_one_question_does() -> None:
    for schedule in every_kind():
        here = datetime(2026, 11, 1, 0, tzinfo=UTC)
        at_once = next_fires(schedule, here, 40)
        one_by_one = []
        for _ in range(40):
            here = next_fires(schedule, here, 1)[0]
            one_by_one.append(here)

        assert one_by_one == at_once


def test_whole_day_intervals_and_daily_rules_follow_the_rule_of_fixed_times() -> None:
    dice = random.Random(7)
    for name, changes in zones_that_differ():
        for at, _, _ in dice.sample(changes, min(len(changes), 3)):
            hour, minute = dice.choice([0, 1, 2, 3, 23]), dice.choice([0, 15, 30])
            start = datetime(2020, 1, 1, hour, minute)
            begin, end = at - 3 * DAY, at + 3 * DAY
            expected = fires_between(CronSchedule(cron=f"{minute} {hour} * * *", timezone=name), begin, end, 100)

            interval = IntervalSchedule(interval=DAY, anchor_date=start, timezone=name)
            rrule = RRuleSchedule(rrule=f"FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}", timezone=name)

            assert fires_between(interval, begin, end, 100) == expected
            assert fires_between(rrule, begin, end, 100) == expected


def test_hourly_rules_follow_the_rule_of_wildcards() -> None:
    dice = random.Random(8)
    for name, changes in zones_that_differ():
        for at, _, _ in dice.sample(changes, min(len(changes), 2)):
            begin, end = at - 12 * HOUR, at + 12 * HOUR
            expected = fires_between(CronSchedule(cron="*/20 * * * *", timezone=name), begin, end, 1_000)

            for rrule in ("FREQ=MINUTELY;INTERVAL=20", "FREQ=HOURLY;BYMINUTE=0,20,40", "FREQ=SECONDLY;BYMINUTE=0,20,40;BYSECOND=0"):
                assert fires_between(RRuleSchedule(rrule=rrule, timezone=name), begin, end, 1_000) == expected


def test_short_intervals_keep_elapsed_time_across_every_clock_change() -> None:
    for name, changes in zones_that_differ():
        for at, _, _ in changes[:4]:
            for interval in (timedelta(minutes=5), timedelta(hours=1), timedelta(hours=25), timedelta(seconds=1.5)):
                fires = next_fires(IntervalSchedule(interval=interval, timezone=name), at - 2 * interval, 5)

                assert {later - earlier for earlier, later in pairwise(fires)} == {interval}
