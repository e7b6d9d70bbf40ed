"""SQLite as a `Database`: one writer connection behind a lock, a few read connections, WAL.

Embedded processes commit with synchronous=NORMAL (a killed process loses nothing, a power cut may lose the last moments), servers with FULL.
No connection crosses a fork: all are closed before it, and opened again, by parent and child, when they are wanted.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, lru_cache
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import msgspec

from legato import crashing
from legato.core.clock import Clock
from legato.core.errors import Conflict, Corrupt, Unavailable, UsageError
from legato.forking import at_fork
from legato.store.columns import storable
from legato.store.database import LATEST, Row, T, migrations

BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another process's transaction. Ours last about a millisecond; a longer wait means somebody is stuck."""

_AT_ONCE = (64, 16, 4, 1)
"""Rows of one statement: few sizes, so that each is prepared once. More gain nothing; 64 times 40 columns stay far below the 32,766
parameters that a statement may have.
"""
_MANY = 4
_CAN_UPDATE_FROM = sqlite3.sqlite_version_info >= (3, 33)

_Statements: TypeAlias = tuple[str, str, tuple[str, ...]]
_OUTERMOST: _Statements = ("begin immediate", "commit", ("rollback",))
_INSIDE: _Statements = ("savepoint inside", "release inside", ("rollback to inside", "release inside"))
"""A transaction inside another of the same thread is a savepoint: what fails in it leaves the rest standing."""

_LIST = re.compile(r"in :(\w+)\*")
_encode = msgspec.json.Encoder().encode


@cache
def _translated(sql: str) -> tuple[str, str, tuple[str, ...]]:
    """The statement in SQLite's spelling, the same for lists of one item, and which of its parameters are lists."""
    sql, lists = sql.replace("{lock}", ""), tuple(_LIST.findall(sql))
    return _LIST.sub(r"in (select value from json_each(:\1))", sql), _LIST.sub(r"= :\1", sql), lists


