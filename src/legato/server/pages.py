"""Answers made for one page of the UI each, put together from the store's verbs. Nothing is decided here; see the HTTP contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from legato.core.errors import NotFound
from legato.core.explanation import Explanation, in_words, took_s
from legato.core.names import typed
from legato.core.planning import run_of
from legato.core.queues import in_words as filter_in_words
from legato.core.queues import is_live, matches
from legato.core.records import (
    Agent,
    ArtifactFilter,
    Deployment,
    DeploymentSchedule,
    FlowRun,
    FlowRunFilter,
    JournalEntry,
    LogLine,
    QueueFilter,
    QueueStatus,
    TaskRun,
)
from legato.core.schedules import describe, dst_notes, fires_between, next_fires
from legato.core.states import COMPLETED, CRASHED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, StateType
from legato.core.why import explain
from legato.store.evidence import facts_of_flow_run, facts_of_task_run, usual_s
from legato.store.finding import find_flow_run, runs_meant
from legato.store.port import Store

HISTORY_BARS = 24
SEARCHED = 1000
"""Keys of artifacts that a search looks at, the latest first."""
ARTIFACTS_COUNTED = 100
"""A run's artifacts are counted up to here; one more means "more"."""


class RunRow(FlowRun, frozen=True, omit_defaults=True, kw_only=True):
    """A flow run as a list shows it."""

    tasks: dict[StateType, int] = msgspec.field(default_factory=dict)
    warnings: int = 0
    errors: int = 0
    median_s: float | None = None


class RunsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The list of runs."""

    runs: list[RunRow]
    cursor: str | None = None
    counts: dict[StateType, int] = {}
    tags: list[str] = []
    flows: list[str] = []


class TaskColumns(msgspec.Struct, frozen=True):
    """Task runs and child flow runs of one run as columns, in order of creation."""

    t0: datetime
    ids: list[str]
    names: list[str]
    name_ix: list[int]
    label: list[str]
    state: list[StateType]
    state_name: list[str]
    created_ms: list[float | None]
    start_ms: list[float | None]
    end_ms: list[float | None]
    attempt: list[int]
    sub: list[str | None]


class LogCounts(msgspec.Struct, frozen=True):
    """How many lines a run has logged."""

    total: int = 0
    warnings: int = 0
    errors: int = 0


class RunPage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything about one run."""

    run: FlowRun
    answer: Explanation
    deployment: Deployment | None = None
    parent: FlowRun | None = None
    children: list[FlowRun] = []
    counts: dict[StateType, int] = {}
    logs: LogCounts = LogCounts()
    artifacts: int = 0
    tasks: TaskColumns
    edges: list[int] = []
    median_s: float | None = None
    position: int = 0


class TaskPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything about one task run."""

    task: TaskRun
    transitions: list[JournalEntry]
    run: FlowRun
    answer: Explanation


class LogsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of log lines; `next` is where it goes on."""

    lines: list[LogLine]
    next: int | None = None
    total: int = 0


class LastRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """An ended or running run as a small bar."""

    id: str
    name: str
    state: StateType
    state_name: str
    started_at: datetime | None = None
    took_s: float | None = None


class DeploymentRow(Deployment, frozen=True, omit_defaults=True, kw_only=True):
    """A deployment as a list shows it."""

    schedule_words: list[str] = msgspec.field(default_factory=list)
    next_run_at: datetime | None = None
    last_runs: list[LastRun] = msgspec.field(default_factory=list)
    queues: list[str] = msgspec.field(default_factory=list)
    live_agents: int = 0


class DeploymentsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The list of deployments."""

    deployments: list[DeploymentRow]


class NextFires(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a schedule fires next, and what clock changes do to it."""

    schedule_id: str
    words: str
    at: list[datetime]
    notes: list[str] = []


class DeploymentPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything about one deployment."""

    deployment: DeploymentRow
    runs: list[RunRow] = []
    upcoming: list[FlowRun] = []
    next_fires: list[NextFires] = []


class QueueRow(QueueStatus, frozen=True, omit_defaults=True, kw_only=True):
    """A queue as a list shows it."""

    agents_list: list[Agent] = msgspec.field(default_factory=list)
    filter_words: str = ""


class QueuePage(QueueRow, frozen=True, omit_defaults=True, kw_only=True):
    """Everything about one queue; `running_runs` are those that `running` counts, at most a hundred."""

    upcoming: list[FlowRun] = msgspec.field(default_factory=list)
    running_runs: list[FlowRun] = msgspec.field(default_factory=list)


class QueuesPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The list of queues."""

    queues: list[QueueRow]


