"""Which writes wake those who wait for work: what may have made a run due or freed a place does, and a run that merely begins does not."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import pytest

from legato.core.errors import Unavailable
from legato.core.records import FlowRun, Transition
from legato.core.states import COMPLETED, RUNNING, SCHEDULED
from legato.server import backend
from legato.server.backend import Backend
from legato.server.writer import Writer, Written
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore
from legato.system import SystemClock

from tests.store.make import claimed, move


def stirs(store: SqlStore, *batches: Sequence[Transition]) -> list[bool]:
    async def write() -> list[bool]:
        told: list[Written] = []
        writer = Writer(store, SystemClock(), told.append)
        store.foreign_changes()  # what was written before is not asked about
        writer.start()
        for batch in batches:
            await writer.apply(batch, [])
        writer.stop()
        await asyncio.sleep(0)  # what it has handed to the loop is told
        return [one.stirs for one in told if one.journal]

    return asyncio.run(write())


def held() -> tuple[SqlStore, FlowRun]:
    store = open_sql_store("sqlite://")
    return store, claimed(store, started=False)


def test_a_run_that_begins_wakes_nobody_and_one_that_ends_does() -> None:
    store, run = held()
    begun = move(run, RUNNING)
    ended = Transition(begun.kind, begun.run_id, begun.seq + 1, move(run, COMPLETED).state, begun.attempt, fence=begun.fence)

    assert stirs(store, [begun], [ended]) == [False, True]


def test_a_run_that_waits_for_its_retry_frees_its_process() -> None:
    store, run = held()
    begun = move(run, RUNNING)
    again = Transition(begun.kind, begun.run_id, begun.seq + 1, move(run, SCHEDULED, due=5).state, begun.attempt, fence=begun.fence)

    assert stirs(store, [begun, again]) == [True]


def test_one_that_was_cancelled_instead_wakes_those_who_wait_for_its_place() -> None:
    store, run = held()
    store.request_cancel(run.id)

    assert stirs(store, [move(run, RUNNING)]) == [True]


def test_the_next_due_run_is_asked_for_again_when_the_database_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "ASK_AGAIN_S", 0.01)
    store, asked = open_sql_store("sqlite://"), []

    def away_twice(now: datetime) -> None:
        asked.append(now)
        if len(asked) < 3:
            raise Unavailable("the database is away")

    monkeypatch.setattr(store, "next_due_after", away_twice)

    async def serve() -> None:
        serving = Backend(store, SystemClock())
        serving.start()
        for _ in range(500):
            await asyncio.sleep(0.01)
            if len(asked) == 3:
                break
        await serving.stop()

    asyncio.run(serve())
    assert len(asked) == 3
