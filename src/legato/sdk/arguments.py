"""A call's arguments: the futures in them, wherever they are, and the runs whose values they hold.

Searched are lists, tuples, sets, dicts, dataclasses, pydantic models, msgspec structs and named tuples, eight levels deep. `quote(value)` is
not searched. A container that holds no future is handed over as the very same object.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from legato.core.errors import UpstreamFailed, UsageError
from legato.core.states import StateType
from legato.core.triggers import Decision, Trigger, Upstream, all_succeeded, decide
from legato.engine.futures import DeferredList, Future
from legato.engine.shell import FlowShell
from legato.sdk.definitions import AllowFailure, Quote

_PLAIN = (type(None), bool, int, float, str, bytes)
_DEPTH = 8
_NOTHING: frozenset[int] = frozenset()

LARGEST_SEARCHED = 10_000
"""Containers with more items are data: they are not searched for futures."""


class Skip(Exception):
    """A task's trigger says that it does not run. Never leaves the SDK."""


class Arguments:
    """A call's arguments, with the futures in them found."""

    __slots__ = ("args", "futures", "kwargs", "plain", "tolerated", "upstream", "wrapped")

    def __init__(self, flow: FlowShell, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.futures: list[Future[Any]] = []
        self.tolerated: frozenset[int] = _NOTHING
        self.upstream: list[str] = []
        self.wrapped = False
        self.plain = True
        """Whether there is nothing to search: only numbers, texts and the like."""
        for value in args:
            if type(value) not in _PLAIN:
                self.plain = False
                self._find(flow, value, _DEPTH)
        if kwargs:
            for value in kwargs.values():
                if type(value) not in _PLAIN:
                    self.plain = False
                    self._find(flow, value, _DEPTH)

    def wait_for(self, futures: Any) -> None:
        """Futures that must have ended first, without being arguments."""
        if futures is None:
            return
        for future in [futures] if isinstance(futures, (Future, AllowFailure)) else futures:
            self._note(future.value if isinstance(future, AllowFailure) else future, tolerated=isinstance(future, AllowFailure))

    def _find(self, flow: FlowShell, value: Any, depth: int) -> None:
        if isinstance(value, Future):
            self._note(value)
        elif isinstance(value, Quote):
            self.wrapped = True
            return
        elif isinstance(value, AllowFailure):
            self._find_tolerated(flow, value.value, depth)
        elif depth:
            for item in _items(value):
                if type(item) not in _PLAIN:
                    self._find(flow, item, depth - 1)
        if flow.has_makers and (maker := flow.maker_of(value)) is not None:
            self._depend(maker)

    def _find_tolerated(self, flow: FlowShell, value: Any, depth: int) -> None:
        self.wrapped = True
        known = len(self.futures)
        self._find(flow, value, depth)
        self.tolerated = self.tolerated.union(id(future) for future in self.futures[known:])

    def _note(self, future: Any, *, tolerated: bool = False) -> None:
        if not isinstance(future, Future):
            raise UsageError(f"wait_for holds {future!r}, which is no future", hint="give it what task.submit() returned")
        self.futures.append(future)
        if tolerated:
            self.tolerated = self.tolerated | {id(future)}
        self._depend(future.run_id)

    def _depend(self, run_id: str) -> None:
        if run_id not in self.upstream:
            self.upstream.append(run_id)

    def settled(self, trigger: Trigger = all_succeeded) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments with values in place of futures. Waits; raises `UpstreamFailed` naming the culprit, or `Skip`.

        A failed future that was let fail, or that the trigger lets pass, is replaced by its exception; a skipped one by None.
        """
        for future in self.futures:
            future.wait()
        if self.futures or trigger is not all_succeeded:
            self._decide(trigger)
        if not self.futures and not self.wrapped:
            return self.args, self.kwargs
        lenient = trigger is not all_succeeded
        return tuple(_valued(value, _DEPTH, lenient) for value in self.args), {
            name: _valued(value, _DEPTH, lenient) for name, value in self.kwargs.items()
        }

    def _decide(self, trigger: Trigger) -> None:
        counted = [future for future in self.futures if id(future) not in self.tolerated]
        decision, why = decide(trigger, [Upstream(future.name, future.state, future.skipped) for future in counted])
        if decision is Decision.FAIL:
            raise upstream_failed(next(future for future in counted if future.state is not StateType.COMPLETED))
        if decision is Decision.SKIP:
            raise Skip(why)
        for future in self.futures:
            future.seen = True


def upstream_failed(future: Future[Any]) -> UpstreamFailed:
    """The error of a task that cannot run because this future failed."""
    exc = future.failure  # not `exception()`: that the one below could not start does not mean that somebody has dealt with this failure
    error = UpstreamFailed(f"task run '{future.name}' did not complete: {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error


def _items(value: Any) -> Sequence[Any]:
    """What of a container or record is searched, () for anything else."""
    if isinstance(value, dict):
        return list(value.values()) if len(value) <= LARGEST_SEARCHED else ()
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value) if len(value) <= LARGEST_SEARCHED else ()
    names = _fields(type(value))
    return [getattr(value, name, None) for name in names] if names else ()


_known_fields: dict[type, tuple[str, ...]] = {}


def _fields(kind: type) -> tuple[str, ...]:
    """The field names of a dataclass, pydantic model or msgspec struct; () for other classes."""
    names = _known_fields.get(kind)
    if names is None:
        found = getattr(kind, "__dataclass_fields__", None) or getattr(kind, "__struct_fields__", None)
        if found is None and "pydantic" in sys.modules:
            found = getattr(kind, "__pydantic_fields__", None)
        names = _known_fields[kind] = tuple(found) if found else ()
    return names


def _valued(value: Any, depth: int, lenient: bool) -> Any:
    """A value with every future in it replaced by its result; the very same object where it holds none."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Future):
        return value.result(raise_on_failure=not lenient)
    if isinstance(value, Quote):
        return value.value
    if isinstance(value, AllowFailure):
        return _valued(value.value, depth, lenient=True)
    return _rebuilt(value, kind, depth - 1, lenient) if depth else value


def _rebuilt(value: Any, kind: type, depth: int, lenient: bool) -> Any:
    if isinstance(value, dict):
        if len(value) > LARGEST_SEARCHED:
            return value
        changed = {key: _valued(item, depth, lenient) for key, item in value.items()}
        return value if all(map(operator.is_, changed.values(), value.values())) else changed
    if isinstance(value, (list, tuple, set, frozenset)):
        if len(value) > LARGEST_SEARCHED:
            return value
        before = list(value)
        items = [_valued(item, depth, lenient) for item in before]
        return value if all(map(operator.is_, items, before)) else _like(value, kind, items)
    names = _fields(kind)
    if not names:
        return value
    new = {}
    for name in names:
        field = getattr(value, name, None)
        if (settled := _valued(field, depth, lenient)) is not field:
            new[name] = settled
    return _replaced(value, new) if new else value


def _like(value: Any, kind: type, items: list[Any]) -> Any:
    if hasattr(kind, "_fields"):  # a named tuple
        return kind(*items)
    if isinstance(value, list):
        return items  # also for a FutureList, which is a list of futures only
    return kind(items)


def _replaced(value: Any, new: Mapping[str, Any]) -> Any:
    """A copy of a dataclass, model or struct with some fields changed; nothing is validated or run again."""
    if hasattr(value, "__struct_fields__"):
        import msgspec  # noqa: PLC0415 it is loaded: the value is one of its structs

        return msgspec.structs.replace(value, **new)
    if not hasattr(value, "__dataclass_fields__"):
        return value.model_copy(update=dict(new))
    import copy  # noqa: PLC0415 start-up time: only for records that hold futures

    changed: Any = copy.copy(value)
    for name, field in new.items():
        object.__setattr__(changed, name, field)  # frozen ones too
    return changed


def provenance(value: Any) -> Any:
    """How a value of a type that has no canonical form counts in the hash that identifies a call. Raises `TypeError` for what has none.

    A future counts by the call that makes it: what it comes to is not known yet.
    """
    if isinstance(value, DeferredList):
        return ("mapped", value.call)
    if isinstance(value, Future):
        return ("future", value.call)
    if isinstance(value, (AllowFailure, Quote)):
        return value.value
    raise TypeError(type(value).__qualname__)
