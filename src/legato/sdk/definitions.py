"""What a decorator made of a function: the function, its options, and what was worked out from them. Flows and tasks build on this.

Importing this costs next to nothing; `calls` works with it, `tasks` and `flows` add what users call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_COROUTINE = 0x80
"""inspect.CO_COROUTINE; the module costs more to import than all of this one."""


class Definition(Generic[P, R]):
    """A decorated function. `compiled` is a place for what `calls` works out once."""

    kind = ""

    def __init__(self, fn: Callable[P, R], **options: Any) -> None:
        self.fn = fn
        self.options = options
        self.name: str = options.get("name") or self.default_name(fn.__name__)
        self.is_async = _is_async(fn)
        self.compiled: Any = None
        self.__name__ = fn.__name__
        self.__qualname__ = fn.__qualname__
        self.__doc__ = fn.__doc__
        self.__module__ = fn.__module__
        self.__wrapped__ = fn

    @staticmethod
    def default_name(function: str) -> str:
        """The name of one whose decorator gives none."""
        return function

    def __repr__(self) -> str:
        return f"<{self.kind} '{self.name}'>"


class Unmapped(Generic[T]):
    """A value that `map` hands whole to every call."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def unmapped(value: T) -> Any:
    """In `task.map(...)`: hand this value whole to every call, although it is iterable."""
    return Unmapped(value)


class AllowFailure(Generic[T]):
    """A future whose failure does not keep a task from running."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def allow_failure(value: T) -> Any:
    """As an argument: run even if this future failed; the function is then given the exception in place of the value."""
    return AllowFailure(value)


def _is_async(fn: Callable[..., Any]) -> bool:
    code = getattr(getattr(fn, "__func__", fn), "__code__", None)
    return code is not None and bool(code.co_flags & _COROUTINE)


def check_options(kind: str, options: dict[str, Any], known: frozenset[str]) -> None:
    """Refuse options that do not exist, and numbers that make no sense, where they are written: at the decorator."""
    unknown = options.keys() - known
    if unknown or any(
        isinstance(options.get(name), (int, float)) and options[name] < 0 for name in ("retries", "retry_delay_seconds", "timeout_seconds")
    ):
        from legato.sdk.options import explain_bad_options  # noqa: PLC0415 start-up time: only for mistakes

        raise explain_bad_options(kind, options, known)
