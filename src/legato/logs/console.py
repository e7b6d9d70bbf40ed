"""Lines on standard error: time, level, run, message. Written without the logging module, which costs more to import than a small flow to run."""

from __future__ import annotations

import os
import sys
import time

_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


def line(level: str, who: str, message: str) -> None:
    """Write one line, in colour on a terminal (NO_COLOR and FORCE_COLOR are honoured)."""
    who = in_a_line(who)
    at = time.time()  # noqa: TID251 for people's eyes only, and never stored
    stamp = time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at * 1000) % 1000:03d}"
    text = f"{stamp} | {level:<7} | {who} - {message}"
    colour = _COLOURS.get(level)
    if colour and wants_colour():
        text = f"\x1b[{colour}m{text}\x1b[0m"
    try:
        sys.stderr.write(text + "\n")
    except (ValueError, OSError):  # standard error is closed: the line is in the store all the same
        return


def in_a_line(text: str) -> str:
    """Text with names of runs in it, which may be anybody's: no character of it moves the cursor or colours what follows, and its line stays one."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def wants_colour() -> bool:
    """Whether standard error should be coloured."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stderr is not None and sys.stderr.isatty())
