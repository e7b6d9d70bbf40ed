"""The schema of a SQLite file: made anew, or brought up to date, by one process at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from legato.core.errors import Corrupt, UsageError
from legato.store.database import LATEST, migrations


def migrate(connection: sqlite3.Connection, path: Path | None) -> None:
    """Bring the schema up to date. Creation and the switch to WAL happen under a file lock: the busy timeout does not cover that switch."""
    if connection.execute("pragma user_version").fetchone()[0] == LATEST and _is_ours(connection):
        return
    with file_lock(path):
        version = connection.execute("pragma user_version").fetchone()[0]
        if not (_is_ours(connection) if version else _is_empty(connection)):
            raise UsageError(
                f"{path} is the database of another program",
                hint="point LEGATO_DATABASE_URL at a file of Legato's own; nothing was changed",
            )
        if version > LATEST:
            raise UsageError(
                f"the database is at schema version {version}, this Legato knows up to {LATEST}",
                hint="upgrade Legato, or point LEGATO_DATABASE_URL at another database; nothing was changed",
            )
        if path is not None:
            connection.execute("pragma journal_mode = wal")
        connection.execute("pragma foreign_keys = off")  # a table made anew is dropped first, and would take with it what refers to it
        try:
            if version == 0:
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


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Other programs number their schemas in the same place."""
    return connection.execute("select 1 from sqlite_master where type = 'table' and name = 'flow_run'").fetchone() is not None


def _is_empty(connection: sqlite3.Connection) -> bool:
    """But for what tools that copy databases keep in them, under names with an underscore before, and SQLite itself."""
    found = connection.execute("select name from sqlite_master").fetchall()
    return all(name.startswith(("_", "sqlite_")) for (name,) in found)


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
def file_lock(path: Path | None) -> Iterator[None]:
    """Held by one process at a time, and let go by the system when its holder dies. The file stays: unlinking it would let two in."""
    if path is None:
        yield
        return
    import fcntl  # noqa: PLC0415 not on every platform, and wanted only where a schema is made or changed

    with path.with_name(path.name + "-migrate").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
