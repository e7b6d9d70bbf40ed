"""The verbs of the store as HTTP routes. Each is one call of the store: what is decided, is decided there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import Response, Router, delete, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from legato.core.errors import UsageError
from legato.core.explanation import Explanation
from legato.core.fitting import check_parameters
from legato.core.ids import is_id
from legato.core.planning import run_of
from legato.core.records import (
    Agent,
    Artifact,
    ArtifactFilter,
    ArtifactKind,
    ArtifactPage,
    Change,
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
    Variable,
    WorkQueue,
)
from legato.core.states import StateType
from legato.engine.images import image_bytes, image_type
from legato.sdk.explaining import explain_in
from legato.server.desk import Desk
from legato.server.problems import BadRequest
from legato.store.wire import Answered, Grace, Ids, Instant, LossReport, NewVariable, Number, PlannedRuns, Reason, Taking
from legato.system import new_id

AtDesk: TypeAlias = NamedDependency[Desk]
Wanted: TypeAlias = NamedDependency[str]
"""A deployment's id or full name, from the path."""
Filtered: TypeAlias = NamedDependency[FlowRunFilter]
Name: TypeAlias = FromPath[str]
Text: TypeAlias = FromQuery[str]
MaybeText: TypeAlias = FromQuery[str | None]
Limit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=10_000, description="At most so many.")]
Position: TypeAlias = Annotated[int, QueryParameter(ge=0, le=2**53, description="Only what comes after this number.")]

OK = 200


class NewRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run of a deployment is to be: on top of the deployment's own parameters and tags, at a time (now), under a name (a new one).

    `id` may be chosen by the caller, so that asking again after a lost answer makes no second run.
    """

    parameters: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    name: str = ""
    at: datetime | None = None
    id: str = ""


def flow_run_filter(
    states: Annotated[str, QueryParameter(name="state", description="State types, separated by commas.")] = "",
    state_name: Text = "",
    flow: MaybeText = None,
    deployment: MaybeText = None,
    queue: MaybeText = None,
    agent: MaybeText = None,
    parent: MaybeText = None,
    schedule: MaybeText = None,
    tag: FromQuery[list[str] | None] = None,
    q: Text = "",
    start_after: Annotated[datetime | None, QueryParameter(name="from")] = None,
    start_before: Annotated[datetime | None, QueryParameter(name="to")] = None,
    top_level: FromQuery[int] = 0,
) -> FlowRunFilter:
    """The filter that a list's query parameters speak of."""
    try:
        types = tuple(StateType(word) for word in states.split(",") if word)
    except ValueError:
        raise BadRequest(f"'{states}' is no list of states", hint="states are: " + ", ".join(StateType)) from None
    return FlowRunFilter(
        states=types,
        state_names=tuple(word for word in state_name.split(",") if word),
        flow_name=flow,
        deployment_id=deployment,
        work_queue=queue,
        agent_id=agent,
        parent_run_id=parent,
        schedule_id=schedule,
        tags=tuple(tag or ()),
        text=q,
        start_after=_aware(start_after),
        start_before=_aware(start_before),
        top_level=bool(top_level),
    )


