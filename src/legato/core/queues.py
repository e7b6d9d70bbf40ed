"""Which runs a work queue takes. The same meaning as the stores' SQL; the store suite compares the two."""

from __future__ import annotations

from datetime import datetime, timedelta

from legato.core.records import Agent, FlowRun, LimitStatus, QueueFilter

LEASE_S = 30.0
"""How long a run lives without a sign of life. With the reaper's period this bounds how long a dead run looks alive (G8: 45 s)."""

AGENT_LIVE = timedelta(seconds=60)
"""An agent not heard of for this long is not counted as live. Agents say that they live every 10 s."""


def is_live(agent: Agent, now: datetime) -> bool:
    """Whether an agent has been heard of lately."""
    return now - agent.last_seen_at < AGENT_LIVE


LATE_AFTER = timedelta(seconds=15)
"""A due run that has waited longer than this is late."""


def matches(filter_: QueueFilter, run: FlowRun) -> bool:
    """Whether the queue takes this run: it came from a deployment, and fits every part of the filter that is given."""
    return (
        run.deployment_id is not None
        and set(filter_.tags) <= set(run.tags)
        and (not filter_.deployments or run.deployment_name in filter_.deployments)
        and (not filter_.flow_runners or run.flow_runner in filter_.flow_runners)
    )


def is_limited(run: FlowRun, limit: LimitStatus) -> bool:
    """Whether a limit on a tag, or on a deployment, is on this run."""
    return limit.tag in run.tags if limit.tag else limit.deployment_name == run.deployment_name


def in_words(filter_: QueueFilter) -> str:
    """The filter as a phrase for people: "runs tagged prod and ml, of deployment a/b"."""
    parts = []
    if filter_.tags:
        parts.append("tagged " + " and ".join(filter_.tags))
    if filter_.deployments:
        parts.append("of " + " or ".join(filter_.deployments))
    if filter_.flow_runners:
        parts.append("with flow runner " + " or ".join(filter_.flow_runners))
    return "runs " + ", ".join(parts) if parts else "every scheduled run"
