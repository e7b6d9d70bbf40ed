"""One invocation of the command line: what was asked for everywhere (output, profile, …), the settings in force, and the store, opened once.

Everything heavy is opened when it is first wanted, so that `legato --help` costs nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, cast

from legato.cli.failures import MISUSED, Failure

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from legato.settings import Settings
    from legato.store.port import Store
    from legato.store.remote import RemoteStore
    from legato.system import SystemClock

FORMATS = ("table", "wide", "json", "jsonl", "csv", "name")


class Session:
    """What a command is handed."""

    def __init__(self) -> None:
        self.output = "table"
        self.fields: tuple[str, ...] = ()
        self.quiet = False
        self.verbose = 0
        self.no_input = bool(os.environ.get("CI"))
        self.yes = False
        self._settings: Settings | None = None
        self._store: Store | None = None

    # -- what was asked for

    def use_profile(self, name: str) -> None:
        """Take this profile's settings, here and in every process started from here."""
        os.environ["LEGATO_PROFILE"] = name
        self._settings = None

    def use_api_url(self, url: str) -> None:
        """Speak to this server, here and in every process started from here."""
        os.environ["LEGATO_API_URL"] = url
        self._settings = None

    def use_no_color(self) -> None:
        """No colour, here and in every process started from here."""
        os.environ["NO_COLOR"] = "1"
        os.environ.pop("FORCE_COLOR", None)

    @property
    def wants_json(self) -> bool:
        """Whether programs read the output."""
        return self.output in ("json", "jsonl")

    @property
    def has_color(self) -> bool:
        """Whether standard output is coloured."""
        if os.environ.get("NO_COLOR"):
            return False
        return bool(os.environ.get("FORCE_COLOR")) or self.is_terminal

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at standard output."""
        return sys.stdout.isatty()

    # -- what is opened when it is wanted

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        if self._settings is None:
            from legato import settings

            self._settings = settings.load()
            for note in settings.notes(self._settings):
                self.hint(sentence(note))
        return self._settings

    @property
    def settings_home(self) -> Path:
        """The home folder, which must be known even where a setting or profile is broken, so that it can be mended."""
        from legato.settings import home_of

        return home_of(os.environ)

    @property
    def clock(self) -> SystemClock:
        from legato.system import SystemClock

        return SystemClock()

    def now(self) -> datetime:
        return self.clock.now()

    @property
    def store(self) -> Store:
        """The store of these settings. In embedded mode, runs whose process is gone are found first, so that none looks alive."""
        if self._store is None:
            from legato.store.open import open_store

            self._store = open_store(self.settings.store_url, api_key=self.settings.api_key)
            if self.settings.api_url:
                said = f"No answer yet from {self.settings.api_url}; it is waited for up to a minute. Ctrl-C ends this"
                cast("RemoteStore", self._store).on_slow = lambda: self.hint(said)
                self._send_what_was_kept(self._store)
            else:
                self._reap(self._store)
        return self._store

    def _send_what_was_kept(self, store: Store) -> None:
        """What a flow's process could not tell the server, because it was away, is told by whoever comes next."""
        if not (self.settings.home / "spool").is_dir():
            return
        from legato.core.errors import Unavailable
        from legato.store.outbox import drain_spools

        with contextlib.suppress(Unavailable):  # the command itself says so, better
            sent = drain_spools(self.settings.home / "spool", store)
            if sent:
                self.hint(f"Sent what {'an earlier process' if sent == 1 else f'{sent} earlier processes'} could not tell the server")

    def _reap(self, store: Store) -> None:
        """Nobody else does in embedded mode: no server, no services. Only this host's processes can be looked at; leases are for a server."""
        from legato.services import reaper
        from legato.system import host_name, process_is_alive

        reaper.look_here(store, self.now(), host=host_name(), is_alive=process_is_alive)

    def close(self) -> None:
        """Let go of the store. Safe to call twice."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    # -- speaking to the person

    def hint(self, text: str) -> None:
        """One line about what to do next."""
        if not self.quiet and not self.wants_json:
            print(harmless(text), file=sys.stderr)

    def say(self, text: str) -> None:
        """What was done, on standard error: standard output is for data."""
        if not self.quiet:
            print(harmless(text), file=sys.stderr)

    def confirm(self, question: str) -> None:
        """Ask before destroying something. Raises `Failure` unless the answer is yes, or `--yes` was given."""
        if self.yes:
            return
        if self.no_input or not sys.stdin.isatty():
            raise Failure(
                f"{question} Nobody can be asked here", exit_code=MISUSED, hint="add --yes to go on without being asked", code="usage"
            )
        print(f"{question} [y/N] (--yes answers this) ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Failure("nothing was done", exit_code=MISUSED, code="declined")


def path_typed(word: str) -> Path:
    """The path that somebody typed, `~` and all; where there is no such user it stays as it is, and no file is found there."""
    from pathlib import Path

    try:
        return Path(word).expanduser()
    except RuntimeError:
        return Path(word)


def sentence(text: str) -> str:
    """The text with a capital, unless it begins with a name: legato.toml is no Legato.toml."""
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def harmless(text: str) -> str:
    """Text of a run's, for a terminal: no character of it moves the cursor, colours what follows, or writes to the clipboard."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text)
