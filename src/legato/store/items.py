"""What waits in an outbox: reports, artifacts that change while they wait, and gates, whose senders wait for the answer; and the batches of it,
as they are sent, and as they lie in a spool.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from legato.core.records import Artifact, LogLine, Transition, Verdict
from legato.system import new_id

if TYPE_CHECKING:
    from legato.store.port import RunStore

Item: TypeAlias = Transition | LogLine | Artifact
Outcome: TypeAlias = Verdict | Exception | None

MAX_BYTES = 2_000_000
"""Bytes of one request, roughly: a server takes several times as many, and what is still too large is halved."""

_encode = msgspec.json.Encoder().encode


class Moving(Protocol):
    """An artifact whose content is made when it is sent: for what changes faster than anybody reads."""

    @property
    def id(self) -> str: ...

    def content(self) -> Artifact:
        """The artifact as it stands. Called on any thread."""
        ...


class Asked:
    """A gate among what waits for a far store: a transition whose verdict somebody waits for; or None, who waits for all that went before."""

    __slots__ = ("answered", "outcome", "transition")

    def __init__(self, transition: Transition | None) -> None:
        self.transition = transition
        self.answered = threading.Event()
        self.outcome: Verdict | BaseException | None = None

    def answer(self, outcome: Verdict | BaseException | None) -> None:
        if not self.answered.is_set():
            self.outcome = outcome
            self.answered.set()


def contents_of(taken: Sequence[Any]) -> list[Item]:
    """What there is to send of what was taken; those who only wait are told that it was taken."""
    contents: list[Item] = []
    for item in taken:
        if not isinstance(item, Asked):
            contents.append(item)
        elif item.transition is not None:
            contents.append(item.transition)
    return contents


def batched(items: list[Item], batch_id: str = "") -> Spooled:
    return batch_of(items, batch_id or (new_id() if any(type(item) is LogLine for item in items) else ""))


def items_of(batch: Spooled) -> list[Item]:
    return [*batch.transitions, *batch.logs, *batch.artifacts]


def size_of(item: Any) -> int:
    """Roughly how many bytes of a request this is."""
    if type(item) is LogLine:
        return 200 + len(item.message) * (1 if item.message.isascii() else 4)
    if type(item) is Asked:
        return 300 if item.transition is None else size_of(item.transition)
    bare = type(item) is Transition and item.result is None and item.error is None and item.flow_run is None and item.task_run is None
    if bare and item.cache is None:
        return 300
    try:
        return len(_encode(item))
    except (UnicodeEncodeError, TypeError, ValueError):
        return MAX_BYTES // 4  # what cannot be written as it is is dealt with when it is sent


class Spooled(msgspec.Struct, frozen=True):
    """One batch of reports, as it is sent, and as it lies in a spool. `id`: the store knows by it whether its log lines are here already."""

    transitions: list[Transition]
    logs: list[LogLine]
    artifacts: list[Artifact] = []
    id: str = ""


def batch_of(items: Sequence[Transition | LogLine | Artifact], id_: str = "") -> Spooled:
    """A batch of these, sorted by kind."""
    transitions = [item for item in items if type(item) is Transition]
    if len(transitions) == len(items):
        return Spooled(transitions, [], [], id_)
    return Spooled(
        transitions,
        [item for item in items if type(item) is LogLine],
        [item for item in items if type(item) is Artifact],
        id_,
    )


def send_batch(store: RunStore, batch: Spooled) -> list[Verdict]:
    """The batch to the store, with its id where that matters and the store knows it."""
    if batch.logs and batch.id and getattr(store, "knows_batches", False):
        return store.apply(batch.transitions, batch.logs, batch.artifacts, batch_id=batch.id)
    return store.apply(batch.transitions, batch.logs, batch.artifacts)
