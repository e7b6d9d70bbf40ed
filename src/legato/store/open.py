"""Opening a store by its URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from legato.core.errors import UsageError

if TYPE_CHECKING:
    from legato.store.port import Store
    from legato.store.sql import SqlStore


def open_store(url: str, *, api_key: str = "") -> Store:
    """The store at `url`: "sqlite:///path" (or "sqlite://" in memory), "postgresql://…", or "http(s)://…/api" of a server.

    Raises `UsageError` for an unknown scheme, `Unavailable` when it cannot be reached.
    """
    if url.partition("://")[0].lower() in ("http", "https"):
        from legato.store.remote import RemoteStore  # noqa: PLC0415 start-up time: embedded runs need no HTTP client

        return RemoteStore(url, api_key=api_key)
    return open_sql_store(url)


def open_sql_store(url: str, *, durable: bool = False) -> SqlStore:
    """The SQL store at `url`. `durable` makes SQLite sync each commit to disk (a server's acknowledgement must outlive a power cut)."""
    from legato.store.sql import SqlStore  # noqa: PLC0415 start-up time: a process that reports to a server needs no database driver

    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        from legato.store.sqlite import SqliteDatabase  # noqa: PLC0415 start-up time, as above

        path = rest.removeprefix("/") if rest != "" else ":memory:"
        return SqlStore(SqliteDatabase(path if path == ":memory:" else Path(path), durable=durable))
    if scheme in ("postgresql", "postgres"):
        try:
            from legato.store.postgres import PostgresDatabase  # noqa: PLC0415 an extra
        except ImportError as error:
            raise UsageError("PostgreSQL needs the psycopg driver", hint="pip install 'legato[postgres]'") from error
        return SqlStore(PostgresDatabase(url))
    raise UsageError(f"'{url}' is no database URL", hint="use sqlite:////absolute/path.db or postgresql://user:password@host/database")
