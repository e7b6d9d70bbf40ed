"""A future is found wherever it stands in an argument, its value takes its place, and nothing else about the argument changes."""

import asyncio
import collections
import dataclasses
import functools
import types
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato import ThreadTaskRunner, allow_failure, flow, quote, task, unmapped
from legato.core.errors import UpstreamFailed, UsageError
from legato.engine.futures import Future, FutureList
from legato.sdk.dependencies import futures_in, resolved
from legato.testing import Harness


@task
def one(x: Any = 1) -> Any:
    return x


@task
def bad() -> Any:
    raise ValueError("no")


@task
def look(x: Any) -> Any:
    return x


class Rows(list):  # type: ignore[type-arg]
    """A list with something of its own."""


class Row(dict):  # type: ignore[type-arg]
    """A dict with something of its own."""


class Pair(NamedTuple):
    first: Any
    second: Any


class Odd(tuple):  # type: ignore[type-arg]  # noqa: SLOT001 that it has attributes is the point
    """A tuple with something of its own."""


@dataclasses.dataclass
class Record:
    value: Any
    note: str = "note"


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    value: Any


@attrs.define
class Attrs:
    value: Any


@attrs.frozen
class FrozenAttrs:
    value: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    value: Any


class Struct(msgspec.Struct, frozen=True):
    value: Any


def with_mark(container: Any) -> Any:
    container.mark = "kept"
    return container


def deep(x: Any) -> Any:
    for _ in range(3000):
        x = [x]
    return x


def depth_of(x: Any) -> int:
    depth = 0
    while isinstance(x, list):
        x, depth = x[0], depth + 1
    return depth if x == 1 else -1


def ring(x: Any) -> Any:
    outer: list[Any] = [x]
    outer.append({"back": (outer,)})
    return outer


PLACES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    # how it is put there; what is looked at, which must come to what is the same with 1 in its place
    "itself": (lambda x: x, lambda r: r),
    "list": (lambda x: [0, x], lambda r: r),
    "long list": (lambda x: [0] * 20_000 + [x], lambda r: r[-1]),
    "tuple": (lambda x: (x, 2), lambda r: r),
    "set": (lambda x: {x, 2}, lambda r: r),
    "frozenset": (lambda x: frozenset({x, 2}), lambda r: r),
    "dict value": (lambda x: {"a": x}, lambda r: r),
    "dict key": (lambda x: {x: "a"}, lambda r: r),
    "dict values": (lambda x: {"a": x}.values(), list),
    "dict items": (lambda x: {"a": x}.items(), list),
    "dict keys": (lambda x: {x: 1}.keys(), list),
    "mapping proxy": (lambda x: types.MappingProxyType({"a": x}), dict),
    "OrderedDict": (lambda x: collections.OrderedDict(a=x), lambda r: r),
    "defaultdict": (lambda x: collections.defaultdict(list, a=x), lambda r: (r["a"], r["b"])),
    "Counter": (lambda x: collections.Counter({x: 3}), lambda r: r),
    "deque": (lambda x: collections.deque([x, 2], maxlen=5), lambda r: (r, r.maxlen)),
    "a list of one's own": (lambda x: with_mark(Rows([x])), lambda r: (r, r.mark)),
    "a dict of one's own": (lambda x: with_mark(Row(a=x)), lambda r: (r, r.mark)),
    "a tuple of one's own": (lambda x: with_mark(Odd((x,))), lambda r: (r, r.mark)),
    "named tuple": (lambda x: Pair(x, 2), lambda r: r),
    "dataclass": (lambda x: with_mark(Record(x)), lambda r: (r, r.mark)),
    "frozen dataclass": (Frozen, lambda r: r),
    "attrs": (Attrs, lambda r: r),
    "frozen attrs": (FrozenAttrs, lambda r: r),
    "pydantic": (lambda x: Model(value=x), lambda r: r),
    "pydantic, extra": (lambda x: Model(value=2, more=x), lambda r: r),
    "struct": (Struct, lambda r: r),
    "namespace": (lambda x: types.SimpleNamespace(value=x), lambda r: r),
    "partial": (lambda x: functools.partial(max, x, key=None), lambda r: (r.func, r.args, r.keywords)),
    "partial, keyword": (lambda x: functools.partial(dict, a=x), lambda r: r()),
    "nine lists deep": (lambda x: [[[[[[[[[x]]]]]]]]], lambda r: r),
    "three thousand deep": (deep, depth_of),
    "a mixture": (lambda x: [{"a": (Record([x]), Pair({3: x}, 2))}], lambda r: r),
    "a circle": (ring, lambda r: (r[0], r[1]["back"][0] is r)),
}


