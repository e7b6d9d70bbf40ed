"""How a forked run's process ends: as a Python program does, without tearing down what it shares with its warm parent.

A program's end has an order: threads that are no daemons are waited for, exit handlers run (the last registered first), what streams hold is
written, and objects that modules still hold say goodbye (files are closed, `__del__` runs). The interpreter's own end takes 60 ms and more
here, for it touches each page of all that the warm parent has imported; this one looks at what the run itself has loaded, and takes 1 to 2.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import os
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any, NoReturn

KEPT_HANDLERS = (("legato.sdk.process", "close_engine"), ("logging", "shutdown"), ("multiprocessing.util", "_exit_function"))
"""Exit handlers of modules that the warm parent has imported, and that a run needs for itself."""

OUR_DAEMONS = frozenset({"legato-timeouts", "legato-async-tasks", "legato-heartbeat", "legato-outbox"})
"""Threads of ours that run nothing of the user's any more."""

_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def forget_parents_end() -> None:
    """In a forked child, first of all: what the warm parent's packages registered for its end is theirs. A folder that one of them removes
    there is not this child's to remove.
    """
    atexit._clear()  # noqa: SLF001 there is no public way to begin without handlers
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        finalizer.atexit = False
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]  # noqa: SLF001 so that the run's first one registers them anew
    for module, name in KEPT_HANDLERS:
        if module in sys.modules:
            atexit.register(getattr(importlib.import_module(module), name))


def end_program(code: int, parents_modules: Collection[str]) -> NoReturn:
    """End this process with an exit code. Threads that go on, as daemons may, leave it to the interpreter, which knows how to stop them."""
    _attempt(threading._shutdown)  # type: ignore[attr-defined]  # noqa: SLF001 what the interpreter calls first
    if any(thread.name not in OUR_DAEMONS for thread in threading.enumerate() if thread is not threading.current_thread()):
        raise SystemExit(code)
    _attempt(atexit._run_exitfuncs)  # noqa: SLF001 what it calls then
    _attempt(_flush_streams)
    _attempt(lambda: _let_go([name for name in list(sys.modules) if name not in parents_modules]))
    _attempt(_flush_streams)
    os._exit(code)


def _attempt(step: Callable[[], object]) -> None:
    """One step of the end. An exception is told, and the next step follows."""
    try:
        step()
    except BaseException:  # noqa: BLE001 whatever a program raises at its end, it ends
        with contextlib.suppress(BaseException):
            sys.excepthook(*sys.exc_info())


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(Exception):  # closed, redirected to something that is gone
            stream.flush()  # type: ignore[union-attr]


def _let_go(names: list[str]) -> None:
    """Take the run's own modules apart, the last imported first: private names, then all others, as the interpreter does."""
    modules: list[ModuleType] = []
    for name in reversed(names):
        module: Any = sys.modules.get(name)
        if isinstance(module, ModuleType) and not _is_installed(module) and module.__name__.partition(".")[0] not in ("legato", "__main__"):
            del sys.modules[name]
            modules.append(module)
    _forget_users_objects()
    gc.collect()  # before they are let go: the collector ends objects in the order they were made in, and what refers to them after them
    for module in modules:
        held = vars(module)
        for private in (True, False):
            for name in list(held):
                if name != "__builtins__" and (name.startswith("_") and not name.startswith("__")) is private:
                    held[name] = None
    _close_files()
    gc.collect()


def _is_installed(module: ModuleType) -> bool:
    """Whether a module came with Python or a package; one without a file that no finder found was made by the run."""
    file = getattr(module, "__file__", None)
    return file.startswith(_INSTALLED) if isinstance(file, str) else module.__spec__ is not None


def _forget_users_objects() -> None:
    """What our own modules remember of the user's functions and classes would keep alive what these refer to."""
    for name, module in list(sys.modules.items()):
        if name.startswith("legato."):
            for value in list(vars(module).values()):
                if isinstance(value, weakref.WeakKeyDictionary | weakref.WeakValueDictionary | weakref.WeakSet):
                    value.clear()


def _close_files() -> None:
    """Close what is still open, whoever holds it, each before what lies below it: text, what packs, bytes.

    Left to the collector they are closed in the order they were made in, the lowest first, and what the upper ones hold is lost.
    """
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    files = [one for one in gc.get_objects() if issubclass(type(one), io.IOBase) and all(one is not stream for stream in streams)]
    for file in sorted(files, key=_layer):
        with contextlib.suppress(Exception):  # closed already, or its other end is
            file.close()


def _layer(file: io.IOBase) -> int:
    if isinstance(file, io.TextIOBase):
        return 0
    return 3 if isinstance(file, io.RawIOBase) else 2 if isinstance(file, (io.BufferedWriter, io.BufferedRandom, io.BufferedReader)) else 1
