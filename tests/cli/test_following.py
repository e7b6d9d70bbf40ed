"""Whoever watches a run sees each change once and in order, whenever it happens, and is let go when the run has ended, however much else happens."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from legato.cli import follow
from legato.core.records import RunKind, TaskRun, Transition
from legato.core.states import COMPLETED, PAUSED, RUNNING, State
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.system import SystemClock, new_id

from tests.cli.conftest import Command, add_run

ASKED = ("journal_position", "list_transitions", "read_journal", "get_flow_run")
"""What a watcher asks of the store; before each of these something may happen."""


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Have something happen before whatever the watcher asks."""

    def before_each_question(happens: Callable[[], None]) -> None:
        is_happening: list[bool] = []
        for name in ASKED:
            asked = getattr(SqlStore, name)

            def question(self: SqlStore, *args: Any, _asked: Any = asked, **named: Any) -> Any:
                if not is_happening:
                    is_happening.append(True)
                    try:
                        happens()
                    finally:
                        is_happening.clear()
                return _asked(self, *args, **named)

            monkeypatch.setattr(SqlStore, name, question)

    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0)
    return before_each_question


def changes_of(store: Store, run_id: str) -> Iterator[Transition]:
    """What a run does after its start: it pauses and goes on, with a task before each, and ends."""
    now = SystemClock().now()
    for seq, type_ in enumerate((PAUSED, RUNNING, COMPLETED), 2):
        task = TaskRun(
            id=new_id(), flow_run_id=run_id, key="work", name=f"work-{seq}", state=State(RUNNING, "Running", now), created_at=now
        )
        yield Transition(RunKind.FLOW, run_id, seq, State(type_, type_.capitalize(), now), 1, fence=1)
        if type_ is not COMPLETED:
            yield Transition(RunKind.TASK, task.id, 1, task.state, 1, fence=1, task_run=task)
            yield Transition(RunKind.TASK, task.id, 2, State(COMPLETED, "Completed", now), 1, fence=1)


@pytest.mark.parametrize("begins", range(8))
@pytest.mark.parametrize("every", [1, 2, 3])
def test_each_change_is_told_once_and_in_order_whenever_it_happens(
    begins: int, every: int, legato: Command, store: Store, meanwhile: Callable[..., None]
) -> None:
    run = add_run(store, "amber-heron", ended=None)
    changes, asked = changes_of(store, run.id), iter(range(10_000))

    def happens() -> None:
        n = next(asked) - begins
        if n >= 0 and n % every == 0 and (change := next(changes, None)) is not None:
            store.apply([change])

    meanwhile(happens)
    told = [json.loads(line) for line in legato("run", "watch", run.id, "-o", "jsonl").out.splitlines()]

    whole = [entry for entry in store.read_journal() if entry.flow_run_id == run.id]
    assert len(whole) == 8
    before = len(ASKED) - begins  # the run is looked for first; what tasks did until then nobody has watched
    unwatched = [entry.pos for entry in whole[1 : max(1, before)] if entry.kind is RunKind.TASK]
    missed = [entry.pos for entry in whole if entry.pos not in {one["pos"] for one in told}]
    assert [one["pos"] for one in told] == [entry.pos for entry in whole if entry.pos not in missed]
    assert set(missed) <= set(unwatched)


def test_a_run_that_has_ended_lets_its_watcher_go_while_others_go_on(legato: Command, store: Store, meanwhile: Callable[..., None]) -> None:
    watched = add_run(store, "amber-heron")
    others = []

    def happens() -> None:
        assert len(others) < 50, "it watches what others do"
        others.append(add_run(store, f"other-{len(others)}"))

    meanwhile(happens)

    assert legato("run", "watch", watched.id).code == 0
