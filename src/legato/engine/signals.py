"""Signals on the main thread while a flow runs there: what a stop is sent by, SIGTERM, and Ctrl-C.

Python raises KeyboardInterrupt between any two bytecodes. In lines of ours that would leave a transaction open, or a lock taken, and the run
Running for ever. So a Ctrl-C that comes while our code runs is held until the user's code runs again, or a wait of ours looks for it.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Protocol, TypeVar

from legato.forking import at_fork

_F = TypeVar("_F", bound=Callable[..., Any])

_SIGNAL = getattr(signal, "SIGURG", None)
"""What reaches the main thread. By default it is ignored, and next to nobody uses it: SIGUSR1 is faulthandler's and gunicorn's."""

_REMIND_S = 0.02

LOCK_S = 0.001
"""How soon to look again whether code that takes a lock has done so."""

PATIENCE_S = 3.0
"""After this long in lines of ours, which must be waiting for something that does not come, a held Ctrl-C is raised wherever they are."""

TERMINATED = "terminated: the process was sent SIGTERM"

_OURS = __name__.partition(".")[0]

_TAKING = ("__enter__", "__exit__", "acquire", "release", "_acquire_restore", "_release_save")
"""What takes a lock in `threading`."""

_interruptible: set[CodeType] = set()


def interruptible(fn: _F) -> _F:
    """Mark a function of ours in which KeyboardInterrupt may be raised: it calls the user's code, or only waits."""
    _interruptible.add(fn.__code__)
    return fn


