"""Calls of tasks: from what the user wrote to a shell, a script and a driver. Loaded by the first call of a flow or task."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from legato import crashing
from legato.core.digests import hex_digest
from legato.core.errors import LegatoError, UpstreamFailed, UsageError
from legato.core.retry import RetryPolicy
from legato.core.states import COMPLETED, FAILED, PENDING
from legato.core.triggers import TRIGGERS, all_succeeded
from legato.engine import serializers
from legato.engine.drive import drive, drive_stream
from legato.engine.futures import DeferredList, Future, FutureList, when_all_ended
from legato.engine.hooks import hooks_of
from legato.engine.script import Policy, Propose, run_stream, run_task
from legato.engine.shell import CURRENT, FlowShell, Shell, TaskShell, enter_user_code, leave_user_code
from legato.engine.tracebacks import relink
from legato.sdk.arguments import Arguments, Skip, provenance, upstream_failed
from legato.sdk.definitions import TAGS, AllowFailure, Definition, Kind, Quote, Unmapped, with_scope_tags
from legato.sdk.process import current_settings
from legato.sdk.run_states import RunState, state_of
from legato.system import new_id

if TYPE_CHECKING:
    from legato.sdk.caching import Caching
    from legato.sdk.parameters import Signature

__all__ = ["CURRENT", "call_task", "map_task", "relink", "stream_task", "submit_task"]

PENDING_STATE = Propose(PENDING, "Pending")

_LARGE = 1000
"""Arguments with more items than this are known by their type and length only, where no value is stored that depends on them."""

_SHORT = 12
"""Bytes of inputs that are not worth hashing."""

_provenance = msgspec.msgpack.Encoder(order="deterministic", enc_hook=provenance).encode


# ---------------------------------------------------------------------- what a task's options mean


def signature_of(owner: str, fn: Callable[..., Any]) -> Signature:
    """What is known of a function's parameters."""
    from legato.sdk.parameters import Signature  # noqa: PLC0415 start-up time: it needs `inspect`, which a flow without parameters does not

    return Signature(owner, fn)


class Compiled:
    """A task's options, made ready once for many calls."""

    def __init__(self, task: Definition[Any, Any]) -> None:
        options = task.options
        self.task = task
        self.key = task.key
        self.tags = tuple(options.get("tags") or ())
        self.run_name = options.get("task_run_name")
        self.explicit_key = options.get("key")
        self.trigger = _trigger(options.get("trigger"), task.name)
        self.hooks = hooks_of(options)
        if options.get("on_commit") or options.get("on_rollback"):
            from legato.sdk.transactions import with_staging  # noqa: PLC0415 start-up time: wanted by flows with transactions

            self.hooks = with_staging(self.hooks)
        self.caching = _caching(task, self.key)
        self.log_prints = options.get("log_prints")
        self.persist = options.get("persist_result")
        self.policy = policy_of(options, persist=bool(self.persist) or self.caching is not None, gated=self.caching is not None)
        self.must_settle = self.policy.gated or self.trigger is not all_succeeded
        self._persisting: Policy | None = None

    def policy_in(self, flow: FlowShell) -> Policy:
        """The policy within a flow, which may want all results stored."""
        if self.persist is None and flow.policy.persist and not self.policy.persist:
            if self._persisting is None:
                self._persisting = policy_of(self.task.options, persist=True, gated=self.policy.gated)
            return self._persisting
        return self.policy

    @functools.cached_property
    def signature(self) -> Signature:
        return signature_of(f"task '{self.task.name}'", self.task.fn)

    @functools.cached_property
    def place(self) -> str:
        """Where calls from a flow's own code stand."""
        return _digest(f"/{self.key}".encode())

    def code(self) -> Mapping[str, str]:
        """The functions the task is made of, with a hash each."""
        return self._code_of(self.task.fn)

    @functools.cached_property
    def _code_of(self) -> Callable[[Any], Mapping[str, str]]:
        from legato.sdk.code import code_of  # noqa: PLC0415 start-up time: wanted by tasks whose values are stored

        return code_of

    def prepare_cache(self, shell: TaskShell) -> None:
        """Put on a shell, whose arguments are there, what its start asks of the cache."""
        if self.caching is not None:
            self.caching.prepare(shell, lambda: self.signature.bind(tuple(shell.args), shell.kwargs))

    def name_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The name of a new run, from the task's template or function."""
        assert self.run_name is not None, "without one, runs are numbered"
        if callable(self.run_name):
            return str(self.run_name())
        try:
            return str(self.run_name.format(**{"task_name": self.task.name, **self.signature.bind(tuple(args), kwargs)}))
        except (KeyError, IndexError, AttributeError) as error:
            raise UsageError(
                f"task_run_name {self.run_name!r} of task '{self.task.name}' cannot be filled: {error}",
                hint="it may name the task's parameters, and task_name",
            ) from None


