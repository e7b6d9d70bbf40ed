"""What every route is handed: the store, the ways to read from and write to it, and those who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

from legato.core.clock import Clock
from legato.core.errors import Unavailable
from legato.engine.results import BlobStore
from legato.server.event_feed import EventFeed
from legato.server.gate import REQUEST_KEY, what_was_asked
from legato.server.waiting_claims import WaitingClaims
from legato.server.writer import Writer, Written
from legato.services.loop import ServiceLoop
from legato.store.sql import SqlStore

ASK_AGAIN_S = 1.0
"""When a database that could not be read is asked again for the next run that becomes due: nobody else would."""

READERS = 4
"""Threads that read, each with a connection of its own: a list costs 0.1 to 1 ms."""

_T = TypeVar("_T")


class Backend:
    """One server's store with its writer, readers, claims that wait, and feed. Made on the event loop; `start` before use, `stop` after."""

    def __init__(self, store: SqlStore, clock: Clock, services: ServiceLoop | None = None, blobs: BlobStore | None = None) -> None:
        self.store = store
        self.blobs = blobs
        self.clock = clock
        self.services = services
        self.started_at = clock.now()
        self.waiting_claims = WaitingClaims()
        self.writer = Writer(store, clock, self._on_written)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="legato-reader")
        self.feed = EventFeed(store, self.read)
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_task: asyncio.Task[None] | None = None
        self._alarm_stale = False

    def start(self) -> None:
        self.writer.start()
        self._set_alarm()
        if self.services is not None:
            self.services.on_tick = self._on_tick
            self.services.start()

    async def read(self, question: Callable[[], _T]) -> _T:
        """The answer to a question that only reads."""
        return await self._loop.run_in_executor(self._readers, question)

    async def write(self, verb: Callable[[], _T], *, changed: str = "") -> _T:
        """What a verb that writes returns, once it is committed; `changed` is told to those who watch."""
        result = await self.writer.call(verb, key=REQUEST_KEY.get(), asked=what_was_asked())
        if changed:
            self.feed.changed(changed)
        return result

    def now(self) -> datetime:
        return self.clock.now()

    def look_closely(self) -> None:
        """Somebody has begun or ceased to wait or watch: look for other processes' writes often, or seldom."""
        self.writer.watched = self.waiting_claims.is_waited_on or self.feed.is_watched

    def _on_written(self, written: Written) -> None:
        if written.stirs:
            self.waiting_claims.stir()
            self._set_alarm()
        if written.journal or written.logged or written.shown:
            self.feed.written(written.logged, written.shown)

    def _on_tick(self) -> None:
        """A service has ticked, on its own thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_written, Written(journal=True, stirs=True))

    def _set_alarm(self) -> None:
        """Have waiting claims stirred when the next run becomes due: being due by the clock is not a commit."""
        self._alarm_stale = True
        if self._alarm_task is None or self._alarm_task.done():
            self._alarm_task = self._loop.create_task(self._find_next_due(), name="legato-alarm")

    async def _find_next_due(self) -> None:
        while self._alarm_stale and not self.waiting_claims.is_closed:
            self._alarm_stale = False
            now = self.now()
            try:
                due = await self.read(lambda now=now: self.store.next_due_after(now))  # type: ignore[misc]
            except Unavailable:  # whoever asks something is told so; this asks again
                self._loop.call_later(ASK_AGAIN_S, self._set_alarm)
                return
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            if due is not None:
                self._alarm = self._loop.call_later(min(max(0.0, (due - self.now()).total_seconds()), 3600.0), self._ring)

    def _ring(self) -> None:
        self.waiting_claims.stir()
        self._set_alarm()

    def hang_up(self) -> None:
        """End all waits and streams at once, so that a stop does not wait for them."""
        self.waiting_claims.close()
        self.feed.close()

    def hang_up_soon(self) -> None:
        """The same, from a signal handler or another thread."""
        self._loop.call_soon_threadsafe(self.hang_up)

    async def stop(self) -> None:
        self.hang_up()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._alarm_task is not None:
            await asyncio.wait([self._alarm_task])
        if self.services is not None:
            await asyncio.to_thread(self.services.stop)
        await asyncio.to_thread(self.writer.stop)
        self._readers.shutdown()
