"""`legato limit`: how many runs with a tag, or of a deployment, agents hold at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from legato.cli.grammar import Noun
from legato.cli.session import Session
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.core.records import FlowRun, LimitStatus

command = Noun("limit", help="How many runs with a tag agents hold at once.")


@command.command("create", examples=["legato limit create gpu 2", "legato limit create erp 0"], exits=(2, 5, 6))
@click.argument("tag")
@click.argument("size", type=click.IntRange(0))
@click.pass_obj
def create(session: Session, tag: str, size: int) -> None:
    """Let agents hold at most SIZE runs with a tag at once, whatever queue takes them; set it anew if there is one.

    It holds from now on: runs that are held already count, and go on. A deployment's own limit stands in its file, and a queue has one besides.
    """
    from legato.cli.output import changed
    from legato.core.records import TagLimit

    saved = session.store.save_limit(TagLimit(tag=tag, size=size))
    changed(session, saved, f"At most {size} run{'' if size == 1 else 's'} with tag '{tag}' at once", name=tag)
    session.hint(f"Places come back by themselves, of a lost run too. See them taken: legato limit show {typed(tag)}")


@command.command("ls", examples=["legato limit ls", "legato limit ls -o json"], exits=(6,))
@click.pass_obj
def ls(session: Session) -> None:
    """List the limits on tags and deployments, with the places that are taken."""
    from legato.cli.output import Column, show_list

    columns = [
        Column("TAG", lambda one: one.tag),
        Column("DEPLOYMENT", lambda one: one.deployment_name, yields=1),
        Column("RUNNING", lambda one: f"{one.running}/{one.size}"),
    ]
    empty = "No limits. Make one: legato limit create TAG 2"
    show_list(session, session.store.list_limits(), columns, name=lambda one: one.tag or one.deployment_name, empty=empty)


@command.command("show", examples=["legato limit show gpu", "legato limit show gpu -o json"], exits=(3, 6))
@click.argument("tag")
@click.pass_obj
def show(session: Session, tag: str) -> None:
    """Show the limit on a tag, or on a deployment (FLOW/NAME), and the runs that hold its places."""
    from legato.cli.output import show_one

    found = _limit(session, tag)
    held = [f"{run.name} ({run.flow_name})" for run in _held(session, found)]
    where = ("Tag", found.tag) if found.tag else ("Deployment", found.deployment_name)
    show_one(session, found, [where, ("Limit", str(found.size)), ("Running", str(found.running)), ("Runs", held)], name=tag)


@command.command("rm", examples=["legato limit rm gpu --yes"], exits=(2, 3, 6))
@click.argument("tag")
@click.pass_obj
def rm(session: Session, tag: str) -> None:
    """Lift the limit on a tag. Runs that wait for a place are handed over at once."""
    from legato.cli.output import changed
    from legato.core.errors import UsageError

    found = _limit(session, tag)
    if not found.tag:
        raise UsageError(f"'{tag}' is a deployment, whose limit stands in its file", hint="change it there, and deploy again")
    session.confirm(f"Lift the limit of {found.size} on the runs with tag '{found.tag}'?")
    session.store.delete_limit(found.tag)
    changed(session, found, f"Runs with tag '{found.tag}' have no limit any more", name=found.tag)


def _limit(session: Session, name: str) -> LimitStatus:
    from legato.core.errors import NotFound

    limits = session.store.list_limits()
    for one in limits:
        if name == one.tag:
            return one
    for one in limits:
        if name == one.deployment_name:
            return one
    raise NotFound("limit", name, hint="legato limit ls lists them")


def _held(session: Session, limit: LimitStatus) -> list[FlowRun]:
    """The runs that agents hold with this tag, or of this deployment, newest first."""
    from legato.core.records import FlowRunFilter
    from legato.core.states import PAUSED, PENDING, RUNNING

    filter_ = FlowRunFilter(states=(PENDING, RUNNING, PAUSED), tags=(limit.tag,) if limit.tag else ())
    if not limit.tag:
        flow, _, name = limit.deployment_name.partition("/")
        found = [one for one in session.store.list_deployments() if (one.flow_name, one.name) == (flow, name)]
        filter_ = FlowRunFilter(states=filter_.states, deployment_id=found[0].id if found else "")
    return [
        run for run in session.store.list_flow_runs(filter_, limit=limit.running + 100).items if run.lease_expires_at and run.work_queue
    ]
