"""Two stores on one PostgreSQL, threads on both: nobody dies of the other, and the invariants hold. On SQLite the same of two connections."""

import threading
from collections.abc import Callable
from random import Random

import msgspec
import pytest

from legato.core.errors import Conflict, NotFound
from legato.core.json_times import in_full
from legato.core.records import Agent, Beat, ClaimRequest, LogLine, TagLimit, Transition, Variable, WorkQueue
from legato.core.states import COMPLETED, RUNNING
from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.system import SystemClock, new_id

from tests.store.make import NOON, add_deployment, add_queue, begin, every, scheduled

CLOCK = SystemClock()
ALLOWED = (Conflict, NotFound)
"""What a verb may say to somebody who was overtaken."""


class Load:
    """Mixed verbs by many threads on several stores of one database."""

    def __init__(self, stores: list[SqlStore], threads: int) -> None:
        self.stores = stores
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.calls = 0
        first = stores[0]
        self.deployment = add_deployment(first)
        self.queues = [add_queue(first, name, concurrency_limit=limit) for name, limit in (("a", 3), ("b", 5), ("c", None))]
        self.held: list[tuple[str, int, int]] = []
        self.workers = [threading.Thread(target=self.work, args=(store, n)) for n in range(threads) for store in stores]

    def run(self, seconds: float) -> None:
        for each in self.workers:
            each.start()
        self.stop.wait(seconds)  # that is the load: how long it goes on
        self.stop.set()
        for each in self.workers:
            each.join(60)

    def work(self, store: SqlStore, seed: int) -> None:
        chance = Random(seed)
        verbs = [self.create, self.create, self.claim, self.claim, self.report, self.report, self.beat, self.lose, self.save, self.limit]
        while not self.stop.is_set():
            try:
                chance.choice(verbs)(store, chance)
            except ALLOWED:
                pass
            except BaseException as error:  # noqa: BLE001 whatever it is, it is what the test is about
                self.failures.append(error)
            self.calls += 1

    def create(self, store: SqlStore, chance: Random) -> None:
        tags = tuple(chance.sample(["x", "y", "z", "prod"], 2))
        store.create_flow_run(scheduled(deployment=self.deployment, tags=tags, flow_name=chance.choice(["etl", "ml"])))

    def claim(self, store: SqlStore, chance: Random) -> None:
        queues = tuple(chance.sample(["a", "b", "c"], 2))
        for one in store.claim_runs(ClaimRequest(agent_id="agent", queues=queues, limit=chance.randint(1, 3), lease_s=30)):
            run = one.flow_run
            self.held.append((run.id, run.epoch, run.seq))

    def report(self, store: SqlStore, chance: Random) -> None:
        if not self.held:
            return
        id_, token, seq = chance.choice(self.held)
        now = CLOCK.now()
        run = store.get_flow_run(id_)
        moves = [
            Transition(run_kind, id_, seq + 1, msgspec.structs.replace(run.state, type=RUNNING, name="Running", at=now), 1, token)
            for run_kind in ("flow",)
        ]
        moves.append(
            Transition("flow", id_, seq + 2, msgspec.structs.replace(run.state, type=COMPLETED, name="Completed", at=now), 1, token)
        )  # type: ignore[arg-type]
        store.apply(moves[: chance.randint(1, 2)], [LogLine(id_, now, 20, "l", "x")], batch_id=new_id())  # type: ignore[arg-type]

    def beat(self, store: SqlStore, chance: Random) -> None:
        beats = [Beat(id_, token) for id_, token, _ in chance.sample(self.held, min(len(self.held), 20))]
        store.heartbeat(beats, lease_s=30)

    def lose(self, store: SqlStore, chance: Random) -> None:
        if self.held:
            id_, token, _ = chance.choice(self.held)
            store.report_lost(id_, token, "gone")

    def save(self, store: SqlStore, chance: Random) -> None:
        if chance.random() < 0.5:
            store.save_deployment(msgspec.structs.replace(self.deployment, parameters={"n": chance.random()}))
        else:
            store.set_variable(Variable(name=chance.choice(["v", "w"]), value=1, updated_at=CLOCK.now()))

    def limit(self, store: SqlStore, chance: Random) -> None:
        queue = chance.choice(self.queues[:2])
        store.save_queue(msgspec.structs.replace(queue, concurrency_limit=chance.randint(0, 5)))


