"""The driver: it moves a script and has its instructions performed. `aio.adrive` is its twin on an event loop."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from legato.engine.script import CALL, Closed, Hand, Instruction, Script


class Performer(Protocol):
    """Does what a script asks."""

    def perform(self, i: Instruction) -> Any: ...

    def call(self) -> Any:
        """Perform `CALL`: it has a way of its own, so that fewer frames of ours stand between a caller and the function."""
        ...

    def end_anyhow(self, exc: BaseException) -> None:
        """The script has ended by this: see to it that the run has ended as well. Raises nothing."""
        ...


def drive(script: Script, shell: Performer) -> Any:
    """Run a script to its end on this thread; returns its value or raises what it raises."""
    try:
        instruction = next(script)
        while True:
            try:
                reply = shell.call() if instruction is CALL else shell.perform(instruction)
            except BaseException as exc:  # noqa: BLE001 the script decides about every exception
                instruction = script.throw(Closed(exc) if isinstance(exc, GeneratorExit) else exc)
            else:
                instruction = script.send(reply)
    except StopIteration as end:
        return end.value
    except BaseException as exc:
        shell.end_anyhow(exc)
        meant = as_meant(exc)
        if meant is exc:
            raise
        raise meant from None


def drive_stream(script: Script, shell: Performer) -> Generator[Any, Any, Any]:
    """`drive` for a script that hands items to a reader: a generator of them."""
    try:
        instruction = next(script)
        while True:
            try:
                reply = (yield instruction.item) if type(instruction) is Hand else shell.perform(instruction)
            except BaseException as exc:  # noqa: BLE001 the script decides about every exception
                is_codes = isinstance(exc, GeneratorExit) and type(instruction) is not Hand
                instruction = script.throw(Closed(exc) if is_codes else exc)
            else:
                instruction = script.send(reply)
    except StopIteration as end:
        return end.value
    except BaseException as exc:
        shell.end_anyhow(exc)
        raise


def as_meant(exc: BaseException) -> BaseException:
    """What a script has raised. Python lets no generator raise StopIteration, and a script is one: user code's comes wrapped."""
    cause = exc.__cause__
    if (
        type(exc) is RuntimeError
        and isinstance(cause, (StopIteration, StopAsyncIteration))
        and str(exc).startswith("generator raised Stop")
    ):
        return cause
    return exc
