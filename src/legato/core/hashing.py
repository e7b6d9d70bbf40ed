"""Values to hashes that are equal for equal values in every process: of canonical MessagePack, never of pickle, whose bytes differ.

Plain values (None, bool, int, float, str, bytes, lists, dicts with text keys) are encoded as they are. Everything else is written in a tagged
form: its kind and what it consists of, so that a tuple is not a list and Decimal("1") is not "1". A type of the user's own says what it
consists of by a method `__legato_hash__`. What has no canonical form is hashed by its pickle, if it has one: a *weak* hash, since equal
values may pickle differently; then the same work is done again, but never is wrong work reused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from hashlib import blake2b

_encode = msgspec.msgpack.Encoder(order="deterministic").encode

_PLAIN = frozenset((type(None), bool, int, float, str, bytes))
_TAGGED = 1
"""The MessagePack extension type of a tagged form: no plain value encodes to it."""

_SCALARS: tuple[type[Any], ...] = (int, float, str, bytes)
_DEPTH = 60

Form: TypeAlias = tuple[str, Any]
Digest: TypeAlias = "blake2b"


class Unhashable(Exception):
    """A value has no stable hash. `where` says which part of it, where it is not the value itself. Users are told by `UsageError`."""

    def __init__(self, value: Any, where: str = "") -> None:
        super().__init__(f"a value of type {type(value).__qualname__} has no stable hash")
        self.where = where


class Walk:
    """How values are taken apart. `code(fn)` is the value that a function is hashed by, `pickle(value)` what one without a form is hashed by."""

    __slots__ = ("code", "pickle")

    def __init__(self, code: Callable[[Any], Any] | None = None, pickle: Callable[[Any], bytes] | None = None) -> None:
        self.code = code or _place_of
        self.pickle = pickle


def _place_of(fn: Any) -> Any:
    """What a function consists of as long as nobody says better: its place in a module."""
    return getattr(fn, "__module__", ""), getattr(fn, "__qualname__", "")


_STRICT = Walk()


def digest_of(value: Any, walk: Walk = _STRICT) -> str:
    """A BLAKE2b-128 hex digest. Raises `Unhashable`; without a `walk` that pickles, for every value of a kind that is not known."""
    return _digest(canonical_bytes(value, walk)).hexdigest()


def canonical_bytes(value: Any, walk: Walk = _STRICT) -> bytes:
    """Bytes that are equal for equal values. Raises `Unhashable`."""
    try:
        return _encode(_canonical(value, walk, _DEPTH))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise Unhashable(value) from None


def _digest(data: Any) -> Digest:
    import hashlib  # noqa: PLC0415 start-up time: most flows hash nothing

    return hashlib.blake2b(data, digest_size=16)


def _canonical(value: Any, walk: Walk, depth: int) -> Any:
    """The value itself where it is plain, else its tagged form."""
    kind = type(value)
    if kind in _PLAIN:
        return value if kind is not int or -(2**63) <= value < 2**63 else _tagged("int", str(value))
    if not depth:
        raise Unhashable(value, where=" (it is nested too deeply, or contains itself)")
    if kind is list:
        return _items(value, walk, depth)
    if kind is dict:
        return _mapping(value, walk, depth)
    return _tagged(*_form(value, kind, walk, depth))


def _items(values: list[Any] | tuple[Any, ...], walk: Walk, depth: int) -> Any:
    kinds = set(map(type, values))
    if kinds <= _PLAIN and int not in kinds:
        return values
    if kinds == {int} and min(values) >= -(2**63) and max(values) < 2**63:
        return values
    return [_canonical(item, walk, depth - 1) for item in values]


def _mapping(value: dict[Any, Any], walk: Walk, depth: int) -> Any:
    if set(map(type, value)) <= {str}:
        return {name: _canonical(item, walk, depth - 1) for name, item in value.items()}
    pairs = [(_encode(_canonical(key, walk, depth - 1)), _encode(_canonical(item, walk, depth - 1))) for key, item in value.items()]
    return _tagged("dict", sorted(pairs))


def _tagged(kind: str, parts: Any) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(_TAGGED, _encode((kind, parts)))


def _form(value: Any, kind: type, walk: Walk, depth: int) -> Form:
    """A value's kind, and what it consists of (plain or canonical already)."""
    own = getattr(kind, "__legato_hash__", None)
    if own is not None:
        return _type_name(kind), _canonical(own(value), walk, depth - 1)
    for types, form in _FORMS:
        if isinstance(value, types):
            return form(value, walk, depth)
    foreign = _foreign_form(value, kind)
    if foreign is not None:
        name, parts = foreign
        return name, _canonical(parts, walk, depth - 1)
    fields = _fields(value, kind)
    if fields is not None:
        return _type_name(kind), _canonical(fields, walk, depth - 1)
    plain = next((scalar for scalar in _SCALARS if isinstance(value, scalar)), None)
    if plain is not None:
        return _type_name(kind), _canonical(plain(value), walk, depth)
    return "weak", _pickled(value, walk)


def _pickled(value: Any, walk: Walk) -> bytes:
    if walk.pickle is None:
        raise Unhashable(value)
    try:
        data = walk.pickle(value)
    except Exception:  # noqa: BLE001 a user's __reduce__ may raise anything
        raise Unhashable(value) from None
    return _digest(data).digest()


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _tuple(value: tuple[Any, ...], walk: Walk, depth: int) -> Form:
    return ("tuple" if type(value) is tuple else _type_name(type(value))), _items(tuple(value), walk, depth)


