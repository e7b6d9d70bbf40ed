"""The life of a flow run and of a task run, written once: generators that yield instructions and are sent replies.

Pure: no clock, store, thread or logger here. `drive` and `adrive` perform the instructions; the traces of both are equal by test.
User code's exceptions arrive at `yield CALL`; so does `Stop`, when somebody or a timeout ends the call from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import msgspec

from legato.core.errors import RunCancelled, RunCrashed, TaskTimeout, UpstreamFailed
from legato.core.records import Result, Verdict, VerdictKind
from legato.core.retry import RetryPolicy, delay_before_retry
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, RUNNING, SCHEDULED, StateType


class Stop(BaseException):
    """Ends a call from outside. A BaseException, so that `except Exception` in user code does not swallow it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Lost(Exception):
    """The process that performed a call elsewhere went away before it answered. Never leaves the script: users see `RunCrashed`."""


CANCEL = "cancelled"
TIMEOUT = "timeout"


class Propose(msgspec.Struct):
    """Propose a state; the reply is the verdict. `gate`: wait for the store's answer; otherwise it is taken as accepted and sent later."""

    type: StateType
    name: str
    message: str = ""
    gate: bool = False
    result: Result | None = None
    error: BaseException | None = None
    delay_s: float = 0.0


class Call(msgspec.Struct):
    """Run the user's function; the reply is its value."""


class Sleep(msgspec.Struct):
    """Wait, unless stopped."""

    seconds: float


class Save(msgspec.Struct):
    """Store a value; the reply is its `Result`, which tells when that was not possible."""

    value: Any


class Load(msgspec.Struct):
    """Read a stored value back."""

    result: Result


class Settle(msgspec.Struct):
    """Wait for the tasks the flow has submitted; the reply names those that failed without anybody having asked, and why.

    With `stop`, ask those that have not ended to stop first, for that reason.
    """

    stop: str = ""


class Draw(msgspec.Struct):
    """Draw a number from [0, 1), for jitter."""


Instruction: TypeAlias = Propose | Call | Sleep | Save | Load | Settle | Draw
Script: TypeAlias = Generator[Instruction, Any, Any]

CALL = Call()
SETTLE = Settle()
DRAW = Draw()
_RUN = Propose(RUNNING, "Running")
_RUN_GATED = Propose(RUNNING, "Running", gate=True)
_DONE = Propose(COMPLETED, "Completed")
_FAILED_END, _CRASHED_END = (FAILED, "Failed"), (CRASHED, "Crashed")
_LOST_HINT = "out of memory, os._exit or a crash in native code are the usual reasons; with retries the task is tried again"


class Policy(msgspec.Struct, frozen=True):
    """What the scripts must know of a flow or task.

    `gated`: the start waits for a verdict (a cache or a limit may answer it). `persist`: the value is stored, and durable before the next
    line of user code. `retry_if` decides on an exception; None: every exception is worth a retry. `preview`: keep a short text of plain values.
    """

    retry: RetryPolicy = RetryPolicy()
    retry_if: Callable[[BaseException], bool] | None = None
    persist: bool = False
    gated: bool = False
    timeout_s: float | None = None


def run_task(policy: Policy) -> Script:
    """One task run, from its start to its last state. Returns the value; raises what the user's function raised at its last attempt."""
    attempt = 1
    while True:
        verdict = yield _start(policy.gated, attempt)
        if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
            return (yield from _answered(verdict))
        try:
            value = yield CALL
        except Stop as stop:
            raise (yield from _stopped(stop, policy, "task")) from None
        except Exception as exc:  # noqa: BLE001 what user code raised; the policy decides what it means
            attempt = yield from _failed(exc, policy, attempt, gate=False)
        except (KeyboardInterrupt, SystemExit) as exc:
            yield _broken_off(exc, gate=False)
            raise
        else:
            if policy.persist:
                result = yield Save(value)
                yield Propose(COMPLETED, "Completed", gate=True, result=result, message=result.unavailable)
            else:
                yield _DONE
            return value


