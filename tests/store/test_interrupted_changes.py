"""A change of an SQLite file that is interrupted, at any line, is taken back or made: none stays open, to take in all that is written later."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from legato.store import sqlite
from legato.store.sqlite import SqliteDatabase, SqliteSession

PARTS = {"__enter__", "__exit__", "_commit", "_take_back"}
SOURCE = Path(sqlite.__file__).read_text().splitlines()
AROUND_THE_LOCK = ("lock.acquire()", "try:", "lock.release()", "self._lock.release()", "finally:", "except BaseException as error:")
"""Lines where it is taken and given back: the engine lets no signal in there (see `engine.signals`)."""


class Interrupt:
    """Raises KeyboardInterrupt at the n-th line of a change."""

    def __init__(self, at: int) -> None:
        self.at, self.lines, self.was_sent = at, 0, False

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code.co_filename != sqlite.__file__ or code.co_name not in PARTS:
            return None
        if event == "line" and SOURCE[frame.f_lineno - 1].strip() not in AROUND_THE_LOCK:
            self.lines += 1
            if self.lines == self.at:
                self.was_sent = True
                raise KeyboardInterrupt
        return self


def note(text: str) -> Callable[[SqliteSession], None]:
    def work(session: SqliteSession) -> None:
        session.run("insert into noted values (:text)", text=text)

    return work


def fails(session: SqliteSession) -> None:
    note("failed")(session)
    raise ValueError("the work")


def inside(database: SqliteDatabase) -> Callable[[SqliteSession], None]:
    def work(session: SqliteSession) -> None:
        note("outer")(session)
        database.transact(note("inner"))

    return work


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    made = SqliteDatabase(tmp_path / "noted.db")
    made.transact(lambda session: session.run("create table noted (text text)"))
    yield made
    made.close()


def seen(database: SqliteDatabase) -> list[str]:
    """As another process sees it."""
    with sqlite3.connect(database.location) as other:
        return [text for (text,) in other.execute("select text from noted order by rowid")]


@pytest.mark.parametrize("kind", ["made", "failed", "inside"])
def test_none_stays_open(database: SqliteDatabase, kind: str) -> None:
    work = {"made": note("made"), "failed": fails, "inside": inside(database)}[kind]
    at = 0
    while True:
        at += 1
        interrupt, trace = Interrupt(at), sys.gettrace()
        sys.settrace(interrupt)
        try:
            database.transact(work)
        except (KeyboardInterrupt, ValueError):
            pass
        finally:
            sys.settrace(trace)
        now = seen(database)
        assert "failed" not in now
        assert now.count("outer") == now.count("inner")

        database.transact(note(f"after {at}"))

        assert seen(database)[-1] == f"after {at}", f"left open by an interrupt at line {at}"
        if not interrupt.was_sent:
            break
    assert at > 12
