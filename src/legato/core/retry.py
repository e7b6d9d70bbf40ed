"""Retry arithmetic: how long to wait before the next attempt. Jitter is a number handed in, so the answer is a function of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

MAX_LOST = 3
"""Attempts that may be lost (killed under the run) before it stays CRASHED: a run that kills its agent must not go round for ever."""

Delay: TypeAlias = float | Sequence[float] | Callable[[int], float]


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often to try again, and how long to wait each time.

    `delay` is seconds: one number, a list (its last entry is used for all later attempts), or a function of the attempt that failed (1, 2, …).
    `jitter_factor` f spreads each delay evenly over [delay * (1 - f), delay * (1 + f)]: many tasks that failed together do not come back together.
    """

    retries: int = 0
    delay: Delay = 0.0
    jitter_factor: float = 0.0


def delay_before_retry(policy: RetryPolicy, attempt: int, jitter: float, *, base_s: float | None = None) -> float | None:
    """Seconds to wait after failed attempt `attempt` (1, 2, …), or None when no retry is left. `jitter` is evenly drawn from [0, 1).

    `base_s` is what the policy's delay function has answered; one that was not asked is asked here. Raises `ValueError` for a delay that is no
    time to wait.
    """
    if attempt > policy.retries:
        return None
    base = _base_delay(policy.delay, attempt) if base_s is None else float(base_s)
    if not 0 <= base < float("inf"):
        raise ValueError(f"a delay of {base!r} s; give a number from 0 up")
    return base * (1 + policy.jitter_factor * (2 * jitter - 1))


def _base_delay(delay: Delay, attempt: int) -> float:
    if callable(delay):
        return float(delay(attempt))
    if isinstance(delay, (int, float)):
        return float(delay)
    return float(delay[min(attempt, len(delay)) - 1]) if delay else 0.0


def exponential_backoff(base_s: float, *, factor: float = 2.0, maximum_s: float = 3600.0) -> Callable[[int], float]:
    """A delay function: base_s, base_s * factor, base_s * factor^2, …, never above `maximum_s`."""
    return lambda attempt: min(maximum_s, base_s * factor ** min(attempt - 1, 64))
