"""Streams of wall times: naive local times in ascending order, as if clocks never changed; and how long one may be silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from legato.core.errors import ScheduleError

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

DAY = timedelta(days=1)

TICK = timedelta(microseconds=1)

DEFAULT_ANCHOR = datetime(2020, 1, 1)  # noqa: DTZ001 - a wall time, read in the schedule's zone


class SilentTooLong(ScheduleError):
    """No fire within `MAX_WAIT`, or within the steps we are willing to take."""


class Stream(msgspec.Struct, frozen=True):
    """Wall times in ascending order, strictly after the one given; `wildcard` says which of the two rules lays them onto the time line.

    `until` is the last instant that may fire, for rules that end at one.
    """

    walls: Callable[[datetime], Iterator[datetime]]
    wildcard: bool
    until: datetime | None = None


LAST_CALENDAR_YEAR = 9998
