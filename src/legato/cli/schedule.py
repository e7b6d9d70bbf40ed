"""`legato schedule`: when a schedule would fire, before it is given to a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from legato.cli.fires import print_fires
    from legato.core.errors import UsageError

    if "/" in schedule and " " not in schedule and not schedule.startswith("*"):  # it looks like a deployment
        raise UsageError(f"'{schedule}' is no schedule", hint=f"a deployment's own: legato deployment preview {typed(schedule)}")
    print_fires(session, [read_schedule(schedule, timezone)], count)


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
            pass  # no duration: it is read as cron, whose error says what a cron expression is
    return CronSchedule(cron=text, timezone=timezone)
