"""Calls of tasks: from what the user wrote to a shell, a script and a driver. Loaded by the first call of a flow or task."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import count, cycle, islice, repeat, zip_longest
from typing import TYPE_CHECKING, Any

from legato import crashing
from legato.core.errors import UpstreamFailed, UsageError
from legato.core.resume import place_in
from legato.core.retry import RetryPolicy
from legato.core.states import FAILED
from legato.core.triggers import TRIGGERS, all_succeeded
from legato.engine import serializers
from legato.engine.depth import EVERY, with_room
from legato.engine.drive import drive, drive_stream
from legato.engine.futures import DeferredList, Future, FutureList, when_all_ended
from legato.engine.guarded import ask_user, described
from legato.engine.hooks import hooks_of
from legato.engine.recording import end_unbegun
from legato.engine.script import PENDING_STATE, Policy, run_stream, run_task
from legato.engine.shell import CURRENT, FlowShell, Shell, TaskShell
from legato.engine.signals import main_thread
from legato.engine.stops import called_by_user, enter, leave
from legato.engine.tracebacks import relink
from legato.engine.waiting import place_here
from legato.forking import LOADING
from legato.sdk.arguments import Arguments, upstream_failed
from legato.sdk.definitions import TAGS, Definition, Kind, lazily, with_scope_tags
from legato.sdk.dependencies import futures_in
from legato.sdk.identifying import called_on, context_of, holdings_of, identify, note_what_came, reach_of
from legato.sdk.process import current_settings
from legato.sdk.run_states import ended_as, state_of
from legato.sdk.wrappers import AllowFailure, Quote, Unmapped
from legato.system import new_id

if TYPE_CHECKING:
    from legato.sdk.caching import Caching
    from legato.sdk.parameters import Signature

__all__ = ["CURRENT", "call_task", "map_task", "relink", "stream_task", "submit_task"]

# ---------------------------------------------------------------------- what a task's options mean


def signature_of(owner: str, fn: Callable[..., Any]) -> Signature:
    """What is known of a function's parameters."""
    with LOADING:  # a fork waits for it
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
        self._constant_digest = ""
        self.must_settle = self.policy.gated or self.trigger is not all_succeeded
        self._persisting: Policy | None = None

    def policy_in(self, flow: FlowShell) -> Policy:
        """The policy within a flow, which may want all results stored."""
        if self.persist is None and flow.policy.persist and not self.policy.persist:
            if self._persisting is None:
                self._persisting = policy_of(self.task.options, persist=True, gated=self.policy.gated)
            return self._persisting
        return self.policy

    @lazily
    def signature(self) -> Signature:
        return signature_of(f"task '{self.task.name}'", self.task.fn)

    @lazily
    def place(self) -> str:
        """Where calls from a flow's own code stand."""
        return place_in("", self.key)

    @lazily
    def on(self) -> Any:
        """What the task is called on."""
        return called_on(self.task.fn)

    @lazily
    def holdings(self) -> Any:
        """What the task's code holds that its calls may change; None: nothing."""
        return holdings_of(self.task.fn)

    @lazily
    def context(self) -> Mapping[str, Any]:
        """The context variables that the task's code reads, by name."""
        return context_of(self.task.fn)

    def code(self) -> Mapping[str, str]:
        """The functions the task is made of, with a hash each."""
        return reach_of(self.task.fn).now()

    def code_digest(self) -> str:
        """One hash for them."""
        if not self._constant_digest:
            reach = reach_of(self.task.fn)
            if not reach.is_constant:
                return reach.digest()
            self._constant_digest = reach.digest()
        return self._constant_digest

    def prepare_cache(self, shell: TaskShell) -> None:
        """Put on a shell, whose arguments are there, what its start asks of the cache."""
        if self.caching is not None and shell.hands_on_items:
            shell.start_message = "not cached: it hands on its items one by one"
        elif self.caching is not None:
            self.caching.prepare(shell, lambda: self.signature.bind(tuple(shell.args), shell.kwargs))

    def name_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The name of a new run, from the task's template or function."""
        assert self.run_name is not None, "without one, runs are numbered"
        if callable(self.run_name):
            return str(ask_user(f"task_run_name of task '{self.task.name}'", self.run_name))
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


# ---------------------------------------------------------------------- shells of task runs


class Preparation:
    """What must be done before a task's call can begin: futures put into values, its trigger asked, its cache key found."""

    __slots__ = ("_arguments", "_shell", "_task")

    def __init__(self, shell: TaskShell, task: Definition[Any, Any], arguments: Arguments) -> None:
        self._shell = shell
        self._task = task
        self._arguments = arguments

    @property
    def futures(self) -> Sequence[Future[Any]]:
        return self._arguments.futures

    def finish(self) -> None:
        shell, compiled = self._shell, self._task.compiled
        shell.args, shell.kwargs = self._arguments.settled(compiled.trigger)
        if self._arguments.futures:
            note_what_came(shell, self._arguments)
        compiled.prepare_cache(shell)


