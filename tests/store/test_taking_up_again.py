"""What a store does for runs that go on: taken up by a process, scheduled again, paused, and answered."""

import pytest

from legato.core.errors import Conflict, NotFound
from legato.core.records import Beat, FlowRun, RunInput, VerdictKind
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, StateType
from legato.store.port import Store

from tests.store.make import apply, at, begin, claimed, move, scheduled, task_of


def ended(store: Store, type_: StateType = FAILED, **particulars: object) -> FlowRun:
    run = begin(store, lease_expires_at=at(30), host="old", pid=1, **particulars)
    apply(store, move(run, type_, 5), 5)
    return store.get_flow_run(run.id)


def take(store: Store, run: FlowRun, seconds: float = 10, *, pid: int = 7) -> FlowRun:
    return store.take_flow_run(run.id, host="box", pid=pid, lease_s=30, why="retried by hand", now=at(seconds))


@pytest.mark.parametrize("type_", [FAILED, CRASHED, CANCELLED, COMPLETED])
def test_an_ended_run_is_taken_up_as_a_new_attempt(store: Store, type_: StateType) -> None:
    run = ended(store, type_)

    taken = take(store, run)

    assert (taken.state.type, taken.attempt, taken.host, taken.pid) == (PENDING, run.attempt + 1, "box", 7)
    assert (taken.ended_at, taken.error, taken.result) == (None, None, None)
    assert [e.state.name for e in store.list_transitions(run.id)][-2:] == ["AwaitingRetry", "Pending"]
    assert apply(store, move(taken, RUNNING, 11), 11).kind is VerdictKind.ACCEPTED


def test_the_process_that_held_it_before_is_fenced(store: Store) -> None:
    run = ended(store, CRASHED)
    take(store, run)

    verdict = apply(store, move(run, COMPLETED, 12), 12)

    assert (verdict.kind, verdict.code) == (VerdictKind.REFUSED, "fenced")


def test_a_taken_run_lives_by_its_heartbeats(store: Store) -> None:
    taken = take(store, ended(store))

    reply = store.heartbeat([Beat(taken.id, taken.epoch)], lease_s=30, now=at(20))[0]

    assert (reply.alive, reply.cancel_requested, reply.pause_requested) == (True, False, False)
    assert [run.id for run in store.expired_leases(now=at(60))] == [taken.id]


def test_a_run_that_somebody_holds_is_not_taken(store: Store) -> None:
    run = begin(store, lease_expires_at=at(30))

    with pytest.raises(Conflict, match="is Running"):
        take(store, run)


def test_taking_is_answered_alike_when_it_is_asked_again_and_refused_to_others(store: Store) -> None:
    taken = take(store, ended(store))

    assert take(store, taken, 11) == taken
    with pytest.raises(Conflict, match="somebody holds it"):
        take(store, taken, 11, pid=8)


def test_a_wish_to_cancel_an_earlier_attempt_does_not_hold_for_the_next(store: Store) -> None:
    run = begin(store, lease_expires_at=at(30))
    store.request_cancel(run.id, now=at(1))
    apply(store, move(run, CANCELLED, 2), 2)

    taken = take(store, run)

    assert taken.cancel_requested_at is None
    assert apply(store, move(taken, RUNNING, 11), 11).kind is VerdictKind.ACCEPTED


def test_a_waiting_run_can_be_taken_by_hand(store: Store) -> None:
    run = scheduled(due=100)
    store.create_flow_run(run, now=at(0))

    assert take(store, run).attempt == 1


def test_an_ended_run_of_a_deployment_is_handed_out_again(store: Store) -> None:
    run = claimed(store)
    apply(store, move(run, FAILED, 2), 2)

    again = store.schedule_again(run.id, why="retried by hand", now=at(3))

    assert (again.state.type, again.state.name, again.due_at, again.attempt) == (SCHEDULED, "AwaitingRetry", at(3), 1)
    assert store.next_due_at(now=at(3)) == at(3)


