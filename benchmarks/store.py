"""Transitions a second that a store accepts, in batches of 100: decided by the rules, journalled, committed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, best_of, home, postgres, seconds
from legato.core.records import FlowRun, RunKind, TaskRun, Transition
from legato.core.states import COMPLETED, RUNNING, State
from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.system import new_id, now

BATCHES, BATCH = 100, 100


def flow_run(store: Store) -> str:
    """A running flow run to report tasks of."""
    at = now()
    run = FlowRun(
        id=new_id(), flow_name="bench", name="bench", state=State(RUNNING, "Running", at), attempt=1, created_at=at, expected_start_at=at
    )
    store.apply([Transition(RunKind.FLOW, run.id, 1, run.state, 1, flow_run=run)])
    return run.id


def batches(flow_run_id: str, n: int = BATCHES) -> list[list[Transition]]:
    """Batches of 50 new task runs, each Running and Completed."""
    made = []
    for _ in range(n):
        batch = []
        for _ in range(BATCH // 2):
            at, id_ = now(), new_id()
            running = State(RUNNING, "Running", at)
            task_run = TaskRun(id=id_, flow_run_id=flow_run_id, key="bench.task", name="task-0", state=running, created_at=at)
            batch.append(Transition(RunKind.TASK, id_, 1, running, 1, 1, task_run=task_run))
            batch.append(Transition(RunKind.TASK, id_, 2, State(COMPLETED, "Completed", now()), 1, 1))
        made.append(batch)
    return made


def per_second(store: Store) -> float:
    """Transitions a second of one writer."""

    def once() -> float:
        work = batches(flow_run(store))
        began = time.perf_counter()
        for batch in work:
            store.apply(batch)
        return BATCHES * BATCH / (time.perf_counter() - began)

    once()
    return best_of(3, once)


def plain_rows_per_second(folder: Path) -> float:
    """The floor: one row a transition, 100 rows a commit, nothing decided."""
    connection = sqlite3.connect(folder / "rows.db", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("create table t (pos integer primary key, run text, state text, at integer)")
    rows = [(f"run-{i:030}", "completed", i) for i in range(BATCH)]

    def run() -> None:
        for _ in range(BATCHES):
            connection.execute("begin immediate")
            connection.executemany("insert into t (run, state, at) values (?, ?, ?)", rows)
            connection.execute("commit")

    rate = BATCHES * BATCH / seconds(run)
    connection.close()
    return rate


def rows() -> Iterator[Row]:
    """Two rows, three where there is a PostgreSQL."""
    with home() as folder:
        floor = plain_rows_per_second(folder)
        embedded = open_sql_store(f"sqlite:///{folder / 'normal.db'}")
        durable = open_sql_store(f"sqlite:///{folder / 'full.db'}", durable=True)
        name = "plain SQLite rows/s, synchronous=FULL"
        yield Row("transitions/s, batches of 100, SQLite NORMAL", per_second(embedded), "/s", 60_000, floor, name, more_is_better=True)
        yield Row("transitions/s, batches of 100, SQLite FULL", per_second(durable), "/s", 60_000, floor, name, more_is_better=True)
        embedded.close()
        durable.close()
        with postgres() as url:
            if url is None:
                return
            store = open_sql_store(url)
            yield Row(
                "transitions/s, batches of 100, PostgreSQL (fsync off)", per_second(store), "/s", 60_000, floor, name, more_is_better=True
            )
            store.close()
