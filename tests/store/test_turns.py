"""Processes that write to one SQLite file without a pause take turns: nobody waits much longer than the others."""

import sqlite3
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from legato.core.records import LogLine
from legato.core.states import COMPLETED, RUNNING
from legato.store.open import open_sql_store
from legato.store.sqlite import BUSY_TIMEOUT_S
from legato.store.turns import Turns

from tests.store.make import at, begin, step, task_of


class Time:
    """Moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def turns(path: Path, time: Time) -> Turns:
    return Turns(path, monotonic=time.monotonic, sleep=time.sleep)


def busy() -> Exception:
    connection = sqlite3.connect(":memory:")
    error = sqlite3.OperationalError("database is locked")
    connection.close()
    error.sqlite_errorname = "SQLITE_BUSY"
    return error


class Taken:
    """A file that others write to until a moment; counts who asks."""

    def __init__(self, time: Time, until: float) -> None:
        self._time, self._until = time, until
        self.asked: list[float] = []

    def __call__(self) -> None:
        self.asked.append(self._time.now)
        if self._time.now < self._until:
            raise busy()


def test_who_has_the_turn_asks_a_hundred_times_as_often_as_who_has_it_not(tmp_path: Path) -> None:
    time = Time()
    first, second = Taken(time, 1.0), Taken(time, 2.0)

    def held() -> None:
        """The turn is taken, and in the middle of it somebody else comes."""
        turns(tmp_path / "l.db", time).wait(second, 10)

    turns(tmp_path / "l.db", time).wait(first, 10)
    turns(tmp_path / "l.db", time).wait(held, 10)

    assert 900 <= len(first.asked) <= 1001
    assert 9 <= len(second.asked) <= 11


def test_one_that_is_stopped_while_it_has_the_turn_keeps_nobody_from_writing(tmp_path: Path) -> None:
    time = Time()
    others = [Taken(time, 0.5) for _ in range(3)]

    def stopped() -> None:
        for other in others:
            turns(tmp_path / "l.db", time).wait(other, 10)

    turns(tmp_path / "l.db", time).wait(stopped, 10)

    assert time.now <= 0.7


@pytest.mark.parametrize("somebody_has_the_turn", [False, True])
def test_who_waits_gives_up_when_its_time_is_over(tmp_path: Path, somebody_has_the_turn: bool) -> None:
    time = Time()

    def wait() -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            turns(tmp_path / "l.db", time).wait(Taken(time, 1e9), 10)

    if somebody_has_the_turn:
        turns(tmp_path / "l.db", time).wait(wait, 10)
    else:
        wait()

    assert 10 <= time.now <= 10.2


def test_what_is_no_wait_is_raised_at_once(tmp_path: Path) -> None:
    time = Time()

    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(sqlite3.OperationalError, match="full"):
        turns(tmp_path / "l.db", time).wait(full, 10)

    assert time.now == 0


def test_a_folder_that_takes_no_file_of_turns_is_waited_in_as_well(tmp_path: Path) -> None:
    time = Time()
    taken = Taken(time, 0.3)

    turns(tmp_path / "nowhere" / "l.db", time).wait(taken, 10)

    assert len(taken.asked) == 4


def write_without_a_pause(url: str, name: str, batches: int, answers: Any, together: Any) -> None:
    import time

    store = open_sql_store(url)
    run = begin(store, name=name)
    together.wait()
    worst = 0.0
    for _ in range(batches):
        tasks = [task_of(run, 0, RUNNING) for _ in range(20)]
        began = time.monotonic()
        store.apply([*tasks, *(step(task, COMPLETED, 1) for task in tasks)], [LogLine(run.id, at(0), 20, "l", "m")], now=at(1))
        worst = max(worst, time.monotonic() - began)
    answers.put(worst)
    store.close()


def test_of_many_processes_that_write_without_a_pause_none_waits_for_long(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/legato.db"
    open_sql_store(url).close()
    processes = get_context("spawn")
    answers, together = processes.Queue(), processes.Barrier(8)
    writers = [processes.Process(target=write_without_a_pause, args=(url, f"w{i}", 60, answers, together)) for i in range(8)]
    for writer in writers:
        writer.start()

    waited = [answers.get(timeout=60) for _ in writers]

    for writer in writers:
        writer.join()
    assert max(waited) < BUSY_TIMEOUT_S / 2
    assert sum(open_sql_store(url).count_flow_runs().values()) == 8
