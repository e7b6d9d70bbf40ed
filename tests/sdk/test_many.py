"""Many tasks: memory that does not grow with them, many at once on one loop, many flows at once in one process."""

import asyncio
import gc
import threading
import tracemalloc

import psutil
import pytest

from legato import Future, as_completed, flow, task
from legato.core.states import COMPLETED
from legato.testing import Harness


@task
def echo(x: int) -> int:
    return x


def test_a_thousand_async_tasks_run_at_once_on_one_loop(h: Harness) -> None:
    together = asyncio.Event()
    running = 0

    @task
    async def meet() -> int:
        nonlocal running
        running += 1
        if running == 1000:
            together.set()
        await together.wait()
        return 1

    @flow
    async def main() -> int:
        return sum(await asyncio.gather(*[meet() for _ in range(500)], *[meet.submit() for _ in range(500)]))

    assert asyncio.run(asyncio.wait_for(main(), 60)) == 1000
    assert {run.state.name for run in h.task_runs()} == {"Completed"}


def test_ten_flows_at_once_in_one_process(h: Harness) -> None:
    together = threading.Barrier(10)

    @flow
    def main(n: int) -> int:
        together.wait(30)
        return sum(echo.map(range(n, n + 50)).result()) + echo(n)

    results: dict[int, int] = {}
    threads = [threading.Thread(target=lambda n=n: results.__setitem__(n, main(n))) for n in range(10)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert results == {n: sum(range(n, n + 50)) + n for n in range(10)}
    runs = h.flow_runs()
    assert [run.state.name for run in runs] == ["Completed"] * 10
    assert [len(h.task_runs(run)) for run in runs] == [51] * 10


def test_ten_async_flows_at_once_on_one_loop(h: Harness) -> None:
    @task
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @flow
    async def main(n: int) -> int:
        return sum(await asyncio.gather(*[later(n) for _ in range(20)]))

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*[main(n) for n in range(10)])

    assert asyncio.run(all_of_them()) == [20 * n for n in range(10)]
    assert [run.state.name for run in h.flow_runs()] == ["Completed"] * 10


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_hundred_thousand_mapped_tasks_take_little_memory(h: Harness) -> None:
    n = 100_000
    memory = psutil.Process().memory_info

    @flow
    def main() -> tuple[int, int]:
        echo.map(range(1000)).result()
        gc.collect()
        before = peak = memory().rss
        total = 0
        for number, future in enumerate(as_completed(echo.map(range(n)))):
            total += future.result()
            if number % 1000 == 0:
                peak = max(peak, memory().rss)
        return total, peak - before

    total, grown = main()

    assert total == sum(range(n))
    assert grown / n < 4096  # bytes a task at the worst moment; the tasks of one flow wait in this process
    h.engine.outbox.flush()
    assert h.store.count_task_runs([h.flow_runs()[0].id]) == {h.flow_runs()[0].id: {COMPLETED: n + 1000}}


def test_what_a_futures_holder_keeps_is_the_value_and_little_more(h: Harness) -> None:
    @flow
    def main() -> float:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        futures: list[Future[int]] = echo.map(range(5000))
        for future in futures:
            future.result()
        h.engine.outbox.flush()  # what waits to be recorded is no holder's
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return kept / 5000

    assert main() < 1024
