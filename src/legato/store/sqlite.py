"""SQLite as a `Database`: one writer connection behind a lock, a few read connections, WAL.

Embedded processes commit with synchronous=NORMAL (a killed process loses nothing, a power cut may lose the last moments), servers with FULL.
No connection crosses a fork: all are closed before it, and opened again, by parent and child, when they are wanted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from legato import crashing
from legato.core.clock import Clock
from legato.core.errors import Conflict, Corrupt, Unavailable, UsageError
from legato.forking import at_fork
from legato.store.database import LATEST, T, outgrown, too_large
from legato.store.sqlite_schema import migrate
from legato.store.sqlite_session import SqliteSession

OLDEST = (3, 35, 0)
"""The first SQLite that answers with the rows it has changed (`returning`)."""
BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another process's transaction. Ours last about a millisecond; a longer wait means somebody is stuck."""
_BEFORE_TURNS_S = 0.02
"""Of these, how long by SQLite's own handler, which costs nothing where nobody waits; then in turns (see `turns`)."""

_Statements: TypeAlias = tuple[str, str, tuple[str, ...]]
_OUTERMOST: _Statements = ("begin immediate", "commit", ("rollback",))
_INSIDE: _Statements = ("savepoint inside", "release inside", ("rollback to inside", "release inside"))
"""A transaction inside another of the same thread is a savepoint: what fails in it leaves the rest standing."""


class _Transaction:
    """A change of the database. A class, because a generator would cost a third as much again as `begin` and `commit` do."""

    __slots__ = ("_connection", "_database", "_end", "_is_open", "_lock", "_undo", "_workspace")

    def __init__(self, database: SqliteDatabase, workspace: int) -> None:
        self._database = database
        self._workspace = workspace
        self._end, self._undo = _OUTERMOST[1:]
        self._is_open = False

    def __enter__(self) -> SqliteSession:
        database = self._database
        if database._is_forking:  # noqa: SLF001 a part of it
            database._let_the_fork_go_first()  # noqa: SLF001 as above
        lock = self._lock = database._lock  # noqa: SLF001 a part of it
        lock.acquire()
        try:
            connection = self._connection = database._connect_writer()  # noqa: SLF001 a part of it
            is_inside = connection.in_transaction
            if not is_inside:
                database._see_that_it_is_there()  # noqa: SLF001 a part of it
            begin, self._end, self._undo = _INSIDE if is_inside else _OUTERMOST
            self._is_open = not is_inside  # Ctrl-C may come before the line that says so of a savepoint
            try:
                connection.execute(begin)
            except sqlite3.OperationalError as error:
                database._begin_in_turn(connection, begin, error)  # noqa: SLF001 a part of it
            self._is_open = True
            return SqliteSession(connection, self._workspace)
        except BaseException as error:
            try:
                self._take_back()
            finally:
                lock.release()
            if isinstance(error, sqlite3.DatabaseError):
                raise _translated_error(error, database.location) from error
            raise

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        try:
            if error is None:
                self._commit()
            else:
                self._take_back()
        except BaseException as failure:
            self._take_back()  # after Ctrl-C, too: one that stays open takes in all that is written later, and nobody else sees it
            if isinstance(failure, sqlite3.DatabaseError):
                raise _translated_error(failure, self._database.location) from failure
            raise
        finally:
            self._lock.release()
        if isinstance(error, sqlite3.DatabaseError):
            raise _translated_error(error, self._database.location, self._connection) from error
        if isinstance(error, OverflowError):  # the driver's, of a parameter
            raise too_large() from error

    def _commit(self) -> None:
        is_watched = crashing.armed is not None and self._end == _OUTERMOST[1]
        if is_watched:
            crashing.reached("store.committing")
        self._connection.execute(self._end)
        self._is_open = False
        if is_watched:
            crashing.reached("store.committed")

    def _take_back(self) -> None:
        """Undo what was begun. A full disk has rolled back already; a commit that failed has not."""
        if self._is_open and self._connection.in_transaction:
            try:
                for statement in self._undo:
                    self._connection.execute(statement)
            except sqlite3.OperationalError:
                if self._undo == _OUTERMOST[2]:  # a savepoint may have been released before Ctrl-C came: what is around it is taken back
                    raise
        self._is_open = False


