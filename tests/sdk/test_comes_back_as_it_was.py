"""A stored value stands for a call only where nobody can tell: arguments that were changed or handed back, parts that are one object, views of one memory."""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest

from legato import INPUTS, flow, runtime, task
from legato.engine import results, serializers
from legato.engine.identity.memory import OF_EACH_OTHER, OF_GIVEN, shared
from legato.sdk.code import known_by
from legato.sdk.definitions import wanted
from legato.testing import Harness, harness


@pytest.fixture
def h(monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    monkeypatch.setattr(wanted, "any", False)  # as in a process of its own
    monkeypatch.setattr(wanted, "flows", 0)
    with harness() as made:
        yield made


class Box:
    def __init__(self, held: Any) -> None:
        self.held = held


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "list": (list, lambda d: d.append(1), lambda d, _: d),
    "dict": (dict, lambda d: d.update(a=1), lambda d, _: d),
    "frame": (lambda: pd.DataFrame({"a": [1]}), lambda d: d.insert(0, "b", 2), lambda d, _: list(d)),
    "array": (lambda: np.zeros(2), lambda d: d.fill(1), lambda d, _: d.tolist()),
    "object": (lambda: Box(1), lambda d: setattr(d, "held", 2), lambda d, _: d.held),
    "a part of a part": (lambda: Box([[0]]), lambda d: d.held[0].append(1), lambda d, _: d.held),
    "stream": (lambda: BytesIO(b"abc"), lambda d: d.read(2), lambda d, _: d.tell()),
    "generator": (lambda: (n for n in range(3)), next, lambda d, _: list(d)),
    "iterator": (lambda: iter([1, 2]), next, lambda d, _: list(d)),
    "handed back": (lambda: [0], lambda d: d, lambda d, got: got is d),
    "handed back inside": (lambda: {"x": [0]}, lambda d: [1, d], lambda d, got: got[1] is d),
    "a part handed back": (lambda: {"x": [0]}, lambda d: d["x"], lambda d, got: got is d["x"]),
    "view": (lambda: np.zeros(3), lambda d: d[1:], lambda d, got: (got.fill(5), d.tolist())),
    "view of a view": (lambda: np.zeros(3)[:2], lambda d: d[1:], lambda d, got: (got.fill(5), d.tolist())),
    "view in an object": (lambda: [np.zeros(3)], lambda d: Box(d[0].T), lambda d, got: (got.held.fill(5), d[0].tolist())),
    "view of bytes": (lambda: bytearray(b"abc"), memoryview, lambda d, got: (got.__setitem__(0, 65), bytes(d))),
    "a frame's own memory": (lambda: pd.DataFrame({"a": [1.0]}), lambda d: d["a"].to_numpy(), lambda d, got: np.shares_memory(got, d["a"].to_numpy())),
}  # fmt: skip
"""An argument, what the task does with it, and what is seen of both afterwards."""

WAYS = ("resumed", "in one process", "cached", "cached and submitted", "cached method")


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("way", WAYS)
def test_an_argument_that_was_changed_or_handed_back_is_so_again(h: Harness, kind: str, way: str) -> None:
    make, do, look = CHANGES[kind]
    options: Any = {"cache_policy": INPUTS} if way.startswith("cached") else {"persist_result": True} if way == "resumed" else {}

    @task(**options)
    def step(d: Any) -> Any:
        return do(d)

    class Steps:
        def __init__(self, own: Any) -> None:
            self.own = own

        @task(**options)
        def step(self) -> Any:
            return do(self.own)

    @flow(retries=int(way == "in one process"))
    def main() -> Any:
        d = make()
        got = step.submit(d).result() if "submitted" in way else Steps(d).step() if "method" in way else step(d)
        seen = repr(look(d, got))
        if way in ("in one process", "resumed") and runtime.flow_run.attempt == 1:
            raise ValueError("here")
        return seen

    truth = repr(look(d := make(), do(d)))
    if way == "resumed":
        with pytest.raises(ValueError, match="here"):
            main()
        assert main.resume(h.flow_runs()[0].id) == truth
    else:
        assert [main(), main()][way == "in one process" :] == [truth] * (2 - (way == "in one process"))


WHO: ContextVar[Any] = ContextVar("WHO", default=0)


