"""The engine of this process, made from the settings when the first flow runs, and closed when the interpreter ends."""

from __future__ import annotations

import atexit
import os
import threading

from legato import settings as settings_module
from legato.engine.process import Engine
from legato.logs import console
from legato.settings import Settings
from legato.storage.local import LocalStorage
from legato.store.open import open_store

_lock = threading.Lock()
_engine: Engine | None = None
_settings: Settings | None = None


def current_settings() -> Settings:
    """The settings of this process, read once."""
    global _settings
    if _settings is None:
        _settings = settings_module.load()
    return _settings


def current_engine() -> Engine:
    """This process's engine. Raises `Unavailable` when its database or server cannot be reached."""
    global _engine
    with _lock:
        if _engine is None or _engine.pid != os.getpid():
            chosen = current_settings()
            store = open_store(chosen.store_url, api_key=chosen.api_key)
            spool = chosen.home / "spool" if chosen.api_url else None
            _engine = Engine(store, LocalStorage(chosen.home / "storage"), spool=spool)
            _engine.drain_old_spools(lambda n: console.line("INFO", "legato", f"sent what {n} earlier process(es) could not"))
        return _engine


def use_engine(engine: Engine | None, chosen: Settings | None = None) -> None:
    """Replace this process's engine and settings: for tests, and for a flow runner's child that was told which store to use."""
    global _engine, _settings
    with _lock:
        _engine, _settings = engine, chosen


@atexit.register
def close_engine() -> None:
    """Send what waits. Called by itself when the interpreter ends."""
    global _engine
    with _lock:
        engine, _engine = _engine, None
    if engine is not None and engine.pid == os.getpid() and not engine.close():
        console.line("WARNING", "legato", "the server cannot be reached: what it has not been told is kept, and sent by the next process")
