"""Limits beyond queues: on the runs with a tag, and on a deployment's. No claim overruns one, and what it holds back holds up nobody else."""

import threading
from random import Random

import msgspec
import pytest

from legato.core.errors import NotFound, UsageError
from legato.core.records import Agent, Beat, Deployment, FlowRun, LimitStatus, RunKind, TagLimit, Transition
from legato.core.states import COMPLETED, State
from legato.sdk.explaining import explain_in
from legato.store.database import Session
from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.store.sql.reports import record
from legato.system import new_id

from tests.store.make import NOON, add_deployment, add_queue, apply, at, claim, claimed, move, scheduled


def waiting(store: Store, deployment: Deployment, *tags: str, n: int = 1) -> list[FlowRun]:
    return [store.create_flow_run(scheduled(due=i, deployment=deployment, tags=tags), now=NOON) for i in range(n)]


def ids(runs: list[FlowRun]) -> list[str]:
    return [run.id for run in runs]


def test_no_more_runs_with_a_tag_are_handed_over_than_its_limit_allows(store: Store) -> None:
    add_queue(store)
    add_queue(store, "other")
    deployment = add_deployment(store)
    store.save_limit(TagLimit(tag="gpu", size=2))
    held = waiting(store, deployment, "gpu", "big", n=3)
    free = waiting(store, deployment, "big", n=2)

    first = claim(store, "main", "other", limit=10, seconds=10)
    again = claim(store, "main", "other", limit=10, seconds=10)

    assert sorted(one.flow_run.id for one in first) == sorted([*ids(held[:2]), *ids(free)])
    assert again == []
    assert store.list_limits() == [LimitStatus(size=2, running=2, tag="gpu")]
    run = store.get_flow_run(held[0].id)
    apply(store, Transition(RunKind.FLOW, run.id, run.seq + 1, State(COMPLETED, "Completed", at(11)), run.attempt, fence=run.epoch), 11)
    assert [one.flow_run.id for one in claim(store, "main", limit=10, seconds=12)] == [held[2].id]


def test_no_more_runs_of_a_deployment_are_handed_over_than_its_limit_allows(store: Store) -> None:
    add_queue(store)
    narrow, wide = add_deployment(store, "narrow", concurrency_limit=1), add_deployment(store, "wide")
    held, free = waiting(store, narrow, n=3), waiting(store, wide, n=3)

    assert sorted(one.flow_run.id for one in claim(store, limit=3, seconds=10)) == sorted([held[0].id, *ids(free[:2])])
    assert [one.flow_run.id for one in claim(store, limit=3, seconds=10)] == [free[2].id]
    assert store.list_limits() == [LimitStatus(size=1, running=1, deployment_name="etl/narrow")]

    store.save_deployment(msgspec.structs.replace(narrow, concurrency_limit=None), now=at(11))
    assert store.list_limits() == []
    assert len(claim(store, limit=3, seconds=12)) == 2


def test_a_new_limit_counts_what_agents_hold_already(store: Store) -> None:
    run = claimed(store, tags=("gpu",))
    deployment = store.get_deployment(run.deployment_id or "")
    waiting(store, deployment, "gpu", n=2)

    store.save_limit(TagLimit(tag="gpu", size=1))
    store.save_deployment(msgspec.structs.replace(deployment, concurrency_limit=1), now=at(1))

    assert [limit.running for limit in store.list_limits()] == [1, 1]
    assert claim(store, limit=5, seconds=10) == []
    store.save_limit(TagLimit(tag="gpu", size=5))
    assert claim(store, limit=5, seconds=10) == []
    store.delete_deployment(deployment.full_name, now=at(11))
    assert [limit.tag for limit in store.list_limits()] == ["gpu"]


def test_a_lost_run_gives_its_places_back_and_a_lifted_limit_holds_nobody(store: Store) -> None:
    store.save_limit(TagLimit(tag="gpu", size=1))
    run = claimed(store, tags=("gpu",))
    waiting(store, store.get_deployment(run.deployment_id or ""), "gpu", n=2)
    assert store.heartbeat([Beat(run.id, run.epoch)], lease_s=30, now=at(1))[0].alive

    store.report_lost(run.id, run.epoch, "gone", now=at(2))
    assert len(claim(store, limit=5, seconds=10)) == 1
    store.delete_limit("gpu")

    assert store.list_limits() == []
    assert len(claim(store, limit=5, seconds=11)) == 1
    with pytest.raises(NotFound):
        store.delete_limit("gpu")


@pytest.mark.parametrize("limit", [TagLimit(tag="", size=1), TagLimit(tag="gpu", size=-1), TagLimit(tag="gpu", size=2**70)])
def test_a_limit_that_makes_no_sense_is_refused(sql_store: SqlStore, limit: TagLimit) -> None:
    with pytest.raises(UsageError):
        sql_store.save_limit(limit)


