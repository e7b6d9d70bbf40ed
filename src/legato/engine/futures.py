"""Futures: a submitted task's value, or what it raised, once it is there."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast, overload

from legato import crashing
from legato.core.states import State, StateType

R = TypeVar("R")


SCOPE: contextvars.ContextVar[Any] = contextvars.ContextVar("legato_scope", default=None)
"""The block that the running code is in and that ends after its tasks: a transaction, or None."""


class Future(Generic[R]):
    """The promise of a submitted task run. `await` it, or call `result()`.

    `run_id` and `name` are the task run's. A future handed to another task makes that task wait for this one, and receive its value.
    """

    __slots__ = (
        *("__weakref__", "_callbacks", "_claim", "_event", "_exc", "_lock", "_state", "_tb", "_value", "_work"),
        *("call", "context", "name", "run_id", "ended_as", "scope", "seen", "wait_here"),
    )

    def __init__(self, run_id: str, name: str, work: Callable[[], R]) -> None:
        self.run_id = run_id
        self.name = name
        self._work: Callable[[], R] | None = work
        self._claim = [None]
        self.context: contextvars.Context | None = None
        self.scope: Any = None
        self._lock = threading.Lock()
        self._event: threading.Event | None = None
        self._callbacks: list[Callable[[Future[R]], None]] = []
        self._state: StateType | None = None
        self._value: Any = None
        self._exc: BaseException | None = None
        self._tb: Any = None
        self.seen = False
        self.ended_as: State | None = None
        self.call = ""
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

    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: Literal[True] = True) -> R: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: bool) -> R | BaseException: ...
    def result(self, timeout: float | None = None, *, raise_on_failure: bool = True) -> R | BaseException:
        """The value. Waits for it, at most `timeout` seconds (`TimeoutError`); raises what the task raised.

        With `raise_on_failure=False` a failed task's exception is returned instead.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"task run '{self.name}' did not end within {timeout:g} s")
        if raise_on_failure or self._exc is None:
            return self._outcome()
        self.seen = True
        return self._exc

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

    @property
    def skipped(self) -> bool:
        """Whether its trigger kept the task from running; its value is None then."""
        return self.ended_as is not None and self.ended_as.name == "Skipped"

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
        if crashing.armed is not None:
            crashing.reached("future.ended")
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


