"""Whether what a call gave lives on elsewhere too: in a global, in a memo, inside of what it was given.

Then whoever changes it changes that as well, or asks whether it is the very same object: a copy from a store is neither. References are counted; only
when there is one too many is it asked who holds it. What pickling hands back as the same object (a logger, a named singleton) is as good as new.
"""

from __future__ import annotations

import gc
import operator
import pickle
import sys
import types
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from legato.core.identity import is_frozen
from legato.engine.makers import Made

_MOST_PARTS = 100
"""Parts of a value that are looked at."""

_MOST_ASKED = 50
"""Parts of which it is asked who holds them: each time, all objects there are have to be looked at."""

_MOST_INSIDE = 20_000
"""Objects inside of a value among which a holder is looked for."""

_CONTAINERS = (list, dict, tuple, set)
_NO_PARTS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.CodeType, types.FrameType)
_UNCHANGING = frozenset(("pyarrow",))

_OURS = (types.FrameType, Made)
"""Holders that count for nothing: what runs, and the note of which run made a value."""

_least: dict[Any, int] = {}
"""References to a value that nobody else holds, by the code that asks."""


def lives_on(value: Any, given: Iterable[Any], is_users: Callable[[Any], Any]) -> bool:
    """Whether something else than the value, and than the code that runs here, holds a part of it that could be changed or told apart.

    `given`: what the call was given, whose being handed back is noted elsewhere. `is_users(cls)`: whether its objects are looked into.
    """
    left_out = {id(one) for one in given}
    if id(value) in left_out:
        return False
    parts = _parts_of(value, left_out, is_users)
    suspects = _counted_too_often(parts)
    is_whole = bool(parts) and parts[0] is value
    if is_whole and not _is_only_here(value, parts, suspects) and _is_held(value, value, parts, suspects) and not _is_by_reference(value):
        return True
    if not suspects or _are_held_inside(suspects, value, parts):
        return False
    del suspects[_MOST_ASKED + 1 :]
    for part in suspects:  # no comprehension, generator or slice here that names the value or its parts: it would hold them
        if _is_held(part, value, parts, suspects) and not _is_by_reference(part):
            return True
    return len(suspects) > _MOST_ASKED


def _are_held_inside(suspects: list[Any], value: Any, parts: list[Any]) -> bool:
    """Whether the value itself is all that holds these parts of it: they refer to each other."""
    inside = _inside_of(value)
    inside.update((id(suspects), id(parts)))
    for holder in gc.get_referrers(*suspects):
        if id(holder) not in inside and not isinstance(holder, _OURS) and not _is_our_call(holder, suspects):
            return False
    return True


def _is_our_call(holder: Any, suspects: list[Any]) -> bool:
    """Whether it is the tuple of arguments that the question itself was asked with."""
    return type(holder) is tuple and len(holder) == len(suspects) and all(map(operator.is_, holder, suspects))


def _counted_too_often(parts: list[Any]) -> list[Any]:
    """The parts, but for the value itself, that something else than one container holds."""
    return [part for n, part in enumerate(parts) if n and sys.getrefcount(part) > _IN_A_CONTAINER]


def _parts_of(value: Any, left_out: set[int], is_users: Callable[[Any], Any]) -> list[Any]:
    """The parts of a value that could be changed, or that compare by being themselves, and the value."""
    found: list[Any] = []
    seen, ahead = set(left_out), [value]
    while ahead and len(found) < _MOST_PARTS:
        part = ahead.pop()
        if id(part) in seen or isinstance(part, _NO_PARTS) or _cannot_change(part):
            continue
        seen.add(id(part))
        found.append(part)
        if isinstance(part, _CONTAINERS) or is_users(type(part)) is not None:
            ahead += [one for one in gc.get_referents(part) if not isinstance(one, _NO_PARTS)]
        elif type(part).__module__ == "numpy" and (base := getattr(part, "base", None)) is not None:
            ahead.append(base)
    return found


def _cannot_change(part: Any) -> bool:
    kind = type(part)
    library = kind.__module__.partition(".")[0]
    if library == "numpy":
        return kind.__name__ != "ndarray" and not hasattr(part, "__setitem__")
    if isinstance(part, Enum):  # one whose class is found under no name comes back as another
        return getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind
    if kind is tuple or kind is frozenset:
        return len(part) <= _MOST_PARTS and all(map(_cannot_change, part))
    return isinstance(part, _NO_PARTS) or is_frozen(part) or library in _UNCHANGING or kind.__module__.startswith("pandas._libs")


def _is_only_here(value: Any, parts: list[Any], suspects: list[Any]) -> bool:
    """Whether the code that is under way here is all that holds a value, by the number of references that this code comes to."""
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 the stack is what this is about
    path: list[int] = []
    while frame is not None and len(path) < 5:
        path.append(id(frame.f_code))
        frame = frame.f_back
    count, key = sys.getrefcount(value), tuple(path)
    least = _least.get(key)
    if least is None and not _holders_of(value, parts, suspects):
        least = _least[key] = count
    return least is not None and count <= least


def _holders_of(part: Any, parts: list[Any], suspects: list[Any]) -> list[Any]:
    """What holds a part, but for our own lists. (Named one by one: a tuple of arguments would be a holder itself.)"""
    return [one for one in gc.get_referrers(part) if one is not parts and one is not suspects and not isinstance(one, _OURS)]


def _is_held(part: Any, value: Any, parts: list[Any], suspects: list[Any]) -> bool:
    holders = _holders_of(part, parts, suspects)
    if not holders:
        return part is value  # there are more references than there should be: from where, nobody says
    inside = _inside_of(value)
    return any(id(one) not in inside for one in holders)


def _inside_of(value: Any) -> set[int]:
    seen, ahead = {id(value)}, [value]
    while ahead and len(seen) < _MOST_INSIDE:
        for one in gc.get_referents(ahead.pop()):
            if id(one) not in seen and not isinstance(one, _NO_PARTS):
                seen.add(id(one))
                ahead.append(one)
    return seen


def _is_by_reference(part: Any) -> bool:
    try:
        return pickle.loads(pickle.dumps(part)) is part  # noqa: S301 it was pickled in this very line
    except Exception:  # noqa: BLE001 a user's __reduce__ may raise anything
        return False


def _measured() -> int:
    """References to a part that only its container holds, as they are counted here."""
    value: list[Any] = [[]]
    parts = _parts_of(value, set(), lambda _: None)
    return next(iter([sys.getrefcount(part) for n, part in enumerate(parts) if n]))


_IN_A_CONTAINER = _measured()
