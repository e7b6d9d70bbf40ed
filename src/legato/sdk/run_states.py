"""How a run ended, as a value: what `return_state=True` gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar, overload

from legato.core.states import FAILED, State, StateType
from legato.engine.shell import Shell
from legato.engine.tracebacks import relink
from legato.system import now

T = TypeVar("T")


class RunState(Generic[T]):
    """How a run ended. `type` is what programs branch on, `name` and `message` are for people."""

    def __init__(self, state: State | None, run_id: str, value: Any, exc: BaseException | None) -> None:
        state = state or State(FAILED, "Failed", now())
        self.type: StateType = state.type
        self.name = state.name
        self.message = state.message
        self.run_id = run_id
        self._value, self._exc = value, exc

    @overload
    def result(self, *, raise_on_failure: Literal[True] = True) -> T: ...
    @overload
    def result(self, *, raise_on_failure: bool) -> T | BaseException: ...
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


def state_of(shell: Shell, run: Callable[[], Any]) -> RunState[Any]:
    """How a run ended, with its failure as a value."""
    try:
        value = run()
    except Exception as exc:  # noqa: BLE001 it is what the caller asked to have as a value
        relink(exc)
        return RunState(shell.state, shell.run_id, None, exc)
    return RunState(shell.state, shell.run_id, value, None)
