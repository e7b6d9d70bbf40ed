"""How a run's states become transitions: numbered, fenced, said in its log, told to the store, and its end told whatever happens.

The functions here work on a shell, which holds the run's sequence number and state.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Protocol

from legato import crashing
from legato.core.errors import LegatoError
from legato.core.records import CacheAsk, ErrorDetail, FlowRun, LogLine, Result, RunKind, TaskRun, Transition, Verdict, VerdictKind
from legato.core.states import FAILED, FINAL, NAMES, RUNNING, SCHEDULED, State, StateType
from legato.engine.depth import emergency
from legato.engine.guarded import described, raised_by
from legato.engine.process import Engine
from legato.engine.script import PENDING_STATE, Propose, Stop, Suspend, broken_off
from legato.engine.tracebacks import error_detail
from legato.logs import console
from legato.system import now


class Recorded(Protocol):
    """A run's shell, as far as its states are concerned."""

    kind: RunKind
    run_id: str
    name: str
    seq: int
    told: int
    attempt: int
    epoch: int
    parent_epoch: int | None
    state: State | None
    start_message: str
    cache: CacheAsk | None
    on_start: Callable[[], None] | None
    renamed: str | None

    @property
    def engine(self) -> Engine: ...

    @property
    def flow(self) -> Recorded: ...

    def record(self, state: State) -> tuple[FlowRun | None, TaskRun | None]: ...

    def propose(self, i: Propose) -> Verdict | None: ...

    def begins_again(self) -> None: ...

    def ends(self, i: Propose) -> Result | None: ...

    def abandon_open(self, reason: str) -> None: ...


def transition_of(shell: Recorded, i: Propose) -> Transition:
    """The next transition of this run. The first one carries the run's record."""
    at = now()
    shell.seq = seq = shell.seq + 1
    fence = shell.flow.epoch  # the token of whoever holds the run
    type_, name, message = i.type, i.name, i.message
    asked, due_at, error = None, None, None
    if type_ is RUNNING:
        message = message or shell.start_message
        asked = shell.cache
        if name == "Retrying":
            shell.attempt += 1
            shell.begins_again()
    elif type_ is SCHEDULED:
        due_at = at + timedelta(seconds=i.delay_s)
    state = shell.state = State(type_, name, at, message, due_at)
    if i.error is not None:
        error = error_detail(i.error) if type_ is not SCHEDULED else None
        _log_failure(shell, state, error)
    result = shell.ends(i) if type_ in FINAL else i.result
    flow_run, task_run = shell.record(state) if seq == 1 else (None, None)
    return Transition(
        shell.kind,
        shell.run_id,
        seq,
        state,
        shell.attempt,
        fence,
        flow_run,
        task_run,
        result,
        error,
        i.reopen,
        i.release,
        asked,
        parent_epoch=shell.parent_epoch if flow_run is not None else None,
        name=shell.renamed if type_ is RUNNING else None,
    )


def _log_failure(shell: Recorded, state: State, error: ErrorDetail | None) -> None:
    """A failure, or a failure that will be tried again, in the run's own log; a task's on the console too (a flow's end is said there)."""
    level = "WARNING" if error is None else "ERROR"
    if console.LEVELS[level] < shell.engine.log_level:
        return
    is_task = shell.kind is RunKind.TASK
    text = state.message if error is None else f"{state.message}\n{error.traceback}".rstrip()
    task_run_id = shell.run_id if is_task else None
    shell.engine.outbox.add(LogLine(shell.flow.run_id, state.at, console.LEVELS[level], "legato.engine", text, task_run_id))
    if is_task or error is None:
        console.line(level, f"{shell.kind} run '{shell.name}'", state.message)


def end_unbegun(shell: Recorded, exc: Exception, type_: StateType = FAILED) -> None:
    """Record that a call could not begin: before its script, so that nobody else will."""
    if shell.seq == 0:
        shell.propose(PENDING_STATE)
    said = exc.message if isinstance(exc, LegatoError) else f"{described(exc)}{raised_by(exc)}"
    shell.propose(Propose(type_, NAMES[type_][0], f"before it began: {said}", error=exc))


def taken(shell: Recorded, transition: Transition, verdict: Verdict) -> Verdict:
    """Note a verdict; "already" means a repeat of ours was recorded, which is as good as accepted."""
    if verdict.kind is VerdictKind.ALREADY:
        verdict = Verdict(VerdictKind.ACCEPTED, seq=transition.seq, attempt=transition.attempt)
    if verdict.kind is VerdictKind.WAIT:  # nothing was recorded: the number is still free
        shell.seq -= 1
        shell.attempt -= transition.state.name == "Retrying"
        shell.state = None
        return verdict
    shell.told = shell.seq
    if verdict.kind is VerdictKind.REFUSED and transition.state.type in FINAL:
        raise Stop(verdict.reason)
    if verdict.state is not None:
        shell.state = verdict.state
        if verdict.result is not None:
            crashing.reached("task.cached")
    elif shell.on_start is not None and transition.state.name == "Running":
        shell.on_start()
    return verdict


def end_anyhow(shell: Recorded, exc: BaseException) -> None:
    """The last line of defence: a run whose script has ended must not stay Running. Raises nothing.

    It is reached when what ended the script is a fault of ours, of the store's, or a second Ctrl-C while the first was being seen to.
    """
    if isinstance(exc, Suspend) or shell.seq == 0:
        return
    if isinstance(exc, Stop) and shell.told == shell.seq:  # the store has refused its end: it is somebody else's run by now
        return
    if shell.told == shell.seq and shell.state is not None and shell.state.type in FINAL:
        return
    if isinstance(exc, Stop):
        type_, name, message = broken_off(KeyboardInterrupt())[0], "Cancelled", f"stopped: {exc.reason}"
    else:
        type_, name, message = broken_off(exc)
    try:
        with emergency() if isinstance(exc, RecursionError) else nullcontext():
            shell.abandon_open(message)
            _tell_end(shell, Propose(type_, name, message))
    except BaseException as second:  # noqa: BLE001 whatever it is, what ended the run is what is raised
        console.line("ERROR", f"{shell.kind} run '{shell.name}'", f"{message}; that could not be recorded: {described(second)}")


def _tell_end(shell: Recorded, end: Propose) -> None:
    """Record the end, though it is not known whether the last transition before it arrived."""
    last = shell.told
    for seq in (last + 1, last + 2) if shell.seq > last else (last + 1,):
        if seq == 1:
            continue  # nothing of it has been recorded, then, or this is number 2
        shell.seq = seq - 1
        transition = transition_of(shell, end)
        verdict = shell.engine.gate(transition)
        shell.told = shell.seq
        if verdict.kind in (VerdictKind.ACCEPTED, VerdictKind.ALREADY):
            console.line("ERROR", f"{shell.kind} run '{shell.name}'", end.message)
            return
