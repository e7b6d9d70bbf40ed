"""Records and moves for the store's tests: short words for what a test is about, defaults for the rest."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from legato.core.records import (
    Claim,
    ClaimRequest,
    Deployment,
    DeploymentSchedule,
    FlowRun,
    QueueFilter,
    RunKind,
    TaskRun,
    Transition,
    Verdict,
    WorkQueue,
)
from legato.core.schedules import IntervalSchedule
from legato.core.states import NAMES, PENDING, RUNNING, SCHEDULED, State, StateType
from legato.store.port import RunStore, Store
from legato.system import new_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def state(type_: StateType, seconds: float = 0, *, name: str = "", message: str = "", due: float | None = None) -> State:
    return State(type_, name or NAMES[type_][0], at(seconds), message, at(due) if due is not None else None)


def scheduled(due: float = 0, **particulars: Any) -> FlowRun:
    """A run that waits for its time; give it a `deployment` to make it one that queues take."""
    deployment: Deployment | None = particulars.pop("deployment", None)
    if deployment is not None:
        runner = deployment.flow_runner.get("type", "")
        particulars = {"deployment_id": deployment.id, "deployment_name": deployment.full_name, "flow_runner": runner, **particulars}
    common = {
        "id": new_id(),
        "flow_name": "etl",
        "name": "amber-heron",
        "created_at": NOON,
        "expected_start_at": at(due),
        "due_at": at(due),
    }
    return FlowRun(state=state(SCHEDULED, due=due), **{**common, **particulars})


def begin(store: RunStore, seconds: float = 0, **particulars: Any) -> FlowRun:
    """A run that a process has just started by itself, as embedded runs are."""
    run = scheduled(**particulars)
    run = FlowRun(**{f: getattr(run, f) for f in run.__struct_fields__} | {"state": state(RUNNING, seconds), "attempt": 1, "due_at": None})
    apply(store, Transition(RunKind.FLOW, run.id, 1, run.state, 1, fence=1, flow_run=run), seconds)
    return store.get_flow_run(run.id)


def task_of(run: FlowRun, seconds: float = 0, type_: StateType = PENDING, **particulars: Any) -> Transition:
    """The first transition of a task run."""
    common = {"id": new_id(), "flow_run_id": run.id, "key": "jobs.train", "name": "train-0", "created_at": at(seconds)}
    task = TaskRun(state=state(type_, seconds), flow_attempt=run.attempt, **{**common, **particulars})
    return Transition(RunKind.TASK, task.id, 1, task.state, 1, fence=run.epoch, task_run=task)


def step(before: Transition, type_: StateType, seconds: float = 0, **particulars: Any) -> Transition:
    """The transition after this one, of the same run."""
    name = particulars.pop("name", "")
    common = {"attempt": before.attempt, "fence": before.fence}
    return Transition(before.kind, before.run_id, before.seq + 1, state(type_, seconds, name=name), **{**common, **particulars})


def move(run: FlowRun, type_: StateType, seconds: float = 0, **particulars: Any) -> Transition:
    """The next transition of a flow run, by whoever holds its present attempt."""
    words = {k: particulars.pop(k) for k in ("name", "message", "due") if k in particulars}
    common = {"attempt": run.attempt, "fence": run.epoch}
    return Transition(RunKind.FLOW, run.id, run.seq + 1, state(type_, seconds, **words), **{**common, **particulars})


def apply(store: RunStore, transition: Transition, seconds: float = 0) -> Verdict:
    return store.apply([transition], now=at(seconds))[0]


def add_deployment(store: Store, name: str = "prod", *, schedules: Sequence[DeploymentSchedule] = (), **particulars: Any) -> Deployment:
    common = {"id": new_id(), "flow_name": "etl", "name": name, "entrypoint": "flow.py:etl", "created_at": NOON, "updated_at": NOON}
    return store.save_deployment(Deployment(schedules=tuple(schedules), **{**common, **particulars}), now=NOON)


def every(seconds: float, **particulars: Any) -> DeploymentSchedule:
    schedule = IntervalSchedule(interval=timedelta(seconds=seconds), anchor_date=NOON)
    return DeploymentSchedule(**{"id": new_id(), "schedule": schedule, **particulars})


def add_queue(store: Store, name: str = "main", **particulars: Any) -> WorkQueue:
    filter_ = QueueFilter(**{k: particulars.pop(k) for k in ("tags", "deployments", "flow_runners") if k in particulars})
    return store.save_queue(WorkQueue(**{"id": new_id(), "name": name, "created_at": NOON, "filter": filter_, **particulars}))


def claim(store: Store, *queues: str, limit: int = 1, seconds: float = 0, lease_s: float = 30, agent: str = "agent-1", runners: Sequence[str] = ()) -> list[Claim]:  # fmt: skip
    request = ClaimRequest(agent_id=agent, queues=queues or ("main",), limit=limit, lease_s=lease_s, flow_runners=tuple(runners))
    return store.claim_runs(request, now=at(seconds))


def claimed(store: Store, seconds: float = 0, *, started: bool = True, **particulars: Any) -> FlowRun:
    """A run of a deployment that an agent holds, and has started unless told otherwise. Needs a queue 'main'."""
    if not store.list_queues(now=NOON):
        add_queue(store)
    deployments = store.list_deployments()
    deployment = deployments[0] if deployments else add_deployment(store)
    store.create_flow_run(scheduled(deployment=deployment, **particulars), now=NOON)
    run = claim(store, seconds=seconds)[0].flow_run
    if started:
        apply(store, move(run, RUNNING, seconds), seconds)
    return store.get_flow_run(run.id)
