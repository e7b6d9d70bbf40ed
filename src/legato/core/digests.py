"""Digests, and canonical bytes of plain values, that cost a flow's start next to nothing.

BLAKE2b comes without the hashlib module, which loads OpenSSL: two milliseconds for a function that CPython has built in.
"""

from __future__ import annotations

__all__ = ["SCALARS", "blake2b", "hex_digest", "plain_bytes"]

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

try:
    from _blake2 import blake2b
except ImportError:  # another Python, or a CPython that has moved it
    from hashlib import blake2b


def hex_digest(data: bytes, size: int) -> str:
    """The BLAKE2b digest of `size` bytes (RFC 7693), as hex digits."""
    return str(blake2b(data, digest_size=size).hexdigest())


SCALARS = frozenset((type(None), bool, int, float, str, bytes))
"""Types whose values are their own canonical form."""

_plain = msgspec.msgpack.Encoder(order="deterministic").encode


def plain_bytes(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes | None:
    """The canonical bytes of arguments that are nothing but numbers, texts and the like; None when they are not (see `identity`)."""
    for value in args:
        if type(value) not in SCALARS:
            return None
    try:
        if not kwargs:
            return _plain(args)
        for value in kwargs.values():
            if type(value) not in SCALARS:
                return None
        return _plain((args, kwargs))
    except (OverflowError, ValueError):  # an int beyond 64 bits, a lone surrogate
        return None
