"""What the SQL store needs of a database: transactions, and two bulk writes. SQLite and PostgreSQL differ here and nowhere above.

Statements are written once, with `:name` parameters and `in :names*` for lists, and live in `statements/*.sql`; see `load_statements`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = Sequence[Any]


class Session(Protocol):
    """One open transaction."""

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

    def lock_keys(self, keys: Sequence[str]) -> None:
        """Keep others from deciding about these cache keys until the commit. Give them sorted."""
        ...

    def append_to_journal(self, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Add rows to the journal at the next positions, which nobody else is given until the commit: they have no gaps, and rise in
        the order of commits.
        """
        ...


class Database(Protocol):
    """A place to open sessions in."""

    kind: str
    location: str
    row_locks: bool
    """Whether a claim must lock rows for itself (PostgreSQL); SQLite has one writer at a time.

    Where there are row locks, several changes must not share a transaction: the second would take them after the journal's lock.
    """

    def write(self) -> AbstractContextManager[Session]:
        """A transaction that may change things: committed at the end, rolled back on an exception. One at a time in this process.

        Inside another of the same thread it is a part of that one: kept or undone by itself, committed with it.
        """
        ...

    def read(self) -> AbstractContextManager[Session]:
        """A consistent view; changes nothing."""
        ...

    def foreign_changes(self) -> bool:
        """Whether another connection or process has committed since this was last asked. Cheap; may say yes too often, never too seldom."""
        ...

    def close(self) -> None: ...


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
