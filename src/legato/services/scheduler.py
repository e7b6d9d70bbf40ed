"""The scheduler: turns schedules into runs ahead of time.

A schedule's cursor is the last tick that was dealt with. A tick of the scheduler deals with what passed since (by the catch-up policy)
and plans the next runs. The store makes each tick one run however many schedulers there are, and tells one that read an old version.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from legato.core.errors import Conflict, ScheduleError
from legato.core.records import Catchup, Deployment, DeploymentSchedule
from legato.core.schedules import describe, fires_between, next_fires
from legato.services.planning import run_of
from legato.store.port import Store
from legato.system import new_id

EVERY_S = 5.0
MAX_AHEAD = 100
"""Runs of one schedule that are planned at a time, and ticks caught up in one go."""
AHEAD = timedelta(hours=24)
MIN_AHEAD = 3
"""Runs that are planned even when they lie further ahead, so that there is something to see and to preview."""
MAX_SKIPPED = 100_000
"""Missed ticks that are counted; a schedule that was silent for longer is not worth the time."""

_log = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True):
    """What one tick did: runs planned, ticks skipped by a catch-up policy, schedules edited meanwhile, schedules that cannot be read."""

    created: int = 0
    skipped: int = 0
    conflicts: int = 0
    failures: int = 0


class Plan(msgspec.Struct, frozen=True):
    """What is to be done about one schedule: ticks that become runs, how many are skipped, and where its cursor goes."""

    ticks: list[datetime]
    skipped: int
    cursor_at: datetime


def plan(schedule: DeploymentSchedule, now: datetime) -> Plan:
    """What is to be done about a schedule now. Pure."""
    cursor = schedule.cursor_at or now
    missed, skipped, caught_up_to = _catch_up(schedule, cursor, now)
    if len(missed) == MAX_AHEAD and schedule.catchup is Catchup.ALL and caught_up_to < now:
        return Plan(missed, skipped, caught_up_to)
    planned = len(fires_between(schedule.schedule, now, cursor, MAX_AHEAD)) if cursor > now else 0
    ahead = next_fires(schedule.schedule, max(cursor, now), MAX_AHEAD - planned) if planned < MAX_AHEAD else []
    wanted = [tick for i, tick in enumerate(ahead) if tick <= now + AHEAD or planned + i < MIN_AHEAD]
    ticks = [*missed, *wanted]
    return Plan(ticks, skipped, max([cursor, caught_up_to, *ticks[-1:]]))


def _catch_up(schedule: DeploymentSchedule, cursor: datetime, now: datetime) -> tuple[list[datetime], int, datetime]:
    """Ticks between the cursor and now that become runs, how many do not, and up to where that is said."""
    if cursor >= now:
        return [], 0, cursor
    if schedule.catchup is Catchup.ALL:
        missed = fires_between(schedule.schedule, cursor, now, MAX_AHEAD)
        return missed, 0, missed[-1] if len(missed) == MAX_AHEAD else now
    missed = fires_between(schedule.schedule, cursor, now, MAX_SKIPPED)
    kept = missed[-1:] if schedule.catchup is Catchup.LATEST else []
    return kept, len(missed) - len(kept), now


def tick(store: Store, now: datetime, *, make_id: Callable[[], str] = new_id) -> Report:
    """Plan the next runs of every live schedule. One schedule's trouble does not keep the others from being planned."""
    schedules = store.list_schedules()
    deployments = {d.id: d for d in store.list_deployments()} if schedules else {}
    created = skipped = conflicts = failures = 0
    for schedule in schedules:
        deployment = deployments.get(schedule.deployment_id)
        if deployment is None:
            continue
        try:
            wanted = plan(schedule, now)
            created += _record(store, schedule, deployment, wanted, now, make_id)
            skipped += wanted.skipped
        except Conflict:  # somebody else edited the schedule since it was read: the next tick sees the new one
            conflicts += 1
        except ScheduleError as error:
            failures += 1
            _log.warning("schedule_cannot_be_planned", extra={"deployment": deployment.full_name, "reason": error.message})
    return Report(created, skipped, conflicts, failures)


def _record(
    store: Store, schedule: DeploymentSchedule, deployment: Deployment, wanted: Plan, now: datetime, make_id: Callable[[], str]
) -> int:
    if not wanted.ticks and not wanted.skipped:
        return 0  # the cursor may stay behind: there is nothing between it and now
    trigger = f"schedule: {describe(schedule.schedule)}"
    runs = [run_of(deployment, id=make_id(), due_at=at, now=now, trigger=trigger, schedule_id=schedule.id) for at in wanted.ticks]
    if wanted.skipped:
        _log.warning(
            "ticks_skipped", extra={"deployment": deployment.full_name, "skipped": wanted.skipped, "catchup": str(schedule.catchup)}
        )
    return store.schedule_runs(schedule, runs, cursor_at=wanted.cursor_at, now=now)
