"""Values to bytes and back: the very same value, by the name that is stored with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.errors import ResultMissing, UsageError
from legato.core.records import Result
from legato.engine import results, serializers
from legato.storage.local import LocalStorage

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=8,
)
ANY = PLAIN | st.tuples(PLAIN) | st.sets(st.integers()) | st.dictionaries(st.integers(), PLAIN) | st.binary()


@given(ANY)
def test_what_is_chosen_by_itself_gives_back_the_very_same_value(value: Any) -> None:
    back = serializers.loads(*serializers.dumps(value, None))

    assert back == value
    assert isinstance(value, set) or repr(back) == repr(value)  # 1 is no True, and [] no ()


@given(
    PLAIN,
    st.sampled_from(["json", "pickle", "compressed/json", "zlib/pickle", "gzip/json", "bz2/json", "lzma/cloudpickle", "zlib/gzip/json"]),
)
def test_every_serializer_gives_a_plain_value_back(value: Any, name: str) -> None:
    stored, data = serializers.dumps(value, serializers.chosen(name))

    assert serializers.loads(stored, data) == value


def test_the_stored_name_says_which_compression_it_was(tmp_path: Path) -> None:
    result = results.save(["x"] * 5000, LocalStorage(tmp_path), serializers.chosen("compressed/json"))

    assert result.serializer in ("zstd/json", "zlib/json")
    assert result.size < 500
    assert results.load(result, LocalStorage(tmp_path)) == ["x"] * 5000


FRAMES = {
    "numbers and text": pd.DataFrame({"a": [1, 2], "b": [0.5, float("nan")], "c": ["x", None], "d": [True, False]}),
    "times": pd.DataFrame({"t": pd.date_range("2026", periods=2), "d": pd.to_timedelta([1, 2], "s")}),
    "missing integers": pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": pd.array([True, None], "boolean")}),
    "a named index": pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 7], name="id")),
    "objects": pd.DataFrame({"a": pd.Series([{"x": 1}, (2, 3)], dtype=object)}),
    "text as objects": pd.DataFrame({"a": pd.Series(["x", None], dtype=object)}),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y"], ordered=True)}),
    "several levels": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "a"), (2, "b")])),
    "columns with numbers": pd.DataFrame({0: [1], 1: [2]}),
    "equal column names": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "a frequency": pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026", periods=2)),
    "complex": pd.DataFrame({"a": [1j]}),
    "nothing": pd.DataFrame(),
    "notes": pd.DataFrame({"a": [1]}),
}
FRAMES["notes"].attrs["source"] = (1, 2)
BY_ARROW = {"numbers and text", "times", "missing integers", "a named index"}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_as_it_was_by_arrow_where_arrow_keeps_it(name: str) -> None:
    frame = FRAMES[name]
    stored, data = serializers.dumps(frame, None)
    back = serializers.loads(stored, data)

    assert stored == ("arrow" if name in BY_ARROW else "cloudpickle")
    pd.testing.assert_frame_equal(back, frame, check_index_type="exact", check_column_type="exact", check_freq=True)
    assert (back.attrs, type(back.index), type(back.columns)) == (frame.attrs, type(frame.index), type(frame.columns))


def test_a_frame_that_came_back_can_be_changed() -> None:
    back = serializers.loads(*serializers.dumps(pd.DataFrame({"a": [1.0, 2.0]}), None))
    back["a"] += 1
    back.iloc[0, 0] = 9.0
    back["a"].array[1] = 7.0

    assert back["a"].tolist() == [9.0, 7.0]


def test_an_arrow_table_comes_back_with_its_own_metadata() -> None:
    table = pa.table({"a": [1, None]}).replace_schema_metadata({"k": "v"})
    stored, data = serializers.dumps(table, None)
    back = serializers.loads(stored, data)

    assert (stored, back.equals(table, check_metadata=True)) == ("arrow", True)
    plain = serializers.loads(*serializers.dumps(pa.table({"a": [1]}), None))
    assert plain.schema.metadata is None


def test_an_array_can_be_changed_when_it_came_back(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    back = results.load(results.save(np.arange(100_000.0), storage), storage)
    back += 1

    assert back[5] == 6.0


def test_a_value_that_the_chosen_serializer_cannot_write_says_so(tmp_path: Path) -> None:
    result = results.save({1, 2}, LocalStorage(tmp_path), serializers.chosen("arrow"))

    assert (
        result.unavailable == "a value of type set cannot be serialised: TypeError: arrow writes pandas data frames and Arrow tables only"
    )


@pytest.mark.parametrize(
    ("given", "words"), [("jsn", "there is no result serializer 'jsn'"), ("rot13/json", "there is no"), (7, "is no serializer")]
)
def test_what_is_no_serializer_is_refused(given: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        serializers.chosen(given)


class Shout:
    """A serialiser of a user's own."""

    name = "shout"

    def dumps(self, value: Any) -> bytes:
        return str(value).upper().encode()

    def loads(self, data: bytes) -> Any:
        return data.decode().lower()


def test_a_serializer_of_one_s_own_is_found_again_by_its_name(tmp_path: Path) -> None:
    result = results.save("hello", LocalStorage(tmp_path), serializers.chosen(Shout()))

    assert (result.serializer, result.inline) == ("shout", b"HELLO")
    assert results.load(result, LocalStorage(tmp_path)) == "hello"


def test_one_that_is_not_known_here_says_what_is_missing(tmp_path: Path) -> None:
    strange = Result(serializer="whisper", inline=b"x", hash=results._digest(b"x"))

    with pytest.raises(ResultMissing, match="stored by the serializer 'whisper', which is not known here"):
        results.load(strange, LocalStorage(tmp_path))


def test_one_may_not_take_the_name_of_ours() -> None:
    class Json(Shout):
        name = "json"

    with pytest.raises(UsageError, match="cannot be called 'json'"):
        serializers.chosen(Json())


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_damaged_result_is_never_given_out(tmp_path: Path, size: int) -> None:
    storage = LocalStorage(tmp_path)
    result = results.save("x" * size, storage)
    if result.key:
        storage.path_of(result.key).write_bytes(b"other bytes")
        damaged = result
    else:
        damaged = Result(serializer=result.serializer, inline=b'"y"', hash=result.hash)

    with pytest.raises(ResultMissing, match="damaged: its hash differs"):
        results.load(damaged, storage)


def test_a_result_whose_key_is_not_its_hash_is_checked_by_its_hash(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    other = storage.put(b"'other'" * 2000)

    with pytest.raises(ResultMissing, match="damaged"):
        results.load(Result(serializer="json", key=other, hash="0" * 64), storage)
