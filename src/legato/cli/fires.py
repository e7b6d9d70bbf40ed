"""Printing when schedules fire, and what clock changes do to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from legato.cli.output import Column, show_list
from legato.core.schedules import describe, dst_notes, next_fires

if TYPE_CHECKING:
    from legato.cli.session import Session
    from legato.core.schedules import Schedule


class Fire(NamedTuple):
    """One fire of a schedule."""

    at: datetime
    local: str
    schedule: str
    note: str


def print_fires(session: Session, schedules: Sequence[Schedule], count: int) -> None:
    """Print the next `count` fires of these schedules together, with a note where the clocks change."""
    now = session.now()
    fires = sorted((fire for schedule in schedules for fire in _fires(schedule, now, count)), key=lambda fire: fire.at)[:count]
    if not session.wants_json:
        for schedule in schedules:
            session.hint(describe(schedule))
    columns = [
        Column("LOCAL TIME", lambda fire: fire["local"]),
        Column("AT", lambda fire: fire["at"]),
        Column("SCHEDULE", lambda fire: fire["schedule"], yields=1),
        Column("NOTE", lambda fire: fire["note"]),
    ]
    records = [fire._asdict() for fire in fires]
    show_list(session, records, columns, name=lambda fire: str(fire["at"]), empty="It does not fire any more.")


def _fires(schedule: Schedule, now: datetime, count: int) -> list[Fire]:
    ats = next_fires(schedule, now, count)
    notes = dict(dst_notes(schedule, now, ats[-1])) if ats else {}
    zone, words = ZoneInfo(schedule.timezone), describe(schedule)
    fires = [Fire(at, f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}", words, notes.pop(at, "")) for at in ats]
    skipped = [Fire(at, f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}", words, note) for at, note in notes.items()]
    return fires + skipped