def check(store: SqlStore) -> None:
    with store._database.read() as session:
        dense = session.row("select count(*), coalesce(max(pos), 0) from journal")
        gaps = session.rows("select run from journal where run <> 0 group by run having count(*) <> max(seq)")
        doubled = session.rows("select run, seq from journal where run <> 0 group by run, seq having count(*) > 1")
        homeless = session.rows("select holder from slot where holder not in (select id from flow_run where lease_expires_at is not null)")
        leases = session.rows("select id from flow_run where lease_expires_at is not null and epoch % 2 = 0")
    assert dense is not None
    assert dense[0] == dense[1]
    assert (gaps, doubled, homeless, leases) == ([], [], [], [])


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("threads", "seconds"), [(4, 6), pytest.param(8, 60, marks=[pytest.mark.chaos, pytest.mark.timeout(300)])], ids=["short", "long"]
)
def test_two_stores_on_one_postgresql_do_not_hurt_each_other(postgres_url: str, threads: int, seconds: float) -> None:
    stores = [open_sql_store(postgres_url), open_sql_store(postgres_url)]
    load = Load(stores, threads)

    load.run(seconds)

    assert load.failures == []
    assert load.calls > 50
    check(stores[0])
    for each in stores:
        each.close()


@pytest.mark.postgres
def test_one_key_is_answered_once_however_many_ask_at_once(postgres_url: str) -> None:
    stores = [open_sql_store(postgres_url), open_sql_store(postgres_url)]
    deployment = add_deployment(stores[0])
    add_queue(stores[0])
    for _ in range(20):
        stores[0].create_flow_run(scheduled(deployment=deployment))
    answers: list[bytes] = []

    def ask(store: SqlStore, key: str) -> Callable[[], None]:
        def asking() -> None:
            request = ClaimRequest(agent_id="a", queues=("main",), limit=1)
            given = store.once(key, lambda: store.claim_runs(request))
            answers.append(bytes(given) if isinstance(given, msgspec.Raw) else msgspec.json.encode(in_full(given)))  # as a server sends it

        return asking

    for n in range(10):
        threads = [threading.Thread(target=ask(store, f"key-{n}")) for store in stores]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    assert len(answers) == 20
    assert len(set(answers)) == 10
    assert sum(run.lease_expires_at is not None for run in stores[0].list_flow_runs().items) == 10
    for each in stores:
        each.close()


@pytest.mark.postgres
def test_connections_that_are_cut_are_opened_again_and_nothing_is_done_twice(postgres_url: str) -> None:
    import psycopg

    store = open_sql_store(postgres_url)
    deployment = add_deployment(store)
    everybody_else = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for n in range(150):
            if n % 10 == 0:
                connection.execute(everybody_else)
            store.create_flow_run(scheduled(deployment=deployment))

    assert len(store.list_flow_runs(limit=1000).items) == 150
    assert store.journal_position() == 150
    store.close()


SAVES: dict[str, Callable[[Store, str], object]] = {
    "deployment": lambda store, name: add_deployment(store, name, schedules=[every(3600)], concurrency_limit=2),
    "limit": lambda store, name: store.save_limit(TagLimit(tag=name, size=1)),
    "variable": lambda store, name: store.set_variable(Variable(name=name, value=1, updated_at=NOON), overwrite=True),
    "queue": lambda store, name: store.save_queue(WorkQueue(id=new_id(), name=name, created_at=NOON)),
    "agent": lambda store, name: store.save_agent(Agent(id=name, name=name, queues=("main",), started_at=NOON, last_seen_at=NOON)),
    "run": lambda store, name: begin(store, flow_name=name, tags=(name, "common")),
}


@pytest.mark.postgres
@pytest.mark.parametrize("what", SAVES)
def test_what_two_stores_make_at_once_for_the_first_time_is_made_by_one_and_found_by_the_other(postgres_url: str, what: str) -> None:
    stores = [open_sql_store(postgres_url) for _ in range(2)]
    together = threading.Barrier(2)
    refused: list[str] = []

    def save(store: SqlStore) -> None:
        for i in range(15):
            together.wait()
            try:
                SAVES[what](store, f"name-{i}")
            except Exception as error:  # noqa: BLE001 whatever it is, it is told below
                refused.append(str(error).splitlines()[0])

    threads = [threading.Thread(target=save, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()

    told = [f"there is a work queue 'name-{i}' already" for i in range(15)] if what == "queue" else []
    assert sorted(refused) == sorted(told)


@pytest.mark.postgres
def test_a_database_that_is_gone_without_a_word_is_noticed_within_half_a_minute(postgres_url: str) -> None:
    for url, idle in ((postgres_url, "10"), (f"{postgres_url}?keepalives_idle=99", "99")):
        store = open_sql_store(url)
        parameters = store._database._connection().info.get_parameters()  # type: ignore[attr-defined]
        store.close()

        assert parameters["keepalives_idle"] == idle
        assert parameters["tcp_user_timeout"] == "25000"
