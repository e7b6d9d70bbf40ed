"""One task after the other, in the order of submission, on the submitting thread."""

from __future__ import annotations

from typing import Any

from legato.engine.futures import Future


class SequentialRunner:
    """A running `SequentialTaskRunner`."""

    name = "sequential"

    def submit(self, future: Future[Any]) -> None:
        if future.claim():
            future.run()
            future.is_seen_here()  # it has run in the line that submitted it

    def close(self) -> None:
        pass


class SequentialTaskRunner:
    """Run each task to its end before `submit` returns. For work that must not overlap, and for debugging."""

    def start(self) -> SequentialRunner:
        """A runner for one flow run."""
        return SequentialRunner()
