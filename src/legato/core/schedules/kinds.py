"""The records a user writes, and what is refused of them at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from legato.core.errors import ScheduleError
from legato.core.schedules.streams import FIRST_YEAR, LAST_YEAR, MAX_WAIT, MIN_INTERVAL


def _check_zone(name: str) -> None:
    from legato.core.schedules.zones import zone_named  # noqa: PLC0415 start-up time: every process knows these records, few make one

    zone_named(name)


class IntervalSchedule(msgspec.Struct, frozen=True, tag_field="kind", tag="interval"):
    """A fire every `interval`, counted from `anchor_date` in both directions.

    Whole days keep the wall clock of `timezone` across clock changes (daily at 08:00 stays at 08:00); anything else keeps elapsed time.
    A naive `anchor_date` is read in `timezone`; an aware one is kept as UTC. None means 2020-01-01 00:00 in `timezone`.
    Raises `ScheduleError` for an interval under a second or over five years.
    """

    interval: timedelta
    anchor_date: datetime | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not isinstance(self.interval, timedelta):
            raise ScheduleError(f"interval {self.interval!r} is not a timedelta", hint="Write interval=timedelta(minutes=5).")
        if self.interval < MIN_INTERVAL:
            raise ScheduleError(f"interval {self.interval} is too short", hint="The shortest interval is one second.")
        if self.interval > MAX_WAIT:
            raise ScheduleError(f"interval {self.interval} is too long", hint="The longest interval is five years (1827 days).")
        _check_zone(self.timezone)
        if self.anchor_date is not None:
            _normalise_anchor(self, self.anchor_date)


class CronSchedule(msgspec.Struct, frozen=True, tag_field="kind", tag="cron"):
    """Fires at the wall times of `timezone` that a cron expression matches.

    Five fields, or six with seconds first; names (MON, JAN), `L`, `LW`, `5L`, `MON#2`, and @hourly @daily @midnight @weekly @monthly
    @yearly @annually. With `day_or` (classic cron) a day matches if day-of-month *or* day-of-week does, when neither starts with `*`;
    without it both must. Raises `ScheduleError` for an expression that cannot be read or that stays silent for over five years.
    """

    cron: str
    timezone: str = "UTC"
    day_or: bool = True

    def __post_init__(self) -> None:
        _check_zone(self.timezone)
        if not isinstance(self.cron, str):
            raise ScheduleError(f"cron {self.cron!r} is not a string", hint='Write cron="0 8 * * *".')
        from legato.core.schedules.cron import validate_cron  # noqa: PLC0415 start-up time: few processes make a schedule

        validate_cron(self.cron, self.day_or)


class RRuleSchedule(msgspec.Struct, frozen=True, tag_field="kind", tag="rrule"):
    """Fires at the wall times of `timezone` that an iCalendar recurrence (RFC 5545 §3.8.5) describes.

    `rrule` is a bare rule ("FREQ=DAILY;BYHOUR=8") or lines of DTSTART, RRULE, EXDATE and RDATE. Without DTSTART the rule starts at
    2020-01-01 00:00, which also lends it the time of day it does not name; COUNT needs a DTSTART to count from.
    Raises `ScheduleError` for text that cannot be read and for rules that never fire, stay silent for over five years or cost too much.
    """

    rrule: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        _check_zone(self.timezone)
        if not isinstance(self.rrule, str):
            raise ScheduleError(f"rrule {self.rrule!r} is not a string", hint='Write rrule="FREQ=DAILY;BYHOUR=8".')
        from legato.core.schedules.rule_texts import read_recurrence  # noqa: PLC0415 start-up time, as above

        read_recurrence(self.rrule, self.timezone)


Schedule = IntervalSchedule | CronSchedule | RRuleSchedule


def _normalise_anchor(schedule: IntervalSchedule, anchor: datetime) -> None:
    """Keep an aware anchor as UTC, so that equal schedules are equal on the wire too."""
    if not isinstance(anchor, datetime):
        raise ScheduleError(f"anchor_date {anchor!r} is not a datetime", hint="Write anchor_date=datetime(2026, 1, 1, 8, 0).")
    if not FIRST_YEAR <= anchor.year <= LAST_YEAR:
        raise ScheduleError(f"anchor_date {anchor} is out of range", hint=f"Use a year from {FIRST_YEAR} to {LAST_YEAR}.")
    if anchor.tzinfo is not None and anchor.tzinfo is not UTC:
        msgspec.structs.force_setattr(schedule, "anchor_date", anchor.astimezone(UTC))
