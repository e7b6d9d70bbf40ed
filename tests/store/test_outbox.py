"""The outbox: batches, order, gates, and a store that is away."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from legato.core.errors import Conflict, Unavailable
from legato.core.records import (
    Artifact,
    ArtifactKind,
    Beat,
    BeatReply,
    FlowRun,
    LogLine,
    RunKind,
    TaskRun,
    Transition,
    Verdict,
    VerdictKind,
)
from legato.core.states import COMPLETED, RUNNING
from legato.store.open import open_sql_store
from legato.store.outbox import MAX_ITEMS, Outbox, drain_spools
from legato.store.remote import RemoteStore
from legato.system import new_id

from tests.store.make import at, begin, state, step, task_of
from tests.support.ports import free_port


class FakeStore:
    """A store that remembers what it was sent, and can be away."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[Transition], list[LogLine]]] = []
        self.shown: list[list[Artifact]] = []
        self.away = False
        self.poison = ""
        self.arrived = threading.Event()

    def apply(
        self,
        transitions: Sequence[Transition],
        logs: Sequence[LogLine] = (),
        artifacts: Sequence[Artifact] = (),
        *,
        now: datetime | None = None,
    ) -> list[Verdict]:
        if self.away:
            raise Unavailable("away")
        if any(t.run_id == self.poison for t in transitions):
            raise Conflict("no")
        self.batches.append((list(transitions), list(logs)))
        self.shown.append(list(artifacts))
        self.arrived.set()
        kind = {"refused": VerdictKind.REFUSED}
        return [Verdict(kind.get(t.run_id, VerdictKind.ACCEPTED), seq=t.seq) for t in transitions]

    def heartbeat(self, beats: Sequence[Beat], *, lease_s: float, now: datetime | None = None) -> list[BeatReply]:
        raise NotImplementedError

    def get_flow_run(self, run_id: str) -> FlowRun:
        raise NotImplementedError

    def get_task_run(self, run_id: str) -> TaskRun:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to let go of."""

    @property
    def ids(self) -> list[str]:
        return [t.run_id for transitions, _ in self.batches for t in transitions]


def report(run_id: str) -> Transition:
    return Transition(RunKind.TASK, run_id, 2, state(RUNNING), 1, fence=1)


def line(message: str) -> LogLine:
    return LogLine("run", at(0), 20, "l", message)


def test_reports_go_in_batches_and_in_order() -> None:
    store = FakeStore()
    outbox = Outbox(store)

    for i in range(2 * MAX_ITEMS + 7):
        outbox.report(report(str(i)))
    outbox.flush()

    assert store.ids == [str(i) for i in range(2 * MAX_ITEMS + 7)]
    assert len(store.batches) < 20
    outbox.close()


def test_what_nobody_flushes_goes_by_itself() -> None:
    store = FakeStore()
    outbox = Outbox(store)

    outbox.add(report("a"))

    assert store.arrived.wait(5)
    assert store.ids == ["a"]
    outbox.close()


def test_a_gate_goes_at_once_after_all_that_waits() -> None:
    store = FakeStore()
    outbox = Outbox(store)
    outbox.add(report("a"))
    outbox.add(line("hello"))

    verdict = outbox.gate(report("gate"))

    assert verdict.kind is VerdictKind.ACCEPTED
    assert store.ids == ["a", "gate"]
    assert [each.message for _, logs in store.batches for each in logs] == ["hello"]
    outbox.close()


def test_a_refused_report_is_told() -> None:
    told: list[str] = []
    outbox = Outbox(FakeStore(), on_verdict=lambda transition, verdict: told.append(f"{transition.run_id} {verdict.kind}"))

    outbox.report(report("fine"))
    outbox.report(report("refused"))
    outbox.flush()

    assert told == ["refused refused"]
    outbox.close()


def test_without_a_spool_nothing_is_dropped_and_the_sender_is_told() -> None:
    store = FakeStore()
    outbox = Outbox(store)
    store.away = True
    outbox.add(report("a"))
    with pytest.raises(Unavailable):
        outbox.flush()
    with pytest.raises(Unavailable):
        outbox.gate(report("gate"))
    store.away = False

    outbox.gate(report("gate"))

    assert store.ids == ["a", "gate"]
    outbox.close()


def test_a_spool_keeps_what_cannot_be_sent_and_sends_it_in_order_later(tmp_path: Path) -> None:
    store = FakeStore()
    outbox = Outbox(store, spool=tmp_path)
    store.away = True
    for name in ("a", "b"):
        outbox.report(report(name))
        outbox.flush()
    with pytest.raises(Unavailable):
        outbox.gate(report("gate"))
    assert outbox.is_spooling
    outbox.spool(report("last"))
    store.away = False

    assert outbox.close()

    assert store.ids == ["a", "b", "last"]
    assert list(tmp_path.iterdir()) == []


def test_a_gate_waits_for_the_spool_to_drain(tmp_path: Path) -> None:
    store = FakeStore()
    outbox = Outbox(store, spool=tmp_path)
    store.away = True
    outbox.report(report("a"))
    outbox.flush()
    outbox.add(report("b"))
    with pytest.raises(Unavailable):
        outbox.gate(report("gate"))
    store.away = False

    outbox.gate(report("gate"))

    assert store.ids == ["a", "b", "gate"]
    outbox.close()


def test_closing_while_the_store_is_away_leaves_the_spool_behind(tmp_path: Path) -> None:
    store = FakeStore()
    outbox = Outbox(store, spool=tmp_path)
    store.away = True
    outbox.report(report("a"))

    assert not outbox.close(wait_s=0)

    assert len(list(tmp_path.glob("*.spool"))) == 1


def test_a_batch_that_can_never_be_taken_does_not_stop_the_rest(tmp_path: Path) -> None:
    store = FakeStore()
    outbox = Outbox(store, spool=tmp_path)
    store.away = True
    for name in ("a", "bad", "b"):
        outbox.report(report(name))
        outbox.flush()
    store.away, store.poison = False, "bad"

    assert outbox.close()

    assert store.ids == ["a", "b"]
    (aside,) = tmp_path.iterdir()
    kept = json.loads(aside.read_text())
    assert (kept["transitions"][0]["run_id"], kept["why"]) == ("bad", "Conflict: no")


KILLED = """
import os, sys
from pathlib import Path
from typing import Any
from legato.store.outbox import Outbox
from tests.store.test_outbox import FakeStore, report
store = FakeStore(); store.away = True
outbox = Outbox(store, spool=Path(sys.argv[1]))
for name in ("a", "b"):
    outbox.report(report(name)); outbox.flush()
