"""Whether code that is not read could call a task: what is harmless to hand out, and what is not. Nothing is called.

A call that is not followed is unknown, unless it is proven harmless here: it is no code of the project's, and nothing that it is handed leads
to a task.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

from legato.plan.source import behind, cells_of, own_nodes, tree_of
from legato.plan.values import NAMED, Bound, Instance, Items, Known, Local, Method, Spec, Stream, Unknown, Value, live_in, parts_of
from legato.plan.words import Words
from legato.plan.world import Scope, World

OPERATORS = frozenset(
    (
        "__bool__", "__len__", "__iter__", "__next__", "__contains__", "__getitem__", "__setitem__", "__delitem__", "__eq__", "__ne__", "__lt__",
        "__le__", "__gt__", "__ge__", "__hash__", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__",
        "__floordiv__", "__mod__", "__pow__", "__matmul__", "__and__", "__or__", "__xor__", "__lshift__", "__rshift__", "__neg__", "__invert__",
        "__str__", "__repr__", "__format__", "__int__", "__float__", "__index__", "__call__", "__aiter__", "__anext__", "__await__",
    )
)  # fmt: skip

_READ_ONLY_MODULES = frozenset(
    (
        "builtins", "collections", "copy", "dataclasses", "datetime", "decimal", "functools", "itertools", "json", "legato", "logging", "math",
        "numpy", "operator", "os", "pandas", "pathlib", "polars", "posixpath", "pprint", "pyarrow", "re", "sklearn", "statistics", "string",
        "textwrap", "time", "typing", "warnings", "_io", "_operator", "_collections", "_json", "_functools", "_datetime", "genericpath",
    )
)  # fmt: skip
"""Packages whose functions do not change the lists and dicts they are given."""


def leaves_arguments_alone(callee: Any) -> bool:
    """Whether a function that is not the project's is known not to change the containers it is given."""
    module: Any = callee.__module__ if isinstance(callee, NAMED) and not isinstance(callee, types.ModuleType) else None
    if module is None:
        module = type(callee.__self__ if isinstance(callee, (types.BuiltinFunctionType, types.MethodType)) else callee).__module__
    return isinstance(module, str) and module.partition(".")[0] in _READ_ONLY_MODULES


