"""Runs made from a deployment, by a schedule or by hand; and what a run that nobody has taken yet follows its deployment in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from legato.core.clock import to_us
from legato.core.names import readable_name
from legato.core.records import Deployment, FlowRun
from legato.core.states import SCHEDULED, State


def run_of(
    deployment: Deployment,
    *,
    id: str,
    due_at: datetime,
    now: datetime,
    trigger: str,
    name: str = "",
    schedule_id: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    tags: tuple[str, ...] = (),
    parent_run_id: str | None = None,
) -> FlowRun:
    """A run that waits for `due_at`, with the deployment's parameters and tags and those given on top of them.

    Without a name it gets a readable one, the same for the same schedule and tick, or the same id.
    """
    return FlowRun(
        id=id,
        flow_name=deployment.flow_name,
        name=name or _generated_name(id, schedule_id, due_at),
        state=State(SCHEDULED, "Scheduled", now, trigger, due_at=due_at),
        created_at=now,
        expected_start_at=due_at,
        due_at=due_at,
        parameters={**deployment.parameters, **(parameters or {})},
        overrides=dict(parameters or {}),
        tags=tuple(dict.fromkeys((*deployment.tags, *tags))),
        deployment_id=deployment.id,
        deployment_name=deployment.full_name,
        schedule_id=schedule_id,
        trigger=trigger,
        parent_run_id=parent_run_id,
        flow_runner=str(deployment.flow_runner.get("type", "")),
        retries=deployment.retries,
        on_lost=deployment.on_lost,
    )


def as_the_deployment_is(run: FlowRun, deployment: Deployment, before: Deployment | None = None) -> FlowRun:
    """A run that waits to be taken for the first time, as it would be made from the deployment now. Its schedule's tags are the
    deployment's; one that somebody made by hand keeps its own on top: what it has beyond those of the deployment as it was `before`.
    """
    was = before.tags if before is not None else ()
    own = () if run.schedule_id is not None else tuple(tag for tag in run.tags if tag not in was)
    return msgspec.structs.replace(
        run,
        flow_name=deployment.flow_name,
        deployment_name=deployment.full_name,
        parameters={**deployment.parameters, **(run.overrides or {})},
        tags=tuple(dict.fromkeys((*deployment.tags, *own))),
        flow_runner=str(deployment.flow_runner.get("type", "")),
        retries=deployment.retries,
        on_lost=deployment.on_lost,
    )


def follows_its_deployment(run: FlowRun) -> bool:
    """Whether a run of a deployment is a promise to run it as it is when the run is taken: it waits to be taken for the first time."""
    return run.state.type is SCHEDULED and run.attempt == 0 and (run.schedule_id is not None or run.overrides is not None)


def has_generated_name(run: FlowRun) -> bool:
    """Whether a planned run is called what `run_of` calls one that was given no name."""
    return run.name == _generated_name(run.id, run.schedule_id, run.expected_start_at)


def _generated_name(id: str, schedule_id: str | None, due_at: datetime) -> str:
    import hashlib  # noqa: PLC0415 start-up time: whoever runs a flow plans nothing

    seed = f"{schedule_id}/{to_us(due_at)}" if schedule_id else id
    return readable_name(int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest()))
