"""The driver: it moves a script and has its instructions performed. `aio.adrive` is its twin on an event loop."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from legato.engine.script import Hand, Instruction, Script


class Performer(Protocol):
    """Does what a script asks."""

    def perform(self, i: Instruction) -> Any: ...


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


def drive_stream(script: Script, shell: Performer) -> Generator[Any, Any, Any]:
    """`drive` for a script that hands items to a reader: a generator of them."""
    try:
        instruction = next(script)
        while True:
            try:
                reply = (yield instruction.item) if type(instruction) is Hand else shell.perform(instruction)
            except BaseException as exc:  # noqa: BLE001 the script decides about every exception
                instruction = script.throw(exc)
            else:
                instruction = script.send(reply)
    except StopIteration as end:
        return end.value
