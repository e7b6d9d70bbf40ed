"""Threads of the user's own: a task that is called there belongs to the run whose code started the thread, or handed it the work.

Context variables, by which a run is known, do not follow into a new thread, nor into a thread pool. So while runs are under way, threads
remember the run that started them, and work given to a ThreadPoolExecutor the run that gave it. `propagate_context` is for what is left:
pools of other libraries, callbacks, threads that were there before.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from legato.core.states import FINAL
from legato.engine import waiting
from legato.engine.identity.lanes import Item, item_of
from legato.engine.shell import CURRENT, Shell
from legato.engine.waiting import Place
from legato.logs import console

P = ParamSpec("P")
R = TypeVar("R")

_ATTRIBUTE = "_legato_run"
_ITEM = "_legato_item"


class _Watch:
    """Whether threads are asked to remember, and whether it was said that a call belongs to nobody."""

    lock = threading.Lock()
    is_on = False
    pools_too = False
    has_warned = False


def watch() -> None:
    """From now on, threads remember the run that starts them. Called when a flow begins; costs nothing when it was called before."""
    if _Watch.is_on and (_Watch.pools_too or "concurrent.futures.thread" not in sys.modules):
        return
    with _Watch.lock:
        if not _Watch.is_on:
            _Watch.is_on = True
            setattr(threading.Thread, "start", _remembering(threading.Thread.start))  # noqa: B010 mypy takes no assignment to a method
        if not _Watch.pools_too and "concurrent.futures.thread" in sys.modules:
            _Watch.pools_too = True
            executor = sys.modules["concurrent.futures.thread"].ThreadPoolExecutor
            executor.submit = _handing_on(executor.submit)
            future = sys.modules["concurrent.futures"].Future
            future.result, future.exception = _noticing(future.result), _noticing(future.exception)


def _remembering(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def remembering(self: threading.Thread) -> None:
        run = CURRENT.get()
        if run is not None:
            setattr(self, _ATTRIBUTE, weakref.ref(run))
        start(self)

    return remembering


def _handing_on(submit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(submit)
    def handing_on(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        run = CURRENT.get()
        if run is None:
            return submit(self, fn, *args, **kwargs)
        item = item_of(run)
        future = submit(self, _within, run, item, fn, *args, **kwargs)
        setattr(future, _ITEM, item)
        return future

    return handing_on


def _noticing(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Whoever asks for the value of work in a pool knows that it has ended."""

    @functools.wraps(ask)
    def noticing(self: Any, timeout: float | None = None) -> Any:
        try:
            return ask(self, timeout)
        finally:
            item = getattr(self, _ITEM, None)
            if item is not None and self.done():
                item.seen()

    return noticing


def _within(run: Shell, item: Item, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    with item:
        if CURRENT.get() is not None or not _is_under_way(run):
            return fn(*args, **kwargs)
        token = CURRENT.set(run)
        try:
            return fn(*args, **kwargs)
        finally:
            CURRENT.reset(token)


def run_here() -> Shell | None:
    """The run that started this thread, while it is under way; None: the call belongs to nobody."""
    remembered = getattr(threading.current_thread(), _ATTRIBUTE, None)
    run: Shell | None = remembered() if remembered is not None else None
    return run if run is not None and _is_under_way(run) else None


def _place_of_caller() -> Place | None:
    """The place of the task run around this code, on whichever thread that runs."""
    run: Any = CURRENT.get() or run_here()
    while run is not None:
        if (place := run.place) is not None:
            return cast("Place", place)
        run = run.caller
    return None


waiting.runs.place_of_caller = _place_of_caller


def _is_under_way(run: Shell) -> bool:
    state = run.state
    return state is not None and state.type not in FINAL and run.engine.is_mine


def warn_of_orphans(task_name: str, runs_under_way: int) -> None:
    """Say once that tasks are called outside any flow although flows are under way: from a thread that nobody knows, most likely."""
    if runs_under_way and threading.current_thread() is not threading.main_thread() and not _Watch.has_warned:
        _Watch.has_warned = True
        console.line(
            "WARNING",
            "legato",
            f"task '{task_name}' was called on a thread that belongs to no run, so it is a run of its own; "
            "hand such threads legato.propagate_context(function) to make it a part of the flow",
        )


def propagate_context(fn: Callable[P, R]) -> Callable[P, R]:
    """`fn`, for another thread: there it runs in the context of the code that called this, so tasks in it belong to the same run.

    For thread pools of other libraries and callbacks; threads and ThreadPoolExecutors that a flow's code uses need no such help.
    """
    context = contextvars.copy_context()

    @functools.wraps(fn)
    def propagated(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(fn, *args, **kwargs)

    return propagated
