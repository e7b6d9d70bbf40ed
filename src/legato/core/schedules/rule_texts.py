"""Reading RRULE texts (RFC 5545 §3.8.5): lines, stamps and rules, and the proof that each fires."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from legato.core.errors import ScheduleError
from legato.core.schedules.cron import GREGORIAN_SAMPLE
from legato.core.schedules.rules import NUMBER_PARTS, PARTS, SECONDS, WEEKDAYS, Frequency, Patience, Rule, rule_walls
from legato.core.schedules.streams import (
    DAY,
    DEFAULT_ANCHOR,
    FIRST_YEAR,
    LAST_CALENDAR_YEAR,
    LAST_YEAR,
    MAX_RULES,
    MAX_STEPS,
    MAX_TEXT_LENGTH,
    MAX_WAIT,
    Stream,
)
from legato.core.schedules.zones import wall_at, zone_named
from legato.core.spelling import close_to

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_BEGIN = datetime(FIRST_YEAR - 1, 1, 1)  # noqa: DTZ001 - a wall time before all others

_NEVER_ENDS = datetime(LAST_CALENDAR_YEAR, 12, 31)  # noqa: DTZ001 - a wall time after all others

_Stamp = datetime | date
"""A date or time of an RRULE text: aware UTC if it ended in Z, a naive wall time if not, a date if it had no time of day."""


class Recurrence(msgspec.Struct, frozen=True):
    """A whole RRULE text, read. Dates in UTC are exact instants and are added and removed last; all others went into the streams."""

    rules: tuple[Rule, ...]
    streams: tuple[Stream, ...]
    added: tuple[datetime, ...]
    removed: frozenset[datetime]


@lru_cache(maxsize=1024)
def read_recurrence(text: str, timezone: str) -> Recurrence:
    """Read the text and prove that each of its rules fires. Raises `ScheduleError`."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ScheduleError(f"rrule of {len(text)} characters is too long", hint=f"At most {MAX_TEXT_LENGTH} are read.")
    lines = _rrule_lines(text, timezone)
    if not lines["RRULE"] and not lines["RDATE"]:
        raise ScheduleError(f"rrule '{text}' holds no rule and no RDATE", hint="Write 'FREQ=DAILY;BYHOUR=8'.")
    zone = zone_named(timezone)
    start = _only_start(text, lines["DTSTART"], zone)
    added, removed = _stamps(lines["RDATE"], text), _stamps(lines["EXDATE"], text)
    removed_walls = frozenset(removed)
    rules = _read_rules(text, lines["RRULE"], start, zone)
    streams = [_stream_of(rule, until, removed_walls) for rule, until in rules]
    dates = sorted(datetime.combine(stamp, time()) if not isinstance(stamp, datetime) else stamp for stamp in added if not _is_exact(stamp))
    if dates:
        streams.append(
            Stream(lambda floor: (wall for wall in dates if wall > floor and not _is_removed(wall, removed_walls)), wildcard=False)
        )
    exact = [sorted(stamp for stamp in stamps if isinstance(stamp, datetime) and _is_exact(stamp)) for stamps in (added, removed)]
    return Recurrence(tuple(rule for rule, _ in rules), tuple(streams), tuple(exact[0]), frozenset(exact[1]))


def _rrule_lines(text: str, timezone: str) -> dict[str, list[str]]:
    """The text's lines by name. A TZID must be the schedule's own: one schedule has one zone."""
    lines: dict[str, list[str]] = {"DTSTART": [], "RRULE": [], "RDATE": [], "EXDATE": []}
    unfolded = re.sub(r"\r?\n[ \t]", "", text.strip())
    for line in filter(None, (line.strip() for line in unfolded.splitlines())):
        head, colon, value = line.partition(":")
        name, *parameters = head.split(";") if colon else ["RRULE"]
        name = name.upper()
        if name not in lines:
            raise ScheduleError(f"rrule line '{line:.80}' is not known", hint="Lines are DTSTART, RRULE, RDATE and EXDATE.")
        for parameter in parameters:
            _check_line_parameter(line, parameter, timezone)
        lines[name].append((value if colon else line).strip().upper())
    return lines


