"""Which flow run is meant: by its id, by its name, or by the beginning of an id. One rule for commands, pages and Python."""

from __future__ import annotations

from legato.core.errors import NotFound, UsageError
from legato.core.ids import is_id
from legato.core.records import FlowRun
from legato.store.port import Store

SHORTEST_PREFIX = 4
"""Characters of an id that may stand for it."""


def runs_meant(store: Store, text: str, *, limit: int = 10) -> list[FlowRun]:
    """The runs that may be meant, newest first: of a name, all that have it; else those whose id begins so.

    Raises `NotFound` for a whole id that is not here.
    """
    if is_id(text):
        return [store.get_flow_run(text)]
    found = store.find_flow_runs(text, limit=limit)
    named = [run for run in found if run.name == text]
    is_prefix = len(text) >= SHORTEST_PREFIX and set(text.lower()) <= set("0123456789abcdef-")
    return named or (found if is_prefix else [])


def find_flow_run(store: Store, text: str) -> FlowRun:
    """The one run that is meant. Raises `NotFound`, or `UsageError` when it could be any of several."""
    found = runs_meant(store, text)
    if not found:
        raise NotFound("flow run", text, hint="legato run ls lists the runs that are here")
    if len(found) > 1:
        shown = ", ".join(f"{run.id} ({run.flow_name}, {run.state.name})" for run in found[:5])
        raise UsageError(f"'{text}' could be any of these runs: {shown}", hint="give the id, or more of it")
    return found[0]
