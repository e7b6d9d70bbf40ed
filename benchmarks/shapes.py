"""Whether a task's cost stays what it is: in a flow of 100,000, after 100,000 others, beside a million old ones; and what it keeps of memory.

Cost is this process's CPU time here: the question is whether it grows, and wall time grows with the neighbours' work.
"""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil

from benchmarks.measure import Row, best_of, home
from benchmarks.tasks import calls, echo
from legato import as_completed, flow, task
from legato.core.records import FlowRun, RunKind, TaskRun, Transition
from legato.core.states import COMPLETED, RUNNING, State
from legato.sdk import process
from legato.store.migrate import LATEST
from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.system import new_id, now

MANY = 100_000
OLD_FLOW_RUNS, OLD_TASK_RUNS_EACH = 1_000, 1_000


def resident() -> int:
    """Bytes of memory this process holds."""
    return psutil.Process().memory_info().rss


def traced() -> int:
    """Bytes that Python's allocator holds."""
    return tracemalloc.get_traced_memory()[0]


@flow
def mapped(n: int) -> float:
    """Microseconds a task, for mapping n and taking them as they end."""
    began = time.process_time()
    for future in as_completed(echo.map(range(n))):
        future.result()
    return (time.process_time() - began) / n * 1e6


@flow
def memory(n: int) -> tuple[float, float, float]:
    """Bytes a task that has ended and been taken: resident and traced while its future is in a list, traced when that is gone."""
    tracemalloc.start()
    before, before_traced = resident(), traced()
    futures = echo.map(range(n))
    for future in as_completed(futures):
        future.result()
    del future
    gc.collect()
    held, held_traced = resident() - before, traced() - before_traced
    del futures
    gc.collect()
    left = traced() - before_traced
    tracemalloc.stop()
    return held / n, held_traced / n, left / n


@task
def step(x: int) -> int:
    """Its argument."""
    return x


@flow
def history(befores: tuple[int, ...], n: int) -> list[float]:
    """Microseconds of a call after so many others in the same flow, each the median of five times n."""
    done, seen = 0, []
    for before in befores:
        for i in range(before - done):
            step(i)
        times = []
        for _ in range(5):
            began = time.process_time()
            for i in range(n):
                step(i)
            times.append((time.process_time() - began) / n * 1e6)
        seen.append(statistics.median(times))
        done = before + 5 * n
    return seen


def old_database() -> Path:
    """A database with a million task runs in it, kept between runs of the benchmarks."""
    path = Path(tempfile.gettempdir()) / f"legato-bench-{OLD_FLOW_RUNS * OLD_TASK_RUNS_EACH}-v{LATEST}.db"
    if not path.exists():
        making = path.with_suffix(".making")
        for leftover in path.parent.glob(f"{making.name}*"):
            leftover.unlink()
        store = open_sql_store(f"sqlite:///{making}")
        for n in range(OLD_FLOW_RUNS):
            _old_flow_run(store, n)
        store.close()
        making.rename(path)
    return path


def _old_flow_run(store: Store, n: int) -> None:
    """One flow run that ended some hours ago, with its task runs."""
    at = now() - timedelta(minutes=OLD_FLOW_RUNS - n)
    running, completed = State(RUNNING, "Running", at), State(COMPLETED, "Completed", at)
    run = FlowRun(id=new_id(), flow_name="old", name=f"old-{n}", state=running, attempt=1, created_at=at, expected_start_at=at)
    told = [Transition(RunKind.FLOW, run.id, 1, running, 1, flow_run=run)]
    for i in range(OLD_TASK_RUNS_EACH):
        task_run = TaskRun(id=new_id(), flow_run_id=run.id, key="old.task", name=f"task-{i}", state=running, created_at=at)
        told.append(Transition(RunKind.TASK, task_run.id, 1, running, 1, 1, task_run=task_run))
        told.append(Transition(RunKind.TASK, task_run.id, 2, completed, 1, 1))
    told.append(Transition(RunKind.FLOW, run.id, 2, completed, 1, 1))
    store.apply(told)


def per_call(n: int = 5_000) -> float:
    """Microseconds of a direct call, in a process that is warm."""
    began = time.process_time()
    calls(n)
    return (time.process_time() - began) / n * 1e6


def in_database(url: str | None) -> float:
    """The same with a database of one's own (None: the empty one of this home)."""
    if url is not None:
        os.environ["LEGATO_DATABASE_URL"] = url
    process.use_engine(None)
    calls(500)
    took = best_of(7, per_call)
    process.close_engine()
    os.environ.pop("LEGATO_DATABASE_URL", None)
    return took


def rows() -> Iterator[Row]:
    """Five rows."""
    with home():
        process.use_engine(None)
        mapped(1_000)
        few = best_of(5, lambda: mapped(2_000))
        many = mapped(MANY)
        yield Row("100,000 mapped: time a task against 2,000 mapped", many / few, "x", 1.3, few, "us CPU a task of 2,000")
        held, held_traced, left = memory(MANY)
        yield Row("100,000 mapped: memory a task, future kept, resident", held, "bytes", 1024)
        yield Row("100,000 mapped: the same, traced", held_traced, "bytes", 1024, note=f"{left:.0f} when the futures are gone")
        few, some, much = history((10, 10_000, 100_000), 1_000)
        note = f"{some / few:.2f} x after 10,000"
        yield Row("a call after 100,000 others against after 10", much / few, "x", 1.2, few, "us CPU after 10", note=note)
        process.close_engine()
        empty = in_database(None)
        old = in_database(f"sqlite:///{old_database()}")
        process.use_engine(None)
    yield Row("a call beside 1,000,000 old task runs", old / empty, "x", 1.2, empty, "us CPU, empty database")
