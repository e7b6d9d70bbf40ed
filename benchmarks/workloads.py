"""The shapes of work that are measured, each a function of a system, so that Legato and its peers run the same. Imports none of them.

A workload defines its flow and tasks with the system's own decorators, runs it once, and says how many tasks that were. What a system does
not offer (`Unsupported`) is a gap in the table. Nothing here prints or measures; see `one` for that.
"""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MEGABYTE = 131_072
"""Doubles in a megabyte."""


class Unsupported(Exception):
    """The system has no such thing."""


class System(Protocol):
    """What a workload needs of a workflow system."""

    version: str

    def flow(self, fn: Callable[..., Any], *, runner: str = "threads") -> Callable[..., Any]:
        """The function as a flow, its submitted tasks run by six "threads", two "processes", or one after another ("sequential")."""
        ...

    def task(self, fn: Callable[..., Any], *, stored: bool = False) -> Callable[..., Any]:
        """The function as a task; with `stored` its value is kept, durable before the next line runs."""
        ...

    def submit(self, task: Callable[..., Any], *args: Any) -> Any:
        """A handle on a call in the background. Handles among the arguments stand for their values."""
        ...

    def value(self, handle: Any) -> Any:
        """The value, when it is there."""
        ...

    def in_order_of_end(self, handles: Sequence[Any]) -> Iterable[Any]:
        """The handles, each as soon as it has ended."""
        ...


def fib(n: int) -> int:
    """The slow way."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def noop(x: int = 0) -> int:
    """Its argument."""
    return x


async def pause(x: int) -> int:
    """Its argument, a hundredth of a second later."""
    await asyncio.sleep(0.01)
    return x


def first_array() -> Any:
    """A megabyte."""
    return array("d", bytes(8 * MEGABYTE))


def next_array(before: Any) -> Any:
    """Another megabyte, made from the one before."""
    made = array("d", before)
    made[0] += 1
    return made


def fibs(system: System, n: int, *, of: int, runner: str) -> int:
    """So many tasks that compute, all submitted at once."""
    task = system.task(fib)

    def body() -> int:
        handles = [system.submit(task, of) for _ in range(n)]
        return sum(system.value(handle) for handle in handles)

    assert system.flow(body, runner=runner)() == n * fib(of)
    return n


def chain(system: System, n: int, *, submitted: bool, stored: bool) -> int:
    """So many tasks, each of which takes the megabyte that the one before has made."""
    first, following = system.task(first_array, stored=stored), system.task(next_array, stored=stored)

    def direct() -> float:
        value = first()
        for _ in range(n - 1):
            value = following(value)
        return float(value[0])

    def in_background() -> float:
        handle = system.submit(first)
        for _ in range(n - 1):
            handle = system.submit(following, handle)
        return float(system.value(handle)[0])

    assert system.flow(in_background if submitted else direct)() == n - 1
    return n


def fan_out(system: System, n: int) -> int:
    """So many tasks that do nothing, submitted at once; then their values."""
    task = system.task(noop)

    def body() -> int:
        handles = [system.submit(task, i) for i in range(n)]
        return sum(system.value(handle) for handle in handles)

    assert system.flow(body)() == n * (n - 1) // 2
    return n


def mapped(system: System, n: int) -> int:
    """The same, taken in the order in which they end, and let go."""
    task = system.task(noop)

    def body() -> int:
        return sum(system.value(handle) for handle in system.in_order_of_end([system.submit(task, i) for i in range(n)]))

    assert system.flow(body)() == n * (n - 1) // 2
    return n


def sequential(system: System, n: int, *, stored: bool = False) -> int:
    """So many tasks that do nothing, one after another."""
    task = system.task(noop, stored=stored)

    def body() -> int:
        return sum(task(i) for i in range(n))

    assert system.flow(body)() == n * (n - 1) // 2
    return n


def empty(system: System, n: int) -> int:
    """So many flows without a task, one after another."""

    def body() -> int:
        return 1

    flow = system.flow(body)
    for _ in range(n):
        flow()
    return n


def on_one_loop(system: System, n: int) -> int:
    """So many async tasks that wait a hundredth of a second, all at once on one loop."""
    task = system.task(pause)

    async def body() -> int:
        return sum(await asyncio.gather(*[task(i) for i in range(n)]))

    assert asyncio.run(system.flow(body)()) == n * (n - 1) // 2
    return n


def flows_at_once(system: System, n: int, *, flows: int = 10) -> int:
    """Ten flows in ten threads of one process, which share n tasks."""
    task = system.task(noop)
    each = n // flows

    def body() -> int:
        return sum(task(i) for i in range(each))

    flow = system.flow(body)
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(flow())) for _ in range(flows)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [each * (each - 1) // 2] * flows
    return each * flows


@dataclass(frozen=True)
class Workload:
    """A workload with the size it is run at; `sizes` are the smaller ones of systems that would take minutes."""

    run: Callable[..., int]
    n: int
    options: Mapping[str, Any]
    sizes: Mapping[str, int]

    def on(self, system: System, n: int) -> int:
        """Run it; returns how many tasks that were."""
        return self.run(system, n, **self.options)


def _workload(run: Callable[..., int], n: int, *, prefect: int = 0, dbos: int = 0, **options: Any) -> Workload:
    return Workload(run, n, options, {"prefect": prefect or n, "dbos": dbos or n})


def _all() -> Iterator[tuple[str, Workload]]:
    for runner in ("sequential", "threads", "processes"):
        yield f"40 x fib(10), {runner}", _workload(fibs, 40, of=10, runner=runner)
        yield f"10 x fib(33), {runner}", _workload(fibs, 10, of=33, runner=runner)
    for submitted in (False, True):
        for stored in (False, True):
            how = f"{'submitted' if submitted else 'called'}{', stored' if stored else ''}"
            yield f"chain of 200 x 1 MB, {how}", _workload(chain, 200, submitted=submitted, stored=stored)
    yield "empty flow", _workload(empty, 20)
    yield "1,000 in sequence", _workload(sequential, 1_000)
    yield "1,000 in sequence, stored", _workload(sequential, 1_000, stored=True)
    yield "fan-out of 1,000", _workload(fan_out, 1_000)
    yield "fan-out of 10,000", _workload(fan_out, 10_000, prefect=1_000, dbos=500)
    yield "1,000 async on one loop", _workload(on_one_loop, 1_000)
    yield "10 flows at once x 100", _workload(flows_at_once, 1_000)
    yield "100,000 mapped", _workload(mapped, 100_000, prefect=1_000, dbos=500)


WORKLOADS: Mapping[str, Workload] = dict(_all())