def _aware(at: datetime | None) -> datetime | None:
    """An instant without a zone means UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


# ---------------------------------------------------------------------- flow runs


@post("/api/flow-runs")
async def create_flow_run(desk: AtDesk, data: JSONBody[FlowRun]) -> FlowRun:
    """Add a run that waits for its time; the same id again gives the run that is there."""
    if not is_id(data.id):
        raise UsageError(f"'{data.id[:80]}' is no id", hint="give a UUID in its canonical form")
    return await desk.write(lambda: desk.store.create_flow_run(data, now=desk.now()))


@get("/api/flow-runs")
async def list_flow_runs(
    desk: AtDesk, filtered: Filtered, cursor: MaybeText = None, limit: Limit = 100, order: Text = "newest"
) -> FlowRunPage:
    """Runs by expected start, newest first (`order=oldest`: oldest first)."""
    oldest = order == "oldest"
    return await desk.read(lambda: desk.store.list_flow_runs(filtered, cursor=cursor, limit=limit, oldest_first=oldest))


@get("/api/flow-runs/counts")
async def count_flow_runs(desk: AtDesk, filtered: Filtered) -> dict[StateType, int]:
    """How many runs of each state, each count capped: 10001 means more."""
    return await desk.read(lambda: desk.store.count_flow_runs(filtered))


@get("/api/flow-runs/find")
async def find_flow_runs(desk: AtDesk, text: Text = "", limit: Limit = 10) -> list[FlowRun]:
    """Runs of that name, or whose id begins so."""
    return await desk.read(lambda: desk.store.find_flow_runs(text, limit=limit))


@get("/api/flow-runs/next-due")
async def next_due(desk: AtDesk) -> Instant:
    """When the next run becomes due."""
    return Instant(await desk.read(desk.store.next_due_at))


@get("/api/flow-runs/expired")
async def expired_leases(desk: AtDesk, limit: Limit = 100) -> list[FlowRun]:
    """Runs whose lease has run out."""
    return await desk.read(lambda: desk.store.expired_leases(limit=limit, now=desk.now()))


@post("/api/flow-runs/grace", status_code=OK)
async def grant_grace(desk: AtDesk, data: JSONBody[Grace]) -> Number:
    """Let every lease run out so many seconds from now; the answer is how many there are."""
    if not 0 < data.lease_s <= 86_400:
        raise BadRequest("lease_s must be above 0 and at most 86400")
    return Number(await desk.write(lambda: desk.store.grant_grace(lease_s=data.lease_s, now=desk.now())))


@get("/api/flow-runs/held-here")
async def held_here(desk: AtDesk, host: FromQuery[str], limit: Limit = 10_000) -> list[FlowRun]:
    """The outermost runs that processes of a host hold by themselves."""
    return await desk.read(lambda: desk.store.held_here(host, limit=limit))


@get("/api/flow-runs/{run_id:str}")
async def get_flow_run(desk: AtDesk, run_id: Name) -> FlowRun:
    """One run."""
    return await desk.read(lambda: desk.store.get_flow_run(run_id))


@delete("/api/flow-runs/{run_id:str}")
async def delete_flow_run(desk: AtDesk, run_id: Name) -> None:
    """Remove an ended run with its tasks and logs."""
    await desk.write(lambda: desk.store.delete_flow_run(run_id), changed="run")


@post("/api/flow-runs/{run_id:str}/cancel", status_code=OK)
async def cancel_flow_run(desk: AtDesk, run_id: Name) -> FlowRun:
    """Ask for a run to stop."""
    return await desk.write(lambda: desk.store.request_cancel(run_id, now=desk.now()), changed="run")


@post("/api/flow-runs/{run_id:str}/pause", status_code=OK)
async def pause_flow_run(desk: AtDesk, run_id: Name) -> FlowRun:
    """Ask a running run to pause before its next task."""
    return await desk.write(lambda: desk.store.request_pause(run_id, now=desk.now()), changed="run")


@post("/api/flow-runs/{run_id:str}/schedule", status_code=OK)
async def schedule_again(desk: AtDesk, run_id: Name, data: JSONBody[Reason]) -> FlowRun:
    """Have agents run an ended or suspended run again."""
    return await desk.write(lambda: desk.store.schedule_again(run_id, why=data.why, now=desk.now()), changed="run")


@post("/api/flow-runs/{run_id:str}/take", status_code=OK)
async def take_flow_run(desk: AtDesk, run_id: Name, data: JSONBody[Taking]) -> FlowRun:
    """Hand an ended, suspended or waiting run to the calling process."""
    return await desk.write(
        lambda: desk.store.take_flow_run(run_id, host=data.host, pid=data.pid, lease_s=data.lease_s, why=data.why, now=desk.now()),
        changed="run",
    )


@get("/api/flow-runs/{run_id:str}/inputs")
async def list_inputs(desk: AtDesk, run_id: Name) -> list[RunInput]:
    """What a run asked people for, with the answers."""
    return await desk.read(lambda: desk.store.list_inputs(run_id))


@put("/api/flow-runs/{run_id:str}/inputs")
async def ask_input(desk: AtDesk, run_id: Name, data: JSONBody[RunInput]) -> RunInput:
    """Record what a run asks a person for."""
    return await desk.write(lambda: desk.store.ask_input(msgspec.structs.replace(data, flow_run_id=run_id)), changed="run")


@post("/api/flow-runs/{run_id:str}/inputs", status_code=OK)
async def answer_input(desk: AtDesk, run_id: Name, data: JSONBody[Answered]) -> RunInput:
    """Answer what a run asked for."""
    return await desk.write(lambda: desk.store.answer_input(run_id, data.key, data.answer, now=desk.now()), changed="run")


@post("/api/flow-runs/{run_id:str}/lost", status_code=OK)
async def report_lost(desk: AtDesk, run_id: Name, data: JSONBody[LossReport]) -> FlowRun:
    """Say that an attempt's holder is gone."""
    return await desk.write(lambda: desk.store.report_lost(run_id, data.epoch, data.why, now=desk.now()))


