"""Calls of flows and tasks: from what the user wrote to a shell, a script and a driver. Loaded by the first call of a flow."""

from __future__ import annotations

import contextvars
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from legato.core.caching import cache_key, hash_inputs
from legato.core.errors import LegatoError, ParameterError, RunCrashed, UpstreamFailed, UsageError
from legato.core.names import readable_name
from legato.core.records import FlowRun
from legato.core.retry import RetryPolicy
from legato.core.states import FAILED, FINAL, PENDING, RUNNING, State, StateType
from legato.engine.drive import drive
from legato.engine.futures import Future
from legato.engine.process import Engine
from legato.engine.script import Policy, Propose, Stop, run_flow, run_task
from legato.engine.shell import CURRENT, FlowShell, Shell, TaskShell, enter_user_code, leave_user_code
from legato.engine.stops import main_thread_stops
from legato.engine.tracebacks import relink
from legato.logs import console
from legato.sdk.definitions import AllowFailure, Definition, Unmapped
from legato.sdk.process import current_engine, current_settings
from legato.system import new_id, now

if TYPE_CHECKING:
    from datetime import datetime

    from legato.engine.shell import TaskRunner
    from legato.sdk.parameters import Signature

__all__ = ["CURRENT", "call_flow", "call_task", "map_task", "relink", "submit_task"]

_PLAIN = (type(None), bool, int, float, str, bytes)

LARGEST_SEARCHED = 10_000
"""Containers with more items are data: they are not searched for futures."""

PENDING_STATE = Propose(PENDING, "Pending")
_INFO, _ERROR = 20, 40


class RunState:
    """How a run ended, as `return_state=True` gives it."""

    def __init__(self, shell: Shell, value: Any, exc: BaseException | None) -> None:
        state = shell.state or State(FAILED, "Failed", now())
        self.type: StateType = state.type
        self.name = state.name
        self.message = state.message
        self.run_id = shell.run_id
        self._value, self._exc = value, exc

    def result(self, *, raise_on_failure: bool = True) -> Any:
        """The value; raises what the run raised, or returns that with `raise_on_failure=False`."""
        if self._exc is None:
            return self._value
        if not raise_on_failure:
            return self._exc
        try:
            raise self._exc
        except BaseException as exc:
            relink(exc)
            raise

    def is_completed(self) -> bool:
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        return self.type is StateType.FAILED

    def __repr__(self) -> str:
        return f"{self.name}({self.message!r})"


# ---------------------------------------------------------------------- what a task's options mean


def _signature(owner: str, fn: Callable[..., Any]) -> Signature:
    from legato.sdk.parameters import Signature  # noqa: PLC0415 start-up time: it needs `inspect`, which a flow without parameters does not

    return Signature(owner, fn)


