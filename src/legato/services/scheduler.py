"""The scheduler: turns schedules into runs ahead of time.

A schedule's cursor is the last tick that was dealt with. A tick of the scheduler deals with what passed since (by the catch-up policy),
plans the next runs, and says when to look again. So only schedules with something to do are read. The store makes each tick one run however many schedulers there are, and tells one that read an old version.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from legato.core.errors import ScheduleError
from legato.core.planning import run_of
from legato.core.records import Catchup, DeploymentSchedule, Due, SchedulePlan
from legato.core.schedules import describe, fires_between, next_fires
from legato.store.port import Store
from legato.system import new_id

EVERY_S = 5.0
MAX_AHEAD = 100
"""Runs of one schedule that are planned at a time, and ticks caught up in one go."""
AHEAD = timedelta(hours=24)
MIN_AHEAD = 3
"""Runs that are planned even when they lie further ahead, so that there is something to see and to preview."""
MAX_SKIPPED = 100_000
"""Missed ticks that are counted; of a schedule that was silent for longer, at least so many were skipped."""
AT_ONCE = 100
"""Schedules that are read, and planned in one transaction."""
UNREADABLE_AGAIN = timedelta(hours=1)
"""When a schedule that cannot be planned is looked at again."""
LOOK_EVERY = timedelta(minutes=10)
NEVER = timedelta(days=3650)

_log = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True):
    """What one tick did: runs planned, ticks skipped by a catch-up policy, schedules edited meanwhile, schedules that cannot be read."""

    created: int = 0
    skipped: int = 0
    conflicts: int = 0
    failures: int = 0


class Plan(msgspec.Struct, frozen=True):
    """What is to be done about one schedule: ticks that become runs, how many are skipped, where its cursor goes, when to look again."""

    ticks: list[datetime]
    skipped: int
    cursor_at: datetime
    look_at: datetime


def plan(schedule: DeploymentSchedule, now: datetime) -> Plan:
    """What is to be done about a schedule now. Pure."""
    cursor = schedule.cursor_at or now
    missed, skipped, caught_up_to = _catch_up(schedule, cursor, now)
    if len(missed) == MAX_AHEAD and schedule.catchup is Catchup.ALL and caught_up_to < now:
        return Plan(missed, skipped, caught_up_to, now)
    planned = fires_between(schedule.schedule, now, cursor, MAX_AHEAD) if cursor > now else []
    ahead = _ahead(schedule, max(cursor, now), now, len(planned))
    ticks = [*missed, *ahead]
    return Plan(ticks, skipped, max([cursor, caught_up_to, *ticks[-1:]]), _look_again_at([*planned, *ahead], now))


def _ahead(schedule: DeploymentSchedule, after: datetime, now: datetime, planned: int) -> list[datetime]:
    """The next ticks: of a day, and MIN_AHEAD in any case."""
    room = MAX_AHEAD - planned
    day = fires_between(schedule.schedule, after, now + AHEAD, room) if room > 0 and after < now + AHEAD else []
    missing = MIN_AHEAD - planned - len(day)
    return day if missing <= 0 else [*day, *next_fires(schedule.schedule, day[-1] if day else after, missing)]


def _look_again_at(planned: Sequence[datetime], now: datetime) -> datetime:
    """At the first tick that is some minutes away: not for each of a busy schedule's, and while more than half of them are still planned.

    Nothing planned: the schedule has ended.
    """
    if not planned:
        return now + NEVER
    soon = next((tick for tick in planned if tick >= now + LOOK_EVERY), planned[-1])
    return min(soon, planned[len(planned) // 2])


def _catch_up(schedule: DeploymentSchedule, cursor: datetime, now: datetime) -> tuple[list[datetime], int, datetime]:
    """Ticks between the cursor and now that become runs, how many do not, and up to where that is said."""
    if cursor >= now:
        return [], 0, cursor
    if schedule.catchup is Catchup.ALL:
        missed = fires_between(schedule.schedule, cursor, now, MAX_AHEAD)
        return missed, 0, missed[-1] if len(missed) == MAX_AHEAD else now
    count = len(fires_between(schedule.schedule, cursor, now, MAX_SKIPPED))
    kept = [_latest(schedule, cursor, now)] if count and schedule.catchup is Catchup.LATEST else []
    return kept, count - len(kept), now


def _latest(schedule: DeploymentSchedule, cursor: datetime, now: datetime) -> datetime:
    """The last tick up to now, of which there is one. Looked for from now backwards: there may be any number since the cursor."""
    back = timedelta(minutes=1)
    while True:
        start = max(cursor, now - back)
        found = fires_between(schedule.schedule, start, now, MAX_SKIPPED)
        if found:
            return found[-1]
        back *= 8


def tick(store: Store, now: datetime, *, make_id: Callable[[], str] = new_id, jumped: bool = False) -> Report:
    """Plan the next runs of every schedule that is due to be looked at. One's trouble does not keep the others from being planned.

    `jumped`: the clock was set since the last tick, so what was put off by it is looked at now. No tick is made twice by that.
    """
    if jumped:
        store.look_at_all_schedules(now=now)
    created = skipped = conflicts = failures = 0
    while due := store.due_schedules(limit=AT_ONCE, now=now):
        plans = [_planned(one, now, make_id) for one in due]
        answers = store.plan_runs([each for each, _ in plans], now=now)
        created += sum(answer or 0 for answer in answers)
        conflicts += answers.count(None)  # edited since it was read: it is looked at anew
        skipped += sum(each.skipped for (each, _), answer in zip(plans, answers, strict=True) if answer is not None)
        failures += sum(failed for _, failed in plans)
        if len(due) < AT_ONCE:
            break
    return Report(created, skipped, conflicts, failures)


def _planned(due: Due, now: datetime, make_id: Callable[[], str]) -> tuple[SchedulePlan, bool]:
    """What to record about a schedule, and whether it could not be planned."""
    schedule, deployment = due.schedule, due.deployment
    try:
        wanted = plan(schedule, now)
        trigger = f"schedule: {describe(schedule.schedule)}"
    except ScheduleError as error:
        _log.warning("schedule_cannot_be_planned", extra={"deployment": deployment.full_name, "reason": error.message})
        return SchedulePlan(schedule, [], schedule.cursor_at or now, now + UNREADABLE_AGAIN), True
    runs = [run_of(deployment, id=make_id(), due_at=at, now=now, trigger=trigger, schedule_id=schedule.id) for at in wanted.ticks]
    if wanted.skipped:
        _log.warning(
            "ticks_skipped", extra={"deployment": deployment.full_name, "skipped": wanted.skipped, "catchup": str(schedule.catchup)}
        )
    skipped_from = schedule.cursor_at if wanted.skipped else None
    return SchedulePlan(
        schedule, runs, wanted.cursor_at, wanted.look_at, wanted.skipped, skipped_from, now if wanted.skipped else None
    ), False
