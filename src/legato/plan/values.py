"""What is known of a value while a flow's source is read, without running it: the value itself, whose result it is, or only what it came from.

Containers and objects that the code itself makes may change; what may have happened to them out of sight makes them `loose`: which calls they
came from is still known, what exactly they hold is not.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from legato.core.graph import COMPUTED, FUTURE, VALUE


class Known(msgspec.Struct, frozen=True):
    """The value itself: a parameter, a constant, a module, a function, an object that was there before. Never a list, set or dict."""

    obj: Any


class Result(msgspec.Struct, frozen=True):
    """What a call gives: its future or its value. `many`: a list of so many futures as nobody knows."""

    node: int
    how: str = FUTURE
    many: bool = False


class Items(msgspec.Struct, eq=False):
    """A list, tuple, set or dict whose elements are known one by one, unless it is `loose`. `born`: the doubts it was made under."""

    kind: str
    items: list[Value]
    keys: list[Any] = []
    loose: bool = False
    born: frozenset[tuple[int, str]] | None = None


class Instance(msgspec.Struct, eq=False):
    """An object of the project's own class, made by the code that is read."""

    cls: type
    names: dict[str, Value] = {}
    loose: bool = False
    born: frozenset[tuple[int, str]] | None = None


class Choice(msgspec.Struct, frozen=True):
    """One of these; which, is decided when it runs."""

    options: tuple[Value, ...]


class Wrapped(msgspec.Struct, frozen=True):
    """allow_failure, unmapped or quote around a value."""

    kind: str
    value: Value


class Method(msgspec.Struct, frozen=True):
    """A method of something that is not known as a Python object."""

    owner: Value
    name: str


class Bound(msgspec.Struct, frozen=True):
    """A function with its first arguments: a method of an instance, a `functools.partial`."""

    fn: Value
    args: tuple[Value, ...]
    kwargs: Mapping[str, Value] = {}


class Super(msgspec.Struct, frozen=True):
    """What `super()` gives in a method of `cls`."""

    cls: type
    instance: Value


class Spec(msgspec.Struct, frozen=True):
    """A task or flow: its definition, or for one that is defined in the flow's own body what its source says."""

    kind: str
    name: str
    key: str
    options: Mapping[str, Any]
    body: Value
    file: str = ""
    makes_items: bool = False
    is_async: bool = False


class Local(msgspec.Struct, frozen=True):
    """A function that is defined in the code that is read. `scope`: the names around it; `defaults`: its parameters', as they were then."""

    tree: Any
    scope: Any
    defaults: Mapping[int, Value] = {}


class Stream(msgspec.Struct, eq=False):
    """A generator: its code is gone through when somebody takes what it gives, once."""

    run: Callable[[], Value]
    text: str = ""
    spent: bool = False
    deps: frozenset[int] = frozenset()


class Unknown(msgspec.Struct, frozen=True):
    """Nothing is known but the calls it was computed from. `live`: the name of something callable that may be in it, or be it."""

    deps: frozenset[int] = frozenset()
    text: str = ""
    live: str = ""


Value: TypeAlias = Known | Result | Items | Instance | Choice | Wrapped | Method | Bound | Super | Spec | Local | Stream | Unknown

NOTHING = Known(None)

PLAIN = (type(None), bool, int, float, str, bytes)
"""Values of these types can be computed with, without running anybody's code."""

LARGE = 10_000


class WouldRaise(Exception):
    """The run would raise here."""


def deps_of(value: Value, *, tolerated: bool = False) -> dict[int, tuple[str, bool]]:
    """The calls a value comes from: how, and whether their failure is let pass."""
    if isinstance(value, Result):
        return {value.node: (value.how, tolerated)}
    if isinstance(value, (Unknown, Stream)):
        return dict.fromkeys(value.deps, (COMPUTED, tolerated))
    if isinstance(value, (Items, Choice, Instance, Bound)):
        return merged(deps_of(part, tolerated=tolerated) for part in parts_of(value))
    if isinstance(value, Wrapped):
        return {} if value.kind == "quote" else deps_of(value.value, tolerated=tolerated or value.kind == "allow_failure")
    if isinstance(value, Method):
        return deps_of(value.owner)
    return {}


def parts_of(value: Value) -> list[Value]:
    """The values that a value is made of."""
    if isinstance(value, Items):
        return list(value.items)
    if isinstance(value, Instance):
        return [part for part in value.names.values() if part is not value]
    if isinstance(value, Choice):
        return list(value.options)
    if isinstance(value, Bound):
        return [*value.args, *value.kwargs.values()]
    if isinstance(value, Wrapped):
        return [value.value]
    return [value.owner] if isinstance(value, Method) else []


def merged(many: Iterable[dict[int, tuple[str, bool]]]) -> dict[int, tuple[str, bool]]:
    """All of them; of two ways to depend on one call, the closer."""
    found: dict[int, tuple[str, bool]] = {}
    for deps in many:
        for node, (how, tolerated) in deps.items():
            if node not in found or found[node][0] == COMPUTED:
                found[node] = (how, tolerated)
    return found


def live_in(value: Value, depth: int = 6) -> str:
    """The name of something callable in a value, "" when there is none: a task, a function of the project, an object with methods."""
    if isinstance(value, Spec):
        return value.name
    if isinstance(value, Local):
        return getattr(value.tree, "name", "lambda")
    if isinstance(value, Instance):
        return value.cls.__name__
    if isinstance(value, Unknown):
        return value.live
    if isinstance(value, Bound):
        return live_in(value.fn)
    if isinstance(value, Stream):
        return value.text
    if isinstance(value, Known):
        return "" if type(value.obj) in PLAIN or type(value.obj) is range else name_of(value.obj)
    return next((found for part in parts_of(value) if depth and (found := live_in(part, depth - 1))), "")


