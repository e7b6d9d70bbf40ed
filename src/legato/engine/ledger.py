"""A flow run's ledger: which call is which, what an earlier attempt left behind, and what this one has made so far.

The decisions are `core.resume`'s; here are the counters, the lanes and the lock. Every call is identified, stored or not: whether a call is
new decides about what comes after it.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Mapping
from threading import get_ident

import msgspec

from legato.core.errors import ResultMissing
from legato.core.resume import Again, CallId, Memory, Past, Recall, Reuse
from legato.engine import results
from legato.engine.results import BlobStore
from legato.engine.script import Recalled

KEPT_BYTES = 64 << 20
"""How much of unstored values a flow with retries keeps, serialised, for its next attempt in this process. What does not fit runs again."""


class Ledger:
    """One flow run's. `keeps_values`: what tasks give is kept for a retry in this process (a flow with retries)."""

    def __init__(self, memory: Memory | None = None, *, keeps_values: bool = False) -> None:
        self.memory = memory
        self.keeps_values = keeps_values
        self._called: dict[str, int] = {}
        self._lanes: dict[object, int] = {}
        self._next_lane = itertools.count()
        self._made: list[Past] = []
        self._room = KEPT_BYTES
        self._lock = threading.Lock()
        self.reused: list[str] = []
        self.again: list[tuple[str, str]] = []

    def identify(self, group: str, parent: str) -> CallId:
        """The id of a call that is made now, on this thread. `parent` tells whose lanes count."""
        with self._lock:
            occurrence = self._called.get(group, 0)
            self._called[group] = occurrence + 1
        return CallId(group, occurrence, self._lane(parent))

    def _lane(self, parent: str) -> int:
        here = (parent, get_ident(), _asyncio_task() if "asyncio" in sys.modules else "")
        lane = self._lanes.get(here)
        if lane is None:
            lane = self._lanes.setdefault(here, next(self._next_lane))
        return lane

    def below(self, call: CallId) -> str:
        """The new or changed call that ended in this lane before, "" when there is none."""
        return self.memory.tainted(call.lane) if self.memory is not None else ""

    def recall(self, name: str, call: CallId, key: str, *, code: Mapping[str, str] | None, below: str, inputs: str) -> Recall | None:
        """What the earlier attempt says of this call; None when there was none."""
        if self.memory is None:
            return None
        with self._lock:
            answer = self.memory.recall(call, key, code=code, below=below, inputs=inputs)
            if isinstance(answer, Again):
                self.again.append((name, answer.why))
        return answer

    def value_of(self, name: str, found: Reuse, blobs: BlobStore) -> Recalled | Again:
        """The value that stands for a call; or, when it cannot be had any more, that the call runs."""
        result = found.past.result
        assert result is not None, "only stored values are reused"
        try:
            value = results.load(result, blobs)
        except ResultMissing as error:
            return self.gone(name, found, f"its stored value is gone: {error.message}")
        self.reuses(name)
        return Recalled(f"reused from '{found.past.name}' of an earlier attempt", result, value)

    def reuses(self, name: str) -> None:
        """Note that a call's earlier value was had."""
        self.reused.append(name)

    def gone(self, name: str, found: Reuse, why: str) -> Again:
        """A value that was to be reused cannot be had: the call runs."""
        self.again.append((name, why))
        return Again(why, past=found.past)

    def ran(self, name: str, call: CallId, again: Again) -> None:
        """A call that was not reused has ended."""
        if self.memory is not None:
            with self._lock:
                self.memory.ran(name, call.lane, again)

    @property
    def room(self) -> int:
        """How many bytes of values may still be kept for a retry."""
        return self._room

    def made(self, past: Past) -> None:
        """A call has ended in this process: what a retry of the flow here may know of it."""
        if past.result is not None and past.result.inline is not None:
            with self._lock:
                self._room -= len(past.result.inline)
                if self._room < 0:
                    past = msgspec.structs.replace(past, result=None)
        self._made.append(past)

    def restart(self) -> None:
        """The flow tries again in this process: what was made until now is the earlier attempt."""
        if self.keeps_values:
            earlier = {(p.call.group, p.call.occurrence): p for p in (self.memory.past if self.memory is not None else [])}
            earlier |= {(p.call.group, p.call.occurrence): p for p in self._made}
            self.memory = Memory(earlier.values())
            self._made = []
            self._room = KEPT_BYTES
        self._called = {}
        self._lanes = {}


def _asyncio_task() -> str:
    """Which asyncio task runs here, "" for none; without loading asyncio. By name: an id may be given again after the task has ended."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or (loop := asyncio._get_running_loop()) is None:  # noqa: SLF001 behind get_running_loop, which raises instead
        return ""
    task = asyncio.current_task(loop)
    return task.get_name() if task is not None else ""
