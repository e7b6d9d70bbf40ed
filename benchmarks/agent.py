"""From the commit of a due run to the first line of user code, with a warm agent; and a three-step flow from request to end."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, home, server
from legato.core.planning import run_of
from legato.core.records import Deployment, WorkQueue
from legato.sdk import deployments
from legato.storage.local import LocalStorage
from legato.store.remote import RemoteStore
from legato.system import SystemClock, new_id, now

RUNS = 60
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


def one_run(store: RemoteStore, deployment: Deployment) -> tuple[float, float]:
    """Milliseconds from the request to the first line of user code, and to the recorded end."""
    at = now()
    run = run_of(deployment, id=new_id(), due_at=at, now=at, trigger="bench")
    began = time.time()
    store.create_flow_run(run)
    while not (ended := store.get_flow_run(run.id)).state.is_final:
        time.sleep(0.005)
    assert ended.result is not None
    assert ended.ended_at is not None
    return (float(ended.result.preview) - began) * 1e3, (ended.ended_at.timestamp() - began) * 1e3


def rows() -> Iterator[Row]:
    """Three rows."""
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
    picked = sorted(first for first, _ in times)
    yield Row("due run to first line of user code, p50", statistics.median(picked), "ms", 15)
    yield Row("due run to first line of user code, p99", picked[int(len(picked) * 0.99)], "ms", 50)
    yield Row("3-step flow, request to end, p50", statistics.median(last for _, last in times), "ms", 30)
