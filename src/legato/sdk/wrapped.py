"""Sync functions that wrap async ones, as `functools.wraps` decorators make them: only a call tells whether there is something to await."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

from legato.engine.guarded import finished


def has_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def as_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` as an async function."""

    @functools.wraps(fn)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        value = fn(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    return awaited


def as_sync(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` as a function that gives the value itself: what it returns is awaited on a loop of its own."""
    return _Finished(fn)


class _Finished:
    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return finished(self.__wrapped__, *args, **kwargs)  # type: ignore[attr-defined]  # set by update_wrapper
