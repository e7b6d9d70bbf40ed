"""Databases write many rows a statement, with what is the same in all bound once: nothing of that may show, whatever the number of rows."""

import pytest

from legato.core.records import ErrorDetail, LogLine, Transition
from legato.core.states import COMPLETED, FAILED, PENDING, RUNNING, StateType
from legato.store.port import Store

from tests.store.make import at, begin, state, step, task_of

NUMBERS = (1, 3, 4, 5, 15, 16, 21, 63, 64, 65, 150)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("alike", [True, False])
def test_each_row_is_what_was_said_of_it(store: Store, number: int, alike: bool) -> None:
    run = begin(store)
    firsts = [_first(run, i, alike=alike) for i in range(number)]
    before = store.journal_position()
    verdicts = store.apply(firsts, now=at(1))
    ends = [_end(first, i, alike=alike) for i, first in enumerate(firsts)]
    verdicts += store.apply(ends, now=at(2))

    assert {verdict.kind for verdict in verdicts} == {"accepted"}
    found = store.list_task_runs(run.id).items
    assert [task.id for task in found] == [first.run_id for first in firsts]
    for i, (task, first, end) in enumerate(zip(found, firsts, ends, strict=True)):
        said = first.task_run
        assert said is not None
        assert (task.name, task.tags, task.upstream, task.retries) == (said.name, said.tags, said.upstream, said.retries)
        assert (task.cache_expires_s, task.parent_task_id, task.code) == (said.cache_expires_s, said.parent_task_id, said.code)
        assert (task.state, task.seq, task.error, task.ended_at) == (end.state, 2, end.error, end.state.at), i
    told = store.read_journal(before)
    assert [entry.pos for entry in told] == list(range(before + 1, before + 1 + 2 * number))
    assert [(entry.run_id, entry.state) for entry in told] == [(t.run_id, t.state) for t in (*firsts, *ends)]


@pytest.mark.parametrize("number", NUMBERS)
def test_log_lines_stay_in_order(store: Store, number: int) -> None:
    run = begin(store)
    lines = [LogLine(run.id, at(0), 20 if i % 3 else 40, "flow", f"line {i}" if i % 2 else "") for i in range(number)]
    store.apply([], lines, now=at(0))

    found = store.read_logs(run.id, limit=1000)
    assert [(line.level, line.message, line.task_run_id) for line in found] == [(line.level, line.message, None) for line in lines]


def _first(run: object, i: int, *, alike: bool) -> Transition:
    if alike:
        return task_of(run, 1, name="the same")  # type: ignore[arg-type]
    type_: StateType = RUNNING if i % 2 else PENDING
    particulars = {
        "name": f"task-{i}",
        "tags": ("a", 'b"') if i % 3 else (),
        "upstream": (f"up-{i}",),
        "retries": i % 2,
        "cache_expires_s": i / 2 if i % 4 else None,
        "parent_task_id": "parent" if i % 5 == 0 else None,
        "code": {"f": str(i)} if i % 2 else None,
    }
    return task_of(run, 1 + i / 100, type_, **particulars)  # type: ignore[arg-type]


def _end(first: Transition, i: int, *, alike: bool) -> Transition:
    if alike:
        return step(first, COMPLETED, 2)
    type_ = FAILED if i % 2 else COMPLETED
    error = ErrorDetail("ValueError", f"number {i} 'quoted' %s ?1 :id") if i % 2 else None
    end = step(first, type_, 2, error=error)
    return Transition(end.kind, end.run_id, end.seq, state(type_, 2 + i / 100, message=f"end {i}"), end.attempt, end.fence, error=error)
