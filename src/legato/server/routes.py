"""Routes that are no verbs of the store (see `dispatch` for those): what is put together of several, or is no JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias
from urllib.parse import parse_qs

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from legato.core.errors import UsageError
from legato.core.explanation import Explanation
from legato.core.fitting import check_parameters
from legato.core.ids import is_id
from legato.core.planning import run_of
from legato.core.records import FlowRun, FlowRunFilter, QueueStatus, WorkQueue
from legato.engine.images import image_bytes, image_type
from legato.sdk.explaining import explain_in
from legato.server.backend import Backend
from legato.store.port import Store
from legato.store.shapes import shape
from legato.store.verbs import verbs_of
from legato.system import new_id

WithBackend: TypeAlias = NamedDependency[Backend]
Wanted: TypeAlias = NamedDependency[str]
"""A deployment's id or full name, from the path."""
Filtered: TypeAlias = NamedDependency[FlowRunFilter]
Name: TypeAlias = FromPath[str]
Text: TypeAlias = FromQuery[str]
MaybeText: TypeAlias = FromQuery[str | None]
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


def flow_run_filter(request: Request[Any, Any, Any]) -> FlowRunFilter:
    """The filter that a page's query speaks of, in the words of the list of runs; what else the query holds is the page's own."""
    form = shape(verbs_of(Store)["list_flow_runs"])
    words = {asked.wire for asked in form.query if asked.argument == "filter"}
    given = parse_qs(request.scope["query_string"].decode("latin-1"))
    found: FlowRunFilter = form.read_query({name: values for name, values in given.items() if name in words})["filter"]
    return found


def _aware(at: datetime | None) -> datetime | None:
    """An instant without a zone means UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


@get("/api/flow-runs/{run_id:str}/why")
async def why_flow_run(backend: WithBackend, run_id: Name) -> Explanation:
    """Why a run waits, failed, was cancelled, …: by id, the beginning of an id, or name."""
    return await backend.read(lambda: explain_in(backend.store, run_id, backend.now()))


@get("/api/task-runs/{run_id:str}/why")
async def why_task_run(backend: WithBackend, run_id: Name) -> Explanation:
    """Why a task run waits, was skipped, was cached, …"""
    return await backend.read(lambda: explain_in(backend.store, run_id, backend.now()))


@get("/api/artifacts/{artifact_id:str}/image")
async def artifact_image(backend: WithBackend, artifact_id: Name) -> Response[bytes]:
    """The image of an artifact whose bytes this server can reach."""
    artifact = await backend.read(lambda: backend.store.get_artifact(artifact_id))
    data = await backend.read(lambda: image_bytes(artifact, backend.blobs))
    headers = {"content-security-policy": "sandbox; default-src 'none'", "content-disposition": "attachment"}
    return Response(data, media_type=image_type(data), headers=headers)


@post("/runs")
async def run_deployment(backend: WithBackend, data: JSONBody[NewRun], wanted: Wanted) -> FlowRun:
    """Have the deployment run, now or at a time."""
    if data.id and not is_id(data.id):
        raise UsageError(f"'{data.id}' is no id", hint="leave it out, or give a UUID in its canonical form")

    def create() -> FlowRun:
        now = backend.now()
        deployment = backend.store.get_deployment(wanted)
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
        return backend.store.create_flow_run(run, now=now)

    return await backend.write(create)


def by_id(name: Name) -> str:
    """A deployment named by its id."""
    return name


def by_full_name(flow: Name, name: Name) -> str:
    """A deployment named by its flow's name and its own."""
    return f"{flow}/{name}"


def _one_deployment(path: str, wanted: Callable[..., str]) -> Router:
    return Router(path, route_handlers=[run_deployment], dependencies={"wanted": Provide(wanted, sync_to_thread=False)})


@post("/api/work-queues/{name:str}/pause", status_code=OK)
async def pause_queue(backend: WithBackend, name: Name) -> QueueStatus:
    """Hand nothing over any more."""
    queue = (await backend.read(lambda: backend.store.get_queue(name))).queue
    return await _change_queue(backend, msgspec.structs.replace(queue, paused=True))


@post("/api/work-queues/{name:str}/resume", status_code=OK)
async def resume_queue(backend: WithBackend, name: Name) -> QueueStatus:
    """Hand runs over again."""
    queue = (await backend.read(lambda: backend.store.get_queue(name))).queue
    return await _change_queue(backend, msgspec.structs.replace(queue, paused=False))


async def _change_queue(backend: Backend, queue: WorkQueue) -> QueueStatus:
    await backend.write(lambda: backend.store.save_queue(queue), changed="queue")
    return await backend.read(lambda: backend.store.get_queue(queue.id, now=backend.now()))


ROUTES: list[HTTPRouteHandler | Router] = [
    _one_deployment("/api/deployments/{name:str}", by_id),
    _one_deployment("/api/deployments/{flow:str}/{name:str}", by_full_name),
    *(why_flow_run, why_task_run, artifact_image, pause_queue, resume_queue),
]