@pytest.mark.parametrize("way", ["direct", "submitted", "wait_for too", "async"])
@pytest.mark.parametrize("place", PLACES)
def test_a_future_is_found_wherever_it_stands(h: Harness, place: str, way: str) -> None:
    put, shown = PLACES[place]
    seen: list[Any] = []

    @task
    def sees(x: Any) -> None:
        seen.append(x)

    @task
    async def asees(x: Any) -> None:
        seen.append(x)

    @flow
    def f() -> None:
        future = one.submit()
        if way == "direct":
            sees(put(future))
        else:
            sees.submit(put(future), **({"wait_for": [[future]]} if way == "wait_for too" else {})).result()

    @flow
    async def af() -> None:
        await asees(put(one.submit()))

    asyncio.run(af()) if way == "async" else f()

    assert shown(seen[0]) == shown(put(1))
    assert type(seen[0]) is type(put(1))
    runs = {run.name: run for run in h.task_runs()}
    assert next(run for name, run in runs.items() if "sees" in name).upstream == (runs["one-0"].id,)


@pytest.mark.parametrize("place", PLACES)
def test_what_holds_no_future_is_handed_over_as_the_very_same_object(h: Harness, place: str) -> None:
    put, _ = PLACES[place]
    given_ = put(1)
    seen: list[Any] = []

    @task
    def sees(x: Any, _: Any) -> None:
        seen.append(x)

    @flow
    def f() -> None:
        sees(given_, [one.submit()])

    f()

    assert seen[0] is given_


@pytest.mark.parametrize("place", PLACES)
def test_allow_failure_and_quote_hold_wherever_they_stand(h: Harness, place: str) -> None:
    put, shown = PLACES[place]
    if place in ("set", "frozenset", "dict key", "dict keys", "Counter", "three thousand deep"):
        pytest.skip("a wrapper there is another object each time")
    seen: list[Any] = []

    @task
    def sees(x: Any) -> None:
        seen.append(x)

    @flow
    def f() -> None:
        sees(put(allow_failure(bad.submit())))
        sees(quote(put(one.submit())))

    f()

    assert "ValueError" in repr(shown(seen[0]))
    assert "Future" in repr(shown(seen[1]))


class Client:
    """No container that we know."""

    def __init__(self, pending: Any) -> None:
        self.pending = pending

    def ask(self) -> Any:
        return self.pending


class Slotted:
    __slots__ = ("other", "pending")

    def __init__(self, pending: Any) -> None:
        self.pending = pending


def kept_alive(x: Any, kept: list[Any] = []) -> Any:  # noqa: B006 that it outlives the call is the point
    kept.append(x)
    return x


def with_keyword_default(x: Any) -> Any:
    def fn(*, y: Any = x) -> Any:
        return y

    return fn


def closing_over(x: Any) -> Any:
    return lambda: x


def with_default(x: Any) -> Any:
    def fn(y: Any = x) -> Any:
        return y

    return fn


def array_of(x: Any) -> Any:
    import numpy as np

    array = np.empty(2, dtype=object)
    array[1] = x
    return array


def frame_of(x: Any) -> Any:
    import pandas as pd

    return pd.DataFrame({"a": [1, 2], "b": pd.Series([None, x], dtype=object)})


