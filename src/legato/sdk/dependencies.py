"""What a value depends on: the futures in it, wherever they stand, and the same value with their values in place of them.

Searched are dicts (keys too) and their views, lists, tuples, sets, deques, partials, named tuples, dataclasses, attrs classes, pydantic
models, msgspec structs and namespaces, their subclasses, however many and however deep. Each object is looked at once, so shared parts stay
shared and circles end. What holds no future is handed over as the very same object; what holds one is rebuilt as its own type, with its own
attributes. A future that stands where it cannot be replaced is an error with its path: it never passes as data. `quote(value)` is not searched.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, MappingProxyType, MemberDescriptorType, MethodType, SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

from legato.core.errors import UsageError
from legato.engine.futures import Future, FutureList
from legato.sdk.wrappers import AllowFailure, Quote

PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray, type, type(Ellipsis)))
"""Types that hold nothing else."""

Resolve: TypeAlias = Callable[[Future[Any], bool], Any]
"""What a future is replaced by; the flag tells whether its failure is allowed."""


class Held(NamedTuple):
    """What was found in some values."""

    futures: Sequence[Future[Any]] = ()
    tolerated: frozenset[int] = frozenset()
    """The ids of futures whose failure was allowed."""
    has_wrappers: bool = False
    """Whether something has to be unwrapped, though it may hold no future."""
    nodes: Mapping[int, _Node] = MappingProxyType({})


class _Way(NamedTuple):
    """How a kind of container is taken apart and put together again."""

    children: Callable[[Any], list[Any]]
    label: Callable[[Any, int], str]
    begin: Callable[[Any], Any] | None
    """Makes an empty one, to be filled later: so a circle can be closed. None: it is made at once, by `fill(value, children)`."""
    fill: Callable[[Any, list[Any]], Any]


class _Node:
    """One container on the search's way."""

    __slots__ = ("children", "held_by", "label", "tolerates", "value", "way")

    def __init__(self, value: Any, way: _Way, children: list[Any], held_by: _Node | None, label: int, *, tolerates: bool) -> None:
        self.value = value
        self.way = way
        self.children = children
        self.held_by = held_by
        self.label = label
        self.tolerates = tolerates


def held_in(values: Iterable[tuple[str, Any]], *, strict: bool = True) -> Held:
    """The futures in some named values. Raises `UsageError` for one that stands where nothing can take its place."""
    search = _Search(strict=strict)
    for name, value in values:
        if type(value) not in PLAIN:
            search.look_into(name, value)
    return search.found()


def futures_in(name: str, value: Any, *, strict: bool = True) -> Held:
    """The futures in one value. `name` is what to call it in an error. Not `strict`: one that cannot be replaced is left where it is."""
    return held_in([(name, value)], strict=strict)


def resolved(value: Any, held: Held, resolve: Resolve) -> Any:
    """A value that was searched, with `resolve`'s answers in place of futures; the very same object where it holds none."""
    if type(value) in PLAIN:
        return value
    return _Rebuild(held, resolve).of(value)


