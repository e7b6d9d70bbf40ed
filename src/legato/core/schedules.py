"""Schedules: when a flow should run. Three kinds, one question: which instants come after this one.

Here live the records a user writes (`IntervalSchedule`, `CronSchedule`, `RRuleSchedule`), their validation, and the arithmetic that turns
them into instants, words and warnings. What to do about an instant (create a run, catch up, skip) is the scheduler's, not ours.

How it works. A schedule is first a stream of *wall times*: naive local times, as if clocks never changed. The streams know nothing of time
zones, start anywhere in O(1), and give up after a bounded number of steps. Two functions then lay a stream onto the real time line:

* `_fire_once` for times somebody wrote down ("02:30"): a wall time fires at the first instant the wall clock shows it *or has passed it*.
  So a time that is skipped in spring fires right after the gap, several of them collapse into one, and a repeated one fires the first time.
* `_fire_whenever_shown` for wildcards ("every half hour"): each instant at which the wall clock shows the time. Both passes of a repeated
  hour fire, a skipped one does not, and the distance between fires stays even.

This is the rule of Debian's cron (man 8 cron, Notes: "Only jobs that run at a particular time (not specified as @hourly, nor with '*' in
the hour or minute specifier) are affected"), without its three-hour limit. RFC 5545 §3.3.5 agrees on repeated times; a skipped 02:30 it
reads with the offset before the gap (03:30), where we fire at the end of the gap (03:00): nobody who asked for half past two is served by
waiting longer than the clock made them. Intervals shorter than a day, or not whole days, never look at the wall clock: they are elapsed time.

RRULEs are evaluated here and not by python-dateutil, because that one walks from DTSTART and searches an impossible rule to the year 9999
inside a single `next()`, which only another process could interrupt. The tests hold the two against each other.
"""

from __future__ import annotations

import heapq
import importlib
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from functools import lru_cache
from itertools import count, islice, takewhile
from types import ModuleType
from typing import TYPE_CHECKING, assert_never

import msgspec

from legato.core.errors import ScheduleError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

MIN_INTERVAL = timedelta(seconds=1)
"""Shorter is a loop, not a schedule: each fire costs a row, a claim and a process."""

MAX_WAIT = timedelta(days=1827)
"""Five years. A schedule that is silent for longer is taken for a mistake. Leap days (four years apart) fit."""

MAX_STEPS = 10_000
"""Days and times an RRULE may look at to find its next occurrence, or (once, when it is read) its COUNTth: at most 30 ms (2 cores,
Python 3.11, 2026-11). More is refused: a scheduler must not stand still for one schedule."""

MAX_RULES = 8
"""RRULE lines in one text: all of them are looked at for each fire."""

MAX_TEXT_LENGTH = 6_500
"""Characters of an RRULE text, the limit Prefect 3 has: room for some 400 EXDATEs."""

FIRST_YEAR, LAST_YEAR = 1900, 2500
"""Years a schedule answers for. Outside, time zones are guesses and dates overflow."""

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_DEFAULT_ANCHOR = datetime(2020, 1, 1)  # noqa: DTZ001 - a wall time, read in the schedule's zone


# ------------------------------------------------------------------------------------------------------------------------ the records


class IntervalSchedule(msgspec.Struct, frozen=True, tag_field="kind", tag="interval"):
    """A fire every `interval`, counted from `anchor_date` in both directions.

    Whole days keep the wall clock of `timezone` across clock changes (daily at 08:00 stays at 08:00); anything else keeps elapsed time.
    A naive `anchor_date` is read in `timezone`; an aware one is kept as UTC. None means 2020-01-01 00:00 in `timezone`.
    Raises `ScheduleError` for an interval under a second or over five years.
    """

    interval: timedelta
    anchor_date: datetime | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not isinstance(self.interval, timedelta):
            raise ScheduleError(f"interval {self.interval!r} is not a timedelta", hint="Write interval=timedelta(minutes=5).")
        if self.interval < MIN_INTERVAL:
            raise ScheduleError(f"interval {self.interval} is too short", hint="The shortest interval is one second.")
        if self.interval > MAX_WAIT:
            raise ScheduleError(f"interval {self.interval} is too long", hint="The longest interval is five years (1827 days).")
        _zone(self.timezone)
        if self.anchor_date is not None:
            _normalise_anchor(self, self.anchor_date)


class CronSchedule(msgspec.Struct, frozen=True, tag_field="kind", tag="cron"):
    """Fires at the wall times of `timezone` that a cron expression matches.

    Five fields, or six with seconds first; names (MON, JAN), `L`, `LW`, `5L`, `MON#2`, and @hourly @daily @midnight @weekly @monthly
    @yearly @annually. With `day_or` (classic cron) a day matches if day-of-month *or* day-of-week does, when neither starts with `*`;
    without it both must. Raises `ScheduleError` for an expression that cannot be read or that stays silent for over five years.
    """

    cron: str
    timezone: str = "UTC"
    day_or: bool = True

    def __post_init__(self) -> None:
        _zone(self.timezone)
        if not isinstance(self.cron, str):
            raise ScheduleError(f"cron {self.cron!r} is not a string", hint='Write cron="0 8 * * *".')
        _validate_cron(self.cron, self.day_or)


class RRuleSchedule(msgspec.Struct, frozen=True, tag_field="kind", tag="rrule"):
    """Fires at the wall times of `timezone` that an iCalendar recurrence (RFC 5545 §3.8.5) describes.

    `rrule` is a bare rule ("FREQ=DAILY;BYHOUR=8") or lines of DTSTART, RRULE, EXDATE and RDATE. Without DTSTART the rule starts at
    2020-01-01 00:00, which also lends it the time of day it does not name; COUNT needs a DTSTART to count from.
    Raises `ScheduleError` for text that cannot be read and for rules that never fire, stay silent for over five years or cost too much.
    """

    rrule: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        _zone(self.timezone)
        if not isinstance(self.rrule, str):
            raise ScheduleError(f"rrule {self.rrule!r} is not a string", hint='Write rrule="FREQ=DAILY;BYHOUR=8".')
        _recurrence(self.rrule, self.timezone)


Schedule = IntervalSchedule | CronSchedule | RRuleSchedule


# ---------------------------------------------------------------------------------------------------------------------- the questions


def next_fires(schedule: Schedule, after: datetime, limit: int) -> list[datetime]:
    """Fire times strictly after `after`, ascending, without duplicates, at most `limit`, in UTC.

    Fewer than `limit` only when a finite RRULE is over, or when more than five years of silence follow the last one.
    Raises `ScheduleError` if a schedule that is not over does not fire within five years of `after` (or of its DTSTART, if later).
    O(limit), from wherever `after` is.
    """
    fires: list[datetime] = []
    try:
        for fire in islice(_instants(schedule, after), max(limit, 0)):
            fires.append(fire)  # noqa: PERF402 - what came before an exception counts; list.extend promises nothing about that
    except _SilentTooLong:
        if not fires:
            raise
    return fires


