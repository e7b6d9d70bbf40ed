"""PostgreSQL as a `Database`: one writer connection behind a lock, a few read connections, psycopg 3.

The writer plans without sequential scans: a statement prepared while a table is nearly empty would keep scanning it when it has grown
(four to five times slower until the first analyze). Journal positions are given out under an advisory lock that is held until the commit.
"""

from __future__ import annotations

import select
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import errors

from legato import crashing
from legato.core.clock import Clock
from legato.core.errors import Conflict, Unavailable, UsageError
from legato.forking import at_fork
from legato.store.database import LATEST, T, migrations, outgrown, too_large
from legato.store.postgres_session import JOURNAL_LOCK, PostgresSession
from legato.system import randomness

random = randomness().random


_PATIENCE = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
"""A database that is gone without a word (its machine, or the network) is an error within half a minute, where a system's own patience is
some hours, in which every thread would wait. The URL may say otherwise.
"""


class PostgresDatabase:
    """A PostgreSQL database, by its URL."""

    kind = "postgres"
    clock: Clock | None

    def __init__(self, url: str, *, readers: int = 4) -> None:
        self._url = url
        self.location = _without_password(url)
        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise UsageError(
                f"'{self.location}' is no database URL: {_in_a_line(error)}", hint="write postgresql://user:password@host/database"
            ) from None
        self._lock = threading.RLock()
        self._writer: psycopg.Connection[Any] | None = None
        self._idle: list[tuple[psycopg.Connection[Any], float]] = []
        self._readers = readers
        self._free = threading.Semaphore(readers)
        self._seen_position: tuple[Any, ...] = (-1,)
        self._inside: tuple[psycopg.Connection[Any], psycopg.Pipeline] | None = None
        self._closed = False
        _databases.add(self)
        self.clock = _DatabaseClock(self)
        with self._lock, self._explained():
            try:
                _migrate(self._connection())
            except BaseException:
                self.close()
                raise

    def _connect(self, **options: Any) -> psycopg.Connection[Any]:
        given = psycopg.conninfo.conninfo_to_dict(self._url)
        patience: dict[str, Any] = {name: value for name, value in _PATIENCE.items() if name not in given}
        return psycopg.connect(self._url, autocommit=True, prepare_threshold=0, **patience, **options)

    def _connection(self) -> psycopg.Connection[Any]:
        if self._writer is None or self._writer.closed:
            self._writer = self._connect(options="-c enable_seqscan=off -c jit=off")
        return self._writer

    def transact(self, work: Callable[[PostgresSession], T], workspace: int = 1) -> T:
        with self._lock, self._explained():
            if self._inside is not None:  # a part of this thread's own transaction
                connection, pipeline = self._inside
                with connection.transaction():
                    return work(PostgresSession(connection, workspace, pipeline))
            for again in range(_TRIES):
                settled, answer = self._try(work, workspace, again)
                if settled:
                    return answer  # type: ignore[return-value] # settled means that it is there
                time.sleep(random() * min(0.005 * 2**again, 0.5))
            raise AssertionError("the last try raises")

    @contextmanager
    def write(self, workspace: int = 1) -> Iterator[PostgresSession]:
        """One transaction by hand, which is not run again; `transact` is what the store uses."""
        with self._lock, self._explained():
            connection = self._connection()
            with connection.pipeline() as pipeline, connection.transaction():
                yield PostgresSession(connection, workspace, pipeline)

    def _try(self, work: Callable[[PostgresSession], T], workspace: int, again: int) -> tuple[bool, T | None]:
        """One run of the transaction, after `again` others: whether it is settled, and the answer. What a lost connection leaves open is
        found out; whoever has added what another has just added as well sees it the next time, and decides as the second.

        The transaction's number travels with its first statement. An unanswered commit is then asked for by number, on a new connection, so
        that nothing is done twice.
        """
        number, answer = "", None
        last = again == _TRIES - 1
        try:
            connection = self._connection()
            with connection.pipeline() as pipeline, connection.transaction():
                self._inside = (connection, pipeline)
                mark = connection.execute("select pg_current_xact_id()::text")
                answer = work(PostgresSession(connection, workspace, pipeline))
                row = mark.fetchone()
                number = row[0] if row else ""
                crashing.reached("store.committing")
            crashing.reached("store.committed")
        except (errors.DeadlockDetected, errors.SerializationFailure):
            if last:
                raise
            return False, None
        except errors.UniqueViolation as error:
            if again >= _SECONDS or error.diag.table_name in _TOLD_TWICE:
                raise
            return False, None
        except _AWAY as error:
            self._drop_writer()
            if last or isinstance(error, errors.ProgramLimitExceeded) or not self._can_be_reached():
                raise
            return (True, answer) if number and self._went_through(number) else (False, None)
        finally:
            self._inside = None
        return True, answer

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(psycopg.Error):
                writer.close()

    def _can_be_reached(self) -> bool:
        """Whether the server takes connections again: after a restart or a failover that may be a matter of milliseconds."""
        for wait_s in (0.0, 0.05, 0.2, 0.5):
            time.sleep(wait_s)
            try:
                self._connection()
            except psycopg.OperationalError:
                continue
            return True
        return False

    def _went_through(self, number: str) -> bool:
        row = self._connection().execute("select pg_xact_status(%s::xid8)", [number]).fetchone()
        return row is not None and row[0] == "committed"

    @contextmanager
    def together(self) -> Iterator[None]:
        """Nothing is shared: a second change would take its locks after the first has the journal's, which comes last."""
        yield

    @contextmanager
    def read(self, workspace: int = 1) -> Iterator[PostgresSession]:
        with self._free, self._explained():
            connection = self._reader()
            try:
                with connection.transaction():
                    yield PostgresSession(connection, workspace)
            finally:
                if connection.closed or self._closed:
                    connection.close()
                else:
                    self._idle.append((connection, time.monotonic()))

    def _reader(self) -> psycopg.Connection[Any]:
        """A connection that answers. One that was cut while it lay idle is replaced before anybody asks it in earnest."""
        while True:
            try:
                connection, used_s = self._idle.pop()
            except IndexError:
                return self._connect(
                    options="-c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on -c enable_seqscan=off -c jit=off"
                )
            rested = time.monotonic() - used_s > _RESTED_S
            if not connection.closed and (not rested or _answers(connection)):
                return connection
            connection.close()

    def foreign_changes(self) -> bool:
        with self.read() as session:
            row = session.row(
                "select (select coalesce(max(pos), 0) from journal), (select coalesce(max(pos), 0) from change),"
                " (select coalesce(max(n), 0) from log), (select coalesce(max(updated_at), 0) from artifact)"
            )
        position = tuple(row) if row else ()
        changed, self._seen_position = position != self._seen_position, position
        return changed

    def close(self) -> None:
        self._closed = True
        with self._lock:
            for connection in self._open():
                connection.close()
            self._idle, self._writer = [], None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the driver's errors into ours, with what to do."""
        try:
            yield
        except (errors.UndefinedColumn, errors.UndefinedTable, errors.UndefinedFunction, errors.IntegrityError) as error:
            if (version := self._version()) > LATEST:
                raise outgrown(version) from error
            if not isinstance(error, errors.IntegrityError):
                raise
            raise Conflict(f"the database refused a change: {error}") from error
        except errors.NumericValueOutOfRange as error:
            raise too_large() from error
        except _AWAY as error:
            if isinstance(error, errors.ProgramLimitExceeded):
                raise  # of what was to be written, and no better the next time
            raise Unavailable(
                f"cannot use the database {self.location}: {_in_a_line(error)}",
                hint="check that PostgreSQL runs there and takes connections",
            ) from error

    def _version(self) -> int:
        """The schema's, as the database has it now; 0 where it cannot be asked."""
        try:
            with self._connect() as connection:
                row = connection.execute("select max(version) from legato_schema").fetchone()
        except psycopg.Error:
            return 0
        return int(row[0]) if row and row[0] else 0

    def _open(self) -> list[psycopg.Connection[Any]]:
        return [*(connection for connection, _ in self._idle), *([self._writer] if self._writer else [])]

    def after_fork_in_child(self) -> None:
        """What is open is the parent's: it is left alone, and not closed by being forgotten."""
        _left_open.extend(self._open())
        self._idle, self._writer, self._inside = [], None, None
        self._lock, self._free = threading.RLock(), threading.Semaphore(self._readers)


