"""What stands behind `legato server`: serving in this process, and stopping the server of this home folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from legato.cli.failures import NOT_FOUND, TIMED_OUT, UNREACHABLE, Failure
from legato.cli.server_file import running_server
from legato.core.errors import Unavailable, UsageError
from legato.core.names import typed
from legato.system import process_is_alive

if TYPE_CHECKING:
    from legato.cli.session import Session
    from legato.server.run import Listening

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
