"""Timeouts: each attempt has its own, what cannot be stopped is said and abandoned, and what is inside is not blamed."""

import asyncio
import threading
import time
from typing import Any

import pytest

from legato import ThreadTaskRunner, flow, task
from legato.core.errors import RunCancelled, TaskTimeout
from legato.engine import open_tasks, shell
from legato.testing import Harness


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "GRACE_S", 0.2)
    monkeypatch.setattr(open_tasks, "ABANDON_AFTER_S", 0.3)


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(100))


@pytest.mark.parametrize("submitted", [True, False])
def test_an_attempt_that_takes_too_long_is_tried_again(h: Harness, submitted: bool) -> None:
    tries = []

    @task(timeout_seconds=0.1, retries=1)
    def sometimes_slow() -> str:
        tries.append(1)
        if len(tries) == 1:
            spin(10)
        return "in time"

    @flow
    def main() -> str:
        return sometimes_slow.submit().result() if submitted else sometimes_slow()

    assert main() == "in time"
    assert h.states(h.task_runs()[0])[-4:] == ["Running", "AwaitingRetry", "Retrying", "Completed"]


def test_the_last_attempts_timeout_is_the_runs_end(h: Harness) -> None:
    @task(timeout_seconds=0.05, retries=1)
    def slow() -> None:
        spin(10)

    @flow
    def main() -> None:
        slow.submit().result()

    with pytest.raises(TaskTimeout, match=r"took longer than its timeout of 0\.05 s"):
        main()
    assert h.task_runs()[0].state.name == "TimedOut"


def test_a_flow_over_its_time_is_tried_again(h: Harness) -> None:
    tries = []

    @flow(timeout_seconds=0.2, retries=1)
    def main() -> int:
        tries.append(1)
        if len(tries) == 1:
            spin(10)
        return len(tries)

    assert main() == 2


def test_what_runs_inside_a_call_that_is_over_its_time_is_cancelled_not_tried_again(h: Harness) -> None:
    tries = []

    @task(timeout_seconds=60, retries=3)
    def inner() -> None:
        tries.append(1)
        spin(10)

    @flow(timeout_seconds=0.2)
    def main() -> None:
        inner()

    with pytest.raises(TaskTimeout):
        main()
    (run,) = h.task_runs()
    assert (run.state.name, run.state.message, len(tries)) == ("Cancelled", "its flow took longer than its timeout", 1)


def test_a_thread_that_is_blocked_outside_of_python_is_abandoned_and_the_flow_goes_on(h: Harness) -> None:
    release = threading.Event()

    @task(timeout_seconds=0.1)
    def blocked() -> None:
        release.wait(60)

    @task
    def other() -> int:
        return 7

    @flow(task_runner=ThreadTaskRunner(1))
    def main() -> int:
        future = blocked.submit()
        value = other.submit()
        assert isinstance(future.exception(), TaskTimeout)
        return value.result()

    began = time.monotonic()
    assert main() == 7
    assert time.monotonic() - began < 30
    run = h.task_runs()[0]
    assert (run.state.name, "its thread was abandoned" in run.state.message) == ("TimedOut", True)

    release.set()  # what the thread still does changes nothing
    assert h.states(run) == ["Pending", "Running", "TimedOut"]


def test_a_cancelled_flow_abandons_tasks_that_do_not_stop(h: Harness) -> None:
    release = threading.Event()
    began = threading.Event()

    @task
    def blocked() -> None:
        began.set()
        release.wait(60)

    @flow
    def main() -> None:
        blocked.submit()
        began.wait(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        main()
    run = h.task_runs()[0]
    assert (run.state.name, "its thread was abandoned" in run.state.message) == ("Cancelled", True)
    assert h.flow_runs()[0].state.name == "Cancelled"
    release.set()


def test_tasks_with_timeouts_that_wait_for_each_other_do_not_deadlock(h: Harness) -> None:
    @task(timeout_seconds=30)
    def tree(depth: int) -> int:
        if depth == 0:
            return 1
        return sum(future.result() for future in [tree.submit(depth - 1), tree.submit(depth - 1)])

    @flow(task_runner=ThreadTaskRunner(2))
    def main() -> int:
        return tree.submit(5).result()

    assert main() == 32


def test_a_timed_task_that_is_cancelled_is_cancelled(h: Harness) -> None:
    began = threading.Event()

    @task(timeout_seconds=60)
    def long() -> None:
        began.set()
        spin(30)

    @flow
    def main() -> None:
        future = long.submit()
        began.wait(10)
        h.engine._held[h.flow_runs()[0].id].stop("cancelled")
        future.result()

    with pytest.raises(RunCancelled):
        main()
    assert h.task_runs()[0].state.name == "Cancelled"


async def swallows() -> str:
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        return "swallowed"
    return "slept"


async def raises_something_else() -> str:
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        raise ValueError("in place of it") from None
    return "slept"


async def holds_the_loop() -> str:
    spin(0.3)
    return "late"


async def holds_the_loop_and_awaits() -> str:
    spin(0.3)
    await asyncio.sleep(0)
    return "late"


@pytest.mark.parametrize("way", ["awaited", "submitted", "flow"])
@pytest.mark.parametrize("body", [swallows, raises_something_else, holds_the_loop, holds_the_loop_and_awaits])
def test_async_code_over_its_time_is_timed_out_whatever_it_makes_of_that(h: Harness, body: Any, way: str) -> None:
    t = task(body, timeout_seconds=0.1)
    f = flow(body, timeout_seconds=0.1)

    @flow
    async def main() -> str:
        if way == "flow":
            return str((await f(return_state=True)).name)
        return str((await t(return_state=True)).name) if way == "awaited" else (await named(t.submit()))

    async def named(future: Any) -> str:
        with pytest.raises(TaskTimeout):
            await future
        return str(future.ended_as.name)

    assert asyncio.run(main()) == "TimedOut"


@pytest.mark.parametrize("kind", [task, flow])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_generators_time_is_that_of_its_own_code_over_all_items(
    h: Harness, monkeypatch: pytest.MonkeyPatch, kind: Any, is_async: bool
) -> None:
    passed = [0.0]
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + passed[0])

    def sync_items() -> Any:
        for n in range(10):
            passed[0] += 40
            yield n

    async def async_items() -> Any:
        for n in range(10):
            passed[0] += 40
            await asyncio.sleep(0)
            yield n

    items = kind(async_items if is_async else sync_items, name="items", timeout_seconds=100)
    read = []

    def slowly(n: int) -> None:
        read.append(n)
        passed[0] += 1000

    async def read_async() -> None:
        async for n in items():
            slowly(n)

    def read_all() -> None:
        if is_async:
            asyncio.run(read_async())
        for n in () if is_async else items():
            slowly(n)

    with pytest.raises(TaskTimeout, match="took longer than its timeout of 100 s"):
        read_all()

    assert len(read) in (2, 3), "two items fit well, the third has 20 s left and takes 40"
