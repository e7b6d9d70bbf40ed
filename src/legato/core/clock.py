"""Time as a port: who needs the time is handed a `Clock`. `legato.system.SystemClock` is the only one that reads the machine's.

`ManualClock` stands still until it is moved, for tests and simulation.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from legato.core.errors import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the time. `now` is an aware UTC instant, to be written down; `monotonic_s` never jumps, to measure durations."""

    def now(self) -> datetime: ...

    def monotonic_s(self) -> float: ...


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def monotonic_s(self) -> float:
        return (self._now - EPOCH).total_seconds()

    def advance(self, by: timedelta | float) -> datetime:
        """Move forward by a timedelta or a number of seconds; returns the new time."""
        self._now += by if isinstance(by, timedelta) else timedelta(seconds=by)
        return self._now


class JumpWatch:
    """Sees when a clock has been set: the time it tells and the time that has passed part by more than `tolerance`."""

    def __init__(self, clock: Clock, *, tolerance: timedelta = timedelta(seconds=5)) -> None:
        self._clock = clock
        self._tolerance = tolerance
        self._last = (clock.now(), clock.monotonic_s())

    def has_jumped(self) -> bool:
        """Whether the clock was set, forwards or back, since this was last asked."""
        last_now, last_s = self._last
        now, passed_s = self._clock.now(), self._clock.monotonic_s()
        self._last = (now, passed_s)
        return abs((now - last_now) - timedelta(seconds=passed_s - last_s)) > self._tolerance


_US = timedelta(microseconds=1)
EARLIEST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _US
LATEST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _US
"""The first and the last instant that a datetime in UTC can hold."""


def to_us(at: datetime) -> int:
    """Microseconds since 1970, exact over the whole calendar. Raises `UsageError` for what no instant in UTC can be read back from."""
    try:
        us = (at - EPOCH) // _US
    except TypeError:
        raise UsageError(f"{at!r} has no time zone, so it is no instant", hint="give an aware datetime, in UTC best") from None
    if not EARLIEST_US <= us <= LATEST_US:
        raise UsageError(f"{at!r} is no instant in UTC's years 1 to 9999")
    return us


def from_us(us: int) -> datetime:
    """The instant `us` microseconds after 1970; the inverse of `to_us`."""
    return EPOCH + timedelta(0, 0, us)


def clamped(us: int) -> int:
    """The nearest instant of the calendar."""
    return max(EARLIEST_US, min(us, LATEST_US))
