"""Recursion through tasks: each call of a task takes frames of ours as well, which must not count against the user's recursion limit."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")

EVERY = 16
"""Room is made each time so many tasks stand inside one another."""

_FRAMES = 8
"""Frames of ours in one call of a task from another (counted in tests/engine/test_depth.py)."""

_MOST = 4000 if sys.platform == "linux" else 1000
"""Room in all. Some frames of ours take C stack too, of which threads on other systems have little."""


_FOR_EMERGENCIES = 400
"""Frames that recording an end may take, with a traceback to be written."""


class _Room:
    lock = threading.Lock()
    made = 0


def with_room(call: Callable[[], T]) -> T:
    """What `call` gives, with room for the frames that EVERY more tasks inside one another take."""
    room = EVERY * _FRAMES
    if not _change(room):
        return call()
    try:
        return call()
    finally:
        _change(-room)


def _change(by: int) -> bool:
    """Raise or lower Python's limit, whatever the user has set it to meanwhile."""
    with _Room.lock:
        if by > 0 and _Room.made + by > _MOST:
            return False
        _Room.made += by
        _add(by)
        return True


@contextmanager
def emergency() -> Iterator[None]:
    """Room to record that a run has ended because there was none left."""
    with _Room.lock:
        _add(_FOR_EMERGENCIES)
    try:
        yield
    finally:
        with _Room.lock:
            _add(-_FOR_EMERGENCIES)


def _add(by: int) -> None:
    with suppress(RecursionError):  # it is deeper here than the limit will be: the next to leave lowers it
        sys.setrecursionlimit(sys.getrecursionlimit() + by)
