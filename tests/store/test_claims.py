"""Claims, leases, limits and losses: who gets which run, and what becomes of it when its holder goes away."""

from collections.abc import Callable
from itertools import product

import pytest

from legato.core.queues import matches
from legato.core.records import Beat, FlowRun, OnLost, QueueFilter
from legato.core.retry import MAX_LOST
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, StateType
from legato.store.port import Store

from tests.store.make import add_deployment, add_queue, apply, at, begin, claim, claimed, move, scheduled, step, task_of

TAKE_A_LEASE_S = 30.0


def waiting(store: Store, *dues: float, **particulars: object) -> list[FlowRun]:
    deployment = store.list_deployments()[0] if store.list_deployments() else add_deployment(store)
    return [store.create_flow_run(scheduled(due, deployment=deployment, **particulars), now=at(0)) for due in dues]


def test_a_claim_hands_over_a_due_run_with_its_deployment(store: Store) -> None:
    add_queue(store)
    deployment = add_deployment(store)
    run = store.create_flow_run(scheduled(0, deployment=deployment), now=at(0))

    got = claim(store, seconds=1, lease_s=20)

    assert [(c.flow_run.id, c.deployment.full_name) for c in got] == [(run.id, "etl/prod")]
    mine = got[0].flow_run
    assert (mine.state.type, mine.attempt, mine.work_queue, mine.agent_id) == (PENDING, 1, "main", "agent-1")
    assert mine.lease_expires_at == at(21)
    assert claim(store, seconds=2) == []


def test_a_run_is_not_handed_over_before_it_is_due(store: Store) -> None:
    add_queue(store)
    waiting(store, 10)

    assert claim(store, seconds=9.999) == []
    assert len(claim(store, seconds=10)) == 1


def test_the_oldest_due_run_comes_first(store: Store) -> None:
    add_queue(store)
    runs = waiting(store, 3, 1, 2)

    order = [c.flow_run.id for c in claim(store, seconds=9, limit=10)]

    assert order == [runs[1].id, runs[2].id, runs[0].id]


def test_the_queue_of_higher_priority_comes_first(store: Store) -> None:
    add_queue(store, "low", priority=1, tags=("low",))
    add_queue(store, "high", priority=9, tags=("high",))
    (late,) = waiting(store, 5, tags=("high",))
    (early,) = waiting(store, 0, tags=("low",))

    got = claim(store, "low", "high", seconds=9, limit=2)

    assert [(c.flow_run.id, c.flow_run.work_queue) for c in got] == [(late.id, "high"), (early.id, "low")]


def test_an_agent_gets_no_more_than_it_asks_for(store: Store) -> None:
    add_queue(store)
    waiting(store, 0, 0, 0)

    assert [len(claim(store, limit=2)), len(claim(store, limit=2)), len(claim(store, limit=2))] == [2, 1, 0]


def test_a_paused_queue_hands_nothing_over(store: Store) -> None:
    add_queue(store, paused=True)
    waiting(store, 0)

    assert claim(store) == []


def test_an_unknown_queue_hands_nothing_over(store: Store) -> None:
    waiting(store, 0)

    assert claim(store, "nobody-made-this") == []


def test_runs_without_a_deployment_are_never_handed_over(store: Store) -> None:
    add_queue(store)
    store.create_flow_run(scheduled(0), now=at(0))

    assert claim(store, seconds=9) == []


def test_an_agent_is_given_only_flow_runners_it_can_start(store: Store) -> None:
    add_queue(store)
    docker, process = (
        add_deployment(store, "a", flow_runner={"type": "docker"}),
        add_deployment(store, "b", flow_runner={"type": "subprocess"}),
    )
    for deployment in (docker, process):
        store.create_flow_run(scheduled(0, deployment=deployment), now=at(0))

    assert [c.deployment.name for c in claim(store, limit=9, runners=["docker"])] == ["a"]
    assert claim(store, limit=9, runners=["kubernetes"]) == []
    assert [c.deployment.name for c in claim(store, limit=9)] == ["b"]


def test_filters_in_the_store_mean_what_the_core_says(store: Store) -> None:
    deployments = [add_deployment(store, name, flow_runner={"type": runner}) for name, runner in (("a", "docker"), ("b", "subprocess"))]
    tags = [(), ("prod",), ("gpu",), ("prod", "gpu"), ("production",)]
    runs = [store.create_flow_run(scheduled(0, deployment=d, tags=t), now=at(0)) for d, t in product([None, *deployments], tags)]
    filters = [
        QueueFilter(tags=t, deployments=d, flow_runners=f)
        for t, d, f in product(
            [(), ("prod",), ("gpu", "prod")], [(), ("etl/a",), ("etl/a", "etl/b"), ("etl/none",)], [(), ("docker",), ("docker", "x")]
        )
    ]

    for i, filter_ in enumerate(filters):
        add_queue(store, f"q{i}", tags=filter_.tags, deployments=filter_.deployments, flow_runners=filter_.flow_runners)
        taken = {run.id for run in store.preview_queue(f"q{i}", until=at(1))}
        assert taken == {run.id for run in runs if matches(filter_, run)}, filter_


