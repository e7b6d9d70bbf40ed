"""What an agent holds: one attempt at a run, by the token it was claimed under, and the states it goes through. Pure.

Two attempts at one run may be in the table at once (the first lost, its process still ending): nothing is ever looked up by the run alone.

    starting ──> running ──> stopping ──> exited ──> told
        └───────────┴────────────────────────^

`starting`: asked for, no process yet. `running`: it has one. `stopping`: asked to end, and killed at `kill_at`. `exited`: its process is gone,
or never came; what that means has to be told to the store. `told`: done, and out of the table.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeAlias

from legato.core.records import Claim
from legato.flow_runners.options import FlowRunner

Key: TypeAlias = tuple[str, int, int]
"""Run, token of the holding, number of the attempt."""


class Phase(Enum):
    """Where an attempt stands."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"
    TOLD = "told"


FOLLOWS: Mapping[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.RUNNING, Phase.STOPPING, Phase.EXITED}),
    Phase.RUNNING: frozenset({Phase.STOPPING, Phase.EXITED}),
    Phase.STOPPING: frozenset({Phase.EXITED}),
    Phase.EXITED: frozenset({Phase.TOLD}),
    Phase.TOLD: frozenset(),
}

HOLDS = frozenset({Phase.STARTING, Phase.RUNNING, Phase.STOPPING})
"""While it is in one of these, the agent says that it lives."""

START_TIMEOUT_S = 30.0
"""A start that is not answered in this time is a loss."""


LINGERS_AFTER_S = 10.0
"""A process that goes on so long after its run's end is told of."""


class Attempt:
    """One attempt at a run. `process` is the launcher's; `code` and `why` say how it ended, `never_ran` that it did not come to run at all.

    `over_s`: since when the run is known to be over, while its process goes on.
    """

    def __init__(self, claim: Claim, at_s: float) -> None:
        self.claim = claim
        self.phase = Phase.STARTING
        self.begun_s = at_s
        self.kill_at: float | None = None
        self.process: Any = None
        self.options: FlowRunner | None = None
        self.code = 0
        self.why = ""
        self.never_ran = False
        self.is_silent = False
        self.over_s: float | None = None
        self.lingers = False

    @property
    def key(self) -> Key:
        """What it is known by."""
        run = self.claim.flow_run
        return (run.id, run.epoch, run.attempt)

    @property
    def epoch(self) -> int:
        """The token under which the run is held."""
        return self.claim.flow_run.epoch

    def goes(self, to: Phase) -> bool:
        """Go on to a phase; False where that cannot follow: it is there already, or past it."""
        if to not in FOLLOWS[self.phase]:
            return False
        self.phase = to
        return True

    def looks_after(self, now_s: float) -> str:
        """What has to be done about it now: "" nothing, "kill", "give up" a start that nobody answered, "tell" that it
        lingers, or "end" one that has lingered for too long.
        """
        pid = self.process.pid if self.process is not None else 0
        if self.phase is Phase.STARTING and pid:
            self.goes(Phase.RUNNING)
        if self.phase is Phase.STARTING and now_s - self.begun_s > START_TIMEOUT_S:
            return "give up"
        if self.phase is Phase.STOPPING and not pid:
            return "give up"
        if self.phase is Phase.RUNNING and self.over_s is not None:
            return self._lingering(now_s - self.over_s)
        return "kill" if self.phase is Phase.STOPPING and self.kill_at is not None and now_s >= self.kill_at else ""

    def _lingering(self, for_s: float) -> str:
        may_s = self.options.linger_s if self.options is not None else 0.0
        if may_s and for_s >= may_s:
            return "end"
        return "tell" if for_s >= LINGERS_AFTER_S and not self.lingers else ""

    def ending(self) -> str:
        """How its process ended, in words."""
        if self.why:
            return self.why
        if self.code < 0:
            name = signal_name(-self.code)
            reason = " (the kernel, when memory runs out, is the usual one to do that)" if name == "SIGKILL" else ""
            return f"its process was killed by {name}{reason}"
        return f"its process ended (exit code {self.code}) before the run did"

    def failed_start(self) -> str:
        """The same of one that ended before the run began."""
        file = PurePath(self.claim.deployment.entrypoint.partition(":")[0]).name
        if self.why:
            return self.why
        how = f"killed by {signal_name(-self.code)}" if self.code < 0 else f"exit code {self.code}"
        return f"{how} while loading {file}"


def signal_name(number: int) -> str:
    """A signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
