"""Times as people type and read them: "24h", "in 10m", "2026-03-01T08:00", "3m ago"."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from legato.core.errors import UsageError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_DAY = re.compile(r"(yesterday|today|tomorrow)(?: (?:at )?([01]?\d|2[0-3])(?::([0-5]\d))?)?")
LONGEST_S = 100 * 366 * 86400
"""The longest time that can be given, in seconds: a hundred years. Dates end not far beyond."""
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse_duration(text: str) -> timedelta:
    """A timedelta from "90s", "1h30m" or "7d"; a bare number is seconds. Raises `UsageError`."""
    plain = text.strip().lower().replace(" ", "")
    if plain.isdecimal():
        plain += "s"
    parts = _PART.findall(plain)
    if not parts or "".join(number + unit for number, unit in parts) != plain:
        raise UsageError(f"'{text}' is no duration", hint="write it like 90s, 15m, 24h, 1h30m or 7d")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if seconds > LONGEST_S:
        raise UsageError(f"'{text}' is longer than a hundred years", hint="give a shorter time, such as 90s, 15m, 24h, 1h30m or 7d")
    return timedelta(seconds=seconds)


def parse_instant(text: str, now: datetime) -> datetime:
    """An instant in UTC from "in 10m", "+10m", "tomorrow 8:00", "yesterday", or ISO 8601; a time without a zone is this machine's.

    Raises `UsageError`.
    """
    plain = text.strip()
    if plain == "now":
        return now
    for prefix in ("in ", "+"):
        if plain.startswith(prefix):
            return now + parse_duration(plain.removeprefix(prefix))
    if (named := _DAY.fullmatch(plain.lower())) is not None:
        return _on_day(_DAYS[named[1]], int(named[2] or 0), int(named[3] or 0), now)
    try:
        return datetime.fromisoformat(plain).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{text}' is no time", hint="write it like 2026-03-01T08:00, 2026-03-01T08:00+01:00, 'in 10m' or 'tomorrow 8:00'"
        ) from None


def _on_day(days: int, hour: int, minute: int, now: datetime) -> datetime:
    """That time of the clock on the wall of this machine, on the day so many days from today."""
    date = now.astimezone().date() + timedelta(days=days)
    return datetime(date.year, date.month, date.day, hour, minute).astimezone(UTC)


def parse_since(text: str, now: datetime) -> datetime:
    """The beginning of "the last 24h", or of everything since an ISO time."""
    try:
        return now - parse_duration(text)
    except UsageError:
        return parse_instant(text, now)


def iso(at: datetime) -> str:
    """ISO 8601 in UTC, as the API writes it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def relative(at: datetime, now: datetime) -> str:
    """How far away it is: "3m ago", "in 2h"; a day away or more, the local date and time."""
    seconds = (at - now).total_seconds()
    if abs(seconds) >= 86400:
        return at.astimezone().strftime("%Y-%m-%d %H:%M")
    size = spoken(abs(seconds), whole=True)
    if size == "0s":
        return "now"
    return f"in {size}" if seconds > 0 else f"{size} ago"


def spoken(seconds: float, *, whole: bool = False) -> str:
    """A length of time in its largest unit or two: "0.12s", "42s", "3m 5s", "2h 10m"; only the largest one with `whole`."""
    if seconds < 10 and not whole:
        return f"{seconds:.2g}s" if seconds >= 0.01 else f"{seconds * 1000:.2g}ms"
    n = int(seconds)
    sizes = [("d", n // 86400), ("h", n % 86400 // 3600), ("m", n % 3600 // 60), ("s", n % 60)]
    first = next((i for i, (_, count) in enumerate(sizes) if count), 3)
    shown = [sizes[first]] if whole else [pair for pair in sizes[first : first + 2] if pair[1] or pair == sizes[first]]
    return " ".join(f"{count}{unit}" for unit, count in shown)