class FutureList(list[Future[R]]):
    """What `map` returns: the futures in order. As an argument of another task it becomes the list of their values."""

    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: Literal[True] = True) -> list[R]: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: bool) -> list[R | BaseException]: ...
    def result(self, timeout: float | None = None, *, raise_on_failure: bool = True) -> list[Any]:
        """All values, in order. Waits, at most `timeout` seconds in all (`TimeoutError`); raises what the first failed one raised."""
        deadline = _Deadline(timeout)
        return [future.result(deadline.left(), raise_on_failure=raise_on_failure) for future in self]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for all, at most `timeout` seconds; returns whether all have ended."""
        deadline = _Deadline(timeout)
        return all(future.wait(deadline.left()) for future in self)


class DeferredList(Future[list[R]]):
    """What `map` over a future returns: the list of values, once that future has told what is mapped over. Nothing waits meanwhile.

    Its length and its futures are known when the future it maps over has ended: asking for them waits for that.
    """

    __slots__ = ("_expanded", "_futures")

    def __init__(self, run_id: str, name: str) -> None:
        super().__init__(run_id, name, list)
        self.claim()
        self._futures: FutureList[R] = FutureList()
        self._expanded = threading.Event()

    def expand(self, futures: Iterable[Future[R]]) -> None:
        """Now it is known: these are the futures. It ends when all of them have."""
        self._futures = FutureList(futures)
        self._expanded.set()
        when_all_ended(self._futures, self._gather)

    def give_up(self, exc: BaseException) -> None:
        """What it maps over will not come."""
        self.fail(exc)
        self._expanded.set()

    def _gather(self) -> None:
        failed = next((future for future in self._futures if future.failure is not None), None)
        if failed is not None and failed.failure is not None:
            self.seen = True  # each of its futures tells of its own failure
            self.fail(failed.failure)
        else:
            self.finish([future.result() for future in self._futures])

    def _outcome(self) -> list[R]:
        for future in self._futures:
            future.seen = True  # whoever is told of one failure has been told of all
        return super()._outcome()

    @property
    def futures(self) -> FutureList[R]:
        """The futures, in order. Waits until it is known which; raises when what it maps over has failed."""
        while not self._expanded.wait(0.2):
            pass
        if not self._futures and self.failure is not None:
            self._outcome()
        return self._futures

    def __iter__(self) -> Iterator[Future[R]]:
        return iter(self.futures)

    def __len__(self) -> int:
        return len(self.futures)

    @overload
    def __getitem__(self, index: int) -> Future[R]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Future[R]]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.futures[index]

    def __bool__(self) -> bool:
        return True


def when_all_ended(futures: Iterable[Future[Any]], act: Callable[[], None]) -> None:
    """Call `act` once, when all have ended; at once if they have. Meanwhile no thread is taken."""
    waiting = [future for future in futures if not future.done()]
    if not waiting:
        act()
        return
    left = [None] * len(waiting)
    last: list[None] = [None]

    def one_less(_: Future[Any]) -> None:
        left.pop()
        if not left:
            try:
                last.pop()  # atomic: exactly one caller gets it
            except IndexError:
                return
            act()

    for future in waiting:
        future.add_done_callback(one_less)


class Waited(NamedTuple, Generic[R]):
    """What `wait` returns."""

    done: list[Future[R]]
    not_done: list[Future[R]]


def wait(
    futures: Iterable[Future[R]], timeout: float | None = None, *, return_when: Literal["all", "first", "failure"] = "all"
) -> Waited[R]:
    """Wait until "all" have ended, the "first" has, or one has failed ("failure"; or all have ended); at most `timeout` seconds.

    Returns those that have ended and those that have not, in the order given. Raises nothing of what the tasks raised.
    """
    if return_when not in ("all", "first", "failure"):
        raise ValueError(f"return_when is {return_when!r}; give 'all', 'first' or 'failure'")
    given = list(futures)
    if return_when == "all":
        deadline = _Deadline(timeout)
        for future in given:
            future.wait(deadline.left())
    else:
        for future in as_completed(given, timeout=timeout, raise_on_timeout=False):
            if return_when == "first" or future.failure is not None:
                break
    return Waited([f for f in given if f.done()], [f for f in given if not f.done()])


class as_completed(Generic[R]):  # noqa: N801 the name the standard library gave it
    """Iterate over futures as they end: `for future in as_completed(futures)`, or `async for`. It forgets each one it has given.

    After `timeout` seconds in all it raises `TimeoutError`.
    """

    def __init__(self, futures: Iterable[Future[R]], *, timeout: float | None = None, raise_on_timeout: bool = True) -> None:
        self._ended: deque[Future[R]] = deque()
        self._arrived = threading.Condition()
        self._listeners: list[Callable[[], object]] = []
        self._deadline = _Deadline(timeout)
        self._raise = raise_on_timeout
        self._left = 0
        for future in list(futures):
            self._left += 1
            future.add_done_callback(self._arrive)

    def _arrive(self, future: Future[R]) -> None:
        with self._arrived:
            self._ended.append(future)
            self._arrived.notify()
            listeners, self._listeners = self._listeners, []
        for tell in listeners:
            tell()

    def __iter__(self) -> Iterator[Future[R]]:
        while self._left:
            with self._arrived:
                while not self._ended:
                    left = self._deadline.left()
                    if left is not None and left <= 0:
                        if self._raise:
                            raise TimeoutError(f"{self._left} futures had not ended in time")
                        return
                    self._arrived.wait(0.2 if left is None else min(0.2, left))  # in slices: a stop reaches a waiting thread between them
                future = self._ended.popleft()
            self._left -= 1
            yield future
            del future

    async def __aiter__(self) -> AsyncIterator[Future[R]]:
        import asyncio  # noqa: PLC0415 start-up time: sync flows never need it

        while self._left:
            arrived = asyncio.Event()
            loop = asyncio.get_running_loop()
            with self._arrived:
                future = self._ended.popleft() if self._ended else None
                if future is None:
                    self._listeners.append(lambda: loop.call_soon_threadsafe(arrived.set))  # noqa: B023 each round has its own
            if future is None:
                try:
                    await asyncio.wait_for(arrived.wait(), self._deadline.left())
                except TimeoutError:
                    raise TimeoutError(f"{self._left} futures had not ended in time") from None
                continue
            self._left -= 1
            yield future


class _Deadline:
    """A time-out that several waits share."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds left, never below zero; None: no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


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
