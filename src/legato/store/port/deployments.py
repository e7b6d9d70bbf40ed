# mypy: disable-error-code="empty-body"
"""Flows, deployments and their schedules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from legato.core.records import Deployment, DeploymentSchedule, Due, Flow, FlowRun, SchedulePlan
from legato.store.port.kinds import Limit
from legato.store.verbs import verb


class DeploymentVerbs:
    """Flows, deployments, schedules."""

    @verb("GET", "flows")
    def list_flows(self) -> list[Flow]:
        """Flows that have run or are deployed."""

    @verb("PUT", "deployments/{name=deployment.id}", needs="developer", changes="deployment")
    def save_deployment(self, deployment: Deployment, *, now: datetime | None = None) -> Deployment:
        """Add, or replace the one of the same full name (its id is kept). What its schedules have planned and nobody has taken follows it;
        what was planned for later by changed or removed schedules is removed. `paused` None: as it was.
        """

    @verb("GET", "deployments/{name:name}")
    def get_deployment(self, name: str) -> Deployment:
        """By id or "flow/name"."""

    @verb("GET", "deployments")
    def list_deployments(self) -> list[Deployment]:
        """All deployments, by full name."""

    @verb("POST", "deployments/{name:name}/{paused:resume|pause}", changes="deployment")
    def set_deployment_paused(self, name: str, paused: bool, *, now: datetime | None = None) -> Deployment:
        """Stop or continue its schedules. Pausing removes its scheduled runs that have not been handed out."""

    @verb("DELETE", "deployments/{name:name}", needs="developer", changes="deployment")
    def delete_deployment(self, name: str, *, now: datetime | None = None) -> int:
        """Remove it and its schedules, and cancel its runs that wait. Returns how many runs were cancelled."""

    @verb("GET", "schedules")
    def list_schedules(self) -> list[DeploymentSchedule]:
        """Active schedules of deployments that are not paused."""

    @verb("GET", "schedules/due")
    def due_schedules(self, *, limit: Limit = 100, now: datetime | None = None) -> list[Due]:
        """Active schedules of deployments that are not paused, which a scheduler should look at by now."""

    @verb("POST", "schedules/plans", needs="worker")
    def plan_runs(self, plans: Sequence[SchedulePlan], *, now: datetime | None = None) -> list[int | None]:
        """Add the runs of several schedules, one a tick, and move their cursors. For each how many runs are new (a tick that has its run
        already is skipped); None for a schedule that has been edited or removed since it was read.
        """

    @verb("POST", "schedules/look", needs="worker")
    def look_at_all_schedules(self, *, now: datetime | None = None) -> None:
        """Have the scheduler look at every schedule again, from now: what it put off was put off by a clock that was set since."""

    @verb("POST", "schedules/{schedule_id=schedule.id}/runs", needs="worker")
    def schedule_runs(
        self, schedule: DeploymentSchedule, runs: Sequence[FlowRun], *, cursor_at: datetime, now: datetime | None = None
    ) -> int:
        """Add a schedule's runs, one a tick, and move its cursor. A tick that has its run already is skipped; returns how many are new.

        `Conflict` when the schedule has been edited or removed since it was read.
        """
