"""Why a task run is as it is, state by state. Pure; `why` is the door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeAlias

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
    start_message,
    took_s,
)
from legato.core.names import typed
from legato.core.records import FlowRun, TaskRun
from legato.core.resume import beside_its_value
from legato.core.states import CANCELLED, COMPLETED, CRASHED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, StateType


def about_task_run(f: Facts, task: TaskRun) -> Explanation:
    """Why a task run is as it is."""
    left_behind = f.run.state.is_final and not task.state.is_final
    reason = (_left_behind if left_behind else _BY_STATE[task.state.type])(f, task)
    reason.facts.update({"state": task.state.name, "attempt": task.attempt})
    failures = earlier_failures(f.journal)
    if failures and task.state.name != "AwaitingRetry":
        reason.add(f"Attempt {task.attempt} of {task.retries + 1}; before it failed {listed(failures)}", failed_attempts=len(failures))
    return reason.done()


def _left_behind(f: Facts, task: TaskRun) -> Reason:
    """Its flow run has ended without it."""
    run = f.run
    ago = since_text(run.ended_at or run.state.at, f.now)
    what = "Was still running" if task.state.type is RUNNING else "Never ran"
    reason = Reason("cancelled", [f"{what}: its flow run '{run.name}' ended ({run.state.name}) {ago} ago"])
    reason.add(_waits_for(f))
    reason.hint = f"legato why {f.typed}"
    return reason


# ---------------------------------------------------------------------- waiting


def _pending(f: Facts, task: TaskRun) -> Reason:
    since = since_text(task.state.at, f.now)
    reason = Reason("waiting", [], {"since_s": seconds_since(task.state.at, f.now)})
    before = _not_ended(f)
    if before:
        reason.add(_waits_for(f), waits_for=[{"id": one.id, "name": one.name, "state": one.state.name} for one in before])
        reason.add(f"It was submitted {since} ago")
    else:
        running = f.counts.get(RUNNING, 0)
        reason.add(
            f"Ready to run for {since}, waits for a free place at its flow's task runner ({plural(running, 'task')} running)",
            tasks_running=running,
        )
        busy = [f"'{one.name}' {progress(one, f.now)}" for one in f.tasks if one.state.type is RUNNING and one.id != task.id]
        reason.add(f"Before it: {listed(busy)}" if busy else "")
    if f.run.state.type is PAUSED:
        reason.add(f"Its flow run '{f.run.name}' is {f.run.state.name.lower()} for {since_text(f.run.state.at, f.now)}")
        reason.hint = f"legato why {f.typed}"
    if f.run.cancel_requested_at is not None:
        reason.add(f"Its flow run is being cancelled for {since_text(f.run.cancel_requested_at, f.now)}")
    return reason


def _not_ended(f: Facts) -> list[TaskRun | FlowRun]:
    return [one for one in f.upstream if not one.state.is_final]


def _waits_for(f: Facts) -> str:
    before = _not_ended(f)
    done = len(f.upstream) - len(before)
    if not before:
        return ""
    ended = f"; {done} of {len(f.upstream)} before it have ended" if done else ""
    return "Waits for " + listed([f"'{one.name}', {progress(one, f.now)}" for one in before]) + ended


def _scheduled(f: Facts, task: TaskRun) -> Reason:
    since = since_text(task.state.at, f.now)
    reason = Reason("waiting", [], {"since_s": seconds_since(task.state.at, f.now)})
    if task.state.name == "AwaitingRetry":
        sentence, facts = retry_sentence(task, f.now)
        reason.add(sentence, **facts)
        failures = earlier_failures(f.journal)[:-1]
        reason.add(f"Before that failed {listed(failures)}" if failures else "")
    elif task.state.message:
        reason.add(f"For {since} it {one_line(task.state.message)}", cache_key=task.cache_key)
    else:
        reason.add(f"Waits for {since}")
    return reason


# ---------------------------------------------------------------------- running


def _running(f: Facts, task: TaskRun) -> Reason:
    since = since_text(task.started_at or task.state.at, f.now)
    title = f"Running for {since}" + (f", attempt {task.attempt} of {task.retries + 1}" if task.attempt > 1 else "")
    reason = Reason("running", [title], {"running_s": seconds_since(task.started_at or task.state.at, f.now)})
    _say_start(f, reason)
    if f.run.cancel_requested_at is not None:
        reason.add(f"Its flow run is being cancelled for {since_text(f.run.cancel_requested_at, f.now)}")
    return reason


def _say_start(f: Facts, reason: Reason) -> None:
    """Why it ran at all, although it might have been cached or reused."""
    said = one_line(start_message(f.journal))
    if said.startswith("runs again: "):
        reason.add(f"It ran again, although an earlier attempt had called it, because {said.removeprefix('runs again: ')}")
    elif said:
        reason.add(f"It was {said}" if said.startswith("not in the cache") else said[:1].upper() + said[1:])


# ---------------------------------------------------------------------- ended


def _completed(f: Facts, task: TaskRun) -> Reason:
    if task.state.name == "Skipped":
        return _skipped(f, task)
    ago = since_text(task.ended_at or task.state.at, f.now)
    if task.state.name == "Cached":
        what = "Reused" if task.state.message.startswith("reused from") else "Cached"
        reason = Reason("completed", [f"{what} {ago} ago: it {one_line(task.state.message) or 'took a stored result'}"])
        reason.facts["cache_key"] = task.cache_key
        return reason
    took = took_s(task)
    reason = Reason(
        "completed", [f"Completed in {in_words(timedelta(seconds=took))}" if took is not None else "Completed"], {"took_s": took}
    )
    reason.add(f"{one_line(task.state.message)}")
    _say_start(f, reason)
    if task.result is not None:
        reason.add(f"Its value was not stored: {task.result.unavailable}" if task.result.unavailable else "")
        reason.add(f"Result: {one_line(task.result.preview)}" if task.result.preview else "")
        beside = beside_its_value(task.result)
        reason.add(f"Its value is not reused{' and not cached' if task.cache_key else ''}: {beside}" if beside else "")
    return reason


def _skipped(f: Facts, task: TaskRun) -> Reason:
    reason = Reason("completed", [f"Skipped: {one_line(task.state.message) or 'its trigger kept it from running'}"])
    ended = [f"'{one.name}' {one.state.name}" for one in f.upstream]
    reason.add(f"Before it: {listed(ended, 5)}" if ended else "", before=len(ended))
    return reason


def _failed(f: Facts, task: TaskRun) -> Reason:
    if task.state.name == "UpstreamFailed":
        return _upstream_failed(f, task)
    word = "Timed out" if task.state.name == "TimedOut" else "Failed"
    reason = Reason("failed", [f"{word}: {error_text(task.error, task.state)}"], error=task.error, task_run_id=task.id)
    if task.retries:
        all_ = task.attempt > task.retries
        reason.add(
            f"{f'All {task.retries + 1}' if all_ else f'{task.attempt} of {task.retries + 1}'} attempts were used"
            + ("" if all_ else ": its retry condition, or a stop, ended them early"),
            attempts=task.retries + 1,
        )
    if task.error is not None and task.error.file:
        reason.add(f"At {task.error.file}:{task.error.line} in {task.error.function}", line=task.error.line)
    reason.hint = f"legato run logs {f.typed} --task {typed(task.name)}"
    return reason


def _upstream_failed(f: Facts, task: TaskRun) -> Reason:
    failed = [one for one in f.upstream if one.state.is_final and one.state.type is not COMPLETED]
    causes = [f"'{one.name}' is {one.state.name} ({error_text(one.error, one.state)})" for one in failed]
    title = (
        f"Did not run because {listed(causes)}"
        if causes
        else f"Did not run: {one_line(task.state.message) or 'something before it failed'}"
    )
    reason = Reason("failed", [title], {"failed_before": len(failed), "before": len(f.upstream)}, error=task.error, task_run_id=task.id)
    if failed and isinstance(failed[0], TaskRun):
        reason.hint = f"legato why {f.typed}/{typed(failed[0].name)}"
    return reason


def _crashed(f: Facts, task: TaskRun) -> Reason:
    ran = f" after {in_words(task.ended_at - task.started_at)}" if task.ended_at and task.started_at else ""
    reason = Reason(
        "crashed", [f"Crashed{ran}: {one_line(task.state.message) or 'its process went away'}"], error=task.error, task_run_id=task.id
    )
    reason.hint = f"legato run logs {f.typed} --task {typed(task.name)}"
    return reason


def _cancelled(f: Facts, task: TaskRun) -> Reason:
    ago = since_text(task.ended_at or task.state.at, f.now)
    message = one_line(task.state.message)
    reason = Reason("cancelled", [f"Cancelled {ago} ago" + (f": {message}" if message else "")])
    reason.add("" if task.started_at else "It never started")
    if f.run.cancel_requested_at is not None:
        reason.add(f"Its flow run was asked to stop {since_text(f.run.cancel_requested_at, f.now)} ago")
    reason.hint = f"legato why {f.typed}"
    return reason


def _paused(f: Facts, task: TaskRun) -> Reason:
    return Reason("paused", [f"Paused for {since_text(task.state.at, f.now)}"], hint=f"legato why {f.typed}")


_About: TypeAlias = Callable[[Facts, TaskRun], Reason]
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
