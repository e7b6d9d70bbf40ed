"""Deployments that are saved, paused, planned, claimed and deleted by threads on two stores of one database: nothing is left of what is gone."""

import threading
from collections.abc import Callable
from datetime import timedelta
from random import Random

import msgspec
import pytest

from legato.core.errors import Conflict, NotFound
from legato.core.records import ClaimRequest, Deployment, FlowRunFilter, RunKind, TagLimit, Transition
from legato.core.states import CANCELLED, COMPLETED, FAILED, PENDING, RUNNING, SCHEDULED, State
from legato.services import scheduler
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore
from legato.system import SystemClock, new_id

from tests.store.make import add_queue, every

CLOCK = SystemClock()
NAMES = ("a", "b", "c")
LEFT = {
    "places of nobody": "select count(*) from slot s where not exists"
    " (select 1 from flow_run r where r.id = s.holder and r.lease_expires_at is not null)",
    "runs that wait for a deployment that is gone": "select count(*) from flow_run r where r.state_type = 'scheduled'"
    " and not exists (select 1 from deployment d where d.id = r.deployment_id)",
    "limits of deployments that are gone": "select count(*) from run_limit l where l.deployment_id is not null"
    " and not exists (select 1 from deployment d where d.id = l.deployment_id)",
    "schedules of deployments that are gone": "select count(*) from schedule s where not exists"
    " (select 1 from deployment d where d.id = s.deployment_id)",
    "runs planned although paused": "select count(*) from flow_run r join deployment d on d.id = r.deployment_id where d.paused = 1"
    " and r.state_type = 'scheduled' and r.attempt = 0 and r.schedule_id is not null and r.due_at > :now",
    "holes in the journal": "select coalesce(max(pos), 0) - count(*) from journal",
}


def save(store: SqlStore, chance: Random, name: str) -> None:
    now = CLOCK.now()
    tags, limit = (chance.choice("xyz"),), chance.choice([None, 1, 2])
    schedules = tuple(msgspec.structs.replace(every(chance.choice([1, 30])), id=new_id()) for _ in range(1))
    common = {"entrypoint": "a.py:etl", "created_at": now, "updated_at": now, "tags": tags, "schedules": schedules}
    store.save_deployment(Deployment(id=new_id(), flow_name="etl", name=name, concurrency_limit=limit, **common))  # type: ignore[arg-type]


def claim(store: SqlStore, chance: Random, name: str) -> None:
    for each in store.claim_runs(ClaimRequest(agent_id="agent", queues=("main",), limit=3)):
        assert each.deployment is not None
        assert each.deployment.full_name == each.flow_run.deployment_name


def end(store: SqlStore, chance: Random, name: str) -> None:
    for run in store.list_flow_runs(FlowRunFilter(states=(PENDING,)), limit=3).items:
        for n, state in enumerate((RUNNING, COMPLETED), 1):
            moved = State(state, state.value.capitalize(), CLOCK.now())
            store.apply([Transition(RunKind.FLOW, run.id, run.seq + n, moved, run.attempt, fence=run.epoch)])


def lose(store: SqlStore, chance: Random, name: str) -> None:
    for run in store.list_flow_runs(FlowRunFilter(states=(PENDING, RUNNING)), limit=3).items:
        store.report_lost(run.id, run.epoch, "silence")


def remove(store: SqlStore, chance: Random, name: str) -> None:
    for run in store.list_flow_runs(FlowRunFilter(states=(COMPLETED, CANCELLED, FAILED)), limit=5).items:
        store.delete_flow_run(run.id)


def cancel(store: SqlStore, chance: Random, name: str) -> None:
    for run in store.list_flow_runs(FlowRunFilter(states=(SCHEDULED,)), limit=2).items:
        store.request_cancel(run.id)


VERBS: tuple[Callable[[SqlStore, Random, str], object], ...] = (
    *(save, save, claim, claim, claim, end, lose, remove, cancel),
    lambda store, chance, name: store.delete_deployment(f"etl/{name}"),
    lambda store, chance, name: store.set_deployment_paused(f"etl/{name}", chance.random() < 0.5),
    lambda store, chance, name: scheduler.tick(store, CLOCK.now()),
    lambda store, chance, name: scheduler.tick(store, CLOCK.now() + timedelta(seconds=2)),
    lambda store, chance, name: store.save_limit(TagLimit(tag=chance.choice("xyz"), size=chance.randrange(1, 3))),
)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=[pytest.mark.chaos, pytest.mark.timeout(300)])], ids=["short", "long"])
def test_nothing_is_left_of_deployments_that_are_gone(database_url: Callable[[str], str], kind: str, seconds: int) -> None:
    stores = [open_sql_store(database_url(kind)) for _ in range(2)]
    add_queue(stores[0], concurrency_limit=4)
    over = threading.Event()
    failures: list[BaseException] = []

    def work(store: SqlStore, seed: int) -> None:
        chance = Random(seed)
        while not over.is_set():
            try:
                chance.choice(VERBS)(store, chance, chance.choice(NAMES))
            except (NotFound, Conflict):
                pass  # somebody else was first
            except BaseException as error:  # noqa: BLE001 whatever it is, it is told below
                failures.append(error)

    threads = [threading.Thread(target=work, args=(stores[n % 2], n)) for n in range(8)]
    for thread in threads:
        thread.start()
    over.wait(seconds)  # that is the load: how long it goes on
    over.set()
    for thread in threads:
        thread.join(60)

    with stores[0].database.read() as session:
        now = int((CLOCK.now() + timedelta(seconds=2)).timestamp() * 1_000_000)
        left = {what: session.rows(sql, now=now)[0][0] for what, sql in LEFT.items()}
    for store in stores:
        store.close()
    assert failures == []
    assert left == dict.fromkeys(LEFT, 0)