def task_shell(
    task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any], *, submitted: bool = False
) -> TaskShell:
    """The shell of a new task run: the one way in which a call of a task becomes a run. Takes `wait_for` out of the keyword arguments.

    `submitted`: its caller does not wait for it there and then.
    """
    flow = parent.flow
    if flow.makers.containers:
        flow.makers.forget_idle()
    arguments = Arguments(flow.makers, args, kwargs, kwargs.pop("wait_for", None) if kwargs else None)
    compiled: Compiled = task.compiled or compiled_task(task)
    policy = compiled.policy_in(flow) if flow.policy.persist else compiled.policy
    scope = TAGS.get()
    shell = TaskShell(
        flow,
        new_id(),
        f"{task.name}-{flow.number_of(task.name)}",
        policy,
        task.fn,
        arguments.args,
        arguments.kwargs,
        key=compiled.key,
        caller=parent,
        tags=compiled.tags if scope is None else with_scope_tags(compiled.tags),
        upstream=tuple(arguments.upstream) if arguments.upstream else (),
    )
    shell.definition = task
    if scope is not None:
        shell.scope_tags = scope
    if compiled.hooks is not None:
        shell.hooks = compiled.hooks
    if parent is not flow:
        shell.parent_task_id = parent.run_id
        shell.depth = parent.depth + 1
        crashing.reached("task.nested")
    if compiled.run_name is not None:
        _name(shell, compiled)
    identify(shell, parent, compiled, arguments, submitted=submitted)
    if compiled.must_settle or arguments.needs_settling:
        shell.preparation = Preparation(shell, task, arguments)
    if compiled.log_prints is not None:
        shell.log_prints = compiled.log_prints
    if shell.log_prints:
        from legato.sdk.logging import patch_print  # noqa: PLC0415 start-up time: the logging module is wanted only by runs that log

        patch_print()
    return shell


def _name(shell: TaskShell, compiled: Compiled) -> None:
    """Give a run the name that the user chose. What keeps that from being made ends the run before it begins, and is raised."""
    try:
        shell.name = compiled.name_of(shell.args, shell.kwargs)
    except Exception as exc:
        end_unbegun(shell, exc)
        raise


# ---------------------------------------------------------------------- calling


def call_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a sync task here and now."""
    if main_thread.held_since is not None:
        called_by_user(parent.region)
    region = leave(parent.region)
    try:
        if parent.flow.interrupted:
            hold(parent)
        return_state = kwargs.pop("return_state", False) if kwargs else False
        shell = task_shell(task, parent, args, kwargs)
        shell.outer = region
        script = run_task(shell.policy, prepares=shell.preparation is not None, recalls=shell.flow.ledger.memory is not None)
        if return_state:
            return state_of(shell, lambda: drive(script, shell))
        if shell.depth % EVERY == EVERY - 1:
            return with_room(lambda: drive(script, shell))
        return drive(script, shell)
    finally:
        enter(region)


def hold(parent: Shell) -> None:
    """The flow is to pause or to unwind: wait here, or raise."""
    from legato.sdk import pauses  # noqa: PLC0415 start-up time: wanted by flows that pause

    pauses.hold(parent)


def stream_task(task: Definition[Any, Any], parent: Shell, args: Sequence[Any], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
    """Run a generator task: a generator that hands on its items. Like the undecorated one it begins with its first item."""
    shell = task_shell(task, parent, args, kwargs)
    shell.hands_on_items = True
    return (yield from drive_stream(run_stream(shell.policy, "task", prepares=shell.preparation is not None, recalls=shell.recalls), shell))


# ---------------------------------------------------------------------- submitting


def submit_task(
    task: Definition[Any, Any],
    parent: Shell,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    start: Callable[[TaskShell, Definition[Any, Any]], Future[Any]] | None = None,
) -> Any:
    """Start a task run in the background; returns its future, or, when it has ended, its state, if the caller wants that.

    `start`: how, for tasks that are not queued at the flow's runner.
    """
    if main_thread.held_since is not None:
        called_by_user(parent.region)
    region = leave(parent.region)
    try:
        if parent.flow.interrupted:
            hold(parent)
        return_state = kwargs.pop("return_state", False) if kwargs else False
        shell = task_shell(task, parent, args, kwargs, submitted=True)
        if task.makes is not Kind.VALUE:
            shell.fn = collected(task)
        shell.perform(PENDING_STATE)
        future = _started(shell, task, start or queued)
    finally:
        enter(region)
    if not return_state:
        return future
    future.wait()
    return state_of(shell, future.result)


def _started(shell: TaskShell, task: Definition[Any, Any], start: Callable[[TaskShell, Definition[Any, Any]], Future[Any]]) -> Future[Any]:
    """A task run, under way. One that the flow's task runner cannot take has ended, and so has its flow, if it lets that be raised."""
    try:
        return start(shell, task)
    except Exception as exc:
        end_unbegun(shell, exc, FAILED)
        raise


