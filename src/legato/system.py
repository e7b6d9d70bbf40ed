"""The machine's own clock and randomness: the only module that reads either. Everything else is handed them."""

from __future__ import annotations

import itertools
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_MASK = (1 << 62) - 1
_VARIANT = 1 << 63
_STRIDE = 0x9E3779B97F4A7C15 & _MASK
"""An odd number near 2^62 divided by the golden ratio: its multiples visit all of the 62 bits, far apart (Knuth, TAOCP 6.4)."""


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


class _Ids:
    """Where this process's ids come from: a random beginning, and a count. As unlikely to meet another process's as random bits, and cheap
    to load: the random module alone costs half the start of an interpreter.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """For a forked child, so that parent and child never make the same id."""
        self._begin = int.from_bytes(os.urandom(8), "big")
        self._count = itertools.count()
        self._head = (-1, "")

    def new(self) -> str:
        """What `uuid7` would make of the same numbers; the text of a millisecond is kept, which spares half of the work."""
        ns = time.time_ns()
        ms = ns // 1_000_000
        head_ms, head = self._head
        if ms != head_ms:
            head = f"{ms >> 16 & 0xFFFFFFFF:08x}-{ms & 0xFFFF:04x}-7"
            self._head = (ms, head)
        rest = f"{_VARIANT | self._begin + next(self._count) * _STRIDE & _MASK:016x}"
        return f"{head}{(ns - ms * 1_000_000) * 4096 // 1_000_000:03x}-{rest[:4]}-{rest[4:]}"


_ids = _Ids()
new_id = _ids.new
"""A fresh UUIDv7. Ids of one process sort in the order they were made: the first 12 random bits are the millisecond's fraction. Thread-safe."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.begin_anew)


def randomness() -> Random:
    """A source of jitter. Not for secrets: those come from `secrets`."""
    import random  # noqa: PLC0415 start-up time: wanted when something failed

    return random.Random(os.urandom(16))


def _digest(text: str) -> int:
    """A number of 32 bits that tells texts apart (FNV-1a): a module of hashes would cost more to load than all of this one."""
    number = 2_166_136_261
    for byte in text.encode():
        number = (number ^ byte) * 16_777_619 % 2**32
    return number


def host_name() -> str:
    """The name of this machine, as runs carry it, and after `~` a mark of its boot and PID namespace (Linux).

    A process's number means something only where those are the same: a container may have its host's name and numbers of its own.
    """
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 start-up time
            boot = file.read().strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 start-up time
        return f"{name}~{_digest(boot + space):08x}"
    except OSError:
        return name


def shown_host(host: str) -> str:
    """The name alone, for people."""
    return host.partition("~")[0]


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
