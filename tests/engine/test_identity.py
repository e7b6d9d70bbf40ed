"""What a call is made with, whether it has changed that, and what its lane knows of."""

import asyncio
import copy
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.identity import Unknown
from legato.core.resume import Lane
from legato.engine.identity.calls import Seal, alias_of, can_change, encoded, with_aliases
from legato.engine.identity.lanes import lane_of
from legato.engine.identity.ledger import NOTHING


def by_name(_: Any) -> None:
    return None


def data(*args: Any, on: Any = NOTHING, **kwargs: Any) -> bytes:
    return encoded(on, args, kwargs, by_name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (data((1,), {"x": 2}), data(1, x=2)),
        (data([1]), data((1,))),
        (data(1), data(1, on=[1])),
        (data(on=[1]), data(on=[2])),
        (data(on=[1]), data([1])),
        (data(a=1, b=2), data(a=2, b=1)),
        (data({"a": 1, "b": 2}), data({"b": 2, "a": 1})),
    ],
)
def test_calls_that_differ_differ(one: bytes, other: bytes) -> None:
    assert one != other


def test_keyword_arguments_come_in_any_order() -> None:
    assert data(a=[1], b=[2]) == data(b=[2], a=[1])


def test_what_has_no_form_is_named() -> None:
    with pytest.raises(Unknown) as caught:
        data(1, settings={"lock": threading.Lock()})

    assert caught.value.where == "not reusable: argument settings of type dict, which holds a lock, has no stable hash; give the task a key"


def test_more_than_is_worth_looking_at_is_unknown() -> None:
    with pytest.raises(Unknown, match="argument 0 of type list has no stable hash"):
        encoded(NOTHING, ([str(n) for n in range(10_000)],), {}, by_name, limit=1000)


def test_a_seal_is_broken_by_any_change() -> None:
    values: list[Any] = [[1], {"a": {2}}]
    seal = Seal(NOTHING, by_name, data(*values))

    assert not seal.is_broken(values, {})
    values[1]["a"].add(3)
    assert seal.is_broken(values, {})
    values[1]["a"] = threading.Lock()
    assert seal.is_broken(values, {})


def test_only_what_can_change_is_sealed() -> None:
    assert not can_change(NOTHING, (1, "a", (2, None)), {"x": 1.5})
    assert can_change(NOTHING, (1,), {"x": []})
    assert can_change(object, (), {})


@given(st.permutations([0, 1, 2]), st.sampled_from([list, tuple, dict]))
def test_what_was_handed_back_is_handed_back_again(order: list[int], kind: Any) -> None:
    mine = [["a"], ["b"], ["c"]]
    theirs = [["a"], ["b"], ["c"]]
    held = [theirs[n] for n in order] + [["new"]]
    value = kind(held) if kind is not dict else {str(n): one for n, one in enumerate(held)}
    stored = kind([*one] for one in held) if kind is not dict else {name: [*one] for name, one in value.items()}

    alias = alias_of(value, NOTHING, theirs[:2], {"x": theirs[2]})
    again = with_aliases(stored, alias, NOTHING, mine[:2], {"x": mine[2]})

    items = list(again.values()) if kind is dict else list(again)
    assert [any(item is one for one in mine) for item in items] == [True, True, True, False]
    assert [mine.index(item) for item in items[:3]] == order
    assert type(again) is kind


def test_an_argument_itself_or_its_object_is_handed_back() -> None:
    mine, owner = [1], {"k": 1}

    assert with_aliases([1], alias_of(mine, NOTHING, (mine,), {}), NOTHING, (mine,), {}) is mine
    assert with_aliases({"k": 1}, alias_of(owner, owner, (), {}), owner, (), {}) is owner
    assert alias_of(5, NOTHING, (5,), {}) == ""
    assert with_aliases("stored", "=7", NOTHING, (), {}) == "stored"


class Box:
    def __init__(self, held: Any) -> None:
        self.other, self.held = 1, held


@pytest.mark.parametrize("wrap", [lambda x: {"a": {"b": [0, x]}}, lambda x: Box(x), lambda x: (1, Box([x])), lambda x: [{"k": (x,)}]])  # noqa: PLW0108
def test_an_argument_deep_in_a_value_is_handed_back(wrap: Any) -> None:
    theirs, mine = [1], [1]

    alias = alias_of(wrap(theirs), NOTHING, (theirs,), {})
    again = with_aliases(wrap([1]), alias, NOTHING, (mine,), {})

    assert alias
    assert alias_of(again, NOTHING, (mine,), {}) == alias
    assert data(again) == data(wrap(mine))


# ---------------------------------------------------------------------- lanes


class Run:
    def __init__(self, taint: str = "") -> None:
        self.lanes: dict[int, Lane] | None = None
        self.changed_inside = ""
        self.taint_inside = taint
        self.numbers = 0

    def new_lane_number(self) -> int:
        self.numbers += 1
        return self.numbers


def test_a_thread_that_comes_after_another_is_another_lane() -> None:
    run: Run
    run, found = Run(), []
    for _ in range(5):
        thread = threading.Thread(target=lambda: found.append(lane_of(run)))
        thread.start()
        thread.join()

    assert len({id(lane) for lane in found}) == len({lane.index for lane in found}) == 5
    assert lane_of(run) is lane_of(run)


def test_asyncio_tasks_of_one_name_are_lanes_of_their_own() -> None:
    run, found = Run(), []

    async def one() -> None:
        lane = lane_of(run)
        await asyncio.sleep(0)
        assert lane_of(run) is lane
        found.append(lane)

    async def main() -> None:
        for _ in range(3):
            await asyncio.create_task(one(), name="worker")

    asyncio.run(main())

    assert len({id(lane) for lane in found}) == 3


def test_a_lane_of_a_run_that_comes_after_a_change_does_so_from_the_start() -> None:
    assert lane_of(Run("write-0")).taint == "write-0"


NESTED = st.recursive(
    st.lists(st.integers(), max_size=2),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner), st.tuples(inner, inner), st.builds(Box, inner)
    ),
    max_leaves=8,
)


def parts_of(value: Any) -> list[Any]:
    inner = list(value.values()) if type(value) is dict else [value.held] if type(value) is Box else value
    return [value, *(part for one in inner if not isinstance(one, int) for part in parts_of(one))]


@given(NESTED, st.data())
def test_parts_of_arguments_are_handed_back_as_the_same_objects(theirs: Any, draw: st.DataObject) -> None:
    mine = copy.deepcopy(theirs)
    chosen = draw.draw(st.lists(st.sampled_from(parts_of(theirs)), max_size=4))
    value = [{"k": part} if draw.draw(st.booleans()) else part for part in chosen]

    again = with_aliases(copy.deepcopy(value), alias_of(value, NOTHING, (theirs,), {}), NOTHING, (mine,), {})

    assert pickle.dumps((mine, again)) == pickle.dumps((theirs, value))  # pickling writes down which parts are one object
