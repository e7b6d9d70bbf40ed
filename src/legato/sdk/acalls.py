"""Calls of async flows and tasks: the twins of those in `calls` and `flow_calls`, on an event loop. Loaded by the first of them."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias

from legato.engine.aio import adrive, adrive_stream, start
from legato.engine.futures import Future
from legato.engine.script import run_flow, run_stream, run_task
from legato.engine.shell import CURRENT, FlowShell, Shell, TaskShell
from legato.engine.signals import TERMINATED, main_thread_stops
from legato.engine.tracebacks import relink
from legato.sdk import calls
from legato.sdk.calls import new_future, task_shell
from legato.sdk.definitions import Definition
from legato.sdk.flow_calls import new_flow_shell, under_way

_Begun: TypeAlias = tuple[AsyncGenerator[Any, Any], AbstractContextManager[None]]
"""A generator's run that has begun, and what is to be done around it."""


def acall_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
    """A coroutine that runs an async task on this loop. Which call of the flow it is, is settled now, not when it is awaited."""
    return_state = kwargs.pop("return_state", False)
    shell = task_shell(task, parent, args, kwargs)
    coroutine = _call(shell, parent, return_state=return_state)
    for name in ("__name__", "__qualname__"):  # what Python names when nobody awaits it
        setattr(coroutine, name, getattr(task, name))
    return coroutine


async def _call(shell: TaskShell, parent: Shell, *, return_state: bool) -> Any:
    if parent.flow.interrupted:
        from legato.sdk.apauses import ahold  # noqa: PLC0415 start-up time: wanted by flows that pause

        await ahold(parent)
    return await _stated(shell, _run(shell), return_state=return_state)


def _run(shell: TaskShell, *, submitted: bool = False) -> Coroutine[Any, Any, Any]:
    prepares, recalls = shell.preparation is not None, shell.flow.ledger.memory is not None
    return adrive(run_task(shell.policy, submitted=submitted, prepares=prepares, recalls=recalls), shell)


async def _stated(shell: Shell, run: Coroutine[Any, Any, Any], *, return_state: bool) -> Any:
    try:
        value = await run
    except Exception as exc:
        relink(exc)
        if return_state:
            return shell.definition.outcome(shell, exc=exc)
        raise
    return shell.definition.outcome(shell, value=value) if return_state else value


def stream_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> AsyncGenerator[Any, Any]:
    """Run an async generator task: an async generator that hands on its items, and begins with the first."""

    def begun() -> _Begun:
        shell = task_shell(task, parent, args, kwargs)
        shell.hands_on_items = True
        return adrive_stream(
            run_stream(shell.policy, "task", prepares=shell.preparation is not None, recalls=shell.recalls), shell
        ), nullcontext()

    return _handed_on(begun)


async def _handed_on(begun: Callable[[], _Begun]) -> AsyncGenerator[Any, Any]:
    """`yield from`, which Python has for sync generators only: what the reader sends and throws goes on to the generator that has begun."""
    items, around = begun()
    with around:
        try:
            item = await anext(items)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as exc:  # noqa: BLE001 the reader's, for the generator
                    item = await items.athrow(exc)
                else:
                    item = await items.asend(sent)
        except StopAsyncIteration:
            return
        finally:
            await items.aclose()


def submit_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Start an async task in the background of a flow."""
    return calls.submit_task(task, parent, args, kwargs, _started)


def _started(shell: TaskShell, task: Definition[Any, Any]) -> Future[Any]:
    """Start an async task on the loop that runs here, or on the flow's own; where tasks run elsewhere, there."""
    if hasattr(shell.flow.runner, "call"):
        return calls.queued(shell, task)
    future = new_future(shell, task, lambda: None)
    future.claim()
    shell.flow.open_tasks.opened(future, shell, shell.parent_task_id or shell.flow.run_id)
    start(future, _run_submitted(future, shell), shell.flow, contextvars.copy_context())
    return future


async def _run_submitted(future: Future[Any], shell: TaskShell) -> Any:
    try:
        return await _run(shell, submitted=True)
    finally:
        future.ended_as = shell.state


async def acall_flow(flow: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an async flow on this loop."""
    return_state = kwargs.pop("return_state", False)
    shell = new_flow_shell(flow, CURRENT.get(), args, kwargs)
    return await _stated(shell, arun_shell(shell), return_state=return_state)


async def arun_shell(shell: FlowShell) -> Any:
    """Drive a flow run to its end on this loop, saying on the console when it begins and how it ended."""
    if shell.recalled is not None:
        return shell.recalled.value
    with main_thread_stops(partial(shell.stop, TERMINATED)), under_way(shell):
        return await adrive(run_flow(shell.policy), shell)


def stream_flow(flow: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> AsyncGenerator[Any, Any]:
    """Run an async generator flow: an async generator that hands on its items, and begins with the first."""
    return astream_shell(lambda: new_flow_shell(flow, CURRENT.get(), args, kwargs))


def astream_shell(new_shell: Callable[[], FlowShell]) -> AsyncGenerator[Any, Any]:
    """Drive a flow run of an async generator to its end. The run is made when the first item is asked for."""

    def begun() -> _Begun:
        shell = new_shell()
        return adrive_stream(run_stream(shell.policy, "flow"), shell), under_way(shell)

    return _handed_on(begun)
