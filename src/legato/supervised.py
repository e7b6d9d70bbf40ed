"""The loop that lives: one for each thread of ours that must not end by an exception. A step that fails is told, and tried again a little
later each time; what it raises ends nothing but itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger

LONGEST_FACTOR = 256
TOLD_AT = frozenset({1, 10, 100, 1_000, 10_000, 100_000})
"""Failures in a row that are logged with their traceback; those between only count."""


_WORTH_TELLING = 10


class Supervised:
    """Calls `step` on a thread of its own, again and again, until `stop`.

    A step returns how many seconds to wait for the next one (None: `every_s`); `wake` ends the wait. After a failure the wait doubles, up
    to `longest_s`: for a lease's beats that is the interval itself, for a lease does not wait. `is_expected` failures are not logged.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        every_s: float,
        longest_s: float | None = None,
        first_s: float | None = None,
        is_expected: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self.name = name
        self._step = step
        self._every_s = every_s
        self._longest_s = every_s * LONGEST_FACTOR if longest_s is None else longest_s
        self._first_s = every_s if first_s is None else first_s
        self._is_expected = is_expected
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.failures = 0

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs (a forked child has none)."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin, once. Safe to call again."""
        if not self.is_alive and not self._stopping:
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Have the next step begin now."""
        self._wake.set()

    def stop(self, *, wait_s: float | None = 5.0) -> None:
        """End after the present step, waiting for it up to `wait_s` (None: as long as it takes). Safe to call twice, before `start`, and
        from the step itself.
        """
        self._stopping = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(wait_s)

    def _run(self) -> None:
        pause = self._first_s
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            if self._stopping:
                return
            try:
                asked = self._step()
            except Exception as error:  # noqa: BLE001 that is what it is for
                self._failed(error)
                pause = min(self._every_s * 2 ** min(self.failures - 1, 20), self._longest_s)
            else:
                self._succeeded()
                pause = self._every_s if asked is None else asked

    def _succeeded(self) -> None:
        failures, self.failures = self.failures, 0
        if failures >= _WORTH_TELLING:
            _logger().warning("loop_goes_on", extra={"loop": self.name, "failures": failures})

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if not self._is_expected(error) and self.failures in TOLD_AT:
            _logger().error("loop_step_failed", exc_info=error, extra={"loop": self.name, "failures": self.failures})


def _logger() -> Logger:
    import logging  # noqa: PLC0415 start-up time: wanted when something went wrong

    return logging.getLogger(__name__)
