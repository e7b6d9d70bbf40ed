"""Why a flow run is as it is, state by state. Pure; `why` is the door."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

import msgspec

from legato.core.explanation import (
    Explanation,
    Facts,
    Reason,
    earlier_failures,
    error_text,
    in_words,
    listed,
    one_line,
    plural,
    progress,
    retry_sentence,
    seconds_since,
    since_text,
    took_s,
    type_in_words,
    why_again,
)
from legato.core.names import typed
from legato.core.queues import LATE_AFTER, is_limited, is_live, matches
from legato.core.records import Agent, FlowRun, LimitStatus, QueueStatus, TaskRun
from legato.core.retry import MAX_LOST
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, StateType


class Way(StrEnum):
    """What stands between a run that is due and its start."""

    NO_DEPLOYMENT = "no deployment"
    DEPLOYMENT_GONE = "deployment gone"
    NO_QUEUE = "no queue"
    PAUSED = "paused"
    NO_AGENT = "no agent"
    FULL = "full"
    LIMIT = "limit"
    AGENT = "agent"


class Obstacle(msgspec.Struct, frozen=True):
    """What a due run waits for, and the queue it is about, if it is about one."""

    way: Way
    status: QueueStatus | None = None
    limit: LimitStatus | None = None


def obstacle(
    run: FlowRun, queues: Sequence[QueueStatus], *, limits: Sequence[LimitStatus] = (), deployment_is_gone: bool = False
) -> Obstacle:
    """What a run that is due waits for. Of several queues that take it, the one that is nearest to starting it."""
    if run.deployment_id is None:
        return Obstacle(Way.NO_DEPLOYMENT)
    if deployment_is_gone:
        return Obstacle(Way.DEPLOYMENT_GONE)
    taking = [status for status in queues if matches(status.queue.filter, run)]
    if not taking:
        return Obstacle(Way.NO_QUEUE)
    open_ = [status for status in taking if not status.queue.paused]
    if not open_:
        return Obstacle(Way.PAUSED, taking[0])
    manned = [status for status in open_ if status.agents]
    if not manned:
        return Obstacle(Way.NO_AGENT, open_[0])
    free = [status for status in manned if not _is_full(status)]
    if not free:
        return Obstacle(Way.FULL, manned[0])
    full = next((limit for limit in limits if limit.running >= limit.size and is_limited(run, limit)), None)
    return Obstacle(Way.AGENT, free[0]) if full is None else Obstacle(Way.LIMIT, free[0], full)


def _is_full(status: QueueStatus) -> bool:
    limit = status.queue.concurrency_limit
    return limit is not None and status.running >= limit


def about_flow_run(f: Facts) -> Explanation:
    """Why a flow run is as it is."""
    reason = _BY_STATE[f.run.state.type](f)
    reason.facts.update({"state": f.run.state.name, "attempt": f.run.attempt})
    if f.run.state.type not in (SCHEDULED, PAUSED):
        _say_why_again(f, reason)
    return reason.done()


def _say_why_again(f: Facts, reason: Reason) -> None:
    """That this is a later attempt, why, and what of the earlier ones it has reused."""
    failures, again = earlier_failures(f.journal), why_again(f.journal)
    if again:
        reason.add(f"This is attempt {f.run.attempt}: {again}")
    elif failures:
        reason.add(
            f"This is attempt {f.run.attempt} of {f.run.retries + 1}; before it failed {listed(failures)}", failed_attempts=len(failures)
        )
    if f.reused:
        reason.add(f"{plural(f.reused, 'result')} of earlier attempts {'was' if f.reused == 1 else 'were'} reused", reused=f.reused)


# ---------------------------------------------------------------------- waiting


def _scheduled(f: Facts) -> Reason:
    run, due = f.run, f.run.due_at or f.run.state.due_at or f.run.expected_start_at
    reason = Reason("waiting", [], {"due_in_s": round((due - f.now).total_seconds(), 3)})
    retries = run.state.name == "AwaitingRetry"
    if retries:
        sentence, facts = retry_sentence(run, f.now)
        reason.add(sentence, **facts)
    if due > f.now:
        reason.add("" if retries else f"Scheduled: starts in {in_words(due - f.now)}")
        reason.add(f"Made by: {run.trigger}" if run.trigger else "")
    elif run.lease_expires_at is None:
        _late(f, due, reason)
    if not retries:
        said = run.state.message if run.state.message != run.trigger else ""  # of one that was only made: who made it
        reason.add(f"Its last word: {one_line(said)}" if said else "")
    reason.add("" if reason.sentences else f"Its process holds it; it was due {in_words(f.now - due)} ago")
    return reason


def _late(f: Facts, due: datetime, reason: Reason) -> None:
    """A run that is due and that nobody holds."""
    late = f.now - due
    word = f"Late by {in_words(late)}" if late > LATE_AFTER else f"Due for {in_words(late)}"
    found = obstacle(f.run, f.queues, limits=f.limits, deployment_is_gone=f.deployment_is_gone)
    reason.facts |= {"waits_for": str(found.way), "late_s": round(late.total_seconds(), 3)}
    if found.limit is not None:
        _say_limit(found.limit, word, reason)
        return
    if found.status is not None:
        reason.facts |= {"queue": found.status.queue.name, "agents": found.status.agents, "running": found.status.running}
        _IN_THE_WAY[found.way](f, word, found.status, reason)
        return
    if found.way is Way.NO_DEPLOYMENT:
        reason.add(f"{word}: nobody starts it, because it belongs to no deployment and agents take only those that do")
        reason.hint = f"legato run resume {f.typed}"
    elif found.way is Way.DEPLOYMENT_GONE:
        reason.add(f"{word}: its deployment '{f.run.deployment_name}' was deleted, so no agent takes it")
        reason.hint = f"legato run cancel {f.typed}"
    else:
        tags = f"; its tags are {listed(f.run.tags)}" if f.run.tags else ""
        reason.add(f"{word}: no work queue takes it ({plural(len(f.queues), 'queue')} looked at{tags})", queues=len(f.queues))
        reason.hint = "legato work-queue ls" if f.queues else "legato work-queue create default"


def _say_limit(limit: LimitStatus, word: str, reason: Reason) -> None:
    """A limit on a tag, or on the deployment, that holds over all queues."""
    of = f"with tag '{limit.tag}'" if limit.tag else f"of deployment '{limit.deployment_name}'"
    reason.facts |= {"running": limit.running, "limit": limit.size}
    reason.add(f"{word}: the limit on runs {of} is reached: {limit.running} of {limit.size} run already")


def _queue_is_paused(_: Facts, word: str, status: QueueStatus, reason: Reason) -> None:
    reason.add(f"{word}: queue '{status.queue.name}' is paused, and {plural(status.waiting, 'run')} wait{_s(status.waiting)} there")
    reason.facts["waiting"] = status.waiting
    reason.hint = f"legato work-queue resume {typed(status.queue.name)}"


def _queue_has_no_agent(f: Facts, word: str, status: QueueStatus, reason: Reason) -> None:
    name = status.queue.name
    last = max((a for a in f.agents if name in a.queues), key=lambda a: a.last_seen_at, default=None)
    if last is None:
        reason.add(f"{word}: queue '{name}' has no live agent: none came within a day, or those that did have ended")
    else:
        silent = since_text(last.last_seen_at, f.now)
        reason.add(f"{word}: no agent has looked at queue '{name}' for {silent}", silent_s=seconds_since(last.last_seen_at, f.now))
        reason.add(f"The last that did was '{last.name}'" + (f" on {last.host}" if last.host else ""))
    _say_before(f, reason)
    reason.hint = f"legato agent start {typed(name)}"


def _queue_is_full(f: Facts, word: str, status: QueueStatus, reason: Reason) -> None:
    limit = status.queue.concurrency_limit
    held = [f"{run.name} ({since_text(run.started_at or run.state.at, f.now)})" for run in f.holders]
    by = f", held by {listed(held)}" if held else ""
    reason.add(f"{word}: queue '{status.queue.name}' is at its limit: {status.running} of {limit} slots{by}", limit=limit)
    reason.facts["held_by"] = [
        {"id": run.id, "name": run.name, "for_s": seconds_since(run.started_at or run.state.at, f.now)} for run in f.holders
    ]
    _say_before(f, reason)
    frees = _next_slot(f)
    if frees is not None:
        reason.add(f"The next slot usually frees in about {in_words(frees)}", next_slot_s=round(frees.total_seconds(), 1))
    reason.hint = f"legato work-queue set-limit {typed(status.queue.name)} {(limit or 0) + 1}"


def _next_slot(f: Facts) -> timedelta | None:
    """When the first of the holders is done, if it takes as long as its flow usually does; None when nobody knows."""
    left = []
    for run in f.holders:
        usual = f.usual_s.get(run.flow_name)
        if usual is not None:
            left.append(max(usual - (f.now - (run.started_at or run.state.at)).total_seconds(), 1.0))
    return timedelta(seconds=min(left)) if left else None


def _queue_is_open(f: Facts, word: str, status: QueueStatus, reason: Reason) -> None:
    name = status.queue.name
    live = [a for a in f.agents if name in a.queues and is_live(a, f.now)]
    if live and all(_is_busy(agent) for agent in live):
        busy = listed([f"'{agent.name}' runs {agent.running} of {agent.capacity}" for agent in live])
        reason.add(f"{word}: every agent of queue '{name}' is busy: {busy}", busy_agents=len(live))
        reason.hint = f"legato agent start {typed(name)}"
    else:
        reason.add(f"{word}: waits for one of {plural(status.agents, 'agent')} of queue '{name}' to take it")
    _say_before(f, reason)


def _is_busy(agent: Agent) -> bool:
    return 0 < agent.capacity <= agent.running


def _say_before(f: Facts, reason: Reason) -> None:
    if f.before is not None:
        reason.add(
            f"{plural(f.before, 'run')} {'is' if f.before == 1 else 'are'} before it" if f.before else "It is next in line", before=f.before
        )


def _s(n: int) -> str:
    return "s" if n == 1 else ""


_IN_THE_WAY: Mapping[Way, Callable[[Facts, str, QueueStatus, Reason], None]] = {
    Way.PAUSED: _queue_is_paused,
    Way.NO_AGENT: _queue_has_no_agent,
    Way.FULL: _queue_is_full,
    Way.AGENT: _queue_is_open,
}


# ---------------------------------------------------------------------- going on


def _pending(f: Facts) -> Reason:
    since = since_text(f.run.state.at, f.now)
    agent = next((a.name for a in f.agents if a.id == f.run.agent_id), "")
    by = f"agent '{agent}'" if agent else "an agent" if f.run.agent_id else "a process"
    queue = f" from queue '{f.run.work_queue}'" if f.run.work_queue else ""
    reason = Reason("waiting", [f"Taken by {by}{queue} {since} ago, about to start"], {"since_s": seconds_since(f.run.state.at, f.now)})
    reason.add(_capital(one_line(f.run.state.message)))
    _say_silence(f, reason)
    return reason


def _running(f: Facts) -> Reason:
    run = f.run
    reason = Reason("running", [], {"running_s": seconds_since(run.started_at, f.now)})
    done, total = f.counts.get(COMPLETED, 0), sum(f.counts.values())
    if run.cancel_requested_at is not None:
        reason.add(f"Cancelling for {since_text(run.cancel_requested_at, f.now)}: its process was asked to stop")
    elif run.pause_requested_at is not None:
        reason.add(f"Pausing for {since_text(run.pause_requested_at, f.now)}: it stops before its next task")
    if total:
        tasks = {"tasks": total, "tasks_done": done, "tasks_running": f.counts.get(RUNNING, 0)}
        reason.add(f"{done} of {total} tasks done, {tasks['tasks_running']} running", **tasks)
    else:
        reason.add(f"Running for {since_text(run.started_at, f.now)}")
    usual = f.usual_s.get(run.flow_name)
    if usual is not None:
        reason.add(f"Running for {since_text(run.started_at, f.now)}; it usually takes {in_words(timedelta(seconds=usual))}", usual_s=usual)
    else:
        reason.add(f"Running for {since_text(run.started_at, f.now)}")
    reason.add(_what_goes_on(f))
    _say_silence(f, reason)
    return reason


def _what_goes_on(f: Facts) -> str:
    """The tasks that keep it, the longest first: those that run, and those that wait for another attempt."""
    busy = [t for t in f.tasks if t.state.type is RUNNING or t.state.name == "AwaitingRetry"]
    busy.sort(key=lambda t: t.started_at or t.state.at)
    return "Now: " + listed([_busy(task, f.now) for task in busy]) if busy else ""


def _busy(task: TaskRun, now: datetime) -> str:
    if task.state.type is RUNNING:
        return f"'{task.name}' ({since_text(task.started_at or task.state.at, now)})"
    return f"'{task.name}' {progress(task, now)}"


def _say_silence(f: Facts, reason: Reason) -> None:
    """That its holder has given no sign of life, if it has not."""
    lease = f.run.lease_expires_at
    if lease is not None and lease < f.now:
        reason.add(
            f"Its process should have given a sign of life {in_words(f.now - lease)} ago: without one it is reported lost",
            overdue_s=seconds_since(lease, f.now),
        )


def _paused(f: Facts) -> Reason:
    since = since_text(f.run.state.at, f.now)
    asked = next((one for one in reversed(f.inputs) if one.answered_at is None), None)
    word = "Suspended" if f.run.state.name == "Suspended" else "Paused"
    reason = Reason("paused", [], {"since_s": seconds_since(f.run.state.at, f.now)})
    prompt = one_line(asked.prompt) if asked is not None else ""
    if asked is not None and asked.is_wish:
        reason.add(f"{word} for {since}: by a person, who is asked nothing", prompt=prompt)
    elif prompt:
        reason.add(f"{word} for {since}: asks '{prompt}'", prompt=prompt)
    else:
        reason.add(f"{word} for {since}: waits for a person")
    if asked is not None and asked.schema:
        reason.add(f"The answer is to be of type {type_in_words(asked.schema)}", schema=asked.schema)
    if word == "Suspended":
        reason.add("No process holds it; when it goes on, finished tasks whose values are stored are not run again")
    elif f.run.state.message and one_line(f.run.state.message) != prompt:
        reason.add(_capital(one_line(f.run.state.message)))
    if f.run.cancel_requested_at is not None:
        reason.add(f"It was asked to stop {since_text(f.run.cancel_requested_at, f.now)} ago")
    reason.hint = f"legato run resume {f.typed}"
    return reason


# ---------------------------------------------------------------------- ended


def _failed(f: Facts) -> Reason:
    run, task = f.run, f.failed_task
    error = (task.error if task else None) or run.error
    if run.state.name == "TimedOut":
        reason = Reason("failed", [f"Timed out: {one_line(run.state.message) or 'it took longer than its timeout'}"], error=error)
    else:
        where = task.name if task else "the flow itself"
        reason = Reason(
            "failed", [f"Failed at {where}: {error_text(error, run.state)}"], error=error, task_run_id=task.id if task else None
        )
    if task is not None and task.attempt > 1:
        reason.add(f"That was attempt {task.attempt} of {task.retries + 1}", task_attempts=task.attempt)
    _say_tasks(f, reason)
    reason.hint = f"legato run logs {f.typed}"
    return reason


def _crashed(f: Facts) -> Reason:
    run = f.run
    reason = Reason("crashed", [f"Crashed: {one_line(run.state.message) or 'its process went away'}"], {"lost": run.lost})
    _say_tasks(f, reason)
    if run.lost >= MAX_LOST:
        reason.add(f"It was lost {run.lost} times, so it is not tried again by itself (the limit is {MAX_LOST})")
    elif run.lost > 1:
        reason.add(f"It was lost {run.lost} times, so it is not tried again by itself")
    reason.hint = f"legato run logs {f.typed}"
    return reason


def _say_tasks(f: Facts, reason: Reason) -> None:
    total, done = sum(f.counts.values()), f.counts.get(COMPLETED, 0)
    if total:
        never = f.counts.get(PENDING, 0) + f.counts.get(SCHEDULED, 0)
        rest = f", {never} never ran" if never else ""
        reason.add(f"{done} of {total} tasks completed{rest}", tasks=total, tasks_done=done, tasks_never_ran=never)


def _completed(f: Facts) -> Reason:
    took, usual = took_s(f.run), f.usual_s.get(f.run.flow_name)
    title = f"Completed in {in_words(timedelta(seconds=took))}" if took is not None else "Completed"
    if usual is not None:
        title += f", median {in_words(timedelta(seconds=usual))}"
    reason = Reason("completed", [title], {"took_s": took, "usual_s": usual})
    if f.run.state.name != "Completed" or f.run.state.message:
        reason.add(_capital(one_line(f.run.state.message)))
    total = sum(f.counts.values())
    reason.add(plural(total, "task"), tasks=total)
    if f.run.result is not None and f.run.result.preview:
        reason.add(f"Result: {one_line(f.run.result.preview)}")
    return reason


def _cancelled(f: Facts) -> Reason:
    run = f.run
    asked = f"asked for {since_text(run.cancel_requested_at, f.now)} ago" if run.cancel_requested_at is not None else ""
    message = one_line(run.state.message)
    title = f"Cancelled {since_text(run.ended_at or run.state.at, f.now)} ago"
    reason = Reason("cancelled", [title + (f": {message}" if message else "")])
    reason.add(f"It was {asked}" if asked else "")
    if run.started_at is None:
        reason.add("It never started")
    _say_tasks(f, reason)
    gone = run.state.message == f"deployment {run.deployment_name} was deleted"
    reason.hint = f"legato deployment run {typed(run.deployment_name)}" if run.deployment_name and not gone else ""
    return reason


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_About: TypeAlias = Callable[[Facts], Reason]
_BY_STATE: Mapping[StateType, _About] = {
    SCHEDULED: _scheduled,
    PENDING: _pending,
    RUNNING: _running,
    PAUSED: _paused,
    COMPLETED: _completed,
    FAILED: _failed,
    CRASHED: _crashed,
    CANCELLED: _cancelled,
}
