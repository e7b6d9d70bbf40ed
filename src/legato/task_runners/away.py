"""What all runners that perform calls elsewhere share: ending such a call from outside, and what its end means to the task run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from legato.engine import jobs
from legato.engine.jobs import Answer
from legato.engine.script import Lost, Stop
from legato.engine.shell import TaskShell
from legato.engine.stops import stop_after

GRACE_S = 2.0
"""How long a function that was asked to stop may take before it is ended by force."""


class Away:
    """A call performed elsewhere: the twin of `stops.Region`, with the same token. Whoever pops it first wins.

    `ask` asks the function to end, `force` makes an end after `GRACE_S`. Both return at once and may be called from any thread.
    """

    def __init__(self, ask: Callable[[], None], force: Callable[[], None]) -> None:
        self._ask = ask
        self._force = force
        self._token = [None]
        self._over = False
        self.reason: str | None = None

    def begin(self, shell: TaskShell) -> None:
        """From here on a stop of the task run is one of this call, and its timeout counts. Raises `Stop` when that was asked for already."""
        shell.region = self
        if shell.stop_reason is not None:
            self.over()
            raise Stop(shell.stop_reason)
        if shell.policy.timeout_s is not None:
            stop_after(self, shell.policy.timeout_s)

    def over(self) -> bool:
        """It has ended; false: somebody wanted it to stop before it had."""
        self._over = True
        try:
            self._token.pop()
        except IndexError:
            return False
        return True

    def stop(self, reason: str) -> None:
        """Ask the function to end, and see to it that it does."""
        if self.reason is not None:
            return
        try:
            self._token.pop()
        except IndexError:
            return
        self.reason = reason
        self._ask()
        stop_after(_Force(self), GRACE_S)

    def end_by_force(self) -> None:
        if not self._over:
            self._force()

    def outcome(self, answer: Answer | None, shell: TaskShell, lost: Callable[[], str]) -> Any:
        """The call's value, or what it raised, after `over`. `answer` is None when whoever performed it is gone; `lost` says how."""
        if self.reason is not None:
            raise Stop(self.reason)
        if answer is None:
            raise Lost(lost())
        if answer.stopped is not None:
            raise Lost(f"task run '{shell.name}' was ended by a signal that came from outside")
        return jobs.opened(answer, shell)


class _Force:
    """What follows a wish that was not heard."""

    def __init__(self, away: Away) -> None:
        self._away = away

    def stop(self, reason: str) -> None:  # noqa: ARG002 the watcher's signature
        self._away.end_by_force()
