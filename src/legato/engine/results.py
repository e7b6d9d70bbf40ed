"""Values to stored results and back. JSON where it gives back the very same value, cloudpickle otherwise.

The bytes are in the run's own row when small, in storage under their content address when large, and durable before the state that names
them. A value that cannot be serialised leaves the run's state true: its `Result` says why it is unavailable.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import msgspec

from legato.core.errors import LegatoError, ResultMissing
from legato.core.records import Result

INLINE_BYTES = 4096
"""Results up to this size lie in the run's row: one write instead of two, and no file."""

_PREVIEW = 200


class BlobStore(Protocol):
    """Where large values lie: write once, under the hash of their bytes."""

    def put(self, data: bytes) -> str:
        """Store durably; returns the key."""
        ...

    def get(self, key: str) -> bytes:
        """Raises `ResultMissing` when it is gone or damaged."""
        ...


def save(value: Any, blobs: BlobStore) -> Result:
    """The stored form of a value."""
    kind = type(value).__qualname__
    try:
        serializer, data = _serialize(value)
    except Exception as error:  # noqa: BLE001 a user's __reduce__ may raise anything
        why = f"a value of type {kind} cannot be serialised: {type(error).__name__}: {error}"
        return Result(serializer="", type=kind, preview=preview_of(value), unavailable=why[:500])
    digest = _digest(data)
    if len(data) <= INLINE_BYTES:
        return Result(serializer=serializer, type=kind, size=len(data), hash=digest, inline=data, preview=preview_of(value))
    try:
        key = blobs.put(data)
    except (OSError, LegatoError) as error:
        return Result(serializer="", type=kind, preview=preview_of(value), unavailable=f"it could not be stored: {error}"[:500])
    return Result(serializer=serializer, type=kind, size=len(data), hash=digest, key=key, preview=preview_of(value))


def snapshot(value: Any) -> Result:
    """The value serialised, kept in memory whatever its size."""
    kind = type(value).__qualname__
    try:
        serializer, data = _serialize(value)
    except Exception as error:  # noqa: BLE001 a user's __reduce__ may raise anything
        return Result(serializer="", type=kind, unavailable=f"a value of type {kind} cannot be serialised: {error}"[:500])
    return Result(serializer=serializer, type=kind, size=len(data), hash=_digest(data), inline=data)


def load(result: Result, blobs: BlobStore) -> Any:
    """The value of a stored result. Raises `ResultMissing`, never returns something else instead."""
    if result.unavailable:
        raise ResultMissing(result.unavailable, hint="return a value that can be pickled, or run the task again")
    data = result.inline if result.inline is not None else blobs.get(result.key or "")
    if _digest(data) != result.hash:
        raise ResultMissing(f"the stored result {result.key or '(inline)'} is damaged: its hash differs", hint="run the task again")
    if result.serializer == "json":
        return msgspec.json.decode(data)
    import pickle  # noqa: PLC0415 start-up time: most flows return plain values

    try:
        return pickle.loads(data)  # noqa: S301 written by this user's own flows
    except (ImportError, AttributeError) as error:
        raise ResultMissing(
            f"a stored {result.type} cannot be read here: {error}", hint="the module it was made with must be importable"
        ) from error


def preview_of(value: Any) -> str:
    """A short text of a value, for people; empty where making one could be slow or noisy."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)[:_PREVIEW]
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        try:
            return repr(value)[:_PREVIEW] if len(value) <= 20 else f"{type(value).__name__} of {len(value)}"
        except Exception:  # noqa: BLE001 a user's __repr__ may raise anything; a preview is not worth a failure
            return ""
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__} {shape}" if isinstance(shape, tuple) else ""


def _digest(data: bytes) -> str:
    import hashlib  # noqa: PLC0415 start-up time: most flows keep no results

    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _serialize(value: Any) -> tuple[str, bytes]:
    if _is_plain(value, 6):
        return "json", msgspec.json.encode(value)
    import cloudpickle  # start-up time: most flows return plain values

    return "cloudpickle", cloudpickle.dumps(value)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether JSON gives back the very same value: exact types only (no tuples, no subclasses), string keys, finite and bounded numbers."""
    kind = type(value)
    if kind in (type(None), bool, str):
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    if depth and kind is list:
        return all(_is_plain(item, depth - 1) for item in value)
    return depth > 0 and kind is dict and all(type(key) is str and _is_plain(item, depth - 1) for key, item in value.items())
