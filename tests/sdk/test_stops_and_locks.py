"""A stop from outside never lands between the taking of a lock and the `try` that gives it back: it would leave everybody else hanging."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from legato import flow, task
from legato.core.errors import TaskTimeout
from legato.testing import Harness

from tests.support.locks import is_free

LATE_S = 0.3
"""How long after the task's timeout the lock can be had, or the handler comes to its end."""


class Slow(logging.Handler):
    """Says nothing until it is let, in many bytecodes."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.finished = False

    def emit(self, record: logging.LogRecord) -> None:
        while not self.let_go.wait(0.001):
            pass
        self.finished = True


def timed_out(body: Callable[[], Any], way: str) -> None:
    """Run this as a task that is out of its time long before `LATE_S`."""
    late = task(body, name="late", timeout_seconds=0.05)

    @flow
    def main() -> None:
        with pytest.raises(TaskTimeout):
            late.submit().result() if way == "submitted" else late()

    main()


@pytest.mark.parametrize("way", ["direct", "submitted"])
def test_a_handler_that_is_logging_comes_to_its_end(h: Harness, way: str) -> None:
    handler, logger = Slow(), logging.getLogger("test_stops_and_locks")
    logger.addHandler(handler)
    try:

        def says() -> None:
            logger.warning("said")
            while True:
                pass

        threading.Timer(LATE_S, handler.let_go.set).start()
        timed_out(says, way)
    finally:
        logger.removeHandler(handler)

    assert handler.finished
    assert is_free(handler.lock)
    assert h.task_runs()[0].state.name == "TimedOut"


LOCKS: dict[str, Callable[[], Any]] = {"condition": threading.Condition, "semaphore": threading.Semaphore}


@pytest.mark.parametrize("way", ["direct", "submitted"])
@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_that_is_waited_for_is_given_back(h: Harness, kind: str, way: str) -> None:
    lock = LOCKS[kind]()
    lock.acquire()
    by_timer = threading.Timer(LATE_S, lock.release)

    def waits() -> None:
        while True:
            with lock:
                pass

    if kind == "condition":  # its lock is given back by the thread that took it
        lock.release()
        is_taken = threading.Event()

        def holds() -> None:
            with lock:
                is_taken.set()
                threading.Event().wait(LATE_S)

        by_timer = threading.Timer(0, holds)
        by_timer.start()
        is_taken.wait(10)
    else:
        by_timer.start()
    timed_out(waits, way)
    by_timer.join()

    got = lock.acquire(blocking=False) if kind == "semaphore" else is_free(lock)
    assert got
    assert h.task_runs()[0].state.name == "TimedOut"
