"""How long a flow waits for a store that is away."""

import time
from pathlib import Path

import pytest

from legato.core.records import RunKind, Transition, VerdictKind
from legato.core.states import RUNNING
from legato.engine import process
from legato.engine.process import Engine
from legato.storage.local import LocalStorage
from legato.store.remote import RemoteStore

from tests.store.make import state
from tests.support.ports import free_port


def step(run_id: str) -> Transition:
    return Transition(RunKind.TASK, run_id, 2, state(RUNNING), 1, fence=1)


def test_one_absence_of_the_server_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 1.0)
    engine = Engine(RemoteStore(f"http://127.0.0.1:{free_port()}/api"), LocalStorage(tmp_path / "blobs"), spool=tmp_path / "spool")

    began = time.monotonic()
    first = engine.gate(step("a"))
    waited = time.monotonic() - began
    later = [engine.gate(step(str(i))) for i in range(5)]
    waited_later = time.monotonic() - began - waited

    assert {verdict.kind for verdict in (first, *later)} == {VerdictKind.ACCEPTED}
    assert waited > 1.0
    assert waited_later < 1.0
    engine.close()
