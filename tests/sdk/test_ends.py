"""Every run ends: whatever is raised, wherever, the run and its flow have a last state with a message, and the caller gets what was raised."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from legato import ProcessTaskRunner, SequentialTaskRunner, ThreadTaskRunner, flow, task
from legato.core.states import FINAL, StateType
from legato.engine import shell as shell_module
from legato.engine.process import Engine
from legato.engine.shell import Shell
from legato.testing import Harness, harness


class Abort(BaseException):
    """No Exception: what `except Exception` lets through."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it has no words")


class MuteAbort(BaseException):
    def __str__(self) -> str:
        raise Abort("it has no words")


KINDS: list[Callable[[], BaseException]] = [
    lambda: ValueError("bad"),
    lambda: Abort("enough"),
    Mute,
    MuteAbort,
    KeyboardInterrupt,
    lambda: SystemExit(3),
    GeneratorExit,
    StopIteration,
    StopAsyncIteration,
    asyncio.CancelledError,
    RecursionError,
    MemoryError,
    lambda: ExceptionGroup("two", [ValueError("a"), Mute()]),
    lambda: BaseExceptionGroup("two", [Abort("a")]),
    lambda: pytest.skip.Exception("not here"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
]


def kind_of(make: Callable[[], BaseException]) -> str:
    return type(make()).__name__


def all_runs(h: Harness) -> list[Any]:
    return [run for flow_run in h.flow_runs() for run in (flow_run, *h.task_runs(flow_run))]


def under_way(h: Harness) -> list[str]:
    return [f"{run.name}: {run.state.name}" for run in all_runs(h) if run.state.type not in FINAL]


def must_have_ended(h: Harness, of: int) -> None:
    runs = all_runs(h)
    assert len(runs) == of
    assert under_way(h) == []
    assert all(run.state.message for run in runs if run.state.type is not StateType.COMPLETED)


def direct(t: Any) -> None:
    @flow
    def f() -> None:
        t()

    f()


def submitted(runner: Any) -> Callable[[Any], None]:
    def run(t: Any) -> None:
        @flow(task_runner=runner)
        def f() -> None:
            t.submit().result()

        f()

    return run


def unseen(t: Any) -> None:
    @flow
    def f() -> None:
        t.submit()

    f()


def in_the_flow(t: Any) -> None:
    @flow
    def f() -> None:
        ok()
        t.fn()

    f()


def nested(t: Any) -> None:
    @flow
    def inner() -> None:
        t.fn()

    @flow
    def f() -> None:
        inner()

    f()


@task
def ok() -> int:
    return 1


SYNC_WAYS: dict[str, tuple[Callable[[Any], None], int]] = {
    "direct": (direct, 2),
    "submitted": (submitted(ThreadTaskRunner(max_workers=1)), 2),
    "sequential": (submitted(SequentialTaskRunner()), 2),
    "nobody asks": (unseen, 2),
    "in the flow": (in_the_flow, 2),
    "in a subflow": (nested, 2),
    "outside a flow": (lambda t: t(), 2),
}


@pytest.mark.parametrize("way", SYNC_WAYS)
@pytest.mark.parametrize("make", KINDS, ids=kind_of)
def test_a_run_ends_whatever_its_code_raises(h: Harness, way: str, make: Callable[[], BaseException]) -> None:
    @task
    def t() -> None:
        raise make()

    run, count = SYNC_WAYS[way]
    with pytest.raises(BaseException) as caught:  # noqa: PT011 every kind is raised here
        run(t)

    if way != "nobody asks":
        assert type(caught.value) is type(make())
    must_have_ended(h, count)


@pytest.mark.parametrize("way", ["awaited", "submitted", "in the flow", "in a subflow"])
@pytest.mark.parametrize("make", KINDS, ids=kind_of)
def test_an_async_run_ends_whatever_its_code_raises(h: Harness, way: str, make: Callable[[], BaseException]) -> None:
    @task
    async def t() -> None:
        await asyncio.sleep(0)
        raise make()

    @flow
    async def inner() -> None:
        await t.fn()

    @flow
    async def f() -> None:
        if way == "awaited":
            await t()
        elif way == "submitted":
            await t.submit()
        elif way == "in a subflow":
            await inner()
        else:
            await ok.submit()
            await t.fn()

    with pytest.raises(BaseException):  # noqa: B017, PT011 asyncio itself makes something else of some
        asyncio.run(f())

    must_have_ended(h, 2)


@pytest.mark.parametrize("make", KINDS, ids=kind_of)
def test_a_run_whose_function_is_in_another_process_ends_too(h: Harness, make: Callable[[], BaseException]) -> None:
    number = KINDS.index(make)

    @task
    def t() -> None:
        make_it = KINDS[number]
        raise make_it()

    with pytest.raises(BaseException):  # noqa: B017, PT011 one that cannot travel comes back as another
        submitted(ProcessTaskRunner(max_workers=1))(t)

    must_have_ended(h, 2)


@pytest.mark.parametrize("make", KINDS, ids=kind_of)
def test_a_generators_run_ends_whatever_it_raises(h: Harness, make: Callable[[], BaseException]) -> None:
    @task
    def numbers() -> Iterator[int]:
        yield 1
        raise make()

    @flow
    def f() -> list[int]:
        return list(numbers())

    with pytest.raises(BaseException):  # noqa: B017, PT011 Python makes a RuntimeError of StopIteration in a generator
        f()

    must_have_ended(h, 2)


def test_what_a_reader_throws_into_a_generator_arrives_there(h: Harness) -> None:
    @task
    def echo() -> Any:
        try:
            yield 1
        except ValueError as error:
            yield str(error)

    @flow
    def f() -> list[Any]:
        items = echo()
        return [next(items), items.throw(ValueError("thrown"))]

    assert f() == [1, "thrown"]
    must_have_ended(h, 2)


# ---------------------------------------------------------------------- faults of ours


PLACES: dict[str, tuple[Any, str]] = {
    **{name: (Shell, name) for name in ("propose", "call", "conclude", "save", "settle", "perform", "ends")},
    "transition": (shell_module, "transition_of"),
}
FAULTS: list[Callable[[], BaseException]] = [lambda: RuntimeError("ours"), RecursionError, KeyboardInterrupt, MemoryError, OSError]


@pytest.mark.parametrize("fault", FAULTS, ids=kind_of)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 8])
def test_a_fault_in_the_engine_leaves_no_run_under_way(
    h: Harness, monkeypatch: pytest.MonkeyPatch, place: str, nth: int, fault: Callable[[], BaseException]
) -> None:
    times = itertools.count(1)
    owner, name = PLACES[place]
    original: Any = getattr(owner, name)

    def faulty(*args: Any) -> Any:
        if next(times) == nth:
            raise fault()
        return original(*args)

    @task
    def t() -> list[int]:
        return [1]

    @flow
    def f() -> list[int]:
        future = t.submit()
        return [*t(), *future.result()]

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, faulty)
        with contextlib.suppress(BaseException):
            f()

    assert under_way(h) == []


