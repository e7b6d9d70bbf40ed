"""What an explanation is made from, read through the port's verbs, so that it is the same of a database here and of a server elsewhere.

Nothing is decided here: `core.why` does. Each fact is read only where the run's state makes it one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from legato.core.errors import NotFound
from legato.core.explanation import Facts, took_s
from legato.core.ids import is_id
from legato.core.names import typed
from legato.core.records import FlowRun, FlowRunFilter, TaskRun
from legato.core.states import COMPLETED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, StateType
from legato.core.why_flow_runs import Way, obstacle
from legato.store.finding import find_flow_run
from legato.store.port import RunStore, Store

MEDIAN_OF = 20
"""Completed runs whose median duration says how long a run usually takes."""
TASKS_READ = 5000
"""Task runs of one flow run that are looked at one by one; of more, only how many are in which state is said."""
LINE_READ = 1000
"""Runs before one in its queue are counted up to here."""
HOLDERS_READ = 20


def usual_s(store: RunStore, flow_name: str, *, but: str = "") -> float | None:
    """How long the flow's last completed runs took, in the middle; `but` for one, which is to be compared with it."""
    page = store.list_flow_runs(FlowRunFilter(flow_name=flow_name, states=(COMPLETED,)), limit=MEDIAN_OF)
    took = [seconds for run in page.items if run.id != but and (seconds := took_s(run)) is not None]
    return round(median(took), 3) if took else None


def find_explained(store: Store, wanted: str) -> tuple[FlowRun, TaskRun | None]:
    """The flow run or task run meant by an id, a run's name, the beginning of an id, or RUN/TASK. Raises `NotFound`, or `UsageError`."""
    if is_id(wanted):
        try:
            return store.get_flow_run(wanted), None
        except NotFound:
            task = store.get_task_run(wanted)
            return store.get_flow_run(task.flow_run_id), task
    name, slash, task_name = wanted.partition("/")
    run = find_flow_run(store, name)
    return (run, _task_named(store, run, task_name)) if slash else (run, None)


def _task_named(store: RunStore, run: FlowRun, name: str) -> TaskRun:
    """Of several attempts' task runs of that name, the last."""
    cursor, found = None, None
    while True:
        page = store.list_task_runs(run.id, cursor=cursor)
        found = next((task for task in reversed(page.items) if name in (task.name, task.id)), found)
        cursor = page.cursor
        if cursor is None:
            break
    if found is None:
        raise NotFound("task run", f"{run.name}/{name}", hint=f"list them: legato task ls {typed(run.name)}")
    return found


# ---------------------------------------------------------------------- facts


def facts_of_flow_run(
    store: Store, run: FlowRun, now: datetime, *, tasks: Sequence[TaskRun] | None = None, counts: Mapping[StateType, int] | None = None
) -> Facts:
    """What there is to know about a flow run. `tasks` and `counts` may be handed in by those who have read them."""
    counted = store.count_task_runs([run.id]).get(run.id, {}) if counts is None else counts
    listed = _tasks(store, run, counted) if tasks is None else tasks
    latest = [task for task in listed if task.flow_attempt == run.attempt]
    usual = usual_s(store, run.flow_name, but=run.id)
    read: dict[str, Any] = {
        "counts": counted,
        "tasks": [task for task in listed if not task.state.is_final],
        "failed_task": next((t for t in latest if t.state.type is FAILED and t.state.name != "UpstreamFailed"), None),
        "reused": sum(1 for t in latest if t.state.name == "Cached" and t.state.message.startswith("reused from")),
        "usual_s": {} if usual is None else {run.flow_name: usual},
        "journal": store.list_transitions(run.id),
    }
    if run.state.type is PAUSED:
        read["inputs"] = store.list_inputs(run.id)
    if run.state.type is PENDING and run.agent_id is not None:
        read["agents"] = store.list_agents(now=now)
    if run.state.type is SCHEDULED and run.lease_expires_at is None and (run.due_at or run.expected_start_at) <= now:
        waits = _what_it_waits_for(store, run, now)
        read |= {**waits, "usual_s": {**waits.get("usual_s", {}), **read["usual_s"]}}
    return Facts(now=now, run=run, has_namesakes=_has_namesakes(store, run), **read)


def _has_namesakes(store: Store, run: FlowRun) -> bool:
    return len(store.find_flow_runs(run.name, limit=2)) > 1


def _tasks(store: RunStore, run: FlowRun, counts: Mapping[StateType, int]) -> list[TaskRun]:
    if not 0 < sum(counts.values()) <= TASKS_READ:
        return []
    return store.list_task_runs(run.id, limit=TASKS_READ).items


def _what_it_waits_for(store: Store, run: FlowRun, now: datetime) -> dict[str, Any]:
    """Queues, agents, and who is in the slots or before it."""
    queues, limits = store.list_queues(now=now), store.list_limits()
    read: dict[str, Any] = {"queues": queues, "limits": limits, "deployment_is_gone": _is_gone(store, run)}
    found = obstacle(run, queues, limits=limits, deployment_is_gone=read["deployment_is_gone"])
    if found.status is None or found.limit is not None:
        return read
    queue = found.status.queue
    read["agents"] = store.list_agents(now=now)
    line = store.preview_queue(queue.id, until=now, limit=LINE_READ)
    read["before"] = next((n for n, other in enumerate(line) if other.id == run.id), None)
    if found.way is Way.FULL:
        held = FlowRunFilter(work_queue=queue.name, states=(PENDING, RUNNING, PAUSED))
        holders = store.list_flow_runs(held, limit=HOLDERS_READ).items
        usual = {flow: usual_s(store, flow) for flow in {one.flow_name for one in holders}}
        read |= {"holders": holders, "usual_s": {flow: s for flow, s in usual.items() if s is not None}}
    return read


def _is_gone(store: Store, run: FlowRun) -> bool:
    if run.deployment_id is None:
        return False
    try:
        store.get_deployment(run.deployment_id)
    except NotFound:
        return True
    return False


def facts_of_task_run(store: Store, task: TaskRun, run: FlowRun, now: datetime) -> Facts:
    """What there is to know about a task run of that flow run."""
    read: dict[str, Any] = {
        "journal": store.list_transitions(task.id),
        "upstream": [found for id_ in task.upstream if (found := _run_of_any_kind(store, id_)) is not None],
    }
    if task.state.type is PENDING and not run.state.is_final:
        read["counts"] = store.count_task_runs([run.id]).get(run.id, {})
        read["tasks"] = [one for one in _tasks(store, run, read["counts"]) if not one.state.is_final]
    return Facts(now=now, run=run, task=task, has_namesakes=_has_namesakes(store, run), **read)


def _run_of_any_kind(store: RunStore, run_id: str) -> TaskRun | FlowRun | None:
    """What a task depends on is a task run, or a child flow run; one that was deleted since is nobody's reason."""
    try:
        return store.get_task_run(run_id)
    except NotFound:
        pass
    try:
        return store.get_flow_run(run_id)
    except NotFound:
        return None
