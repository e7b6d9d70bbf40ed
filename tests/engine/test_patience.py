"""How long a flow waits for a store that is away."""

import time
from pathlib import Path

import pytest

from legato.core.errors import Unavailable
from legato.core.records import FlowRun, LogLine, RunKind, Transition, VerdictKind
from legato.core.states import CRASHED, RUNNING
from legato.engine import process
from legato.engine.process import Engine
from legato.storage.local import LocalStorage
from legato.store import spool
from legato.store.remote import RemoteStore

from tests.store.make import NOON, state
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


def beginning(run_id: str) -> Transition:
    run = FlowRun(id=run_id, flow_name="etl", name="wise-thrush", state=state(RUNNING), attempt=1, created_at=NOON, expected_start_at=NOON)
    return Transition(RunKind.FLOW, run_id, 1, state(RUNNING), 1, fence=1, flow_run=run)


def away(tmp_path: Path) -> Engine:
    return Engine(RemoteStore(f"http://127.0.0.1:{free_port()}/api"), LocalStorage(tmp_path / "blobs"), spool=tmp_path / "spool")


def test_of_a_run_that_could_not_begin_nothing_is_kept_and_nothing_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATIENCE_S", 0.3)
    engine = away(tmp_path)

    with pytest.raises(Unavailable):
        engine.gate(beginning("a"))
    engine.outbox.report(LogLine("a", state(RUNNING).at, 20, "flow", "ended by Unavailable", None))
    began = time.monotonic()
    ended = engine.gate(Transition(RunKind.FLOW, "a", 2, state(CRASHED), 1, fence=1))

    assert ended.kind is VerdictKind.ACCEPTED
    assert engine.close() == ""
    assert time.monotonic() - began < 3.0
    assert not [*(tmp_path / "spool").rglob("*.spool")]


def test_reports_that_neither_the_store_nor_the_disk_took_are_said_to_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.os, "fsync", full)
    engine = away(tmp_path)

    for i in range(3):
        engine.outbox.report(LogLine(f"run-{i}", state(RUNNING).at, 20, "flow", "line", None))
        engine.outbox.flush()
    engine.outbox.report(LogLine("run-3", state(RUNNING).at, 20, "flow", "line", None))

    assert engine.close().startswith("4 reports are lost")
    assert not [*(tmp_path / "spool").rglob("*.spool")]


def test_with_the_server_away_and_the_disk_full_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.os, "fsync", full)
    monkeypatch.setattr(process, "PATIENCE_S", 0.3)
    engine = away(tmp_path)

    engine.outbox.report(LogLine("run", state(RUNNING).at, 20, "flow", "line", None))
    engine.outbox.flush()
    began = time.monotonic()

    assert [engine.gate(step(str(i))).kind for i in range(3)] == [VerdictKind.ACCEPTED] * 3
    assert time.monotonic() - began < 10.0
    assert engine.close().startswith("4 reports are lost")
