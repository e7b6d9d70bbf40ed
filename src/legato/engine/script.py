"""The life of a flow run and of a task run, written once: generators that yield instructions and are sent replies.

Pure: no clock, store, thread or logger here. `drive` and `adrive` perform the instructions; the traces of both are equal by test.
User code's exceptions arrive at `yield CALL`; so does `Stop`, when somebody or a timeout ends the call from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from legato.core.errors import PauseTimeout, RunCancelled, RunCrashed, TaskTimeout, UpstreamFailed
from legato.core.records import Result, Verdict, VerdictKind
from legato.core.retry import RetryPolicy, delay_before_retry
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PAUSED, RUNNING, SCHEDULED, StateType


class Stop(BaseException):
    """Ends a call from outside. A BaseException, so that `except Exception` in user code does not swallow it."""

    def __init__(self, reason: str, *, abandoned: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.abandoned = abandoned
        """Whether the code goes on all the same, because nothing could stop it: what it does counts no more."""


class Suspend(BaseException):
    """Unwinds a flow that is to wait for a person without a process. A BaseException, so that `except Exception` does not swallow it."""


class Lost(Exception):
    """The process that performed a call elsewhere went away before it answered. Never leaves the script: users see `RunCrashed`."""


CANCEL = "cancelled"
TIMEOUT = "timeout"
CALLERS_TIMEOUT = "the timeout of what called it"
"""What a call's own timeout is to the calls inside it: no failure of theirs, and nothing to try again."""


class Propose(msgspec.Struct):
    """Propose a state; the reply is the verdict. `gate`: wait for the store's answer; otherwise it is taken as accepted and sent later."""

    type: StateType
    name: str
    message: str = ""
    gate: bool = False
    result: Result | None = None
    error: BaseException | None = None
    delay_s: float = 0.0
    release: bool = False


class Call(msgspec.Struct):
    """Run the user's function; the reply is its value."""


class Sleep(msgspec.Struct):
    """Wait, unless stopped: so many seconds, or until an instant of the store's clock."""

    seconds: float
    until: datetime | None = None


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


class RecallPast(msgspec.Struct):
    """Ask whether an earlier attempt has this call's value; the reply is a `Recalled`."""


class Recalled(msgspec.Struct):
    """The answer: the stored `result` and its `value`; or, without a result, why the call runs again ("": nothing is known)."""

    why: str = ""
    result: Result | None = None
    value: Any = None


class Next(msgspec.Struct):
    """Have a generator go on to its next item, sending it `sent`; the reply is an `Item`, or an `Exhausted`."""

    sent: Any = None


class Item(msgspec.Struct):
    """What a generator yielded."""

    value: Any


class Exhausted(msgspec.Struct):
    """A generator has ended, and returned this."""

    value: Any


class Hand(msgspec.Struct):
    """Hand an item to the reader; the reply is what the reader sends. `GeneratorExit` is thrown here when the reader stops."""

    item: Any


class CloseItems(msgspec.Struct):
    """Have a generator end where it stands: its `finally` blocks run."""


class Await(msgspec.Struct):
    """Wait for a person's answer, at most so long; the reply is an `Answer`, or None when none came."""

    seconds: float


class Answer(msgspec.Struct):
    """What a person answered."""

    value: Any


class AskPerson(msgspec.Struct):
    """Record what a person is asked; the reply is an `Answer` when it was given already, None otherwise."""


class Drain(msgspec.Struct):
    """Wait until the run's other tracked tasks have ended, as long as that may take before a run is suspended."""


Instruction: TypeAlias = (
    Propose | Call | Sleep | Save | Load | Settle | Draw | RecallPast | Next | Hand | CloseItems | Await | AskPerson | Drain
)
Script: TypeAlias = Generator[Instruction, Any, Any]

CALL = Call()
RECALL = RecallPast()
SETTLE = Settle()
DRAW = Draw()
_RUN = Propose(RUNNING, "Running")
_RUN_GATED = Propose(RUNNING, "Running", gate=True)
_DONE = Propose(COMPLETED, "Completed")
_FAILED_END, _TIMED_OUT_END, _CRASHED_END = (FAILED, "Failed"), (FAILED, "TimedOut"), (CRASHED, "Crashed")
ABANDONED = "; it was blocked outside of Python and could not be stopped, so its thread was abandoned"
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
    serializer: Any = None


