"""A runner's start, settling and closing lie inside the flow's time and its last line of defence."""

import asyncio
import threading
import time
from typing import Any

import pytest

from legato import as_completed, flow, task, wait
from legato.core.errors import RunCancelled, TaskTimeout, Unavailable, UpstreamFailed
from legato.engine import open_tasks
from legato.task_runners.threads import ThreadRunner
from legato.testing import Harness

from tests.support.waiting import until


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_tasks, "ABANDON_AFTER_S", 0.3)


class Broken:
    """A task runner that fails at one point of its life."""

    def __init__(self, when: str, error: Exception) -> None:
        self.when, self.error = when, error

    def start(self) -> Any:
        if self.when == "start":
            raise self.error
        return _Broken(self.when, self.error)


class _Broken(ThreadRunner):
    def __init__(self, when: str, error: Exception) -> None:
        super().__init__(1)
        self.when, self.error = when, error

    def submit(self, future: Any) -> None:
        if self.when == "submit":
            raise self.error
        super().submit(future)

    def close(self) -> None:
        super().close()
        if self.when == "close":
            raise self.error


@task
def one() -> int:
    return 1


@task
async def aone() -> int:
    return 1


@pytest.mark.parametrize("how", ["submit", "map", "submit a chain"])
@pytest.mark.parametrize(
    "error", [OSError("no cluster at tcp://10.0.0.1:8786"), Unavailable("no cluster at tcp://10.0.0.1:8786"), TypeError("bad")]
)
@pytest.mark.parametrize("when", ["start", "submit"])
def test_a_runner_that_cannot_take_a_task_ends_it_and_its_flow_with_the_reason(h: Harness, when: str, error: Exception, how: str) -> None:
    @flow(task_runner=Broken(when, error))
    def main() -> Any:
        if how == "map":
            return double.map([1, 2]).result()
        return (one.submit() if how == "submit" else double.submit(one.submit())).result()

    @task
    def double(n: int) -> int:
        return n

    with pytest.raises(Exception, match=r"cluster|bad") as caught:
        main()

    assert isinstance(caught.value, (type(error), UpstreamFailed))
    [run] = h.flow_runs()
    assert run.state.name == "Failed"
    assert str(error) in run.state.message
    assert {one.state.name for one in h.task_runs()} <= {"Failed", "UpstreamFailed"}
    assert all(str(error) in one.state.message for one in h.task_runs())


def test_a_runner_that_fails_to_close_changes_nothing(h: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    @flow(task_runner=Broken("close", AssertionError("can only join a started process")))
    def main() -> int:
        return one.submit().result()

    assert main() == 1
    assert h.flow_runs()[0].state.name == "Completed"
    assert "can only join a started process" in capsys.readouterr().err


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("retries", [0, 1])
def test_a_flows_time_covers_the_wait_for_what_it_has_submitted(h: Harness, is_async: bool, retries: int) -> None:
    go = threading.Event()
    tries: list[int] = []

    @task
    def slow() -> None:
        go.wait(30)

    @flow(timeout_seconds=0.2, retries=retries)
    def main() -> None:
        tries.append(1)
        slow.submit()

    @flow(timeout_seconds=0.2, retries=retries)
    async def amain() -> None:
        tries.append(1)
        slow.submit()

    began = time.monotonic()
    with pytest.raises(TaskTimeout):
        asyncio.run(amain()) if is_async else main()
    took = time.monotonic() - began
    go.set()
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("legato-task")], what="the end of abandoned threads")

    assert took < 15
    assert len(tries) == retries + 1
    assert h.flow_runs()[0].state.name == "TimedOut"
    assert {run.state.name for run in h.task_runs()} == {"Cancelled"}


def test_a_flow_within_its_time_is_not_hurried(h: Harness) -> None:
    @flow(timeout_seconds=60)
    def main() -> int:
        one.submit()
        return one.submit().result()

    assert main() == 1


def test_async_tasks_are_taken_by_the_loop_whatever_the_runner(h: Harness) -> None:
    @flow(task_runner=Broken("close", OSError("late")))
    async def main() -> int:
        return await aone.submit()

    assert asyncio.run(main()) == 1


def sleepy(started: threading.Event) -> Any:
    @task
    def slow() -> None:
        started.set()
        for _ in range(2000):
            time.sleep(0.01)

    return slow


CANCELLED_IN: dict[str, Any] = {
    "result": lambda slow: slow.submit().result(),
    "result, within a time": lambda slow: slow.submit().result(timeout=60),
    "as_completed": lambda slow: list(as_completed([slow.submit()])),
    "wait": lambda slow: wait([slow.submit()]),
    "wait for the first": lambda slow: wait([slow.submit()], return_when="first"),
    "an argument": lambda slow: identity(slow.submit()),
    "wait_for": lambda slow: identity(1, wait_for=[slow.submit()]),
    "the end of the body": lambda slow: slow.submit() and None,
    "the returned future": lambda slow: slow.submit(),
    "a direct call": lambda slow: slow(),
}


@task
def identity(x: Any) -> Any:
    return x


@pytest.mark.timeout(60)
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("where", CANCELLED_IN)
def test_a_flow_that_is_cancelled_is_cancelled_wherever_it_waits(h: Harness, where: str, is_async: bool) -> None:
    started = threading.Event()
    slow = sleepy(started)

    @flow
    def main() -> Any:
        return CANCELLED_IN[where](slow)

    @flow
    async def amain() -> Any:
        slow.submit()  # a loop cannot be left where code holds it up: only the end of the body waits on it

    def cancel() -> None:
        started.wait(30)
        for held in list(h.engine._held.values()):  # as the heartbeat does that hears of the wish
            held.stop("cancelled")

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(RunCancelled):
        asyncio.run(amain()) if is_async else main()
    thread.join()

    assert h.flow_runs()[0].state.name == "Cancelled"
    assert {run.state.name for run in h.task_runs()} == {"Cancelled"}