class Reach:
    """Answers for one reading."""

    def __init__(self, words: Words, world: World) -> None:
        self._words = words
        self._world = world
        self._functions: dict[int, tuple[Any, bool]] = {}
        self._classes: dict[tuple[type, bool], bool] = {}

    def is_own_class(self, cls: type) -> bool:
        """Whether a class is the project's."""
        module = sys.modules.get(cls.__module__)
        return self._words.is_own(vars(module) if module is not None else {"__name__": cls.__module__, "__file__": None})

    def first_in(self, values: Iterable[Value], *, operators: bool = False) -> str:
        """The name of the first thing among these that could call a task, "" when there is none. `operators`: only by its operators."""
        return next((live_in(value) or "?" for value in values if self.can_call(value, operators=operators)), "")

    def can_call(self, value: Value, *, operators: bool = False, depth: int = 8) -> bool:
        """Whether who holds this value could call a task with it."""
        if depth == 0:
            return True
        if isinstance(value, Spec):
            return not operators
        if isinstance(value, Unknown):
            return bool(value.live) and not operators
        if isinstance(value, Stream):
            return True
        if isinstance(value, Local):
            return not operators and self._tree_reaches(value.tree, value.scope, depth)
        if isinstance(value, Instance):
            return self.class_reaches(value.cls, operators=operators) or (
                not operators and any(self.can_call(part, depth=depth - 1) for part in parts_of(value))
            )
        if isinstance(value, Bound):
            return not operators and any(self.can_call(part, depth=depth - 1) for part in (value.fn, *parts_of(value)))
        if isinstance(value, Known):
            return self.object_reaches(value.obj, operators=operators)
        if isinstance(value, (Items, Method)) and operators:
            return False
        return any(self.can_call(part, operators=operators, depth=depth - 1) for part in parts_of(value))

    def object_reaches(self, obj: Any, *, operators: bool = False) -> bool:
        """The same of an object that exists."""
        if isinstance(obj, self._words.definition):
            return not operators
        if isinstance(obj, (types.FunctionType, types.MethodType)):
            return not operators and (
                self.function_reaches(obj) or (isinstance(obj, types.MethodType) and self.object_reaches(obj.__self__))
            )
        if isinstance(obj, functools.partial):
            return not operators and any(self.object_reaches(part) for part in (obj.func, *obj.args, *obj.keywords.values()))
        if isinstance(obj, type):
            return not operators and self.class_reaches(obj)
        if isinstance(obj, types.ModuleType):
            return (
                not operators
                and self._words.is_own(vars(obj))
                and any(isinstance(one, self._words.definition) for one in vars(obj).values())
            )
        wrapped = _static(obj, "__wrapped__")
        if isinstance(wrapped, types.FunctionType):
            return not operators and self.function_reaches(wrapped)
        return self.class_reaches(type(obj), operators=operators)

    def class_reaches(self, cls: type, *, operators: bool = False) -> bool:
        """Whether a method of a class could call a task."""
        key = (cls, operators)
        if key not in self._classes:
            self._classes[key] = False  # while it is looked at
            self._classes[key] = any(
                self._member_reaches(member)
                for base in cls.__mro__
                if base is not object and self.is_own_class(base)
                for name, member in vars(base).items()
                if not operators or name in OPERATORS
            )
        return self._classes[key]

    def _member_reaches(self, member: Any) -> bool:
        if isinstance(member, (staticmethod, classmethod)):
            member = member.__func__
        if isinstance(member, property):
            return any(self.function_reaches(part) for part in (member.fget, member.fset, member.fdel) if part is not None)
        if isinstance(member, functools.cached_property):
            return self.function_reaches(member.func)
        return self.object_reaches(member) if isinstance(member, (types.FunctionType, type, self._words.definition)) else False

    def function_reaches(self, fn: Any) -> bool:
        """Whether a function's code, or what that calls, names a task or flow."""
        fn = behind(fn)
        if isinstance(fn, self._words.definition):
            return True
        if not isinstance(fn, types.FunctionType):
            return isinstance(fn, functools.partial) and self.object_reaches(fn)
        if id(fn) in self._functions:
            return self._functions[id(fn)][1]
        self._functions[id(fn)] = (fn, False)  # while it is looked at
        self._functions[id(fn)] = (fn, self._looks(fn))
        return self._functions[id(fn)][1]

    def _looks(self, fn: types.FunctionType) -> bool:
        inner = [self._world.cell(cell, name) for name, cell in cells_of(fn).items() if name != "__class__"]
        if not self._words.is_own(fn.__globals__):
            wrapped = _static(fn, "__wrapped__")
            return any(self.can_call(value) for value in inner) or (wrapped is not None and self.object_reaches(wrapped))
        names: set[str] = set()
        codes = [fn.__code__]
        while codes:
            code = codes.pop()
            names.update(code.co_names)
            codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
        found = [*inner, *(self._world.global_(fn.__globals__, name) for name in names if name in fn.__globals__)]
        modules = [value.obj for value in found if isinstance(value, Known) and isinstance(value.obj, types.ModuleType)]
        found = [value for value in found if not (isinstance(value, Known) and isinstance(value.obj, types.ModuleType))]
        found += [self._world.value_of(vars(module)[name]) for module in modules for name in names if name in vars(module)]
        found += [Unknown(live=name) for name in names if self.methods_named(name)]
        return any(self.can_call(value) for value in found) or bool(names & {"exec", "eval", "__import__", "import_module"})

    def methods_named(self, name: str) -> bool:
        """Whether a class of the project has a method of this name that could call a task: what is not known may be one of its objects."""
        if name in self._world.local_methods:
            return True
        return any(
            self._member_reaches(member)
            for module in self._world.modules.values()
            for cls in list(module.values())
            if isinstance(cls, type) and cls.__module__ == module.get("__name__")
            for member in [_in_class(cls, name)]
            if member is not None
        )

    def _tree_reaches(self, tree: Any, scope: Scope, depth: int) -> bool:
        key = id(tree)
        if key in self._functions:
            return self._functions[key][1]
        self._functions[key] = (tree, False)
        own = {a.arg for a in ast.walk(tree.args) if isinstance(a, ast.arg)}
        nodes = list(ast.walk(tree))
        names = {n.id for n in nodes if isinstance(n, ast.Name) and n.id not in own}
        attributes = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
        values = [scope.look_up(name) for name in names]
        modules = [value.obj for value in values if isinstance(value, Known) and isinstance(value.obj, types.ModuleType)]
        values = [value for value in values if not (isinstance(value, Known) and isinstance(value.obj, types.ModuleType))]
        values += [self._world.value_of(vars(module)[name]) for module in modules for name in attributes if name in vars(module)]
        reaches = any(self.can_call(value, depth=depth - 1) for value in values) or any(self.methods_named(name) for name in attributes)
        del self._functions[key]  # what the names mean may change
        return reaches


