"""How a value looks at one moment, so that it can be told whether a call has changed it. In this process only: functions and classes, and what has
no form of its own, count by being themselves.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import pickle
import sys
import threading
import types
from collections.abc import Mapping
from typing import Any

from legato.core.digests import SCALARS
from legato.core.identity import Form, Unknown, digest, foreign_form, is_frozen
from legato.sdk.bytecode import PLAIN, token
from legato.sdk.held import LARGEST, is_moving
from legato.sdk.reached import scope_of
from legato.sdk.sources import is_own

_FEW = 30
"""Items of a dict, or attributes, that are looked at one by one. Of more it is known which are others, and not which have become so inside."""

_MANY = 50
"""Items of a container that is pickled to be compared: that is ten times as fast as its form, and in one process as exact."""

_MOST_BYTES = 256 << 20
"""Of a value that can neither be compared within `LARGEST` nor be pickled."""

MISSING = object()


class Look:
    """A value at one moment. `parts`: the items of a dict, the attributes of an object."""

    __slots__ = ("_items", "is_nothing", "parts", "whole")

    def __init__(self, value: Any, *, is_object: bool = False) -> None:
        self.is_nothing = value is None
        self.parts: dict[Any, Any] | None = None
        self._items: dict[Any, Any] | None = None
        items = value if isinstance(value, dict) else vars(value) if is_object else None
        if items is None:
            self.whole: Any = exact(value)
        elif len(items) <= _FEW:
            self.parts = {key_of(key): exact(item) for key, item in list(items.items())}
            self.whole = (type(value),) if is_object else (_attributes(value), *self.parts)  # a dict has an order
        else:
            self.whole = exact(value)
            self._items = dict(items)

    def compared_with(self, after: Look) -> tuple[str, frozenset[Any]]:
        """What has happened since: "fills" (nothing has become something), "changes" or "", and to which parts (none: to the whole)."""
        if self.is_nothing:
            return ("" if after.is_nothing else "fills"), frozenset()
        if self.whole == after.whole and self.parts == after.parts:
            return "", frozenset()
        before, now = self._named_parts(), after._named_parts()
        if before is None or now is None:
            return "changes", frozenset()
        if self._only_got_more(after):
            return "fills", frozenset(now.keys() - before.keys())
        other = frozenset(name for name in before.keys() | now.keys() if _differ(before.get(name, MISSING), now.get(name, MISSING)))
        is_filled = bool(other) and all(before.get(name, _NONE) in (_NONE, None) and name in now for name in other)
        return ("fills" if is_filled else "changes"), other

    def _only_got_more(self, after: Look) -> bool:
        """Whether a dict of many items has got more, and those that it had are as they were."""
        before, now = self._items, after._items
        if before is None or now is None or not before.keys() < now.keys():
            return False
        return bool(self.whole == exact({key: now[key] for key in before}))

    @property
    def named(self) -> dict[Any, Any]:
        """The parts by their names, as far as there are any."""
        return self._named_parts() or {}

    def _named_parts(self) -> dict[Any, Any] | None:
        if self.parts is not None or self._items is None:
            return self.parts
        return {key_of(key): item for key, item in self._items.items()}


def _attributes(value: Any) -> Any:
    """The class of a dict, with what one of another class than `dict` holds beside its items."""
    if type(value) is dict:
        return dict
    try:
        return type(value), exact({name: getattr(value, name) for name in [*vars(value), "default_factory"] if hasattr(value, name)})
    except TypeError:  # it has no attributes
        return type(value)


def _differ(before: Any, now: Any) -> bool:
    """Whether a part is another one, or may have become so: two looks at it, or, of many, the parts themselves."""
    if type(before) is _Exact or type(now) is _Exact or before is MISSING or now is MISSING:
        return bool(before != now)
    return before is not now or not is_frozen(before)


def key_of(key: Any) -> Any:
    """What stands for the key of an item, or the name of an attribute."""
    return (type(key), key) if type(key) in SCALARS else exact(key)


class _Exact(str):
    """What stands for a value, exactly."""

    __slots__ = ()


def exact(value: Any) -> Any:
    """What stands for a value: equal as long as nothing about it is another. What moves when it is used equals nothing."""
    if type(value) in PLAIN:
        return _Exact(token(value))
    if type(value) in (list, dict, tuple, set) and len(value) > _MANY:
        return _pickled(value)
    try:
        return _Exact(digest(Form(_by_itself, _extra, LARGEST, _opaque).bytes_of(value)))
    except Unknown:
        return _pickled(value)
    except Exception:  # noqa: BLE001 a user's __legato_hash__ may raise anything
        return _Exact(f"no look {next(_moves)}")


def _by_itself(value: Any) -> Any:
    """A function or class. A method counts by what it belongs to, as `rows.append` does."""
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, (type, types.ModuleType)):
        return ["at", id(value)]
    return ["of", getattr(value, "__name__", ""), owner]


def _extra(value: Any) -> Any:
    """What holds another value for each thread or context: the one that it has here."""
    if isinstance(value, contextvars.ContextVar):
        return value.get(None)
    if isinstance(value, threading.local):
        return value.__dict__
    kind: Any = type(value)
    return NotImplemented if isinstance(value, type) or not _is_equipment(kind) else _equipment(value)


@functools.lru_cache(maxsize=1024)
def _is_equipment(kind: type) -> bool:
    """Whether a class is a library's, and none of the kinds of data that have a form of their own."""
    library = kind.__module__.partition(".")[0]
    return library not in sys.stdlib_module_names and foreign_form(kind) is None and not is_own(scope_of(kind))


