"""Laying wall times onto the real time line: the fires of a schedule, and what clock changes do to it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import TYPE_CHECKING, assert_never

import msgspec

from legato.core.errors import ScheduleError
from legato.core.schedules.cron import cron_fields, cron_sim, is_cron_wildcard
from legato.core.schedules.intervals import elapsed_instants, interval_walls, keeps_wall_clock
from legato.core.schedules.kinds import CronSchedule, IntervalSchedule, RRuleSchedule, Schedule
from legato.core.schedules.rule_texts import Recurrence, read_recurrence
from legato.core.schedules.streams import DAY, FIRST_YEAR, LAST_YEAR, MAX_WAIT, TICK, SilentTooLong, Stream
from legato.core.schedules.words import clock_words
from legato.core.schedules.zones import change_between, earliest_wall, offset_at, readings_of, wall_at, zone_named

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


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
    except SilentTooLong:
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
    except SilentTooLong:
        return fires  # five years of silence: what was found until then is all there is
    return fires


def dst_notes(schedule: Schedule, after: datetime, until: datetime) -> list[tuple[datetime, str]]:
    """What clock changes do to the schedule after `after` and not after `until`: (instant, sentence), ascending. For previews.

    One note per clock change that touches a fire; intervals in elapsed time have none. Raises `ScheduleError` for more than five years.
    """
    _check_instant("after", after)
    _check_instant("until", until)
    if until - after > MAX_WAIT:
        raise ScheduleError(f"a preview from {after} to {until} is too long", hint="Ask for at most five years (1827 days).")
    zone = zone_named(schedule.timezone)
    notes: list[tuple[datetime, str]] = []
    for change in _clock_changes(zone, after, until + DAY):
        for stream in _streams(schedule):
            note = _note_on(change, stream, schedule.timezone)
            if note is not None and after < note[0] <= until:
                notes.append(note)
    return sorted(set(notes))


def _instants(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """All fires strictly after `after`, lazily."""
    _check_instant("after", after)
    after = after.astimezone(UTC)
    zone = zone_named(schedule.timezone)
    streams = _streams(schedule)
    if isinstance(schedule, IntervalSchedule) and not streams:
        return elapsed_instants(schedule, after)
    laid = [_lay(stream, zone, after) for stream in streams]
    if isinstance(schedule, RRuleSchedule):
        return _with_exact_dates(read_recurrence(schedule.rrule, schedule.timezone), laid, after)
    return laid[0]


def _lay(stream: Stream, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    fires = _fire_whenever_shown(stream, zone, after) if stream.wildcard else _fire_once(stream, zone, after)
    until = stream.until
    return fires if until is None else takewhile(lambda fire: fire <= until, fires)


def _streams(schedule: Schedule) -> Sequence[Stream]:
    """The wall times of a schedule. None for an interval that is elapsed time."""
    match schedule:
        case IntervalSchedule():
            return [Stream(lambda floor: interval_walls(schedule, floor), wildcard=False)] if keeps_wall_clock(schedule) else []
        case CronSchedule():
            return [Stream(lambda floor: _cron_walls(schedule, floor), wildcard=is_cron_wildcard(schedule.cron))]
        case RRuleSchedule():
            return read_recurrence(schedule.rrule, schedule.timezone).streams
    assert_never(schedule)


def _fire_once(stream: Stream, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Each wall time at the first instant whose local time is not before it: skipped ones right after the gap, repeated ones once.

    No wall time up to the one shown at `after` can still fire, so the stream starts there.
    """
    last = after
    gap_ends = datetime.min  # noqa: DTZ901 - a wall time
    for wall in stream.walls(wall_at(after, zone)):
        if wall < gap_ends:
            continue  # the gap has had its one fire
        fire, second = readings_of(wall, zone)
        if second < fire:
            fire = change_between(second, fire, zone)
            gap_ends = wall_at(fire, zone)
        if fire > last:
            yield fire
            last = fire


def _fire_whenever_shown(stream: Stream, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Every instant whose local time is in the stream. The second pass of a repeated hour waits in `repeats` until the first is through."""
    repeats: list[datetime] = []
    try:
        for wall in stream.walls(earliest_wall(after, zone)):
            first, second = readings_of(wall, zone)
            if second < first:
                continue  # skipped: never shown
            while repeats and repeats[0] < first:
                yield repeats.pop(0)
            if first > after:
                yield first
            if second > first and second > after:
                repeats.append(second)
    except SilentTooLong:
        yield from repeats
        raise
    yield from repeats


def _check_instant(name: str, instant: datetime) -> None:
    if instant.tzinfo is None:
        raise ScheduleError(f"{name} {instant} has no time zone", hint="Pass an aware datetime, such as datetime(2026, 1, 1, tzinfo=UTC).")
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise ScheduleError(f"{name} {instant} is out of range", hint=f"Schedules answer for the years {FIRST_YEAR} to {LAST_YEAR}.")


def _cron_walls(schedule: CronSchedule, floor: datetime) -> Iterator[datetime]:
    last = floor
    for wall in cron_sim(cron_fields(schedule.cron), schedule.day_or, floor):
        if wall - last > MAX_WAIT:
            break
        yield wall
        last = wall
    raise SilentTooLong(f"cron '{schedule.cron}' does not fire within five years of {last}", hint="Choose days that come more often.")


def _with_exact_dates(recurrence: Recurrence, laid: Sequence[Iterator[datetime]], after: datetime) -> Iterator[datetime]:
    last = after
    for fire in heapq.merge(*laid, [instant for instant in recurrence.added if instant > after]):
        if fire > last and fire not in recurrence.removed:
            yield fire
            last = fire


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
        there = min(here + DAY, end)
        old, new = offset_at(here, zone), offset_at(there, zone)
        if old != new:
            at = change_between(here, there, zone)
            wall = at.replace(tzinfo=None)
            yield _ClockChange(at, wall + old, wall + new)
        here = there


def _note_on(change: _ClockChange, stream: Stream, timezone: str) -> tuple[datetime, str] | None:
    low, high = sorted((change.old, change.new))
    touched: list[datetime] = []
    try:
        touched.extend(islice(takewhile(lambda wall: wall < high, stream.walls(low - TICK)), 100))
    except SilentTooLong:
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
        return change.at, f"{lead}; {times} {verb} once, at {clock_words(high)}"
    lead = f"{timezone}: clocks go back from {high:{format_}} to {low:{format_}} on {change.new:%Y-%m-%d}"
    if stream.wildcard:
        return change.at, f"{lead}; times between {hours} come twice and fire both times"
    verb = "comes twice and fires" if len(touched) == 1 else "come twice and fire"
    return readings_of(touched[0], zone_named(timezone))[0], f"{lead}; {times} {verb} the first time only"
