"""The life of a flow run and of a task run, written once: generators that yield instructions and are sent replies.

Pure: no clock, store, thread or logger here. `drive` and `adrive` perform the instructions; the traces of both are equal by test.
User code's exceptions arrive at `yield CALL`; so does `Stop`, when somebody or a timeout ends the call from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from legato.core.errors import LegatoError, PauseTimeout, ResultMissing, RunCancelled, RunCrashed, TaskTimeout, UpstreamFailed
from legato.core.records import Result, Verdict, VerdictKind
from legato.core.retry import RetryPolicy, delay_before_retry
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, StateType
from legato.engine.guarded import described, note, raised_by


class Stop(BaseException):
    """Ends a call from outside. A BaseException, so that `except Exception` in user code does not swallow it."""

    def __init__(self, reason: str, *, abandoned: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.abandoned = abandoned
        """Whether the code goes on all the same, because nothing could stop it: what it does counts no more."""


class Suspend(BaseException):
    """Unwinds a flow that is to wait for a person without a process. A BaseException, so that `except Exception` does not swallow it."""


class Closed(BaseException):
    """User code has raised GeneratorExit. Thrown into a script in its place: to a generator that one means that it is being closed."""

    def __init__(self, exc: BaseException) -> None:
        super().__init__()
        self.exc = exc


class Skip(Exception):
    """A task's trigger says that it does not run. Never leaves the engine."""


class Lost(Exception):
    """The process that performed a call elsewhere went away before it answered. Never leaves the script: users see `RunCrashed`."""


CANCEL = "cancelled"
TIMEOUT = "timeout"
CALLERS_TIMEOUT = "the timeout of what called it"
"""What a call's own timeout is to the calls inside it: no failure of theirs, and nothing to try again."""


class Propose(msgspec.Struct):
    """Propose a state; the reply is the verdict. `gate`: wait for the store's answer; otherwise it is taken as accepted and sent later.

    `reopen`: the run has ended, and begins anew.
    """

    type: StateType
    name: str
    message: str = ""
    gate: bool = False
    result: Result | None = None
    error: BaseException | None = None
    delay_s: float = 0.0
    release: bool = False
    reopen: bool = False


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
    """Wait for the tasks the flow has submitted. With `stop`, ask those that have not ended to stop first, for that reason."""

    stop: str = ""


class Prepare(msgspec.Struct):
    """Make the call ready: wait for the futures in its arguments, put their values in place, and find out what is asked of the cache.

    What is thrown back says why the call cannot begin: `Skip`, `UpstreamFailed`, or what a callable of the user's raised.
    """


class Conclude(msgspec.Struct):
    """Ask what the returned value makes of the run: the reply is an `Ending`, or None: it is completed with this value.

    `settles`: it is a flow's, so submitted tasks that failed without anybody having asked count too.
    """

    value: Any
    settles: bool = False


class Ending(msgspec.Struct):
    """How a run ends whose code has returned: with a value, or, with an `error`, badly.

    `is_raised`: whether the caller is raised the error; else it is handed the value, which tells of it.
    """

    type: StateType
    name: str
    message: str = ""
    value: Any = None
    error: BaseException | None = None
    is_raised: bool = True


class Consult(msgspec.Struct):
    """Ask a callable of the user's that decides something; the reply is its answer. `role`: the option it was given as."""

    role: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]


class Draw(msgspec.Struct):
    """Draw a number from [0, 1), for jitter."""


class RecallPast(msgspec.Struct):
    """Ask whether an earlier attempt has this call's value; the reply is a `Recalled`. Without `repeats` the call runs, whatever is known of it."""

    repeats: bool = True


class Recalled(msgspec.Struct):
    """The answer: the stored `result` and its `value`; or, without a result, why the call runs again ("": nothing is known)."""

    why: str = ""
    result: Result | None = None
    value: Any = None


class Next(msgspec.Struct):
    """Have a generator go on to its next item, sending it `sent`, or raising `thrown` in it; the reply is an `Item`, or an `Exhausted`."""

    sent: Any = None
    thrown: BaseException | None = None


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
    Propose
    | Call
    | Sleep
    | Save
    | Load
    | Settle
    | Prepare
    | Conclude
    | Consult
    | Draw
    | RecallPast
    | Next
    | Hand
    | CloseItems
    | Await
    | AskPerson
    | Drain
)
Script: TypeAlias = Generator[Instruction, Any, Any]

