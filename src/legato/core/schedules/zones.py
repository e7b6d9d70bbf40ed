"""Time zones by name, and what their clocks show."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

from legato.core.errors import ScheduleError
from legato.core.spelling import close_to

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


def readings_of(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The two ways to read a wall time (PEP 495): equal if it is shown once, ascending if twice, descending if it is skipped."""
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC), wall.replace(tzinfo=zone, fold=1).astimezone(UTC)


def wall_at(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def earliest_wall(after: datetime, zone: ZoneInfo) -> datetime:
    """A wall time that nothing shown after `after` lies below: clocks that go back within a day are allowed for, hour by hour."""
    lowest = min(offset_at(after + timedelta(hours=hours), zone) for hours in range(1, 25))
    return wall_at(after, zone) - max(offset_at(after, zone) - lowest, timedelta(0))


def change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant, to the second, at which the offset of `before` gives way to that of `after`."""
    old = offset_at(before, zone)
    low, high = before.replace(microsecond=0), after
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if offset_at(middle, zone) == old:
            low = middle
        else:
            high = middle
    return low + timedelta(seconds=1)


_REFUSED_ZONES = frozenset({"localtime", "posixrules", "Factory"})


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """The zone of that name. Names that mean another thing on another machine (localtime) or count leap seconds (right/…) are refused."""
    try:
        if not isinstance(name, str):
            raise TypeError(name)
        if name.startswith(("right/", "posix/")) or name in _REFUSED_ZONES:
            raise ValueError(name)
        zone: ZoneInfo = _zoneinfo().ZoneInfo(name)
    except (KeyError, TypeError, ValueError, OSError):
        raise ScheduleError(f"timezone {name!r} is not known", hint=_zone_hint(name)) from None
    return zone


def _zone_hint(name: str) -> str:
    known = {zone.lower(): zone for zone in _zoneinfo().available_timezones() - _REFUSED_ZONES}
    wanted = str(name).strip().lower().replace(" ", "_")
    if any(lower.startswith(wanted + "/") for lower in known):
        return f"It is an area: add the city, such as {min(zone for zone in known.values() if zone.lower().startswith(wanted + '/'))!r}."
    by_city = [zone for lower, zone in sorted(known.items()) if lower.endswith("/" + wanted)]
    close = by_city or [known[match] for match in close_to(wanted, known, cutoff=0.7)]
    return f"Did you mean {close[0]!r}?" if close else "Use an IANA name such as 'Europe/Rome' or 'UTC'."


def _zoneinfo() -> ModuleType:
    return importlib.import_module("zoneinfo")