def new_future(shell: TaskShell, task: Definition[Any, Any], work: Callable[[], Any]) -> Future[Any]:
    """The future of a submitted task run."""
    future: Future[Any] = task.make_future(shell, work)
    future.sighting = shell.sighting
    if shell.preparation is not None:
        future.waits_for = shell.preparation.futures
    return future


def queued(shell: TaskShell, task: Definition[Any, Any]) -> Future[Any]:
    """Queue a task run at the flow's runner; one with a `call` of its own has the function run elsewhere."""
    flow, runner = shell.flow, shell.flow.runner
    shell.elsewhere = getattr(runner, "call", None)
    if shell.policy.timeout_s is not None:
        shell.apart = getattr(runner, "call_apart", None)
    future = new_future(shell, task, lambda: _run_submitted(future, shell))
    future.context = contextvars.copy_context()
    flow.open_tasks.opened(future, shell, shell.parent_task_id or flow.run_id)

    def hand_over() -> None:
        try:
            runner.submit(future)
        except Exception as exc:  # noqa: BLE001 a runner's: it ends the task, whoever's thread this is
            end_unbegun(shell, exc, FAILED)
            future.ended_as = shell.state
            if future.claim():
                future.fail(exc)

    when_all_ended(future.waits_for, hand_over)
    return future


def _run_submitted(future: Future[Any], shell: TaskShell) -> Any:
    shell.place = place_here()
    try:
        return drive(
            run_task(shell.policy, submitted=True, prepares=shell.preparation is not None, recalls=shell.flow.ledger.memory is not None),
            shell,
        )
    except Exception as exc:
        relink(exc)
        raise
    finally:
        future.ended_as = shell.state


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


