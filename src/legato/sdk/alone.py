"""Tasks outside flows: each call, submit or map there is a flow run of its own, named after the task, so that it is tracked like any other."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import Any

from legato.engine.futures import DeferredList, Future
from legato.engine.shell import CURRENT, FlowShell, Shell
from legato.sdk import calls, flow_calls
from legato.sdk.definitions import Definition, Kind
from legato.sdk.flows import Flow

_TRIGGER = "a task called outside a flow"


def called(task: Definition[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What calling the undecorated function would give: a value, a coroutine, or a generator of either kind."""
    if task.makes is Kind.ASYNC_ITEMS:
        return astream(task, args, kwargs)
    if task.is_async:
        return acall(task, args, kwargs)
    if task.makes is Kind.ITEMS:
        return stream(task, args, kwargs)
    return call(task, args, kwargs)


def call(task: Definition[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run a task, and return its value."""
    return flow_calls.run_shell(_shell(task, lambda: calls.call_task(task, here(), args, dict(kwargs))))


def stream(task: Definition[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Generator[Any, Any, Any]:
    """Run a generator task, and hand on its items."""

    def items() -> Generator[Any, Any, Any]:
        return (yield from calls.stream_task(task, here(), args, dict(kwargs)))

    return flow_calls.stream_flow(_flow(task, items), (), {})


def submit(task: Definition[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Future[Any]:
    """Begin a task on a thread; the process does not end before it has."""
    shell = _shell(task, lambda: _value(task, args, dict(kwargs)))
    future: Future[Any] = Future(shell.run_id, shell.name, lambda: flow_calls.run_shell(shell))
    future.claim()
    _in_thread(future.run, task.name)
    return future


def map(task: Definition[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> DeferredList[Any]:  # noqa: A001 the verb
    """Begin a task once for each element, in one flow run on a thread."""
    submit_one: Any = task

    def each() -> list[Any]:
        futures = submit_one.map(*args, **kwargs)
        later.expand(futures)
        return [future.result(raise_on_failure=False) for future in futures]

    shell = _shell(task, each)
    later: DeferredList[Any] = DeferredList(shell.run_id, shell.name)

    def run() -> None:
        try:
            flow_calls.run_shell(shell)
        except BaseException as exc:  # noqa: BLE001 handed to whoever asks for the values
            if not later.done():
                later.give_up(exc)

    _in_thread(run, task.name)
    return later


def here() -> Shell:
    """The run whose code this is."""
    shell = CURRENT.get()
    assert shell is not None, "called in the body of a flow"
    return shell


def _value(task: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return task.submit(*args, **kwargs).result()


def _flow(task: Definition[Any, Any], body: Callable[[], Any]) -> Flow[[], Any]:
    flow = Flow(body, name=task.name, tags=task.options.get("tags") or ())
    flow.__module__, flow.__qualname__ = task.__module__, task.__qualname__
    return flow


def _shell(task: Definition[Any, Any], body: Callable[[], Any]) -> FlowShell:
    return flow_calls.new_flow_shell(_flow(task, body), None, (), {}, None, trigger=_TRIGGER)


def _in_thread(work: Callable[[], None], name: str) -> None:
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"legato-{name}").start()


async def acall(task: Definition[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an async task on this loop."""
    from legato.sdk import acalls  # noqa: PLC0415 start-up time: asyncio is loaded by flows that use it

    async def body() -> Any:
        return await acalls.acall_task(task, here(), args, dict(kwargs))

    return await acalls.arun_shell(_shell(task, body))


async def astream(task: Definition[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> AsyncGenerator[Any, Any]:
    """Run an async generator task on this loop."""
    from legato.sdk import acalls  # noqa: PLC0415 start-up time: asyncio is loaded by flows that use it

    async def items() -> AsyncGenerator[Any, Any]:
        async for item in acalls.stream_task(task, here(), args, dict(kwargs)):
            yield item

    async for item in acalls.stream_flow(_flow(task, items), (), {}):
        yield item
