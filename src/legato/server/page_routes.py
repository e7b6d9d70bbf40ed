"""Routes made for one page of the UI each: one call a page. What they answer is put together in `pages`."""

from __future__ import annotations

import socket
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from legato.core.records import QueueFilter
from legato.core.states import describe_states
from legato.server import pages
from legato.server.routes import OK, Filtered, MaybeText, Name, Position, Text, WithBackend

PageLimit = Annotated[int, QueryParameter(ge=1, le=1000, description="At most so many.")]


class ServerInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What this server is."""

    version: str
    database: str
    host: str
    started_at: str
    insecure: bool = False
    settings: list[dict[str, str]] = []


@get("/api/ui/runs")
async def runs(backend: WithBackend, filtered: Filtered, cursor: MaybeText = None, limit: PageLimit = 100) -> pages.RunsPage:
    """The list of runs."""
    return await backend.read(lambda: pages.runs_page(backend.store, filtered, cursor=cursor, limit=limit))


@get("/api/ui/runs/{run_id:str}")
async def run(backend: WithBackend, run_id: Name) -> pages.RunPage:
    """One run, by id, the beginning of an id, or name."""
    return await backend.read(lambda: pages.run_page(backend.store, run_id, backend.now()))


@get("/api/ui/runs/{run_id:str}/logs")
async def run_logs(
    backend: WithBackend,
    run_id: Name,
    min_level: Annotated[int, QueryParameter(ge=0, le=1000)] = 0,
    q: Text = "",
    task: MaybeText = None,
    after: Position = 0,
    limit: PageLimit = 500,
) -> pages.LogsPage:
    """A page of a run's log."""
    return await backend.read(
        lambda: pages.logs_page(backend.store, run_id, task=task, min_level=min_level, text=q, after=after, limit=limit)
    )


@get("/api/ui/tasks/{run_id:str}")
async def task(backend: WithBackend, run_id: Name) -> pages.TaskPage:
    """One task run."""
    return await backend.read(lambda: pages.task_page(backend.store, run_id, backend.now()))


@get("/api/ui/deployments")
async def deployments(backend: WithBackend) -> pages.DeploymentsPage:
    """The list of deployments."""
    return await backend.read(lambda: pages.deployments_page(backend.store, backend.now()))


@get("/api/ui/deployments/{name:path}")
async def deployment(backend: WithBackend, name: Name) -> pages.DeploymentPage:
    """One deployment, by its full name: a flow's name may hold a slash."""
    return await backend.read(lambda: pages.deployment_page(backend.store, str(name).lstrip("/"), backend.now()))


@get("/api/ui/queues")
async def queues(backend: WithBackend) -> pages.QueuesPage:
    """The list of queues."""
    return await backend.read(lambda: pages.queues_page(backend.store, backend.now()))


@get("/api/ui/queues/{name:str}")
async def queue(backend: WithBackend, name: Name) -> pages.QueuePage:
    """One queue."""
    return await backend.read(lambda: pages.queue_page(backend.store, name, backend.now()))


@post("/api/ui/queues/preview", status_code=OK)
async def preview(backend: WithBackend, data: JSONBody[QueueFilter]) -> pages.QueuePreview:
    """What a filter would take."""
    return await backend.read(lambda: pages.queue_preview(backend.store, data, backend.now()))


@get("/api/ui/home")
async def home(backend: WithBackend) -> pages.HomePage:
    """The first page."""
    return await backend.read(lambda: pages.home_page(backend.store, backend.now()))


@get("/api/ui/search")
async def search(backend: WithBackend, q: Text = "") -> pages.SearchPage:
    """What a few letters may mean."""
    return await backend.read(lambda: pages.search_page(backend.store, q, backend.now()))


@get("/api/ui/states")
async def states() -> list[dict[str, object]]:
    """The table of states."""
    return describe_states()


@get("/api/ui/server")
async def server(backend: WithBackend, state: State) -> ServerInfo:
    """What this server is."""
    return ServerInfo(
        state["version"], backend.store.info()["location"], socket.gethostname(), backend.started_at.isoformat(), state["server"].insecure
    )


PAGE_ROUTES: list[HTTPRouteHandler] = [
    *(runs, run, run_logs, task, deployments, deployment, queues, queue, preview, home, search, states, server),
]
