"""`legato open`: the web UI in a browser."""

from __future__ import annotations

import os
import sys

import click

from legato.cli.grammar import Verb
from legato.cli.session import Session


@click.command("open", cls=Verb, examples=["legato open", "legato open amber-heron", "legato open train/prod"], exits=(3, 6))
@click.argument("thing", required=False, metavar="[RUN|FLOW/DEPLOYMENT]")
@click.pass_obj
def command(session: Session, thing: str | None) -> None:
    """Open the web UI, or a run's or deployment's page in it; prints the address."""
    from legato.cli.api import server_url
    from legato.cli.finding import find_deployment, find_run

    url = server_url(session)
    if thing is not None and "/" in thing:
        url = f"{url}/deployments/{find_deployment(session, thing).full_name}"
    elif thing is not None:
        url = f"{url}/runs/{find_run(session, thing).id}"
    print(url)
    open_url(session, url)


def open_url(session: Session, url: str) -> None:
    """Open a browser where there is a person and a screen."""
    has_screen = sys.platform in ("darwin", "win32") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if session.is_terminal and has_screen and not session.no_input:
        import webbrowser

        webbrowser.open(url)
