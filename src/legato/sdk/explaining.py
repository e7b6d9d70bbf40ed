"""`explain`: why a run is as it is, asked from Python. The sentences are `core.why`'s, the same as the command line's and the web UI's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from legato.core.errors import UsageError
from legato.core.explanation import Explanation
from legato.core.why import explain as explain_facts
from legato.store.evidence import facts_of_flow_run, facts_of_task_run, find_explained

if TYPE_CHECKING:
    from datetime import datetime

    from legato.store.port import Store


class HasRunId(Protocol):
    """A future, a state, or whatever else knows which run it is of."""

    @property
    def run_id(self) -> str: ...


def explain(run: str | HasRunId) -> Explanation:
    """Why a run waits, was cached, skipped, tried again, late, cancelled, …: sentences, and the numbers in them.

    `run`: a flow run's name or id, "RUN/TASK" or a task run's id; or a future or state. `print` it for people. In a flow, what this process
    has not told the store yet is told first. Raises `NotFound`, and `UsageError` when several runs have the name.
    """
    from legato.engine.shell import CURRENT  # noqa: PLC0415 start-up time: the engine is loaded when something is asked of it
    from legato.sdk.process import current_engine, current_store  # noqa: PLC0415 as above
    from legato.system import now  # noqa: PLC0415 as above

    wanted = run if isinstance(run, str) else getattr(run, "run_id", None)
    if not isinstance(wanted, str):
        raise UsageError(f"explain() was given {run!r}, which is no run", hint="give a run's name or id, 'RUN/TASK', or a future")
    here = CURRENT.get()
    (here.engine if here is not None else current_engine()).outbox.flush()
    return explain_in(current_store(), wanted, now())


def explain_in(store: Store, wanted: str, now: datetime) -> Explanation:
    """The same of a run in this store, at this time."""
    run, task = find_explained(store, wanted)
    facts = facts_of_flow_run(store, run, now) if task is None else facts_of_task_run(store, task, run, now)
    return explain_facts(facts)
