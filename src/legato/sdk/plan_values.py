"""What is known of a value while a flow's source is read, without running it: the value itself, whose result it is, or only what it came from."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from legato.core.graph import COMPUTED, FUTURE, VALUE


class Known(msgspec.Struct, frozen=True):
    """The value itself: a parameter, a constant, a module, a task, …"""

    obj: Any


class Result(msgspec.Struct, frozen=True):
    """What a call gives: its future or its value. `many`: a list of so many futures as nobody knows."""

    node: int
    how: str = FUTURE
    many: bool = False


class Items(msgspec.Struct):
    """A list, tuple, set or dict whose elements are known one by one. Lists may grow."""

    kind: str
    items: list[Value]
    keys: list[Any] = []


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
    """A function that is defined in the code that is read. `scope`: the names around it."""

    tree: Any
    scope: Any
    owner: Value | None = None


class Unknown(msgspec.Struct, frozen=True):
    """Nothing is known but the calls it was computed from."""

    deps: frozenset[int] = frozenset()
    text: str = ""


Value: TypeAlias = Known | Result | Items | Choice | Wrapped | Method | Spec | Local | Unknown

NOTHING = Known(None)


def deps_of(value: Value, *, tolerated: bool = False) -> dict[int, tuple[str, bool]]:
    """The calls a value comes from: how, and whether their failure is let pass."""
    if isinstance(value, Result):
        return {value.node: (value.how, tolerated)}
    if isinstance(value, Unknown):
        return dict.fromkeys(value.deps, (COMPUTED, tolerated))
    if isinstance(value, Items):
        return merged(deps_of(item, tolerated=tolerated) for item in value.items)
    if isinstance(value, Choice):
        return merged(deps_of(option, tolerated=tolerated) for option in value.options)
    if isinstance(value, Wrapped):
        return {} if value.kind == "quote" else deps_of(value.value, tolerated=tolerated or value.kind == "allow_failure")
    if isinstance(value, Method):
        return deps_of(value.owner)
    return {}


def merged(many: Iterable[dict[int, tuple[str, bool]]]) -> dict[int, tuple[str, bool]]:
    """All of them; of two ways to depend on one call, the closer."""
    found: dict[int, tuple[str, bool]] = {}
    for deps in many:
        for node, (how, tolerated) in deps.items():
            if node not in found or found[node][0] == COMPUTED:
                found[node] = (how, tolerated)
    return found


def computed(*values: Value, text: str = "") -> Value:
    """What code makes of these values, as far as it is known: where it came from."""
    return Unknown(frozenset(merged(deps_of(value) for value in values)), text)


def settled(value: Value) -> Value:
    """The value that a task or flow is handed: futures have become values."""
    if isinstance(value, Result):
        return Result(value.node, VALUE, value.many) if value.how == FUTURE else value
    if isinstance(value, Items):
        return Items(value.kind, [settled(item) for item in value.items], value.keys)
    if isinstance(value, Choice):
        return Choice(tuple(settled(option) for option in value.options))
    if isinstance(value, Wrapped):
        return settled(value.value)
    return value


def choice(values: Iterable[Value]) -> Value:
    """One of several values; just the value when they are the same."""
    options: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Choice) else (value,):
            if not any(_same(option, other) for other in options):
                options.append(option)
    return options[0] if len(options) == 1 else Choice(tuple(options))


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, Known) and isinstance(other, Known):
        return one.obj is other.obj or (type(one.obj) is type(other.obj) and isinstance(one.obj, PLAIN) and one.obj == other.obj)
    return one is other or (isinstance(one, Result) and one == other)


PLAIN = (type(None), bool, int, float, str, bytes)
"""Values of these types can be computed with, without running anybody's code."""


def is_plain(obj: Any, depth: int = 4) -> bool:
    """Whether this is data of built-in types all the way down: nothing of it can run code of a user's."""
    if type(obj) in PLAIN or type(obj) is range:
        return True
    if depth and type(obj) in (list, tuple, set, frozenset) and len(obj) <= 10_000:
        return all(is_plain(item, depth - 1) for item in obj)
    return (
        bool(depth) and type(obj) is dict and len(obj) <= 10_000 and all(is_plain(item, depth - 1) for pair in obj.items() for item in pair)
    )


def elements(value: Value, limit: int) -> list[Value] | None:
    """The elements of an iterable, one by one; None when nobody knows how many there are, or there are too many to follow each."""
    if isinstance(value, Items):
        if value.kind == "dict":
            return [Known(key) for key in value.keys] if len(value.keys) <= limit else None
        return list(value.items) if len(value.items) <= limit else None
    if isinstance(value, Known) and is_plain(value.obj) and isinstance(value.obj, (list, tuple, set, frozenset, dict, range, str)):
        return [Known(item) for item in value.obj] if len(value.obj) <= limit else None
    return None


def known(value: Value) -> tuple[bool, Any]:
    """Whether a value is known as plain data, and the data."""
    if isinstance(value, Known):
        return is_plain(value.obj), value.obj
    if isinstance(value, Items) and value.kind != "dict":
        found = [known(item) for item in value.items]
        if all(ok for ok, _ in found):
            data = [item for _, item in found]
            return True, tuple(data) if value.kind == "tuple" else data
    return False, None


def source_text(tree: ast.AST, limit: int = 60) -> str:
    """A piece of code on one line."""
    text = " ".join(ast.unparse(tree).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
