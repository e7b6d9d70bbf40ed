"""Runs that take longer than their schedule's interval: one goes on, one waits, what was overtaken is skipped and says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from legato.core.records import Catchup
from legato.core.states import CANCELLED, SCHEDULED
from legato.services import overlap
from legato.store.open import open_sql_store
from legato.store.port import Store

from tests.store.make import add_deployment, add_queue, at, claim, every, scheduled


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    yield opened
    opened.close()


@pytest.mark.parametrize(("catchup", "is_held", "left"), [("latest", True, 1), ("none", True, 1), ("all", True, 4), ("latest", False, 5)])
def test_only_the_latest_waits_while_one_goes_on(store: Store, catchup: str, is_held: bool, left: int) -> None:
    add_queue(store)
    deployment = add_deployment(store, schedules=(every(1, catchup=Catchup(catchup)),))
    (schedule,) = deployment.schedules
    made = [scheduled(n, deployment=deployment, schedule_id=schedule.id) for n in range(5)]
    runs = [store.create_flow_run(run, now=at(0)) for run in made]
    if is_held:
        (held,) = claim(store, seconds=10)
        runs = [run for run in runs if run.id != held.flow_run.id]

    overlap.tick(store, at(10))
    overlap.tick(store, at(11))

    states = [store.get_flow_run(run.id).state for run in runs]
    assert [state.type for state in states].count(SCHEDULED) == left
    assert states[-1].type is SCHEDULED
    assert all("skipped" in (state.message or "") for state in states if state.type is CANCELLED)
