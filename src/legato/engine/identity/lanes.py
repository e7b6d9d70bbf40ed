"""Lanes: lines of execution inside a run, and what each has come to know of.

A lane belongs to a run's code on one thread, or in one asyncio task. It is known by an object that goes when the thread or task goes, never by a
number or name that is given again. A lane knows of a direct call's end when that call ends; of a submitted one's when it asks for it.
"""

from __future__ import annotations

import contextvars
import itertools
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from legato.core.resume import CallId, Lane


class Run(Protocol):
    """A run whose code calls others: a shell, as far as this is concerned."""

    lanes: dict[int, Lane] | None
    changed_inside: str

    @property
    def taint_inside(self) -> str:
        """The new or changed call that this run's code comes after from its beginning, "" when there is none."""
        ...

    def new_lane_number(self) -> int: ...


class Item:
    """A piece of work that a run's code has given to a pool of threads: a lane of its own, whichever thread does it.

    The lane that gave it knows of its end at its next call; any other one that asks for its value, then. Its siblings do not: in which order
    they end is chance.
    """

    __slots__ = ("creator", "lane", "run")

    def __init__(self, run: Run, creator: Lane) -> None:
        self.run = run
        self.creator = creator
        self.lane: Lane | None = None

    def __enter__(self) -> None:
        _here.items.append(self)

    def __exit__(self, *_: object) -> None:
        _here.items.pop()
        if self.lane is not None:
            self.creator.children.append(self.lane)

    def seen(self) -> None:
        """Whoever asks here knows that it has ended."""
        run: Any = current.run()
        if self.lane is None or run is None or run is not self.run:
            return
        lane = lane_of(run)
        if lane is not self.creator and lane is not self.lane:
            lane.joins(self.lane)


def item_of(run: Run) -> Item:
    """What stands for work that a run's code hands on to a pool here."""
    return Item(run, lane_of(run, joins=False))


class _Here(threading.local):
    token = 0

    def __init__(self) -> None:
        self.items: list[Item] = []
        """The work of pools that is done on this thread: the last one now."""


_here = _Here()
_tokens = itertools.count(1)
_of_asyncio_tasks: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def _token_of(task: Any) -> int:
    """A number of the asyncio task that runs here, which no other has had or will have."""
    token = _of_asyncio_tasks.get(task)
    if token is None:
        token = _of_asyncio_tasks[task] = next(_tokens)
    return token


_LANE: contextvars.ContextVar[Lane | None] = contextvars.ContextVar("legato_lane", default=None)
"""The lane that code here, or the code that began it, was last in."""


def lane_of(run: Run, *, joins: bool = True) -> Lane:
    """The lane of a run's code that runs here. `joins`: it learns of those that are over."""
    lanes = run.lanes
    if lanes is None:
        lanes = run.lanes = {}
    asyncio, task = sys.modules.get("asyncio"), None
    if asyncio is not None and (loop := asyncio._get_running_loop()) is not None:  # noqa: SLF001 behind get_running_loop, which raises instead
        task = asyncio.current_task(loop)
    if task is None and _here.items and _here.items[-1].run is run:
        lane = _lane_of_item(_here.items[-1], run)
    else:
        token = _here.token if task is None else _token_of(task)
        if not token:
            token = _here.token = next(_tokens)
        lane = lanes.get(token) or lanes.setdefault(token, _new_lane(run, lanes, task))
    while joins and lane.children:
        lane.joins(lane.children.pop())
    if joins and len(lanes) > 1:
        _join(lanes, lane)
    return lane


def _lane_of_item(item: Item, run: Run) -> Lane:
    if item.lane is None:
        item.lane = Lane(run.new_lane_number(), run.taint_inside, item.creator)
    return item.lane


def _new_lane(run: Run, lanes: dict[int, Lane], task: Any) -> Lane:
    creator = _LANE.get()
    others = list(lanes.values())
    if creator not in others:
        creator = others[0] if others else None
    while creator is not None and creator.children:
        creator.joins(creator.children.pop())
    lane = Lane(run.new_lane_number(), run.taint_inside, creator)
    lane.line = weakref.ref(task if task is not None else threading.current_thread())
    _LANE.set(lane)
    return lane


def _join(lanes: dict[int, Lane], lane: Lane) -> None:
    """Learn of the lanes of this run that are over."""
    for token, other in list(lanes.items()):
        if other is not lane and other.known is not None and _is_over(other.line) and lanes.pop(token, None) is not None:
            lane.joins(other)


def _is_over(line: Any) -> bool:
    running = line() if line is not None else None
    if running is None:
        return True
    return not running.is_alive() if isinstance(running, threading.Thread) else bool(running.done())


class _Current:
    """Set by `shell`, which knows the current run and loads after this."""

    run: Callable[[], Run | None] = staticmethod(lambda: None)


current = _Current()


class Sighting:
    """A submitted call, as those see it that ask for its end. `changed`: its name, when it is new or changed; known before it ends."""

    __slots__ = ("_seen_by", "call", "changed", "flow")

    def __init__(self, flow: Any, call: CallId) -> None:
        self.flow = flow
        self.call = call
        self.changed = ""
        self._seen_by: Lane | None = None

    def seen(self) -> None:
        """Whoever asks here knows that it has ended."""
        run: Any = current.run()
        if run is None or run.flow is not self.flow:
            return
        lane = lane_of(run)
        if self._seen_by is lane:
            return
        self._seen_by = lane
        lane.sees(self.call.number)
        if self.changed:
            has_ended(run, lane, self.changed)


def has_ended(run: Run, lane: Lane, name: str) -> None:
    """A new or changed call that a run has made has ended, and one of its lanes knows: what that lane calls from now on comes after it."""
    lane.ended(name)
    run.changed_inside = run.changed_inside or name
