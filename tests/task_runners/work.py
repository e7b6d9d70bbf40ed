"""Tasks that the conformance suite has performed, wherever a runner performs them. What happens there is seen in files."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from legato import Variable, create_markdown_artifact, flow, get_run_logger, runtime, task


class Refusal(Exception):
    """Takes other arguments than it hands to Exception, as many classes do: plain pickling cannot bring it back."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what} was refused with code {code}")
        self.what, self.code = what, code


class Sullen(Exception):
    """Cannot travel at all."""

    def __init__(self) -> None:
        super().__init__("I hold a lock")
        self.lock = threading.Lock()


def note(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"{text}\n")


def notes(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split() if file.exists() else []


@task
def double(x: int) -> int:
    return 2 * x


@task
def add(x: int, y: int = 0) -> int:
    return x + y


@task
def where() -> int:
    return os.getpid()


@task
def note_slowly(file: Path, seconds: float = 0.3) -> None:
    time.sleep(seconds)
    note(file, "done")


@task
def refuse() -> None:
    _deeper()


def _deeper() -> None:
    raise Refusal("the loan", 17)


@task
def sulk() -> None:
    raise Sullen


@task(retries=2)
def work_at_third(file: Path) -> int:
    note(file, "tried")
    if len(notes(file)) < 3:
        raise ValueError(f"attempt {len(notes(file))}")
    return len(notes(file))


@task
def spin(file: Path) -> None:
    """Ends when it is stopped, and leaves word."""
    note(file, "begun")
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            sum(range(1000))
    finally:
        note(file, "cleaned")


@task
def log_and_print(word: str) -> None:
    get_run_logger().warning("logged %s", word)
    print(f"printed {word}")


@task
def outer(x: int) -> int:
    return double(x) + 1


@task
def outer_that_submits(x: int) -> int:
    return sum(future.result() for future in [double.submit(x), double.submit(x + 1)])


@task
def leave_behind(file: Path) -> str:
    """Submits a task and does not wait for it."""
    note_slowly.submit(file)
    return "left"


@task
def leave_a_failure_behind() -> str:
    refuse.submit()
    return "left"


@task
def tree(depth: int) -> int:
    if depth == 0:
        return 1
    return sum(future.result() for future in [tree.submit(depth - 1), tree.submit(depth - 1)]) + 1


@flow
def inner_flow(x: int) -> int:
    return add(x, 1)


@task
def call_a_flow(x: int) -> int:
    return inner_flow(x)


@task
async def double_later(x: int) -> int:
    await asyncio.sleep(0.001)
    get_run_logger().info("awaited %s", x)
    return await double_much_later(x)


@task
async def double_much_later(x: int) -> int:
    await asyncio.sleep(0.001)
    return 2 * x


@task
async def wait_forever(file: Path) -> None:
    note(file, "begun")
    try:
        await asyncio.sleep(60)
    finally:
        note(file, "cleaned")


@task
def give_lock() -> Any:
    return threading.Lock()


@task
def die(how: str) -> None:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


@task(retries=1)
def die_once(file: Path) -> str:
    note(file, "tried")
    if len(notes(file)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


@task
def big(data: bytes) -> bytes:
    return data[::-1]


@task
def show(text: str) -> None:
    create_markdown_artifact(text, key="shown")


@task
def read_variable(name: str) -> Any:
    return Variable.get(name)


@task
def count_to(n: int) -> Iterator[int]:
    yield from range(n)


@task
async def count_slowly_to(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@task
def note_span(file: Path) -> None:
    note(file, "in")
    time.sleep(0.02)
    note(file, "out")


@task
def note_and_double(file: str, x: int) -> int:
    note(Path(file), str(x))
    return double(x)


@task
def describe_run(x: int) -> Any:
    run = runtime.task_run
    assert run is not None
    return run.name, run.task_name, dict(run.parameters), run.flow_run_id, run.flow_name
