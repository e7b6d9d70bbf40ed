"""What was probably meant by a word that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable


def close_to(word: str, known: Iterable[str], *, n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Up to `n` of the known words that are spelled alike, the nearest first. `cutoff`: how much alike, from 0 to 1 (the same)."""
    import difflib  # noqa: PLC0415 start-up time: wanted when something is wrong

    return difflib.get_close_matches(word, list(known), n=n, cutoff=cutoff)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that names what was probably meant, or nothing."""
    close = close_to(word, known, n=3)
    return f"Did you mean  {', '.join(close)} ?" if close else ""
