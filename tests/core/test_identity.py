"""What a value is: equal bytes for equal values in every process, other bytes for all that anything could tell apart, unknown for the rest."""

import collections
import datetime as dt
import decimal
import enum
import functools
import operator
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import threading
import types
import uuid
import zoneinfo
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import cloudpickle
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.digests import plain_bytes
from legato.core.identity import Form, Unknown, digest_of, form_of, is_frozen

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")) | st.binary()
keys = st.text(st.characters(codec="utf-8")) | st.integers() | st.booleans() | st.tuples(st.integers(), st.integers())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner)
        | st.sets(st.integers() | st.text(st.characters(codec="utf-8")))
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equality that tells 1 from True and 1.0, a list from a tuple, 0.0 from -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) and same(a[x], b[y]) for x, y in zip(a, b, strict=True))
    if isinstance(a, set):
        return a == b and sorted(map(repr, a)) == sorted(map(repr, b))
    return repr(a) == repr(b)


@given(values, values)
def test_two_values_have_one_hash_exactly_if_they_are_the_same(a: Any, b: Any) -> None:
    assert (form_of(a) == form_of(b)) == same(a, b)


def reordered(value: Any) -> Any:
    """An equal value whose sets were built in another order."""
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in value.items()}
    if isinstance(value, set):
        return {item for item in sorted(value, key=repr, reverse=True)}  # noqa: C416 the order of building is the point
    return type(value)(map(reordered, value)) if isinstance(value, (list, tuple)) else value


@given(values)
def test_the_order_in_which_a_set_was_built_does_not_count(value: Any) -> None:
    assert digest_of(reordered(value)) == digest_of(value)


@given(st.lists(values, max_size=20))
def test_hashes_are_equal_in_another_process(several: list[Any]) -> None:
    answer = _other_process().ask(ascii(several))

    assert answer == [digest_of(value) for value in several]