def fires_between(schedule: Schedule, start: datetime, end: datetime, limit: int) -> list[datetime]:
    """Fire times after `start` and not after `end`, ascending, at most `limit`, in UTC.

    Ranges that touch share nothing and miss nothing: (a, b] and (b, c] together are (a, c]. Empty where nothing fires. O(limit).
    """
    _check_instant("end", end)
    fires: list[datetime] = []
    try:
        for fire in islice(_instants(schedule, start), max(limit, 0)):
            if fire > end:
                break
            fires.append(fire)
    except _SilentTooLong:
        return fires  # five years of silence: what was found until then is all there is
    return fires


def describe(schedule: Schedule) -> str:
    """The schedule in words: "every 5 minutes", "at 08:00 every day (Europe/Rome)". What has no short words is quoted as it stands."""
    match schedule:
        case IntervalSchedule():
            return _describe_interval(schedule)
        case CronSchedule():
            return _describe_cron(schedule)
        case RRuleSchedule():
            return _describe_rrule(schedule)
    assert_never(schedule)


def dst_notes(schedule: Schedule, after: datetime, until: datetime) -> list[tuple[datetime, str]]:
    """What clock changes do to the schedule after `after` and not after `until`: (instant, sentence), ascending. For previews.

    One note per clock change that touches a fire; intervals in elapsed time have none. Raises `ScheduleError` for more than five years.
    """
    _check_instant("after", after)
    _check_instant("until", until)
    if until - after > MAX_WAIT:
        raise ScheduleError(f"a preview from {after} to {until} is too long", hint="Ask for at most five years (1827 days).")
    zone = _zone(schedule.timezone)
    notes: list[tuple[datetime, str]] = []
    for change in _clock_changes(zone, after, until + _DAY):
        for stream in _streams(schedule):
            note = _note_on(change, stream, schedule.timezone)
            if note is not None and after < note[0] <= until:
                notes.append(note)
    return sorted(set(notes))


# ------------------------------------------------------------------------------------------------------- from wall times to instants


class _SilentTooLong(ScheduleError):
    """No fire within `MAX_WAIT`, or within the steps we are willing to take."""


class _Stream(msgspec.Struct, frozen=True):
    """Wall times in ascending order, strictly after the one given; `wildcard` says which of the two rules lays them onto the time line.

    `until` is the last instant that may fire, for rules that end at one.
    """

    walls: Callable[[datetime], Iterator[datetime]]
    wildcard: bool
    until: datetime | None = None


