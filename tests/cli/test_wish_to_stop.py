"""Ctrl-C while `legato up` waits for it, at every line of that wait: it is heard, and nothing hangs."""

import signal
import sys
from types import FrameType
from typing import Any

import pytest

from legato.cli.up import _WishToStop


def waited(at: int) -> tuple[int, bool]:
    """How many lines were run, and whether the wish was heard, when the signal comes at line `at`."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == at:
                signal.raise_signal(signal.SIGINT)
        return trace

    wish = _WishToStop()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        heard = wish.came_within(0.001) or wish.came_within(0.001)
    finally:
        sys.settrace(before)
        wish.restore()
    return lines, heard


@pytest.mark.timeout(30)
def test_a_wish_is_heard_at_every_line() -> None:
    lines, heard = waited(0)
    assert not heard

    for at in range(1, lines):
        assert waited(at)[1], at
