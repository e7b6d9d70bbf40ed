"""Opening a store by its URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from legato.core.errors import UsageError

if TYPE_CHECKING:
    from legato.store.database import Database
    from legato.store.port import Store
    from legato.store.sql import SqlStore


def open_store(url: str, *, api_key: str = "", reports_only: bool = False) -> Store:
    """The store at `url`: "sqlite:///path" (or "sqlite://" in memory), "postgresql://…", or "http(s)://…/api" of a server.

    `reports_only`: most likely no more than reporting is asked of it; the rest is loaded when it is.
    Raises `UsageError` for an unknown scheme, `Unavailable` when it cannot be reached.
    """
    if url.partition("://")[0].lower() in ("http", "https"):
        from legato.store.remote import RemoteStore  # noqa: PLC0415 start-up time: embedded runs need no HTTP client

        return RemoteStore(url, api_key=api_key)
    if reports_only:
        from legato.store.sql.reports import SqlReporter  # noqa: PLC0415 start-up time, as above

        return cast("Store", SqlReporter(_database_at(url), _whole))
    return open_sql_store(url)


def open_sql_store(url: str, *, durable: bool = False) -> SqlStore:
    """The SQL store at `url`. `durable` makes SQLite sync each commit to disk (a server's acknowledgement must outlive a power cut)."""
    return _whole()(_database_at(url, durable=durable))


def _whole() -> type[SqlStore]:
    from legato.store.sql.whole import SqlStore  # noqa: PLC0415 start-up time, as above

    return SqlStore


def _database_at(url: str, *, durable: bool = False) -> Database:
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        from legato.store.sqlite import SqliteDatabase  # noqa: PLC0415 start-up time: who uses another database needs no driver of this one

        path = rest.removeprefix("/") if rest != "" else ":memory:"
        return SqliteDatabase(path if path == ":memory:" else Path(path), durable=durable)
    if scheme in ("postgresql", "postgres"):
        try:
            from legato.store.postgres import PostgresDatabase  # noqa: PLC0415 an extra
        except ImportError as error:
            raise UsageError("PostgreSQL needs the psycopg driver", hint="pip install 'legato[postgres]'") from error
        return PostgresDatabase(url)
    raise UsageError(f"'{url}' is no database URL", hint="use sqlite:////absolute/path.db or postgresql://user:password@host/database")