@get("/api/flow-runs/{run_id:str}/transitions")
async def list_transitions(desk: AtDesk, run_id: Name) -> list[JournalEntry]:
    """The journal of one flow or task run."""
    return await desk.read(lambda: desk.store.list_transitions(run_id))


@get("/api/flow-runs/{run_id:str}/why")
async def why_flow_run(desk: AtDesk, run_id: Name) -> Explanation:
    """Why a run waits, failed, was cancelled, …: by id, the beginning of an id, or name."""
    return await desk.read(lambda: explain_in(desk.store, run_id, desk.now()))


# ---------------------------------------------------------------------- task runs, journal, logs


@get("/api/task-runs/{run_id:str}/why")
async def why_task_run(desk: AtDesk, run_id: Name) -> Explanation:
    """Why a task run waits, was skipped, was cached, …"""
    return await desk.read(lambda: explain_in(desk.store, run_id, desk.now()))


@get("/api/task-runs")
async def list_task_runs(desk: AtDesk, flow_run: Text, cursor: MaybeText = None, limit: Limit = 1000) -> TaskRunPage:
    """Task runs of one flow run in order of creation."""
    return await desk.read(lambda: desk.store.list_task_runs(flow_run, cursor=cursor, limit=limit))


@post("/api/task-runs/counts", status_code=OK)
async def count_task_runs(desk: AtDesk, data: JSONBody[Ids]) -> dict[str, dict[StateType, int]]:
    """By flow run, how many task runs of each state."""
    return await desk.read(lambda: desk.store.count_task_runs(data.flow_runs))


@get("/api/task-runs/{run_id:str}")
async def get_task_run(desk: AtDesk, run_id: Name) -> TaskRun:
    """One task run."""
    return await desk.read(lambda: desk.store.get_task_run(run_id))


@get("/api/changes")
async def read_changes(desk: AtDesk, after: Position = 0, limit: Limit = 1000) -> list[Change]:
    """What was done, after a position, to deployments, schedules, queues and variables, and wished of runs."""
    return await desk.read(lambda: desk.store.read_changes(after, limit=limit))


@get("/api/events")
async def read_journal(desk: AtDesk, after: Position = 0, limit: Limit = 1000) -> list[JournalEntry]:
    """Recorded transitions in commit order."""
    return await desk.read(lambda: desk.store.read_journal(after, limit=limit))


@get("/api/events/position")
async def journal_position(desk: AtDesk) -> Number:
    """The journal's last position."""
    return Number(await desk.read(desk.store.journal_position))


@get("/api/logs")
async def read_logs(
    desk: AtDesk,
    flow_run: Text,
    task_run: MaybeText = None,
    min_level: Annotated[int, QueryParameter(ge=0, le=1000)] = 0,
    q: Text = "",
    after: Position = 0,
    limit: Limit = 500,
) -> list[LogLine]:
    """Log lines of one flow run in the order they were written."""
    return await desk.read(
        lambda: desk.store.read_logs(flow_run, task_run_id=task_run, min_level=min_level, text=q, after=after, limit=limit)
    )


