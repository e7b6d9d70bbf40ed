"""Ctrl-C, once or twice, at any line of ours: it reaches the caller, every run ends, and the next run finds everything in order.

The lines are counted with a trace function, which sends the signal at the chosen ones: the same line each time, on any machine.
"""

import asyncio
import linecache
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

import pytest

import legato
from legato import flow, get_run_logger, task
from legato.core.states import FINAL
from legato.engine import signals
from legato.forking import LOADING
from legato.testing import Harness, harness

from tests.support.locks import is_free

PACKAGE = legato.__file__.rpartition("/")[0]


@task
def double(n: int) -> int:
    get_run_logger().info("doubling")
    return 2 * n


@task(retries=1, retry_delay_seconds=0)
def second_time_lucky(tries: list[int]) -> int:
    tries.append(1)
    if len(tries) == 1:
        raise ValueError("once more")
    return len(tries)


@flow
def direct() -> int:
    return double(1) + second_time_lucky([])


@flow
def submitted() -> int:
    return double.submit(1).result() + sum(one.result() for one in double.map([1, 2]))


@flow
def around() -> int:
    return direct() + direct()


FLOWS = {"direct": direct, "submitted": submitted, "around": around}


def leaves_a_with(frame: FrameType) -> bool:
    """Whether a line is a `with`, which is traced once more when it is left. A signal never comes there before `__exit__` is called, as what a
    trace function raises does: it would leave the lock taken.
    """
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith(("with ", "async with "))


class Interrupts:
    """Sends SIGINT when so many of our lines have been run on this thread."""

    def __init__(self, *at: int) -> None:
        self.at, self.lines = set(at), 0
        self.sent: list[str] = []
        """The lines that it was sent at."""

    def __enter__(self) -> Self:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return self._trace if event == "call" and frame.f_globals.get("__name__") == __name__ else None
        if event == "line" and not leaves_a_with(frame):
            self.lines += 1
            if self.lines in self.at:
                self.sent.append(f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}")
                signal.raise_signal(signal.SIGINT)
        return self._trace


@pytest.fixture
def h() -> Iterator[Harness]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    trace = sys.gettrace()
    try:
        with harness() as opened:
            for one in FLOWS.values():
                one()
            yield opened
    finally:
        sys.settrace(trace)
        signal.signal(signal.SIGINT, before)


def names_of_unended(h: Harness) -> list[tuple[str, str]]:
    flow_runs = h.store.list_flow_runs(limit=1000).items
    runs = [*flow_runs, *(task_run for run in flow_runs for task_run in h.store.list_task_runs(run.id).items)]
    return [(run.name, run.state.name) for run in runs if run.state.type not in FINAL]


def ended(h: Harness) -> bool:
    """Submitted tasks that were under way end on their threads, a little later."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        h.engine.outbox.flush()
        if not names_of_unended(h):
            return True
        time.sleep(0.01)
    return False


SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(4, 60))]


def interrupt(h: Harness, name: str, *at: int) -> None:
    """Run the flow with Ctrl-C at these lines: it reaches the caller, all runs end, and a second run finds everything in order."""
    interrupts = Interrupts(*at)
    try:
        with interrupts:
            FLOWS[name]()
        assert interrupts.sent == [], f"swallowed at {at}"
    except KeyboardInterrupt:
        assert interrupts.sent, "nobody sent one"
    assert ended(h), (at, interrupts.sent, names_of_unended(h))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert is_free(LOADING), at
    FLOWS[name]()


def lines_of(name: str) -> int:
    with Interrupts() as untouched:
        FLOWS[name]()
    return untouched.lines


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("seed", SEEDS)
def test_ctrl_c_at_any_line_ends_the_runs_and_reaches_the_caller(h: Harness, name: str, seed: int) -> None:
    draw = random.Random(f"{name} {seed}")
    lines = lines_of(name)
    for _ in range(12):
        first = draw.randrange(1, lines)
        interrupt(h, name, first, first + draw.choice([0, 1, 2, 5, 20, 100, 400]))


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_ctrl_c_at_each_of_the_first_and_last_lines(h: Harness, gap: int) -> None:
    """Where the handlers are put in place and taken away."""
    lines = lines_of("direct")
    for line in [*range(1, 30), *range(lines - 60, lines)]:
        interrupt(h, "direct", line, line + gap)


def test_ctrl_c_while_the_flow_waits_for_a_submitted_task_is_raised_at_once(h: Harness) -> None:
    let_go = threading.Event()

    @task
    def waits() -> None:
        while not let_go.wait(0.02):
            pass

    @flow
    def main() -> None:
        future = waits.submit()
        threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()
        future.result()

    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            main()
        assert time.monotonic() - began < 10
    finally:
        let_go.set()
    assert ended(h)


def forever(step: Callable[[], Any]) -> Callable[[], None]:
    """Code that does nothing but call Legato."""

    def body() -> None:
        while True:
            step()

    return body


DONE: list[Any] = []

BUSY: dict[str, Callable[[], Any]] = {
    "call": lambda: double(1),
    "submit": lambda: double.submit(1),
    "map": lambda: double.map([1, 2]),
    "submit and wait": lambda: double.submit(1).result(),
    "result": lambda: [one.result() for one in DONE],
    "wait": lambda: legato.wait(DONE),
    "as_completed": lambda: list(legato.as_completed(DONE)),
    "sub-flow": direct,
    "tags": lambda: legato.tags("a").__enter__(),
}


@pytest.mark.parametrize("step", BUSY)
def test_ctrl_c_reaches_code_that_does_nothing_but_call_us(h: Harness, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(signals, "PATIENCE_S", 1000.0)

    @flow
    def main() -> None:
        DONE[:] = [double.submit(1)]
        DONE[0].result()
        threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
        forever(BUSY[step])()

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        main()

    assert time.monotonic() - began < 10
    assert ended(h), names_of_unended(h)


def test_ctrl_c_that_the_flow_has_caught_is_not_raised_again(h: Harness) -> None:
    @task
    def interrupts() -> None:
        signal.raise_signal(signal.SIGINT)

    @flow
    def main() -> str:
        try:
            interrupts()
        except KeyboardInterrupt:
            logging.getLogger(__name__).info("cleaning up")
        return "cleaned up"

    assert main() == "cleaned up"


@pytest.mark.parametrize("inside", ["flow", "task", "submitted task's loop"])
def test_a_loop_that_a_flow_runs_cancels_its_code_as_asyncio_does(h: Harness, inside: str) -> None:
    cleaned_up: list[str] = []

    async def work() -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cleaned_up.append("cancelled")
            raise

    @task
    def in_task() -> None:
        asyncio.run(work())

    @task
    async def is_async() -> None:
        await work()

    @flow
    def main() -> None:
        if inside == "flow":
            asyncio.run(work())
        elif inside == "task":
            in_task()
        else:
            asyncio.run(awaits_it())

    async def awaits_it() -> None:
        await is_async.submit()

    with pytest.raises(KeyboardInterrupt):
        main()

    assert cleaned_up == ["cancelled"]
    assert ended(h), names_of_unended(h)
