"""Schedules: when a flow should run. Three kinds, one question: which instants come after this one.

Here live the records a user writes (`IntervalSchedule`, `CronSchedule`, `RRuleSchedule`), their validation, and the arithmetic that turns
them into instants, words and warnings. What to do about an instant (create a run, catch up, skip) is the scheduler's, not ours.

How it works. A schedule is first a stream of *wall times*: naive local times, as if clocks never changed. The streams know nothing of time
zones, start anywhere in O(1), and give up after a bounded number of steps. Two functions then lay a stream onto the real time line:

* `timeline._fire_once` for times somebody wrote down ("02:30"): a wall time fires at the first instant the wall clock shows it *or has passed it*.
  So a time that is skipped in spring fires right after the gap, several of them collapse into one, and a repeated one fires the first time.
* `timeline._fire_whenever_shown` for wildcards ("every half hour"): each instant at which the wall clock shows the time. Both passes of a repeated
  hour fire, a skipped one does not, and the distance between fires stays even.

This is the rule of Debian's cron (man 8 cron, Notes: "Only jobs that run at a particular time (not specified as @hourly, nor with '*' in
the hour or minute specifier) are affected"), without its three-hour limit. RFC 5545 §3.3.5 agrees on repeated times; a skipped 02:30 it
reads with the offset before the gap (03:30), where we fire at the end of the gap (03:00): nobody who asked for half past two is served by
waiting longer than the clock made them. Intervals shorter than a day, or not whole days, never look at the wall clock: they are elapsed time.

RRULEs are evaluated here and not by python-dateutil, because that one walks from DTSTART and searches an impossible rule to the year 9999
inside a single `next()`, which only another process could interrupt. The tests hold the two against each other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from legato.core.schedules.kinds import CronSchedule, IntervalSchedule, RRuleSchedule, Schedule

if TYPE_CHECKING:
    from legato.core.schedules.timeline import dst_notes, fires_between, next_fires
    from legato.core.schedules.words import describe

__all__ = ["CronSchedule", "IntervalSchedule", "RRuleSchedule", "Schedule", "describe", "dst_notes", "fires_between", "next_fires"]

_LATER = {"describe": "words", "dst_notes": "timeline", "fires_between": "timeline", "next_fires": "timeline"}
"""Questions, by the module that answers them: every process knows the records, few ask."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