def _set(value: Iterable[Any], walk: Walk, depth: int) -> Form:
    return "set", sorted(_encode(_canonical(item, walk, depth - 1)) for item in value)


def _function(value: Any, walk: Walk, depth: int) -> Form:
    if isinstance(value, MethodType):
        return "method", [_canonical(value.__self__, walk, depth - 1), _canonical(value.__func__, walk, depth - 1)]
    return "function", _canonical(walk.code(value), walk, depth - 1)


def _partial(value: functools.partial[Any], walk: Walk, depth: int) -> Form:
    return "partial", _canonical([value.func, value.args, value.keywords], walk, depth - 1)


def _texted(kind: str, text: Callable[[Any], Any] = str) -> Callable[[Any, Walk, int], Form]:
    return lambda value, _walk, _depth: (kind, text(value))


def _moment(value: Any) -> str:
    return f"{type(value).__name__} {value.isoformat()} {getattr(value, 'tzinfo', None)} {getattr(value, 'fold', 0)}"


_FORMS: tuple[tuple[Any, Callable[[Any, Walk, int], Form]], ...] = (
    (Enum, lambda value, _walk, _depth: (_type_name(type(value)), value.name or repr(value.value))),
    (type, _texted("type", _type_name)),
    (tuple, _tuple),
    ((set, frozenset), _set),
    (list, lambda value, walk, depth: (_type_name(type(value)), _items(list(value), walk, depth))),
    ((datetime, date, time), _texted("instant", _moment)),
    (timedelta, _texted("timedelta", lambda value: [value.days, value.seconds, value.microseconds])),
    (PurePath, _texted("path", lambda value: value.as_posix())),
    ((bytearray, memoryview), _texted("buffer", bytes)),
    ((complex, range, slice), _texted("plain", repr)),
    ((FunctionType, MethodType, BuiltinFunctionType), _function),
    (functools.partial, _partial),
    (ModuleType, _texted("module", lambda value: value.__name__)),
)
"""Kinds of the standard library, in the order they are tried."""


def _fields(value: Any, kind: type) -> Mapping[str, Any] | None:
    """The fields of a dataclass, a msgspec Struct, a pydantic model or an attrs class."""
    for attribute in ("__dataclass_fields__", "__pydantic_fields__"):
        declared = getattr(kind, attribute, None)
        if declared is not None:
            return {name: getattr(value, name, None) for name in declared} | (getattr(value, "__pydantic_extra__", None) or {})
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    attrs = getattr(kind, "__attrs_attrs__", None)
    if attrs is not None:
        return {field.name: getattr(value, field.name) for field in attrs}
    if isinstance(value, dict):
        return {"items": dict(value)}
    return None


# ---------------------------------------------------------------------- other people's types, known by name so that nothing is imported


def _foreign_form(value: Any, kind: type) -> Form | None:
    for base in kind.__mro__:
        form = _FOREIGN.get((base.__module__.partition(".")[0], base.__name__))
        if form is not None:
            return f"{base.__module__.partition('.')[0]}.{base.__name__}", form(value)
    return None


def _array(value: Any) -> Any:
    """A NumPy array by shape, type and bytes; one of objects by its items."""
    if value.dtype.hasobject:
        return str(value.dtype), list(value.shape), value.ravel().tolist()
    data = value if value.flags.c_contiguous else value.copy()
    return str(value.dtype), list(value.shape), _digest(data.reshape(-1).view("u1")).digest()


def _frame(value: Any) -> Any:
    columns = [_series(value.iloc[:, i]) for i in range(value.shape[1])]
    return list(value.columns.names), value.columns.tolist(), _index(value.index), columns


def _series(value: Any) -> Any:
    return value.name, str(value.dtype), _column(value), _index(value.index)


def _index(value: Any) -> Any:
    if type(value).__name__ == "RangeIndex":
        return value.name, [value.start, value.stop, value.step]
    return list(value.names), str(getattr(value, "dtype", "")), _column(value)


def _column(value: Any) -> Any:
    """The values of a column: by their bytes where the type is NumPy's own, else one by one."""
    array = getattr(value, "_values", None)
    is_numpy = type(array).__module__.partition(".")[0] == "numpy"
    return _array(array) if is_numpy else value.tolist()


def _table(value: Any) -> Any:
    """An Arrow table by the bytes of its columns, however they are divided into chunks."""
    digest = _digest(value.schema.serialize())
    for batch in value.combine_chunks().to_batches():
        digest.update(batch.serialize())
    return digest.digest()


def _polars(value: Any) -> Any:
    return [(column.name, str(column.dtype), column.to_list()) for column in value.get_columns()]


_FOREIGN: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("uuid", "UUID"): str,
    ("decimal", "Decimal"): lambda value: str(value.as_tuple()),
    ("fractions", "Fraction"): str,
    ("re", "Pattern"): lambda value: [value.pattern, value.flags],
    ("zoneinfo", "ZoneInfo"): str,
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): lambda value: [str(value.dtype), value.tobytes()],
    ("numpy", "dtype"): str,
    ("pandas", "DataFrame"): _frame,
    ("pandas", "Series"): _series,
    ("pandas", "Index"): _index,
    ("pandas", "NAType"): str,
    ("pandas", "NaTType"): str,
    ("pandas", "Period"): str,
    ("pandas", "Interval"): str,
    ("pyarrow", "Table"): _table,
    ("polars", "DataFrame"): _polars,
    ("polars", "Series"): lambda value: [value.name, str(value.dtype), value.to_list()],
}
