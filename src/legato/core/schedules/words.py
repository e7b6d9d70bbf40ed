"""A schedule in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import assert_never

from legato.core.schedules.cron import cron_fields
from legato.core.schedules.intervals import interval_walls, keeps_wall_clock
from legato.core.schedules.kinds import CronSchedule, IntervalSchedule, RRuleSchedule, Schedule
from legato.core.schedules.rule_texts import read_recurrence
from legato.core.schedules.rules import SECONDS, Frequency, Rule, wall_time
from legato.core.schedules.streams import DAY, DEFAULT_ANCHOR


def describe(schedule: Schedule) -> str:
    """The schedule in words: "every 5 minutes", "at 08:00 every day (Europe/Rome)". What has no short words is quoted as it stands."""
    match schedule:
        case IntervalSchedule():
            return _describe_interval(schedule)
        case CronSchedule():
            return _describe_cron(schedule)
        case RRuleSchedule():
            return _describe_rrule(schedule)
    assert_never(schedule)


def _describe_interval(schedule: IntervalSchedule) -> str:
    words = "every " + _duration(schedule.interval)
    if not keeps_wall_clock(schedule):
        return words
    return f"{words} at {clock_words(next(interval_walls(schedule, DEFAULT_ANCHOR)))} ({schedule.timezone})"


def _duration(length: timedelta) -> str:
    """What follows "every": "5 minutes", "hour", "1 hour 30 minutes"."""
    rest = length
    words = []
    for name, unit in (("day", DAY), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        number, rest = divmod(rest, unit)
        if number:
            words.append(_several(number, name))
    if rest:
        words.append(_several(rest.seconds if not rest.microseconds else rest.total_seconds(), "second"))
    return words[0].removeprefix("1 ") if len(words) == 1 else " ".join(words)


def _several(number: float, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def clock_words(wall: datetime) -> str:
    return f"{wall:%H:%M:%S}" if wall.second else f"{wall:%H:%M}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_MONTH_NAMES = (
    "",
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def _describe_cron(schedule: CronSchedule) -> str:
    fields = cron_fields(schedule.cron)
    rhythm = _cron_rhythm(fields)
    if rhythm is not None:
        return rhythm
    times, days = _cron_times(fields), _cron_days(fields)
    if times is None or days is None:
        return f"cron {schedule.cron} ({schedule.timezone})"
    return f"at {times} {days} ({schedule.timezone})"


def _cron_rhythm(fields: Sequence[str]) -> str | None:
    """Words for expressions that beat evenly within the hour: those need no time zone."""
    second, minute, hour, *days = fields
    if [hour, *days] != ["*"] * 4:
        return None
    step = re.compile(r"(?:\*|0)/([0-9]+)")
    if (found := step.fullmatch(second)) and minute == "*" and 60 % int(found[1]) == 0:
        return "every " + _duration(timedelta(seconds=int(found[1])))
    if second == minute == "*":
        return "every second"
    if second != "0":
        return None
    if minute == "*":
        return "every minute"
    if (found := step.fullmatch(minute)) and 60 % int(found[1]) == 0:
        return "every " + _duration(timedelta(minutes=int(found[1])))
    if minute.isdigit():
        return "every hour" if int(minute) == 0 else f"at minute {int(minute)} of every hour"
    return None


def _cron_times(fields: Sequence[str]) -> str | None:
    lists = [[int(item) for item in field.split(",")] for field in fields[:3] if re.fullmatch(r"[0-9]+(,[0-9]+)*", field)]
    if len(lists) < 3 or len(lists[0]) * len(lists[1]) * len(lists[2]) > 4:
        return None
    seconds, minutes, hours = lists
    times = sorted({time(hour, minute, second) for hour in hours for minute in minutes for second in seconds})
    return _listed([clock_words(datetime.combine(DEFAULT_ANCHOR, moment)) for moment in times])


def _cron_days(fields: Sequence[str]) -> str | None:
    monthday, month, weekday = fields[3:]
    named = re.sub("|".join(_CRON_WEEKDAYS), lambda found: str(_CRON_WEEKDAYS.index(found[0])), weekday)
    if (monthday, month, weekday) == ("*", "*", "*"):
        return "every day"
    if (monthday, month) == ("*", "*") and named == "1-5":
        return "Monday to Friday"
    if (monthday, month) == ("*", "*") and re.fullmatch(r"[0-7](-[0-7])?(,[0-7](-[0-7])?)*", named):
        days = sorted({(day - 1) % 7 for item in named.split(",") for day in range(int(item[0]), int(item[-1]) + 1)})
        return "every " + _listed([_DAY_NAMES[day] for day in days])
    if (month, weekday) == ("*", "*") and monthday == "L":
        return "on the last day of every month"
    if (month, weekday) == ("*", "*") and monthday.isdigit():
        return f"on day {int(monthday)} of every month"
    if weekday == "*" and monthday.isdigit() and month.isdigit():
        return f"on {int(monthday)} {_MONTH_NAMES[int(month)]} every year"
    return None


_CRON_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def _describe_rrule(schedule: RRuleSchedule) -> str:
    recurrence = read_recurrence(schedule.rrule, schedule.timezone)
    words = _rule_words(recurrence.rules[0]) if len(recurrence.rules) == 1 == len(recurrence.streams) and not recurrence.added else None
    if words is None:
        return f"rrule {' '.join(schedule.rrule.split())} ({schedule.timezone})"
    text = recurrence.rules[0].text
    until = re.search(r"UNTIL=(\d{4})(\d\d)(\d\d)", text)
    times = re.search(r"COUNT=(\d+)", text)
    words += f", until {until[1]}-{until[2]}-{until[3]}" if until else ""
    words += f", {_several(int(times[1]), 'time')}" if times else ""
    words += ", with exceptions" if "EXDATE" in schedule.rrule.upper() else ""
    return f"{words} ({schedule.timezone})"


def _rule_words(rule: Rule) -> str | None:
    if rule.yeardays or rule.weeknos or rule.positions or rule.nth_weekdays:
        return None
    if rule.frequency > Frequency.DAILY:
        evenly = all(f"BY{part}" not in rule.text for part in ("HOUR", "MINUTE", "SECOND", "DAY", "MONTH"))
        return "every " + _duration(timedelta(seconds=rule.interval * SECONDS[rule.frequency])) if evenly else None
    days = _rule_days(rule)
    if days is None or rule.times_a_day > 4:
        return None
    return f"at {_listed([clock_words(wall_time(1, rule.time_of_day(index))) for index in range(rule.times_a_day)])} {days}"


def _rule_days(rule: Rule) -> str | None:
    every = f"every {rule.interval} " if rule.interval > 1 else "every "
    plural = "s" if rule.interval > 1 else ""
    weekdays = _listed([_DAY_NAMES[day] for day in sorted(rule.weekdays)]) if rule.weekdays else ""
    monthdays = ["the last day" if day == -1 else f"day {day}" for day in sorted(rule.monthdays) if day > -2]
    match rule.frequency:
        case Frequency.DAILY if not (rule.weekdays or rule.monthdays or rule.months):
            return f"{every}day{plural}"
        case Frequency.WEEKLY if not (rule.monthdays or rule.months):
            return f"every {weekdays}" if rule.interval == 1 else f"on {weekdays} {every}weeks"
        case Frequency.MONTHLY if monthdays and len(monthdays) == len(rule.monthdays) and not (rule.weekdays or rule.months):
            return f"on {_listed(monthdays)} of every month" if rule.interval == 1 else f"on {_listed(monthdays)} {every}months"
        case Frequency.YEARLY if len(rule.months) == len(rule.monthdays) == 1 and not rule.weekdays and min(rule.monthdays) > 0:
            return f"on {min(rule.monthdays)} {_MONTH_NAMES[min(rule.months)]} {every}year{plural}"
        case _:
            return None
