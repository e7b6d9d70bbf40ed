"""From the commit of a due run to the first line of user code, with a warm agent; and a three-step flow from request to end."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import Row, home, server
from legato.core.planning import run_of
from legato.core.records import Deployment, WorkQueue
from legato.sdk import deployments
from legato.storage.local import LocalStorage
from legato.store.remote import RemoteStore
from legato.system import SystemClock, new_id, now

RUNS = 60
PAUSE_S = 0.25
"""Between runs: the budgets are for an idle agent, which has made ready for the next one."""

FLOW = """
import time
from legato import Deployment, flow, task

@task
def step(n: int) -> int:
    return n + 1

@flow
def three_steps() -> float:
    began = time.time()
    step(step(step(0)))
    return began

Deployment(three_steps, name="bench")
"""
AGENT = (
    "import sys; from legato import settings; from legato.agent.run import run_agent; from legato.store.open import open_store;"
    "chosen = settings.load(); run_agent(open_store(chosen.store_url), chosen, queues=['bench'],"
    "on_event=lambda name, fields: print(name, flush=True))"
)


def deployed(store: RemoteStore, folder: Path) -> Deployment:
    """The flow, deployed, and a queue that takes it."""
    source = folder / "flows"
    source.mkdir()
    (source / "flows.py").write_text(FLOW)
    store.save_queue(WorkQueue(id=new_id(), name="bench", created_at=now()))
    declared = deployments.deployments_in(source / "flows.py")
    return deployments.create(declared, store, LocalStorage(folder / "storage"), root=source, clock=SystemClock())[0]


class Times(NamedTuple):
    """Milliseconds from the request to the claim, to the run's own first word, to the first line of user code, and to the recorded end."""

    claimed: float
    running: float
    first: float
    last: float


def one_run(store: RemoteStore, deployment: Deployment) -> Times:
    """What one run took."""
    at = now()
    run = run_of(deployment, id=new_id(), due_at=at, now=at, trigger="bench")
    began = time.time()
    store.create_flow_run(run)
    while not (ended := store.get_flow_run(run.id)).state.is_final:
        time.sleep(0.005)
    assert ended.result is not None
    assert ended.ended_at is not None
    taken = {entry.state.name: (entry.state.at.timestamp() - began) * 1e3 for entry in store.list_transitions(run.id)}
    time.sleep(PAUSE_S)
    first, last = (float(ended.result.preview) - began) * 1e3, (ended.ended_at.timestamp() - began) * 1e3
    return Times(taken["Pending"], taken["Running"], first, last)


def rows() -> Iterator[Row]:
    """Three rows against budgets, and two that say where the first one goes."""
    with home() as folder, server(folder) as (url, _):
        os.environ["LEGATO_API_URL"] = f"{url}/api"
        store = RemoteStore(url)
        deployment = deployed(store, folder)
        agent = subprocess.Popen([sys.executable, "-c", AGENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert agent.stdout is not None
        agent.stdout.readline()
        for _ in range(5):
            one_run(store, deployment)
        times = [one_run(store, deployment) for _ in range(RUNS)]
        agent.terminate()
        agent.wait()
        agent.stdout.close()
        store.close()
    picked = sorted(one.first for one in times)
    yield Row("due run to first line of user code, p50", statistics.median(picked), "ms", 10)
    yield Row("due run to first line of user code, p99", picked[int(len(picked) * 0.99)], "ms", 30)
    yield Row("  of that, until it is claimed (two commits), p50", statistics.median(one.claimed for one in times), "ms", 4)
    yield Row("  until its process is ready to begin, p50", statistics.median(one.running for one in times), "ms", 7)
    yield Row("3-step flow, request to end, p50", statistics.median(one.last for one in times), "ms", 30)