def _package_of(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def takes_a_lock(frame: FrameType | None) -> bool:
    """Whether this code may have just taken a lock and not yet come to the `try` that gives it back: nothing must be raised in it from outside.

    Logging takes its handlers' locks so: raised there, a stop leaves every thread that logs hanging.
    """
    if frame is not None and frame.f_code.co_name in _TAKING and frame.f_globals.get("__name__") == "threading":
        return True
    while frame is not None and (package := _package_of(frame)) != _OURS:
        if package == "logging":
            return True
        frame = frame.f_back
    return False


def _may_raise_in(frame: FrameType | None) -> bool:
    if takes_a_lock(frame):
        return False
    while frame is not None:
        if _package_of(frame) == _OURS:
            return frame.f_code in _interruptible
        frame = frame.f_back
    return True


def _cancelled_by_asyncio(signum: int, frame: FrameType | None) -> bool:
    """Whether a running `asyncio.run` has taken it: it cancels its main task, as it does where SIGINT is Python's own; once, not a second time."""
    runners: Any = sys.modules.get("asyncio.runners")
    while runners is not None and frame is not None:
        if frame.f_code is runners.Runner.run.__code__:
            runner, task = frame.f_locals["self"], frame.f_locals.get("task")
            if task is None or task.done() or runner._interrupt_count:  # noqa: SLF001 its handler is put in place only if it finds Python's
                return False
            runner._on_sigint(signum, frame, task)  # noqa: SLF001 as above
            return True
        frame = frame.f_back
    return False


class Stopped(Protocol):
    """A stretch of user code that somebody wants to end."""

    def raise_stop(self) -> None:
        """Raise what ends it."""
        ...

    def put_off(self) -> None:
        """It is not raised yet; if its code leaves before it is, it sees so for itself."""
        ...

    @property
    def has_left(self) -> bool:
        """Whether its code has left since it was put off."""
        ...


class _MainThread:
    """The handlers, installed while a flow runs on the main thread, of those signals that the program leaves to Python."""

    def __init__(self) -> None:
        self._owners = 0
        self._target: Stopped | None = None
        self._before: dict[int, Any] = {}
        self._on_term: list[Callable[[], None]] = []
        self._was_terminated = False
        self._put_off_since: float | None = None
        self.held_since: float | None = None
        """When a Ctrl-C came that has not been raised yet, as the monotonic clock has it."""
        self._generation = 0
        """How many forks this is away from the first process."""

    def reach(self, region: Stopped) -> bool:
        """Have this region end, on the main thread; false when no flow runs there, or the platform has no such signal."""
        if _SIGNAL is None or _SIGNAL not in self._before:
            return False
        self._target = region
        self._send()
        return True

    def _send(self) -> None:
        if _SIGNAL is not None:
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)

    def _send_later(self) -> None:
        time.sleep(LOCK_S)
        self._send()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 the signal module's signature
        region, self._target = self._target, None
        if region is None or region.has_left:
            self._put_off_since = None
        else:
            since = self._put_off_since or time.monotonic()
            if takes_a_lock(frame) and time.monotonic() - since < PATIENCE_S:
                region.put_off()
                self._target, self._put_off_since = region, since
                _thread.start_new_thread(self._send_later, ())
            else:
                self._put_off_since = None
                region.raise_stop()
        if self.held_since is not None and (time.monotonic() - self.held_since > PATIENCE_S or _may_raise_in(frame)):
            self.held_since = None
            raise KeyboardInterrupt

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        """SIGINT."""
        if _cancelled_by_asyncio(signum, frame):
            return
        if _may_raise_in(frame):
            self.held_since = None
            raise KeyboardInterrupt
        if self.held_since is None:
            self.held_since = time.monotonic()
            _thread.start_new_thread(self._remind, ())  # a Thread takes locks, which the interrupted line may hold

    def _remind(self) -> None:
        while self.is_holding:
            time.sleep(_REMIND_S)
            self._send()

    @property
    def is_holding(self) -> bool:
        """Whether a Ctrl-C waits to be raised by us."""
        return self.held_since is not None and signal.SIGINT in self._before

    def raise_held(self) -> None:
        """Raise KeyboardInterrupt if one is held and this is the main thread: for waits, between their slices."""
        if self.is_holding and threading.current_thread() is threading.main_thread():
            self.held_since = None
            raise KeyboardInterrupt

    @contextmanager
    def owned(self, on_term: Callable[[], None] | None) -> Iterator[None]:
        if self._owners == 0:
            self._install()
        self._owners += 1
        if on_term is not None:
            self._on_term.append(on_term)
        generation = self._generation
        try:
            yield
        except KeyboardInterrupt:
            self.held_since = None  # the second of two: the first one is on its way
            raise
        finally:
            if generation == self._generation:
                self._owners -= 1
                if on_term is not None:
                    self._on_term.remove(on_term)
                if self._owners == 0:
                    self._uninstall()

    def _install(self) -> None:
        """Take the signals that nobody else has taken, SIGINT last: what comes of it is held from then on, until all are given back."""
        self.held_since = None  # one that came while handlers were given back has been raised since
        self._take(signal.SIGTERM, (signal.SIG_DFL,), self._terminate)
        if _SIGNAL is not None and self._take(_SIGNAL, (signal.SIG_DFL, signal.SIG_IGN), self._on_signal):
            self._take(signal.SIGINT, (signal.default_int_handler,), self._interrupt)

    def _take(self, number: int, left_alone: tuple[Any, ...], handler: Callable[[int, FrameType | None], None]) -> bool:
        before = signal.getsignal(number)
        if before == handler:  # a Ctrl-C came while they were being installed
            return True
        if before not in left_alone:
            return False
        self._before[number] = before
        signal.signal(number, handler)
        return True

    def _uninstall(self) -> None:
        self._give_back()  # SIGINT first: from then on Python raises
        is_interrupted, self.held_since = self.held_since is not None, None
        if self._was_terminated:  # the runs have ended; now the process does, as it would have without us
            os.kill(os.getpid(), signal.SIGTERM)
        if is_interrupted:
            raise KeyboardInterrupt

    def _give_back(self) -> None:
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before)

    def _terminate(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 the signal module's signature
        """SIGTERM, where the program has no handler of its own: the runs are told. A second one is not held up."""
        self._was_terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for tell in list(self._on_term):
            tell()

    def leave_to_the_parent(self) -> None:
        """In a forked child: its signals are as before the flow, which the parent drives."""
        self._generation += 1
        self._owners, self._target, self.held_since, self._was_terminated = 0, None, None, False
        self._on_term.clear()
        self._give_back()


main_thread = _MainThread()
at_fork(in_child=main_thread.leave_to_the_parent)


@contextmanager
def main_thread_stops(on_term: Callable[[], None] | None = None) -> Iterator[None]:
    """While a flow runs on the main thread, let its regions be stopped by a signal; the user's own handler comes back afterwards.

    `on_term` is called when the process is sent SIGTERM, unless the program sees to that itself; the process ends by it when the flow has.
    """
    if threading.current_thread() is threading.main_thread():
        with main_thread.owned(on_term):
            yield
    else:
        yield
