"""Reading what past runs have returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from legato.core.errors import NotFound, ResultMissing
from legato.core.ids import is_id
from legato.core.names import typed
from legato.core.records import FlowRun, TaskRun
from legato.engine import results
from legato.sdk.process import current_engine, current_store
from legato.store.finding import find_flow_run

if TYPE_CHECKING:
    from legato.store.port import Store


def read_result(run: str, task: str | None = None) -> Any:
    """The value that a flow run returned, by its name, id or the beginning of its id; with `task`, that of its task run "load-0".

    The id of a task run will do by itself. Needs the storage that the value was written to: this machine's, or one that is shared.
    Raises `NotFound`, `UsageError` when several runs are meant, and `ResultMissing` when there is no value, or it cannot be had any more.
    """
    engine = current_engine()
    engine.outbox.flush()
    store = current_store()
    found: FlowRun | TaskRun = find_flow_run(store, run) if task is not None or not is_id(run) else _either(store, run)
    if task is not None:
        found = _task_run(store, found, task)
    if found.result is None:
        raise ResultMissing(f"run '{found.name}' has no stored value: it is {found.state.name}", hint=_hint(found))
    return results.load(found.result, engine.blobs)


def _hint(found: FlowRun | TaskRun) -> str:
    if not found.state.is_final:
        return "wait until it has ended"
    return "give the task persist_result=True or a cache_policy, to have its value stored" if isinstance(found, TaskRun) else ""


def _either(store: Store, run_id: str) -> FlowRun | TaskRun:
    try:
        return store.get_flow_run(run_id)
    except NotFound:
        return store.get_task_run(run_id)


def _task_run(store: Store, run: FlowRun | TaskRun, name: str) -> TaskRun:
    """The first of that name in the latest attempt that has one."""
    cursor: str | None = None
    found: TaskRun | None = None
    while True:
        page = store.list_task_runs(run.id, cursor=cursor)
        for task in page.items:
            if task.name == name and (found is None or task.flow_attempt > found.flow_attempt):
                found = task
        cursor = page.cursor
        if cursor is None:
            break
    if found is None:
        raise NotFound("task run", f"{run.name}/{name}", hint=f"legato task ls {typed(run.name)} lists them")
    return found
