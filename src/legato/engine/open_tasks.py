"""The tasks a flow has submitted: which are under way, waiting for them, stopping them, and the failures that nobody has asked about."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from legato import crashing
from legato.core.errors import UpstreamFailed
from legato.engine.futures import SCOPE
from legato.engine.guarded import described
from legato.engine.script import CALLERS_TIMEOUT, TIMEOUT, Settle, Stop
from legato.logs import console

if TYPE_CHECKING:
    from legato.engine.futures import Future

ABANDON_AFTER_S = 5.0
"""How long a flow that was stopped waits for its tasks to stop."""


class Submitted(Protocol):
    """A submitted task run's shell."""

    run_id: str
    name: str
    is_abandoned: bool

    def stop(self, reason: str) -> None: ...

    def abandon(self, reason: str) -> None: ...


class Read(Protocol):
    """The shell of a generator's run."""

    run_id: str

    def leave_unread(self) -> None: ...


class OpenTasks:
    """One flow run's."""

    def __init__(self) -> None:
        self._open: dict[Future[Any], Submitted | None] = {}
        self._failed: dict[Future[Any], None] = {}
        self._read: weakref.WeakValueDictionary[str, Read] = weakref.WeakValueDictionary()
        self.failed_elsewhere: list[str] = []
        """Failures of tasks that worker processes have submitted, as they are said."""

    def opened(self, future: Future[Any], shell: Submitted | None, by: str) -> None:
        """A task was submitted by the code of the run `by`: the flow does not end before it."""
        self._open[future] = shell
        future.opened_by = by
        future.scope = SCOPE.get()
        future.then(self._closed)

    def read(self, shell: Read) -> None:
        """A generator's run has begun here. It is open for as long as somebody has the generator."""
        self._read[shell.run_id] = shell

    def _closed(self, future: Future[Any]) -> None:
        if future.unseen_failure:
            future.note_failure(self._failed)
        self._open.pop(future, None)

    def under_way(self) -> list[Future[Any]]:
        """The submitted tasks that have not ended."""
        return list(self._open.copy())

    def one_under_way(self) -> Future[Any] | None:
        """One of the submitted tasks that have not ended."""
        while True:
            try:
                return next(iter(self._open), None)
            except RuntimeError:  # another thread has just ended one
                continue

    def failed(self) -> list[Future[Any]]:
        """Submitted tasks that failed, as far as nobody has dealt with it."""
        return list(self._failed.copy())

    def take_unseen(self) -> list[str]:
        """What to say of each failure that nobody asked about. One whose failure another task or the flow has met is not repeated."""
        failed, self._failed = self._failed, {}
        elsewhere, self.failed_elsewhere = self.failed_elsewhere, []
        return elsewhere + [
            f"'{future.name}' ({described(failure)})"
            for future in failed
            if future.unseen_failure and (failure := future.failure) is not None and not isinstance(failure, UpstreamFailed)
        ]

    def forgive(self, by: str | None = None) -> None:
        """What was submitted so far is an earlier attempt's, the flow's or only the task run's `by`: the next one does not answer for it, also
        where it fails later.
        """
        for future in [*self.failed(), *self.under_way()]:
            if by is None or future.opened_by == by:
                future.seen = True

    # -- waiting and stopping

    def settle(self, i: Settle, ends_at: float | None, check: Callable[[], None]) -> None:
        """Wait for what is under way; those asked to stop get ABANDON_AFTER_S. Raises `Stop` when the flow's own time is over.

        `check` raises when the flow has been asked to stop; one that is stopping waits all the same.
        """
        self.stop(i.stop)
        left = seconds_to_settle(i, ends_at)
        deadline = None if left is None else time.monotonic() + left
        while (future := self.one_under_way()) is not None:
            if deadline is None:
                future.await_end(check)
            elif not future.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                self.out_of_time(i)
                break
            if not i.stop:
                check()
        self.settled()

    def settled(self) -> None:
        """Nothing is under way any more but generators that their readers have left: the flow does not wait for those."""
        self.leave_unread()
        crashing.reached("flow.settled")

    def leave_unread(self) -> None:
        """The run ends before some readers have come to the end of their generators."""
        for read in list(self._read.values()):
            read.leave_unread()

    def out_of_time(self, i: Settle) -> None:
        """The wait took too long: those who were asked to stop are abandoned, and a flow whose time is over is told so."""
        if not i.stop:
            raise Stop(TIMEOUT)
        self.abandon(i.stop)

    def drain(self) -> None:
        """Wait until what is under way here has ended, so that a suspension loses no work. Called from the flow's own code."""
        while (future := self.one_under_way()) is not None:
            future.wait()

    def stop(self, reason: str) -> None:
        """Ask the submitted tasks that have not ended to stop."""
        for shell in self._open.copy().values() if reason else ():
            if shell is not None:
                shell.stop(CALLERS_TIMEOUT if reason == TIMEOUT else reason)

    def abandon(self, reason: str) -> None:
        """Record the end of tasks that were asked to stop and have not: they are blocked outside of Python. What they still do does not count."""
        for shell in self._open.copy().values():
            if shell is not None and not shell.is_abandoned:
                shell.abandon(reason)
                console.line("WARNING", f"task run '{shell.name}'", "it could not be stopped: its thread was abandoned")


def seconds_to_settle(i: Settle, ends_at: float | None) -> float | None:
    """How long to wait for a flow's tasks, None: as long as it takes. `ends_at`: when the flow's own time is over."""
    if i.stop:
        return ABANDON_AFTER_S
    return None if ends_at is None else max(0.0, ends_at - time.monotonic())
