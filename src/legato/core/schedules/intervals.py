"""The fires of an interval: wall times for whole days, elapsed time for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from legato.core.schedules.kinds import IntervalSchedule
from legato.core.schedules.streams import DAY, DEFAULT_ANCHOR
from legato.core.schedules.zones import readings_of, wall_at, zone_named


def keeps_wall_clock(schedule: IntervalSchedule) -> bool:
    return schedule.interval % DAY == timedelta(0)


def interval_walls(schedule: IntervalSchedule, floor: datetime) -> Iterator[datetime]:
    anchor = schedule.anchor_date or DEFAULT_ANCHOR
    wall = wall_at(anchor, zone_named(schedule.timezone)) if anchor.tzinfo else anchor
    wall += ((floor - wall) // schedule.interval + 1) * schedule.interval
    while True:
        yield wall
        wall += schedule.interval


def elapsed_instants(schedule: IntervalSchedule, after: datetime) -> Iterator[datetime]:
    anchor = schedule.anchor_date or DEFAULT_ANCHOR
    fire = anchor if anchor.tzinfo else readings_of(anchor, zone_named(schedule.timezone))[0]
    fire += ((after - fire) // schedule.interval + 1) * schedule.interval
    while True:
        yield fire
        fire += schedule.interval
