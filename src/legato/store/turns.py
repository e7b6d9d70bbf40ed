"""Turns of processes that write to one SQLite file at the same time.

SQLite's own busy handler asks again every 100 ms once it has waited a while, so of many writers who never rest one may find the file taken
for seconds. Here one of those who wait at a time has the turn, and asks every millisecond; the others ask as SQLite would. Whoever has the
turn is next at the first moment in which nobody writes, and one that is stopped, or dies, while it has the turn keeps nobody from writing.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

_TURN_S, _ASKS_S, _OTHERS_S = 0.001, 0.005, 0.1
"""Seconds between two tries of who has the turn, of who asks for it, and of who has it not."""


class Turns:
    """The turns at one database file."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path = path.with_name(path.name + "-turn")
        self._monotonic, self._sleep = monotonic, sleep

    def wait(self, write: Callable[[], object], within_s: float) -> None:
        """Call `write` until the file is free for it, `within_s` seconds at most. Raises what it raised last."""
        now = self._monotonic()
        deadline, next_try = now + within_s, now
        turn = self._open()
        has_turn = False
        try:
            while True:
                has_turn = has_turn or _taken(turn)
                now = self._monotonic()
                if has_turn or now >= next_try:
                    next_try = now + _OTHERS_S
                    try:
                        write()
                        return
                    except sqlite3.OperationalError as error:
                        if not is_busy(error) or now >= deadline:
                            raise
                self._sleep(_TURN_S if has_turn else _ASKS_S)
        finally:
            if turn is not None:
                os.close(turn)

    def _open(self) -> int | None:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None  # then everybody asks as SQLite would


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process has the file."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _taken(turn: int | None) -> bool:
    if turn is None:
        return False
    import fcntl  # noqa: PLC0415 not on every platform, and wanted only where processes meet

    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
