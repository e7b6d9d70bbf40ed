"""A run while a batch is being decided: the facts that the rules see, and the rest of what a transition may change, as it is stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from legato.core.ownership import begun
from legato.core.records import FlowRun, OnLost, RunKind, TaskRun, Transition
from legato.core.rules import RunFacts
from legato.core.states import SCHEDULED, StateType
from legato.store import columns, rows
from legato.store.database import Row
from legato.store.reuse import FOREVER_S

_FLOW, _TASK = RunKind.FLOW, RunKind.TASK


class Working(RunFacts):
    """A run while a batch is being decided: the facts the rules see, and the rest of the columns that a transition may change."""

    id: str = ""
    n: int = 0
    """Its row's number."""
    flow_run: int = 0
    """A task run's flow run, by its number."""
    kind: RunKind = _TASK
    record: FlowRun | TaskRun | None = None
    changed: bool = False
    state_at: int = 0
    state_message: str = ""
    due_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    work_queue: str | None = None
    agent_id: str | None = None
    lease_expires_at: int | None = None
    result: str | None = None
    error: str | None = None
    cache_key: str | None = None
    cache_expires_s: float | None = None


def key_of(run: Working) -> int:
    """What a journal entry names its run by."""
    return run.n if run.kind is _TASK else -run.n


def finite(seconds: float | None) -> float | None:
    """A duration as it is stored; what never ends is none, and what lasts longer than anything else does lasts as long as that."""
    if seconds is None or seconds != seconds:  # noqa: PLR0124 NaN is the one number that is not itself
        return None
    return max(min(float(seconds), FOREVER_S), -FOREVER_S)


def working_flow(row: Row) -> Working:
    return Working(
        id=row[0],
        kind=_FLOW,
        state_type=StateType(row[1]),
        state_name=row[2],
        seq=row[3],
        attempt=row[4],
        name=row[5],
        flow_run_id=row[6],
        cancel_requested=row[7] is not None,
        claimed=row[8] is not None,
        lease_expires_at=row[8],
        retries=row[9],
        retry_when_lost=row[10] == OnLost.RETRY,
        lost=row[11],
        state_at=row[12],
        state_message=row[13],
        due_at=row[14],
        started_at=row[15],
        ended_at=row[16],
        work_queue=row[17],
        agent_id=row[18],
        result=row[19],
        error=row[20],
        epoch=row[21],
        unstarted=row[22],
        n=row[23],
    )


def working_task(row: Row) -> Working:
    return Working(
        id=row[0],
        state_type=StateType(row[1]),
        state_name=row[2],
        seq=row[3],
        attempt=row[4],
        name=row[5],
        flow_run_id=row[6],
        started_at=row[7],
        state_at=row[8],
        state_message=row[9],
        ended_at=row[10],
        result=row[11],
        error=row[12],
        cache_key=row[13],
        cache_expires_s=row[14],
        n=row[15],
        flow_run=row[16],
    )


def created(t: Transition) -> Working:
    """The working form of a run whose first transition was accepted."""
    if t.task_run is not None:
        task = t.task_run
        return Working(
            t.state.type, t.state.name, t.seq, t.attempt, task.name, task.flow_run_id,
            id=task.id, record=task, cache_key=None if task.cache_key is None else columns.token(task.cache_key),
            cache_expires_s=None if task.cache_expires_s is None else finite(task.cache_expires_s),
        )  # fmt: skip
    run = t.flow_run
    assert run is not None, "require_the_record answers a first transition without a record"
    return Working(
        state_type=t.state.type,
        state_name=t.state.name,
        seq=t.seq,
        attempt=t.attempt,
        name=run.name,
        flow_run_id=run.id,
        id=run.id,
        kind=_FLOW,
        record=run,
        due_at=rows.us(run.due_at),
        lost=run.lost,
        epoch=0 if t.state.type is SCHEDULED else begun(0),  # whoever makes a run that is under way holds it
        retries=run.retries,
        retry_when_lost=run.on_lost is OnLost.RETRY,
    )


def new_row(run: Working) -> tuple[Any, ...]:
    if isinstance(run.record, TaskRun):
        return (run.n, run.flow_run, *rows.task_run_writer()(run.record, run))
    assert run.record is not None
    return (run.n, *rows.flow_run_row(run.record, run))


@cache
def row_of_changes(kind: RunKind) -> Callable[[Working], tuple[Any, ...]]:
    return columns.changed(rows.TASK_RUN_COLUMNS if kind is _TASK else rows.FLOW_RUN_COLUMNS)
