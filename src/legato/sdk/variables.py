"""Variables: named JSON values that flows read when they run, kept in the store, so that people change them without touching code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from legato.core.artifacts import check_variable_name
from legato.core.errors import NotFound, UsageError
from legato.core.records import Variable as Record
from legato.sdk.process import current_store
from legato.system import now

_MISSING: Any = object()


class Variable:
    """Named JSON values in the store: `Variable.get("limit", default=10)`, `Variable.set("limit", 20, overwrite=True)`.

    `aget`, `aset` and `aunset` are the same for async code: they ask in a thread, so that the loop goes on meanwhile.
    """

    @staticmethod
    def get(name: str, default: Any = _MISSING) -> Any:
        """The variable's value; `default` when there is none. Without a default, raises `NotFound`."""
        check_variable_name(name)
        try:
            return current_store().get_variable(name).value
        except NotFound:
            if default is _MISSING:
                raise
            return default

    @staticmethod
    def set(name: str, value: Any, *, overwrite: bool = False, tags: Sequence[str] = ()) -> None:
        """Store a value. Raises `Conflict` when there is one of that name and `overwrite` is not said; `UsageError` for what is not JSON."""
        check_variable_name(name)
        _check_json(name, value)
        if isinstance(tags, str):
            raise UsageError(f"tags is the text {tags!r}", hint=f"give a list: tags=[{tags!r}]")
        current_store().set_variable(Record(name=name, value=value, tags=tuple(tags), updated_at=now()), overwrite=overwrite)

    @staticmethod
    def unset(name: str) -> bool:
        """Remove it; whether it was there."""
        check_variable_name(name)
        try:
            current_store().delete_variable(name)
        except NotFound:
            return False
        return True

    @staticmethod
    async def aget(name: str, default: Any = _MISSING) -> Any:
        """As `get`, in a thread."""
        return await _in_thread(Variable.get, name, default)

    @staticmethod
    async def aset(name: str, value: Any, *, overwrite: bool = False, tags: Sequence[str] = ()) -> None:
        """As `set`, in a thread."""
        await _in_thread(Variable.set, name, value, overwrite=overwrite, tags=tags)

    @staticmethod
    async def aunset(name: str) -> bool:
        """As `unset`, in a thread."""
        return bool(await _in_thread(Variable.unset, name))


async def _in_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
    import asyncio  # noqa: PLC0415 start-up time: for async code, which has it

    return await asyncio.to_thread(function, *args, **kwargs)


def _check_json(name: str, value: Any) -> None:
    """Raises `UsageError` for a value that JSON would not give back as it is."""
    try:
        again = msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"the value of variable '{name}' is no JSON: {error}", hint="give text, numbers, lists and dicts of them"
        ) from None
    if again != value:
        raise UsageError(
            f"the value of variable '{name}' would come back as {again!r:.100}, and it is {value!r:.100}",
            hint="JSON has lists, dicts with text as keys, text, finite numbers, true, false and null",
        )
