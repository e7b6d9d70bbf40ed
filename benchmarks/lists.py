"""Lists, filters, search and the claim on a full database: 100,000 flow runs and 1,000,000 task runs (LEGATO_BENCH_RUNS changes the first)."""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measure import Row, home, postgres
from benchmarks.seeded import seed
from legato.core.records import ClaimRequest, FlowRunFilter
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED
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

CONDITIONS: tuple[dict[str, Any], ...] = (
    {"states": (FAILED,)},
    {"states": (COMPLETED,)},
    {"states": (FAILED, CRASHED, CANCELLED)},
    {"state_names": ("Late",)},
    {"flow_name": "flow-7"},
    {"deployment_id": "d1"},
    {"work_queue": "q1"},
    {"agent_id": "a1"},
    {"schedule_id": "s1"},
    {"parent_run_id": "p0"},
    {"top_level": True},
    {"tags": ("prod",)},
    {"tags": ("rare",)},
    {"tags": ("prod", "team")},
    {"text": "name-4711"},
)
"""Of every two and three of these a list is asked for: some meet often, some never, which no planner knows."""


def combinations() -> list[FlowRunFilter]:
    """Filters of two and of three conditions."""
    chosen = [each for size in (2, 3) for each in itertools.combinations(CONDITIONS, size)]
    return [
        FlowRunFilter(**{k: v for part in each for k, v in part.items()})
        for each in chosen
        if len({k for part in each for k in part}) == len(each)
    ]


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
    taken = [(times_ms(lambda f=filter_: store.list_flow_runs(f), 8), filter_) for filter_ in combinations()]  # type: ignore[misc]
    slowest, which = max(taken, key=lambda each: statistics.median(each[0]))
    print(f"{kind}: the slowest of {len(taken)} filters is {which}", file=sys.stderr)
    yield _row(kind, "slowest filter of 2 or 3 conditions", slowest, floor)
    yield _row(kind, f"all {len(taken)} of these", sorted(itertools.chain.from_iterable(each for each, _ in taken)), floor)
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
