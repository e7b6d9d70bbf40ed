"""States as values: what a flow or task returns decides how its run ended, and a state tells all there is to know of one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from legato import Cancelled, Completed, Crashed, Failed, Pending, Running, RunState, flow, task
from legato.core.errors import RunCancelled, RunCrashed, RunFailure, UpstreamFailed, UsageError
from legato.core.states import NAMES, StateType
from legato.testing import Harness


@task
def good(x: int = 1) -> int:
    return x


@task
def bad() -> int:
    raise ValueError("no luck")


def state(t: Any) -> Any:
    return t(return_state=True)


RETURNED: dict[str, tuple[Callable[[], Any], str, Any]] = {
    # what the flow returns, the name of its state, and its value or the error
    "nothing": (lambda: None, "Completed", None),
    "a value": (lambda: [1], "Completed", [1]),
    "a completed state": (lambda: state(good), "Completed", 1),
    "a failed state": (lambda: state(bad), "Failed", ValueError),
    "a list of states, one failed": (lambda: [state(good), state(bad)], "Failed", ValueError),
    "a tuple of states, one failed": (lambda: (state(good), state(bad)), "Failed", ValueError),
    "a dict of states, one failed": (lambda: {"a": state(bad)}, "Failed", ValueError),
    "states, all completed": (lambda: [state(good)], "Completed", None),
    "a future": (lambda: good.submit(2), "Completed", 2),
    "a future that fails": (bad.submit, "Failed", ValueError),
    "what map gives": (lambda: good.map([1, 2]), "Completed", [1, 2]),
    "what map gives over a future": (lambda: good.map(good_list.submit()), "Completed", [1, 2]),
    "futures in a dict in a tuple": (lambda: ({"a": good.submit(3)}, 4), "Completed", ({"a": 3}, 4)),
    "futures of which one fails": (lambda: {"a": [good.submit(3), bad.submit()]}, "Failed", ValueError),
    "Completed": (lambda: Completed("all done", data=5), "Completed", 5),
    "Completed, skipped": (lambda: Completed("nothing new", name="Skipped"), "Skipped", None),
    "Failed": (lambda: Failed("too few rows"), "Failed", RunFailure),
    "Failed, timed out": (lambda: Failed("too late", name="TimedOut"), "TimedOut", RunFailure),
    "Failed, with an error": (lambda: Failed(data=KeyError("k")), "Failed", KeyError),
    "Crashed": (lambda: Crashed("the machine burns"), "Crashed", RunCrashed),
    "Cancelled": (lambda: Cancelled("not today"), "Cancelled", RunCancelled),
    "Running": (Running, "Failed", UsageError),
    "an unseen failure": (lambda: (bad.submit(), None)[1], "Failed", UpstreamFailed),
    "an unseen failure beside a completed state": (lambda: (bad.submit(), state(good))[1], "Failed", UpstreamFailed),
}


@task
def good_list() -> list[int]:
    return [1, 2]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("what", RETURNED)
def test_what_a_flow_returns_decides_how_it_ended(h: Harness, what: str, is_async: bool) -> None:
    make, name, expected = RETURNED[what]

    @flow
    def f() -> Any:
        return make()

    @flow
    async def af() -> Any:
        return make()

    ended: Any = asyncio.run(af(return_state=True)) if is_async else f(return_state=True)  # type: ignore[call-overload, call-arg]

    [run] = h.flow_runs()
    assert (ended.name, run.state.name) == (name, name)
    assert ended.run_id == run.id
    if isinstance(expected, type):
        with pytest.raises(expected):
            ended.result()
        assert isinstance(ended.result(raise_on_failure=False), expected)
        assert run.error is not None
    elif expected is not None:
        assert ended.result() == expected


@pytest.mark.parametrize("way", ["direct", "submitted"])
@pytest.mark.parametrize("what", ["a future", "a future that fails", "Completed", "Completed, skipped", "Failed", "Crashed", "Cancelled"])
def test_a_task_may_return_a_state_or_a_future_too(h: Harness, what: str, way: str) -> None:
    make, name, expected = RETURNED[what]

    @task
    def t() -> Any:
        return make()

    @flow
    def f() -> Any:
        ended.append(t(return_state=True) if way == "direct" else t.submit(return_state=True))  # type: ignore[call-arg]

    ended: list[Any] = []
    f()

    assert ended[0].name == name
    assert next(run for run in h.task_runs() if run.name == "t-0").state.name == name
    if isinstance(expected, type):
        with pytest.raises(expected):
            ended[0].result()
    else:
        assert ended[0].result() == expected


def test_a_failure_that_is_returned_is_tried_again(h: Harness) -> None:
    tries: list[int] = []

    @task(retries=2)
    def moody() -> Any:
        tries.append(1)
        return Failed("not yet") if len(tries) < 3 else 7

    assert moody() == 7
    assert len(tries) == 3


def test_a_state_of_another_run_is_handed_on_as_it_is(h: Harness) -> None:
    @flow
    def f() -> Any:
        return bad(return_state=True)  # type: ignore[call-arg]

    handed_on = f()

    assert handed_on.is_failed()
    assert h.flow_runs()[0].state.name == "Failed"


def test_a_state_of_ones_own_is_raised(h: Harness) -> None:
    @flow
    def inner() -> Any:
        return Failed("too few rows")

    @flow
    def outer() -> Any:
        return inner()

    with pytest.raises(RunFailure, match="too few rows"):
        outer()
    assert [run.state.name for run in h.flow_runs()] == ["Failed", "Failed"]
    assert h.flow_runs()[0].state.message.endswith("too few rows")


@pytest.mark.parametrize(("type_", "name"), [(type_, name) for type_, names in NAMES.items() for name in names])
def test_every_state_can_be_made_and_tells_its_kind(type_: StateType, name: str) -> None:
    made: RunState[int] = RunState(type_, name, "why")

    asked = {kind: getattr(made, f"is_{kind}")() for kind in StateType}
    assert [kind for kind, answer in asked.items() if answer] == [type_]
    assert made.is_final() == (made.exception() is not None or made.is_completed())
    assert made == RunState(str(type_), name, "why")
    assert made.timestamp.tzinfo is not None
    assert made.id


@pytest.mark.parametrize("make", [lambda: RunState("done"), lambda: Completed(name="Fine"), lambda: Pending(name="Completed")])
def test_a_state_that_does_not_exist_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(UsageError):
        make()