HIDDEN: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an attribute": (Client, "argument 1.pending holds"),
    "an attribute, in a list": (lambda x: [0, Client(x)], "argument 1[1].pending holds"),
    "an attribute, in a dict": (lambda x: {"a": Client(x)}, "argument 1['a'].pending holds"),
    "an attribute that is a list of them": (lambda x: Client(FutureList([x])), "argument 1.pending holds futures"),
    "an attribute that is a plain list": (lambda x: Client([0, x]), "argument 1.pending holds"),
    "an attribute that is a dict of lists": (lambda x: Client({"a": [x, x], "b": one.submit()}), "argument 1.pending holds futures"),
    "an attribute that is a data class": (lambda x: Client(Record(x)), "argument 1.pending holds"),
    "a slot": (Slotted, "argument 1.pending holds"),
    "a weak reference": (lambda x: weakref.ref(kept_alive(x)), "argument 1() holds"),
    "a bound method": (lambda x: Client(x).ask, "argument 1.__self__.pending holds"),
    "an iterator": (lambda x: iter([0, x]), "argument 1's items holds"),
    "a zip": (lambda x: zip([0], (x,), strict=True), "argument 1's items holds"),
    "an enumeration": (lambda x: enumerate({x}), "argument 1's items holds"),
    "a keyword-only default": (with_keyword_default, "argument 1's default holds"),
    "a closure": (closing_over, "argument 1's variable 'x' holds"),
    "a default": (with_default, "argument 1's default holds"),
    "an array of objects": (array_of, "argument 1[1] holds"),
    "a frame": (frame_of, "argument 1['b'] holds"),
}


@pytest.mark.parametrize("way", ["direct", "submitted"])
@pytest.mark.parametrize("place", HIDDEN)
def test_a_future_that_cannot_be_replaced_is_an_error_with_its_path(h: Harness, place: str, way: str) -> None:
    put, said = HIDDEN[place]

    @flow
    def f() -> None:
        future = one.submit()
        look(put(future)) if way == "direct" else look.submit(put(future)).result()

    with pytest.raises(UsageError) as caught:
        f()

    assert said in str(caught.value)
    assert "quote" in str(caught.value)


def test_shared_parts_stay_shared_and_cost_nothing() -> None:
    future: Future[int] = Future("r", "one-0", lambda: 1)
    shared: Any = [future]
    for _ in range(60):
        shared = [shared, shared]  # 2^60 paths

    held = futures_in("x", shared)
    future.finish(1)
    new = resolved(shared, held, lambda f, _: f.result())

    assert len(held.futures) == 1
    assert new is not shared
    assert new[0] is new[1]


values = st.recursive(
    st.one_of(st.just("future"), st.integers(), st.text(max_size=3), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.integers(), st.just("future")), inner, max_size=3),
        st.builds(Record, inner),
        st.builds(Pair, inner, inner),
        st.lists(inner, max_size=3).map(Rows),
        st.lists(inner, max_size=3).map(collections.deque),
        st.builds(Struct, inner),
    ),
    max_leaves=30,
)


def planted(value: Any, what: Any) -> Any:
    """A value with `what` wherever it says "future"."""
    if isinstance(value, str) and value == "future":
        return what
    if isinstance(value, dict):
        return {planted(key, what): planted(item, what) for key, item in value.items()}
    if isinstance(value, Record):
        return Record(planted(value.value, what))
    if isinstance(value, Struct):
        return Struct(planted(value.value, what))
    if isinstance(value, Pair):
        return Pair(*(planted(item, what) for item in value))
    if isinstance(value, (list, tuple, collections.deque)):
        return type(value)(planted(item, what) for item in value)
    return value


@given(values)
def test_any_value_with_futures_comes_to_the_same_value_with_theirs(value: Any) -> None:
    future: Future[str] = Future("r", "one-0", lambda: "")
    given_ = planted(value, future)

    held = futures_in("x", given_)
    future.finish("settled")
    new = resolved(given_, held, lambda f, _: f.result())

    assert new == planted(value, "settled")
    assert bool(held.futures) == ("future" in repr(value))
    assert (new is given_) == (not held.futures)


