"""Tasks outside flows: each call, submit or map there is an implicit flow run of its own, so that it is tracked like any other.

A task called from a thread that a run's code has started is not outside: it belongs to that run (see `own_threads`).
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from legato.engine import own_threads
from legato.engine.futures import DeferredList, Future
from legato.engine.shell import Shell
from legato.sdk.definitions import Definition, Kind
from legato.sdk.flow_calls import implicit_run, run_shell, stream_shell
from legato.sdk.process import current_engine


def parent_here() -> Shell | None:
    """The run that the calling code belongs to although its context does not say so."""
    return own_threads.run_here()


def _outside(task: Definition[Any, Any]) -> None:
    own_threads.warn_of_orphans(task.name, current_engine().runs_held)


def called(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What calling the undecorated function would give: a value, a coroutine, or a generator of either kind."""
    _outside(task)
    if task.is_async:
        from legato.sdk import acalls  # noqa: PLC0415 start-up time: asyncio is loaded by flows that use it

        if task.makes is Kind.ASYNC_ITEMS:
            return acalls.astream_shell(lambda: implicit_run(task, task, args, kwargs))
        return acalls.arun_shell(implicit_run(task, task, args, kwargs))
    if task.makes is Kind.ITEMS:
        return _stream(task, args, kwargs)
    return run_shell(implicit_run(task, task, args, kwargs))


def _stream(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Generator[Any, Any, Any]:
    shell = implicit_run(task, task, args, kwargs)
    return (yield from stream_shell(shell))


def submit(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Future[Any]:
    """Begin a task on a thread; the process does not end before it has."""
    _outside(task)
    shell = implicit_run(task, _value_of, (task, args), dict(kwargs))
    future: Future[Any] = Future(shell.run_id, shell.name, lambda: run_shell(shell))
    future.claim()
    _in_thread(future.run, task.name)
    return future


def _value_of(task: Any, args: Sequence[Any], /, **kwargs: Any) -> Any:
    return task.submit(*args, **kwargs).result()


def map(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> DeferredList[Any]:  # noqa: A001 the verb
    """Begin a task once for each element, in one flow run on a thread."""
    _outside(task)

    def each() -> list[Any]:
        futures = task.map(*args, **kwargs)
        later.expand(futures)
        return [future.result(raise_on_failure=False) for future in futures]

    shell = implicit_run(task, each, (), {})
    later: DeferredList[Any] = DeferredList(shell.run_id, shell.name)

    def run() -> None:
        try:
            run_shell(shell)
        except BaseException as exc:  # noqa: BLE001 handed to whoever asks for the values
            if not later.done():
                later.give_up(exc)

    _in_thread(run, task.name)
    return later


def _in_thread(work: Callable[[], None], name: str) -> None:
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"legato-{name}").start()