def _check_line_parameter(line: str, parameter: str, timezone: str) -> None:
    key, _, value = parameter.partition("=")
    if key.upper() == "VALUE" and value.upper() in {"DATE", "DATE-TIME"}:
        return
    if key.upper() != "TZID":
        raise ScheduleError(
            f"rrule line '{line:.80}': '{parameter}' is not known", hint="Lines may carry TZID and VALUE=DATE or DATE-TIME."
        )
    if value != timezone:
        raise ScheduleError(f"rrule line '{line:.80}' is in {value}, the schedule in {timezone}", hint=f"Pass timezone={value!r}.")


def _only_start(text: str, values: list[str], zone: ZoneInfo) -> datetime | None:
    if not values:
        return None
    if len(values) > 1:
        raise ScheduleError(f"rrule '{text:.80}' has {len(values)} DTSTARTs", hint="Keep one.")
    start = _wall_of(_stamp(values[0], text), zone)
    if not FIRST_YEAR <= start.year <= LAST_YEAR:
        raise ScheduleError(f"rrule DTSTART {start} is out of range", hint=f"Use a year from {FIRST_YEAR} to {LAST_YEAR}.")
    return start


def _stamps(values: Sequence[str], text: str) -> list[_Stamp]:
    return [_stamp(item.strip(), text) for value in values for item in value.split(",")]


def _stamp(value: str, text: str) -> _Stamp:
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?", value, re.ASCII)
    try:
        if found is None:
            raise ValueError(value)
        year, month, day = (int(found[group]) for group in (1, 2, 3))
        if found[4] is None:
            return date(year, month, day)
        return datetime(year, month, day, int(found[4]), int(found[5]), int(found[6]), tzinfo=UTC if found[7] else None)
    except ValueError:
        hint = "Write 20260131T080000 for a local time, 20260131T080000Z for UTC."
        raise ScheduleError(f"rrule '{text:.80}': '{value}' is not a date", hint=hint) from None


def _is_exact(stamp: _Stamp) -> bool:
    return isinstance(stamp, datetime) and stamp.tzinfo is not None


def _wall_of(stamp: _Stamp, zone: ZoneInfo) -> datetime:
    if not isinstance(stamp, datetime):
        return datetime.combine(stamp, time())
    return wall_at(stamp, zone) if stamp.tzinfo else stamp


def _is_removed(wall: datetime, removed: frozenset[_Stamp]) -> bool:
    """An EXDATE with a time takes away that time, one without takes away the day."""
    return bool(removed) and (wall in removed or wall.date() in removed)


def _stream_of(rule: Rule, until: datetime | None, removed: frozenset[_Stamp]) -> Stream:
    def walls(floor: datetime) -> Iterator[datetime]:
        return (wall for wall in rule_walls(rule, floor) if not _is_removed(wall, removed))

    return Stream(walls, wildcard=rule.frequency > Frequency.DAILY, until=until)