class _Other:
    """One process with another hash seed that answers for the whole test."""

    def __init__(self) -> None:
        program = (
            "import sys\nfrom legato.core.identity import digest_of\n"
            "for line in sys.stdin:\n    print(*[digest_of(v) for v in eval(line, {'inf': float('inf')})], flush=True)"
        )
        env = {**os.environ, "PYTHONHASHSEED": "12345"}
        self._process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, text: str) -> list[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().split()

    def close(self) -> None:
        self._process.communicate(timeout=10)


@functools.cache
def _other_process() -> _Other:
    return _Other()


@pytest.fixture(autouse=True, scope="module")
def _end_the_other_process():
    yield
    if _other_process.cache_info().currsize:
        _other_process().close()
        _other_process.cache_clear()


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Row:
    a: int
    b: object = None


@dataclass
class OtherRow:
    a: int
    b: object = None


class Model(pydantic.BaseModel):
    a: int


class Record(msgspec.Struct):
    a: int


class Named(str):
    __slots__ = ()


class Lazily:
    def __init__(self, n: int) -> None:
        self.n = n

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.n


def looked_at(value: Lazily) -> Lazily:
    assert value.twice
    return value


class Connection:
    def __init__(self, url: str) -> None:
        self.url = url
        self.socket = object()

    def __legato_hash__(self) -> object:
        return self.url


Pair = namedtuple("Pair", "x y")  # noqa: PYI024 a plain namedtuple is what this is about
UTC, BERLIN = dt.UTC, zoneinfo.ZoneInfo("Europe/Berlin")
JULY = dt.datetime(2026, 7, 1, 12)

ALL_DIFFERENT = [
    *(1, True, 1.0, "1", b"1", decimal.Decimal(1), decimal.Decimal("1.0"), Level.LOW, Named("1"), bytearray(b"1"), complex(1), 10**30, np.int64(1)),
    *([1], (1,), {1}, {"a": 1}, {1: 1}, {"1": 1}, Row(1), OtherRow(1), Model(a=1), Record(1), Pair(1, 1), (1, 1), [1, 1]),
    *(Colour.RED, Colour.BLUE, Colour, Row, "Colour.RED"),
    *(JULY, JULY.replace(tzinfo=UTC), JULY.replace(tzinfo=BERLIN), JULY.date(), JULY.time(), JULY.isoformat(), dt.timedelta(seconds=1)),
    *(uuid.UUID(int=1), str(uuid.UUID(int=1)), PurePosixPath("/a"), "/a", range(3), [0, 1, 2], slice(3)),
    *(np.array([1, 2]), np.array([1.0, 2]), np.array([[1, 2]]), np.array([1, 2], "i4"), np.array([1, 2], object), np.array(["a"]), np.array([])),
    *(np.array(["2026-01-01"], "M8[D]"), np.zeros((0, 3))),
    *(pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": [1, 2]}), pd.DataFrame({"a": [1, 3]}), pd.DataFrame({"a": [1, 2]}, index=[1, 2])),
    *(pd.DataFrame({"a": ["x", None]}), pd.DataFrame({"a": [1.0, 2.0]}), pd.Series([1, 2]), pd.Series([1, 2], name="a"), pd.Index([1, 2])),
    *(pd.DataFrame({"a": pd.Categorical(["x", "y"])}), pd.DataFrame({"a": pd.array([1, None], "Int64")}), pd.Timestamp(2026, 7, 1, 12), pd.NaT, pd.NA),
    *(pa.table({"a": [1, 2]}), pa.table({"a": [1, None]})),
    *(len, functools.partial(len, []), functools.partial(len, {}), Connection("a"), Connection("b")),
]  # fmt: skip


def test_values_that_differ_in_kind_or_content_differ_in_hash() -> None:
    hashes: dict[str, object] = {}
    for value in ALL_DIFFERENT:
        digest = digest_of(value)
        assert digest not in hashes, f"{value!r} and {hashes[digest]!r}"
        hashes[digest] = value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Row(1, {"x": {1, 2}}), Row(1, {"x": {2, 1}})),
        (Model(a=1), Model(a=1)),
        (Lazily(3), looked_at(Lazily(3))),
        (np.arange(6).reshape(2, 3).T, np.array([[0, 3], [1, 4], [2, 5]])),
        (np.arange(10)[::2], np.array([0, 2, 4, 6, 8])),
        (pd.DataFrame({"a": [1, 2, 3]})[1:].reset_index(drop=True), pd.DataFrame({"a": [2, 3]})),
        (pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2]})]), pa.table({"a": [1, 2]})),
        (pa.table({"a": [0, 1, 2]}).slice(1), pa.table({"a": [1, 2]})),
        (Connection("a"), Connection("a")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_equal_values_of_other_kinds_have_equal_hashes(one: object, other: object) -> None:
    assert digest_of(one) == digest_of(other)


def test_the_order_of_a_dict_counts_since_code_can_see_it() -> None:
    assert digest_of({"a": 1, "b": 2}) != digest_of({"b": 2, "a": 1})


# ---------------------------------------------------------------------- what was stored is what was fresh


class Node:
    def __init__(self, name: str) -> None:
        self.name = name
        self.up: Any = None
        self.parts: list[Any] = []


def a_tree(depth: int = 3) -> Node:
    node = Node(f"at {depth}")
    for _ in range(2 if depth else 0):
        part = a_tree(depth - 1)
        part.up = node
        node.parts.append(part)
    return node


def a_ring() -> list[Any]:
    ring: list[Any] = [1]
    ring += [ring, (ring, ring)]
    return ring


def fitted() -> list[Any]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    x = np.arange(60, dtype=float).reshape(20, 3) % 7
    y = (x[:, 0] > 3).astype(int)
    kinds = LinearRegression(), RandomForestClassifier(5, random_state=1, n_jobs=1), KNeighborsClassifier(), DecisionTreeRegressor()
    return [kind.fit(x, y) for kind in (*kinds, make_pipeline(StandardScaler(), LinearRegression()))]


class Counter2(collections.Counter):  # type: ignore[type-arg]
    pass


def with_attribute(value: Any, **more: Any) -> Any:
    for name, item in more.items():
        setattr(value, name, item)
    return value


def framed(**attrs: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1, 2]})
    frame.attrs.update(attrs)
    return frame


class Private(pydantic.BaseModel):
    a: int = 1
    _seen: int = pydantic.PrivateAttr(0)


class Listed(list):  # type: ignore[type-arg]
    pass


class Dictated(dict):  # type: ignore[type-arg]
    pass


class Gathered(set):  # type: ignore[type-arg]
    pass


def _private(n: int) -> Private:
    model = Private()
    model._seen = n
    return model


