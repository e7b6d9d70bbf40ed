"""What a call does beside giving a value: to the variables of its module, which whoever runs later may read; and where its value lives on.

Only what its code changes is looked at, before and after. It is an effect when a task or flow that the flow calls reads it, and is not itself what
changes it: a memo, or what is made when it is first asked for, will be filled again by those that read it; what is only counted in, or added to,
nobody reads.
"""

from __future__ import annotations

import types
from typing import Any

from legato.core.identity import Form, Unknown, digest
from legato.core.resume import LIVES_ON
from legato.sdk.bytecode import PLAIN, names_in, token
from legato.sdk.code import known_by, reach_of
from legato.sdk.held import LARGEST, Held, is_moving
from legato.sdk.reached import attribute, scope_of
from legato.sdk.sources import is_own
from legato.sdk.updates import reads

_MOST_ITEMS = 1000


class Watch:
    """One call's: what its code changes, before it runs and after."""

    __slots__ = ("_before", "_flow", "_states")

    def __init__(self, states: list[Held], flow: Any) -> None:
        self._states = states
        self._flow = flow
        self._before: list[Any] = []

    def begin(self) -> None:
        """The call begins now."""
        self._before = [_looked_at(held.value()) for held in self._states]

    def changes(self) -> str:
        """In words, what the call has changed that others may read; "" when there is nothing."""
        found = []
        for held, before in zip(self._states, self._before, strict=True):
            how, parts = _compared(before, _looked_at(held.value()))
            if how and _is_read(held, how, parts, self._flow):
                found.append(held.name)
        return f"it changed {', '.join(repr(name) for name in sorted(set(found))[:3])}, which others use" if found else ""

    def found(self, value: Any, args: Any, kwargs: Any, *, is_plain: bool) -> str:
        """What it did, in words."""
        return self.changes() or VALUE.found(value, args, kwargs, is_plain=is_plain)


class OfValue:
    """What looks at a call that changes no variables: only at what becomes of its value."""

    __slots__ = ()

    def begin(self) -> None:
        """Nothing to be looked at before."""

    def found(self, value: Any, args: Any, kwargs: Any, *, is_plain: bool) -> str:
        """Where its value lives on, in words."""
        if is_plain:
            return ""
        from legato.engine.identity.elsewhere import lives_on  # noqa: PLC0415 start-up time: most values are plain
        from legato.engine.identity.memory import shared  # noqa: PLC0415

        given = [*args, *kwargs.values()]
        return LIVES_ON if lives_on(value, given, known_by) else shared(value, given, known_by)


VALUE = OfValue()


def states_of(fn: Any) -> list[Held]:
    """The variables that a function changes, as far as its code tells."""
    return [held for held in reach_of(fn).state if held.place is not None]


class _Look:
    """A value at one moment. `parts`: of a dict its items, of an object its attributes."""

    __slots__ = ("is_nothing", "parts", "whole")

    def __init__(self, whole: Any, parts: dict[Any, Any] | None, *, is_nothing: bool) -> None:
        self.whole = whole
        self.parts = parts
        self.is_nothing = is_nothing


def _looked_at(value: Any) -> _Look:
    if isinstance(value, dict) and len(value) <= _MOST_ITEMS:
        return _Look(id(value), {_short(key): _short(item) for key, item in value.items()}, is_nothing=False)
    if _is_object(value):
        return _Look(id(value), {name: _short(item) for name, item in vars(value).items()}, is_nothing=False)
    return _Look(_short(value), None, is_nothing=value is None)


def _short(value: Any) -> Any:
    """What stands for a value. What cannot be compared counts by being itself, or, when using it changes it, for nothing else."""
    if type(value) in PLAIN:
        return token(value)
    if isinstance(value, types.FunctionType):
        return id(value)
    try:
        return digest(Form(known_by, limit=LARGEST).bytes_of(value))
    except Unknown:
        return object() if is_moving(value) else id(value)
    except Exception:  # noqa: BLE001 a user's __legato_hash__ may raise anything
        return object()


def _compared(before: _Look, after: _Look) -> tuple[str, frozenset[Any]]:
    """What happened in between: "fills", "changes" or "", and to which parts."""
    if before.is_nothing:
        return ("" if after.is_nothing else "fills"), frozenset()
    if before.parts is None or after.parts is None:
        return ("" if before.parts is after.parts and before.whole == after.whole else "changes"), frozenset()
    other = {
        name for name in before.parts.keys() | after.parts.keys() if before.parts.get(name, _MISSING) != after.parts.get(name, _MISSING)
    }
    is_filled = all(before.parts.get(name, _NONE) == _NONE and name in after.parts for name in other)
    return ("" if not other else "fills" if is_filled else "changes"), frozenset(other)


_NONE = token(None)
_MISSING = object()


# ---------------------------------------------------------------------- who reads it


def _is_read(held: Held, how: str, parts: frozenset[Any], flow: Any) -> bool:
    """Whether anything that the flow reaches may see what a call has done to a variable."""
    value = held.value()
    functions = _functions(flow)
    if how == "fills" and _is_object(value):
        return any(_reads_attribute(fn, str(name), type(value)) for fn in functions for name in parts)
    name = held.part.removeprefix(".") if held.part else str(held.place[-1])
    users = [fn for fn in functions if name in names_in(fn.__code__).all or name in fn.__code__.co_freevars]
    return any(not _fills(fn, name) and _sees(reads(fn, name), parts) for fn in users)


def _sees(items: frozenset[object] | None, parts: frozenset[Any]) -> bool:
    """Whether one that reads these items (None: any) sees what has become of these parts (none: of the whole)."""
    return items is None or bool(items and (not parts or any(_short(item) in parts for item in items)))


def _is_object(value: Any) -> bool:
    return hasattr(value, "__dict__") and not isinstance(value, type) and is_own(scope_of(type(value)))


def _reads_attribute(fn: types.FunctionType, name: str, kind: type) -> bool:
    """Whether a function uses an attribute that it does not fill itself, as a method."""
    names = names_in(fn.__code__)
    return name in names.all and not (attribute(kind, fn.__name__) is fn and ("own", name) in names.changed) and fn.__name__ != "__init__"


def _fills(fn: types.FunctionType, name: str) -> bool:
    names = names_in(fn.__code__)
    return name in names.rebound or name in names.stored or ("global", name) in names.changed or ("free", name) in names.changed


def _functions(flow: Any) -> list[types.FunctionType]:
    """The functions that may use a variable: those of all tasks and flows that the flow reaches.

    What the flow's own code reads of it is not followed: plain code of a flow that gives something else without being edited is known to be so.
    """
    if flow is None:
        return []
    found = {id(one): one for called in reach_of(flow).definitions for one in reach_of(called.fn).called.values()}
    return [one for one in found.values() if isinstance(one, types.FunctionType) and is_own(one.__globals__)]
