"""The code a function is made of: a short hash for it and for everything of the user's own project that it can reach.

A hash is of what the code does: instructions, constants, names and defaults. Comments, docstrings, annotations and line numbers do not count.
What counts as reached errs on the side of too much: a name is looked up in every module of the project that the function mentions. The
standard library, installed packages and Legato itself are taken as given. Hashes hold for one minor version of Python (bytecode differs).
"""

from __future__ import annotations

import functools
import opcode
import os
import sys
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from legato.core.digests import hex_digest
from legato.sdk.definitions import Definition

_CONSTANTS = frozenset(opcode.hasconst)
_MEANINGFUL_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
"""inspect's CO_VARARGS, CO_VARKEYWORDS, CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_LARGEST_SEARCHED = 100
"""Containers in globals with more items are data: they are not searched for functions."""

_STANDARD_LIBRARY = os.path.realpath(os.__file__).removesuffix("os.py")
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_known: weakref.WeakKeyDictionary[types.FunctionType, dict[str, str]] = weakref.WeakKeyDictionary()


def code_of(fn: Any) -> dict[str, str]:
    """Qualified name -> hash (16 hex digits) of a function or class and of what it reaches, transitively, in the user's own project.

    Names of the function's own module stand without the module, so a script's are the same when it is run and when it is imported.
    Flows, tasks, methods, partials and decorated functions are looked into. Constants are global names in CAPITALS with plain values.
    Worked out once for each function; anew each time in an interactive session, where a helper may be redefined between two calls.
    """
    start = _unwrapped(fn)
    if not isinstance(start, types.FunctionType):
        return _Walk(start).found
    if _is_interactive(start.__globals__):
        return _Walk(start).found
    found = _known.get(start)
    if found is None:
        found = _known[start] = _Walk(start).found
    return dict(found)


def known_by(value: Any) -> Any:
    """What a function or class is known by as an input: its name and code, where it is the user's own; None for all others."""
    module = getattr(value, "__module__", None) or ""
    scope = vars(sys.modules[module]) if module in sys.modules else {"__name__": module}
    own = value.__globals__ if isinstance(value, types.FunctionType) else scope
    return [value.__qualname__, sorted(code_of(value).items())] if is_own(own) else None


def changed_code(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The names whose code differs, is new or is gone, sorted."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def source_digest(code: Mapping[str, str]) -> str:
    """One hash for all of a function's code."""
    return _digest(repr(sorted(code.items())))


class _Walk:
    """One search from a function through everything it reaches. `found` is the answer."""

    def __init__(self, start: Any) -> None:
        self.found: dict[str, str] = {}
        self._home = getattr(start, "__module__", None)
        self._seen: set[int] = set()
        self._open: list[Any] = [start]
        self._rebound: set[tuple[int, str]] = set()
        self._constants: list[tuple[Mapping[str, Any], str]] = []
        while self._open:
            self._visit(self._open.pop())
        for scope, name in self._constants:
            if (id(scope), name) not in self._rebound:
                self._note(scope.get("__name__"), name, _token(scope[name]))

    def _visit(self, value: Any) -> None:
        if isinstance(value, _PLAIN) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        else:
            self._open += _inside(value)

    def _function(self, fn: types.FunctionType) -> None:
        self._open += [cell for cell in _cells(fn) if not isinstance(cell, _PLAIN)]
        if (wrapped := getattr(fn, "__wrapped__", None)) is not None:
            self._open.append(wrapped)
        if not is_own(fn.__globals__):
            return
        defaults = (fn.__defaults__, fn.__kwdefaults__)
        constants = [_token(cell) for cell in _cells(fn) if _is_constant(cell)]
        self._note(fn.__globals__.get("__name__"), fn.__qualname__, repr((code_token(fn.__code__), _token(defaults), constants)))
        self._open += [value for value in (*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()) if not isinstance(value, _PLAIN)]
        names: set[str] = set()
        for code in _codes(fn.__code__):
            names.update(code.co_names)
            self._rebound.update((id(fn.__globals__), name) for name in _rebound_globals(code))
        self._names(fn.__globals__, names)

    def _names(self, scope: Mapping[str, Any], names: Iterable[str]) -> None:
        """What these names mean in a module."""
        for name in names:
            if name not in scope:
                continue
            value = scope[name]
            if isinstance(value, types.ModuleType):
                if id(value) not in self._seen and is_own(vars(value)):
                    self._names(vars(value), [other for other in names if other != name])
            elif name.isupper() and _is_constant(value):
                self._constants.append((scope, name))
            else:
                self._open.append(value)

    def _class(self, cls: type) -> None:
        module = sys.modules.get(cls.__module__)
        scope = vars(module) if module is not None else {"__name__": cls.__module__}
        if not is_own(scope):
            return
        plain = {name: _token(_plain_part(value)) for name, value in sorted(_declared(cls).items()) if _is_constant(_plain_part(value))}
        self._note(cls.__module__, cls.__qualname__, repr((plain, [base.__qualname__ for base in cls.__bases__])))
        self._open += [*cls.__bases__, *(value for value in _declared(cls).values() if not isinstance(value, _PLAIN))]

    def _note(self, module: str | None, name: str, text: str) -> None:
        key = name if module == self._home else f"{module}.{name}"
        earlier = self.found.get(key)  # two lambdas or inner functions of one name
        self.found[key] = _digest(text if earlier is None else "".join(sorted((earlier, _digest(text)))))


def _unwrapped(value: Any) -> Any:
    """The function behind a flow, a task, a method or a partial."""
    while True:
        if isinstance(value, Definition):
            value = value.fn
        elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
            value = value.__func__
        else:
            return value


def _inside(value: Any) -> Iterator[Any]:
    """What stands behind a value that is neither a function nor a class."""
    inner = _unwrapped(value)
    if inner is not value:
        yield inner
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, property):
        yield from (value.fget, value.fset, value.fdel)
    elif isinstance(value, (list, tuple, set, frozenset, dict)):
        if len(value) <= _LARGEST_SEARCHED:
            yield from value.values() if isinstance(value, dict) else value
    elif not isinstance(value, types.ModuleType):
        if (wrapped := _attribute(value, "__wrapped__")) is not None:
            yield wrapped
        yield type(value)


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 a user's __getattr__ may raise anything; then there is nothing to follow
        return None


