"""What an explanation is, the facts it is made from, and the phrases that all explanations share. Why a run is as it is, `why` says. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec

from legato.core.names import typed
from legato.core.records import Agent, ErrorDetail, FlowRun, JournalEntry, LimitStatus, QueueStatus, RunInput, TaskRun
from legato.core.states import FINAL, RUNNING, SCHEDULED, State, StateType


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a run is as it is: `sentences` for people, the first of which is the reason; `facts`, the numbers in them, for programs.

    `kind`: failed, crashed, waiting, running, paused, completed or cancelled. `hint`: a command that helps, or what to do. `task_run_id` and
    `error`: what went wrong, and where.
    """

    kind: str
    sentences: tuple[str, ...]
    facts: dict[str, Any] = {}
    hint: str = ""
    task_run_id: str | None = None
    error: ErrorDetail | None = None

    @property
    def title(self) -> str:
        """The reason, in one line."""
        return self.sentences[0]

    def __str__(self) -> str:
        return "\n".join((*self.sentences, f"Try: {self.hint}") if self.hint else self.sentences)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a reason may be read from: the flow run, and the task run if it is that which is explained. What is not known is left out.

    `journal` is of the run that is explained. `tasks`: those of the flow run that have not ended; `reused`: how many of this attempt's were taken from an
    earlier attempt. `usual_s`: by flow name, how long its runs take in the middle. `holders`: the runs in the slots of the queue in the way;
    `before`: how many runs that queue hands out first. `upstream`: what a task run depends on.
    `has_namesakes`: whether other flow runs have the same name.
    """

    now: datetime
    run: FlowRun
    task: TaskRun | None = None
    journal: Sequence[JournalEntry] = ()
    counts: Mapping[StateType, int] = {}
    tasks: Sequence[TaskRun] = ()
    failed_task: TaskRun | None = None
    reused: int = 0
    usual_s: Mapping[str, float] = {}
    deployment_is_gone: bool = False
    queues: Sequence[QueueStatus] = ()
    limits: Sequence[LimitStatus] = ()
    agents: Sequence[Agent] = ()
    holders: Sequence[FlowRun] = ()
    before: int | None = None
    inputs: Sequence[RunInput] = ()
    upstream: Sequence[TaskRun | FlowRun] = ()
    has_namesakes: bool = False

    @property
    def typed(self) -> str:
        """What a command calls the flow run by: its name, unless others have it too."""
        return self.run.id if self.has_namesakes else typed(self.run.name)


class Reason(msgspec.Struct):
    """An explanation in the making."""

    kind: str
    sentences: list[str]
    facts: dict[str, Any] = {}
    hint: str = ""
    task_run_id: str | None = None
    error: ErrorDetail | None = None

    def add(self, sentence: str, **facts: Any) -> None:
        """One more sentence, unless it is empty or said already, and the numbers in it."""
        if sentence and sentence not in self.sentences:
            self.sentences.append(sentence)
        self.facts.update(facts)

    def done(self) -> Explanation:
        return Explanation(self.kind, tuple(self.sentences), dict(self.facts), self.hint, self.task_run_id, self.error)


# ---------------------------------------------------------------------- phrases


def in_words(span: timedelta) -> str:
    """A length of time as people say it: "28 ms", "1.2 s", "4 min", "3 h", "5 days"."""
    seconds = max(span.total_seconds(), 0)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def since_text(at: datetime | None, now: datetime) -> str:
    """How long ago that was: "4 min"; "an unknown time" when nobody wrote it down."""
    return in_words(now - at) if at is not None else "an unknown time"


def seconds_since(at: datetime | None, now: datetime) -> float | None:
    """For programs: seconds since then, never below zero."""
    return round(max((now - at).total_seconds(), 0), 3) if at is not None else None


def took_s(run: FlowRun | TaskRun) -> float | None:
    """How long an ended run took, in seconds."""
    return (run.ended_at - run.started_at).total_seconds() if run.ended_at and run.started_at else None


def one_line(text: str) -> str:
    """The first line, not too long."""
    first = text.strip().partition("\n")[0]
    return first if len(first) <= 200 else first[:199] + "…"


def error_text(error: ErrorDetail | None, state: State) -> str:
    """What went wrong, in one line."""
    return one_line(f"{error.type}: {error.message}" if error else state.message or state.name)


def listed(words: Sequence[str], limit: int = 3) -> str:
    """As people list things: "a, b and c", "a, b and 4 more"."""
    shown = list(words[:limit])
    if len(words) > limit:
        shown.append(f"{len(words) - limit} more")
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def type_in_words(schema: Mapping[str, Any]) -> str:
    """What a JSON Schema asks for: "integer", "array of string", "a, b or c", a model's name."""
    if choices := schema.get("enum"):
        return alternatives([str(one) for one in choices])
    kind = schema.get("title") or schema.get("type")
    if kind == "array" and (items := schema.get("items")):
        return f"array of {type_in_words(items)}"
    if options := schema.get("anyOf"):
        return alternatives([type_in_words(one) for one in options])
    return str(kind or "JSON")