class _Search:
    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._futures: dict[int, Future[Any]] = {}
        self._tolerated: set[int] = set()
        self._nodes: dict[int, _Node] = {}
        self._parents: dict[int, list[int]] = {}
        self._to_be_rebuilt: list[int] = []
        self._has_wrappers = False
        self._name = ""

    def look_into(self, name: str, root: Any) -> None:
        self._name = name
        ahead: list[tuple[Any, _Node | None, int, bool]] = [(root, None, 0, False)]
        while ahead:
            value, holder, label, tolerated = ahead.pop()
            if isinstance(value, Future):
                self._found_future(value, holder, tolerated=tolerated)
                continue
            if holder is not None:
                self._parents.setdefault(id(value), []).append(id(holder.value))
            node = self._nodes.get(id(value))
            if node is not None and (node.tolerates or not tolerated):
                continue
            way = _way_of(value)
            if way is None:
                if self._strict:
                    self._refuse_hidden(value, holder, label)
                continue
            children = way.children(value)
            tolerated = tolerated or type(value) is AllowFailure
            node = self._nodes[id(value)] = _Node(value, way, children, holder, label, tolerates=tolerated)
            if way is _QUOTED or way is _TOLERATED:
                self._has_wrappers = True
                self._to_be_rebuilt.append(id(value))
            ahead.extend((child, node, n, tolerated) for n, child in enumerate(children) if type(child) not in PLAIN)

    def _found_future(self, future: Future[Any], holder: _Node | None, *, tolerated: bool) -> None:
        self._futures[id(future)] = future
        if tolerated:
            self._tolerated.add(id(future))
        if holder is not None:
            self._to_be_rebuilt.append(id(holder.value))

    def found(self) -> Held:
        """Only what leads to a future is remembered: nothing else is kept alive by it."""
        if not self._futures and not self._has_wrappers:
            return NOTHING
        kept: dict[int, _Node] = {}
        ahead = list(self._to_be_rebuilt)
        while ahead:
            key = ahead.pop()
            if key not in kept:
                kept[key] = self._nodes[key]
                ahead.extend(self._parents.get(key, ()))
        return Held(tuple(self._futures.values()), frozenset(self._tolerated), self._has_wrappers, kept)

    def _refuse_hidden(self, value: Any, holder: _Node | None, label: int) -> None:
        """Of what cannot be taken apart, look at what it plainly holds, and at the containers among that."""
        for where, hidden in _plainly_held(value):
            if type(hidden) in PLAIN:
                continue
            is_one = isinstance(hidden, Future)
            if is_one or futures_in("", hidden, strict=False).futures:
                raise UsageError(
                    f"{_path(self._name, holder, label)}{where()} holds {repr(hidden) if is_one else 'futures'}, "
                    "which cannot be replaced by a value there",
                    hint="hand the future over by itself, or wrap what holds it in quote(...) to have it handed over as it is",
                )


def _path(name: str, node: _Node | None, label: int) -> str:
    """Such as `rows[2].client`."""
    parts: list[str] = []
    while node is not None:
        parts.append(node.way.label(node.value, label))
        label, node = node.label, node.held_by
    return name + "".join(reversed(parts))


class _Rebuild:
    """Puts values together again, inner ones first, without recursion."""

    def __init__(self, held: Held, resolve: Resolve) -> None:
        self._nodes = held.nodes
        self._tolerated = held.tolerated
        self._resolve = resolve
        self._made: dict[int, Any] = {}
        self._unfilled: list[tuple[_Node, Any]] = []

    def of(self, root: Any) -> Any:
        ahead = [root]
        while ahead:
            value = ahead[-1]
            node = self._nodes.get(id(value))
            if node is None or isinstance(value, Future) or id(value) in self._made:
                ahead.pop()
                continue
            if node.way.begin is not None:
                self._made[id(value)] = new = self._begun(node)
                self._unfilled.append((node, new))
                ahead.pop()
                ahead.extend(node.children)
                continue
            missing = [child for child in node.children if id(child) in self._nodes and id(child) not in self._made]
            if missing:
                ahead.extend(missing)
                continue
            ahead.pop()
            self._made[id(value)] = node.way.fill(value, self._items_of(node))
        for node, new in self._unfilled:
            node.way.fill(new, self._items_of(node))
        self._unfilled = []
        return self._settled(root, tolerated=False)

    def _begun(self, node: _Node) -> Any:
        assert node.way.begin is not None
        try:
            return node.way.begin(node.value)
        except Exception as error:
            kind = type(node.value).__qualname__
            raise UsageError(
                f"a {kind} holds a future, and cannot be copied to hold its value: {type(error).__name__}: {error}",
                hint="hand the future over by itself, or wrap what holds it in quote(...) to have it handed over as it is",
            ) from error

    def _items_of(self, node: _Node) -> list[Any]:
        return [self._settled(child, tolerated=node.tolerates) for child in node.children]

    def _settled(self, value: Any, *, tolerated: bool) -> Any:
        if isinstance(value, Future):
            return self._resolve(value, tolerated or id(value) in self._tolerated)
        return self._made.get(id(value), value)


NOTHING = Held()


# ---------------------------------------------------------------------- the kinds of containers


def _indexed(value: Any, n: int) -> str:  # noqa: ARG001 every label is asked the same
    return f"[{n}]"


def _copied(value: Any) -> Any:
    import copy  # noqa: PLC0415 start-up time: few arguments are copied

    return copy.copy(value)


def _refilled_list(new: Any, items: list[Any]) -> Any:
    new[:] = items
    return new


def _refilled(new: Any, items: list[Any], add: str) -> Any:
    new.clear()
    getattr(new, add)(items)
    return new


def _dict_children(value: Any) -> list[Any]:
    return [*value.keys(), *value.values()]


