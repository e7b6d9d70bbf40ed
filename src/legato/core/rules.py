"""The rules: what the store answers to a proposed transition. Each is a pure function from facts to a verdict, or None for "no objection".

The first verdict wins, so the order of FLOW_RUN_RULES and TASK_RUN_RULES is the policy. A transition that no rule answers is accepted.
The store loads the facts before and performs the verdict after, inside one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec

from legato.core.caching import CacheEntry, CacheHolder, why_reused, why_waiting
from legato.core.errors import Conflict
from legato.core.names import typed
from legato.core.ownership import is_held, is_the_last_holder
from legato.core.records import Result, RunKind, Transition, Verdict, VerdictKind
from legato.core.retry import MAX_LOST
from legato.core.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    FINAL,
    INITIAL,
    PENDING,
    RUNNING,
    SCHEDULED,
    TRANSITIONS,
    State,
    StateType,
    may_follow,
)


class RunFacts(msgspec.Struct):
    """What the store knows of a run before a decision. Not frozen: within one batch, each decision is projected onto it for the next.

    `epoch` is a flow run's (see `core.ownership`). `claimed`: it has a lease. `kind` None: not said, the one that is asked for.
    """

    state_type: StateType
    state_name: str
    seq: int
    attempt: int
    name: str = ""
    flow_run_id: str = ""
    cancel_requested: bool = False
    claimed: bool = False
    epoch: int = 0
    retries: int = 0
    retry_when_lost: bool = False
    lost: int = 0
    unstarted: int = 0
    kind: RunKind | None = None


class Facts(msgspec.Struct):
    """Everything a rule may look at: the run as it is (None: not there yet), its flow run, and what is proposed. `around` is the flow run
    inside which a new one begins.

    For a proposal whose number is taken, `recorded` is the state under that number, `latest` the time of the run's present one and `cached`
    its result. For a task that starts, `entry` is the stored result it may take, and `holder` who else is making one under its key.
    `hands_over`: the store itself gives the run to a holder with this.
    """

    proposed: Transition
    now: datetime
    run: RunFacts | None = None
    parent: RunFacts | None = None
    around: RunFacts | None = None
    recorded: State | None = None
    latest: datetime | None = None
    cached: Result | None = None
    entry: CacheEntry | None = None
    holder: CacheHolder | None = None
    hands_over: bool = False


Rule: TypeAlias = Callable[[Facts], Verdict | None]


def speak_of_one_run(f: Facts) -> Verdict | None:
    """A transition names the run that it carries, and a run of its own kind: else it would be judged as one run's, and written as another's."""
    t, run = f.proposed, f.run
    of_flow, of_task = t.flow_run, t.task_run
    is_flow = t.kind is RunKind.FLOW
    if (of_task if is_flow else of_flow) is not None or any(one is not None and one.id != t.run_id for one in (of_flow, of_task)):
        return _refuse(f, "illegal_transition", f"a {t.kind} run's transition carries that run's own record")
    if run is not None and run.kind not in (None, t.kind):
        return _refuse(f, "illegal_transition", f"'{t.run_id}' is no {t.kind} run")
    if run is not None and of_task is not None and of_task.flow_run_id != run.flow_run_id:
        return _refuse(f, "illegal_transition", f"task run '{run.name}' belongs to another flow run")
    return None


def answer_repeats(f: Facts) -> Verdict | None:
    """A transition sent again, because its first answer was lost, gets that answer. `recorded` is what the journal holds at its sequence."""
    if f.run is None or f.recorded is None:
        return None
    if f.recorded.type is f.proposed.state.type and f.recorded.at == f.proposed.state.at:
        return Verdict(VerdictKind.ALREADY, seq=f.run.seq, attempt=f.run.attempt)
    if f.latest == f.proposed.state.at and f.run.state_type is f.proposed.state.type:
        return Verdict(VerdictKind.ALREADY, seq=f.run.seq, attempt=f.run.attempt)  # believed earlier, under another number
    if f.recorded.name in ("Cached", "Cancelled") and f.proposed.state.type not in FINAL:
        return Verdict(VerdictKind.INSTEAD, seq=f.run.seq, attempt=f.run.attempt, state=f.recorded, result=f.cached)
    return None


def require_the_record(f: Facts) -> Verdict | None:
    """The first transition of a run must carry the run itself, and start it."""
    if f.run is not None:
        return None
    if (f.proposed.flow_run or f.proposed.task_run) is None:
        return _refuse(f, "not_found", f"no {f.proposed.kind} run '{f.proposed.run_id}'")
    if f.proposed.state.type not in INITIAL or f.proposed.seq != 1:
        return _refuse(f, "illegal_transition", f"a run cannot begin as {f.proposed.state.type.upper()} with sequence {f.proposed.seq}")
    return None


def fence_stale_attempts(f: Facts) -> Verdict | None:
    """Whoever writes for a run that is no longer its own is refused: another has taken over, or the run was given up or let go."""
    fence, holder = f.proposed.fence, f.run if f.proposed.kind is RunKind.FLOW else f.parent
    if fence is None or holder is None or (fence == holder.epoch and is_held(fence)):
        return None
    told_late = f.proposed.kind is RunKind.TASK or f.proposed.state.type in FINAL
    if told_late and holder.state_type is CRASHED and is_the_last_holder(fence, holder.epoch):
        return None  # see `believe_the_holder`
    if is_held(holder.epoch):
        return _refuse(f, "fenced", f"the flow run is no longer this process's: another holds it (attempt {holder.attempt})")
    return _refuse(f, "fenced", f"the flow run is no longer this process's: it is {holder.state_name}, and nobody holds it")


def require_a_holder(f: Facts) -> Verdict | None:
    """Nobody starts a run that they have not claimed or taken; and nothing starts inside a run whose holder has lost it."""
    if f.proposed.kind is not RunKind.FLOW:
        return None
    starts = f.proposed.state.type in (PENDING, RUNNING)
    if f.run is not None and f.proposed.fence is None and starts and not f.hands_over:
        held = "by another" if is_held(f.run.epoch) else "by nobody"
        return _refuse(f, "fenced", f"run '{f.run.name}' is held {held}: claim it, or take it, before it is started")
    if starts and f.proposed.release:
        return _refuse(
            f, "illegal_transition", f"a run that is {f.proposed.state.type.upper()} is held by somebody, and cannot be let go of"
        )
    token, around = f.proposed.parent_epoch, f.around
    if f.run is not None or token is None or around is None or (token == around.epoch and is_held(token)):
        return None
    if around.state_type is CRASHED and is_the_last_holder(token, around.epoch):
        return None  # told of late; `write` ends what is left open under it
    return _refuse(f, "fenced", "the flow run around it is no longer this process's")


def refuse_children_of_ended_runs(f: Facts) -> Verdict | None:
    """No task starts under a flow run that has ended; one that was given up for lost may still be told of (see `believe_the_holder`)."""
    if f.parent is None:
        return _refuse(f, "not_found", "the task's flow run is not here")
    if f.run is None and f.parent.state_type in FINAL and not (f.parent.state_type is CRASHED and f.proposed.fence is not None):
        return _refuse(f, "fenced", f"its flow run is {f.parent.state_name} already")
    return None


def believe_the_holder(f: Facts) -> Verdict | None:
    """A run was given up for lost, and then its holder reports its end after all: that counts, while no other attempt has begun.

    The holder was cut off, or the server was away; what it did is done. Its numbering is behind by the loss, so it is numbered anew.
    """
    holder = f.run if f.proposed.kind is RunKind.FLOW else f.parent
    given_up = holder is not None and holder.state_type is CRASHED and is_the_last_holder(f.proposed.fence, holder.epoch)
    if given_up and f.run is not None and f.run.state_type is CRASHED and f.proposed.state.type in FINAL:
        return Verdict(VerdictKind.ACCEPTED, seq=f.run.seq + 1, attempt=f.run.attempt)
    return None


def keep_final_states(f: Facts) -> Verdict | None:
    """Final means final; only an explicit reopen makes a new attempt. A holder reopens nothing but a task whose cached value it could not have."""
    if f.run is None or f.run.state_type not in FINAL:
        return None
    is_lost_value = f.proposed.kind is RunKind.TASK and f.run.state_name == "Cached"
    if f.proposed.reopen and f.proposed.state.type is SCHEDULED and (f.proposed.fence is None or is_lost_value):
        return None
    return _refuse(
        f,
        "illegal_transition",
        f"{f.proposed.kind} run '{f.run.name}' cannot go {f.run.state_type.upper()} -> {f.proposed.state.type.upper()}: "
        f"{f.run.state_type.upper()} is final",
    )


def expect_the_sequence(f: Facts) -> Verdict | None:
    """A write names the sequence it follows; whoever was overtaken learns it. Services and operators (no fence) are held to it too."""
    if f.run is None or f.proposed.seq == f.run.seq + 1:
        return None
    return _refuse(f, "conflict", f"the run is at sequence {f.run.seq} ({f.run.state_name}), not {f.proposed.seq - 1}")


def follow_the_table(f: Facts) -> Verdict | None:
    """Only what TRANSITIONS allows."""
    if f.run is None or may_follow(f.run.state_type, f.proposed.state.type, reopen=f.proposed.reopen):
        return None
    return _refuse(
        f,
        "illegal_transition",
        f"{f.proposed.kind} run '{f.run.name}' cannot go {f.run.state_type.upper()} -> {f.proposed.state.type.upper()}",
    )


def carry_out_cancellation(f: Facts) -> Verdict | None:
    """Once a cancel was asked for, the run starts no more attempts, and nothing new starts under it; and whoever lets go of it lets it end:
    nobody would hear of the wish any more.
    """
    wished = f.parent if f.proposed.kind is RunKind.TASK else f.run
    if f.proposed.release and wished is not None and wished.cancel_requested and f.proposed.state.type not in FINAL:
        return Verdict(VerdictKind.INSTEAD, state=State(CANCELLED, "Cancelled", f.now, "cancelled when its process let go of it"))
    if f.proposed.happened or wished is None or not wished.cancel_requested or f.run is None or f.proposed.reopen:
        return None
    starting = f.proposed.state.type in (PENDING, RUNNING, SCHEDULED) and f.run.state_type is not RUNNING
    retrying = f.proposed.state.type is SCHEDULED and f.run.state_type is RUNNING
    if starting or retrying:
        again = " again" if retrying or f.run.attempt > 1 or f.run.state_name == "AwaitingRetry" else ""
        return Verdict(VerdictKind.INSTEAD, state=State(CANCELLED, "Cancelled", f.now, f"cancelled before it started{again}"))
    return None


def reuse_cached_results(f: Facts) -> Verdict | None:
    """A task about to run whose result is in the cache is completed with it instead."""
    if f.entry is None or f.proposed.state.type is not RUNNING or f.proposed.kind is not RunKind.TASK:
        return None
    state = State(COMPLETED, "Cached", f.now, why_reused(f.entry, f.now))
    return Verdict(VerdictKind.INSTEAD, state=state, result=f.entry.result)


def make_a_result_once(f: Facts) -> Verdict | None:
    """A task about to run whose result another is making waits for that: asked again more rarely the longer it takes, within a tenth."""
    if f.holder is None or f.proposed.state.type is not RUNNING or f.proposed.kind is not RunKind.TASK:
        return None
    waits = min(max((f.now - f.holder.since) / 10, _SOONEST), _LATEST)
    seq, attempt = (f.run.seq, f.run.attempt) if f.run else (0, 0)
    return Verdict(VerdictKind.WAIT, seq=seq, attempt=attempt, until=f.now + waits, code="cache_claim", reason=why_waiting(f.holder, f.now))


_SOONEST, _LATEST = timedelta(milliseconds=20), timedelta(seconds=1)


FLOW_RUN_RULES: Sequence[Rule] = (
    speak_of_one_run,
    answer_repeats,
    require_the_record,
    fence_stale_attempts,
    require_a_holder,
    believe_the_holder,
    keep_final_states,
    expect_the_sequence,
    follow_the_table,
    carry_out_cancellation,
)

TASK_RUN_RULES: Sequence[Rule] = (
    speak_of_one_run,
    answer_repeats,
    require_the_record,
    fence_stale_attempts,
    refuse_children_of_ended_runs,
    believe_the_holder,
    keep_final_states,
    expect_the_sequence,
    follow_the_table,
    carry_out_cancellation,
    reuse_cached_results,
    make_a_result_once,
)


def is_plain(t: Transition, run: RunFacts | None, parent: RunFacts) -> bool:
    """Whether a task's transition is of the kind that no rule answers: the next one of a run under a flow run that goes on as it should.

    Most transitions are, and walking the rules to learn it costs half of what deciding costs. True only where `decide` accepts, which a
    property test holds it to; cached results are not looked at here.
    """
    if t.kind is not RunKind.TASK or parent.state_type in FINAL:
        return False
    if t.fence is not None and (t.fence != parent.epoch or not t.fence % 2):
        return False
    if run is None:
        return t.task_run is not None and t.task_run.id == t.run_id and t.seq == 1 and t.state.type in INITIAL
    is_one = t.seq == run.seq + 1 and t.task_run is None and run.kind is not RunKind.FLOW
    return is_one and not parent.cancel_requested and t.state.type in TRANSITIONS[run.state_type]


def decide(facts: Facts) -> Verdict:
    """The verdict on `facts.proposed`: the first rule's that has one, else accepted."""
    for rule in FLOW_RUN_RULES if facts.proposed.kind is RunKind.FLOW else TASK_RUN_RULES:
        verdict = rule(facts)
        if verdict is not None:
            return verdict
    return Verdict(VerdictKind.ACCEPTED, seq=facts.proposed.seq, attempt=facts.proposed.attempt)