class SqliteDatabase:
    """A database file, or ":memory:" for tests (one connection, shared by all threads)."""

    kind = "sqlite"
    clock: Clock | None = None

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise UsageError(
                f"this Python has SQLite {sqlite3.sqlite_version}, and Legato needs {'.'.join(map(str, OLDEST))} or newer",
                hint="take a Python with a newer one, or set LEGATO_DATABASE_URL to a PostgreSQL",
            )
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
        self._file: tuple[int, int] | None = None
        if not self._memory:
            _make_folder(Path(path).parent)
        with self._lock, _explained(self.location):
            try:
                writer = self._connect_writer()
                _patient(writer, BUSY_TIMEOUT_S)
                migrate(writer, None if self._memory else Path(path))
                _patient(writer, _BEFORE_TURNS_S)
            except BaseException:
                self.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.location, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256)

    def _connect_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = self._connect()
            self._file = _file_at(self.location)
            self._writer.execute(f"pragma synchronous = {'full' if self._durable else 'normal'}")
            self._writer.execute("pragma foreign_keys = on")
            self._writer.execute("pragma wal_autocheckpoint = 4000")
            _patient(self._writer, _BEFORE_TURNS_S)
        return self._writer

    def _see_that_it_is_there(self) -> None:
        """Raise `Unavailable` when the file was removed, or another was put in its place: what is written into the old one is lost with it."""
        if not self._memory and self._file != _file_at(self.location):
            raise Unavailable(
                f"the database {self.location} was removed or replaced while it was in use",
                hint="start this process again, and it takes what is there now; until then it writes nothing, and what runs report is kept",
            )

    def _begin_in_turn(self, connection: sqlite3.Connection, begin: str, error: sqlite3.OperationalError) -> None:
        """Open a transaction of the writer while other processes write as well; raise what has failed otherwise."""
        from legato.store.turns import Turns, is_busy  # noqa: PLC0415 start-up time: most never meet another process

        if not is_busy(error):
            raise error
        _patient(connection, 0)
        try:
            Turns(Path(self.location)).wait(lambda: connection.execute(begin), BUSY_TIMEOUT_S)
        finally:
            _patient(connection, _BEFORE_TURNS_S)

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
            with _explained(self.location, connection):
                connection.execute("begin")
                try:
                    yield SqliteSession(connection, workspace)
                finally:
                    connection.execute("rollback")
        finally:
            self._end_reading(connection)

    def foreign_changes(self) -> bool:
        with self._lock, _explained(self.location):  # asks the file's header only, which nobody holds for long
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"the folder {folder} cannot be used: {error.strerror}", hint="see that it is a writable folder, or set LEGATO_HOME to another"
        ) from None


def _file_at(location: str) -> tuple[int, int] | None:
    """Which file is there: its device and inode; None when there is none."""
    try:
        found = os.stat(location)  # noqa: PTH116 once a transaction: a path costs more than the question
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _patient(connection: sqlite3.Connection, for_s: float) -> None:
    connection.execute(f"pragma busy_timeout = {for_s * 1000:.0f}")


def _version(connection: sqlite3.Connection) -> int:
    """The schema's, as the file has it now; 0 where it cannot be asked."""
    try:
        return int(connection.execute("pragma user_version").fetchone()[0])
    except sqlite3.Error:
        return 0


@contextmanager
def _explained(location: str, connection: sqlite3.Connection | None = None) -> Iterator[None]:
    """Turn the driver's errors into ours, with what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translated_error(error, location, connection) from error


_AWAY = ("SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_PROTOCOL", "SQLITE_INTERRUPT", "SQLITE_AUTH", "SQLITE_NOLFS")
"""What somebody mends, or what mends itself, while reports wait."""


def _translated_error(error: sqlite3.DatabaseError, location: str, connection: sqlite3.Connection | None = None) -> Exception:
    if connection is not None and (version := _version(connection)) > LATEST:
        return outgrown(version)
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
    if code.startswith(_AWAY):
        return Unavailable(f"the database {location} cannot be used: {error} ({code})", hint="look at its disk; what is reported is kept")
    return error