def run_flow(policy: Policy) -> Script:
    """One flow run. It ends when everything it submitted has ended; a submitted task that failed unseen fails the flow."""
    attempt = 1
    while True:
        verdict = yield _start(True, attempt)
        if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
            return (yield from _answered(verdict))
        try:
            value = yield CALL
            unseen = yield SETTLE
            if unseen:
                raise UpstreamFailed(
                    _unseen(unseen), hint="ask for their results (future.result()), or submit with allow_failure to let them fail"
                )
        except Stop as stop:
            yield Settle(stop.reason)
            raise (yield from _stopped(stop, policy, "flow")) from None
        except Exception as exc:  # noqa: BLE001 what user code raised; the policy decides what it means
            yield SETTLE
            attempt = yield from _failed(exc, policy, attempt, gate=True)
        except (KeyboardInterrupt, SystemExit) as exc:
            yield Settle(CANCEL)
            yield _broken_off(exc, gate=True)
            raise
        else:
            result = yield Save(value)
            yield Propose(COMPLETED, "Completed", gate=True, result=result, message=result.unavailable)
            return value


def _start(gated: bool, attempt: int) -> Propose:
    if attempt > 1:
        return Propose(RUNNING, "Retrying", gate=True)
    return _RUN_GATED if gated else _RUN


def _answered(verdict: Verdict) -> Generator[Instruction, Any, Any]:
    """The store answered the start with something else than "go"."""
    state = verdict.state
    if verdict.kind is VerdictKind.INSTEAD and state is not None and state.type is COMPLETED and verdict.result is not None:
        return (yield Load(verdict.result))
    raise RunCancelled(f"not started: {verdict.reason or (state.message if state else 'the store refused')}")


def _failed(exc: Exception, policy: Policy, attempt: int, *, gate: bool) -> Generator[Instruction, Any, int]:
    """Wait for the next attempt and return its number, or record the failure and raise it."""
    end = _FAILED_END
    if isinstance(exc, Lost):
        exc, end = RunCrashed(str(exc), hint=_LOST_HINT), _CRASHED_END
        exc.__suppress_context__ = True
    worth_it = not isinstance(exc, UpstreamFailed) and (policy.retry_if is None or policy.retry_if(exc))
    delay = delay_before_retry(policy.retry, attempt, (yield DRAW)) if worth_it and attempt <= policy.retry.retries else None
    if delay is None:
        yield Propose(*end, _sentence(exc), gate=gate, error=exc)
        raise exc
    message = f"attempt {attempt} failed: {_sentence(exc)}; attempt {attempt + 1} of {policy.retry.retries + 1} follows in {delay:g} s"
    verdict = yield Propose(SCHEDULED, "AwaitingRetry", message, gate=gate, error=exc, delay_s=delay)
    if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
        yield from _answered(verdict)
    try:
        yield Sleep(delay)
    except Stop as stop:
        raise (yield from _stopped(stop, policy, "run")) from None
    return attempt + 1


def _stopped(stop: Stop, policy: Policy, kind: str) -> Generator[Instruction, Any, BaseException]:
    """Record why the call was ended from outside; returns what to raise."""
    if stop.reason == TIMEOUT and policy.timeout_s is not None:
        error = TaskTimeout(f"the {kind} took longer than its timeout of {policy.timeout_s:g} s")
        yield Propose(FAILED, "TimedOut", str(error), gate=kind == "flow", error=error)
        return error
    cancelled = RunCancelled(f"the {kind} was cancelled")
    why = "its flow took longer than its timeout" if stop.reason == TIMEOUT else f"stopped: {stop.reason}"
    yield Propose(CANCELLED, "Cancelled", why, gate=kind == "flow")
    return cancelled


def _broken_off(exc: KeyboardInterrupt | SystemExit, *, gate: bool) -> Propose:
    """The state of a call that user code or Ctrl-C broke off: Ctrl-C is a person's wish, anything else is not how a call ends."""
    if isinstance(exc, KeyboardInterrupt):
        return Propose(CANCELLED, "Cancelled", "interrupted from the keyboard", gate=gate)
    return Propose(CRASHED, "Crashed", f"the code called sys.exit({exc.code!r})", gate=gate)


def _sentence(exc: BaseException) -> str:
    text = str(exc).strip().split("\n", 1)[0][:500]
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _unseen(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} submitted task{'s' if len(names) != 1 else ''} failed and nobody asked for the result: {shown}{more}"