_databases: weakref.WeakSet[PostgresDatabase] = weakref.WeakSet()
_left_open: list[psycopg.Connection[Any]] = []


def _after_fork_in_child() -> None:
    for database in list(_databases):
        database.after_fork_in_child()


at_fork(in_child=_after_fork_in_child)


class _DatabaseClock:
    """The database's clock, asked now and then, and carried on by this machine's monotonic one between."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._told: tuple[datetime, float] | None = None

    def monotonic_s(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        told, here_s = self._told, time.monotonic()
        if told is None or here_s - told[1] > _ASK_THE_TIME_S:
            told = self._ask(told)
        return told[0] + timedelta(seconds=time.monotonic() - told[1])

    def _ask(self, before: tuple[datetime, float] | None) -> tuple[datetime, float]:
        try:
            with self._database.read() as session:
                asked_s = time.monotonic()
                row = session.row("select clock_timestamp()")
                answered_s = time.monotonic()
        except Unavailable:
            if before is None:
                raise
            return before  # it goes on by what was last known
        assert row is not None, "a select without a table has a row"
        self._told = told = (row[0].astimezone(UTC), (asked_s + answered_s) / 2)
        return told


_ASK_THE_TIME_S = 30.0
_RESTED_S = 0.01
"""After so long unused a connection is asked whether it still answers: it may have been cut meanwhile."""


def _in_a_line(error: Exception) -> str:
    """What libpq says of each address it has tried, without its questions and advice."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith(("Is the server running", "DETAIL:", "HINT:")))


