"""What stands at the top of a module: the statements that make a variable, and those that do something to the world outside of their module.

For what cannot be compared by what it holds (a generator, a lock, a counter that moves): it is compared by the statements that make it. And for
what is done to libraries when a module is imported (`random.seed(1)`, `os.environ[...] = ...`, a decorator that registers): it counts for all code
of the module, and of those that import it. A statement stands here as a text, and by the names in it, which lead on to the code that it calls.
Bodies of functions are no part of it: they are compared where they are reached. What stands behind `if __name__ == "__main__"` is not
either. Text and layout do not count, as everywhere.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from legato.sdk.bytecode import Import
from legato.sdk.sources import named_by, tree_of

if TYPE_CHECKING:
    import ast


class Act(NamedTuple):
    """Something done at a module's top: a call whose value nobody takes, a setting of somebody's attribute or item, a decoration (of `of`).

    `on`: what it is done with or to, as dotted names from a global on; () when that is the outcome of an expression.
    """

    kind: str
    on: tuple[str, ...]
    of: str = ""


class Top:
    """One statement: its text, all names in it (of variables and attributes), and what it does."""

    def __init__(self, node: ast.stmt) -> None:
        self._node = node
        self.acts = tuple(_acts(node))

    @functools.cached_property
    def text(self) -> str:
        """Equal for statements that do the same."""
        return " ".join(map(_text, _outside_of_functions(self._node)))

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Of variables, attributes, functions and classes."""
        import ast  # noqa: PLC0415 start-up time

        names = set()
        for part in _outside_of_functions(self._node):
            if isinstance(part, ast.Name):
                names.add(part.id)
            elif isinstance(part, ast.Attribute):
                names.add(part.attr)
            elif isinstance(part, ast.alias):
                names.add((part.asname or part.name).partition(".")[0])
            elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(part.name)
        return frozenset(names)


class Module(NamedTuple):
    """What a file says at its top. `imports`: the modules it imports there, as far as they may be meant."""

    tops: tuple[Top, ...]
    imports: tuple[str, ...]


NOTHING = Module((), ())


def module_of(file: str | None, package: str = "") -> Module:
    """What a file says at its top; nothing, when it cannot be read. `package`: what its relative imports start from."""
    tree = tree_of(file) if file else None
    return _module(_Tree(tree), package) if tree is not None else NOTHING


class _Tree:
    """A tree as a key: the same file, read again, is another."""

    __slots__ = ("tree",)

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Tree) and self.tree is other.tree

    def __hash__(self) -> int:
        return id(self.tree)


@functools.lru_cache(maxsize=1024)
def _module(key: _Tree, package: str) -> Module:
    tops = tuple(Top(node) for node in key.tree.body if not _is_main_guard(node))
    imports = [name for node in key.tree.body for name in _imported(node, package)]
    return Module(tops, tuple(dict.fromkeys(imports)))


def _imported(node: ast.stmt, package: str) -> Iterator[str]:
    import ast  # noqa: PLC0415 start-up time: asked by runs that go on, and by caches

    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from named_by(Import(alias.name, 0, ()), package)
    elif isinstance(node, ast.ImportFrom):
        yield from named_by(Import(node.module or "", node.level, tuple(alias.name for alias in node.names)), package)
    elif not _is_main_guard(node):
        for inner in _inside_of(node):
            yield from _imported(inner, package)


def _inside_of(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statements in a statement that run when it does."""
    import ast  # noqa: PLC0415 start-up time

    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    for field in ("body", "orelse", "finalbody"):
        yield from getattr(node, field, ())
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield from part.body


def _is_main_guard(node: ast.stmt) -> bool:
    import ast  # noqa: PLC0415 start-up time

    return isinstance(node, ast.If) and any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))


def _outside_of_functions(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is in it, in the order of the text, without the bodies of named functions: these are code. Those of classes run at once."""
    import ast  # noqa: PLC0415 start-up time

    yield node
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        inside: list[ast.AST] = [*node.decorator_list, *node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)]
    elif isinstance(node, ast.ClassDef):
        inside = [*node.decorator_list, *node.bases, *node.keywords, *node.body]
    else:
        inside = list(ast.iter_child_nodes(node))
    for part in inside:
        yield from _outside_of_functions(part)


def _text(node: ast.AST) -> str:
    """One node without what is inside of it."""
    import ast  # noqa: PLC0415 start-up time

    fields = [
        f"{name}={value!r}"
        for name, value in ast.iter_fields(node)
        if not isinstance(value, (ast.AST, list)) and name not in ("type_comment", "kind", "returns")
    ]
    lists = [
        f"{name}*{[one for one in value if not isinstance(one, ast.AST)] or len(value)}"
        for name, value in ast.iter_fields(node)
        if isinstance(value, list) and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    ]
    return f"{type(node).__name__}({' '.join(fields + lists)})"


def _acts(node: ast.stmt) -> Iterator[Act]:
    import ast  # noqa: PLC0415 start-up time

    if isinstance(node, ast.Expr):
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(call, ast.Call):
            yield Act("call", _dotted(call.func))
        elif not isinstance(call, ast.Constant):
            yield Act("call", ())
    elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
        for target in node.targets if isinstance(node, (ast.Assign, ast.Delete)) else [node.target]:
            if not isinstance(target, ast.Name):
                yield from (Act("set", _dotted(one.value)) for one in ast.walk(target) if isinstance(one, (ast.Attribute, ast.Subscript)))
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield from (Act("decorate", _dotted(one), node.name) for one in node.decorator_list)
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        yield from (Act("call", _dotted(item.context_expr)) for item in node.items)
    for inner in _inside_of(node):
        yield from _acts(inner)


def _dotted(node: ast.AST) -> tuple[str, ...]:
    """What an expression begins with, as names: of `a.b[0](c).d` it is a, b."""
    import ast  # noqa: PLC0415 start-up time

    names: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Call):
            names = []
            node = node.func
        elif isinstance(node, ast.Subscript):
            names = []
            node = node.value
        else:
            break
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def package_of(name: str, file: str | None) -> str:
    """What a module's relative imports start from."""
    return name if file is not None and file.endswith(f"{os.sep}__init__.py") else name.rpartition(".")[0]