class SqliteSession:
    """One open transaction on one connection."""

    row_locks = False

    def __init__(self, connection: sqlite3.Connection, workspace: int = 1) -> None:
        self._connection = connection
        self.workspace = workspace

    def _execute(self, sql: str, parameters: dict[str, Any]) -> sqlite3.Cursor:
        parameters["workspace"] = self.workspace
        for name, value in parameters.items():
            if type(value) is str and not (value.isascii() and "\0" not in value):
                parameters[name] = storable(value)
        text, for_one, lists = _translated(sql)
        if lists:
            if len(lists) == 1 and len(given := parameters[lists[0]]) == 1:
                (parameters[lists[0]],) = given
                return self._connection.execute(for_one, parameters)
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
        if len(rows) < _MANY:
            self._connection.executemany(_insert_sql(table, tuple(columns)), rows)
        else:
            self._write_many(_insert_many_sql, table, tuple(columns), rows)

    def update(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        if len(rows) < _MANY or not _CAN_UPDATE_FROM:
            self._connection.executemany(_update_sql(table, tuple(columns)), [(*row[1:], row[0]) for row in rows])
        else:
            self._write_many(_update_many_sql, table, tuple(columns), rows)

    def _write_many(self, sql_of: Callable[..., str], table: str, names: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Many rows a statement, and what is the same in all of them bound once. That is half the time of a statement a row, and the
        interpreter's lock, which other threads then take, is let go once where it would be 64 times.
        """
        columns = [*zip(*rows, strict=True)]
        same = (False, *(column.count(column[0]) == len(column) for column in columns[1:]))
        once = [column[0] for column, is_same in zip(columns, same, strict=True) if is_same]
        each = [*zip(*(column for column, is_same in zip(columns, same, strict=True) if not is_same), strict=True)]
        start = 0
        for at_once in _AT_ONCE:
            while start + at_once <= len(rows):
                self._connection.execute(sql_of(table, names, same, at_once), [*once, *chain.from_iterable(each[start : start + at_once])])
                start += at_once

    def numbers(self, table: str, count: int) -> Iterator[int]:
        last = self._connection.execute(f"select coalesce(max(n), 0) from {table}").fetchone()[0]  # noqa: S608 names are ours
        yield from range(last + 1, last + 1 + count)

    def lock_keys(self, keys: Sequence[str]) -> None:
        """Nothing to do: there is one writer at a time."""

    def append_to_journal(self, columns: Mapping[str, str], rows: Sequence[Row], *, table: str = "journal") -> None:
        self.insert(table, columns, rows)  # an integer primary key that is not given becomes the largest one plus one


@cache
def _insert_sql(table: str, columns: tuple[str, ...]) -> str:
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"  # noqa: S608 names are ours


def _places(same: tuple[bool, ...], rows: int) -> tuple[list[int], list[list[int]]]:
    """The numbers of a statement's parameters: of each column that is the same in all rows (else 0), and of the others, row by row."""
    counted = count(1)
    once = [next(counted) if is_same else 0 for is_same in same]
    return once, [[n or next(counted) for n in once] for _ in range(rows)]


@lru_cache(maxsize=200)
def _insert_many_sql(table: str, names: tuple[str, ...], same: tuple[bool, ...], rows: int) -> str:
    _, places = _places(same, rows)
    values = ", ".join(f"({', '.join(f'?{n}' for n in row)})" for row in places)
    return f"insert into {table} ({', '.join(names)}) values {values}"  # noqa: S608 names are ours


@lru_cache(maxsize=200)
def _update_many_sql(table: str, names: tuple[str, ...], same: tuple[bool, ...], rows: int) -> str:
    once, places = _places(same, rows)
    varying = [i for i, n in enumerate(once) if not n]
    values = ", ".join(f"({', '.join(f'?{row[i]}' for i in varying)})" for row in places)
    column = {i: f"v.column{k}" for k, i in enumerate(varying, 1)}
    sets = ", ".join(f"{name} = {f'?{once[i]}' if once[i] else column[i]}" for i, name in enumerate(names) if i)
    return f"update {table} set {sets} from (values {values}) v where {table}.{names[0]} = v.column1"  # noqa: S608 names are ours


@cache
def _update_sql(table: str, columns: tuple[str, ...]) -> str:
    return f"update {table} set {', '.join(f'{name} = ?' for name in columns[1:])} where {columns[0]} = ?"  # noqa: S608 names are ours


class _Transaction:
    """A change of the database. A class, because a generator would cost a third as much again as `begin` and `commit` do."""

    __slots__ = ("_connection", "_database", "_end", "_lock", "_undo", "_workspace")

    def __init__(self, database: SqliteDatabase, workspace: int) -> None:
        self._database = database
        self._workspace = workspace
        self._end, self._undo = _OUTERMOST[1:]

    def __enter__(self) -> SqliteSession:
        database = self._database
        if database._is_forking:  # noqa: SLF001 a part of it
            database._let_the_fork_go_first()  # noqa: SLF001 as above
        lock = self._lock = database._lock  # noqa: SLF001 a part of it
        lock.acquire()
        try:
            connection = self._connection = database._connect_writer()  # noqa: SLF001 a part of it
            begin, self._end, self._undo = _INSIDE if connection.in_transaction else _OUTERMOST
            connection.execute(begin)
        except BaseException as error:
            lock.release()
            if isinstance(error, sqlite3.DatabaseError):
                raise _translated_error(error, database.location) from error
            raise
        return SqliteSession(connection, self._workspace)

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        try:
            if error is None:
                self._commit()
            else:
                self._take_back()
        except sqlite3.DatabaseError as failure:
            raise _translated_error(failure, self._database.location) from failure
        finally:
            self._lock.release()
        if isinstance(error, sqlite3.DatabaseError):
            raise _translated_error(error, self._database.location) from error

    def _commit(self) -> None:
        is_watched = crashing.armed is not None and self._end == _OUTERMOST[1]
        if is_watched:
            crashing.reached("store.committing")
        try:
            self._connection.execute(self._end)
            if is_watched:
                crashing.reached("store.committed")
        except BaseException:
            self._take_back()
            raise

    def _take_back(self) -> None:
        if self._connection.in_transaction:  # a full disk has rolled back already; a commit that failed has not
            for statement in self._undo:
                self._connection.execute(statement)


class SqliteDatabase:
    """A database file, or ":memory:" for tests (one connection, shared by all threads)."""

    kind = "sqlite"
    clock: Clock | None = None

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        self.location = str(path)
        self._memory = self.location == ":memory:"
        self._durable = durable
        self._lock = threading.RLock()
        self._readers = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._reading = 0
        self._is_forking = False
        self._has_lock = False
        self._writer: sqlite3.Connection | None = None
        _databases.add(self)
        self._seen_version = 0
        if not self._memory:
            _make_folder(Path(path).parent)
        with self._lock, _explained(self.location):
            try:
                _migrate(self._connect_writer(), None if self._memory else Path(path))
            except BaseException:
                self.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.location, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256)

    def _connect_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = self._connect()
            self._writer.execute(f"pragma synchronous = {'full' if self._durable else 'normal'}")
            self._writer.execute("pragma foreign_keys = on")
            self._writer.execute("pragma wal_autocheckpoint = 4000")
        return self._writer

    def _reader(self) -> sqlite3.Connection:
        """A connection to read with; waits while another thread forks."""
        with self._readers:
            while self._is_forking:
                self._readers.wait()
            self._reading += 1
            if self._idle:
                return self._idle.pop()
        try:
            connection = self._connect()
            connection.execute("pragma query_only = on")
            connection.execute("pragma cache_size = -16384")
        except BaseException:
            self._end_reading(None)
            raise
        return connection

    def _end_reading(self, connection: sqlite3.Connection | None) -> None:
        with self._readers:
            self._reading -= 1
            if connection is not None and len(self._idle) < _READERS_KEPT:
                self._idle.append(connection)
                connection = None
            self._readers.notify_all()
        if connection is not None:
            connection.close()

    def transact(self, work: Callable[[SqliteSession], T], workspace: int = 1) -> T:
        with _Transaction(self, workspace) as session:
            return work(session)

    def write(self, workspace: int = 1) -> AbstractContextManager[SqliteSession]:
        """One transaction by hand; `transact` is what the store uses."""
        return _Transaction(self, workspace)

    def together(self) -> AbstractContextManager[object]:
        return _Transaction(self, 1)

    @contextmanager
    def read(self, workspace: int = 1) -> Iterator[SqliteSession]:
        if self._memory:
            with self._lock, _explained(self.location):
                yield SqliteSession(self._connect_writer(), workspace)
            return
        connection = self._reader()
        try:
            with _explained(self.location):
                connection.execute("begin")
                try:
                    yield SqliteSession(connection, workspace)
                finally:
                    connection.execute("rollback")
        finally:
            self._end_reading(connection)

    def foreign_changes(self) -> bool:
        with self._lock, _explained(self.location):
            version = int(self._connect_writer().execute("pragma data_version").fetchone()[0])
            changed, self._seen_version = version != self._seen_version, version
            return changed

    def close(self) -> None:
        with self._lock, self._readers:
            self._close_all()

    def _close_all(self) -> None:
        for connection in [*self._idle, *([self._writer] if self._writer is not None else [])]:
            connection.close()
        self._idle, self._writer = [], None

    # ------------------------------------------------------------------ fork
    # SQLite keeps its locks on a file by process and inode, and a child's copy of an open connection believes in locks it does not have:
    # what the child then commits is lost when the parent closes the file. So nothing is open while a process forks; each opens its own.

    def before_fork(self) -> None:
        """Wait for whoever writes and reads, up to FORK_WAITS_S, then close everything. Let go by `after_fork`, in the parent and the child."""
        with self._readers:
            self._is_forking = True  # busy threads would else take the lock again and again before a fork gets it
        self._has_lock = self._lock.acquire(timeout=FORK_WAITS_S)
        with self._readers:
            quiet = self._readers.wait_for(lambda: self._reading == 0, timeout=FORK_WAITS_S)
        inside = self._writer is not None and self._has_lock and self._writer.in_transaction
        if self._has_lock and quiet and not inside and not self._memory:
            self._close_all()

    def _let_the_fork_go_first(self) -> None:
        """Wait while another thread forks; not inside a transaction of one's own, which the fork waits for."""
        if self._lock._is_owned():  # type: ignore[attr-defined] # noqa: SLF001 the only way to ask
            return
        with self._readers:
            while self._is_forking:
                self._readers.wait()

    def after_fork_in_parent(self) -> None:
        """Let the others go on."""
        with self._readers:
            self._is_forking = False
            self._readers.notify_all()
        if self._has_lock:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Nobody else is here, and what the parent may still have open is not ours to use, nor to close."""
        if not self._memory:
            _left_open.extend([*self._idle, *([self._writer] if self._writer is not None else [])])
            self._idle, self._writer = [], None
        self._lock, self._readers = threading.RLock(), threading.Condition()
        self._reading, self._is_forking = 0, False


FORK_WAITS_S = 5.0
"""How long a fork waits for a transaction of another thread. Ours last about a millisecond."""
_READERS_KEPT = 4
"""Read connections that are kept open; more are opened when more read at once."""

_databases: weakref.WeakSet[SqliteDatabase] = weakref.WeakSet()
_forking: list[SqliteDatabase] = []
_left_open: list[sqlite3.Connection] = []
"""In a child: connections of the parent that could not be closed. Kept, because closing them would take the parent's locks away."""


def _before_fork() -> None:
    _forking.extend(_databases)
    for database in _forking:
        database.before_fork()


def _after_fork_in_parent() -> None:
    for database in _forking:
        database.after_fork_in_parent()
    _forking.clear()


def _after_fork_in_child() -> None:
    for database in _forking:
        database.after_fork_in_child()
    _forking.clear()


at_fork(before=_before_fork, in_parent=_after_fork_in_parent, in_child=_after_fork_in_child)


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
        connection.execute("pragma foreign_keys = off")  # a table made anew is dropped first, and would take with it what refers to it
        try:
            if version == 0 and _is_empty(connection):
                connection.executescript(f"begin immediate;\n{schema()}\npragma user_version = {LATEST}; commit;")
                version = LATEST
            for number, script in migrations("sqlite", after=version):
                connection.executescript(f"begin immediate;\n{script};\npragma user_version = {number};")
                broken = connection.execute("pragma foreign_key_check").fetchone()
                if broken is not None:
                    raise Corrupt(f"table {broken[0]} refers to rows that are not there; the schema was left at version {number - 1}")
                connection.execute("commit")
            _make_searchable(connection)
        finally:
            if connection.in_transaction:
                connection.execute("rollback")
            connection.execute("pragma foreign_keys = on")


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("select 1 from sqlite_master limit 1").fetchone() is None


def schema() -> str:
    """What all migrations make together, in one script."""
    return (Path(__file__).parent / "migrations" / "schema.sqlite.sql").read_text(encoding="utf-8")


def schema_of_migrations() -> list[str]:
    """The statements of the schema that the migrations make, one after another, in the order they came to be."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for _, script in migrations("sqlite", after=0):
        connection.executescript(script)
    found = connection.execute("select sql from sqlite_master where sql is not null order by rowid").fetchall()
    connection.close()
    return [sql for (sql,) in found]


def _make_searchable(connection: sqlite3.Connection) -> None:
    """Parts of runs' names are found by trigrams, where this SQLite has them (3.34, with FTS5); elsewhere a search reads the names."""
    if connection.execute("select 1 from sqlite_master where name = 'flow_run_text'").fetchone() is not None:
        return
    try:
        connection.executescript(
            "begin immediate;"
            " create virtual table flow_run_text using fts5(name, content='flow_run', content_rowid='n', tokenize='trigram', detail='none');"
            " create trigger flow_run_text_add after insert on flow_run begin"
            " insert into flow_run_text (rowid, name) values (new.n, new.name); end;"
            " create trigger flow_run_text_remove after delete on flow_run begin"
            " insert into flow_run_text (flow_run_text, rowid, name) values ('delete', old.n, old.name); end;"
            " insert into flow_run_text (flow_run_text) values ('rebuild'); commit;"
        )
    except sqlite3.OperationalError:
        if connection.in_transaction:
            connection.execute("rollback")


@contextmanager
def _file_lock(path: Path | None) -> Iterator[None]:
    """Held by one process at a time, and let go by the system when its holder dies. The file stays: unlinking it would let two in."""
    if path is None:
        yield
        return
    import fcntl  # noqa: PLC0415 not on every platform, and wanted only where a schema is made or changed

    with path.with_name(path.name + "-migrate").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"the folder {folder} cannot be used: {error.strerror}", hint="see that it is a writable folder, or set LEGATO_HOME to another"
        ) from None


@contextmanager
def _explained(location: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translated_error(error, location) from error


def _translated_error(error: sqlite3.DatabaseError, location: str) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(f"the database refused a change: {error}")
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
