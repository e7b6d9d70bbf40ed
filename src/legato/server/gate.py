"""The gate: what every request passes before it is routed. Pure ASGI, no decisions about runs.

It names the request, checks that it was meant for this server (Host), that no other site's page sent it (Origin), that it shows the key
where one is asked for, and that its body is JSON of a bearable size, unpacked. It sends the headers that keep a browser safe.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import secrets
import time
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeAlias

import msgspec

from legato.server.host_names import HostNames, is_trusted
from legato.server.problems import CONTENT_TYPE, TRY_AGAIN, BadRequest, body_of, problem_of
from legato.system import new_id

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

MAX_BODY = 1 << 20
MAX_BATCH = 8 << 20
MAX_BUNDLE = 32 << 20
"""Bytes of a body, unpacked; the second for transitions, which come in batches, the third for bundles, which are bytes and no JSON."""

_BUNDLES = "/api/bundles/"

OPEN_PATHS = frozenset({"/api/health", "/api/ready"})
"""Paths that ask for no key, exactly; besides them only the UI's own files, which lie outside /api."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


class Policy(msgspec.Struct, frozen=True):
    """Who may come in. No `api_key`: everybody who reaches the port. `names`: what this server is called.

    `base_path`: where a proxy serves it ("/tools/flows"); a proxy that takes the path away before it asks is fine as well. `proxies`: addresses
    whose X-Forwarded headers are believed. `logs_access`: one line a request.
    """

    version: str
    api_key: str = ""
    names: HostNames = HostNames()
    base_path: str = ""
    proxies: tuple[str, ...] = ("127.0.0.0/8", "::1")
    logs_access: bool = False


_log = logging.getLogger(__name__)


