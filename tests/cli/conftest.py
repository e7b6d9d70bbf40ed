"""Running the command line: in this process for the many small questions, as real processes for what only they can show."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from legato.cli.main import run
from legato.core.records import Deployment, DeploymentSchedule, FlowRun, RunKind, Transition
from legato.core.schedules import CronSchedule
from legato.core.states import COMPLETED, FAILED, RUNNING, State, StateType
from legato.store.open import open_store
from legato.store.port import Store
from legato.system import SystemClock, new_id


class Outcome(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def legato(capsys: pytest.CaptureFixture[str], legato_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run a command line in this process. What it does to the environment is undone."""
    before = dict(os.environ)
    for name in ("CI", "FORCE_COLOR", "NO_COLOR"):
        os.environ.pop(name, None)

    def command(*arguments: str) -> Outcome:
        code = run(list(arguments))
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    yield command
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def process(tmp_path: Path, legato_home: Path) -> Command:
    """Run a command line as a process of its own, in `tmp_path`."""

    def command(*arguments: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "legato.cli", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture
def store(legato_home: Path) -> Iterator[Store]:
    """The embedded store that commands of this test see."""
    opened = open_store(f"sqlite:///{legato_home / 'legato.db'}")
    yield opened
    opened.close()


def add_run(store: Store, name: str, *, ended: StateType | None = COMPLETED, flow: str = "etl", **particulars: object) -> FlowRun:
    """A run that a process started, and that ended like this (None: it goes on)."""
    now = SystemClock().now()
    running = State(RUNNING, "Running", now)
    common = {"id": new_id(), "flow_name": flow, "name": name, "attempt": 1, "created_at": now, "expected_start_at": now}
    run = FlowRun(state=running, lease_expires_at=now + timedelta(minutes=5), **{**common, **particulars})  # type: ignore[arg-type]
    store.apply([Transition(RunKind.FLOW, run.id, 1, running, 1, fence=1, flow_run=run)])
    if ended is not None:
        state = State(ended, ended.capitalize(), now, "no data" if ended is FAILED else "")
        store.apply([Transition(RunKind.FLOW, run.id, 2, state, 1, fence=1)])
    return store.get_flow_run(run.id)


def add_deployment(store: Store, name: str = "prod", **particulars: object) -> Deployment:
    """A deployment of flow "etl" with one integer parameter `n`, and a nightly schedule."""
    now = SystemClock().now()
    nightly = DeploymentSchedule(id=new_id(), schedule=CronSchedule(cron="30 2 * * *", timezone="Europe/Rome"))
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 1}, "who": {"type": "string"}}, "required": ["who"]}
    common: dict[str, object] = {
        "flow_name": "etl",
        "entrypoint": "f.py:etl",
        "parameters": {"who": "me"},
        "parameter_schema": schema,
        "schedules": (nightly,),
    }
    return store.save_deployment(Deployment(id=new_id(), name=name, created_at=now, updated_at=now, **{**common, **particulars}))  # type: ignore[arg-type]