@pytest.mark.parametrize("nth", range(1, 9))
def test_a_store_that_fails_once_leaves_no_run_under_way(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    times = itertools.count(1)
    gate = Engine.gate

    def faulty(self: Engine, transition: Any) -> Any:
        if next(times) == nth:
            raise RuntimeError("the store has a bug")
        return gate(self, transition)

    @task(persist_result=True, retries=1)
    def t() -> int:
        return 1

    @flow
    def f() -> int:
        return t() + t.submit().result()

    with harness() as h:
        with monkeypatch.context() as patched:
            patched.setattr(Engine, "gate", faulty)
            with contextlib.suppress(RuntimeError):
                f()

        assert under_way(h) == []


# ---------------------------------------------------------------------- users' callables


def raises(*_: Any, **__: Any) -> Any:
    raise LookupError("the callable's own fault")


async def araises(*_: Any, **__: Any) -> Any:
    raise LookupError("the callable's own fault")


def is_not_truth(*_: Any) -> Any:
    class Unsure:
        def __bool__(self) -> bool:
            raise LookupError("the callable's own fault")

    return Unsure()


CALLABLES: dict[str, dict[str, Any]] = {
    "retry_condition_fn": {"retries": 2, "retry_condition_fn": raises},
    "retry_condition_fn, async": {"retries": 2, "retry_condition_fn": araises},
    "retry_condition_fn, no truth": {"retries": 2, "retry_condition_fn": is_not_truth},
    "retry_delay_seconds": {"retries": 2, "retry_delay_seconds": raises},
    "retry_delay_seconds, negative": {"retries": 2, "retry_delay_seconds": lambda _: -1},
    "retry_delay_seconds, no number": {"retries": 2, "retry_delay_seconds": lambda _: "soon"},
    "retry_delay_seconds, endless": {"retries": 2, "retry_delay_seconds": lambda _: float("inf")},
    "trigger": {"trigger": raises},
    "cache_key_fn": {"cache_key_fn": raises},
    "cache_policy": {"cache_policy": raises},
    "task_run_name": {"task_run_name": raises},
    "task_run_name, template": {"task_run_name": "{nothing}"},
}


@pytest.mark.parametrize("way", ["direct", "submitted", "async", "awaited future", "processes"])
@pytest.mark.parametrize("option", CALLABLES)
def test_a_callable_of_the_users_that_fails_ends_the_run_and_is_named(h: Harness, option: str, way: str) -> None:
    is_retried = "retries" in CALLABLES[option]

    def fails() -> None:
        raise ValueError("the task's own fault")

    async def afails() -> None:
        fails()

    t = task(afails if way in ("async", "awaited future") else fails, **CALLABLES[option])

    @flow(task_runner=ProcessTaskRunner(max_workers=1) if way == "processes" else None)
    def f() -> None:
        t() if way == "direct" else t.submit().result()

    @flow
    async def af() -> None:
        await (t() if way == "async" else t.submit())  # type: ignore[misc]

    with pytest.raises(Exception) as caught:  # noqa: PT011 which one is asked below
        asyncio.run(af()) if way in ("async", "awaited future") else f()

    must_have_ended(h, 2)
    [run] = h.task_runs()
    assert run.state.name == "Failed"
    if is_retried:
        assert type(caught.value) is ValueError
        assert "it was not tried again" in run.state.message
    else:
        assert "before it began" in run.state.message or "cannot be filled" in run.state.message
    if "raises" in str(CALLABLES[option]):
        assert "LookupError: the callable's own fault" in run.state.message


def test_an_async_condition_decides(h: Harness) -> None:
    tries: list[int] = []

    async def never(_: BaseException) -> bool:
        await asyncio.sleep(0)
        return False

    @task(retries=3, retry_condition_fn=never)
    def fails() -> None:
        tries.append(1)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 it says nothing
        fails()

    assert tries == [1]


# ---------------------------------------------------------------------- signals


SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from legato import flow, task

@task
def block():
    print("began", flush=True)
    time.sleep(30)

@flow
def main():
    block.submit().result() if "submitted" in sys.argv else block()

main()
"""


@pytest.mark.parametrize("way", ["direct", "submitted"])
@pytest.mark.parametrize("gap_s", [0.0, 0.3], ids=["at once", "while it ends"])
@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGTERM,), -signal.SIGTERM),
        ((signal.SIGINT,), -signal.SIGINT),
        ((signal.SIGINT, signal.SIGINT), -signal.SIGINT),
        ((signal.SIGINT, signal.SIGTERM), -signal.SIGTERM),
    ],
)
def test_a_script_that_is_told_to_end_says_so_of_its_runs(
    tmp_path: Path, way: str, signals: tuple[int, ...], code: int, gap_s: float
) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environ = {**os.environ, "LEGATO_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(
        [sys.executable, "script.py", way], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    process.send_signal(signals[0])
    for one in signals[1:]:
        time.sleep(gap_s)
        process.send_signal(one)
    _, err = process.communicate(timeout=30)

    assert process.returncode in (code, -signals[0]), err  # the first may have ended it before the second came
    with harness(f"sqlite:///{tmp_path}/home/legato.db") as h:
        assert {run.state.name for run in all_runs(h)} == {"Cancelled"}
