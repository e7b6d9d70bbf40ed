"""Where the code of a function is found: its syntax tree, its closure, its parameters bound to values. Nothing is called."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from legato.engine.parsing import parsed
from legato.plan.values import Items, Unknown, Value


def _code_of(made: Any) -> types.CodeType:
    code: types.CodeType = made.__code__
    return code


_CONTEXT_HELPERS = frozenset((_code_of(contextlib.contextmanager(dict)), _code_of(contextlib.asynccontextmanager(dict))))  # type: ignore[arg-type]  # of each only the code


class Source(NamedTuple):
    """A function's syntax tree."""

    tree: ast.FunctionDef | ast.AsyncFunctionDef
    file: str


@functools.lru_cache(maxsize=2048)
def _parsed(code: types.CodeType) -> Source | None:
    try:
        lines, start = inspect.getsourcelines(code)
        module = parsed(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    tree = module.body[0] if module.body else None
    if not isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)) or tree.name != code.co_name:
        return None
    ast.increment_lineno(tree, start - 1)
    return Source(tree, code.co_filename)


def tree_of(fn: Any) -> Source | None:
    """The syntax tree of a plain function, None when its source is not there."""
    return _parsed(fn.__code__) if isinstance(fn, types.FunctionType) else None


def is_context_helper(fn: Any) -> bool:
    """Whether this is what `contextlib.contextmanager` made of a generator function."""
    return isinstance(fn, types.FunctionType) and fn.__code__ in _CONTEXT_HELPERS


def behind(obj: Any) -> Any:
    """The plain function behind a method, or behind `contextlib.contextmanager`; anything else as it is.

    Other decorators are not looked behind: what they do around the function is code as well, and is read.
    """
    obj = obj.__func__ if isinstance(obj, types.MethodType) else obj
    return obj.__wrapped__ if is_context_helper(obj) else obj


def closure_of(fn: types.FunctionType) -> dict[str, Any]:
    """The values of a function's free variables."""
    found = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
        with contextlib.suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    return found


def cells_of(fn: types.FunctionType) -> dict[str, types.CellType]:
    """A function's free variables themselves."""
    return dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False))


def own_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's own code, without those of functions and classes inside it."""
    open_ = list(ast.iter_child_nodes(tree))
    while open_:
        node = open_.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            open_ += ast.iter_child_nodes(node)


@functools.lru_cache(maxsize=2048)
def is_generator(tree: ast.AST) -> bool:
    """Whether a function yields."""
    body = getattr(tree, "body", [])
    return any(
        isinstance(node, (ast.Yield, ast.YieldFrom))
        for statement in (body if isinstance(body, list) else [body])
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for node in (statement, *own_nodes(statement))
    )


def defaults_of(fn: types.FunctionType, tree: ast.FunctionDef | ast.AsyncFunctionDef, value_of: Callable[[Any], Value]) -> dict[int, Value]:
    """The default values of a real function, by the expressions that made them."""
    pairs: list[tuple[ast.expr, Any]] = list(zip(tree.args.defaults, fn.__defaults__ or (), strict=False))
    keyword = fn.__kwdefaults__ or {}
    pairs += [
        (e, keyword[a.arg]) for a, e in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True) if e is not None and a.arg in keyword
    ]
    return {id(e): value_of(value) for e, value in pairs}


def bound(a: ast.arguments, args: list[Value], kwargs: Mapping[str, Value], defaults: Mapping[int, Value]) -> dict[str, Value]:
    """Parameters to values."""
    names: dict[str, Value] = {}
    positional = [*a.posonlyargs, *a.args]
    left, rest = dict(kwargs), list(args)
    given = dict(zip([p.arg for p in positional][len(positional) - len(a.defaults) :], a.defaults, strict=True))
    given |= {p.arg: e for p, e in zip(a.kwonlyargs, a.kw_defaults, strict=True) if e is not None}
    for parameter in (*positional, *a.kwonlyargs):
        name = parameter.arg
        if rest and parameter not in a.kwonlyargs:
            names[name] = rest.pop(0)
        elif name in left:
            names[name] = left.pop(name)
        elif "**" in left:
            names[name] = left["**"]
        else:
            names[name] = defaults.get(id(given[name]), Unknown()) if name in given else Unknown(text=name)
    if a.vararg is not None:
        names[a.vararg.arg] = Items("tuple", rest)
    if a.kwarg is not None:
        names[a.kwarg.arg] = Items("dict", list(left.values()), list(left), loose="**" in left)
    return names
