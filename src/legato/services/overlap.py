"""Schedules whose runs take longer than their interval: while one of a schedule's runs goes on, only the latest of those that wait is kept.

Without that a backlog grows without end, and what runs is ever older. A schedule that owes every tick (`catchup="all"`) is left alone, and so
are runs that wait because no agent takes any: those are owed once there is one.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from legato.core.records import Catchup, FlowRun, FlowRunFilter, RunKind, Transition
from legato.core.states import CANCELLED, PAUSED, PENDING, RUNNING, SCHEDULED, State
from legato.store.port import Store

EVERY_S = 1.0
BATCH = 1000


def tick(store: Store, now: datetime) -> int:
    """Skip what a later tick has overtaken; returns how many runs."""
    waiting: dict[str, list[FlowRun]] = defaultdict(list)
    for run in store.list_flow_runs(FlowRunFilter(states=(SCHEDULED,), start_before=now), limit=BATCH, oldest_first=True).items:
        if run.schedule_id is not None and run.attempt == 0 and run.due_at is not None and run.due_at <= now:
            waiting[run.schedule_id].append(run)
    crowded = {schedule_id: runs for schedule_id, runs in waiting.items() if len(runs) > 1}
    skipped = [run for schedule_id, runs in crowded.items() if _goes_on(store, schedule_id, runs[0]) for run in runs[:-1]]
    if skipped:
        store.apply([Transition(RunKind.FLOW, run.id, run.seq + 1, _skipped(now), run.attempt) for run in skipped])
    return len(skipped)


def _goes_on(store: Store, schedule_id: str, run: FlowRun) -> bool:
    """Whether a run of this schedule is held just now, and the schedule does not owe every tick."""
    held = FlowRunFilter(schedule_id=schedule_id, states=(PENDING, RUNNING, PAUSED))
    if not store.list_flow_runs(held, limit=1).items or run.deployment_id is None:
        return False
    schedules = store.get_deployment(run.deployment_id).schedules
    return any(one.id == schedule_id and one.catchup is not Catchup.ALL for one in schedules)


def _skipped(now: datetime) -> State:
    return State(CANCELLED, "Skipped", now, "skipped: the run before it goes on still, and a later one is due")