@post("/api/logs/counts", status_code=OK)
async def count_logs(desk: AtDesk, data: JSONBody[Ids]) -> dict[str, tuple[int, int, int]]:
    """By flow run: all lines, warnings, errors."""
    return await desk.read(lambda: desk.store.count_logs(data.flow_runs))


# ---------------------------------------------------------------------- artifacts, variables


@get("/api/artifacts")
async def list_artifacts(
    desk: AtDesk,
    flow_run: MaybeText = None,
    task_run: MaybeText = None,
    key: MaybeText = None,
    kind: FromQuery[ArtifactKind | None] = None,
    latest: FromQuery[int] = 0,
    brief: FromQuery[int] = 0,
    cursor: MaybeText = None,
    limit: Limit = 100,
    order: Text = "newest",
) -> ArtifactPage:
    """Artifacts as they arrived, the last first (`order=oldest`: the first). `latest`: of each key the last version. `brief`: without much data."""
    wanted = ArtifactFilter(flow_run_id=flow_run, task_run_id=task_run, key=key, kind=kind, latest=bool(latest))
    oldest = order == "oldest"
    return await desk.read(lambda: desk.store.list_artifacts(wanted, cursor=cursor, limit=limit, oldest_first=oldest, brief=bool(brief)))


@get("/api/artifacts/{wanted:str}")
async def get_artifact(desk: AtDesk, wanted: Name, version: Position = 0) -> Artifact:
    """One artifact, by id or key: the last version, or the one named."""
    return await desk.read(lambda: desk.store.get_artifact(wanted, version=version))


@get("/api/artifacts/{artifact_id:str}/image")
async def artifact_image(desk: AtDesk, artifact_id: Name) -> Response[bytes]:
    """The image of an artifact whose bytes this server can reach."""
    artifact = await desk.read(lambda: desk.store.get_artifact(artifact_id))
    data = await desk.read(lambda: image_bytes(artifact, desk.blobs))
    headers = {"content-security-policy": "sandbox; default-src 'none'", "content-disposition": "attachment"}
    return Response(data, media_type=image_type(data), headers=headers)


@get("/api/variables")
async def list_variables(desk: AtDesk) -> list[Variable]:
    """All variables, by name."""
    return await desk.read(desk.store.list_variables)


@get("/api/variables/{name:str}")
async def get_variable(desk: AtDesk, name: Name) -> Variable:
    """One variable."""
    return await desk.read(lambda: desk.store.get_variable(name))


@put("/api/variables/{name:str}")
async def set_variable(desk: AtDesk, name: Name, data: JSONBody[NewVariable]) -> Variable:
    """Add a variable, or replace its value."""
    _same_id(name, data.variable.name)
    return await desk.write(lambda: desk.store.set_variable(data.variable, overwrite=data.overwrite, now=desk.now()), changed="variable")


@delete("/api/variables/{name:str}")
async def delete_variable(desk: AtDesk, name: Name) -> None:
    """Remove a variable."""
    await desk.write(lambda: desk.store.delete_variable(name), changed="variable")


# ---------------------------------------------------------------------- flows, deployments, schedules


@get("/api/flows")
async def list_flows(desk: AtDesk) -> list[Flow]:
    """Flows that have run or are deployed."""
    return await desk.read(desk.store.list_flows)


@get("/api/deployments")
async def list_deployments(desk: AtDesk) -> list[Deployment]:
    """All deployments."""
    return await desk.read(desk.store.list_deployments)


@put("/api/deployments/{name:str}")
async def save_deployment(desk: AtDesk, name: Name, data: JSONBody[Deployment]) -> Deployment:
    """Add a deployment, or replace the one of the same flow and name."""
    _same_id(name, data.id)
    return await desk.write(lambda: desk.store.save_deployment(data, now=desk.now()), changed="deployment")


@get("/")
async def get_deployment(desk: AtDesk, wanted: Wanted) -> Deployment:
    """One deployment, by id or flow/name."""
    return await desk.read(lambda: desk.store.get_deployment(wanted))


