"""`legato` alone: what is here, in a few lines, and the commands people need. `legato version`: what it stands on."""

from __future__ import annotations

import platform
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from legato import __version__
from legato.cli.grammar import Verb
from legato.cli.output import STATE_COLOURS, paint, show_json
from legato.cli.session import Session

if TYPE_CHECKING:
    from legato.core.states import StateType

NEEDED = (
    ("legato run FILE", "run a flow now"),
    ("legato run ls", "what ran, and how it ended"),
    ("legato up", "server, agent and browser in one line"),
    ("legato deployment create FILE", "make a flow runnable by others, on schedules"),
    ("legato agent start QUEUE", "run what is scheduled"),
    ("legato doctor", "check the surroundings"),
)


def show_status(session: Session) -> None:
    """Print the status: the store, the server, live agents, and runs by state of the last day."""
    from legato.cli.server import running_server
    from legato.core.queues import is_live
    from legato.core.records import FlowRunFilter

    settings, now = session.settings, session.now()
    server = running_server(settings.home)
    is_new = not settings.api_url and settings.database_url.startswith("sqlite:") and not (settings.home / "legato.db").exists()
    counts = {} if is_new else session.store.count_flow_runs(FlowRunFilter(start_after=now - timedelta(days=1), start_before=now))
    agents = [] if is_new else [one for one in session.store.list_agents() if is_live(one, now)]
    location = settings.api_url or ("nothing here yet" if is_new else session.store.info()["location"])
    if session.wants_json:
        by_state = {str(state): n for state, n in counts.items()}
        show_json(session, {"store": location, "server": server.url if server else None, "agents": len(agents), "runs_24h": by_state})
        return
    print(f"{'Server' if settings.api_url else 'Database'}  {location}")
    if not settings.api_url:
        print(f"Server    {server.url if server else 'not running (legato server start)'}")
    print(f"Agents    {', '.join(one.name for one in agents) or 'none'}")
    print(f"24 hours  {_in_words(session, counts)}")
    print()
    for line, meaning in NEEDED:
        print(f"  {line.ljust(32)}{meaning}")
    print(f"  {'legato --help'.ljust(32)}everything else")


def _in_words(session: Session, counts: dict[StateType, int]) -> str:
    if not counts:
        return "no runs"
    return ", ".join(paint(f"{n if n <= 10_000 else 'over 10000'} {state}", STATE_COLOURS[state], session) for state, n in counts.items())


@click.command("version", cls=Verb, examples=["legato version", "legato version -o json"])
@click.pass_obj
def command(session: Session) -> None:
    """Print versions: Legato, Python, SQLite, the platform."""
    import sqlite3

    versions = {
        "legato": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "platform": f"{platform.system()} {platform.machine()}",
        "executable": sys.executable,
    }
    if session.wants_json:
        show_json(session, versions)
    else:
        for name, value in versions.items():
            print(f"{name.ljust(11)}{value}")
