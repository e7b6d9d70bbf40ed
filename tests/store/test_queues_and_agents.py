"""Work queues and agents as records: saving, renaming, deleting, who is live."""

import msgspec
import pytest

from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.records import Agent
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.system import new_id

from tests.store.make import add_queue, at


def agent(name: str, seen: float, *queues: str, ended: float | None = None) -> Agent:
    ended_at = None if ended is None else at(ended)
    return Agent(id=new_id(), name=name, queues=queues, started_at=at(0), last_seen_at=at(seen), capacity=4, ended_at=ended_at)


def test_a_queue_is_read_back_as_it_was_saved(store: Store) -> None:
    queue = add_queue(store, "gpu", priority=3, concurrency_limit=2, tags=("gpu",), description="big jobs")

    assert store.get_queue("gpu", now=at(0)).queue == queue
    assert store.get_queue(queue.id, now=at(0)).queue == queue


def test_a_queue_can_be_renamed_but_not_take_anothers_name(store: Store) -> None:
    add_queue(store, "cpu")
    queue = add_queue(store, "gpu")
    store.save_queue(msgspec.structs.replace(queue, name="big", priority=5))

    assert [status.queue.name for status in store.list_queues(now=at(0))] == ["big", "cpu"]
    with pytest.raises(Conflict, match="already"):
        store.save_queue(msgspec.structs.replace(queue, name="cpu"))


def test_a_negative_limit_makes_no_sense(store: Store) -> None:
    with pytest.raises(UsageError, match="limit"):
        add_queue(store, concurrency_limit=-1)


def test_a_deleted_queue_is_gone(store: Store) -> None:
    add_queue(store, "gpu")

    store.delete_queue("gpu")

    with pytest.raises(NotFound, match="gpu"):
        store.get_queue("gpu", now=at(0))
    with pytest.raises(NotFound, match="gpu"):
        store.delete_queue("gpu")


def test_agents_are_live_for_a_minute_and_listed_for_a_day(store: Store) -> None:
    add_queue(store, "main")
    live, silent, ended = agent("w-1", 3600, "main"), agent("w-2", 3500, "main"), agent("w-3", 3600, "main", ended=3600)
    for each in (silent, live, ended):
        store.save_agent(each, now=each.last_seen_at)

    assert [a.name for a in store.list_agents(now=at(3650))] == ["w-1", "w-2"]
    assert store.get_queue("main", now=at(3650)).agents == 1
    assert store.list_agents(now=at(3600 + 90_000)) == []


def test_an_agent_that_says_it_lives_is_updated(store: Store) -> None:
    first = agent("w-1", 0, "main")
    store.save_agent(first, now=at(0))

    store.save_agent(msgspec.structs.replace(first, running=2), now=at(30))

    assert [(a.last_seen_at, a.running) for a in store.list_agents(now=at(40))] == [(at(30), 2)]


def test_agents_that_were_silent_for_a_week_are_forgotten(sql_store: SqlStore) -> None:
    for i, day in enumerate((0, 1, 9)):
        agent = Agent(id=f"a{i}", name=f"a{i}", queues=("main",), started_at=at(0), last_seen_at=at(0))
        sql_store.save_agent(agent, now=at(day * 86_400))

    with sql_store.database.read() as session:
        assert session.rows("select id from agent") == [("a2",)]
