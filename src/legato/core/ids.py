"""Identifiers: UUIDv7 (RFC 9562), so that ids sort by the time they were made. Time and randomness come in; see `legato.system` for the source."""

from __future__ import annotations

import re

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def uuid7(unix_ms: int, random_bits: int) -> str:
    """The UUIDv7 of a millisecond since 1970 and at least 74 random bits, in canonical text form (RFC 9562 section 5.7)."""
    text = f"{unix_ms & 0xFFFFFFFFFFFF:012x}{0x7000 | random_bits >> 62 & 0xFFF:04x}{1 << 63 | random_bits & 0x3FFFFFFFFFFFFFFF:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether `text` is a whole id in canonical form."""
    return _ID.fullmatch(text) is not None
