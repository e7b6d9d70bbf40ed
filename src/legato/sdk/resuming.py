"""Running a run again: resumed or retried as a new attempt of the same run, or forked as a new run that reuses another's results."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from legato import crashing
from legato.core.errors import NotFound, ResultMissing, UsageError
from legato.core.queues import LEASE_S
from legato.core.records import FlowRun, Result
from legato.core.resume import Past, PlanLine, changed_names
from legato.core.reuse_plan import Today, in_groups, plan
from legato.core.rules import completed_already
from legato.core.states import COMPLETED, RUNNING, State
from legato.engine.process import Engine
from legato.engine.shell import FlowShell
from legato.logs import console
from legato.sdk.bodies import edit_before_all, edited_since
from legato.sdk.code import code_of
from legato.sdk.definitions import Definition, Kind
from legato.sdk.flow_calls import compiled_flow, flow_shell, kept_parameters, pasts_in, pasts_known_to, recorded_code, run_shell
from legato.sdk.process import current_engine, current_settings
from legato.sdk.sources import is_own
from legato.services import reaper
from legato.store.finding import find_flow_run
from legato.store.port import Store
from legato.system import host_name, new_id, now, process_is_alive


def resume(flow: Definition[Any, Any], run_id: str) -> Any:
    """Take up a run of `flow` in this process, and run it to its end. An async flow's is a coroutine."""
    if not current_settings().api_url:  # with a server, its services find runs whose process is gone
        reaper.look_here(store_of(current_engine()), now(), host=host_name(), is_alive=process_is_alive)
    shell = taken_up(flow, find(run_id), why="resumed in a process of its user's")
    if flow.is_async:
        from legato.sdk.acalls import arun_shell  # noqa: PLC0415 start-up time: asyncio is loaded by flows that use it

        return arun_shell(shell)
    return run_shell(shell)


def find(run_id: str) -> FlowRun:
    """The one run of that id or name. Raises `NotFound`, or `UsageError` when several have the name."""
    return find_flow_run(store_of(current_engine()), run_id)


def taken_up(flow: Definition[Any, Any], run: FlowRun, *, why: str) -> FlowShell:
    """The shell of a run that this process takes up as a new attempt; says what will be reused. Raises `Conflict` while it is held."""
    _must_be_of(flow, run)
    if run.state.type is COMPLETED:
        raise completed_already(run.name)
    engine = current_engine()
    compiled = compiled_flow(flow)
    parameters = compiled.parameters((), kept_parameters(run))
    pasts = pasts_known_to(engine, run)
    crashing.reached("run.taking")
    taken = store_of(engine).take_flow_run(run.id, host=engine.host, pid=engine.pid, lease_s=LEASE_S, why=why)
    crashing.reached("run.taken")
    say(run, planned(flow, run, pasts), edited=edited_line(flow, run))
    return flow_shell(flow, engine, taken, parameters, new=False)


def forked(flow: Definition[Any, Any], run: FlowRun, *, task: str, changes: Mapping[str, Any]) -> FlowShell:
    """The shell of a new run that reuses what `run` stored, but for `task` and what depended on it. Says what will be reused."""
    _must_be_of(flow, run)
    engine = current_engine()
    compiled = compiled_flow(flow)
    parameters = compiled.parameters((), kept_parameters(run, changes))
    pasts = pasts_to_fork(engine, run, task)
    at = now()
    new = FlowRun(
        id=new_id(),
        flow_name=flow.name,
        name="",
        state=State(RUNNING, "Running", at),
        attempt=1,
        created_at=at,
        expected_start_at=at,
        parameters=compiled.signature.plain(parameters) if parameters else {},
        tags=run.tags,
        trigger=f"forked from {run.name}" + (f" at {task}" if task else ""),
        lease_expires_at=engine.lease_until(),
        host=engine.host,
        pid=engine.pid,
        retries=run.retries,
        entrypoint=compiled.entrypoint or run.entrypoint,
        code=recorded_code(compiled, parameters, keeps_code=True, is_root=True),
        forked_from=run.id,
        fork_task=task or None,
    )
    new = msgspec.structs.replace(new, name=compiled.run_name(parameters, new.id))
    others = [name for name in changes if new.parameters.get(name) != run.parameters.get(name)]
    say(new, planned(flow, run, pasts), edited=edited_line(flow, run), others=others)
    return flow_shell(flow, engine, new, parameters, new=True)