PREPARE = Prepare()
CALL = Call()
RECALL = RecallPast()
RECALL_ONLY = RecallPast(repeats=False)
SETTLE = Settle()
DRAW = Draw()
PENDING_STATE = Propose(PENDING, "Pending")
_RUN = Propose(RUNNING, "Running")
_RUN_GATED = Propose(RUNNING, "Running", gate=True)
_DONE = Propose(COMPLETED, "Completed")
_FAILED_END, _TIMED_OUT_END, _CRASHED_END = (FAILED, "Failed"), (FAILED, "TimedOut"), (CRASHED, "Crashed")
ABANDONED = "; it was blocked outside of Python and could not be stopped, so its thread was abandoned"
_LOST_HINT = "out of memory, os._exit or a crash in native code are the usual reasons; with retries the task is tried again"

_OVER = 0
"""In place of an attempt's number: there is none any more."""

_CONCLUDES_NOTHING = frozenset((type(None), bool, int, float, str, bytes))
"""Types of values that neither are futures or states nor hold any."""


def holds(value: Any) -> bool:
    """Whether a returned value may say more than that the run has succeeded."""
    return type(value) not in _CONCLUDES_NOTHING


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


def run_task(policy: Policy, *, submitted: bool = False, prepares: bool = False, recalls: bool = False) -> Script:
    """One task run, from its start to its last state. Returns the value; raises what the user's function raised at its last attempt.

    `submitted`: it has been recorded as Pending. `prepares`: something must be done before the call can begin. `recalls`: an earlier attempt
    of the flow may have the value.
    """
    if prepares and not (yield from _prepared(submitted=submitted)):
        return None
    attempt, why = 1, ""
    if recalls:
        recalled = yield RECALL
        if recalled.result is not None:
            yield Propose(COMPLETED, "Cached", recalled.why, result=recalled.result)
            return recalled.value
        why = recalled.why
    while True:
        if attempt == 1 and not policy.gated and not why:  # what `admitted` comes to, for most tasks
            verdict = yield _RUN
        else:
            verdict = yield from admitted(attempt, gated=policy.gated, why=why)
        if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
            try:
                return (yield from _answered(verdict))
            except ResultMissing as error:
                why = yield from _begun_anew(error)
                continue
        try:
            value = yield CALL
            ending = None if type(value) in _CONCLUDES_NOTHING else (yield Conclude(value))
        except BaseException as exc:  # noqa: BLE001 what user code raised; the policy decides what it means
            attempt = yield from _broken(exc, policy, "task", attempt)
            continue
        if ending is not None:
            if ending.error is not None:
                attempt = yield from _ended_badly(ending, policy, attempt, gate=False)
                if attempt == _OVER:
                    return ending.value
                continue
            value = ending.value
        if policy.persist:
            yield from _stored(value, ending)
        elif ending is None:
            yield _DONE
        else:
            yield Propose(COMPLETED, ending.name, ending.message)
        return value


def run_stream(policy: Policy, kind: str, *, prepares: bool = False, recalls: bool = False) -> Script:
    """One run of a generator: it ends when its reader has had all, or stops. A retry is possible until the first item was handed out.

    Returns what the generator returns. With `policy.persist` the list of its items is stored when it is exhausted.
    """
    if prepares and not (yield from _prepared(submitted=False)):
        return None
    if recalls:
        yield RECALL_ONLY
    attempt = 1
    items: list[Any] = []
    is_flow = kind == "flow"
    while True:
        verdict = yield from admitted(attempt, gated=policy.gated or is_flow)
        if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
            return (yield from _answered(verdict))
        n, following = 0, Next()
        try:
            while isinstance(got := (yield following), Item):
                n += 1
                if policy.persist:
                    items.append(got.value)
                try:
                    following = Next((yield Hand(got.value)))
                except GeneratorExit:
                    yield from _left_off(n, is_flow=is_flow)
                    return None
                except Exception as exc:  # noqa: BLE001 the reader's: thrown into the generator, as it would be into the undecorated one
                    following = Next(thrown=exc)
            ending = (yield from _settled(None)) if is_flow else None
        except BaseException as exc:  # noqa: BLE001 what user code raised; the policy decides what it means
            attempt = yield from _broken(exc, policy if n == 0 else _once(policy), kind, attempt)
            continue
        if ending is not None and ending.error is not None:
            attempt = yield from _ended_badly(ending, _once(policy), attempt, gate=is_flow)
        if policy.persist:
            yield from _stored(items)
        else:
            yield Propose(COMPLETED, "Completed", f"{n} items", gate=is_flow)
        return got.value


