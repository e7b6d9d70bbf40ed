"""What a decorated function is called: its *name* inside a run, and the *scope*, the project, in which that name means something.

Both come from the file that the function stands in, never from the process that asks: a script is the same when it is run, imported, run by
`python -m`, through a link, or by value in a worker process or on a cluster. The name is the file's path below the project's root, dotted,
and the function's qualified name. The scope is part of cache keys only: two projects that both have a `flow.py` with a task `load` share nothing.
"""

# ruff: noqa: PTH110, PTH113, PTH118, PTH120, PTH123, PTH206 pathlib would be a cost of every flow's start
from __future__ import annotations

import functools
import os
import sys
import types
from typing import Any, NamedTuple

from legato.core.digests import hex_digest

MARKS = ("pyproject.toml", ".git", "legato.toml")
"""The nearest folder upwards that holds one of these is a project's root; else the file's own folder is."""

_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Key(NamedTuple):
    """What names a function in the runs of its project, and which project that is: the scope, or the root that tells it when it is wanted."""

    name: str
    scope: str = ""
    root: str = ""

    @property
    def project(self) -> str:
        """The scope."""
        return self.scope or scope_of(self.root)


def key_of(fn: Any, qualified: str, *, is_twin: bool = False) -> Key:
    """The key of a function, from its file; one that stands in none (a notebook, an interactive session) is of the folder it runs in.

    `is_twin`: another function of that name stands before it in its module; then, and for a lambda, its code is part of the name.
    """
    inner = _innermost(fn)
    code: types.CodeType | None = getattr(inner, "__code__", None)
    module = getattr(fn, "__module__", None) or getattr(inner, "__module__", None) or "__main__"
    file = code.co_filename if code is not None else getattr(sys.modules.get(module), "__file__", None)
    name = f"{qualified}-{_mark(code)}" if code is not None and (is_twin or qualified.endswith("<lambda>")) else qualified
    if file is None or not os.path.isfile(file):
        return Key(f"{module}.{name}", f"folder {os.path.realpath(os.curdir)}")
    path = os.path.realpath(file)
    if any(part in path for part in _INSTALLED):
        return Key(f"{module}.{name}", f"package {module.partition('.')[0]}")
    root = root_of(os.path.dirname(path))
    return Key(f"{_dotted(path, root)}.{name}", root=root)


def _innermost(fn: Any) -> Any:
    """The function that does the work: behind methods, partials and decorators that say what they wrap."""
    while True:
        inner = (
            getattr(fn, "__func__", None) or (fn.func if isinstance(fn, functools.partial) else None) or getattr(fn, "__wrapped__", None)
        )
        if inner is None:
            return fn if hasattr(fn, "__code__") or isinstance(fn, type) else type(fn)
        fn = inner


@functools.lru_cache(maxsize=4096)
def dotted_name(file: str) -> str:
    """What a module is called in its project, by its file."""
    path = os.path.realpath(file)
    return _dotted(path, root_of(os.path.dirname(path)))


def _dotted(path: str, root: str) -> str:
    parts = os.path.relpath(path, root).removesuffix(".py").split(os.sep)
    if parts[0] == "src" and len(parts) > 1:
        parts = parts[1:]
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


@functools.lru_cache(maxsize=1024)
def root_of(folder: str) -> str:
    """The root of the project that a folder belongs to."""
    at = folder
    while True:
        if at in _carried or any(os.path.exists(os.path.join(at, mark)) for mark in MARKS):
            return at
        above = os.path.dirname(at)
        if above == at:
            return folder
        at = above


_carried: dict[str, str] = {}


def carry(root: str, scope: str) -> None:
    """This folder is where a project was unpacked at: its scope is not its path. What its own `pyproject.toml` says comes first."""
    _carried[os.path.realpath(root)] = scope
    root_of.cache_clear()
    scope_of.cache_clear()


@functools.lru_cache(maxsize=256)
def scope_of(root: str) -> str:
    """Which project has this root: by the name that its `pyproject.toml` gives it, as it was told where it was packed, or by its place."""
    named = _project_name(os.path.join(root, "pyproject.toml"))
    if named:
        return f"project {named}"
    return _carried.get(root) or f"folder {root}"


def _project_name(file: str) -> str:
    if not os.path.isfile(file):
        return ""
    import tomllib  # noqa: PLC0415 start-up time: wanted by projects that have such a file

    try:
        with open(file, "rb") as opened:
            read = tomllib.load(opened)
    except (OSError, ValueError):
        return ""
    own: Any = read.get("tool", {}).get("legato", {}).get("project") or read.get("project", {}).get("name")
    return own if isinstance(own, str) else ""


def _mark(code: types.CodeType) -> str:
    from legato.sdk.bytecode import code_token  # noqa: PLC0415 start-up time: wanted by functions that share a name

    return hex_digest(code_token(code).encode("utf-8", "surrogatepass"), 4)