def pasts_to_fork(engine: Engine, run: FlowRun, task: str | None) -> list[Past]:
    """What a fork of `run` from `task` (of all of it when there is none) finds. Raises `NotFound` when there is no such task."""
    pasts = pasts_in(engine, run.id, fork_task=task)
    if task and not any(past.forced for past in pasts):
        names = sorted({past.name for past in pasts})
        raise NotFound(
            "task run", f"{run.name}/{task}", hint=f"its task runs are {', '.join(names[:8]) or 'not known: nothing was stored'}"
        )
    return pasts


def _must_be_of(flow: Definition[Any, Any], run: FlowRun) -> None:
    if run.flow_name != flow.name:
        raise UsageError(
            f"run '{run.name}' is of flow '{run.flow_name}', not '{flow.name}'", hint=f"resume it with the flow '{run.flow_name}'"
        )


def store_of(engine: Engine) -> Store:
    """The engine's store with all verbs. In flows' own processes it has them; in a task's child process it has not."""
    store: Any = engine.store
    if not hasattr(store, "take_flow_run"):
        raise UsageError("runs cannot be resumed from inside a task that runs in another process", hint="resume it from the flow")
    return store  # type: ignore[no-any-return]


def planned(flow: Definition[Any, Any], run: FlowRun, pasts: Sequence[Past]) -> list[PlanLine]:
    """What becomes of what an earlier attempt of `run` has called, as the code and the storage are now."""
    changed = run.code is not None and bool(changed_names(run.code, compiled_flow(flow).code()))
    now = msgspec.structs.replace(today(flow), behind_edit=edit_before_all(run.code, compiled_flow(flow).body()))
    return plan(pasts, now, flow_changed=changed)


def today(flow: Definition[Any, Any]) -> Today:
    """The code and the storage as they are now. Code counts as gone when its module is loaded and does not define it any more.

    A flow inside `flow` is recorded by its name only: of several with that name, it is the one of the same module.
    """
    known = {one.key: one for one in _definitions()}
    modules = {name for one in known.values() if (name := _module_in(one.key))}

    def code(past: Past) -> Mapping[str, str] | None:
        if not past.is_flow:
            found = known.get(past.key)
            return code_of(found.fn) if found is not None else None
        of_that_name = [one for one in known.values() if one.kind == "flow" and f"flow {one.name}" == past.key]
        same = [one for one in of_that_name if one.__qualname__ in (past.code or {})]
        same = [one for one in same if one.__module__ == flow.__module__] or same
        return compiled_flow(same[0]).code() if len(same) == 1 else None

    def is_gone(key: str) -> bool:
        return key not in known and "<" not in key and _module_in(key) in modules

    def makes_items(key: str) -> bool:
        found = known.get(key)
        return found is not None and found.makes is not Kind.VALUE

    return Today(code, is_gone, makes_items, _lost)


def _module_in(key: str) -> str:
    """The module that a function at the top of one has in its key; "" when the key is another's."""
    return "" if key.startswith("flow ") else key.rpartition(".")[0]


def _lost(result: Result) -> str:
    storage: Any = current_engine().blobs
    if result.key is None or not hasattr(storage, "require"):
        return ""
    try:
        storage.require(result.key)
    except ResultMissing as error:
        return error.message
    return ""


def _definitions() -> Iterator[Definition[Any, Any]]:
    """The flows and tasks of the user's modules, methods included."""
    for module in list(sys.modules.values()):
        scope = getattr(module, "__dict__", None)
        if scope is None or not is_own(scope):
            continue
        for value in list(scope.values()):
            if isinstance(value, Definition):
                yield value
            elif isinstance(value, type) and value.__module__ == module.__name__:
                yield from (one for one in vars(value).values() if isinstance(one, Definition))


def edited_line(flow: Definition[Any, Any], run: FlowRun) -> str:
    """Where the flow's own code is another than when the run began, "" when it is not."""
    edit = edited_since(run.code, compiled_flow(flow).body())
    return str(edit) if edit is not None else ""


def say(run: FlowRun, lines: Sequence[PlanLine], *, edited: str = "", others: Sequence[str] = ()) -> None:
    """Print the plan: what is reused when it is called alike, what runs again and why."""
    for line in in_groups(lines, edited=edited, others=others):
        console.line("INFO", f"flow run '{run.name}'", line)
