"""Bundles over HTTP: a deployer puts one under its hash, agents fetch it. Bytes in, bytes out; what they mean is the run's business."""

from __future__ import annotations

import asyncio

import msgspec
from litestar import Response, get, put
from litestar.enums import MediaType
from litestar.params import FromPath, RawBody

from legato.core.digests import hex_digest
from legato.core.errors import NotFound, ResultMissing, UsageError
from legato.server.routes import WithBackend
from legato.storage.local import LocalStorage


class Stored(msgspec.Struct, frozen=True):
    """Under which key a bundle is stored."""

    why: str


KEY_CHARACTERS = frozenset("0123456789abcdef")


def _checked(key: str) -> str:
    if len(key) != 64 or not set(key) <= KEY_CHARACTERS:
        raise UsageError(f"'{key[:80]}' is no bundle's key", hint="a key is the BLAKE2b-256 hash of the bytes, 64 hex digits")
    return key


@put("/api/bundles/{key:str}")
async def put_bundle(backend: WithBackend, key: FromPath[str], body: RawBody) -> Stored:
    """Store a bundle (its bytes) under its hash. Storing it again changes nothing."""
    _checked(key)
    if hex_digest(body, 32) != key:
        raise UsageError("the bytes do not have this hash", hint="they were changed on the way: send them again")
    storage = _storage(backend)
    await asyncio.to_thread(storage.put, body)
    return Stored(key)


@get("/api/bundles/{key:str}", media_type=MediaType.MESSAGEPACK)
async def get_bundle(backend: WithBackend, key: FromPath[str]) -> Response[bytes]:
    """A bundle's bytes."""
    storage = _storage(backend)
    try:
        data = await asyncio.to_thread(storage.get, _checked(key))
    except ResultMissing:
        raise NotFound("bundle", key, hint="deploy it again: legato deployment create FILE") from None
    return Response(data, media_type="application/octet-stream")


def _storage(backend: WithBackend) -> LocalStorage:
    if not isinstance(backend.blobs, LocalStorage):
        raise NotFound("storage", "bundles", hint="this server keeps none")
    return backend.blobs


BUNDLE_ROUTES = (put_bundle, get_bundle)
