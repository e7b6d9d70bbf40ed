"""Lists, tuples, sets and dicts of the code that is read: what their methods, subscripts and deletions do to what is known of them. Pure.

Each function says what it gives, and changes the container it is handed. What is not modelled here raises `NotModelled`: whoever asked
has to take it that the container may hold anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from legato.plan.values import (
    LARGE,
    NOTHING,
    Items,
    Known,
    Result,
    Unknown,
    Value,
    WouldRaise,
    computed,
    element,
    elements,
    is_hashable,
    is_plain,
    is_same,
    known,
)


class NotModelled(Exception):
    """What this does to the container is not known here."""


READING = frozenset(
    (
        "get",
        "keys",
        "values",
        "items",
        "index",
        "count",
        "copy",
        "union",
        "intersection",
        "difference",
        "issubset",
        "issuperset",
        "isdisjoint",
    )
)
"""Methods that leave a container as it is."""


def put(made: Items, key: Any, value: Value) -> None:
    """`made[key] = value` of a dict."""
    if key in made.keys:
        made.items[made.keys.index(key)] = value
    else:
        made.keys = [*made.keys, key]
        made.items.append(value)


def add(made: Items, value: Value) -> None:
    """`made.add(value)` of a set: what is in it already is not added again. Loose when that is not known."""
    ok, data = known(value)
    if ok and any(known(item)[0] and known(item)[1] == data for item in made.items):
        return
    made.loose = made.loose or not (ok and is_hashable(data)) or not all(known(item)[0] for item in made.items)
    made.items.append(value)


def set_of(values: list[Value]) -> Items:
    """A set of these values."""
    made = Items("set", [])
    for value in values:
        add(made, value)
    return made


def dict_of(pairs: list[tuple[Value, Value]]) -> Value:
    """A dict of these pairs; computed from them where a key is not known."""
    made = Items("dict", [])
    for key_value, value in pairs:
        ok, key = known(key_value)
        if not ok or not is_hashable(key):
            return computed(*[part for pair in pairs for part in pair])
        put(made, key, value)
    return made


def of_object(obj: Any, leaf: Callable[[Any], Value], depth: int = 6) -> Value:
    """A Python object as a value, lists, tuples, sets and dicts taken apart; `leaf` for what is none of them, or too large."""
    if type(obj) in (list, tuple) and len(obj) <= LARGE and depth:
        return Items(type(obj).__name__, [of_object(item, leaf, depth - 1) for item in obj])
    if type(obj) is dict and len(obj) <= LARGE and depth and all(is_hashable(key) for key in obj):
        return Items("dict", [of_object(item, leaf, depth - 1) for item in obj.values()], list(obj))
    if type(obj) is set and len(obj) <= LARGE and is_plain(obj):
        return Items("set", [Known(item) for item in obj])
    return Unknown() if isinstance(obj, (list, set, dict)) else leaf(obj)


def method(owner: Items, name: str, args: list[Value], kwargs: Mapping[str, Value]) -> Value:
    """What `owner.name(*args)` gives. Changes `owner`."""
    table = {"dict": _DICT, "set": _SET, "list": _LIST, "tuple": _LIST}[owner.kind]
    act = table.get(name)
    if act is None or owner.loose or (kwargs and name != "update") or (owner.kind == "tuple" and name not in READING):
        raise NotModelled
    return act(owner, args, kwargs) if name == "update" else act(owner, *args)


def item_of(owner: Value, index: Value) -> Value:
    """`owner[index]`."""
    ok, at = known(index)
    if isinstance(owner, Items):
        if owner.loose or not ok:
            return element(owner) if owner.kind != "dict" else computed(owner, index)
        if owner.kind == "dict":
            if not is_hashable(at) or at not in owner.keys:
                raise WouldRaise
            return owner.items[owner.keys.index(at)]
        if not isinstance(at, int) or not -len(owner.items) <= at < len(owner.items):
            raise WouldRaise
        return owner.items[at]
    if ok and isinstance(owner, Known) and is_plain(owner.obj):
        try:
            return Known(owner.obj[at])
        except Exception as error:
            raise WouldRaise from error
    if isinstance(owner, Result) and isinstance(at, int):
        return Result(owner.node, owner.how)
    return computed(owner, index)


def slice_of(owner: Value, bounds: list[Value]) -> Value:
    """`owner[lower:upper:step]`."""
    cut = _cut(bounds)
    if cut is not None and isinstance(owner, Items) and owner.kind in ("list", "tuple") and not owner.loose:
        return Items(owner.kind, owner.items[cut])
    if cut is not None and isinstance(owner, Known) and isinstance(owner.obj, (tuple, str, bytes, range)) and is_plain(owner.obj):
        return Known(owner.obj[cut])
    if isinstance(owner, Items):
        return Items(owner.kind, list(owner.items), list(owner.keys), loose=True)
    return owner if isinstance(owner, Result) and owner.many else computed(owner)


def set_item(owner: Items, index: Value, value: Value) -> None:
    """`owner[index] = value`."""
    ok, at = known(index)
    if owner.kind == "dict" and ok and is_hashable(at) and not owner.loose:
        put(owner, at, value)
    elif owner.kind == "list" and ok and isinstance(at, int) and not owner.loose and -len(owner.items) <= at < len(owner.items):
        owner.items[at] = value
    else:
        owner.items.append(value)
        owner.keys = [*owner.keys, None] if owner.kind == "dict" else owner.keys
        raise NotModelled


def set_slice(owner: Items, bounds: list[Value], value: Value) -> None:
    """`owner[lower:upper] = value`."""
    cut, each = _cut(bounds), elements(value, LARGE)
    if cut is None or each is None or owner.kind != "list" or owner.loose:
        owner.items.append(value)
        raise NotModelled
    try:
        owner.items[cut] = each
    except ValueError as error:
        raise WouldRaise from error


def delete(owner: Items, index: Value | None, bounds: list[Value]) -> None:
    """`del owner[index]`, or a slice of it."""
    if owner.loose or owner.kind not in ("list", "dict"):
        raise NotModelled
    if index is None:
        cut = _cut(bounds)
        if cut is None or owner.kind != "list":
            raise NotModelled
        del owner.items[cut]
        return
    ok, at = known(index)
    if not ok:
        raise NotModelled
    _remove_at(owner, at)


def _remove_at(owner: Items, at: Any) -> Value:
    if owner.kind == "dict":
        if not is_hashable(at) or at not in owner.keys:
            raise WouldRaise
        n = owner.keys.index(at)
        owner.keys = owner.keys[:n] + owner.keys[n + 1 :]
        return owner.items.pop(n)
    if not isinstance(at, int) or not -len(owner.items) <= at < len(owner.items):
        raise WouldRaise
    return owner.items.pop(at)


def _cut(bounds: list[Value]) -> slice | None:
    found = [known(bound) for bound in bounds]
    if not all(ok and (at is None or isinstance(at, int)) for ok, at in found):
        return None
    if found[2][1] == 0:
        raise WouldRaise
    return slice(*[at for _, at in found])


def _place_of(owner: Items, wanted: Value) -> int | None:
    """Where a value stands; None when it does not. NotModelled when it cannot be told."""
    ok, data = known(wanted)
    for n, item in enumerate(owner.items):
        if is_same(item, wanted):
            return n
        sure, other = known(item)
        if not (ok and sure):
            raise NotModelled
        if data == other:
            return n
    return None


# ---------------------------------------------------------------------- lists


def _append(owner: Items, value: Value) -> Value:
    owner.items.append(value)
    return NOTHING


def _extend(owner: Items, value: Value) -> Value:
    each = elements(value, LARGE)
    if each is None:
        owner.items.append(element(value))
        raise NotModelled
    owner.items.extend(each)
    return NOTHING


def _insert(owner: Items, at: Value, value: Value) -> Value:
    ok, n = known(at)
    if not ok or not isinstance(n, int):
        owner.items.append(value)
        raise NotModelled
    owner.items.insert(n, value)
    return NOTHING


def _pop(owner: Items, at: Value = Known(-1)) -> Value:  # noqa: B008 frozen
    ok, n = known(at)
    if not ok:
        raise NotModelled
    return _remove_at(owner, n)


def _remove(owner: Items, value: Value) -> Value:
    n = _place_of(owner, value)
    if n is None:
        raise WouldRaise
    owner.items.pop(n)
    return NOTHING


def _clear(owner: Items) -> Value:
    owner.items, owner.keys = [], []
    return NOTHING


def _reverse(owner: Items) -> Value:
    owner.items.reverse()
    return NOTHING


def _sort(owner: Items) -> Value:
    ok, data = known(owner)
    if not ok:
        raise NotModelled
    try:
        owner.items = [Known(item) if not isinstance(item, (list, dict, set)) else Unknown() for item in sorted(data)]
    except TypeError as error:
        raise WouldRaise from error
    return NOTHING


def _index(owner: Items, value: Value) -> Value:
    n = _place_of(owner, value)
    if n is None:
        raise WouldRaise
    return Known(n)


def _count(owner: Items, value: Value) -> Value:
    ok, data = known(owner)
    sure, wanted = known(value)
    return Known(list(data).count(wanted)) if ok and sure else computed(owner)


def _copy(owner: Items) -> Value:
    return Items(owner.kind, list(owner.items), list(owner.keys))


_LIST: Mapping[str, Callable[..., Value]] = {
    "append": _append,
    "extend": _extend,
    "insert": _insert,
    "pop": _pop,
    "remove": _remove,
    "clear": _clear,
    "reverse": _reverse,
    "sort": _sort,
    "index": _index,
    "count": _count,
    "copy": _copy,
}


# ---------------------------------------------------------------------- dicts


def _key(value: Value) -> Any:
    ok, key = known(value)
    if not ok or not is_hashable(key):
        raise NotModelled
    return key


def _get(owner: Items, key: Value, default: Value = NOTHING) -> Value:
    ok, at = known(key)
    if not ok or not is_hashable(at):
        return computed(owner, key, default)
    return owner.items[owner.keys.index(at)] if at in owner.keys else default


def _dict_pop(owner: Items, key: Value, *default: Value) -> Value:
    at = _key(key)
    return default[0] if default and at not in owner.keys else _remove_at(owner, at)


def _popitem(owner: Items) -> Value:
    if not owner.keys:
        raise WouldRaise
    key = owner.keys[-1]
    return Items("tuple", [Known(key), _remove_at(owner, key)])


def _setdefault(owner: Items, key: Value, default: Value = NOTHING) -> Value:
    at = _key(key)
    if at not in owner.keys:
        put(owner, at, default)
    return owner.items[owner.keys.index(at)]


def _update(owner: Items, args: list[Value], kwargs: Mapping[str, Value]) -> Value:
    for given in args:
        if not isinstance(given, Items) or given.loose:
            owner.items.append(given)
            owner.keys = [*owner.keys, None]
            raise NotModelled
        if given.kind == "dict":
            pairs = list(zip(given.keys, given.items, strict=True))
        else:
            rows = [elements(row, 2) for row in given.items]
            pairs = [(_key(row[0]), row[1]) for row in rows if row is not None and len(row) == 2]
            if len(pairs) != len(rows):
                raise NotModelled
        for key, value in pairs:
            put(owner, key, value)
    for name, value in kwargs.items():
        if name == "**":
            raise NotModelled
        put(owner, name, value)
    return NOTHING


_DICT: Mapping[str, Callable[..., Value]] = {
    "get": _get,
    "keys": lambda owner: Items("list", [Known(key) for key in owner.keys]),
    "values": lambda owner: Items("list", list(owner.items)),
    "items": lambda owner: Items("list", [Items("tuple", [Known(k), v]) for k, v in zip(owner.keys, owner.items, strict=True)]),
    "pop": _dict_pop,
    "popitem": _popitem,
    "setdefault": _setdefault,
    "update": _update,
    "clear": _clear,
    "copy": _copy,
}


# ---------------------------------------------------------------------- sets


def _add(owner: Items, value: Value) -> Value:
    add(owner, value)
    return NOTHING


def _discard(owner: Items, value: Value) -> Value:
    n = _place_of(owner, value)
    if n is not None:
        owner.items.pop(n)
    return NOTHING


def _set_update(owner: Items, args: list[Value], kwargs: Mapping[str, Value]) -> Value:
    if kwargs:
        raise NotModelled
    for given in args:
        each = elements(given, LARGE)
        if each is None:
            owner.items.append(element(given))
            raise NotModelled
        for value in each:
            add(owner, value)
    return NOTHING


def _combined(name: str) -> Callable[..., Value]:
    def act(owner: Items, *others: Value) -> Value:
        ok, data = known(owner)
        given = [known(other) for other in others]
        if not ok or not all(sure for sure, _ in given):
            return Items("set", [element(each) for each in (owner, *others)], loose=True)
        try:
            made = getattr(data, name)(*[other for _, other in given])
        except TypeError as error:
            raise WouldRaise from error
        return Items("set", [Known(item) for item in made]) if isinstance(made, set) else Known(made)

    return act


_SET: Mapping[str, Callable[..., Value]] = {
    "add": _add,
    "remove": _remove,
    "discard": _discard,
    "clear": _clear,
    "copy": _copy,
    "update": _set_update,
    **{
        name: _combined(name)
        for name in ("union", "intersection", "difference", "symmetric_difference", "issubset", "issuperset", "isdisjoint")
    },
}
