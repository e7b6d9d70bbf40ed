"""How a server's log events are printed: one line each, with the time, the event's name and all its fields, as `name=value` or as JSON.

Python's own last resort prints the message alone, and drops every field; that is what a line like `request_failed` without an id comes from.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from legato.core.errors import Unavailable

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class EventFormatter(logging.Formatter):
    """Formats records. `as_json`: one JSON object a line."""

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD and not name.startswith("_")}
        raised = record.exc_info[1] if record.exc_info else None
        error = "" if raised is None else "".join(traceback.format_exception(raised)).rstrip()
        if isinstance(raised, Unavailable) and raised.code == Unavailable.code:  # no fault of the code's: where it was met says nothing
            fields, error = {**fields, "why": raised.message}, ""
        if self._as_json:
            data = {"at": at, "level": record.levelname, "logger": record.name, "event": record.getMessage(), **fields}
            return json.dumps({**data, **({"error": error} if error else {})}, default=str, ensure_ascii=False)
        words = " ".join(f"{name}={_text(value)}" for name, value in fields.items())
        line = f"{at} {record.levelname} {record.getMessage()} {words}".rstrip().replace("\n", "\\n")
        return f"{line}\n{error}" if error else line


def _text(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c.isspace() or c in '"=' or not c.isprintable() for c in text) else text


def log_events(level: str = "INFO", *, as_json: bool = False, stream: TextIO | None = None) -> logging.Handler:
    """Print the events of this process, Legato's from `level` on, other libraries' warnings. Returns the handler."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(EventFormatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("legato").setLevel(level)
    return handler
