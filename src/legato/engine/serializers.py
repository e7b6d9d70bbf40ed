"""Serialisers: values to bytes and back, by name, so that a stored result says how it is read.

`auto` picks what gives back the very same value: JSON for plain values, an Arrow stream for data frames that Arrow keeps exactly, cloudpickle
for the rest. A name may be prefixed with a compression: "zlib/json", "zstd/cloudpickle"; "compressed/…" is the best there is.

Measured (2026-11, 500,000 rows of 5 columns, 21 MB): an uncompressed Arrow stream is saved in 10 ms and loaded in 3, cloudpickle 10 and 10,
Parquet 73 and 24 for 12.6 MB. So the stream is what `arrow` means; who wants it small writes "zstd/arrow".
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from legato.core.errors import ResultMissing, UsageError


class Serializer(Protocol):
    """A way to write values as bytes. `name` is stored with each result, and found again by it."""

    @property
    def name(self) -> str: ...

    def dumps(self, value: Any) -> bytes:
        """The bytes of a value. Raises whatever says why it cannot be written."""
        ...

    def loads(self, data: bytes) -> Any:
        """The value of such bytes."""
        ...


class _Json:
    name = "json"

    def dumps(self, value: Any) -> bytes:
        return msgspec.json.encode(value)

    def loads(self, data: bytes) -> Any:
        return msgspec.json.decode(data)


class _Cloudpickle:
    name = "cloudpickle"

    def dumps(self, value: Any) -> bytes:
        from legato.engine import script_classes  # noqa: PLC0415 start-up time: most values are plain

        return script_classes.dumps(value)

    def loads(self, data: bytes) -> Any:
        from legato.engine import script_classes  # noqa: PLC0415 start-up time

        return script_classes.loads(data)


class _Arrow:
    name = "arrow"

    def dumps(self, value: Any) -> bytes:
        import pyarrow as pa  # noqa: PLC0415 an optional package, wanted for frames only

        if isinstance(value, pa.Table):
            table, made_of = value, b"arrow"
        elif _is_pandas_frame(value):
            table, made_of = pa.Table.from_pandas(value), b"pandas"
        else:
            raise TypeError("arrow writes pandas data frames and Arrow tables only")
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"legato": made_of})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def loads(self, data: bytes) -> Any:
        import pyarrow as pa  # noqa: PLC0415 an optional package

        table = pa.ipc.open_stream(data).read_all()
        metadata = dict(table.schema.metadata or {})
        made_of = metadata.pop(b"legato", b"arrow")
        if made_of == b"pandas":
            return table.to_pandas(split_blocks=False).copy()  # its columns would be views of read-only memory
        return table.replace_schema_metadata(metadata or None)


class _Compressed:
    """Another serialiser's bytes, compressed."""

    def __init__(self, codec: str, inner: Serializer) -> None:
        self.name = f"{codec}/{inner.name}"
        self._module = _codec_module(codec)
        self._inner = inner

    def dumps(self, value: Any) -> bytes:
        data: bytes = self._module.compress(self._inner.dumps(value))
        return data

    def loads(self, data: bytes) -> Any:
        return self._inner.loads(self._module.decompress(data))


_CODECS: Mapping[str, tuple[str, ...]] = {
    "zstd": ("compression.zstd", "backports.zstd", "zstandard"),
    "zlib": ("zlib",),
    "gzip": ("gzip",),
    "bz2": ("bz2",),
    "lzma": ("lzma",),
}
"""Compression -> the modules that have it, each with `compress` and `decompress`."""

JSON, CLOUDPICKLE, ARROW = _Json(), _Cloudpickle(), _Arrow()
_known: dict[str, Serializer] = {"json": JSON, "cloudpickle": CLOUDPICKLE, "pickle": CLOUDPICKLE, "arrow": ARROW}
_BUILT_IN = tuple(_known)


def _codec_module(codec: str) -> Any:
    for name in _CODECS[codec]:
        if name in sys.modules or (_has(name)):
            return importlib.import_module(name)
    raise UsageError(f"results cannot be compressed with {codec} here", hint=f"install zstandard, or use {', '.join(_CODECS)}")


def _has(name: str) -> bool:
    import importlib.util  # noqa: PLC0415 start-up time: wanted for frames and compression

    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _best_codec() -> str:
    return "zstd" if any(_has(name) for name in _CODECS["zstd"]) else "zlib"


def named(name: str) -> Serializer:
    """The serialiser of a name. Raises `UsageError` when there is none."""
    found = _known.get(name)
    if found is None:
        codec, slash, inner = name.partition("/")
        if slash and (codec in _CODECS or codec == "compressed"):
            found = _Compressed(_best_codec() if codec == "compressed" else codec, named(inner))
            _known[found.name] = found
    if found is None:
        raise UsageError(
            f"there is no result serializer '{name}'",
            hint=f"use {', '.join(_BUILT_IN)}, one of these after {'/, '.join(('compressed', *_CODECS))}/, or an object with name, dumps, loads",
        )
    return found


