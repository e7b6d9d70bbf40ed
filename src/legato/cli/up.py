"""`legato up`: server, agent and browser in one line, for development."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

import click

from legato.cli.failures import FAILED, UNREACHABLE, Failure
from legato.cli.grammar import Verb
from legato.cli.session import Session
from legato.core.errors import Conflict

if TYPE_CHECKING:
    from legato.cli.server import ServerNote


@click.command("up", cls=Verb, examples=["legato up", "legato up --port 4201 --no-browser"], exits=(1, 5, 6))
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the server; 0 takes any free one (setting server_port, 4200).")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option("--queue", default="default", show_default=True, help="What the agent serves; made if it does not exist.")
@click.pass_obj
def command(session: Session, port: int | None, no_browser: bool, queue: str) -> int:
    """Start a server and one agent, print the address, and stop both on Ctrl-C. Both are child processes of this one."""
    return run_household(session, port=port, queue=queue, opens_browser=not no_browser)


# ---------------------------------------------------------------------- a server and an agent as children of thi

LOOK_EVERY_S = 0.05

START_PATIENCE_S = 30.0
"""A server is up within a second on a free machine; a busy one is given much longer before it is called broken."""

STOP_PATIENCE_S = 15.0


def run_household(session: Session, *, port: int | None, queue: str, opens_browser: bool) -> int:
    """Run until Ctrl-C or until one of the two ends by itself; returns the exit code."""
    from legato.cli.server import running_server

    settings = session.settings
    already = running_server(settings.home)
    if already is not None:
        raise Conflict(
            f"a server runs already, at {already.url}",
            hint="legato agent start default   starts an agent; legato server stop   stops the server",
        )
    wish = _WishToStop()
    home = _Child(["server", "start", "--quiet", *(["--port", str(port)] if port is not None else [])], dict(os.environ))
    agent: _Child | None = None
    try:
        note = _ready(session, home, wish)
        if note is None:
            return 0 if wish.count else home.process.wait()
        environ = {**os.environ, "LEGATO_API_URL": f"{note.url}/api"}
        if settings.server_api_key:
            environ["LEGATO_API_KEY"] = settings.server_api_key
        agent = _Child(["agent", "start", queue, "--create"], environ)
        print(note.url, flush=True)
        session.hint(f"Legato is up at {note.url}. Ctrl-C stops it")
        if opens_browser:
            from legato.cli.open import open_url

            open_url(session, note.url)
        return _watch(session, [home, agent], wish)
    finally:
        for child in (agent, home):
            if child is not None:
                child.stop(wish)
        wish.restore()


class _WishToStop:
    """Counts Ctrl-C and SIGTERM. An event would hang: its lock may be held by the very code that the signal interrupts."""

    def __init__(self) -> None:
        self.count = 0
        self._news: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._before = [(one, signal.signal(one, self._note)) for one in (signal.SIGINT, signal.SIGTERM)]

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 the signal module's signature
        self.count += 1
        self._news.put(number)

    def came_within(self, seconds: float) -> bool:
        """Whether it has come, or comes within this time."""
        if not self.count:
            with contextlib.suppress(queue.Empty):
                self._news.get(timeout=seconds)
        return self.count > 0

    def restore(self) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)


class _Child:
    """A legato command in a process and session of its own: Ctrl-C on the terminal reaches the parent alone, which stops it in order."""

    def __init__(self, arguments: Sequence[str], environ: dict[str, str]) -> None:
        self.name = " ".join(arguments[:2])
        command = [sys.executable, "-m", "legato.cli", *arguments]
        self.process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)

    def stop(self, wish: _WishToStop) -> None:
        """Ask it to end, ask again when the person does, and end it by force when that is in vain."""
        if self.process.poll() is not None:
            return
        asked = wish.count
        self.process.terminate()
        waited = 0.0
        while self.process.poll() is None:
            try:
                self.process.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                waited += LOOK_EVERY_S
            if wish.count > asked:
                asked, waited = wish.count, max(waited, STOP_PATIENCE_S - 2)
                self.process.terminate()
            if waited > STOP_PATIENCE_S:
                self.process.kill()


def _ready(session: Session, home: _Child, wish: _WishToStop) -> ServerNote | None:
    """What the server says when it accepts requests. None: it has ended instead (and has said why), or somebody wants to stop."""
    from legato.cli.server import running_server

    waited = 0.0
    while waited < START_PATIENCE_S:
        note = running_server(session.settings.home)
        if note is not None and note.pid == home.process.pid:
            return note
        if home.process.poll() is not None or wish.came_within(LOOK_EVERY_S):
            return None
        waited += LOOK_EVERY_S
    raise Failure(
        f"the server has not come up within {START_PATIENCE_S:.0f} s",
        exit_code=UNREACHABLE,
        hint="see what it says: legato server start",
        code="unavailable",
    )


def _watch(session: Session, children: Sequence[_Child], wish: _WishToStop) -> int:
    while not wish.came_within(LOOK_EVERY_S * 4):
        for child in children:
            code = child.process.poll()
            if code is not None:
                session.say(f"legato {child.name} has ended by itself (exit code {code}); stopping the rest")
                return code or FAILED
    return 0