STATEFUL: list[Any] = [
    *(framed(), framed(k=1), framed(k=2), collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
    *(collections.defaultdict(int), collections.defaultdict(list), collections.Counter("ab"), Counter2("ab"), collections.deque([1], 3), collections.deque([1])),
    *(pd.Timedelta(1, "ns"), pd.Timedelta(2, "ns"), pd.Timedelta(0), PurePosixPath("a/b"), PureWindowsPath("a/b"), Path("a/b")),
    *(pd.Categorical(["x"]), pd.Categorical(["x"], ["x", "y"]), pd.Categorical(["x"], ["y", "x"]), pd.Categorical(["x"], ["x", "y"], ordered=True)),
    *(pd.DataFrame({"a": pd.Categorical(["x"], ["x", "y"])}), pd.DataFrame({"a": pd.Categorical(["x"], ["y", "x"])})),
    *(pd.date_range("2026", periods=3), pd.DatetimeIndex(list(pd.date_range("2026", periods=3))), pd.MultiIndex.from_tuples([(1, "a")], names=["n", "s"])),
    *(pd.array([1, None]), pd.array([1, 0]), pd.interval_range(0, 2), pd.interval_range(0, 2, closed="left"), pd.Period("2026"), pd.Series([1], dtype="Sparse[int]")),
    *(_private(1), _private(2), with_attribute(Row(1), extra=1), with_attribute(Row(1), extra=2), with_attribute(Listed([1]), extra=1), Listed([1])),
    *(with_attribute(Dictated(a=1), extra=1), Dictated(a=1), with_attribute(Gathered({1}), extra=1), Gathered({1}), ValueError(1), KeyError(1)),
    *({"a": 1}.get, {"a": 2}.get, ",".join, "".join, re.compile("a"), re.compile("a", re.IGNORECASE), re.compile("a").match, operator.itemgetter(1), operator.itemgetter(2)),
    *(np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 0]), np.array([(1, 2)], "i4,i4"), np.array([1]).view(np.recarray), np.array([1], ">i8"), np.random.default_rng(1)),
    *(list[int], list[str], int | None, dt.timezone(dt.timedelta(hours=1)), iter([1, 2]), "\ud800", -(2**63), 2**64 - 1, 2**64, float("nan"), -0.0, 0.0),
    *(a_ring(), [a_ring()], a_tree(), a_tree(2), [[1], [1]], *fitted()),
]  # fmt: skip


def test_what_a_type_holds_beside_its_items_counts() -> None:
    hashes: dict[str, object] = {}
    for value in STATEFUL:
        digest = digest_of(value)
        assert digest not in hashes, f"{value!r} and {hashes[digest]!r}"
        hashes[digest] = value


@pytest.mark.parametrize("value", [*ALL_DIFFERENT, *STATEFUL], ids=lambda value: type(value).__name__)
def test_what_comes_back_from_a_store_is_the_same_value(value: Any) -> None:
    again = pickle.loads(cloudpickle.dumps(value))

    assert digest_of(again) == digest_of(value)


def test_a_frame_is_the_same_however_it_lies_in_memory() -> None:
    columns = {"a": np.arange(6), "b": np.arange(6) / 2, "c": list("uvwxyz")}
    at_once = pd.DataFrame(columns)
    bit_by_bit = pd.DataFrame({"a": columns["a"]})
    for name in "bc":
        bit_by_bit[name] = columns[name]
    cut = pd.concat([at_once[:2], at_once[2:]])

    assert digest_of(at_once) == digest_of(bit_by_bit) == digest_of(cut.reset_index(drop=True))


@pytest.mark.parametrize("change", [lambda x: x + 1, lambda x: np.where(x == 3, -3, x), np.flip])
def test_one_other_cell_makes_another_frame(change: Callable[[Any], Any]) -> None:
    frame = pd.DataFrame({"a": np.arange(6), "b": np.arange(6)})

    assert digest_of(frame.assign(b=change(frame.b.to_numpy()))) != digest_of(frame)


# ---------------------------------------------------------------------- shared and cyclic


@st.composite
def graphs(draw: st.DrawFn) -> list[list[Any]]:
    """Lists that hold each other, and themselves, at will."""
    nodes: list[list[Any]] = [[] for _ in range(draw(st.integers(1, 5)))]
    for n, node in enumerate(nodes):
        node.append(draw(st.integers(0, 1)))
        node.extend([*(nodes[k] for k in draw(st.lists(st.integers(0, len(nodes) - 1), max_size=3))), n])
    return nodes


@given(graphs())
def test_a_graph_is_the_same_after_pickling(nodes: list[list[Any]]) -> None:
    assert digest_of(pickle.loads(pickle.dumps(nodes[0]))) == digest_of(nodes[0])


@given(graphs(), graphs())
def test_graphs_that_differ_somewhere_differ(one: list[list[Any]], other: list[list[Any]]) -> None:
    if unrolled(one[0]) != unrolled(other[0]):
        assert digest_of(one[0]) != digest_of(other[0])


