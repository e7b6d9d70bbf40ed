"""Waiting: the one seam through which code of a run blocks its thread until futures have ended.

Whoever waits says for which futures. So a task runner's worker lends its place while its code waits, in whatever form that is written, and
what could never end is an error instead of a silence: work of the very event loop that the wait holds up, a run that waits for itself.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from legato.core.errors import UsageError
from legato.engine.signals import main_thread

_SLICE_S = 0.2
"""A stop from outside, and the look at who waits for whom, come between slices of a wait."""

_MOST_LOOKED_AT = 10_000
"""Futures that one look for a circle goes through."""


class Promised(Protocol):
    """A future, as those see it that wait for it."""

    run_id: str
    name: str
    runner: Any
    loop: Any

    @property
    def waits_for(self) -> Sequence[Promised]: ...

    def done(self) -> bool: ...

    def claim(self) -> bool: ...

    def run(self) -> None: ...


class Place(Protocol):
    """A task runner's thread, and what is to become of its place while the code on it waits."""

    def help(self, future: Promised) -> bool:
        """Run a future that nobody has begun, here and now; false when that cannot be."""
        ...

    def lent(self) -> AbstractContextManager[None]:
        """While in it, the place is another's."""
        ...


Waited: TypeAlias = Sequence[Promised]


class _Here(threading.local):
    place: Place | None = None


_here = _Here()

_waits: dict[str, Waited] = {}
"""Run id -> what its code is waiting for."""

_held_up: dict[Any, Waited] = {}
"""Event loop -> what the code that holds it up is waiting for."""


class CurrentRuns(Protocol):
    """Gives the run ids of the calling code: its own run's, and of those around it."""

    def __call__(self) -> list[str]: ...


class _Runs:
    """Set by `shell` and `own_threads`, which know the current run and load after this."""

    of_caller: CurrentRuns = list
    place_of_caller: Callable[[], Place | None] = staticmethod(lambda: None)
    """The place of the worker whose task has started the calling thread: that worker waits for it, most likely."""


runs = _Runs()


def occupy(place: Place | None) -> None:
    """From now on the calling thread has this place in a task runner."""
    _here.place = place


def place_here() -> Place | None:
    """The calling thread's place, None where it has none."""
    return _here.place


def wait_for(
    event: threading.Event,
    futures: Waited,
    timeout: float | None = None,
    *,
    helping: bool = False,
    check: Callable[[], None] | None = None,
) -> bool:
    """Block until `event` is set, which the end of `futures` brings about; false when `timeout` seconds were not enough.

    `helping`: all of them must end, so a worker may as well run one itself (never under a timeout: it might take longer). `check` is called
    now and then, and ends the wait by raising. Raises `UsageError` where the wait could never end.
    """
    if event.is_set():
        return True
    if timeout is not None and timeout <= 0:
        return False
    loop = _running_loop()
    if loop is not None:
        _look_for_circle(futures, loop, [])
    place = _here.place
    if place is None:
        place = runs.place_of_caller()
        if place is None:
            return _block(event, futures, timeout, loop, check)
        with place.lent():
            return _block(event, futures, timeout, loop, check)
    if helping and timeout is None:
        for future in futures:
            if place.help(future) and event.is_set():
                return True
    with place.lent():
        return _block(event, futures, timeout, loop, check)


def _block(event: threading.Event, futures: Waited, timeout: float | None, loop: Any, check: Callable[[], None] | None) -> bool:
    deadline = None if timeout is None else time.monotonic() + timeout
    if event.wait(_slice(deadline)):  # most waits are short: nobody needs to know of them
        return True
    own = runs.of_caller()
    known: list[tuple[dict[Any, Waited], Any]] = [(_waits, own[0])] if own else []
    if loop is not None:
        known.append((_held_up, loop))
    for table, key in known:
        table[key] = futures
    try:
        while deadline is None or time.monotonic() < deadline:
            main_thread.raise_held()
            _look_for_circle(futures, loop, own)
            if check is not None:
                check()
            if event.wait(_slice(deadline)):
                return True
        return event.is_set()
    finally:
        for table, key in known:
            table.pop(key, None)


def _slice(deadline: float | None) -> float:
    return _SLICE_S if deadline is None else max(0.0, min(_SLICE_S, deadline - time.monotonic()))


def _running_loop() -> Any:
    asyncio = sys.modules.get("asyncio")
    return asyncio._get_running_loop() if asyncio is not None else None  # noqa: SLF001 behind get_running_loop, which raises instead


def _look_for_circle(futures: Waited, loop: Any, own: Sequence[str]) -> None:
    """Raise `UsageError` when one of these can never end while the calling code waits for it."""
    ahead: list[Promised] = list(futures)
    looked_at: set[int] = set()
    while ahead and len(looked_at) < _MOST_LOOKED_AT:
        future = ahead.pop()
        if future.done() or id(future) in looked_at:
            continue
        looked_at.add(id(future))
        if loop is not None and future.loop is loop:
            raise UsageError(
                f"waiting here for task run '{future.name}' would wait for ever: it runs on the event loop that this code holds up",
                hint="await it: `await future`, `async for future in as_completed(futures)`, `async with transaction()`",
            )
        if future.run_id in own:
            raise UsageError(
                f"task run '{future.name}' would wait for ever: what it waits for waits for it",
                hint="have one of them take the other's value as an argument, and in async code await it",
            )
        ahead.extend(future.waits_for)
        ahead.extend(_waits.get(future.run_id, ()))
        if future.loop is not None:
            ahead.extend(_held_up.get(future.loop, ()))