def alternatives(words: Sequence[str]) -> str:
    """A list of which one is meant."""
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)


def plural(n: int, noun: str) -> str:
    """A number of things: "1 run", "3 runs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


# ---------------------------------------------------------------------- retries


class RetryNumbers(msgspec.Struct, frozen=True):
    """Which attempt failed, why, which of how many comes next, and when."""

    failed: int
    why: str
    next: int
    of: int
    due: datetime


_RETRY = re.compile(r"attempt (\d+) failed: (.*); attempt (\d+) of (\d+) follows in ([\d.e+-]+) s", re.DOTALL)


def retry_numbers(run: FlowRun | TaskRun) -> RetryNumbers:
    """What the message of AwaitingRetry says; where it says something else, what the run's own numbers say."""
    state = run.state
    found = _RETRY.match(state.message)
    due = state.due_at or (run.due_at if isinstance(run, FlowRun) else None) or state.at
    if found is None:
        return RetryNumbers(run.attempt, "", run.attempt + 1, max(run.retries + 1, run.attempt + 1), due)
    if due == state.at:  # task runs are kept without it
        due = state.at + timedelta(seconds=_number(found[5]))
    return RetryNumbers(int(found[1]), found[2], int(found[3]), int(found[4]), due)


def _number(text: str) -> float:
    try:
        return min(float(text), 1e9)
    except ValueError:
        return 0.0


def retry_sentence(run: FlowRun | TaskRun, now: datetime) -> tuple[str, dict[str, Any]]:
    """Which attempt comes next, when and why ("Next attempt (3 of 5) in 12 s because attempt 2 failed: …"), and the numbers in it."""
    n = retry_numbers(run)
    when = f"in {in_words(n.due - now)}" if n.due > now else f"is due since {in_words(now - n.due)}"
    why = f"attempt {n.failed} failed: {one_line(n.why)}" if n.why else one_line(run.state.message) or f"attempt {n.failed} failed"
    facts = {"next_attempt": n.next, "attempts": n.of, "due_in_s": round((n.due - now).total_seconds(), 3)}
    return f"Next attempt ({n.next} of {n.of}) {when} because {why}", facts


def earlier_failures(journal: Sequence[JournalEntry]) -> list[str]:
    """Of each attempt that failed and was tried again: "attempt 1: OSError: …"."""
    found = []
    for entry in journal:
        match = _RETRY.match(entry.state.message) if entry.state.type is SCHEDULED else None
        if match is not None:
            found.append(f"attempt {match[1]}: {one_line(match[2])}")
    return found


def start_message(journal: Sequence[JournalEntry]) -> str:
    """What was said when it started last: why it was not taken from the cache, or runs again."""
    return next((entry.state.message for entry in reversed(journal) if entry.state.type is RUNNING and entry.state.message), "")


def why_again(journal: Sequence[JournalEntry]) -> str:
    """Why a run that had ended was begun anew, in the words of whoever asked for that; "" when it was not."""
    said = ""
    for before, entry in pairwise(journal):
        if before.state.type in FINAL and entry.state.type not in FINAL:
            said = one_line(entry.state.message) or f"it was begun anew after it was {before.state.name}"
    return said


def progress(run: FlowRun | TaskRun, now: datetime) -> str:
    """What a run that others wait for is doing: "running for 4 min", "waits since 12 s"."""
    kind = run.state.type
    if kind is RUNNING:
        return f"running for {since_text(run.started_at or run.state.at, now)}"
    if kind in FINAL:
        return f"{run.state.name} {since_text(run.ended_at or run.state.at, now)} ago"
    if run.state.name == "AwaitingRetry":
        numbers = retry_numbers(run)
        return f"waits {in_words(numbers.due - now)} for attempt {numbers.next} of {numbers.of}"
    return f"{run.state.name.lower()} for {since_text(run.state.at, now)}"