def test_a_run_that_a_limit_holds_back_says_so(store: Store) -> None:
    add_queue(store)
    deployment = add_deployment(store)
    store.save_limit(TagLimit(tag="gpu", size=1))
    _, second = waiting(store, deployment, "gpu", n=2)
    claim(store, limit=5, seconds=10)
    store.save_agent(Agent(id=new_id(), name="a", queues=("main",), started_at=NOON, last_seen_at=NOON), now=at(10))

    told = explain_in(store, second.id, at(20))

    assert told.title == "Late by 19 s: the limit on runs with tag 'gpu' is reached: 1 of 1 run already"
    assert told.facts["waits_for"] == "limit"


def holding(store: SqlStore, tag: str) -> int:
    with store._database.read() as session:
        row = session.row("select count(*) from flow_run r where r.lease_expires_at is not null and r.tags like :tag", tag=f'%"{tag}"%')
    return int(row[0]) if row else 0


@pytest.mark.postgres
@pytest.mark.parametrize("seed", range(3))
def test_two_stores_that_claim_at_once_overrun_no_limit(postgres_url: str, seed: int) -> None:
    """Claims, ends and limits that change, on two stores: looked at after each claim, by a third."""
    stores = [open_sql_store(postgres_url) for _ in range(2)]
    chance = Random(seed)
    add_queue(stores[0])
    add_queue(stores[0], "second", concurrency_limit=6)
    deployments = [add_deployment(stores[0], "a", concurrency_limit=3), add_deployment(stores[0], "b")]
    for n in range(60):
        stores[0].create_flow_run(scheduled(deployment=deployments[n % 2], tags=chance.choice([(), ("gpu",), ("gpu", "big")])), now=NOON)
    for tag, size in (("gpu", 4), ("big", 2)):
        stores[0].save_limit(TagLimit(tag=tag, size=size))
    wrong: list[object] = []

    def work(store: SqlStore, seed: int) -> None:
        chance = Random(seed)
        try:
            for n in range(15):
                for one in claim(store, "main", "second", limit=chance.randint(1, 5), seconds=1, agent=f"agent-{seed}"):
                    if chance.random() < 0.6:
                        apply(store, move(one.flow_run, COMPLETED, 2), 2)
                if n % 5 == 4:
                    store.save_limit(TagLimit(tag="big", size=chance.randint(0, 2)))
        except Exception as error:  # noqa: BLE001 told to the test
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(stores[i % 2], seed * 10 + i)) for i in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = (holding(stores[0], "gpu"), holding(stores[0], "big"))
        if found[0] > 4 or found[1] > 2:
            wrong.append(found)
        threads[0].join(0.005)
        threads = [thread for thread in threads if thread.is_alive()]
    assert wrong == []
    for store in stores:
        store.close()


def test_a_tag_that_a_run_has_twice_takes_one_place(store: Store) -> None:
    add_queue(store)
    store.save_limit(TagLimit(tag="gpu", size=1))
    (run,) = waiting(store, add_deployment(store), "gpu", "gpu")

    assert [one.flow_run.id for one in claim(store, limit=10, seconds=10)] == [run.id]
    assert store.list_limits() == [LimitStatus(size=1, running=1, tag="gpu")]


@pytest.mark.parametrize("tag", ["a" * 300, "zürich\0x", "a\udcffb", "team/a b", "%"])
def test_a_limit_is_on_the_tag_as_runs_carry_it(store: Store, tag: str) -> None:
    add_queue(store)
    store.save_limit(TagLimit(tag=tag, size=1))
    waiting(store, add_deployment(store), tag, n=2)

    assert len(claim(store, limit=10, seconds=10)) == 1
    (limit,) = store.list_limits()
    assert limit.running == 1
    store.delete_limit(tag)
    assert store.list_limits() == []


@pytest.mark.postgres
@pytest.mark.parametrize("what", ["tag", "deployment", "queue"])
def test_a_limit_that_is_made_while_a_run_ends_keeps_no_place_for_it(postgres_url: str, what: str) -> None:
    """The end frees its places before it is committed, and whoever makes a limit just then still sees the run held."""
    ending, making = open_sql_store(postgres_url), open_sql_store(postgres_url)
    add_queue(ending)
    deployment = add_deployment(ending)
    waiting(ending, deployment, "gpu")
    run = claim(ending, seconds=1)[0].flow_run
    made, ended = threading.Event(), threading.Event()
    if what == "queue":
        ending.delete_queue("main")

    def make() -> None:
        ended.wait(10)
        if what == "tag":
            making.save_limit(TagLimit(tag="gpu", size=1))
        elif what == "deployment":
            making.save_deployment(msgspec.structs.replace(deployment, concurrency_limit=1), now=at(2))
        else:
            add_queue(making, concurrency_limit=1)
        made.set()

    maker = threading.Thread(target=make)
    maker.start()

    def end(session: Session) -> None:
        completed = Transition(RunKind.FLOW, run.id, run.seq + 1, State(COMPLETED, "Completed", at(2)), run.attempt, fence=run.epoch)
        record(session, [completed], (), (), at(2))
        ended.set()
        made.wait(0.5)  # it waits for us, as it should, or is done before us

    ending._database.transact(end)
    maker.join(10)

    with ending.database.read() as session:
        assert session.rows("select count(*) from slot") == [(0,)]
    making.close()
    ending.close()
