"""The engine of this process, made from the settings when the first flow runs, and closed when the interpreter ends."""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING, cast

from legato import settings as settings_module
from legato.engine.process import Engine
from legato.engine.shell import CURRENT
from legato.engine.signals import main_thread_stops
from legato.forking import LOADING, at_fork
from legato.logs import console
from legato.sdk.definitions import without_collections
from legato.settings import Settings
from legato.storage.local import LocalStorage
from legato.store.open import open_store

if TYPE_CHECKING:
    from legato.store.port import Store


class _Process:
    """What this process has made so far."""

    def __init__(self) -> None:
        self.lock = LOADING
        self.engine: Engine | None = None
        self.settings: Settings | None = None


_process = _Process()


def current_settings() -> Settings:
    """The settings of this process, read once."""
    if _process.settings is None:
        _process.settings = settings_module.load()
        for note in settings_module.notes(_process.settings):
            console.line("WARNING", "legato", note)
    return _process.settings


def current_engine() -> Engine:
    """This process's engine. Raises `Unavailable` when its database or server cannot be reached."""
    with _process.lock:
        engine = _process.engine
        if engine is None or engine.pid != os.getpid():
            chosen = current_settings()
            with without_collections():
                store = open_store(chosen.store_url, api_key=chosen.api_key, reports_only=True)
            engine = _process.engine = Engine(store, LocalStorage(chosen.home / "storage"), spool=chosen.home / "spool")
            engine.log_level = console.LEVELS[chosen.log_level]
            engine.drain_old_spools(
                lambda n: console.line(
                    "INFO", "legato", f"sent what {'an earlier process' if n == 1 else f'{n} earlier processes'} could not"
                )
            )
        return engine


def current_store() -> Store:
    """The current run's store, else that of this process's engine, with all verbs.

    Raises `Unavailable` when its database or server cannot be reached.
    """
    run = CURRENT.get()
    engine = run.engine if run is not None else current_engine()
    return cast("Store", engine.store)  # what `open_store` and the harness put into an engine has them all


def use_engine(engine: Engine | None, chosen: Settings | None = None) -> None:
    """Replace this process's engine and settings (None: to be made anew): for tests, and for programs that run flows against several stores."""
    with _process.lock:
        _process.engine, _process.settings = engine, chosen


def _begin_anew_in_child() -> None:
    """A forked child is inside none of its parent's runs, and has no engine yet: what it calls are runs of its own."""
    _process.engine = None
    CURRENT.set(None)


at_fork(in_child=_begin_anew_in_child)


@atexit.register
def close_engine() -> bool:
    """Send what waits; called by itself when the interpreter ends. False: the server stayed away, and something is kept for the next process."""
    with _process.lock:
        engine, _process.engine = _process.engine, None
    if engine is None or engine.pid != os.getpid():
        return True
    with main_thread_stops():  # an impatient Ctrl-C is held, not the reports lost
        left = engine.close()
    if left:
        console.line("ERROR" if engine.outbox.unkept else "WARNING", "legato", left)
    return not left
