"""Processes and what they have started: so that nothing a run started outlives it.

A process that is made a subreaper is handed the orphans below it, whatever session or group they went to. Linux only; elsewhere a run's
process group is all that is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

from legato.settings import RUN_TOKEN
from legato.system import process_is_alive

_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")


def become_subreaper() -> bool:
    """Have the orphans below this process handed to it. False where that cannot be."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # noqa: PLC0415 start-up time: programs that start no runs need it not

    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (AttributeError, OSError):
        return False


def children_of(pid: int) -> set[int]:
    """The processes whose parent this is, ended ones that were not waited for included."""
    return {child for child in _pids() if _stat(child)[1] == pid}


def is_stopped(pid: int) -> bool:
    """Whether it was stopped (SIGSTOP), and stands still."""
    return _stat(pid)[0] == "T"


def has_token(pid: int, token: str) -> bool:
    """Whether a process was started by the run that this names."""
    try:
        return f"{RUN_TOKEN}={token}".encode() in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def group_is_running(pgid: int) -> bool:
    """Whether a living process is in this group."""
    if _PROC.is_dir():
        return any(_stat(pid)[2] == pgid and _stat(pid)[0] not in ("Z", "X", "") for pid in _pids())
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def kill_group(pgid: int, number: signal.Signals) -> None:
    """Send a signal to a process group, if there still is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)


def kill_process(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def started_by(token: str) -> set[int]:
    """The living processes that a run started, wherever they went."""
    return {pid for pid in _pids() if pid != os.getpid() and has_token(pid, token) and process_is_alive(pid)} if _PROC.is_dir() else set()


def tree_of(pid: int) -> set[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for each in _pids():
        children.setdefault(_stat(each)[1], []).append(each)
    found, open_ = {pid}, [pid]
    while open_:
        below = [child for child in children.get(open_.pop(), []) if child not in found]
        found.update(below)
        open_ += below
    return found


def memory_of(pids: set[int]) -> int:
    """Bytes of memory that these processes hold (resident; what they share is counted for each)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            total += int((_PROC / str(pid) / "statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE")


def _pids() -> list[int]:
    try:
        return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def _stat(pid: int) -> tuple[str, int, int]:
    """State letter, parent and process group; the name before them may hold anything, brackets included."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[1]), int(fields[2])
    except (OSError, IndexError, ValueError):
        return "", 0, 0
