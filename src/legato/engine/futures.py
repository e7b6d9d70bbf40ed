"""Futures: a submitted task's value, or what it raised, once it is there."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, cast

from legato.core.states import StateType

R = TypeVar("R")


class Future(Generic[R]):
    """The promise of a submitted task run. `await` it, or call `result()`.

    `run_id` and `name` are the task run's. A future handed to another task makes that task wait for this one, and receive its value.
    """

    __slots__ = (
        *("__weakref__", "_callbacks", "_claim", "_event", "_exc", "_lock", "_state", "_tb", "_value", "_work"),
        *("context", "name", "run_id", "seen", "wait_here"),
    )

    def __init__(self, run_id: str, name: str, work: Callable[[], R]) -> None:
        self.run_id = run_id
        self.name = name
        self._work: Callable[[], R] | None = work
        self._claim = [None]
        self.context: contextvars.Context | None = None
        self._lock = threading.Lock()
        self._event: threading.Event | None = None
        self._callbacks: list[Callable[[Future[R]], None]] = []
        self._state: StateType | None = None
        self._value: Any = None
        self._exc: BaseException | None = None
        self._tb: Any = None
        self.seen = False
        self.wait_here: Callable[[Future[R]], Any] | None = None

    # -- for users

    def done(self) -> bool:
        """Whether the task run has ended, in whatever state."""
        return self._state is not None

    @property
    def state(self) -> StateType:
        """The state type as far as it is known here: pending until it ends, then the final one."""
        return self._state or StateType.PENDING

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; returns whether it has ended. Does not raise what the task raised."""
        if self._state is None:
            self._wait(timeout)
        return self._state is not None

    def result(self, timeout: float | None = None, *, raise_on_failure: bool = True) -> R:
        """The value. Waits for it, at most `timeout` seconds (`TimeoutError`); raises what the task raised.

        With `raise_on_failure=False` a failed task's exception is returned instead.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"task run '{self.name}' did not end within {timeout:g} s")
        if raise_on_failure or self._exc is None:
            return self._outcome()
        self.seen = True
        return self._exc  # type: ignore[return-value]  # what raise_on_failure=False asks for

    def exception(self) -> BaseException | None:
        """What the task raised, or None. Waits for the end."""
        self.wait()
        self.seen = True
        return self._exc

    def add_done_callback(self, callback: Callable[[Future[R]], None]) -> None:
        """Call `callback(self)` when it has ended; at once if it has."""
        with self._lock:
            if self._state is None:
                self._callbacks.append(callback)
                return
        callback(self)

    def __await__(self) -> Generator[Any, None, R]:
        if self._state is None:
            yield from ended(self).__await__()
        return self._outcome()

    def __repr__(self) -> str:
        return f"<Future of task run '{self.name}': {self.state}>"

    # -- for task runners

    def claim(self) -> bool:
        """Take the right to run it; true for exactly one caller."""
        try:
            self._claim.pop()
        except IndexError:
            return False
        return True

    def run(self) -> None:
        """Run the work here and now, in the context it was submitted from. Only after `claim`."""
        work, self._work = self._work, None
        assert work is not None, "run without claim"
        try:
            value = self.context.run(work) if self.context is not None else work()
        except BaseException as exc:  # noqa: BLE001 handed to whoever asks for the result
            self.fail(exc)
        else:
            self.finish(value)

    def finish(self, value: R) -> None:
        self._value = value
        self._end(StateType.COMPLETED)

    def fail(self, exc: BaseException) -> None:
        self._exc, self._tb = exc, exc.__traceback__
        self._end(StateType.FAILED)

    @property
    def unseen_failure(self) -> bool:
        """Whether it failed and nobody has asked."""
        return self._exc is not None and not self.seen

    @property
    def failure(self) -> BaseException | None:
        """What it raised, as far as it is known here; asking does not count as having dealt with it."""
        return self._exc

    def _end(self, state: StateType) -> None:
        with self._lock:
            self._state = state
            self.context = None
            callbacks, self._callbacks = self._callbacks, []
            event = self._event
        if event is not None:
            event.set()
        for callback in callbacks:
            callback(self)

    def _outcome(self) -> R:
        if self._exc is not None:
            self.seen = True
            raise self._exc.with_traceback(self._tb)
        return cast("R", self._value)

    def _wait(self, timeout: float | None) -> None:
        with self._lock:
            if self._state is not None:
                return
            if self._event is None:
                self._event = threading.Event()
        if self.wait_here is not None and timeout is None:
            self.wait_here(self)
            return
        _interruptible(self._event, timeout)


def _interruptible(event: threading.Event, timeout: float | None) -> None:
    """Wait in slices, so that a stop from outside reaches a waiting thread within a slice."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while not event.wait(0.2 if deadline is None else max(0.0, min(0.2, deadline - time.monotonic()))):
        if deadline is not None and time.monotonic() >= deadline:
            return


async def ended(future: Future[Any]) -> None:
    """Wait on an event loop for a future's end, whatever it is, without parking a thread."""
    import asyncio  # noqa: PLC0415 start-up time: sync flows never need it

    if future.done():
        return
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def from_its_thread(_: Future[Any]) -> None:
        loop.call_soon_threadsafe(wake)

    future.add_done_callback(from_its_thread)
    await waiter
