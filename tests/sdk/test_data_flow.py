"""Futures in arguments, and what waits for what: containers, records, deferred maps, triggers, `wait` and `as_completed`."""

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from legato import Future, Upstream, all_done, any_failed, as_completed, flow, none_failed, quote, task, unmapped, wait
from legato.core.errors import UpstreamFailed, UsageError
from legato.core.states import StateType
from legato.testing import Harness


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def fail(message: str = "no luck") -> int:
    raise ValueError(message)


@task
def give(value: Any) -> Any:
    return value


# -- where futures are found


@dataclass(frozen=True)
class Point:
    x: Any
    more: list[Any] = field(default_factory=list)


class Model(pydantic.BaseModel):
    x: Any
    name: str = "m"


class Struct(msgspec.Struct, frozen=True):
    x: Any


class Pair(NamedTuple):
    left: Any
    right: Any


@pytest.mark.parametrize(
    ("holder", "value"),
    [
        (lambda f: Point(f, [f]), Point(2, [2])),
        (lambda f: Model(x=f), Model(x=2)),
        (Struct, Struct(2)),
        (lambda f: Pair(f, 0), Pair(2, 0)),
        (lambda f: {"a": [Point({"b": (f, 1)})]}, {"a": [Point({"b": (2, 1)})]}),
        (lambda f: {f}, {2}),
        (lambda f: frozenset([f]), frozenset([2])),
    ],
    ids=["dataclass", "pydantic", "msgspec", "namedtuple", "nested", "set", "frozenset"],
)
def test_a_future_is_found_in(h: Harness, holder: Any, value: Any) -> None:
    @flow
    def main() -> Any:
        return give.submit(holder(add.submit(1))).result()

    got = main()

    assert got == value
    assert type(got) is type(value)
    first, second = h.task_runs()
    assert second.upstream == (first.id,)


def test_a_record_without_futures_is_the_same_object(h: Harness) -> None:
    point, model = Point(1, [2]), Model(x=[1])

    @task
    def same(a: Point, b: Model, _: int) -> bool:
        return a is point and b is model

    @flow
    def main() -> bool:
        return same.submit(point, model, add.submit(1)).result()

    assert main()


def test_a_quoted_value_is_handed_over_as_it_is(h: Harness) -> None:
    @task
    def look(values: list[Any], n: int) -> bool:
        return isinstance(values[0], Future) and n == 2

    @flow
    def main() -> tuple[bool, bool]:
        future = add.submit(1)
        return look(quote([future]), 2), look.submit(quote([future]), future).result()

    assert main() == (True, True)


# -- maps over what is not there yet


def test_mapping_over_a_future_waits_for_nothing(h: Harness) -> None:
    go = threading.Event()

    @task
    def slow_list() -> list[int]:
        go.wait(10)
        return [1, 2, 3]

    @flow
    def main() -> Any:
        later = add.map(slow_list.submit(), unmapped(10))
        total = give.submit(later)
        again = add.map(later, 100)
        go.set()
        return later.result(), total.result(), again.result(), len(later), later[0].result()

    assert main() == ([11, 12, 13], [11, 12, 13], [111, 112, 113], 3, 11)
    assert h.flow_runs()[0].state.name == "Completed"
    assert len(h.task_runs()) == 8


def test_mapping_over_a_future_that_fails_names_the_culprit(h: Harness) -> None:
    @flow
    def main() -> None:
        later = add.map(fail.submit())
        assert give.submit(later).wait(10)
        with pytest.raises(UpstreamFailed, match="'fail-0'"):
            later.result()
        with pytest.raises(UpstreamFailed):
            list(later)

    with pytest.raises(UpstreamFailed, match="nobody asked for the result: 'fail-0'"):
        main()


def test_a_mapped_list_is_an_argument_and_has_results(h: Harness) -> None:
    @task
    def total(values: list[int]) -> int:
        return sum(values)

    @flow
    def main() -> Any:
        futures = add.map([1, 2, 3])
        return total.submit(futures).result(), futures.result(), futures.wait(1)

    assert main() == (9, [2, 3, 4], True)
    assert len(h.task_runs()[-1].upstream) == 3


def test_map_can_give_states(h: Harness) -> None:
    @task
    def odd(x: int) -> int:
        if x % 2 == 0:
            raise ValueError("even")
        return x

    @flow
    def main() -> list[str]:
        return [state.name for state in odd.map([1, 2, 3], return_state=True)]

    assert main() == ["Completed", "Failed", "Completed"]


# -- waiting


def test_as_completed_gives_futures_in_the_order_they_end(h: Harness) -> None:
    gates = [threading.Event() for _ in range(3)]

    @task
    def gated(i: int) -> int:
        gates[i].wait(10)
        return i

    @flow
    def main() -> list[int]:
        order = []
        gates[1].set()
        for future in as_completed(gated.map([0, 1, 2])):
            order.append(future.result())
            for gate in gates if future.result() == 2 else [gates[2]]:
                gate.set()
        return order

    assert main() == [1, 2, 0]


