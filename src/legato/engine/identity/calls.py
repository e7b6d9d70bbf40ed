"""What a call is: what is called, on what, and with which arguments, as bytes; whether a call has changed its arguments, or handed them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from legato.core.identity import Form, Unknown, digest, is_frozen
from legato.engine.identity.ledger import NOTHING

Code: TypeAlias = Callable[[Any], Any]

UNKEPT_BYTES = 16 << 20
"""How much of the arguments of a call whose value is not kept is looked at: it is only to be known whether it is another call."""


def encoded(
    on: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    code: Code,
    futures: Callable[[Any], Any] | None = None,
    *,
    limit: int | None = None,
) -> bytes:
    """What a call is made with, as canonical bytes; keyword arguments in any order. `futures(x)` is the form of what is not there yet.

    Raises `Unknown` naming the argument that has no form, or when more than `limit` bytes would have to be looked at.
    """
    form = Form(code, futures, limit)
    try:
        return form.bytes_of((b"call", on if on is not NOTHING else b"", tuple(args), [(name, kwargs[name]) for name in sorted(kwargs)]))
    except Unknown:
        for name, value in _named(on, args, kwargs):
            _check(name, value, code, futures, limit)
        raise
    except Exception as error:  # noqa: BLE001 a user's __legato_hash__ may raise anything
        raise Unknown(type(error), f" ({error})") from None


def _named(on: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if on is not NOTHING:
        yield "what it is called on", on
    yield from ((f"argument {n}", value) for n, value in enumerate(args))
    yield from ((f"argument {name}", value) for name, value in kwargs.items())


def _check(name: str, value: Any, code: Code, futures: Callable[[Any], Any] | None, limit: int | None) -> None:
    try:
        Form(code, futures, limit).bytes_of(value)
    except Unknown as error:
        inside = f", which holds a {error.kind.__qualname__}," if error.kind not in (type(value), object) else ""
        kind = f"{name} of type {type(value).__qualname__}{inside}"
        raise Unknown(type(value), f"not reusable: {kind} has no stable hash{error.where}; give the task a key") from None


class Seal:
    """What a call was made with, to be looked at again when it has ended."""

    __slots__ = ("_before", "_code", "_on")

    def __init__(self, on: Any, code: Code, before: bytes) -> None:
        self._on = on
        self._code = code
        self._before = digest(before)

    def is_broken(self, args: Sequence[Any], kwargs: Mapping[str, Any], futures: Callable[[Any], Any] | None = None) -> bool:
        """Whether the arguments are other than they were: the call has changed them, or somebody else has meanwhile."""
        try:
            return digest(encoded(self._on, args, kwargs, self._code, futures)) != self._before
        except Unknown:
            return True


def can_change(on: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether there is anything in a call that could be changed."""
    return on is not NOTHING or not (all(map(is_frozen, args)) and all(map(is_frozen, kwargs.values())))


# ---------------------------------------------------------------------- what was handed back


_LONGEST = 32
"""Items of a container that are looked at."""


def alias_of(value: Any, on: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Where a value holds the very arguments it was made from: "=0" it is the first, "1=x,2=0" its items are; "" when it holds none."""
    given = {id(one): name for name, one in _arguments(on, args, kwargs) if not is_frozen(one)}
    if not given:
        return ""
    if (name := given.get(id(value))) is not None:
        return f"={name}"
    return ",".join(f"{n}={given[id(item)]}" for n, item in enumerate(_items(value)) if id(item) in given)


def with_aliases(value: Any, alias: str, on: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A value that was read from a store, with this call's own arguments in the places where it held the earlier one's."""
    given = dict(_arguments(on, args, kwargs))
    for part in alias.split(",") if alias else ():
        place, _, name = part.partition("=")
        if name not in given:
            return value
        if not place:
            return given[name]
        value = _replaced(value, int(place), given[name])
    return value


def _arguments(on: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    own = [("@", on)] if on is not NOTHING else []
    return [*own, *((str(n), one) for n, one in enumerate(args)), *kwargs.items()]


def _items(value: Any) -> list[Any]:
    kind = type(value)
    if kind not in (list, tuple, dict) or len(value) > _LONGEST:
        return []
    return list(value.values()) if kind is dict else list(value)


def _replaced(value: Any, n: int, item: Any) -> Any:
    if type(value) is tuple:
        return (*value[:n], item, *value[n + 1 :])
    value[list(value)[n] if type(value) is dict else n] = item
    return value