def _instants(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """All fires strictly after `after`, lazily."""
    _check_instant("after", after)
    after = after.astimezone(UTC)
    zone = _zone(schedule.timezone)
    streams = _streams(schedule)
    if isinstance(schedule, IntervalSchedule) and not streams:
        return _elapsed_instants(schedule, after)
    laid = [_lay(stream, zone, after) for stream in streams]
    if isinstance(schedule, RRuleSchedule):
        return _with_exact_dates(_recurrence(schedule.rrule, schedule.timezone), laid, after)
    return laid[0]


def _lay(stream: _Stream, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    fires = _fire_whenever_shown(stream, zone, after) if stream.wildcard else _fire_once(stream, zone, after)
    until = stream.until
    return fires if until is None else takewhile(lambda fire: fire <= until, fires)


def _streams(schedule: Schedule) -> Sequence[_Stream]:
    """The wall times of a schedule. None for an interval that is elapsed time."""
    match schedule:
        case IntervalSchedule():
            return [_Stream(lambda floor: _interval_walls(schedule, floor), wildcard=False)] if _keeps_wall_clock(schedule) else []
        case CronSchedule():
            return [_Stream(lambda floor: _cron_walls(schedule, floor), wildcard=_is_cron_wildcard(schedule.cron))]
        case RRuleSchedule():
            return _recurrence(schedule.rrule, schedule.timezone).streams
    assert_never(schedule)


def _fire_once(stream: _Stream, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Each wall time at the first instant whose local time is not before it: skipped ones right after the gap, repeated ones once.

    No wall time up to the one shown at `after` can still fire, so the stream starts there.
    """
    last = after
    gap_ends = datetime.min  # noqa: DTZ901 - a wall time
    for wall in stream.walls(_wall(after, zone)):
        if wall < gap_ends:
            continue  # the gap has had its one fire
        fire, second = _readings(wall, zone)
        if second < fire:
            fire = _change_between(second, fire, zone)
            gap_ends = _wall(fire, zone)
        if fire > last:
            yield fire
            last = fire


def _fire_whenever_shown(stream: _Stream, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Every instant whose local time is in the stream. The second pass of a repeated hour waits in `repeats` until the first is through."""
    repeats: list[datetime] = []
    try:
        for wall in stream.walls(_earliest_wall(after, zone)):
            first, second = _readings(wall, zone)
            if second < first:
                continue  # skipped: never shown
            while repeats and repeats[0] < first:
                yield repeats.pop(0)
            if first > after:
                yield first
            if second > first and second > after:
                repeats.append(second)
    except _SilentTooLong:
        yield from repeats
        raise
    yield from repeats


def _readings(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The two ways to read a wall time (PEP 495): equal if it is shown once, ascending if twice, descending if it is skipped."""
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC), wall.replace(tzinfo=zone, fold=1).astimezone(UTC)


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _earliest_wall(after: datetime, zone: ZoneInfo) -> datetime:
    """A wall time that nothing shown after `after` lies below: clocks that go back within a day are allowed for, hour by hour."""
    lowest = min(_offset(after + timedelta(hours=hours), zone) for hours in range(1, 25))
    return _wall(after, zone) - max(_offset(after, zone) - lowest, timedelta(0))


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant, to the second, at which the offset of `before` gives way to that of `after`."""
    old = _offset(before, zone)
    low, high = before.replace(microsecond=0), after
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if _offset(middle, zone) == old:
            low = middle
        else:
            high = middle
    return low + timedelta(seconds=1)


def _check_instant(name: str, instant: datetime) -> None:
    if instant.tzinfo is None:
        raise ScheduleError(f"{name} {instant} has no time zone", hint="Pass an aware datetime, such as datetime(2026, 1, 1, tzinfo=UTC).")
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise ScheduleError(f"{name} {instant} is out of range", hint=f"Schedules answer for the years {FIRST_YEAR} to {LAST_YEAR}.")


# ----------------------------------------------------------------------------------------------------------------------- time zones


_REFUSED_ZONES = frozenset({"localtime", "posixrules", "Factory"})


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    """The zone of that name. Names that mean another thing on another machine (localtime) or count leap seconds (right/…) are refused."""
    try:
        if not isinstance(name, str):
            raise TypeError(name)
        if name.startswith(("right/", "posix/")) or name in _REFUSED_ZONES:
            raise ValueError(name)
        zone: ZoneInfo = _zoneinfo().ZoneInfo(name)
    except (KeyError, TypeError, ValueError, OSError):
        raise ScheduleError(f"timezone {name!r} is not known", hint=_zone_hint(name)) from None
    return zone


def _zone_hint(name: str) -> str:
    known = {zone.lower(): zone for zone in _zoneinfo().available_timezones() - _REFUSED_ZONES}
    wanted = str(name).strip().lower().replace(" ", "_")
    if any(lower.startswith(wanted + "/") for lower in known):
        return f"It is an area: add the city, such as {min(zone for zone in known.values() if zone.lower().startswith(wanted + '/'))!r}."
    by_city = [zone for lower, zone in sorted(known.items()) if lower.endswith("/" + wanted)]
    close = by_city or [known[match] for match in _close_matches(wanted, known, n=1, cutoff=0.7)]
    return f"Did you mean {close[0]!r}?" if close else "Use an IANA name such as 'Europe/Rome' or 'UTC'."


# ------------------------------------------------------------------------------------------------------------------------- intervals


def _normalise_anchor(schedule: IntervalSchedule, anchor: datetime) -> None:
    """Keep an aware anchor as UTC, so that equal schedules are equal on the wire too."""
    if not isinstance(anchor, datetime):
        raise ScheduleError(f"anchor_date {anchor!r} is not a datetime", hint="Write anchor_date=datetime(2026, 1, 1, 8, 0).")
    if not FIRST_YEAR <= anchor.year <= LAST_YEAR:
        raise ScheduleError(f"anchor_date {anchor} is out of range", hint=f"Use a year from {FIRST_YEAR} to {LAST_YEAR}.")
    if anchor.tzinfo is not None and anchor.tzinfo is not UTC:
        msgspec.structs.force_setattr(schedule, "anchor_date", anchor.astimezone(UTC))


def _keeps_wall_clock(schedule: IntervalSchedule) -> bool:
    return schedule.interval % _DAY == timedelta(0)


def _interval_walls(schedule: IntervalSchedule, floor: datetime) -> Iterator[datetime]:
    anchor = schedule.anchor_date or _DEFAULT_ANCHOR
    wall = _wall(anchor, _zone(schedule.timezone)) if anchor.tzinfo else anchor
    wall += ((floor - wall) // schedule.interval + 1) * schedule.interval
    while True:
        yield wall
        wall += schedule.interval


def _elapsed_instants(schedule: IntervalSchedule, after: datetime) -> Iterator[datetime]:
    anchor = schedule.anchor_date or _DEFAULT_ANCHOR
    fire = anchor if anchor.tzinfo else _readings(anchor, _zone(schedule.timezone))[0]
    fire += ((after - fire) // schedule.interval + 1) * schedule.interval
    while True:
        yield fire
        fire += schedule.interval


# ------------------------------------------------------------------------------------------------------------------------------ cron

_CRON_ALIASES: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_CRON_FIELDS: Sequence[tuple[str, str, int]] = (
    ("second", "0-59", 60),
    ("minute", "0-59", 60),
    ("hour", "0-23", 24),
    ("day-of-month", "1-31, L or LW", 31),
    ("month", "1-12 or JAN-DEC", 12),
    ("day-of-week", "0-7 or SUN-SAT (0 and 7 are Sunday), MON#2, 5L", 7),
)
"""Name, range in words, number of values: in the order of a six-field expression."""

_GREGORIAN_SAMPLE = range(2001, 2029)
"""28 years hold each of the 14 kinds of year (7 first weekdays, leap or not), in the order in which they come until 2100."""


def _cron_fields(expression: str) -> list[str]:
    """Six upper-case fields, seconds first. Raises `ScheduleError` if the text cannot be cut into them."""
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in _CRON_ALIASES:
            close = _close_matches(text.lower(), _CRON_ALIASES, n=1, cutoff=0.6)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {' '.join(_CRON_ALIASES)}. For another rhythm use IntervalSchedule."
            raise ScheduleError(f"cron '{text}' is not known", hint=hint)
        text = _CRON_ALIASES[text.lower()]
    fields = text.upper().split()
    if len(fields) not in {5, 6}:
        raise ScheduleError(
            f"cron {expression!r:.100} has {len(fields)} fields, not 5 (or 6 with seconds first)",
            hint="Write 'minute hour day-of-month month day-of-week', such as '0 8 * * *' for 08:00 every day.",
        )
    fields = fields if len(fields) == 6 else ["0", *fields]
    fields[5] = re.sub(r"(?<!SUN)-SUN\b", "-7", fields[5])  # FRI-SUN: as the end of a range Sunday is the seventh day, not day 0
    return fields


@lru_cache(maxsize=1024)
def _validate_cron(expression: str, day_or: bool) -> None:
    fields = _cron_fields(expression)
    for position, field in enumerate(fields):
        _validate_cron_field(expression, position, field)
    last = datetime(_GREGORIAN_SAMPLE.start - 1, 12, 31, 23, 59, 59)  # noqa: DTZ001 - a wall time
    for year in _GREGORIAN_SAMPLE:
        if last.year >= year:
            continue
        found = _next_cron_wall(fields, day_or, datetime(year - 1, 12, 31, 23, 59, 59))  # noqa: DTZ001 - a wall time
        if found is None:
            raise ScheduleError(f"cron '{expression}' never fires", hint="No date matches day-of-month, month and day-of-week together.")
        if found - last > MAX_WAIT:
            raise ScheduleError(f"cron '{expression}' can be silent for over five years", hint="Choose days that come more often.")
        last = found


def _validate_cron_field(expression: str, position: int, field: str) -> None:
    name, values, size = _CRON_FIELDS[position]
    hint = f"Its values are {values}; write *, */2, 1-5 or 1,3."
    if "?" in field:
        hint = "Write * instead of ?."
    for step in re.findall(r"/(\d+)", field):
        if int(step[:9]) > size:
            hint = f"A step of {step} is longer than the field; for a rhythm of its own use IntervalSchedule."
            raise ScheduleError(f"cron '{expression}': the {name} field '{field}' is not valid", hint=hint)
    alone = ["*"] * 6
    alone[position] = field
    if len(field) > 200:
        raise ScheduleError(f"cron '{expression:.100}…': the {name} field is too long", hint="A field has at most 200 characters.")
    cronsim = _cronsim()
    try:
        cronsim.CronSim(" ".join(alone), _DEFAULT_ANCHOR)
    except (cronsim.CronSimError, AssertionError, ValueError):  # the latter two: what cronsim lets through by mistake
        raise ScheduleError(f"cron '{expression}': the {name} field '{field}' is not valid", hint=hint) from None


# What only some schedules need is loaded by the first that does: every flow process imports this module, few read a schedule.


def _cronsim() -> ModuleType:
    return importlib.import_module("cronsim")


def _zoneinfo() -> ModuleType:
    return importlib.import_module("zoneinfo")


def _close_matches(word: str, possibilities: Iterable[str], *, n: int, cutoff: float = 0.6) -> list[str]:
    found: list[str] = importlib.import_module("difflib").get_close_matches(word, possibilities, n=n, cutoff=cutoff)
    return found


def _days_in_month(year: int, month: int) -> int:
    return 31 if month == 12 else (date(year, month + 1, 1) - date(year, month, 1)).days


def _cron_sim(fields: Sequence[str], day_or: bool, floor: datetime) -> CronSim:
    """A cronsim iterator on naive time: its own clock-change rules, which differ between five and six fields, stay asleep."""
    sim: CronSim = _cronsim().CronSim(" ".join(fields), floor)
    if not day_or:
        sim.day_and = True
    return sim


def _next_cron_wall(fields: Sequence[str], day_or: bool, floor: datetime) -> datetime | None:
    try:
        return next(_cron_sim(fields, day_or, floor), None)
    except _cronsim().CronSimError:  # cronsim knows by itself that 30 February does not come
        return None


def _cron_walls(schedule: CronSchedule, floor: datetime) -> Iterator[datetime]:
    last = floor
    for wall in _cron_sim(_cron_fields(schedule.cron), schedule.day_or, floor):
        if wall - last > MAX_WAIT:
            break
        yield wall
        last = wall
    raise _SilentTooLong(f"cron '{schedule.cron}' does not fire within five years of {last}", hint="Choose days that come more often.")


def _is_cron_wildcard(expression: str) -> bool:
    """Debian's rule: a star at the beginning of the minute or the hour field."""
    fields = _cron_fields(expression)
    return fields[1].startswith("*") or fields[2].startswith("*")


# ----------------------------------------------------------------------------------------------------------------------------- RRULE


class _Frequency(IntEnum):
    YEARLY = 0
    MONTHLY = 1
    WEEKLY = 2
    DAILY = 3
    HOURLY = 4
    MINUTELY = 5
    SECONDLY = 6


_SECONDS: Mapping[_Frequency, int] = {
    _Frequency.YEARLY: 365 * 86400,
    _Frequency.MONTHLY: 30 * 86400,
    _Frequency.WEEKLY: 7 * 86400,
    _Frequency.DAILY: 86400,
    _Frequency.HOURLY: 3600,
    _Frequency.MINUTELY: 60,
    _Frequency.SECONDLY: 1,
}
"""Length of one period, at least."""

_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

_NUMBER_PARTS: Mapping[str, tuple[int, int, bool]] = {
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

_PARTS = (*_NUMBER_PARTS, "FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "WKST")


class _Rule(msgspec.Struct, frozen=True):
    """One RRULE line, read, with what it leaves unsaid filled in from its start as RFC 5545 §3.3.10 asks.

    Empty sets admit everything; hours, minutes and seconds are never empty. `until` is the last wall time that may fire.
    """

    text: str
    frequency: _Frequency
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
            length = _days_in_month(day.year, day.month)
            if day.day - length - 1 not in self.monthdays:
                return False
        if self.yeardays and self.yeardays.isdisjoint(_from_both_ends(*_place_in_year(day))):
            return False
        return not self.weeknos or not self.weeknos.isdisjoint(_week_number(day, self.week_start))

    def _is_nth_weekday(self, day: date) -> bool:
        if not self.nth_weekdays:
            return False
        if self.frequency is _Frequency.MONTHLY or self.months:
            place, length = day.day, _days_in_month(day.year, day.month)
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
    return day.timetuple().tm_yday, 366 if _days_in_month(day.year, 2) == 29 else 365


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


class _Patience:
    """Counts days and times looked at since the last occurrence, and days of silence; raises when either is enough.

    One that does not forget counts all of its work: for what is done once, such as finding the COUNTth occurrence.
    """

    __slots__ = ("_forgets", "_found_at", "_last_day", "_since", "_text", "spent")

    def __init__(self, rule: _Rule, floor: datetime, *, forgets: bool = True) -> None:
        self._text = rule.text
        self._forgets = forgets
        self._since = max(floor, rule.start).date()
        self.spent = self._found_at = 0
        self.found(self._since.toordinal())

    def spend(self, steps: int, day: int) -> None:
        self.spent += steps
        if day > self._last_day:
            message = f"rrule '{self._text}' does not fire within five years of {self._since}"
            raise _SilentTooLong(message, hint="Choose days that come more often.")
        if self.spent - self._found_at > MAX_STEPS:
            message = f"rrule '{self._text}' takes too long: {MAX_STEPS} days and times from {self._since} on were tried"
            raise _SilentTooLong(message, hint="If it can fire at all, say it with a coarser FREQ, or with UNTIL instead of COUNT.")

    def found(self, day: int) -> None:
        self._last_day = day + MAX_WAIT.days
        if self._forgets:
            self._found_at = self.spent
            self._since = date.fromordinal(day)


def _rule_walls(rule: _Rule, floor: datetime, patience: _Patience | None = None) -> Iterator[datetime]:
    """Occurrences of one rule strictly after `floor`. Starts anywhere without walking there; raises `_SilentTooLong`."""
    floor = max(floor, rule.start - _TICK)
    patience = patience or _Patience(rule, floor)
    candidates = _walls_of_days(rule, floor, patience) if rule.frequency <= _Frequency.DAILY else _walls_within_days(rule, floor, patience)
    for wall in candidates:
        if wall > rule.until:
            return
        if wall > floor:
            patience.found(wall.toordinal())
            yield wall


def _walls_of_days(rule: _Rule, floor: datetime, patience: _Patience) -> Iterator[datetime]:
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


def _period_of(rule: _Rule, day: date) -> int:
    match rule.frequency:
        case _Frequency.YEARLY:
            return day.year
        case _Frequency.MONTHLY:
            return day.year * 12 + day.month - 1
        case _Frequency.WEEKLY:
            return (day.toordinal() - 1 - rule.week_start) // 7
        case _:
            return day.toordinal()


def _days_of(rule: _Rule, period: int) -> list[int]:
    """Ordinals of the days of a period that are worth a look. Empty past the year 9998: the end of the calendar."""
    match rule.frequency:
        case _Frequency.YEARLY:
            months = [(period, month) for month in sorted(rule.months) or range(1, 13)]
        case _Frequency.MONTHLY:
            months = [(period // 12, period % 12 + 1)]
        case _Frequency.WEEKLY:
            first = period * 7 + 1 + rule.week_start
            return list(range(first, first + 7)) if first < _LAST_DAY else []
        case _:
            return [period] if period < _LAST_DAY else []
    if months[0][0] > _LAST_CALENDAR_YEAR:
        return []
    firsts = [(date(year, month, 1).toordinal(), _days_in_month(year, month)) for year, month in months]
    return [first + day for first, length in firsts for day in range(length)]


_LAST_CALENDAR_YEAR = 9998
_LAST_DAY = date(_LAST_CALENDAR_YEAR, 12, 31).toordinal()


def _timed(rule: _Rule, days: list[int], floor: datetime, patience: _Patience) -> Iterator[datetime]:
    floor_day = floor.toordinal()
    second = (floor - datetime.combine(floor, time())).seconds
    for day in days:
        if day < floor_day:
            continue
        begin = bisect_left(range(rule.times_a_day), second, key=rule.time_of_day) if day == floor_day else 0
        for index in range(begin, rule.times_a_day):
            patience.spend(1, day)
            yield _at(day, rule.time_of_day(index))


def _positioned(rule: _Rule, days: list[int], patience: _Patience) -> Iterator[datetime]:
    """BYSETPOS: the n-th of all occurrences of the period, counted from its beginning or its end."""
    if not days:
        return
    patience.spend(len(rule.positions), days[0])
    total = len(days) * rule.times_a_day
    indexes = {position - 1 if position > 0 else total + position for position in rule.positions}
    for index in sorted(index for index in indexes if 0 <= index < total):
        day, time_index = divmod(index, rule.times_a_day)
        yield _at(days[day], rule.time_of_day(time_index))


def _walls_within_days(rule: _Rule, floor: datetime, patience: _Patience) -> Iterator[datetime]:
    """HOURLY to SECONDLY: in each matching day, the units that lie a multiple of INTERVAL from the start."""
    unit = _SECONDS[rule.frequency]
    by_unit = msgspec.structs.replace(rule, minutes=rule.minutes if unit < 3600 else (0,), seconds=rule.seconds if unit == 1 else (0,))
    within = [m * 60 + s for m in (rule.minutes if unit == 3600 else (0,)) for s in (rule.seconds if unit > 1 else (0,))]
    begin = (floor - datetime.combine(floor, time())).seconds
    for day in range(floor.toordinal(), min(rule.until.toordinal(), _LAST_DAY) + 1):
        patience.spend(1, day)
        if rule.matches(date.fromordinal(day)):
            patience.spend(2, day)  # what setting up a day costs, measured in candidates
            for second in _units_of_day(by_unit, day, begin, patience):
                for more in within:
                    yield _at(day, second + more)
        begin = 0


def _units_of_day(rule: _Rule, day: int, begin: int, patience: _Patience) -> Iterator[int]:
    """Where the units of a sub-daily rule that fire on that day begin, in seconds after midnight, from the unit of `begin` on.

    Two ways to find them, the shorter one is taken: walk the rule's times and keep those in step, or walk the steps and keep those that
    are among the rule's times.
    """
    unit = _SECONDS[rule.frequency]
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


def _admits(rule: _Rule, second: int) -> bool:
    return second // 3600 in rule.hours and second // 60 % 60 in rule.minutes and second % 60 in rule.seconds


def _at(day: int, second: int) -> datetime:
    return datetime.fromordinal(day) + timedelta(seconds=second)


# -------------------------------------------------------------------------------------------------------------------- reading RRULEs


_BEGIN = datetime(FIRST_YEAR - 1, 1, 1)  # noqa: DTZ001 - a wall time before all others
_NEVER_ENDS = datetime(_LAST_CALENDAR_YEAR, 12, 31)  # noqa: DTZ001 - a wall time after all others

_Stamp = datetime | date
"""A date or time of an RRULE text: aware UTC if it ended in Z, a naive wall time if not, a date if it had no time of day."""


class _Recurrence(msgspec.Struct, frozen=True):
    """A whole RRULE text, read. Dates in UTC are exact instants and are added and removed last; all others went into the streams."""

    rules: tuple[_Rule, ...]
    streams: tuple[_Stream, ...]
    added: tuple[datetime, ...]
    removed: frozenset[datetime]


def _with_exact_dates(recurrence: _Recurrence, laid: Sequence[Iterator[datetime]], after: datetime) -> Iterator[datetime]:
    last = after
    for fire in heapq.merge(*laid, [instant for instant in recurrence.added if instant > after]):
        if fire > last and fire not in recurrence.removed:
            yield fire
            last = fire


@lru_cache(maxsize=1024)
def _recurrence(text: str, timezone: str) -> _Recurrence:
    """Read the text and prove that each of its rules fires. Raises `ScheduleError`."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ScheduleError(f"rrule of {len(text)} characters is too long", hint=f"At most {MAX_TEXT_LENGTH} are read.")
    lines = _rrule_lines(text, timezone)
    if not lines["RRULE"] and not lines["RDATE"]:
        raise ScheduleError(f"rrule '{text}' holds no rule and no RDATE", hint="Write 'FREQ=DAILY;BYHOUR=8'.")
    zone = _zone(timezone)
    start = _only_start(text, lines["DTSTART"], zone)
    added, removed = _stamps(lines["RDATE"], text), _stamps(lines["EXDATE"], text)
    removed_walls = frozenset(removed)
    rules = _read_rules(text, lines["RRULE"], start, zone)
    streams = [_stream_of(rule, until, removed_walls) for rule, until in rules]
    dates = sorted(datetime.combine(stamp, time()) if not isinstance(stamp, datetime) else stamp for stamp in added if not _is_exact(stamp))
    if dates:
        streams.append(
            _Stream(lambda floor: (wall for wall in dates if wall > floor and not _is_removed(wall, removed_walls)), wildcard=False)
        )
    exact = [sorted(stamp for stamp in stamps if isinstance(stamp, datetime) and _is_exact(stamp)) for stamps in (added, removed)]
    return _Recurrence(tuple(rule for rule, _ in rules), tuple(streams), tuple(exact[0]), frozenset(exact[1]))


def _rrule_lines(text: str, timezone: str) -> dict[str, list[str]]:
    """The text's lines by name. A TZID must be the schedule's own: one schedule has one zone."""
    lines: dict[str, list[str]] = {"DTSTART": [], "RRULE": [], "RDATE": [], "EXDATE": []}
    unfolded = re.sub(r"\r?\n[ \t]", "", text.strip())
    for line in filter(None, (line.strip() for line in unfolded.splitlines())):
        head, colon, value = line.partition(":")
        name, *parameters = head.split(";") if colon else ["RRULE"]
        name = name.upper()
        if name not in lines:
            raise ScheduleError(f"rrule line '{line:.80}' is not known", hint="Lines are DTSTART, RRULE, RDATE and EXDATE.")
        for parameter in parameters:
            _check_line_parameter(line, parameter, timezone)
        lines[name].append((value if colon else line).strip().upper())
    return lines


def _check_line_parameter(line: str, parameter: str, timezone: str) -> None:
    key, _, value = parameter.partition("=")
    if key.upper() == "VALUE" and value.upper() in {"DATE", "DATE-TIME"}:
        return
    if key.upper() != "TZID":
        raise ScheduleError(
            f"rrule line '{line:.80}': '{parameter}' is not known", hint="Lines may carry TZID and VALUE=DATE or DATE-TIME."
        )
    if value != timezone:
        raise ScheduleError(f"rrule line '{line:.80}' is in {value}, the schedule in {timezone}", hint=f"Pass timezone={value!r}.")


def _only_start(text: str, values: list[str], zone: ZoneInfo) -> datetime | None:
    if not values:
        return None
    if len(values) > 1:
        raise ScheduleError(f"rrule '{text:.80}' has {len(values)} DTSTARTs", hint="Keep one.")
    start = _wall_of(_stamp(values[0], text), zone)
    if not FIRST_YEAR <= start.year <= LAST_YEAR:
        raise ScheduleError(f"rrule DTSTART {start} is out of range", hint=f"Use a year from {FIRST_YEAR} to {LAST_YEAR}.")
    return start


def _stamps(values: Sequence[str], text: str) -> list[_Stamp]:
    return [_stamp(item.strip(), text) for value in values for item in value.split(",")]


def _stamp(value: str, text: str) -> _Stamp:
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?", value, re.ASCII)
    try:
        if found is None:
            raise ValueError(value)
        year, month, day = (int(found[group]) for group in (1, 2, 3))
        if found[4] is None:
            return date(year, month, day)
        return datetime(year, month, day, int(found[4]), int(found[5]), int(found[6]), tzinfo=UTC if found[7] else None)
    except ValueError:
        hint = "Write 20260131T080000 for a local time, 20260131T080000Z for UTC."
        raise ScheduleError(f"rrule '{text:.80}': '{value}' is not a date", hint=hint) from None


def _is_exact(stamp: _Stamp) -> bool:
    return isinstance(stamp, datetime) and stamp.tzinfo is not None


def _wall_of(stamp: _Stamp, zone: ZoneInfo) -> datetime:
    if not isinstance(stamp, datetime):
        return datetime.combine(stamp, time())
    return _wall(stamp, zone) if stamp.tzinfo else stamp


def _is_removed(wall: datetime, removed: frozenset[_Stamp]) -> bool:
    """An EXDATE with a time takes away that time, one without takes away the day."""
    return bool(removed) and (wall in removed or wall.date() in removed)


def _stream_of(rule: _Rule, until: datetime | None, removed: frozenset[_Stamp]) -> _Stream:
    def walls(floor: datetime) -> Iterator[datetime]:
        return (wall for wall in _rule_walls(rule, floor) if not _is_removed(wall, removed))

    return _Stream(walls, wildcard=rule.frequency > _Frequency.DAILY, until=until)


def _read_rules(text: str, lines: Sequence[str], start: datetime | None, zone: ZoneInfo) -> list[tuple[_Rule, datetime | None]]:
    """Each line's rule with the last instant it may fire, if it names one. The steps they take to read are bounded together."""
    rules, spent = [], 0
    for line in lines:
        if spent > MAX_STEPS or len(lines) > MAX_RULES:
            raise ScheduleError(f"rrule '{text:.80}…' with {len(lines)} rules takes too long", hint="Make it several schedules.")
        rule, until, steps = _read_rule(line, start, zone)
        spent += steps + _prove_it_fires(rule, MAX_STEPS // 2 - spent)
        rules.append((rule, until))
    return rules


def _read_rule(text: str, start: datetime | None, zone: ZoneInfo) -> tuple[_Rule, datetime | None, int]:
    """The rule of one RRULE line, its last instant, and the steps it took to count. COUNT becomes the wall time of the last occurrence."""
    parts = _rule_parts(text)
    until = _stamp(parts["UNTIL"], text) if "UNTIL" in parts else None
    rule = _build_rule(text, parts, start or _DEFAULT_ANCHOR)
    until_instant, spent = None, 0
    if until is not None:
        last = _wall_of(until, zone) if isinstance(until, datetime) else datetime.combine(until, time.max)
        until_instant = until if isinstance(until, datetime) and until.tzinfo else None
        rule = msgspec.structs.replace(rule, until=last + (_DAY if until_instant else timedelta(0)))  # the instant decides, walls only end
    if "COUNT" in parts:
        if until is not None:
            raise ScheduleError(f"rrule '{text}' has both COUNT and UNTIL", hint="Keep one (RFC 5545 §3.3.10).")
        if start is None:
            raise ScheduleError(f"rrule '{text}' has COUNT but nothing to count from", hint="Add a line such as DTSTART:20260101T080000.")
        patience = _Patience(rule, _BEGIN, forgets=False)
        occurrences = islice(_rule_walls(rule, _BEGIN, patience), _whole_number(text, "COUNT", parts["COUNT"]))
        rule = msgspec.structs.replace(rule, until=max(occurrences, default=_BEGIN))
        spent = patience.spent
    return rule, until_instant, spent


def _rule_parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, text.strip(";").split(";")):
        key, equals, value = part.partition("=")
        if key not in _PARTS:
            close = _close_matches(key, _PARTS, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(sorted(_PARTS))}."
            raise ScheduleError(f"rrule '{text}': '{key:.40}' is not known", hint=hint)
        if not equals or not value or key in parts:
            raise ScheduleError(f"rrule '{text}': '{part:.40}' has no value, or comes twice", hint=f"Write {key}=… once.")
        parts[key] = value
    return parts


def _build_rule(text: str, parts: Mapping[str, str], start: datetime) -> _Rule:
    frequency = _frequency(text, parts)
    numbers = {key: _numbers(text, key, parts[key]) for key in _NUMBER_PARTS if key in parts}
    weekdays, nth_weekdays = _by_day(text, parts.get("BYDAY", ""), frequency)
    months, monthdays = numbers.get("BYMONTH", ()), numbers.get("BYMONTHDAY", ())
    if not (weekdays or nth_weekdays or monthdays or "BYYEARDAY" in numbers or "BYWEEKNO" in numbers):
        months = months or ((start.month,) if frequency is _Frequency.YEARLY else ())
        monthdays = (start.day,) if frequency <= _Frequency.MONTHLY else ()
        weekdays = frozenset({start.weekday()}) if frequency is _Frequency.WEEKLY else weekdays
    if "BYSETPOS" in numbers and frequency > _Frequency.DAILY:
        raise ScheduleError(f"rrule '{text}': BYSETPOS needs FREQ=DAILY or longer", hint="Name the minutes with BYMINUTE instead.")
    if parts.get("WKST", "MO") not in _WEEKDAYS:
        raise ScheduleError(f"rrule '{text}': WKST={parts['WKST']} is not a weekday", hint=f"Weekdays are {' '.join(_WEEKDAYS)}.")
    return _Rule(
        text=text,
        frequency=frequency,
        interval=_interval(text, parts.get("INTERVAL", "1"), frequency),
        start=start,
        until=_NEVER_ENDS,
        months=frozenset(months),
        monthdays=frozenset(monthdays),
        yeardays=frozenset(numbers.get("BYYEARDAY", ())),
        weeknos=frozenset(numbers.get("BYWEEKNO", ())),
        weekdays=weekdays,
        nth_weekdays=nth_weekdays,
        hours=numbers.get("BYHOUR") or ((start.hour,) if frequency < _Frequency.HOURLY else tuple(range(24))),
        minutes=numbers.get("BYMINUTE") or ((start.minute,) if frequency < _Frequency.MINUTELY else tuple(range(60))),
        seconds=numbers.get("BYSECOND") or ((start.second,) if frequency < _Frequency.SECONDLY else tuple(range(60))),
        positions=numbers.get("BYSETPOS", ()),
        week_start=_WEEKDAYS.index(parts.get("WKST", "MO")),
    )


def _frequency(text: str, parts: Mapping[str, str]) -> _Frequency:
    name = parts.get("FREQ", "")
    if name not in _Frequency.__members__:
        close = _close_matches(name, _Frequency.__members__, n=1)
        hint = f"Did you mean FREQ={close[0]}?" if close else f"FREQ is one of {', '.join(_Frequency.__members__)}."
        raise ScheduleError(f"rrule '{text}': " + (f"FREQ={name} is not known" if name else "FREQ is missing"), hint=hint)
    return _Frequency[name]


def _interval(text: str, value: str, frequency: _Frequency) -> int:
    interval = _whole_number(text, "INTERVAL", value)
    if interval * _SECONDS[frequency] > MAX_WAIT.total_seconds():
        raise ScheduleError(f"rrule '{text}' is silent for over five years", hint="Choose a shorter INTERVAL.")
    return interval


def _whole_number(text: str, key: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) == 0:
        raise ScheduleError(f"rrule '{text}': {key}={value:.40} is not a positive whole number", hint=f"Write {key}=2.")
    return int(value)


def _numbers(text: str, key: str, value: str) -> tuple[int, ...]:
    low, high, from_end = _NUMBER_PARTS[key]
    numbers = set()
    for item in value.split(","):
        number = int(item) if re.fullmatch(r"[+-]?[0-9]{1,3}", item) else high + 1
        if not (low <= number <= high or (from_end and low <= -number <= high)):
            hint = f"{key} takes {low} to {high}" + (f", and -{high} to -{low} from the end." if from_end else ".")
            raise ScheduleError(f"rrule '{text}': {key}={item:.40} is not valid", hint=hint)
        numbers.add(number)
    return tuple(sorted(numbers))


def _by_day(text: str, value: str, frequency: _Frequency) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
    """Plain weekdays, and those with a number: (2, 0) is the second Monday of the month or year, (-1, 4) its last Friday."""
    plain, numbered = set(), set()
    for item in filter(None, value.split(",")):
        found = re.fullmatch(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)", item)
        if found is None or (found[1] and not 1 <= abs(int(found[1])) <= 53):
            raise ScheduleError(f"rrule '{text}': BYDAY={item:.40} is not valid", hint="Write MO, 2MO (second) or -1FR (last).")
        weekday = _WEEKDAYS.index(found[2])
        if not found[1]:
            plain.add(weekday)
        elif frequency > _Frequency.MONTHLY:
            raise ScheduleError(f"rrule '{text}': BYDAY={item} needs FREQ=MONTHLY or YEARLY", hint=f"Or write BYDAY={found[2]}.")
        else:
            numbered.add((int(found[1]), weekday))
    return frozenset(plain), frozenset(numbered)


def _prove_it_fires(rule: _Rule, budget: int) -> int:
    """Look for one occurrence a year for 28 years; the steps that took. Raises `ScheduleError` where five years are silent.

    After `budget` steps it looks no further: a sparse rule is looked at for fewer years, the last of many only for its first occurrence.
    """
    patience = _Patience(rule, _BEGIN)
    found = next(_rule_walls(rule, _BEGIN, patience), None)
    if found is None:
        raise ScheduleError(f"rrule '{rule.text}' never fires", hint="It ends before its first occurrence: move UNTIL or DTSTART.")
    for _ in _GREGORIAN_SAMPLE:
        if found is None or patience.spent > budget:
            break
        found = next(_rule_walls(rule, found.replace(month=12, day=31, hour=23, minute=59, second=59), patience), None)
    return patience.spent


# ------------------------------------------------------------------------------------------------------------------------- in words


def _describe_interval(schedule: IntervalSchedule) -> str:
    words = "every " + _duration(schedule.interval)
    if not _keeps_wall_clock(schedule):
        return words
    return f"{words} at {_clock(next(_interval_walls(schedule, _DEFAULT_ANCHOR)))} ({schedule.timezone})"


def _duration(length: timedelta) -> str:
    """What follows "every": "5 minutes", "hour", "1 hour 30 minutes"."""
    rest = length
    words = []
    for name, unit in (("day", _DAY), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        number, rest = divmod(rest, unit)
        if number:
            words.append(_several(number, name))
    if rest:
        words.append(_several(rest.seconds if not rest.microseconds else rest.total_seconds(), "second"))
    return words[0].removeprefix("1 ") if len(words) == 1 else " ".join(words)


def _several(number: float, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _clock(wall: datetime) -> str:
    return f"{wall:%H:%M:%S}" if wall.second else f"{wall:%H:%M}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH_NAMES = (
    "",
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def _describe_cron(schedule: CronSchedule) -> str:
    fields = _cron_fields(schedule.cron)
    rhythm = _cron_rhythm(fields)
    if rhythm is not None:
        return rhythm
    times, days = _cron_times(fields), _cron_days(fields)
    if times is None or days is None:
        return f"cron {schedule.cron} ({schedule.timezone})"
    return f"at {times} {days} ({schedule.timezone})"


def _cron_rhythm(fields: Sequence[str]) -> str | None:
    """Words for expressions that beat evenly within the hour: those need no time zone."""
    second, minute, hour, *days = fields
    if [hour, *days] != ["*"] * 4:
        return None
    step = re.compile(r"(?:\*|0)/([0-9]+)")
    if (found := step.fullmatch(second)) and minute == "*" and 60 % int(found[1]) == 0:
        return "every " + _duration(timedelta(seconds=int(found[1])))
    if second == minute == "*":
        return "every second"
    if second != "0":
        return None
    if minute == "*":
        return "every minute"
    if (found := step.fullmatch(minute)) and 60 % int(found[1]) == 0:
        return "every " + _duration(timedelta(minutes=int(found[1])))
    if minute.isdigit():
        return "every hour" if int(minute) == 0 else f"at minute {int(minute)} of every hour"
    return None


def _cron_times(fields: Sequence[str]) -> str | None:
    lists = [[int(item) for item in field.split(",")] for field in fields[:3] if re.fullmatch(r"[0-9]+(,[0-9]+)*", field)]
    if len(lists) < 3 or len(lists[0]) * len(lists[1]) * len(lists[2]) > 4:
        return None
    seconds, minutes, hours = lists
    times = sorted({time(hour, minute, second) for hour in hours for minute in minutes for second in seconds})
    return _listed([_clock(datetime.combine(_DEFAULT_ANCHOR, moment)) for moment in times])


def _cron_days(fields: Sequence[str]) -> str | None:
    monthday, month, weekday = fields[3:]
    named = re.sub("|".join(_CRON_WEEKDAYS), lambda found: str(_CRON_WEEKDAYS.index(found[0])), weekday)
    if (monthday, month, weekday) == ("*", "*", "*"):
        return "every day"
    if (monthday, month) == ("*", "*") and named == "1-5":
        return "Monday to Friday"
    if (monthday, month) == ("*", "*") and re.fullmatch(r"[0-7](-[0-7])?(,[0-7](-[0-7])?)*", named):
        days = sorted({(day - 1) % 7 for item in named.split(",") for day in range(int(item[0]), int(item[-1]) + 1)})
        return "every " + _listed([_DAY_NAMES[day] for day in days])
    if (month, weekday) == ("*", "*") and monthday == "L":
        return "on the last day of every month"
    if (month, weekday) == ("*", "*") and monthday.isdigit():
        return f"on day {int(monthday)} of every month"
    if weekday == "*" and monthday.isdigit() and month.isdigit():
        return f"on {int(monthday)} {_MONTH_NAMES[int(month)]} every year"
    return None


_CRON_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def _describe_rrule(schedule: RRuleSchedule) -> str:
    recurrence = _recurrence(schedule.rrule, schedule.timezone)
    words = _rule_words(recurrence.rules[0]) if len(recurrence.rules) == 1 == len(recurrence.streams) and not recurrence.added else None
    if words is None:
        return f"rrule {' '.join(schedule.rrule.split())} ({schedule.timezone})"
    text = recurrence.rules[0].text
    until = re.search(r"UNTIL=(\d{4})(\d\d)(\d\d)", text)
    times = re.search(r"COUNT=(\d+)", text)
    words += f", until {until[1]}-{until[2]}-{until[3]}" if until else ""
    words += f", {_several(int(times[1]), 'time')}" if times else ""
    words += ", with exceptions" if "EXDATE" in schedule.rrule.upper() else ""
    return f"{words} ({schedule.timezone})"


def _rule_words(rule: _Rule) -> str | None:
    if rule.yeardays or rule.weeknos or rule.positions or rule.nth_weekdays:
        return None
    if rule.frequency > _Frequency.DAILY:
        evenly = all(f"BY{part}" not in rule.text for part in ("HOUR", "MINUTE", "SECOND", "DAY", "MONTH"))
        return "every " + _duration(timedelta(seconds=rule.interval * _SECONDS[rule.frequency])) if evenly else None
    days = _rule_days(rule)
    if days is None or rule.times_a_day > 4:
        return None
    return f"at {_listed([_clock(_at(1, rule.time_of_day(index))) for index in range(rule.times_a_day)])} {days}"


def _rule_days(rule: _Rule) -> str | None:
    every = f"every {rule.interval} " if rule.interval > 1 else "every "
    plural = "s" if rule.interval > 1 else ""
    weekdays = _listed([_DAY_NAMES[day] for day in sorted(rule.weekdays)]) if rule.weekdays else ""
    monthdays = ["the last day" if day == -1 else f"day {day}" for day in sorted(rule.monthdays) if day > -2]
    match rule.frequency:
        case _Frequency.DAILY if not (rule.weekdays or rule.monthdays or rule.months):
            return f"{every}day{plural}"
        case _Frequency.WEEKLY if not (rule.monthdays or rule.months):
            return f"every {weekdays}" if rule.interval == 1 else f"on {weekdays} {every}weeks"
        case _Frequency.MONTHLY if monthdays and len(monthdays) == len(rule.monthdays) and not (rule.weekdays or rule.months):
            return f"on {_listed(monthdays)} of every month" if rule.interval == 1 else f"on {_listed(monthdays)} {every}months"
        case _Frequency.YEARLY if len(rule.months) == len(rule.monthdays) == 1 and not rule.weekdays and min(rule.monthdays) > 0:
            return f"on {min(rule.monthdays)} {_MONTH_NAMES[min(rule.months)]} {every}year{plural}"
        case _:
            return None


# -------------------------------------------------------------------------------------------------------- what clock changes do to it


class _ClockChange(msgspec.Struct, frozen=True):
    """At `at` the wall clock would have shown `old` and shows `new`."""

    at: datetime
    old: datetime
    new: datetime


def _clock_changes(zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[_ClockChange]:
    """Changes of offset in (after, until], looked for day by day: two within 24 hours that cancel out are not seen."""
    here = after.astimezone(UTC)
    end = until.astimezone(UTC)
    while here < end:
        there = min(here + _DAY, end)
        old, new = _offset(here, zone), _offset(there, zone)
        if old != new:
            at = _change_between(here, there, zone)
            wall = at.replace(tzinfo=None)
            yield _ClockChange(at, wall + old, wall + new)
        here = there


def _note_on(change: _ClockChange, stream: _Stream, timezone: str) -> tuple[datetime, str] | None:
    low, high = sorted((change.old, change.new))
    touched: list[datetime] = []
    try:
        touched.extend(islice(takewhile(lambda wall: wall < high, stream.walls(low - _TICK)), 100))
    except _SilentTooLong:
        return None  # nothing for years after `low`: nothing in the hour after it
    if not touched:
        return None
    format_ = "%H:%M" if low.date() == high.date() else "%Y-%m-%d %H:%M"
    hours = f"{low:{format_}} and {high:{format_}}"
    times = f"{touched[0]:{format_}}" + (f" and {len(touched) - 1}{'+' if len(touched) == 100 else ''} more" if len(touched) > 1 else "")
    if change.old < change.new:
        lead = f"{timezone}: clocks go forward from {low:{format_}} to {high:{format_}} on {change.new:%Y-%m-%d}"
        if stream.wildcard:
            return change.at, f"{lead}; times between {hours} do not exist and do not fire"
        verb = "does not exist and fires" if len(touched) == 1 else "do not exist and fire"
        return change.at, f"{lead}; {times} {verb} once, at {_clock(high)}"
    lead = f"{timezone}: clocks go back from {high:{format_}} to {low:{format_}} on {change.new:%Y-%m-%d}"
    if stream.wildcard:
        return change.at, f"{lead}; times between {hours} come twice and fire both times"
    verb = "comes twice and fires" if len(touched) == 1 else "come twice and fire"
    return _readings(touched[0], _zone(timezone))[0], f"{lead}; {times} {verb} the first time only"
