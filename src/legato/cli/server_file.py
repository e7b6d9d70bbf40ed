"""The note a running server leaves in the home folder, `server.json`: its URL, process, database and version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from legato.system import process_is_alive


class ServerNote(NamedTuple):
    """A server on this machine."""

    url: str
    pid: int
    database: str = ""
    version: str = ""


def running_server(home: Path) -> ServerNote | None:
    """The server whose note is here and whose process lives; None when there is none."""
    try:
        data = json.loads((home / "server.json").read_text(encoding="utf-8"))
        note = ServerNote(str(data["url"]), int(data["pid"]), str(data.get("database", "")), str(data.get("version", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if process_is_alive(note.pid) else None
