"""What a call does beside giving a value: to what its code holds, which whoever runs later may read; and where its value lives on.

What a static look would miss is seen as it happens: everything that the code reaches and that can change (variables of modules, attributes of
classes and functions, defaults, closures) is looked at before and after. It is an effect, and the call's value cannot stand for it, unless it is
proven that nobody sees it: a memo, or what is made when it is first asked for, will be filled again by those that read it; what is only counted in,
or added to, nobody reads. With calls under way at the same time, what one changes may be laid at the other's door: then both run again.
"""

from __future__ import annotations

import collections
import functools
import gc
import linecache
import logging
import os
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from legato.core.digests import SCALARS
from legato.core.identity import is_frozen
from legato.core.resume import LIVES_ON
from legato.sdk.bytecode import SETTERS, codes, names_in
from legato.sdk.class_parts import FIXED
from legato.sdk.code import Reach, changed_states, known_by, own_reach_of, reach_of
from legato.sdk.definitions import Definition
from legato.sdk.held import Held
from legato.sdk.looks import Look, Names, exact, key_of
from legato.sdk.reached import scope_of, unwrapped
from legato.sdk.sources import is_own
from legato.sdk.updates import counts, only_looks_up, reads


class Watch:
    """One call's: what its code holds, before it runs and after."""

    __slots__ = ("_begun", "_flow", "_holdings", "_looks", "_names", "_random", "_settings")

    def __init__(self, holdings: Holdings, flow: Any) -> None:
        self._holdings = holdings
        self._flow = flow
        self._begun = False
        self._looks: list[Any] = []
        self._names: list[tuple[str, Any, Names]] = []
        self._settings: dict[str, str] = {}
        self._random = ""

    def begin(self) -> None:
        """The call begins now. Another attempt of it is the same call: what the first has done counts as well."""
        if self._begun:
            return
        self._begun = True
        holdings = self._holdings
        self._looks = [holdings.look_at(held) for held in holdings.held]
        if holdings.sets_names:
            self._names = [(name, of, Names(of if isinstance(of, dict) else vars(of))) for name, of in holdings.spaces()]
        if holdings.has_environment:
            self._settings = dict(os.environ)
        if holdings.seeds:
            self._random = _random_state()

    def changes(self) -> str:
        """In words, what the call has changed that others may see; "" when there is nothing."""
        changes = list(self._found())
        if not changes:
            return ""
        readers = _Readers(self._holdings.reach, self._flow, without=self._holdings.fn)
        noticed = [change for change in changes if readers.notice(change)]
        for change in noticed:
            if change.held is not None and change.held.place is not None:
                changed_states.add(change.held.place)
            elif change.name == RANDOM:
                changed_states.add(RANDOM)
            elif change.name == ENVIRONMENT:
                changed_states.update(("environ", name) for name, _ in self._settings.items() ^ os.environ.items())
        names = sorted({change.name for change in noticed})
        return f"it changed {', '.join(map(repr, names[:3]))}, which others use" if names else ""

    def _found(self) -> Iterator[Change]:
        for held, before in zip(self._holdings.held, self._looks, strict=True):
            value = held.value()
            if value is before:  # it cannot change
                continue
            how, parts = (before if isinstance(before, Look) else Look(before)).compared_with(Look(value, is_object=_is_object(value)))
            if how and _is_memo(held):
                how, parts = _of_memo(before, parts, value)
            if how:
                yield Change(held.name, _short_name(held), how, parts, value, held)
        for name, of, names in self._names:
            for other, how in names.others().items():
                if not isinstance(value := _attribute_now(of, other), types.ModuleType):
                    yield Change(f"{name}.{other}", other, how, frozenset(), value, None, of)
        if self._settings and self._settings != dict(os.environ):
            yield Change(ENVIRONMENT, "environ", "changes", frozenset(), None, None)
        if self._random and self._random != _random_state():
            yield Change(RANDOM, "random", "changes", frozenset(), None, None)

    def found(self, value: Any, given: Any, kwargs: Any, *, is_plain: bool) -> str:
        """What it did, in words."""
        return self.changes() or VALUE.found(value, given, kwargs, is_plain=is_plain)


