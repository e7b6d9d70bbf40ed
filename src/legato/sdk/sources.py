"""The user's own files: which modules are theirs, how a module is called however it was loaded, and what stands in a file that is not loaded.

A module that a function imports in its body is known by its file, with the project's modules it imports in turn: whether it has been loaded yet
must not make a difference. Comments, docstrings and layout do not count.
"""

# ruff: noqa: PTH116, PTH119 pathlib would be a cost of every flow's start
from __future__ import annotations

import functools
import importlib.machinery
import os
import sys
import types
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from legato.core.digests import hex_digest
from legato.engine.parsing import parsed
from legato.sdk.bytecode import Import
from legato.sdk.keys import dotted_name

if TYPE_CHECKING:
    import ast

_STANDARD_LIBRARY = os.path.realpath(os.__file__).removesuffix("os.py")
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def is_own(scope: Mapping[str, Any]) -> bool:
    """Whether a module belongs to the user's project."""
    name = scope.get("__name__") or ""
    if name.partition(".")[0] == "legato":
        return False
    file = scope.get("__file__")
    if file is None:
        return name not in sys.builtin_module_names and getattr(scope.get("__spec__"), "origin", None) not in ("built-in", "frozen")
    return is_own_file(file)


@functools.lru_cache(maxsize=4096)
def is_own_file(file: str) -> bool:
    """Whether a file is neither the standard library's nor an installed package's."""
    path = os.path.realpath(file)
    return not path.startswith(_STANDARD_LIBRARY) and not any(part in path for part in _INSTALLED)


def module_name(value: Any) -> str:
    """The module of a function or class, called alike whether it was run as a script, imported, or came by value from another process."""
    module = value.__module__ or ""
    file = value.__globals__.get("__file__") if isinstance(value, types.FunctionType) else None
    if file is None or not is_own_file(file):  # a wrapper that a library has made bears the name of what it wraps
        file = getattr(sys.modules.get(module), "__file__", None)
    if module == "__main__" or file is None:
        own = (code.co_filename for code in _codes_of(value) if not code.co_filename.startswith("<"))
        file = next(filter(is_own_file, own), file)
    return dotted_name(file) if file is not None and file.endswith(".py") and is_own_file(file) else str(module)


def _codes_of(value: Any) -> Iterator[types.CodeType]:
    """The code of a function, or of a class's methods."""
    for one in (value, *vars(value).values()):
        code = getattr(one, "__code__", None)
        if isinstance(code, types.CodeType):
            yield code


# ---------------------------------------------------------------------- files


@functools.lru_cache(maxsize=512)
def _parsed(file: str, stamp: tuple[int, int]) -> ast.Module | None:  # noqa: ARG001 a changed file is read again
    import tokenize  # noqa: PLC0415 start-up time: wanted by code that changes its globals, or imports in bodies

    try:
        with tokenize.open(file) as opened:
            return parsed(opened.read())
    except (OSError, SyntaxError, ValueError):
        return None


def tree_of(file: str) -> ast.Module | None:
    """What stands in a file, None: nothing that can be read."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return _parsed(file, (found.st_mtime_ns, found.st_size))


# ---------------------------------------------------------------------- modules by their files


def module_tokens(wanted: Import | str, scope: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names and hashes of the project's modules that an import reaches, or that a text names."""
    open_ = list(named_by(wanted, scope.get("__package__") or _package_of(scope)))
    seen = set()
    while open_:
        name = open_.pop()
        file = _file_of(name)
        if name in seen or file is None or name.partition(".")[0] == "legato" or not is_own_file(file):
            continue
        seen.add(name)
        found = _imported_and_token(file, name)
        if found is not None:
            yield name, found[1]
            open_ += found[0]


def _package_of(scope: Mapping[str, Any]) -> str:
    name = str(scope.get("__name__") or "")
    return name if "__path__" in scope else name.rpartition(".")[0]


def named_by(wanted: Import | str, package: str) -> list[str]:
    """The modules that may be meant. Of `from a import b`, b may be one, too."""
    if isinstance(wanted, str):
        return [wanted] if all(part.isidentifier() for part in wanted.split(".")) else []
    base = wanted.module
    if wanted.level:
        above = package.split(".")[: len(package.split(".")) - (wanted.level - 1)] if package else []
        base = ".".join([*above, wanted.module] if wanted.module else above)
    parts = base.split(".") if base else []
    packages = [".".join(parts[: n + 1]) for n in range(len(parts))]
    return packages + [f"{base}.{name}" if base else name for name in wanted.names if name != "*"]


def _file_of(name: str) -> str | None:
    """The file of a module, without importing anything."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return getattr(loaded, "__file__", None)
    path: Any = None
    spec = None
    parts = name.split(".")
    for n, _ in enumerate(parts):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[: n + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
        if path is None and n + 1 < len(parts):
            return None
    return spec.origin if spec is not None else None


def _imported_and_token(file: str, name: str) -> tuple[list[str], str] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return _read(file, name, (found.st_mtime_ns, found.st_size))


@functools.lru_cache(maxsize=1024)
def _read(file: str, name: str, stamp: tuple[int, int]) -> tuple[list[str], str] | None:
    tree = _parsed(file, stamp)
    if tree is None:
        return None
    import ast  # noqa: PLC0415 start-up time

    package = name if os.path.basename(file) == "__init__.py" else name.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [one for alias in node.names for one in named_by(Import(alias.name, 0, ()), package)]
        elif isinstance(node, ast.ImportFrom):
            found += named_by(Import(node.module or "", node.level, tuple(alias.name for alias in node.names)), package)
    return found, hex_digest(_undocumented(tree).encode("utf-8", "surrogatepass"), 8)


def _undocumented(tree: ast.Module) -> str:
    import ast  # noqa: PLC0415 start-up time

    texts = []
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            continue
        texts.append(ast.dump(_Bare().visit(node)))
    return "\n".join(texts)


@functools.cache
def _bare_class() -> Any:
    import ast  # noqa: PLC0415 start-up time

    class Bare(ast.NodeTransformer):
        """Takes docstrings away. The tree is ours: it was read for this."""

        def _documented(self, node: Any) -> Any:
            self.generic_visit(node)
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
            return node

        visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _documented  # noqa: N815 what ast calls them

    return Bare


def _Bare() -> Any:  # noqa: N802 it reads as what it makes
    return _bare_class()()