def test_a_preview_is_what_claims_then_take(store: Store) -> None:
    add_queue(store, tags=("prod",))
    waiting(store, 5, 3, 90, tags=("prod",))
    waiting(store, 1)

    preview = [run.id for run in store.preview_queue("main", until=at(60))]

    assert [c.flow_run.id for c in claim(store, seconds=60, limit=9)] == preview
    assert len(preview) == 2


# ---------------------------------------------------------------------- limits


def end(type_: object) -> Callable[[Store, FlowRun], None]:
    def perform(store: Store, run: FlowRun) -> None:
        apply(store, move(run, RUNNING, 1), 1)
        apply(store, move(store.get_flow_run(run.id), type_, 2), 2)  # type: ignore[arg-type]

    return perform


def lose_before_it_started(store: Store, run: FlowRun) -> None:
    store.report_lost(run.id, run.epoch, "gone", now=at(2))
    store.request_cancel(run.id, now=at(2))


def lose_running(store: Store, run: FlowRun) -> None:
    apply(store, move(run, RUNNING, 1), 1)
    store.report_lost(run.id, run.epoch, "gone", now=at(2))


@pytest.mark.parametrize("let_go", [end(COMPLETED), end(FAILED), end(CANCELLED), end(CRASHED), lose_before_it_started, lose_running])
def test_a_limit_is_never_exceeded_and_its_slots_come_back(store: Store, let_go: Callable[[Store, FlowRun], None]) -> None:
    add_queue(store, concurrency_limit=2)
    waiting(store, 0, 0, 0, 0)

    held = claim(store, limit=10)
    assert len(held) == 2
    assert claim(store, limit=10, agent="agent-2") == []
    let_go(store, held[0].flow_run)

    assert len(claim(store, seconds=3, limit=10)) == 1
    assert claim(store, seconds=3, limit=10) == []


def test_a_run_that_waits_for_its_retry_in_its_process_keeps_its_slot(store: Store) -> None:
    add_queue(store, concurrency_limit=1)
    waiting(store, 0, 0)
    run = claim(store)[0].flow_run
    apply(store, move(run, RUNNING, 1), 1)
    apply(store, move(store.get_flow_run(run.id), SCHEDULED, 2, name="AwaitingRetry", due=60), 2)

    assert claim(store, seconds=99) == []


def test_a_limit_of_zero_lets_nothing_through(store: Store) -> None:
    add_queue(store, concurrency_limit=0)
    waiting(store, 0)

    assert claim(store) == []


def test_a_queue_tells_its_numbers(store: Store) -> None:
    add_queue(store, concurrency_limit=1)
    waiting(store, 0, 50, 90)
    claim(store)

    status = store.get_queue("main", now=at(70))

    assert (status.running, status.waiting, status.late, status.oldest_due_at) == (1, 1, 1, at(50))
    assert store.list_queues(now=at(70)) == [status]


# ---------------------------------------------------------------------- leases and losses


def test_the_next_due_time_is_the_earliest_that_nobody_holds(store: Store) -> None:
    assert store.next_due_at(now=at(0)) is None
    add_queue(store)
    waiting(store, 40, 20)
    assert store.next_due_at(now=at(0)) == at(20)

    claim(store, seconds=20)

    assert store.next_due_at(now=at(21)) == at(40)


def test_a_heartbeat_renews_the_lease(store: Store) -> None:
    run = claimed(store)

    reply = store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(25))[0]

    assert (reply.alive, reply.cancel_requested) == (True, False)
    assert store.get_flow_run(run.id).lease_expires_at == at(55)
    assert store.expired_leases(now=at(40)) == []


def test_a_heartbeat_tells_of_a_wish_to_cancel(store: Store) -> None:
    run = claimed(store)
    store.request_cancel(run.id, now=at(1))

    assert store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(2))[0].cancel_requested


def test_a_heartbeat_of_an_attempt_that_is_over_says_so_and_changes_nothing(store: Store) -> None:
    lost = claimed(store, on_lost=OnLost.RETRY)
    store.report_lost(lost.id, lost.epoch, "gone", now=at(40))
    waiting_again = store.heartbeat([Beat(lost.id, lost.epoch)], lease_s=30, now=at(41))[0]
    claim(store, seconds=42)
    taken_over = store.heartbeat([Beat(lost.id, lost.epoch), Beat("nobody", 1)], lease_s=30, now=at(43))

    assert not waiting_again.alive
    assert [reply.alive for reply in taken_over] == [False, False]
    assert store.get_flow_run(lost.id).lease_expires_at == at(72)


def test_a_run_that_has_ended_has_no_lease(store: Store) -> None:
    run = claimed(store)
    apply(store, move(run, COMPLETED, 1), 1)

    assert store.get_flow_run(run.id).lease_expires_at is None
    assert not store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(2))[0].alive
    assert store.expired_leases(now=at(999)) == []


