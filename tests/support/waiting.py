"""Waiting for real processes: by looking, not by guessing how long they take."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], *, within_s: float = 30.0, what: str = "it") -> T:
    """The first true value of `look()`. Fails after `within_s` seconds, saying what was waited for and what was seen last."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {within_s:g} s; last seen: {seen!r}")
        time.sleep(0.02)