def state_after_loss(run: RunFacts, now: datetime, why: str) -> State:
    """What becomes of a run whose holder went away: cancelled if that was wished; never started, it waits again; otherwise it is CRASHED."""
    if run.cancel_requested:
        return State(CANCELLED, "Cancelled", now, f"cancelled; {why}")
    if run.state_type is PENDING and run.claimed:
        return _state_after_no_start(run, now, why)
    return State(CRASHED, "Crashed", now, why)


def _state_after_no_start(run: RunFacts, now: datetime, why: str) -> State:
    """It waits a little longer each time, and is given up when it could not be started MAX_LOST times in a row."""
    if run.unstarted + 1 >= MAX_LOST:
        return State(FAILED, "Failed", now, f"could not be started {run.unstarted + 1} times: {why}")
    wait = timedelta(seconds=min(2**run.unstarted, _LONGEST_PAUSE_S))
    message = f"{why} before it started; it will be handed out again in {wait.total_seconds():g} s"
    return State(SCHEDULED, "Scheduled", now, message, due_at=now + wait)


_LONGEST_PAUSE_S = 60


def state_after_crash(run: RunFacts, now: datetime) -> State | None:
    """The new attempt that policy gives a CRASHED run, or None: it stays CRASHED. At most MAX_LOST attempts may be lost."""
    if run.cancel_requested or not run.retry_when_lost or run.lost >= MAX_LOST:
        return None
    return State(SCHEDULED, "AwaitingRetry", now, f"attempt {run.attempt} was lost; its policy schedules it again", due_at=now)


def _refuse(f: Facts, code: str, reason: str) -> Verdict:
    seq, attempt = (f.run.seq, f.run.attempt) if f.run else (0, 0)
    return Verdict(VerdictKind.REFUSED, seq=seq, attempt=attempt, code=code, reason=reason)


def completed_already(name: str) -> Conflict:
    """What is answered to whoever wants a completed run to go on."""
    hint = f"to run it or a part of it again, as a run of its own: legato run fork {typed(name)} --from TASK"
    return Conflict(f"run '{name}' is completed", hint=hint)