class OfValue:
    """What looks at a call whose code holds nothing that could be changed: only at what becomes of its value."""

    __slots__ = ()

    def begin(self) -> None:
        """Nothing to be looked at before."""

    def found(self, value: Any, given: Any, kwargs: Any, *, is_plain: bool) -> str:
        """Where its value lives on, in words."""
        if is_plain:
            return ""
        from legato.engine.identity.elsewhere import lives_on  # noqa: PLC0415 start-up time: most values are plain
        from legato.engine.identity.memory import shared  # noqa: PLC0415

        all_given = [*given, *kwargs.values()]
        return LIVES_ON if lives_on(value, all_given, known_by) else shared(value, all_given, known_by)


VALUE = OfValue()


class Holdings:
    """What a function's code holds, or may get hold of. `held`: values under a name; `sets_names`: it may set names of modules, classes, functions."""

    def __init__(self, fn: Any, reach: Reach) -> None:
        self.fn = unwrapped(fn)
        self.reach = reach
        self.held = [held for held in reach.held if held.part.removeprefix(".") not in _WORKED_OUT]
        self._looked_up: dict[int, bool] = {}
        functions = _functions_in(reach)
        every = [names_in(one.__code__) for one in functions]
        self.sets_names = any(names.sets_names or _hands_on_modules(names, fn) for names, fn in zip(every, functions, strict=True))
        self.has_environment = any(not names.all.isdisjoint(_ENVIRONMENT) for names in every)
        self.seeds = any("random" in names.all and not names.all.isdisjoint(_SEEDS) for names in every) or (
            any(map(_draws, functions)) and any(map(_is_seeded, reach.scopes.values()))
        )
        self._finds_modules = any(not names.all.isdisjoint(_FINDS_MODULES) for names in every)

    def look_at(self, held: Held) -> Any:
        """How a value looks; the value itself, where only another can take its place."""
        value = held.value()
        if is_frozen(value) or isinstance(value, (logging.Logger, logging.Handler)):
            return value
        if type(value) in _TABLES and len(value) > _LARGE and self._is_only_looked_up(held) and _is_flat(value):
            return value
        return Look(value, is_object=_is_object(value))

    def _is_only_looked_up(self, held: Held) -> bool:
        """Whether the code only looks items up in a variable of a module, as far as its source proves it."""
        known = self._looked_up.get(id(held))
        if known is None:
            is_global = held.place is not None and not held.part and isinstance(held.place[0], int)
            users = [fn for fn in _functions_in(self.reach) if held.place is not None and held.place[-1] in names_in(fn.__code__).all]
            known = is_global and all(only_looks_up(fn, str(held.place[-1])) for fn in users)
            self._looked_up[id(held)] = known
        return known

    def __bool__(self) -> bool:
        return bool(self.held) or self.sets_names or self.has_environment or self.seeds

    def spaces(self) -> list[tuple[str, Any]]:
        """Modules (their dicts), classes and functions of the user's project, each with a name."""
        scopes = dict(self.reach.scopes)
        if self._finds_modules:
            scopes |= {id(vars(one)): vars(one) for one in [*sys.modules.values()] if type(one) is types.ModuleType and is_own(vars(one))}
        found: list[tuple[str, Any]] = [(str(scope.get("__name__")), scope) for scope in scopes.values()]
        return found + [(one.__qualname__, one) for one in self.reach.called.values() if is_own(_scope_of(one))]


_LARGE = 200
_TABLES = (dict, list, set)
"""Of so many items they are not looked at when the code only looks items up in them, and these cannot be changed."""


def _is_flat(value: Any) -> bool:
    return set(map(type, value.values() if isinstance(value, dict) else value)) <= SCALARS


_WORKED_OUT = FIXED | {"registered"}
"""Parts of classes and functions that are put together when they are asked for, from what does not change."""

_ENVIRONMENT = frozenset(("environ", "putenv", "unsetenv"))
_SEEDS = frozenset(("seed", "setstate", "set_state"))
_OWN_SOURCES = _SEEDS | {"default_rng", "RandomState", "Random", "SystemRandom", "Generator", "SeedSequence"}
_FINDS_MODULES = frozenset(("modules", "import_module", "__import__", "patch"))