def _once(policy: Policy) -> Policy:
    """The policy without retries."""
    return msgspec.structs.replace(policy, retry=RetryPolicy())


def run_task(policy: Policy, *, recalls: bool = False) -> Script:
    """One task run, from its start to its last state. Returns the value; raises what the user's function raised at its last attempt.

    `recalls`: an earlier attempt of the flow may have the value.
    """
    attempt, why = 1, ""
    if recalls:
        recalled = yield RECALL
        if recalled.result is not None:
            yield Propose(COMPLETED, "Cached", recalled.why, result=recalled.result)
            return recalled.value
        why = recalled.why
    while True:
        verdict = yield from admitted(attempt, gated=policy.gated, why=why)
        if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
            return (yield from _answered(verdict))
        try:
            value = yield CALL
        except Stop as stop:
            attempt = yield from _stopped_or_late(stop, policy, "task", attempt)
        except Suspend:
            yield Propose(CANCELLED, "Cancelled", "its flow was suspended")
            raise
        except Exception as exc:  # noqa: BLE001 what user code raised; the policy decides what it means
            attempt = yield from _failed(exc, policy, attempt, gate=False)
        except (KeyboardInterrupt, SystemExit) as exc:
            yield _broken_off(exc, gate=False)
            raise
        else:
            if policy.persist:
                yield from _stored(value)
            else:
                yield _DONE
            return value


def run_stream(policy: Policy, kind: str) -> Script:
    """One run of a generator: it ends when its reader has had all, or stops. A retry is possible until the first item was handed out.

    Returns what the generator returns. With `policy.persist` the list of its items is stored when it is exhausted.
    """
    attempt = 1
    items: list[Any] = []
    is_flow = kind == "flow"
    while True:
        verdict = yield from admitted(attempt, gated=policy.gated or is_flow)
        if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
            return (yield from _answered(verdict))
        n, sent = 0, None
        try:
            while isinstance(got := (yield Next(sent)), Item):
                n += 1
                if policy.persist:
                    items.append(got.value)
                sent = yield Hand(got.value)
            if is_flow:
                yield from _settled()
        except GeneratorExit:
            yield CloseItems()
            if is_flow:
                yield Settle(CANCEL)
            yield Propose(COMPLETED, "Completed", f"the reader stopped after {n} items", gate=is_flow)
            return None
        except Stop as stop:
            if is_flow:
                yield Settle(stop.reason)
            attempt = yield from _stopped_or_late(stop, policy if n == 0 else _once(policy), kind, attempt)
        except Exception as exc:  # noqa: BLE001 what user code raised; the policy decides what it means
            if is_flow:
                yield SETTLE
            attempt = yield from _failed(exc, policy if n == 0 else _once(policy), attempt, gate=is_flow)
        except (KeyboardInterrupt, SystemExit) as exc:
            yield _broken_off(exc, gate=is_flow)
            raise
        else:
            if policy.persist:
                yield from _stored(items)
            else:
                yield Propose(COMPLETED, "Completed", f"{n} items", gate=is_flow)
            return got.value


def run_flow(policy: Policy) -> Script:
    """One flow run. It ends when everything it submitted has ended; a submitted task that failed unseen fails the flow."""
    attempt = 1
    while True:
        verdict = yield _start(True, attempt)
        if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
            return (yield from _answered(verdict))
        try:
            value = yield CALL
            yield from _settled()
        except Stop as stop:
            yield Settle(stop.reason)
            attempt = yield from _stopped_or_late(stop, policy, "flow", attempt)
        except Suspend:
            yield SETTLE
            yield Propose(PAUSED, "Suspended", "no process holds it; resume it with: legato run resume", gate=True, release=True)
            raise
        except Exception as exc:  # noqa: BLE001 what user code raised; the policy decides what it means
            yield SETTLE
            attempt = yield from _failed(exc, policy, attempt, gate=True)
        except (KeyboardInterrupt, SystemExit) as exc:
            yield Settle(CANCEL)
            yield _broken_off(exc, gate=True)
            raise
        else:
            yield from _stored(value)
            return value


