"""What stands behind `legato deployment create` and `run`: saving what a file declares, making runs, and saying who will take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from legato.cli.output import Column, show_list, show_one
from legato.cli.parameters import for_schema
from legato.cli.server_file import running_server
from legato.cli.times import iso, parse_instant
from legato.core.names import typed
from legato.core.planning import run_of
from legato.core.queues import in_words, matches
from legato.core.schedules import describe
from legato.system import new_id

if TYPE_CHECKING:
    from legato.cli.session import Session
    from legato.core.records import Deployment, FlowRun, QueueStatus


def create_from_file(session: Session, file: str, *, dry_run: bool) -> None:
    """Save the deployments that a file declares, or only check them, and say what can be done with them."""
    from legato.sdk.deployments import deployments_in, prepare, save, try_loading
    from legato.sdk.entry import storage_of
    from legato.storage.bundles import words_about

    path = Path(file).expanduser()
    declared = deployments_in(path)
    prepared = prepare(declared, root=path.absolute().parent, clock=session.clock)
    for line in words_about(prepared.left_out):
        session.hint(line)
    try_loading(prepared)
    saved = [record for _, record in prepared.ready] if dry_run else save(prepared, session.store, storage_of(session.settings))
    columns = [
        Column("NAME", lambda one: one.full_name),
        Column("SCHEDULES", lambda one: [describe(each.schedule) for each in one.schedules], yields=1),
        Column("TAGS", lambda one: one.tags, yields=2),
        Column("ENTRYPOINT", lambda one: one.entrypoint, yields=3),
        Column("ID", lambda one: one.id, wide=True),
    ]
    show_list(session, saved, columns, name=lambda one: one.full_name, empty="")
    if dry_run:
        session.hint("Nothing was saved. Do it: the same without --dry-run")
        return
    session.hint(f"Run it: legato deployment run {typed(saved[0].full_name)}")
    if any(one.schedules for one in saved) and not session.settings.api_url and running_server(session.settings.home) is None:
        session.hint("Schedules are planned by a server, and none is running. Start one: legato server start")
    say_who_takes(session, saved)


def create_run(
    session: Session,
    deployment: Deployment,
    parameters: Sequence[str],
    *,
    tags: tuple[str, ...] = (),
    name: str = "",
    at: str | None = None,
) -> FlowRun:
    """Make a run of a deployment that is due now, or at `at`, and print it."""
    given = for_schema(parameters, deployment.parameter_schema, f"flow '{deployment.flow_name}'", preset=deployment.parameters)
    now = session.now()
    due_at = parse_instant(at, now) if at else now
    run = run_of(deployment, id=new_id(), due_at=due_at, now=now, trigger="command line", name=name, parameters=given, tags=tags)
    made = session.store.create_flow_run(run)
    facts = [("ID", made.id), ("Name", made.name), ("Due", made.due_at), ("Parameters", made.parameters)]
    show_one(session, made, facts, name=made.id)
    session.hint(f"Watch it: legato run watch {typed(made.name)}" + (f"   (due {iso(due_at)})" if at else ""))
    return made


def queues_that_take(session: Session, deployment: Deployment) -> list[QueueStatus]:
    """The work queues that runs of this deployment match."""
    now = session.now()
    run = run_of(deployment, id=new_id(), due_at=now, now=now, trigger="")
    return [status for status in session.store.list_queues() if matches(status.queue.filter, run)]


def say_who_takes(session: Session, deployments: Sequence[Deployment]) -> None:
    """One line when no live agent would take runs of one of these deployments, with the command that mends it."""
    if session.quiet or session.wants_json:
        return
    for deployment in deployments:
        queues = queues_that_take(session, deployment)
        if any(status.agents and not status.queue.paused for status in queues):
            continue
        paused = [status.queue for status in queues if status.agents and status.queue.paused]
        if paused:
            session.hint(
                f"Nothing will run it yet: queue '{paused[0].name}' is paused. Go on: legato work-queue resume {typed(paused[0].name)}"
            )
        elif queues:
            takes = in_words(queues[0].queue.filter)
            session.hint(f"Nothing will run it yet. Start an agent: legato agent start {typed(queues[0].queue.name)}   (it takes {takes})")
        else:
            session.hint("Nothing will run it yet: no work queue takes it. Start an agent: legato agent start default --create")
        return