class QueuePreview(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a filter would take."""

    deployments: list[str] = []
    runs_next_hour: int = 0


class Attention(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a person should look at."""

    kind: str
    title: str
    detail: str = ""
    hint: str = ""
    count: int = 1
    run: FlowRun | None = None


class HistoryBar(msgspec.Struct, frozen=True, omit_defaults=True, rename={"begin": "from"}):
    """Runs that were to start within one hour, by how they ended."""

    begin: datetime
    completed: int = 0
    failed: int = 0
    other: int = 0


class HomePage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first page."""

    sentence: str
    counts: dict[StateType, int] = {}
    attention: list[Attention] = []
    running: list[RunRow] = []
    upcoming: list[FlowRun] = []
    agents: list[Agent] = []
    history: list[HistoryBar] = []


class SearchItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was looked for, and where it is."""

    kind: str
    id: str
    name: str
    href: str
    detail: str = ""


class SearchPage(msgspec.Struct, frozen=True):
    """What was found."""

    items: list[SearchItem]


def fields_of(record: msgspec.Struct) -> dict[str, Any]:
    """A record's fields by name, not copied any deeper."""
    return {name: getattr(record, name) for name in record.__struct_fields__}


# ---------------------------------------------------------------------- runs


def runs_page(store: Store, filter_: FlowRunFilter, *, cursor: str | None, limit: int) -> RunsPage:
    """One page of the list, with what its filters offer."""
    page = store.list_flow_runs(filter_, cursor=cursor, limit=limit)
    tags = sorted({tag for run in page.items for tag in run.tags})
    flows = [flow.name for flow in store.list_flows()]
    return RunsPage(rows_of(store, page.items), page.cursor, store.count_flow_runs(filter_), tags, flows)


def rows_of(store: Store, runs: Sequence[FlowRun]) -> list[RunRow]:
    """Runs with their tasks, warnings and errors counted, and how long their flow usually takes."""
    ids = [run.id for run in runs]
    tasks, logs = (store.count_task_runs(ids), store.count_logs(ids)) if ids else ({}, {})
    usual = {flow: usual_s(store, flow) for flow in {run.flow_name for run in runs}}
    rows = []
    for run in runs:
        _, warnings, errors = logs.get(run.id, (0, 0, 0))
        counted: dict[str, Any] = {"tasks": tasks.get(run.id, {}), "warnings": warnings, "errors": errors, "median_s": usual[run.flow_name]}
        rows.append(RunRow(**fields_of(run), **counted))
    return rows


def find_run(store: Store, wanted: str) -> FlowRun:
    """The run of that id, name, or beginning of an id that only one has; of equal names the newest."""
    found = runs_meant(store, wanted, limit=2)
    if found and found[0].name == wanted:
        return found[0]
    return find_flow_run(store, wanted) if len(found) != 1 else found[0]


def run_page(store: Store, wanted: str, now: datetime) -> RunPage:
    """Everything about one run. The position is read first: what is recorded while the rest is read comes with the stream as well."""
    position = store.journal_position()
    run = find_run(store, wanted)
    tasks = all_task_runs(store, run.id)
    children = store.list_flow_runs(FlowRunFilter(parent_run_id=run.id), limit=1000, oldest_first=True).items
    both: list[TaskRun | FlowRun] = [*tasks, *children]
    entries = sorted(both, key=lambda each: (each.created_at, each.id))
    counts = dict(Counter(each.state.type for each in entries))
    facts = facts_of_flow_run(store, run, now, tasks=tasks, counts=counts)
    return RunPage(
        run=run,
        answer=explain(facts),
        deployment=_deployment_of(store, run),
        parent=store.get_flow_run(run.parent_run_id) if run.parent_run_id else None,
        children=children,
        counts=counts,
        logs=LogCounts(*store.count_logs([run.id]).get(run.id, (0, 0, 0))),
        artifacts=len(store.list_artifacts(ArtifactFilter(flow_run_id=run.id), limit=ARTIFACTS_COUNTED + 1, brief=True).items),
        tasks=columns_of(run, entries),
        edges=edges_of(entries),
        median_s=facts.usual_s.get(run.flow_name),
        position=position,
    )


def _deployment_of(store: Store, run: FlowRun) -> Deployment | None:
    if run.deployment_id is None:
        return None
    try:
        return store.get_deployment(run.deployment_id)
    except NotFound:
        return None


def all_task_runs(store: Store, flow_run_id: str) -> list[TaskRun]:
    """Every task run of a flow run, in order of creation."""
    found: list[TaskRun] = []
    cursor: str | None = None
    while True:
        page = store.list_task_runs(flow_run_id, cursor=cursor, limit=5000)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found


def columns_of(run: FlowRun, entries: Sequence[TaskRun | FlowRun]) -> TaskColumns:
    """Entries as columns, which is a fifth of the size of as many objects."""
    t0 = run.started_at or run.created_at
    names: dict[str, int] = {}
    name_ix = [names.setdefault(_function_name(each), len(names)) for each in entries]

    def ms(at: datetime | None) -> float | None:
        return None if at is None else round((at - t0).total_seconds() * 1000, 3)

    return TaskColumns(
        t0=t0,
        ids=[each.id for each in entries],
        names=list(names),
        name_ix=name_ix,
        label=[each.name for each in entries],
        state=[each.state.type for each in entries],
        state_name=[each.state.name for each in entries],
        created_ms=[ms(each.created_at) for each in entries],
        start_ms=[ms(each.started_at) for each in entries],
        end_ms=[ms(each.ended_at) for each in entries],
        attempt=[each.attempt for each in entries],
        sub=[each.id if isinstance(each, FlowRun) else None for each in entries],
    )


def _function_name(each: TaskRun | FlowRun) -> str:
    return each.flow_name if isinstance(each, FlowRun) else each.key.rpartition(".")[2]


def edges_of(entries: Sequence[TaskRun | FlowRun]) -> list[int]:
    """Who waited for whom, as pairs of indexes, flat."""
    index = {each.id: i for i, each in enumerate(entries)}
    pairs = ((index[up], i) for i, each in enumerate(entries) for up in each.upstream if up in index)
    return [number for pair in pairs for number in pair]


def task_page(store: Store, task_run_id: str, now: datetime) -> TaskPage:
    """Everything about one task run."""
    task = store.get_task_run(task_run_id)
    run = store.get_flow_run(task.flow_run_id)
    facts = facts_of_task_run(store, task, run, now)
    return TaskPage(task, list(facts.journal), run, explain(facts))


def logs_page(store: Store, run_id: str, *, task: str | None, min_level: int, text: str, after: int, limit: int) -> LogsPage:
    """A page of a run's log."""
    run = find_run(store, run_id)
    lines = store.read_logs(run.id, task_run_id=task, min_level=min_level, text=text, after=after, limit=limit)
    total = store.count_logs([run.id]).get(run.id, (0, 0, 0))[0]
    return LogsPage(lines, lines[-1].n if len(lines) == limit else None, total)


# ---------------------------------------------------------------------- deployments


def deployments_page(store: Store, now: datetime) -> DeploymentsPage:
    """The list of deployments."""
    queues, agents = store.list_queues(now=now), _live(store.list_agents(now=now), now)
    return DeploymentsPage([_deployment_row(store, d, queues, agents, now) for d in store.list_deployments()])


def _live(agents: Iterable[Agent], now: datetime) -> list[Agent]:
    return [agent for agent in agents if is_live(agent, now)]


def _deployment_row(store: Store, d: Deployment, queues: Sequence[QueueStatus], agents: Sequence[Agent], now: datetime) -> DeploymentRow:
    recent = store.list_flow_runs(FlowRunFilter(deployment_id=d.id, start_before=now), limit=10).items
    upcoming = store.list_flow_runs(FlowRunFilter(deployment_id=d.id, states=(SCHEDULED,)), limit=1, oldest_first=True).items
    taking = [status.queue.name for status in queues if matches(status.queue.filter, _like_its_runs(d, now))]
    return DeploymentRow(
        **fields_of(d),
        schedule_words=[describe(s.schedule) for s in d.schedules],
        next_run_at=upcoming[0].due_at if upcoming else None,
        last_runs=[LastRun(r.id, r.name, r.state.type, r.state.name, r.started_at, took_s(r)) for r in recent],
        queues=taking,
        live_agents=sum(1 for agent in agents if set(agent.queues) & set(taking)),
    )


def _like_its_runs(d: Deployment, now: datetime) -> FlowRun:
    return run_of(d, id=d.id, due_at=now, now=now, trigger="")


def deployment_page(store: Store, name: str, now: datetime) -> DeploymentPage:
    """Everything about one deployment."""
    deployment = store.get_deployment(name)
    queues, agents = store.list_queues(now=now), _live(store.list_agents(now=now), now)
    runs = store.list_flow_runs(FlowRunFilter(deployment_id=deployment.id, start_before=now), limit=50).items
    upcoming = store.list_flow_runs(FlowRunFilter(deployment_id=deployment.id, states=(SCHEDULED,)), limit=10, oldest_first=True).items
    return DeploymentPage(
        _deployment_row(store, deployment, queues, agents, now),
        rows_of(store, runs),
        upcoming,
        [_next_fires(schedule, now) for schedule in deployment.schedules],
    )


def _next_fires(schedule: DeploymentSchedule, now: datetime) -> NextFires:
    notes = [words for _, words in dst_notes(schedule.schedule, now, now + timedelta(days=366))]
    return NextFires(schedule.id, describe(schedule.schedule), next_fires(schedule.schedule, now, 10), notes[:4])


# ---------------------------------------------------------------------- queues


def queues_page(store: Store, now: datetime) -> QueuesPage:
    """The list of queues."""
    agents = store.list_agents(now=now)
    return QueuesPage([_queue_row(status, agents) for status in store.list_queues(now=now)])


def _queue_row(status: QueueStatus, agents: Sequence[Agent]) -> QueueRow:
    mine = [agent for agent in agents if status.queue.name in agent.queues]
    return QueueRow(**fields_of(status), agents_list=mine, filter_words=filter_in_words(status.queue.filter))


def queue_page(store: Store, name: str, now: datetime) -> QueuePage:
    """Everything about one queue."""
    status = store.get_queue(name, now=now)
    row = _queue_row(status, store.list_agents(now=now))
    held = FlowRunFilter(work_queue=status.queue.name, states=(PENDING, RUNNING, PAUSED))
    return QueuePage(
        **fields_of(row),
        upcoming=store.preview_queue(status.queue.id, until=now + timedelta(days=1), limit=50),
        running_runs=store.list_flow_runs(held, limit=100).items,
    )


def queue_preview(store: Store, filter_: QueueFilter, now: datetime) -> QueuePreview:
    """What a filter would take: deployments whose runs it matches, and how often they are due within the hour."""
    taken = [d for d in store.list_deployments() if matches(filter_, _like_its_runs(d, now))]
    hour = now + timedelta(hours=1)
    due = sum(len(fires_between(s.schedule, now, hour, 3600)) for d in taken if not d.paused for s in d.schedules if s.active)
    return QueuePreview([d.full_name for d in taken], due)


# ---------------------------------------------------------------------- home, search


def home_page(store: Store, now: datetime) -> HomePage:
    """What is going on, and what needs a person."""
    day = FlowRunFilter(start_after=now - timedelta(days=1), start_before=now, top_level=True)
    counts = store.count_flow_runs(day)
    running = store.list_flow_runs(FlowRunFilter(states=(RUNNING, PENDING), top_level=True), limit=10).items
    upcoming = store.list_flow_runs(FlowRunFilter(states=(SCHEDULED,), start_after=now), limit=10, oldest_first=True).items
    attention = [*_failures(store, day), *_queue_troubles(store.list_queues(now=now), now), *_paused(store)]
    agents = _live(store.list_agents(now=now), now)
    return HomePage(
        _sentence(counts, running, upcoming, attention, now),
        counts,
        attention,
        rows_of(store, running),
        upcoming,
        agents,
        _history(store, now),
    )


def _sentence(
    counts: Mapping[StateType, int], running: Sequence[FlowRun], upcoming: Sequence[FlowRun], attention: Sequence[Attention], now: datetime
) -> str:
    if not counts and not running and not upcoming:
        return "Nothing has run in the last 24 hours. Run a flow, and it shows here."
    ended = counts.get(COMPLETED, 0)
    bad = counts.get(FAILED, 0) + counts.get(CRASHED, 0)
    parts = [f"{ended} {'run' if ended == 1 else 'runs'} completed in the last 24 hours", f"{bad} failed" if bad else "none failed"]
    if running:
        parts.append(f"{len(running)} running now")
    if upcoming and upcoming[0].due_at:
        parts.append(f"the next starts in {in_words(upcoming[0].due_at - now)}")
    needs = f" {len(attention)} {'thing needs' if len(attention) == 1 else 'things need'} a look." if attention else ""
    return ", ".join(parts) + "." + needs


def _failures(store: Store, day: FlowRunFilter) -> list[Attention]:
    """Failed and crashed runs of the day, equal ones together, the latest first."""
    failed = store.list_flow_runs(msgspec.structs.replace(day, states=(FAILED, CRASHED)), limit=200).items
    grouped: dict[tuple[str, str], list[FlowRun]] = {}
    for run in failed:
        grouped.setdefault((run.deployment_name or run.flow_name, _root_cause(run)), []).append(run)
    return [
        Attention(
            str(runs[0].state.type),
            f"{name}: {what}",
            f"Last in run {runs[0].name}, {len(runs)} {'time' if len(runs) == 1 else 'times'} in 24 hours.",
            f"legato run logs {typed(runs[0].name)}",
            len(runs),
            runs[0],
        )
        for (name, what), runs in list(grouped.items())[:10]
    ]


def _root_cause(run: FlowRun) -> str:
    """One line: the error a failure began with, not those of the tasks that waited for it in vain."""
    what = f"{run.error.type}: {run.error.message}" if run.error else run.state.message or run.state.name
    return what.partition("\n")[0].rpartition(" did not complete: ")[2][:200]


def _queue_troubles(queues: Sequence[QueueStatus], now: datetime) -> list[Attention]:
    found = []
    for status in queues:
        queue = status.queue
        if status.late and status.oldest_due_at:
            why = "It is paused." if queue.paused else "It has no live agent." if not status.agents else "Its agents are busy."
            hint = f"legato work-queue resume {typed(queue.name)}" if queue.paused else f"legato agent start {typed(queue.name)}"
            title = f"queue {queue.name}: {status.late} {'run' if status.late == 1 else 'runs'} late by up to {in_words(now - status.oldest_due_at)}"
            found.append(Attention("late", title, why, hint, status.late))
    return found


def _paused(store: Store) -> list[Attention]:
    paused = store.list_flow_runs(FlowRunFilter(states=(PAUSED,)), limit=10).items
    return [Attention("paused", f"{run.flow_name}/{run.name} waits for a person", run.state.message, run=run) for run in paused]


def _history(store: Store, now: datetime) -> list[HistoryBar]:
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HISTORY_BARS - 1)
    bars = []
    for i in range(HISTORY_BARS):
        begin = first + timedelta(hours=i)
        end = min(begin + timedelta(hours=1), now)  # what is only planned is no history
        counts = store.count_flow_runs(FlowRunFilter(start_after=begin, start_before=end, top_level=True))
        failed = counts.pop(FAILED, 0) + counts.pop(CRASHED, 0)
        bars.append(HistoryBar(begin, counts.pop(COMPLETED, 0), failed, sum(counts.values())))
    return bars