def _static(obj: Any, name: str) -> Any:
    return inspect.getattr_static(obj, name, None)


def _in_class(cls: type, name: str) -> Any:
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


# ---------------------------------------------------------------------- what a function does to its arguments

_HARMLESS_USE = frozenset(
    (
        "len", "sum", "min", "max", "sorted", "list", "tuple", "set", "frozenset", "dict", "any", "all", "enumerate", "zip", "reversed", "print",
        "str", "repr", "bool", "isinstance", "type", "id", "range", "float", "int", "abs", "round", "format", "hash", "iter",
    )
)  # fmt: skip
_HARMLESS_METHODS = frozenset(
    ("get", "keys", "values", "items", "index", "count", "copy", "union", "intersection", "difference", "issubset", "issuperset")
)


_TAKES_ELEMENTS = frozenset(("min", "max", "sorted", "list", "tuple", "set", "dict", "enumerate", "zip", "reversed", "iter", "sum"))


def may_change(body: Value, place: int | str, *, nested: bool) -> bool:
    """Whether a function may change the container that is its argument at this place (a number, or a name), or keep it.

    `nested`: there are containers in it, so that who takes its elements may change those.
    """
    if isinstance(body, Bound):
        return may_change(body.fn, place + len(body.args) if isinstance(place, int) else place, nested=nested)
    tree: Any = body.tree if isinstance(body, Local) else None
    if isinstance(body, Known):
        fn = behind(body.obj)
        source = tree_of(fn)
        tree = source.tree if source is not None else None
        if isinstance(body.obj, types.MethodType) and isinstance(place, int):
            place += 1
    if tree is None:
        return True
    a: ast.arguments = tree.args
    positional = [p.arg for p in (*a.posonlyargs, *a.args)]
    if isinstance(place, int):
        if place >= len(positional):
            return True
        place = positional[place]
    if place not in {*positional, *(p.arg for p in a.kwonlyargs)}:
        return True
    return _is_changed(tree, place, nested)


@functools.lru_cache(maxsize=4096)
def _is_changed(tree: ast.AST, name: str, nested: bool) -> bool:
    parents: dict[ast.AST, ast.AST] = {}
    nodes = [tree, *own_nodes(tree)]
    for node in nodes:
        for child in ast.iter_child_nodes(node):
            parents[child] = node
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)) and node is not tree:
            if any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node)):
                return True
        elif isinstance(node, ast.Name) and node.id == name and not _is_harmless_use(node, parents, nested):
            return True
    return False


def _is_harmless_use(node: ast.Name, parents: Mapping[ast.AST, ast.AST], nested: bool) -> bool:
    if not isinstance(node.ctx, ast.Load):
        return isinstance(parents.get(node), (ast.For, ast.comprehension, ast.Assign))
    parent = parents.get(node)
    if isinstance(parent, (ast.For, ast.AsyncFor, ast.comprehension)):
        return parent.iter is node and not nested
    if isinstance(parent, ast.Subscript):
        return isinstance(parent.ctx, ast.Load) and parent.value is node and not nested
    if isinstance(parent, ast.IfExp):
        return parent.test is node
    if isinstance(parent, (ast.Compare, ast.UnaryOp, ast.FormattedValue, ast.If, ast.While, ast.Assert, ast.Expr)):
        return True
    if isinstance(parent, (ast.Starred, ast.BinOp)):
        return not nested
    if isinstance(parent, ast.Call) and node in parent.args and isinstance(parent.func, ast.Name):
        return parent.func.id in _HARMLESS_USE and not (nested and parent.func.id in _TAKES_ELEMENTS)
    if isinstance(parent, ast.Attribute):
        call = parents.get(parent)
        return isinstance(call, ast.Call) and call.func is parent and parent.attr in _HARMLESS_METHODS and not nested
    return False
