"""Ending a call from outside: timeouts and cancellation of sync user code (async code: `aio.AsyncRegion`).

A `Region` is one stretch of user code. It holds a token; whoever pops it first wins: the code that leaves, or the one who wants it to stop.
So an asynchronous exception never lands in the engine's own lines (without the token it did in one of five tries).

The main thread is reached by a signal (at once, even in a sleep), other threads by an exception that CPython raises at their next
bytecode: a thread blocked in C stops when it returns.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
from collections.abc import Callable
from threading import get_ident
from typing import Any, Protocol

from legato.engine.script import CALLERS_TIMEOUT, TIMEOUT, Stop
from legato.engine.signals import LOCK_S, PATIENCE_S, interruptible, main_thread, takes_a_lock

_SPIN_S = 0.0005
_PATIENCE_S = 1.0
"""How long leaving code waits for a Stop that is on its way. User code may have swallowed it: then it is raised again here."""


class Region:
    """A stretch of sync user code on one thread. `inner` is the region its own call into the engine is running now, if any."""

    __slots__ = ("_sent", "_thread", "_token", "inner", "is_out", "reason")

    def __init__(self, outer: Region | None = None) -> None:
        """`outer`: the region whose code has called into the engine; a stop of that one ends this. Raises `Stop` when it was stopped already."""
        self._token: list[None] = []
        self._thread = 0
        self._sent = False
        self.is_out = False
        """Whether its code is in a call into the engine."""
        self.reason: str | None = None
        self.inner: Region | None = None
        if outer is not None:
            outer.inner = self
            if outer.reason is not None:
                raise Stop(outer.reason)

    @interruptible
    def call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run `fn` as this region. Raises `Stop` with its reason when it was stopped."""
        self._thread = get_ident()
        if self.reason is not None:
            self._check()
        self._token.append(None)
        if self.reason is not None:  # see `enter`
            self.step_out()
            self._check()
        try:
            try:
                value = fn(*args, **kwargs)
            except Stop:
                raise
            except BaseException:
                self.step_out()
                raise
            try:
                self._token.pop()
            except IndexError:
                self._take_stop()
            return value
        except Stop:
            if self.reason is None:
                self.step_out()
                raise
            raise Stop(self.reason) from None
        finally:
            self._thread = 0  # hooks, which run later in the same run's context, are not in it

    def _check(self) -> None:
        if self.reason is not None:
            self._sent = False
            raise Stop(self.reason)

    def raise_stop(self) -> None:
        """Raise the `Stop` that was asked for."""
        if self.reason is not None:
            raise Stop(self.reason)

    def put_off(self) -> None:
        self._sent = False

    @property
    def has_left(self) -> bool:
        return self.is_out and not self._sent

    def send(self, *, waits: bool) -> bool:
        """Have CPython raise the stop on another thread, at its next bytecode; true as well when its code has left. False when that is taking a
        lock and the stop `waits` for it.
        """
        import ctypes  # noqa: PLC0415 start-up time: wanted only when something must be stopped

        time.sleep(0)  # a new turn of the interpreter: what follows is not interrupted by another thread
        if self.is_out or not self._thread:
            return True
        if waits and takes_a_lock(sys._current_frames().get(self._thread)):  # noqa: SLF001 documented, "for specialized purposes"
            return False
        self._sent = True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(_StopNow))
        return True

    def step_out(self) -> None:
        """User code ends, or calls into the engine: from here on nothing is raised from outside."""
        self.is_out = True
        try:
            self._token.pop()
        except IndexError:
            self._take_stop()

    def _take_stop(self) -> None:
        """The token is gone: wait for the stop that took it. Without one, Ctrl-C came between leaving and coming back, and is on its way."""
        self.is_out = True
        if self.reason is None:
            return
        deadline = time.monotonic() + _PATIENCE_S
        while self._sent and time.monotonic() < deadline:
            time.sleep(_SPIN_S)
        raise Stop(self.reason)

    def stop(self, reason: str) -> None:
        """Ask for it to end. Returns at once; whatever runs inside it, on its thread, ends first."""
        if self.reason is not None:
            return
        self.reason = reason
        inner = self.inner
        if inner is not None:
            inner.stop(CALLERS_TIMEOUT if reason == TIMEOUT else reason)
        try:
            self._token.pop()
        except IndexError:
            return  # inside the engine, or over: `enter` sees the reason
        _raise_in(self._thread, self)


def called_by_user(region: Any) -> None:
    """User code calls into the engine while a Ctrl-C is held: raise it, before anything is done. Code that does little else than to call us is
    too seldom met in its own lines by the reminders.
    """
    if type(region) is Region and not region.is_out and region._thread == get_ident():  # noqa: SLF001 this is its module
        main_thread.raise_held()


def leave(region: Any) -> Region | None:
    """User code has called into the engine: nothing is raised from outside until `enter`. Returns the region to go back to, if there is one.

    There is none when the caller is no user code: what the engine calls back on this thread may call it again.
    """
    if type(region) is not Region or region.is_out or region._thread != get_ident():  # noqa: SLF001 this is its module
        return None
    region.is_out = True  # `step_out`, without a call more for each call of a task
    try:
        region._token.pop()  # noqa: SLF001 this is its module
    except IndexError:
        region._take_stop()  # noqa: SLF001 this is its module
    return region


def enter(region: Region | None) -> None:
    """Go back to the user's code; raises `Stop` if somebody asked for that meanwhile."""
    if region is None:
        return
    region.inner = None
    if region.reason is None:
        region.is_out = False
        region._token.append(None)  # noqa: SLF001 this is its module
        if region.reason is None:
            return
        region.step_out()  # type: ignore[unreachable]  # another thread may have set it  # a wish that came between the lines above: take the token back, or the Stop that is on its way
    region._check()  # noqa: SLF001 this is its module


def _raise_in(thread: int, region: Region) -> None:
    if thread == threading.main_thread().ident:
        region._sent = True  # noqa: SLF001 this is its module
        if main_thread.reach(region):
            return
    if not region.send(waits=True):
        threading.Thread(target=_send_later, args=(region,), name="legato-stop", daemon=True).start()


def _send_later(region: Region) -> None:
    until = time.monotonic() + PATIENCE_S
    while not region.send(waits=time.monotonic() < until):
        time.sleep(LOCK_S)


class _StopNow(Stop):
    """What CPython raises in another thread: it makes the instance itself, without arguments."""

    def __init__(self) -> None:
        super().__init__("")


class Stoppable(Protocol):
    """What the watcher can stop."""

    def stop(self, reason: str) -> None: ...


class _Watcher:
    """One thread that stops regions when their time is over."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Stoppable]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, region: Stoppable, seconds: float) -> None:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="legato-timeouts", daemon=True)
                self._thread.start()
            heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._numbers), region))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    self._changed.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                region = heapq.heappop(self._heap)[2]
            region.stop(TIMEOUT)


_watcher = _Watcher()


def stop_after(region: Stoppable, seconds: float) -> None:
    """Have it stopped with reason "timeout" after `seconds`, unless it has ended by then (that is for its `stop` to know)."""
    _watcher.watch(region, seconds)


def call_with_timeout(region: Region, seconds: float | None, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run `fn` as `region`, stopped with reason "timeout" after `seconds`. A region that has ended is not touched by its late alarm."""
    if seconds is not None and seconds > 0:
        _watcher.watch(region, seconds)
    elif seconds is not None:  # it has had its time: an alarm might come too late
        region.stop(TIMEOUT)
    return region.call(fn, args, kwargs)
