"""Lists of flow runs: filters to SQL, and keyset cursors.

Lists are sorted by (expected_start_at, n), which never changes once a run is there, so a cursor stays true while rows come and go.
A tag drives the query from run_tag, which carries the sort key; the planner would walk the start index instead (0.2 against 31 ms for a
rare tag among 100,000 runs).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from legato.core.clock import to_us
from legato.core.errors import UsageError
from legato.core.records import ArtifactFilter, FlowRunFilter, QueueFilter
from legato.store import rows

COUNT_CAP = 10_000
"""Counts stop here: COUNT_CAP + 1 means "more". Exact counts grow with the table (30-70 ms at a million rows)."""

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


def flow_runs_where(filter_: FlowRunFilter, found: list[int] | None = None) -> Where:
    """The conditions of a filter, over `flow_run r`. Tags are not among them: see `select_flow_runs`. `found`: the runs that its text is in,
    where they were looked up (see `sql.searching`).
    """
    where = Where()
    where.add("r.workspace = :workspace")
    if filter_.states:
        where.add("r.state_type in :states*", states=[str(state) for state in filter_.states])
    if filter_.state_names:
        where.add("r.state_name in :state_names*", state_names=list(filter_.state_names))
    for column in ("flow_name", "deployment_id", "work_queue", "agent_id", "parent_run_id", "schedule_id"):
        value = getattr(filter_, column)
        if value is not None:
            where.add(f"r.{column} = :{column}", **{column: value})
    if filter_.top_level:
        where.add("r.parent_run_id is null")
    if filter_.start_after is not None:
        where.add("r.expected_start_at >= :start_after", start_after=to_us(filter_.start_after))
    if filter_.start_before is not None:
        where.add("r.expected_start_at < :start_before", start_before=to_us(filter_.start_before))
    if found is not None:
        where.add("r.n in :found*", found=found)
    elif filter_.text:
        pattern = containing(filter_.text)
        where.add(
            "(lower(r.name) like :text escape '\\' or lower(r.flow_name) like :text escape '\\' or r.id like :id_text escape '\\')",
            text=pattern,
            id_text=pattern[1:],
        )
    return where


def containing(text: str) -> str:
    """The pattern of a `like` with a backslash as its escape, for lower-cased text that holds `text`: its own % and _ mean themselves."""
    return "%" + text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def select_flow_runs(
    filter_: FlowRunFilter,
    tags: tuple[str, ...],
    *,
    cursor: str | None,
    limit: int,
    oldest_first: bool,
    found: list[int] | None = None,
) -> tuple[str, dict[str, Any]]:
    """The query of one page: n, then the columns of FLOW_RUN. `tags` are the filter's, the one with the fewest runs first."""
    where = flow_runs_where(filter_, found)
    source, start, n = _driven_by_tags(tags, where)
    if cursor is not None:
        at, last = _read_cursor(cursor)
        where.add(f"({start}, {n}) {'>' if oldest_first else '<'} (:cursor_at, :cursor_n)", cursor_at=at, cursor_n=last)
    order = f"{start}, {n}" if oldest_first else f"{start} desc, {n} desc"
    sql = f"select r.n, {COLUMNS} from {source} where {where.text} order by {order} limit :limit"  # noqa: S608 built from names of ours
    return sql, {**where.parameters, "limit": limit}


def count_flow_runs(
    filter_: FlowRunFilter, tags: tuple[str, ...], state: str, found: list[int] | None = None
) -> tuple[str, dict[str, Any]]:
    """The query that counts one state's runs, up to COUNT_CAP + 1."""
    where = flow_runs_where(msgspec.structs.replace(filter_, states=()), found)
    source, _, _ = _driven_by_tags(tags, where)
    where.add("r.state_type = :state", state=state)
    sql = f"select count(*) from (select 1 from {source} where {where.text} limit {COUNT_CAP + 1}) c"  # noqa: S608 built from names of ours
    return sql, where.parameters


def select_due(
    filter_: QueueFilter, *, lock: bool, but_tags: Sequence[str] = (), but_deployments: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Ids of runs due by :until that a queue matches, oldest due first. Means the same as `core.queues.matches`. index: flow_run_due

    Runs with one of `but_tags`, or of `but_deployments` (ids), are passed over: there is no room for them.
    """
    where = _due(filter_)
    if but_deployments:
        where.add("not r.deployment_id in :but_deployments*", but_deployments=list(but_deployments))
    for i, tag in enumerate(but_tags):
        where.add(_has_tag(f"b{i}", "r.n", f"but_tag{i}", negated=True), **{f"but_tag{i}": tag})
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
        where.add("r.deployment_name in :deployments*", deployments=list(filter_.deployments))
    if filter_.flow_runners:
        where.add("r.flow_runner in :flow_runners*", flow_runners=list(filter_.flow_runners))
    for i, tag in enumerate(filter_.tags):
        _require_tag(where, i, tag, "r.n")
    return where


def _driven_by_tags(tags: tuple[str, ...], where: Where) -> tuple[str, str, str]:
    """Where the rows come from, and the two sort columns there. `cross join` fixes SQLite's order; the sort columns fix PostgreSQL's."""
    if not tags:
        return "flow_run r", "r.expected_start_at", "r.n"
    where.add("x.tag = (select n from tag where workspace = :workspace and name = :tag_first) and r.n = x.run", tag_first=tags[0])
    for i, tag in enumerate(tags[1:]):
        _require_tag(where, i, tag, "x.run")
    return "run_tag x cross join flow_run r", "x.start_at", "x.run"


def _require_tag(where: Where, i: int, tag: str, run: str) -> None:
    where.add(_has_tag(str(i), run, f"tag{i}"), **{f"tag{i}": tag})


def _has_tag(i: str, run: str, name: str, *, negated: bool = False) -> str:
    tagged = f"select 1 from run_tag y{i} join tag g{i} on g{i}.n = y{i}.tag where y{i}.run = {run} and g{i}.workspace = :workspace"  # noqa: S608 names of ours
    return f"{'not ' if negated else ''}exists ({tagged} and g{i}.name = :{name})"


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
