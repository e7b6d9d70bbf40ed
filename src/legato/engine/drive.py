"""The two drivers: they move a script and have its instructions performed. The only sync/async twins of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from legato.engine.script import CANCEL, Instruction, Script, Stop

if TYPE_CHECKING:
    import asyncio


class Performer(Protocol):
    """Does what a script asks."""

    def perform(self, instruction: Instruction) -> Any: ...

    async def aperform(self, instruction: Instruction) -> Any: ...


def drive(script: Script, shell: Performer) -> Any:
    """Run a script to its end on this thread; returns its value or raises what it raises."""
    try:
        instruction = next(script)
        while True:
            try:
                reply = shell.perform(instruction)
            except BaseException as exc:  # noqa: BLE001 the script decides about every exception
                instruction = script.throw(exc)
            else:
                instruction = script.send(reply)
    except StopIteration as end:
        return end.value


async def adrive(script: Script, shell: Performer) -> Any:
    """The same on an event loop. asyncio's cancellation is shown to the script as a `Stop`, and handed back to asyncio at the end."""
    import asyncio  # start-up time: sync flows never need it

    cancelled: asyncio.CancelledError | None = None
    try:
        instruction = next(script)
        while True:
            try:
                reply = await shell.aperform(instruction)
            except asyncio.CancelledError as exc:
                cancelled = exc
                instruction = script.throw(Stop(CANCEL))
            except BaseException as exc:  # noqa: BLE001 the script decides about every exception
                instruction = script.throw(exc)
            else:
                instruction = script.send(reply)
    except StopIteration as end:
        if cancelled is not None:
            raise cancelled from None
        return end.value
    except BaseException:
        if cancelled is not None:
            raise cancelled from None
        raise
