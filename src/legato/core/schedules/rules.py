"""The wall times of one RRULE (RFC 5545 §3.3.10), found in a bounded number of steps from anywhere."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from enum import IntEnum
from itertools import count

import msgspec

from legato.core.schedules.cron import days_in_month
from legato.core.schedules.streams import LAST_CALENDAR_YEAR, MAX_STEPS, MAX_WAIT, TICK, SilentTooLong


class Frequency(IntEnum):
    YEARLY = 0
    MONTHLY = 1
    WEEKLY = 2
    DAILY = 3
    HOURLY = 4
    MINUTELY = 5
    SECONDLY = 6


SECONDS: Mapping[Frequency, int] = {
    Frequency.YEARLY: 365 * 86400,
    Frequency.MONTHLY: 30 * 86400,
    Frequency.WEEKLY: 7 * 86400,
    Frequency.DAILY: 86400,
    Frequency.HOURLY: 3600,
    Frequency.MINUTELY: 60,
    Frequency.SECONDLY: 1,
}
"""Length of one period, at least."""

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

NUMBER_PARTS: Mapping[str, tuple[int, int, bool]] = {
    "BYSECOND": (0, 59, False),
    "BYMINUTE": (0, 59, False),
    "BYHOUR": (0, 23, False),
    "BYMONTH": (1, 12, False),
    "BYMONTHDAY": (1, 31, True),
    "BYYEARDAY": (1, 366, True),
    "BYWEEKNO": (1, 53, True),
    "BYSETPOS": (1, 366, True),
}
"""Lowest, highest, and whether negative numbers count from the end (RFC 5545 §3.3.10). Leap seconds are not fired."""

PARTS = (*NUMBER_PARTS, "FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "WKST")


class Rule(msgspec.Struct, frozen=True):
    """One RRULE line, read, with what it leaves unsaid filled in from its start as RFC 5545 §3.3.10 asks.

    Empty sets admit everything; hours, minutes and seconds are never empty. `until` is the last wall time that may fire.
    """

    text: str
    frequency: Frequency
    interval: int
    start: datetime
    until: datetime
    months: frozenset[int]
    monthdays: frozenset[int]
    yeardays: frozenset[int]
    weeknos: frozenset[int]
    weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    positions: tuple[int, ...]
    week_start: int

    def matches(self, day: date) -> bool:
        """Whether the rule's BY-parts admit this day."""
        if self.months and day.month not in self.months:
            return False
        if (self.weekdays or self.nth_weekdays) and day.weekday() not in self.weekdays and not self._is_nth_weekday(day):
            return False
        if self.monthdays and day.day not in self.monthdays:
            length = days_in_month(day.year, day.month)
            if day.day - length - 1 not in self.monthdays:
                return False
        if self.yeardays and self.yeardays.isdisjoint(_from_both_ends(*_place_in_year(day))):
            return False
        return not self.weeknos or not self.weeknos.isdisjoint(_week_number(day, self.week_start))

    def _is_nth_weekday(self, day: date) -> bool:
        if not self.nth_weekdays:
            return False
        if self.frequency is Frequency.MONTHLY or self.months:
            place, length = day.day, days_in_month(day.year, day.month)
        else:
            place, length = _place_in_year(day)
        weekday = day.weekday()
        return ((place - 1) // 7 + 1, weekday) in self.nth_weekdays or (-((length - place) // 7 + 1), weekday) in self.nth_weekdays

    def time_of_day(self, index: int) -> int:
        """The index-th of the rule's times of day, in seconds after midnight. Ascending in `index`; nothing is spelled out."""
        index, second = divmod(index, len(self.seconds))
        hour, minute = divmod(index, len(self.minutes))
        return self.hours[hour] * 3600 + self.minutes[minute] * 60 + self.seconds[second]

    @property
    def times_a_day(self) -> int:
        return len(self.hours) * len(self.minutes) * len(self.seconds)


def _place_in_year(day: date) -> tuple[int, int]:
    return day.timetuple().tm_yday, 366 if days_in_month(day.year, 2) == 29 else 365


def _from_both_ends(place: int, length: int) -> tuple[int, int]:
    return place, place - length - 1


def _week_number(day: date, week_start: int) -> tuple[int, int]:
    """Number of the day's week, from the beginning and from the end of its week-year. Week 1 is the first with four days in the year."""
    monday = day.toordinal() - (day.weekday() - week_start) % 7
    year = date.fromordinal(monday + 3).year
    first, following = _first_week(year, week_start), _first_week(year + 1, week_start)
    return _from_both_ends((monday - first) // 7 + 1, (following - first) // 7)


def _first_week(year: int, week_start: int) -> int:
    fourth = date(year, 1, 4)
    return fourth.toordinal() - (fourth.weekday() - week_start) % 7


class Patience:
    """Counts days and times looked at since the last occurrence, and days of silence; raises when either is enough.

    One that does not forget counts all of its work: for what is done once, such as finding the COUNTth occurrence.
    """

    __slots__ = ("_forgets", "_found_at", "_last_day", "_since", "_text", "spent")

    def __init__(self, rule: Rule, floor: datetime, *, forgets: bool = True) -> None:
        self._text = rule.text
        self._forgets = forgets
        self._since = max(floor, rule.start).date()
        self.spent = self._found_at = 0
        self.found(self._since.toordinal())

    def spend(self, steps: int, day: int) -> None:
        self.spent += steps
        if day > self._last_day:
            message = f"rrule '{self._text}' does not fire within five years of {self._since}"
            raise SilentTooLong(message, hint="Choose days that come more often.")
        if self.spent - self._found_at > MAX_STEPS:
            message = f"rrule '{self._text}' takes too long: {MAX_STEPS} days and times from {self._since} on were tried"
            raise SilentTooLong(message, hint="If it can fire at all, say it with a coarser FREQ, or with UNTIL instead of COUNT.")

    def found(self, day: int) -> None:
        self._last_day = day + MAX_WAIT.days
        if self._forgets:
            self._found_at = self.spent
            self._since = date.fromordinal(day)


def rule_walls(rule: Rule, floor: datetime, patience: Patience | None = None) -> Iterator[datetime]:
    """Occurrences of one rule strictly after `floor`. Starts anywhere without walking there; raises `SilentTooLong`."""
    floor = max(floor, rule.start - TICK)
    patience = patience or Patience(rule, floor)
    candidates = _walls_of_days(rule, floor, patience) if rule.frequency <= Frequency.DAILY else _walls_within_days(rule, floor, patience)
    for wall in candidates:
        if wall > rule.until:
            return
        if wall > floor:
            patience.found(wall.toordinal())
            yield wall


def _walls_of_days(rule: Rule, floor: datetime, patience: Patience) -> Iterator[datetime]:
    """YEARLY to DAILY: the days of each period that match, times the rule's times of day."""
    origin = _period_of(rule, rule.start.date())
    behind = _period_of(rule, floor.date()) - origin
    last_day = rule.until.toordinal()
    for period in count(origin - (-behind // rule.interval) * rule.interval, rule.interval):
        days = _days_of(rule, period)
        if not days or days[0] > last_day:
            return
        matching = [day for day in days if rule.matches(date.fromordinal(day))]  # all: BYSETPOS counts past UNTIL
        patience.spend(len(days), days[0])
        yield from _positioned(rule, matching, patience) if rule.positions else _timed(rule, matching, floor, patience)


def _period_of(rule: Rule, day: date) -> int:
    match rule.frequency:
        case Frequency.YEARLY:
            return day.year
        case Frequency.MONTHLY:
            return day.year * 12 + day.month - 1
        case Frequency.WEEKLY:
            return (day.toordinal() - 1 - rule.week_start) // 7
        case _:
            return day.toordinal()


def _days_of(rule: Rule, period: int) -> list[int]:
    """Ordinals of the days of a period that are worth a look. Empty past the year 9998: the end of the calendar."""
    match rule.frequency:
        case Frequency.YEARLY:
            months = [(period, month) for month in sorted(rule.months) or range(1, 13)]
        case Frequency.MONTHLY:
            months = [(period // 12, period % 12 + 1)]
        case Frequency.WEEKLY:
            first = period * 7 + 1 + rule.week_start
            return list(range(first, first + 7)) if first < _LAST_DAY else []
        case _:
            return [period] if period < _LAST_DAY else []
    if months[0][0] > LAST_CALENDAR_YEAR:
        return []
    firsts = [(date(year, month, 1).toordinal(), days_in_month(year, month)) for year, month in months]
    return [first + day for first, length in firsts for day in range(length)]


_LAST_DAY = date(LAST_CALENDAR_YEAR, 12, 31).toordinal()


def _timed(rule: Rule, days: list[int], floor: datetime, patience: Patience) -> Iterator[datetime]:
    floor_day = floor.toordinal()
    second = (floor - datetime.combine(floor, time())).seconds
    for day in days:
        if day < floor_day:
            continue
        begin = bisect_left(range(rule.times_a_day), second, key=rule.time_of_day) if day == floor_day else 0
        for index in range(begin, rule.times_a_day):
            patience.spend(1, day)
            yield wall_time(day, rule.time_of_day(index))


def _positioned(rule: Rule, days: list[int], patience: Patience) -> Iterator[datetime]:
    """BYSETPOS: the n-th of all occurrences of the period, counted from its beginning or its end."""
    if not days:
        return
    patience.spend(len(rule.positions), days[0])
    total = len(days) * rule.times_a_day
    indexes = {position - 1 if position > 0 else total + position for position in rule.positions}
    for index in sorted(index for index in indexes if 0 <= index < total):
        day, time_index = divmod(index, rule.times_a_day)
        yield wall_time(days[day], rule.time_of_day(time_index))


def _walls_within_days(rule: Rule, floor: datetime, patience: Patience) -> Iterator[datetime]:
    """HOURLY to SECONDLY: in each matching day, the units that lie a multiple of INTERVAL from the start."""
    unit = SECONDS[rule.frequency]
    by_unit = msgspec.structs.replace(rule, minutes=rule.minutes if unit < 3600 else (0,), seconds=rule.seconds if unit == 1 else (0,))
    within = [m * 60 + s for m in (rule.minutes if unit == 3600 else (0,)) for s in (rule.seconds if unit > 1 else (0,))]
    begin = (floor - datetime.combine(floor, time())).seconds
    for day in range(floor.toordinal(), min(rule.until.toordinal(), _LAST_DAY) + 1):
        patience.spend(1, day)
        if rule.matches(date.fromordinal(day)):
            patience.spend(2, day)  # what setting up a day costs, measured in candidates
            for second in _units_of_day(by_unit, day, begin, patience):
                for more in within:
                    yield wall_time(day, second + more)
        begin = 0


def _units_of_day(rule: Rule, day: int, begin: int, patience: Patience) -> Iterator[int]:
    """Where the units of a sub-daily rule that fire on that day begin, in seconds after midnight, from the unit of `begin` on.

    Two ways to find them, the shorter one is taken: walk the rule's times and keep those in step, or walk the steps and keep those that
    are among the rule's times.
    """
    unit = SECONDS[rule.frequency]
    start = rule.start
    origin = (start.toordinal() * 86400 + start.hour * 3600 + start.minute * 60 + start.second) // unit
    steps = range((origin - day * 86400 // unit) % rule.interval, 86400 // unit, rule.interval)
    steps = steps[bisect_left(steps, begin // unit) :]
    indexes = range(bisect_left(range(rule.times_a_day), begin // unit * unit, key=rule.time_of_day), rule.times_a_day)
    if len(indexes) < len(steps):
        for index in indexes:
            patience.spend(1, day)
            second = rule.time_of_day(index)
            if second // unit in steps:
                yield second
    else:
        for step in steps:
            patience.spend(1, day)
            if _admits(rule, step * unit):
                yield step * unit


def _admits(rule: Rule, second: int) -> bool:
    return second // 3600 in rule.hours and second // 60 % 60 in rule.minutes and second % 60 in rule.seconds


def wall_time(day: int, second: int) -> datetime:
    return datetime.fromordinal(day) + timedelta(seconds=second)
