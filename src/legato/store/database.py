"""What the SQL store needs of a database: transactions, and two bulk writes. SQLite and PostgreSQL differ here and nowhere above.

Statements are written once, with `:name` parameters and `in :names*` for lists, and live in `statements/*.sql`; see `load_statements`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from legato.core.clock import Clock
from legato.core.errors import Unavailable, UsageError

Row: TypeAlias = Sequence[Any]
T = TypeVar("T")


class Session(Protocol):
    """One open transaction, in one workspace: every statement may name it as `:workspace`."""

    workspace: int
    row_locks: bool
    """Whether rows must be locked for a change (PostgreSQL); SQLite has one writer at a time."""

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        """All rows of a query."""
        ...

    def row(self, sql: str, **parameters: Any) -> Row | None:
        """The first row of a query, or None."""
        ...

    def run(self, sql: str, **parameters: Any) -> int:
        """Execute a change; returns how many rows it touched."""
        ...

    def insert(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Add many rows. `columns` gives names and PostgreSQL types, in the order of each row."""
        ...

    def update(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Change many rows by their `id`, which is the first of `columns`."""
        ...

    def numbers(self, table: str, count: int) -> Iterator[int]:
        """The numbers (`n`) of the next rows of a table, at most so many: whoever writes them names the rows by these."""
        ...

    def merging(self) -> None:
        """The queries that follow in this transaction read indexes in their order and merge them, rather than hash or sort what they hold."""
        ...

    def lock_keys(self, keys: Sequence[str]) -> None:
        """Keep others from deciding about these cache keys until the commit. Give them sorted."""
        ...

    def append_to_journal(self, columns: Mapping[str, str], rows: Sequence[Row], *, table: str = "journal") -> None:
        """Add rows to the journal (or its other half, `change`) at the next positions, which nobody else is given until the commit: they have no gaps, and rise in
        the order of commits.
        """
        ...


class Database(Protocol):
    """A place to open sessions in."""

    kind: str
    location: str
    clock: Clock | None
    """The database's own clock, where it has one that all who share it see."""

    def transact(self, work: Callable[[Session], T], workspace: int = 1) -> T:
        """What `work` answers, with what it has changed committed; undone when it raises. One at a time in this process.

        `work` is a function of the session and nothing else: after a deadlock, a serialisation failure or a lost connection it is called
        again, from the start. Inside another of the same thread it is a part of that one: kept or undone by itself, committed with it.

        The order of locks, for everybody: deployments by id, schedules by id, queues by id, limits by id, flow runs by id (task runs need none of their own), cache keys, flows, tags, slots,
        artifact keys (each sorted), the journal last.
        """
        ...

    def together(self) -> AbstractContextManager[object]:
        """Transactions of this thread inside it share one commit, where that breaks no order of locks (SQLite has none)."""
        ...

    def read(self, workspace: int = 1) -> AbstractContextManager[Session]:
        """A consistent view; changes nothing."""
        ...

    def foreign_changes(self) -> bool:
        """Whether another connection or process has committed since this was last asked. Cheap; may say yes too often, never too seldom."""
        ...

    def close(self) -> None: ...


LATEST = 9
"""The schema version this code works with: the number of the last file in `migrations/`."""


def outgrown(version: int) -> Unavailable:
    """What a process is told that goes on while a newer Legato has migrated its database: kept is what it reports, until that one sends it."""
    return Unavailable(
        f"a newer Legato has brought the database to schema version {version}, and this process knows up to {LATEST}",
        hint="what it reports is kept, and sent by the next that starts; start what still runs the old one anew",
    )


def too_large() -> UsageError:
    """What whoever gives a number is told that no column holds, where the driver is the first to notice."""
    return UsageError("a number is too large to be kept", hint="give whole numbers within 64 bits")


_SECTION = re.compile(r"^-- (\w+):", re.MULTILINE)


def load_statements() -> dict[str, str]:
    """Every named statement of `statements/*.sql`. A statement begins with a comment line `-- name: what it is for`."""
    statements: dict[str, str] = {}
    for file in (Path(__file__).parent / "statements").iterdir():
        if not file.name.endswith(".sql"):
            continue
        text = file.read_text(encoding="utf-8")
        marks = [*_SECTION.finditer(text)]
        for mark, end in zip(marks, [m.start() for m in marks[1:]] + [len(text)], strict=True):
            lines = text[mark.start() : end].splitlines()
            statements[mark.group(1)] = "\n".join(line for line in lines if not line.startswith("--")).strip().rstrip(";")
    return statements


_WORDS = {
    "sqlite": {"key": "integer primary key", "position": "integer primary key", "no_rowid": " without rowid"},
    "postgres": {"key": "bigint generated by default as identity primary key", "position": "bigint primary key", "no_rowid": ""},
}


def migrations(kind: str, *, after: int) -> list[tuple[int, str]]:
    """The scripts that bring a schema of version `after` up to LATEST: (number, SQL), in order."""
    found = []
    for file in (Path(__file__).parent / "migrations").iterdir():
        number = file.name.partition("_")[0]
        is_other_kind = any(file.name.endswith(f".{other}.sql") for other in _WORDS.keys() - {kind})
        if file.name.endswith(".sql") and number.isdigit() and int(number) > after and not is_other_kind:
            text = file.read_text(encoding="utf-8")
            for word, meaning in _WORDS[kind].items():
                text = text.replace("{" + word + "}", meaning)
            found.append((int(number), text))
    return sorted(found)
