"""Streams: for each condition of a filter, the runs that meet it, from an index in the order of lists; and where all streams meet.

Streams in one order are merged, which costs a walk of their indexes (about 0.05 µs a row) whatever the data is. Driving by one and probing
another for each of its rows costs six times that, and most where many runs meet each condition and none meets both, which no statistics
foresee. SQLite merges an `intersect` that is ordered; PostgreSQL a join on both columns of the order, where it is told to
(`Session.merging`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from legato.core.records import FlowRunFilter
from legato.core.states import StateType
from legato.store import columns

EQUAL = ("flow_name", "deployment_id", "work_queue", "agent_id", "parent_run_id", "schedule_id")
"""Columns of a flow run that a filter gives one value of."""

ROWS = "select r.expected_start_at as at, r.n as n from flow_run r"


class Stream(NamedTuple):
    """Runs that meet one condition: of each arm, all. An arm is a condition of rows `r` of flow_run, or `x` of run_tag (`is_tag`)."""

    arms: tuple[str, ...]
    parameters: dict[str, Any]
    is_tag: bool = False

    @property
    def on_row(self) -> str:
        """The same, asked of a row `r`."""
        arms = " or ".join(self.arms)
        if self.is_tag:
            return f"exists (select 1 from run_tag x where {arms} and x.start_at = r.expected_start_at and x.run = r.n)"  # noqa: S608 names of ours
        return f"({arms})"


def streams_of(filter_: FlowRunFilter, tags: Sequence[str]) -> list[Stream]:
    """The streams of a filter: of everything in it but text and times. Those that may have several arms, which cost most, come last."""
    found = [
        Stream((f"r.{column} = :{column}",), {column: columns.name(getattr(filter_, column))})
        for column in EQUAL
        if getattr(filter_, column) is not None
    ]
    for i, tag in enumerate(tags):
        numbered = f"(select n from tag where workspace = :workspace and name = :tag_{i})"  # noqa: S608 names of ours
        found.append(Stream((f"x.tag = {numbered}",), {f"tag_{i}": tag}, is_tag=True))
    if filter_.top_level:
        found.append(Stream(("r.parent_run_id is null",), {}))
    if filter_.states:
        states = {f"state_{i}": str(state) for i, state in enumerate(dict.fromkeys(filter_.states))}
        found.append(Stream(tuple(f"r.state_type = :{state}" for state in states), states))
    if filter_.state_names:
        found.append(_named(tuple(dict.fromkeys(filter_.state_names))))
    return found


def _named(names: tuple[str, ...]) -> Stream:
    """Runs by the name of their state. Most names say what the type does, and are in no index of their own."""
    arms, given = [], {}
    for i, name in enumerate(names):
        arms.append(f"(r.state_name = :name_{i} and lower(r.state_name) <> r.state_type)")
        given[f"name_{i}"] = columns.name(name)
        if name.lower() in set(StateType):
            arms.append(f"(r.state_type = :name_type_{i} and r.state_name = :name_{i})")
            given[f"name_type_{i}"] = name.lower()
    return Stream(tuple(arms), given)


def merged(streams: Sequence[Stream], *, within: str, on_rows: str, order: str, by_join: bool) -> str:
    """Where the streams meet, as (at, n), in order.

    `within` bounds each stream, in terms of {at} and {n}; `on_rows` is what else must hold of the row `r`, which no index serves.
    `order`: "asc" or "desc". `by_join`: for a database that merges joins rather than intersections.
    """
    checked = next((stream for stream in streams if not stream.is_tag), streams[0]) if on_rows else None
    ordered = f"order by at {order}, n {order}"
    each = [written(stream, within, on_rows if stream is checked else "", ordered, by_join=by_join) for stream in streams]
    if not by_join:
        return f"{' intersect '.join(each)} {ordered}"
    source = " ".join(f"join ({sql}) m{i} on m{i}.at = m0.at and m{i}.n = m0.n" if i else f"({sql}) m0" for i, sql in enumerate(each))
    return f"select m0.at as at, m0.n as n from {source} order by m0.at {order}, m0.n {order}"  # noqa: S608 built from names of ours


def written(stream: Stream, within: str, on_rows: str, ordered: str, *, by_join: bool) -> str:
    """(at, n) of one stream, in order where something asks for it; of several arms, in order whoever asks."""
    if stream.is_tag:
        begin, at, n = "select x.start_at as at, x.run as n from run_tag x where ", "x.start_at", "x.run"
        on_rows = on_rows and f"exists (select 1 from flow_run r where r.n = x.run and {on_rows})"  # noqa: S608 built from names of ours
    else:
        begin, at, n = f"{ROWS} where r.workspace = :workspace and ", "r.expected_start_at", "r.n"
    rest = "".join(f" and {condition}" for condition in (within.format(at=at, n=n), on_rows) if condition)
    arms = [f"{begin}{arm}{rest}" for arm in stream.arms]
    if len(arms) == 1:
        return arms[0]
    if by_join:  # PostgreSQL merges arms that say their order themselves, where SQLite takes no such word
        arms = [f"({arm} {ordered})" for arm in arms]
    return f"select at, n from ({' union all '.join(arms)} {ordered}) u"  # noqa: S608 built from names of ours
