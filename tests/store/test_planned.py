"""What is planned is a promise to run the deployment as it is when the run is taken; what people have decided stays."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from legato.core.errors import Conflict, UsageError
from legato.core.planning import run_of
from legato.core.records import Catchup, Deployment, FlowRunFilter, OnLost
from legato.core.states import CANCELLED, CRASHED, FAILED, PAUSED, RUNNING, SCHEDULED
from legato.services import scheduler
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.system import new_id

from tests.store.make import NOON, add_deployment, add_queue, apply, at, claim, claimed, every, move, scheduled

HOUR = 3600.0
PLANNED = FlowRunFilter(states=(SCHEDULED,))


def test_planned_runs_show_and_run_the_deployment_as_it_is(store: Store) -> None:
    schedule = every(HOUR)
    add_queue(store)
    add_deployment(store, schedules=[schedule], parameters={"table": "old"}, flow_runner={"type": "subprocess"}, tags=("a",))
    scheduler.tick(store, NOON)
    ids = [run.id for run in store.list_flow_runs(PLANNED).items]

    add_deployment(store, schedules=[schedule], parameters={"table": "new"}, flow_runner={"type": "docker"}, tags=("b",))

    planned = store.list_flow_runs(PLANNED).items
    assert [run.id for run in planned] == ids
    assert {(run.parameters["table"], run.flow_runner, run.tags) for run in planned} == {("new", "docker", ("b",))}
    assert len(store.list_flow_runs(FlowRunFilter(tags=("b",))).items) == len(ids)
    assert store.list_flow_runs(FlowRunFilter(tags=("a",))).items == []
    assert claim(store, seconds=HOUR)[0].flow_run.parameters == {"table": "new"}


def test_a_run_by_hand_keeps_what_was_given_for_it_and_follows_in_the_rest(store: Store) -> None:
    add_queue(store)
    deployment = add_deployment(store, parameters={"a": 1, "b": 1})
    run = run_of(deployment, id=new_id(), due_at=NOON, now=NOON, trigger="by hand", parameters={"b": 2})
    store.create_flow_run(run, now=NOON)

    add_deployment(store, parameters={"a": 3, "b": 3})

    assert claim(store)[0].flow_run.parameters == {"a": 3, "b": 2}


def test_a_retry_keeps_its_parameters(store: Store) -> None:
    run = claimed(store)
    store.report_lost(run.id, run.epoch, "gone", now=at(1))
    store.schedule_again(run.id, why="again", now=at(2))
    add_deployment(store, parameters={"new": 1})

    assert claim(store, seconds=3)[0].flow_run.parameters == run.parameters


@pytest.mark.parametrize(("said", "paused"), [(None, True), (True, True), (False, False)])
def test_a_persons_pause_survives_a_redeploy_that_does_not_mention_it(store: Store, said: bool | None, paused: bool) -> None:
    add_deployment(store, schedules=[every(HOUR)])
    store.set_deployment_paused("etl/prod", True, now=NOON)

    saved = add_deployment(store, schedules=[every(HOUR)], paused=said)

    assert saved.paused is paused
    scheduler.tick(store, at(1))
    assert bool(store.list_flow_runs(PLANNED).items) is not paused


def test_paused_and_resumed_by_saving_a_schedule_plans_again(store: Store) -> None:
    schedule = every(HOUR)
    for paused, planned in ((False, True), (True, False), (False, True)):
        add_deployment(store, schedules=[schedule], paused=paused)
        scheduler.tick(store, at(5))
        assert bool(store.list_flow_runs(PLANNED).items) is planned


def test_what_is_due_already_is_owed_and_stays(store: Store) -> None:
    schedule = every(60)
    add_deployment(store, schedules=[msgspec.structs.replace(schedule, catchup=Catchup.ALL)])
    scheduler.tick(store, NOON)
    assert len(store.list_flow_runs(FlowRunFilter(states=(SCHEDULED,), start_before=at(241))).items) == 4
    deployment = store.get_deployment("etl/prod")
    edited = msgspec.structs.replace(deployment.schedules[0], schedule=every(7200).schedule)

    store.save_deployment(msgspec.structs.replace(deployment, schedules=(edited,)), now=at(241))

    left = store.list_flow_runs(PLANNED, oldest_first=True).items
    assert [run.expected_start_at for run in left] == [at(60), at(120), at(180), at(240)]


def test_a_copied_deployment_gets_schedules_of_its_own(store: Store) -> None:
    original = add_deployment(store, "a", schedules=[every(HOUR)])

    copy = store.save_deployment(msgspec.structs.replace(original, id=new_id(), name="b"), now=NOON)

    assert len(store.get_deployment("etl/a").schedules) == len(copy.schedules) == 1
    assert store.get_deployment("etl/a").schedules[0].id != copy.schedules[0].id
    scheduler.tick(store, NOON)
    assert {run.deployment_name for run in store.list_flow_runs(PLANNED).items} == {"etl/a", "etl/b"}


def test_ticks_that_are_skipped_are_told_with_a_reason(store: Store) -> None:
    add_deployment(store, schedules=[every(60)])
    scheduler.tick(store, NOON)
    last = max(run.expected_start_at for run in store.list_flow_runs(PLANNED).items)

    scheduler.tick(store, last + timedelta(hours=2))

    (skipped,) = [change for change in store.read_changes(0) if change.event == "skipped"]
    assert (skipped.body["count"], skipped.body["catchup"]) == (119, "latest")
    assert "skips them" in skipped.message


def test_latest_is_the_latest_however_many_were_missed(store: Store) -> None:
    schedule = msgspec.structs.replace(every(60), cursor_at=NOON)
    for days in (60, 80, 400):
        now = NOON + timedelta(days=days, seconds=30)
        assert scheduler.plan(schedule, now).ticks[0] == now - timedelta(seconds=30)


def test_parameters_that_are_no_more_are_refused_when_the_deployment_is_saved(store: Store) -> None:
    schema = {"type": "object", "properties": {"table": {"type": "string"}}, "additionalProperties": False}

    with pytest.raises(UsageError, match="has no parameter 'tabel'"):
        add_deployment(store, parameters={"tabel": "x"}, parameter_schema=schema)


def test_a_queue_that_is_renamed_or_made_anew_still_counts_who_holds_a_place(store: Store) -> None:
    queue = add_queue(store, concurrency_limit=1)
    claimed(store)
    store.create_flow_run(scheduled(deployment=store.list_deployments()[0]))

    store.save_queue(msgspec.structs.replace(queue, name="renamed"))
    assert store.get_queue("renamed", now=at(1)).running == 1
    store.delete_queue("renamed")
    add_queue(store, "renamed", concurrency_limit=1)

    assert store.get_queue("renamed", now=at(1)).running == 1
    assert claim(store, "renamed", seconds=2) == []


def test_only_schedules_that_are_due_to_be_looked_at_are_read(store: Store) -> None:
    for n in range(5):
        add_deployment(store, f"d{n}", schedules=[every(HOUR)])
    assert scheduler.tick(store, NOON).created == 5 * 24

    assert store.due_schedules(now=at(1)) == []
    assert scheduler.tick(store, at(1)).created == 0
    assert len(store.due_schedules(now=at(HOUR))) == 5
    store.look_at_all_schedules(now=at(1))
    assert len(store.due_schedules(now=at(1))) == 5
    assert scheduler.tick(store, at(1)).created == 0


# ---------------------------------------------------------------------- what happens between reading a schedule and planning it

AS_IT_WAS, AS_IT_IS, NOTHING = "as it was", "as it is", "nothing"


def _edit(**particulars: Any) -> Callable[[Store, Deployment], object]:
    return lambda store, deployment: store.save_deployment(msgspec.structs.replace(deployment, **particulars), now=at(1))


def _delete_and_make_again(store: Store, deployment: Deployment) -> None:
    store.delete_deployment(deployment.full_name, now=at(1))
    store.save_deployment(msgspec.structs.replace(deployment, parameters={"table": "new"}, tags=("new",)), now=at(1))


MEANWHILE: dict[str, tuple[Callable[[Store, Deployment], object], str]] = {
    "nothing": (lambda store, deployment: None, AS_IT_WAS),
    "saved as it is": (_edit(), AS_IT_WAS),
    "saved with other parameters and tags": (_edit(parameters={"table": "new"}, tags=("new",)), AS_IT_IS),
    "paused": (lambda store, deployment: store.set_deployment_paused(deployment.full_name, True, now=at(1)), NOTHING),
    "saved as paused": (_edit(paused=True), NOTHING),
    "deleted": (lambda store, deployment: store.delete_deployment(deployment.full_name, now=at(1)), NOTHING),
    "deleted and made again": (_delete_and_make_again, AS_IT_IS),
    "another schedule": (_edit(schedules=(every(7 * 3600),)), NOTHING),
    "no schedule": (_edit(schedules=()), NOTHING),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_what_is_planned_is_as_the_deployment_is_now_whatever_the_scheduler_had_read(store: Store, meanwhile: str) -> None:
    happens, expected = MEANWHILE[meanwhile]
    deployment = add_deployment(store, schedules=[every(3600)], parameters={"table": "old"}, tags=("old",))
    read = store.due_schedules(now=at(0))
    plans = [scheduler._planned(each, at(0), new_id)[0] for each in read]
    happens(store, deployment)

    answers = store.plan_runs(plans, now=at(2))

    planned = store.list_flow_runs(FlowRunFilter(states=(SCHEDULED,)), limit=100).items
    assert len({run.expected_start_at for run in planned}) == len(planned)
    if expected == NOTHING:
        assert (answers, planned) == ([None], [])
        return
    word = "old" if expected == AS_IT_WAS else "new"
    assert planned
    assert {(run.parameters["table"], *run.tags) for run in planned} == {(word, word)}
    assert len(store.list_flow_runs(FlowRunFilter(tags=(word,)), limit=100).items) == len(planned)


# ---------------------------------------------------------------------- runs whose deployment is gone


@pytest.mark.parametrize("came_to", ["waits", "claimed", "runs", "failed", "paused"])
def test_no_run_waits_for_a_deployment_that_was_deleted(store: Store, came_to: str) -> None:
    add_queue(store)
    deployment = add_deployment(store)
    run = store.create_flow_run(scheduled(deployment=deployment, on_lost=OnLost.RETRY), now=at(0))
    if came_to != "waits":
        run = claim(store, seconds=1)[0].flow_run
    if came_to in ("runs", "failed", "paused"):
        apply(store, move(run, RUNNING, 2), 2)
        run = store.get_flow_run(run.id)
    if came_to in ("failed", "paused"):
        apply(store, move(run, FAILED if came_to == "failed" else PAUSED, 3, release=came_to == "paused"), 3)
        run = store.get_flow_run(run.id)
    store.delete_deployment(deployment.full_name, now=at(4))

    after = store.report_lost(run.id, run.epoch, "silence", now=at(60))
    if came_to in ("failed", "paused"):
        with pytest.raises(Conflict, match="was deleted"):
            store.schedule_again(run.id, why="by hand", now=at(61))

    assert after.state.type is {"waits": CANCELLED, "claimed": CANCELLED, "runs": CRASHED, "failed": FAILED, "paused": PAUSED}[came_to]
    assert store.next_due_at(now=at(62)) is None


def test_a_run_that_is_handed_back_after_its_deployment_was_deleted_is_cancelled(sql_store: SqlStore) -> None:
    add_queue(sql_store)
    deployment = add_deployment(sql_store)
    sql_store.create_flow_run(scheduled(deployment=deployment), now=at(0))
    run = claim(sql_store, seconds=1)[0].flow_run
    sql_store.delete_deployment(deployment.full_name, now=at(2))

    assert sql_store.hand_back(run.id, run.epoch, "the agent ends", now=at(3)).state.type is CANCELLED
