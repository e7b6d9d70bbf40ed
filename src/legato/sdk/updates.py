"""Whether a function reads a variable, or does nothing but update it: counts in it, adds to it, sets a part of it."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING

from legato.sdk.bytecode import CHANGING, SETTERS, names_in
from legato.sdk.sources import tree_of

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator


def reads(fn: types.FunctionType, name: str) -> frozenset[object] | None:
    """The items of a variable (or attribute of that name) that a function reads, by constant keys; none when it only updates it.

    None: it may read any, as far as its source tells.
    """
    node = _node_of(fn.__code__)
    return None if node is None else _read_in(node, name)


def counts(fn: types.FunctionType, name: str) -> bool:
    """Whether a function does nothing with a variable (or attribute of that name) but add a constant number to it, or to an item of it."""
    import ast  # noqa: PLC0415 start-up time: asked when a call has changed a variable

    node = _node_of(fn.__code__)
    if node is None:
        return False
    counted: set[int] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.AugAssign) and isinstance(inner.value, ast.Constant) and type(inner.value.value) in (int, float):
            counted.update(id(part) for part in _chain(inner.target))
    return not any(_is_called(inner, name) and id(inner) not in counted for inner in ast.walk(node))


def only_looks_up(fn: types.FunctionType, name: str) -> bool:
    """Whether a function does nothing with a variable of its module but look up or go through its items: it neither changes nor hands it on."""
    import ast  # noqa: PLC0415 start-up time

    node = _node_of(fn.__code__)
    if node is None or not SETTERS.isdisjoint(names_in(fn.__code__).all):
        return False
    looked_at: set[int] = set()
    for inner in ast.walk(node):
        looked_at.update(map(id, _looked_at_in(inner, fn)))
    return not any(_is_called(inner, name) and id(inner) not in looked_at for inner in ast.walk(node))


def _looked_at_in(node: ast.AST, fn: types.FunctionType) -> Iterator[ast.AST]:
    """What an expression or statement only looks at."""
    import ast  # noqa: PLC0415 start-up time

    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value
    elif isinstance(node, ast.Compare):
        yield from (one for how, one in zip(node.ops, node.comparators, strict=True) if isinstance(how, (ast.In, ast.NotIn)))
    elif isinstance(node, (ast.For, ast.comprehension)):
        yield node.iter
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in _LOOKING:
            yield node.func.value
        elif isinstance(node.func, ast.Name) and node.func.id in _ONLY_LOOK and node.func.id not in fn.__globals__:
            yield from node.args


_LOOKING = frozenset(("get", "keys", "values", "items", "index", "count", "copy"))
_ONLY_LOOK = frozenset(("len", "sum", "min", "max", "sorted", "list", "tuple", "set", "frozenset", "dict", "any", "all", "str", "repr"))


def _is_called(node: ast.AST, name: str) -> bool:
    import ast  # noqa: PLC0415 start-up time

    return (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.Attribute) and node.attr == name)


@functools.lru_cache(maxsize=1024)
def _node_of(code: types.CodeType) -> ast.AST | None:
    import ast  # noqa: PLC0415 start-up time: asked when a call has changed a variable

    tree = tree_of(code.co_filename)
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _read_in(node: ast.AST, name: str) -> frozenset[object] | None:
    import ast  # noqa: PLC0415 start-up time

    left_out = {id(part) for inner in ast.walk(node) for part in _updated(inner)}
    items: set[object] = set()
    for inner in ast.walk(node):
        if not isinstance(inner, ast.Subscript) or not isinstance(inner.slice, ast.Constant):
            continue
        if _is_named(inner.value, name) and id(inner.value) not in left_out:
            items.add(inner.slice.value)
            left_out.add(id(inner.value))
    if any(_is_named(inner, name) and id(inner) not in left_out for inner in ast.walk(node)):
        return None
    return frozenset(items)


def _is_named(node: ast.AST, name: str) -> bool:
    import ast  # noqa: PLC0415 start-up time

    if isinstance(node, ast.Name):
        return node.id == name and isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load)


def _updated(node: ast.AST) -> Iterator[ast.AST]:
    """The names and attributes that a statement only updates, or parts of."""
    import ast  # noqa: PLC0415 start-up time

    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _chain(target)
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        yield from _chain(node.target)
    elif isinstance(node, ast.Delete):
        for target in node.targets:
            yield from _chain(target)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        yield from _chain(called.value) if isinstance(called, ast.Attribute) and called.attr in CHANGING else ()


def _chain(node: ast.AST) -> Iterator[ast.AST]:
    """`a`, `a.b` and so on of `a.b[c].d`."""
    import ast  # noqa: PLC0415 start-up time

    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Name)):
        yield node
        if isinstance(node, ast.Name):
            return
        node = node.value
