"""What must be true of any history, whatever happened to those who made it: the invariants I1 to I13, read off the journal and the flows' ledger.

A ledger is what bodies wrote while they ran, outside of everything that can fail: "time word run attempt pid body". Invariants answer with
sentences about what breaks them; an empty list is a history that is right. They are pure, so each is shown to find what it looks for.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from legato.core.records import FlowRun, JournalEntry, RunKind, TaskRun
from legato.core.retry import MAX_LOST
from legato.core.states import FINAL, PENDING, REOPENS, RUNNING, SCHEDULED, TRANSITIONS, StateType

HOLDING = frozenset({PENDING, RUNNING})
HEARS_WITHIN_S = 15.0
"""How long after it can be heard again a process may go on with a run that was given up: a beat (3 s), its answer, and, where it does not end by
itself, the agent's that kills it, on a machine that has much to do.
"""
CLOCK_S = 0.05
"""How far apart two readings of one machine's clock may be: a ledger's and the journal's, which is rounded."""


class Line(NamedTuple):
    """One line of the ledger: `word` is start, stop, or acked (a gate was answered: what it tells is recorded)."""

    at: float
    word: str
    run_id: str
    attempt: int
    pid: int
    body: str
    agent: int = -1
    """Whose process it was; -1: nobody knows."""


class Cut(NamedTuple):
    """From when until when somebody could neither hear nor be heard: a process, an agent with all its runs, or (neither) everybody."""

    begun: float
    ended: float
    agent: int | None = None
    pid: int | None = None

    def explains(self, line: Line) -> bool:
        """Whether the process that wrote this may not have known yet that its run was given up."""
        of_it = self.pid in (None, line.pid) and self.agent in (None, line.agent)
        return of_it and self.begun <= line.at <= self.ended + HEARS_WITHIN_S


def ledger_of(text: str) -> list[Line]:
    """The lines of a ledger, in the order of their times."""
    split = (line.split(" ", 6) for line in text.splitlines())
    return sorted(
        Line(float(at), word, run, int(attempt), int(pid), body, int(agent)) for at, word, run, attempt, pid, agent, body in split
    )


@dataclass
class History:
    """All there is to judge by."""

    journal: Sequence[JournalEntry]
    runs: Sequence[FlowRun]
    tasks: Sequence[TaskRun] = ()
    ledger: Sequence[Line] = ()
    ticks: Sequence[tuple[str, int]] = ()
    """By schedule and instant (seconds): what the scheduler wrote down as planned."""
    slots: Sequence[str] = ()
    """Holders of slots at the end."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """By queue."""
    every_s: Mapping[str, int] = field(default_factory=dict)
    """By schedule that may leave no tick out: its interval."""
    made: Iterable[str] = ()
    """Runs whose making was acknowledged."""
    cancelled: Mapping[str, datetime] = field(default_factory=dict)
    """Runs whose cancellation was acknowledged, and when."""
    ended_at: datetime | None = None
    cuts: Sequence[Cut] = ()
    """Who could not be heard, and when."""

    def of_flows(self) -> dict[str, list[JournalEntry]]:
        """The journal's entries by flow run."""
        found: dict[str, list[JournalEntry]] = defaultdict(list)
        for entry in self.journal:
            if entry.kind is RunKind.FLOW:
                found[entry.run_id].append(entry)
        return found

    def by_run(self) -> dict[str, list[JournalEntry]]:
        """The journal's entries by run, of either kind."""
        found: dict[str, list[JournalEntry]] = defaultdict(list)
        for entry in self.journal:
            found[entry.run_id].append(entry)
        return found


def _is_late(before: JournalEntry, after: JournalEntry) -> bool:
    """Whether a run that was given up for lost has told its end after all, before anybody else had it: it is believed (docs/design/late-reports.md)."""
    told = after.state.type in FINAL - {StateType.CRASHED}
    return before.state.type is StateType.CRASHED and told and after.attempt == before.attempt


def legal(history: History) -> Iterator[str]:
    """I1: each transition is one of the table, opens an ended run again, or is the late end of one that was given up."""
    for run_id, entries in history.by_run().items():
        for before, after in itertools.pairwise(entries):
            may_follow = TRANSITIONS[before.state.type] | REOPENS.get(before.state.type, frozenset())
            is_answer = after.state.name == "Cached"  # in place of a start, whatever the task was waiting in
            if after.state.type not in may_follow and not is_answer and not _is_late(before, after):
                yield f"{run_id} went from {before.state.name} to {after.state.name}"


