"""From a call to its row: how many frames and calls of ours there are. What a task costs is made of these."""

import sys
from types import FrameType
from typing import Any

from legato import flow, task
from legato.testing import Harness


def is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("legato.")


def frames_between() -> list[str]:
    """Our frames between the calling function and the user's code that called it."""
    frame = sys._getframe(2)
    found = []
    while frame is not None and is_ours(frame):
        found.append(frame.f_code.co_qualname)
        frame = frame.f_back  # type: ignore[assignment]
    return found


@task
def double(n: int) -> int:
    between.append(frames_between())
    return 2 * n


@task
def plain(n: int) -> int:
    return 2 * n


between: list[list[str]] = []


def test_few_frames_stand_between_the_caller_and_the_function(h: Harness) -> None:
    @flow
    def main() -> None:
        double(3)

    main()

    assert len(between[-1]) <= 5, between[-1]


def test_few_calls_lead_from_a_call_to_its_row(h: Harness) -> None:
    calls: list[str] = []
    counted: list[list[str]] = []

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and is_ours(frame):
            calls.append(frame.f_code.co_qualname)

    @flow
    def main() -> None:
        for n in range(20):  # one of them now and then sends what has gathered: that is not the path of a call
            calls.clear()
            sys.setprofile(count)
            plain(n)
            sys.setprofile(None)
            counted.append(calls.copy())

    main()

    fewest = min(counted, key=len)
    assert len(fewest) < 35, fewest
