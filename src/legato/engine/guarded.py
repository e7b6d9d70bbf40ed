"""Users' callables inside our decisions: retry conditions, delays, triggers, key functions, name functions, hooks, serializers, callbacks.

All of them are called here, so that one rule holds: a coroutine function is awaited, and what it raises carries a note that says which
callable of which run it was. What that means for the run, the caller decides.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any

from legato.engine.signals import interruptible

_RAISED_BY = "raised by"

_LONGEST = 500
"""Characters of an exception's message in a state's message."""


@interruptible
def ask_user(role: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the user's callable answers. `role`: what it is for, such as "retry_condition_fn of task 'load'"; noted on what it raises."""
    try:
        answer = fn(*args, **kwargs)
        return _awaited(answer) if isinstance(answer, CoroutineType) else answer
    except BaseException as error:
        note(error, f"{_RAISED_BY} {named(fn)}, the {role}")
        raise


@interruptible
async def ask_user_async(role: str, fn: Callable[..., Any], *args: Any) -> Any:
    """`ask_user` on an event loop: a coroutine function is awaited there."""
    try:
        answer = fn(*args)
        return await answer if isinstance(answer, CoroutineType) else answer
    except BaseException as error:
        note(error, f"{_RAISED_BY} {named(fn)}, the {role}")
        raise


def note(error: BaseException, text: str) -> None:
    """Add a line to what is shown of an exception, unless it says so already."""
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)


def raised_by(error: BaseException) -> str:
    """What to add of an exception that came out of a callable which `ask_user` asked: whose it was; "" for any other."""
    return next((f", {text}" for text in getattr(error, "__notes__", ()) if text.startswith(_RAISED_BY)), "")


def named(fn: Any) -> str:
    """What a callable is called in a message."""
    try:
        return str(getattr(fn, "__name__", None) or type(fn).__name__)
    except Exception:  # noqa: BLE001 a user's __getattr__ may raise anything
        return "a callable"


def described(error: BaseException) -> str:
    """An exception in one line: its type, and the first line of its message. Never raises, whatever its `__str__` does."""
    kind = type(error).__name__
    try:
        text = str(error).strip().split("\n", 1)[0][:_LONGEST]
    except BaseException as second:  # noqa: BLE001 the state's message must come about
        return f"{kind} (its message could not be made: {type(second).__name__})"
    return f"{kind}: {text}" if text else kind


@interruptible
def finished(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function gives; a coroutine that it gives is run to its end."""
    value = fn(*args, **kwargs)
    return _awaited(value) if isinstance(value, CoroutineType) else value


def _awaited(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Await it, on a loop of its own on a thread of its own: the one here may be running already."""
    import asyncio  # noqa: PLC0415 start-up time: sync flows never need it
    import contextvars  # noqa: PLC0415 only here
    import threading  # noqa: PLC0415 only here

    context = contextvars.copy_context()
    outcome: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            outcome.append((context.run(asyncio.run, coroutine), None))
        except BaseException as error:  # noqa: BLE001 raised again in the caller's thread
            outcome.append((None, error))

    thread = threading.Thread(target=work, name="legato-callable")
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value