@delete("/", status_code=OK)
async def delete_deployment(desk: AtDesk, wanted: Wanted) -> Number:
    """Remove a deployment; the answer is how many waiting runs were cancelled."""
    return Number(await desk.write(lambda: desk.store.delete_deployment(wanted, now=desk.now()), changed="deployment"))


@post("/pause", status_code=OK)
async def pause_deployment(desk: AtDesk, wanted: Wanted) -> Deployment:
    """Stop its schedules and remove what they had planned."""
    return await desk.write(lambda: desk.store.set_deployment_paused(wanted, paused=True, now=desk.now()), changed="deployment")


@post("/resume", status_code=OK)
async def resume_deployment(desk: AtDesk, wanted: Wanted) -> Deployment:
    """Let its schedules go on, from now."""
    return await desk.write(lambda: desk.store.set_deployment_paused(wanted, paused=False, now=desk.now()), changed="deployment")


@post("/runs")
async def run_deployment(desk: AtDesk, data: JSONBody[NewRun], wanted: Wanted) -> FlowRun:
    """Have the deployment run, now or at a time."""
    if data.id and not is_id(data.id):
        raise UsageError(f"'{data.id}' is no id", hint="leave it out, or give a UUID in its canonical form")

    def create() -> FlowRun:
        now = desk.now()
        deployment = desk.store.get_deployment(wanted)
        owner = f"flow '{deployment.flow_name}'"
        check_parameters(data.parameters, deployment.parameter_schema, owner, preset=deployment.parameters.keys())
        run = run_of(
            deployment,
            id=data.id or new_id(),
            due_at=_aware(data.at) or now,
            now=now,
            trigger="by hand",
            name=data.name,
            parameters=data.parameters,
            tags=data.tags,
        )
        return desk.store.create_flow_run(run, now=now)

    return await desk.write(create)


def by_id(name: Name) -> str:
    """A deployment named by its id."""
    return name


def by_full_name(flow: Name, name: Name) -> str:
    """A deployment named by its flow's name and its own."""
    return f"{flow}/{name}"


def _one_deployment(path: str, wanted: Callable[..., str]) -> Router:
    handlers = [get_deployment, delete_deployment, pause_deployment, resume_deployment, run_deployment]
    return Router(path, route_handlers=handlers, dependencies={"wanted": Provide(wanted, sync_to_thread=False)})


@get("/api/schedules")
async def list_schedules(desk: AtDesk) -> list[DeploymentSchedule]:
    """Schedules that are in force."""
    return await desk.read(desk.store.list_schedules)


@get("/api/schedules/due")
async def due_schedules(desk: AtDesk, limit: Limit = 100) -> list[Due]:
    """Schedules that a scheduler should look at by now, with their deployments."""
    return await desk.read(lambda: desk.store.due_schedules(limit=limit, now=desk.now()))


@post("/api/schedules/plans", status_code=OK)
async def plan_runs(desk: AtDesk, data: JSONBody[list[SchedulePlan]]) -> list[int | None]:
    """Add the runs of several schedules and move their cursors; how many are new of each, null where the schedule was edited meanwhile."""
    return await desk.write(lambda: desk.store.plan_runs(data, now=desk.now()))


@post("/api/schedules/look", status_code=OK)
async def look_at_all_schedules(desk: AtDesk) -> None:
    """Have the scheduler look at every schedule again."""
    await desk.write(lambda: desk.store.look_at_all_schedules(now=desk.now()))


@post("/api/schedules/{schedule_id:str}/runs", status_code=OK)
async def schedule_runs(desk: AtDesk, schedule_id: Name, data: JSONBody[PlannedRuns]) -> Number:
    """Add a schedule's runs, one a tick, and move its cursor; the answer is how many are new."""
    _same_id(schedule_id, data.schedule.id)
    return Number(await desk.write(lambda: desk.store.schedule_runs(data.schedule, data.runs, cursor_at=data.cursor_at, now=desk.now())))


# ---------------------------------------------------------------------- work queues, agents


@get("/api/work-queues")
async def list_queues(desk: AtDesk) -> list[QueueStatus]:
    """All queues with their live numbers."""
    return await desk.read(lambda: desk.store.list_queues(now=desk.now()))