def run_flow(policy: Policy) -> Script:
    """One flow run. It ends when everything it submitted has ended; what it returns, or a failure that nobody asked about, decides how."""
    attempt = 1
    while True:
        verdict = yield _start(True, attempt)
        if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
            return (yield from _answered(verdict))
        try:
            value = yield CALL
            ending = yield from _settled(value)
        except BaseException as exc:  # noqa: BLE001 what user code raised; the policy decides what it means
            attempt = yield from _broken(exc, policy, "flow", attempt)
            continue
        if ending is not None:
            if ending.error is not None:
                attempt = yield from _ended_badly(ending, policy, attempt, gate=True)
                if attempt == _OVER:
                    return ending.value
                continue
            value = ending.value
        yield from _stored(value, ending)
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


def _prepared(*, submitted: bool) -> Generator[Instruction, Any, bool]:
    """Make a call ready; false: its trigger skips it. What keeps it from beginning is recorded before it is raised."""
    try:
        yield PREPARE
    except BaseException as exc:
        if not submitted:
            yield PENDING_STATE
        if isinstance(exc, Skip):
            yield Propose(COMPLETED, "Skipped", str(exc))
            return False
        if isinstance(exc, Stop):
            raise (yield from _stopped(exc, "task")) from None
        if not isinstance(exc, Exception):
            yield _broken_off(exc, gate=False)
        elif isinstance(exc, UpstreamFailed):
            yield Propose(FAILED, "UpstreamFailed", described(exc).removeprefix("UpstreamFailed: "), error=exc)
        elif isinstance(exc, LegatoError):
            yield Propose(FAILED, "Failed", exc.message, error=exc)
        else:  # a trigger, a key function or a __legato_hash__ of the user's raised it
            yield Propose(FAILED, "Failed", f"before it began: {described(exc)}{raised_by(exc)}", error=exc)
        raise
    return True


def _settled(value: Any) -> Generator[Instruction, Any, Ending | None]:
    """Wait for what the flow has submitted, and ask what that and the value it returned make of it."""
    yield SETTLE
    ending: Ending | None = yield Conclude(value, settles=True)
    return ending


def _left_off(items: int, *, is_flow: bool) -> Generator[Instruction, Any, None]:
    """The reader of a generator wants no more."""
    yield CloseItems()
    if is_flow:
        yield Settle(CANCEL)
    yield Propose(COMPLETED, "Completed", f"the reader stopped after {items} items", gate=is_flow)


def _broken(exc: BaseException, policy: Policy, kind: str, attempt: int) -> Generator[Instruction, Any, int]:
    """The call was ended by an exception: the number of the next attempt; or the last state is recorded, and what is to be raised, raised."""
    is_flow = kind == "flow"
    if isinstance(exc, GeneratorExit):  # the script itself is being closed, and must not go on
        raise exc
    if isinstance(exc, Closed):
        exc = exc.exc
    if is_flow:
        yield Settle(exc.reason) if isinstance(exc, Stop) else SETTLE if isinstance(exc, (Exception, Suspend)) else Settle(CANCEL)
    if isinstance(exc, Stop):
        return (yield from _stopped_or_late(exc, policy, kind, attempt))
    if isinstance(exc, Exception):
        return (yield from _failed(exc, policy, attempt, gate=is_flow))
    if not isinstance(exc, Suspend):
        yield _broken_off(exc, gate=is_flow)
    elif is_flow:
        verdict = yield Propose(PAUSED, "Suspended", "no process holds it; resume it with: legato run resume", gate=True, release=True)
        if verdict is not None and verdict.kind is VerdictKind.INSTEAD:
            raise RunCancelled("the flow was cancelled") from None
    else:
        yield Propose(CANCELLED, "Cancelled", "its flow was suspended")
    raise exc


