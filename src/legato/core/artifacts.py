"""Artifacts and variables: what their names may be, how large they may grow, and what an artifact's data holds, by kind.

markdown: the text. table: {"columns": [name, …], "rows": [[value, …], …]}. link: {"url", "text"}. progress: {"percent"} and, where it counts
things, {"done", "total"}. image: {"url"} of an image elsewhere; or {"type", "size"} with its bytes under {"inline"} (base64) when small, or
lying in storage under the content address {"blob"}.
"""

from __future__ import annotations

import re

from legato.core.errors import UsageError

LARGEST_DATA = 1_000_000
"""Bytes of one artifact's data as JSON. A batch on its way to a server holds a few of them within its 8 MB."""

BRIEF_DATA = 2_000
"""Characters of data as JSON up to which a brief list carries it."""

_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LONGEST = 200


def check_key(key: object) -> str:
    """The key as it was given. Raises `UsageError`, with one that would do, unless it is lower-case words and numbers joined by dashes."""
    if not isinstance(key, str) or not _KEY.fullmatch(key) or len(key) > _LONGEST:
        better = re.sub(r"[^a-z0-9]+", "-", str(key).lower()).strip("-")[:_LONGEST].strip("-")
        raise UsageError(
            f"{key!r} cannot be an artifact's key",
            hint="a key is lower-case letters, digits and single dashes" + (f", such as '{better}'" if better else ""),
        )
    return key


def check_variable_name(name: object) -> str:
    """The name as it was given. Raises `UsageError`, with one that would do, unless it is lower-case letters, digits, dashes, underscores."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST:
        better = re.sub(r"[^a-z0-9_-]+", "_", str(name).lower()).strip("_-")[:_LONGEST]
        raise UsageError(
            f"{name!r} cannot be a variable's name",
            hint="a name is lower-case letters, digits, dashes and underscores" + (f", such as '{better}'" if better else ""),
        )
    return name


def percent_of(done: float, total: float) -> float:
    """How far along that is, from 0 to 100. Nothing to do is done."""
    return 100.0 if total <= 0 else min(100.0, max(0.0, 100.0 * done / total))
