"""What a flow's code calls to wait for a person: `pause_flow_run` and `suspend_flow_run`. How it is done is in `pauses`."""

# ruff: noqa: ASYNC109 the timeout of a pause is a person's time, and an answer in itself
from __future__ import annotations

from typing import Any, TypeVar, overload

from legato.core.errors import UsageError
from legato.engine.drive import drive
from legato.engine.script import run_pause
from legato.engine.shell import CURRENT, FlowShell
from legato.engine.stops import enter, leave
from legato.sdk.pauses import pause_for, said, unwinding

T = TypeVar("T")


class _Asking:
    """`pause_flow_run` and `suspend_flow_run`: call it in a flow's `def`, await its `aio` in an `async def`."""

    def __init__(self, name: str, *, suspends: bool, doc: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = doc
        self._suspends = suspends

    @overload
    def __call__(self, wait_for_input: type[T], *, prompt: str = "", timeout: float = 3600, key: str = "") -> T: ...
    @overload
    def __call__(self, wait_for_input: None = None, *, prompt: str = "", timeout: float = 3600, key: str = "") -> Any: ...
    def __call__(self, wait_for_input: Any = None, *, prompt: str = "", timeout: float = 3600, key: str = "") -> Any:
        flow = self._flow(timeout)
        if flow.definition is not None and flow.definition.is_async:
            raise UsageError(
                f"{self.__name__}() in an async flow would hold up its event loop", hint=f"write: await {self.__name__}.aio(...)"
            )
        region = leave(flow.region)
        try:
            pause = pause_for(flow, wait_for_input, prompt, key or self.__name__)
            return unwinding(flow, lambda: drive(run_pause(self._suspends, timeout, said(pause)), pause))
        finally:
            enter(region)

    @overload
    async def aio(self, wait_for_input: type[T], *, prompt: str = "", timeout: float = 3600, key: str = "") -> T: ...
    @overload
    async def aio(self, wait_for_input: None = None, *, prompt: str = "", timeout: float = 3600, key: str = "") -> Any: ...
    async def aio(self, wait_for_input: Any = None, *, prompt: str = "", timeout: float = 3600, key: str = "") -> Any:
        """The same in an async flow: await it."""
        from legato.sdk.apauses import driven  # noqa: PLC0415 start-up time: asyncio is loaded by flows that use it

        flow = self._flow(timeout)
        pause = pause_for(flow, wait_for_input, prompt, key or self.__name__)
        return await driven(pause, run_pause(self._suspends, timeout, said(pause)))

    def _flow(self, timeout: object) -> FlowShell:
        shell = CURRENT.get()
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
            raise UsageError(f"{self.__name__}(timeout={timeout!r})", hint="give seconds, from 0 up")
        if shell is None:
            raise UsageError(f"{self.__name__}() was called outside a flow", hint="call it inside a function with @flow")
        if shell is not shell.flow:
            raise UsageError(
                f"{self.__name__}() was called in task run '{shell.name}'",
                hint="call it in the flow: a task is run again as a whole, so it cannot wait in its middle",
            )
        return shell.flow


pause_flow_run = _Asking(
    "pause_flow_run",
    suspends=False,
    doc="""Wait here until a person answers, and return the answer; the process goes on living.

    `wait_for_input`: the type of the answer, a pydantic model or any annotation; without it any JSON value will do. `timeout` in seconds: then
    `PauseTimeout` is raised. `prompt` is shown to the person. `key` tells several pauses apart in code that may change.
    Answered by `legato run resume RUN`, in the web UI, or by the API. Only in flows; in an `async def`: `await pause_flow_run.aio(…)`.
    """,
)
suspend_flow_run = _Asking(
    "suspend_flow_run",
    suspends=True,
    doc="""Let the process go until a person answers; then the flow runs again from its top, and this call returns the answer.

    The flow unwinds: its `finally` blocks run. Finished tasks whose values are stored (`persist_result`) are not run again. Otherwise it is
    as `pause_flow_run`.
    """,
)
