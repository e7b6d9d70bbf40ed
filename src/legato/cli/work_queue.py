"""`legato work-queue`: which agents take which runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from legato.cli.completion import queue_names
from legato.cli.grammar import Amount, Noun
from legato.cli.session import Session
from legato.core.errors import UsageError
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.core.records import QueueFilter, QueueStatus, WorkQueue

command = Noun("work-queue", help="Which agents take which runs.")


@command.command(
    "create",
    examples=["legato work-queue create default", "legato work-queue create gpu -t gpu --limit 2 --priority 10"],
    exits=(3, 5, 6),
)
@click.argument("name")
@click.option("-t", "--tag", "tags", multiple=True, help="Take runs that have this tag (all of them, if several).")
@click.option("-d", "--deployment", "deployments", multiple=True, help="Take runs of this deployment (any of them, if several).")
@click.option("-r", "--runner", "runners", multiple=True, help="Take runs with this flow runner type (any of them, if several).")
@click.option("--limit", type=click.IntRange(0), help="At most so many runs at once.")
@click.option("--priority", type=int, default=0, show_default=True, help="Higher is served first.")
@click.option("--description", default="")
@click.pass_obj
def create(
    session: Session,
    name: str,
    tags: tuple[str, ...],
    deployments: tuple[str, ...],
    runners: tuple[str, ...],
    limit: int | None,
    priority: int,
    description: str,
) -> None:
    """Make a work queue. Without tags, deployments or runners it takes every scheduled run."""
    from legato.cli.finding import find_deployment
    from legato.core.queues import in_words
    from legato.core.records import QueueFilter

    names = tuple(find_deployment(session, one).full_name for one in deployments)
    from legato.core.spelling import did_you_mean
    from legato.flow_runners.options import KNOWN

    for one in runners:
        if one not in KNOWN:  # a queue for runs that nobody can start would take none, for ever, and say nothing
            raise UsageError(f"there is no flow runner '{one}'", hint=did_you_mean(one, KNOWN) or f"there is: {', '.join(KNOWN)}")
    filter_ = QueueFilter(tags=tags, deployments=names, flow_runners=runners)
    queue = new_queue(session, name, filter_, priority=priority, limit=limit, description=description)
    _show(session, session.store.get_queue(queue.name))
    session.hint(f"It takes {in_words(filter_)}. Start an agent: legato agent start {typed(queue.name)}")


@command.command("ls", examples=["legato work-queue ls", "legato work-queue ls --json queue.name,waiting,late"], exits=(6,))
@click.pass_obj
def ls(session: Session) -> None:
    """List work queues with their live numbers."""
    from legato.cli.output import Column, show_list
    from legato.core.queues import in_words

    columns = [
        Column("NAME", lambda one: one.queue.name),
        Column("TAKES", lambda one: in_words(one.queue.filter), yields=3),
        Column("PAUSED", lambda one: one.queue.paused, yields=2),
        Column("RUNNING", _running),
        Column("WAITING", lambda one: one.waiting),
        Column("LATE", lambda one: one.late, yields=1),
        Column("AGENTS", lambda one: one.agents),
        Column("PRIORITY", lambda one: one.queue.priority, yields=4),
        Column("ID", lambda one: one.queue.id, yields=5),
    ]
    empty = "No work queues. Make one: legato work-queue create default"
    show_list(session, session.store.list_queues(), columns, name=lambda one: one.queue.name, empty=empty)


def _running(status: QueueStatus) -> str:
    limit = status.queue.concurrency_limit
    return str(status.running) if limit is None else f"{status.running}/{limit}"


@command.command("show", examples=["legato work-queue show default", "legato work-queue show default -o json"], exits=(3, 6))
@click.argument("queue", shell_complete=queue_names)
@click.pass_obj
def show(session: Session, queue: str) -> None:
    """Show one work queue."""
    from legato.cli.finding import find_queue

    _show(session, find_queue(session, queue))


def _show(session: Session, status: QueueStatus) -> None:
    from legato.cli.output import show_one
    from legato.core.queues import in_words

    queue = status.queue
    facts: list[tuple[str, Any]] = [
        ("Name", queue.name),
        ("ID", queue.id),
        ("Description", queue.description),
        ("Takes", in_words(queue.filter)),
        ("Priority", queue.priority),
        ("Limit", "none" if queue.concurrency_limit is None else str(queue.concurrency_limit)),
        ("Paused", queue.paused),
        ("Running", str(status.running)),
        ("Waiting", f"{status.waiting}" + (f", {status.late} of them late" if status.late else "")),
        ("Oldest due", status.oldest_due_at),
        ("Live agents", str(status.agents)),
    ]
    show_one(session, status, facts, name=queue.name)


@command.command(
    "preview", examples=["legato work-queue preview default", "legato work-queue preview default --hours 24 -o json"], exits=(3, 6)
)
@click.argument("queue", shell_complete=queue_names)
@click.option("--hours", type=Amount(0, 8784), default=1.0, show_default=True, help="How far ahead.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.pass_obj
def preview(session: Session, queue: str, hours: float, limit: int) -> None:
    """Print the runs it would hand out until then, in that order."""
    from legato.cli.finding import find_queue
    from legato.cli.output import Column, show_list

    status = find_queue(session, queue)
    runs = session.store.preview_queue(status.queue.name, until=session.now() + timedelta(hours=hours), limit=limit)
    columns = [
        Column("DUE", lambda run: run.due_at),
        Column("NAME", lambda run: run.name),
        Column("DEPLOYMENT", lambda run: run.deployment_name),
        Column("STATE", lambda run: run.display_state, yields=1),
        Column("TAGS", lambda run: run.tags, yields=2),
        Column("ID", lambda run: run.id, yields=3),
    ]
    empty = f"Queue '{status.queue.name}' has nothing to hand out in the next {hours:g} h."
    show_list(session, runs, columns, name=lambda run: run.id, empty=empty)


@command.command("pause", examples=["legato work-queue pause default"], exits=(3, 6))
@click.argument("queue", shell_complete=queue_names)
@click.pass_obj
def pause(session: Session, queue: str) -> None:
    """Hand out nothing more. Runs that are going on go on."""
    from legato.cli.output import changed

    after = change_queue(session, queue, paused=True)
    changed(session, after, f"Queue '{after.name}' is paused", name=after.name)


@command.command("resume", examples=["legato work-queue resume default"], exits=(3, 6))
@click.argument("queue", shell_complete=queue_names)
@click.pass_obj
def resume(session: Session, queue: str) -> None:
    """Hand out runs again."""
    from legato.cli.output import changed

    after = change_queue(session, queue, paused=False)
    changed(session, after, f"Queue '{after.name}' goes on", name=after.name)


@command.command("set-limit", examples=["legato work-queue set-limit gpu 2"], exits=(3, 6))
@click.argument("queue", shell_complete=queue_names)
@click.argument("limit", type=click.IntRange(0))
@click.pass_obj
def set_limit(session: Session, queue: str, limit: int) -> None:
    """Let at most so many of its runs go on at once."""
    from legato.cli.output import changed

    after = change_queue(session, queue, concurrency_limit=limit)
    changed(session, after, f"Queue '{after.name}' has at most {limit} at once", name=after.name)


@command.command("clear-limit", examples=["legato work-queue clear-limit gpu"], exits=(3, 6))
@click.argument("queue", shell_complete=queue_names)
@click.pass_obj
def clear_limit(session: Session, queue: str) -> None:
    """Let any number of its runs go on at once."""
    from legato.cli.output import changed

    after = change_queue(session, queue, concurrency_limit=None)
    changed(session, after, f"Queue '{after.name}' has no limit", name=after.name)


@command.command("rm", examples=["legato work-queue rm old --yes"], exits=(3, 6))
@click.argument("queue", shell_complete=queue_names)
@click.pass_obj
def rm(session: Session, queue: str) -> None:
    """Remove a work queue. Its runs stay; another queue may take those that wait."""
    from legato.cli.finding import find_queue
    from legato.cli.output import changed

    found = find_queue(session, queue).queue
    session.confirm(f"Remove work queue '{found.name}'?")
    session.store.delete_queue(found.name)
    changed(session, found, f"Queue '{found.name}' was removed", name=found.name)


# ---------------------------------------------------------------------- making and changing work queues, for the


def new_queue(
    session: Session, name: str, filter: QueueFilter, *, priority: int = 0, limit: int | None = None, description: str = ""
) -> WorkQueue:
    """A saved queue of this name. Raises `Conflict` when there is one already."""
    from legato.core.records import WorkQueue
    from legato.system import new_id

    if not name.strip() or "/" in name or name != name.strip():
        raise UsageError(f"'{name}' cannot be a work queue's name", hint="give a short name without '/' or spaces around it")
    queue = WorkQueue(
        id=new_id(),
        name=name,
        created_at=session.now(),
        description=description,
        filter=filter,
        priority=priority,
        concurrency_limit=limit,
    )
    return session.store.save_queue(queue)


def change_queue(session: Session, text: str, **changes: Any) -> WorkQueue:
    """The queue of this name or id, saved with these fields changed."""
    import msgspec

    from legato.cli.finding import find_queue

    return session.store.save_queue(msgspec.structs.replace(find_queue(session, text).queue, **changes))
