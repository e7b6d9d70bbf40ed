"""Cache keys: what makes two task calls the same work. Hashes are of canonical MessagePack, never of pickle, whose bytes differ between equal values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from legato.core.errors import UsageError

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def hash_inputs(arguments: Mapping[str, Any]) -> str:
    """A BLAKE2b-128 hex digest of a call's arguments by name, equal for equal values in every process (sets and dict order included).

    Raises `UsageError`, naming the argument, when a value has no canonical form.
    """
    import hashlib  # noqa: PLC0415 start-up time: most flows cache nothing

    try:
        return hashlib.blake2b(_encode(arguments), digest_size=16).hexdigest()
    except (TypeError, ValueError, OverflowError):
        raise UsageError(_unhashable(arguments), hint="give the task a cache_key_fn=lambda context, parameters: '...' instead") from None


def _unhashable(arguments: Mapping[str, Any]) -> str:
    for name, value in arguments.items():
        try:
            _encode(value)
        except (TypeError, ValueError, OverflowError):
            return f"argument '{name}' of type {type(value).__qualname__} has no stable hash, so it cannot be part of a cache key"
    return "the arguments have no stable hash, so they cannot make a cache key"


def cache_key(task_key: str, digest: str) -> str:
    """The key under which a task's result is cached: the task's own key keeps two tasks with equal inputs apart."""
    return f"{task_key}/{digest}"
