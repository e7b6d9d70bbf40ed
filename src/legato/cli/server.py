"""`legato server`: the API and web UI; and the note that a running one leaves in the home folder, `server.json`, by which others find it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import click

from legato.cli.failures import NOT_FOUND, TIMED_OUT, UNREACHABLE, Failure
from legato.cli.grammar import Noun
from legato.cli.session import Session
from legato.core.errors import Unavailable, UsageError
from legato.core.names import typed
from legato.system import process_is_alive

if TYPE_CHECKING:
    from pathlib import Path

    from legato.server.run import Listening

command = Noun("server", help="The API and web UI.")


@command.command(
    "start",
    examples=[
        "legato server start",
        "legato server start --port 4201",
        "legato server start --host 0.0.0.0 --database postgresql://legato@db/legato",
    ],
    exits=(5, 6),
)
@click.option("--host", help="Address to listen on (setting server_host, 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one (setting server_port, 4200).")
@click.option("--database", metavar="URL", help="sqlite:////path.db or postgresql://… (setting database_url).")
@click.option(
    "--insecure-no-auth", is_flag=True, help="Listen beyond this machine without a key: everybody who reaches the port may do everything."
)
@click.pass_obj
def start(session: Session, host: str | None, port: int | None, database: str | None, insecure_no_auth: bool) -> None:
    """Serve the API and web UI until Ctrl-C. Beyond this machine it needs a key (setting server_api_key)."""
    start_server(session, host=host, port=port, database=database, insecure=insecure_no_auth)


@command.command("stop", examples=["legato server stop"], exits=(3, 7))
@click.pass_obj
def stop(session: Session) -> None:
    """Stop the server that was started on this machine, with this home folder."""
    stop_server(session)


@command.command("status", examples=["legato server status", "legato server status -o json"], exits=(6,))
@click.pass_obj
def status(session: Session) -> int:
    """Say whether a server runs on this machine, with this home folder; exit 6 when none does."""
    from legato.cli.failures import UNREACHABLE
    from legato.cli.output import show_json, show_one

    note = running_server(session.settings_home)
    if session.wants_json:
        show_json(session, {"running": note is not None, **(note._asdict() if note else {})})
    elif note is None:
        print("not running")
        session.hint("Start it: legato server start")
    else:
        facts = [
            ("URL", note.url),
            ("API", f"{note.url}/api"),
            ("Process", note.pid),
            ("Database", note.database),
            ("Version", note.version),
        ]
        show_one(session, {}, facts, name=note.url)
    return 0 if note else UNREACHABLE


# ---------------------------------------------------------------------- what stands behind `legato server`

STOP_PATIENCE = timedelta(seconds=15)
"""A server gives requests under way five seconds; this is longer than it ever takes."""


def start_server(session: Session, *, host: str | None, port: int | None, database: str | None, insecure: bool) -> None:
    """Serve in this process until it is stopped."""
    try:
        import legato.server.run  # noqa: F401 whether it is there
    except ImportError as error:
        raise UsageError(f"the server needs packages that are not installed ({error.name})", hint="pip install 'legato[server]'") from error
    settings = session.settings

    def ready(listening: Listening) -> None:
        if session.wants_json:
            from legato.cli.output import show_one

            show_one(session, listening, [], name=listening.url)
        else:
            print(listening.url, flush=True)
            session.hint(f"Legato {listening.version} serves {listening.database}. Ctrl-C stops it")
            session.hint(f"Report here from elsewhere: legato config set api_url={typed(settings.server_public_url or listening.url)}/api")

    try:
        _serve(session, database, host, port, insecure=insecure, ready=ready)
    except Unavailable as error:
        raise Failure(
            error.message, exit_code=UNREACHABLE, hint=error.hint or "check its address, user and password", code=error.code
        ) from error


def _serve(
    session: Session, database: str | None, host: str | None, port: int | None, *, insecure: bool, ready: Callable[[Listening], None]
) -> None:
    from legato.server.run import serve

    settings = session.settings
    serve(
        database_url=database or settings.database_url,
        home=settings.home,
        host=host or settings.server_host,
        port=settings.server_port if port is None else port,
        api_key=settings.server_api_key,
        insecure=insecure,
        allowed_hosts=settings.server_allowed_hosts,
        base_path=settings.server_base_path,
        public_url=settings.server_public_url,
        trusted_proxies=settings.server_trusted_proxies,
        access_log=settings.server_access_log,
        json_log=settings.server_log_format == "json",
        ready=ready,
    )


def stop_server(session: Session) -> None:
    """Ask the server of this home folder to stop, and wait until it has."""
    from legato.cli.output import changed
    from legato.system import process_is_alive

    note = running_server(session.settings_home)
    if note is None:
        raise Failure(
            f"no server of {session.settings_home} is running on this machine",
            exit_code=NOT_FOUND,
            hint="a server of another home folder, or elsewhere, is stopped where it was started",
            code="not_found",
        )
    os.kill(note.pid, signal.SIGTERM)
    deadline = session.now() + STOP_PATIENCE
    while process_is_alive(note.pid):
        if session.now() > deadline:
            raise Failure(
                f"process {note.pid} has not stopped within {STOP_PATIENCE.seconds} s",
                exit_code=TIMED_OUT,
                hint=f"look at it, or end it by force: kill -9 {note.pid}",
                code="timed_out",
            )
        session.clock.sleep(0.05)
    changed(session, note._asdict(), f"The server at {note.url} has stopped", name=note.url)


# ---------------------------------------------------------------------- the note of a running server


class ServerNote(NamedTuple):
    """A server on this machine."""

    url: str
    pid: int
    database: str = ""
    version: str = ""


def running_server(home: Path) -> ServerNote | None:
    """The server whose note is here and whose process lives; None when there is none."""
    try:
        data = json.loads((home / "server.json").read_text(encoding="utf-8"))
        note = ServerNote(str(data["url"]), int(data["pid"]), str(data.get("database", "")), str(data.get("version", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if process_is_alive(note.pid) else None
