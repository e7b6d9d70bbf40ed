"""Ownership, walked at random with an oracle: a token is handed out once, what it writes is taken only while it is the run's, and what the
store's invariants say holds after every step. A few hundred walks here; ten thousand in the long suite.
"""

import contextlib
from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato.core.clock import ManualClock
from legato.core.errors import LegatoError
from legato.core.ownership import begun, ended, is_held, is_the_last_holder
from legato.core.records import Beat, ClaimRequest, Deployment, OnLost, RunKind, Transition, WorkQueue
from legato.core.states import COMPLETED, CRASHED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, State, StateType
from legato.store.sql import SqlStore
from legato.store.sqlite import SqliteDatabase

from tests.store.make import NOON, add_deployment, add_queue, apply, at, claim, claimed, move, scheduled, task_of

ENDED = ("completed", "failed", "crashed", "cancelled")


@given(st.integers(0, 10_000))
def test_a_token_is_the_epoch_exactly_while_the_holding_lasts(epoch: int) -> None:
    token = begun(epoch)

    assert is_held(token)
    assert token > epoch
    assert not is_held(ended(token))
    assert ended(ended(token)) == ended(token)
    assert is_the_last_holder(token, token)
    assert is_the_last_holder(token, ended(token))
    assert not is_the_last_holder(token, begun(ended(token)))
    assert not is_the_last_holder(ended(token), ended(token))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["lost", "beat", "claim"]), max_size=6))
def test_a_run_that_never_started_is_never_crashed_however_often_its_loss_is_told(told: list[str]) -> None:
    store = SqlStore(SqliteDatabase(":memory:"))
    add_queue(store)
    store.create_flow_run(scheduled(deployment=add_deployment(store)))
    run = claim(store)[0].flow_run
    for what in told:
        if what == "lost":
            store.report_lost(run.id, run.epoch, "gone", now=at(1))
        elif what == "beat":
            store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(1))
        else:
            claim(store, seconds=2)

    assert store.get_flow_run(run.id).state.type is not CRASHED
    store.close()


def test_a_suspended_runs_old_holder_does_not_go_on() -> None:
    store = SqlStore(SqliteDatabase(":memory:"))
    run = claimed(store)
    apply(store, move(run, PAUSED, 1, name="Suspended", release=True), 1)

    verdict = apply(store, Transition(RunKind.FLOW, run.id, run.seq + 2, State(RUNNING, "Running", at(2)), 1, fence=run.epoch), 2)
    reply = store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(2))[0]

    assert verdict.code == "fenced"
    assert reply.is_over
    assert store.get_flow_run(run.id).lease_expires_at is None


def test_a_beat_has_three_answers() -> None:
    store = SqlStore(SqliteDatabase(":memory:"))
    run = claimed(store)
    waiting = store.create_flow_run(scheduled(deployment=store.list_deployments()[0]))

    beats = [Beat(run.id, run.epoch), Beat(run.id, run.epoch + 2), Beat(waiting.id, 0), Beat(waiting.id, 1), Beat("never-heard-of", 1)]
    replies = store.heartbeat(beats, lease_s=30, now=at(1))

    assert [(r.alive, r.is_over, r.unknown) for r in replies] == [
        (True, False, False),
        (False, True, False),
        (False, True, False),
        (False, True, False),
        (False, False, True),
    ]
    assert len(claim(store, seconds=1)) == 1  # a beat for what nobody holds makes nobody wait


def test_nothing_begins_inside_a_run_whose_holder_has_lost_it() -> None:
    store = SqlStore(SqliteDatabase(":memory:"))
    run = claimed(store, on_lost=OnLost.RETRY)
    store.report_lost(run.id, run.epoch, "gone", now=at(40))
    child = scheduled(parent_run_id=run.id)
    started = msgspec.structs.replace(child, state=State(RUNNING, "Running", at(41)), attempt=1)

    verdict = apply(store, Transition(RunKind.FLOW, child.id, 1, started.state, 1, 1, started, parent_epoch=run.epoch), 41)

    assert verdict.code == "fenced"


class Holder:
    """Somebody who was given a run, and believes that it is still theirs."""

    def __init__(self, run: Any) -> None:
        self.id, self.token, self.seq, self.attempt = run.id, run.epoch, run.seq, run.attempt


