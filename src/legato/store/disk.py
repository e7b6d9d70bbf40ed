"""What a database says of files outside of it, and giving back the disk that it no longer needs."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from legato.core.clock import to_us
from legato.store.sql import SqlStore, statements

_KEY = re.compile(r"[0-9a-f]{64}")

WORTH_IT = 0.25
"""The share of a file that has to be free before it is written anew."""

SMALLEST_PAGES = 64


def referenced_keys(store: SqlStore) -> set[str]:
    """The storage keys (of results, images and bundles) that anything in the database names, but for cached results that have expired. Reads
    all of it.
    """
    found: set[str] = set()
    with store.database.read() as session:
        for (text,) in session.rows(statements()["texts_with_keys"], now=to_us(store.clock.now())):
            found.update(_KEY.findall(text))
    return found


def forget_expired(store: SqlStore) -> int:
    """Remove cached results that have expired: no task takes them any more. Returns how many."""
    at = to_us(store.clock.now())
    return store.database.transact(lambda session: session.run(statements()["forget_expired"], now=at))


def compact(store: SqlStore) -> int:
    """Write a SQLite file anew when much of it is free; returns how many bytes were given back. PostgreSQL sees to it by itself.

    Nothing is lost when somebody else writes just then: it is left for the next time.
    """
    if store.database.kind != "sqlite" or store.database.location == ":memory:":
        return 0
    file = Path(store.database.location)
    before = file.stat().st_size
    connection = sqlite3.connect(file, timeout=5.0, isolation_level=None)
    try:
        pages, free = (connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        if free < SMALLEST_PAGES or free < pages * WORTH_IT:
            return 0
        connection.execute("vacuum")
        connection.execute("pragma wal_checkpoint(truncate)")
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
    return max(0, before - file.stat().st_size)