def search_page(store: Store, text: str, now: datetime) -> SearchPage:
    """Runs, flows, deployments, queues, artifacts and variables that a few letters may mean."""
    low = text.strip().lower()
    if not low:
        return SearchPage([])
    items = [
        SearchItem("deployment", d.id, d.full_name, f"deployments/{d.full_name}", d.description)
        for d in store.list_deployments()
        if low in d.full_name.lower()
    ]
    items += [
        SearchItem("queue", q.queue.id, q.queue.name, f"queues/{q.queue.name}", filter_in_words(q.queue.filter))
        for q in store.list_queues(now=now)
        if low in q.queue.name.lower()
    ]
    keyed = store.list_artifacts(ArtifactFilter(latest=True), limit=SEARCHED, brief=True).items
    items += [SearchItem("artifact", a.id, a.key, f"artifacts/{a.key}", a.title) for a in keyed if a.key and low in a.key]
    items += [
        SearchItem("variable", v.name, v.name, "variables", msgspec.json.encode(v.value).decode()[:60])
        for v in store.list_variables()
        if low in v.name
    ]
    items += [SearchItem("flow", f.id, f.name, f"runs?flow={f.name}") for f in store.list_flows() if low in f.name.lower()]
    runs = store.list_flow_runs(FlowRunFilter(text=text.strip()), limit=20).items
    items += [SearchItem("run", r.id, r.name, f"runs/{r.id}", f"{r.flow_name}, {r.display_state}") for r in runs]
    return SearchPage(items[:40])