def _hands_on_modules(names: Any, fn: types.FunctionType) -> bool:
    return any(isinstance(fn.__globals__.get(name), types.ModuleType) for name in names.bare)


def _scope_of(value: Any) -> Mapping[str, Any]:
    return value.__globals__ if isinstance(value, types.FunctionType) else scope_of(value)


def holdings_of(fn: Any) -> Holdings | None:
    """What a call of a function may change beside its arguments, as far as anything can; None: nothing."""
    return Holdings(fn, reach_of(fn)) or None


class Change(NamedTuple):
    """Something that is other than it was. `short`: the name that code uses for it, "" when it has none; `value`: what it is now; `of`: whose name."""

    name: str
    short: str
    how: str
    parts: frozenset[Any]
    value: Any
    held: Held | None
    of: Any = None


def _is_memo(held: Held) -> bool:
    return held.place is not None and held.place[0] == "memo"


def _of_memo(before: Look, parts: frozenset[Any], value: Mapping[Any, Any]) -> tuple[str, frozenset[Any]]:
    """What has happened to what a memo had remembered. A full one forgets some: that is no change."""
    there = parts & frozenset(map(key_of, value))
    if not parts or before.named.keys() & there:
        return "changes", there
    return ("fills" if there else ""), there


def _short_name(held: Held) -> str:
    if held.place is None:
        return ""
    return held.part.removeprefix(".") if held.part else str(held.place[-1])


def _is_object(value: Any) -> bool:
    """Whether it is an object of the user's own that holds nothing but its attributes: no items, as one of a subclass of `list` does, no slots."""
    return _has_attributes(value) and not any(_holds_more(base) for base in type(value).__mro__[:-1])


def _has_attributes(value: Any) -> bool:
    """Whether it is an object of the user's own with attributes."""
    return (
        type(getattr(value, "__dict__", None)) is dict
        and not isinstance(value, (type, types.FunctionType))
        and is_own(scope_of(type(value)))
    )


@functools.lru_cache(maxsize=1024)
def _holds_more(kind: type) -> bool:
    """Whether objects of a class hold something else than attributes: it is written in C, or has slots."""
    slots = kind.__dict__.get("__slots__", ())
    named = {slots} if isinstance(slots, str) else set(slots)
    return not kind.__flags__ & _HEAP_TYPE or not named <= {"__dict__", "__weakref__"}


def _attribute_now(of: Any, name: str) -> Any:
    return of.get(name) if isinstance(of, dict) else vars(of).get(name)


# ---------------------------------------------------------------------- who sees it


class _Readers:
    """What may run later: all that the flow and the call reach, and the other flows and tasks of their modules; but for the function that was
    called: what it keeps for itself alone is its own affair.
    """

    def __init__(self, own: Reach, flow: Any, *, without: Any) -> None:
        self._own = own
        reaches = [own, *([reach_of(flow)] if flow is not None else [])]
        scopes = {id(scope): scope for reach in reaches for scope in reach.scopes.values()}
        definitions = [flow] if flow is not None else []
        definitions += [one for reach in reaches for one in reach.definitions]
        definitions += [one for scope in scopes.values() for value in list(scope.values()) for one in _definitions_in(value, scope)]
        self._held = [held for reach in reaches for held in reach.held]
        found: dict[bool, dict[int, types.FunctionType]] = {True: {}, False: {}}
        for one in {id(one.fn): one for one in definitions}.values():
            reach = own_reach_of(unwrapped(one.fn))
            self._held += reach.held
            found[one.kind == "flow"] |= {id(fn): fn for fn in _functions_in(reach) if fn is not without}
        self._functions = list((found[False] | {id(fn): fn for fn in _functions_in(own) if fn is not without}).values())
        self._of_flows = [fn for key, fn in found[True].items() if key not in found[False]]

    def notice(self, change: Change) -> bool:
        """Whether anything may see what a call has changed, as far as it cannot be proven that nothing does."""
        if change.name == RANDOM:
            return any(map(_draws, [*self._functions, *self._of_flows]))
        if change.name == ENVIRONMENT or self.hold_it_elsewhere(change):  # libraries read the environment as well
            return True
        if change.how != "fills":
            return not change.short or any(self.see(fn, change.short, change) for fn in self._readers_of(change))
        if _is_data(change) and any(names_in(fn.__code__).changes_others for fn in _functions_in(self._own)):
            return True
        if change.held is not None and _is_memo(change.held):  # whoever calls it has it filled again
            return False
        called = self._own.called
        return any(
            self.see(fn, name, change) and not (id(fn) in called and _fills(fn, name))
            for name in _filled_names(change)
            for fn in [*self._functions, *self._of_flows]
        )

    def _readers_of(self, change: Change) -> list[types.FunctionType]:
        """What may read it: a count of calls tells a flow's own code how many there were in this attempt, and that is so."""
        if any(_uses(fn, change.short, change) and not counts(fn, change.short) for fn in _functions_in(self._own)):
            return [*self._functions, *self._of_flows]
        return self._functions

    def hold_it_elsewhere(self, change: Change) -> bool:
        """Whether the object that was changed, or a part of it, is known under another name as well."""
        if change.held is None:
            return False
        inside = _objects_in(change.value)
        place = _place_of(change.held)
        return bool(inside) and any(_place_of(held) != place and not inside.isdisjoint(_objects_in(held.value())) for held in self._held)

    @staticmethod
    def see(fn: types.FunctionType, name: str, change: Change) -> bool:
        """Whether a function may see what has become of this name."""
        code = fn.__code__
        names = names_in(code).all
        if not names.isdisjoint(_PUT_TOGETHER) or (_is_attribute(change, fn) and "getattr" in names) or name in _texts_in(code):
            return True
        return _uses(fn, name, change) and _sees(reads(fn, name), change.parts)


