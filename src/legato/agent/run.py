"""Running an agent as a program: its environment for the runs it starts, and its signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

from legato.agent.agent import Agent, OnEvent, StopClaiming
from legato.flow_runners.process_tree import become_subreaper
from legato.settings import RESOLVED, SETTINGS, Settings, as_text
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
    become_subreaper()  # runs whose warm parent died are handed to us, so that their exit codes can be had
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
    """The agent's environment, with its settings in it: a run reads no profile and no project file of the folder it happens to start in.

    All of them, but for the server's own and those that only choose where others come from.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LEGATO_")}
    environ[RESOLVED] = "1"
    for setting in SETTINGS:
        if setting.name in NOT_FOR_RUNS or setting.name.startswith("server_"):
            continue
        text = as_text(getattr(settings, setting.name))
        if text:
            environ[f"LEGATO_{setting.name.upper()}"] = text
    if settings.api_url:
        environ.pop("LEGATO_DATABASE_URL", None)
    else:
        environ.pop("LEGATO_API_KEY", None)
    return environ


NOT_FOR_RUNS = frozenset({"profile"})
