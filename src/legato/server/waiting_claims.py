"""Claims that wait for work, woken when there may be some. They live on the event loop and never touch the database.

Waiters of equal needs (queues and flow runners) stand in one line. A *generation* is counted up whenever a run may have become due or a
slot free; in each generation a line is asked until one of its waiters comes back with nothing. One waiter is woken at first, two for
each that found something, so a lone run wakes few and a burst spreads fast. Nobody misses a wake-up: a waiter that has asked in an
older generation than the present one does not begin to wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeAlias

Need: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""Queues and flow runners."""


class Line:
    """Those who wait for the same."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.found_nothing_at = -1
        """The generation in which the line last came back with nothing."""

    def wake(self, n: int) -> None:
        """Wake up to `n` that are still there: one whose client has gone must not eat the wake-up."""
        while n > 0 and self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                n -= 1


class WaitingClaims:
    """Use: note `generation`, ask the store, tell `asked` what came of it, `wait`, ask again."""

    def __init__(self) -> None:
        self.generation = 0
        self._lines: dict[Need, Line] = {}
        self._closed = False

    @property
    def is_waited_on(self) -> bool:
        """Whether anybody waits."""
        return any(line.waiting for line in self._lines.values())

    @property
    def is_closed(self) -> bool:
        return self._closed

    def stir(self) -> None:
        """There may be work for somebody."""
        self.generation += 1
        for line in self._lines.values():
            line.wake(1)

    def asked(self, need: Need, generation: int, *, found: bool) -> None:
        """One of a line has asked: with something found there may be more for others; with nothing, not in this generation."""
        line = self._line(need)
        if found:
            line.wake(2)
        else:
            line.found_nothing_at = max(line.found_nothing_at, generation)

    def pass_on(self, need: Need) -> None:
        """A woken waiter cannot ask any more: its client has gone."""
        self._line(need).wake(1)

    async def wait(self, need: Need, *, since: int, timeout_s: float) -> None:
        """Return when there may be work, when `timeout_s` is over, or when the server stops."""
        line = self._line(need)
        if self._closed or since < self.generation or timeout_s <= 0:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (line.waiting.appendleft if line.found_nothing_at == since else line.waiting.append)(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return
        finally:
            self._leave(need, line, waiter)

    def _leave(self, need: Need, line: Line, waiter: asyncio.Future[None]) -> None:
        waiter.cancel()
        if waiter in line.waiting:
            line.waiting.remove(waiter)
        if not line.waiting and self._lines.get(need) is line:
            del self._lines[need]

    def close(self) -> None:
        """End all waits now, and let none begin: the server stops."""
        self._closed = True
        for line in list(self._lines.values()):
            line.wake(len(line.waiting))

    def _line(self, need: Need) -> Line:
        return self._lines.setdefault(need, Line())
