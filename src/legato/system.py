"""The machine's own clock and randomness: the only module that reads either. Everything else is handed them."""

from __future__ import annotations

import os
import random
import secrets
import time
from datetime import UTC, datetime
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
