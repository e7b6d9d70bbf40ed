"""What user code may know of the run it is in: a read-only view of a shell. `legato.runtime` and hooks hand these out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from legato.core.records import RunKind
from legato.core.states import State


class Described(Protocol):
    """What a view is of: a shell."""

    run_id: str
    name: str
    kind: RunKind
    attempt: int
    state: State | None
    tags: tuple[str, ...]

    @property
    def task_name(self) -> str: ...

    @property
    def flow(self) -> Any: ...

    def named_arguments(self) -> Mapping[str, Any]: ...


class RunView:
    """A run as its own code sees it. Attributes are read when they are asked for, so they are always the present ones."""

    __slots__ = ("_shell",)

    def __init__(self, shell: Described) -> None:
        self._shell = shell

    @property
    def id(self) -> str:
        """The run's id."""
        return self._shell.run_id

    @property
    def name(self) -> str:
        """The run's name."""
        return self._shell.name

    @property
    def kind(self) -> RunKind:
        """Whether it is a flow run or a task run."""
        return self._shell.kind

    @property
    def asked_the_cache(self) -> bool:
        """Whether its start asked the cache for a stored result."""
        return getattr(self._shell, "cache", None) is not None

    @property
    def attempt(self) -> int:
        """Which try this is, from 1 up."""
        return self._shell.attempt

    @property
    def state(self) -> State | None:
        """The state it is in."""
        return self._shell.state

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags."""
        return self._shell.tags

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The flow's parameters by name, checked; of a task run, its arguments by name."""
        return self._shell.named_arguments()

    @property
    def flow_run_id(self) -> str:
        """The id of the flow run it belongs to; a flow run's own."""
        return str(self._shell.flow.run_id)

    @property
    def flow_name(self) -> str:
        """The name of the flow it belongs to."""
        return str(self._shell.flow.flow_name)

    @property
    def task_name(self) -> str:
        """The task's name; "" for a flow run."""
        return self._shell.task_name

    @property
    def parent_run_id(self) -> str | None:
        """Of a flow run, the flow run it was called from."""
        parent = self._shell.flow.parent
        return parent.run_id if parent is not None else None

    @property
    def is_suspending(self) -> bool:
        """Whether the flow is unwinding because it was suspended: what `finally` blocks and `with` statements may want to know."""
        return bool(self._shell.flow.suspending)

    def __repr__(self) -> str:
        return f"<{self.kind} run '{self.name}'>"
