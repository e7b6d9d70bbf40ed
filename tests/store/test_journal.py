"""The journal's promises (I1, I2), whatever is done and by however many: legal, gapless per run, dense and in commit order."""

import threading
from collections.abc import Callable
from random import Random

import pytest

from legato.core.records import Beat, FlowRun, JournalEntry, Transition
from legato.core.states import CRASHED, FINAL, TRANSITIONS, StateType, may_follow
from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.store.sql import SqlStore

from tests.store.make import add_deployment, add_queue, apply, at, begin, claim, move, scheduled, step, task_of

LIMIT = 3


def whole_journal(store: Store) -> list[JournalEntry]:
    entries: list[JournalEntry] = []
    while page := store.read_journal(entries[-1].pos if entries else 0, limit=50):
        entries += page
    return entries


def check(store: Store) -> None:
    entries = whole_journal(store)
    assert [e.pos for e in entries] == list(range(1, len(entries) + 1))
    last: dict[str, JournalEntry] = {}
    for entry in entries:
        before = last.get(entry.run_id)
        assert entry.seq == (before.seq + 1 if before else 1), entry
        assert entry.attempt >= (before.attempt if before else 0), entry
        # a cache hit or a cancel may be a run's first entry; a reopen leaves a final state
        believed = before is not None and before.state.type is CRASHED and entry.state.type in FINAL  # given up too early
        legal = before is None or believed or may_follow(before.state.type, entry.state.type, reopen=True)
        assert legal, f"{before and before.state.name} -> {entry.state.name}, {entry.kind} run {entry.run_id} at {entry.pos}"
        last[entry.run_id] = entry
    for run_id, entry in last.items():
        assert store.list_transitions(run_id)[-1] == entry


class Mischief:
    """Does random things to a store, many of them wrong."""

    def __init__(self, store: Store, chance: Random) -> None:
        self.store = store
        self.chance = chance
        self.now = 0.0
        self.runs: list[str] = []
        self.tasks: list[Transition] = []
        self.deployment = add_deployment(store)

    def act(self) -> None:
        self.now += self.chance.choice([0, 0.1, 5, 40])
        self.chance.choice(
            [
                self.create,
                self.begin,
                self.claim,
                self.move,
                self.move,
                self.task,
                self.task,
                self.beat,
                self.lose,
                self.cancel,
                self.repeat,
            ]
        )()

    def run(self) -> FlowRun | None:
        return self.store.get_flow_run(self.chance.choice(self.runs)) if self.runs else None

    def create(self) -> None:
        lost = self.chance.choice(["fail", "retry"])
        self.runs.append(self.store.create_flow_run(scheduled(self.now, deployment=self.deployment, on_lost=lost), now=at(self.now)).id)

    def begin(self) -> None:
        parent = self.chance.choice([None, *self.runs])
        self.runs.append(begin(self.store, self.now, parent_run_id=parent).id)

    def claim(self) -> None:
        claim(self.store, seconds=self.now, limit=self.chance.randint(1, 3))

    def move(self) -> None:
        if run := self.run():
            fence = self.chance.choice([run.attempt, run.attempt, None, run.attempt - 1])
            reopen = self.chance.random() < 0.1
            apply(self.store, move(run, self.chance.choice(list(StateType)), self.now, fence=fence, reopen=reopen), self.now)

    def task(self) -> None:
        if run := self.run():
            known = self.chance.choice([task_of(run, self.now, cache_key=self.chance.choice([None, "k"])), *self.tasks[-3:]])
            after = step(known, self.chance.choice(list(StateType)), self.now)
            self.store.apply([known, after][self.chance.randint(0, 1) :], now=at(self.now))
            self.tasks += [known, after]

    def beat(self) -> None:
        if run := self.run():
            self.store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(self.now))

    def lose(self) -> None:
        for run in self.store.expired_leases(now=at(self.now)):
            self.store.report_lost(run.id, run.epoch, "gone", now=at(self.now))

    def cancel(self) -> None:
        if run := self.run():
            self.store.request_cancel(run.id, now=at(self.now))

    def repeat(self) -> None:
        if self.tasks:
            self.store.apply(self.chance.sample(self.tasks, min(len(self.tasks), 4)), now=at(self.now))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_done_the_journal_stays_dense_gapless_and_legal(sql_store: SqlStore, seed: int) -> None:
    add_queue(sql_store, concurrency_limit=LIMIT)
    mischief = Mischief(sql_store, Random(seed))
    for _ in range(150):
        mischief.act()
        assert sql_store.get_queue("main", now=at(0)).running <= LIMIT

    check(sql_store)
    held = [run for run in sql_store.list_flow_runs(limit=1000).items if run.lease_expires_at is not None]
    assert not [run for run in held if run.state.type in FINAL]


def test_the_table_of_states_is_what_the_check_walks() -> None:
    assert all(may_follow(a, b) == (b in TRANSITIONS[a]) for a in StateType for b in StateType if a not in FINAL)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_several_writers_share_one_dense_journal(kind: str, database_url: Callable[[str], str]) -> None:
    stores = [open_sql_store(database_url(kind)) for _ in range(3)]

    def write(store: SqlStore) -> None:
        for _ in range(10):
            run = begin(store)
            store.apply([task_of(run) for _ in range(5)], now=at(0))

    writers = [threading.Thread(target=write, args=(store,)) for store in stores]
    for each in writers:
        each.start()
    for each in writers:
        each.join()

    assert stores[0].journal_position() == 3 * 10 * 6
    check(stores[1])
    for store in stores:
        store.close()
