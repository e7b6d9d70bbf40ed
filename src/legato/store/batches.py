"""Batches of reports: what is sent at once, and what lies in a spool."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from legato.core.records import Artifact, LogLine, Transition, Verdict
from legato.store.port import RunStore


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
