"""What a path among the inputs leads to: files by their content, large ones by size and time of change, folders by all that lies in them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from legato.core.digests import blake2b

LARGEST_READ = 64 << 20
"""Bytes of a file that are read; a larger one counts by its size and the time it was last changed."""

_BLOCK = 1 << 20
_MOST_SEARCHED = 10_000
_DEPTH = 6


def behind(value: Any) -> str:
    """A digest of the files behind the `Path`s in a value (lists, tuples, sets and dicts are searched); "" when there is no path in it."""
    paths = list(_paths(value, _DEPTH))
    if not paths:
        return ""
    return (
        "".join(_of(os.fspath(path)) for path in paths)
        if len(paths) == 1
        else _hashed("".join(_of(os.fspath(path)) for path in paths).encode())
    )


def _paths(value: Any, depth: int) -> Iterator[Any]:
    pathlib = sys.modules.get("pathlib")
    if pathlib is not None and isinstance(value, pathlib.Path):
        yield value
    elif depth and isinstance(value, (list, tuple, set, frozenset, dict)) and len(value) <= _MOST_SEARCHED:
        items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        found = [path for item in items for path in _paths(item, depth - 1)]
        yield from sorted(found) if isinstance(value, (set, frozenset)) else found


def _of(path: str) -> str:
    """One file or folder; that there is none is an answer, too."""
    try:
        found = os.stat(path)  # noqa: PTH116 it is asked for many files
    except OSError:
        return "missing"
    if os.path.isdir(path):  # noqa: PTH112
        return _hashed("\n".join(f"{name} {_of(whole)}" for name, whole in _inside(path)).encode("utf-8", "surrogatepass"))
    if found.st_size > LARGEST_READ:
        return f"{found.st_size} bytes, changed {found.st_mtime_ns}"
    try:
        return _content(path)
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _inside(folder: str) -> list[tuple[str, str]]:
    return [(entry.name, entry.path) for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)]


def _content(path: str) -> str:
    digest = blake2b(digest_size=16)
    with open(path, "rb") as file:  # noqa: PTH123
        while block := file.read(_BLOCK):
            digest.update(block)
    return str(digest.hexdigest())


def _hashed(data: bytes) -> str:
    return str(blake2b(data, digest_size=16).hexdigest())
