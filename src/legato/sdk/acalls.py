"""Calls of async flows and tasks: the twins of those in `calls`, on an event loop. Loaded by the first of them."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from typing import Any

from legato.engine.aio import adrive, into, start
from legato.engine.futures import Future, ended
from legato.engine.script import Stop, run_flow, run_task
from legato.engine.shell import CURRENT, FlowShell, Shell, TaskShell
from legato.engine.tracebacks import relink
from legato.sdk.calls import (
    Arguments,
    RunState,
    begin,
    end,
    fenced,
    make_ready,
    new_flow_shell,
    submit_to_runner,
    submit_with,
    taken_out,
    task_shell,
)
from legato.sdk.definitions import Definition


async def acall_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an async task on this loop."""
    wait_for, return_state = taken_out(kwargs)
    arguments = Arguments(parent.flow, args, kwargs)
    arguments.wait_for(wait_for)
    shell = task_shell(task, parent.flow, arguments)
    try:
        value = await _run_task(shell, task, arguments)
    except Exception as exc:
        relink(exc)
        if return_state:
            return RunState(shell, None, exc)
        raise
    return RunState(shell, value, None) if return_state else value


async def _run_task(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Any:
    for future in arguments.futures:
        await ended(future)
    make_ready(shell, task, arguments)
    return await adrive(run_task(shell.policy), shell)


def submit_task(task: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Start an async task in the background of a flow."""
    return submit_with(_submit, task, args, kwargs)


def _submit(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Future[Any]:
    """Start an async task on the loop that runs here, or on the flow's own; where tasks run elsewhere, there."""
    if hasattr(shell.flow.runner, "call"):
        return submit_to_runner(shell, task, arguments)
    future: Future[Any] = Future(shell.run_id, shell.name, lambda: None)
    future.claim()
    shell.flow.opened(future, shell)
    start(into(future, _run_task(shell, task, arguments)), shell.flow, contextvars.copy_context())
    return future


async def acall_flow(flow: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an async flow on this loop."""
    wait_for, return_state = taken_out(kwargs)
    shell = new_flow_shell(flow, CURRENT.get(), args, kwargs, wait_for)
    try:
        value = await arun_shell(shell)
    except Exception as exc:
        relink(exc)
        if return_state:
            return RunState(shell, None, exc)
        raise
    return RunState(shell, value, None) if return_state else value


async def arun_shell(shell: FlowShell) -> Any:
    """Drive a flow run to its end on this loop, saying on the console when it begins and how it ended."""
    began = begin(shell)
    try:
        return await adrive(run_flow(shell.policy), shell)
    except Stop as stop:
        raise fenced(shell, stop) from None
    finally:
        end(shell, began)
