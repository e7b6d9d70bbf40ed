"""What a store answers to transitions: verdicts, repeats, fences, sequences, the cache, and batches that share a transaction."""

from datetime import timedelta

import msgspec
import pytest

from legato.core.errors import NotFound
from legato.core.records import ErrorDetail, Result, RunKind, Transition, VerdictKind
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PENDING, RUNNING, SCHEDULED
from legato.store.finding import runs_meant
from legato.store.port import Store
from legato.store.sql import SqlStore

from tests.store.make import apply, at, begin, claim, claimed, move, scheduled, state, step, task_of

ACCEPTED, ALREADY, INSTEAD, REFUSED = VerdictKind.ACCEPTED, VerdictKind.ALREADY, VerdictKind.INSTEAD, VerdictKind.REFUSED
THREE = Result(type="int", size=1, hash="h", inline=b"3", preview="3")


def test_a_run_is_remembered_as_it_was_reported(store: Store) -> None:
    run = begin(store, name="brisk-otter", tags=("prod", "ml"), parameters={"month": "2021-03", "n": [1, None]}, host="box", pid=7)
    error = ErrorDetail("ValueError", "no such column", "flow.py", 7, "train", "x = 1", "Traceback …")

    verdict = apply(store, move(run, FAILED, 5, message="no such column", error=error), 5)

    assert (verdict.kind, verdict.seq, verdict.attempt) == (ACCEPTED, 2, 1)
    ended = store.get_flow_run(run.id)
    assert (ended.name, ended.tags, ended.parameters, ended.host, ended.pid) == (
        "brisk-otter",
        ("prod", "ml"),
        {"month": "2021-03", "n": [1, None]},
        "box",
        7,
    )
    assert (ended.state, ended.error, ended.seq) == (state(FAILED, 5, message="no such column"), error, 2)
    assert (ended.started_at, ended.ended_at) == (at(0), at(5))


def test_a_task_run_is_remembered_as_it_was_reported(store: Store) -> None:
    run = begin(store)
    first = task_of(run, name="train-3", tags=("gpu",), upstream=("a", "b"), retries=2, cache_key="k/1", cache_expires_s=1.5)
    store.apply([first, step(first, RUNNING, 1), step(step(first, RUNNING, 1), COMPLETED, 2, result=THREE)], now=at(2))

    task = store.get_task_run(first.run_id)
    assert (task.name, task.tags, task.upstream, task.retries, task.cache_key, task.cache_expires_s) == (
        "train-3",
        ("gpu",),
        ("a", "b"),
        2,
        "k/1",
        1.5,
    )
    assert (task.state.type, task.seq, task.result) == (COMPLETED, 3, THREE)
    assert (task.created_at, task.started_at, task.ended_at) == (at(0), at(1), at(2))


def test_verdicts_come_in_the_order_of_the_transitions(store: Store) -> None:
    run = begin(store)
    good, bad = task_of(run), task_of(run)

    verdicts = store.apply([good, step(step(bad, RUNNING), COMPLETED), step(good, RUNNING), bad], now=at(0))

    assert [v.kind for v in verdicts] == [ACCEPTED, REFUSED, ACCEPTED, ACCEPTED]


def test_what_is_sent_again_is_answered_already(store: Store) -> None:
    run = begin(store)
    first = task_of(run)
    batch = [first, step(first, RUNNING, 1), step(step(first, RUNNING, 1), COMPLETED, 2, result=THREE)]
    store.apply(batch, now=at(2))

    again = store.apply(batch, now=at(9))

    assert [v.kind for v in again] == [ALREADY, ALREADY, ALREADY]
    assert len(store.list_transitions(first.run_id)) == 3


def test_the_same_sequence_with_another_state_is_a_conflict(store: Store) -> None:
    run = begin(store)
    apply(store, move(run, SCHEDULED, 1, name="AwaitingRetry", due=60), 1)

    verdict = apply(store, move(run, COMPLETED, 1), 2)

    assert (verdict.kind, verdict.code, verdict.seq) == (REFUSED, "conflict", 2)
    assert store.get_flow_run(run.id).state.type is SCHEDULED