def test_a_completed_run_is_not_handed_out_again(store: Store) -> None:
    run = claimed(store)
    apply(store, move(run, COMPLETED, 2), 2)

    with pytest.raises(Conflict, match="is completed"):
        store.schedule_again(run.id, why="retried by hand", now=at(3))

    assert store.get_flow_run(run.id).state.type is COMPLETED


def test_a_suspended_run_is_held_by_nobody_and_goes_on_when_it_is_scheduled(store: Store) -> None:
    run = begin(store, lease_expires_at=at(30))
    suspended = move(run, PAUSED, 1, name="Suspended")
    apply(store, type(suspended)(**{f: getattr(suspended, f) for f in suspended.__struct_fields__} | {"release": True}), 1)

    assert store.expired_leases(now=at(1000)) == []
    assert store.schedule_again(run.id, why="approved", now=at(50)).state.name == "Scheduled"
    assert take(store, run, 51).attempt == 2


def test_a_paused_run_whose_process_lives_is_not_taken(store: Store) -> None:
    run = begin(store, lease_expires_at=at(30))
    apply(store, move(run, PAUSED, 1), 1)

    with pytest.raises(Conflict, match="is Paused"):
        take(store, run)


def test_a_wish_to_pause_reaches_the_holder(store: Store) -> None:
    run = begin(store, lease_expires_at=at(30))

    wished = store.request_pause(run.id, now=at(1))

    assert (wished.display_state, wished.pause_requested_at) == ("Pausing", at(1))
    assert store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(2))[0].pause_requested


def test_only_a_running_run_can_be_paused(store: Store) -> None:
    with pytest.raises(Conflict, match="is Failed, so it cannot be paused"):
        store.request_pause(ended(store).id, now=at(9))


def test_an_answer_is_kept_and_the_first_one_counts(store: Store) -> None:
    run = begin(store)
    wanted = RunInput(flow_run_id=run.id, key="approval/0", asked_at=at(1), prompt="Deploy?", schema={"type": "object"})
    assert store.ask_input(wanted) == wanted

    answered = store.answer_input(run.id, "approval/0", {"ok": True, "n": [1, None]}, now=at(2))

    assert (answered.answer, answered.answered_at) == ({"ok": True, "n": [1, None]}, at(2))
    with pytest.raises(Conflict, match="answered already"):
        store.answer_input(run.id, "approval/0", None, now=at(3))
    assert store.ask_input(wanted) == answered
    assert store.list_inputs(run.id) == [answered]


def test_a_run_asked_for_nothing_of_that_name(store: Store) -> None:
    with pytest.raises(NotFound, match="no input 'approval'"):
        store.answer_input(begin(store).id, "approval", 1, now=at(1))


def test_inputs_go_with_their_run(store: Store) -> None:
    run = ended(store)
    store.ask_input(RunInput(flow_run_id=run.id, key="k", asked_at=at(1)))

    store.delete_flow_run(run.id)

    assert store.list_inputs(run.id) == []


def test_only_the_latest_attempts_task_runs_are_counted(store: Store) -> None:
    run = begin(store, lease_expires_at=at(30))
    store.apply([task_of(run), task_of(run)], now=at(1))
    apply(store, move(run, FAILED, 5), 5)
    taken = take(store, store.get_flow_run(run.id))
    store.apply([task_of(taken)], now=at(11))

    assert store.count_task_runs([run.id]) == {run.id: {PENDING: 1}}
    assert len(store.list_task_runs(run.id).items) == 3


def test_a_run_that_is_opened_again_counts_its_time_from_the_start_of_that_attempt(store: Store) -> None:
    run = claimed(store)
    apply(store, move(run, RUNNING, 1), 1)
    run = store.get_flow_run(run.id)
    apply(store, move(run, FAILED, 2), 2)

    waiting = store.schedule_again(run.id, why="retried by hand", now=at(86_400))
    taken = take(store, waiting, 86_401)
    apply(store, move(taken, RUNNING, 86_402), 86_402)
    taken = store.get_flow_run(run.id)
    apply(store, move(taken, COMPLETED, 86_405), 86_405)

    ended = store.get_flow_run(run.id)
    assert (waiting.started_at, waiting.ended_at) == (None, None)
    assert (ended.started_at, ended.ended_at) == (at(86_402), at(86_405))
