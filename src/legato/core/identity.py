"""What a value is: bytes that are equal for equal values in every process, and differ for values that anything could tell apart.

A value is written in one canonical, tagged form, by its *exact* type: a tuple is no list, a named tuple is no tuple. Types that are not known
here are taken apart as pickling would (`__reduce_ex__`): their class, their state, their items; so a fitted model, a frame or an object of the
user's own is the same input when it was read from a store as when it was fresh. The order of a dict counts, since code can see it; that of a
set does not. What a type of the user's own consists of, it may say by a method `__legato_hash__`. What has no form is *unknown*: what cannot be
pickled, such as a lock, a generator, an open file.

Pure. What a function or class of the user's project consists of is asked of whoever makes the `Form`. Arrays and frames are known by their
types' names, so that nothing is imported.
"""

# ruff: noqa: SLF001 what a frame is made of, pandas keeps under private names
from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import msgspec

from legato.core.digests import SCALARS, blake2b

_encode = msgspec.msgpack.Encoder().encode
_Ext = msgspec.msgpack.Ext

_FORM, _DIGEST, _LARGE_DIGEST, _UP, _AGAIN = range(1, 6)
"""MessagePack extension types: no plain value encodes to them."""

_SHORT = 48
"""Forms of so many bytes stand for themselves; longer ones are digested, whether they are shared or not."""

_SHA_FROM = 64 << 10
"""From here on SHA-256 digests, which this age's processors have built in, in place of BLAKE2b: fixed by the format, not by the machine."""

_MOST_REVISITS = 20_000
"""How often parts of cyclic structures are walked again, when they are met from outside of their cycle, before that is given up."""

Encodable: TypeAlias = Any
Code: TypeAlias = Callable[[Any], Any]


class Unknown(Exception):
    """A value has no form. `kind` is the type that has none, `where` says why, where it is not the value itself. Users are told by `UsageError`."""

    def __init__(self, kind: type, where: str = "") -> None:
        super().__init__(f"a value of type {kind.__qualname__} has no stable hash{where}")
        self.kind = kind
        self.where = where


def digest_of(value: Any, code: Code | None = None) -> str:
    """A 128-bit hex digest of a value. Raises `Unknown`."""
    return digest(form_of(value, code))


def form_of(value: Any, code: Code | None = None) -> bytes:
    """The canonical bytes of a value. Raises `Unknown`."""
    return Form(code).bytes_of(value)


def digest(data: Any) -> str:
    """The digest of a form's bytes, as hex digits."""
    return str(_digested(data).data.hex())


def _digested(data: Any) -> Any:
    if len(data) < _SHA_FROM:
        return _Ext(_DIGEST, blake2b(data, digest_size=16).digest())
    import hashlib  # noqa: PLC0415 start-up time: it loads OpenSSL, and few values are so large

    return _Ext(_LARGE_DIGEST, hashlib.sha256(data).digest()[:16])


def reducer_of(kind: type) -> Callable[[Any], Any] | None:
    """How objects of a class are to be pickled, where it has no say itself. tblib, which Dask brings, wants tracebacks sent with every exception: where
    one was raised is no part of what it is.
    """
    reducer = copyreg.dispatch_table.get(kind)
    return None if getattr(reducer, "__module__", "").startswith("tblib.") else reducer


