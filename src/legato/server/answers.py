"""The sentences on top of pages: what a run is doing or how it ended, why, and what to do next. Pure functions of what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from legato.core.queues import matches
from legato.core.records import ErrorDetail, FlowRun, QueueStatus, TaskRun
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, StateType

LATE_AFTER = timedelta(seconds=15)


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sentence, what is behind it, and a command that helps."""

    kind: str
    title: str
    detail: str = ""
    hint: str = ""
    task_run_id: str | None = None
    error: ErrorDetail | None = None


class Evidence(msgspec.Struct, frozen=True):
    """What an answer is made from."""

    run: FlowRun
    now: datetime
    counts: Mapping[StateType, int] = {}
    failed_task: TaskRun | None = None
    median_s: float | None = None
    queues: Sequence[QueueStatus] = ()


def answer(e: Evidence) -> Answer:
    """The sentence for a run."""
    by_type = {
        FAILED: _failed,
        CRASHED: _crashed,
        SCHEDULED: _waiting,
        PENDING: _pending,
        RUNNING: _running,
        PAUSED: _paused,
        COMPLETED: _completed,
        CANCELLED: _cancelled,
    }
    return by_type[e.run.state.type](e)


def _failed(e: Evidence) -> Answer:
    run, task = e.run, e.failed_task
    error = (task.error if task else None) or run.error
    what = f"{error.type}: {error.message}" if error else run.state.message or run.state.name
    where = task.name if task else "the flow itself"
    return Answer("failed", f"Failed at {where}: {_line(what)}", _tasks(e), _logs_of(run), task.id if task else None, error)


def _crashed(e: Evidence) -> Answer:
    lost = f" It was lost {e.run.lost} times, so it is not tried again by itself." if e.run.lost > 1 else ""
    return Answer("crashed", f"Crashed: {_line(e.run.state.message) or 'its process went away'}", _tasks(e) + lost, _logs_of(e.run))


def _waiting(e: Evidence) -> Answer:
    run, due = e.run, e.run.due_at or e.run.expected_start_at
    if run.state.name == "AwaitingRetry":
        return Answer("waiting", f"Waits {in_words(max(timedelta(), due - e.now))} for its next attempt", run.state.message)
    if due > e.now:
        return Answer("waiting", f"Scheduled: starts in {in_words(due - e.now)}", run.trigger)
    late = f"It was due {in_words(e.now - due)} ago."
    word = "Late" if e.now - due > LATE_AFTER else "Due"
    taking = [status for status in e.queues if matches(status.queue.filter, run)]
    return _why_it_waits(word, late, taking, run)


def _why_it_waits(word: str, late: str, taking: Sequence[QueueStatus], run: FlowRun) -> Answer:
    if run.deployment_id is None:
        return Answer("waiting", f"{word}: nobody starts it", f"{late} It belongs to no deployment, so no agent takes it.")
    if not taking:
        return Answer("waiting", f"{word}: no work queue takes it", late, "legato work-queue create default")
    open_ = [status for status in taking if not status.queue.paused]
    if not open_:
        name = taking[0].queue.name
        return Answer("waiting", f"{word}: queue {name} is paused", late, f"legato work-queue resume {name}")
    manned = [status for status in open_ if status.agents]
    if not manned:
        name = open_[0].queue.name
        return Answer("waiting", f"{word}: queue {name} has no live agent", late, f"legato agent start {name}")
    status = manned[0]
    limit = status.queue.concurrency_limit
    if limit is not None and status.running >= limit:
        return Answer("waiting", f"{word}: queue {status.queue.name} is full", f"{late} {status.running} of {limit} places are taken.")
    return Answer("waiting", f"{word}: waits for an agent of queue {status.queue.name}", f"{late} {status.waiting} runs wait there.")


def _pending(e: Evidence) -> Answer:
    return Answer("waiting", "Taken by an agent, about to start", e.run.state.message)


def _running(e: Evidence) -> Answer:
    done, total = e.counts.get(COMPLETED, 0), sum(e.counts.values())
    usual = f" It usually takes {in_words(timedelta(seconds=e.median_s))}." if e.median_s is not None else ""
    since = in_words(e.now - e.run.started_at) if e.run.started_at else "no time"
    title = f"{done} of {total} tasks done, {e.counts.get(RUNNING, 0)} running" if total else "Running"
    if e.run.cancel_requested_at is not None:
        title = f"Cancelling since {in_words(e.now - e.run.cancel_requested_at)}"
    return Answer("running", title, f"Running for {since}.{usual}")


def _paused(e: Evidence) -> Answer:
    return Answer("paused", "Paused: waits for a person", e.run.state.message)


def _completed(e: Evidence) -> Answer:
    took = took_s(e.run)
    title = f"Completed in {in_words(timedelta(seconds=took))}" if took is not None else "Completed"
    if e.median_s is not None:
        title += f", median {in_words(timedelta(seconds=e.median_s))}"
    total = sum(e.counts.values())
    preview = f" Result: {_line(e.run.result.preview)}" if e.run.result and e.run.result.preview else ""
    return Answer("completed", title, f"{total} {'task' if total == 1 else 'tasks'}.{preview}")


def _cancelled(e: Evidence) -> Answer:
    again = f"legato deployment run {e.run.deployment_name}" if e.run.deployment_name else ""
    return Answer("cancelled", "Cancelled", e.run.state.message, again)


def _logs_of(run: FlowRun) -> str:
    return f"legato run logs {run.name}"


def _tasks(e: Evidence) -> str:
    total, done = sum(e.counts.values()), e.counts.get(COMPLETED, 0)
    never = e.counts.get(PENDING, 0) + e.counts.get(SCHEDULED, 0)
    rest = f", {never} never ran" if never else ""
    return f"{done} of {total} tasks completed{rest}." if total else ""


def _line(text: str) -> str:
    """The first line, not too long."""
    first = text.strip().partition("\n")[0]
    return first if len(first) <= 200 else first[:199] + "…"


def took_s(run: FlowRun) -> float | None:
    """How long an ended run took."""
    return (run.ended_at - run.started_at).total_seconds() if run.ended_at and run.started_at else None


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
