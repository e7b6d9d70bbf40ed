"""Tasks: decorated functions that are steps of a flow.

Importing this costs next to nothing; the engine is loaded by the first call (see `calls`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, TypeVar, cast, overload

from legato.sdk.definitions import HOOK_OPTIONS, Definition, Kind, P, Q, R, R_co, check_options, load_engine

if TYPE_CHECKING:
    from datetime import timedelta

    from legato.core.caching import CachePolicy
    from legato.core.triggers import Trigger
    from legato.engine.futures import Future, FutureList
    from legato.engine.serializers import Serializer
    from legato.engine.shell import Shell
    from legato.sdk.definitions import Hooked
    from legato.sdk.run_states import RunState
    from legato.sdk.transactions import Transaction, TransactionHook

T = TypeVar("T")


class _Loaded:
    """The module that calls tasks, once the first call has loaded it: an import statement in each call costs half a microsecond."""

    calls: Any = None


_loaded = _Loaded()


def _load_calls() -> Any:
    load_engine()
    from legato.sdk import calls  # noqa: PLC0415 start-up time: decorating must cost nothing

    _loaded.calls = calls
    return calls


class Task(Definition[P, R_co]):
    """A decorated function. Call it for its value, `submit` it for a future, `map` it over many arguments. `fn` is the function itself."""

    kind = "task"

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Task[P, R_co]: ...
    @overload
    def __get__(self: Task[Concatenate[Any, Q], R_co], instance: object, owner: type | None = None) -> Task[Q, R_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """A task defined in a class is a method: bind it, keeping its options."""
        return self.bound(instance, owner)

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Task[..., Coroutine[Any, Any, T]], /, *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> Coroutine[Any, Any, RunState[T]]: ...
    @overload
    def __call__(self, /, *args: Any, return_state: Literal[True], **kwargs: Any) -> RunState[R_co]: ...
    @overload
    def __call__(self, /, *args: Any, wait_for: Any, **kwargs: Any) -> R_co: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it here and now, tracked, and return its value. Outside a flow it is tracked too, as a flow run of that one task."""
        calls = _loaded.calls or _load_calls()
        parent = calls.CURRENT.get()
        try:
            if parent is None or not self.is_plain or self.wraps_async:
                return cast("R_co", self._call_otherwise(parent, args, kwargs))
            return calls.call_task(self, parent, args, kwargs)
        except BaseException as exc:
            calls.relink(exc)
            raise

    def _call_otherwise(self, parent: Shell | None, args: Any, kwargs: Any) -> Any:
        """A call outside a flow, or of what is no plain function: a coroutine, or a generator of either kind."""
        from legato.sdk import calls  # noqa: PLC0415 start-up time: decorating must cost nothing

        if self.wraps_async:
            return self.plain()(*args, **kwargs)
        if parent is None:
            from legato.sdk import alone  # noqa: PLC0415 start-up time: wanted by tasks outside flows

            parent = alone.parent_here()
            if parent is None:
                return alone.called(self, args, kwargs)
        if self.is_plain:
            return calls.call_task(self, parent, args, kwargs)
        if self.makes is Kind.ITEMS:
            return calls.stream_task(self, parent, args, kwargs)
        from legato.sdk import acalls  # noqa: PLC0415 start-up time: asyncio is loaded by flows that use it

        if self.makes is Kind.ASYNC_ITEMS:
            return acalls.stream_task(self, parent, args, kwargs)
        return acalls.acall_task(self, parent, args, kwargs)

    @overload
    def submit(self: Task[..., Coroutine[Any, Any, T]], /, *args: Any, return_state: Literal[True], **kwargs: Any) -> RunState[T]: ...  # type: ignore[overload-overlap]  # the first that fits is meant
    @overload
    def submit(self, /, *args: Any, return_state: Literal[True], **kwargs: Any) -> RunState[R_co]: ...  # type: ignore[overload-overlap]  # the first that fits is meant
    @overload
    def submit(self: Task[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    @overload
    def submit(self: Task[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any) -> Future[T]: ...
    @overload
    def submit(self: Task[P, AsyncGenerator[T, Any]], /, *args: P.args, **kwargs: P.kwargs) -> Future[list[T]]: ...
    @overload
    def submit(self: Task[..., AsyncGenerator[T, Any]], /, *args: Any, **kwargs: Any) -> Future[list[T]]: ...
    @overload
    def submit(self: Task[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs) -> Future[list[T]]: ...
    @overload
    def submit(self: Task[..., AsyncIterator[T]], /, *args: Any, **kwargs: Any) -> Future[list[T]]: ...
    @overload
    def submit(self: Task[P, Generator[T, Any, Any]], /, *args: P.args, **kwargs: P.kwargs) -> Future[list[T]]: ...
    @overload
    def submit(self: Task[..., Generator[T, Any, Any]], /, *args: Any, **kwargs: Any) -> Future[list[T]]: ...
    @overload
    def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> Future[R_co]: ...
    @overload
    def submit(self, /, *args: Any, **kwargs: Any) -> Future[R_co]: ...
    def submit(self, /, *args: Any, **kwargs: Any) -> Any:
        """Hand it to the flow's task runner; returns a future at once.

        Futures among the arguments are waited for and replaced by their values. `wait_for=[…]` waits for futures without taking their values.
        """
        calls = _loaded.calls or _load_calls()
        parent = calls.CURRENT.get()
        if self.wraps_async:
            return self.plain().submit(*args, **kwargs)
        if parent is None:
            from legato.sdk import alone  # noqa: PLC0415 start-up time: wanted by tasks outside flows

            parent = alone.parent_here()
            if parent is None:
                return alone.submit(self, args, kwargs)
        if self.is_async:
            from legato.sdk import acalls  # noqa: PLC0415 start-up time: asyncio is loaded by flows that use it

            return acalls.submit_task(self, parent, args, kwargs)
        return calls.submit_task(self, parent, args, kwargs)

    @overload
    def map(self: Task[..., Coroutine[Any, Any, T]], /, *args: Any, return_state: Literal[True], **kwargs: Any) -> list[RunState[T]]: ...
    @overload
    def map(self, /, *args: Any, return_state: Literal[True], **kwargs: Any) -> list[RunState[R_co]]: ...
    @overload
    def map(self: Task[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any) -> FutureList[T]: ...
    @overload
    def map(self: Task[..., AsyncGenerator[T, Any]], /, *args: Any, **kwargs: Any) -> FutureList[list[T]]: ...
    @overload
    def map(self: Task[..., AsyncIterator[T]], /, *args: Any, **kwargs: Any) -> FutureList[list[T]]: ...
    @overload
    def map(self: Task[..., Generator[T, Any, Any]], /, *args: Any, **kwargs: Any) -> FutureList[list[T]]: ...
    @overload
    def map(self, /, *args: Any, **kwargs: Any) -> FutureList[R_co]: ...
    def map(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit it once for each element of the iterable arguments, which must be equally long; returns the futures in order.

        Strings, dicts and `unmapped(…)` values are handed whole to every call. A future among the arguments is mapped over when it has told
        its elements; nothing waits for it (then what is returned is a future as well, of the list of values).
        """
        calls = _loaded.calls or _load_calls()
        parent = calls.CURRENT.get()
        if parent is None:
            from legato.sdk import alone  # noqa: PLC0415 start-up time: wanted by tasks outside flows

            parent = alone.parent_here()
            if parent is None:
                return alone.map(self, args, kwargs)
        return calls.map_task(self, parent, self.submit, args, kwargs)

    def on_commit(self, hook: TransactionHook) -> TransactionHook:
        """Decorator: call this function with the transaction when the one that the task ran in is committed."""
        return self._hook("on_commit", hook)

    def on_rollback(self, hook: TransactionHook) -> TransactionHook:
        """Decorator: call this function with the transaction when the one that the task ran in is undone. It undoes what the task did."""
        return self._hook("on_rollback", hook)

    def _hook(self, option: str, hook: TransactionHook) -> TransactionHook:
        before = self.options.get(option) or ()
        self.options = {**self.options, option: (*((before,) if callable(before) else before), hook)}
        self.compiled = None
        return hook

    @classmethod
    def check(cls, options: dict[str, Any]) -> None:
        check_options("task", options, _TASK_OPTIONS)


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] = (),
    retries: int = 0,
    retry_delay_seconds: float | Sequence[float] | Callable[[int], float] = 0,
    retry_jitter_factor: float = 0,
    retry_condition_fn: Callable[[BaseException], bool] | None = None,
    timeout_seconds: float | None = None,
    cache_policy: CachePolicy | Callable[[Any, dict[str, Any]], str | None] | None = None,
    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None,
    cache_expiration: timedelta | None = None,
    refresh_cache: bool | None = None,
    persist_result: bool | None = None,
    result_serializer: str | Serializer | None = None,
    log_prints: bool | None = None,
    task_run_name: str | Callable[[], str] | None = None,
    trigger: str | Trigger | None = None,
    key: str | None = None,
    on_running: Hooked = None,
    on_completion: Hooked = None,
    on_failure: Hooked = None,
    on_retry: Hooked = None,
    on_crashed: Hooked = None,
    on_cancellation: Hooked = None,
    on_commit: Callable[[Transaction], Any] | Sequence[Callable[[Transaction], Any]] | None = None,
    on_rollback: Callable[[Transaction], Any] | Sequence[Callable[[Transaction], Any]] | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
@overload
def task(fn: Callable[P, R], /, **options: Any) -> Task[P, R]: ...
def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a task.

    `retries`: further attempts after a failure; `retry_delay_seconds`: one number, one for each retry, or a function of the failed attempt;
    `retry_jitter_factor` f spreads delays over ±f; `retry_condition_fn(exception)` says which failures are worth a retry.
    `timeout_seconds`: for each attempt. `cache_policy`: what must be equal for a stored result to be reused, such as `INPUTS + SOURCE`, for
    `cache_expiration` at the most; `refresh_cache` runs it anyway and replaces what is stored. `cache_key_fn(context, parameters)` is the
    older spelling of a policy that is a function. `persist_result`: store the value, so that a resumed run need not make it again;
    `result_serializer`: how, by name ("json", "cloudpickle", "arrow", "compressed/json", …) or as an object.
    `log_prints`: `print` goes to the run's log. `task_run_name`: a template of its parameters such as "load-{month}", or a function.
    `trigger`: when it runs, given how those before it ended: `all_succeeded` (the default), `all_failed`, `any_failed`, `any_succeeded`,
    `all_done`, `none_failed`, by name or as a function of a list of `Upstream`. `key`: tells apart calls that cannot be told apart by their
    inputs, when a run goes on after a crash. `on_…`: a function, or several, called as fn(task, run, state) when a run enters such a state.
    Raises `UsageError` for an option that does not exist, or a value that makes no sense.
    """
    Task.check(options)
    if fn is None:
        return lambda fn: task(fn, **options)
    return Task(fn, **options)


_TASK_OPTIONS = frozenset(
    (
        *("name", "description", "tags", "retries", "retry_delay_seconds", "retry_jitter_factor", "retry_condition_fn", "timeout_seconds"),
        *("cache_policy", "cache_key_fn", "cache_expiration", "refresh_cache", "persist_result", "result_serializer"),
        *("log_prints", "task_run_name", "trigger", "key"),
        *("on_commit", "on_rollback"),
        *HOOK_OPTIONS,
    )
)
