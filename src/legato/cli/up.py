"""`legato up`: server, agent and browser in one line, for development."""

from __future__ import annotations

import click

from legato.cli.grammar import Verb
from legato.cli.session import Session


@click.command("up", cls=Verb, examples=["legato up", "legato up --port 4201 --no-browser"], exits=(1, 5, 6))
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the server; 0 takes any free one (setting server_port, 4200).")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option("--queue", default="default", show_default=True, help="What the agent serves; made if it does not exist.")
@click.pass_obj
def command(session: Session, port: int | None, no_browser: bool, queue: str) -> int:
    """Start a server and one agent, print the address, and stop both on Ctrl-C. Both are child processes of this one."""
    from legato.cli.household import run_household

    return run_household(session, port=port, queue=queue, opens_browser=not no_browser)
