"""What a call is: what is called, on what, and with which arguments, as bytes; whether a call has changed its arguments, or handed them back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeAlias

from legato.core.digests import SCALARS
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


_MOST_PARTS = 400
"""Parts of a value that are looked at."""

_DEEPEST = 5


def alias_of(value: Any, on: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Where a value holds the very arguments it was made from, or parts of them: "=0" it is the first, "1=x,2/0=0/3" its parts are the argument x
    and the fourth part of the first; "" when it holds none.

    A part is the so manieth item of a list, tuple or dict, or the so manieth attribute of an object.
    """
    given: dict[int, str] = {}
    for name, one in _arguments(on, args, kwargs):
        if not is_frozen(one):
            for place, part in _within(one, given.__contains__):
                given.setdefault(id(part), f"{name}/{place}" if place else name)
    if not given:
        return ""
    return ",".join(sorted(f"{place}={given[id(part)]}" for place, part in _within(value, given.__contains__) if id(part) in given))


def _within(value: Any, is_known: Callable[[int], bool]) -> Iterator[tuple[str, Any]]:
    """What can be changed in a value, itself first, with its places; nothing inside what is known by its identity."""
    open_, seen, left = deque([("", value, 0)]), set[int](), _MOST_PARTS
    while open_ and left:
        place, part, depth = open_.popleft()
        left -= 1
        if is_known(id(part)):
            yield place, part
            continue
        if id(part) in seen or type(part) in SCALARS or is_frozen(part):
            continue
        seen.add(id(part))
        yield place, part
        if depth < _DEEPEST:
            open_ += [(f"{place}/{n}" if place else str(n), item, depth + 1) for n, item in enumerate(_parts(part)[:_MOST_PARTS])]


def with_aliases(value: Any, alias: str, on: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A value that was read from a store, with this call's own arguments, or their parts, in the places where it held the earlier one's."""
    given = dict(_arguments(on, args, kwargs))
    for found in alias.split(",") if alias else ():
        place, _, source = found.partition("=")
        name, _, inside = source.partition("/")
        if name in given:
            value = _replaced(value, _numbers(place), _part_at(given[name], _numbers(inside)))
    return value


def _numbers(place: str) -> list[int]:
    return [int(n) for n in place.split("/")] if place else []


def _part_at(value: Any, place: list[int]) -> Any:
    for n in place:
        value = _parts(value)[n]
    return value


def _arguments(on: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    own = [("@", on)] if on is not NOTHING else []
    return [*own, *((str(n), one) for n, one in enumerate(args)), *kwargs.items()]


def _parts(value: Any) -> list[Any]:
    kind = type(value)
    if kind is dict:
        return list(value.values())
    if kind is list or kind is tuple:
        return list(value)
    return [state[name] for name in sorted(state)] if (state := _state(value)) is not None else []


def _state(value: Any) -> dict[str, Any] | None:
    """An object's attributes, as far as they can be put in place one by one."""
    if isinstance(value, (type, ModuleType)) or callable(value):
        return None
    state = getattr(value, "__dict__", None)
    return state if type(state) is dict else None


def _replaced(value: Any, place: list[int], item: Any) -> Any:
    if not place:
        return item
    parts, n = _parts(value), place[0]
    if n >= len(parts):
        return value
    new = _replaced(parts[n], place[1:], item)
    kind = type(value)
    if kind is tuple:
        return (*value[:n], new, *value[n + 1 :])
    if kind is list or kind is dict:
        value[list(value)[n] if kind is dict else n] = new
    elif (state := _state(value)) is not None:
        state[sorted(state)[n]] = new
    return value
