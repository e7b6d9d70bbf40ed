"""Running an agent as a program: its environment for the runs it starts, and its signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

from legato.agent.agent import Agent, OnEvent, StopClaiming
from legato.settings import RESOLVED, Settings
from legato.store.port import Store


def run_agent(
    store: Store,
    settings: Settings,
    *,
    queues: Sequence[str],
    name: str = "",
    limit: int | None = None,
    on_event: OnEvent | None = None,
    once: bool = False,
    warm: bool = True,
) -> int:
    """Run an agent for these queues (names) until SIGINT or SIGTERM; returns the process's exit code.

    The first signal lets runs that are going on finish, the second leaves them to finish by themselves.
    """
    agent = Agent(
        store,
        queues=queues,
        home=settings.home,
        environ=environment_for_runs(settings),
        name=name,
        limit=limit,
        on_event=on_event,
        warm=warm,
    )
    if threading.current_thread() is threading.main_thread():
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, lambda *_: _stop(agent))
    agent.run(once=once)
    return 0


def _stop(agent: Agent) -> None:
    agent.stop()
    if agent.is_waiting:
        agent.is_waiting = False
        raise StopClaiming


def environment_for_runs(settings: Settings) -> dict[str, str]:
    """The agent's environment, with its settings in it: a run reads no profile and no project file of the folder it happens to start in."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LEGATO_")}
    environ.update({RESOLVED: "1", "LEGATO_HOME": str(settings.home), "LEGATO_LOG_LEVEL": settings.log_level})
    environ["LEGATO_PERSIST_RESULTS"] = str(settings.persist_results).lower()
    if settings.api_url:
        environ["LEGATO_API_URL"] = settings.api_url
        if settings.api_key:
            environ["LEGATO_API_KEY"] = settings.api_key
    else:
        environ["LEGATO_DATABASE_URL"] = settings.database_url
    if "LEGATO_TRACEBACKS" in os.environ:
        environ["LEGATO_TRACEBACKS"] = os.environ["LEGATO_TRACEBACKS"]
    return environ