def _dict_label(value: Any, n: int) -> str:
    keys = list(value)
    return f"[{keys[n - len(keys)]!r:.40}]" if n >= len(keys) else f"'s key {keys[n]!r:.40}"


def _refilled_dict(new: Any, items: list[Any]) -> Any:
    new.clear()
    half = len(items) // 2
    for key, item in zip(items[:half], items[half:], strict=True):
        new[key] = item
    return new


def _tuple_of(value: Any, items: list[Any]) -> Any:
    if hasattr(type(value), "_make"):  # a named tuple
        return type(value)._make(items)
    new = tuple.__new__(type(value), items)
    if hasattr(value, "__dict__"):
        vars(new).update(vars(value))
    return new


def _frozenset_of(value: Any, items: list[Any]) -> Any:
    new = frozenset.__new__(type(value), items)
    if hasattr(value, "__dict__"):
        vars(new).update(vars(value))
    return new


def _partial_of(value: Any, items: list[Any]) -> Any:
    names = list(value.keywords)
    given = len(value.args)
    new = type(value)(items[0], *items[1 : 1 + given], **dict(zip(names, items[1 + given :], strict=True)))
    vars(new).update(vars(value))
    return new


def _partial_label(value: Any, n: int) -> str:
    given = len(value.args)
    return ".func" if n == 0 else f".args[{n - 1}]" if n <= given else f".keywords[{list(value.keywords)[n - 1 - given]!r}]"


def _view_of(value: Any, items: list[Any]) -> Any:
    return getattr(items[0], {dict_values: "values", dict_keys: "keys", dict_items: "items"}[type(value)])()


_NO_ITEMS: dict[Any, Any] = {}
dict_values, dict_keys, dict_items = type(_NO_ITEMS.values()), type(_NO_ITEMS.keys()), type(_NO_ITEMS.items())

_QUOTED = _Way(lambda _: [], lambda _, __: "", None, lambda value, _: value.value)
_TOLERATED = _Way(lambda value: [value.value], lambda _, __: "", None, lambda _, items: items[0])
_DICT = _Way(_dict_children, _dict_label, _copied, _refilled_dict)
_LIST = _Way(list, _indexed, _copied, _refilled_list)
_FUTURE_LIST = _Way(list, _indexed, lambda _: [], _refilled_list)
_TUPLE = _Way(list, _indexed, None, _tuple_of)
_SET = _Way(list, lambda _, __: "'s items", _copied, lambda new, items: _refilled(new, items, "update"))
_FROZENSET = _Way(list, lambda _, __: "'s items", None, _frozenset_of)
_DEQUE = _Way(list, _indexed, _copied, lambda new, items: _refilled(new, items, "extend"))
_PARTIAL = _Way(lambda p: [p.func, *p.args, *p.keywords.values()], _partial_label, None, _partial_of)
_PROXY = _Way(lambda p: [dict(p)], lambda _, __: "", None, lambda _, items: MappingProxyType(items[0]))
_VIEW = _Way(lambda view: [dict(view.mapping)], lambda _, __: "", None, _view_of)

_EXACT: dict[type, _Way] = {
    Quote: _QUOTED,
    AllowFailure: _TOLERATED,
    dict: _DICT,
    list: _LIST,
    tuple: _TUPLE,
    set: _SET,
    frozenset: _FROZENSET,
    deque: _DEQUE,
    FutureList: _FUTURE_LIST,
    functools.partial: _PARTIAL,
    MappingProxyType: _PROXY,
    dict_values: _VIEW,
    dict_keys: _VIEW,
    dict_items: _VIEW,
}
_DERIVED: tuple[tuple[type, _Way], ...] = tuple(
    (kind, _EXACT[kind]) for kind in (dict, list, tuple, set, frozenset, deque, functools.partial)
)

_ways: dict[type, _Way | None] = {}
"""What was found out about other classes."""


def _way_of(value: Any) -> _Way | None:
    """How to take a value apart; None: it is no container that we know."""
    kind = type(value)
    way = _EXACT.get(kind)
    if way is not None:
        return way
    if kind in _ways:
        return _ways[kind]
    for base, of_base in _DERIVED:
        if issubclass(kind, base):
            way = of_base
            break
    else:
        way = _record_way(kind)
    _ways[kind] = way
    return way


