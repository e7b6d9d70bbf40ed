# mypy: disable-error-code="empty-body"
"""Flow runs, and who holds them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from legato.core.records import FlowRun, FlowRunFilter, RunInput
from legato.core.states import StateType
from legato.store.port.kinds import EVERY_RUN, Lease, Limit
from legato.store.verbs import verb


class RunVerbs:
    """Flow runs."""

    @verb("POST", "flow-runs", status=201)
    def create_flow_run(self, run: FlowRun, *, now: datetime | None = None) -> FlowRun:
        """Add a run in a SCHEDULED state; the same id again returns the run that is there."""

    @verb("GET", "flow-runs/counts")
    def count_flow_runs(self, filter: FlowRunFilter = EVERY_RUN) -> dict[StateType, int]:
        """How many runs of each state type, each capped at COUNT_CAP + 1. Types with none are left out."""

    @verb("GET", "flow-runs/find")
    def find_flow_runs(self, text: str = "", *, limit: Limit = 10) -> list[FlowRun]:
        """Runs whose id begins with `text`, or whose name is `text`, newest first."""

    @verb("POST", "flow-runs/{run_id}/cancel", changes="run")
    def request_cancel(self, run_id: str, *, now: datetime | None = None) -> FlowRun:
        """Ask for the run to stop. One that nobody holds is CANCELLED at once; otherwise its holder is told at its next heartbeat."""

    @verb("POST", "flow-runs/{run_id}/pause", changes="run")
    def request_pause(self, run_id: str, *, now: datetime | None = None) -> FlowRun:
        """Ask a running run to pause before its next task. `Conflict` when it is not running."""

    @verb("POST", "flow-runs/{run_id}/schedule", changes="run")
    def schedule_again(self, run_id: str, *, why: str, now: datetime | None = None) -> FlowRun:
        """Have agents run it again, as a new attempt: a run that ended without success, or one that is suspended.

        `Conflict` for one that is completed, and while somebody holds it.
        """

    @verb("POST", "flow-runs/{run_id}/take", changes="run")
    def take_flow_run(self, run_id: str, *, host: str, pid: int, lease_s: Lease, why: str, now: datetime | None = None) -> FlowRun:
        """Hand an ended, suspended or waiting run to the calling process: PENDING, as a new attempt, leased for `lease_s` seconds.

        `Conflict` while somebody holds it.
        """

    @verb("POST", "flow-runs/{run_id}/inputs", changes="run")
    def answer_input(self, run_id: str, key: str, answer: Any, *, now: datetime | None = None) -> RunInput:
        """Answer what a run asked for. `NotFound` when it asked for no such thing, `Conflict` when it was answered already."""

    @verb("DELETE", "flow-runs/{run_id}", changes="run", status=204)
    def delete_flow_run(self, run_id: str, *, now: datetime | None = None) -> None:
        """Remove an ended run with its tasks, logs and transitions. `Conflict` while it has not ended."""
