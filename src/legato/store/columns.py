"""Columns, each declared once with its kind. A kind says what may be stored: the same on both databases, and what comes out is what went in.

Rows in and out are built from the declarations by compiled functions, which are as fast as written by hand. Two tempers, by who is at fault:
what a run reports (names, messages, logs, exceptions) is made storable and never refused; ids, numbers and instants are refused when they
cannot be kept, by a `UsageError` that names the column.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from legato.core.clock import EPOCH, to_us
from legato.core.errors import UsageError
from legato.core.records import ErrorDetail, Result

_encode = msgspec.json.Encoder().encode
_TEXTS = msgspec.json.Decoder(tuple[str, ...]).decode
_WORDS = msgspec.json.Decoder(dict[str, str]).decode
_OBJECT = msgspec.json.Decoder(dict[str, Any]).decode
_RESULT = msgspec.json.Decoder(Result).decode
_ERROR = msgspec.json.Decoder(ErrorDetail).decode
LONGEST_INDEXED = 600
"""Characters of what stands in an index: PostgreSQL refuses rows of more than some 2,700 bytes there, four bytes a character at worst."""
_SHOWN_OF_A_TOKEN = 200


# ---------------------------------------------------------------------- values


def storable(text: str) -> str:
    r"""The text as both databases can hold it: NUL as `\0`, lone surrogates as `\udcff`, so that nothing is dropped or run together."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def name(text: str) -> str:
    """Text that stands in an index: storable, and cut where an index would refuse it."""
    text = storable(text)
    return text if len(text) <= LONGEST_INDEXED else text[: LONGEST_INDEXED - 1] + "…"


def token(text: str) -> str:
    """Text that tells one thing from another, such as a cache key: where it cannot be kept as it is, a digest of the whole keeps two apart.

    What was made so stays as it is when it is given again.
    """
    kept = storable(text)
    if kept == text and len(text) <= LONGEST_INDEXED:
        return text
    import hashlib  # noqa: PLC0415 start-up time: few keys are so odd

    return f"{kept[:_SHOWN_OF_A_TOKEN]}…{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def key(text: str, what: str, longest: int = LONGEST_INDEXED) -> str:
    """The name of something that is set up once and asked for by it: storable, and refused where it would have to be cut."""
    text = storable(text)
    if len(text) > longest:
        raise UsageError(f"{what} '{text[:40]}…' has {len(text):,} characters", hint=f"choose a name of at most {longest}")
    return text


def ident(text: str) -> str:
    """An id: refused where it would have to be changed, for a changed id is another thing."""
    if text.isascii() and "\0" not in text and len(text) <= LONGEST_INDEXED:
        return text
    if len(text) > LONGEST_INDEXED or "\0" in text:
        raise UsageError(f"{text[:60]!r} is no id", hint="ids are short, and hold no NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is no id", hint="ids are Unicode text") from None
    return text


def int64(value: int, column: str = "a number") -> int:
    """The number, when both databases can hold it."""
    if -(2**63) <= value < 2**63:
        return int(value)
    raise UsageError(f"{column} cannot hold {str(value)[:40]}", hint="give a whole number within 64 bits")


def real(value: float, column: str = "a number") -> float:
    """The number, when it is one."""
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 NaN is the one number that is not itself
        raise UsageError(f"{column} cannot hold {value}", hint="give a finite number")
    return float(value)


def text_of(value: object) -> str:
    """The JSON text of a record or plain value; NaN and infinities are null in it, and text that is not Unicode is made so."""
    try:
        text = _encode(value).decode()
    except UnicodeEncodeError:
        text = _encode(cleaned(msgspec.to_builtins(value))).decode()
    except (RecursionError, OverflowError) as error:
        raise UsageError(
            f"a value cannot be stored as JSON: {error}", hint="it is nested too deep, or holds a number that is too large"
        ) from None
    return text


