"""An agent as a real process, on a store of its own, with flows deployed from real files."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legato.core.planning import run_of
from legato.core.records import Deployment, FlowRun, WorkQueue
from legato.sdk import deployments
from legato.storage.local import LocalStorage
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore
from legato.system import SystemClock, new_id

from tests.support.waiting import until

AGENT = """
import json, sys
from legato import settings
from legato.agent.run import run_agent
from legato.store.open import open_store
chosen = settings.load()
tell = lambda name, fields: print(json.dumps([name, fields], default=str), flush=True)
sys.exit(run_agent(open_store(chosen.store_url), chosen, queues=["default"], on_event=tell, **json.loads(sys.argv[1])))
"""


class Workplace:
    """A home folder with a store, a folder of flow files, and agents."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.home = home
        self.source = folder / "flows"
        self.source.mkdir()
        self.ledger = folder / "ledger.txt"
        self.ledger.touch()
        self.store: SqlStore = open_sql_store(f"sqlite:///{self.home / 'legato.db'}")
        self.store.save_queue(WorkQueue(id=new_id(), name="default", created_at=SystemClock().now()))
        self.agents: list[subprocess.Popen[str]] = []

    def deploy(self, source: str, name: str = "test", **options: Any) -> Deployment:
        """Write a flow file, and deploy its flow `main`. `LEDGER` in the source is a file that outlives everything."""
        text = "import os, time\nfrom legato import Deployment, flow, task\n" + source.replace("LEDGER", repr(str(self.ledger)))
        (self.source / "flows.py").write_text(text + f"\nDeployment(main, name={name!r}, **{options!r})\n")
        declared = deployments.deployments_in(self.source / "flows.py")
        storage = LocalStorage(self.home / "storage")
        return deployments.create(declared, self.store, storage, root=self.source, clock=SystemClock())[0]

    def schedule(self, deployment: Deployment, *, name: str = "", **parameters: Any) -> str:
        """A run that is due now; returns its id."""
        now = SystemClock().now()
        run = run_of(deployment, id=new_id(), due_at=now, now=now, trigger="test", name=name, parameters=parameters)
        return self.store.create_flow_run(run).id

    def agent(self, **options: Any) -> subprocess.Popen[str]:
        """Start an agent; returns when it is claiming."""
        process = subprocess.Popen(
            [sys.executable, "-c", AGENT, json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "LEGATO_HOME": str(self.home)},
        )
        self.agents.append(process)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())[0] == "started"
        return process

    def run(self, run_id: str) -> FlowRun:
        return self.store.get_flow_run(run_id)

    def ended(self, run_id: str, *, within_s: float = 30.0) -> FlowRun:
        """The run, once it has ended."""
        until(lambda: self.run(run_id).state.is_final, within_s=within_s, what="the run's end")
        return self.run(run_id)

    def lines(self) -> list[str]:
        """What flows wrote into the ledger."""
        return self.ledger.read_text().split()

    def wrote(self, word: str) -> int:
        """Wait until a flow has written a line "word pid"; returns the pid."""
        return int(until(lambda: [line for line in self.lines() if line.startswith(word)], what=word)[-1].partition(":")[2])

    def close(self) -> None:
        for agent in self.agents:
            if agent.poll() is None:
                agent.send_signal(signal.SIGKILL)
            agent.wait()
            if agent.stdout is not None:
                agent.stdout.close()
        for line in self.lines():
            _, _, pid = line.partition(":")
            if pid and _is_flow(int(pid)):
                os.kill(int(pid), signal.SIGKILL)
        self.store.close()


def _is_flow(pid: int) -> bool:
    """Whether a pid from the ledger is still the process that wrote it: one of ours."""
    try:
        return b"legato" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
def place(tmp_path: Path, legato_home: Path) -> Iterator[Workplace]:
    legato_home.mkdir()
    made = Workplace(tmp_path, legato_home)
    yield made
    made.close()
