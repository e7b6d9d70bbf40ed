"""A value in the cache that cannot be had any more: the task runs after all, and its new value takes the place of the old one."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legato import INPUTS, ProcessTaskRunner, allow_failure, flow, task
from legato.testing import Harness

LARGE = 20_000
"""Letters of a value that lies in a file, not in the run's row."""


class Calls(list[str]):
    """What the bodies note. No part of what a task is, although its code reads it."""

    def __legato_hash__(self) -> None:
        return None


calls = Calls()
hooks = Calls()


@pytest.fixture(autouse=True)
def clean() -> None:
    calls.clear()
    hooks.clear()


def note(name: str) -> str:
    calls.append(name)
    return name * LARGE


def note_hook(_task: Any, run: Any, _state: Any) -> None:
    hooks.append(run.name)


@task(cache_policy=INPUTS, on_completion=[note_hook])
def plain(name: str) -> str:
    return note(name)


@task(cache_policy=INPUTS, retries=2)
def retried(name: str) -> str:
    return note(name)


@task(cache_policy=INPUTS, timeout_seconds=30)
def timed(name: str) -> str:
    return note(name)


@task(cache_policy=INPUTS)
async def awaited(name: str) -> str:
    return note(name)


@task
def size(text: str) -> int:
    return len(text)


@flow
def direct() -> Any:
    return plain("a")


@flow
def with_retries() -> Any:
    return retried("a")


@flow
def with_timeout() -> Any:
    return timed("a")


@flow
def submitted() -> Any:
    return size.submit(plain.submit("a")).result()


@flow
def mapped() -> Any:
    return [len(text) for text in plain.map(["a", "b", "a"]).result()]


@flow
def in_states() -> Any:
    return len(plain("a", return_state=True).result())


@flow
def tolerant() -> Any:
    return size(allow_failure(plain.submit("a")))


@flow
def awaiting() -> Any:
    async def main() -> Any:
        return await inner()

    return asyncio.run(main())


@flow
async def inner() -> Any:
    return [await awaited("a"), await asyncio.wrap_future(asyncio.get_running_loop().run_in_executor(None, len, "b"))]


FLOWS = [direct, with_retries, with_timeout, submitted, mapped, in_states, tolerant, awaiting]

HARM: dict[str, Callable[[Path], Any]] = {
    "deleted": Path.unlink,
    "emptied": lambda file: file.write_bytes(b""),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "another's": lambda file: file.write_bytes(b"x" * file.stat().st_size),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


def harm(h: Harness, how: str) -> None:
    files = [file for file in (h.home / "storage").rglob("*") if file.is_file()]
    assert files, "something large was stored"
    for file in files:
        file.chmod(0o600)
        HARM[how](file)


@pytest.mark.parametrize("which", FLOWS, ids=lambda one: one.name)
@pytest.mark.parametrize("how", HARM)
def test_it_is_made_anew(h: Harness, which: Any, how: str) -> None:
    first = which()
    ran = sorted(calls)
    h.engine.outbox.flush()
    harm(h, how)

    again = which()

    assert again == first
    if how == "a folder":  # nothing can be stored in its place
        assert len(calls) > len(ran)
        return
    assert sorted(calls) == sorted([*ran, *ran]), "it was made once more, also for those that asked at the same time"
    assert which() == first
    assert sorted(calls) == sorted([*ran, *ran]), "the new value is found again"


@pytest.mark.parametrize("how", HARM)
def test_its_runs_say_why(h: Harness, how: str) -> None:
    direct()
    h.engine.outbox.flush()
    harm(h, how)

    direct()

    (run,) = h.task_runs(h.flow_runs()[1])
    assert h.states(run) == ["Pending", "Cached", "Scheduled", "Running", "Completed"][-len(h.states(run)) :]
    assert "its cached value is gone: " in h.journal(run)[-2].state.message
    assert run.state.name == "Completed"


def test_hooks_are_called_for_the_run_that_gave_a_value(h: Harness) -> None:
    direct()
    h.engine.outbox.flush()
    harm(h, "deleted")
    hooks.clear()

    direct()

    assert hooks == ["plain-0"]


def test_in_worker_processes_too(h: Harness) -> None:
    @flow(task_runner=ProcessTaskRunner(max_workers=1))
    def main() -> Any:
        return size.submit(plain.submit("a")).result()

    assert main() == LARGE
    h.engine.outbox.flush()
    harm(h, "deleted")

    assert main() == LARGE
