"""Lists of flow runs: filters to SQL, and keyset cursors.

Lists are sorted by (expected_start_at, n), which never changes once a run is there, so a cursor stays true while rows come and go. What
drives a list is in `streams`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from legato.core.clock import to_us
from legato.core.errors import UsageError
from legato.core.records import ArtifactFilter, FlowRunFilter, QueueFilter
from legato.store import columns, rows, streams

COUNT_CAP = 10_000
"""Counts stop here: COUNT_CAP + 1 means "more". Exact counts grow with the table (30-70 ms at a million rows)."""

MOST_TAGS = 32
"""That one list may ask for: each is a stream of its own, and what merges them is planned in the square of their number."""

COLUMNS = ", ".join(f"r.{name}" for name in rows.FLOW_RUN)


class Where:
    """Conditions and their parameters, gathered step by step. Only names of ours are put into the text; values are parameters."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.parameters: dict[str, Any] = {}

    def add(self, condition: str, **parameters: Any) -> None:
        self.conditions.append(condition)
        self.parameters.update(parameters)

    @property
    def text(self) -> str:
        return " and ".join(self.conditions) or "1 = 1"


def containing(text: str) -> str:
    """The pattern of a `like` with a backslash as its escape, for lower-cased text that holds `text`: its own % and _ mean themselves."""
    return "%" + text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


class FlowRunQuery:
    """The queries of one list of flow runs: SQL and parameters each. `by_join`: see `streams.merged`."""

    def __init__(self, filter_: FlowRunFilter, tags: tuple[str, ...], *, cursor: str | None, oldest_first: bool, by_join: bool) -> None:
        if len(tags) > MOST_TAGS:
            raise UsageError(f"a list cannot be of runs with {len(tags)} tags at once", hint=f"name at most {MOST_TAGS}")
        self._order = "asc" if oldest_first else "desc"
        self._by_join = by_join
        self._bounds, self._text = _bounds(filter_, cursor, oldest_first=oldest_first), _with_text(filter_)
        self.streams = streams.streams_of(filter_, tags)
        self._parameters = {**self._bounds.parameters}
        for stream in self.streams:
            self._parameters |= stream.parameters

    @property
    def merges(self) -> bool:
        """Whether `merged` has anything to merge."""
        return sum(len(stream.arms) for stream in self.streams) > 1

    def sizes(self, cap: int) -> tuple[str, dict[str, Any]]:
        """How many runs each stream has, in one row; none is counted further than one above `cap`."""
        counted = (f"(select count(*) from ({self._stream(i)} limit {cap + 1}) c)" for i in range(len(self.streams)))  # noqa: S608 names of ours
        return f"select {', '.join(counted)}", self._parameters

    def numbers_of(self, stream: int) -> tuple[str, dict[str, Any]]:
        """The runs of one stream, in no order: their n."""
        return f"select n from ({self._stream(stream)}) s", self._parameters  # noqa: S608 names of ours

    def merged(self, limit: int) -> tuple[str, dict[str, Any]]:
        """(at, n) of the runs of the list in its order, where it has streams."""
        within, on_rows = " and ".join(self._bounds.conditions), " and ".join(self._text.conditions)
        numbers = streams.merged(self.streams, within=within, on_rows=on_rows, order=self._order, by_join=self._by_join)
        return f"{numbers} limit :limit", {**self._parameters, **self._text.parameters, "limit": limit}

    def read(self, limit: int, among: list[int] | None) -> tuple[str, dict[str, Any]]:
        """The same by reading rows: those with the numbers `among`, which hold the list's text; or, without, in the order of the list."""
        where = Where()
        source = "flow_run r"
        if among is not None:
            if not self._by_join:
                source = "flow_run f cross join flow_run r"  # which SQLite reads in this order
            where.add("r.n in :among*" if self._by_join else "f.n in :among* and r.n = f.n", among=among)
        else:
            where.add(" and ".join(self._text.conditions) or "1 = 1", **self._text.parameters)
        where.add("r.workspace = :workspace", **self._parameters, limit=limit)
        where.conditions += [stream.on_row for stream in self.streams]
        where.conditions += [condition.format(at="r.expected_start_at", n="r.n") for condition in self._bounds.conditions]
        order = f"r.expected_start_at {self._order}, r.n {self._order}"
        sql = f"select r.expected_start_at as at, r.n as n from {source} where {where.text} order by {order} limit :limit"  # noqa: S608 names of ours
        return sql, where.parameters

    def _stream(self, i: int) -> str:
        within = " and ".join(self._bounds.conditions)
        return streams.written(self.streams[i], within, "", f"order by at {self._order}, n {self._order}", by_join=self._by_join)


def select_by_number() -> str:
    """The query of the runs with some numbers (`:numbers`): n, then the columns of FLOW_RUN, in no order."""
    return f"select r.n, {COLUMNS} from flow_run r where r.n in :numbers*"  # noqa: S608 built from names of ours


