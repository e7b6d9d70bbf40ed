# mypy: disable-error-code="empty-body"
"""What an engine needs of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from legato.core.records import (
    Artifact,
    Beat,
    BeatReply,
    FlowRun,
    FlowRunFilter,
    FlowRunPage,
    LogLine,
    RunInput,
    TaskRun,
    TaskRunPage,
    Transition,
    Verdict,
)
from legato.store.port.kinds import EVERY_RUN, Lease, Limit
from legato.store.verbs import Verb, verb


class RunStore:
    """What an engine needs: to report, to ask, and to say that it lives. Small enough to fake; the fake passes the same suite."""

    def call(self, verb: Verb, arguments: Mapping[str, Any]) -> Any:
        """What is asked by a verb that this class has not overridden."""
        raise NotImplementedError(f"{type(self).__name__} has no {verb.name}")

    @verb("POST", "transitions", needs="worker", repeat=True, own_route=True, words={"batch_id": "id"}, timeout_s=30.0)
    def apply(
        self,
        transitions: Sequence[Transition] = (),
        logs: Sequence[LogLine] = (),
        artifacts: Sequence[Artifact] = (),
        *,
        batch_id: str = "",
        now: datetime | None = None,
    ) -> list[Verdict]:
        """Decide and record transitions in order, and log lines and artifacts with them, in one transaction. One verdict for each transition.

        Log lines of a batch whose `batch_id` was here before are here already. Lines of a run that is not here are refused (`NotFound`).

        An artifact whose id is here already gets the content of the later `updated_at`.
        """

    @verb("POST", "heartbeats", needs="worker", repeat=True, own_route=True, timeout_s=10.0)
    def heartbeat(self, beats: Sequence[Beat], *, lease_s: Lease, now: datetime | None = None) -> list[BeatReply]:
        """Renew the leases of these runs for those who hold them. A reply that is `is_over` means: stop, the run is no longer yours."""

    @verb("GET", "flow-runs/{run_id}")
    def get_flow_run(self, run_id: str) -> FlowRun:
        """One run."""

    @verb("GET", "task-runs/{run_id}")
    def get_task_run(self, run_id: str) -> TaskRun:
        """One run."""

    @verb("GET", "task-runs", words={"flow_run_id": "flow_run"})
    def list_task_runs(self, flow_run_id: str, *, cursor: str | None = None, limit: Limit = 1000) -> TaskRunPage:
        """Task runs of one flow run, of all its attempts, in the order they were begun."""

    @verb("GET", "flow-runs", words={"oldest_first": "order=newest|oldest"})
    def list_flow_runs(
        self, filter: FlowRunFilter = EVERY_RUN, *, cursor: str | None = None, limit: Limit = 100, oldest_first: bool = False
    ) -> FlowRunPage:
        """Runs by expected start, newest first."""

    @verb("PUT", "flow-runs/{run_id=wanted.flow_run_id}/inputs", needs="worker", changes="run")
    def ask_input(self, wanted: RunInput) -> RunInput:
        """Record what a run asks a person for. Asked again under the same key, it answers with what is known by now."""

    @verb("GET", "flow-runs/{run_id}/inputs")
    def list_inputs(self, run_id: str) -> list[RunInput]:
        """What a run asked people for, in order, with the answers."""

    def close(self) -> None:
        """Let go of connections and files. Safe to call twice."""
