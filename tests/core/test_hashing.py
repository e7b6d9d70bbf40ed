"""Hashes of values: equal for equal values in every process, different for different ones, and refused where neither can be promised."""

import datetime as dt
import decimal
import enum
import functools
import os
import subprocess
import sys
import uuid
import zoneinfo
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.hashing import Unhashable, canonical_bytes, digest_of

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
    if isinstance(a, (dict, set)):
        return (
            a == b and repr(sorted(map(repr, a))) == repr(sorted(map(repr, b))) and (isinstance(a, set) or all(same(a[k], b[k]) for k in a))
        )
    return repr(a) == repr(b)


@given(values, values)
def test_two_values_have_one_hash_exactly_if_they_are_the_same(a: Any, b: Any) -> None:
    assert (canonical_bytes(a) == canonical_bytes(b)) == same(a, b)


def reordered(value: Any) -> Any:
    """An equal value that was built in another order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    if isinstance(value, set):
        return {item for item in sorted(value, key=repr, reverse=True)}  # noqa: C416 the order of building is the point
    return type(value)(map(reordered, value)) if isinstance(value, (list, tuple)) else value


@given(values)
def test_the_order_of_dicts_and_sets_does_not_count(value: Any) -> None:
    assert digest_of(reordered(value)) == digest_of(value)


@given(st.lists(values, max_size=20))
def test_hashes_are_equal_in_another_process(several: list[Any]) -> None:
    answer = _other_process().ask(ascii(several))

    assert answer == [digest_of(value) for value in several]


class _Other:
    """One process with another hash seed that answers for the whole test."""

    def __init__(self) -> None:
        program = (
            "import sys\nfrom legato.core.hashing import digest_of\n"
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
        (Path("a/b"), PurePosixPath("a/b")),
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


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(Unhashable):
        digest_of(endless)


def test_a_value_without_form_or_pickle_is_refused() -> None:
    import threading

    with pytest.raises(Unhashable):
        digest_of(threading.Lock())
