"""`legato version`: of Legato, and of what it stands on."""

from __future__ import annotations

import platform
import sys

import click

from legato import __version__
from legato.cli.grammar import Verb
from legato.cli.session import Session


@click.command("version", cls=Verb, examples=["legato version", "legato version -o json"])
@click.pass_obj
def command(session: Session) -> None:
    """Print versions: Legato, Python, SQLite, the platform."""
    import sqlite3

    from legato.cli.output import show_json

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