def unrolled(value: Any, depth: int = 7) -> Any:
    """A graph as what can be seen of it within so many steps."""
    if isinstance(value, int):
        return value
    return tuple(unrolled(item, depth - 1) for item in value) if depth else ()


def test_what_is_shared_counts_by_what_it_is_and_costs_nothing() -> None:
    deep: list[Any] = [1]
    for _ in range(60):
        deep = [deep] * 12
    shared = [1, [2]]

    assert digest_of(deep)
    assert digest_of([shared, shared]) == digest_of([[1, [2]], [1, [2]]])


def test_a_large_web_of_parts_ends() -> None:
    nodes = [Node(str(n)) for n in range(30)]
    for node in nodes:
        node.parts = nodes

    assert digest_of(nodes[0]) == digest_of(pickle.loads(pickle.dumps(nodes[0])))
    assert digest_of(nodes[0]) != digest_of(nodes[1])


def test_what_is_nested_too_deeply_is_unknown_and_no_error_of_its_own() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(Unknown, match="nested too deeply"):
        digest_of(deep)
    while deep:  # taken apart from the outside: Python's own way down is recursive
        deep = deep.pop()


# ---------------------------------------------------------------------- unknown


@pytest.mark.parametrize(
    "make",
    [threading.Lock, object, lambda: (n for n in ()), lambda: Path(os.devnull).open(), lambda: [1, {"a": threading.Lock()}], lambda: sqlite3.connect(":memory:"), {}.keys],  # noqa: SIM115
    ids=["lock", "bare object", "generator", "file", "inside", "connection", "view"],
)  # fmt: skip
def test_what_cannot_be_taken_apart_is_unknown(make: Callable[[], Any]) -> None:
    value = make()
    with pytest.raises(Unknown):
        digest_of(value)
    if hasattr(value, "close"):
        value.close()


def test_what_is_too_large_for_a_limit_is_unknown() -> None:
    assert Form(limit=10_000).bytes_of(list(range(100)))
    with pytest.raises(Unknown, match="too large"):
        Form(limit=10_000).bytes_of([str(n) for n in range(10_000)])
    with pytest.raises(Unknown, match="too large"):
        Form(limit=10_000).bytes_of(np.zeros(10_000))


# ---------------------------------------------------------------------- the fast road, and what need not be looked at twice


@given(st.lists(scalars, max_size=4), st.dictionaries(st.sampled_from("abc"), scalars), st.lists(scalars, max_size=4), st.dictionaries(st.sampled_from("abc"), scalars))  # fmt: skip
def test_plain_arguments_are_the_same_exactly_if_they_are(a: list[Any], k: dict[str, Any], b: list[Any], m: dict[str, Any]) -> None:
    one, other = plain_bytes(tuple(a), k), plain_bytes(tuple(b), m)

    if one is not None and other is not None:
        assert (one == other) == (same(a, b) and same(dict(sorted(k.items())), dict(sorted(m.items()))))


@pytest.mark.parametrize("value", [(1,), [1], {}, 2**64, "\ud800", Level.LOW, Named("a"), np.float64(1), JULY])
def test_other_arguments_do_not_take_the_fast_road(value: Any) -> None:
    assert plain_bytes((value,), {}) is None
    assert plain_bytes((), {"x": value}) is None


def test_only_what_nobody_can_change_is_frozen() -> None:
    assert all(
        map(is_frozen, [1, "a", (1, ("a",)), JULY, Path("a"), decimal.Decimal(1), uuid.UUID(int=1), Colour.RED, frozenset({1}), range(3)])
    )
    assert not any(map(is_frozen, [[], {}, set(), ([],), Row(1), np.zeros(1), bytearray(), Named("a"), slice([]) and [[]], Pair([], 1)]))


def test_what_a_dispatching_function_remembers_is_no_part_of_it() -> None:
    @functools.singledispatch
    def shown(_: object) -> str:
        return "any"

    class Box:
        @functools.singledispatchmethod
        def shown(self, _: object) -> str:
            return "any"

    for held, call in ((shown, shown), ([shown], shown), (vars(Box)["shown"], Box().shown)):
        before = form_of(held, by_place)
        call(1.5)
        assert form_of(held, by_place) == before

    shown.register(int)(lambda _: "int")
    assert form_of(shown, by_place) != form_of(vars(Box)["shown"].dispatcher, by_place)
    before = form_of(shown, by_place)
    shown.register(str)(lambda _: "str")
    assert form_of(shown, by_place) != before


def by_place(value: Any) -> Any:
    return ["at", id(value)] if isinstance(value, (types.FunctionType, type)) else None
