"""Connections that never become a request: closed in time, and never so many that they shut out others.

A head has to be whole in time after its first byte (or after the connection's beginning), a body has to go on in time. Beyond the most
there may be, in all or from one address, those without a whole head are closed, the oldest first; if there is none, the new one is refused.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Patience(msgspec.Struct, frozen=True):
    """How many seconds a head may take, and a body may stand still."""

    head_s: float = 10.0
    body_s: float = 30.0


PATIENCE = Patience()
"""Long enough for a slow line, short enough for what was never meant."""

KEPT_FREE = 48
"""Open files that are not for connections: databases, logs, results."""

LOCAL_PEERS = frozenset({"", "127.0.0.1", "::1"})


class Caps(msgspec.Struct):
    """The most connections, in all and from one address, and those there are."""

    most: int
    most_of_a_peer: int
    open: int = 0
    by_peer: Counter[str] = msgspec.field(default_factory=Counter)
    without_head: dict[Any, None] = {}


def caps_for(open_files: int) -> Caps:
    """As many as the limit of open files allows; a quarter of them for one address."""
    most = max(16, open_files - KEPT_FREE)
    return Caps(most, max(16, most // 4), without_head={})


_caps = Caps(1 << 20, 1 << 20)
_patience = PATIENCE


def limit_connections(patience: Patience) -> None:
    """Set the caps by what this process may open now, and how long is waited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    global _caps, _patience  # protocols are made by uvicorn, which hands them nothing of ours
    _caps, _patience = caps_for(soft if soft != resource.RLIM_INFINITY else 1 << 20), patience


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, with an end to its patience."""

    _timer: asyncio.TimerHandle | None = None
    peer = ""
    _is_counted = False
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn says BaseTransport
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        _caps.open += 1
        _caps.by_peer[self.peer] += 1
        self._is_counted = True
        self._await_head()
        if _caps.open > _caps.most:
            self._make_room(None)
        elif self.peer not in LOCAL_PEERS and _caps.by_peer[self.peer] > _caps.most_of_a_peer:
            self._make_room(self.peer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        _caps.without_head.pop(self, None)
        if self._is_counted:
            self._is_counted = False
            _caps.open -= 1
            _caps.by_peer[self.peer] -= 1
            if not _caps.by_peer[self.peer]:
                del _caps.by_peer[self.peer]
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()  # its first byte: also of a further request on the same connection

    def on_headers_complete(self) -> None:
        _caps.without_head.pop(self, None)
        self._in_head = False
        self._wait(_patience.body_s)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._wait(_patience.body_s)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._timer is not None and not self._in_head:
            self._stop_waiting()  # answered before the body was whole: keep-alive has a patience of its own

    def _await_head(self) -> None:
        self._in_head = True
        _caps.without_head[self] = None
        self._wait(_patience.head_s)

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self.give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def give_up(self) -> None:
        if not self.transport.is_closing():
            if self._in_head:
                self.transport.abort()
            else:
                self.transport.close()

    def _make_room(self, peer: str | None) -> None:
        """Close the oldest connection without a whole head, of this address if one is named: ourselves, if there is no other."""
        for other in list(_caps.without_head):
            if peer is None or other.peer == peer:
                other.give_up()
                _caps.without_head.pop(other, None)
                return
        self.give_up()
