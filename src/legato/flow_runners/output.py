"""What runs print: each run writes into a file of its own, of which the agent shows what is new and keeps the end.

A file and not a pipe, for a run outlives its agent, and a pipe that nobody reads would end it. The file is cut when it grows long.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

KEPT = 64 << 10
"""Bytes of a run's last output that are kept when its process did not say how it ended."""

CUT_AT = 16 << 20


class Output:
    """The file that a process prints into. `show` is handed what is new; None: nobody looks."""

    def __init__(self, path: Path, show: Callable[[bytes], object] | None = None) -> None:
        self.path = path
        self._show = show
        self._read = 0
        self._before = b""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(self.open())

    def open(self) -> int:
        """A descriptor to print into."""
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def pump(self) -> None:
        """Show what is new since the last time, and cut a file that has grown long."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read(CUT_AT)
                size = file.tell()
        except OSError:
            return
        self._read = size
        if new and self._show is not None:
            with contextlib.suppress(OSError, ValueError):
                self._show(new)
        if size >= CUT_AT:
            self._before = (self._before + new)[-KEPT:]
            os.truncate(self.path, 0)
            self._read = 0

    def tail(self) -> str:
        """The last that was printed."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - KEPT))
                last = file.read()
        except OSError:
            last = b""
        return (self._before + last)[-KEPT:].decode(errors="replace").replace("\0", "").strip()

    def remove(self) -> None:
        """Show what is left, and forget it."""
        self.pump()
        self.path.unlink(missing_ok=True)


def to_stderr(data: bytes) -> None:
    """Show output among the agent's own."""
    stream = getattr(sys.stderr, "buffer", None)
    if stream is not None:
        stream.write(data)
        stream.flush()


def last_line(text: str, longest: int = 300) -> str:
    """The last line that says something: the end of a traceback names the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:longest] if lines else ""
