"""What earlier processes have left in the spool, because they ended before the store was back: sent by whoever comes next, file by file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from legato.core.errors import NotFound, Unavailable
from legato.store.delivery import POISONED_AT, Delivery
from legato.store.items import Spooled
from legato.store.spool import NAME, Spool, folder_for, unframed
from legato.system import new_id, process_is_alive

if TYPE_CHECKING:
    from legato.store.port import RunStore

TRIES = POISONED_AT + 1
"""Of one file, over which a server fails."""


def drain_spools(folder: Path, store: RunStore) -> int:
    """Send what earlier processes left behind for this store; returns how many files. Files of living processes are theirs.

    Files without an address (in `folder` itself) are sent when all their runs are known to this store; else they stay.
    """
    own = folder_for(folder, store)
    sent = sum(_drained(path, store) for path in _left_behind(own))
    if own != folder:
        sent += sum(_drained(path, store) for path in _left_behind(folder) if _is_known(path, store))
    return sent


def _left_behind(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = NAME.fullmatch(path.name)
        if name is None or not path.is_file():
            continue
        pid = int(name.group(1))
        if pid != os.getpid() and not process_is_alive(pid, _written_at(path)):
            found.append(path)
    return found


def _written_at(path: Path):  # type: ignore[no-untyped-def] # a datetime, whose import this module does not need
    from datetime import UTC, datetime  # noqa: PLC0415 start-up time

    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _drained(path: Path, store: RunStore) -> bool:
    """Take a file by renaming it, and send it as an outbox would. Another process may have taken it first."""
    taken = Spool(path.parent)
    taken.path = path.with_name(f"{os.getpid()}-{new_id()}.spool")
    try:
        path.rename(taken.path)
    except FileNotFoundError:
        return False
    delivery = Delivery(store, path.parent, None, kept=taken)
    for again in range(1, TRIES + 1):
        try:
            delivery.drain_own()
        except Unavailable as error:
            if error.code == "internal" and again < TRIES:
                continue  # the server fails over it: so often that what it fails over can be told from a server that fails
            with contextlib.suppress(FileNotFoundError):
                taken.path.rename(path)  # as it was: whoever comes next may take it
            raise
        return True
    raise AssertionError("the last try raises")


def _is_known(path: Path, store: RunStore) -> bool:
    """Whether the store knows the runs that a file without an address speaks of."""
    decode = msgspec.json.Decoder(Spooled).decode
    flow_runs: set[str] = set()
    task_runs: set[str] = set()
    for line in path.read_bytes().split(b"\n"):
        try:
            batch = decode(unframed(line))
        except (ValueError, msgspec.DecodeError):
            continue
        flow_runs.update(line.flow_run_id for line in batch.logs)
        flow_runs.update(artifact.flow_run_id for artifact in batch.artifacts if artifact.flow_run_id)
        for t in batch.transitions:
            if t.task_run is not None:
                flow_runs.add(t.task_run.flow_run_id)
            elif t.kind == "task":
                task_runs.add(t.run_id)
            elif t.flow_run is None:
                flow_runs.add(t.run_id)
    try:
        for id_ in sorted(flow_runs)[:20]:
            store.get_flow_run(id_)
        for id_ in sorted(task_runs)[:20]:
            store.get_task_run(id_)
    except NotFound:
        return False
    return True