class Form:
    """One walk through values that are encoded together: what they share is walked once.

    `code(x)`: what a function or class is known by, beyond its name; None for those that are taken as given. `extra(x)`: what a value is known
    by that is known otherwise, NotImplemented for all others. `limit`: how many bytes are looked at before the value counts as unknown.
    `opaque(x)`: what a value without a form is known by; without it, there is `Unknown`.
    """

    __slots__ = (
        "_active",
        "_code",
        "_depth",
        "_extra",
        "_inner",
        "_kept",
        "_left",
        "_low",
        "_memo",
        "_met",
        "_opaque",
        "_parts",
        "_revisits",
    )

    def __init__(
        self,
        code: Code | None = None,
        extra: Callable[[Any], Any] | None = None,
        limit: int | None = None,
        opaque: Callable[[Any], Any] | None = None,
    ) -> None:
        self._code = code
        self._extra = extra
        self._opaque = opaque
        self._left = limit
        self._memo: dict[int, Encodable] = {}
        self._kept: list[Any] = []
        self._active: dict[int, int] = {}
        self._inner: dict[int, tuple[int, int]] = {}
        self._parts: dict[int, list[int]] = {}
        self._met: set[int] = set()
        self._revisits = 0
        self._depth = 0
        self._low = _NOWHERE

    def bytes_of(self, value: Any) -> bytes:
        """The canonical bytes of a value. Raises `Unknown`; what a `__legato_hash__` raises, is raised."""
        try:
            return _encode(self.of(value))
        except RecursionError:
            raise Unknown(type(value), " (it is nested too deeply)") from None

    def of(self, value: Any) -> Encodable:
        """The value itself where it is plain, else its tagged form."""
        kind = type(value)
        if kind in SCALARS:
            return value if _is_within(value, kind) else self._tag(*_beyond(value, kind))
        if kind is list or kind is tuple:
            flat = _flat(kind.__name__, value)
            if flat is not None:
                return self._shrunk(flat)
        return self._walk(value, kind)

    # -- what is shared, and what goes round in a circle

    def _walk(self, value: Any, kind: type) -> Encodable:
        """A form by the memo, by reference to what it is inside of, or anew.

        A part of a cycle that refers to what it is inside of has a form only there: met again inside of the same, it is the so manieth such
        part; met from elsewhere it is walked again.
        """
        key = id(value)
        known = self._memo.get(key)
        if known is not None:
            return known
        at = self._active.get(key)
        if at is not None:
            self._low = min(self._low, at)
            return _Ext(_UP, _encode(self._depth - at))
        inner = self._inner.get(key)
        if inner is not None:
            self._low = min(self._low, inner[0])
            return _Ext(_AGAIN, _encode((self._depth - inner[0], inner[1])))
        if key in self._met:
            self._revisits += 1
            if self._revisits > _MOST_REVISITS:
                raise Unknown(kind, " (its parts refer to each other in too many ways)")
        return self._anew(value, kind, key)

    def _anew(self, value: Any, kind: type, key: int) -> Encodable:
        depth, outer_low = self._depth, self._low
        self._kept.append(value)  # so that no other object takes its id meanwhile
        self._active[key] = depth
        self._depth, self._low = depth + 1, _NOWHERE
        form = self._form(value, kind)
        del self._active[key]
        self._depth, low = depth, self._low
        for part in self._parts.pop(depth, ()):
            self._inner.pop(part, None)
        if low >= depth:
            self._memo[key] = form
            self._low = outer_low
            return form
        siblings = self._parts.setdefault(low, [])
        self._inner[key] = (low, len(siblings))
        siblings.append(key)
        self._met.add(key)
        self._low = min(outer_low, low)
        return form

    def _tag(self, kind: str, parts: Encodable) -> Encodable:
        return self._shrunk(_encode((kind, parts)))

    def _shrunk(self, data: bytes) -> Encodable:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise Unknown(object, " (it is too large)")
        return _Ext(_FORM, data) if len(data) <= _SHORT else _digested(data)

    # -- kinds

    def _form(self, value: Any, kind: type) -> Encodable:
        known = _KNOWN.get(kind)
        if known is not None:
            return self._tag(*known(self, value))
        if self._extra is not None and (other := self._extra(value)) is not NotImplemented:
            return self._tag("other", self.of(other))
        own = getattr(kind, "__legato_hash__", None)
        if own is not None:
            return self._tag("own", [self.of(kind), self.of(own(value))])
        if isinstance(value, type):
            return self._tag("class", self._named(value))
        if isinstance(value, Enum):
            return self._tag("enum", [self.of(kind), value.name or self.of(value.value)])
        if isinstance(value, (set, frozenset)):
            return self._tag(
                "set of", [self.of(kind), self.sorted_of(value), self.fields_of(vars(value)) if hasattr(value, "__dict__") else None]
            )
        if isinstance(value, BaseException):
            came_from = [self.of(value.__cause__), self.of(value.__context__), value.__suppress_context__]
            return self._tag("exception", [self._reduced(value, kind), came_from])
        foreign = foreign_form(kind)
        return self._tag(*foreign(self, value)) if foreign is not None else self._tag("object", self._reduced(value, kind))

    def items_of(self, values: Iterable[Any]) -> list[Encodable]:
        of = self.of
        return [of(value) for value in values]

    def pairs_of(self, value: Mapping[Any, Any]) -> list[Encodable]:
        of = self.of
        parts = []
        for key, item in value.items():
            parts.append(of(key))
            parts.append(of(item))
        return parts

    def sorted_of(self, values: Iterable[Any]) -> list[bytes]:
        return sorted(_encode(self.of(value)) for value in values)

    def fields_of(self, state: Mapping[Any, Any], without: Iterable[str] = ()) -> list[Encodable]:
        """Attributes by name: in which order they were set is history."""
        return self.pairs_of({name: state[name] for name in sorted(state.keys() - without, key=str)})

    def _named(self, value: Any) -> Encodable:
        """A class or function: by its name, and by what it consists of where it is the user's own."""
        consists_of = self._code(value) if self._code is not None else None
        if consists_of is not None:
            return consists_of
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"

    def function(self, fn: Any) -> tuple[str, Encodable]:
        name = self._named(fn)
        is_named = isinstance(name, str) and "<locals>" not in name
        return "function", name if is_named else [name, self._held(fn)]

    def _held(self, fn: Any) -> list[Encodable]:
        """The values a function holds: those it closes over, its defaults, its attributes. Of one that is called by the type of its argument
        (`functools.singledispatch`), what is registered, and not what it remembers of the types that it has met.
        """
        if hasattr(fn, "registry") and hasattr(fn, "_clear_cache"):
            return [self.pairs_of(dict(fn.registry))]
        cells = [self.of(cell_of(cell)) for cell in fn.__closure__ or ()]
        own = {name: value for name, value in vars(fn).items() if name != "__wrapped__"}
        return [cells, self.of(fn.__defaults__), self.of(fn.__kwdefaults__), self.fields_of(own)]

    def builtin(self, fn: Any) -> tuple[str, Encodable]:
        owner = fn.__self__
        if owner is None or isinstance(owner, ModuleType):
            return "builtin", f"{fn.__module__}.{fn.__qualname__}"
        return "bound", [self.of(owner), fn.__name__]

    def _reduced(self, value: Any, kind: type) -> Encodable:
        """An object as pickling would take it apart."""
        try:
            reducer = reducer_of(kind)
            parts = reducer(value) if reducer is not None else value.__reduce_ex__(4)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 a user's __reduce__ may raise anything; what cannot be pickled has no form
            return self.without_form(value)
        if isinstance(parts, str):
            return f"{getattr(value, '__module__', None) or kind.__module__}.{parts}"
        return self._parts_of(kind, *parts)

    def without_form(self, value: Any) -> Encodable:
        """What stands for a value that has no form. Raises `Unknown` where nothing does."""
        if self._opaque is None:
            raise Unknown(type(value)) from None
        return self.of(self._opaque(value))

    def _parts_of(
        self, kind: type, make: Any, args: Any, state: Any = None, items: Any = None, pairs: Any = None, set_state: Any = None
    ) -> Encodable:
        more = [
            self._state(kind, state) or None,  # one without attributes is one that has only remembered some
            None if items is None else self.items_of(items),
            None if pairs is None else self.pairs_of(dict(pairs)),
            self.of(set_state),
        ]
        return [self.of(make), self.of(tuple(args)), *(more if any(part is not None for part in more) else ())]

    def _state(self, kind: type, state: Any) -> Encodable:
        """An object's state. Attributes as Python keeps them count by name; what a class has put together itself, as it is."""
        if getattr(kind, "__getstate__", None) is not _PLAIN_STATE:
            return self.of(state)
        if type(state) is dict:
            return self.fields_of(state, _remembered(kind))
        if type(state) is tuple and len(state) == 2 and type(state[1]) is dict:
            return [self.fields_of(state[0], _remembered(kind)) if state[0] else None, self.fields_of(state[1])]
        return self.of(state)

    # -- arrays and frames

    def array(self, value: Any) -> Encodable:
        """What a NumPy array holds, whatever its layout: items of structured ones field by field, since what lies between is garbage."""
        kind = value.dtype
        if kind.names is not None:
            fields = [[name, self.array(value[name])] for name in kind.names]
            return [list(value.shape), self.of(kind), fields]
        if kind.hasobject:
            return [list(value.shape), self.of(kind), self.items_of(value.ravel().tolist())]
        data = value if value.flags.c_contiguous else value.copy(order="C")
        flat = data.reshape(-1).view("u1").data if data.size else b""
        if self._left is not None:
            self._left -= value.nbytes
            if self._left < 0:
                raise Unknown(type(value), " (it is too large)")
        return [list(value.shape), kind.str if kind.metadata is None else self.of(kind), _digested(flat)]

    def column(self, value: Any) -> Encodable:
        """What an array of pandas holds, by its kind."""
        name = type(value).__name__
        if name == "ndarray":
            return self.array(value)
        form = _COLUMNS.get(name) or (_masked_column if hasattr(value, "_mask") and hasattr(value, "_data") else None)
        if form is not None and type(value).__module__.partition(".")[0] == "pandas":
            return [name, str(value.dtype), form(self, value)]
        return self.of(value)


