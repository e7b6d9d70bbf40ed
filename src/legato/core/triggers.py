"""Triggers: when a task runs, given how those before it ended. Pure.

A task waits for every run it depends on; then its trigger says whether it runs. `all_succeeded` is the default: with it, one failure before
a task makes the task UpstreamFailed, and one that was skipped makes it Skipped. With any other trigger, "no" makes the task Skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec

from legato.core.states import COMPLETED, StateType


class Upstream(msgspec.Struct, frozen=True):
    """How one of the runs before a task ended."""

    name: str
    state: StateType
    skipped: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether it ran, and completed."""
        return self.state is COMPLETED and not self.skipped

    @property
    def failed(self) -> bool:
        """Whether it ended in any other state than COMPLETED."""
        return self.state is not COMPLETED


Trigger: TypeAlias = Callable[[Sequence[Upstream]], bool]


def all_succeeded(upstream: Sequence[Upstream]) -> bool:
    """Run when everything before has succeeded."""
    return all(one.succeeded for one in upstream)


def all_failed(upstream: Sequence[Upstream]) -> bool:
    """Run when everything before has failed; a task with nothing before it is skipped."""
    return bool(upstream) and all(one.failed for one in upstream)


def any_failed(upstream: Sequence[Upstream]) -> bool:
    """Run when at least one before has failed."""
    return any(one.failed for one in upstream)


def any_succeeded(upstream: Sequence[Upstream]) -> bool:
    """Run when at least one before has succeeded."""
    return any(one.succeeded for one in upstream)


def all_done(upstream: Sequence[Upstream]) -> bool:  # noqa: ARG001 the shape of a trigger
    """Run when everything before has ended, however."""
    return True


def none_failed(upstream: Sequence[Upstream]) -> bool:
    """Run when nothing before has failed; what was skipped does no harm."""
    return not any(one.failed for one in upstream)


TRIGGERS = {fn.__name__: fn for fn in (all_succeeded, all_failed, any_failed, any_succeeded, all_done, none_failed)}
"""By name, for `trigger="any_failed"`."""


class Decision(StrEnum):
    """What a trigger comes to."""

    RUN = "run"
    SKIP = "skip"
    FAIL = "fail"


def decide(trigger: Trigger, upstream: Sequence[Upstream]) -> tuple[Decision, str]:
    """Whether a task runs, and in words why not."""
    if trigger(upstream):
        return Decision.RUN, ""
    failed = [one.name for one in upstream if one.failed]
    if trigger is all_succeeded:
        if failed:
            return Decision.FAIL, failed[0]
        return Decision.SKIP, f"'{next(one.name for one in upstream if one.skipped)}' was skipped"
    name = getattr(trigger, "__name__", "its trigger")
    ended = f"{len(failed)} of {len(upstream)} before it failed" if upstream else "nothing is before it"
    return Decision.SKIP, f"trigger {name} said no: {ended}"