def _record_way(kind: type) -> _Way | None:
    """The way of a class with declared fields."""
    if issubclass(kind, SimpleNamespace):
        return _Way(lambda value: list(vars(value).values()), lambda value, n: f".{list(vars(value))[n]}", _copied, _refilled_namespace)
    declared: Any = getattr(kind, "__dataclass_fields__", None) or getattr(kind, "__struct_fields__", None)
    if declared is None and "attr" in sys.modules:
        declared = [one.name for one in getattr(kind, "__attrs_attrs__", ())]
    if not declared and "pydantic" in sys.modules:
        declared = getattr(kind, "__pydantic_fields__", None)
        if declared is not None:
            return _Way(_model_children, lambda value, n: f".{_model_names(value)[n]}", _copied, _refilled_model)
    names = tuple(declared or ())
    if not names:
        return None
    fill = _force_set if hasattr(kind, "__struct_fields__") else object.__setattr__

    def filled(new: Any, items: list[Any]) -> Any:
        for name, item in zip(names, items, strict=True):
            if item is not _UNSET:
                fill(new, name, item)  # frozen ones too: nothing is validated or run again
        return new

    return _Way(lambda value: [getattr(value, name, _UNSET) for name in names], lambda _, n: f".{names[n]}", _copied, filled)


class _Unset:
    """A field that has not been given a value."""


_UNSET = _Unset()


def _force_set(new: Any, name: str, item: Any) -> None:
    import msgspec  # noqa: PLC0415 it is loaded: the value is one of its structs

    msgspec.structs.force_setattr(new, name, item)


def _refilled_namespace(new: Any, items: list[Any]) -> Any:
    for name, item in zip(list(vars(new)), items, strict=True):
        setattr(new, name, item)
    return new


def _model_names(value: Any) -> list[str]:
    return [*vars(value), *(value.__pydantic_extra__ or ())]


def _model_children(value: Any) -> list[Any]:
    return [*vars(value).values(), *(value.__pydantic_extra__ or {}).values()]


def _refilled_model(new: Any, items: list[Any]) -> Any:
    extra = new.__pydantic_extra__
    for name, item in zip(_model_names(new), items, strict=True):
        if extra is not None and name in extra:
            extra[name] = item
        else:
            vars(new)[name] = item
    return new


_EMPTY: tuple[Any, ...] = ([], (), set(), {}, {}.values(), {}.items())
_ITERATORS = (*(type(iter(one)) for one in _EMPTY), type(reversed([])), reversed, zip, enumerate)
"""Iterators that hand on what they hold as it is; of `map` and generators one cannot know: they may take the values of futures themselves."""


def _plainly_held(value: Any) -> Iterator[tuple[Callable[[], str], Any]]:
    """The attributes of an object, the cells and defaults of a function, the items of an array of objects: one level, for a clear error."""
    if isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # a cell that is not filled yet
                yield functools.partial("'s variable '{}'".format, name), cell.cell_contents
        for default in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
            yield functools.partial(str, "'s default"), default
    elif isinstance(value, MethodType):
        for where, held in _plainly_held(value.__self__):
            yield functools.partial(".__self__{}".format, where()), held
    elif isinstance(value, weakref.ref):
        yield functools.partial(str, "()"), value()
    elif type(value) in _ITERATORS:
        for part in value.__reduce__()[1]:
            yield functools.partial(str, "'s items"), part
            if type(part) in _ITERATORS:
                yield from _plainly_held(part)
    elif type(value).__module__.partition(".")[0] in ("numpy", "pandas"):
        yield from _objects_in(value)
    else:
        yield from _attributes_of(value)


def _attributes_of(value: Any) -> Iterator[tuple[Callable[[], str], Any]]:
    held = getattr(value, "__dict__", None)
    if type(held) is dict:
        for name, item in held.items():
            yield functools.partial(".{}".format, name), item
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if type(slot) is MemberDescriptorType and kind.__module__ != "builtins":
                with contextlib.suppress(AttributeError):  # not given a value
                    yield functools.partial(".{}".format, name), slot.__get__(value)


def _objects_in(value: Any) -> Iterator[tuple[Callable[[], str], Any]]:
    if str(getattr(value, "dtype", "")) == "object" and (hasattr(value, "to_numpy") or hasattr(value, "ravel")):
        for n, item in enumerate(value.to_numpy() if hasattr(value, "to_numpy") else value.ravel()):
            yield functools.partial("[{}]".format, n), item
    elif getattr(value, "ndim", 0) == 2 and hasattr(value, "dtypes"):
        for name, column in value.items():
            for _, item in _objects_in(column):
                yield functools.partial("[{!r}]".format, name), item