def gapless(history: History) -> Iterator[str]:
    """I2: positions are dense, and so are the numbers within each run."""
    if (positions := [entry.pos for entry in history.journal]) != list(range(1, len(positions) + 1)):
        yield "the journal's positions have gaps"
    for run_id, entries in history.by_run().items():
        if [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
            yield f"the numbers of {run_id} have gaps: {[entry.seq for entry in entries]}"


def fenced(history: History) -> Iterator[str]:
    """I3: once a later attempt has begun, nothing of an earlier one is recorded."""
    attempt_of = {task.id: task.flow_attempt for task in history.tasks}
    now: dict[str, int] = {}
    for entry in history.journal:
        held = now.get(entry.flow_run_id, 0)
        if entry.kind is RunKind.FLOW:
            if entry.attempt < held:
                yield f"{entry.run_id}: {entry.state.name} of attempt {entry.attempt} was recorded during attempt {held}"
            now[entry.run_id] = max(held, entry.attempt)
        elif (attempt := attempt_of.get(entry.run_id, held)) < held:
            yield f"task {entry.run_id}: {entry.state.name} of attempt {attempt} was recorded during attempt {held}"


def one_lease(history: History) -> Iterator[str]:
    """I4: between two claims of a run lies its release."""
    for run_id, entries in history.of_flows().items():
        held = False
        for entry in entries:
            if entry.state.type is PENDING and held:
                yield f"{run_id} was claimed while it was held"
            held = entry.state.type not in (*FINAL, SCHEDULED)


def overlaps(history: History) -> Iterator[tuple[str, int, int]]:
    """Runs of which two attempts worked at one time, and which."""
    by_run: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in history.ledger:
        by_run[line.run_id][line.attempt].append(line.at)
    for run_id, attempts in by_run.items():
        for earlier, later in itertools.combinations(sorted(attempts), 2):
            if max(attempts[earlier]) > min(attempts[later]):
                yield run_id, earlier, later


def no_overlap(history: History) -> Iterator[str]:
    """I5: while a later attempt of a run works, an earlier one does not, unless it cannot have heard yet that it was given up."""
    for run_id, earlier, later in overlaps(history):
        lines = [line for line in history.ledger if line.run_id == run_id]
        began = min(line.at for line in lines if line.attempt == later)
        for line in lines:
            if line.attempt == earlier and line.at > began and not any(cut.explains(line) for cut in history.cuts):
                yield f"{line.word} {line.body} of {run_id} in attempt {earlier}, {line.at - began:.1f} s after attempt {later} began; nobody was cut off"
                break


def ticks(history: History) -> Iterator[str]:
    """I6: each tick of a schedule made one run, and none was left out."""
    for (schedule, at), count in Counter(history.ticks).items():
        if count != 1:
            yield f"schedule {schedule} was planned {count} times for {at}"
    made = Counter((run.schedule_id, run.expected_start_at) for run in history.runs if run.schedule_id is not None)
    yield from (f"schedule {schedule} made {count} runs for {at}" for (schedule, at), count in made.items() if count != 1)
    for schedule, every in history.every_s.items():
        instants = sorted(run.expected_start_at.timestamp() for run in history.runs if run.schedule_id == schedule)
        yield from (f"schedule {schedule} left out what is between {a} and {b}" for a, b in itertools.pairwise(instants) if b - a > every)


def limits(history: History) -> Iterator[str]:
    """I7: at no position of the journal do more runs of a queue hold a place than its limit allows."""
    queue_of = {run.id: run.work_queue for run in history.runs}
    held: dict[str, set[str]] = defaultdict(set)
    for entry in history.journal:
        queue = queue_of.get(entry.run_id)
        if entry.kind is not RunKind.FLOW or queue not in history.limits:
            continue
        (held[queue].add if entry.state.type in HOLDING else held[queue].discard)(entry.run_id)
        if len(held[queue]) > history.limits[queue]:
            yield f"queue {queue} held {len(held[queue])} of {history.limits[queue]} at {entry.pos}"


def no_leak(history: History) -> Iterator[str]:
    """I8: whoever holds a slot goes on."""
    over = {run.id for run in history.runs if run.state.is_final}
    yield from (f"{holder} has ended, and holds a slot" for holder in history.slots if holder in over)


def terminal(history: History) -> Iterator[str]:
    """I9: an attempt ends once, and a run that ended changes only by being opened again."""
    for run_id, entries in history.of_flows().items():
        late = {after.pos for before, after in itertools.pairwise(entries) if _is_late(before, after)}
        ends = Counter(entry.attempt for entry in entries if entry.state.type in FINAL and entry.pos not in late)
        yield from (f"attempt {attempt} of {run_id} ended {count} times" for attempt, count in ends.items() if count > 1)
    for task in history.tasks:
        if task.state.type not in FINAL and task.flow_run_id in {run.id for run in history.runs if run.state.is_final}:
            yield f"task {task.name} of {task.flow_run_id} was left {task.state.name} under an ended run"


def acked(history: History) -> Iterator[str]:
    """I10: what was acknowledged is there: runs that were made, and of runs that completed each task whose completion was told."""
    there = {run.id for run in history.runs}
    yield from (f"run {run_id} was made, and is not there" for run_id in history.made if run_id not in there)
    completed = {run.id: run for run in history.runs if run.state.type is StateType.COMPLETED}
    names: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for task in history.tasks:
        if task.state.type is StateType.COMPLETED:
            names[task.flow_run_id, task.flow_attempt][task.name] += 1
    last = {run_id: run.attempt for run_id, run in completed.items()}
    for line in history.ledger:
        if line.word != "acked" or last.get(line.run_id) != line.attempt:
            continue
        if not any(names[line.run_id, attempt][line.body] for attempt in range(1, line.attempt + 1)):
            yield f"{line.body} of {line.run_id}, attempt {line.attempt}, was told as completed, and is not recorded"


def no_phantom(history: History) -> Iterator[str]:
    """I11: a body runs only in an attempt that is recorded as running, and after that.

    A run that began inside another while that one was cut off is recorded when it can be heard again, unless somebody else has it by then.
    """
    there = {run.id for run in history.runs}
    since: dict[tuple[str, int], float] = {}
    for entry in history.journal:
        if entry.kind is RunKind.FLOW and entry.state.type is RUNNING:
            since.setdefault((entry.run_id, entry.attempt), entry.state.at.timestamp())
    for line in history.ledger:
        if line.word == "start":
            if line.run_id not in there and any(cut.explains(line) for cut in history.cuts):
                continue
            began = since.get((line.run_id, line.attempt))
            if began is None or line.at < began - CLOCK_S:
                yield f"{line.body} of {line.run_id} ran in attempt {line.attempt}, which was not recorded as running"


def never_run(history: History) -> Iterator[str]:
    """I12: an attempt that was lost before it ran is waited for again, given up after three, or was not wanted any more."""
    for run_id, entries in history.of_flows().items():
        for before, after in itertools.pairwise(entries):
            if before.state.type is PENDING and after.state.type is StateType.CRASHED:
                yield f"{run_id} crashed before it ran: {after.state.message}"


def lively(history: History) -> Iterator[str]:
    """I13: in the end all runs are over, and no lease is left."""
    for run in history.runs:
        if history.ended_at is not None and run.expected_start_at > history.ended_at:
            continue  # what was due when nobody looked any more
        if not run.state.is_final:
            yield f"{run.name} is still {run.state.name}: {run.state.message}"
        if run.lease_expires_at is not None:
            yield f"{run.name} still has a lease"


def fates(history: History) -> Iterator[str]:
    """What the world does to a run whose flow is right does not make it fail: it completes, was cancelled, or was lost too often."""
    for run in history.runs:
        is_given_up = run.state.type is StateType.CRASHED and run.lost >= MAX_LOST
        is_given_up |= run.state.message.startswith(f"could not be started {MAX_LOST} times: its agent")
        if run.state.is_final and not is_given_up and run.state.type not in (StateType.COMPLETED, StateType.CANCELLED):
            yield f"{run.name} is {run.state.name}, attempt {run.attempt}, lost {run.lost}: {run.state.message}"


def not_again(history: History) -> Iterator[str]:
    """What is recorded as completed in one attempt does not run in a later one. (Bodies of these flows are stored.)"""
    recorded: dict[tuple[str, str], int] = {}
    for task in history.tasks:
        if task.state.type is StateType.COMPLETED and task.state.name == "Completed":
            key = (task.flow_run_id, task.name)
            recorded[key] = min(task.flow_attempt, recorded.get(key, task.flow_attempt))
    for line in history.ledger:
        first = recorded.get((line.run_id, line.body))
        if line.word == "start" and first is not None and line.attempt > first:
            yield f"{line.body} of {line.run_id} is recorded as completed in attempt {first}, and ran again in attempt {line.attempt}"


def no_claim_after_cancel(history: History) -> Iterator[str]:
    """A cancellation that was acknowledged is followed by no claim."""
    for run_id, entries in history.of_flows().items():
        if (since := history.cancelled.get(run_id)) is not None:
            yield from (
                f"{run_id} was claimed at {entry.state.at} after its cancellation at {since}"
                for entry in entries
                if entry.state.type is PENDING and entry.state.at > since
            )


INVARIANTS = {
    "I1 legal": legal,
    "I2 gapless": gapless,
    "I3 fencing": fenced,
    "I4 one lease": one_lease,
    "I5 no overlap": no_overlap,
    "I6 ticks": ticks,
    "I7 limits": limits,
    "I8 no leak": no_leak,
    "I9 terminal": terminal,
    "I10 acked": acked,
    "I11 no phantom": no_phantom,
    "I12 never run": never_run,
    "I13 liveness": lively,
    "nothing again": not_again,
    "fates": fates,
    "I15 cancel": no_claim_after_cancel,
}


def broken(history: History) -> list[str]:
    """What is wrong with a history, invariant by invariant."""
    return [f"{name}: {sentence}" for name, invariant in INVARIANTS.items() for sentence in invariant(history)]
