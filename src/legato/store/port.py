"""The store's port: everything Legato asks of the place where runs are kept, in domain verbs.

`SqlStore` (SQLite, PostgreSQL) and `RemoteStore` (a server over HTTP) implement it, and one conformance suite runs over all of them.
Every verb is synchronous, atomic, and safe to call from any thread. Verbs that depend on the time take `now`; None means the store's own
clock, which alone judges leases. Writes are idempotent where a client may have to send them again.

Errors: `NotFound`, `Conflict` (the thing changed or is in the way), `Unavailable` (try again), `UsageError` (the request makes no sense).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from legato.core.records import (
    Agent,
    Artifact,
    ArtifactFilter,
    ArtifactPage,
    Beat,
    BeatReply,
    Change,
    Claim,
    ClaimRequest,
    Deployment,
    DeploymentSchedule,
    Due,
    Flow,
    FlowRun,
    FlowRunFilter,
    FlowRunPage,
    JournalEntry,
    LogLine,
    QueueStatus,
    RunInput,
    SchedulePlan,
    TaskRun,
    TaskRunPage,
    Transition,
    Variable,
    Verdict,
    WorkQueue,
)
from legato.core.states import StateType

COUNT_CAP = 10_000
"""Counts stop here: COUNT_CAP + 1 means "more". Exact counts grow with the table (30-70 ms at a million rows)."""


class RunStore(Protocol):
    """What an engine needs: to report, to ask, and to say that it lives. Small enough to fake; the fake passes the same suite."""

    def apply(
        self,
        transitions: Sequence[Transition],
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
        ...

    def heartbeat(self, beats: Sequence[Beat], *, lease_s: float, now: datetime | None = None) -> list[BeatReply]:
        """Renew the leases of these runs for those who hold them. A reply that is `is_over` means: stop, the run is no longer yours."""
        ...

    def get_flow_run(self, run_id: str) -> FlowRun: ...

    def get_task_run(self, run_id: str) -> TaskRun: ...

    def list_task_runs(self, flow_run_id: str, *, cursor: str | None = None, limit: int = 1000) -> TaskRunPage:
        """Task runs of one flow run, of all its attempts, in the order they were begun."""
        ...

    def list_flow_runs(
        self, filter: FlowRunFilter = ..., *, cursor: str | None = None, limit: int = 100, oldest_first: bool = False
    ) -> FlowRunPage:
        """Runs by expected start, newest first."""
        ...

    def ask_input(self, wanted: RunInput) -> RunInput:
        """Record what a run asks a person for. Asked again under the same key, it answers with what is known by now."""
        ...

    def list_inputs(self, run_id: str) -> list[RunInput]:
        """What a run asked people for, in order, with the answers."""
        ...

    def close(self) -> None:
        """Let go of connections and files. Safe to call twice."""
        ...


class Store(RunStore, Protocol):
    """All verbs."""

    @property
    def address(self) -> str:
        """What tells this store from others."""
        ...

    can_wait: bool
    """Whether `claim_runs` takes `wait_s`, and waits at the server until work is due."""

    # flow runs
    def create_flow_run(self, run: FlowRun, *, now: datetime | None = None) -> FlowRun:
        """Add a run in a SCHEDULED state; the same id again returns the run that is there."""
        ...

    def count_flow_runs(self, filter: FlowRunFilter = ...) -> dict[StateType, int]:
        """How many runs of each state type, each capped at COUNT_CAP + 1. Types with none are left out."""
        ...

    def find_flow_runs(self, text: str, *, limit: int = 10) -> list[FlowRun]:
        """Runs whose id begins with `text`, or whose name is `text`, newest first."""
        ...

    def request_cancel(self, run_id: str, *, now: datetime | None = None) -> FlowRun:
        """Ask for the run to stop. One that nobody holds is CANCELLED at once; otherwise its holder is told at its next heartbeat."""
        ...

    def request_pause(self, run_id: str, *, now: datetime | None = None) -> FlowRun:
        """Ask a running run to pause before its next task. `Conflict` when it is not running."""
        ...

    def schedule_again(self, run_id: str, *, why: str, now: datetime | None = None) -> FlowRun:
        """Have agents run it again, as a new attempt: a run that ended without success, or one that is suspended.

        `Conflict` for one that is completed, and while somebody holds it.
        """
        ...

    def take_flow_run(self, run_id: str, *, host: str, pid: int, lease_s: float, why: str, now: datetime | None = None) -> FlowRun:
        """Hand an ended, suspended or waiting run to the calling process: PENDING, as a new attempt, leased for `lease_s` seconds.

        `Conflict` while somebody holds it.
        """
        ...

    def answer_input(self, run_id: str, key: str, answer: object, *, now: datetime | None = None) -> RunInput:
        """Answer what a run asked for. `NotFound` when it asked for no such thing, `Conflict` when it was answered already."""
        ...

    def delete_flow_run(self, run_id: str, *, now: datetime | None = None) -> None:
        """Remove an ended run with its tasks, logs and transitions. `Conflict` while it has not ended."""
        ...

    # task runs, history, logs
    def count_task_runs(self, flow_run_ids: Sequence[str]) -> dict[str, dict[StateType, int]]:
        """By flow run, how many task runs of each state type."""
        ...

    def list_transitions(self, run_id: str) -> list[JournalEntry]:
        """The journal of one flow or task run, in order."""
        ...

    def read_journal(self, after: int, *, limit: int = 1000) -> list[JournalEntry]:
        """Recorded transitions with a position above `after`, in commit order, with no gaps to come later."""
        ...

    def read_changes(self, after: int, *, limit: int = 1000) -> list[Change]:
        """What was done to deployments, schedules, queues, variables, and wished of runs, with a position above `after`, in commit order."""
        ...

    def journal_position(self) -> int:
        """The position of the last recorded transition, 0 when there is none."""
        ...

    def read_logs(
        self,
        flow_run_id: str,
        *,
        task_run_id: str | None = None,
        min_level: int = 0,
        text: str = "",
        after: int = 0,
        limit: int = 500,
    ) -> list[LogLine]:
        """Log lines with `n` above `after`, in order. `text` is a part of the message, upper and lower case alike."""
        ...

    def count_logs(self, flow_run_ids: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        """By flow run: all lines, warnings, errors."""
        ...

    # artifacts, variables
    def get_artifact(self, wanted: str, *, version: int = 0) -> Artifact:
        """By id, or by key: the last version, or the one named."""
        ...

    def list_artifacts(
        self,
        filter: ArtifactFilter = ...,
        *,
        cursor: str | None = None,
        limit: int = 100,
        oldest_first: bool = False,
        brief: bool = False,
    ) -> ArtifactPage:
        """Artifacts as they arrived, the last first. `brief`: those with much data come without it (their `data` is None)."""
        ...

    def get_variable(self, name: str) -> Variable: ...

    def set_variable(self, variable: Variable, *, overwrite: bool = True, now: datetime | None = None) -> Variable:
        """Add, or replace the one of that name; without `overwrite`, `Conflict` when there is one."""
        ...

    def list_variables(self) -> list[Variable]:
        """All of them, by name."""
        ...

    def delete_variable(self, name: str) -> None: ...

    # claims and leases
    def claim_runs(self, request: ClaimRequest, *, wait_s: float = 0.0, now: datetime | None = None) -> list[Claim]:
        """Hand over due runs that the agent's queues match: highest queue priority first, then oldest due. Never more than a queue's limit.

        A store that can wait (`can_wait`) does so for up to `wait_s` seconds when nothing is due.
        """
        ...

    def next_due_at(self, *, now: datetime | None = None) -> datetime | None:
        """When the next scheduled run becomes due (past if one is waiting); None when nothing is scheduled."""
        ...

    def expired_leases(self, *, limit: int = 100, now: datetime | None = None) -> list[FlowRun]:
        """Runs whose lease has run out, oldest first."""
        ...

    def grant_grace(self, *, lease_s: float, now: datetime | None = None) -> int:
        """Let every lease run out `lease_s` from now: the clock that they were granted by was set. Returns how many."""
        ...

    def held_here(self, host: str, *, limit: int = 10_000) -> list[FlowRun]:
        """The outermost runs that processes of a host hold by themselves, no agent between."""
        ...

    def report_lost(self, run_id: str, epoch: int, why: str, *, now: datetime | None = None) -> FlowRun:
        """Record that the holder with this token is gone: the run is CRASHED (with what ran under it), and scheduled again where its policy
        says so; a run that never started is handed out again, a little later each time, and has FAILED after three such losses. Slots are
        freed in the same transaction. Nothing happens if the holding is over.
        """
        ...

    # flows, deployments, schedules
    def list_flows(self) -> list[Flow]: ...

    def save_deployment(self, deployment: Deployment, *, now: datetime | None = None) -> Deployment:
        """Add, or replace the one of the same full name (its id is kept). What its schedules have planned and nobody has taken follows it;
        what was planned for later by changed or removed schedules is removed. `paused` None: as it was.
        """
        ...

    def get_deployment(self, name: str) -> Deployment:
        """By id or "flow/name"."""
        ...

    def list_deployments(self) -> list[Deployment]: ...

    def set_deployment_paused(self, name: str, paused: bool, *, now: datetime | None = None) -> Deployment:
        """Stop or continue its schedules. Pausing removes its scheduled runs that have not been handed out."""
        ...

    def delete_deployment(self, name: str, *, now: datetime | None = None) -> int:
        """Remove it and its schedules, and cancel its runs that wait. Returns how many runs were cancelled."""
        ...

    def list_schedules(self) -> list[DeploymentSchedule]:
        """Active schedules of deployments that are not paused."""
        ...

    def due_schedules(self, *, limit: int = 100, now: datetime | None = None) -> list[Due]:
        """Active schedules of deployments that are not paused, which a scheduler should look at by now."""
        ...

    def plan_runs(self, plans: Sequence[SchedulePlan], *, now: datetime | None = None) -> list[int | None]:
        """Add the runs of several schedules, one a tick, and move their cursors. For each how many runs are new (a tick that has its run
        already is skipped); None for a schedule that has been edited or removed since it was read.
        """
        ...

    def look_at_all_schedules(self, *, now: datetime | None = None) -> None:
        """Have the scheduler look at every schedule again, from now: what it put off was put off by a clock that was set since."""
        ...

    def schedule_runs(
        self, schedule: DeploymentSchedule, runs: Sequence[FlowRun], *, cursor_at: datetime, now: datetime | None = None
    ) -> int:
        """Add a schedule's runs, one a tick, and move its cursor. A tick that has its run already is skipped; returns how many are new.

        `Conflict` when the schedule has been edited or removed since it was read.
        """
        ...

    # work queues, agents
    def save_queue(self, queue: WorkQueue) -> WorkQueue:
        """Add, or replace the one of the same id. `Conflict` when another has its name."""
        ...

    def get_queue(self, name: str, *, now: datetime | None = None) -> QueueStatus:
        """By id or name."""
        ...

    def list_queues(self, *, now: datetime | None = None) -> list[QueueStatus]: ...

    def delete_queue(self, name: str) -> None: ...

    def preview_queue(self, name: str, *, until: datetime, limit: int = 100) -> list[FlowRun]:
        """Scheduled runs due until then that the queue matches, in the order they would be handed out."""
        ...

    def save_agent(self, agent: Agent, *, now: datetime | None = None) -> Agent:
        """Add or update; it was last seen now. An agent that says nothing for 60 s is not counted as live."""
        ...

    def list_agents(self, *, now: datetime | None = None) -> list[Agent]:
        """Agents that have not ended and were seen within a day, latest first."""
        ...

    # the store itself
    def info(self) -> Mapping[str, str]:
        """What this store is: "kind", "location" (without passwords), "schema_version"."""
        ...


# ---------------------------------------------------------------------- batches of reports


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
