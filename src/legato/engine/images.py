"""The bytes of image artifacts: small ones lie in the artifact itself, others in storage under their content address."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from legato.core.errors import NotFound, ResultMissing, UsageError
from legato.core.records import Artifact, ArtifactKind
from legato.engine.results import INLINE_BYTES, BlobStore

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def image_type(data: bytes) -> str:
    """The media type of an image, from how it begins. Raises `UsageError` for what browsers do not show."""
    for beginning, name in _BEGINNINGS:
        if data.startswith(beginning):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"<svg", b"<?xml")) and b"<svg" in start:
        return "image/svg+xml"
    raise UsageError(f"these {len(data)} bytes are no image that browsers show", hint="give a PNG, JPEG, GIF, WebP or SVG")


def image_data(data: bytes, blobs: BlobStore) -> dict[str, Any]:
    """The data of an image artifact of these bytes, which are stored when this returns."""
    described = {"type": image_type(data), "size": len(data)}
    if len(data) <= INLINE_BYTES:
        return {**described, "inline": b64encode(data).decode()}
    return {**described, "blob": blobs.put(data)}


def image_bytes(artifact: Artifact, blobs: BlobStore | None) -> bytes:
    """The bytes of an image artifact. Raises `NotFound` when it is none or lies elsewhere on the web, `ResultMissing` when they are not here."""
    data = artifact.data
    if artifact.kind is not ArtifactKind.IMAGE or not isinstance(data, dict) or "type" not in data:
        where = f"it is at {data['url']}" if isinstance(data, dict) and "url" in data else "it is no image"
        raise NotFound("stored image of artifact", artifact.id, hint=where)
    try:
        if "inline" in data:
            return b64decode(data["inline"], validate=True)
    except (ValueError, TypeError):
        raise UsageError(f"what was recorded as the bytes of artifact {artifact.id} is no image", hint="it must be base64") from None
    blob = data.get("blob")
    if not isinstance(blob, str):
        raise NotFound("stored image of artifact", artifact.id, hint="no bytes were recorded with it")
    if blobs is None:
        raise ResultMissing(f"the image {blob} lies in a storage that cannot be reached from here")
    return blobs.get(blob)
