"""What a returned value makes of a run: futures in it stand for what they come to, and states for themselves.

A run that returns a failed state, or a future of a task that failed, has failed; one that returns a completed state is completed with that
state's message and value. A submitted task that failed, and whose failure nobody has asked about, fails its flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from legato.core.errors import UpstreamFailed, UsageError
from legato.core.states import COMPLETED, FAILED, StateType
from legato.engine import futures
from legato.engine.futures import Future
from legato.engine.guarded import described
from legato.engine.script import Ending
from legato.sdk import run_states
from legato.sdk.dependencies import NOTHING, PLAIN, Held, futures_in, resolved
from legato.sdk.run_states import RunState

_GOOD = (StateType.COMPLETED,)


def returned_futures(value: Any) -> Sequence[Future[Any]]:
    """The futures in what a flow or task has returned."""
    return _held(value).futures


def conclude(value: Any, unseen: Sequence[str]) -> Ending | None:
    """How a run ends that has returned `value`; None: it is completed with it. Waits for the futures in it.

    `unseen`: what to say of submitted tasks that failed without anybody having asked.
    """
    held = _held(value)
    for future in held.futures:
        future.wait()
        future.seen = True
    failed = next((future for future in held.futures if future.failure is not None and id(future) not in held.tolerated), None)
    if failed is not None and failed.failure is not None:
        state = failed.ended_as
        type_, name = (state.type, state.name) if state is not None and state.type is not COMPLETED else (FAILED, "Failed")
        return Ending(type_, name, described(failed.failure), error=failed.failure)
    if (bad := next((state for state in _states_in(value) if state.type not in _GOOD), None)) is not None:
        return _of_state(bad, value)
    if unseen:
        return Ending(
            FAILED,
            "Failed",
            error=UpstreamFailed(_said(unseen), hint="ask for each: future.result(), or future.exception() where it may fail"),
        )
    if isinstance(value, RunState):
        return Ending(COMPLETED, value.name, value.message, value.result())
    if held is NOTHING:
        return None
    return Ending(COMPLETED, "Completed", value=resolved(value, held, lambda future, _: future.result(raise_on_failure=False)))


def _held(value: Any) -> Held:
    if not futures.made.any or type(value) in PLAIN:
        return NOTHING
    return futures_in("the returned value", value, strict=False)


def _states_in(value: Any) -> list[RunState[Any]]:
    """A state, or the states that stand in a list, tuple, set or dict."""
    if not run_states.made.any:
        return []
    if isinstance(value, RunState):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple, set, frozenset)) else ()
    if not any(issubclass(kind, RunState) for kind in set(map(type, items))):
        return []
    return [item for item in items if isinstance(item, RunState)]


def _of_state(state: RunState[Any], value: Any) -> Ending:
    """A state that the code has made itself is how it ended; another run's, handed on, is a value like any other to whoever called."""
    error = state.exception()
    if error is None:
        error = UsageError(
            f"the state {state!r} was returned, and is none that a run can end in",
            hint="return Completed(...), Failed(...) or Cancelled(...)",
        )
        return Ending(FAILED, "Failed", error=error)
    return Ending(state.type, state.name, state.message or described(error), value, error, is_raised=not state.run_id)


def _said(unseen: Sequence[str]) -> str:
    shown = ", ".join(unseen[:3])
    more = f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
    return f"{len(unseen)} submitted task{'s' if len(unseen) != 1 else ''} failed and nobody asked for the result: {shown}{more}"