def _ended_badly(ending: Ending, policy: Policy, attempt: int, *, gate: bool) -> Generator[Instruction, Any, int]:
    """What the call returned says that it has not succeeded. A failure may be tried again; `_OVER`: it has ended, and the value is handed back."""
    error = ending.error
    assert error is not None, "it ended badly"
    try:
        if ending.type is FAILED and isinstance(error, Exception):
            return (yield from _failed(error, policy, attempt, gate=gate, end=(FAILED, ending.name), message=ending.message))
        yield Propose(ending.type, ending.name, ending.message, gate=gate, error=error)
        raise error
    except BaseException as exc:
        if ending.is_raised or exc is not error:
            raise
        return _OVER


def _stored(value: Any, ending: Ending | None = None) -> Generator[Instruction, Any, None]:
    """Completed, with the value stored before anybody is told."""
    result = yield Save(value)
    name, message = ("Completed", "") if ending is None else (ending.name, ending.message)
    yield Propose(COMPLETED, name, gate=True, result=result, message=message or result.unavailable)


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


def _begun_anew(error: ResultMissing) -> Generator[Instruction, Any, str]:
    """The run was completed from the cache with a value that cannot be had any more: it is to run after all. Returns why, in words."""
    why = f"its cached value is gone: {error.message}"
    yield Propose(SCHEDULED, "Scheduled", why, gate=True, reopen=True)
    return why


def _failed(
    exc: Exception, policy: Policy, attempt: int, *, gate: bool, end: tuple[StateType, str] = _FAILED_END, message: str = ""
) -> Generator[Instruction, Any, int]:
    """Wait for the next attempt and return its number, or record the failure and raise it."""
    if isinstance(exc, Lost):
        exc, end = RunCrashed(str(exc), hint=_LOST_HINT), _CRASHED_END
        exc.__suppress_context__ = True
    what = message or described(exc)
    delay, undecided = yield from _delay_before_next(exc, policy, attempt)
    if delay is None:
        yield Propose(*end, what + undecided, gate=gate, error=exc)
        raise exc
    text = f"attempt {attempt} failed: {what}; attempt {attempt + 1} of {policy.retry.retries + 1} follows in {delay:g} s"
    verdict = yield Propose(SCHEDULED, "AwaitingRetry", text, gate=gate, error=exc, delay_s=delay)
    if verdict is not None and verdict.kind is not VerdictKind.ACCEPTED:
        yield from _answered(verdict)
    try:
        yield Sleep(delay)
    except Stop as stop:
        raise (yield from _stopped(stop, "run")) from None
    return attempt + 1


def _delay_before_next(exc: Exception, policy: Policy, attempt: int) -> Generator[Instruction, Any, tuple[float | None, str]]:
    """Seconds until the next attempt, None: there is none; and, where a callable of the user's could not decide that, what to say of it."""
    if attempt > policy.retry.retries:
        return None, ""
    delay = policy.retry.delay
    try:
        if policy.retry_if is not None and not (yield Consult("retry_condition_fn", policy.retry_if, (exc,))):
            return None, ""
        base_s = (yield Consult("retry_delay_seconds", delay, (attempt,))) if callable(delay) else None
        return delay_before_retry(policy.retry, attempt, (yield DRAW), base_s=base_s), ""
    except Exception as second:  # noqa: BLE001 the user's: the failure itself is what counts, and is what is raised
        said = f"it was not tried again: {described(second)}{raised_by(second)}"
        note(exc, said)
        return None, f"; {said}"


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


def _broken_off(exc: BaseException, *, gate: bool) -> Propose:
    """The state of a call that its code broke off: Ctrl-C is a person's wish, anything else is not how a call ends."""
    return Propose(*broken_off(exc), gate=gate)


def broken_off(exc: BaseException) -> tuple[StateType, str, str]:
    """State type, name and message of a run that was ended by something that is no `Exception`."""
    if isinstance(exc, KeyboardInterrupt):
        return CANCELLED, "Cancelled", "interrupted from the keyboard"
    if isinstance(exc, SystemExit):
        return CRASHED, "Crashed", f"the code called sys.exit({exc.code!r})"
    return CRASHED, "Crashed", f"ended by {described(exc)}"
