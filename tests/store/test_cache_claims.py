"""A result is made once: whoever asks for it meanwhile waits, and takes it; nobody waits for the dead, for himself, or in a circle."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from legato.core.records import CacheAsk, FlowRun, Result, Transition, Verdict, VerdictKind
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PENDING, RUNNING, SCHEDULED, StateType
from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.system import host_name

from tests.store.make import apply, at, begin, claimed, move, step, task_of

ACCEPTED, INSTEAD, WAIT = VerdictKind.ACCEPTED, VerdictKind.INSTEAD, VerdictKind.WAIT
THREE = Result(inline=b"3", size=1, hash="h")


def asking(key: str = "jobs.train/k", **particulars: Any) -> CacheAsk:
    return CacheAsk(**{"key": key, "task_key": "jobs.train", "policy": "INPUTS", "parts": {"input:x": "1"}, **particulars})


def start(run: FlowRun, seconds: float = 0, ask: CacheAsk | None = None, **particulars: Any) -> Transition:
    """A task's first transition, in which it starts and asks of the cache."""
    return msgspec.structs.replace(task_of(run, seconds, RUNNING, **particulars), cache=ask or asking())


def end(started: Transition, type_: StateType = COMPLETED, seconds: float = 0) -> Transition:
    return step(started, type_, seconds, result=THREE if type_ is COMPLETED else None)


def test_the_second_waits_while_the_first_makes_the_result_and_takes_it_when_it_is_there(store: Store) -> None:
    first, second = start(begin(store), name="train-0"), start(begin(store), name="train-9")
    assert apply(store, first).kind is ACCEPTED

    waits = apply(store, second, 5)
    apply(store, end(first, seconds=6), 6)
    answered = apply(store, second, 7)

    assert (waits.kind, waits.code, waits.seq) == (WAIT, "cache_claim", 0)
    assert waits.until is not None
    assert at(5) < waits.until <= at(6)
    assert waits.reason == "waits for 'train-0' of run 'amber-heron', which is making this result since 5 s"
    assert (answered.kind, answered.result) == (INSTEAD, THREE)
    assert store.get_task_run(second.run_id).state.message == (
        "reused the result of 'train-0' of run 'amber-heron', made 1 s ago (INPUTS; key jobs.train/k)"
    )


def test_one_that_waits_is_recorded_only_as_far_as_it_says_so(store: Store) -> None:
    apply(store, start(begin(store)))
    run = begin(store)
    pending = task_of(run)
    apply(store, pending)
    waiting = msgspec.structs.replace(step(pending, RUNNING), cache=asking())

    assert apply(store, waiting, 1).kind is WAIT
    assert apply(store, step(pending, SCHEDULED, 1), 1).kind is ACCEPTED
    assert apply(store, msgspec.structs.replace(waiting, seq=3), 1).kind is WAIT
    assert [entry.state.type for entry in store.list_transitions(pending.run_id)] == [PENDING, SCHEDULED]


@pytest.mark.parametrize("type_", [FAILED, CANCELLED, CRASHED])
def test_when_the_first_ends_without_a_result_the_next_makes_it(store: Store, type_: StateType) -> None:
    first, second = start(begin(store)), start(begin(store))
    apply(store, first)
    apply(store, end(first, type_, 1), 1)

    assert apply(store, second, 2).kind is ACCEPTED


def test_the_first_keeps_its_claim_while_it_waits_for_its_retry(store: Store) -> None:
    first, second = start(begin(store)), start(begin(store))
    apply(store, first)
    again = step(first, SCHEDULED, 1, name="AwaitingRetry")
    apply(store, again, 1)

    assert apply(store, second, 2).kind is WAIT
    assert apply(store, msgspec.structs.replace(step(again, RUNNING, 3), cache=asking()), 3).kind is ACCEPTED
    assert apply(store, second, 4).kind is WAIT


def test_a_holder_whose_flow_run_was_given_up_makes_nobody_wait(store: Store) -> None:
    run = claimed(store)
    apply(store, start(run))
    second = start(begin(store))
    assert apply(store, second, 1).kind is WAIT

    store.report_lost(run.id, run.epoch, "killed", now=at(2))

    assert apply(store, second, 3).kind is ACCEPTED


def test_a_holder_whose_lease_has_run_out_makes_nobody_wait_before_anybody_has_noticed(store: Store) -> None:
    apply(store, start(claimed(store)), 0)
    second = start(begin(store))

    assert apply(store, second, 29).kind is WAIT
    assert apply(store, second, 31).kind is ACCEPTED


def test_a_holder_inside_a_flow_run_whose_outermost_lease_has_run_out_is_gone_with_it(store: Store) -> None:
    outer = claimed(store)
    inner = begin(store, parent_run_id=outer.id)
    apply(store, start(inner), 0)
    second = start(begin(store))

    assert apply(store, second, 29).kind is WAIT
    assert apply(store, second, 31).kind is ACCEPTED


def test_a_holder_whose_process_on_this_machine_has_died_makes_nobody_wait(store: Store) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    apply(store, start(begin(store, host=host_name(), pid=gone.pid, lease_expires_at=at(30))))

    assert apply(store, start(begin(store)), 1).kind is ACCEPTED


def test_a_deleted_run_makes_nobody_wait(store: Store) -> None:
    run = begin(store)
    apply(store, start(run))
    apply(store, move(run, COMPLETED, 1), 1)
    store.delete_flow_run(run.id)

    assert apply(store, start(begin(store)), 2).kind is ACCEPTED


