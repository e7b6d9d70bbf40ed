"""The application: routes, the backend they share, and the gate in front. Made anew for each server; it holds no global state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Response, get
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig

from legato.core.clock import Clock
from legato.engine.results import BlobStore
from legato.server.agent_routes import agent_routes
from legato.server.assets import make_ui
from legato.server.backend import Backend
from legato.server.bundles import BUNDLE_ROUTES
from legato.server.dispatch import Dispatcher
from legato.server.docs import docs_page
from legato.server.gate import MAX_BUNDLE, Gate, Policy
from legato.server.openapi import describe
from legato.server.page_routes import PAGE_ROUTES
from legato.server.problems import answer_error
from legato.server.routes import OK, ROUTES, WithBackend, flow_run_filter
from legato.services.loop import ServiceLoop
from legato.store.sql import SqlStore

VERSION = version("legato")
UI_FOLDER = Path(__file__).parent / "ui_dist"


class Server:
    """One server's application: `gate` is what a web server is handed. `backend` exists while it runs."""

    def __init__(
        self,
        store: SqlStore,
        *,
        clock: Clock,
        services: ServiceLoop | None = None,
        blobs: BlobStore | None = None,
        policy: Policy | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._services = services
        self._blobs = blobs
        self._on_ready = on_ready
        self.backend: Backend | None = None
        self.insecure = False
        app = Litestar(
            route_handlers=[*ROUTES, *BUNDLE_ROUTES, *PAGE_ROUTES, health, ready, info, openapi, docs],
            dependencies={
                "backend": Provide(self._backend, sync_to_thread=False),
                "filtered": Provide(flow_run_filter, sync_to_thread=False),
            },
            exception_handlers={Exception: answer_error},
            lifespan=[self._lifespan],
            openapi_config=OpenAPIConfig(
                title="Legato's HTTP API", version=VERSION, path="/api/schema", render_plugins=[], use_handler_docstrings=True
            ),
            on_app_init=[_without_logging],
            request_max_body_size=MAX_BUNDLE,
            state=State({"server": self, "version": VERSION}),
        )
        self._app = app
        dispatcher = Dispatcher(app, self._backend, self._others())  # type: ignore[arg-type]
        self.gate = Gate(dispatcher, make_ui(UI_FOLDER), policy or Policy(VERSION))

    def _backend(self) -> Backend:
        assert self.backend is not None, "routes are called while the application runs"
        return self.backend

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncIterator[None]:
        self.backend = Backend(self._store, self._clock, self._services, self._blobs)
        for handler in agent_routes(self.backend):
            app.register(handler)
        self.backend.start()
        self._on_ready()
        try:
            yield
        finally:
            await self.backend.stop()

    def _others(self) -> Iterator[tuple[str, str]]:
        """Method and path of every route that is no verb of the store."""
        for route in self._app.routes:
            yield from ((method, route.path_format) for method in route.methods if route.path_format.startswith("/api/"))
        yield from (("POST", f"/api/{name}") for name in ("transitions", "heartbeats", "claims"))

    def openapi_schema(self) -> dict[str, Any]:
        """The API's description."""
        return describe(self._app.openapi_schema.to_schema())


def _without_logging(config: AppConfig) -> AppConfig:
    """Logging is the process's to set up, not a library's."""
    config.logging_config = None
    return config


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the server answers, and whether its services do their work."""

    status: str
    version: str
    services: dict[str, float] = {}
    late: list[str] = []


@get("/api/health")
async def health() -> Health:
    """The server answers."""
    return Health("ok", VERSION)


@get("/api/ready")
async def ready(backend: WithBackend) -> Response[Health]:
    """The server can do its work: the database answers, and every service has ticked lately. 503 if not."""
    await backend.read(backend.store.journal_position)
    ages = {name: round(age, 1) for name, age in backend.services.ages_s().items()} if backend.services else {}
    late = backend.services.late() if backend.services else []
    return Response(Health("late" if late else "ready", VERSION, ages, late), status_code=503 if late else OK)


@get("/api/info")
async def info(backend: WithBackend) -> dict[str, str]:
    """What the store is."""
    return {**backend.store.info(), "version": VERSION}


@get("/api/openapi.json", include_in_schema=False)
async def openapi(state: State) -> dict[str, Any]:
    """The description of this API, OpenAPI 3.1."""
    server: Server = state["server"]
    return server.openapi_schema()


@get("/api/docs", include_in_schema=False, media_type=MediaType.HTML)
async def docs(state: State) -> str:
    """The same for people."""
    server: Server = state["server"]
    return docs_page(server.openapi_schema())
