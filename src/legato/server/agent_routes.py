"""The routes that agents and their runs call all the time: transitions, claims, heartbeats; and the stream. Bare ASGI inside Litestar.

A Litestar route costs 35 microseconds more a request, and the stream is written frame by frame.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qs

import msgspec
from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from legato.core.json_times import in_full
from legato.core.records import Claim, ClaimRequest
from legato.server.backend import Backend
from legato.server.gate import REQUEST_KEY, read_body, send_json, send_problem, what_was_asked
from legato.server.problems import BadRequest
from legato.server.waiting_claims import Need
from legato.store.port import Store
from legato.store.shapes import shape
from legato.store.verbs import verbs_of
from legato.system import randomness

_jitter = randomness()

MAX_WAIT_S = 120.0
"""Longest a claim may wait at the server."""

ASK_AGAIN_S = 15.0
"""A waiting claim asks again after this to twice this, with jitter, should a wake-up ever be lost."""

_encode = msgspec.json.Encoder().encode
_verbs = verbs_of(Store)
_batch, _beats, _request = (msgspec.json.Decoder(shape(_verbs[name]).body).decode for name in ("apply", "heartbeat", "claim_runs"))


def agent_routes(backend: Backend) -> list[ASGIRouteHandler]:
    """The handlers, bound to their backend."""

    @asgi("/api/transitions", copy_scope=False)
    async def transitions(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer() -> bytes:
            batch = _batch(await read_body(receive))  # type: ignore[arg-type]
            return _encode(await backend.writer.apply(batch.transitions, batch.logs, batch.artifacts, batch.batch_id))

        await _answered(scope, send, answer)

    @asgi("/api/heartbeats", copy_scope=False)
    async def heartbeats(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer() -> bytes:
            batch = _beats(await read_body(receive))  # type: ignore[arg-type]
            beat = backend.writer.call(lambda: backend.store.heartbeat(batch.beats, lease_s=batch.lease_s, now=backend.now()), stirs=False)
            return _encode(await beat)

        await _answered(scope, send, answer)

    @asgi("/api/claims", copy_scope=False)
    async def claims(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer() -> bytes | None:
            request = _request(await read_body(receive))  # type: ignore[arg-type]
            if not (0 < request.lease_s <= 86_400 and 0 < request.limit <= 1000):
                raise BadRequest("lease_s must be above 0 and at most 86400, limit from 1 to 1000")
            return await _claim_or_hang_up(backend, request, _wait_s(scope), receive)

        await _answered(scope, send, answer)

    @asgi("/api/events/stream", copy_scope=False)
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await _stream(backend, scope, receive, send)

    return [transitions, heartbeats, claims, stream]


_METHODS = {"/api/events/stream": "GET"}


async def _answered(scope: Scope, send: Send, answer: Callable[[], Awaitable[bytes | None]]) -> None:
    """Send what `answer` gives, or the problem it raises; nothing when the client has gone."""
    try:
        _require_method(scope)
        body = await answer()
    except Exception as error:  # noqa: BLE001 the outermost handler: what is not foreseen is logged there
        await send_problem(error, str(scope.get("legato_request_id", "")), send)  # type: ignore[arg-type]
        return
    if body is not None:
        await send_json(body, send)  # type: ignore[arg-type]


def _require_method(scope: Scope) -> None:
    wanted = _METHODS.get(scope["path"], "POST")
    if scope.get("method") != wanted:
        raise BadRequest(f"{scope['path']} takes {wanted}", status=405, code="method_not_allowed")


def _query(scope: Scope, name: str) -> str | None:
    values = parse_qs(scope["query_string"].decode("latin-1")).get(name)
    return values[-1] if values else None


def _wait_s(scope: Scope) -> float:
    text = _query(scope, "wait") or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAX_WAIT_S:
        raise BadRequest(f"wait is a number of seconds from 0 to {MAX_WAIT_S:g}, not '{text}'")
    return seconds


async def _claim_or_hang_up(backend: Backend, request: ClaimRequest, wait_s: float, receive: Receive) -> bytes | None:
    """The claims as JSON; None when the client hung up meanwhile, and what was claimed for it is taken back."""
    if wait_s == 0:
        return _encode(in_full(await _ask(backend, request)))
    asking = asyncio.ensure_future(_claim(backend, request, wait_s))
    gone = asyncio.ensure_future(_disconnected(receive))
    await asyncio.wait([asking, gone], return_when=asyncio.FIRST_COMPLETED)
    if asking.done():
        gone.cancel()
        return _encode(in_full(asking.result()))
    asking.cancel()
    return None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _claim(backend: Backend, request: ClaimRequest, wait_s: float) -> list[Claim]:
    """Runs for an agent, as soon as there are some; none when the wait is over."""
    need: Need = (tuple(sorted(request.queues)), tuple(sorted(request.flow_runners)))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        generation = backend.waiting_claims.generation
        try:
            claims = await _ask(backend, request)
        except asyncio.CancelledError:
            backend.waiting_claims.pass_on(need)
            raise
        backend.waiting_claims.asked(need, generation, found=bool(claims))
        left = deadline - loop.time()
        if claims or left <= 0 or backend.waiting_claims.is_closed:
            return claims
        patience = ASK_AGAIN_S * (1 + _jitter.random())
        waiting = backend.waiting_claims.wait(need, since=generation, timeout_s=min(left, patience))
        backend.writer.watched = True
        try:
            await waiting
        finally:
            backend.look_closely()


async def _ask(backend: Backend, request: ClaimRequest) -> list[Claim]:
    """One claim. When the client goes while it is under way, the runs are taken back at once and handed to somebody else."""
    # A claim that stirred would wake the next one in line, which would stir: agents that wait would keep a processor busy.
    key, asked = REQUEST_KEY.get(), what_was_asked()
    asking = asyncio.ensure_future(backend.writer.call(partial(_claim_what_is_due, backend, request, key, asked), stirs=False))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        asking.add_done_callback(lambda done: _take_back(backend, done, key))
        raise


def _claim_what_is_due(backend: Backend, request: ClaimRequest, key: str, asked: str) -> list[Claim]:
    """The claims, once under a key. Where nothing is due nothing is written, not even the key: most claims are of this kind, for every
    stir has an agent that waits look again. Looked at in this order no answer is missed: what another request claims meanwhile is no
    longer due, and its answer is there.
    """
    now = backend.now()
    due = backend.store.next_due_at()
    if (due is None or due > now) and not (key and backend.store.has_answer(key)):
        return []
    if not key:
        return backend.store.claim_runs(request, now=now)
    answer = backend.store.once(key, lambda: backend.store.claim_runs(request, now=now), asked=asked, now=now)
    return cast("list[Claim]", answer)  # or the same as JSON, where it was asked before


def _take_back(backend: Backend, done: asyncio.Future[list[Claim]], key: str) -> None:
    if done.cancelled() or done.exception() is not None or isinstance(done.result(), msgspec.Raw):
        return

    def report() -> None:
        if key:
            backend.store.forget_answer(key)
        for claim in done.result():
            run = claim.flow_run
            backend.store.hand_back(run.id, run.epoch, "its agent hung up before it was handed over", now=backend.now())

    task = asyncio.ensure_future(backend.writer.call(report))
    _pending.add(task)
    task.add_done_callback(_pending.discard)


_pending: set[asyncio.Future[Any]] = set()
"""Keeps references: the loop holds tasks weakly."""


async def _stream(backend: Backend, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        _require_method(scope)
        after = _last_event_id(scope)
    except BadRequest as error:
        await send_problem(error, str(scope.get("legato_request_id", "")), send)  # type: ignore[arg-type]
        return
    writing = asyncio.ensure_future(_write_frames(backend, _query(scope, "run"), after, send))
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait([writing, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writing, gone):
            task.cancel()
        await asyncio.gather(writing, gone, return_exceptions=True)
        backend.look_closely()


async def _write_frames(backend: Backend, run_id: str | None, after: int | None, send: Send) -> None:
    frames = backend.feed.watch(run_id, after)
    backend.writer.watched = True
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
    begun = False
    try:
        async for data in frames:
            if not begun:  # only now does it watch: whoever has seen the headers misses nothing that happens afterwards
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                begun = True
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        await frames.aclose()  # type: ignore[attr-defined]


def _last_event_id(scope: Scope) -> int | None:
    given = next((v.decode("latin-1") for n, v in scope["headers"] if n == b"last-event-id"), None) or _query(scope, "after")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit()) or len(given) > 18:
        raise BadRequest(f"'{given}' is no journal position")
    return int(given)