class Walk:
    """Random verbs on one store in memory, by holders that may be zombies, and what must hold after each."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.clock = ManualClock(NOON)
        self.store = SqlStore(SqliteDatabase(":memory:"), clock=self.clock)
        self.deployment: Deployment = add_deployment(self.store)
        self.queue: WorkQueue = add_queue(self.store, concurrency_limit=2)
        self.most_slots = 2
        self.holders: list[Holder] = []
        self.tokens: set[tuple[str, int]] = set()
        self.tasks: list[Transition] = []

    def run(self, steps: int) -> None:
        verbs = [
            *(self.create, self.claim, self.claim, self.start, self.start, self.task, self.end_task, self.end, self.fail, self.pause),
            *(self.suspend, self.beat, self.lose, self.expire, self.cancel, self.again, self.take, self.advance, self.limit, self.wait),
            *(self.delete, self.intrude),
        ]
        for _ in range(steps):
            with contextlib.suppress(LegatoError):  # many of them are refused: that is the point
                self.chance.choice(verbs)()
            self.check()
        self.store.close()

    def some_run(self) -> str | None:
        runs = self.store.list_flow_runs(limit=50).items
        return self.chance.choice(runs).id if runs else None

    def create(self) -> None:
        self.store.create_flow_run(scheduled(deployment=self.deployment, on_lost=self.chance.choice(list(OnLost))))

    def claim(self) -> None:
        request = ClaimRequest(agent_id=self.chance.choice("ab"), queues=("main",), limit=self.chance.randint(1, 3))
        for one in self.store.claim_runs(request):
            self.hand(one.flow_run)

    def take(self) -> None:
        if (id_ := self.some_run()) is not None:
            self.hand(self.store.take_flow_run(id_, host="h", pid=self.chance.randint(1, 1000), lease_s=30, why="x"))

    def hand(self, run: Any) -> None:
        if any(h.id == run.id and h.token == run.epoch for h in self.holders):
            return  # asked again by the same process
        assert (run.id, run.epoch) not in self.tokens, "a token was handed out twice"
        self.tokens.add((run.id, run.epoch))
        self.holders.append(Holder(run))

    def move(self, type_: StateType, name: str, *, release: bool = False) -> None:
        if not self.holders:
            return
        holder = self.chance.choice(self.holders)
        before = self.store.get_flow_run(holder.id)
        due = self.clock.now() if type_ is SCHEDULED else None
        state = State(type_, name, self.clock.now(), "", due)
        verdict = self.store.apply(
            [Transition(RunKind.FLOW, holder.id, holder.seq + 1, state, holder.attempt, holder.token, release=release)]
        )[0]
        after = self.store.get_flow_run(holder.id)
        if verdict.kind == "accepted":
            holder.seq = verdict.seq
            assert after.epoch in (holder.token, holder.token + 1), "a write was taken from somebody who no longer holds the run"
        elif verdict.kind == "refused":
            assert after == before, "what was refused has changed something"

    def start(self) -> None:
        self.move(RUNNING, "Running")

    def end(self) -> None:
        self.move(COMPLETED, "Completed")

    def fail(self) -> None:
        self.move(FAILED, "Failed")

    def pause(self) -> None:
        self.move(PAUSED, "Paused")

    def wait(self) -> None:
        self.move(SCHEDULED, "AwaitingRetry")

    def suspend(self) -> None:
        self.move(PAUSED, "Suspended", release=True)

    def intrude(self) -> None:
        """Whoever holds nothing, or lets go of what must be held, gets nothing by it."""
        if (id_ := self.some_run()) is None:
            return
        run = self.store.get_flow_run(id_)
        type_ = self.chance.choice([PENDING, RUNNING])
        release = self.chance.random() < 0.5
        state = State(type_, type_.capitalize(), self.clock.now())
        attempt = run.attempt + (type_ is PENDING)
        token = run.epoch if release else None
        self.store.apply([Transition(RunKind.FLOW, id_, run.seq + 1, state, attempt, token, release=release)])

    def task(self) -> None:
        if self.holders:
            holder = self.chance.choice(self.holders)
            run = msgspec.structs.replace(self.store.get_flow_run(holder.id), epoch=holder.token)
            self.tasks.append(task_of(run, type_=RUNNING))
            self.store.apply([self.tasks[-1]])

    def end_task(self) -> None:
        if self.tasks:
            first = self.chance.choice(self.tasks)
            done = State(COMPLETED, "Completed", self.clock.now())
            self.store.apply([Transition(RunKind.TASK, first.run_id, 2, done, 1, fence=first.fence)])

    def beat(self) -> None:
        for holder in self.holders[-4:]:
            reply = self.store.heartbeat([Beat(holder.id, holder.token)], lease_s=30)[0]
            if reply.alive:
                assert self.store.get_flow_run(holder.id).epoch == holder.token, "a zombie was told that it lives"

    def lose(self) -> None:
        if self.holders:
            holder = self.chance.choice(self.holders)
            before = self.store.get_flow_run(holder.id)
            after = self.store.report_lost(holder.id, holder.token, "x")
            assert before.epoch == holder.token or after == before, "a loss of somebody who holds nothing changed something"

    def expire(self) -> None:
        for run in self.store.expired_leases():
            self.store.report_lost(run.id, run.epoch, "silent")

    def cancel(self) -> None:
        if (id_ := self.some_run()) is not None:
            self.store.request_cancel(id_)

    def again(self) -> None:
        if (id_ := self.some_run()) is not None:
            self.store.schedule_again(id_, why="x")

    def advance(self) -> None:
        self.clock.advance(self.chance.choice([1, 10, 31]))

    def limit(self) -> None:
        self.queue = msgspec.structs.replace(self.queue, concurrency_limit=self.chance.choice([0, 1, 2, 3]))
        self.store.save_queue(self.queue)
        self.most_slots = max(self.most_slots, self.queue.concurrency_limit or 0)

    def delete(self) -> None:
        if (id_ := self.some_run()) is not None and self.chance.random() < 0.3:
            self.store.delete_flow_run(id_)

    def check(self) -> None:
        with self.store._database.read() as session:
            runs = {r[0]: r for r in session.rows("select id, state_type, seq, epoch, lease_expires_at, work_queue from flow_run")}
            wished = {r[0] for r in session.rows("select id from flow_run where cancel_requested_at is not null")}
            slots = [r[0] for r in session.rows("select holder from slot")]
            journal = {
                r[0]: r
                for r in session.rows(
                    "select coalesce(t.id, r.id), max(j.seq), count(*) from journal j left join task_run t on t.n = j.run left join flow_run r on r.n = -j.run"
                    " where j.run <> 0 group by j.run"
                )
            }
            positions = session.row("select count(*), coalesce(max(pos), 0) from journal")
            open_tasks = session.rows(
                "select f.state_type from task_run t join flow_run f on f.n = t.flow_run"
                " where t.state_type not in ('completed', 'failed', 'crashed', 'cancelled')"
            )
        assert positions is not None
        assert positions[0] == positions[1], "the journal's positions have gaps"
        assert len(slots) <= self.most_slots, "a limit was overrun"
        assert len(slots) == len(set(slots))
        held = Counter()
        for id_, state, seq, epoch, lease, queue in runs.values():
            assert tuple(journal[id_][1:]) == (seq, seq), "a run's numbers have gaps"
            assert lease is None or epoch % 2 == 1, "a lease that nobody holds"
            assert state not in ("pending", "running") or epoch % 2 == 1, "a run that goes on, and nobody holds it"
            assert id_ not in wished or state in ENDED or epoch % 2 == 1, "a wish to cancel that nobody will hear"
            assert state not in ENDED or (lease is None and id_ not in slots), "a run that has ended holds a place"
            held[queue] += queue is not None and lease is not None
        assert all(id_ in runs and runs[id_][4] is not None for id_ in slots), "a place without a lease"
        assert held["main"] == len(slots)
        assert not any(state in ("crashed", "cancelled") for (state,) in open_tasks), "a task is open under a run that was given up"


@pytest.mark.parametrize("first", range(0, 200, 40))
def test_random_walks_break_no_invariant(first: int) -> None:
    for seed in range(first, first + 40):
        Walk(seed).run(80)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_ten_thousand_random_walks_break_no_invariant() -> None:
    for seed in range(10_000):
        Walk(10_000 + seed).run(80)
