"""The tree of errors Legato raises on purpose. Branches follow who can act.

    LegatoError
    ├── UsageError          fix the code or the command       (also ValueError)
    │   ├── ScheduleError       a schedule that cannot be read or never fires
    │   └── ParameterError      parameters that do not fit a flow's signature
    ├── NotFound            ask for something that exists     (also LookupError)
    ├── Conflict            look again, then ask again
    ├── Unavailable         try again later                   (also ConnectionError)
    ├── Rejected            this one request is at fault: sent again, it is refused again
    ├── RunFailure          the run itself ended badly; nothing is wrong with Legato
    │   ├── UpstreamFailed      a task this one depends on did not complete
    │   ├── TaskTimeout         (also TimeoutError)
    │   ├── PauseTimeout        nobody answered a paused run in time (also TimeoutError)
    │   ├── RunSuspended        it waits for a person, and no process holds it
    │   ├── RunCrashed          the process or machine under it went away
    │   └── RunCancelled        somebody asked for it to stop
    ├── ResultMissing       a stored result is gone, damaged, or was never stored
    └── Corrupt             tell us: data that Legato wrote cannot be read

A message says what happened, with the value; `hint` says what to do about it. Neither holds a traceback.
"""

from __future__ import annotations


class LegatoError(Exception):
    """Any error Legato raises on purpose.

    `hint` is one line that tells the reader what to do next; `code` is a stable word for programs.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(LegatoError, ValueError):
    """The code or the command is wrong; nothing was changed."""

    code = "usage"


class ScheduleError(UsageError):
    """A schedule that cannot be read, or that would never fire."""

    code = "bad_schedule"


class ParameterError(UsageError):
    """Parameters that do not fit the flow's signature; the flow was not started."""

    code = "bad_parameters"


class NotFound(LegatoError, LookupError):
    """Nothing of that name or id is here. `kind` is the noun that was looked for."""

    code = "not_found"

    def __init__(self, kind: str, wanted: str, *, hint: str = "") -> None:
        super().__init__(f"no {kind} '{wanted}'", hint=hint)
        self.kind = kind
        self.wanted = wanted


class Conflict(LegatoError):
    """The thing has changed, or is in the way; nothing was changed by this call."""

    code = "conflict"


class Unavailable(LegatoError, ConnectionError):
    """A server, database or storage cannot be reached now. Trying again later may work."""

    code = "unavailable"


class Rejected(LegatoError):
    """A server refused one request for what is in it: too large, or not what it takes. Sent again, it is refused again."""

    code = "rejected"


class RunFailure(LegatoError):
    """A run ended in a state other than COMPLETED."""

    code = "run_failed"


class UpstreamFailed(RunFailure):
    """A task was not started because one it depends on did not complete."""

    code = "upstream_failed"


class TaskTimeout(RunFailure, TimeoutError):
    """A flow or task took longer than its `timeout_seconds`."""

    code = "timed_out"


class PauseTimeout(RunFailure, TimeoutError):
    """A paused flow was not answered within its timeout."""

    code = "pause_timed_out"


class RunSuspended(RunFailure):
    """A flow run was suspended: it waits for a person without a process, and goes on when it is resumed."""

    code = "run_suspended"


class RunCrashed(RunFailure):
    """The process or machine under a run went away before the run could end."""

    code = "run_crashed"


class RunCancelled(RunFailure):
    """A run was stopped because somebody asked for it."""

    code = "run_cancelled"


class ResultMissing(LegatoError):
    """A result that cannot be had: never stored, not serialisable, gone, or damaged in storage."""

    code = "result_missing"


class Corrupt(LegatoError):
    """Data that Legato wrote cannot be read back. Please report it."""

    code = "corrupt"
