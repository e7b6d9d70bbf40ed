"""The spool: what is in it, for whom, and what becomes of what cannot be read or taken."""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from legato.core.errors import Unavailable
from legato.core.records import Artifact, ArtifactKind, LogLine, RunKind, Transition, Verdict
from legato.core.states import RUNNING
from legato.store.items import Spooled
from legato.store.open import open_sql_store
from legato.store.outbox import Outbox, drain_spools
from legato.store.spool import Spool, folder_for, read
from legato.store.sql import SqlStore

from tests.store.make import at, begin, state, task_of
from tests.store.test_outbox import FakeStore, line, report

GONE = 999_999_999


class Far(FakeStore):
    """A server somewhere: requests go out from a thread of their own."""

    can_wait = True

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address


class Away:
    """A store that is away while `down`, and refuses nothing else."""

    def __init__(self, store: SqlStore) -> None:
        self.store, self.down = store, False

    def apply(self, *args: object, **named: object) -> object:
        if self.down:
            raise Unavailable("away")
        return self.store.apply(*args, **named)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


def left_behind(folder: Path) -> None:
    """As if the process that spooled were gone."""
    for path in folder.rglob("*.spool"):
        path.rename(path.with_name(f"{GONE}-{path.name.partition('-')[2]}"))


def test_what_was_meant_for_one_server_is_never_given_to_another(tmp_path: Path) -> None:
    a, b = Far("http://a/api"), Far("http://b/api")
    a.away = True
    outbox = Outbox(a, spool=tmp_path)
    outbox.report(report("for a"))
    assert not outbox.close(wait_s=0)
    left_behind(tmp_path)
    a.away = False

    assert drain_spools(tmp_path, b) == 0
    assert (b.ids, folder_for(tmp_path, a) != folder_for(tmp_path, b)) == ([], True)
    assert drain_spools(tmp_path, a) == 1
    assert a.ids == ["for a"]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.jsonl", "12-x.txt", "x-12.spool", "README"):
        (tmp_path / name).write_text("hello\n")
    (tmp_path / f"{GONE}-folder.spool").mkdir()

    assert drain_spools(tmp_path, FakeStore()) == 0
    assert len(list(tmp_path.iterdir())) == 5


