"""Finding the thing that is meant: by name, by whole id, or by the beginning of an id that only one has.

Nothing found: `NotFound`, with what was probably meant. Several found: they are listed, and the command is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from legato.cli.failures import MISUSED, Failure
from legato.cli.times import relative
from legato.core.errors import NotFound
from legato.core.ids import is_id
from legato.core.names import typed
from legato.core.spelling import did_you_mean

if TYPE_CHECKING:
    from legato.cli.session import Session
    from legato.core.records import Artifact, Deployment, FlowRun, FlowRunFilter, QueueStatus, TaskRun, Variable


def _is_prefix(text: str) -> bool:
    from legato.store.finding import SHORTEST_PREFIX

    return len(text) >= SHORTEST_PREFIX and set(text) <= set("0123456789abcdef-")


def _ambiguous(kind: str, wanted: str, candidates: Sequence[str]) -> Failure:
    shown = "\n".join(f"  {one}" for one in candidates[:10])
    return Failure(
        f"'{wanted}' could be any of these {kind}s:\n{shown}",
        exit_code=MISUSED,
        hint="give the id, or more of it",
        code="ambiguous",
    )


LATEST = frozenset({"last", "latest", "@"})


def _begun(session: Session) -> FlowRunFilter:
    from datetime import timedelta

    from legato.core.records import FlowRunFilter

    return FlowRunFilter(top_level=True, start_before=session.now() + timedelta(seconds=1))


def find_run(session: Session, text: str) -> FlowRun:
    """The flow run of this id, id prefix or name; `last` (or `@`) is the latest that was begun."""
    if text in LATEST:
        page = session.store.list_flow_runs(_begun(session), limit=1)
        if not page.items:
            raise NotFound("flow run", text, hint="none has been begun yet: legato run FILE")
        return page.items[0]
    from legato.store.finding import runs_meant

    found = runs_meant(session.store, text)
    if not found:
        hint = did_you_mean(text, {run.name for run in session.store.list_flow_runs(limit=200).items})
        raise NotFound("flow run", text, hint=hint or "list them: legato run ls")
    if len(found) > 1:
        now = session.now()
        raise _ambiguous("run", text, [f"{r.id}  {r.name}  {r.display_state}  {relative(r.expected_start_at, now)}" for r in found])
    return found[0]


def find_task_run(session: Session, text: str) -> TaskRun:
    """The task run of this id, or of RUN/NAME ("amber-heron/load-0"): of several attempts' runs of that name, the latest attempt's."""
    if is_id(text):
        return session.store.get_task_run(text)
    run_text, slash, name = text.rpartition("/")
    if not slash:
        raise NotFound("task run", text, hint="give its whole id, or RUN/NAME such as amber-heron/load-0; legato task ls RUN lists them")
    run = find_run(session, run_text)
    tasks = list(all_task_runs(session, run.id))
    found = [task for task in tasks if task.name == name or (_is_prefix(name) and task.id.startswith(name))]
    if not found:
        hint = did_you_mean(name, {task.name for task in tasks})
        raise NotFound("task run", f"{run.name}/{name}", hint=hint or f"list them: legato task ls {typed(run.name)}")
    found = [task for task in found if task.flow_attempt == max(one.flow_attempt for one in found)]
    if len(found) > 1:
        raise _ambiguous("task run", text, [f"{task.id}  {task.name}  {task.state.name}" for task in found])
    return found[0]


def all_task_runs(session: Session, run_id: str) -> list[TaskRun]:
    """The task runs of a flow run, page by page."""
    page = session.store.list_task_runs(run_id)
    items = list(page.items)
    while page.cursor is not None:
        page = session.store.list_task_runs(run_id, cursor=page.cursor)
        items += page.items
    return items


def find_deployment(session: Session, text: str) -> Deployment:
    """The deployment of this full name ("flow/name"), id, id prefix, or short name if only one has it."""
    everything = session.store.list_deployments()
    exact = [one for one in everything if text in (one.full_name, one.id)]
    found = exact or [one for one in everything if one.name == text or (_is_prefix(text) and one.id.startswith(text))]
    if not found:
        names = [one.full_name for one in everything]
        hint = did_you_mean(text, names) or did_you_mean(f"{text}/{text}", names)
        raise Failure(
            f"no deployment '{text}'",
            exit_code=3,
            hint=hint or (f"there are: {', '.join(names[:5])}" if names else "none has been created yet"),
            next_step="List all: legato deployment ls" if names else "Create one: legato deployment create FILE",
            code="not_found",
        )
    if len(found) > 1:
        raise _ambiguous("deployment", text, [f"{one.id}  {one.full_name}" for one in found])
    return found[0]


def find_queue(session: Session, text: str) -> QueueStatus:
    """The work queue of this name, id, or id prefix."""
    everything = session.store.list_queues()
    exact = [one for one in everything if text in (one.queue.name, one.queue.id)]
    found = exact or [one for one in everything if _is_prefix(text) and one.queue.id.startswith(text)]
    if not found:
        names = [one.queue.name for one in everything]
        raise Failure(
            f"no work queue '{text}'",
            exit_code=3,
            hint=did_you_mean(text, names) or (f"there are: {', '.join(names[:8])}" if names else "there are none yet"),
            next_step=f"Create it: legato work-queue create {typed(text)}",
            code="not_found",
        )
    if len(found) > 1:
        raise _ambiguous("work queue", text, [f"{one.queue.id}  {one.queue.name}" for one in found])
    return found[0]


def find_artifact(session: Session, text: str, *, version: int = 0) -> Artifact:
    """The artifact of this id, id prefix (of the latest thousand), or key: its last version, or the one named."""
    try:
        return session.store.get_artifact(text, version=version)
    except NotFound:
        if version or is_id(text):
            raise
    from legato.core.records import ArtifactFilter

    found = [one for one in session.store.list_artifacts(brief=True, limit=1000).items if _is_prefix(text) and one.id.startswith(text)]
    if not found:
        keys = {one.key or "" for one in session.store.list_artifacts(ArtifactFilter(latest=True), brief=True, limit=1000).items}
        raise NotFound("artifact", text, hint=did_you_mean(text, keys) or "list them: legato artifact ls")
    if len(found) > 1:
        raise _ambiguous("artifact", text, [f"{one.id}  {one.kind}  {one.key or one.title}" for one in found])
    return session.store.get_artifact(found[0].id)


def find_variable(session: Session, name: str) -> Variable:
    """The variable of this name."""
    try:
        return session.store.get_variable(name)
    except NotFound:
        hint = did_you_mean(name, [one.name for one in session.store.list_variables()])
        raise NotFound("variable", name, hint=hint or "list them: legato variable ls") from None