def test_a_sequence_that_skips_one_is_a_conflict(store: Store) -> None:
    run = begin(store)

    verdict = apply(store, Transition(RunKind.FLOW, run.id, 5, state(COMPLETED), 1, fence=1))

    assert (verdict.kind, verdict.code) == (REFUSED, "conflict")


def test_final_means_final(store: Store) -> None:
    run = begin(store)
    apply(store, move(run, COMPLETED, 1), 1)
    ended = store.get_flow_run(run.id)

    verdict = apply(store, move(ended, RUNNING, 2), 2)

    assert (verdict.kind, verdict.code) == (REFUSED, "illegal_transition")
    assert "COMPLETED is final" in verdict.reason
    assert store.get_flow_run(run.id) == ended


def test_an_explicit_reopen_makes_a_final_run_wait_again(store: Store) -> None:
    run = begin(store)
    apply(store, move(run, FAILED, 1, error=ErrorDetail("E", "m")), 1)
    failed = store.get_flow_run(run.id)

    verdict = apply(store, move(failed, SCHEDULED, 2, fence=None, reopen=True), 2)

    again = store.get_flow_run(run.id)
    assert verdict.kind is ACCEPTED
    assert (again.state.type, again.ended_at, again.error) == (SCHEDULED, None, None)


def test_a_run_that_is_not_here_cannot_move(store: Store) -> None:
    verdict = apply(store, Transition(RunKind.FLOW, "nobody", 2, state(COMPLETED), 1, fence=1))

    assert (verdict.kind, verdict.code) == (REFUSED, "not_found")
    with pytest.raises(NotFound, match="nobody"):
        store.get_flow_run("nobody")
    with pytest.raises(NotFound, match="nobody"):
        store.get_task_run("nobody")


def test_a_zombie_cannot_complete_a_run_it_lost(store: Store) -> None:
    lost = claimed(store, on_lost="retry")
    store.report_lost(lost.id, lost.epoch, "its agent went away", now=at(40))
    mine = claim(store, seconds=41)[0].flow_run

    verdict = apply(store, move(lost, COMPLETED, 42), 42)

    assert (verdict.kind, verdict.code) == (REFUSED, "fenced")
    assert mine.attempt == lost.attempt + 1
    assert store.get_flow_run(lost.id).state.type is PENDING


def test_a_zombie_cannot_add_task_runs(store: Store) -> None:
    lost = claimed(store, on_lost="retry")
    store.report_lost(lost.id, lost.epoch, "its agent went away", now=at(40))
    claim(store, seconds=41)

    verdict = apply(store, task_of(lost, 42), 42)

    assert (verdict.kind, verdict.code) == (REFUSED, "fenced")
    assert store.list_task_runs(lost.id).items == []


def test_a_zombie_cannot_start_a_run_that_was_taken_back_before_it_started(store: Store) -> None:
    held = claimed(store, started=False)
    store.report_lost(held.id, held.epoch, "its agent went away", now=at(40))

    verdict = apply(store, Transition(RunKind.FLOW, held.id, held.seq + 2, state(RUNNING, 41), held.attempt, fence=held.epoch), 41)

    assert (verdict.kind, verdict.code) == (REFUSED, "fenced")
    assert claim(store, seconds=42)[0].flow_run.attempt == held.attempt + 1


def test_no_task_starts_under_a_run_that_has_ended(store: Store) -> None:
    run = begin(store)
    apply(store, move(run, COMPLETED, 1), 1)

    verdict = apply(store, task_of(run, 2), 2)

    assert (verdict.kind, verdict.code) == (REFUSED, "fenced")


def test_a_crash_sweeps_what_ran_inside(store: Store) -> None:
    run = begin(store)
    child = begin(store, parent_run_id=run.id)
    done, open_, in_child = task_of(run), task_of(run), task_of(child)
    store.apply([done, step(done, RUNNING), step(step(done, RUNNING), COMPLETED, 1), open_, in_child], now=at(1))

    apply(store, move(run, CRASHED, 5, message="killed"), 5)

    assert store.get_flow_run(child.id).state.type is CRASHED
    assert store.get_task_run(done.run_id).state.type is COMPLETED
    assert [store.get_task_run(t.run_id).state.type for t in (open_, in_child)] == [CRASHED, CRASHED]
    assert "killed" in store.get_task_run(open_.run_id).state.message
    assert [e.seq for e in store.list_transitions(open_.run_id)] == [1, 2]


