"""Runs that go on or run again: what `legato run retry`, `resume`, `fork` and `pause` do.

A run of a deployment is handed to agents again; any other runs here, in this process, from the file it came from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legato.cli.failures import Failure
from legato.cli.output import changed
from legato.cli.parameters import as_json_or_text, check_unicode, parse_parameters, types_of
from legato.core.errors import Conflict, LegatoError, NotFound, UsageError
from legato.core.names import typed
from legato.core.rules import completed_already
from legato.core.states import COMPLETED, PAUSED, SCHEDULED, State

if TYPE_CHECKING:
    from legato.cli.session import Session
    from legato.core.records import FlowRun, RunInput
    from legato.sdk.flows import Flow


def retry(session: Session, run: FlowRun, *, only_plan: bool) -> int:
    """Run an ended run again, as a new attempt that reuses what finished."""
    if not run.state.is_final and not _is_nobodys(run):
        raise Conflict(
            f"run '{run.name}' is {run.display_state}", hint="only a run that has ended can be retried; legato run cancel ends it"
        )
    if run.state.type is COMPLETED:
        raise completed_already(run.name)
    return _go_on(session, run, only_plan=only_plan, why="retried by hand")


def _is_nobodys(run: FlowRun) -> bool:
    """Whether a run waits and nobody will come for it: a process took it up and died before it began."""
    return run.state.type is SCHEDULED and run.deployment_id is None and run.lease_expires_at is None


def resume(session: Session, run: FlowRun, *, answer: str | None, given: Sequence[str], key: str, only_plan: bool) -> int:
    """Have a paused or suspended run go on, with an answer where it asked for one; retry one that has ended."""
    if answer is not None and given:
        raise UsageError("--answer is the whole answer, and -p a field of it", hint="give one of the two")
    if run.state.type is PAUSED or (run.pause_requested_at is not None and not run.state.is_final):
        is_held = run.state.type is not PAUSED or run.lease_expires_at is not None
        if only_plan and is_held:
            session.say(f"{run.name} goes on in its own process, which waits: nothing runs again")
            return 0
        if not only_plan:
            _answer(session, run, answer, given, key)
        if is_held:
            changed(session, session.store.get_flow_run(run.id), f"{run.name} goes on", name=run.id)
            return 0
        return _go_on(session, run, only_plan=only_plan, why="resumed by hand")
    if answer is not None or given:
        again = f"run it again: legato run retry {typed(run.name)}" if run.state.is_final and run.state.type is not COMPLETED else ""
        raise UsageError(
            f"run '{run.name}' is {run.display_state} and asks for nothing", hint=again or f"legato run show {typed(run.name)}"
        )
    return retry(session, run, only_plan=only_plan)


def open_questions(session: Session, run: FlowRun) -> list[RunInput]:
    """What a run, or a flow run inside it, waits to be told."""
    from legato.core.records import FlowRunFilter

    asked = [one for one in session.store.list_inputs(run.id) if one.answered_at is None]
    for child in session.store.list_flow_runs(FlowRunFilter(parent_run_id=run.id, states=(PAUSED,))).items:
        asked += open_questions(session, child)
    return asked


def _answer(session: Session, run: FlowRun, answer: str | None, given: Sequence[str], key: str) -> None:
    every = open_questions(session, run)
    open_ = [one for one in every if not key or key in (one.key, one.key.rpartition("/")[0])]
    if (wished := [one for one in open_ if one.is_wish]) and answer is None and not given:
        for one in wished:  # one wish may have held several flow runs inside this one
            session.store.answer_input(one.flow_run_id, one.key, None)
        return
    if not open_:
        if answer is not None or given:
            raise UsageError(
                f"run '{run.name}' asks for nothing{f' called {key}' if key else ''}",
                hint=f"it asks for {', '.join(one.key for one in every)}" if every else f"legato run show {typed(run.name)}",
            )
        return
    asked = open_[0]
    session.store.answer_input(asked.flow_run_id, asked.key, _value_of(asked, answer, given))


def _value_of(asked: RunInput, answer: str | None, given: Sequence[str]) -> Any:
    """The answer as JSON; text that is no JSON is text."""
    from legato.core.explanation import type_in_words
    from legato.store.answers import fitting, misfit

    fields = asked.schema.get("properties", {})
    value: Any = None
    if given:
        value = parse_parameters(given, lambda name: fields.get(name, {}))
    elif answer is not None:
        value = as_json_or_text(answer)
        if misfit(asked.schema, value) is not None and misfit(asked.schema, answer) is None:
            value = answer  # text that happens to be JSON too
    missing = [name for name in asked.schema.get("required", ()) if not (isinstance(value, dict) and name in value)]
    if missing or (answer is None and not given and misfit(asked.schema, None) is not None):
        shape = ", ".join(f"{name}={one.get('type', '…')}" for name, one in fields.items())
        how = f"-p {missing[0]}=…" if missing else "--answer JSON"
        raise UsageError(f"'{asked.prompt or asked.key}' asks for {shape or type_in_words(asked.schema)}", hint=f"give it with {how}")
    return fitting(asked.schema, value, asked.prompt or asked.key)


def _go_on(session: Session, run: FlowRun, *, only_plan: bool, why: str) -> int:
    if only_plan:
        return _print_plan(session, run, task=None)
    while run.parent_run_id is not None:  # a flow run inside another goes on with that one
        run = session.store.get_flow_run(run.parent_run_id)
    if run.deployment_id is not None:
        after = session.store.schedule_again(run.id, why=why)
        said = f"{run.name} is scheduled again; an agent runs it, and finished tasks whose values are stored are not run again"
        changed(session, after, said, name=run.id)
        session.hint(f"Watch it: legato run watch {typed(run.name)}")
        return 0
    from legato.cli import local_run
    from legato.sdk import resuming

    flow = flow_of(run)
    return local_run.drive(session, flow, lambda: resuming.taken_up(flow, run, why=why))


def fork(session: Session, run: FlowRun, *, task: str, given: Sequence[str], only_plan: bool) -> int:
    """Run a new run that reuses what this one stored, but for one task and what depended on it."""
    changes = parse_parameters(given, _types_for(session, run)) if given else {}
    if only_plan:
        others = [name for name, value in changes.items() if name not in run.parameters or run.parameters[name] != value]
        return _print_plan(session, run, task=task, others=others)
    if run.deployment_id is not None:
        for name, value in changes.items():
            check_unicode(name, value)
        return _fork_deployed(session, run, task, changes)
    from legato.cli import local_run
    from legato.sdk import resuming

    flow = flow_of(run)
    return local_run.drive(session, flow, lambda: resuming.forked(flow, run, task=task, changes=changes))


def _types_for(session: Session, run: FlowRun) -> Callable[[str], Mapping[str, Any]]:
    """The types of a run's parameters, as its deployment or its flow says."""
    if run.deployment_id is None:
        return types_of(flow_of(run))
    try:
        schema = session.store.get_deployment(run.deployment_id).parameter_schema
    except NotFound:  # deleted since; the run's own bundle still says what it is given
        schema = {}
    return lambda name: schema.get("properties", {}).get(name, {})