def cleaned(value: Any) -> Any:
    """A plain value with all its text made storable, keys too."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(each) for key, each in value.items()}
    return [cleaned(each) for each in value] if isinstance(value, (list, tuple)) else value


# ---------------------------------------------------------------------- kinds


class Kind(NamedTuple):
    """What a column may hold. `store` and `load` are expressions of `v`, which call what stands in `names`."""

    postgres: str
    store: str
    load: str
    names: dict[str, object]


def maybe(kind: Kind) -> Kind:
    """The same, or nothing."""
    return Kind(kind.postgres, f"None if v is None else ({kind.store})", f"None if v is None else ({kind.load})", kind.names)


_PLAIN = "v if v.isascii() and '\\0' not in v else storable(v)"
TEXT = Kind("text", _PLAIN, "v", {"storable": storable})
NAME = Kind("text", "v if len(v) < 600 and v.isascii() and '\\0' not in v else name(v)", "v", {"name": name})
TOKEN = Kind("text", "v if len(v) < 600 and v.isascii() and '\\0' not in v else token(v)", "v", {"token": token})
ID = Kind("text", "v if len(v) == 36 and v.isascii() and '\\0' not in v else ident(v)", "v", {"ident": ident})
INT = Kind("bigint", "v if v.__class__ is int and -9223372036854775808 <= v < 9223372036854775808 else int64(v)", "v", {"int64": int64})
REAL = Kind("double precision", "real(v)", "v", {"real": real})
AT = Kind("bigint", "to_us(v)", "EPOCH + timedelta(0, 0, v)", {"to_us": to_us, "EPOCH": EPOCH, "timedelta": timedelta})


def enum_of(type_: Any) -> Kind:
    """A closed choice, stored as its text."""
    return Kind(
        "text", f"{type_.__name__}_of[v]._value_", f"{type_.__name__}_of[v]", {f"{type_.__name__}_of": {one.value: one for one in type_}}
    )


def _json(decode: Callable[[str], Any], as_: str, empty: str = "") -> Kind:
    load = f"{as_}(v)" if not empty else f"{as_}(v) if v != '{empty}' else {as_}_empty"
    names: dict[str, object] = {"text_of": text_of, as_: decode}
    if empty:
        names[f"{as_}_empty"] = decode(empty)
    return Kind("text", f"text_of(v) if v else {empty!r}" if empty else "text_of(v)", load, names)


TEXTS = _json(_TEXTS, "texts", "[]")
OBJECT = _json(_OBJECT, "object_of")
WORDS = Kind("text", "text_of(v) if v else None", "words(v) if v else None", {"text_of": text_of, "words": _WORDS})
RESULT = Kind("text", "text_of(v) if v is not None else None", "result_of(v) if v else None", {"text_of": text_of, "result_of": _RESULT})
ERROR = Kind("text", "text_of(v) if v is not None else None", "error_of(v) if v else None", {"text_of": text_of, "error_of": _ERROR})


class Column(NamedTuple):
    """A column: its name, its kind, and where its value stands in the record. `changes`: a transition may change it."""

    name: str
    kind: Kind
    at: str = ""
    changes: bool = False


def types_of(columns: Iterable[Column]) -> dict[str, str]:
    """Column -> PostgreSQL type, in order (SQLite ignores the types)."""
    return {column.name: column.kind.postgres for column in columns}


# ---------------------------------------------------------------------- compiled


def writer(table: str, columns: Sequence[Column], *, changing_from: str = "") -> Callable[..., tuple[Any, ...]]:
    """A function of a record that gives its row. `changing_from`: its second argument's name, which holds what a transition may change, by
    the columns' names and as it is stored.
    """
    names: dict[str, object] = {}
    parts = []
    for column in columns:
        names.update(column.kind.names)
        if changing_from and column.changes:
            parts.append(_held(column, changing_from))
        else:
            value = f"r.{column.at or column.name}"
            parts.append(_inlined(column.kind.store, value))
    arguments = f"r, {changing_from}" if changing_from else "r"
    write: Callable[..., tuple[Any, ...]] = eval(f"lambda {arguments}: ({', '.join(parts)},)", names)  # noqa: S307 of declarations of ours

    errors = (LookupError, ValueError, OverflowError, AttributeError, TypeError)
    if changing_from:

        def written(record: Any, held: Any) -> tuple[Any, ...]:
            try:
                return write(record, held)
            except errors as error:
                raise _explained(table, columns, record, error) from error

        return written

    def written_alone(record: Any) -> tuple[Any, ...]:
        try:
            return write(record)
        except errors as error:
            raise _explained(table, columns, record, error) from error

    return written_alone


def changed(columns: Sequence[Column]) -> Callable[[Any], tuple[Any, ...]]:
    """A function of what holds a run's changing columns, as they are stored, that gives its id and those."""
    parts = ["w.id", *(_held(column, "w") for column in columns if column.changes)]
    row: Callable[[Any], tuple[Any, ...]] = eval(f"lambda w: ({', '.join(parts)})")  # noqa: S307 of declarations of ours
    return row


def _held(column: Column, holder: str) -> str:
    """A changing column as it is held while a batch is decided: as it is stored, but for choices, which rules compare."""
    return f"{holder}.{column.name}" + ("._value_" if column.kind.store.endswith("._value_") else "")


def _inlined(expression: str, value: str) -> str:
    """The expression of `v` with the value in its place, looked up once: where `v` is evaluated first, it is bound."""
    if expression == "v":
        return value
    start = max(expression.find(" if "), 0)  # a conditional's condition comes before its value
    first = re.search(r"\bv\b", expression[start:])
    assert first is not None, "a kind's expression is one of v"
    at = start + first.start()
    return f"({expression[:at]}(v := {value}){expression[at + 1 :]})"


def _explained(table: str, columns: Sequence[Column], record: Any, error: Exception) -> Exception:
    """Which column it was: looked for one by one, now that something is wrong."""
    for column in columns:
        value = None
        try:
            value = functools.reduce(getattr, (column.at or column.name).split("."), record)
            eval(column.kind.store, dict(column.kind.names), {"v": value})  # noqa: S307 of declarations of ours
        except (UsageError, LookupError, ValueError, OverflowError, AttributeError, TypeError) as found:
            return UsageError(f"{table}.{column.name} cannot hold {str(value)[:100]!r}: {found}")
    return error


def reader(
    columns: Sequence[Column], build: Any, *, names: dict[str, object] | None = None, extra: str = ""
) -> Callable[[Sequence[Any]], Any]:
    """A function of a row that gives the record. Columns whose `at` names a part of the record are left to `extra`, which is handed on as
    written, with `row` at hand.
    """
    known: dict[str, object] = {"build": build, **(names or {})}
    parts = []
    for i, column in enumerate(columns):
        known.update(column.kind.names)
        if "." not in column.at:
            parts.append(f"{column.at or column.name}={_inlined(column.kind.load, f'row[{i}]')}")
    made: Callable[[Sequence[Any]], Any] = eval(f"lambda row: build({', '.join([*parts, *([extra] if extra else [])])})", known)  # noqa: S307 of declarations of ours
    return made
