"""The states of a run: the closed set of types, the names on top of them, and the table that says what may follow what.

Everything that must know about states reads this table: the rules, the store, the docs' diagram, the UI's colours and legal actions
(see `describe_states`), and the exhaustive test. Code branches on a state's type; its name is for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec


class StateType(StrEnum):
    """What a run is in. Closed: a new member needs a row in every table of this module."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CRASHED = "crashed"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__  # the inherited one is written in Python, and looked up in tables a few times a transition


SCHEDULED, PENDING, RUNNING, PAUSED, COMPLETED, FAILED, CRASHED, CANCELLED = StateType

FINAL: frozenset[StateType] = frozenset({COMPLETED, FAILED, CRASHED, CANCELLED})
"""Types that end an attempt. A run leaves one only by an explicit `reopen`, as a new attempt."""

INITIAL: frozenset[StateType] = frozenset({SCHEDULED, PENDING, RUNNING})
"""Types a run may be created in: waiting for its time, handed to a task runner, or called directly."""

TRANSITIONS: Mapping[StateType, frozenset[StateType]] = {
    SCHEDULED: frozenset({SCHEDULED, PENDING, RUNNING, COMPLETED, CANCELLED, CRASHED}),
    PENDING: frozenset({SCHEDULED, RUNNING, COMPLETED, FAILED, CRASHED, CANCELLED}),
    RUNNING: frozenset({SCHEDULED, PAUSED, COMPLETED, FAILED, CRASHED, CANCELLED}),
    PAUSED: frozenset({SCHEDULED, RUNNING, FAILED, CRASHED, CANCELLED}),
    COMPLETED: frozenset(),
    FAILED: frozenset(),
    CRASHED: frozenset(),
    CANCELLED: frozenset(),
}
"""What may follow what within one attempt. SCHEDULED -> SCHEDULED renames (Late) or moves a run; PENDING -> COMPLETED is a cache
hit, SCHEDULED -> COMPLETED one of a task that waited for another's result."""

REOPENS: Mapping[StateType, frozenset[StateType]] = {final: frozenset({SCHEDULED}) for final in FINAL}
"""What may follow a final state when a person, or the policy for lost runs, asks for a new attempt."""

NAMES: Mapping[StateType, tuple[str, ...]] = {
    SCHEDULED: ("Scheduled", "Late", "AwaitingRetry"),
    PENDING: ("Pending",),
    RUNNING: ("Running", "Retrying"),
    PAUSED: ("Paused", "Suspended"),
    COMPLETED: ("Completed", "Cached", "Skipped"),
    FAILED: ("Failed", "TimedOut", "UpstreamFailed"),
    CRASHED: ("Crashed",),
    CANCELLED: ("Cancelled",),
}
"""Names a state of each type may carry; the first is the default."""

TYPE_OF: Mapping[str, StateType] = {name: type_ for type_, names in NAMES.items() for name in names}


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run is or was in, since when, and why.

    `at` is an aware UTC instant. `message` is one line for people. `due_at` is set on SCHEDULED states only: not to be started before.
    """

    type: StateType
    name: str
    at: datetime
    message: str = ""
    due_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether the attempt has ended."""
        return self.type in FINAL


def may_follow(current: StateType | None, proposed: StateType, *, reopen: bool = False) -> bool:
    """Whether `proposed` is legal after `current` (None: the run does not exist yet)."""
    if current is None:
        return proposed in INITIAL
    if current in FINAL:
        return reopen and proposed in REOPENS[current]
    return proposed in TRANSITIONS[current]


def describe_states() -> list[dict[str, object]]:
    """The table as plain data, for the API, the generated TypeScript and the docs' diagram."""
    return [
        {
            "type": str(type_),
            "names": list(NAMES[type_]),
            "final": type_ in FINAL,
            "initial": type_ in INITIAL,
            "next": sorted(str(t) for t in TRANSITIONS[type_]),
        }
        for type_ in StateType
    ]