def _fork_deployed(session: Session, run: FlowRun, task: str, changes: dict[str, Any]) -> int:
    import msgspec

    from legato.core.names import readable_name
    from legato.system import new_id

    now, id_ = session.now(), new_id()
    new = msgspec.structs.replace(
        run,
        id=id_,
        name=readable_name(int(id_[-8:], 16)),
        state=State(SCHEDULED, "Scheduled", now, due_at=now),
        seq=1,
        attempt=0,
        created_at=now,
        expected_start_at=now,
        due_at=now,
        started_at=None,
        ended_at=None,
        parameters={**run.parameters, **changes},
        trigger=f"forked from {run.name}" + (f" at {task}" if task else ""),
        schedule_id=None,
        work_queue=None,
        agent_id=None,
        lease_expires_at=None,
        cancel_requested_at=None,
        pause_requested_at=None,
        lost=0,
        result=None,
        error=None,
        forked_from=run.id,
        fork_task=task or None,
    )
    made = session.store.create_flow_run(new)
    changed(session, made, f"{new.name} is scheduled, forked from {run.name}", name=new.id)
    session.hint(f"Watch it: legato run watch {typed(new.name)}")
    return 0


def _print_plan(session: Session, run: FlowRun, *, task: str | None, others: Sequence[str] = ()) -> int:
    from legato.core.reuse_plan import Today, in_groups, plan
    from legato.sdk import resuming
    from legato.sdk.flow_calls import pasts_known_to
    from legato.sdk.process import close_engine, current_engine

    try:
        engine = current_engine()
        pasts = pasts_known_to(engine, run) if task is None else resuming.pasts_to_fork(engine, run, task)
        edited = ""
        try:
            with _flow_as_it_would_run(session, run) as flow:
                edited = resuming.edited_line(flow, run)
                lines = resuming.planned(flow, run, pasts)
        except LegatoError as error:
            session.hint(f"its code cannot be had, so only what was stored is known: {error.message}")
            lines = plan(pasts, Today(lambda _: None))
    finally:
        close_engine()
    if session.wants_json:
        import msgspec

        print(msgspec.json.encode(lines).decode())
    else:
        print("\n".join(in_groups(lines, edited=edited, others=others)))
    return 0


@contextlib.contextmanager
def _flow_as_it_would_run(session: Session, run: FlowRun) -> Iterator[Flow[Any, Any]]:
    """The flow that the next attempt of a run would be made of: a deployment's as it is deployed now, else from the file it came from."""
    if run.deployment_id is None:
        yield flow_of(run)
        return
    import tempfile

    from legato.sdk.entry import unpack_source
    from legato.sdk.loading import load_flow

    with tempfile.TemporaryDirectory(prefix="legato-plan-") as folder:
        deployment = session.store.get_deployment(run.deployment_id)
        unpack_source(deployment, Path(folder), session.settings)
        yield load_flow(deployment.entrypoint, Path(folder))


def flow_of(run: FlowRun) -> Flow[Any, Any]:
    """The flow of a run that a script began, loaded from its file. Raises `Failure` when it is not here."""
    from legato.sdk.loading import load_flow

    path, _, name = run.entrypoint.rpartition(":")
    if not path:
        raise Failure(
            f"run '{run.name}' cannot be run again from here: it does not say which file its flow is in",
            exit_code=3,
            hint="a flow that is defined inside a function, or typed in, has none",
            next_step=f"From its own code: {run.flow_name.replace('-', '_')}.resume('{run.name}')",
            code="no_entrypoint",
        )
    try:
        return load_flow(f"{Path(path).name}:{name}", Path(path).parent)
    except NotFound as error:
        raise Failure(
            f"the flow of run '{run.name}' is not at {run.entrypoint} any more: {error.message}",
            exit_code=3,
            hint="run this where the file is, or put it back",
            code="not_found",
        ) from error


def pause(session: Session, run: FlowRun) -> None:
    """Ask a running run to wait before its next task."""
    after = session.store.request_pause(run.id)
    changed(
        session, after, f"{run.name} was asked to pause; it hears of it within 3 s, and does before the task that comes next", name=run.id
    )
    session.hint(f"Go on: legato run resume {typed(run.name)}")
