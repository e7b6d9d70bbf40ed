"""`legato schedule`: when a schedule would fire, before it is given to a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import click

from legato.cli.grammar import Noun
from legato.cli.session import Session
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.core.schedules import Schedule

command = Noun("schedule", help="See when a schedule would fire.")


@command.command(
    "preview",
    examples=[
        "legato schedule preview '0 8 * * MON-FRI' --timezone Europe/Rome",
        "legato schedule preview 5m",
        "legato schedule preview 'FREQ=WEEKLY;BYDAY=MO' --count 3",
    ],
)
@click.argument("schedule", metavar="CRON|DURATION|RRULE")
@click.option("--timezone", default="UTC", show_default=True, help="Whose wall clock it means.")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.pass_obj
def preview(session: Session, schedule: str, timezone: str, count: int) -> None:
    """Print the next fire times of a cron expression, an interval (5m, 1d) or an RRULE."""
    from legato.core.errors import UsageError

    if "/" in schedule and " " not in schedule and not schedule.startswith("*"):  # it looks like a deployment
        raise UsageError(f"'{schedule}' is no schedule", hint=f"a deployment's own: legato deployment preview {typed(schedule)}")
    print_fires(session, [read_schedule(schedule, timezone)], count)


LONGEST_LOOK = timedelta(days=1826)
"""How far ahead notes on clock changes are looked for; fires may lie further ahead, and stand without."""


def read_schedule(text: str, timezone: str) -> Schedule:
    """A schedule from what people type: an RRULE, a duration, else a cron expression. Raises `ScheduleError`."""
    from legato.cli.times import parse_duration
    from legato.core.errors import ScheduleError, UsageError
    from legato.core.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    if "FREQ=" in text.upper():
        return RRuleSchedule(rrule=text, timezone=timezone)
    if " " not in text and not text.startswith("@"):
        try:
            return IntervalSchedule(interval=parse_duration(text), timezone=timezone)
        except ScheduleError:
            raise
        except UsageError:
            if not text or not text[0].isdigit():
                return CronSchedule(cron=text, timezone=timezone)  # no duration: its error says what a cron expression is
            raise ScheduleError(
                f"'{text}' is neither an interval nor a cron expression",
                hint="write an interval as 90s, 15m, 24h or 7d, and cron as '0 8 * * *'",
            ) from None
    return CronSchedule(cron=text, timezone=timezone)


# ---------------------------------------------------------------------- printing when schedules fire, and what c


class Fire(NamedTuple):
    """One fire of a schedule."""

    at: datetime
    local: str
    schedule: str
    note: str


def print_fires(session: Session, schedules: Sequence[Schedule], count: int, *, empty: str = "It does not fire any more.") -> None:
    """Print the next `count` fires of these schedules together, with a note where the clocks change. `empty`: what to say of none."""
    from legato.cli.output import Column, show_list
    from legato.core.schedules import describe

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
    show_list(session, records, columns, name=lambda fire: str(fire["at"]), empty=empty)


def _fires(schedule: Schedule, now: datetime, count: int) -> list[Fire]:
    from legato.core.schedules import describe, dst_notes, next_fires

    ats = next_fires(schedule, now, count)
    notes = dict(dst_notes(schedule, now, min(ats[-1], now + LONGEST_LOOK))) if ats else {}
    zone, words = ZoneInfo(schedule.timezone), describe(schedule)
    fires = [Fire(at, f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}", words, notes.pop(at, "")) for at in ats]
    skipped = [Fire(at, f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}", words, note) for at, note in notes.items()]
    return fires + skipped