class Compiled:
    """A task's options, made ready once for many calls."""

    def __init__(self, task: Definition[Any, Any]) -> None:
        options = task.options
        self.task = task
        self.key = f"{task.fn.__module__}.{task.fn.__qualname__}"
        self.tags = tuple(options.get("tags") or ())
        self.cache_key_fn = options.get("cache_key_fn")
        expiration = options.get("cache_expiration")
        self.cache_expires_s: float | None = expiration.total_seconds() if expiration is not None else None
        self.log_prints = options.get("log_prints")
        self.persist = options.get("persist_result")
        self.policy = _policy(options, persist=bool(self.persist) or self.cache_key_fn is not None, gated=self.cache_key_fn is not None)
        self._persisting: Policy | None = None

    def policy_in(self, flow: FlowShell) -> Policy:
        """The policy within a flow, which may want all results stored."""
        if self.persist is None and flow.policy.persist and not self.policy.persist:
            if self._persisting is None:
                self._persisting = _policy(self.task.options, persist=True, gated=self.policy.gated)
            return self._persisting
        return self.policy

    @functools.cached_property
    def signature(self) -> Signature:
        return _signature(f"task '{self.task.name}'", self.task.fn)

    def cache_key(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """The key under which the result of this call is cached, None: not cached."""
        if self.cache_key_fn is None:
            return None
        key = self.cache_key_fn(self.task, self.signature.bind(tuple(args), kwargs))
        return None if key is None else str(key)


def _policy(options: Mapping[str, Any], *, persist: bool, gated: bool = False) -> Policy:
    delay = options.get("retry_delay_seconds", 0)
    retry = RetryPolicy(
        options.get("retries", 0), tuple(delay) if isinstance(delay, list) else delay, options.get("retry_jitter_factor", 0)
    )
    timeout = options.get("timeout_seconds")
    return Policy(retry, options.get("retry_condition_fn"), persist, gated, None if timeout is None else float(timeout))


def task_input_hash(task: Definition[Any, Any], parameters: Mapping[str, Any]) -> str:
    """A `cache_key_fn`: the task and a stable hash of its arguments. Raises `UsageError` for arguments that have none."""
    return cache_key(f"{task.fn.__module__}.{task.fn.__qualname__}", hash_inputs(parameters))


def _compiled(task: Definition[Any, Any]) -> Compiled:
    compiled = task.compiled
    if compiled is None:
        compiled = task.compiled = Compiled(task)
    return cast("Compiled", compiled)


# ---------------------------------------------------------------------- arguments and what they depend on


class Arguments:
    """A call's arguments, with the futures in them found."""

    __slots__ = ("args", "futures", "kwargs", "tolerated", "upstream")

    def __init__(self, flow: FlowShell, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.futures: list[Future[Any]] = []
        self.tolerated: set[int] = set()
        self.upstream: list[str] = []
        for value in args:
            if type(value) not in _PLAIN:
                self._find(flow, value, 4)
        for value in kwargs.values():
            if type(value) not in _PLAIN:
                self._find(flow, value, 4)

    def wait_for(self, futures: Any) -> None:
        """Futures that must have ended first, without being arguments."""
        for future in futures or ():
            self._note(future.value if isinstance(future, AllowFailure) else future, tolerated=isinstance(future, AllowFailure))

    def _find(self, flow: FlowShell, value: Any, depth: int) -> None:
        if isinstance(value, Future):
            self._note(value)
        elif isinstance(value, AllowFailure):
            if isinstance(value.value, Future):
                self._note(value.value, tolerated=True)
        elif isinstance(value, (list, tuple, set, dict)) and depth and len(value) <= LARGEST_SEARCHED:
            for item in value.values() if isinstance(value, dict) else value:
                if type(item) not in _PLAIN:
                    self._find(flow, item, depth - 1)
        if flow.has_makers and (maker := flow.maker_of(value)) is not None:
            self._depend(maker)

    def _note(self, future: Any, *, tolerated: bool = False) -> None:
        if not isinstance(future, Future):
            raise UsageError(f"wait_for holds {future!r}, which is no future", hint="give it what task.submit() returned")
        self.futures.append(future)
        if tolerated:
            self.tolerated.add(id(future))
        self._depend(future.run_id)

    def _depend(self, run_id: str) -> None:
        if run_id not in self.upstream:
            self.upstream.append(run_id)

    def settled(self) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments with values in place of futures. Waits; raises `UpstreamFailed` naming the culprit."""
        if not self.futures:
            return self.args, self.kwargs
        for future in self.futures:
            future.wait()
            if future.state is not StateType.COMPLETED:
                if id(future) not in self.tolerated:
                    raise _upstream_failed(future)
                future.seen = True
        return tuple(_valued(value) for value in self.args), {name: _valued(value) for name, value in self.kwargs.items()}


def _upstream_failed(future: Future[Any]) -> UpstreamFailed:
    exc = future.failure  # not `exception()`: that the one below could not start does not mean that somebody has dealt with this failure
    error = UpstreamFailed(f"task run '{future.name}' did not complete: {type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error


def _valued(value: Any) -> Any:
    """A value with every future in it replaced by its result; the very same object where it holds none."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Future):
        return value.result()
    if isinstance(value, AllowFailure):
        inner = value.value
        return inner.result(raise_on_failure=False) if isinstance(inner, Future) else inner
    if kind in (list, tuple, set) and len(value) <= LARGEST_SEARCHED:
        items = [_valued(item) for item in value]
        return value if all(map(operator.is_, items, value)) else kind(items)
    if kind is dict and len(value) <= LARGEST_SEARCHED:
        changed = {key: _valued(item) for key, item in value.items()}
        return value if all(map(operator.is_, changed.values(), value.values())) else changed
    return value


Submit = Callable[[TaskShell, Definition[Any, Any], Arguments], Future[Any]]


# ---------------------------------------------------------------------- tasks


def task_shell(task: Definition[Any, Any], flow: FlowShell, arguments: Arguments) -> TaskShell:
    """The shell of a new task run."""
    compiled = _compiled(task)
    shell = TaskShell(
        flow,
        new_id(),
        f"{task.name}-{flow.number_of(task.name)}",
        compiled.policy_in(flow),
        task.fn,
        arguments.args,
        arguments.kwargs,
        key=compiled.key,
        tags=compiled.tags,
        upstream=tuple(arguments.upstream),
        cache_expires_s=compiled.cache_expires_s,
    )
    if compiled.log_prints is not None:
        shell.log_prints = compiled.log_prints
    if shell.log_prints:
        from legato.sdk.logging import patch_print  # noqa: PLC0415 start-up time: the logging module is wanted only by runs that log

        patch_print()
    return shell


def make_ready(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> None:
    """Put values in place of futures, and find the cache key. A failed upstream is recorded before it is raised."""
    try:
        shell.args, shell.kwargs = arguments.settled()
        shell.cache_key = _compiled(task).cache_key(shell.args, shell.kwargs)
    except Exception as exc:
        if shell.seq == 0:
            shell.propose(PENDING_STATE)
        name = "UpstreamFailed" if isinstance(exc, UpstreamFailed) else "Failed"
        shell.propose(Propose(FAILED, name, str(exc).split("\n", 1)[0], error=exc))
        raise


def taken_out(kwargs: dict[str, Any]) -> tuple[Any, bool]:
    """The call's own options among the keyword arguments: wait_for and return_state."""
    return kwargs.pop("wait_for", None), kwargs.pop("return_state", False)


def call_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a task here and now."""
    region = leave_user_code(parent)
    try:
        wait_for, return_state = taken_out(kwargs) if kwargs else (None, False)
        arguments = Arguments(parent.flow, args, kwargs)
        if wait_for:
            arguments.wait_for(wait_for)
        shell = task_shell(task, parent.flow, arguments)
        shell.outer = region
        if return_state:
            return state_of(shell, lambda: _run_task(shell, task, arguments))
        return _run_task(shell, task, arguments)
    finally:
        enter_user_code(region)


def _run_task(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Any:
    if arguments.futures or shell.policy.gated:
        make_ready(shell, task, arguments)
    return drive(run_task(shell.policy), shell)


def state_of(shell: Shell, run: Callable[[], Any]) -> RunState:
    """How a run ended, with its failure as a value."""
    try:
        value = run()
    except Exception as exc:  # noqa: BLE001 it is what the caller asked to have as a value
        relink(exc)
        return RunState(shell, None, exc)
    return RunState(shell, value, None)


def submit_task(task: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Hand a sync task to the flow's task runner."""
    return submit_with(submit_to_runner, task, args, kwargs)


def submit_with(submit: Submit, task: Definition[Any, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Make a task run's shell, and have `submit` start it; returns the future, or the state if the caller wants that."""
    parent = CURRENT.get()
    if parent is None:
        raise UsageError(
            f"task '{task.name}' was submitted outside a flow", hint="call it inside a function with @flow, or call it directly"
        )
    region = leave_user_code(parent)
    try:
        wait_for, return_state = taken_out(kwargs) if kwargs else (None, False)
        arguments = Arguments(parent.flow, args, kwargs)
        arguments.wait_for(wait_for)
        shell = task_shell(task, parent.flow, arguments)
        shell.propose(PENDING_STATE)
        future = submit(shell, task, arguments)
    finally:
        enter_user_code(region)
    return state_of(shell, future.result) if return_state else future


def submit_to_runner(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Future[Any]:
    """Queue a task run at the flow's runner; one with a `call` of its own has the function run elsewhere."""
    flow = shell.flow
    shell.elsewhere = getattr(flow.runner, "call", None)
    future: Future[Any] = Future(shell.run_id, shell.name, lambda: _run_submitted(shell, task, arguments))
    future.context = contextvars.copy_context()
    flow.opened(future, shell)
    _when_ended(arguments.futures, lambda: flow.runner.submit(future))
    return future


def _run_submitted(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Any:
    if arguments.futures or shell.policy.gated:
        make_ready(shell, task, arguments)
    try:
        return drive(run_task(shell.policy), shell)
    except Exception as exc:
        relink(exc)
        raise


def _when_ended(futures: Sequence[Future[Any]], start: Callable[[], None]) -> None:
    """Start when all futures have ended; meanwhile no thread is taken."""
    waiting = [future for future in futures if not future.done()]
    if not waiting:
        start()
        return
    left = [None] * len(waiting)

    def one_less(_: Future[Any]) -> None:
        left.pop()  # a list's pop is atomic: exactly one caller sees it empty
        if not left and not started:
            started.append(None)
            start()

    started: list[None] = []
    for future in waiting:
        future.add_done_callback(one_less)


def map_task(task: Definition[Any, Any], submit: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> list[Future[Any]]:
    """Submit a task once for each element of its iterable arguments."""
    wait_for = list(taken_out(kwargs)[0] or ())
    named: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    mapped = {name: list(value.result() if isinstance(value, Future) else value) for name, value in named.items() if _is_mapped(value)}
    wait_for += [value for value in named.values() if isinstance(value, Future)]  # it is over by now; each call depends on it all the same
    if not mapped:
        raise UsageError(f"task '{task.name}'.map(...) was given nothing to map over", hint="give at least one list, or use submit")
    lengths = {len(values) for values in mapped.values()}
    if len(lengths) > 1:
        given = ", ".join(f"{name}: {len(values)}" for name, values in mapped.items())
        raise UsageError(
            f"task '{task.name}'.map(...) was given lists of different lengths ({given})", hint="wrap constants in unmapped(...)"
        )
    futures = []
    for i in range(lengths.pop()):
        one = {name: mapped[name][i] if name in mapped else _whole(value) for name, value in named.items()}
        positional = [one[n] for n in range(len(args))]
        keyword = {name: value for name, value in one.items() if not isinstance(name, int)}
        futures.append(submit(*positional, **keyword, **({"wait_for": wait_for} if wait_for else {})))
    return futures


def _is_mapped(value: Any) -> bool:
    return isinstance(value, Future) or (hasattr(value, "__iter__") and not isinstance(value, (str, bytes, dict, Unmapped, AllowFailure)))


def _whole(value: Any) -> Any:
    return value.value if isinstance(value, Unmapped) else value


# ---------------------------------------------------------------------- flows


class CompiledFlow:
    """A flow's options, made ready once for many calls."""

    def __init__(self, flow: Definition[Any, Any]) -> None:
        self.flow = flow
        self.tags = tuple(flow.options.get("tags") or ())
        self.log_prints = bool(flow.options.get("log_prints"))

    @functools.cached_property
    def signature(self) -> Signature:
        return _signature(f"flow '{self.flow.name}'", self.flow.fn)

    def policy(self) -> Policy:
        persist = self.flow.options.get("persist_result")
        return _policy(self.flow.options, persist=current_settings().persist_results if persist is None else bool(persist))

    def make_runner(self) -> TaskRunner:
        """The flow's task runner, started."""
        chosen = self.flow.options.get("task_runner")
        if chosen is None:
            from legato.task_runners.threads import ThreadTaskRunner  # noqa: PLC0415 start-up time: flows that submit nothing need no runner

            chosen = ThreadTaskRunner()
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
    region = leave_user_code(parent)
    try:
        wait_for, return_state = taken_out(kwargs) if kwargs else (None, False)
        shell = new_flow_shell(flow, parent, args, kwargs, wait_for)
        shell.outer = region
        if return_state:
            return state_of(shell, lambda: run_shell(shell))
        return run_shell(shell)
    finally:
        enter_user_code(region)


def new_flow_shell(
    flow: Definition[Any, Any], parent: Shell | None, args: Sequence[Any], kwargs: dict[str, Any], wait_for: Any
) -> FlowShell:
    compiled = compiled_flow(flow)
    engine = parent.engine if parent is not None else current_engine()
    upstream: tuple[str, ...] = ()
    if parent is not None:
        arguments = Arguments(parent.flow, args, kwargs)
        arguments.wait_for(wait_for)
        args, kwargs = arguments.settled()
        upstream = tuple(arguments.upstream)
    parameters = compiled.parameters(args, kwargs)
    at = now()
    run_id = new_id()
    run = FlowRun(
        id=run_id,
        flow_name=flow.name,
        name=compiled.run_name(parameters, run_id),
        state=State(RUNNING, "Running", at),
        attempt=1,
        created_at=at,
        expected_start_at=at,
        parameters=compiled.signature.plain(parameters) if parameters else {},
        tags=compiled.tags,
        trigger="script" if parent is None else f"called by {parent.name}",
        parent_run_id=parent.flow.run_id if parent is not None else None,
        upstream=upstream,
        lease_expires_at=engine.lease_until() if parent is None else None,
        host=engine.host if parent is None else "",
        pid=engine.pid if parent is None else 0,
        retries=flow.options.get("retries", 0),
    )
    return flow_shell(flow, engine, run, parameters, new=True)


def flow_shell(flow: Definition[Any, Any], engine: Engine, run: FlowRun, parameters: Mapping[str, Any], *, new: bool) -> FlowShell:
    """The shell of a flow run: a new one, or one that was claimed and goes on from the sequence and attempt it is at."""
    compiled = compiled_flow(flow)
    args, kwargs = compiled.signature.unbind(parameters) if parameters else ((), {})
    shell = FlowShell(
        engine,
        run.id,
        run.name,
        compiled.policy(),
        flow.fn,
        args,
        kwargs,
        make_runner=compiled.make_runner,
        new_run=run if new else None,
        log_prints=compiled.log_prints,
    )
    if not new:
        shell.seq, shell.attempt = run.seq, run.attempt
    return shell


def run_shell(shell: FlowShell) -> Any:
    """Drive a flow run to its end, saying on the console when it begins and how it ended."""
    began = begin(shell)
    try:
        with main_thread_stops():
            return drive(run_flow(shell.policy), shell)
    except Stop as stop:
        raise fenced(shell, stop) from None
    finally:
        end(shell, began)


def begin(shell: FlowShell) -> datetime:
    """Take up a flow run: its signs of life begin. Returns the time."""
    if shell.log_prints:
        from legato.sdk.logging import patch_print  # noqa: PLC0415 start-up time: the logging module is wanted only by runs that log

        patch_print()
    shell.on_start = lambda: _say(shell, _INFO, "began")
    shell.engine.hold(shell)
    return now()


def end(shell: FlowShell, began: datetime) -> None:
    """Let a flow run go, and say how it ended."""
    shell.engine.release(shell.run_id)
    shell.close()
    state = shell.state
    if state is not None and state.type in FINAL:
        level = _INFO if state.type is StateType.COMPLETED else _ERROR
        took = f"after {(state.at - began).total_seconds():.3g} s"
        _say(shell, level, f"{state.name.lower()} {took}" + (f": {state.message}" if state.message else ""))
    shell.engine.outbox.flush()


def _say(shell: FlowShell, level: int, message: str) -> None:
    """A line about the run itself. It is not in the stored log: the journal says the same, and more exactly."""
    if level >= console.LEVELS[current_settings().log_level]:
        console.line("INFO" if level == _INFO else "ERROR", f"flow run '{shell.name}'", message)


def fenced(shell: FlowShell, stop: Stop) -> LegatoError:
    """What to raise when the store has taken the run away from this process."""
    return RunCrashed(
        f"flow run '{shell.name}' was stopped: {stop.reason}",
        hint="another process or a person has taken over; what this one did since is not recorded",
    )
