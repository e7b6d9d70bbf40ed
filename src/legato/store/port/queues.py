# mypy: disable-error-code="empty-body"
"""Work queues and agents, claims and leases."""

from __future__ import annotations

from datetime import datetime

from legato.core.records import Agent, Claim, ClaimRequest, FlowRun, LimitStatus, QueueStatus, TagLimit, WorkQueue
from legato.store.port.kinds import Lease, Limit, Wait
from legato.store.verbs import verb


class QueueVerbs:
    """Claims and leases, work queues, agents."""

    @verb("POST", "claims", needs="worker", own_route=True, words={"wait_s": "?wait"}, timeout_s=30.0)
    def claim_runs(self, request: ClaimRequest, *, wait_s: Wait = 0.0, now: datetime | None = None) -> list[Claim]:
        """Hand over due runs that the agent's queues match: highest queue priority first, then oldest due. Never more than a queue's limit.

        A store that can wait (`can_wait`) does so for up to `wait_s` seconds when nothing is due.
        """

    @verb("GET", "flow-runs/next-due")
    def next_due_at(self, *, now: datetime | None = None) -> datetime | None:
        """When the next scheduled run becomes due (past if one is waiting); None when nothing is scheduled."""

    @verb("GET", "flow-runs/expired")
    def expired_leases(self, *, limit: Limit = 100, now: datetime | None = None) -> list[FlowRun]:
        """Runs whose lease has run out, oldest first."""

    @verb("POST", "flow-runs/grace", needs="worker")
    def grant_grace(self, *, lease_s: Lease, now: datetime | None = None) -> int:
        """Let every lease run out `lease_s` from now: the clock that they were granted by was set. Returns how many."""

    @verb("GET", "flow-runs/held-here")
    def held_here(self, host: str, *, limit: Limit = 10_000) -> list[FlowRun]:
        """The outermost runs that processes of a host hold by themselves, no agent between."""

    @verb("POST", "flow-runs/{run_id}/lost", needs="worker")
    def report_lost(self, run_id: str, epoch: int, why: str, *, now: datetime | None = None) -> FlowRun:
        """Record that the holder with this token is gone: the run is CRASHED (with what ran under it), and scheduled again where its policy
        says so; a run that never started is handed out again, a little later each time, and has FAILED after three such losses. Slots are
        freed in the same transaction. Nothing happens if the holding is over.
        """

    @verb("PUT", "work-queues/{name=queue.id}", changes="queue")
    def save_queue(self, queue: WorkQueue) -> WorkQueue:
        """Add, or replace the one of the same id. `Conflict` when another has its name."""

    @verb("GET", "work-queues/{name}")
    def get_queue(self, name: str, *, now: datetime | None = None) -> QueueStatus:
        """By id or name."""

    @verb("GET", "work-queues")
    def list_queues(self, *, now: datetime | None = None) -> list[QueueStatus]:
        """All queues with their live numbers, in the order agents take from them."""

    @verb("DELETE", "work-queues/{name}", changes="queue", status=204)
    def delete_queue(self, name: str) -> None:
        """Remove a queue; runs that it would have taken wait for another."""

    @verb("GET", "work-queues/{name}/preview")
    def preview_queue(self, name: str, *, until: datetime | None = None, limit: Limit = 100) -> list[FlowRun]:
        """Scheduled runs due until then (None: now) that the queue matches, in the order they would be handed out."""

    @verb("PUT", "limits/{tag=limit.tag}", changes="limit")
    def save_limit(self, limit: TagLimit) -> TagLimit:
        """Let agents hold at most so many runs with a tag at once; runs that they hold already count."""

    @verb("GET", "limits")
    def list_limits(self) -> list[LimitStatus]:
        """The limits on tags and deployments, with how many places are taken."""

    @verb("DELETE", "limits/{tag}", changes="limit", status=204)
    def delete_limit(self, tag: str) -> None:
        """Lift the limit on a tag's runs."""

    @verb("PUT", "agents/{agent_id=agent.id}", needs="worker", changes="agent")
    def save_agent(self, agent: Agent, *, now: datetime | None = None) -> Agent:
        """Add or update; it was last seen now. An agent that says nothing for 60 s is not counted as live."""

    @verb("GET", "agents")
    def list_agents(self, *, now: datetime | None = None) -> list[Agent]:
        """Agents that have not ended and were seen within a day, latest first."""
