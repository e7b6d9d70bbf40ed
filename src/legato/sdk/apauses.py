"""Pauses in async flows: the twin of what `pauses` does in sync ones."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from legato import crashing
from legato.engine.aio import adrive
from legato.engine.futures import ended
from legato.engine.script import Answer, AskPerson, Await, Drain, Instruction, Propose, Script, Suspend, run_pause
from legato.engine.shell import Shell
from legato.sdk.pauses import POLL_S, Pause, held


async def driven(pause: Pause, script: Script) -> Any:
    """Drive a pause on this loop."""
    try:
        return await adrive(script, pause, lambda i: _perform(pause, i))
    except Suspend:
        pause.flow.suspend()
        raise


async def ahold(parent: Shell) -> None:
    """`pauses.hold` for a call that is awaited."""
    flow = parent.flow
    if flow.suspending:
        raise Suspend
    if parent is flow:
        pause = held(flow)
        await driven(pause, run_pause(False, math.inf, pause.wanted.prompt))
        flow.goes_on()


async def _perform(pause: Pause, i: Instruction) -> Any:
    if isinstance(i, Propose):
        return await asyncio.to_thread(pause.perform, i)
    if isinstance(i, AskPerson):
        return await asyncio.to_thread(pause.ask)
    if isinstance(i, Await):
        return await _wait(pause, i.seconds)
    assert isinstance(i, Drain), i
    while (future := pause.flow.open_tasks.one_under_way()) is not None:
        await ended(future)
    return None


async def _wait(pause: Pause, seconds: float) -> Answer | None:
    crashing.reached("pause.waiting")
    end = time.monotonic() + seconds
    while True:
        answer = await asyncio.to_thread(pause.look)
        left = end - time.monotonic()
        if answer is not None or left <= 0:
            return answer
        await asyncio.sleep(min(left, POLL_S))