_NOWHERE = 1 << 60
_PLAIN_STATE = object.__getstate__


def _is_within(value: Any, kind: type) -> bool:
    """Whether MessagePack writes a scalar as it is."""
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    if kind is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def _beyond(value: Any, kind: type) -> tuple[str, Any]:
    return ("int", str(value)) if kind is int else ("text", value.encode("utf-8", "surrogatepass"))


def _flat(kind: str, values: Any) -> bytes | None:
    """A list or tuple of scalars at once, None for others."""
    if not set(map(type, values)) <= SCALARS:
        return None
    try:
        return _encode((kind, values))
    except (OverflowError, ValueError):
        return None


def cell_of(cell: Any) -> Any:
    """What a closure's cell holds; a name for one that is not filled yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return NotImplemented


@functools.lru_cache(maxsize=1024)
def _remembered(kind: type) -> frozenset[str]:
    """Attributes that only remember what was worked out: looking at an object does not change it."""
    names = {
        name
        for base in kind.__mro__
        for name, value in vars(base).items()
        if type(value).__name__ == "cached_property" or isinstance(value, functools.cached_property)
    }
    if kind.__module__.partition(".")[0] == "scipy":
        names |= {"_has_sorted_indices", "_has_canonical_format"}
    return frozenset(names)


def _dict(form: Form, value: dict[Any, Any]) -> tuple[str, Encodable]:
    if set(map(type, value.values())) <= SCALARS and set(map(type, value)) <= SCALARS:
        parts = [part for pair in value.items() for part in pair]
        if all(_is_within(part, type(part)) for part in parts):
            return "dict", parts
    return "dict", form.pairs_of(value)


_KNOWN: Mapping[type, Callable[[Form, Any], tuple[str, Encodable]]] = {
    list: lambda form, value: ("list", form.items_of(value)),
    tuple: lambda form, value: ("tuple", form.items_of(value)),
    dict: _dict,
    set: lambda form, value: ("set", form.sorted_of(value)),
    frozenset: lambda form, value: ("frozenset", form.sorted_of(value)),
    FunctionType: lambda form, value: form.function(value),
    MethodType: lambda form, value: ("method", [form.of(value.__self__), form.of(value.__func__)]),
    BuiltinFunctionType: Form.builtin,
    ModuleType: lambda _form, value: ("module", value.__name__),
    memoryview: lambda _form, value: ("memory", [value.format, list(value.shape or ()), _digested(value.tobytes())]),
    type(...): lambda _form, _value: ("ellipsis", None),
    type(NotImplemented): lambda _form, _value: ("not implemented", None),
}
"""Exact types of the standard library."""


def _no_form(form: Form, value: Any) -> tuple[str, Encodable]:
    return "opaque", form.without_form(value)


_KNOWN = {**_KNOWN, object: _no_form}  # a bare object is known by nothing but where it lies


# ---------------------------------------------------------------------- other people's types, known by name so that nothing is imported


@functools.lru_cache(maxsize=1024)
def foreign_form(kind: type) -> Callable[[Form, Any], tuple[str, Encodable]] | None:
    """How values of an array's or frame's type are written, None for any other."""
    for base in kind.__mro__:
        form = _FOREIGN.get((base.__module__.partition(".")[0], base.__name__))
        if form is not None:
            return form
    return None


def _rest(form: Form, value: Any, *known: str) -> Encodable:
    """What a subclass, or a user, has added to an array or frame."""
    state = getattr(value, "__dict__", None) or {}
    more = {name: item for name, item in state.items() if name not in known}
    return [form.of(type(value)), form.fields_of(more)]


def _array(form: Form, value: Any) -> tuple[str, Encodable]:
    import sys  # noqa: PLC0415 beside its only use

    numpy: Any = sys.modules["numpy"]
    if type(value) is numpy.ndarray:
        return ("array" if value.flags.writeable else "read-only array"), form.array(value)
    if isinstance(value, numpy.ma.MaskedArray):
        parts = [form.array(value.view(numpy.ndarray)), form.array(numpy.ma.getmaskarray(value)), form.of(value.fill_value)]
        return "masked array", [*parts, form.of(type(value)), bool(value.hardmask)]
    return "array of", [form.array(value.view(numpy.ndarray)), _rest(form, value, "_mmap")]


def _array_scalar(form: Form, value: Any) -> tuple[str, Encodable]:
    if value.dtype.names is not None or value.dtype.hasobject:
        return "array scalar", [form.of(value.dtype), form.of(value.item())]
    return "array scalar", [value.dtype.str, value.tobytes()]


_PANDAS_OWN = ("_mgr", "_typ", "_attrs", "_flags", "_item_cache", "_name", "_cache", "_is_copy", "_cacher")


def _frame(form: Form, value: Any) -> tuple[str, Encodable]:
    columns = [form.column(value.iloc[:, i].array) for i in range(value.shape[1])]
    parts = [form.of(value.index), form.of(value.columns), columns, form.of(value.attrs), value.flags.allows_duplicate_labels]
    return "frame", [*parts, _rest(form, value, *_PANDAS_OWN)]


def _series(form: Form, value: Any) -> tuple[str, Encodable]:
    parts = [form.of(value.name), form.column(value.array), form.of(value.index), form.of(value.attrs)]
    return "series", [*parts, value.flags.allows_duplicate_labels, _rest(form, value, *_PANDAS_OWN)]


def _index(form: Form, value: Any) -> tuple[str, Encodable]:
    kind = type(value).__name__
    if kind == "RangeIndex":
        return kind, [form.of(value.name), value.start, value.stop, value.step]
    if kind == "MultiIndex":
        return kind, [form.of(list(value.names)), form.items_of(value.levels), [form.column(_values(codes)) for codes in value.codes]]
    freq = getattr(value, "freq", None)
    return kind, [form.of(value.name), form.column(value.array), None if freq is None else str(freq)]


def _values(codes: Any) -> Any:
    return codes if type(codes).__name__ == "ndarray" else codes.view("i8")


def _numpy_column(form: Form, value: Any) -> Encodable:
    return form.array(value._ndarray)  # whether pandas lets it be written is its own affair


def _text_column(form: Form, value: Any) -> Encodable:
    return [repr(getattr(value.dtype, "na_value", "")), form.array(value._ndarray)]


def _categories(form: Form, value: Any) -> Encodable:
    return [form.array(value.codes), form.of(value.categories), bool(value.ordered)]


def _instants(form: Form, value: Any) -> Encodable:
    freq = getattr(value, "freq", None)
    return [form.array(value.asi8), form.of(getattr(value, "tz", None)), None if freq is None else str(freq)]


def _intervals(form: Form, value: Any) -> Encodable:
    return [form.of(value.left), form.of(value.right), value.closed]


def _masked_column(form: Form, value: Any) -> Encodable:
    data = value._data
    if value._mask.any():
        data = data.copy()
        data[value._mask] = data.dtype.type(0) if data.dtype.kind != "O" else None  # what lies under the mask is garbage
    return [form.array(data), form.array(value._mask)]


def _arrow_column(_form: Form, value: Any) -> Encodable:
    return [repr(getattr(value.dtype, "na_value", "")), str(getattr(value.dtype, "storage", "")), _chunks(value._pa_array)]


_COLUMNS: Mapping[str, Callable[[Form, Any], Encodable]] = {
    "NumpyExtensionArray": _numpy_column,
    "StringArray": _text_column,
    "StringArrayNumpySemantics": _text_column,
    "Categorical": _categories,
    "DatetimeArray": _instants,
    "TimedeltaArray": _instants,
    "PeriodArray": _instants,
    "IntervalArray": _intervals,
    "ArrowExtensionArray": _arrow_column,
    "ArrowStringArray": _arrow_column,
    "ArrowStringArrayNumpySemantics": _arrow_column,
}


def _chunks(value: Any) -> Encodable:
    """An Arrow array, however it is divided: its type, and the bytes of it compacted."""
    import sys  # noqa: PLC0415 beside its only use

    arrow: Any = sys.modules["pyarrow"]
    whole = value.combine_chunks() if hasattr(value, "combine_chunks") else value
    parts = whole.chunks if hasattr(whole, "chunks") else [whole]
    batches = [arrow.record_batch([part], names=["x"]).serialize() for part in parts]
    return [str(value.type), len(value), [_digested(batch) for batch in batches]]


def _arrow_table(_form: Form, value: Any) -> tuple[str, Encodable]:
    schema = value.schema.serialize().to_pybytes()
    return type(value).__name__, [schema, [_chunks(column) for column in value.columns]]


def _arrow_array(_form: Form, value: Any) -> tuple[str, Encodable]:
    return type(value).__name__, _chunks(value)


def _polars_frame(form: Form, value: Any) -> tuple[str, Encodable]:
    return "polars frame", [[form.of(column) for column in value.get_columns()], list(value.shape), _rest(form, value, "_df", "_accessors")]


def _polars_series(form: Form, value: Any) -> tuple[str, Encodable]:
    """A series by the numbers behind it; lists by their lengths and items, structs by their fields: as Python's objects, instants lose digits."""
    kind = value.dtype
    name = type(kind).__name__ if not isinstance(kind, type) else kind.__name__
    nulls = form.array(value.is_null().to_numpy()) if value.null_count() else None
    if name in _POLARS_PLAIN:
        filled = value.to_physical()
        if nulls is not None:
            filled = filled.fill_null(False if name == "Boolean" else 0)
        return "polars series", [value.name, str(kind), nulls, form.array(filled.rechunk().to_numpy())]
    if name in ("List", "Array"):
        items = value if name == "List" else value.arr.to_list()
        full = items.filter(items.list.len() > 0)
        lengths = form.array(items.list.len().fill_null(0).to_numpy())
        return "polars series", [value.name, str(kind), nulls, lengths, form.of(full.explode()) if len(full) else None]
    if name == "Struct":
        return "polars series", [value.name, str(kind), nulls, [form.of(value.struct.field(one)) for one in value.struct.fields]]
    return "polars series", [value.name, form.of(kind), form.of(value.to_list())]


