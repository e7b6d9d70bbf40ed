"""Where the code is: `runtime.flow_run` and `runtime.task_run`, None outside of one.

from legato import runtime

runtime.flow_run.id, runtime.flow_run.parameters["month"], runtime.task_run.attempt
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from legato.engine.runtime import RunView
from legato.engine.shell import CURRENT

flow_run: RunView | None
task_run: RunView | None


if not TYPE_CHECKING:  # or type checkers would believe in every name

    def __getattr__(name: str) -> Any:
        shell = CURRENT.get()
        if name == "flow_run":
            return RunView(shell.flow) if shell is not None else None
        if name == "task_run":
            return RunView(shell) if shell is not None and shell is not shell.flow else None
        raise AttributeError(f"legato.runtime has no attribute '{name}'; it has flow_run and task_run")


def __dir__() -> list[str]:
    return ["flow_run", "task_run"]