# ---------------------------------------------------------------------- wait_for and map


@pytest.mark.parametrize("held", ["{}", "[{}]", "[{}, {}]", "({}, [])", "{{'a': {}}}", "[[{}], ()]", "[None, {}]"])
def test_wait_for_takes_what_map_gave_for_no_items(h: Harness, held: str) -> None:
    @flow
    def f() -> Any:
        nothing = one.map(one.map([]))
        return one(5, wait_for=eval(held.format("x", "x"), {"x": nothing}))

    assert f() == 5


@pytest.mark.parametrize("given", [[1], "", "ab", b"", [[], [0]], {"a": 0}, 0])
def test_wait_for_refuses_what_is_no_future(h: Harness, given: Any) -> None:
    @flow
    def f() -> Any:
        return one(5, wait_for=given)

    with pytest.raises(UsageError, match="which is no future"):
        f()


def test_wait_for_takes_futures_however_they_are_held(h: Harness) -> None:
    @flow
    def f() -> Any:
        mapped = one.map([1, 2])
        failed = [bad.submit(), bad.submit()]
        one(0, wait_for=mapped)
        one(0, wait_for=[mapped, [one.submit()], {"a": one.submit()}])
        one(0, wait_for=allow_failure(failed))
        one(0, wait_for=[allow_failure(failed), allow_failure(failed[0])])
        with pytest.raises(UpstreamFailed):
            one(0, wait_for=[[failed]])
        with pytest.raises(UsageError):
            one(0, wait_for=["no future"])
        return None

    f()


def test_map_over_what_may_have_failed(h: Harness) -> None:
    @task
    def load(n: int) -> int:
        if n == 2:
            raise ValueError("no page 2")
        return n

    @task
    def show(x: Any) -> str:
        return str(x)

    @flow
    def f() -> list[str]:
        return show.map(allow_failure(load.map([1, 2, 3]))).result()

    assert f() == ["1", "no page 2", "3"]


@pytest.mark.parametrize(
    ("what", "refused"),
    [
        (lambda: Model(value=1), True),
        (lambda: Record(1), True),
        (lambda: frame_of(1), True),
        (lambda: {7, 8}, True),
        (lambda: Pair(1, 2), True),
        (lambda: unmapped({7, 8}), False),
        (lambda: {"a": 1, "b": 2}, False),
        (lambda: dict, False),
        (lambda: "ab", False),
        (lambda: [7, 8], False),
        (lambda: (n for n in (7, 8)), False),
        (lambda: (n for n in (7, 8, 9)), True),
        (lambda: __import__("itertools").count(), False),
        (lambda: __import__("itertools").repeat(5), False),
        (lambda: __import__("numpy").array(5), True),
        (lambda: __import__("numpy").array([5, 6]), False),
        (lambda: __import__("pandas").Series([5, 6]), False),
    ],
)
def test_map_beside_a_list_takes_nothing_apart_that_is_no_list(h: Harness, what: Any, refused: bool) -> None:
    @task
    def pair(x: Any, y: Any) -> Any:
        return x

    @flow(task_runner=ThreadTaskRunner(max_workers=1))
    def f() -> Any:
        return pair.map([1, 2], what()).result()

    if refused and not isinstance(what(), Record):  # a plain dataclass is no iterable: it goes whole to every call
        with pytest.raises(UsageError):
            f()
    else:
        assert f() == [1, 2]


def test_generators_of_different_lengths_are_refused(h: Harness) -> None:
    @flow
    def f() -> Any:
        return pair_of.map((n for n in range(3)), (n for n in range(4)))

    @task
    def pair_of(x: Any, y: Any) -> Any:
        return x, y

    with pytest.raises(UsageError, match="different lengths"):
        f()
