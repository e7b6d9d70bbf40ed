"""A flow run's ledger: which call is which, what an earlier attempt left behind, and what this one has made so far.

The decisions are `core.resume`'s; here are the counters and the lock. Every call is identified, stored or not: whether a call is new decides
about what comes after it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping

import msgspec

from legato.core.digests import hex_digest
from legato.core.errors import ResultMissing
from legato.core.resume import ITEM_BY_ITEM, UNKNOWN, Again, CallId, Lane, Memory, Past, PlanLine, Recall, Reuse, in_order, ranges_of
from legato.engine import results
from legato.engine.results import BlobStore
from legato.engine.script import Recalled

NOTHING = object()
"""What a plain function is called on."""

SHORT = 12
"""Bytes of inputs that are not worth hashing."""

KEPT_BYTES = 64 << 20
"""How much of unstored values a flow with retries keeps, serialised, for its next attempt in this process. What does not fit runs again."""


def group_of(place: str, encoded: bytes) -> str:
    """The group of calls at a place with these inputs; short inputs stand for themselves."""
    return f"{place}-{encoded.hex() if len(encoded) <= SHORT else hex_digest(encoded, 12)}"


def unknown_group(place: str, run_id: str) -> str:
    """The group of a call that is like no other."""
    return f"{place}{UNKNOWN}{run_id}"


class Ledger:
    """One flow run's. `keeps_values`: what tasks give is kept for a retry in this process (a flow with retries).

    `first_number`: where calls and lanes are counted from; calls that a worker process makes are counted there.
    """

    def __init__(self, memory: Memory | None = None, *, keeps_values: bool = False, first_number: int = 0) -> None:
        self.memory = memory
        self.keeps_values = keeps_values
        self._called: dict[str, int] = {}
        self._numbers = itertools.count(first_number)
        self._lanes = itertools.count(first_number)
        self._made: list[Past] = []
        self._room = KEPT_BYTES
        self._lock = threading.Lock()
        self.outcomes: list[PlanLine] = []
        """What became of each call of this attempt, where there was an earlier one."""

    def new_lane_number(self) -> int:
        """What a new lane is called in the record."""
        return next(self._lanes)

    def identify(self, group: str, lane: Lane, *, submitted: bool = False, code: str = "", attempt: int = 1, body: str = "") -> CallId:
        """The id of a call that is made now, in this lane."""
        with self._lock:
            occurrence = self._called.get(group, 0)
            self._called[group] = occurrence + 1
        seen: tuple[tuple[int, int], ...] = ()
        if lane.seen:
            seen, lane.seen = ranges_of(lane.seen), []
        number, after = next(self._numbers), lane.after
        if after >= 0:
            lane.after = -1
        if not submitted:
            lane.calls(number)
        call = CallId(group, occurrence, lane.index, number, submitted, code, seen, attempt, body, after)
        if self.memory is not None:
            with self._lock:
                self.memory.made(call)
        return call

    def recall(
        self,
        name: str,
        call: CallId,
        key: str,
        *,
        code: Mapping[str, str] | None = None,
        below: str = "",
        inputs: str = "",
        unknown: str = "",
        behind_edit: Callable[[str], str] | None = None,
        repeats: bool = True,
    ) -> Recall | None:
        """What the earlier attempt says of this call; None when there was none. One that does not `repeat` runs, whatever it says."""
        if self.memory is None:
            return None
        with self._lock:
            answer = self.memory.recall(call, key, code=code, below=below, inputs=inputs, unknown=unknown, behind_edit=behind_edit)
            if not repeats and isinstance(answer, Reuse):
                answer = Again(ITEM_BY_ITEM, past=answer.past)
            if isinstance(answer, Again):
                called = answer.goes_on.name if answer.goes_on is not None else name
                self.outcomes.append(PlanLine(called, False, answer.why, key.startswith("flow ")))
        return answer

    def value_of(self, name: str, found: Reuse, blobs: BlobStore) -> Recalled | Again:
        """The value that stands for a call; or, when it cannot be had any more, that the call runs."""
        result = found.past.result
        assert result is not None, "only stored values are reused"
        try:
            value = results.load(result, blobs)
        except ResultMissing as error:
            return self.gone(name, found, f"its stored value is gone: {error.message}")
        self.reuses(name, is_flow=found.past.is_flow)
        return Recalled(f"reused from '{found.past.name}' of an earlier attempt", result, value)

    def reuses(self, name: str, *, is_flow: bool = False) -> None:
        """Note that a call's earlier value was had."""
        self.outcomes.append(PlanLine(name, True, "", is_flow))

    def gone(self, name: str, found: Reuse, why: str) -> Again:
        """A value that was to be reused cannot be had: the call runs."""
        self.outcomes.append(PlanLine(name, False, why, found.past.is_flow))
        return Again(why, past=found.past)

    def was_not_asked(self, name: str, why: str) -> None:
        """A call has ended without anybody having asked about its earlier one: it did not come so far."""
        if self.memory is not None:
            self.outcomes.append(PlanLine(name, False, why))

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
            earlier = {past.call.path: past for past in (self.memory.past if self.memory is not None else [])}
            earlier |= {past.call.path: past for past in in_order(self._made)}
            self.memory = Memory(earlier.values())
            self._made = []
            self._room = KEPT_BYTES
        self._called = {}
        self.outcomes = []
