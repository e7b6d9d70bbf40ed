"""Deployments and their schedules: editing, pausing, deleting, and no tick twice however many schedulers there are."""

import msgspec
import pytest

from legato.core.errors import Conflict, NotFound
from legato.core.records import DeploymentSchedule, FlowRun, RunKind, Transition
from legato.core.states import CANCELLED
from legato.store.port import Store

from tests.store.make import add_deployment, add_queue, apply, at, claim, every, scheduled


def plan(store: Store, schedule: DeploymentSchedule, *ticks: float, now: float = 0) -> int:
    deployment = next(d for d in store.list_deployments() if d.id == schedule.deployment_id)
    runs = [scheduled(tick, deployment=deployment, schedule_id=schedule.id) for tick in ticks]
    return store.schedule_runs(schedule, runs, cursor_at=at(max(ticks)), now=at(now))


def planned(store: Store) -> list[FlowRun]:
    return store.list_flow_runs(oldest_first=True).items


def test_a_deployment_is_read_back_as_it_was_saved(store: Store) -> None:
    saved = add_deployment(
        store, parameters={"month": "2021-03"}, tags=("prod",), flow_runner={"type": "docker", "image": "x"}, schedules=[every(60)]
    )

    assert store.get_deployment(saved.id) == saved
    assert store.get_deployment("etl/prod") == saved
    assert store.list_deployments() == [saved]
    assert (saved.parameters, saved.tags, saved.flow_runner["image"]) == ({"month": "2021-03"}, ("prod",), "x")
    assert [(s.deployment_id, s.cursor_at, s.version) for s in saved.schedules] == [(saved.id, at(0), 1)]


def test_saving_the_same_name_again_keeps_its_id(store: Store) -> None:
    first = add_deployment(store, version="1")
    second = add_deployment(store, version="2")

    assert (second.id, second.version) == (first.id, "2")
    assert len(store.list_deployments()) == 1


def test_a_deployment_that_is_not_here_says_so(store: Store) -> None:
    for name in ("etl/none", "none", "0192c3d4-0000-7000-8000-000000000000"):
        with pytest.raises(NotFound, match="no deployment"):
            store.get_deployment(name)


def test_each_tick_becomes_one_run(store: Store) -> None:
    (schedule,) = add_deployment(store, schedules=[every(60)]).schedules

    assert plan(store, schedule, 60, 120) == 2
    assert plan(store, schedule, 60, 120, 180) == 1

    assert [run.expected_start_at for run in planned(store)] == [at(60), at(120), at(180)]
    assert store.list_schedules()[0].cursor_at == at(180)


def test_a_cursor_never_moves_back(store: Store) -> None:
    (schedule,) = add_deployment(store, schedules=[every(60)]).schedules
    plan(store, schedule, 120)
    plan(store, schedule, 60)

    assert store.list_schedules()[0].cursor_at == at(120)


def test_a_scheduler_that_read_an_edited_schedule_is_told(store: Store) -> None:
    (old,) = add_deployment(store, schedules=[every(60)]).schedules
    add_deployment(store, schedules=[msgspec.structs.replace(every(90), id=old.id)])

    with pytest.raises(Conflict, match="edited or removed"):
        plan(store, old, 60)
    assert planned(store) == []


def test_editing_a_schedule_replaces_what_it_had_planned(store: Store) -> None:
    (old,) = add_deployment(store, schedules=[every(60)]).schedules
    plan(store, old, 60, 120)

    (new,) = add_deployment(store, schedules=[msgspec.structs.replace(every(90), id=old.id)]).schedules

    assert (new.id, new.version) == (old.id, 2)
    assert planned(store) == []
    assert plan(store, new, 90) == 1


def test_an_unchanged_schedule_keeps_its_cursor_and_its_runs(store: Store) -> None:
    (old,) = add_deployment(store, schedules=[every(60)]).schedules
    plan(store, old, 60)

    (same,) = add_deployment(store, version="2", schedules=[every(60)]).schedules

    assert (same.id, same.version, same.cursor_at) == (old.id, 1, at(60))
    assert len(planned(store)) == 1


def test_removing_a_schedule_removes_what_it_had_planned_but_not_what_runs(store: Store) -> None:
    add_queue(store)
    (old,) = add_deployment(store, schedules=[every(60)]).schedules
    plan(store, old, 60, 120)
    held = claim(store, seconds=60)[0].flow_run

    add_deployment(store, schedules=[])

    assert [run.id for run in planned(store)] == [held.id]
    assert store.list_schedules() == []


def test_pausing_a_deployment_removes_its_plan_and_resuming_begins_anew(store: Store) -> None:
    deployment = add_deployment(store, schedules=[every(60)])
    plan(store, deployment.schedules[0], 60, 120)

    paused = store.set_deployment_paused("etl/prod", paused=True, now=at(10))
    assert (paused.paused, planned(store), store.list_schedules()) == (True, [], [])
    resumed = store.set_deployment_paused("etl/prod", paused=False, now=at(500))

    assert not resumed.paused
    assert [(s.cursor_at, s.version) for s in store.list_schedules()] == [(at(500), 2)]


def test_pausing_twice_is_harmless(store: Store) -> None:
    add_deployment(store)
    first = store.set_deployment_paused("etl/prod", paused=True, now=at(10))

    assert store.set_deployment_paused("etl/prod", paused=True, now=at(20)) == first


def test_an_inactive_schedule_is_not_live(store: Store) -> None:
    add_deployment(store, schedules=[every(60, active=False), every(90)])

    assert len(store.list_schedules()) == 1


def test_deleting_a_deployment_cancels_what_waits_and_leaves_what_runs(store: Store) -> None:
    add_queue(store)
    deployment = add_deployment(store, schedules=[every(60)])
    plan(store, deployment.schedules[0], 60, 120)
    by_hand = store.create_flow_run(scheduled(300, deployment=deployment), now=at(0))
    held = claim(store, seconds=60)[0].flow_run

    assert store.delete_deployment("etl/prod", now=at(70)) == 2

    with pytest.raises(NotFound):
        store.get_deployment(deployment.id)
    assert {run.id: run.state.type for run in planned(store)} == {held.id: held.state.type, by_hand.id: CANCELLED}
    assert store.list_schedules() == []


def test_a_run_of_a_deployment_that_is_gone_is_neither_made_nor_handed_out(store: Store) -> None:
    add_queue(store)
    deployment = add_deployment(store)
    store.delete_deployment(deployment.id, now=at(0))
    with pytest.raises(NotFound, match="no deployment 'etl/prod'"):
        store.create_flow_run(scheduled(0, deployment=deployment), now=at(0))
    orphan = scheduled(0, deployment=deployment)
    apply(store, Transition(RunKind.FLOW, orphan.id, 1, orphan.state, 0, flow_run=orphan))

    assert claim(store, seconds=1) == []
    assert store.next_due_at(now=at(1)) is None