def _flipped(folder: Path, chance: Random) -> tuple[int, int]:
    """Spool 20 reports, flip a byte, drain: how many arrived, how many lines were set aside."""
    spool = Spool(folder)
    for n in range(20):
        spool.append(Spooled([report(str(n))], []))
    assert spool.path is not None
    data = bytearray(spool.path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    spool.path.write_bytes(data)
    left_behind(folder)
    store = FakeStore()
    drain_spools(folder, store)
    rejected = [line for path in folder.glob("*.rejected") for line in path.read_text().splitlines()]
    assert not list(folder.glob("*.spool"))
    assert len(set(store.ids)) == len(store.ids)
    return len(store.ids), len(rejected)


@pytest.mark.parametrize("files", [40, pytest.param(1000, marks=[pytest.mark.chaos, pytest.mark.timeout(900)])])
def test_a_flipped_byte_costs_its_own_line_and_nothing_else(tmp_path: Path, files: int) -> None:
    chance = Random(8)
    for n in range(files):
        arrived, rejected = _flipped(tmp_path / str(n), chance)
        assert arrived >= 18, f"file {n}: {arrived} of 20 lines arrived"
        assert arrived == 20 or rejected >= 1


def test_two_that_drain_one_file_send_it_once(tmp_path: Path) -> None:
    stored = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    run = begin(stored)
    spool = Spool(folder_for(tmp_path / "spool", stored))
    spool.append(Spooled([], [LogLine(run.id, at(0), 20, "l", str(n)) for n in range(20)], [], "batch"))
    left_behind(tmp_path)
    threads = [threading.Thread(target=drain_spools, args=(tmp_path / "spool", stored)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert [each.message for each in stored.read_logs(run.id)] == [str(n) for n in range(20)]
    stored.close()


def test_lines_that_are_sent_twice_are_stored_once(tmp_path: Path) -> None:
    stored = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    run = begin(stored)
    lines = [LogLine(run.id, at(0), 20, "l", str(n)) for n in range(3)]

    for _ in range(2):
        stored.apply([], lines, batch_id="one")

    assert [each.message for each in stored.read_logs(run.id)] == ["0", "1", "2"]
    stored.close()


def test_one_bad_item_stands_alone_and_the_rest_arrives(tmp_path: Path) -> None:
    stored = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    run = begin(stored)
    for spool in (None, tmp_path / "spool"):
        outbox = Outbox(stored, spool=spool)
        for n in range(9):
            outbox.add(task_of(run, name=f"t{n}"))
        outbox.show(Artifact(id="no id", kind=ArtifactKind.MARKDOWN, created_at=at(0), updated_at=at(0)))
        outbox.add(LogLine("nobody", at(0), 20, "l", "of no run"))
        outbox.add(LogLine(run.id, at(0), 20, "l", "kept"))
        outbox.flush()
        assert outbox.close()

    assert len(stored.list_task_runs(run.id).items) == 18
    assert [each.message for each in stored.read_logs(run.id)] == ["kept", "kept"]
    aside = [json.loads(each) for path in (tmp_path / "spool").rglob("*.rejected") for each in path.read_text().splitlines()]
    assert sorted(one["why"].partition(":")[0] for one in aside) == ["NotFound", "UsageError"]
    stored.close()


def test_a_gate_that_is_refused_as_a_request_says_so_and_takes_nothing_with_it(tmp_path: Path) -> None:
    store = FakeStore()
    store.poison = "bad"
    outbox = Outbox(store, spool=tmp_path)
    outbox.add(report("good"))

    with pytest.raises(Exception, match="no"):
        outbox.gate(report("bad"))

    assert store.ids == ["good"]
    outbox.close()


def test_a_disk_that_is_full_for_a_moment_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Away(open_sql_store(f"sqlite:///{tmp_path}/legato.db"))
    run = begin(stored.store)
    outbox = Outbox(stored, spool=tmp_path / "spool")  # type: ignore[arg-type]
    stored.down = True
    full = [False]
    append = Spool.append

    def appending(self: Spool, batch: Spooled) -> None:
        if not full[0]:
            append(self, batch)
            return
        assert self.path is not None
        with self.path.open("ab") as file:
            file.write(b"\n99 0000 {half a li")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "append", appending)
    for is_full in (False, True, True, False):
        full[0] = is_full
        outbox.add(task_of(run))
        outbox.flush()
    assert outbox.is_spooling
    stored.down = False
    outbox.gate(task_of(run))

    assert len(stored.store.list_task_runs(run.id).items) == 5
    outbox.close()
    stored.store.close()


def test_a_far_stores_answers_are_waited_for_by_gates_only() -> None:
    store = Far("http://far/api")
    gate_open = threading.Event()
    apply = store.apply

    def slowly(*args: object, **named: object) -> object:
        gate_open.wait(5)
        return apply(*args, **named)  # type: ignore[arg-type]

    store.apply = slowly  # type: ignore[method-assign, assignment]
    outbox = Outbox(store)
    for n in range(2000):
        outbox.report(report(str(n)))  # returns at once, whatever the store does
    assert not store.batches
    gate_open.set()

    outbox.gate(report("gate"))

    assert store.ids == [*map(str, range(2000)), "gate"]
    assert len(store.batches) <= 8
    outbox.close()


def test_a_far_outbox_keeps_order_when_the_server_is_away_and_comes_back(tmp_path: Path) -> None:
    store = Far("http://far/api")
    outbox = Outbox(store, spool=tmp_path)
    store.away = True
    outbox.report(report("a"))
    outbox.flush()
    with pytest.raises(Unavailable):
        outbox.gate(report("gate"))
    outbox.report(line("l"))
    outbox.spool(Transition(RunKind.TASK, "b", 2, state(RUNNING), 1, fence=1, happened=True))
    store.away = False

    assert outbox.close(wait_s=10)

    assert store.ids == ["a", "b"]
    assert not list(tmp_path.rglob("*.spool"))


def test_a_request_is_bounded_by_bytes_of_everything_in_it() -> None:
    store = Far("http://far/api")
    outbox = Outbox(store)
    for _ in range(300):
        outbox.report(line("x" * 60_000))
    outbox.flush()

    sizes = [sum(len(each.message) for each in logs) for _, logs in store.batches]
    assert sum(sizes) == 300 * 60_000
    assert max(sizes) < 3_000_000
    outbox.close()


def test_text_that_is_no_unicode_is_spooled_readably(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(Spooled([], [line("report-\udcff.txt")]))

    assert spool.path is not None
    (batch,) = read(spool.path)
    assert batch.logs[0].message == "report-\\udcff.txt"
    assert spool.path.name.startswith(f"{os.getpid()}-")


class Failing(Far):
    """A server that has a fault: it answers 500 to whatever holds one item, or to everything."""

    def __init__(self, over: str | None) -> None:
        super().__init__("http://a/api")
        self.over = over

    def apply(self, transitions: Sequence[Transition] = (), *args: Any, **named: Any) -> list[Verdict]:
        if self.over is None or any(t.run_id == self.over for t in transitions):
            error = Unavailable("the server has failed")
            error.code = "internal"
            raise error
        return super().apply(transitions, *args, **named)


def three_files(folder: Path) -> list[str]:
    """What three processes could not send: the runs that they tell of, each seven in one batch."""
    away = Far("http://a/api")
    away.away = True
    for process in range(3):
        outbox = Outbox(away, spool=folder)
        for n in range(7):
            outbox.report(report(f"run-{process}-{n}"))
        outbox.flush()
    left_behind(folder)
    return [f"run-{process}-{n}" for process in range(3) for n in range(7)]


def test_what_a_server_fails_over_stands_alone_and_holds_up_no_other_file(tmp_path: Path) -> None:
    sent = three_files(tmp_path)
    store = Failing(over="run-0-3")

    assert drain_spools(tmp_path, store) == 3
    assert sorted(store.ids) == sorted(set(sent) - {"run-0-3"})
    (aside,) = tmp_path.rglob("*.rejected")
    assert "run-0-3" in aside.read_text()


def test_a_server_that_fails_over_everything_is_waited_for_and_nothing_is_set_aside(tmp_path: Path) -> None:
    sent = three_files(tmp_path)

    with pytest.raises(Unavailable):
        drain_spools(tmp_path, Failing(over=None))

    assert list(tmp_path.rglob("*.rejected")) == []
    well = Far("http://a/api")
    assert drain_spools(tmp_path, well) == 3
    assert sorted(well.ids) == sorted(sent)
