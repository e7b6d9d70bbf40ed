"""`legato server`: the API and web UI."""

from __future__ import annotations

import click

from legato.cli.grammar import Noun
from legato.cli.session import Session

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
    from legato.cli.serving import start_server

    start_server(session, host=host, port=port, database=database, insecure=insecure_no_auth)


@command.command("stop", examples=["legato server stop"], exits=(3, 7))
@click.pass_obj
def stop(session: Session) -> None:
    """Stop the server that was started on this machine, with this home folder."""
    from legato.cli.serving import stop_server

    stop_server(session)


@command.command("status", examples=["legato server status", "legato server status -o json"], exits=(6,))
@click.pass_obj
def status(session: Session) -> int:
    """Say whether a server runs on this machine, with this home folder; exit 6 when none does."""
    from legato.cli.failures import UNREACHABLE
    from legato.cli.output import show_json, show_one
    from legato.cli.server_file import running_server

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
