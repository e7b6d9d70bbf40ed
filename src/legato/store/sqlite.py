"""SQLite as a `Database`: one writer connection behind a lock, a read connection a thread, WAL.

Embedded processes commit with synchronous=NORMAL (a killed process loses nothing, a power cut may lose the last moments), servers with FULL.
No connection crosses a fork: a child that touches the database opens its own.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from legato.core.errors import Conflict, Corrupt, Unavailable, UsageError
from legato.store.database import Row
from legato.store.migrate import LATEST, migrations

BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another process's transaction. Ours last about a millisecond; a longer wait means somebody is stuck."""

_OUTERMOST = ("begin immediate", "commit", ("rollback",))
_INSIDE = ("savepoint inside", "release inside", ("rollback to inside", "release inside"))
"""A transaction inside another of the same thread is a savepoint: what fails in it leaves the rest standing."""

_LIST = re.compile(r"in :(\w+)\*")
_encode = msgspec.json.Encoder().encode


@cache
def _translated(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement in SQLite's spelling, and which of its parameters are lists."""
    lists = tuple(_LIST.findall(sql))
    return _LIST.sub(r"in (select value from json_each(:\1))", sql).replace("{lock}", ""), lists


class SqliteSession:
    """One open transaction on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _execute(self, sql: str, parameters: Mapping[str, Any]) -> sqlite3.Cursor:
        text, lists = _translated(sql)
        if lists:
            parameters = {**parameters, **{name: _encode(parameters[name]).decode() for name in lists}}
        return self._connection.execute(text, parameters)

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        return self._execute(sql, parameters).fetchall()

    def row(self, sql: str, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(sql, parameters).fetchone()
        return row

    def run(self, sql: str, **parameters: Any) -> int:
        return self._execute(sql, parameters).rowcount

    def insert(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        self._connection.executemany(_insert_sql(table, tuple(columns)), rows)

    def update(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        self._connection.executemany(_update_sql(table, tuple(columns)), [(*row[1:], row[0]) for row in rows])

    def lock_keys(self, keys: Sequence[str]) -> None:
        """Nothing to do: there is one writer at a time."""

    def append_to_journal(self, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        self.insert("journal", columns, rows)  # an integer primary key that is not given becomes the largest one plus one


@cache
def _insert_sql(table: str, columns: tuple[str, ...]) -> str:
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"  # noqa: S608 names are ours


@cache
def _update_sql(table: str, columns: tuple[str, ...]) -> str:
    return f"update {table} set {', '.join(f'{name} = ?' for name in columns[1:])} where {columns[0]} = ?"  # noqa: S608 names are ours


class SqliteDatabase:
    """A database file, or ":memory:" for tests (one connection, shared by all threads)."""

    kind = "sqlite"
    row_locks = False

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        self.location = str(path)
        self._memory = self.location == ":memory:"
        self._durable = durable
        self._lock = threading.RLock()
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._seen_version = 0
        if not self._memory:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with self._lock, _explained(self.location):
            try:
                _migrate(self._connect_writer(), None if self._memory else Path(path))
            except BaseException:
                self.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.location, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._opened.append(connection)
        return connection

    def _connect_writer(self) -> sqlite3.Connection:
        if self._writer is None or self._pid != os.getpid():
            if self._pid != os.getpid():  # forked: the parent's connections are not ours to use, nor to close
                self._pid, self._opened, self._readers, self._lock = os.getpid(), [], threading.local(), threading.RLock()
            self._writer = self._connect()
            self._writer.execute(f"pragma synchronous = {'full' if self._durable else 'normal'}")
            self._writer.execute("pragma foreign_keys = on")
            self._writer.execute("pragma wal_autocheckpoint = 4000")
        return self._writer

    def _reader(self) -> sqlite3.Connection:
        if self._memory:
            return self._connect_writer()
        if self._pid != os.getpid():
            self._connect_writer()
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("pragma query_only = on")
            connection.execute("pragma cache_size = -16384")
            self._readers.connection = connection
        return connection

    @contextmanager
    def write(self) -> Iterator[SqliteSession]:
        with self._lock, _explained(self.location):
            connection = self._connect_writer()
            begin, end, undo = _INSIDE if connection.in_transaction else _OUTERMOST
            connection.execute(begin)
            try:
                yield SqliteSession(connection)
                connection.execute(end)
            except BaseException:
                if connection.in_transaction:  # a full disk has rolled back already; a commit that failed has not
                    for statement in undo:
                        connection.execute(statement)
                raise

    @contextmanager
    def read(self) -> Iterator[SqliteSession]:
        if self._memory:
            with self._lock, _explained(self.location):
                yield SqliteSession(self._connect_writer())
            return
        connection = self._reader()
        with _explained(self.location):
            connection.execute("begin")
            try:
                yield SqliteSession(connection)
            finally:
                connection.execute("rollback")

    def foreign_changes(self) -> bool:
        with self._lock, _explained(self.location):
            version = int(self._connect_writer().execute("pragma data_version").fetchone()[0])
            changed, self._seen_version = version != self._seen_version, version
            return changed

    def close(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                for connection in self._opened:
                    connection.close()
            self._opened, self._writer, self._readers = [], None, threading.local()


def _migrate(connection: sqlite3.Connection, path: Path | None) -> None:
    """Bring the schema up to date. Creation and the switch to WAL happen under a file lock: the busy timeout does not cover that switch."""
    if connection.execute("pragma user_version").fetchone()[0] == LATEST:
        return
    with _file_lock(path):
        version = connection.execute("pragma user_version").fetchone()[0]
        if version > LATEST:
            raise UsageError(
                f"the database is at schema version {version}, this Legato knows up to {LATEST}",
                hint="upgrade Legato, or point LEGATO_DATABASE_URL at another database; nothing was changed",
            )
        if path is not None:
            connection.execute("pragma journal_mode = wal")
        for number, script in migrations("sqlite", after=version):
            connection.executescript(f"begin immediate;\n{script};\npragma user_version = {number};\ncommit;")


@contextmanager
def _file_lock(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    lock = path.with_name(path.name + "-migrate")
    deadline = time.monotonic() + 60
    while (descriptor := _try_to_create(lock)) is None:
        if time.monotonic() > deadline:
            lock.unlink(missing_ok=True)  # its owner was killed while migrating; each step is one transaction, so going on is safe
        time.sleep(0.02)
    try:
        yield
    finally:
        os.close(descriptor)
        lock.unlink(missing_ok=True)


def _try_to_create(path: Path) -> int | None:
    """An open descriptor of a file that was not there before; None when it was."""
    try:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return None


@contextmanager
def _explained(location: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with what to do."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise Conflict(f"the database refused a change: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _translated_error(error, location) from error


def _translated_error(error: sqlite3.DatabaseError, location: str) -> Exception:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable(
            f"the database {location} stayed locked for {BUSY_TIMEOUT_S:g} s",
            hint="another process holds it in a long transaction: find and stop it",
        )
    if code.startswith("SQLITE_FULL"):
        return Unavailable(f"no room left to write to {location}", hint="free some disk space; nothing that was acknowledged is lost")
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return Unavailable(
            f"cannot open the database {location}: {error}", hint="check that the folder exists and is writable, or set LEGATO_HOME"
        )
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Corrupt(f"{location} is damaged or not a database: {error}", hint="restore a backup, or move the file away to begin anew")
    return error