_POLARS_PLAIN = frozenset(
    (
        *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean"),
        *("Date", "Datetime", "Duration", "Time"),
    )
)


def _constraints(form: Form, value: Any) -> tuple[str, Encodable]:
    """What stands in an annotation of msgspec's: it cannot be pickled."""
    return "constraints", form.fields_of({name: getattr(value, name) for name in dir(value) if not name.startswith("_")})


def _offset(form: Form, value: Any) -> tuple[str, Encodable]:
    """The zone of an instant that pydantic has read: the same as Python's own of that offset."""
    import datetime as dt  # noqa: PLC0415 beside its only use

    return "object", form._reduced(dt.timezone(value.utcoffset(None)), dt.timezone)


def _forward(form: Form, value: Any) -> tuple[str, Encodable]:
    """A type that is named before it is there."""
    return "forward", form.of(value.__forward_arg__)


_FOREIGN: Mapping[tuple[str, str], Callable[[Form, Any], tuple[str, Encodable]]] = {
    ("numpy", "ndarray"): _array,
    ("numpy", "generic"): _array_scalar,
    ("pandas", "DataFrame"): _frame,
    ("pandas", "Series"): _series,
    ("pandas", "Index"): _index,
    ("pyarrow", "Table"): _arrow_table,
    ("pyarrow", "RecordBatch"): _arrow_table,
    ("pyarrow", "ChunkedArray"): _arrow_array,
    ("pyarrow", "Array"): _arrow_array,
    ("polars", "DataFrame"): _polars_frame,
    ("polars", "Series"): _polars_series,
    ("msgspec", "Meta"): _constraints,
    ("typing", "ForwardRef"): _forward,
    ("annotationlib", "ForwardRef"): _forward,
    ("pydantic_core", "TzInfo"): _offset,
}


# ---------------------------------------------------------------------- what cannot change


_FROZEN = frozenset(
    (
        *(("datetime", name) for name in ("datetime", "date", "time", "timedelta", "timezone")),
        *(("decimal", "Decimal"), ("uuid", "UUID"), ("fractions", "Fraction"), ("zoneinfo", "ZoneInfo"), ("re", "Pattern")),
        *(("pathlib", name) for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")),
        *(("builtins", name) for name in ("complex", "range", "slice")),
    )
)


def is_frozen(value: Any) -> bool:
    """Whether nobody can change a value, judged by its exact type: it need not be looked at a second time."""
    kind = type(value)
    if kind in SCALARS:
        return True
    if kind is tuple or kind is frozenset:
        return len(value) <= _MOST_LOOKED_AT and all(map(is_frozen, value))
    return (kind.__module__.partition("._local")[0], kind.__name__) in _FROZEN or isinstance(value, Enum)


_MOST_LOOKED_AT = 1000
