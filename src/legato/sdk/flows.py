"""Flows: decorated functions that can be run and deployed. Importing this costs next to nothing; the engine is loaded by the first call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, TypeVar, cast, overload

from legato.sdk.definitions import HOOK_OPTIONS, Definition, Kind, P, Q, R, R_co, check_options, load_engine

if TYPE_CHECKING:
    from legato.core.graph import Plan
    from legato.engine.serializers import Serializer
    from legato.sdk.definitions import Hooked
    from legato.sdk.run_states import RunState

T = TypeVar("T")


class Flow(Definition[P, R_co]):
    """A decorated function. Call it to run it, tracked, here and now; deploy it to have others run it."""

    kind = "flow"

    @staticmethod
    def default_name(function: str) -> str:
        """The function's name, with dashes."""
        return function.replace("_", "-")

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Flow[P, R_co]: ...
    @overload
    def __get__(self: Flow[Concatenate[Any, Q], R_co], instance: object, owner: type | None = None) -> Flow[Q, R_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """A flow defined in a class is a method: bind it, keeping its options."""
        return self.bound(instance, owner)

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Flow[..., Coroutine[Any, Any, T]], /, *args: Any, return_state: Literal[True], **kwargs: Any
    ) -> Coroutine[Any, Any, RunState[T]]: ...
    @overload
    def __call__(self, /, *args: Any, return_state: Literal[True], **kwargs: Any) -> RunState[R_co]: ...
    @overload
    def __call__(self, /, *args: Any, wait_for: Any, **kwargs: Any) -> R_co: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it, and return its value. Inside another flow it is a run of its own, a child of that one.

        Raises `ParameterError` before anything is recorded when the arguments do not fit its annotations.
        """
        load_engine()
        if self.wraps_async:
            return cast("R_co", self.plain()(*args, **kwargs))
        if self.makes is not Kind.VALUE or self.is_async:
            return cast("R_co", self._call_other(args, kwargs))
        from legato.sdk import flow_calls  # noqa: PLC0415 start-up time: decorating must cost nothing

        try:
            return cast("R_co", flow_calls.call_flow(self, args, kwargs))
        except BaseException as exc:
            flow_calls.relink(exc)
            raise

    def _call_other(self, args: Any, kwargs: Any) -> Any:
        """What is no plain function: a coroutine, or a generator of either kind."""
        if self.makes is Kind.ITEMS:
            from legato.sdk import flow_calls  # noqa: PLC0415 start-up time

            return flow_calls.stream_flow(self, args, kwargs)
        from legato.sdk import acalls  # noqa: PLC0415 start-up time: asyncio is loaded by flows that use it

        return acalls.stream_flow(self, args, kwargs) if self.makes is Kind.ASYNC_ITEMS else acalls.acall_flow(self, args, kwargs)

    def plan(self, /, **parameters: Any) -> Plan:
        """The graph of what a run with these parameters would call, without running anything: `print` it, or ask it `after_failure("load")`.

        It is read from the source. Parameters are taken as a run takes them: a text for a `Path` is a path. Those that are not given are not
        known, nor is what depends on them. Raises `UsageError` where there is no source (in a REPL), and for a parameter that the flow does not
        have, `ParameterError` for one that does not fit.
        """
        from legato.plan import plan_of  # noqa: PLC0415 start-up time
        from legato.sdk.planning import WORDS, as_a_run_takes_them  # noqa: PLC0415 start-up time

        return plan_of(self, as_a_run_takes_them(self, parameters), WORDS)

    def resume(self, run_id: str) -> R_co:
        """Run a run of this flow again, in this process, as a new attempt: finished tasks whose values are stored are not run again.

        `run_id`: a run's id or name. The plan of what is reused, and why the rest is not, is printed before. Raises `Conflict` while somebody
        holds the run, and `NotFound`.
        """
        from legato.sdk import resuming  # noqa: PLC0415 start-up time

        return cast("R_co", resuming.resume(self, run_id))

    @classmethod
    def check(cls, options: dict[str, Any]) -> None:
        check_options("flow", options, _FLOW_OPTIONS)


@overload
def flow(fn: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    *,
    name: str | None = None,
    description: str | None = None,
    version: str | None = None,
    tags: Iterable[str] = (),
    task_runner: Any = None,
    retries: int = 0,
    retry_delay_seconds: float | Sequence[float] | Callable[[int], float] = 0,
    retry_jitter_factor: float = 0,
    retry_condition_fn: Callable[[BaseException], bool] | None = None,
    timeout_seconds: float | None = None,
    validate_parameters: bool = True,
    persist_result: bool | None = None,
    result_serializer: str | Serializer | None = None,
    log_prints: bool | None = None,
    flow_run_name: str | Callable[[], str] | None = None,
    on_running: Hooked = None,
    on_completion: Hooked = None,
    on_failure: Hooked = None,
    on_retry: Hooked = None,
    on_crashed: Hooked = None,
    on_cancellation: Hooked = None,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
@overload
def flow(fn: Callable[P, R], /, **options: Any) -> Flow[P, R]: ...
def flow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a flow. Its name is the function's, with dashes.

    `task_runner`: how submitted tasks are executed (default `ThreadTaskRunner()`). `persist_result`: store its tasks' values too;
    `result_serializer`: how they and its own value are stored.
    `validate_parameters`: check and coerce arguments by their annotations. `flow_run_name`: a template such as "train-{month}", or a function.
    Retries, timeout and hooks are as for `task`. `log_prints`: `print` goes to the run's log; left out, a flow does as the one that calls it.
    Raises `UsageError` for an option that does not exist, or a value that makes no sense.
    """
    Flow.check(options)
    if fn is None:
        return lambda fn: flow(fn, **options)
    return Flow(fn, **options)


_FLOW_OPTIONS = frozenset(
    (
        *("name", "description", "version", "tags", "task_runner", "retries", "retry_delay_seconds", "retry_jitter_factor"),
        *(
            "retry_condition_fn",
            "timeout_seconds",
            "validate_parameters",
            "persist_result",
            "result_serializer",
            "log_prints",
            "flow_run_name",
        ),
        *HOOK_OPTIONS,
    )
)
