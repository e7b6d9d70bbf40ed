"""What a tracked no-op task costs, embedded, beside two plain SQLite commits with synchronous=NORMAL."""

from __future__ import annotations

import sqlite3
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, best_of, home, seconds
from legato import flow, task
from legato.sdk import process

N = 10_000


@task
def noop() -> None:
    """Nothing."""


@task(persist_result=True)
def kept() -> int:
    """A result that is stored before the next line runs."""
    return 1


@task
def echo(x: int) -> int:
    """Its argument."""
    return x


@flow
def calls(n: int) -> float:
    """Seconds for n direct calls."""
    began = time.perf_counter()
    for _ in range(n):
        noop()
    return time.perf_counter() - began


@flow
def gates(n: int) -> float:
    """Seconds for n direct calls with a stored result."""
    began = time.perf_counter()
    for _ in range(n):
        kept()
    return time.perf_counter() - began


@flow
def submits(n: int) -> float:
    """Seconds for n submits and their results."""
    began = time.perf_counter()
    for future in [noop.submit() for _ in range(n)]:
        future.result()
    return time.perf_counter() - began


@flow
def maps(n: int) -> tuple[float, float]:
    """Seconds for mapping n, and bytes kept a task after it ended (its future in the list included)."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    futures = echo.map(list(range(n)))
    for future in futures:
        future.wait()
    kept_bytes = (tracemalloc.get_traced_memory()[0] - before) / n
    tracemalloc.stop()
    del futures
    began = time.perf_counter()
    for future in echo.map(list(range(n))):
        future.result()
    return time.perf_counter() - began, kept_bytes


def two_commits(folder: Path, n: int = 2_000) -> float:
    """Microseconds of two plain commits of one small row each: what a system without batches pays for a task."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.execute("create table if not exists t (id text primary key, state text, at integer)")

    def run() -> None:
        for i in range(n):
            for state in ("running", "completed"):
                connection.execute("begin immediate")
                connection.execute("insert or replace into t values (?, ?, ?)", (f"run-{i:08}", state, i))
                connection.execute("commit")

    took = seconds(run) / n * 1e6
    connection.close()
    return took


def rows() -> Iterator[Row]:
    """Five rows."""
    with home() as folder:
        process.use_engine(None)
        calls(500), submits(500), gates(500)
        floor = best_of(5, lambda: two_commits(folder))
        call = best_of(5, lambda: calls(N)) / N * 1e6
        submit = best_of(5, lambda: submits(N)) / N * 1e6
        gate = best_of(3, lambda: gates(2_000)) / 2_000 * 1e6
        small, _ = maps(1_000)
        large, memory = maps(N)
        process.close_engine()
        process.use_engine(None)
    name = "us, two plain SQLite commits"
    yield Row("tracked no-op task, call", call, "us", 30, floor, name, note=f"{call / floor:.2f} x floor, budget 0.5")
    yield Row("tracked no-op task, submit", submit, "us", 50, floor, name, note=f"{submit / floor:.2f} x floor")
    yield Row("the same, result stored (a gate)", gate, "us", 80, floor, name, note=f"{gate / floor:.2f} x floor")
    yield Row("10,000 mapped: time a task against 1,000 mapped", (large / N) / (small / 1_000), "x", 1.3, small * 1e3, "us a task of 1,000")
    yield Row("10,000 mapped: memory kept a task", memory, "bytes", 1024)
