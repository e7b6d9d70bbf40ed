"""Lists, filters, search and the claim on a full database: 100,000 flow runs and 1,000,000 task runs (LEGATO_BENCH_RUNS changes the first)."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks.measure import Row, home, postgres
from benchmarks.seeded import seed
from legato.core.records import ClaimRequest, FlowRunFilter
from legato.core.states import CRASHED, FAILED
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore

RUNS = int(os.environ.get("LEGATO_BENCH_RUNS", "100000"))
TASKS_EACH = 10
CALLS = 60

FILTERS = {
    "newest 100": FlowRunFilter(),
    "failed": FlowRunFilter(states=(FAILED,)),
    "two states": FlowRunFilter(states=(FAILED, CRASHED)),
    "a flow": FlowRunFilter(flow_name="flow-7"),
    "common tag": FlowRunFilter(tags=("prod",)),
    "rare tag": FlowRunFilter(tags=("rare",)),
    "common and rare tag": FlowRunFilter(tags=("prod", "rare")),
    "common tag, failed": FlowRunFilter(tags=("prod",), states=(FAILED,)),
    "search, some hits": FlowRunFilter(text="name-4711"),
    "search, no hit": FlowRunFilter(text="nowhere-to-be-found"),
}


def times_ms(call: Callable[[], object], calls: int = CALLS) -> list[float]:
    """How long each of some calls took."""
    call()
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def _row(kind: str, what: str, taken: list[float], floor: float) -> Row:
    p99 = taken[int(len(taken) * 0.99)]
    note = f"p50 {statistics.median(taken):.2f} ms, {statistics.median(taken) / floor:.1f} x the newest 100"
    return Row(f"{kind}: {what}, p99", p99, "ms", 20.0, note=note)


def _on(store: SqlStore, kind: str) -> Iterator[Row]:
    seed(store, runs=RUNS, tasks_each=TASKS_EACH)
    floor = statistics.median(times_ms(lambda: store.list_flow_runs(FlowRunFilter())))
    for what, filter_ in FILTERS.items():
        yield _row(kind, what, times_ms(lambda f=filter_: store.list_flow_runs(f)), floor)  # type: ignore[misc]
    yield _row(kind, "counts by state", times_ms(lambda: store.count_flow_runs(FlowRunFilter()), 10), floor)
    yield _row(kind, "task runs of a run", times_ms(lambda: store.list_task_runs("000000000777")), floor)
    yield _row(kind, "status of a queue", times_ms(lambda: store.get_queue("main"), 20), floor)
    request = ClaimRequest(agent_id="bench", queues=("main",), limit=1)
    yield _row(kind, "a claim", times_ms(lambda: store.claim_runs(request)), floor)


def rows() -> Iterator[Row]:
    with home() as folder:
        store = open_sql_store(f"sqlite:///{folder}/lists.db", durable=True)
        yield from _on(store, "SQLite")
        store.close()
    with postgres() as url:
        if url is not None:
            store = open_sql_store(url)
            yield from _on(store, "PostgreSQL")
            store.close()
