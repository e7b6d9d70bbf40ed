"""A value that was stored comes back as the very same one: its kind, its parts, and what code can ask of it beside those."""

import array
import collections
import copyreg
import datetime as dt
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from legato.core.digests import hex_digest
from legato.core.identity import digest_of
from legato.engine import results, serializers


class Blobs:
    """Storage in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        key = hex_digest(data, 32)
        self.kept[key] = data
        return key

    def get(self, key: str) -> bytes:
        return self.kept[key]


def raised(error: BaseException, *, of: BaseException | None = None) -> BaseException:
    try:
        try:
            raise ValueError("first")
        except ValueError:
            raise error from of
    except type(error) as came:
        return came


def read_only(value: Any) -> Any:
    value.flags.writeable = False
    return value


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return Refused, (self.code,)


VALUES: dict[str, Callable[[], Any]] = {
    "big-endian": lambda: np.arange(3, dtype=">i4"),
    "read-only": lambda: read_only(np.arange(3)),
    "big-endian and read-only": lambda: read_only(np.arange(3, dtype=">f8")),
    "an array in a list": lambda: [read_only(np.arange(3)), np.arange(3)],
    "Fortran order": lambda: read_only(np.asfortranarray(np.ones((2, 3)))),
    "structured": lambda: np.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", ">f8")]),
    "masked": lambda: np.ma.masked_array([1, 2], [True, False]),
    "masked hard": lambda: np.ma.masked_array([1, 2], [True, False], hard_mask=True),
    "memory": lambda: memoryview(b"abc"),
    "memory that can be written": lambda: memoryview(bytearray(b"abc")),
    "memory of numbers": lambda: memoryview(array.array("i", [1, 2])),
    "error with a context": lambda: raised(KeyError("b")),
    "error with a cause": lambda: raised(KeyError("b"), of=TypeError("c")),
    "error of an own class": lambda: raised(Refused(3), of=TypeError("c")),
    "error with attributes": lambda: raised(OSError(2, "no", "file")),
    "group of errors": lambda: raised(ExceptionGroup("g", [ValueError("a"), raised(KeyError("b"))])),
    "frame of big-endian": lambda: pd.DataFrame({"a": np.arange(3, dtype=">i4")}),
    "frame that refuses duplicates": lambda: pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    "frame with a named index": lambda: pd.DataFrame({"a": [1]}, index=pd.Index([1], name="i")),
    "defaultdict": lambda: collections.defaultdict(int, a=1),
    "deque": lambda: collections.deque([1], 3),
    "namespace": lambda: types.SimpleNamespace(a=1),
    "second of two": lambda: dt.datetime(2024, 1, 1, fold=1),
}


def asked(value: Any) -> list[Any]:
    """What code can ask of a value, beside what it holds."""
    flags = getattr(value, "flags", None)
    items = [asked(item) for item in value] if isinstance(value, list) else []
    parts = [getattr(value, name, None) for name in ("hardmask", "readonly", "format", "__suppress_context__", "fold", "errno", "code")]
    came_from = [asked(one) for name in ("__cause__", "__context__") if (one := getattr(value, name, None)) is not None]
    return [type(value), str(getattr(value, "dtype", "")), getattr(flags, "writeable", None), parts, came_from, items]


@pytest.fixture(params=["by itself", "beside Dask"])
def surroundings(request: pytest.FixtureRequest) -> Iterator[None]:
    """Dask brings tblib, which changes how every exception is pickled, in the whole process."""
    before = dict(copyreg.dispatch_table)
    if request.param == "beside Dask":
        pytest.importorskip("tblib.pickling_support").install()
    yield
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("kind", VALUES)
def test_a_stored_value_comes_back_as_it_was(kind: str) -> None:
    value, blobs = VALUES[kind](), Blobs()

    again = results.load(results.save(value, blobs), blobs)

    assert asked(again) == asked(value)
    assert digest_of(again) == digest_of(value)


def test_values_that_code_can_tell_apart_are_two() -> None:
    pairs: list[tuple[Any, Any]] = [
        (np.arange(3), read_only(np.arange(3))),
        (np.arange(3, dtype=">i4"), np.arange(3, dtype="<i4")),
        (np.ma.masked_array([1], [True]), np.ma.masked_array([1], [True], hard_mask=True)),
        (KeyError("b"), raised(KeyError("b"))),
        (raised(KeyError("b"), of=TypeError("c")), raised(KeyError("b"), of=TypeError("d"))),
    ]
    for one, other in pairs:
        assert digest_of(one) != digest_of(other), (one, other)


@pytest.mark.parametrize("value", [(1, 2), {1: "a"}, {"a": (1,)}, float("inf"), [1, [2, {"a": {3}}]]], ids=repr)
def test_what_a_chosen_serializer_does_not_keep_is_said(value: Any) -> None:
    blobs = Blobs()

    try:
        result = results.save(value, blobs, serializers.named("json"))
    except TypeError:
        return
    assert result.unavailable or "another one when it is read again" in result.beside
    assert not results.save(value, blobs, serializers.named("zlib/cloudpickle")).beside
    assert not results.save([1, {"a": 2}], blobs, serializers.named("json")).beside


def test_instants_in_lists_and_structs_of_polars_count_to_the_nanosecond() -> None:
    pl = pytest.importorskip("polars")
    lists = [pl.Series([[n], [], None]).cast(pl.List(pl.Datetime("ns"))) for n in (1, 2, 1)]
    structs = [pl.Series([{"t": n}]).cast(pl.Struct({"t": pl.Datetime("ns")})) for n in (1, 2, 1)]
    for one, other, same in (lists, structs, [pl.DataFrame({"a": one, "b": [1, 2, 3]}) for one in lists], [[one] for one in lists]):
        assert digest_of(one) != digest_of(other)
        assert digest_of(one) == digest_of(same)
    assert digest_of(pl.Series([[1], []])) != digest_of(pl.Series([[], [1]]))