def _caching(task: Definition[Any, Any], key: str) -> Caching | None:
    """A task's cache options, None: it is not cached."""
    if task.options.get("cache_policy") is None and task.options.get("cache_key_fn") is None:
        return None
    from legato.sdk.caching import Caching  # noqa: PLC0415 start-up time: most tasks are not cached

    return Caching(task, key, refresh=current_settings().refresh_cache) or None


def policy_of(options: Mapping[str, Any], *, persist: bool, gated: bool = False) -> Policy:
    """What the scripts must know, from a flow's or task's options."""
    delay = options.get("retry_delay_seconds", 0)
    retry = RetryPolicy(
        options.get("retries", 0), tuple(delay) if isinstance(delay, list) else delay, options.get("retry_jitter_factor", 0)
    )
    timeout = options.get("timeout_seconds")
    limit = None if timeout is None else float(timeout)
    return Policy(retry, options.get("retry_condition_fn"), persist, gated, limit, serializers.chosen(options.get("result_serializer")))


def _trigger(given: Any, name: str) -> Callable[..., bool]:
    if given is None or callable(given):
        return given or all_succeeded
    if given not in TRIGGERS:
        raise UsageError(f"task '{name}' has trigger={given!r}", hint=f"give a function, or one of {', '.join(TRIGGERS)}")
    return TRIGGERS[given]


def compiled_task(task: Definition[Any, Any]) -> Compiled:
    """The task's options, made ready."""
    compiled: Compiled | None = task.compiled
    if compiled is None:
        compiled = task.compiled = Compiled(task)
    return compiled


Submit: TypeAlias = Callable[[TaskShell, Definition[Any, Any], Arguments], Future[Any]]


# ---------------------------------------------------------------------- shells of task runs


def task_shell(task: Definition[Any, Any], parent: Shell, arguments: Arguments) -> TaskShell:
    """The shell of a new task run."""
    compiled: Compiled = task.compiled or compiled_task(task)
    flow = parent.flow
    policy = compiled.policy_in(flow) if flow.policy.persist else compiled.policy
    shell = TaskShell(
        flow,
        new_id(),
        f"{task.name}-{flow.number_of(task.name)}" if compiled.run_name is None else compiled.name_of(arguments.args, arguments.kwargs),
        policy,
        task.fn,
        arguments.args,
        arguments.kwargs,
        key=compiled.key,
        tags=with_scope_tags(compiled.tags),
        upstream=tuple(arguments.upstream) if arguments.upstream else (),
    )
    shell.definition = task
    if (scope := TAGS.get()) is not None:
        shell.scope_tags = scope
    if compiled.hooks is not None:
        shell.hooks = compiled.hooks
    if parent is not flow:
        shell.parent_task_id = parent.run_id
        crashing.reached("task.nested")
    _identify(shell, parent, compiled, arguments)
    if compiled.log_prints is not None:
        shell.log_prints = compiled.log_prints
    if shell.log_prints:
        from legato.sdk.logging import patch_print  # noqa: PLC0415 start-up time: the logging module is wanted only by runs that log

        patch_print()
    return shell


