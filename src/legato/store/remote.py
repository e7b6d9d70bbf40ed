"""The store's port over HTTP: a server's verbs, called with urllib3.

One pool of kept-alive connections a process; a forked child opens its own. A call that found no server, or lost its connection before the
answer, is sent once more under the same key, and done once: the server gives the first answer again (a repeated transition is "already").
The server's clock judges, so `now` is not sent. Errors come back as the classes they were raised as.
"""

# ruff: noqa: TID253 this module is imported only to speak to a server
from __future__ import annotations

import contextlib
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from legato.core.errors import Unavailable
from legato.core.records import Artifact, LogLine, Transition, Verdict
from legato.store.columns import cleaned
from legato.store.port import Store
from legato.store.shapes import sendable, shape
from legato.store.verbs import Verb
from legato.store.wire import Problem, error_of
from legato.system import new_id

COMPRESS_ABOVE = 16_384
"""Bytes of a body from which on it is compressed: deflate at level 1 costs 0.1 microseconds a transition."""

SURELY_BEARABLE = 64 << 10
"""Bytes of a body that no server of ours refuses: a 413 for less comes from what stands in between, and is no fault of what was sent."""

NO_PATIENCE_S = 10.0
"""How long an answer is waited for once one has not come in time, until one comes again: whoever asks has others to ask for as well."""

SLOW_S = 5.0
"""After how long without an answer a person is told that it is waited for."""

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0

_encode = msgspec.json.Encoder().encode


class RemoteStore(Store):
    """The `Store` port of the server at `url` ("http://host:4200" or "http://host:4200/api")."""

    can_wait = True
    knows_batches = True

    def __init__(self, url: str, *, api_key: str = "") -> None:
        parts = urlsplit(url)
        self._root = parts._replace(path="", query="", fragment="").geturl()
        path = parts.path.rstrip("/")
        self._base = path if path.endswith("/api") else f"{path}/api"
        self.url = self._root + self._base
        self._headers = {"accept": "application/json", "content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._pid = 0
        self._is_silent = False
        """Whether the last answer did not come in time."""
        self.on_slow: Callable[[], None] | None = None
        """Called, on a thread of its own, when an answer has not come after SLOW_S: for people, who may think that nothing happens."""

    @property
    def address(self) -> str:
        return self.url

    def _connections(self) -> urllib3.HTTPConnectionPool:
        if self._pool is None or self._pid != os.getpid():  # a forked child must not write into its parent's connections
            timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
            self._pool = urllib3.connection_from_url(self._root, maxsize=16, block=False, timeout=timeout, retries=False)
            self._pid = os.getpid()
        return self._pool

    def call(self, verb: Verb, arguments: Mapping[str, Any]) -> Any:
        """What the server answers to a verb: its shape says what is asked, and how the answer is read."""
        form = shape(verb)
        query = urlencode([(name, sendable(value)) for name, value in form.query_of(arguments)])
        target = f"{self._base}/{form.path_of(arguments)}" + (f"?{query}" if query else "")
        body = form.body_of(arguments)
        sent = b"" if body is None else _json(body)
        key = "" if verb.repeat else new_id()
        wait_s = arguments.get("wait_s", 0.0)
        with self._telling(wait_s + SLOW_S):
            response = self._send(verb.method, target, sent, self._patience_s(verb) + wait_s, key)
        if response.status == 413 and len(sent) < SURELY_BEARABLE:
            raise Unavailable(
                f"{self._root} takes no body of {len(sent)} bytes (413)",
                hint="a proxy in between has too low a limit: it should let 32 MB pass",
            )
        if response.status >= 400:
            raise error_of(_problem(response.data), response.status)
        try:
            return form.value_of(response.data)
        except msgspec.DecodeError as error:
            is_page = response.data.lstrip()[:1] == b"<"
            raise Unavailable(  # a proxy's page, or half an answer: whoever asked may ask again
                f"{self.url} gave {'a page, and not data' if is_page else f'an answer that cannot be read: {error}'} ({verb.method} {target})",
                hint="is this a Legato server's API? Its address is that of the web UI and /api: http://127.0.0.1:4200/api",
            ) from error

    @contextlib.contextmanager
    def _telling(self, after_s: float) -> Iterator[None]:
        if self.on_slow is None:
            yield
            return
        timer = threading.Timer(after_s, self.on_slow)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _patience_s(self, verb: Verb) -> float:
        return min(verb.timeout_s, NO_PATIENCE_S) if self._is_silent else verb.timeout_s

    def apply(
        self,
        transitions: Sequence[Transition] = (),
        logs: Sequence[LogLine] = (),
        artifacts: Sequence[Artifact] = (),
        *,
        batch_id: str = "",
        now: datetime | None = None,
    ) -> list[Verdict]:
        """As the port says; lines without a batch's id get one, so that what is sent twice is stored once."""
        return super().apply(transitions, logs, artifacts, batch_id=batch_id or (new_id() if logs else ""), now=now)

    def _send(self, method: str, target: str, body: bytes, timeout_s: float, key: str = "") -> urllib3.BaseHTTPResponse:
        headers = {**self._headers, "idempotency-key": key} if key else self._headers
        if len(body) > COMPRESS_ABOVE:
            headers, body = {**headers, "content-encoding": "deflate"}, zlib.compress(body, 1)
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=timeout_s)
        for last in (False, True):
            try:
                response = self._connections().urlopen(method, target, body=body or None, headers=headers, timeout=timeout, redirect=False)
            except HTTPError as error:
                self._is_silent = "read timed out" in str(error).lower()
                if last or "timed out" in str(error).lower():
                    raise Unavailable(
                        f"cannot reach the server at {self._root}: {why_not(error)}",
                        hint="start one: legato server start; or name another: legato config view says where api_url comes from",
                    ) from None
            else:
                self._is_silent = False
                return response
        raise AssertionError("the loop returns or raises")

    def close(self) -> None:
        if self._pool is not None and self._pid == os.getpid():
            self._pool.close()
        self._pool = None


def _json(body: object) -> bytes:
    """The body as JSON; where it holds text that is not Unicode (lone surrogates), that text is made storable first."""
    try:
        return _encode(body)
    except UnicodeEncodeError:
        return _encode(cleaned(msgspec.to_builtins(body)))


def _problem(body: bytes) -> Problem:
    try:
        return msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        return Problem(detail=f"the server gave no reason that can be read: {body[:200].decode(errors='replace')}")


def why_not(error: Exception) -> str:
    """Why a server could not be spoken to, without what urllib3 and OpenSSL put around it."""
    said = str(error)
    if "WRONG_VERSION_NUMBER" in said or "record layer failure" in said:
        return "it does not speak TLS; its address begins with http://"
    if "read timed out" in said.lower():
        return "it takes the question and gives no answer: it hangs, or has too much to do"
    return said.rpartition(": ")[2] or type(error).__name__
