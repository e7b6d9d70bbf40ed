"""The event feed: what was recorded, as server-sent events for everybody who watches.

The journal is read once for all watchers, at most four times a second, and each frame is encoded once. A watcher that cannot keep up
loses its backlog and is told to read anew (`reset`), and so is one that comes back from too long ago. The id of an event is its journal
position, which is dense and in commit order, so `Last-Event-ID` resumes without gaps.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from legato.core.errors import LegatoError
from legato.core.json_times import in_full
from legato.core.records import JournalEntry
from legato.store.port import Store

FLUSH_EVERY_S = 0.25
KEEP_ALIVE_S = 15.0
PAGE = 1000
CATCH_UP = 5000
"""Entries that are sent to one who comes back; further behind, reading the page anew is cheaper for both."""
BACKLOG = 256
"""Frames a watcher may be behind before it is told to read anew."""

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T")


def frame(event: str, data: object, *, id_: int | None = None) -> bytes:
    """One event as it stands on the wire."""
    head = f"id: {id_}\n" if id_ is not None else ""
    return f"{head}event: {event}\ndata: ".encode() + _encode(in_full(data)) + b"\n\n"


class Watcher:
    """One stream: everything, or one run's events."""

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        self.frames: deque[bytes] = deque()
        self.ready = asyncio.Event()

    def put(self, data: bytes, position: int) -> None:
        if len(self.frames) >= BACKLOG:
            self.frames.clear()
            data = frame("reset", {"position": position}, id_=position)
        self.frames.append(data)
        self.ready.set()


class EventFeed:
    """Use: `written` from the writer after each group; `watch` for a stream."""

    def __init__(self, store: Store, read: Callable[[Callable[[], object]], Awaitable[object]]) -> None:
        self._store = store
        self._read = read
        self._watchers: set[Watcher] = set()
        self._stirred = asyncio.Event()
        self._logged: set[str] = set()
        self._shown: set[str | None] = set()
        self._position = -1
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_watched(self) -> bool:
        return bool(self._watchers)

    def written(self, logged: frozenset[str], shown: frozenset[str | None] = frozenset()) -> None:
        """Something was recorded; `logged` are runs with new log lines, `shown` runs with new artifacts (None: outside a run)."""
        if self._watchers:
            self._logged |= logged
            self._shown |= shown
            self._stirred.set()

    def changed(self, what: str) -> None:
        """A deployment, queue, agent or variable was changed, which the journal does not tell."""
        if self._watchers:
            self._send(frame("changed", {"what": what}))

    async def watch(self, run_id: str | None, after: int | None) -> AsyncIterator[bytes]:
        """The frames of one stream, from journal position `after` on (None: from now on), until the feed closes."""
        watcher = Watcher(run_id)
        if not self._watchers:
            position = await self._ask(self._store.journal_position)
            self._position = max(position, self._position) if self._watchers else position
        self._watchers.add(watcher)
        here = self._position  # entries up to here are ours to send, later ones the pump's
        if self._task is None:
            self._task = asyncio.create_task(self._pump(), name="legato-feed")
        try:
            yield b"retry: 1000\n: welcome\n\n"
            if after is not None:
                async for missed in self._missed(run_id, after, here):
                    yield missed
            while not self._closed:
                async for data in self._next(watcher):
                    yield data
        finally:
            self._watchers.discard(watcher)

    async def _next(self, watcher: Watcher) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(KEEP_ALIVE_S):
                await watcher.ready.wait()
        except TimeoutError:
            yield b": still here\n\n"
            return
        watcher.ready.clear()
        while watcher.frames:
            yield watcher.frames.popleft()

    async def _missed(self, run_id: str | None, after: int, until: int) -> AsyncIterator[bytes]:
        if until - after > CATCH_UP or after > until:
            yield frame("reset", {"position": until}, id_=until)
            return
        while after < until:
            start, limit = after, min(PAGE, until - after)
            entries = await self._ask(lambda start=start, limit=limit: self._store.read_journal(start, limit=limit))  # type: ignore[misc]
            if not entries:
                return
            after = entries[-1].pos
            mine = [e for e in entries if run_id in (None, e.flow_run_id)]
            if mine:
                yield frame("journal", mine, id_=after)

    async def _pump(self) -> None:
        while not self._closed:
            await self._stirred.wait()
            self._stirred.clear()
            try:
                await self._flush()
            except LegatoError:
                _log.exception("feed_cannot_read")
            await asyncio.sleep(FLUSH_EVERY_S)

    async def _flush(self) -> None:
        logged, self._logged = self._logged, set()
        shown, self._shown = self._shown, set()
        if not self._watchers:
            return
        while entries := await self._ask(lambda: self._store.read_journal(self._position, limit=PAGE)):
            self._position = entries[-1].pos
            self._send_entries(entries)
            logged |= {w.run_id for w in self._watchers if w.run_id}
            if len(entries) < PAGE:
                break
        if logged:
            counts = await self._ask(lambda: self._store.count_logs(sorted(logged)))
            for run_id, (total, _, _) in counts.items():
                self._send(frame("logs", {"flow_run_id": run_id, "total": total}), run_id=run_id)
        for shown_by in shown:
            self._send(frame("artifacts", {"flow_run_id": shown_by}), run_id=shown_by)

    def _send_entries(self, entries: Sequence[JournalEntry]) -> None:
        whole = frame("journal", entries, id_=entries[-1].pos)
        for watcher in self._watchers:
            if watcher.run_id is None:
                watcher.put(whole, self._position)
            elif mine := [e for e in entries if e.flow_run_id == watcher.run_id]:
                watcher.put(frame("journal", mine, id_=entries[-1].pos), self._position)

    def _send(self, data: bytes, run_id: str | None = None) -> None:
        for watcher in self._watchers:
            if run_id is None or watcher.run_id in (None, run_id):
                watcher.put(data, self._position)

    async def _ask(self, question: Callable[[], _T]) -> _T:
        answer: _T = await self._read(question)  # type: ignore[assignment]
        return answer

    def close(self) -> None:
        """End all streams now: the server stops."""
        self._closed = True
        self._stirred.set()
        for watcher in self._watchers:
            watcher.ready.set()
