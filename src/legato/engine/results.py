"""Values to stored results and back; how a value becomes bytes is in `serializers`.

The bytes are in the run's own row when small, in storage under their content address when large, and durable before the state that names
them. A value that cannot be serialised leaves the run's state true: its `Result` says why it is unavailable.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

from legato import crashing
from legato.core.digests import hex_digest
from legato.core.errors import LegatoError, ResultMissing
from legato.core.records import Result
from legato.engine import serializers
from legato.engine.serializers import Serializer

INLINE_BYTES = 4096
"""Results up to this size lie in the run's row: one write instead of two, and no file."""

_PREVIEW = 200


class BlobStore(Protocol):
    """Where large values lie: write once, under the hash of their bytes."""

    def put(self, data: bytes) -> str:
        """Store durably; returns the key, which is the BLAKE2b-256 hex digest of `data`."""
        ...

    def get(self, key: str) -> bytes:
        """The bytes, checked against their key. Raises `ResultMissing` when they are gone or damaged."""
        ...


def save(value: Any, blobs: BlobStore, serializer: Serializer | None = None) -> Result:
    """The stored form of a value, by the serialiser chosen or the one that suits it. A large value's hash is worked out once, by the storage."""
    kind = type(value).__qualname__
    try:
        name, data = serializers.dumps(value, serializer)
    except Exception as error:  # noqa: BLE001 a user's __reduce__ may raise anything
        why = f"a value of type {kind} cannot be serialised: {type(error).__name__}: {error}"
        return Result(serializer="", type=kind, preview=preview_of(value), unavailable=why[:500])
    crashing.reached("result.serialised")
    beside = "" if serializer is None or serializers.comes_back(value, name, data) else _COMES_BACK_AS_ANOTHER.format(name)
    about: dict[str, Any] = {"type": kind, "preview": preview_of(value), "changed": bool(beside), "beside": beside}
    if len(data) <= INLINE_BYTES:
        return Result(serializer=name, size=len(data), hash=_digest(data), inline=data, **about)
    try:
        key = blobs.put(data)
    except (OSError, LegatoError) as error:
        return Result(serializer="", type=kind, preview=preview_of(value), unavailable=f"it could not be stored: {error}"[:500])
    return Result(serializer=name, size=len(data), hash=key, key=key, **about)


_COMES_BACK_AS_ANOTHER = "its value is another one when it is read again: the serializer '{}' does not keep it"


TOO_LARGE = Result(serializer="", unavailable="it was too large to be kept")


def weight_of(value: Any) -> int:
    """About how many bytes a value takes, as far as it says so itself: arrays and frames do. What is cheap to ask, nothing else."""
    try:
        size = getattr(value, "nbytes", None)
        if isinstance(size, int):
            return size
        usage = getattr(value, "memory_usage", None)  # a pandas frame's columns, a series' one number
        if callable(usage):
            counted: Any = usage()
            return int(counted if isinstance(counted, int) else counted.sum())
        return sys.getsizeof(value)
    except Exception:  # noqa: BLE001 somebody else's attribute of that name: it says nothing
        return 0


def snapshot(value: Any) -> Result:
    """The value serialised, kept in memory whatever its size."""
    kind = type(value).__qualname__
    try:
        name, data = serializers.dumps(value, None)
    except Exception as error:  # noqa: BLE001 a user's __reduce__ may raise anything
        return Result(serializer="", type=kind, unavailable=f"a value of type {kind} cannot be serialised: {error}"[:500])
    return Result(serializer=name, type=kind, size=len(data), hash=_digest(data), inline=data)


def load(result: Result, blobs: BlobStore) -> Any:
    """The value of a stored result. Raises `ResultMissing`, never returns something else instead."""
    if result.unavailable:
        raise ResultMissing(result.unavailable, hint="return a value that can be pickled, or run the task again")
    return serializers.loads(result.serializer, _bytes_of(result, blobs))


def _bytes_of(result: Result, blobs: BlobStore) -> bytes:
    """The stored bytes, proven to be those that the state names. The storage has checked its own: a key is the hash of what is under it."""
    if result.inline is None and result.key == result.hash:
        return blobs.get(result.key)
    data = result.inline if result.inline is not None else blobs.get(result.key or "")
    if _digest(data) != result.hash:
        raise ResultMissing(f"the stored result {result.key or '(inline)'} is damaged: its hash differs", hint="run the task again")
    return data


def preview_of(value: Any) -> str:
    """A short text of a value, for people; empty where making one could be slow or noisy."""
    try:
        if isinstance(value, (bool, int, float, str)):
            return repr(value)[:_PREVIEW]
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            return repr(value)[:_PREVIEW] if len(value) <= 20 else f"{type(value).__name__} of {len(value)}"
        shape = getattr(value, "shape", None)
        return f"{type(value).__name__} {shape}" if isinstance(shape, tuple) else ""
    except Exception:  # noqa: BLE001 a user's __repr__ or __getattr__ may raise anything; a preview is not worth a failure
        return ""


def _digest(data: bytes) -> str:
    return hex_digest(data, 32)
