"""A generator whose reader never comes to its end: its run ends with the run around it, and whoever still reads it gets what it makes."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from legato import flow, task
from legato.core.states import FINAL
from legato.testing import Harness, harness


@task
def double(x: int) -> int:
    return 2 * x


@task
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@task
async def anumbers(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@flow
def doubles(n: int) -> Iterator[int]:
    for i in range(n):
        yield double(i)


@flow
async def adoubles(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield double(i)


@task
def of_a_task(n: int) -> Iterator[int]:
    yield from numbers(n)


@flow
def of_a_flow(n: int) -> Iterator[int]:
    yield from doubles(n)


ENDS: dict[str, tuple[dict[str, Any], Callable[[], Any], str]] = {
    "returns": ({}, lambda: 1, "Completed"),
    "fails": ({}, lambda: 1 / 0, "Failed"),
    "is tried again": ({"retries": 1}, lambda: 1 / 0, "Failed"),
    "is cancelled": ({}, lambda: (_ for _ in ()).throw(KeyboardInterrupt), "Cancelled"),
}


@pytest.mark.parametrize("read", [1, 2])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("made", [numbers, doubles, of_a_task, of_a_flow], ids=lambda made: made.name)
def test_it_ends_with_the_run_around_it(h: Harness, made: Any, end: str, read: int) -> None:
    kept: list[Iterator[int]] = []
    options, ends, state = ENDS[end]

    @flow(**options)
    def main() -> Any:
        kept.append(made(5))
        for _ in range(read):
            next(kept[-1])
        return ends()

    try:
        main()
    except (ZeroDivisionError, KeyboardInterrupt):
        assert state != "Completed"

    assert next(run for run in h.flow_runs() if run.parent_run_id is None).state.name == state
    assert_all_ended(h)
    states = states_of(h)
    assert len(list(kept[-1])) == 5 - read
    assert states_of(h) == states  # what it did for a late reader is no part of a run that is over


@pytest.mark.parametrize("made", [anumbers, adoubles], ids=lambda made: made.name)
def test_an_async_one_does_too(h: Harness, made: Any) -> None:
    async def read() -> list[int]:
        kept: list[AsyncIterator[int]] = []

        @flow
        async def main() -> None:
            kept.append(made(5))
            await anext(kept[0])

        await main()
        assert_all_ended(h)
        return [item async for item in kept[0]]

    assert len(asyncio.run(read())) == 4
    assert_all_ended(h)


SCRIPT = """
import sys
from legato import flow, task

@task
def double(x):
    return 2 * x

@flow
def doubles():
    try:
        for i in range(5):
            yield double(i)
    finally:
        print("closed")

@task
def numbers():
    try:
        yield from range(5)
    finally:
        print("closed")

@flow
def hands_on():
    yield from numbers()

def made():
    return globals()[sys.argv[1]]()

kept = made()
print(next(kept), flush=True)
if sys.argv[2] == "raises":
    raise ValueError("the script's own")
"""


@pytest.mark.parametrize("end", ["ends", "raises"])
@pytest.mark.parametrize("made", ["doubles", "numbers", "hands_on"])
def test_one_left_at_a_scripts_end_has_ended(tmp_path: Path, made: str, end: str) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environ = {**os.environ, "LEGATO_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "script.py", made, end], check=False, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30
    )

    assert done.stdout == "0\nclosed\n", done.stderr
    with harness(f"sqlite:///{tmp_path}/home/legato.db") as h:
        assert_all_ended(h)
        assert {run.state.name for run in [*h.flow_runs(), *h.task_runs()]} == {"Completed"}


def states_of(h: Harness) -> list[tuple[str, str]]:
    return [(run.name, run.state.name) for run in [*h.flow_runs(), *h.task_runs()]]


def assert_all_ended(h: Harness) -> None:
    runs = [*h.flow_runs(), *(task for flow in h.flow_runs() for task in h.task_runs(flow))]
    assert len(runs) > 1
    assert [(run.name, run.state.name) for run in runs if run.state.type not in FINAL] == []