def run_pause(suspends: bool, timeout_s: float, message: str) -> Script:
    """A pause inside a flow: ask a person, wait for the answer, go on. `suspends`: wait without a process.

    Returns the answer. Raises `Suspend` when the process is to end, and `PauseTimeout` when nobody answered within `timeout_s`.
    """
    answer = yield AskPerson()
    if answer is not None:
        return answer.value
    if suspends:
        yield Drain()
        raise Suspend
    yield Propose(PAUSED, "Paused", message, gate=True)
    answer = yield Await(timeout_s)
    yield Propose(RUNNING, "Running", "a person answered" if answer is not None else "nobody answered in time", gate=True)
    if answer is None:
        raise PauseTimeout(
            f"nobody answered within {timeout_s:g} s: {message}", hint="give timeout= more seconds, or suspend_flow_run() to wait for days"
        )
    return answer.value


def _stored(value: Any) -> Generator[Instruction, Any, None]:
    """Completed, with the value stored before anybody is told."""
    result = yield Save(value)
    yield Propose(COMPLETED, "Completed", gate=True, result=result, message=result.unavailable)


def _settled() -> Generator[Instruction, Any, None]:
    """Wait for what the flow has submitted; what failed without anybody having asked fails the flow."""
    unseen = yield SETTLE
    if unseen:
        raise UpstreamFailed(_unseen(unseen), hint="ask for each: future.result(), or future.exception() where it may fail")


def _start(gated: bool, attempt: int, why: str = "") -> Propose:
    if attempt > 1:
        return Propose(RUNNING, "Retrying", gate=True)
    if why:
        return Propose(RUNNING, "Running", f"runs again: {why}", gate=gated)
    return _RUN_GATED if gated else _RUN


def admitted(attempt: int, *, gated: bool, why: str = "") -> Generator[Instruction, Any, Verdict | None]:
    """Propose the start of a task until the answer is something else than "wait". What it waits for is recorded once."""
    waiting = False
    while True:
        verdict: Verdict | None = yield _start(gated, attempt, why)
        if verdict is None or verdict.kind is not VerdictKind.WAIT:
            return verdict
        if not waiting:
            waiting = True
            yield Propose(SCHEDULED, "Scheduled", verdict.reason)
        try:
            yield Sleep(0, until=verdict.until)
        except Stop as stop:
            raise (yield from _stopped(stop, "task")) from None


def _answered(verdict: Verdict) -> Generator[Instruction, Any, Any]:
    """The store answered the start with something else than "go"."""
    state = verdict.state
    if verdict.kind is VerdictKind.INSTEAD and state is not None and state.type is COMPLETED and verdict.result is not None:
        return (yield Load(verdict.result))
    raise RunCancelled(f"not started: {verdict.reason or (state.message if state else 'the store refused')}")


def _failed(
    exc: Exception, policy: Policy, attempt: int, *, gate: bool, end: tuple[StateType, str] = _FAILED_END
) -> Generator[Instruction, Any, int]:
    """Wait for the next attempt and return its number, or record the failure and raise it."""
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
        raise (yield from _stopped(stop, "run")) from None
    return attempt + 1


def _stopped_or_late(stop: Stop, policy: Policy, kind: str, attempt: int) -> Generator[Instruction, Any, int]:
    """A call was ended from outside. Over its own time: a failure, which may be tried again; otherwise it is cancelled, and that is raised."""
    if stop.reason != TIMEOUT or policy.timeout_s is None:
        raise (yield from _stopped(stop, kind)) from None
    late = TaskTimeout(f"the {kind} took longer than its timeout of {policy.timeout_s:g} s{ABANDONED if stop.abandoned else ''}")
    late.__suppress_context__ = True
    return (yield from _failed(late, policy, attempt, gate=kind == "flow", end=_TIMED_OUT_END))


def _stopped(stop: Stop, kind: str) -> Generator[Instruction, Any, BaseException]:
    """Record that the call was ended from outside, and why; returns what to raise."""
    cancelled = RunCancelled(f"the {kind} was cancelled")
    why = "its flow took longer than its timeout" if stop.reason in (TIMEOUT, CALLERS_TIMEOUT) else f"stopped: {stop.reason}"
    yield Propose(CANCELLED, "Cancelled", f"{why}{ABANDONED if stop.abandoned else ''}", gate=kind == "flow")
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
