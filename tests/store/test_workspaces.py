"""Workspaces: another one in the same database, with the same names, sees nothing of this one and changes nothing in it."""

import pytest

from legato.core.errors import NotFound
from legato.core.records import Artifact, ArtifactKind, FlowRunFilter, Variable
from legato.store.sql import SqlStore
from legato.system import new_id

from tests.store.make import NOON, add_deployment, add_queue, at, begin, claim, every, scheduled


def fill(store: SqlStore, value: int) -> str:
    """The same names in every workspace."""
    deployment = add_deployment(store, schedules=[every(3600)], tags=("prod",))
    add_queue(store, concurrency_limit=1)
    store.create_flow_run(scheduled(deployment=deployment, name="waiting", tags=("prod",)))
    run = begin(store, name="mine", tags=("prod",))
    store.set_variable(Variable(name="limit", value=value, updated_at=NOON), now=NOON)
    art = Artifact(
        id=new_id(), kind=ArtifactKind.MARKDOWN, created_at=NOON, updated_at=NOON, key="report", data=str(value), flow_run_id=run.id
    )
    store.apply([], [], [art], now=NOON)
    return run.id


def test_a_neighbour_with_the_same_names_sees_and_changes_nothing(sql_store: SqlStore) -> None:
    here, there = sql_store, sql_store.of(2)
    mine, theirs = fill(here, 1), fill(there, 2)

    assert [run.id for run in there.list_flow_runs(FlowRunFilter(tags=("prod",), text="mine")).items] == [theirs]
    assert (here.get_variable("limit").value, there.get_variable("limit").value) == (1, 2)
    assert (here.get_artifact("report").version, there.get_artifact("report").data) == (1, "2")
    assert len(here.list_deployments()) == len(there.list_deployments()) == len(there.list_queues(now=NOON)) == 1
    assert {entry.flow_run_id for entry in there.read_journal(0)}.isdisjoint({entry.flow_run_id for entry in here.read_journal(0)})
    with pytest.raises(NotFound):
        there.get_flow_run(mine)
    before = here.list_flow_runs().items
    assert len(claim(there, limit=5)) == 1
    there.delete_deployment("etl/prod", now=at(1))
    there.delete_variable("limit")
    there.delete_queue("main")

    assert here.list_flow_runs().items == before
    assert here.get_variable("limit").value == 1
    assert len(claim(here, limit=5)) == 1
