"""One open transaction on SQLite: statements in its spelling, and many rows a statement."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain, count
from typing import Any

import msgspec

from legato.store.columns import storable
from legato.store.database import Row

_AT_ONCE = (64, 16, 4, 1)
"""Rows of one statement: few sizes, so that each is prepared once. More gain nothing; 64 times 40 columns stay far below the 32,766
parameters that a statement may have.
"""
_MANY = 4

_LIST = re.compile(r"in :(\w+)\*")
_encode = msgspec.json.Encoder().encode


@cache
def translated(sql: str) -> tuple[str, str, tuple[str, ...]]:
    """The statement in SQLite's spelling, the same for lists of one item, and which of its parameters are lists."""
    sql, lists = sql.replace("{lock}", "").replace("{lock_run}", "").replace("{share}", ""), tuple(_LIST.findall(sql))
    return _LIST.sub(r"in (select value from json_each(:\1))", sql), _LIST.sub(r"= :\1", sql), lists


class SqliteSession:
    """One open transaction on one connection."""

    row_locks = False

    def __init__(self, connection: sqlite3.Connection, workspace: int = 1) -> None:
        self._connection = connection
        self.workspace = workspace

    def _execute(self, sql: str, parameters: dict[str, Any]) -> sqlite3.Cursor:
        parameters["workspace"] = self.workspace
        for name, value in parameters.items():
            if type(value) is str:
                if not (value.isascii() and "\0" not in value):
                    parameters[name] = storable(value)
            elif isinstance(value, (list, tuple)):
                parameters[name] = [storable(each) if type(each) is str else each for each in value]
        text, for_one, lists = translated(sql)
        if lists:
            if len(lists) == 1 and len(given := parameters[lists[0]]) == 1:
                (parameters[lists[0]],) = given
                return self._connection.execute(for_one, parameters)
            parameters = {**parameters, **{name: _encode(parameters[name]).decode() for name in lists}}
        return self._connection.execute(text, parameters)

    def rows(self, sql: str, **parameters: Any) -> list[Row]:
        return self._execute(sql, parameters).fetchall()

    def row(self, sql: str, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(sql, parameters).fetchone()
        return row

    def run(self, sql: str, **parameters: Any) -> int:
        return self._execute(sql, parameters).rowcount

    def insert(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        if len(rows) < _MANY:
            self._connection.executemany(_insert_sql(table, tuple(columns)), rows)
        else:
            self._write_many(_insert_many_sql, table, tuple(columns), rows)

    def update(self, table: str, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
        if len(rows) < _MANY:
            self._connection.executemany(_update_sql(table, tuple(columns)), [(*row[1:], row[0]) for row in rows])
        else:
            self._write_many(_update_many_sql, table, tuple(columns), rows)

    def _write_many(self, sql_of: Callable[..., str], table: str, names: tuple[str, ...], rows: Sequence[Row]) -> None:
        """Many rows a statement, and what is the same in all of them bound once. That is half the time of a statement a row, and the
        interpreter's lock, which other threads then take, is let go once where it would be 64 times.
        """
        columns = [*zip(*rows, strict=True)]
        same = (False, *(column.count(column[0]) == len(column) for column in columns[1:]))
        once = [column[0] for column, is_same in zip(columns, same, strict=True) if is_same]
        each = [*zip(*(column for column, is_same in zip(columns, same, strict=True) if not is_same), strict=True)]
        start = 0
        for at_once in _AT_ONCE:
            while start + at_once <= len(rows):
                self._connection.execute(sql_of(table, names, same, at_once), [*once, *chain.from_iterable(each[start : start + at_once])])
                start += at_once

    def numbers(self, table: str, count: int) -> Iterator[int]:
        last = self._connection.execute(f"select coalesce(max(n), 0) from {table}").fetchone()[0]  # noqa: S608 names are ours
        yield from range(last + 1, last + 1 + count)

    def merging(self) -> None:
        """Nothing to do: it merges whatever is in one order."""

    def lock_keys(self, keys: Sequence[str]) -> None:
        """Nothing to do: there is one writer at a time."""

    def append_to_journal(self, columns: Mapping[str, str], rows: Sequence[Row], *, table: str = "journal") -> None:
        self.insert(table, columns, rows)  # an integer primary key that is not given becomes the largest one plus one


@cache
def _insert_sql(table: str, columns: tuple[str, ...]) -> str:
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"  # noqa: S608 names are ours


def _places(same: tuple[bool, ...], rows: int) -> tuple[list[int], list[list[int]]]:
    """The numbers of a statement's parameters: of each column that is the same in all rows (else 0), and of the others, row by row."""
    counted = count(1)
    once = [next(counted) if is_same else 0 for is_same in same]
    return once, [[n or next(counted) for n in once] for _ in range(rows)]


@lru_cache(maxsize=200)
def _insert_many_sql(table: str, names: tuple[str, ...], same: tuple[bool, ...], rows: int) -> str:
    _, places = _places(same, rows)
    values = ", ".join(f"({', '.join(f'?{n}' for n in row)})" for row in places)
    return f"insert into {table} ({', '.join(names)}) values {values}"  # noqa: S608 names are ours


@lru_cache(maxsize=200)
def _update_many_sql(table: str, names: tuple[str, ...], same: tuple[bool, ...], rows: int) -> str:
    once, places = _places(same, rows)
    varying = [i for i, n in enumerate(once) if not n]
    values = ", ".join(f"({', '.join(f'?{row[i]}' for i in varying)})" for row in places)
    column = {i: f"v.column{k}" for k, i in enumerate(varying, 1)}
    sets = ", ".join(f"{name} = {f'?{once[i]}' if once[i] else column[i]}" for i, name in enumerate(names) if i)
    return f"update {table} set {sets} from (values {values}) v where {table}.{names[0]} = v.column1"  # noqa: S608 names are ours


@cache
def _update_sql(table: str, columns: tuple[str, ...]) -> str:
    return f"update {table} set {', '.join(f'{name} = ?' for name in columns[1:])} where {columns[0]} = ?"  # noqa: S608 names are ours
