"""A server on loopback: task runs tracked end to end, what reporting there costs a task, transitions over HTTP, start and idle."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil

from benchmarks import store as store_bench
from benchmarks import tasks
from benchmarks.measure import Row, best_of, home, server
from legato.core.records import FlowRun, RunKind, Transition
from legato.core.states import RUNNING, State
from legato.sdk import process
from legato.store.remote import RemoteStore
from legato.system import new_id, now


def per_task(n: int) -> float:
    """Microseconds of a direct call, until everything is acknowledged."""
    began = time.perf_counter()
    tasks.calls(n)
    process.current_engine().outbox.flush()
    return (time.perf_counter() - began) / n * 1e6


def gates_beside_bulk(url: str) -> list[float]:
    """Milliseconds of single gates while four clients send batches of 500 without a pause."""
    stop: list[None] = []

    def bulk() -> None:
        store = RemoteStore(url)
        run = store_bench.flow_run(store)
        while not stop:
            for batch in store_bench.batches(run, 5):
                store.apply(batch * 1)
        store.close()

    took = []
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(bulk) for _ in range(2)]
        store = RemoteStore(url)
        for _ in range(150):
            at = now()
            run = FlowRun(
                id=new_id(),
                flow_name="gate",
                name="gate",
                state=State(RUNNING, "Running", at),
                attempt=1,
                created_at=at,
                expected_start_at=at,
            )
            began = time.perf_counter()
            store.apply([Transition(RunKind.FLOW, run.id, 1, run.state, 1, flow_run=run)])
            took.append((time.perf_counter() - began) * 1e3)
        stop.append(None)
        store.close()
        for one in running:
            one.result()
    return took


def rows() -> Iterator[Row]:
    """Seven rows."""
    with home() as folder:
        process.use_engine(None)
        tasks.calls(500)
        embedded = best_of(3, lambda: per_task(5_000))
        process.close_engine()
        began = time.perf_counter()
        with server(folder) as (url, _):
            start_s = time.perf_counter() - began
            os.environ["LEGATO_API_URL"] = f"{url}/api"
            process.use_engine(None)
            tasks.calls(500)
            remote = best_of(3, lambda: per_task(5_000))
            process.close_engine()
            process.use_engine(None)
            yield Row("tracked task reporting to a server", remote / embedded, "x embed", 2, embedded, "us a task, embedded")
            yield Row("server: task runs tracked end to end", 1e6 / remote, "/s", 5_000, more_is_better=True)
            store = RemoteStore(url)
            rate = store_bench.per_second(store)
            yield Row(
                "transitions/s over HTTP, batches of 100, one client",
                rate,
                "/s",
                60_000,
                more_is_better=True,
                note="budget is for 16 clients",
            )
            gates = sorted(gates_beside_bulk(url))
            yield Row("gate beside bulk load, p50", statistics.median(gates), "ms", 15)
            yield Row("gate beside bulk load, p99", gates[int(len(gates) * 0.99)], "ms", 50)
            yield Row("server: cold start to healthy", start_s, "s", 1)
            store.close()
        with server(folder) as (_, pid):
            yield Row("server: idle memory", psutil.Process(pid).memory_info().rss / 1e6, "MB", 100)
            yield Row("server: idle CPU", psutil.Process(pid).cpu_percent(5), "%", 1)
