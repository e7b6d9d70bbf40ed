"""What is done when this process forks, in one order: first whoever loads our modules or makes the engine is waited for, then each part closes
or locks what must not be open or half done; afterwards, in parent and child, each lets go. A part registers when it is loaded; one that is
loaded by another thread meanwhile waits, for loading holds the same lock.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Callable

LOADING = _thread.RLock()
"""Held while a first call loads its modules, and while the engine is made. A child whose parent's other thread was at that would find
modules that are never loaded, and locks that nobody holds any more.
"""


def _nothing() -> None:
    """What a part does that has nothing to do."""


_parts: list[tuple[Callable[[], None], Callable[[], None], Callable[[], None]]] = []
_told: list[tuple[Callable[[], None], Callable[[], None], Callable[[], None]]] = []


def at_fork(
    *, before: Callable[[], None] = _nothing, in_parent: Callable[[], None] = _nothing, in_child: Callable[[], None] = _nothing
) -> None:
    """Have these called when the process forks. None of them may raise."""
    _parts.append((before, in_parent, in_child))


def _before() -> None:
    LOADING.acquire()
    _told[:] = _parts
    for before, _, _ in reversed(_told):
        before()


def _in_parent() -> None:
    for _, in_parent, _ in _told:
        in_parent()
    LOADING.release()


def _in_child() -> None:
    for _, _, in_child in _told:
        in_child()
    LOADING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
