"""Printing records: tables for people, tab-separated lines for pipes, JSON and CSV for programs.

On a terminal a table has aligned columns, relative times and coloured states; ids and names are never cut, columns that do not fit are left
out and the reader is told. Elsewhere the same columns come tab-separated, with full values and ISO times. JSON is the records' own.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from legato.cli.failures import MISUSED, Failure
from legato.cli.session import Session, harmless
from legato.cli.times import iso, relative, spoken
from legato.core.spelling import did_you_mean

STATE_COLOURS = {
    "scheduled": "38;5;178",
    "pending": "38;5;103",
    "running": "38;5;69",
    "completed": "38;5;36",
    "failed": "38;5;160",
    "crashed": "38;5;133",
    "paused": "38;5;172",
    "cancelled": "38;5;246",
}
"""The state colours of the web UI, in the 256 that terminals share. Always with the word."""

GAP = "  "


class Column(NamedTuple):
    """A column of a table: its title, its value of a record, and how soon it is left out (0: never). `wide` ones only show with -o wide."""

    title: str
    of: Callable[[Any], Any]
    yields: int = 0
    wide: bool = False


class StateWord(NamedTuple):
    """A state's name, to be printed in the colour of its type."""

    name: str
    type: str


def paint(text: str, colour: str, session: Session) -> str:
    """The text in a colour, where standard output has any."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and session.has_color else text


# ---------------------------------------------------------------------- what a value looks like


def plain(value: Any) -> str:
    """A value for pipes: whole, on one line."""
    if value is None:
        return ""
    if isinstance(value, StateWord):
        return value.name
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(plain(item) for item in value)
    if isinstance(value, Mapping):
        return json.dumps(value, default=str)
    return str(value).replace("\t", " ").replace("\r", " ").replace("\n", " ")


def pretty(value: Any, now: datetime) -> str:
    """A value for people."""
    if isinstance(value, StateWord):  # a tuple, but not a list of things
        return value.name
    if isinstance(value, datetime):
        return relative(value, now)
    if isinstance(value, timedelta):
        return spoken(value.total_seconds())
    if isinstance(value, (list, tuple, set, frozenset)):
        return harmless(", ".join(plain(item) for item in value))
    return harmless(plain(value))


# ---------------------------------------------------------------------- tables


def fitting(columns: Sequence[Column], widths: Sequence[int], available: int) -> list[int]:
    """Which columns fit, by index. Those that yield most are left out first; those that never yield stay, whatever the width."""
    kept = list(range(len(columns)))
    while sum(widths[i] for i in kept) + len(GAP) * (len(kept) - 1) > available:
        going = max(kept, key=lambda i: (columns[i].yields, i))
        if columns[going].yields == 0:
            break
        kept.remove(going)
    return kept


def table(records: Iterable[Any], columns: Sequence[Column], session: Session, *, width: int, now: datetime) -> tuple[list[str], int]:
    """The lines of an aligned table, and how many columns were left out."""
    values = [[column.of(record) for column in columns] for record in records]
    cells = [[pretty(value, now) for value in row] for row in values]
    widths = [max([len(column.title), *(len(row[i]) for row in cells)]) for i, column in enumerate(columns)]
    kept = fitting(columns, widths, width)
    lines = [GAP.join(paint(columns[i].title.ljust(widths[i]), "2", session) for i in kept).rstrip()]
    for row, texts in zip(values, cells, strict=True):
        padded = [(texts[i].ljust(widths[i]) if i != kept[-1] else texts[i], row[i]) for i in kept]
        lines.append(GAP.join(_painted(text, value, session) for text, value in padded).rstrip())
    return lines, len(columns) - len(kept)


def _painted(text: str, value: Any, session: Session) -> str:
    return paint(text, STATE_COLOURS.get(value.type, ""), session) if isinstance(value, StateWord) else text


# ---------------------------------------------------------------------- the two ways to print


def show_list(session: Session, records: Sequence[Any], columns: Sequence[Column], *, name: Callable[[Any], str], empty: str) -> None:
    """Print records in the form that was asked for. `name` is what -o name prints of each; `empty` is said when there are none."""
    if session.wants_json:
        _print_json(session, [_picked(session, record) for record in records], whole=True)
    elif session.output == "name":
        _print_lines(name(record) for record in records)
    elif session.output == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([column.title.lower().replace(" ", "_") for column in columns])
        writer.writerows([plain(column.of(record)) for column in columns] for record in records)
    elif not records:
        session.hint(empty)
    elif session.is_terminal:
        chosen = [column for column in columns if session.output == "wide" or not column.wide]
        width = 10_000 if session.output == "wide" else shutil.get_terminal_size((100, 24)).columns
        lines, hidden = table(records, chosen, session, width=width, now=session.now())
        _print_lines(lines)
        if hidden:
            session.hint(f"{hidden} column{'s' if hidden > 1 else ''} hidden; -o wide")
    else:
        chosen = [column for column in columns if session.output == "wide" or not column.wide]
        _print_lines(["\t".join(column.title for column in chosen)])
        _print_lines("\t".join(plain(column.of(record)) for column in chosen) for record in records)


def show_one(session: Session, record: Any, facts: Sequence[tuple[str, Any]], *, name: str) -> None:
    """Print one record: its facts for people (empty ones are left out), or itself for programs."""
    if session.wants_json:
        _print_json(session, _picked(session, record), whole=session.output == "json")
    elif session.output == "name":
        print(name)
    elif session.output == "csv":
        import csv

        csv.writer(sys.stdout, lineterminator="\n").writerows((title, plain(value)) for title, value in facts)
    elif session.is_terminal:
        said = [(title, value) for title, value in facts if value not in (None, "", (), [], {})]
        width = max((len(title) for title, _ in said), default=0)
        for title, value in said:
            text = _painted(pretty_fact(value, session.now()), value, session)
            print(f"{paint(title.ljust(width), '2', session)}{GAP}{text}")
    else:
        _print_lines(f"{title}\t{plain(value)}" for title, value in facts if value not in (None, "", (), [], {}))


def pretty_fact(value: Any, now: datetime) -> str:
    """As `pretty`, with room for both the time and how long ago that is."""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S %Z} ({relative(value, now)})"
    return pretty(value, now)


def changed(session: Session, record: Any, sentence: str, *, name: str = "") -> None:
    """Say what a command has done: a sentence for people, and for programs the thing as it is now, or what was asked of it."""
    if session.wants_json:
        _print_json(session, _picked(session, record), whole=session.output == "json")
        return
    if session.output == "name" and name:
        print(name)
    session.say(sentence)


def show_json(session: Session, data: Any) -> None:
    """Print plain data as JSON."""
    _print_json(session, data, whole=session.output != "jsonl")


def _print_json(session: Session, data: Any, *, whole: bool) -> None:
    if session.output == "jsonl":
        _print_lines(json.dumps(item, ensure_ascii=False) for item in (data if isinstance(data, list) else [data]))
    else:
        print(json.dumps(data, indent=2 if whole else None, ensure_ascii=False))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


# ---------------------------------------------------------------------- records as JSON


def to_plain(record: Any) -> Any:
    """A record as the API would write it: snake_case, ISO 8601 UTC, fields equal to their default left out."""
    import msgspec

    from legato.core.json_times import in_full

    return msgspec.json.decode(msgspec.json.encode(in_full(record)))


def _picked(session: Session, record: Any) -> Any:
    """The whole record, or the fields of --json (in which case defaults are not left out)."""
    if not session.fields:
        return to_plain(record)
    return {field: _field(record, field) for field in session.fields}


def _field(record: Any, path: str) -> Any:
    value = record
    for name in path.split("."):
        known = value.__struct_fields__ if hasattr(value, "__struct_fields__") else tuple(value) if isinstance(value, Mapping) else ()
        if name not in known:
            raise Failure(
                f"there is no field '{path}'",
                exit_code=MISUSED,
                hint=did_you_mean(name, known) or f"fields: {', '.join(known)}",
                code="usage",
            )
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
        if value is None:
            return None
    return to_plain(value)