def _with_text(filter_: FlowRunFilter) -> Where:
    where = Where()
    if filter_.text:
        pattern = containing(filter_.text)
        where.add(
            "(lower(r.name) like :text escape '\\' or lower(r.flow_name) like :text escape '\\' or r.id like :id_text escape '\\')",
            text=pattern,
            id_text=pattern[1:],
        )
    return where


def _bounds(filter_: FlowRunFilter, cursor: str | None, *, oldest_first: bool) -> Where:
    """Between which instants the runs start, and after which of them the page begins, in terms of {at} and {n}."""
    bounds = Where()
    if filter_.start_after is not None:
        bounds.add("{at} >= :start_after", start_after=to_us(filter_.start_after))
    if filter_.start_before is not None:
        bounds.add("{at} < :start_before", start_before=to_us(filter_.start_before))
    if cursor is not None:
        at, n = _read_cursor(cursor)
        bounds.add("({at}, {n}) " + ("> " if oldest_first else "< ") + "(:cursor_at, :cursor_n)", cursor_at=at, cursor_n=n)
    return bounds


def select_due(
    filter_: QueueFilter, *, lock: bool, but_tags: Sequence[str] = (), but_deployments: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Ids of runs due by :until that a queue matches, oldest due first. Means the same as `core.queues.matches`. index: flow_run_due

    Runs with one of `but_tags`, or of `but_deployments` (ids), are passed over: there is no room for them.
    """
    where = _due(filter_)
    if but_deployments:
        where.add("not r.deployment_id in :but_deployments*", but_deployments=list(but_deployments))
    if but_tags:
        where.add(f"not exists (select 1 {_tags_of_run('but_tags')})", but_tags=list(but_tags))
    tail = " for update of r skip locked" if lock else ""
    sql = f"select r.id from flow_run r where {where.text} order by r.due_at, r.n limit :limit{tail}"  # noqa: S608 built from names of ours
    return sql, where.parameters


def count_due(filter_: QueueFilter, cap: int) -> tuple[str, dict[str, Any]]:
    """How many runs due by :until a queue matches, how many of them before :late, and when the oldest was due. index: flow_run_due"""
    where = _due(filter_)
    inner = f"select r.due_at from flow_run r where {where.text} order by r.due_at limit {cap}"  # noqa: S608 built from names of ours
    return f"select count(*), sum(case when due_at < :late then 1 else 0 end), min(due_at) from ({inner}) c", where.parameters  # noqa: S608 as above


def _due(filter_: QueueFilter) -> Where:
    where = Where()
    where.add("r.workspace = :workspace")
    where.add("r.state_type = 'scheduled' and r.lease_expires_at is null and r.due_at <= :until")
    where.add("exists (select 1 from deployment d where d.id = r.deployment_id)")
    if filter_.deployments:
        where.add("r.deployment_name in :deployments*", deployments=[columns.name(each) for each in filter_.deployments])
    if filter_.flow_runners:
        where.add("r.flow_runner in :flow_runners*", flow_runners=[columns.name(each) for each in filter_.flow_runners])
    if tags := sorted({columns.name(tag) for tag in filter_.tags}):  # in one question, however many there are
        where.add(f"(select count(*) {_tags_of_run('tags')}) = :all_tags", tags=tags, all_tags=len(tags))
    return where


def _tags_of_run(names: str) -> str:
    """Those of these tags that a run `r` has. index: run_tag_run"""
    return f"from run_tag y join tag g on g.n = y.tag where y.run = r.n and g.workspace = :workspace and g.name in :{names}*"


def select_artifacts(filter_: ArtifactFilter, *, after: int, oldest_first: bool, longest: int | None) -> tuple[str, dict[str, Any]]:
    """The query of one page: n, then the columns of ARTIFACT; `data` longer than `longest` is null. The order is that of arrival."""
    where = Where()
    where.add("a.workspace = :workspace")
    source, n = ("artifact_key k join artifact a on a.n = k.latest", "k.latest") if filter_.latest else ("artifact a", "a.n")
    for column in ("flow_run_id", "task_run_id", "key", "kind"):
        value = getattr(filter_, column)
        if value is not None:
            where.add(f"a.{column} = :{column}", **{column: str(value)})
    if after:
        where.add(f"{n} {'>' if oldest_first else '<'} :after", after=after)
    data = "a.data" if longest is None else f"case when length(a.data) > {longest} then 'null' else a.data end"
    columns = ", ".join(data if name == "data" else f"a.{name}" for name in rows.ARTIFACT)
    order = "" if oldest_first else " desc"
    return f"select a.n, {columns} from {source} where {where.text} order by {n}{order} limit :limit", where.parameters  # noqa: S608 names of ours


def make_cursor(at: int, n: int) -> str:
    """Where the next page begins."""
    return f"{at}.{n}"


def _read_cursor(cursor: str) -> tuple[int, int]:
    at, _, n = cursor.partition(".")
    try:
        if not (cursor.isascii() and len(cursor) <= 40 and abs(int(at)) < 2**63 and abs(int(n)) < 2**63):
            raise ValueError(cursor)
        return int(at), int(n)
    except ValueError:
        raise UsageError(f"'{cursor}' is not a cursor of this list", hint="leave the cursor out to begin at the start") from None