def test_as_completed_on_a_loop(h: Harness) -> None:
    @task
    async def after(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    @flow
    async def main() -> list[float]:
        return [future.result() async for future in as_completed([after.submit(0.2), after.submit(0), after.submit(0.1)])]

    assert asyncio.run(main()) == [0, 0.1, 0.2]


def test_as_completed_gives_up_in_time(h: Harness) -> None:
    never = threading.Event()

    @task
    def stuck() -> None:
        never.wait(10)

    @flow
    def main() -> None:
        future = stuck.submit()
        try:
            with pytest.raises(TimeoutError, match="1 futures had not ended in time"):
                list(as_completed([future], timeout=0.05))
        finally:
            never.set()

    main()


def test_wait_tells_done_from_not_done(h: Harness) -> None:
    stay = threading.Event()

    @task
    def stuck() -> None:
        stay.wait(10)

    @flow
    def main() -> None:
        quick, slow, bad = add.submit(1), stuck.submit(), fail.submit()
        first = wait([slow, quick, bad], return_when="first")
        assert first.done
        assert slow in first.not_done
        assert bad in wait([slow, bad], return_when="failure").done
        assert wait([quick, slow], timeout=0.05).not_done == [slow]
        stay.set()
        assert wait([quick, slow]) == ([quick, slow], [])
        bad.exception()
        with pytest.raises(ValueError, match="give 'all', 'first' or 'failure'"):
            wait([], return_when="any")

    main()


# -- triggers


@pytest.mark.parametrize(
    ("trigger", "outcomes", "ends"),
    [
        ("all_succeeded", "ok ok", "Completed"),
        ("all_succeeded", "ok bad", "UpstreamFailed"),
        ("all_succeeded", "ok skip", "Skipped"),
        ("all_failed", "bad bad", "Completed"),
        ("all_failed", "ok bad", "Skipped"),
        ("any_failed", "ok bad", "Completed"),
        ("any_failed", "ok ok", "Skipped"),
        ("any_succeeded", "bad ok", "Completed"),
        ("any_succeeded", "bad skip", "Skipped"),
        ("all_done", "bad skip", "Completed"),
        ("none_failed", "ok skip", "Completed"),
        ("none_failed", "bad skip", "Skipped"),
        (lambda before: [one.name for one in before] == ["made-0", "made-1"], "ok ok", "Completed"),
        (lambda before: any(one.state is StateType.CANCELLED for one in before), "ok bad", "Skipped"),
    ],
)
@pytest.mark.parametrize("kind", ["submit", "call", "async"])
def test_a_trigger_decides_whether_a_task_runs(h: Harness, trigger: Any, outcomes: str, ends: str, kind: str) -> None:
    ran = []

    @task(name="made")
    def ok() -> str:
        return "ok"

    @task(name="made")
    def bad() -> str:
        raise ValueError("bad")

    @task(name="made", trigger=any_failed)
    def skip() -> None: ...

    @task(trigger=trigger)
    def after(*values: Any) -> None:
        ran.append(values)

    @task(trigger=trigger)
    async def after_async(*values: Any) -> None:
        ran.append(values)

    made = {"ok": ok, "bad": bad, "skip": skip}

    @flow
    def main() -> None:
        futures = [made[word].submit() for word in outcomes.split()]
        try:
            if kind == "call":
                after(*futures)
            else:
                (after if kind == "submit" else after_async).submit(*futures).result()
        except UpstreamFailed as error:
            assert "'made-1'" in str(error)  # noqa: PT017 one kind of several
        for future in futures:
            future.exception()

    main()

    last = h.task_runs()[-1]
    assert last.state.name == ends
    assert len(ran) == (ends == "Completed")
    if ran:
        assert all(isinstance(value, ValueError) for value, word in zip(ran[0], outcomes.split(), strict=True) if word == "bad")


def test_a_skipped_task_gives_none_and_says_why(h: Harness) -> None:
    @task(trigger="any_failed")
    def clean_up(*_: Any) -> str:
        return "cleaned"

    @flow
    def main() -> Any:
        future = clean_up.submit(add.submit(1))
        last = add.submit(future)
        return future.result(), future.skipped, last.wait(20), last.skipped

    assert main() == (None, True, True, True)
    cleaned, after = h.task_runs()[1:]
    assert (cleaned.state.name, cleaned.state.message) == ("Skipped", "trigger any_failed said no: 0 of 1 before it failed")
    assert (after.state.name, after.state.message) == ("Skipped", "'clean_up-1' was skipped".replace("-1", "-0"))


def test_a_handled_failure_does_not_fail_the_flow(h: Harness) -> None:
    @task(trigger=all_done)
    def report(*values: Any) -> int:
        return len(values)

    @flow
    def main() -> int:
        return report.submit(fail.submit(), add.submit(1)).result()

    assert main() == 2
    assert h.flow_runs()[0].state.name == "Completed"


def test_a_trigger_that_does_not_exist_is_refused_at_the_decorator() -> None:
    with pytest.raises(UsageError, match=r"trigger='all_sucess'(.|\n)*all_succeeded"):
        task(trigger="all_sucess")(lambda: None)


def test_triggers_are_pure_functions_anybody_can_call() -> None:
    ups = [Upstream("a", StateType.COMPLETED), Upstream("b", StateType.COMPLETED, skipped=True)]
    assert none_failed(ups)
    assert not any_failed(ups)
    assert all_done([])