class Gate:
    """The outermost application: `api` for what lies under /api, `ui` for the rest."""

    def __init__(self, api: Application, ui: Application, policy: Policy) -> None:
        self._api = api
        self._ui = ui
        self._policy = policy
        self._headers = [
            (b"x-legato-version", policy.version.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"x-frame-options", b"DENY"),
            (b"content-security-policy", _POLICY.encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._api(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope["legato_request_id"] = new_id()
        self._leave_base_path(scope)
        is_api = scope["path"] == "/api" or scope["path"].startswith("/api/")
        extra = [*self._headers, (b"x-request-id", request_id.encode())]
        if is_api:
            extra.append((b"cache-control", b"no-store"))

        begun = time.monotonic()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                if self._policy.logs_access:
                    self._log_access(scope, message["status"], begun)
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        try:
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            _require_one_of_each(scope, headers)
            self._admit(scope, headers, is_api=is_api)
            REQUEST_KEY.set(_key_of(headers))
            receive = _measured(scope, headers, receive)
            if b"content-encoding" in headers:
                receive = await _unpacked(scope, headers, receive)
            if REQUEST_KEY.get():
                receive = _noted(scope, receive)
        except BadRequest as error:
            await send_problem(error, request_id, send_with_headers)
            return
        packing = packed_for(scope, send_with_headers) if is_api else send_with_headers
        await (self._api if is_api else self._ui)(scope, receive, packing)

    def _leave_base_path(self, scope: Scope) -> None:
        """The path as it is without a proxy, so that everything behind this knows one way only."""
        base = self._policy.base_path
        if base and (scope["path"] == base or scope["path"].startswith(f"{base}/")):
            scope["path"] = scope["path"].removeprefix(base) or "/"
            scope["raw_path"] = (scope.get("raw_path") or b"").removeprefix(base.encode()) or b"/"

    def _log_access(self, scope: Scope, status: int, begun: float) -> None:
        client = self._forwarded(scope, b"x-forwarded-for").partition(",")[0].strip() or (scope.get("client") or ("",))[0]
        fields = {"method": scope["method"], "path": scope["path"], "status": status, "client": client}
        took_ms = round((time.monotonic() - begun) * 1000, 1)
        _log.info("request", extra={**fields, "took_ms": took_ms, "request_id": scope["legato_request_id"]})

    def _forwarded(self, scope: Scope, name: bytes) -> str:
        """What a proxy says of whom it speaks for; nothing, unless the proxy is one that is believed."""
        peer = (scope.get("client") or ("",))[0]
        value = next((value for key, value in scope["headers"] if key == name), b"")
        return value.decode("latin-1") if value and is_trusted(peer, self._policy.proxies) else ""

    def _admit(self, scope: Scope, headers: dict[bytes, str], *, is_api: bool) -> None:
        host = headers.get(b"host", "")
        if not self._policy.names.welcomes(host):
            raise BadRequest(
                f"this server is not called '{host[:200]}'",
                status=421,
                code="unknown_host",
                hint="add the name to LEGATO_SERVER_ALLOWED_HOSTS",
            )
        if scope["method"] not in _SAFE_METHODS:
            origin = headers.get(b"origin")
            if origin is not None and not self._policy.names.may_change(origin, host, self._forwarded(scope, b"x-forwarded-host")):
                raise BadRequest(
                    f"a page of {origin[:200]} may not change things here",
                    status=403,
                    code="other_origin",
                    hint="open the server's own address, or set LEGATO_SERVER_PUBLIC_URL to the address that people use",
                )
            if scope["path"].startswith(_BUNDLES):
                _require(headers, "application/octet-stream")
            else:
                _require(headers, "application/json")
        if is_api and self._policy.api_key and scope["path"] not in OPEN_PATHS:
            self._require_key(scope, headers)

    def _require_key(self, scope: Scope, headers: dict[bytes, str]) -> None:
        scheme, _, shown = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(shown.strip().encode(), self._policy.api_key.encode()):
            return
        if not scheme:
            raise BadRequest(
                "this server asks for an API key", status=401, code="unauthorized", hint="set LEGATO_API_KEY to the server's key"
            )
        client = (scope.get("client") or ("",))[0]
        _log.warning("wrong_key", extra={"client": client, "path": scope["path"], "request_id": scope["legato_request_id"]})
        raise BadRequest(
            "the API key that was shown is not this server's",
            status=401,
            code="wrong_key",
            hint="set LEGATO_API_KEY, or the api_key of your profile, to the server's key: legato config view says where yours comes from",
        )


_ONCE = frozenset((b"host", b"origin", b"content-type", b"content-encoding", b"content-length", b"authorization", b"idempotency-key"))
"""Headers that are judged by. Of two that differ, whoever stands in between may have looked at the other."""


def _require_one_of_each(scope: Scope, headers: dict[bytes, str]) -> None:
    if len(headers) == len(scope["headers"]):
        return
    names = [name for name, _ in scope["headers"]]
    if twice := sorted(name.decode("latin-1") for name in _ONCE if names.count(name) > 1):
        raise BadRequest(f"the request has more than one {', '.join(twice)}", hint="send each of them once")


REQUEST_KEY: ContextVar[str] = ContextVar("request_key", default="")
"""The `Idempotency-Key` of the request that is being answered: asked again under it, the same answer is given, and nothing done twice."""


_ASKED: ContextVar[Any] = ContextVar("asked", default=None)


def what_was_asked() -> str:
    """A hash of the request that carries a key, as far as it was read: method, path, query and body. Empty for one that carries none."""
    return _ASKED.get().hexdigest() if REQUEST_KEY.get() else ""


def _noted(scope: Scope, receive: Receive) -> Receive:
    """The same body, for `what_was_asked`."""
    asked = hashlib.blake2b(digest_size=16)
    asked.update(b"%b %b?%b\n" % (scope["method"].encode(), scope["path"].encode(errors="surrogateescape"), scope["query_string"]))
    _ASKED.set(asked)

    async def receive_noted() -> Message:
        message = await receive()
        asked.update(message.get("body", b""))
        return message

    return receive_noted


def _key_of(headers: dict[bytes, str]) -> str:
    key = headers.get(b"idempotency-key", "")
    if len(key) > 255 or not key.isascii() or not key.isprintable():
        raise BadRequest("an Idempotency-Key is up to 255 printable ASCII characters", code="bad_key", hint="a UUID is a good one")
    return key


PACKED_ABOVE = 1024
"""Bytes from which on an answer is packed, for those who say that they can unpack it."""


def accepts_gzip(scope: Scope) -> bool:
    """Whether the client can unpack gzip."""
    wanted = next((value for name, value in scope["headers"] if name == b"accept-encoding"), b"").decode("latin-1").lower()
    offers = [part.strip().partition(";") for part in wanted.split(",")]
    return any(name.strip() in ("gzip", "*") and rest.replace(" ", "") not in ("q=0", "q=0.0") for name, _, rest in offers)


def packed_for(scope: Scope, send: Send) -> Send:
    """A `send` that packs a whole JSON answer above PACKED_ABOVE. What comes in pieces (a stream of events) is passed on as it is."""
    if not accepts_gzip(scope):
        return send
    begun: list[Message] = []

    async def send_packed(message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = next((value for name, value in message.get("headers", []) if name.lower() == b"content-type"), b"")
            if b"json" in kind and not any(name.lower() == b"content-encoding" for name, _ in message.get("headers", [])):
                begun.append(message)
                return
        elif begun:
            start = begun.pop()
            body = message.get("body", b"")
            if not message.get("more_body", False) and len(body) > PACKED_ABOVE:
                body = gzip.compress(body, 1, mtime=0)
                kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
                length = (b"content-length", str(len(body)).encode())
                start = {**start, "headers": [*kept, length, (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]}
                message = {**message, "body": body}
            await send(start)
        await send(message)

    return send_packed


def _require(headers: dict[bytes, str], kind: str) -> None:
    """Only kinds that no page of another site can send without asking first."""
    has_body = headers.get(b"content-length", "0") != "0" or b"transfer-encoding" in headers
    if has_body and headers.get(b"content-type", "").partition(";")[0].strip().lower() != kind:
        what = "JSON" if kind == "application/json" else "bytes"
        raise BadRequest(f"a body must be {what}", status=415, code="not_json", hint=f"send Content-Type: {kind}")


def _limit_of(scope: Scope) -> int:
    if scope["path"].startswith(_BUNDLES):
        return MAX_BUNDLE
    return MAX_BATCH if scope["path"] == "/api/transitions" else MAX_BODY


def _measured(scope: Scope, headers: dict[bytes, str], receive: Receive) -> Receive:
    """The same body, refused when it is too long."""
    limit = _limit_of(scope)
    declared = headers.get(b"content-length", "0")
    if not (declared.isascii() and declared.isdigit() and len(declared) < 20) or int(declared) > limit:
        raise _too_large(limit)
    seen = 0

    async def receive_within_limit() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return receive_within_limit


async def _unpacked(scope: Scope, headers: dict[bytes, str], receive: Receive) -> Receive:
    """The body unpacked, within the same limit."""
    encoding = headers[b"content-encoding"].lower()
    if encoding not in ("gzip", "deflate"):
        raise BadRequest(f"cannot unpack '{encoding}'", status=415, code="unknown_encoding", hint="send gzip, deflate, or nothing")
    packed = await read_body(receive)
    limit = _limit_of(scope)
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        body = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is no {encoding}: {error}", code="bad_encoding") from error
    if len(body) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise BadRequest("the body ends too early", code="bad_encoding")
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_unpacked() -> Message:
        return messages.pop() if messages else await receive()

    scope["headers"] = [(n, v) for n, v in scope["headers"] if n not in (b"content-encoding", b"content-length")]
    return receive_unpacked


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client hung up", status=400, code="gone")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(limit: int) -> BadRequest:
    return BadRequest(f"a body may have {limit >> 20} MB here", status=413, code="too_large", hint="send smaller batches")


async def send_json(body: bytes, send: Send, *, status: int = 200, content_type: str = "application/json", headers: Headers = ()) -> None:
    """A whole answer at once."""
    told = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})


async def send_problem(error: Exception, request_id: str, send: Send, *, route: str = "", headers: Headers = ()) -> None:
    """The answer to a request that failed."""
    problem = problem_of(error, request_id, route)
    if problem.status in TRY_AGAIN:
        headers = [*headers, (b"retry-after", b"1")]
    await send_json(body_of(problem), send, status=problem.status, content_type=CONTENT_TYPE, headers=headers)
