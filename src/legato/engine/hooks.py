"""Hooks: functions a user wants called when a run enters a state. Here is when they are called, and what becomes of their failures.

A hook is called after the state was recorded, in the run's own context, on the thread that drives the run. One that raises is called again,
ATTEMPTS times in all; then its failure is in the run's log, and changes nothing: a run's state says how the run went, not its hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from legato.core.records import LogLine
from legato.core.states import NAMES, State, StateType
from legato.engine.guarded import ask_user, described, named
from legato.logs import console

if TYPE_CHECKING:
    from legato.engine.runtime import Described

    class Hooked(Described, Protocol):
        """A run with hooks: a shell."""

        hooks: Hooks | None
        definition: Any

        @property
        def engine(self) -> Any: ...


ATTEMPTS = 3
"""How often a failing hook is called."""

Hook: TypeAlias = Callable[[Any, Any, State], Any]
Hooks: TypeAlias = Mapping[str, Sequence[Hook]]
"""State name -> the functions to call when a run enters it."""

WHEN: Mapping[str, tuple[str, ...]] = {
    "on_running": ("Running", "Retrying"),
    "on_completion": NAMES[StateType.COMPLETED],
    "on_failure": NAMES[StateType.FAILED],
    "on_retry": ("AwaitingRetry",),
    "on_crashed": NAMES[StateType.CRASHED],
    "on_cancellation": NAMES[StateType.CANCELLED],
}
"""Option -> the state names it is about."""


def hooks_of(options: Mapping[str, Any]) -> Hooks | None:
    """The hooks among a flow's or task's options, by state name; None when there are none."""
    found: dict[str, list[Hook]] = {}
    for option, names in WHEN.items():
        given = options.get(option)
        if given:
            for name in names:
                found.setdefault(name, []).extend([given] if callable(given) else given)
    return found or None


def run_hooks(shell: Hooked, state: State) -> None:
    """Call the hooks of the state that `shell`'s run has entered."""
    from legato.engine.runtime import RunView  # noqa: PLC0415 start-up time: few runs have hooks

    for hook in (shell.hooks or {}).get(state.name, ()):
        _call(shell, hook, (shell.definition, RunView(shell), state))


def _call(shell: Hooked, hook: Hook, args: tuple[Any, ...]) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            ask_user("hook", hook, *args)
        except Exception as error:  # noqa: BLE001 a hook is user code; what it raises is told, and changes nothing
            last = attempt == ATTEMPTS
            _tell(shell, hook, error, "given up" if last else f"called again ({attempt + 1} of {ATTEMPTS})", error_level=last)
        else:
            return


def _tell(shell: Hooked, hook: Hook, error: Exception, what_now: str, *, error_level: bool) -> None:
    text = f"hook {named(hook)} failed: {described(error)}; {what_now}"
    level = "ERROR" if error_level else "WARNING"
    console.line(level, f"{shell.kind} run '{shell.name}'", text)
    state = shell.state
    at = state.at if state is not None else None
    if at is not None:
        task_run_id = shell.run_id if shell is not shell.flow else None
        shell.engine.outbox.report(LogLine(shell.flow.run_id, at, console.LEVELS[level], "legato.hooks", text, task_run_id))
