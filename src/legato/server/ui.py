"""Routes made for one page of the UI each: one call a page. What they answer is put together in `views`."""

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
from legato.server import views
from legato.server.routes import OK, AtDesk, Filtered, MaybeText, Name, Position, Text

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
async def runs(desk: AtDesk, filtered: Filtered, cursor: MaybeText = None, limit: PageLimit = 100) -> views.RunsPage:
    """The list of runs."""
    return await desk.read(lambda: views.runs_page(desk.store, filtered, cursor=cursor, limit=limit))


@get("/api/ui/runs/{run_id:str}")
async def run(desk: AtDesk, run_id: Name) -> views.RunPage:
    """One run, by id, the beginning of an id, or name."""
    return await desk.read(lambda: views.run_page(desk.store, run_id, desk.now()))


@get("/api/ui/runs/{run_id:str}/logs")
async def run_logs(
    desk: AtDesk,
    run_id: Name,
    min_level: Annotated[int, QueryParameter(ge=0, le=1000)] = 0,
    q: Text = "",
    task: MaybeText = None,
    after: Position = 0,
    limit: PageLimit = 500,
) -> views.LogsPage:
    """A page of a run's log."""
    return await desk.read(lambda: views.logs_page(desk.store, run_id, task=task, min_level=min_level, text=q, after=after, limit=limit))


@get("/api/ui/tasks/{run_id:str}")
async def task(desk: AtDesk, run_id: Name) -> views.TaskPage:
    """One task run."""
    return await desk.read(lambda: views.task_page(desk.store, run_id, desk.now()))


@get("/api/ui/deployments")
async def deployments(desk: AtDesk) -> views.DeploymentsPage:
    """The list of deployments."""
    return await desk.read(lambda: views.deployments_page(desk.store, desk.now()))


@get("/api/ui/deployments/{name:path}")
async def deployment(desk: AtDesk, name: Name) -> views.DeploymentPage:
    """One deployment, by its full name: a flow's name may hold a slash."""
    return await desk.read(lambda: views.deployment_page(desk.store, str(name).lstrip("/"), desk.now()))


@get("/api/ui/queues")
async def queues(desk: AtDesk) -> views.QueuesPage:
    """The list of queues."""
    return await desk.read(lambda: views.queues_page(desk.store, desk.now()))


@get("/api/ui/queues/{name:str}")
async def queue(desk: AtDesk, name: Name) -> views.QueuePage:
    """One queue."""
    return await desk.read(lambda: views.queue_page(desk.store, name, desk.now()))


@post("/api/ui/queues/preview", status_code=OK)
async def preview(desk: AtDesk, data: JSONBody[QueueFilter]) -> views.QueuePreview:
    """What a filter would take."""
    return await desk.read(lambda: views.queue_preview(desk.store, data, desk.now()))


@get("/api/ui/home")
async def home(desk: AtDesk) -> views.HomePage:
    """The first page."""
    return await desk.read(lambda: views.home_page(desk.store, desk.now()))


@get("/api/ui/search")
async def search(desk: AtDesk, q: Text = "") -> views.SearchPage:
    """What a few letters may mean."""
    return await desk.read(lambda: views.search_page(desk.store, q, desk.now()))


@get("/api/ui/states")
async def states() -> list[dict[str, object]]:
    """The table of states."""
    return describe_states()


@get("/api/ui/server")
async def server(desk: AtDesk, state: State) -> ServerInfo:
    """What this server is."""
    return ServerInfo(
        state["version"], desk.store.info()["location"], socket.gethostname(), desk.started_at.isoformat(), state["server"].insecure
    )


UI_ROUTES: list[HTTPRouteHandler] = [
    *(runs, run, run_logs, task, deployments, deployment, queues, queue, preview, home, search, states, server),
]