def name_of(obj: Any) -> str:
    """What a function, class or module is called; the class of anything else. No attribute of a user's object is asked for."""
    return obj.__name__ if isinstance(obj, NAMED) else type(obj).__name__


NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)


def computed(*values: Value, text: str = "") -> Value:
    """What code makes of these values, as far as it is known: where it came from."""
    return Unknown(frozenset(merged(deps_of(value) for value in values)), text, next((live for v in values if (live := live_in(v))), ""))


def data_of(*values: Value, text: str = "") -> Value:
    """What code that is not the project's makes of these values: data, without anything in it that calls tasks."""
    return Unknown(frozenset(merged(deps_of(value) for value in values)), text)


def settled(value: Value) -> Value:
    """The value that a task or flow is handed: futures have become values."""
    if isinstance(value, Result):
        return Result(value.node, VALUE, value.many) if value.how == FUTURE else value
    if isinstance(value, Items):
        return Items(value.kind, [settled(item) for item in value.items], value.keys, value.loose)
    if isinstance(value, Choice):
        return Choice(tuple(settled(option) for option in value.options))
    if isinstance(value, Wrapped):
        return settled(value.value)
    return value


def own_values(value: Value) -> Value:
    """What a nested flow is handed: plain values; the runs that made them belong to the flow around it."""
    if isinstance(value, Items):
        return Items(value.kind, [own_values(item) for item in value.items], value.keys, value.loose)
    return value if isinstance(value, (Known, Spec, Local, Instance, Bound)) else Unknown(live=live_in(value))


def choice(values: Iterable[Value]) -> Value:
    """One of several values; just the value when they are the same."""
    options: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Choice) else (value,):
            if not any(is_same(option, other) for other in options):
                options.append(option)
    return options[0] if len(options) == 1 else Choice(tuple(options))


def is_same(one: Value, other: Value) -> bool:
    """Whether two values are surely one."""
    if isinstance(one, Known) and isinstance(other, Known):
        return one.obj is other.obj or (type(one.obj) is type(other.obj) and isinstance(one.obj, PLAIN) and one.obj == other.obj)
    return one is other or (isinstance(one, Result) and one == other)


def is_plain(obj: Any, depth: int = 4) -> bool:
    """Whether this is data of built-in types all the way down: nothing of it can run code of a user's."""
    if type(obj) in PLAIN or type(obj) is range:
        return True
    if depth and type(obj) in (list, tuple, set, frozenset) and len(obj) <= LARGE:
        return all(is_plain(item, depth - 1) for item in obj)
    return (
        bool(depth) and type(obj) is dict and len(obj) <= LARGE and all(is_plain(item, depth - 1) for pair in obj.items() for item in pair)
    )


def is_hashable(key: Any) -> bool:
    """Whether this plain value can be a key."""
    return isinstance(key, PLAIN) or (type(key) in (tuple, frozenset) and all(is_hashable(part) for part in key))


def elements(value: Value, limit: int) -> list[Value] | None:
    """The elements of an iterable, one by one; None when nobody knows how many there are, or there are too many to follow each."""
    if isinstance(value, Items):
        if value.loose or len(value.items) > limit:
            return None
        return [Known(key) for key in value.keys] if value.kind == "dict" else list(value.items)
    if isinstance(value, Known) and isinstance(value.obj, (tuple, frozenset, range, str)) and is_plain(value.obj):
        return [Known(item) for item in value.obj] if len(value.obj) <= limit else None
    return None


def known(value: Value) -> tuple[bool, Any]:
    """Whether a value is known as plain data, and the data."""
    if isinstance(value, Known):
        return is_plain(value.obj), value.obj
    if not isinstance(value, Items) or value.loose:
        return False, None
    found = [known(item) for item in value.items]
    if not all(ok for ok, _ in found):
        return False, None
    data = [item for _, item in found]
    if value.kind == "dict":
        return True, dict(zip(value.keys, data, strict=True))
    if value.kind == "set":
        return (True, set(data)) if all(is_hashable(item) for item in data) else (False, None)
    return True, tuple(data) if value.kind == "tuple" else data


def truth_of(value: Value) -> tuple[bool, bool]:
    """Whether it is known if a value is true, and if it is."""
    if isinstance(value, Items):
        return not value.loose, bool(value.items)
    if isinstance(value, Known):
        return is_plain(value.obj) or isinstance(value.obj, (type, *FUNCTIONS)), bool(is_plain(value.obj) and value.obj) or callable(
            value.obj
        )
    return isinstance(value, (Spec, Local, Bound, Stream)), True


FUNCTIONS = (type(live_in), type(len))
"""Plain functions and built-in ones: always true, called by nobody who asks."""


def element(value: Value) -> Value:
    """One element of something whose elements are not known one by one."""
    if isinstance(value, Result):
        return Result(value.node, value.how) if value.many or value.how != FUTURE else Result(value.node, VALUE)
    if isinstance(value, Items) and value.kind == "dict":
        return choice([Known(key) for key in value.keys]) if value.keys and not value.loose else computed(value)
    if isinstance(value, Items):
        return (choice([*value.items, Unknown()]) if value.loose else choice(value.items)) if value.items else Unknown()
    if isinstance(value, Choice):
        return choice([element(option) for option in value.options])
    return computed(value)


def many(items: list[Value]) -> Value:
    """A list of nobody knows how many such values."""
    if len(items) == 1 and isinstance(items[0], Result):
        return Result(items[0].node, items[0].how, many=True)
    return computed(*items)


def source_text(tree: ast.AST, limit: int = 60) -> str:
    """A piece of code on one line."""
    text = " ".join(ast.unparse(tree).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
