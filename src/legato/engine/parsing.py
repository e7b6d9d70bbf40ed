"""Python's parser, for one thread at a time.

In CPython 3.11 and 3.12 two threads that make syntax trees at once disturb each other: SystemError, "AST constructor recursion depth mismatch"
(python/cpython#106905). A thread of the user's that parses meanwhile can still do so, hence the second try.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from legato.forking import at_fork

if TYPE_CHECKING:
    import ast

_TRIES = 5


class _Turn:
    """Whose turn it is."""

    def __init__(self) -> None:
        self.lock = threading.RLock()


_turn = _Turn()
at_fork(in_child=_turn.__init__)  # type: ignore[misc]  # the thread that had it is the parent's


def parsed(source: str | bytes) -> ast.Module:
    """The syntax tree of a module. Raises `SyntaxError` or `ValueError` for what is none."""
    import ast  # noqa: PLC0415 start-up time: few runs read sources

    for attempt in range(_TRIES):
        try:
            with _turn.lock:
                return ast.parse(source)
        except SystemError:
            if attempt == _TRIES - 1:
                raise SyntaxError("the source cannot be read while other threads parse") from None
    raise AssertionError("unreachable")
