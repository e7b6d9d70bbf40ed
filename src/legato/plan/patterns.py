"""`match`: whether a pattern fits what is known of a value, and the names it binds."""

from __future__ import annotations

import ast
from typing import NamedTuple

from legato.plan.arithmetic import compare
from legato.plan.reading import Reading
from legato.plan.values import PLAIN, Instance, Items, Known, Value, computed, is_plain, is_same
from legato.plan.world import Scope


class Fit(NamedTuple):
    """Whether it is known if a pattern fits, whether it does, and what it binds."""

    sure: bool
    fits: bool
    names: dict[str, Value]


_NO = Fit(True, False, {})


def fit(reading: Reading, pattern: ast.pattern, value: Value, scope: Scope) -> Fit:
    """How a pattern fits a value."""
    if isinstance(pattern, ast.MatchValue):
        sure, same = compare(ast.Eq(), value, reading.value(pattern.value, scope))
        return Fit(sure, same, {})
    if isinstance(pattern, ast.MatchSingleton):
        sure, same = compare(ast.Is(), value, Known(pattern.value))
        return Fit(sure, same, {})
    if isinstance(pattern, ast.MatchAs):
        inner = fit(reading, pattern.pattern, value, scope) if pattern.pattern is not None else Fit(True, True, {})
        return Fit(inner.sure, inner.fits, {**inner.names, **({pattern.name: value} if pattern.name else {})})
    if isinstance(pattern, ast.MatchOr):
        for one in pattern.patterns:
            found = fit(reading, one, value, scope)
            if found.fits or not found.sure:
                return found
        return _NO
    if isinstance(pattern, ast.MatchSequence):
        return _sequence(reading, pattern, value, scope)
    if isinstance(pattern, ast.MatchMapping):
        return _mapping(reading, pattern, value, scope)
    return _class(reading, pattern, value, scope) if isinstance(pattern, ast.MatchClass) else _unsure(pattern, value)


def _unsure(pattern: ast.pattern, value: Value) -> Fit:
    """Nobody knows: every name that the pattern may bind is something of the value."""
    bound = [node.name for node in ast.walk(pattern) if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name]
    bound += [node.rest for node in ast.walk(pattern) if isinstance(node, ast.MatchMapping) and node.rest]
    return Fit(False, False, dict.fromkeys(bound, computed(value)))


def _all(reading: Reading, pairs: list[tuple[ast.pattern, Value]], names: dict[str, Value], whole: Fit, scope: Scope) -> Fit:
    for inner, part in pairs:
        found = fit(reading, inner, part, scope)
        if not found.sure:
            return whole
        if not found.fits:
            return _NO
        names = {**names, **found.names}
    return Fit(True, True, names)


def _sequence(reading: Reading, pattern: ast.MatchSequence, value: Value, scope: Scope) -> Fit:
    if isinstance(value, Known) and is_plain(value.obj) and not isinstance(value.obj, (tuple, range)):
        return _NO
    if isinstance(value, Items) and value.kind not in ("list", "tuple"):
        return _NO
    each = reading.each(value, 100) if isinstance(value, (Items, Known)) else None
    if each is None:
        return _unsure(pattern, value)
    starred = next((n for n, one in enumerate(pattern.patterns) if isinstance(one, ast.MatchStar)), None)
    if starred is None:
        if len(each) != len(pattern.patterns):
            return _NO
        return _all(reading, list(zip(pattern.patterns, each, strict=True)), {}, _unsure(pattern, value), scope)
    after = len(pattern.patterns) - starred - 1
    if len(each) < starred + after:
        return _NO
    star = pattern.patterns[starred]
    middle = reading.new(Items("list", each[starred : len(each) - after]))
    names: dict[str, Value] = {star.name: middle} if isinstance(star, ast.MatchStar) and star.name else {}
    pairs = list(zip(pattern.patterns[:starred], each[:starred], strict=True))
    pairs += list(zip(pattern.patterns[starred + 1 :], each[len(each) - after :], strict=True))
    return _all(reading, pairs, names, _unsure(pattern, value), scope)


def _mapping(reading: Reading, pattern: ast.MatchMapping, value: Value, scope: Scope) -> Fit:
    if isinstance(value, Known) and is_plain(value.obj):
        return _NO
    if not isinstance(value, Items) or value.loose:
        return _unsure(pattern, value)
    if value.kind != "dict":
        return _NO
    pairs = []
    taken = []
    for key_node, inner in zip(pattern.keys, pattern.patterns, strict=True):
        key = reading.value(key_node, scope)
        at = next((n for n, one in enumerate(value.keys) if is_same(Known(one), key)), None)
        if at is None:
            return _NO if isinstance(key, Known) and type(key.obj) in PLAIN else _unsure(pattern, value)
        pairs.append((inner, value.items[at]))
        taken.append(at)
    names: dict[str, Value] = {}
    if pattern.rest:
        left = [n for n in range(len(value.keys)) if n not in taken]
        names[pattern.rest] = reading.new(Items("dict", [value.items[n] for n in left], [value.keys[n] for n in left]))
    return _all(reading, pairs, names, _unsure(pattern, value), scope)


_KINDS: dict[str, type] = {"list": list, "tuple": tuple, "set": set, "dict": dict}


def _class(reading: Reading, pattern: ast.MatchClass, value: Value, scope: Scope) -> Fit:
    cls = reading.value(pattern.cls, scope)
    if not isinstance(cls, Known) or not isinstance(cls.obj, type) or type(cls.obj) is not type:
        return _unsure(pattern, value)
    if isinstance(value, Known) and is_plain(value.obj):
        is_one = isinstance(value.obj, cls.obj)
    elif isinstance(value, Items):
        is_one = issubclass(_KINDS[value.kind], cls.obj)
    elif isinstance(value, Instance):
        is_one = issubclass(value.cls, cls.obj)
    else:
        return _unsure(pattern, value)
    if not is_one:
        return _NO
    if isinstance(value, Instance):
        places = getattr(cls.obj, "__match_args__", ())
        if len(pattern.patterns) > len(places):
            return _unsure(pattern, value)
        pairs = list(zip([*places[: len(pattern.patterns)], *pattern.kwd_attrs], [*pattern.patterns, *pattern.kwd_patterns], strict=True))
        if value.loose or any(name not in value.names for name, _ in pairs):
            return _unsure(pattern, value)
        return _all(reading, [(inner, value.names[name]) for name, inner in pairs], {}, _unsure(pattern, value), scope)
    if pattern.kwd_attrs or len(pattern.patterns) > 1:
        return _unsure(pattern, value)
    return (
        _all(reading, [(inner, value) for inner in pattern.patterns], {}, _unsure(pattern, value), scope)
        if pattern.patterns
        else Fit(True, True, {})
    )


def is_irrefutable(pattern: ast.pattern) -> bool:
    """Whether a pattern fits everything."""
    return isinstance(pattern, ast.MatchAs) and (pattern.pattern is None or is_irrefutable(pattern.pattern))