file = next(Path(sys.argv[1]).iterdir())
with file.open("ab") as half: half.write(b'{"transitions": [{"ki')
os.kill(os.getpid(), 9)
"""


def test_a_killed_processs_spool_is_sent_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=Path(__file__).parents[2], timeout=60)
    store = FakeStore()

    assert drain_spools(tmp_path, store) == 1

    assert store.ids == ["a", "b"]
    assert drain_spools(tmp_path, store) == 0


def test_a_living_processs_spool_is_its_own(tmp_path: Path) -> None:
    (tmp_path / f"{os.getppid()}-x.jsonl").write_text("{}\n")

    assert drain_spools(tmp_path, FakeStore()) == 0


def test_a_forked_child_does_not_send_what_is_its_parents() -> None:
    store = FakeStore()
    outbox = Outbox(store)
    outbox.add(report("parents"))
    pid = os.fork()
    if pid == 0:
        try:
            outbox.report(report("childs"))
            outbox.flush()
            os._exit(0 if store.ids == ["childs"] else 3)
        except BaseException:  # noqa: BLE001 a forked child must not go on as a second pytest
            os._exit(4)
    _, status = os.waitpid(pid, 0)

    outbox.flush()
    assert os.waitstatus_to_exitcode(status) == 0
    assert store.ids == ["parents"]
    outbox.close()


def test_reports_of_many_threads_all_arrive_in_a_real_store(tmp_path: Path) -> None:
    store = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    run = begin(store)
    outbox = Outbox(store)

    def work() -> None:
        for _ in range(100):
            first = task_of(run)
            outbox.report(first)
            outbox.report(step(first, RUNNING))
            outbox.report(step(step(first, RUNNING), COMPLETED))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert outbox.close()

    assert store.count_task_runs([run.id])[run.id] == {COMPLETED: 400}
    store.close()


def progress(id_: str, percent: float, seconds: float = 0) -> Artifact:
    return Artifact(id=id_, kind=ArtifactKind.PROGRESS, created_at=at(0), updated_at=at(seconds), data={"percent": percent})


def test_of_progress_told_ten_thousand_times_only_what_stood_at_each_flush_is_sent() -> None:
    store = FakeStore()
    outbox = Outbox(store)

    for n in range(10_000):
        outbox.show(progress("a", n / 100))
    outbox.show(progress("b", 1))
    outbox.flush()

    told = [one.data["percent"] for shown in store.shown for one in shown if one.id == "a"]
    assert told[-1] == 99.99
    assert told == sorted(set(told))
    assert len(told) < 100
    assert all(len({one.id for one in shown}) == len(shown) for shown in store.shown)
    outbox.close()


def test_an_artifact_nobody_flushes_goes_by_itself() -> None:
    store = FakeStore()
    outbox = Outbox(store)

    outbox.show(progress("a", 1))

    assert store.arrived.wait(5)
    assert [one.id for shown in store.shown for one in shown] == ["a"]
    outbox.close()


def test_artifacts_that_are_large_together_do_not_wait_for_each_other() -> None:
    store = FakeStore()
    outbox = Outbox(store)

    for n in range(20):
        outbox.show(Artifact(id=str(n), kind=ArtifactKind.MARKDOWN, created_at=at(0), updated_at=at(0), data="x" * 500_000))
    outbox.flush()

    assert max(len(shown) for shown in store.shown) <= 5  # 2.5 MB; a request may have 8
    assert [one.id for shown in store.shown for one in shown] == [str(n) for n in range(20)]
    outbox.close()


def test_artifacts_outlive_an_absent_store_on_disk_and_in_memory(tmp_path: Path) -> None:
    for spool in (tmp_path, None):
        store = FakeStore()
        store.away = True
        outbox = Outbox(store, spool=spool)
        for n in range(3):
            outbox.show(progress("a", n))
            try:
                outbox.flush()
            except Unavailable:
                assert spool is None
        assert not store.shown

        store.away = False
        assert outbox.close(wait_s=10)

        assert [one.data["percent"] for shown in store.shown for one in shown][-1] == 2


def test_a_spool_of_an_older_legato_is_still_read(tmp_path: Path) -> None:
    stored = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    run = begin(stored)
    old = {
        "transitions": [],
        "logs": [{"flow_run_id": run.id, "at": "2026-01-01T12:00:00Z", "level": 20, "logger": "l", "message": "kept"}],
    }
    (tmp_path / "999999999-x.jsonl").write_text(json.dumps(old) + "\n")

    assert drain_spools(tmp_path, stored) == 1

    assert [each.message for each in stored.read_logs(run.id)] == ["kept"]
    stored.close()


class Bar:
    """Something that moves, and is asked where it stands when it is sent."""

    id = "bar"
    at = 0
    asked = 0

    def content(self) -> Artifact:
        self.asked += 1
        return progress(self.id, self.at)


def test_what_moves_is_asked_for_its_content_when_it_is_sent(tmp_path: Path) -> None:
    store = FakeStore()
    outbox = Outbox(store)
    bar = Bar()

    outbox.show(bar)
    bar.at = 7
    outbox.flush()

    assert [one.data["percent"] for shown in store.shown for one in shown] == [7]
    assert bar.asked == 1
    outbox.close()


def test_artifacts_made_while_a_server_is_away_arrive_once_however_often_they_are_sent(tmp_path: Path) -> None:
    stored = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    outbox = Outbox(RemoteStore(f"http://127.0.0.1:{free_port()}"), spool=tmp_path / "spool")
    one = Artifact(id=new_id(), kind=ArtifactKind.MARKDOWN, created_at=at(0), updated_at=at(0), key="report", data="x")
    bar = progress(new_id(), 10)
    for item in (one, bar, progress(bar.id, 60, seconds=1)):
        outbox.show(item)
        outbox.flush()
    assert not outbox.close(wait_s=0)

    (spool,) = (tmp_path / "spool").rglob("*.spool")
    for pid in (999_999_998, 999_999_999):  # two processes that are gone left the same behind
        (tmp_path / "spool" / f"{pid}-x.spool").write_bytes(spool.read_bytes())
    spool.unlink()
    assert drain_spools(tmp_path / "spool", stored) == 2

    assert [(each.version, each.data) for each in stored.list_artifacts(oldest_first=True).items] == [(1, "x"), (0, {"percent": 60.0})]
    stored.close()


@pytest.mark.timeout(60)
def test_a_store_that_becomes_slow_under_many_threads_leaves_nobody_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who began to send while it was near meet those who ask as one does of a far store."""
    monkeypatch.setattr("legato.store.delivery.SLOW_S", 0.002)
    for round_ in range(30):
        store = FakeStore()
        pause = threading.Event()
        slow = store.apply

        def apply(*args: Any, _slow: Any = slow, _pause: threading.Event = pause, **kwargs: Any) -> list[Verdict]:
            _pause.wait(0.003)
            return list(_slow(*args, **kwargs))

        store.apply = apply  # type: ignore[method-assign]
        outbox = Outbox(store)
        answered: list[Verdict] = []

        def work(number: int, outbox: Outbox = outbox, answered: list[Verdict] = answered) -> None:
            for n in range(4):
                outbox.report(Transition(RunKind.TASK, f"{number}-{n}", 2, state(COMPLETED), 1))
                answered.append(outbox.gate(Transition(RunKind.TASK, f"{number}-{n}", 3, state(COMPLETED), 1)))
                outbox.flush()

        threads = [threading.Thread(target=work, args=(number,), name=f"asks-{round_}-{number}") for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        assert not any(thread.is_alive() for thread in threads)
        assert len(answered) == 24
        outbox.close()
        assert sum(len(transitions) for transitions, _ in store.batches) == 48


@pytest.mark.timeout(60)
def test_a_slow_moment_is_over_when_the_store_is_quick_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow and quick by turns, under threads that ask and report: nobody is left without an answer, and gates are sent by who asks again."""
    monkeypatch.setattr("legato.store.delivery.SLOW_S", 0.02)
    monkeypatch.setattr("legato.store.outbox.QUICK_BATCHES", 3)
    store = FakeStore()
    quick, is_slow = store.apply, threading.Event()
    senders: set[str] = set()

    def apply(*args: Any, **kwargs: Any) -> list[Verdict]:
        senders.add(threading.current_thread().name)
        if is_slow.is_set():
            threading.Event().wait(0.025)
        return list(quick(*args, **kwargs))

    store.apply = apply  # type: ignore[method-assign]
    outbox = Outbox(store)
    numbers = itertools.count(1)

    def ask(name: str) -> None:
        seq = next(numbers)
        outbox.report(Transition(RunKind.TASK, f"{name}-{seq}", 2, state(COMPLETED), 1))
        assert outbox.gate(Transition(RunKind.TASK, f"{name}-{seq}", 3, state(COMPLETED), 1)).kind is VerdictKind.ACCEPTED

    ask("first")
    assert senders == {"MainThread"}
    for turn in range(6):
        is_slow.set() if turn % 2 == 0 else is_slow.clear()
        threads = [threading.Thread(target=lambda name=f"t{n}": [ask(name) for _ in range(10)]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)

    for _ in range(20):
        ask("last")
    senders.clear()
    ask("last")
    assert senders == {"MainThread"}
    outbox.close()
    assert sum(len(transitions) for transitions, _ in store.batches) == 2 * (1 + 6 * 40 + 21)


class FailingStore(FakeStore):
    """A server that fails, by its own account: over everything for so many requests, and over one run for ever."""

    def __init__(self, requests: int, run_id: str = "") -> None:
        super().__init__()
        self.left, self.run_id = requests, run_id

    def apply(self, transitions: Sequence[Transition], *args: Any, **options: Any) -> list[Verdict]:
        self.left -= 1
        if self.left >= 0 or any(t.run_id == self.run_id for t in transitions):
            error = Unavailable("the server failed on this request")
            error.code = "internal"
            raise error
        return super().apply(transitions, *args, **options)


@pytest.mark.parametrize("requests", [0, 1, 2, 3, 4, 5, 7, 11, 20])
@pytest.mark.parametrize("bad", ["", "r1"])
def test_a_server_that_fails_over_everything_has_nothing_set_aside_for_it(tmp_path: Path, requests: int, bad: str) -> None:
    store = FailingStore(requests, bad)
    outbox = Outbox(store, spool=tmp_path)
    for name in ("r0", "r1", "r2"):
        outbox.report(report(name))
    for _ in range(requests + 8):
        outbox._retry_at = 0.0
        outbox.flush()
    outbox.close()

    assert sorted(set(store.ids)) == [name for name in ("r0", "r1", "r2") if name != bad]
    assert len(store.ids) == len(set(store.ids))
    aside = [transition["run_id"] for file in tmp_path.rglob("*.rejected") for transition in json.loads(file.read_text())["transitions"]]
    assert aside == ([bad] if bad else [])
