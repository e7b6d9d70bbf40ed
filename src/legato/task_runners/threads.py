"""Tasks on threads: at most `max_workers` run at once, and nested submits never deadlock.

A worker that waits for another task's result runs that task itself if nobody has begun it; otherwise one more thread stands in for the
waiter, so that the number of running tasks stays what it was. Helping alone starves workers that wait for a task running elsewhere; only
adding threads needs one a waiter (1,052 for a tree of 2,047 tasks, against 4 with both).
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from legato.core.errors import UsageError
from legato.engine.futures import Future
from legato.engine.script import TIMEOUT, Stop
from legato.engine.shell import CURRENT
from legato.engine.stops import enter, leave
from legato.engine.waiting import Promised, occupy, place_here

_DEPTH = 40
"""How deep a waiter may run what it waits for, and that what it waits for: beyond it Python's stack would end."""

_IDLE_S = 5.0
"""How long a thread without work stays."""


class ThreadRunner:
    """A running `ThreadTaskRunner`."""

    name = "threads"

    def __init__(self, max_workers: int) -> None:
        self._max = max_workers
        self._queue: deque[Future[Any]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._blocked = 0
        self._closed = False
        self._pid = os.getpid()

    def submit(self, future: Future[Any]) -> None:
        future.runner = self
        self._queue.append(future)
        if self._idle or self._threads - self._blocked < self._max:  # else all are busy, and look at the queue before they rest
            with self._changed:
                if len(self._queue) > self._idle:  # an idle thread that was told of an earlier one counts as idle until it wakes
                    self._grow()
                self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _grow(self) -> None:
        """One more thread, if fewer run than may. Called with the lock held."""
        if self._threads - self._blocked < self._max:
            self._threads += 1
            threading.Thread(target=self._work, name=f"legato-task-{self._threads}", daemon=True).start()

    def _work(self) -> None:
        occupy(_Worker(self))
        while (future := self._next()) is not None:
            if future.claim():
                future.run()
                if os.getpid() != self._pid:
                    _end_child(future.failure)
            del future  # an idle worker keeps no task's arguments and value alive

    def _next(self) -> Future[Any] | None:
        """The next future to run; None: this thread is not needed any more."""
        if self._threads - self._blocked <= self._max:
            try:
                return self._queue.popleft()  # without the lock: both ends of a deque are atomic
            except IndexError:
                pass
        with self._changed:
            while True:
                if self._threads - self._blocked > self._max:  # a stand-in whose waiter has woken up
                    self._threads -= 1
                    return None
                self._idle += 1  # before the look at the queue: whoever adds to it after that look sees an idle thread, and wakes it
                try:
                    future = self._queue.popleft()
                except IndexError:
                    woken = self._changed.wait(_IDLE_S) if not self._closed else False
                    self._idle -= 1
                    if not woken and not self._queue:
                        self._threads -= 1
                        return None
                else:
                    self._idle -= 1
                    return future

    def call_apart(self, context: contextvars.Context, call: Callable[[], Any], limit_s: float) -> Any:
        """What `call` gives, made on a thread of its own in this worker's stead. After `limit_s` seconds it is abandoned: `Stop`.

        For calls that end themselves when their time is over: what is left then is blocked outside of Python, and nothing can stop it.
        """
        place = place_here()
        outcome: list[tuple[Any, BaseException | None]] = []
        done = threading.Event()

        def work() -> None:
            occupy(place)
            try:
                outcome.append((context.run(call), None))
            except BaseException as exc:  # noqa: BLE001 raised again in the worker
                outcome.append((None, exc))
            done.set()

        threading.Thread(target=work, name=f"{threading.current_thread().name}-timed", daemon=True).start()
        if not done.wait(limit_s):
            raise Stop(TIMEOUT, abandoned=True)
        value, exc = outcome[0]
        if exc is not None:
            raise exc
        return value

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While a worker waits in it, one more thread may run."""
        with self._changed:
            self._blocked += 1
            if len(self._queue) > self._idle:
                self._grow()
        try:
            yield
        finally:
            with self._changed:
                self._blocked -= 1


def _end_child(failure: BaseException | None) -> NoReturn:
    """End a process that a task has forked on its thread: nothing is left there of the program around it, and what waits is the parent's."""
    code = 0
    if isinstance(failure, SystemExit):
        code = failure.code if isinstance(failure.code, int) else int(failure.code is not None)
    elif failure is not None:
        sys.excepthook(type(failure), failure, failure.__traceback__)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


class _Worker:
    """One worker thread's place."""

    def __init__(self, runner: ThreadRunner) -> None:
        self._runner = runner
        self._depth = 0
        self.lent = runner.lent

    def help(self, future: Promised) -> bool:
        if future.runner is not self._runner or self._depth >= _DEPTH or not future.claim():
            return False
        current = CURRENT.get()
        region = leave(current.region) if current is not None else None
        self._depth += 1
        try:
            future.run()
        finally:
            self._depth -= 1
            enter(region)
        return True


class ThreadTaskRunner:
    """Run submitted tasks on threads, at most `max_workers` at once (default: cores + 4, at most 32: tasks mostly wait for something)."""

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers < 1:
            raise UsageError(f"max_workers is {max_workers}", hint="give a number from 1 up, or leave it out")
        self.max_workers = max_workers or min(32, (os.cpu_count() or 1) + 4)

    def start(self) -> ThreadRunner:
        """A runner for one flow run."""
        return ThreadRunner(self.max_workers)


ConcurrentTaskRunner = ThreadTaskRunner
