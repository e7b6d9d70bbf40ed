"""For tests of flows: run them against a store of their own, at a time of your choosing.

with legato.testing.harness() as h:
main()
assert h.flow_runs()[0].state.name == "Completed"
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from legato import crashing
from legato import settings as settings_module
from legato.core.clock import ManualClock
from legato.core.records import Artifact, FlowRun, JournalEntry, LogLine, TaskRun
from legato.engine.process import Engine
from legato.sdk import process
from legato.storage.local import LocalStorage
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore

__all__ = ["Harness", "ManualClock", "crash_points", "harness"]


def crash_points() -> Mapping[str, str]:
    """The points at which a process can be made to die (LEGATO_CRASH_AT="task.after_code:2"), each with what is true there."""
    return crashing.POINTS


class Harness:
    """Flows called while it is open are recorded in `store`, and nowhere else."""

    def __init__(self, store: SqlStore, engine: Engine, home: Path) -> None:
        self.store = store
        self.engine = engine
        self.home = home

    def flow_runs(self) -> list[FlowRun]:
        """All flow runs, in the order they were begun."""
        self.engine.outbox.flush()
        return self.store.list_flow_runs(oldest_first=True, limit=1000).items

    def task_runs(self, flow_run: FlowRun | None = None) -> list[TaskRun]:
        """The task runs of a flow run (default: the first), in the order they were created."""
        run = flow_run or self.flow_runs()[0]
        self.engine.outbox.flush()
        return self.store.list_task_runs(run.id, limit=100_000).items

    def states(self, run: FlowRun | TaskRun) -> list[str]:
        """The names of the states a run went through."""
        self.engine.outbox.flush()
        return [entry.state.name for entry in self.journal(run)]

    def journal(self, run: FlowRun | TaskRun) -> list[JournalEntry]:
        """The transitions of a run."""
        self.engine.outbox.flush()
        return self.store.list_transitions(run.id)

    def logs(self, run: FlowRun | None = None) -> list[LogLine]:
        """The log lines of a flow run (default: the first)."""
        self.engine.outbox.flush()
        return self.store.read_logs((run or self.flow_runs()[0]).id)

    def artifacts(self) -> list[Artifact]:
        """All artifacts, in the order they arrived."""
        self.engine.outbox.flush()
        return self.store.list_artifacts(oldest_first=True, limit=1000).items


@contextlib.contextmanager
def harness(database_url: str | None = None) -> Iterator[Harness]:
    """A store of its own (a temporary SQLite file, or the one named) for the flows called inside the `with`."""
    with tempfile.TemporaryDirectory(prefix="legato-test-") as folder:
        home = Path(folder)
        chosen = settings_module.load({"LEGATO_HOME": folder, "LEGATO_LOG_LEVEL": "INFO"}, folder=home)
        store = open_sql_store(database_url or chosen.database_url)
        engine = Engine(store, LocalStorage(home / "storage"))
        process.use_engine(engine, chosen)
        try:
            yield Harness(store, engine, home)
        finally:
            process.use_engine(None)
            engine.close()