@pytest.mark.parametrize("how", ["direct", "submitted", "mapped", "nested", "in a flow inside"])
@pytest.mark.parametrize("way", ["resumed", "in one process", "cached"])
def test_a_context_variable_that_a_task_reads_is_one_of_its_inputs(h: Harness, how: str, way: str) -> None:
    options: Any = {"cache_policy": INPUTS} if way == "cached" else {"persist_result": True} if way == "resumed" else {}
    ran: list[Any] = []

    @task(**options)
    def who(_: Any = ()) -> Any:
        ran.append(WHO.get())
        return list(WHO.get())

    @task(**options)
    def nested() -> Any:
        return who()

    @flow(persist_result=way == "resumed")
    def inner() -> Any:
        return who()

    ways = {
        "direct": who,
        "submitted": lambda: who.submit().result(),
        "mapped": lambda: who.map([()]).result()[0],
        "nested": nested,
        "in a flow inside": inner,
    }
    given = [1, 1]

    @flow(retries=int(way == "in one process"))
    def main() -> Any:
        token = WHO.set([given[runtime.flow_run.attempt - 1]])
        try:
            seen = ways[how]()
        finally:
            WHO.reset(token)
        if way != "cached" and runtime.flow_run.attempt == 1:
            raise ValueError("here")
        return seen

    def go() -> Any:
        if way == "cached":
            main()
            given[0] = given[1]
            return main()
        if way == "in one process":
            return main()
        with pytest.raises(ValueError, match="here"):
            main()
        return main.resume([run for run in h.flow_runs() if run.flow_name == "main"][-1].id)

    assert go() == [1]
    assert ran == [[1]], "nothing has changed"
    given[:] = [2, 3]
    assert go() == [3]


SHARED: dict[str, Callable[[], Any]] = {
    "rows": lambda: [[0] * 2] * 2,
    "two": lambda: [a := [0], a],
    "fromkeys": lambda: dict.fromkeys("ab", {}),  # noqa: RUF024 that is what it is about
    "a part and the whole": lambda: [(d := {"x": [0]})["x"], d],
    "deep": lambda: {"a": [b := {"n": 1}], "c": {"d": [b]}},
    "tuple": lambda: ((a := [0]), a),
    "round": lambda: (a := [], a.append(a), a)[2],
}


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("serializer", [None, "json", "zlib/json"])
def test_parts_that_are_one_object_come_back_as_one_or_it_is_known_that_they_do_not(kind: str, serializer: str | None) -> None:
    value = SHARED[kind]()
    stored = results.save(value, {}, serializers.chosen(serializer))  # type: ignore[arg-type]  # it is small: nothing is put there
    if serializer is not None:
        assert stored.changed or stored.unavailable
        return

    again = results.load(stored, {})  # type: ignore[arg-type]

    assert same_objects(again) == same_objects(value)


def same_objects(value: Any) -> list[int]:
    """Which of the lists and dicts in a value are which, by the order in which they are met."""
    met: dict[int, int] = {}
    order, ahead = [], [value]
    while ahead:
        part = ahead.pop()
        is_new = id(part) not in met
        if isinstance(part, (list, dict)):
            order.append(met.setdefault(id(part), len(met)))
        if isinstance(part, (list, dict, tuple)) and is_new:
            ahead += part.values() if isinstance(part, dict) else part
    return order


def test_a_plain_value_of_equal_parts_is_still_json() -> None:
    assert serializers.dumps([[0], [0], {"a": "x", "b": "x"}], None)[0] == "json"


BIG = np.zeros(10)
MEMORY: dict[str, tuple[Callable[[], Any], Callable[[], list[Any]], str]] = {
    "an array and its view": (lambda: [a := np.zeros(3), a[1:]], list, OF_EACH_OTHER),
    "two views": (lambda: dict(zip("ab", np.zeros((2, 3)), strict=True)), list, OF_EACH_OTHER),
    "one array twice": (lambda: [a := np.zeros(3), a], list, ""),
    "two arrays": (lambda: [np.zeros(3), np.zeros(3)], list, ""),
    "a view of its own": (lambda: np.zeros(3)[1:], list, ""),
    "a view of what was given": (lambda: BIG[2:], lambda: [BIG], OF_GIVEN),
    "a view beside a view": (lambda: BIG[2:], lambda: [{"x": BIG[:1]}], OF_GIVEN),
    "the array that was given": (lambda: [BIG], lambda: [BIG], ""),
    "a copy": (BIG[2:].copy, lambda: [BIG], ""),
    "numbers": (lambda: [np.float64(1), np.int8(2)], lambda: [BIG], ""),
    "a frame of what was given": (lambda: pd.DataFrame({"a": BIG}), lambda: [BIG], ""),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_views_of_one_memory_are_known(kind: str) -> None:
    make, given, expected = MEMORY[kind]

    assert shared(make(), given(), known_by) == expected


def test_a_cached_generator_that_is_read_item_by_item_hands_on_all_of_them_each_time(h: Harness) -> None:
    @task(cache_policy=INPUTS)
    def numbers(d: list[int]) -> Iterator[int]:
        d.append(0)
        yield from (1, 2)

    @flow
    def main() -> Any:
        d: list[int] = []
        return [*numbers(d)], d

    assert [main(), main()] == [([1, 2], [0])] * 2
    assert any("it hands on its items one by one" in entry.state.message for entry in h.journal(h.task_runs()[0]))