def _declared(cls: type) -> dict[str, Any]:
    """What a class body says: methods, plain values, fields' defaults. Not what Python or a metaclass adds."""
    own = {
        name: value for name, value in vars(cls).items() if name not in _ADDED and not name.startswith(("__pydantic", "_abc_", "_member_"))
    }
    fields = vars(cls).get("__pydantic_fields__") or {}
    return {**own, **{f"{name} (default)": getattr(field, "default", None) for name, field in fields.items()}}


_ADDED = frozenset(
    (
        *("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__", "__static_attributes__", "__slots__"),
        *("__orig_bases__", "__parameters__", "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
        *("_value2member_map_", "_generate_next_value_", "__dataclass_params__", "__dataclass_fields__", "__class_vars__"),
    )
)


def _plain_part(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _cells(fn: types.FunctionType) -> list[Any]:
    values = []
    for cell in fn.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not filled yet: a function that is being defined
            continue
    return values


def _is_constant(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (type(value) in (tuple, frozenset) and all(map(_is_constant, value)))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


@functools.lru_cache(maxsize=4096)
def _rebound_globals(code: types.CodeType) -> frozenset[str]:
    """Globals that this code assigns to: they are variables, whatever their names look like."""
    stores = (opcode.opmap["STORE_GLOBAL"], opcode.opmap["DELETE_GLOBAL"])
    return frozenset(code.co_names[arg] for op, arg in _instructions(code) if op in stores)


def _instructions(code: types.CodeType) -> Iterator[tuple[int, int]]:
    raw = code.co_code  # without the interpreter's own specialisations
    extended = 0
    for i in range(0, len(raw), 2):
        op, arg = raw[i], raw[i + 1] | extended
        if op == opcode.EXTENDED_ARG:
            extended = arg << 8
            continue
        extended = 0
        yield op, arg


def code_token(code: types.CodeType) -> str:
    """A text that is equal for code that does the same. Constants are named by value, so one that is not used (a docstring) does not count."""
    body = [(op, _token(code.co_consts[arg]) if op in _CONSTANTS else arg) for op, arg in _instructions(code)]
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _MEANINGFUL_FLAGS)
    return repr((counts, arguments, code.co_names, body, code.co_exceptiontable))


def _token(value: Any) -> str:
    """A text for a constant; for anything else only its type, since its value may change while the program runs."""
    if isinstance(value, types.CodeType):
        return code_token(value)
    if type(value) is tuple:
        return f"({','.join(map(_token, value))})"
    if type(value) is frozenset:
        return f"{{{','.join(sorted(map(_token, value)))}}}"
    if type(value) is dict:
        return f"{{{','.join(f'{name}:{_token(item)}' for name, item in sorted(value.items()))}}}"
    return f"{type(value).__name__}:{value!r}" if isinstance(value, _PLAIN) else f"<{type(value).__qualname__}>"


def is_own(scope: Mapping[str, Any]) -> bool:
    """Whether a module belongs to the user's project."""
    name = scope.get("__name__") or ""
    if name.partition(".")[0] == "legato":
        return False
    file = scope.get("__file__")
    if file is None:
        return name not in sys.builtin_module_names and getattr(scope.get("__spec__"), "origin", None) not in ("built-in", "frozen")
    return _is_own_file(file)


@functools.lru_cache(maxsize=4096)
def _is_own_file(file: str) -> bool:
    path = os.path.realpath(file)
    return not path.startswith(_STANDARD_LIBRARY) and not any(part in path for part in _INSTALLED)


def _is_interactive(scope: Mapping[str, Any]) -> bool:
    return scope.get("__name__") == "__main__" and "__file__" not in scope


def _digest(text: str) -> str:
    return hex_digest(text.encode("utf-8", "surrogatepass"), 8)
