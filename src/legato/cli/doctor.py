"""`legato doctor`: the surroundings, checked one by one, with a fix for each fault."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import NamedTuple

import click

from legato.cli.grammar import Verb
from legato.cli.session import Session
from legato.core.errors import LegatoError
from legato.core.names import typed


@click.command("doctor", cls=Verb, examples=["legato doctor", "legato doctor -o json"], exits=(1,))
@click.pass_obj
def command(session: Session) -> int:
    """Check the home folder, settings, database or server, clock, queues and agents. Exit 1 when something is broken."""
    from legato.cli.output import show_json

    findings = run_checks(session)
    if session.wants_json:
        show_json(session, [one._asdict() for one in findings])
    else:
        width = max(len(one.check) for one in findings)
        for one in findings:
            print(f"{one.verdict.ljust(5)}  {one.check.ljust(width)}  {one.detail}")
            if one.fix:
                print(f"{'':5}  {'':{width}}  fix: {one.fix}")
    return 1 if any(one.verdict == "bad" for one in findings) else 0


# ---------------------------------------------------------------------- what `legato doctor` looks at. each chec

CLOCK_SKEW_S = 5.0
"""Two clocks that differ by more make times in logs and lists hard to believe. Leases are judged by the store's clock alone."""


class Finding(NamedTuple):
    """What a check found: "ok", "note" (works, but look at it) or "bad"; and how to mend it."""

    verdict: str
    check: str
    detail: str
    fix: str = ""


def run_checks(session: Session) -> list[Finding]:
    """All findings. A check that cannot go on is a finding too."""
    findings: list[Finding] = []
    try:
        has_api = bool(session.settings.api_url)
    except LegatoError as error:  # nothing else can be looked at
        return [Finding("bad", "settings", error.message, error.hint)]
    checks: list[tuple[str, Callable[[Session], Iterator[Finding]]]] = [
        ("settings", _settings),
        ("home", _home),
        ("server" if has_api else "database", _server if has_api else _database),
        ("queues", _queues),
        ("server extra", _extra),
    ]
    for name, check in checks:
        if name == "queues" and any(one.verdict == "bad" and one.check in ("server", "database") for one in findings):
            continue  # they are kept there, and it would be waited for once more
        try:
            findings += check(session)
        except LegatoError as error:
            findings.append(Finding("bad", name, error.message, error.hint))
        except OSError as error:
            findings.append(Finding("bad", name, str(error), "see that it is there and writable, or set LEGATO_HOME to a folder that is"))
    return findings


def _settings(session: Session) -> Iterator[Finding]:
    from legato import __version__
    from legato.settings import unknown_variables

    where = session.settings.api_url or "embedded database"
    yield Finding("ok", "settings", f"Legato {__version__}, Python {sys.version.split()[0]}; runs are kept in: {where}")
    for name, hint in unknown_variables():
        yield Finding("note", "settings", f"{name} is no setting, and has no effect", hint or f"unset {name}")


def _home(session: Session) -> Iterator[Finding]:
    home = session.settings.home
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if os.access(there, os.W_OK | os.X_OK) and there.is_dir():
        yield Finding("ok", "home", f"{home} {'is writable' if home.exists() else 'will be made when it is needed'}")
    else:
        yield Finding("bad", "home", f"{there} is not writable", "make it writable, or set LEGATO_HOME to a folder that is")


def _database(session: Session) -> Iterator[Finding]:
    from legato.cli.server import running_server

    info = session.store.info()
    yield Finding("ok", "database", f"{info['kind']} at {info['location']}, schema {info['schema_version']}")
    note = running_server(session.settings.home)
    if note is not None:
        yield Finding("ok", "server", f"runs at {note.url} (process {note.pid})")
    elif any(one.schedules for one in session.store.list_deployments()):
        yield Finding("note", "server", "none runs, so schedules are not planned", "legato server start")


def _server(session: Session) -> Iterator[Finding]:
    from legato import __version__
    from legato.cli.api import call

    asked = session.now()
    answer = call(session, "GET", "health", timeout_s=5)
    if answer.status != 200:
        fix = "is there a Legato server at this address? legato config view" if answer.status != 401 else "legato config set api_key=…"
        yield Finding("bad", "server", f"{session.settings.api_url} answers {answer.status}", fix)
        return
    version = str(json.loads(answer.body).get("version", "?"))
    same = version == __version__
    yield Finding(
        "ok" if same else "note",
        "server",
        f"reached at {session.settings.api_url}, version {version}",
        "" if same else f"this is {__version__}",
    )
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if "date" in headers:
        skew = abs((parsedate_to_datetime(headers["date"]) - asked).total_seconds())
        if skew > CLOCK_SKEW_S:
            yield Finding("note", "clock", f"this machine's clock and the server's differ by {skew:.0f} s", "let both follow a time server")
        else:
            yield Finding("ok", "clock", "agrees with the server's")
    session.store.journal_position()  # is the key good for the API?


def _queues(session: Session) -> Iterator[Finding]:
    from legato.core.queues import is_live

    live = [one for one in session.store.list_agents() if is_live(one, session.now())]
    yield Finding("ok", "agents", f"{len(live)} live" + (f": {', '.join(one.name for one in live)}" if live else ""))
    for status in session.store.list_queues():
        name = status.queue.name
        if status.waiting and status.queue.paused:
            yield Finding("note", "queue", f"'{name}' is paused, and {status.waiting} runs wait", f"legato work-queue resume {typed(name)}")
        elif status.waiting and not status.agents:
            yield Finding(
                "bad", "queue", f"'{name}' has {status.waiting} runs waiting, and no live agent", f"legato agent start {typed(name)}"
            )
        elif status.late:
            yield Finding("note", "queue", f"'{name}' has {status.late} late runs", "start more agents, or raise a limit")


def _extra(session: Session) -> Iterator[Finding]:  # noqa: ARG001 all checks are called alike
    missing = [name for name in ("litestar", "uvicorn") if find_spec(name) is None]
    if missing:
        yield Finding(
            "note", "server extra", f"{', '.join(missing)} is not installed: no server can be started here", "pip install 'legato[server]'"
        )
    else:
        yield Finding("ok", "server extra", "installed")
