"""States as values: what `return_state=True` gives, and what a flow or task may return to say how it ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar, overload

from legato.core.errors import RunCancelled, RunCrashed, RunFailure, UsageError
from legato.core.states import FINAL, NAMES, State, StateType
from legato.engine.shell import Shell
from legato.engine.tracebacks import relink
from legato.system import new_id, now

T = TypeVar("T")


class _Made:
    any = False


made = _Made()
"""`any`: whether there is, or ever was, a state as a value in this process. If not, what code returns need not be searched for them."""


class RunState(Generic[T]):
    """The state of a run, as a value. `type` is what programs branch on, `name` and `message` are for people.

    `data` is the run's value, or the exception that ended it; `timestamp` is when the run entered the state (UTC); `run_id` is "" for a state
    that code has made and no run has entered. Make one with `Completed(…)`, `Failed(…)` and the like.
    """

    __slots__ = ("data", "id", "message", "name", "run_id", "timestamp", "type")

    def __init__(
        self,
        type: StateType | str,
        name: str = "",
        message: str = "",
        *,
        data: Any = None,
        run_id: str = "",
        timestamp: datetime | None = None,
        id: str = "",
    ) -> None:
        made.any = True
        self.type = _type_of(type)
        self.name = _name_of(self.type, name)
        self.message = message
        self.data = data
        self.run_id = run_id
        self.timestamp = timestamp or now()
        self.id = id or new_id()

    @overload
    def result(self, *, raise_on_failure: Literal[True] = True) -> T: ...
    @overload
    def result(self, *, raise_on_failure: bool) -> T | BaseException: ...
    def result(self, *, raise_on_failure: bool = True) -> Any:
        """The value; raises what the run raised, or returns that with `raise_on_failure=False`. A run that has not ended has none: None."""
        exc = self.exception()
        if exc is None:
            return self.data
        if not raise_on_failure:
            return exc
        try:
            raise exc
        except BaseException as raised:
            relink(raised)
            raise

    def exception(self) -> BaseException | None:
        """What ended the run; None for one that completed, or has not ended."""
        if self.type not in FINAL or self.type is StateType.COMPLETED:
            return None
        if isinstance(self.data, BaseException):
            return self.data
        if isinstance(self.data, RunState):
            return self.data.exception()
        kind = {StateType.CANCELLED: RunCancelled, StateType.CRASHED: RunCrashed}.get(self.type, RunFailure)
        return kind(self.message or f"the run is {self.name}")

    def is_scheduled(self) -> bool:
        return self.type is StateType.SCHEDULED

    def is_pending(self) -> bool:
        return self.type is StateType.PENDING

    def is_running(self) -> bool:
        return self.type is StateType.RUNNING

    def is_paused(self) -> bool:
        return self.type is StateType.PAUSED

    def is_completed(self) -> bool:
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        return self.type is StateType.FAILED

    def is_crashed(self) -> bool:
        return self.type is StateType.CRASHED

    def is_cancelled(self) -> bool:
        return self.type is StateType.CANCELLED

    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.type in FINAL

    def __repr__(self) -> str:
        return f"{self.name}({self.message!r})"

    def __eq__(self, other: object) -> bool:
        """Equal are states that say the same; when, and of which run, does not count."""
        if not isinstance(other, RunState):
            return NotImplemented
        return (self.type, self.name, self.message) == (other.type, other.name, other.message) and (
            self.data is other.data or bool(self.data == other.data)
        )

    def __hash__(self) -> int:
        return hash((self.type, self.name, self.message))


def _type_of(given: StateType | str) -> StateType:
    try:
        return StateType(given.lower())
    except (ValueError, AttributeError):
        raise UsageError(f"no state type {given!r}", hint=f"there are {', '.join(StateType)}") from None


def _name_of(type_: StateType, name: str) -> str:
    if name and name not in NAMES[type_]:
        raise UsageError(
            f"a {type_} state cannot be called {name!r}", hint=f"it may be called {', '.join(NAMES[type_])}; say more in message="
        )
    return name or NAMES[type_][0]


def Scheduled(message: str = "", *, name: str = "", data: Any = None) -> RunState[Any]:  # noqa: N802 it makes what it is called
    """A state of a run that waits for its time."""
    return RunState(StateType.SCHEDULED, name, message, data=data)


def Pending(message: str = "", *, name: str = "", data: Any = None) -> RunState[Any]:  # noqa: N802 it makes what it is called
    """A state of a run that is about to begin."""
    return RunState(StateType.PENDING, name, message, data=data)


def Running(message: str = "", *, name: str = "", data: Any = None) -> RunState[Any]:  # noqa: N802 it makes what it is called
    """A state of a run that is under way."""
    return RunState(StateType.RUNNING, name, message, data=data)


def Paused(message: str = "", *, name: str = "", data: Any = None) -> RunState[Any]:  # noqa: N802 it makes what it is called
    """A state of a run that waits for a person."""
    return RunState(StateType.PAUSED, name, message, data=data)


def Completed(message: str = "", *, name: str = "", data: Any = None) -> RunState[Any]:  # noqa: N802 it makes what it is called
    """Return it from a flow or task: the run is completed, with this message, and `data` is its value."""
    return RunState(StateType.COMPLETED, name, message, data=data)


def Failed(message: str = "", *, name: str = "", data: Any = None) -> RunState[Any]:  # noqa: N802 it makes what it is called
    """Return it from a flow or task: the run has failed, with this message. `data` may be the exception to raise; else it is `RunFailure`."""
    return RunState(StateType.FAILED, name, message, data=data)


def Crashed(message: str = "", *, name: str = "", data: Any = None) -> RunState[Any]:  # noqa: N802 it makes what it is called
    """Return it from a flow or task: the run has crashed, with this message."""
    return RunState(StateType.CRASHED, name, message, data=data)


def Cancelled(message: str = "", *, name: str = "", data: Any = None) -> RunState[Any]:  # noqa: N802 it makes what it is called
    """Return it from a flow or task: the run is cancelled, with this message."""
    return RunState(StateType.CANCELLED, name, message, data=data)


def outcome(shell: Shell, *, value: Any = None, exc: BaseException | None = None) -> RunState[Any]:
    """How a run has ended, as a value: with `value`, or by `exc`."""
    return ended_as(shell.state, shell.run_id, value, exc or shell.ended_by)


def ended_as(state: State | None, run_id: str, value: Any, exc: BaseException | None) -> RunState[Any]:
    """A recorded state as a value. A run that ended by an exception before its state was known counts as failed."""
    if state is None or (exc is not None and state.type not in FINAL):
        return RunState(StateType.FAILED, "", str(exc or ""), data=exc if exc is not None else value, run_id=run_id)
    return RunState(state.type, state.name, state.message, data=exc if exc is not None else value, run_id=run_id, timestamp=state.at)


def state_of(shell: Shell, run: Callable[[], Any]) -> Any:
    """How a run ended, with its failure as a value: as its definition puts it."""
    try:
        value = run()
    except Exception as exc:  # noqa: BLE001 it is what the caller asked to have as a value
        relink(exc)
        return shell.definition.outcome(shell, exc=exc)
    return shell.definition.outcome(shell, value=value)
