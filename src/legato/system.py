"""The machine's own clock and randomness: the only module that reads either. Everything else is handed them."""

from __future__ import annotations

import os
import random
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from legato.core.ids import uuid7

_random = random.Random(secrets.randbits(128))


def now() -> datetime:
    """The time, as an aware UTC instant."""
    return datetime.now(UTC)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return now()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def new_id() -> str:
    """A fresh UUIDv7. Ids of one process sort in the order they were made: the first 12 random bits are the millisecond's fraction.

    Thread-safe: `getrandbits` is one C call.
    """
    ms, ns = divmod(time.time_ns(), 1_000_000)
    return uuid7(ms, (ns * 4096 // 1_000_000) << 62 | _random.getrandbits(62))


def randomness() -> Random:
    """The process's source of jitter and names. Not for secrets: those come from `secrets`."""
    return _random


def reseed_after_fork() -> None:
    """Give a forked child its own randomness, so that parent and child never make the same id."""
    _random.seed(secrets.randbits(128))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reseed_after_fork)


def process_is_alive(pid: int, started_before: datetime | None = None) -> bool:
    """Whether process `pid` of this machine is running: neither gone nor a zombie.

    With `started_before`, a process that began later is another one that was given the same number (Linux only; elsewhere it counts as alive).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return False if Path("/proc/self/stat").exists() else _exists(pid)
    if stat[0] in "ZX":
        return False
    if started_before is None:
        return True
    began_s = time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME) + int(stat[19]) / os.sysconf("SC_CLK_TCK")
    return began_s < started_before.timestamp() + 1.0  # the kernel counts in hundredths of a second


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
