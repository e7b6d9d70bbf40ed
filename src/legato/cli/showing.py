"""Artifacts as text: in a line of a list, in full below the facts, as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from legato.core.names import typed

if TYPE_CHECKING:
    from legato.core.records import Artifact

_LINE = 60
_BAR = 30


def in_a_line(artifact: Artifact) -> str:
    """What there is to say of it in a few words; nothing where its data was left out."""
    data = artifact.data
    if isinstance(data, str):
        first = next((line.strip("# ") for line in data.splitlines() if line.strip("# ")), "")
        return first if len(first) <= _LINE else first[: _LINE - 1] + "…"
    if not isinstance(data, dict):
        return ""
    if "columns" in data:
        return f"{len(data['rows'])} rows of {', '.join(data['columns'])}"[:_LINE]
    if "url" in data:
        return str(data.get("text") or data["url"])
    return _progress(data) if "percent" in data or "done" in data else f"{data.get('type', '')}, {data.get('size', 0):,} bytes"


def as_text(artifact: Artifact) -> str:
    """What it says: Markdown as it stands, a table in columns, a bar."""
    data = artifact.data
    if isinstance(data, str):
        return data
    if "columns" in data:
        return _table(data)
    if "url" in data:
        return f"{data['text']}: {data['url']}" if data.get("text") else str(data["url"])
    if "type" in data:
        return f"{in_a_line(artifact)}. Write it to a file: legato artifact get {typed(artifact.key or artifact.id)} --out FILE"
    filled = round(_BAR * data.get("percent", 0) / 100)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {_progress(data)}"


def as_csv(data: dict[str, Any]) -> str:
    """A table as CSV, with its columns' names in the first line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(data["columns"])
    writer.writerows([_plain(value) for value in row] for row in data["rows"])
    return text.getvalue()


def _progress(data: dict[str, Any]) -> str:
    counted = f"{data['done']}" + (f" of {data['total']}" if "total" in data else "") if "done" in data else ""
    percent = f"{data['percent']:g} %" if float(data.get("percent", 0)).is_integer() else f"{data['percent']:.1f} %"
    return ", ".join(part for part in (percent if "percent" in data else "", counted) if part)


def _plain(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(data: dict[str, Any]) -> str:
    lines = [data["columns"], *([_plain(value).replace("\n", " ") for value in row] for row in data["rows"])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(data["columns"]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
