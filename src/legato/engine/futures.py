"""Futures: a submitted task's value, or what it raised, once it is there."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, SupportsIndex, TypeVar, cast, overload

from legato import crashing
from legato.core.states import State, StateType
from legato.engine.waiting import wait_for
from legato.logs import console

if TYPE_CHECKING:
    from legato.engine.identity.lanes import Sighting

R = TypeVar("R")


SCOPE: contextvars.ContextVar[Any] = contextvars.ContextVar("legato_scope", default=None)
"""The block that the running code is in and that ends after its tasks: a transaction, or None."""


class _Made:
    any = False


made = _Made()
"""`any`: whether there is, or ever was, a future in this process, or a wrapper around an argument. If not, arguments need not be searched."""


_NOTHING: list[Any] = []
"""What an ended future has in place of its callbacks and its claim: nothing is added to it. One for all: a flow holds many futures."""


class Future(Generic[R]):
    """The promise of a submitted task run. `await` it, or call `result()`.

    `run_id` and `name` are the task run's. A future handed to another task makes that task wait for this one, and receive its value.
    """

    __slots__ = (
        *("__weakref__", "_callbacks", "_claim", "_event", "_exc", "_lock", "_noted_in", "_seen", "_state", "_tb", "_value", "_work"),
        *("context", "ended_as", "loop", "name", "opened_by", "run_id", "runner", "scope", "sighting", "waits_for"),
    )

    def __init__(self, run_id: str, name: str, work: Callable[[], R]) -> None:
        made.any = True
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
        self._seen = False
        self._noted_in: dict[Future[Any], None] | None = None
        self.ended_as: State | None = None
        self.sighting: Sighting | None = None
        """To be told when somebody has come to know that it has ended."""
        self.opened_by = ""
        """The run whose code submitted it."""
        self.runner: Any = None
        """Where it waits for its turn, if whoever waits for it may run it in place."""
        self.loop: Any = None
        """The event loop that its code runs on."""
        self.waits_for: Sequence[Future[Any]] = ()
        """What must have ended before it begins."""

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
        if self._state is None:
            return False
        self.is_seen_here()
        return True

    @property
    def made_by(self) -> str:
        """Which call of the flow it stands for: the same in every attempt."""
        return self.sighting.call.path if self.sighting is not None else ""

    def is_seen_here(self) -> None:
        """The calling code comes to know that it has ended: what that calls from now on comes after it."""
        if self.sighting is not None:
            self.sighting.seen()

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

    def add_done_callback(self, callback: Callable[[Future[R]], Any]) -> None:
        """Call `callback(self)` when it has ended, on the thread that ended it, before what waits for it begins; at once if it has ended.

        What it raises is told on the console.
        """
        self.then(functools.partial(_call_back, callback))

    def __await__(self) -> Generator[Any, None, R]:
        if self._state is None:
            yield from ended(self).__await__()
        self.is_seen_here()
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

    def then(self, act: Callable[[Future[Any]], None]) -> None:
        """The engine's own `add_done_callback`, for what is known not to raise. All are called in the order in which they were added."""
        with self._lock:
            if self._state is None:
                self._callbacks.append(act)
                return
        act(self)

    def forget(self, act: Callable[[Future[Any]], None]) -> None:
        """Take back what was given to `then`."""
        with self._lock, contextlib.suppress(ValueError):
            self._callbacks.remove(act)

    @property
    def seen(self) -> bool:
        """Whether somebody has been told how it ended."""
        return self._seen

    @seen.setter
    def seen(self, seen: bool) -> None:
        self._seen = seen
        noted = self._noted_in
        if noted is not None and seen:
            noted.pop(self, None)

    def note_failure(self, failures: dict[Future[Any], None]) -> None:
        """Put it among a flow's failures that nobody has dealt with, until somebody does."""
        self._noted_in = failures
        failures[self] = None
        if self._seen:
            failures.pop(self, None)

    @property
    def unseen_failure(self) -> bool:
        """Whether it failed and nobody has asked."""
        return self._exc is not None and not self._seen

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
            self.waits_for = ()
            callbacks, self._callbacks = self._callbacks, _NOTHING
            self._claim = _NOTHING
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

    def await_end(self, check: Callable[[], None]) -> None:
        """The engine's own `wait`: `check` is called now and then, and ends the wait by raising."""
        if self._state is None:
            self._wait(None, check)

    def _wait(self, timeout: float | None, check: Callable[[], None] | None = None) -> None:
        with self._lock:
            if self._state is not None:
                return
            event = self._event
            if event is None:
                event = self._event = threading.Event()
        wait_for(event, (self,), timeout, helping=True, check=check)


def _call_back(callback: Callable[[Future[Any]], Any], future: Future[Any]) -> None:
    """Call a user's callback: what it raises concerns neither the thread that ended the future, nor whoever else waits for it."""
    try:
        callback(future)
    except BaseException as error:  # noqa: BLE001 user code; whatever it raises has no other place to go
        from legato.engine.guarded import described, named  # noqa: PLC0415 start-up time: only for mistakes

        console.line("ERROR", f"task run '{future.name}'", f"its done-callback {named(callback)} raised {described(error)}")


