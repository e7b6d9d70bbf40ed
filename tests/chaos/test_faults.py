"""The fault table: each route answered wrongly in each way while runs go on. All end COMPLETED, attempt 1, every task recorded once, agents alive.

A few rows with short faults in every run of the tests; all of them, with faults longer than a lease, in `make chaos`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from legato.core.planning import run_of
from legato.core.records import FlowRun, QueueFilter, WorkQueue
from legato.sdk import deployments
from legato.storage.local import LocalStorage
from legato.storage.remote import ServerStorage
from legato.store.remote import RemoteStore
from legato.system import SystemClock, new_id

from tests.chaos.faulty import ANSWERS, FaultProxy
from tests.server.process import ServerProcess
from tests.support.waiting import until

FLOW = """
import time
from legato import Deployment, flow, task

@task
def step(n: int) -> int:
    time.sleep(EVERY)
    return n

@flow(name="NAME")
def main(n: int) -> int:
    for i in range(n):
        step(i)
    return n

Deployment(main, name="d", tags=["NAME"], on_lost="ON_LOST")
"""
ROUTES = {"transitions": "POST .*/transitions", "heartbeats": "POST .*/heartbeats", "claims": "POST .*/claims", "everything": "."}
SHORT = [
    ("transitions", "500"),
    ("heartbeats", "401"),
    ("claims", "html"),
    ("transitions", "half"),
    ("everything", "reset"),
    ("everything", "421"),
]


class Row(NamedTuple):
    """One line of the table: what is answered how, by a proxy and an agent of its own."""

    name: str
    pattern: str
    answer: str
    proxy: FaultProxy
    agent: subprocess.Popen[bytes]
    run_id: str


class Table:
    """A server, and rows beside each other."""

    def __init__(self, place: Path, server: ServerProcess) -> None:
        self.place, self.server = place, server
        self.store = RemoteStore(server.url)
        self.rows: list[Row] = []

    def add(self, route: str, answer: str, *, tasks: int, every_s: float, on_lost: str) -> None:
        name = f"r{len(self.rows)}"
        folder = self.place / name
        folder.mkdir()
        (folder / "deploy.py").write_text(FLOW.replace("NAME", name).replace("ON_LOST", on_lost).replace("EVERY", str(every_s)))
        declared = deployments.deployments_in(folder / "deploy.py")
        storage = ServerStorage(self.server.url, LocalStorage(folder / "storage"))
        (deployment,) = deployments.create(declared, self.store, storage, root=folder, clock=SystemClock())
        now = SystemClock().now()
        self.store.save_queue(WorkQueue(id=new_id(), name=name, created_at=now, filter=QueueFilter(tags=(name,))))
        proxy = FaultProxy(self.server.port)
        environ = {**os.environ, "LEGATO_HOME": str(folder / "home"), "LEGATO_API_URL": proxy.url}
        with (folder / "agent.log").open("wb") as log:
            command = [sys.executable, "-m", "legato.cli", "agent", "start", name]
            agent = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        run = run_of(deployment, id=new_id(), due_at=now, now=now, trigger="test", parameters={"n": tasks})
        self.rows.append(
            Row(f"{route} answered {answer}, on_lost={on_lost}", ROUTES[route], answer, proxy, agent, self.store.create_flow_run(run).id)
        )

    def run_of(self, row: Row) -> FlowRun:
        return self.store.get_flow_run(row.run_id)

    def completed_tasks(self, row: Row) -> list[str]:
        page = self.store.list_task_runs(row.run_id)
        return sorted(task.name for task in page.items if task.state.type == "completed")

    def judged(self, row: Row, tasks: int) -> str:
        """What is wrong with a row; "" when nothing is."""
        run, names = self.run_of(row), self.completed_tasks(row)
        if run.state.type != "completed" or run.attempt != 1:
            return f"{row.name}: {run.state.name} attempt {run.attempt}: {run.state.message}"
        if len(names) != tasks or len(set(names)) != tasks:
            return f"{row.name}: {len(names)} of {tasks} tasks"
        if row.agent.poll() is not None:
            return f"{row.name}: the agent is gone (exit {row.agent.returncode})"
        return "" if row.proxy.hits else f"{row.name}: the fault met nobody"

    def close(self) -> None:
        for row in self.rows:
            row.agent.send_signal(signal.SIGTERM)
        for row in self.rows:
            try:
                row.agent.wait(20)
            except subprocess.TimeoutExpired:
                row.agent.kill()
                row.agent.wait()
            row.proxy.shutdown()
            row.proxy.server_close()
        self.store.close()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    server = ServerProcess(tmp_path / "server").start()
    made = Table(tmp_path, server)
    yield made
    made.close()
    server.stop()


def play(table: Table, *, tasks: int, fault_s: float, within_s: float) -> list[str]:
    """Have the runs begin, answer wrongly for a while, and judge what came of it."""
    waiting = [row for row in table.rows if "claims" in row.pattern]
    for row in waiting:
        row.proxy.fault(row.pattern, row.answer, fault_s)
    until(lambda: all(table.run_of(row).state.type != "scheduled" for row in table.rows if row not in waiting), within_s=60)
    for row in table.rows:
        if row not in waiting:
            row.proxy.fault(row.pattern, row.answer, fault_s)
    end = time.monotonic() + within_s
    while time.monotonic() < end and not all(table.run_of(row).state.is_final for row in table.rows):
        SystemClock().sleep(0.25)
    end = time.monotonic() + 15  # the last reports are on their way
    while time.monotonic() < end and any(table.judged(row, tasks) for row in table.rows):
        SystemClock().sleep(0.25)
    return [wrong for wrong in (table.judged(row, tasks) for row in table.rows) if wrong]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_runs_go_on_whatever_the_server_answers_for_a_while(table: Table) -> None:
    for route, answer in SHORT:
        table.add(route, answer, tasks=20, every_s=0.4, on_lost="fail")

    assert play(table, tasks=20, fault_s=4.0, within_s=120) == []


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("on_lost", ["fail", "retry"])
@pytest.mark.parametrize("route", list(ROUTES))
def test_the_whole_fault_table(route: str, on_lost: str, table: Table) -> None:
    for answer in ANSWERS:
        table.add(route, answer, tasks=80, every_s=0.5, on_lost=on_lost)

    wrong = play(table, tasks=80, fault_s=20.0, within_s=240)

    report = {"route": route, "on_lost": on_lost, "rows": len(table.rows), "wrong": wrong}
    print(json.dumps(report))
    assert wrong == []
