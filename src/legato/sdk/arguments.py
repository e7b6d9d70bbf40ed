"""A call's arguments: the futures in them, what else must have ended before, and the runs whose values they hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from legato.core.errors import UpstreamFailed, UsageError
from legato.core.states import StateType
from legato.core.triggers import Decision, Trigger, Upstream, all_succeeded, decide
from legato.engine.futures import Future, made
from legato.engine.makers import Makers
from legato.engine.script import Skip
from legato.sdk.dependencies import NOTHING, PLAIN, futures_in, held_in, resolved

_MOST_DRAWN = 1000
"""Objects in an argument that are asked for the run that made them: it is for arrows in a drawing."""


class Arguments:
    """A call's arguments, with the futures in them found."""

    __slots__ = ("_before", "_held", "args", "futures", "kwargs", "needs_settling", "plain", "upstream")

    def __init__(self, makers: Makers, args: Sequence[Any], kwargs: dict[str, Any], wait_for: Any = None) -> None:
        self.args = args
        self.kwargs = kwargs
        self.futures: Sequence[Future[Any]] = ()
        """What must have ended before the call: the futures in the arguments, and those of `wait_for`."""
        self.upstream: list[str] = []
        self._held = self._before = NOTHING
        self.plain = True
        """Whether there is nothing to search: only numbers, texts and the like."""
        for value in args:
            if type(value) not in PLAIN:
                self.plain = False
                break
        if kwargs and self.plain:
            for value in kwargs.values():
                if type(value) not in PLAIN:
                    self.plain = False
                    break
        if not self.plain:
            self._search(makers)
        if wait_for is not None:
            self._wait_for(wait_for)
        self.needs_settling = bool(self.futures) or self._held.has_wrappers
        """Whether something has to be waited for or put in place before the call."""

    def _search(self, makers: Makers) -> None:
        named = [(f"argument {n + 1}", value) for n, value in enumerate(self.args)]
        named += [(f"argument '{name}'", value) for name, value in self.kwargs.items()]
        if made.any:
            self._held = held_in(named)
            self.futures = self._held.futures
        for future in self.futures:
            self._depend(future.run_id)
        if makers:
            for run_id in makers.in_values([value for _, value in named], _MOST_DRAWN):
                self._depend(run_id)

    def _wait_for(self, given: Any) -> None:
        self._before = futures_in("wait_for", given)
        if not self._before.futures and not _is_empty(given):
            raise UsageError(f"wait_for holds {given!r}, which is no future", hint="give it what task.submit() returned")
        self.futures = [*self.futures, *self._before.futures]
        for future in self._before.futures:
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
        held = self._held
        if not held.nodes and not held.futures:
            return self.args, self.kwargs
        lenient = trigger is not all_succeeded

        def value_of(future: Future[Any], tolerated: bool) -> Any:
            return future.result(raise_on_failure=not (lenient or tolerated))

        return tuple(resolved(value, held, value_of) for value in self.args), {
            name: resolved(value, held, value_of) for name, value in self.kwargs.items()
        }

    def _decide(self, trigger: Trigger) -> None:
        tolerated = self._held.tolerated | self._before.tolerated
        counted = [future for future in self.futures if id(future) not in tolerated]
        decision, why = decide(trigger, [Upstream(future.name, future.state, future.skipped) for future in counted])
        if decision is Decision.FAIL:
            raise upstream_failed(next(future for future in counted if future.state is not StateType.COMPLETED))
        if decision is Decision.SKIP:
            raise Skip(why)
        for future in self.futures:
            future.seen = True


def _is_empty(given: Any) -> bool:
    """Whether it holds nothing, or only what holds nothing: what `map` gave for no items, None where a task was not called this time."""
    if isinstance(given, Mapping):
        given = given.values()
    if given is None or isinstance(given, (str, bytes)) or not isinstance(given, Collection):
        return given is None
    return all(_is_empty(item) for item in given)


def upstream_failed(future: Future[Any]) -> UpstreamFailed:
    """The error of a task that cannot run because this future failed."""
    exc = future.failure  # not `exception()`: that the one below could not start does not mean that somebody has dealt with this failure
    error = UpstreamFailed(f"task run '{future.name}' did not complete: {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error
