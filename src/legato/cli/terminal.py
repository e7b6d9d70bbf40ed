"""What may be printed on a terminal of text that comes from runs."""

from __future__ import annotations


def harmless(text: str) -> str:
    """Text of a run's, for a terminal: no character of it moves the cursor, colours what follows, or writes to the clipboard."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text)
