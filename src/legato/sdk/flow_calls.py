"""Calls of flows: from what the user wrote to a shell, a script and a driver. Loaded by the first call of a flow."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgspec

from legato import crashing
from legato.core.errors import LegatoError, ParameterError, RunCrashed, RunSuspended, UsageError
from legato.core.names import readable_name, typed
from legato.core.queues import LEASE_S
from legato.core.records import FlowRun, FlowRunFilter
from legato.core.resume import BODY, NOT_KEPT, Again, Memory, Past, Reuse, changed_names, latest, pasts_of
from legato.core.states import FINAL, RUNNING, State, StateType
from legato.engine import own_threads
from legato.engine.drive import drive, drive_stream
from legato.engine.hooks import hooks_of
from legato.engine.identity.lanes import lane_of
from legato.engine.identity.ledger import Ledger
from legato.engine.process import Engine
from legato.engine.script import Policy, Recalled, Stop, Suspend, run_flow, run_stream
from legato.engine.shell import CURRENT, FlowShell, Shell
from legato.engine.signals import TERMINATED, main_thread, main_thread_stops
from legato.engine.stops import called_by_user, enter, leave
from legato.engine.tracebacks import relink
from legato.logs import console
from legato.sdk.arguments import Arguments
from legato.sdk.calls import hold, policy_of, signature_of
from legato.sdk.definitions import Definition, lazily, wanted, with_scope_tags
from legato.sdk.identifying import beside_of, holdings_of, identify_flow, reach_of
from legato.sdk.process import current_engine, current_settings
from legato.sdk.run_states import state_of
from legato.system import new_id, now

if TYPE_CHECKING:
    from datetime import datetime

    from legato.engine.shell import TaskRunner
    from legato.sdk.bodies import Body
    from legato.sdk.parameters import Signature

__all__ = ["call_flow", "relink", "stream_flow"]

_INFO, _ERROR = 20, 40

_ALONE = "a task called outside a flow"


class CompiledFlow:
    """A flow's options, made ready once for many calls."""

    def __init__(self, flow: Definition[Any, Any]) -> None:
        self.flow = flow
        self.tags = tuple(flow.options.get("tags") or ())
        self.log_prints: bool | None = flow.options.get("log_prints")
        self.hooks = hooks_of(flow.options)
        self.key = f"flow {flow.name}"
        self._body: tuple[Mapping[str, str], Body] | None = None

    @lazily
    def signature(self) -> Signature:
        return signature_of(f"flow '{self.flow.name}'", self.flow.fn)

    @lazily
    def entrypoint(self) -> str:
        """How to run the flow again: its file and function; "" for one that stands in no file, or inside a function."""
        code = getattr(self.flow.fn, "__code__", None)
        if code is None or not code.co_filename.endswith(".py") or not self.flow.fn.__qualname__.isidentifier():
            return ""
        return f"{os.path.realpath(code.co_filename)}:{self.flow.fn.__qualname__}"

    def code(self) -> dict[str, str]:
        """The functions the flow is made of, with a hash each."""
        from legato.sdk.bodies import recorded  # noqa: PLC0415 start-up time: wanted where something is stored

        return {**reach_of(self.flow.fn).now(), **self._conversions, BODY: recorded(self.body())}

    @lazily
    def _conversions(self) -> dict[str, str]:
        """What becomes of the parameters before the body sees them, as annotated: it is a part of the code."""
        if not self.flow.options.get("validate_parameters", True):
            return {}
        from legato.sdk.code import annotations_of  # noqa: PLC0415 start-up time: wanted where something is stored

        digest = annotations_of(self.flow.fn)
        return {f"parameters of {self.flow.__name__}": digest} if digest else {}

    def body(self) -> Body:
        """The flow's own body, as it is now."""
        now = reach_of(self.flow.fn).now()
        known = self._body
        if known is None or known[0] is not now:  # what the body uses is all among what the flow reaches
            from legato.sdk.bodies import body_of  # noqa: PLC0415 start-up time: wanted where something is stored

            known = self._body = now, body_of(self.flow.fn)
        return known[1]

    def not_kept(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The parameters that would come back as others from a run's record, with their types."""
        return self.signature.not_kept(parameters, validated=bool(self.flow.options.get("validate_parameters", True)))

    def policy(self) -> Policy:
        persist = self.flow.options.get("persist_result")
        return policy_of(self.flow.options, persist=current_settings().persist_results if persist is None else bool(persist))

    def make_runner(self) -> TaskRunner:
        """The flow's task runner, started."""
        chosen = self.flow.options.get("task_runner")
        if chosen is None:
            return default_runner()
        started: TaskRunner = (chosen() if isinstance(chosen, type) else chosen).start()
        return started

    def parameters(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name, checked. Raises `ParameterError`."""
        if not args and not kwargs and _takes_nothing(self.flow.fn):
            return {}
        bound = self.signature.bind(tuple(args), kwargs)
        return self.signature.validate(bound) if self.flow.options.get("validate_parameters", True) else bound

    def run_name(self, parameters: Mapping[str, Any], run_id: str) -> str:
        """The run's name: from the flow's template or function, else a readable one, chosen by the random end of its id."""
        template = self.flow.options.get("flow_run_name")
        if template is None:
            return readable_name(int(run_id[-8:], 16))
        try:
            return str(template() if callable(template) else template.format(**{"flow_name": self.flow.name, **parameters}))
        except (KeyError, IndexError, AttributeError) as error:
            raise ParameterError(
                f"flow_run_name {template!r} cannot be filled: {error}", hint=f"it may name {', '.join(parameters)}"
            ) from None


def default_runner() -> TaskRunner:
    """The runner of a flow that chooses none."""
    from legato.task_runners.threads import ThreadTaskRunner  # noqa: PLC0415 start-up time: flows that submit nothing need no runner

    return ThreadTaskRunner().start()


def _takes_nothing(fn: Callable[..., Any]) -> bool:
    """Whether a function has no parameters at all, as far as its code says."""
    code = getattr(fn, "__code__", None)
    takes_any = 0x04 | 0x08  # inspect.CO_VARARGS, CO_VARKEYWORDS
    return code is not None and code.co_argcount + code.co_kwonlyargcount == 0 and not code.co_flags & takes_any


def compiled_flow(flow: Definition[Any, Any]) -> CompiledFlow:
    """The flow's options, made ready."""
    compiled = flow.compiled
    if compiled is None:
        compiled = flow.compiled = CompiledFlow(flow)
    return cast("CompiledFlow", compiled)


def call_flow(flow: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a sync flow here and now."""
    parent = CURRENT.get()
    if parent is not None and main_thread.held_since is not None:
        called_by_user(parent.region)
    region = leave(parent.region) if parent is not None else None
    try:
        return_state = kwargs.pop("return_state", False) if kwargs else False
        shell = new_flow_shell(flow, parent, args, kwargs)
        shell.outer = region
        if return_state:
            return state_of(shell, lambda: run_shell(shell))
        return run_shell(shell)
    finally:
        enter(region)


def stream_flow(flow: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
    """Run a generator flow: a generator that hands on its items. Like the undecorated one it begins with its first item."""
    return (yield from stream_shell(new_flow_shell(flow, CURRENT.get(), args, kwargs)))


def stream_shell(shell: FlowShell) -> Generator[Any, Any, Any]:
    """Drive a flow run of a generator to its end."""
    with main_thread_stops(partial(shell.stop, TERMINATED)), under_way(shell):
        return (yield from drive_stream(run_stream(shell.policy, "flow"), shell))


def new_flow_shell(flow: Definition[Any, Any], parent: Shell | None, args: Sequence[Any], kwargs: dict[str, Any]) -> FlowShell:
    """The shell of a new flow run; inside another flow's run, a child of that one. Takes `wait_for` out of the keyword arguments.

    Raises `ParameterError` before anything is recorded.
    """
    compiled = compiled_flow(flow)
    engine = parent.engine if parent is not None else current_engine()
    wait_for = kwargs.pop("wait_for", None) if kwargs else None
    upstream: tuple[str, ...] = ()
    if parent is not None:
        if parent.flow.interrupted:
            hold(parent)
        arguments = Arguments(parent.flow.makers, args, kwargs, wait_for)
        args, kwargs = arguments.settled()
        upstream = tuple(arguments.upstream)
    parameters = compiled.parameters(args, kwargs)
    policy = compiled.policy()
    run = _new_run(flow, engine, parent, parameters, upstream, keeps_code=parent is not None or policy.persist or wanted.any)
    if parent is not None:
        return _child_shell(flow, parent, run, parameters, policy)
    return flow_shell(flow, engine, run, parameters, new=True, policy=policy)


def implicit_run(task: Definition[Any, Any], fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> FlowShell:
    """The shell of the flow run that a call of a task outside any flow is a part of: its code is that one call, `fn(*args, **kwargs)`."""
    engine = current_engine()
    run_id, tags = new_id(), with_scope_tags(tuple(task.options.get("tags") or ()))
    name = readable_name(int(run_id[-8:], 16))
    run = FlowRun(id=run_id, flow_name=task.name, name=name, tags=tags, trigger=_ALONE, **_begun_now(), **_held_by(engine))
    shell = FlowShell(engine, run_id, run.name, Policy(), fn, args, kwargs, make_runner=default_runner, new_run=run)
    shell.definition, shell.tags, shell.quiet = task, tags, True
    return shell


def _new_run(
    flow: Definition[Any, Any],
    engine: Engine,
    parent: Shell | None,
    parameters: Mapping[str, Any],
    upstream: tuple[str, ...],
    *,
    keeps_code: bool,
) -> FlowRun:
    """The record of a run that begins now: a run of this process, or a part of its parent's."""
    compiled = compiled_flow(flow)
    run_id = new_id()
    return FlowRun(
        id=run_id,
        flow_name=flow.name,
        name=compiled.run_name(parameters, run_id),
        parameters=compiled.signature.plain(parameters) if parameters else {},
        tags=with_scope_tags(compiled.tags),
        trigger="script" if parent is None else f"called by {parent.name}",
        parent_run_id=parent.flow.run_id if parent is not None else None,
        upstream=upstream,
        retries=flow.options.get("retries", 0),
        entrypoint=compiled.entrypoint if parent is None else "",
        code=recorded_code(compiled, parameters, keeps_code=keeps_code, is_root=parent is None),
        **_begun_now(),
        **(_held_by(engine) if parent is None else {}),
    )


def recorded_code(compiled: CompiledFlow, parameters: Mapping[str, Any], *, keeps_code: bool, is_root: bool) -> dict[str, str] | None:
    """What a run's record says of its code, and of parameters that are not kept as they are."""
    lost = compiled.not_kept(parameters) if is_root and parameters else {}
    code = compiled.code() if keeps_code else None
    return {**(code or {}), NOT_KEPT: ", ".join(f"{name} ({kind})" for name, kind in lost.items())} if lost else code


def kept_parameters(run: FlowRun, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a run was given, as far as it is recorded, and what it is `given` now; what it was given by default, it is given so again.

    Raises `UsageError` when it was given what is not kept with a run.
    """
    changes = given or {}
    lost = dict(one.split(" ", 1) for one in (run.code or {}).get(NOT_KEPT, "").split(", ") if one)
    if gone := [f"{name} {kind}" for name, kind in lost.items() if name not in changes and kind != "(default)"]:
        raise UsageError(
            f"run '{run.name}' cannot be run again as it was: what it was given is not kept with a run: {', '.join(gone)}",
            hint="start it anew; a run can be run again that is given what JSON can hold, as annotated: a path in place of a frame",
        )
    return {**{name: value for name, value in run.parameters.items() if name not in lost}, **changes}


def _begun_now() -> dict[str, Any]:
    """What the record of a run says that begins now."""
    at = now()
    return {"state": State(RUNNING, "Running", at), "attempt": 1, "created_at": at, "expected_start_at": at}


def _held_by(engine: Engine) -> dict[str, Any]:
    """What the record of a run says that this process holds, and nobody else supervises."""
    return {"lease_expires_at": engine.lease_until(), "host": engine.host, "pid": engine.pid}


def _child_shell(flow: Definition[Any, Any], parent: Shell, run: FlowRun, parameters: Mapping[str, Any], policy: Policy) -> FlowShell:
    """The shell of a flow run inside another one's: a call of that one, which an earlier attempt may have made."""
    compiled = compiled_flow(flow)
    ledger = parent.flow.ledger
    call, unknown, seal = identify_flow(ledger, parent, compiled.key, flow.fn, run.id, parameters)
    lane = lane_of(parent)
    found = ledger.recall(run.name, call, compiled.key, code=run.code, below=lane.taint, unknown=unknown, behind_edit=_behind_edit(parent))
    run = msgspec.structs.replace(run, call=str(call))
    taken = _taken_up(parent.engine, found.goes_on) if isinstance(found, Again) and found.goes_on is not None else None
    shell = flow_shell(flow, parent.engine, taken or run, parameters, new=taken is None, policy=policy, parent=parent.flow)
    shell.call_id, shell.lane, shell.below, shell.seal, shell.code = call, lane, lane.taint, seal, run.code
    if shell.knows_calls:
        shell.beside = beside_of(holdings_of(flow.fn), parent.flow)
    had = ledger.value_of(shell.name, found, shell.engine.blobs) if isinstance(found, Reuse) else found
    if isinstance(had, Recalled):
        shell.recalled = had
        if isinstance(found, Reuse):
            parent.flow.makers.made(had.value, found.past.run_id)
    else:
        shell.again = had
    return shell


def _behind_edit(parent: Shell) -> Callable[[str], str] | None:
    """Whether a call from here stands behind the place where the flow's code was edited."""
    flow = parent.flow
    return flow.edits() if parent is flow and flow.edits is not None else None


def _taken_up(engine: Engine, past: Past) -> FlowRun:
    """The earlier run of a flow inside this one, to go on as a new attempt."""
    store: Any = engine.store
    taken: FlowRun = store.take_flow_run(
        past.run_id, host=engine.host, pid=engine.pid, lease_s=LEASE_S, why="the flow around it runs again"
    )
    return taken


def flow_shell(
    flow: Definition[Any, Any],
    engine: Engine,
    run: FlowRun,
    parameters: Mapping[str, Any],
    *,
    new: bool,
    policy: Policy | None = None,
    parent: FlowShell | None = None,
) -> FlowShell:
    """The shell of a flow run: a new one, or one that was claimed or taken up, and goes on from the sequence and attempt it is at."""
    compiled = compiled_flow(flow)
    policy = policy or compiled.policy()
    args, kwargs = compiled.signature.unbind(parameters) if parameters else ((), {})
    shell = FlowShell(
        engine,
        run.id,
        run.name,
        policy,
        flow.fn,
        args,
        kwargs,
        make_runner=compiled.make_runner,
        new_run=run if new else None,
        log_prints=bool(parent is not None and parent.log_prints if compiled.log_prints is None else compiled.log_prints),
        parent=parent,
    )
    shell.definition, shell.hooks, shell.parameters, shell.tags = flow, compiled.hooks, parameters, run.tags
    if not new:
        shell.seq, shell.attempt, shell.epoch = run.seq, run.attempt, run.epoch
        if parent is None:
            engine.has_not_begun(run.id)
    if parent is not None:
        shell.parent_epoch = parent.epoch
    shell.knows_calls = policy.persist or policy.retry.retries > 0 or wanted.any or not new or run.forked_from is not None
    goes_on = run.forked_from is not None or (not new and run.attempt > 1)
    if run.code is not None:
        shell.body = run.code.get(BODY, "").partition(" ")[0] if new and not goes_on else compiled.body().hash
    if goes_on:
        shell.edits = _edits_of(engine, run, compiled)
    shell.ledger = Ledger(_memory_of(engine, run, compiled) if goes_on else None, keeps_values=policy.retry.retries > 0)
    return shell


def _edits_of(engine: Engine, run: FlowRun, compiled: CompiledFlow) -> Callable[[], Callable[[str], str] | None]:
    """What tells whether a call stands behind the place where the flow was edited since the earlier attempt."""
    from legato.sdk.bodies import edits_for  # noqa: PLC0415 start-up time: wanted by runs that go on

    source = engine.store.get_flow_run(run.forked_from) if run.forked_from is not None else run
    return edits_for(source.code, compiled.body())


def _memory_of(engine: Engine, run: FlowRun, compiled: CompiledFlow) -> Memory:
    """What earlier attempts of this run, or the run it was forked from, left behind."""
    source = engine.store.get_flow_run(run.forked_from) if run.forked_from is not None else run
    changed = source.code is not None and bool(changed_names(source.code, compiled.code()))
    pasts = pasts_known_to(engine, run, is_new=run.attempt == 1)
    return Memory(pasts, flow_changed=changed, other_parameters=run.parameters != source.parameters)


def pasts_known_to(engine: Engine, run: FlowRun, *, is_new: bool = False) -> list[Past]:
    """The calls a run may reuse: its own earlier attempts', and those of the run it was forked from.

    A flow run inside another one's is forked from the one before it, which may have died before it had recorded what *it* had reused; so
    the whole line is asked, the oldest first. Not beyond a fork from a certain task: what that depended on further back is not known.
    """
    line = [] if is_new else [pasts_in(engine, run.id)]
    while run.forked_from is not None:
        line.append(pasts_in(engine, run.forked_from, fork_task=run.fork_task))
        if run.fork_task:
            break
        run = engine.store.get_flow_run(run.forked_from)
    return latest(past for pasts in reversed(line) for past in pasts)


def pasts_in(engine: Engine, run_id: str, *, fork_task: str | None = None) -> list[Past]:
    """The calls that a run has made so far, in all its attempts."""
    tasks, cursor = [], None
    while True:
        page = engine.store.list_task_runs(run_id, cursor=cursor, limit=1000)
        tasks += page.items
        cursor = page.cursor
        if cursor is None:
            break
    children = engine.store.list_flow_runs(FlowRunFilter(parent_run_id=run_id), limit=1000, oldest_first=True).items
    return pasts_of(tasks, children, fork_task=fork_task)


def run_shell(shell: FlowShell) -> Any:
    """Drive a flow run to its end, saying on the console when it begins and how it ended."""
    if shell.recalled is not None:
        return shell.recalled.value
    with main_thread_stops(partial(shell.stop, TERMINATED)), under_way(shell):
        return drive(run_flow(shell.policy), shell)


@contextmanager
def under_way(shell: FlowShell) -> Iterator[None]:
    """Around the driving of a flow run: it is held, and let go when it has ended, however it does."""
    began = begin(shell)
    try:
        yield
    except Stop as stop:
        raise fenced(shell, stop) from None
    except Suspend:
        if shell.parent is not None:
            raise
        crashing.reached("flow.suspended")
        raise suspended(shell) from None
    finally:
        end(shell, began)


def begin(shell: FlowShell) -> datetime:
    """Take up a flow run: its signs of life begin. Returns the time."""
    if shell.log_prints:
        from legato.sdk.logging import patch_print  # noqa: PLC0415 start-up time: the logging module is wanted only by runs that log

        patch_print()
    if extra := current_settings().extra_loggers:
        from legato.sdk.logging import attach_extra_loggers  # noqa: PLC0415 start-up time

        attach_extra_loggers(extra)
    own_threads.watch()
    if not shell.quiet:
        shell.on_start = lambda: _say(shell, _INFO, "began")
    if shell.parent is not None:
        crashing.reached("subflow.beginning")
    shell.engine.hold(shell)
    return now()


def end(shell: FlowShell, began: datetime) -> None:
    """Let a flow run go, and say how it ended."""
    shell.engine.release(shell.run_id)
    shell.close()
    state = shell.state
    if shell.ledger.memory is not None and not shell.quiet:
        from legato.core.reuse_plan import reuse_in_words  # noqa: PLC0415 start-up time: wanted by runs that go on

        for line in reuse_in_words(shell.ledger.outcomes):
            _say(shell, _INFO, line)
    if state is not None and state.type in FINAL and not shell.quiet:
        level = _INFO if state.type is StateType.COMPLETED else _ERROR
        took = f"after {(state.at - began).total_seconds():.3g} s"
        _say(shell, level, f"{state.name.lower()} {took}" + (f": {state.message}" if state.message else ""))
    shell.engine.outbox.flush()
    if shell.parent is not None:
        crashing.reached("subflow.ended")


def _say(shell: FlowShell, level: int, message: str) -> None:
    """A line about the run itself. It is not in the stored log: the journal says the same, and more exactly."""
    if level >= console.LEVELS[current_settings().log_level]:
        console.line("INFO" if level == _INFO else "ERROR", f"flow run '{shell.name}'", message)


def suspended(shell: FlowShell) -> RunSuspended:
    """What to raise when a flow run waits for a person without a process."""
    return RunSuspended(f"flow run '{shell.name}' is suspended", hint=f"go on with: legato run resume {typed(shell.name)}")


def fenced(shell: FlowShell, stop: Stop) -> LegatoError:
    """What to raise when the store has taken the run away from this process."""
    return RunCrashed(
        f"flow run '{shell.name}' was stopped: {stop.reason}",
        hint="another process or a person has taken over; what this one did since is not recorded",
    )
