"""Cron expressions: read, refused, and walked along."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

from legato.core.errors import ScheduleError
from legato.core.schedules.streams import DEFAULT_ANCHOR, MAX_WAIT
from legato.core.spelling import close_to

if TYPE_CHECKING:
    from cronsim import CronSim

_CRON_ALIASES: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_CRON_FIELDS: Sequence[tuple[str, str, int]] = (
    ("second", "0-59", 60),
    ("minute", "0-59", 60),
    ("hour", "0-23", 24),
    ("day-of-month", "1-31, L or LW", 31),
    ("month", "1-12 or JAN-DEC", 12),
    ("day-of-week", "0-7 or SUN-SAT (0 and 7 are Sunday), MON#2, 5L", 7),
)
"""Name, range in words, number of values: in the order of a six-field expression."""

GREGORIAN_SAMPLE = range(2001, 2029)
"""28 years hold each of the 14 kinds of year (7 first weekdays, leap or not), in the order in which they come until 2100."""


def cron_fields(expression: str) -> list[str]:
    """Six upper-case fields, seconds first. Raises `ScheduleError` if the text cannot be cut into them."""
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in _CRON_ALIASES:
            close = close_to(text.lower(), _CRON_ALIASES)
            hint = f"Did you mean '{close[0]}'?" if close else f"Known: {' '.join(_CRON_ALIASES)}. For another rhythm use IntervalSchedule."
            raise ScheduleError(f"cron '{text}' is not known", hint=hint)
        text = _CRON_ALIASES[text.lower()]
    fields = text.upper().split()
    if len(fields) not in {5, 6}:
        raise ScheduleError(
            f"cron {expression!r:.100} has {len(fields)} fields, not 5 (or 6 with seconds first)",
            hint="Write 'minute hour day-of-month month day-of-week', such as '0 8 * * *' for 08:00 every day.",
        )
    fields = fields if len(fields) == 6 else ["0", *fields]
    fields[5] = re.sub(r"(?<!SUN)-SUN\b", "-7", fields[5])  # FRI-SUN: as the end of a range Sunday is the seventh day, not day 0
    return fields


@lru_cache(maxsize=1024)
def validate_cron(expression: str, day_or: bool) -> None:
    fields = cron_fields(expression)
    for position, field in enumerate(fields):
        _validate_cron_field(expression, position, field)
    last = datetime(GREGORIAN_SAMPLE.start - 1, 12, 31, 23, 59, 59)  # noqa: DTZ001 - a wall time
    for year in GREGORIAN_SAMPLE:
        if last.year >= year:
            continue
        found = _next_cron_wall(fields, day_or, datetime(year - 1, 12, 31, 23, 59, 59))  # noqa: DTZ001 - a wall time
        if found is None:
            raise ScheduleError(f"cron '{expression}' never fires", hint="No date matches day-of-month, month and day-of-week together.")
        if found - last > MAX_WAIT:
            raise ScheduleError(f"cron '{expression}' can be silent for over five years", hint="Choose days that come more often.")
        last = found


def _validate_cron_field(expression: str, position: int, field: str) -> None:
    name, values, size = _CRON_FIELDS[position]
    hint = f"Its values are {values}; write *, */2, 1-5 or 1,3."
    if "?" in field:
        hint = "Write * instead of ?."
    for step in re.findall(r"/(\d+)", field):
        if int(step[:9]) > size:
            hint = f"A step of {step} is longer than the field; for a rhythm of its own use IntervalSchedule."
            raise ScheduleError(f"cron '{expression}': the {name} field '{field}' is not valid", hint=hint)
    alone = ["*"] * 6
    alone[position] = field
    if len(field) > 200:
        raise ScheduleError(f"cron '{expression:.100}…': the {name} field is too long", hint="A field has at most 200 characters.")
    cronsim = _cronsim()
    try:
        cronsim.CronSim(" ".join(alone), DEFAULT_ANCHOR)
    except (cronsim.CronSimError, AssertionError, ValueError):  # the latter two: what cronsim lets through by mistake
        raise ScheduleError(f"cron '{expression}': the {name} field '{field}' is not valid", hint=hint) from None


def _cronsim() -> ModuleType:
    return importlib.import_module("cronsim")


def days_in_month(year: int, month: int) -> int:
    return 31 if month == 12 else (date(year, month + 1, 1) - date(year, month, 1)).days


def cron_sim(fields: Sequence[str], day_or: bool, floor: datetime) -> CronSim:
    """A cronsim iterator on naive time: its own clock-change rules, which differ between five and six fields, stay asleep."""
    sim: CronSim = _cronsim().CronSim(" ".join(fields), floor)
    if not day_or:
        sim.day_and = True
    return sim


def _next_cron_wall(fields: Sequence[str], day_or: bool, floor: datetime) -> datetime | None:
    try:
        return next(cron_sim(fields, day_or, floor), None)
    except _cronsim().CronSimError:  # cronsim knows by itself that 30 February does not come
        return None


def is_cron_wildcard(expression: str) -> bool:
    """Debian's rule: a star at the beginning of the minute or the hour field."""
    fields = cron_fields(expression)
    return fields[1].startswith("*") or fields[2].startswith("*")