def _answers(connection: psycopg.Connection[Any]) -> bool:
    """Whether the other end is still there. A cut socket can be read; one whose end is on its way is found by asking."""
    try:
        if select.select([connection.fileno()], [], [], 0)[0]:
            return False
        connection.execute("")
    except (psycopg.Error, OSError, ValueError):
        return False
    return True


_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,  # a primary that has become a standby
    errors.IdleInTransactionSessionTimeout,
    errors.InsufficientPrivilege,
    errors.InvalidCatalogName,
)
"""What somebody mends, or what mends itself, while reports wait."""
_TOLD_TWICE = ("flow_run", "task_run")
"""Whose rows have ids that nobody gives twice: one that is here already was sent before."""
_SECONDS = 2
"""How often a key that is there already is looked at anew; if it is no race, it is a fault of the change."""
_TRIES = 8


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}").geturl() if parts.password else url


def _migrate(connection: psycopg.Connection[Any]) -> None:
    """Bring the schema up to date, one transaction a step, under an advisory lock so that many may start at once."""
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [JOURNAL_LOCK + 1])
        connection.execute("create table if not exists legato_schema (version bigint not null)")
        row = connection.execute("select max(version) from legato_schema").fetchone()
        version = (row[0] if row else None) or 0
        if version > LATEST:
            raise UsageError(
                f"the database is at schema version {version}, this Legato knows up to {LATEST}",
                hint="upgrade Legato, or point LEGATO_DATABASE_URL at another database; nothing was changed",
            )
        for number, script in migrations("postgres", after=version):
            try:
                connection.execute(script.encode(), prepare=False)
            except (errors.DuplicateTable, errors.DuplicateObject) as error:
                if version:
                    raise
                raise UsageError(
                    f"the database holds what another program has made: {str(error).splitlines()[0]}",
                    hint="give Legato a database of its own, or a schema (…?options=-csearch_path=legato); nothing was changed",
                ) from None
            connection.execute("insert into legato_schema (version) values (%s)", [number])