def _identify(shell: TaskShell, parent: Shell, compiled: Compiled, arguments: Arguments) -> None:
    """Say which call of the flow this is, so that another attempt knows it again."""
    ledger = shell.flow.ledger
    is_kept = shell.policy.persist or ledger.keeps_values
    place = compiled.place if parent is shell.flow else place_in(parent, compiled.key)
    if compiled.explicit_key is not None:
        group = group_of(place, b"key" + str(compiled.explicit_key).encode())
    else:
        encoded, shell.not_reusable = _encoded(arguments, whole=is_kept)
        if shell.not_reusable and is_kept:
            return
        group = group_of(place, encoded)
    call = shell.call_id = ledger.identify(group, parent.run_id)
    if ledger.memory is not None:
        shell.below = ledger.below(call)
    if is_kept:
        shell.code = compiled.code


def place_in(parent: Shell, key: str) -> str:
    """Where calls of a task stand: what contains them, and the task."""
    path = parent.call_id.path if isinstance(parent, TaskShell) and parent.call_id is not None else ""
    return _digest(f"{path}/{key}".encode())


def group_of(place: str, encoded: bytes) -> str:
    """The group of calls at a place with these inputs; short inputs stand for themselves."""
    return f"{place}-{encoded.hex() if len(encoded) <= _SHORT else _digest(encoded)}"


def _digest(data: bytes) -> str:
    return hex_digest(data, 12)


def _encoded(arguments: Arguments, *, whole: bool) -> tuple[bytes, str]:
    """The inputs as canonical bytes, and why a stored value cannot be found again by them ("" when it can)."""
    args, kwargs = arguments.args, arguments.kwargs
    if not args and not kwargs:
        return b"", ""
    try:
        if arguments.plain:
            return _provenance(args if not kwargs else (args, kwargs)), ""
        if not whole:
            return _provenance(([_sketch(value) for value in args], {name: _sketch(value) for name, value in kwargs.items()})), ""
        return _provenance((args, kwargs)), ""
    except (TypeError, ValueError, OverflowError):
        named = [*((str(n), value) for n, value in enumerate(args)), *kwargs.items()]
        marks = [(name, type(value).__qualname__) for name, value in named]
        return _provenance(marks), "" if not whole else _unhashable(named)


def encoded_parameters(parameters: Mapping[str, Any]) -> bytes:
    """A flow's parameters as canonical bytes; those that have no canonical form by their types."""
    try:
        return _provenance(parameters)
    except (TypeError, ValueError, OverflowError):
        return _provenance([(name, type(value).__qualname__) for name, value in parameters.items()])


def _sketch(value: Any) -> Any:
    """A large value by its type and length."""
    if type(value) in (str, bytes, list, tuple, dict, set) and len(value) > _LARGE:
        return (type(value).__name__, len(value))
    return value


def _unhashable(named: Sequence[tuple[str, Any]]) -> str:
    for name, value in named:
        try:
            _provenance(value)
        except (TypeError, ValueError, OverflowError):
            return f"not reusable: argument {name} of type {type(value).__qualname__} has no stable hash; give the task a key"
    return "not reusable: its arguments have no stable hash; give the task a key"