def map_task(task: Definition[Any, Any], parent: Shell, submit: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Submit a task once for each element of its iterable arguments. Over a future: once it has told what its elements are."""
    wait_for, return_state = kwargs.pop("wait_for", None), kwargs.pop("return_state", False)
    mapping = _Mapping(task, submit, args, kwargs, wait_for)
    sources = mapping.sources
    if not sources or all(source.done() and source.failure is None for source in sources):
        futures: Any = FutureList(mapping.submitted())
    else:
        futures = _later(task, parent, sources, mapping)
    return [_state_of_future(future) for future in futures] if return_state else futures


def _state_of_future(future: Future[Any]) -> Any:
    exc = future.exception()
    return ended_as(future.ended_as, future.run_id, None if exc is not None else future.result(), exc)


def _later(task: Definition[Any, Any], parent: Shell, sources: Sequence[Future[Any]], mapping: _Mapping) -> DeferredList[Any]:
    later: DeferredList[Any] = DeferredList(sources[0].run_id, f"{task.name}.map({sources[0].name})")
    later.mapped = f"{task.name}({','.join(source.made_by for source in sources)})"
    later.waits_for = sources
    parent.flow.open_tasks.opened(later, None, parent.run_id)
    context = contextvars.copy_context()

    def expand() -> None:
        failed = next((source for source in sources if source.failure is not None and not mapping.tolerates), None)
        if failed is not None:
            later.give_up(upstream_failed(failed))
            return
        try:
            later.expand(context.run(lambda: FutureList(mapping.submitted())))
        except BaseException as exc:  # noqa: BLE001 handed to whoever asks for the list
            later.give_up(exc)

    when_all_ended(sources, expand)
    return later


class _Mapping:
    """What a task is mapped over: which arguments are taken apart, and which go whole to every call."""

    def __init__(
        self, task: Definition[Any, Any], submit: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], wait_for: Any
    ) -> None:
        self._task = task
        self._submit = submit
        self._positional = len(args)
        self._named: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        self.tolerates = False
        self.sources = [value for value in map(self._unwrapped, self._named.values()) if isinstance(value, Future)]
        self._taken_apart = [name for name, value in self._named.items() if self._is_taken_apart(name, value)]
        if not self._taken_apart:
            raise UsageError(f"task '{task.name}'.map(...) was given nothing to map over", hint="give at least one list, or use submit")
        self._wait_for = [*([] if wait_for is None else [wait_for]), *(map(AllowFailure, self.sources) if self.tolerates else self.sources)]
        if wait_for is not None:
            futures_in("wait_for", wait_for)

    def _unwrapped(self, value: Any) -> Any:
        if isinstance(value, AllowFailure) and (isinstance(value.value, Future) or _is_iterable(value.value)):
            self.tolerates = self.tolerates or isinstance(value.value, Future)
            return value.value
        return value

    def _is_taken_apart(self, name: Any, value: Any) -> bool:
        value = self._unwrapped(value)
        if isinstance(value, Future):
            return True
        if isinstance(value, (str, bytes, bytearray, dict, Unmapped, AllowFailure, Quote, type)) or not _is_iterable(value):
            return False
        if (why := _why_not_items(value, alone=len(self._named) == 1)) is not None:
            where = f"argument {name + 1}" if isinstance(name, int) else f"argument '{name}'"
            raise UsageError(
                f"task '{self._task.name}'.map(...) was given {why} as {where}: that is no list of things to map over",
                hint="wrap it in unmapped(...) to hand it whole to every call, or give a list: df.to_dict('records'), sorted(a_set)",
            )
        return True

    def submitted(self) -> Generator[Future[Any], None, None]:
        """Each call, submitted."""
        mapped = self._columns()
        lengths = {len(values) for values in mapped.values()}
        if len(lengths) > 1:
            given = ", ".join(f"{name}: {len(values)}" for name, values in mapped.items())
            raise UsageError(
                f"task '{self._task.name}'.map(...) was given lists of different lengths ({given})", hint="wrap constants in unmapped(...)"
            )
        whole = {name: value.value if isinstance(value, Unmapped) else value for name, value in self._named.items() if name not in mapped}
        extra = {"wait_for": self._wait_for} if self._wait_for else {}
        columns = [mapped[name] if name in mapped else repeat(whole[name]) for name in self._named]  # positional ones first
        names = [name for name in self._named if not isinstance(name, int)]
        for row in zip(*columns, strict=False):
            if names or extra:
                yield self._submit(*row[: self._positional], **dict(zip(names, row[self._positional :], strict=True)), **extra)
            else:
                yield self._submit(*row)

    def _columns(self) -> dict[Any, list[Any]]:
        """The elements of each argument that is taken apart. One without a length is read no further than the others."""
        values = {name: self._elements(self._named[name]) for name in self._taken_apart}
        known = [len(value) for value in values.values() if hasattr(value, "__len__")]
        if known:
            most = max(known)
            return {
                name: list(value if hasattr(value, "__len__") else islice(value, most + (not _is_endless(value))))
                for name, value in values.items()
            }
        columns: dict[Any, list[Any]] = {name: [] for name in values}
        for row in zip_longest(*values.values(), fillvalue=_NONE_LEFT):
            for column, item in zip(columns.values(), row, strict=True):
                if item is not _NONE_LEFT:
                    column.append(item)
            if _NONE_LEFT in row:
                break
        return columns

    def _elements(self, value: Any) -> Any:
        """What an argument is taken apart into; around the elements of `allow_failure(...)` stands the same again."""
        is_tolerated = isinstance(value, AllowFailure)
        value = self._unwrapped(value)
        if isinstance(value, DeferredList):
            value = value.futures
        elif isinstance(value, Future):
            value = value.result(raise_on_failure=not is_tolerated)
            if isinstance(value, BaseException):
                raise UpstreamFailed(f"what task '{self._task.name}' maps over is not there: {described(value)}") from value
        return [AllowFailure(item) for item in value] if is_tolerated else value


def _is_iterable(value: Any) -> bool:
    return hasattr(type(value), "__iter__")


def _is_endless(value: Any) -> bool:
    return isinstance(value, (count, cycle)) or (isinstance(value, repeat) and "," not in repr(value))


_NONE_LEFT = object()


def _why_not_items(value: Any, *, alone: bool) -> str | None:
    """What an iterable is whose items are no elements to map over (or, unless it stands alone, to pair with others'); None for lists and such."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if any(hasattr(kind, mark) for mark in ("__pydantic_fields__", "__dataclass_fields__", "__struct_fields__", "__attrs_attrs__")):
        return f"a {name}, which has fields,"
    if hasattr(value, "columns") and hasattr(value, "dtypes"):
        return f"a {name}, which has columns,"
    if getattr(value, "ndim", 1) == 0:
        return f"a {name} without dimensions"
    if alone and _is_endless(value):
        return f"an {name}, which never ends,"
    if not alone and isinstance(value, (set, frozenset)):
        return f"a {name}, whose items have no order,"
    if not alone and hasattr(kind, "_make"):
        return f"a {name}, which has fields,"
    return None