def chosen(given: Any) -> Serializer | None:
    """What was given as `result_serializer`: a name or an object, None: to be chosen for each value. An object is remembered by its name."""
    if given is None or given == "auto":
        return None
    if isinstance(given, str):
        return named(given)
    if not isinstance(getattr(given, "name", None), str) or not callable(getattr(given, "dumps", None)) or not hasattr(given, "loads"):
        raise UsageError(
            f"result_serializer is {given!r}, which is no serializer",
            hint="give a name, or an object with name, dumps(value) and loads(data)",
        )
    serializer: Serializer = given
    if serializer.name in _BUILT_IN:
        raise UsageError(
            f"a result serializer cannot be called '{serializer.name}'", hint="that is one of Legato's own; choose another name"
        )
    _known[serializer.name] = serializer
    return serializer


def dumps(value: Any, serializer: Serializer | None) -> tuple[str, bytes]:
    """The name of the serialiser that was used, and the bytes."""
    if serializer is not None:
        return serializer.name, serializer.dumps(value)
    if _is_plain(value):
        return "json", JSON.dumps(value)
    if _is_kept_by_arrow(value):
        return "arrow", ARROW.dumps(value)
    return "cloudpickle", CLOUDPICKLE.dumps(value)


def comes_back(value: Any, name: str, data: bytes) -> bool:
    """Whether what a serialiser that somebody chose has written is read as the very same value: JSON makes a list of a tuple."""
    kind = name.rpartition("/")[2]
    if kind == "cloudpickle" or (kind == "json" and _is_plain(value)) or (kind == "arrow" and _is_kept_by_arrow(value)):
        return True
    from legato.core.identity import digest_of  # noqa: PLC0415 start-up time: few choose a serialiser

    try:
        read = loads(name, data)
        return digest_of(read) == digest_of(value) and _has_shared(value) == _has_shared(read)
    except Exception:  # noqa: BLE001 it has no form; or a user's serialiser, or __legato_hash__, raises whatever it likes
        return False


def loads(name: str, data: bytes) -> Any:
    """The value of stored bytes. Raises `ResultMissing` when this program lacks what wrote them."""
    try:
        return named(name).loads(data)
    except UsageError as error:
        raise ResultMissing(f"a result was stored by the serializer '{name}', which is not known here", hint=error.hint) from None
    except (ImportError, AttributeError) as error:
        raise ResultMissing(
            f"a stored result cannot be read here: {error}", hint="the module it was made with must be importable"
        ) from error


# ---------------------------------------------------------------------- which values come back exactly


def _is_plain(value: Any) -> bool:
    """Whether JSON gives back the very same value: exact types only (no tuples, no subclasses), string keys, finite and bounded numbers, and no
    list or dict that stands in two places: whoever changes the one changes the other.
    """
    kind = type(value)
    if kind is list or kind is dict:
        return _is_tree(value, 6, set())
    return _is_plain_scalar(value, kind)


def _is_plain_scalar(value: Any, kind: type) -> bool:
    if kind is str or kind is bool or value is None:
        return True
    if kind is float:
        return math.isfinite(value)
    return kind is int and bool(-(2**63) <= value < 2**64)


def _is_tree(value: Any, depth: int, seen: set[int]) -> bool:
    if depth == 0 or id(value) in seen:
        return False
    seen.add(id(value))
    if type(value) is dict:
        if not all(type(key) is str for key in value):
            return False
        value = value.values()
    for item in value:
        kind = type(item)
        if not (_is_tree(item, depth - 1, seen) if kind is list or kind is dict else _is_plain_scalar(item, kind)):
            return False
    return True


def _has_shared(value: Any) -> bool:
    """Whether a list or dict stands in two places of a value made of lists, tuples and dicts."""
    seen: set[int] = set()
    ahead = [value]
    while ahead:
        part = ahead.pop()
        if type(part) in (list, dict):
            if id(part) in seen:
                return True
            seen.add(id(part))
        if type(part) in (list, tuple, dict):
            ahead += part.values() if type(part) is dict else part
    return False


def _is_pandas_frame(value: Any) -> bool:
    kind = type(value)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas"


def _is_kept_by_arrow(value: Any) -> bool:
    """Whether Arrow gives back this very table or frame, with its types and index, and is installed."""
    kind = type(value)
    if kind.__module__.partition(".")[0] == "pyarrow":
        return kind.__name__ == "Table"
    if not _is_pandas_frame(value) or value.attrs or not value.shape[1] or not value.flags.allows_duplicate_labels:
        return False
    names = value.columns
    if type(names).__name__ != "Index" or not names.is_unique or names.name is not None or not all(type(name) is str for name in names):
        return False
    return _has_exact_index(value.index) and all(_is_exact(dtype) for dtype in value.dtypes) and _has("pyarrow")


def _has_exact_index(index: Any) -> bool:
    if type(index).__name__ == "RangeIndex":
        return True
    return type(index).__name__ == "Index" and _is_exact(index.dtype) and (index.name is None or type(index.name) is str)


def _is_exact(dtype: Any) -> bool:
    if type(dtype).__module__.partition(".")[0] == "numpy":
        return dtype.kind in "biufmM" and dtype.isnative
    return str(dtype) in _EXACT


_EXACT = frozenset(("str", "boolean", *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))))
"""pandas' own types of columns that come back from Arrow as they were."""