def test_expired_leases_are_found_oldest_first(store: Store) -> None:
    first = claimed(store, 0)
    second = claimed(store, 5)

    assert store.expired_leases(now=at(30)) == []
    assert [run.id for run in store.expired_leases(now=at(40))] == [first.id, second.id]
    assert [run.id for run in store.expired_leases(now=at(40), limit=1)] == [first.id]


def test_a_lost_run_that_never_started_is_handed_out_again(store: Store) -> None:
    run = claimed(store, started=False)

    after = store.report_lost(run.id, run.epoch, "agent-1 went away", now=at(40))

    assert (after.state.type, after.lease_expires_at, after.lost) == (SCHEDULED, None, 0)
    assert "agent-1 went away" in after.state.message
    assert claim(store, seconds=41)[0].flow_run.attempt == 2


def test_a_lost_run_that_had_started_is_crashed_with_what_ran_in_it(store: Store) -> None:
    run = claimed(store)
    child = begin(store, parent_run_id=run.id)
    open_ = task_of(run)
    apply(store, open_)
    apply(store, step(open_, RUNNING))

    after = store.report_lost(run.id, run.epoch, "agent-1 went away", now=at(40))

    assert (after.state.type, after.state.message, after.lost) == (CRASHED, "agent-1 went away", 1)
    assert store.get_task_run(open_.run_id).state.type is CRASHED
    assert store.get_flow_run(child.id).state.type is CRASHED
    assert claim(store, seconds=41) == []


def test_a_lost_run_comes_again_where_its_policy_says_so_until_it_was_lost_too_often(store: Store) -> None:
    run = claimed(store, on_lost=OnLost.RETRY)
    token = run.epoch
    for attempt in range(1, MAX_LOST):
        after = store.report_lost(run.id, token, "gone", now=at(40 * attempt))
        assert (after.state.type, after.state.name, after.attempt) == (SCHEDULED, "AwaitingRetry", attempt)
        (again,) = claim(store, seconds=40 * attempt)
        assert again.flow_run.attempt == attempt + 1
        apply(store, move(again.flow_run, RUNNING, 40 * attempt), 40 * attempt)
        token = again.flow_run.epoch

    after = store.report_lost(run.id, token, "gone", now=at(999))

    assert (after.state.type, after.lost) == (CRASHED, MAX_LOST)


def test_reporting_a_loss_twice_or_too_late_changes_nothing(store: Store) -> None:
    run = claimed(store)
    crashed = store.report_lost(run.id, run.epoch, "gone", now=at(40))
    done = claimed(store)
    apply(store, move(done, COMPLETED, 1), 1)

    assert store.report_lost(run.id, run.epoch, "gone again", now=at(50)) == crashed
    assert store.report_lost(done.id, done.epoch, "gone", now=at(50)).state.type is COMPLETED
    assert store.report_lost(done.id, done.epoch - 2, "gone", now=at(50)).state.type is COMPLETED


def test_a_lost_run_that_was_to_be_cancelled_does_not_come_again(store: Store) -> None:
    held, running = claimed(store, started=False), claimed(store, on_lost=OnLost.RETRY)
    for run in (held, running):
        store.request_cancel(run.id, now=at(1))
        store.report_lost(run.id, run.epoch, "gone", now=at(40))

    assert store.get_flow_run(held.id).state.type is CANCELLED
    assert store.get_flow_run(running.id).state.is_final
    assert claim(store, seconds=99, limit=9) == []


def test_a_paused_run_may_lose_its_holder_too(store: Store) -> None:
    run = claimed(store)
    apply(store, move(run, PAUSED, 1), 1)

    assert store.report_lost(run.id, run.epoch, "gone", now=at(40)).state.type is CRASHED


@pytest.mark.parametrize("by_agent", [True, False])
@pytest.mark.parametrize("end", [COMPLETED, FAILED, CANCELLED, CRASHED])
def test_a_run_that_outlives_the_one_around_it_is_noticed_when_its_process_is_gone(store: Store, end: StateType, by_agent: bool) -> None:
    around = claimed(store) if by_agent else begin(store, host="here", pid=7, lease_expires_at=at(30))
    inside = begin(store, parent_run_id=around.id)
    apply(store, move(around, end, 1), 1)
    if end in (CANCELLED, CRASHED):
        assert store.get_flow_run(inside.id).state.type is end
        return

    assert store.heartbeat([Beat(inside.id, inside.epoch)], lease_s=30, now=at(20))[0].alive
    assert store.expired_leases(now=at(49)) == []
    (lost,) = store.expired_leases(now=at(51))
    assert (lost.id, lost.host, lost.pid, lost.agent_id) == (inside.id, *(("", 0, "agent-1") if by_agent else ("here", 7, None)))
    assert store.report_lost(lost.id, lost.epoch, "gone", now=at(51)).state.type is CRASHED
