"""`legato agent`: processes that take runs from work queues and start them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from legato.cli.completion import queue_names
from legato.cli.failures import Failure
from legato.cli.grammar import Noun
from legato.cli.session import Session
from legato.core.errors import Unavailable
from legato.core.names import typed

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
    return start_agent(session, queues, name=name, limit=limit, create=create, once=once)


@command.command("ls", examples=["legato agent ls", "legato agent ls -o json"], exits=(6,))
@click.pass_obj
def ls(session: Session) -> None:
    """List agents that were seen within a day and have not ended."""
    from legato.cli.output import Column, show_list
    from legato.core.queues import is_live

    now = session.now()
    agents = [_with_its_runs(session, one) for one in session.store.list_agents()]
    columns = [
        Column("NAME", lambda one: one.name),
        Column("LIVE", lambda one: is_live(one, now)),
        Column("QUEUES", lambda one: one.queues),
        Column("RUNNING", lambda one: f"{one.running}/{one.capacity}" if one.capacity else str(one.running), yields=1),
        *([Column("LINGERING", lambda one: ", ".join(one.lingering), yields=1)] if any(one.lingering for one in agents) else []),
        Column("SEEN", lambda one: one.last_seen_at, yields=2),
        Column("STARTED", lambda one: one.started_at, yields=3),
        Column("HOST", lambda one: f"{one.host}:{one.pid}", yields=4),
        Column("VERSION", lambda one: one.version, wide=True),
        Column("ID", lambda one: one.id, wide=True),
    ]
    empty = "No agents. Start one: legato agent start QUEUE"
    show_list(session, agents, columns, name=lambda one: one.name, empty=empty)


def _with_its_runs(session: Session, agent: Agent) -> Agent:
    """The agent with the runs it holds now: what it says of itself is some seconds old, and stays as it was when it has died."""
    import msgspec

    from legato.core.records import FlowRunFilter
    from legato.core.states import PAUSED, PENDING, RUNNING

    counts = session.store.count_flow_runs(FlowRunFilter(agent_id=agent.id, states=(PENDING, RUNNING, PAUSED)))
    return msgspec.structs.replace(agent, running=sum(counts.values()))


# ---------------------------------------------------------------------- what stands behind `legato agent start`

_T = TypeVar("_T")

_NOT_AWAY = frozenset({"unauthorized", "wrong_key", "forbidden", "unknown_host"})
"""What a server says to whom it will not serve: a person has to do something about it."""

_WORDS = {
    "started": "INFO",
    "claimed": "INFO",
    "ended": "INFO",
    "draining": "INFO",
    "stopped": "INFO",
    "unreachable": "WARNING",
    "reachable": "INFO",
    "silent": "WARNING",
    "lingers": "WARNING",
    "could_not_start": "ERROR",
}
"""How loud an event is; one that is not here is INFO."""


def start_agent(session: Session, queues: Sequence[str], *, name: str, limit: int | None, create: bool, once: bool) -> int:
    """Run an agent until it is stopped; returns its exit code."""
    from legato.agent.run import run_agent
    from legato.cli.server import running_server

    names = _patiently(session, lambda: [_queue_name(session, queue, create=create) for queue in dict.fromkeys(queues)], once=once)
    if not session.settings.api_url and not once and running_server(session.settings.home) is None:
        session.hint("No server runs here, so schedules are not planned; runs made by hand are taken. Start one: legato server start")
    return run_agent(session.store, session.settings, queues=names, name=name, limit=limit, once=once, on_event=printer(session))


def _patiently(session: Session, ask: Callable[[], _T], *, once: bool) -> _T:
    """What the server answers. One that is away is waited for: machines come up in any order, and whoever starts agents may soon give up."""
    from legato.logs import console

    pause_s, is_told = 0.5, False
    while True:
        try:
            return ask()
        except Unavailable as error:
            if once or not session.settings.api_url or error.code in _NOT_AWAY:
                raise
            if not is_told:
                console.line("WARNING", "agent", f"{error.message}; trying until it is there. Ctrl-C ends this")
            is_told = True
        session.clock.sleep(pause_s)
        pause_s = min(2 * pause_s, 5.0)


def _queue_name(session: Session, text: str, *, create: bool) -> str:
    from legato.cli.finding import find_queue
    from legato.cli.work_queue import new_queue
    from legato.core.queues import in_words
    from legato.core.records import QueueFilter

    try:
        return find_queue(session, text).queue.name
    except Failure as error:
        if error.code != "not_found":
            raise
        if not create:
            raise Failure(
                error.message,
                exit_code=error.exit_code,
                hint=error.hint,
                next_step=f"Make it and start: legato agent start {typed(text)} --create",
                code=error.code,
            ) from None
    queue = new_queue(session, text, QueueFilter())
    session.say(f"Queue '{queue.name}' was made; it takes {in_words(queue.filter)}")
    return queue.name


def printer(session: Session) -> Callable[[str, Mapping[str, Any]], None]:
    """A function that prints an agent's events: a line for people, or a JSON object."""
    from legato.logs import console

    def on_event(event: str, fields: Mapping[str, Any]) -> None:
        if session.wants_json:
            print(json.dumps({"event": event, **fields}, default=str), flush=True)
        elif not session.quiet or _WORDS.get(event) in ("WARNING", "ERROR"):
            console.line(_WORDS.get(event, "INFO"), "agent", console.in_a_line(sentence(event, fields)))
            sys.stderr.flush()

    return on_event


def sentence(event: str, fields: Mapping[str, Any]) -> str:
    """An event in words."""
    match event:
        case "started":
            limit = f", at most {fields['limit']} at once" if fields.get("limit") else ""
            return f"{fields['agent']} serves {', '.join(fields['queues'])}{limit}. Ctrl-C stops it"
        case "claimed":
            attempt = f", attempt {fields['attempt']}" if fields.get("attempt", 1) > 1 else ""
            return f"took '{fields['run']}' of {fields['flow']} from queue {fields['queue']}{attempt}"
        case "ended":
            why = fields.get("message") or fields.get("why")
            return f"'{fields['run']}' is {fields['state']}" + (f": {why}" if why else "")
        case "could_not_start":
            return f"'{fields['run']}' could not be started: {fields['message']}"
        case "unreachable":
            return f"{fields['message']}; {fields['hint']}"
        case "reachable":
            return f"{fields['message']}"
        case "silent":
            return f"'{fields['run']}' is silent: {fields['message']}"
        case "lingers":
            return f"'{fields['run']}' lingers: {fields['message']}"
        case "draining":
            return f"waits for {', '.join(fields['runs'])} to end. One more Ctrl-C leaves without them"
        case "stopped":
            left = fields.get("left")
            return "stopped" + (f"; still going on without it: {', '.join(left)}" if left else "")
        case _:
            return f"{event.replace('_', ' ')}: " + ", ".join(f"{name} {value}" for name, value in fields.items() if value)
