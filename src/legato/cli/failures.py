"""How a command ends badly: exit codes, and the three lines (what, why or hint, what next) or one JSON object that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from legato.core.errors import Conflict, LegatoError, NotFound, RunCancelled, RunCrashed, Unavailable, UsageError

if TYPE_CHECKING:
    from legato.core.states import StateType

EXIT_CODES = {
    0: "done",
    1: "failed: the operation, or the run that was waited for",
    2: "the command was misused; nothing was changed",
    3: "not found",
    4: "not allowed: log in, or ask for the right",
    5: "conflict: something is in the way, or in the wrong state",
    6: "the server or database cannot be reached",
    7: "timed out while waiting",
    8: "the run crashed",
    9: "the run was cancelled",
    130: "interrupted by Ctrl-C",
}
"""What each exit code means. The help of a command lists those it uses."""

FAILED, MISUSED, NOT_FOUND, FORBIDDEN, CONFLICT, UNREACHABLE, TIMED_OUT, CRASHED, CANCELLED, INTERRUPTED = (1, 2, 3, 4, 5, 6, 7, 8, 9, 130)


class Failure(LegatoError):
    """A command that ends with a code of its own. `next_step` is the third line: a command to type."""

    def __init__(self, message: str, *, exit_code: int = FAILED, hint: str = "", next_step: str = "", code: str = "failed") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.next_step = next_step
        self.code = code


def exit_code_of(error: LegatoError) -> int:
    """The exit code for an error, by its branch of the tree."""
    if isinstance(error, Failure):
        return error.exit_code
    if error.code in ("unauthorized", "wrong_key", "forbidden"):
        return FORBIDDEN
    branches = (
        (UsageError, MISUSED),
        (NotFound, NOT_FOUND),
        (Conflict, CONFLICT),
        (Unavailable, UNREACHABLE),
        (RunCrashed, CRASHED),
        (RunCancelled, CANCELLED),
    )
    return next((code for kind, code in branches if isinstance(error, kind)), FAILED)


def exit_code_of_fate(state: StateType) -> int:
    """The exit code that tells how a run ended."""
    return {"completed": 0, "failed": FAILED, "crashed": CRASHED, "cancelled": CANCELLED}.get(str(state), FAILED)


def as_lines(error: LegatoError) -> list[str]:
    """What, why or hint, what next; at most three lines unless the error itself has more to say."""
    what = error.message.rstrip()
    lines = [f"Error: {what}" if what.endswith((".", "!", "?", ":")) or "\n" in what else f"Error: {what}."]
    if error.hint:
        lines.append(error.hint)
    next_step = getattr(error, "next_step", "")
    if next_step:
        lines.append(next_step)
    return lines


def as_record(error: LegatoError) -> dict[str, object]:
    """The same for programs."""
    record: dict[str, object] = {"code": error.code, "message": error.message, "hint": error.hint, "exit_code": exit_code_of(error)}
    request_id = getattr(error, "request_id", "")
    return {**record, "request_id": request_id} if request_id else record