def _read_rules(text: str, lines: Sequence[str], start: datetime | None, zone: ZoneInfo) -> list[tuple[Rule, datetime | None]]:
    """Each line's rule with the last instant it may fire, if it names one. The steps they take to read are bounded together."""
    rules, spent = [], 0
    for line in lines:
        if spent > MAX_STEPS or len(lines) > MAX_RULES:
            raise ScheduleError(f"rrule '{text:.80}…' with {len(lines)} rules takes too long", hint="Make it several schedules.")
        rule, until, steps = _read_rule(line, start, zone)
        spent += steps + _prove_it_fires(rule, MAX_STEPS // 2 - spent)
        rules.append((rule, until))
    return rules


def _read_rule(text: str, start: datetime | None, zone: ZoneInfo) -> tuple[Rule, datetime | None, int]:
    """The rule of one RRULE line, its last instant, and the steps it took to count. COUNT becomes the wall time of the last occurrence."""
    parts = _rule_parts(text)
    until = _stamp(parts["UNTIL"], text) if "UNTIL" in parts else None
    rule = _build_rule(text, parts, start or DEFAULT_ANCHOR)
    until_instant, spent = None, 0
    if until is not None:
        last = _wall_of(until, zone) if isinstance(until, datetime) else datetime.combine(until, time.max)
        until_instant = until if isinstance(until, datetime) and until.tzinfo else None
        rule = msgspec.structs.replace(rule, until=last + (DAY if until_instant else timedelta(0)))  # the instant decides, walls only end
    if "COUNT" in parts:
        if until is not None:
            raise ScheduleError(f"rrule '{text}' has both COUNT and UNTIL", hint="Keep one (RFC 5545 §3.3.10).")
        if start is None:
            raise ScheduleError(f"rrule '{text}' has COUNT but nothing to count from", hint="Add a line such as DTSTART:20260101T080000.")
        patience = Patience(rule, _BEGIN, forgets=False)
        occurrences = islice(rule_walls(rule, _BEGIN, patience), _whole_number(text, "COUNT", parts["COUNT"]))
        rule = msgspec.structs.replace(rule, until=max(occurrences, default=_BEGIN))
        spent = patience.spent
    return rule, until_instant, spent


def _rule_parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, text.strip(";").split(";")):
        key, equals, value = part.partition("=")
        if key not in PARTS:
            close = close_to(key, PARTS)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(sorted(PARTS))}."
            raise ScheduleError(f"rrule '{text}': '{key:.40}' is not known", hint=hint)
        if not equals or not value or key in parts:
            raise ScheduleError(f"rrule '{text}': '{part:.40}' has no value, or comes twice", hint=f"Write {key}=… once.")
        parts[key] = value
    return parts


def _build_rule(text: str, parts: Mapping[str, str], start: datetime) -> Rule:
    frequency = _frequency(text, parts)
    numbers = {key: _numbers(text, key, parts[key]) for key in NUMBER_PARTS if key in parts}
    weekdays, nth_weekdays = _by_day(text, parts.get("BYDAY", ""), frequency)
    months, monthdays = numbers.get("BYMONTH", ()), numbers.get("BYMONTHDAY", ())
    if not (weekdays or nth_weekdays or monthdays or "BYYEARDAY" in numbers or "BYWEEKNO" in numbers):
        months = months or ((start.month,) if frequency is Frequency.YEARLY else ())
        monthdays = (start.day,) if frequency <= Frequency.MONTHLY else ()
        weekdays = frozenset({start.weekday()}) if frequency is Frequency.WEEKLY else weekdays
    if "BYSETPOS" in numbers and frequency > Frequency.DAILY:
        raise ScheduleError(f"rrule '{text}': BYSETPOS needs FREQ=DAILY or longer", hint="Name the minutes with BYMINUTE instead.")
    if parts.get("WKST", "MO") not in WEEKDAYS:
        raise ScheduleError(f"rrule '{text}': WKST={parts['WKST']} is not a weekday", hint=f"Weekdays are {' '.join(WEEKDAYS)}.")
    return Rule(
        text=text,
        frequency=frequency,
        interval=_interval(text, parts.get("INTERVAL", "1"), frequency),
        start=start,
        until=_NEVER_ENDS,
        months=frozenset(months),
        monthdays=frozenset(monthdays),
        yeardays=frozenset(numbers.get("BYYEARDAY", ())),
        weeknos=frozenset(numbers.get("BYWEEKNO", ())),
        weekdays=weekdays,
        nth_weekdays=nth_weekdays,
        hours=numbers.get("BYHOUR") or ((start.hour,) if frequency < Frequency.HOURLY else tuple(range(24))),
        minutes=numbers.get("BYMINUTE") or ((start.minute,) if frequency < Frequency.MINUTELY else tuple(range(60))),
        seconds=numbers.get("BYSECOND") or ((start.second,) if frequency < Frequency.SECONDLY else tuple(range(60))),
        positions=numbers.get("BYSETPOS", ()),
        week_start=WEEKDAYS.index(parts.get("WKST", "MO")),
    )


