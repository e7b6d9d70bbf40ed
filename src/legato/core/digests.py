"""BLAKE2b without the hashlib module, which loads OpenSSL: two milliseconds of a flow's start for a function that CPython has built in."""

from __future__ import annotations

__all__ = ["blake2b", "hex_digest"]

try:
    from _blake2 import blake2b
except ImportError:  # another Python, or a CPython that has moved it
    from hashlib import blake2b


def hex_digest(data: bytes, size: int) -> str:
    """The BLAKE2b digest of `size` bytes (RFC 7693), as hex digits."""
    return str(blake2b(data, digest_size=size).hexdigest())