def make_ready(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> None:
    """Put values in place of futures, and find the cache key. What keeps the task from running is recorded before it is raised."""
    compiled = compiled_task(task)
    try:
        shell.args, shell.kwargs = arguments.settled(compiled.trigger)
        if shell.call_id is not None and arguments.futures and (shell.policy.persist or shell.flow.keeps_values):
            shell.inputs = _content(shell)
        compiled.prepare_cache(shell)
    except Skip as skip:
        if shell.seq == 0:
            shell.perform(PENDING_STATE)
        shell.perform(Propose(COMPLETED, "Skipped", str(skip)))
        crashing.reached("task.skipped")
        raise
    except Exception as exc:
        if shell.seq == 0:
            shell.perform(PENDING_STATE)
        name = "UpstreamFailed" if isinstance(exc, UpstreamFailed) else "Failed"
        said = str(exc).split("\n", 1)[0]
        if not isinstance(exc, LegatoError):  # a trigger, a key function or a __legato_hash__ of the user's raised it
            said = f"before it began: {type(exc).__name__}: {said}"
        shell.perform(Propose(FAILED, name, said, error=exc))
        raise


def _content(shell: TaskShell) -> str:
    """A hash of what the futures among the inputs have come to; a type's name where it has none, which then never equals."""
    try:
        return _digest(_provenance((shell.args, shell.kwargs)))
    except (TypeError, ValueError, OverflowError):
        return f"unhashable {shell.run_id}"


def taken_out(kwargs: dict[str, Any]) -> tuple[Any, bool]:
    """The call's own options among the keyword arguments: wait_for and return_state."""
    return kwargs.pop("wait_for", None), kwargs.pop("return_state", False)


# ---------------------------------------------------------------------- calling


def call_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a sync task here and now."""
    region = leave_user_code(parent)
    try:
        if parent.flow.interrupted:
            hold(parent)
        wait_for, return_state = taken_out(kwargs) if kwargs else (None, False)
        arguments = Arguments(parent.flow, args, kwargs)
        if wait_for is not None:
            arguments.wait_for(wait_for)
        shell = task_shell(task, parent, arguments)
        shell.outer = region
        if return_state:
            return state_of(shell, lambda: run_here(shell, task, arguments))
        return run_here(shell, task, arguments)
    finally:
        enter_user_code(region)


def hold(parent: Shell) -> None:
    """The flow is to pause or to unwind: wait here, or raise."""
    from legato.sdk import pauses  # noqa: PLC0415 start-up time: wanted by flows that pause

    pauses.hold(parent)


def run_here(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Any:
    """Drive a task run to its end on this thread."""
    try:
        if arguments.futures or arguments.wrapped or task.compiled.must_settle:
            make_ready(shell, task, arguments)
        return drive(run_task(shell.policy, recalls=shell.flow.ledger.memory is not None), shell)
    except Skip:
        return None


def stream_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
    """Run a generator task: a generator that hands on its items. Like the undecorated one it begins with its first item."""
    wait_for, _ = taken_out(kwargs)
    arguments = Arguments(parent.flow, args, kwargs)
    arguments.wait_for(wait_for)
    shell = task_shell(task, parent, arguments)
    if arguments.futures or arguments.wrapped or compiled_task(task).must_settle:
        try:
            make_ready(shell, task, arguments)
        except Skip:
            return None
    return (yield from drive_stream(run_stream(shell.policy, "task"), shell))


# ---------------------------------------------------------------------- submitting


def submit_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Hand a sync task to the flow's task runner."""
    return submit_with(submit_to_runner, task, parent, args, kwargs)


def submit_with(submit: Submit, task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Make a task run's shell, and have `submit` start it; returns the future, or the state if the caller wants that."""
    region = leave_user_code(parent)
    try:
        if parent.flow.interrupted:
            hold(parent)
        wait_for, return_state = taken_out(kwargs) if kwargs else (None, False)
        arguments = Arguments(parent.flow, args, kwargs)
        if wait_for is not None:
            arguments.wait_for(wait_for)
        shell = task_shell(task, parent, arguments)
        if task.makes is not Kind.VALUE:
            shell.fn = collected(task)
        shell.perform(PENDING_STATE)
        future = submit(shell, task, arguments)
    finally:
        enter_user_code(region)
    if not return_state:
        return future
    future.wait()
    return state_of(shell, future.result)


def collected(definition: Definition[Any, Any]) -> Callable[..., Any]:
    """A generator function, as one that gives the list of its items: what submitting or deploying it comes to."""
    return _Listed(definition.fn) if definition.makes is Kind.ITEMS else _AsyncListed(definition.fn)


class _Listed:
    """Calls a generator function and gives the list of its items. A class, so that it can be sent to another process."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return list(self.fn(*args, **kwargs))


class _AsyncListed(_Listed):
    """The same of an async generator function."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return [item async for item in self.fn(*args, **kwargs)]


def submit_to_runner(shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Future[Any]:
    """Queue a task run at the flow's runner; one with a `call` of its own has the function run elsewhere."""
    flow = shell.flow
    shell.elsewhere = getattr(flow.runner, "call", None)
    if shell.policy.timeout_s is not None:
        shell.apart = getattr(flow.runner, "call_apart", None)
    future: Future[Any] = Future(shell.run_id, shell.name, lambda: _run_submitted(future, shell, task, arguments))
    future.call = shell.call_id.path if shell.call_id is not None else ""
    future.context = contextvars.copy_context()
    future.waits_for = arguments.futures
    flow.opened(future, shell)
    when_all_ended(arguments.futures, lambda: flow.runner.submit(future))
    return future


def _run_submitted(future: Future[Any], shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> Any:
    try:
        return run_here(shell, task, arguments)
    except Exception as exc:
        relink(exc)
        raise
    finally:
        future.ended_as = shell.state


def map_task(task: Definition[Any, Any], parent: Shell, submit: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Submit a task once for each element of its iterable arguments. Over a future: once it has told what its elements are."""
    wait_for, return_state = taken_out(kwargs)
    named: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    sources = [value for value in named.values() if isinstance(value, Future)]
    if not any(_is_mapped(value) for value in named.values()):
        raise UsageError(f"task '{task.name}'.map(...) was given nothing to map over", hint="give at least one list, or use submit")
    before = [*([wait_for] if isinstance(wait_for, (Future, AllowFailure)) else wait_for or ()), *sources]

    def submit_each() -> FutureList[Any]:
        return FutureList(_each(task, submit, named, len(args), before))

    if not sources or all(source.done() and source.failure is None for source in sources):
        futures: Any = submit_each()
    else:
        futures = _later(task, parent, sources, submit_each)
    return [_state_of_future(future) for future in futures] if return_state else futures


def _state_of_future(future: Future[Any]) -> RunState[Any]:
    exc = future.exception()
    return RunState(future.ended_as, future.run_id, None if exc is not None else future.result(), exc)


def _later(
    task: Definition[Any, Any], parent: Shell, sources: Sequence[Future[Any]], submit_each: Callable[[], FutureList[Any]]
) -> DeferredList[Any]:
    later: DeferredList[Any] = DeferredList(sources[0].run_id, f"{task.name}.map({sources[0].name})")
    later.call = f"{task.name}({','.join(source.call for source in sources)})"
    later.waits_for = sources
    parent.flow.opened(later, None)
    context = contextvars.copy_context()

    def expand() -> None:
        failed = next((source for source in sources if source.failure is not None), None)
        if failed is not None:
            later.give_up(upstream_failed(failed))
            return
        try:
            later.expand(context.run(submit_each))
        except BaseException as exc:  # noqa: BLE001 handed to whoever asks for the list
            later.give_up(exc)

    when_all_ended(sources, expand)
    return later


def _each(
    task: Definition[Any, Any], submit: Callable[..., Any], named: Mapping[Any, Any], positional: int, wait_for: Sequence[Any]
) -> Generator[Future[Any], None, None]:
    mapped = {name: list(value.result() if isinstance(value, Future) else value) for name, value in named.items() if _is_mapped(value)}
    lengths = {len(values) for values in mapped.values()}
    if len(lengths) > 1:
        given = ", ".join(f"{name}: {len(values)}" for name, values in mapped.items())
        raise UsageError(
            f"task '{task.name}'.map(...) was given lists of different lengths ({given})", hint="wrap constants in unmapped(...)"
        )
    whole = {name: _whole(value) for name, value in named.items() if name not in mapped}
    extra = {"wait_for": wait_for} if wait_for else {}
    for i in range(lengths.pop()):
        one = {name: mapped[name][i] if name in mapped else whole[name] for name in named}
        keyword = {name: value for name, value in one.items() if not isinstance(name, int)}
        yield submit(*[one[n] for n in range(positional)], **keyword, **extra)


def _is_mapped(value: Any) -> bool:
    return isinstance(value, Future) or (
        hasattr(value, "__iter__") and not isinstance(value, (str, bytes, dict, Unmapped, AllowFailure, Quote))
    )


def _whole(value: Any) -> Any:
    return value.value if isinstance(value, Unmapped) else value
