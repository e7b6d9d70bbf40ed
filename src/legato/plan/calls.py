"""Calls of everything that is no task: functions of the project are gone through, what is known of Python's own is worked out.

The rest is not known, unless `reach` proves it harmless.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import inspect
import itertools
import types
from collections.abc import Callable, Mapping
from typing import Any

from legato.core.graph import Part
from legato.engine.futures import as_completed, wait
from legato.plan import arithmetic, containers
from legato.plan.reach import leaves_arguments_alone
from legato.plan.reading import UNROLLED, Raised, Reading, Signal
from legato.plan.source import behind, bound, cells_of, defaults_of, is_generator, tree_of
from legato.plan.tasks import TaskCalls
from legato.plan.values import (
    LARGE,
    NAMED,
    NOTHING,
    Bound,
    Choice,
    Instance,
    Items,
    Known,
    Local,
    Method,
    Result,
    Spec,
    Stream,
    Super,
    Unknown,
    Value,
    Wrapped,
    choice,
    computed,
    data_of,
    deps_of,
    element,
    elements,
    known,
    live_in,
    settled,
    source_text,
    truth_of,
)
from legato.plan.world import Scope

DEPTH = 60
"""Functions inside functions are read this deep; a recursion whose end is not known stops here."""

_NEVER_HARMLESS = frozenset(("exec", "eval", "compile", "__import__", "breakpoint", "globals", "locals", "vars", "delattr"))
_LAZY = frozenset(("map", "filter", "zip", "enumerate", "reversed", "iter"))
_CALLBACKS = frozenset(("map", "filter", "reduce", "starmap"))


class Calls:
    """Follows calls."""

    def __init__(self, reading: Reading, tasks: TaskCalls) -> None:
        self.reading = reading
        self.record = reading.record
        self.tasks = tasks
        self.open: list[Any] = []
        self._cached: dict[tuple[int, str], Value] = {}

    def of(self, e: ast.Call, scope: Scope) -> Value:
        """A call in the source."""
        self.record.step()
        if isinstance(e.func, ast.Name) and e.func.id == "super" and not e.args and scope.owner is not None:
            cls, self_name = scope.owner
            return Super(cls, scope.look_up(self_name))
        callee = self.reading.value(e.func, scope)
        args, sure = self.reading.arguments(e.args, scope)
        kwargs: dict[str, Value] = {}
        for keyword in e.keywords:
            value = self.reading.value(keyword.value, scope)
            if keyword.arg is not None:
                kwargs[keyword.arg] = value
            elif isinstance(value, Items) and value.kind == "dict" and not value.loose:
                kwargs |= {str(key): item for key, item in zip(value.keys, value.items, strict=True)}
            else:
                kwargs["**"] = computed(value)
                sure = False
        if not sure and not isinstance(callee, Spec) and self.reading.reach.can_call(callee):
            self.record.note(e.lineno, f"with how many arguments `{source_text(e.func)}` is called is not known")
        return self.call(callee, args, kwargs, e, scope)

    def call(self, callee: Value, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        """A call of this value."""
        if isinstance(callee, Choice):
            return self._call_one_of(callee, args, kwargs, e, scope)
        if isinstance(callee, Spec):
            return self.tasks.called(callee, args, kwargs, e, submitted=False)
        if isinstance(callee, Local):
            return self.function(callee, args, kwargs)
        if isinstance(callee, Bound):
            return self.call(callee.fn, [*callee.args, *args], {**callee.kwargs, **kwargs}, e, scope)
        if isinstance(callee, Method):
            return self._method(callee, args, kwargs, e, scope)
        if isinstance(callee, Known):
            return self._object(callee.obj, args, kwargs, e, scope)
        if isinstance(callee, Instance):
            return self.call(self.reading.attribute(callee, "__call__", e.lineno), args, kwargs, e, scope)
        self.record.note(e.lineno, f"what `{source_text(e)}` does is not known: it is no task")
        return self._out_of_sight(callee, args, kwargs)

    def _call_one_of(self, callee: Choice, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        found = []
        for n, option in enumerate(callee.options):
            text = f"if `{source_text(e.func, 40)}` is {live_in(option) or f'the {n + 1}. possibility'}"
            with self.record.within(self.record.branch(text)):
                found.append(self.call(option, args, kwargs, e, scope))
        return choice(found)

    # ------------------------------------------------------------------ what is not followed

    def _external(self, callee: Any, owner: Value, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call) -> Value:
        """Code that is not the project's: harmless, unless it is handed something that leads to a task."""
        args = [self._partly(value, e) for value in args]
        handed = [*args, *kwargs.values()]
        if not all(known(value)[0] for value in handed):
            self.record.may_raise(e.lineno)
        name = self.reading.reach.first_in(handed)
        if not name and isinstance(callee, NAMED) and callee.__name__ in _CALLBACKS:
            name = next(
                (
                    live_in(value) or source_text(e, 30)
                    for value in handed
                    if isinstance(value, (Unknown, Result, Choice)) and _is_callback(value, handed)
                ),
                "",
            )
        if name:
            self.record.note(e.lineno, f"whether `{source_text(e.func)}` calls '{name}', which it is handed, is not known")
            return self._out_of_sight(owner, args, kwargs)
        if not leaves_arguments_alone(callee):
            for value in handed:
                self.reading.spoil(value)
        return data_of(owner, *handed)

    def _out_of_sight(self, owner: Value, args: list[Value], kwargs: Mapping[str, Value]) -> Value:
        """After a call that was not followed, its arguments may have changed."""
        for value in (owner, *args, *kwargs.values()):
            self.reading.spoil(value)
        return computed(owner, *args, *kwargs.values())

    def _partly(self, value: Value, e: ast.Call) -> Value:
        if not isinstance(value, Stream):
            return value
        with self.record.within(self.record.branch(f"as far as `{source_text(e.func)}` asks for it")):
            return computed(self.reading.force(value))

    # ------------------------------------------------------------------ objects

    def _object(self, obj: Any, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        """A call of something known as a Python object."""
        special = self._special(obj, args, kwargs, e, scope)
        if special is not None:
            return special
        if isinstance(obj, types.BuiltinFunctionType | type) and vars(builtins).get(obj.__name__) is obj:
            return self._builtin(obj, args, kwargs, e, scope)
        fn = behind(obj)
        if isinstance(fn, types.FunctionType) and self.reading.words.is_own(fn.__globals__):
            if tree_of(fn) is None:
                self.record.note(e.lineno, f"what `{source_text(e)}` does is not known: it is no task")
                return self._out_of_sight(NOTHING, args, kwargs)
            return self.function(Known(obj), args, kwargs)
        if isinstance(obj, type):
            return self._made(obj, args, kwargs, e)
        if isinstance(obj, (types.FunctionType, types.MethodType, types.BuiltinFunctionType)):
            owner = None if isinstance(obj, types.FunctionType) else obj.__self__
            return self._code_of_others(obj, Known(owner) if not isinstance(owner, types.ModuleType) else NOTHING, args, kwargs, e)
        call = inspect.getattr_static(type(obj), "__call__", None)
        if isinstance(call, types.FunctionType) and self.reading.words.is_own(call.__globals__):
            return self.function(Known(types.MethodType(call, obj)), args, kwargs)
        return self._code_of_others(obj, Known(obj), args, kwargs, e)

    def _code_of_others(self, obj: Any, owner: Value, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call) -> Value:
        if self.reading.reach.object_reaches(obj) or self.reading.reach.can_call(owner):
            self.record.note(e.lineno, f"what `{source_text(e)}` does is not known")
            return self._out_of_sight(owner, args, kwargs)
        return self._external(obj, NOTHING, args, kwargs, e)

    def _special(self, obj: Any, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value | None:
        """Functions whose meaning for a plan is known; None for any other."""
        wrapper = self.reading.words.wrappers.get(obj) if isinstance(obj, types.FunctionType) else None
        if wrapper is not None and args:
            return Wrapped(wrapper, args[0])
        if obj is as_completed and args:
            return args[0]
        if obj is wait and args:
            return Unknown()
        named = f"{obj.__module__}.{obj.__name__}" if isinstance(obj, (type, types.FunctionType, types.BuiltinFunctionType)) else ""
        if named.startswith("asyncio") and named.endswith(".gather"):
            for value in args:
                self.record.ask(value)
            return Items("list", [settled(value) for value in args])
        if named.startswith("asyncio") and named.rpartition(".")[2] in ("create_task", "ensure_future", "wait_for", "shield") and args:
            return args[0]
        if obj is functools.partial and args:
            return Bound(args[0], tuple(args[1:]), dict(kwargs))
        if isinstance(obj, functools.partial):
            value_of = self.reading.world.value_of
            return self.call(
                value_of(obj.func),
                [*map(value_of, obj.args), *args],
                {**{k: value_of(v) for k, v in obj.keywords.items()}, **kwargs},
                e,
                scope,
            )
        if type(obj) is _LRU:
            return self._cached_call(obj, args, kwargs, e, scope)
        if obj is functools.reduce and len(args) >= 2:
            return self._reduced(args, e, scope)
        return self._of_itertools(obj, args, kwargs, e, scope)

    def _cached_call(self, obj: Any, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        """A function behind `functools.lru_cache`: called once for the same arguments."""
        given = [known(value) for value in (*args, *kwargs.values())]
        key = (id(obj), repr([data for _, data in given]) + repr(list(kwargs)))
        if key in self._cached and not self.record.doubts:
            return self._cached[key]
        reaches = self.reading.reach.object_reaches(obj.__wrapped__)
        if reaches and (self.record.doubts or not all(ok for ok, _ in given) or obj.cache_info().currsize):
            self.record.note(e.lineno, f"whether `{source_text(e)}` is cached is not known")
        value = self.call(self.reading.world.value_of(obj.__wrapped__), args, kwargs, e, scope)
        if not self.record.doubts and all(ok for ok, _ in given):
            self._cached[key] = value
        return value

    def _reduced(self, args: list[Value], e: ast.Call, scope: Scope) -> Value:
        each = self.reading.each(args[1], UNROLLED)
        if each is None or (not each and len(args) < 3):
            return self._external(functools.reduce, NOTHING, args, {}, e)
        if len(args) < 3:
            value, *each = each
        else:
            value = args[2]
        for item in each:
            value = self.call(args[0], [value, item], {}, e, scope)
        return value

    def _of_itertools(self, obj: Any, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value | None:
        if obj is itertools.starmap and len(args) == 2:
            return Stream(lambda: self._mapped_rows(args[0], args[1], e, scope), source_text(e, 40))
        act = _ITERTOOLS.get(obj) if isinstance(obj, type) else None
        if act is None or kwargs:
            return None
        if any(isinstance(arg, Stream) for arg in args):
            return None
        each = [self.reading.each(arg, LARGE) for arg in args]
        rows = act([column for column in each if column is not None]) if all(column is not None for column in each) else None
        return Stream(lambda: Items("list", rows)) if rows is not None and len(rows) <= LARGE else None

    def _mapped_rows(self, fn: Value, rows: Value, e: ast.Call, scope: Scope) -> Value:
        each = self.reading.each(rows, UNROLLED)
        columns = [self.reading.each(row, LARGE) for row in each] if each is not None else [None]
        if any(column is None for column in columns):
            return self._repeated(fn, [element(element(rows))], e, scope)
        return Items("list", [self.call(fn, list(column or []), {}, e, scope) for column in columns])

    def _repeated(self, fn: Value, args: list[Value], e: ast.Call, scope: Scope) -> Value:
        """A function called nobody knows how often."""
        with self.record.within(Part("loop", self.record.new_id(), "", f"× ? ({source_text(e, 40)})")):
            if self.reading.reach.can_call(fn):
                self.record.note(e.lineno, f"how often `{source_text(e)}` calls '{live_in(fn)}' is not known")
            made = self.call(fn, args, {}, e, scope)
        return computed(made)

    # ------------------------------------------------------------------ built-in functions

    def _builtin(self, obj: Any, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        name = obj.__name__
        if name in _LAZY and args:
            return self._lazy(obj, args, kwargs, e, scope)
        if name in ("any", "all") and args and isinstance(args[0], Stream):
            return data_of(self._partly(args[0], e))
        if name == "next" and args:
            return self._next(args, e)
        args = [self.reading.force(arg) for arg in args]
        self.reading.touched(e.lineno, *args, *kwargs.values())
        first = self.reading.each(args[0], LARGE) if args else None
        if name in ("list", "tuple", "set", "frozenset", "dict"):
            made = self._container(name, args, kwargs, first)
            if made is not None:
                return made
        if name in ("sorted", "min", "max") and ("key" in kwargs or _has_inner(args)):
            return self._by_key(name, args, kwargs, e, scope)
        if name == "len" and first is not None:
            return Known(len(first))
        if name in ("isinstance", "getattr", "setattr", "hasattr", "callable") and len(args) >= 1:
            return self._about_objects(name, args, e)
        found = arithmetic.builtin(name, args, kwargs)
        if found is not None:
            return found
        if name == "sorted" and args and isinstance(args[0], Result):
            return args[0]
        if name in _NEVER_HARMLESS:
            self.record.note(e.lineno, f"what `{source_text(e)}` does is not known")
            return self._out_of_sight(NOTHING, args, kwargs)
        return self._external(obj, NOTHING, args, kwargs, e)

    def _container(self, name: str, args: list[Value], kwargs: Mapping[str, Value], first: list[Value] | None) -> Value | None:
        if not args:
            return Items(name, list(kwargs.values()), list(kwargs), loose="**" in kwargs) if name != "frozenset" else Known(frozenset())
        if name == "dict":
            if isinstance(args[0], Items) and args[0].kind == "dict" and not args[0].loose and "**" not in kwargs:
                made = Items("dict", list(args[0].items), list(args[0].keys))
                for key, value in kwargs.items():
                    containers.put(made, key, value)
                return made
            rows = [self.reading.each(row, 2) for row in first] if first is not None and not kwargs else [None]
            if all(row is not None and len(row) == 2 for row in rows):
                return containers.dict_of([(row[0], row[1]) for row in rows if row is not None])
            return None
        if first is None:
            return args[0] if isinstance(args[0], Result) and name in ("list", "tuple") else None
        if name == "set":
            return containers.set_of(first)
        return Items(name, first) if name in ("list", "tuple") else None

    def _by_key(self, name: str, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        given = args[0] if len(args) == 1 else Items("list", args)
        each = self.reading.each(given, UNROLLED)
        fn = kwargs.get("key")
        if each is None:
            if fn is not None and fn != NOTHING:
                self._repeated(fn, [element(given)], e, scope)
            return computed(given)
        keys = [self.call(fn, [item], {}, e, scope) for item in each] if fn is not None and fn != NOTHING else each
        data = [known(key) for key in keys]
        sure, backwards = truth_of(kwargs.get("reverse", Known(False)))
        if all(ok for ok, _ in data) and sure and each:
            try:
                order = sorted(range(len(each)), key=lambda n: data[n][1], reverse=backwards)
            except TypeError:
                order = []
            if order and name == "sorted":
                return Items("list", [each[n] for n in order])
            if order:
                wanted = (min if name == "min" else max)(range(len(each)), key=lambda n: data[n][1])
                return each[wanted]
        return Items("list", each, loose=True) if name == "sorted" else element(Items("list", each, loose=not each))

    def _lazy(self, obj: Any, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        """map, filter, zip, …: what they give is taken once, and only then are functions called."""
        name = obj.__name__
        if name in ("map", "filter"):
            return Stream(lambda: self._mapped(name, args, e, scope), source_text(e, 40))
        inner = [arg for arg in args if isinstance(arg, Stream)]
        if inner:
            return Stream(lambda: self._rows(name, args, kwargs), next((one.text for one in inner if one.text), ""))
        self.reading.touched(e.lineno, *args)
        if name in ("iter", "reversed") and isinstance(args[0], Result):
            return args[0]
        rows = self._rows(name, args, kwargs)
        return Stream(lambda: rows, deps=frozenset(deps_of(rows)))

    def _rows(self, name: str, args: list[Value], kwargs: Mapping[str, Value]) -> Value:
        columns = [self.reading.each(arg, LARGE) for arg in args[: 1 if name in ("enumerate", "iter") else None]]
        if any(column is None for column in columns) or (name == "iter" and len(args) > 1):
            if name == "enumerate":
                return Items("list", [Items("tuple", [Unknown(), element(args[0])])], loose=True)
            if name == "zip":
                return Items("list", [Items("tuple", [element(arg) for arg in args])], loose=True)
            return computed(*args)
        first = columns[0] or []
        if name == "enumerate":
            ok, begin = known(args[1] if len(args) > 1 else kwargs.get("start", Known(0)))
            return Items("list", [Items("tuple", [Known(n + begin) if ok else Unknown(), item]) for n, item in enumerate(first)])
        if name == "zip":
            return Items("list", [Items("tuple", list(row)) for row in zip(*[c for c in columns if c is not None], strict=False)])
        return Items("list", first[::-1] if name == "reversed" else list(first))

    def _mapped(self, name: str, args: list[Value], e: ast.Call, scope: Scope) -> Value:
        columns = [self.reading.each(arg, UNROLLED) for arg in args[1:]]
        if any(column is None for column in columns) or not columns:
            return self._repeated(args[0], [element(arg) for arg in args[1:]], e, scope)
        rows = list(zip(*[column for column in columns if column is not None], strict=False))
        if name == "map":
            return Items("list", [self.call(args[0], list(row), {}, e, scope) for row in rows])
        kept = []
        loose = False
        for (item,) in rows:
            sure, truth = truth_of(item if args[0] == NOTHING else self.call(args[0], [item], {}, e, scope))
            loose = loose or not sure
            if truth or not sure:
                kept.append(item)
        return Items("list", kept, loose=loose)

    def _next(self, args: list[Value], e: ast.Call) -> Value:
        stream = args[0]
        if not isinstance(stream, Stream):
            return self._external(next, NOTHING, args, {}, e)
        if stream.text:
            self.record.note(e.lineno, f"how much of `{stream.text}` is taken is not known")
        inner = stream.run
        given = self.reading.force(stream) if not stream.spent else Items("list", [], loose=True)
        del inner
        stream.run = lambda: Items("list", elements(given, LARGE) or [], loose=True)
        stream.spent = False
        return element(given) if isinstance(given, Items) and given.items else computed(given)

    def _about_objects(self, name: str, args: list[Value], e: ast.Call) -> Value:
        owner = args[0]
        ok, data = known(args[1]) if len(args) > 1 else (False, None)
        if name == "isinstance" and len(args) == 2 and isinstance(args[1], Known) and type(args[1].obj) is type:
            if isinstance(owner, Instance):
                return Known(issubclass(owner.cls, args[1].obj))
            plain, obj = known(owner)
            return Known(isinstance(obj, args[1].obj)) if plain else data_of(owner)
        if name == "getattr" and ok and isinstance(data, str):
            return self.reading.attribute(owner, data, e.lineno)
        if name == "setattr" and ok and isinstance(data, str) and len(args) == 3:
            self.reading.set_attribute(owner, data, args[2], e.lineno)
            return NOTHING
        if name in ("getattr", "setattr") and (self.reading.reach.can_call(owner) or name == "setattr"):
            self.record.note(e.lineno, f"what `{source_text(e)}` does is not known")
            return self._out_of_sight(owner, args, {})
        return data_of(*args)

    # ------------------------------------------------------------------ methods

    def _method(self, callee: Method, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        owner, name = callee.owner, callee.name
        if isinstance(owner, Spec):
            return self.tasks.method(owner, name, args, kwargs, e)
        if isinstance(owner, Stream):
            owner = self._partly(owner, e)
        if name in ("result", "wait", "exception", "state") and deps_of(owner) and not isinstance(owner, Unknown):
            if name == "result" and truth_of(kwargs.get("raise_on_failure", Known(True))) != (True, False):
                self.record.ask(owner)
            return settled(owner) if name == "result" else computed(owner)
        if isinstance(owner, Items):
            return self._of_items(owner, name, args, kwargs, e, scope)
        if isinstance(owner, Known) and type(owner.obj) is str and name in arithmetic.TEXT_METHODS and not kwargs:
            data = [known(self.reading.force(arg)) for arg in args]
            if all(ok for ok, _ in data):
                return arithmetic.run(lambda: getattr(owner.obj, name)(*[value for _, value in data]))
        if name in ("create_task", "start_soon") and args and not isinstance(owner, (Instance, Super)):
            return args[0] if name == "create_task" else self.call(args[0], args[1:], {}, e, scope)
        return self._of_others(owner, name, args, kwargs, e)

    def _of_others(self, owner: Value, name: str, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call) -> Value:
        """A method of an object that is not known: harmless, unless a class of the project has one of this name that leads to a task."""
        is_theirs = isinstance(owner, Known) and not self.reading.reach.can_call(owner)
        if not is_theirs and (self.reading.reach.can_call(owner) or self.reading.reach.methods_named(name)):
            handed = next((value.name for value in (*args, *kwargs.values()) if isinstance(value, Spec)), "")
            if handed:
                return self._external(None, owner, args, kwargs, e)
            self.record.note(e.lineno, f"what `{source_text(e)}` does is not known")
            return self._out_of_sight(owner, args, kwargs)
        fn = inspect.getattr_static(owner.obj, name, None) if isinstance(owner, Known) else None
        return self._external(fn if fn is not None else _Log if name in _LOGGING else None, owner, args, kwargs, e)

    def _of_items(self, owner: Items, name: str, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        args = [self.reading.force(arg) for arg in args]
        if name in ("remove", "index", "count", "sort", "add", "discard"):
            self.reading.touched(e.lineno, owner, *args, *owner.items)
        if name == "sort" and kwargs and not owner.loose:
            made = self._by_key("sorted", [owner], kwargs, e, scope)
            if isinstance(made, Items) and not made.loose:
                with self.reading.world.changing(owner, self.record.doubts):
                    owner.items = list(made.items)
                return NOTHING
            self.reading.world.loosen_items(owner)
            return NOTHING
        if name in containers.READING and owner.loose:
            return computed(owner, *args) if name in ("index", "count") else self._of_loose(owner, name, args)
        with self.reading.world.changing(owner, self.record.doubts if name not in containers.READING else frozenset()):
            try:
                return containers.method(owner, name, args, kwargs)
            except containers.NotModelled:
                owner.loose = True
        handed = self.reading.reach.first_in([*args, *kwargs.values()])
        if handed and owner.kind not in ("list", "dict", "set", "tuple"):
            self.record.note(e.lineno, f"whether `{source_text(e.func)}` calls '{handed}', which it is handed, is not known")
        if owner.kind == "dict" and name in ("pop", "setdefault", "popitem"):
            return choice([*owner.items, Unknown()])
        return element(owner) if name == "pop" else computed(owner, *args, *kwargs.values())

    def _of_loose(self, owner: Items, name: str, args: list[Value]) -> Value:
        if name == "copy":
            return Items(owner.kind, list(owner.items), list(owner.keys), loose=True)
        if name == "items":
            return Items("list", [Items("tuple", [Unknown(), value]) for value in owner.items], loose=True)
        return Items("list", list(owner.items), loose=True) if name == "values" else computed(owner, *args)

    # ------------------------------------------------------------------ objects of own classes

    def _made(self, cls: type, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call) -> Value:
        """An object is made."""
        reach = self.reading.reach
        if not any(reach.is_own_class(base) for base in cls.__mro__ if base is not object):
            return self._external(cls, NOTHING, args, kwargs, e)
        init: Any = next(vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base))
        plain: Any = object
        if (
            type(cls) is not type
            or cls.__new__ is not plain.__new__
            or not all(reach.is_own_class(b) for b in cls.__mro__ if b is not object)
        ):
            return self._made_elsewhere(cls, args, kwargs, e)
        made = Instance(cls, {}, born=self.record.doubts)
        if init is plain.__init__:
            return made
        if dataclasses.is_dataclass(cls) and tree_of(init) is None:
            return self._dataclass(cls, made, args, kwargs, e)
        if not isinstance(init, types.FunctionType):
            return self._made_elsewhere(cls, args, kwargs, e)
        self.function(Known(init), [made, *args], kwargs, e.lineno)
        return made

    def _made_elsewhere(self, cls: type, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call) -> Value:
        """By code of others: a model of pydantic, a named tuple, an error."""
        if self.reading.reach.class_reaches(cls):
            self.record.note(e.lineno, f"what `{source_text(e)}` does is not known")
            self._out_of_sight(NOTHING, args, kwargs)
            return Unknown(live=cls.__name__)
        if issubclass(cls, tuple) and hasattr(cls, "_fields") and "**" not in kwargs:
            fields = [str(name) for name in cls._fields]
            values = {**dict(zip(fields, args, strict=False)), **kwargs}
            return Instance(cls, values, born=self.record.doubts) if set(values) == set(fields) else computed(*values.values())
        return self._external(cls, NOTHING, args, kwargs, e)

    def _dataclass(self, cls: type, made: Instance, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call) -> Value:
        rest, given = list(args), dict(kwargs)
        for field in dataclasses.fields(cls):
            if not field.init:
                made.names[field.name] = Unknown(text=field.name)
            elif rest and not field.kw_only:
                made.names[field.name] = rest.pop(0)
            elif field.name in given:
                made.names[field.name] = given.pop(field.name)
            elif field.default is not dataclasses.MISSING:
                made.names[field.name] = self.reading.world.value_of(field.default)
            elif field.default_factory in (list, dict, set):
                made.names[field.name] = self.reading.new(Items(field.default_factory.__name__, []))
            else:
                made.names[field.name] = Unknown(text=field.name)
        after = inspect.getattr_static(cls, "__post_init__", None)
        if isinstance(after, types.FunctionType):
            self.function(Known(after), [made], {}, e.lineno)
        return made

    # ------------------------------------------------------------------ functions that are read

    def function(self, fn: Value, args: list[Value], kwargs: Mapping[str, Value], line: int = 0) -> Value:
        """Go through a function's body with these arguments; what it returns, as far as it is known."""
        if isinstance(fn, Bound):
            return self.function(fn.fn, [*fn.args, *args], {**fn.kwargs, **kwargs}, line)
        obj = fn.obj if isinstance(fn, Known) else None
        if isinstance(obj, types.MethodType):
            args = [self.reading.world.value_of(obj.__self__), *args]
        found = self._scope_of(fn, obj)
        if found is None:
            if line:
                self.record.note(line, "the source of what is called here is not available")
            return computed(*args, *kwargs.values())
        tree, scope, defaults = found
        if len(self.open) >= DEPTH or (self.open.count(tree) >= 2 and not all(known(a)[0] for a in (*args, *kwargs.values()))):
            self.record.note(tree.lineno, f"how often `{getattr(tree, 'name', 'lambda')}` calls itself is not known")
            return computed(*args, *kwargs.values())
        scope.names = bound(tree.args, args, kwargs, defaults)
        for value in scope.names.values():
            if isinstance(value, Items):
                self.reading.new(value)
        if is_generator(tree):
            name = getattr(tree, "name", "lambda")
            return Stream(
                lambda: self._through(tree, scope), f"{name}()", deps=frozenset(deps_of(Items("tuple", [*args, *kwargs.values()])))
            )
        return self._through(tree, scope)

    def _scope_of(self, fn: Value, obj: Any) -> tuple[Any, Scope, Mapping[int, Value]] | None:
        world, born = self.reading.world, self.record.doubts
        if isinstance(fn, Local):
            scope = Scope(world, fn.scope.file, fn.scope.module, around=fn.scope, born=born, owner=fn.scope.owner)
            return fn.tree, scope, fn.defaults
        plain = behind(obj)
        source = tree_of(plain)
        if source is None or not isinstance(plain, types.FunctionType):
            return None
        world.modules.setdefault(id(plain.__globals__), plain.__globals__)
        cells = cells_of(plain)
        cls = cells["__class__"].cell_contents if "__class__" in cells else None
        first = next((a.arg for a in (*source.tree.args.posonlyargs, *source.tree.args.args)), "")
        owner = (cls, first) if isinstance(cls, type) and first else None
        scope = Scope(world, source.file, plain.__globals__, cells=cells, born=born, owner=owner)
        return source.tree, scope, defaults_of(plain, source.tree, world.value_of)

    def _through(self, tree: Any, scope: Scope) -> Value:
        self.open.append(tree)
        is_flow_itself = len(self.open) == 1
        place = self.record.place
        in_call = place and place[-1].kind in ("flow", "task") and not is_flow_itself
        part = None if is_flow_itself or in_call else Part("call", self.record.new_id())
        try:
            with self.record.within(part):
                if isinstance(tree, ast.Lambda):
                    return self.reading.value(tree.body, scope)
                ended = self.reading.block(tree.body, scope)
        finally:
            self.open.pop()
        return self._given(tree, scope, ended, is_flow_itself=is_flow_itself or bool(in_call))

    def _given(self, tree: Any, scope: Scope, ended: Signal, *, is_flow_itself: bool) -> Value:
        """What a function gives after its body."""
        if ended.kinds == {"raise"} and not ended.goes_on and not scope.returns and not is_flow_itself:
            raise Raised
        if "raise" in ended.kinds and not is_flow_itself:
            self.record.note(tree.lineno, f"whether `{tree.name}` raises is not known")
        if is_generator(tree):
            return Items("list", scope.yields, loose=not (scope.yields_are_sure and (ended.goes_on or ended.kinds == {"return"})))
        if ended.goes_on:
            scope.returns.append(NOTHING)
        return choice(scope.returns) if scope.returns else NOTHING


_LRU = type(functools.lru_cache(lambda: None))
_LOGGING = frozenset(("debug", "info", "warning", "error", "exception", "critical", "log"))


class _Log:
    """Stands for a logger's methods: they leave their arguments alone."""

    __module__ = "logging"


def _has_inner(args: list[Value]) -> bool:
    return any(isinstance(item, (Items, Instance)) for arg in args if isinstance(arg, Items) for item in arg.items)


def _is_callback(value: Value, handed: list[Value]) -> bool:
    return value is handed[0] and len(handed) > 1


def _product(columns: list[list[Value]]) -> list[Value] | None:
    size = 1
    for column in columns:
        size *= len(column)
    return [Items("tuple", list(row)) for row in itertools.product(*columns)] if size <= LARGE else None


_ITERTOOLS: Mapping[Any, Callable[[list[list[Value]]], list[Value] | None]] = {
    itertools.chain: lambda columns: [item for column in columns for item in column],
    itertools.product: _product,
    itertools.pairwise: lambda columns: [Items("tuple", list(pair)) for pair in itertools.pairwise(columns[0])],
}