def test_children_with_a_deployment_of_their_own_outlive_their_parent(store: Store) -> None:
    run = begin(store)
    child = claimed(store, parent_run_id=run.id)

    apply(store, move(run, CRASHED, 5), 5)

    assert store.get_flow_run(child.id).state.type is RUNNING


# ---------------------------------------------------------------------- the cache


def _complete_with_cache(store: Store, *, expires_s: float | None = None, result: Result = THREE) -> None:
    run = begin(store)
    first = task_of(run, cache_key="jobs.train/1", cache_expires_s=expires_s)
    store.apply([first, step(first, RUNNING), step(step(first, RUNNING), COMPLETED, 0, result=result)], now=at(0))


def test_a_cached_result_is_answered_instead_of_running(store: Store) -> None:
    _complete_with_cache(store)
    run = begin(store)
    first = task_of(run, 5, cache_key="jobs.train/1")
    apply(store, first, 5)

    verdict = apply(store, step(first, RUNNING, 6), 6)

    assert (verdict.kind, verdict.result, verdict.seq) == (INSTEAD, THREE, 2)
    task = store.get_task_run(first.run_id)
    assert (task.state.type, task.state.name, task.result) == (COMPLETED, "Cached", THREE)
    assert "jobs.train/1" in task.state.message


def test_a_task_may_begin_running_and_be_answered_from_the_cache_at_once(store: Store) -> None:
    _complete_with_cache(store)
    first = task_of(begin(store), 5, RUNNING, cache_key="jobs.train/1")

    verdict = apply(store, first, 6)
    again = apply(store, first, 7)

    assert (verdict.kind, verdict.result) == (INSTEAD, THREE)
    assert (again.kind, again.result) == (INSTEAD, THREE)
    assert [e.state.name for e in store.list_transitions(first.run_id)] == ["Cached"]


def test_a_cached_result_expires(store: Store) -> None:
    _complete_with_cache(store, expires_s=10)
    run = begin(store)
    early, late = task_of(run, 5, RUNNING, cache_key="jobs.train/1"), task_of(run, 5, RUNNING, cache_key="jobs.train/1")

    assert apply(store, early, 9.9).kind is INSTEAD
    assert apply(store, late, 10).kind is ACCEPTED


def test_a_result_that_cannot_be_had_is_not_cached(store: Store) -> None:
    _complete_with_cache(store, result=Result(unavailable="not serialisable"))

    assert apply(store, task_of(begin(store), 5, RUNNING, cache_key="jobs.train/1"), 6).kind is ACCEPTED


# ---------------------------------------------------------------------- cancelling


def test_cancelling_a_run_that_waits_ends_it_at_once(store: Store) -> None:
    run = store.create_flow_run(scheduled(60), now=at(0))

    cancelled = store.request_cancel(run.id, now=at(1))

    assert (cancelled.state.type, cancelled.ended_at) == (CANCELLED, at(1))


def test_cancelling_a_running_run_is_a_wish_its_holder_is_told(store: Store) -> None:
    run = claimed(store)

    wished = store.request_cancel(run.id, now=at(1))
    repeated = store.request_cancel(run.id, now=at(2))
    stop = apply(store, move(run, CANCELLED, 3), 3)

    assert (wished.state.type, wished.display_state, wished.cancel_requested_at) == (RUNNING, "Cancelling", at(1))
    assert repeated.cancel_requested_at == at(1)
    assert stop.kind is ACCEPTED


def test_a_cancelled_claim_does_not_start(store: Store) -> None:
    run = claimed(store, started=False)
    store.request_cancel(run.id, now=at(1))

    verdict = apply(store, move(run, RUNNING, 2), 2)

    assert verdict.kind is INSTEAD
    assert store.get_flow_run(run.id).state.type is CANCELLED


