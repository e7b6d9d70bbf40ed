"""One open transaction on PostgreSQL: statements in its spelling, many rows a statement, and the journal's positions under their lock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, TypeAlias

import msgspec
import psycopg

from legato.store.columns import storable
from legato.store.database import Row

JOURNAL_LOCK = 0x6C656761746F
"""Advisory lock of the journal's positions ("legato" in ASCII); the migrations' lock is one above."""

_json = msgspec.json.Encoder().encode
_LIST = re.compile(r"in :(\w+)\*")
_NAME = re.compile(r"(?<![:\w]):(\w+)")


@cache
def _translated(sql: str, for_one: str = "") -> str:
    """The statement in psycopg's spelling; `for_one`: its only list, which has one item. That spelling is planned once: for a list's length
    the server plans anew each time, because a plan for any length looks dearer.
    """
    lists = _LIST.sub(r"= :\1" if for_one else r"= any(:\1)", sql.replace("%", "%%"))
    return (
        _NAME.sub(r"%(\1)s", lists).replace("{lock}", "for update").replace("{lock_run}", "for update of r").replace("{share}", "for share")
    )


@cache
def _only_list(sql: str) -> str:
    """The name of a statement's list, where there is one and no other; else nothing."""
    names = _LIST.findall(sql)
    return names[0] if len(names) == 1 else ""


class PostgresSession:
    """One open transaction on one connection.

    With a `pipeline`, statements are sent without waiting for the answer until one is wanted: a batch takes two round trips instead of seven.
    """

    row_locks = True

    def __init__(self, connection: psycopg.Connection[Any], workspace: int = 1, pipeline: psycopg.Pipeline | None = None) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self.workspace = workspace

    def _execute(self, sql: str, parameters: Mapping[str, Any]) -> psycopg.Cursor[Any]:
        given = {name: _given(value) for name, value in parameters.items()}
        given["workspace"] = self.workspace
        only = _only_list(sql)
        if only and len(given[only]) == 1:
            (given[only],) = given[only]
            return self._connection.execute(_translated(sql, only), given)
        return self._connection.execute(_translated(sql), given)

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        return self._execute(sql, parameters).fetchall()

    def row(self, sql: str, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(sql, parameters).fetchone()
        return row

    def run(self, sql: str, **parameters: Any) -> int:
        cursor = self._execute(sql, parameters)
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def insert(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        if rows:
            same, parameters = _by_column(rows)
            self._connection.execute(_insert_sql(table, tuple(columns.items()), same), parameters)

    def update(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        if rows:
            same, parameters = _by_column(rows)
            self._connection.execute(_update_sql(table, tuple(columns.items()), same), parameters)

    def numbers(self, table: str, count: int) -> Iterator[int]:
        cursor = self._connection.execute(_NUMBERS[table], [-(-count // _AT_ONCE)])
        return (n for taken in (cursor,) for (first,) in taken.fetchall() for n in range(first, first + _AT_ONCE))

    def merging(self) -> None:
        self._connection.execute(_MERGE)

    def lock_keys(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])

    def append_to_journal(self, columns: Mapping[str, str], rows: Sequence[Row], *, table: str = "journal") -> None:
        # the lock in a statement of its own: the next one must take its snapshot after the lock is ours
        self._connection.execute("select pg_advisory_xact_lock(%s)", [JOURNAL_LOCK])
        same, parameters = _by_column(rows)
        self._connection.execute(_journal_sql(table, tuple(columns.items()), same), parameters)


def _given(value: Any) -> Any:
    """A parameter as the driver takes it: lists as lists, text without what PostgreSQL's text cannot hold."""
    if type(value) is str:
        return value if value.isascii() and "\0" not in value else storable(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_given(each) if type(each) is str else each for each in value]
    return value


def _by_column(rows: Sequence[Row]) -> tuple[tuple[bool, ...], list[str | None]]:
    """Which columns are the same in all rows, and the parameters: their values, then one JSON text for each of the others.

    Lists as parameters, which the driver writes out item by item, cost half the transaction's time; unpacking a column that holds the same
    in each row would cost the server more than the row does. The first column is always unpacked: something must count the rows.
    """
    columns = [*zip(*rows, strict=True)]
    same = (False, *(len(rows) >= _MANY and column.count(column[0]) == len(column) for column in columns[1:]))
    once = [None if column[0] is None else str(column[0]) for column, is_same in zip(columns, same, strict=True) if is_same]
    return same, once + [_json(column).decode() for column, is_same in zip(columns, same, strict=True) if not is_same]


_MERGE = "select " + ", ".join(
    f"set_config('{name}', '{value}', true)"
    for name, value in (
        ("enable_hashjoin", "off"),
        ("enable_nestloop", "off"),
        ("enable_sort", "off"),
        ("enable_bitmapscan", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("join_collapse_limit", "1"),  # what costs most is written last, and not reached where the others never meet
    )
)
"""For the planner two conditions on one run are independent, so it takes a page of two for all there is, and reads all of both to find it."""
_AT_ONCE = 1000
"""Numbers of rows that are taken from a sequence at once: it rises by so many (asked for one by one, they cost as much as the row)."""
_NUMBERS = {
    table: f"select nextval('{table}_n_seq'::regclass) from generate_series(1, %s)"  # noqa: S608 names are ours
    for table in ("flow_run", "task_run")
}
_MANY = 4
_Columns: TypeAlias = tuple[tuple[str, str], ...]


def _source(columns: _Columns, same: tuple[bool, ...], *, numbered: bool = False) -> str:
    """A table of the rows: what is the same in all in a row of its own, beside the others unpacked."""
    once = ", ".join(f"%s::{kind} as {name}" for (name, kind), is_same in zip(columns, same, strict=True) if is_same)
    each = [name for (name, _), is_same in zip(columns, same, strict=True) if not is_same]
    unpacked = f"rows from ({', '.join('json_array_elements_text(%s::json)' for _ in each)})"
    unpacked += f"{' with ordinality' if numbered else ''} as c({', '.join([*each, 'ord'] if numbered else each)})"
    return f"(select {once}) as s, {unpacked}" if once else unpacked


def _typed(columns: _Columns) -> str:
    return ", ".join(f"{name}::{kind} as {name}" if kind != "text" else name for name, kind in columns)


def _names(columns: _Columns) -> str:
    return ", ".join(name for name, _ in columns)


@lru_cache(maxsize=100)
def _journal_sql(table: str, columns: _Columns, same: tuple[bool, ...]) -> str:
    """Rows with the next positions, in their order."""
    after = f"(select coalesce(max(pos), 0) from {table}) + ord"  # noqa: S608 names are ours
    source = _source(columns, same, numbered=True)
    return f"insert into {table} (pos, {_names(columns)}) select {after}, {_typed(columns)} from {source}"  # noqa: S608 names are ours


@lru_cache(maxsize=100)
def _insert_sql(table: str, columns: _Columns, same: tuple[bool, ...]) -> str:
    return f"insert into {table} ({_names(columns)}) select {_typed(columns)} from {_source(columns, same)}"  # noqa: S608 names are ours


@lru_cache(maxsize=100)
def _update_sql(table: str, columns: _Columns, same: tuple[bool, ...]) -> str:
    key, *rest = [name for name, _ in columns]
    sets = ", ".join(f"{name} = v.{name}" for name in rest)
    return f"update {table} t set {sets} from (select {_typed(columns)} from {_source(columns, same)}) v where t.{key} = v.{key}"  # noqa: S608 names are ours
