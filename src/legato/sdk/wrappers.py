"""What a user may put around an argument: `unmapped`, `allow_failure`, `quote`. Importing this costs next to nothing."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Unmapped(Generic[T]):
    """A value that `map` hands whole to every call."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def _arguments_are_searched() -> None:
    import legato.core  # noqa: F401, PLC0415 start-up time, and before msgspec: see `definitions.load_engine`
    from legato.engine.futures import made  # noqa: PLC0415 start-up time: decorating must cost nothing

    made.any = True


def unmapped(value: T) -> Any:
    """In `task.map(...)`: hand this value whole to every call, although it is iterable."""
    return Unmapped(value)


class AllowFailure(Generic[T]):
    """A future whose failure does not keep a task from running."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value
        _arguments_are_searched()


def allow_failure(value: T) -> Any:
    """As an argument: run even if this future failed; the function is then given the exception in place of the value."""
    return AllowFailure(value)


class Quote(Generic[T]):
    """An argument that is not searched for futures."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value
        _arguments_are_searched()


def quote(value: T) -> Any:
    """As an argument: hand this value over as it is. It is not searched for futures, nor followed to the tasks that made it."""
    return Quote(value)