class FutureList(list[Future[R]]):
    """What `map` returns: the futures in order. As an argument of another task it becomes the list of their values."""

    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: Literal[True] = True) -> list[R]: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: bool) -> list[R | BaseException]: ...
    def result(self, timeout: float | None = None, *, raise_on_failure: bool = True) -> list[Any]:
        """All values, in order. Waits, at most `timeout` seconds in all (`TimeoutError`); raises what the first failed one raised."""
        deadline = _Deadline(timeout)
        try:
            return [future.result(deadline.left(), raise_on_failure=raise_on_failure) for future in self]
        except TimeoutError:
            raise
        except BaseException:
            for future in self:
                future.seen = True  # whoever is told of one failure has been told of all
            raise

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for all, at most `timeout` seconds; returns whether all have ended."""
        deadline = _Deadline(timeout)
        return all(future.wait(deadline.left()) for future in self)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Future[R]: ...
    @overload
    def __getitem__(self, index: slice) -> FutureList[R]: ...
    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return FutureList(found) if isinstance(index, slice) else found

    def __add__(self, other: list[Any]) -> FutureList[Any]:  # type: ignore[override]  # the list's own overload says the same of any two lists
        return FutureList([*self, *other])

    def __radd__(self, other: list[Any]) -> FutureList[Any]:
        return FutureList([*other, *self])

    def copy(self) -> FutureList[R]:
        return FutureList(self)


class DeferredList(Future[list[R]]):
    """What `map` over a future returns: the list of values, once that future has told what is mapped over. Nothing waits meanwhile.

    Its length and its futures are known when the future it maps over has ended: asking for them waits for that.
    """

    __slots__ = ("_expanded", "_futures", "mapped")

    def __init__(self, run_id: str, name: str) -> None:
        super().__init__(run_id, name, list)
        self.claim()
        self.mapped = ""
        self._futures: FutureList[R] = FutureList()
        self._expanded = threading.Event()

    def expand(self, futures: Iterable[Future[R]]) -> None:
        """Now it is known: these are the futures. It ends when all of them have."""
        self._futures = self.waits_for = FutureList(futures)
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
            self.finish([future._value for future in self._futures])  # noqa: SLF001 nobody has asked for them yet

    @property
    def made_by(self) -> str:
        return self.mapped

    def is_seen_here(self) -> None:
        for future in self._futures:
            future.is_seen_here()

    def _outcome(self) -> list[R]:
        for future in self._futures:
            future.seen = True  # whoever is told of one failure has been told of all
        return super()._outcome()

    @property
    def futures(self) -> FutureList[R]:
        """The futures, in order. Waits until it is known which; raises when what it maps over has failed."""
        wait_for(self._expanded, self.waits_for, helping=True)
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
        future.then(one_less)


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
    given = list(dict.fromkeys(futures))
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
        self._arrived = threading.Event()
        self._listeners: list[Callable[[], object]] = []
        self._deadline = _Deadline(timeout)
        self._raise = raise_on_timeout
        self._waiting: dict[int, Future[R]] = dict(enumerate(dict.fromkeys(futures)))
        for n, future in list(self._waiting.items()):
            future.then(functools.partial(self._arrive, n))

    def _arrive(self, n: int, future: Future[R]) -> None:
        self._waiting.pop(n, None)
        self._ended.append(future)
        self._arrived.set()
        listeners, self._listeners = self._listeners, []
        for tell in listeners:
            tell()

    def _next(self) -> Future[R] | None:
        """One that has ended. After None, `_arrived` is set by the next that does."""
        try:
            return self._ended.popleft()
        except IndexError:
            self._arrived.clear()
        try:
            return self._ended.popleft()  # it may have come before the event was cleared
        except IndexError:
            return None

    @property
    def _left(self) -> int:
        return len(self._waiting) + len(self._ended)

    def __iter__(self) -> Iterator[Future[R]]:
        while self._left:
            future = self._next()
            if future is None:
                if self._left and not wait_for(self._arrived, list(self._waiting.values()), self._deadline.left()):
                    if self._raise:
                        raise self._late()
                    return
                continue
            future.is_seen_here()
            yield future
            del future

    async def __aiter__(self) -> AsyncIterator[Future[R]]:
        import asyncio  # noqa: PLC0415 start-up time: sync flows never need it

        while self._left:
            future = self._next()
            if future is None:
                arrived = asyncio.Event()
                self._listeners.append(on_loop(asyncio.get_running_loop(), arrived.set))
                if not self._ended:  # else it came before the listener did
                    try:
                        await asyncio.wait_for(arrived.wait(), self._deadline.left())
                    except TimeoutError:
                        raise self._late() from None
                continue
            future.is_seen_here()
            yield future
            del future

    def _late(self) -> TimeoutError:
        return TimeoutError(f"{self._left} futures had not ended in time")


class _Deadline:
    """A time-out that several waits share."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds left, never below zero; None: no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


def on_loop(loop: Any, act: Callable[[], Any]) -> Callable[[], None]:
    """`act`, called on its loop from any thread; nothing, when that loop has been closed: nobody waits there any more."""

    def tell() -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(act)

    return tell


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

    tell = on_loop(loop, wake)

    def has_ended(_: Future[Any]) -> None:
        tell()

    future.then(has_ended)
    try:
        await waiter
    finally:
        future.forget(has_ended)