def changed_states_of(fn: Any) -> dict[str, Any]:
    """What a function reads of `changed_states`, by name, as it is now."""
    reach = reach_of(fn)
    found: dict[str, Any] = {}
    for held in reach.held:
        if held.place in changed_states:
            value = held.value()  # as it is: what stands for it in this process alone is no key
            found[f"{held.name}, kept"] = sorted(value.values(), key=exact) if _is_memo(held) else value
    functions = _functions_in(reach)
    if RANDOM in changed_states and any(map(_draws, functions)):
        found[RANDOM] = _random_state()
    if any(not names_in(one.__code__).all.isdisjoint(_ENVIRONMENT | {"getenv"}) for one in functions):
        names = [state[1] for state in changed_states if type(state) is tuple and state[0] == "environ"]
        found |= {f"{ENVIRONMENT}[{name!r}]": os.environ.get(name) for name in names}
    return found


ENVIRONMENT = "os.environ"
RANDOM = "random"
"""What is changed by a call that seeds the numbers of `random` or `numpy.random`, or draws some where they are seeded."""


def _random_state() -> str:
    import random  # noqa: PLC0415 start-up time: asked of tasks that use it

    numpy: Any = sys.modules.get("numpy")
    return str(exact([random.getstate(), numpy.random.get_state() if numpy is not None else None]))


def _draws(fn: types.FunctionType) -> bool:
    """Whether a function uses the random numbers that all code has in common, without having seeded them."""
    names = names_in(fn.__code__).all
    if not names.isdisjoint(_OWN_SOURCES):
        return False
    owners = (getattr(fn.__globals__.get(name), "__self__", None) for name in names)
    return "random" in names or any((type(one).__module__.partition(".")[0], type(one).__name__) in _COMMON for one in owners)


def _is_seeded(scope: Mapping[str, Any]) -> bool:
    """Whether the file of a module seeds the random numbers that all code has in common: then what one draws, others do not."""
    return _seeds(str(scope.get("__file__") or ""))


@functools.lru_cache(maxsize=256)
def _seeds(file: str) -> bool:
    text = "".join(linecache.getlines(file))
    return "random" in text and any(f"{name}(" in text for name in _SEEDS)


_COMMON = frozenset((("random", "Random"), ("numpy", "RandomState")))


def _uses(fn: types.FunctionType, name: str, change: Change) -> bool:
    """Whether a function uses a name. A variable of a function around is used by those that were made with it, and by that one."""
    code, place = fn.__code__, change.held.place if change.held is not None else None
    if place is not None and place[0] == "cell":
        return any(id(cell) == place[1] for cell in fn.__closure__ or ()) or name in code.co_cellvars
    return name in names_in(code).all or name in code.co_freevars


