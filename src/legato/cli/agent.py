"""`legato agent`: processes that take runs from work queues and start them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from legato.cli.completing import queue_names
from legato.cli.grammar import Noun
from legato.cli.session import Session

if TYPE_CHECKING:
    from legato.core.records import Agent

command = Noun("agent", help="Processes that run what is scheduled.")


@command.command(
    "start",
    examples=["legato agent start default", "legato agent start gpu cpu --limit 4", "legato agent start nightly --create --once"],
    exits=(3, 6),
)
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...", shell_complete=queue_names)
@click.option("--name", default="", help="What it is called (default: host and process).")
@click.option("--limit", type=click.IntRange(1), help="At most so many runs at once.")
@click.option("--create", is_flag=True, help="Make queues that do not exist yet; they take every scheduled run.")
@click.option("--once", is_flag=True, help="Run what is due, and end.")
@click.pass_obj
def start(session: Session, queues: tuple[str, ...], name: str, limit: int | None, create: bool, once: bool) -> int:
    """Run what these queues (names or ids) hand out, until Ctrl-C: once lets runs finish, twice leaves them."""
    from legato.cli.agents import start_agent

    return start_agent(session, queues, name=name, limit=limit, create=create, once=once)


@command.command("ls", examples=["legato agent ls", "legato agent ls -o json"], exits=(6,))
@click.pass_obj
def ls(session: Session) -> None:
    """List agents that were seen within a day and have not ended."""
    from legato.cli.output import Column, show_list
    from legato.core.queues import is_live

    now = session.now()
    columns = [
        Column("NAME", lambda one: one.name),
        Column("LIVE", lambda one: is_live(one, now)),
        Column("QUEUES", lambda one: one.queues),
        Column("RUNNING", lambda one: f"{one.running}/{one.capacity}" if one.capacity else str(one.running), yields=1),
        Column("SEEN", lambda one: one.last_seen_at, yields=2),
        Column("STARTED", lambda one: one.started_at, yields=3),
        Column("HOST", lambda one: f"{one.host}:{one.pid}", yields=4),
        Column("VERSION", lambda one: one.version, wide=True),
        Column("ID", lambda one: one.id, wide=True),
    ]
    empty = "No agents. Start one: legato agent start QUEUE"
    agents = [_with_its_runs(session, one) for one in session.store.list_agents()]
    show_list(session, agents, columns, name=lambda one: one.name, empty=empty)


def _with_its_runs(session: Session, agent: Agent) -> Agent:
    """The agent with the runs it holds now: what it says of itself is some seconds old, and stays as it was when it has died."""
    import msgspec

    from legato.core.records import FlowRunFilter
    from legato.core.states import PAUSED, PENDING, RUNNING

    counts = session.store.count_flow_runs(FlowRunFilter(agent_id=agent.id, states=(PENDING, RUNNING, PAUSED)))
    return msgspec.structs.replace(agent, running=sum(counts.values()))