def _equipment(value: Any) -> Any:
    """A library's object by its pickle; what has none (a client, a pool of connections), by being itself: what it keeps is not looked into."""
    try:
        return ["pickled", _hash_of_pickle(value)]
    except Exception:  # noqa: BLE001 its __reduce__ may raise anything
        return ["at", id(value)]


def _opaque(value: Any) -> Any:
    if type(value).__name__ == "Connection" and type(value).__module__ == "sqlite3":  # of a database that is in memory, it is all there is
        return ["rows", id(value), value.total_changes]
    if type(value).__name__ == "SimpleQueue":
        return ["queue", id(value), value.qsize()]
    if isinstance(value, types.GeneratorType) and not value.gi_running and not value.gi_suspended:
        return ["not begun" if value.gi_frame is not None else "over", id(value)]
    return ["moves", next(_moves)] if is_moving(value) else ["at", id(value)]


_moves = itertools.count()


def _pickled(value: Any) -> Any:
    """A large value, by its pickle: within a process that is the same as long as the value is."""
    try:
        return _Exact(_hash_of_pickle(value))
    except Exception:  # noqa: BLE001 a user's __reduce__ may raise anything; then it is taken apart
        return _taken_apart(value)


def _hash_of_pickle(value: Any) -> str:
    import hashlib  # noqa: PLC0415 start-up time: it loads OpenSSL

    buffers: list[Any] = []
    seen = hashlib.sha256(pickle.dumps(value, 5, buffer_callback=buffers.append))
    for one in buffers:
        with one.raw() as raw:
            seen.update(raw)
    return seen.hexdigest()


def _taken_apart(value: Any) -> Any:
    try:
        return _Exact(digest(Form(_by_itself, _extra, _MOST_BYTES, _opaque).bytes_of(value)))
    except Exception:  # noqa: BLE001 it is too large, or a user's __legato_hash__ raises
        return _Exact(f"no look {next(_moves)}")


_NONE = _Exact(token(None))


class Names:
    """The names of a module, class or function, and what they stand for, at one moment."""

    __slots__ = ("_before", "_of")

    def __init__(self, of: Mapping[str, Any]) -> None:
        self._of = of
        self._before = dict(of)

    def others(self) -> dict[str, str]:
        """The names that stand for something else now: whether that "fills" what was not there, or "changes" it."""
        before, now, found = self._before, self._of, {}
        for name in before.keys() | now.keys():
            was, is_ = before.get(name, MISSING), now.get(name, MISSING)
            if was is not is_ and not _is_same(was, is_) and not _is_pythons(name):
                found[name] = "fills" if was is MISSING or was is None else "changes"
        return found


def _is_same(was: Any, now: Any) -> bool:
    return type(was) is type(now) and (type(was) in SCALARS or is_frozen(was)) and repr(was) == repr(now)


def _is_pythons(name: str) -> bool:
    """Whether Python, or a library that keeps something with a class, sets such a name by itself."""
    return name.startswith(("__pydantic", "_abc_")) or name in _BY_THEMSELVES


_BY_THEMSELVES = frozenset(
    ("__annotations__", "__warningregistry__", "__slotnames__", "__builtins__", "__doc__", "__class_vars__", "__signature__")
)
