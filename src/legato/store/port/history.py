# mypy: disable-error-code="empty-body"
"""What has happened: task runs, transitions, log lines; and what runs have made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from legato.core.records import Artifact, ArtifactFilter, ArtifactPage, Change, JournalEntry, LogLine, Variable
from legato.core.states import StateType
from legato.store.port.kinds import EVERY_ARTIFACT, Limit, Position, Version
from legato.store.verbs import verb


class HistoryVerbs:
    """Task runs, transitions, log lines."""

    @verb("POST", "task-runs/counts", needs="viewer", repeat=True, words={"flow_run_ids": "flow_runs"})
    def count_task_runs(self, flow_run_ids: Sequence[str]) -> dict[str, dict[StateType, int]]:
        """By flow run, how many task runs of each state type."""

    @verb("GET", "flow-runs/{run_id}/transitions")
    def list_transitions(self, run_id: str) -> list[JournalEntry]:
        """The journal of one flow or task run, in order."""

    @verb("GET", "events")
    def read_journal(self, after: Position = 0, *, limit: Limit = 1000) -> list[JournalEntry]:
        """Recorded transitions with a position above `after`, in commit order, with no gaps to come later."""

    @verb("GET", "changes")
    def read_changes(self, after: Position = 0, *, limit: Limit = 1000) -> list[Change]:
        """What was done to deployments, schedules, queues, variables, and wished of runs, with a position above `after`, in commit order."""

    @verb("GET", "events/position")
    def journal_position(self) -> int:
        """The position of the last recorded transition, 0 when there is none."""

    @verb("GET", "logs", words={"flow_run_id": "flow_run", "task_run_id": "task_run", "text": "q"})
    def read_logs(
        self,
        flow_run_id: str,
        *,
        task_run_id: str | None = None,
        min_level: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0,
        text: str = "",
        after: Position = 0,
        limit: Limit = 500,
    ) -> list[LogLine]:
        """Log lines with `n` above `after`, in order. `text` is a part of the message, upper and lower case alike."""

    @verb("POST", "logs/counts", needs="viewer", repeat=True, words={"flow_run_ids": "flow_runs"})
    def count_logs(self, flow_run_ids: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        """By flow run: all lines, warnings, errors."""


class MadeVerbs:
    """Artifacts and variables."""

    @verb("GET", "artifacts/{wanted}")
    def get_artifact(self, wanted: str, *, version: Version = 0) -> Artifact:
        """By id, or by key: the last version, or the one named."""

    @verb("GET", "artifacts", words={"oldest_first": "order=newest|oldest"})
    def list_artifacts(
        self,
        filter: ArtifactFilter = EVERY_ARTIFACT,
        *,
        cursor: str | None = None,
        limit: Limit = 100,
        oldest_first: bool = False,
        brief: bool = False,
    ) -> ArtifactPage:
        """Artifacts as they arrived, the last first. `brief`: those with much data come without it (their `data` is None)."""

    @verb("GET", "variables/{name}")
    def get_variable(self, name: str) -> Variable:
        """One variable."""

    @verb("PUT", "variables/{name=variable.name}", changes="variable")
    def set_variable(self, variable: Variable, *, overwrite: bool = True, now: datetime | None = None) -> Variable:
        """Add, or replace the one of that name; without `overwrite`, `Conflict` when there is one."""

    @verb("GET", "variables")
    def list_variables(self) -> list[Variable]:
        """All of them, by name."""

    @verb("DELETE", "variables/{name}", changes="variable", status=204)
    def delete_variable(self, name: str) -> None:
        """Remove a variable."""