def test_a_zombie_that_lost_its_claim_does_not_take_it_from_the_new_holder(store: Store) -> None:
    old = claimed(store)
    zombie = start(old)
    apply(store, zombie)
    store.report_lost(old.id, old.epoch, "silent", now=at(2))
    second, third = start(begin(store)), start(begin(store))
    apply(store, second, 3)

    apply(store, end(zombie, FAILED, 4), 4)

    assert apply(store, third, 5).kind is WAIT


def test_a_task_inside_the_holder_does_not_wait_for_it(store: Store) -> None:
    run = begin(store)
    outer = start(run)
    apply(store, outer)

    inner = start(run, ask=asking(within=(outer.run_id, run.id)))

    assert apply(store, inner, 1).kind is ACCEPTED
    assert apply(store, start(begin(store)), 2).kind is WAIT, "the outer one still holds the claim"


def test_two_that_would_wait_for_each_other_do_not(store: Store) -> None:
    left, right = begin(store), begin(store)
    a, b = start(left, ask=asking("a")), start(right, ask=asking("b"))
    apply(store, a), apply(store, b)
    b_in_left = start(left, ask=asking("b", within=(a.run_id, left.id)))
    a_in_right = start(right, ask=asking("a", within=(b.run_id, right.id)))

    assert apply(store, b_in_left, 1).kind is WAIT
    assert apply(store, a_in_right, 1).kind is ACCEPTED, "waiting would close the circle"


def test_a_circle_of_three_is_seen_and_one_that_was_broken_is_forgotten(store: Store) -> None:
    runs = {key: begin(store) for key in "abc"}
    holders = {key: start(run, ask=asking(key)) for key, run in runs.items()}
    for holder in holders.values():
        apply(store, holder)

    def wants(inside: str, key: str) -> Transition:
        return start(runs[inside], ask=asking(key, within=(holders[inside].run_id, runs[inside].id)))

    assert apply(store, wants("a", "b"), 1).kind is WAIT
    assert apply(store, wants("b", "c"), 1).kind is WAIT
    assert apply(store, wants("c", "a"), 1).kind is ACCEPTED
    apply(store, end(holders["c"], FAILED, 2), 2)
    assert apply(store, wants("b", "c"), 3).kind is ACCEPTED
    assert apply(store, start(begin(store), ask=asking("a")), 4).kind is WAIT


def test_one_that_cannot_wait_makes_its_own(store: Store) -> None:
    apply(store, start(begin(store)))

    assert apply(store, start(begin(store), ask=asking(patient=False)), 1).kind is ACCEPTED


def test_a_refresh_runs_at_once_and_its_result_replaces_the_stored_one(store: Store) -> None:
    first = start(begin(store))
    apply(store, first)
    apply(store, end(first))
    again = start(begin(store), ask=asking(refresh=True))

    assert apply(store, again, 1).kind is ACCEPTED
    assert store.get_task_run(again.run_id).state.message == "runs because refresh_cache is on"
    newer = Result(inline=b"4", size=1, hash="i")
    apply(store, step(again, COMPLETED, 2, result=newer), 2)
    assert apply(store, start(begin(store)), 3).result == newer


def test_a_miss_says_what_differs_from_the_latest_result(store: Store) -> None:
    first = start(begin(store), name="train-0")
    apply(store, first)
    assert store.get_task_run(first.run_id).state.message == "not in the cache: no result of this task is stored"
    apply(store, end(first))
    other = start(begin(store), ask=asking("jobs.train/k2", parts={"input:x": "2", "code:clean": "c"}))

    apply(store, other, 120)

    assert store.get_task_run(other.run_id).state.message == (
        "not in the cache: the code of 'clean', input 'x' differ from the latest stored result, of 'train-0' of run 'amber-heron', made 2 min ago"
    )


def test_a_key_told_of_only_at_the_start_is_recorded_and_cached(store: Store) -> None:
    pending = task_of(begin(store))
    started = msgspec.structs.replace(step(pending, RUNNING), cache=asking(expires_s=60))
    store.apply([pending, started, end(started)], now=at(0))

    task = store.get_task_run(pending.run_id)
    assert (task.cache_key, task.cache_expires_s) == ("jobs.train/k", 60)
    assert apply(store, start(begin(store)), 59).kind is INSTEAD
    assert apply(store, start(begin(store)), 61).kind is ACCEPTED


def test_one_batch_may_hold_the_first_the_second_and_the_end_of_the_first(store: Store) -> None:
    first, second, third = start(begin(store)), start(begin(store)), start(begin(store))

    verdicts = store.apply([first, second, end(first), third], now=at(1))

    assert [verdict.kind for verdict in verdicts] == [ACCEPTED, WAIT, ACCEPTED, INSTEAD]


def test_of_many_processes_at_once_one_makes_the_result(sql_store: SqlStore) -> None:
    """Each with a connection of its own, as processes have: on PostgreSQL they decide at the same moment."""
    stores = [sql_store] + [open_sql_store(_url(sql_store)) for _ in range(5)]
    starts = [start(begin(sql_store)) for _ in stores]
    try:
        with ThreadPoolExecutor(len(stores)) as pool:
            verdicts: list[Verdict] = list(pool.map(lambda pair: apply(pair[0], pair[1], 1), zip(stores, starts, strict=True)))
    finally:
        for store in stores[1:]:
            store.close()

    assert sorted(verdict.kind for verdict in verdicts) == [ACCEPTED] + [WAIT] * 5


def _url(store: SqlStore) -> str:
    database = store._database
    return getattr(database, "_url", None) or f"sqlite:///{database.location}"