_HEAP_TYPE = 1 << 9
"""The flag of classes that Python code has made."""

_PUT_TOGETHER = SETTERS - {"setattr", "delattr", "__setattr__", "__delattr__"}
"""What code uses to get at names that it has put together."""


def _is_attribute(change: Change, fn: types.FunctionType) -> bool:
    """Whether what was changed may be an attribute of something in a function's eyes: of a class, an object, another module."""
    of = change.held.place[0] if change.held is not None and change.held.place is not None and not change.held.part else id(change.of)
    return bool(of != id(fn.__globals__) or _has_attributes(change.value))


def _filled_names(change: Change) -> list[str]:
    """The names that were filled: of an object those of its attributes."""
    if change.held is None or not _is_object(change.value) or not change.parts:
        return [change.short] if change.short else []
    return [name for name in vars(change.value) if key_of(name) in change.parts]


def _is_data(change: Change) -> bool:
    """Whether something was filled in that code may change: no number or text, and no equipment, such as a client or a lock."""
    value = change.value
    items = value if isinstance(value, dict) else vars(value) if change.parts and _is_object(value) else None
    filled = [value] if items is None or not change.parts else [item for name, item in list(items.items()) if key_of(name) in change.parts]
    return any(_can_be_changed(one) for one in filled)


def _can_be_changed(value: Any) -> bool:
    return isinstance(value, _CONTAINERS) or type(value).__module__.partition(".")[0] in _OF_DATA or _has_attributes(value)


_CONTAINERS = (list, dict, set, bytearray, collections.deque)
_OF_DATA = frozenset(("numpy", "pandas", "polars"))


def _functions_in(reach: Reach) -> list[types.FunctionType]:
    return [one for one in reach.called.values() if isinstance(one, types.FunctionType) and is_own(one.__globals__)]


def _sees(items: frozenset[object] | None, parts: frozenset[Any]) -> bool:
    """Whether one that reads these items (None: any) sees what has become of these parts (none: of the whole)."""
    return items is None or bool(items and (not parts or any(key_of(item) in parts for item in items)))


def _fills(fn: types.FunctionType, name: str) -> bool:
    names = names_in(fn.__code__)
    return name in names.rebound or name in names.stored or name in names.sets or bool({("global", name), ("free", name)} & names.changed)


@functools.lru_cache(maxsize=4096)
def _texts_in(code: types.CodeType) -> frozenset[str]:
    return frozenset(one for inner in codes(code) for one in inner.co_consts if type(one) is str)


def _definitions_in(value: Any, scope: Mapping[str, Any]) -> list[Any]:
    """A flow or task that stands in a module, or those of a class that does."""
    if isinstance(value, type) and value.__module__ == scope.get("__name__"):
        return [one for one in list(vars(value).values()) if isinstance(one, Definition)]
    return [value] if isinstance(value, Definition) else []


def _place_of(held: Held) -> Any:
    return held.place if held.place is not None else (held.name, held.part)


_MOST_OBJECTS = 1000
_TRANSPARENT = frozenset(("builtins", "collections", "types", "weakref"))
"""Modules of containers, views and references: what they refer to is in them."""


def _objects_in(value: Any) -> set[int]:
    """What in a value can be changed: by the ids of containers and of objects of the user's own, and of what a bound method belongs to."""
    found: set[int] = set()
    ahead = [value]
    while ahead and len(found) < _MOST_OBJECTS:
        one = ahead.pop()
        if id(one) in found or is_frozen(one) or isinstance(one, (type, types.ModuleType, types.FunctionType, Definition)):
            continue
        if isinstance(one, (types.MethodType, types.BuiltinMethodType)):
            ahead.append(one.__self__)
        elif isinstance(one, functools.partial):
            ahead += (one.func, *one.args, *one.keywords.values())
        else:
            found.add(id(one))
            if (base := getattr(one, "base", None)) is not None and type(one).__module__.partition(".")[0] == "numpy":
                ahead.append(base)
            elif isinstance(one, _CONTAINERS) or type(one).__module__ in _TRANSPARENT:
                ahead += gc.get_referents(one)
            ahead += vars(one).values() if _has_attributes(one) else ()
    return found