def _frequency(text: str, parts: Mapping[str, str]) -> Frequency:
    name = parts.get("FREQ", "")
    if name not in Frequency.__members__:
        close = close_to(name, Frequency.__members__)
        hint = f"Did you mean FREQ={close[0]}?" if close else f"FREQ is one of {', '.join(Frequency.__members__)}."
        raise ScheduleError(f"rrule '{text}': " + (f"FREQ={name} is not known" if name else "FREQ is missing"), hint=hint)
    return Frequency[name]


def _interval(text: str, value: str, frequency: Frequency) -> int:
    interval = _whole_number(text, "INTERVAL", value)
    if interval * SECONDS[frequency] > MAX_WAIT.total_seconds():
        raise ScheduleError(f"rrule '{text}' is silent for over five years", hint="Choose a shorter INTERVAL.")
    return interval


def _whole_number(text: str, key: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) == 0:
        raise ScheduleError(f"rrule '{text}': {key}={value:.40} is not a positive whole number", hint=f"Write {key}=2.")
    return int(value)


def _numbers(text: str, key: str, value: str) -> tuple[int, ...]:
    low, high, from_end = NUMBER_PARTS[key]
    numbers = set()
    for item in value.split(","):
        number = int(item) if re.fullmatch(r"[+-]?[0-9]{1,3}", item) else high + 1
        if not (low <= number <= high or (from_end and low <= -number <= high)):
            hint = f"{key} takes {low} to {high}" + (f", and -{high} to -{low} from the end." if from_end else ".")
            raise ScheduleError(f"rrule '{text}': {key}={item:.40} is not valid", hint=hint)
        numbers.add(number)
    return tuple(sorted(numbers))


def _by_day(text: str, value: str, frequency: Frequency) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
    """Plain weekdays, and those with a number: (2, 0) is the second Monday of the month or year, (-1, 4) its last Friday."""
    plain, numbered = set(), set()
    for item in filter(None, value.split(",")):
        found = re.fullmatch(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)", item)
        if found is None or (found[1] and not 1 <= abs(int(found[1])) <= 53):
            raise ScheduleError(f"rrule '{text}': BYDAY={item:.40} is not valid", hint="Write MO, 2MO (second) or -1FR (last).")
        weekday = WEEKDAYS.index(found[2])
        if not found[1]:
            plain.add(weekday)
        elif frequency > Frequency.MONTHLY:
            raise ScheduleError(f"rrule '{text}': BYDAY={item} needs FREQ=MONTHLY or YEARLY", hint=f"Or write BYDAY={found[2]}.")
        else:
            numbered.add((int(found[1]), weekday))
    return frozenset(plain), frozenset(numbered)


_LAST_LEAP_YEAR = 2096


def _prove_it_fires(rule: Rule, budget: int) -> int:
    """Look for one occurrence a year for 28 years, but not beyond 2096; the steps that took. Raises `ScheduleError` where five years are silent.

    After `budget` steps it looks no further: a sparse rule is looked at for fewer years, the last of many only for its first occurrence.
    """
    patience = Patience(rule, _BEGIN)
    found = next(rule_walls(rule, _BEGIN, patience), None)
    if found is None:
        raise ScheduleError(f"rrule '{rule.text}' never fires", hint="It ends before its first occurrence: move UNTIL or DTSTART.")
    last = min(found.year + len(GREGORIAN_SAMPLE), _LAST_LEAP_YEAR)  # the eight years after that are the century's, and not the rule's
    for _ in GREGORIAN_SAMPLE:
        if found is None or found.year >= last or patience.spent > budget:
            break
        found = next(rule_walls(rule, found.replace(month=12, day=31, hour=23, minute=59, second=59), patience), None)
    return patience.spent
