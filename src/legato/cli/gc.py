"""What stands behind `legato run gc`: removing stored bytes that nothing refers to, and giving back the disk of removed runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from legato.cli.failures import MISUSED, Failure
from legato.cli.output import show_json
from legato.store.disk import compact, referenced_keys
from legato.store.sql import SqlStore

if TYPE_CHECKING:
    from legato.cli.session import Session


def collect(session: Session, *, dry_run: bool, older_than: timedelta) -> None:
    """Remove what nothing in the database names and is older than that, after asking."""
    if session.settings.api_url:
        raise Failure(
            "the results of a server's runs lie with the server",
            exit_code=MISUSED,
            hint="run this on its machine, with LEGATO_API_URL= and its LEGATO_HOME",
            code="usage",
        )
    store = session.store
    assert isinstance(store, SqlStore), "without a server the store is the database itself"
    before = session.now() - older_than
    storage = session.settings.home / "storage"
    old = [file for file in storage.glob("??/*") if file.is_file() and _written(file) < before]
    named = referenced_keys(store)  # after the files were listed: what is named in the meantime is not among them, or is named now
    unused = [file for file in old if file.name.partition(".")[0] not in named or "." in file.name]
    size = sum(file.stat().st_size for file in unused)
    if unused and not dry_run:
        session.confirm(f"Remove {len(unused)} stored files ({size / 1e6:.1f} MB) that nothing refers to?")
        for file in unused:
            file.unlink(missing_ok=True)
    freed = 0 if dry_run else compact(store)
    if session.wants_json:
        show_json(session, {"files": len(unused), "bytes": size, "database_bytes": freed, "removed": not dry_run})
    else:
        would = "would be removed" if dry_run else "removed"
        session.say(
            f"{len(unused)} stored files ({size / 1e6:.1f} MB) {would}"
            + (f"; the database is {freed / 1e6:.1f} MB smaller" if freed else "")
        )


def give_back(session: Session) -> None:
    """After runs were removed: the disk they took in the database."""
    if isinstance(session.store, SqlStore):
        freed = compact(session.store)
        if freed:
            session.hint(f"The database is {freed / 1e6:.1f} MB smaller. Their stored results: legato run gc")


def _written(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
