r"""The spool: reports that a store could not be told, on disk, until it can.

A folder for each store's address, so that what was meant for one is never given to another. A file belongs to the process in its name; one
whose process is gone is taken by renaming it, so that only one takes it. A line is `\n<length> <crc32> <JSON>\n`: a newline comes first too, so
that a torn line ends where the next begins. What cannot be read, and what the store can never take, goes to `<file>.rejected`, and reading
goes on. Files of other names are not looked at.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from legato import crashing
from legato.core.records import Artifact, LogLine, Transition
from legato.store.items import Spooled
from legato.system import new_id

if TYPE_CHECKING:
    from legato.store.port import RunStore

NAME = re.compile(r"(\d{1,10})-[\w-]+\.(spool|jsonl)")
"""The files that are looked at: the first part is the process they belong to."""
_encode = msgspec.json.Encoder().encode


class Rejected(msgspec.Struct, frozen=True):
    """One thing that was set aside, and why."""

    why: str
    transitions: list[Transition] = []
    logs: list[LogLine] = []
    artifacts: list[Artifact] = []
    line: str = ""


def folder_for(folder: Path, store: RunStore) -> Path:
    """Where reports to this store are kept: a folder of its own for each address (a store that has none, such as a fake: the folder itself)."""
    address = getattr(store, "address", "")
    if not isinstance(address, str) or not address:
        return folder
    return folder / f"{zlib.crc32(address.encode()):08x}{zlib.adler32(address.encode()[::-1]):08x}"


class Spool:
    """One process's file in a folder. Not safe for several threads at once: the outbox has the lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None
        """The file, while there is something in it."""

    def append(self, batch: Spooled) -> None:
        """Keep a batch, on disk when this returns. Raises `OSError` when the disk takes no more; what was kept before stays readable."""
        if self.path is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{os.getpid()}-{new_id()}.spool"
        else:
            path = self.path
        data = encoded(batch)
        try:
            with path.open("ab") as file:
                file.write(b"\n%d %08x %b\n" % (len(data), zlib.crc32(data), data))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if self.path is None:  # nothing whole is in it, and the next try has a name of its own
                path.unlink(missing_ok=True)
            raise
        self.path = path
        crashing.reached("spool.written")

    def drain(self, send: Callable[[Spooled], None]) -> None:
        """Hand every batch to `send`, in order, then remove the file. What `send` raises ends it: the file stays, and is sent again."""
        path = self.path
        if path is not None and path.exists():
            for batch in read(path):
                send(batch)
            crashing.reached("spool.sent")
            path.unlink(missing_ok=True)
            crashing.reached("spool.drained")
        self.path = None  # somebody may have tidied up the folder; what was in it is gone

    def reject(self, batch: Spooled, why: BaseException) -> None:
        """Set a batch aside that the store can never take."""
        path = self.path or self.folder / f"{os.getpid()}-set-aside.spool"
        _set_aside(path, Rejected(f"{type(why).__name__}: {why}", batch.transitions, batch.logs, batch.artifacts))


def encoded(batch: Spooled) -> bytes:
    """The batch as JSON; text that is not Unicode (lone surrogates) is made so."""
    try:
        return _encode(batch)
    except UnicodeEncodeError:
        from legato.store.rows import cleaned  # noqa: PLC0415 start-up time: rare

        return _encode(cleaned(msgspec.to_builtins(batch)))


def read(path: Path) -> Iterator[Spooled]:
    """The batches of a file, in order. What cannot be read is set aside."""
    decode = msgspec.json.Decoder(Spooled).decode  # made here: it takes the types of all records apart, and few processes read a spool
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        try:
            yield decode(unframed(line))
        except (ValueError, msgspec.DecodeError) as error:
            _set_aside(path, Rejected(f"cannot be read: {error}", line=line.decode("utf-8", "backslashreplace")))


def unframed(line: bytes) -> bytes:
    if line.startswith(b"{"):  # as Legato wrote them before there were frames
        return line
    length, crc, data = (*line.split(b" ", 2), b"", b"")[:3]
    if int(length) != len(data) or int(crc, 16) != zlib.crc32(data):
        raise ValueError("the line is torn or damaged")
    return data


def _set_aside(path: Path, what: Rejected) -> None:
    import logging  # noqa: PLC0415 start-up time: wanted when something went badly wrong

    aside = path.with_suffix(".rejected")
    extra = {"kept_in": str(aside), "why": what.why, "transitions": len(what.transitions), "log_lines": len(what.logs)}
    logging.getLogger(__name__).error("report_set_aside: %s (kept in %s)", what.why, aside, extra=extra)
    try:
        aside.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("ab") as file:
            try:
                file.write(_encode(what) + b"\n")
            except UnicodeEncodeError:
                from legato.store.rows import cleaned  # noqa: PLC0415 start-up time: rare

                file.write(_encode(cleaned(msgspec.to_builtins(what))) + b"\n")
    except OSError:
        logging.getLogger(__name__).exception("report_lost: it cannot be kept either", extra=extra)