@get("/api/work-queues/{name:str}")
async def get_queue(desk: AtDesk, name: Name) -> QueueStatus:
    """One queue, by id or name."""
    return await desk.read(lambda: desk.store.get_queue(name, now=desk.now()))


@put("/api/work-queues/{name:str}")
async def save_queue(desk: AtDesk, name: Name, data: JSONBody[WorkQueue]) -> QueueStatus:
    """Add a queue, or replace the one of the same id."""
    _same_id(name, data.id)
    return await _change_queue(desk, data)


@delete("/api/work-queues/{name:str}")
async def delete_queue(desk: AtDesk, name: Name) -> None:
    """Remove a queue; runs it would have taken wait for another."""
    await desk.write(lambda: desk.store.delete_queue(name), changed="queue")


@post("/api/work-queues/{name:str}/pause", status_code=OK)
async def pause_queue(desk: AtDesk, name: Name) -> QueueStatus:
    """Hand nothing over any more."""
    queue = (await desk.read(lambda: desk.store.get_queue(name))).queue
    return await _change_queue(desk, msgspec.structs.replace(queue, paused=True))


@post("/api/work-queues/{name:str}/resume", status_code=OK)
async def resume_queue(desk: AtDesk, name: Name) -> QueueStatus:
    """Hand runs over again."""
    queue = (await desk.read(lambda: desk.store.get_queue(name))).queue
    return await _change_queue(desk, msgspec.structs.replace(queue, paused=False))


async def _change_queue(desk: Desk, queue: WorkQueue) -> QueueStatus:
    await desk.write(lambda: desk.store.save_queue(queue), changed="queue")
    return await desk.read(lambda: desk.store.get_queue(queue.id, now=desk.now()))


@get("/api/work-queues/{name:str}/preview")
async def preview_queue(desk: AtDesk, name: Name, until: FromQuery[datetime | None] = None, limit: Limit = 100) -> list[FlowRun]:
    """Scheduled runs in the order they would be taken, due until then (now)."""
    return await desk.read(lambda: desk.store.preview_queue(name, until=_aware(until) or desk.now(), limit=limit))


@get("/api/agents")
async def list_agents(desk: AtDesk) -> list[Agent]:
    """Agents seen within a day."""
    return await desk.read(lambda: desk.store.list_agents(now=desk.now()))


@put("/api/agents/{agent_id:str}")
async def save_agent(desk: AtDesk, agent_id: Name, data: JSONBody[Agent]) -> Agent:
    """Say that an agent lives, or has ended."""
    _same_id(agent_id, data.id)
    return await desk.write(lambda: desk.store.save_agent(data, now=desk.now()), changed="agent")


def _same_id(path: str, body: str) -> None:
    if path != body:
        raise UsageError(f"the path speaks of '{path}', the body of '{body}'", hint="give both the same id")


ROUTES: list[HTTPRouteHandler | Router] = [
    _one_deployment("/api/deployments/{name:str}", by_id),
    _one_deployment("/api/deployments/{flow:str}/{name:str}", by_full_name),
    *(
        create_flow_run,
        list_flow_runs,
        count_flow_runs,
        find_flow_runs,
        next_due,
        expired_leases,
        grant_grace,
        held_here,
        get_flow_run,
        delete_flow_run,
    ),
    *(pause_flow_run, schedule_again, take_flow_run, list_inputs, ask_input, answer_input, why_flow_run, why_task_run),
    *(
        cancel_flow_run,
        report_lost,
        list_transitions,
        list_task_runs,
        count_task_runs,
        get_task_run,
        read_journal,
        read_changes,
        journal_position,
    ),
    *(list_artifacts, get_artifact, artifact_image, list_variables, get_variable, set_variable, delete_variable),
    *(read_logs, count_logs, list_flows, list_deployments, save_deployment),
    *(
        list_schedules,
        due_schedules,
        plan_runs,
        look_at_all_schedules,
        schedule_runs,
        list_queues,
        get_queue,
        save_queue,
        delete_queue,
        pause_queue,
    ),
    *(resume_queue, preview_queue, list_agents, save_agent),
]