def test_a_cancelled_run_does_not_retry(store: Store) -> None:
    run = begin(store, retries=3)
    store.request_cancel(run.id, now=at(1))

    verdict = apply(store, move(run, SCHEDULED, 2, name="AwaitingRetry", due=60), 2)

    assert (verdict.kind, verdict.state is not None and verdict.state.type) == (INSTEAD, CANCELLED)


def test_cancelling_an_ended_run_changes_nothing(store: Store) -> None:
    run = begin(store)
    apply(store, move(run, COMPLETED, 1), 1)

    after = store.request_cancel(run.id, now=at(2))

    assert (after.state.type, after.cancel_requested_at) == (COMPLETED, None)


# ---------------------------------------------------------------------- groups


def test_one_bad_batch_sinks_no_neighbour(sql_store: SqlStore) -> None:
    run = begin(sql_store)
    good, bad, also_good = task_of(run), task_of(run, tags=(object(),)), task_of(run)

    answers = sql_store.apply_groups([([good], [], []), ([bad], [], []), ([also_good], [], [])], now=at(0))

    assert isinstance(answers[1], Exception)
    assert [v.kind for answer in (answers[0], answers[2]) if not isinstance(answer, Exception) for v in answer] == [ACCEPTED, ACCEPTED]
    assert {t.id for t in sql_store.list_task_runs(run.id).items} == {good.run_id, also_good.run_id}


def test_a_group_decides_later_batches_on_what_earlier_ones_did(sql_store: SqlStore) -> None:
    run = begin(sql_store)
    first = task_of(run)

    answers = sql_store.apply_groups([([first], [], []), ([step(first, RUNNING)], [], []), ([first], [], [])], now=at(0))

    assert [v.kind for answer in answers if not isinstance(answer, Exception) for v in answer] == [ACCEPTED, ACCEPTED, ALREADY]


def test_text_no_database_can_hold_is_made_storable(store: Store) -> None:
    run = begin(store, name="nul\0and\ud800surrogate")

    apply(store, move(run, FAILED, 1, message="bad byte \0 and \U0001f3bb and \ud83d", error=ErrorDetail("E", "nul \0")), 1)

    ended = store.get_flow_run(run.id)
    assert (ended.name, ended.state.message) == (r"nul\0and\ud800surrogate", "bad byte \\0 and \U0001f3bb and \\ud83d")


def test_times_keep_their_microseconds(store: Store) -> None:
    run = begin(store)
    moment = at(1) + timedelta(microseconds=1)

    apply(store, Transition(RunKind.FLOW, run.id, 2, state(COMPLETED, 1.000001), 1, fence=1), 2)

    assert store.get_flow_run(run.id).ended_at == moment


def test_nobody_starts_a_run_that_they_have_not_claimed_or_taken(store: Store) -> None:
    run = claimed(store)
    store.report_lost(run.id, run.epoch, "gone", now=at(40))
    crashed = store.get_flow_run(run.id)
    apply(store, move(crashed, SCHEDULED, 41, fence=None, reopen=True), 41)
    waiting = store.get_flow_run(run.id)

    verdict = apply(store, move(waiting, RUNNING, 42, attempt=2, fence=None), 42)

    assert (verdict.kind, verdict.code) == (REFUSED, "fenced")
    assert "claim it, or take it" in verdict.reason
    assert store.get_flow_run(run.id) == waiting


def test_a_run_is_given_its_name_when_it_begins_and_keeps_it(store: Store) -> None:
    run = claimed(store, started=False)
    begun = msgspec.structs.replace(move(run, RUNNING, 1), name="month-3\ud800")

    assert apply(store, begun, 1).kind is ACCEPTED
    named = store.get_flow_run(run.id)
    assert named.name.startswith("month-3")
    assert [found.id for found in runs_meant(store, named.name)] == [run.id]
    apply(store, move(named, COMPLETED, 2), 2)
    assert store.get_flow_run(run.id).name == named.name


def test_a_name_that_comes_too_late_changes_nothing(store: Store) -> None:
    run = claimed(store)
    lost = msgspec.structs.replace(move(run, COMPLETED, 2), fence=run.epoch + 2, name="another's")

    assert apply(store, lost, 2).kind is REFUSED
    assert store.get_flow_run(run.id).name == run.name
