"""Calls of async flows and tasks: the twins of those in `calls` and `flow_calls`, on an event loop. Loaded by the first of them."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, TypeVar

from legato import crashing
from legato.engine.aio import adrive, adrive_stream, start
from legato.engine.futures import Future, ended
from legato.engine.script import Stop, Suspend, run_flow, run_stream, run_task
from legato.engine.shell import CURRENT, FlowShell, Shell, TaskShell
from legato.engine.tracebacks import relink
from legato.sdk.arguments import Arguments, Skip
from legato.sdk.calls import compiled_task, make_ready, submit_to_runner, submit_with, taken_out, task_shell
from legato.sdk.definitions import Definition
from legato.sdk.flow_calls import begin, end, fenced, new_flow_shell, suspended
from legato.sdk.run_states import RunState

T = TypeVar("T")


def acall_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
    """A coroutine that runs an async task on this loop. Which call of the flow it is, is settled now, not when it is awaited."""
    wait_for, return_state = taken_out(kwargs)
    arguments = Arguments(parent.flow, args, kwargs)
    arguments.wait_for(wait_for)
    return _call(task_shell(task, parent, arguments), parent, task, arguments, return_state=return_state)


async def _call(shell: TaskShell, parent: Shell, task: Definition[Any, Any], arguments: Arguments, *, return_state: bool) -> Any:
    if parent.flow.interrupted:
        from legato.sdk.apauses import ahold  # noqa: PLC0415 start-up time: wanted by flows that pause

        await ahold(parent)
    return await _stated(shell, _run_task(shell, task, arguments), return_state=return_state)


async def _stated(shell: Shell, run: Coroutine[Any, Any, Any], *, return_state: bool) -> Any:
    try:
        value = await run
    except Exception as exc:
        relink(exc)
        if return_state:
            return RunState(shell.state, shell.run_id, None, exc)
        raise
    return RunState(shell.state, shell.run_id, value, None) if return_state else value


async def _run_task(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Any:
    try:
        await _ready(shell, task, arguments)
    except Skip:
        return None
    return await adrive(run_task(shell.policy, recalls=shell.recalls), shell)


async def _ready(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> None:
    for future in arguments.futures:
        await ended(future)
    if arguments.futures or arguments.wrapped or compiled_task(task).must_settle:
        make_ready(shell, task, arguments)


async def stream_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> AsyncGenerator[Any, Any]:
    """Run an async generator task: an async generator that hands on its items."""
    wait_for, _ = taken_out(kwargs)
    arguments = Arguments(parent.flow, args, kwargs)
    arguments.wait_for(wait_for)
    shell = task_shell(task, parent, arguments)
    try:
        await _ready(shell, task, arguments)
    except Skip:
        return
    items = adrive_stream(run_stream(shell.policy, "task"), shell)
    try:
        sent = None
        while True:
            sent = yield await items.asend(sent)
    except StopAsyncIteration:
        return
    finally:
        await items.aclose()


def submit_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Start an async task in the background of a flow."""
    return submit_with(_submit, task, parent, args, kwargs)


def _submit(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Future[Any]:
    """Start an async task on the loop that runs here, or on the flow's own; where tasks run elsewhere, there."""
    if hasattr(shell.flow.runner, "call"):
        return submit_to_runner(shell, task, arguments)
    future: Future[Any] = Future(shell.run_id, shell.name, lambda: None)
    future.call = shell.call_id.path if shell.call_id is not None else ""
    future.claim()
    future.waits_for = arguments.futures
    shell.flow.opened(future, shell)
    start(future, _run_submitted(future, shell, task, arguments), shell.flow, contextvars.copy_context())
    return future


async def _run_submitted(future: Future[Any], shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Any:
    try:
        return await _run_task(shell, task, arguments)
    finally:
        future.ended_as = shell.state


async def acall_flow(flow: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an async flow on this loop."""
    wait_for, return_state = taken_out(kwargs)
    shell = new_flow_shell(flow, CURRENT.get(), args, kwargs, wait_for)
    return await _stated(shell, arun_shell(shell), return_state=return_state)


async def arun_shell(shell: FlowShell) -> Any:
    """Drive a flow run to its end on this loop, saying on the console when it begins and how it ended."""
    if shell.recalled is not None:
        return shell.recalled.value
    began = begin(shell)
    try:
        return await adrive(run_flow(shell.policy), shell)
    except Stop as stop:
        raise fenced(shell, stop) from None
    except Suspend:
        if shell.parent is not None:
            raise
        crashing.reached("flow.suspended")
        raise suspended(shell) from None
    finally:
        end(shell, began)


async def stream_flow(flow: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> AsyncGenerator[Any, Any]:
    """Run an async generator flow: an async generator that hands on its items."""
    wait_for, _ = taken_out(kwargs)
    shell = new_flow_shell(flow, CURRENT.get(), args, kwargs, wait_for)
    began = begin(shell)
    items = adrive_stream(run_stream(shell.policy, "flow"), shell)
    try:
        sent = None
        while True:
            sent = yield await items.asend(sent)
    except StopAsyncIteration:
        return
    except Stop as stop:
        raise fenced(shell, stop) from None
    finally:
        await items.aclose()
        end(shell, began)
