"""What a verb looks like on the wire, worked out from its declaration when it is first used: the routes, the query, the body, the answer.

Both ends use it: the client makes requests of arguments, the server arguments of requests.
"""

from __future__ import annotations

import collections.abc
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs, quote

import msgspec

from legato.core.errors import UsageError
from legato.store.columns import storable
from legato.store.verbs import Verb

_NOTHING = (None, "", ())
_PLACE = re.compile(r"\{([^}]*)\}")


class Number(msgspec.Struct, frozen=True):
    """An answer that is one number."""

    value: int


class Instant(msgspec.Struct, frozen=True):
    """An answer that is one instant, or none."""

    value: datetime | None


class Route(msgspec.Struct, frozen=True):
    """One address of a verb: its segments, those in braces standing for any text; and the arguments that it settles by itself."""

    segments: tuple[str, ...]
    settled: dict[str, Any]
    suffix: str = ""


class Asked(msgspec.Struct, frozen=True):
    """One parameter of a query: the argument it belongs to, and the field of that where it is a record spread over the query."""

    wire: str
    argument: str
    field: str
    type: Any
    default: Any
    commas: bool = False
    off_on: tuple[str, ...] = ()


class Shape:
    """One verb on the wire. Made by `shape`."""

    def __init__(self, verb: Verb) -> None:
        self.verb = verb
        hints = get_type_hints(verb.function, include_extras=True)
        answer = hints.pop("return")
        self._kinds = {name: _without_extras(kind) for name, kind in hints.items()}
        self.takes_now = hints.pop("now", None) is not None
        self.wraps = answer is int or answer == datetime | None
        self.answer: Any = {int: Number, datetime | None: Instant}.get(answer, answer) if self.wraps else answer
        self._defaults = _defaults(verb)
        self._places = [_Place(text) for text in _PLACE.findall(verb.path)]
        self.routes = list(self._routes())
        in_path = {place.argument for place in self._places if not place.field}
        rest = {name: kind for name, kind in hints.items() if name not in in_path}
        is_asked = {name: verb.method in ("GET", "DELETE") or (name in verb.words and verb.words[name].startswith("?")) for name in rest}
        self.query = [asked for name, kind in rest.items() if is_asked[name] for asked in self._asked(name, kind)]
        self._body_arguments = [name for name in rest if not is_asked[name]]
        self.body, self.body_is_one = self._body({name: rest[name] for name in self._body_arguments})

    # ------------------------------------------------------------------ what is derived

    def _routes(self) -> Iterator[Route]:
        parts = [_ways_of(part) for part in self.verb.path.split("/")]
        for chosen in product(*parts):
            segments = tuple(segment for way in chosen for segment in way[0])
            settled = {name: value for way in chosen for name, value in way[1].items()}
            yield Route(segments, settled, "".join(way[2] for way in chosen))

    def _asked(self, name: str, kind: Any) -> Iterator[Asked]:
        record = _without_extras(kind)
        if isinstance(record, type) and issubclass(record, msgspec.Struct):
            hints = get_type_hints(record, include_extras=True)
            for field in msgspec.structs.fields(record):
                yield Asked(field.encode_name, name, field.name, hints[field.name], field.default, _has_commas(hints[field.name]))
            return
        wire, _, words = self.verb.words.get(name, name).removeprefix("?").partition("=")
        default = self._defaults.get(name, msgspec.NODEFAULT)
        if words:
            off_on = tuple(words.split("|"))
            yield Asked(wire, name, "", Literal[off_on], off_on[bool(default)], off_on=off_on)
        else:
            yield Asked(wire, name, "", kind, default)

    def _body(self, given: Mapping[str, Any]) -> tuple[Any, bool]:
        if len(given) == 1 and _is_record(kind := next(iter(given.values()))):
            return kind, True
        if not given:
            return None, False
        fields: list[Any] = []
        for name, kind in given.items():
            fields.append((name, kind, msgspec.field(default=self._default(name), name=self.verb.words.get(name, name))))
        fields.sort(key=lambda field: field[2].default is not msgspec.NODEFAULT)
        doc = f"The body of `{self.verb.method} /api/{self.verb.path}`."
        return msgspec.defstruct(_title(self.verb.name), fields, frozen=True, omit_defaults=True, namespace={"__doc__": doc}), False

    def _default(self, name: str) -> Any:
        default = self._defaults.get(name, msgspec.NODEFAULT)
        return [] if default == () else default

    # ------------------------------------------------------------------ the client's side

    def path_of(self, arguments: Mapping[str, Any]) -> str:
        """The path under /api that names these arguments."""
        return _PLACE.sub(lambda found: _Place(found[1]).text(arguments), self.verb.path)

    def query_of(self, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The query's parameters; what is nothing, or as it is without being said, is left out."""
        pairs: list[tuple[str, str]] = []
        for asked in self.query:
            if asked.argument not in arguments:
                continue
            value = arguments[asked.argument]
            value = getattr(value, asked.field) if asked.field else value
            if asked.off_on:
                value = asked.off_on[bool(value)]
            if value in _NOTHING or value == asked.default:
                continue
            if isinstance(value, tuple | list):
                pairs += [(asked.wire, ",".join(value))] if asked.commas else [(asked.wire, str(one)) for one in value]
            else:
                pairs.append((asked.wire, _word(value)))
        return pairs

    def body_of(self, arguments: Mapping[str, Any]) -> Any:
        """What is sent as the body; None for none."""
        if self.body is None:
            return None
        given = {name: _listed(arguments[name]) for name in self._body_arguments if name in arguments}
        return next(iter(given.values())) if self.body_is_one else self.body(**given)

    def value_of(self, data: bytes) -> Any:
        """What the verb returns, of what the server answered."""
        value = self._decode_answer(data or b"null")
        return value.value if self.wraps else value

    @functools.cached_property
    def _decode_answer(self) -> Any:
        return msgspec.json.Decoder(self.answer).decode

    # ------------------------------------------------------------------ the server's side

    def arguments(self, route: Route, segments: Sequence[str], query: bytes, body: bytes) -> dict[str, Any]:
        """The arguments that a request names. Raises what msgspec does, or `UsageError`, when it cannot be read."""
        named = {part[1:-1]: text for part, text in zip(route.segments, segments, strict=True) if part.startswith("{")}
        found = dict(route.settled) | self._read_query(query)
        if self.body is not None:
            value = self._decode_body(body)
            found |= {self._body_arguments[0]: value} if self.body_is_one else {n: getattr(value, n) for n in self._body_arguments}
        for place in self._places:
            place.settle(named, found)
        return found

    @functools.cached_property
    def _decode_body(self) -> Any:
        return msgspec.json.Decoder(self.body).decode

    @functools.cached_property
    def _query_form(self) -> type[msgspec.Struct]:
        fields: list[Any] = []
        for n, asked in enumerate(self.query):
            fields.append((f"p{n}", asked.type, msgspec.field(default=asked.default, name=asked.wire)))
        return msgspec.defstruct(f"{self.verb.name}_query", fields, kw_only=True, forbid_unknown_fields=True)

    def _read_query(self, text: bytes) -> dict[str, Any]:
        return self.read_query(parse_qs(text.decode("latin-1")) if text else {})

    def read_query(self, given: Mapping[str, list[str]]) -> dict[str, Any]:
        """Arguments of the query's parameters, each with the values it was given."""
        lists = {asked.wire: asked.commas for asked in self.query if _is_list(asked.type)}
        told: dict[str, Any] = {name: values if name in lists else values[-1] for name, values in given.items()}
        for name, commas in lists.items():
            if commas and name in told:
                told[name] = [word for value in told[name] for word in value.split(",") if word]
        form = msgspec.convert(told, self._query_form, strict=False)
        found: dict[str, Any] = {}
        records: dict[str, dict[str, Any]] = {}
        for n, asked in enumerate(self.query):
            value = getattr(form, f"p{n}")
            if asked.off_on:
                value = value == asked.off_on[1]
            elif isinstance(value, datetime) and value.tzinfo is None:
                value = value.replace(tzinfo=UTC)  # an instant without a zone means UTC
            if asked.field:
                records.setdefault(asked.argument, {})[asked.field] = value
            else:
                found[asked.argument] = value
        return found | {name: self._kinds[name](**fields) for name, fields in records.items()}


@functools.cache
def shape(verb: Verb) -> Shape:
    """The verb's shape, worked out once."""
    return Shape(verb)


class _Place:
    """One place of a path, as it is declared between its braces."""

    def __init__(self, text: str) -> None:
        self.name, _, thing = text.partition("=")
        self.name, _, way = self.name.partition(":")
        self.argument, _, self.field = (thing or self.name).partition(".")
        self.is_name = way == "name"
        self.words = tuple(way.split("|")) if "|" in way else ()

    def text(self, arguments: Mapping[str, Any]) -> str:
        value = arguments[self.argument]
        if self.words:
            return self.words[bool(value)]
        value = str(getattr(value, self.field) if self.field else value)
        if self.is_name and "/" in value:
            flow, _, name = value.rpartition("/")
            return f"{_part(flow)}/{_part(name)}"
        return _part(value)

    def settle(self, named: Mapping[str, str], found: dict[str, Any]) -> None:
        """Put the place's argument among those found, or hold its text against the body."""
        if self.words:
            return
        if not self.field:
            found[self.argument] = f"{named['flow']}/{named[self.name]}" if self.is_name and "flow" in named else named[self.name]
        elif storable(body := getattr(found[self.argument], self.field)) != storable(named[self.name]):
            raise UsageError(f"the path speaks of '{named[self.name]}', the body of '{body}'", hint="give both the same id")


def _ways_of(part: str) -> list[tuple[tuple[str, ...], dict[str, Any], str]]:
    """The ways in which one part of a path may be written: its segments, what they settle, and what tells the operation from the others."""
    if not part.startswith("{"):
        return [((part,), {}, "")]
    place = _Place(part[1:-1])
    if place.words:
        return [((word,), {place.argument: i == 1}, f"_{word}") for i, word in enumerate(place.words)]
    plain: tuple[tuple[str, ...], dict[str, Any], str] = ((f"{{{place.name}}}",), {}, "")
    return [plain, (("{flow}", f"{{{place.name}}}"), {}, "_by_full_name")] if place.is_name else [plain]


def _defaults(verb: Verb) -> dict[str, Any]:
    function = verb.function
    code, given = function.__code__, function.__defaults__ or ()
    positional = code.co_varnames[1 : code.co_argcount]
    return {**dict(zip(positional[len(positional) - len(given) :], given, strict=True)), **(function.__kwdefaults__ or {})}


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _without_extras(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _is_list(kind: Any) -> bool:
    return get_origin(_without_extras(kind)) in (tuple, list, collections.abc.Sequence)


def _has_commas(kind: Any) -> bool:
    """Whether a list's items may stand in one parameter with commas between: no item may hold one."""
    extras = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return any(isinstance(meta, msgspec.Meta) and bool((meta.extra or {}).get("commas")) for meta in extras)


def _is_record(kind: Any) -> bool:
    kind = _without_extras(kind)
    if _is_list(kind):
        kind = _without_extras(get_args(kind)[0])
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, collections.abc.Sequence) and not isinstance(value, str | list | tuple) else value


def _word(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(int(value)) if isinstance(value, bool) else str(value)


def sendable(text: str) -> str:
    """As it is, or as it would be stored where it is no Unicode, which no URL holds."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return storable(text)
    return text


def _part(text: str) -> str:
    """One segment of a path. A segment of dots only would be taken for a direction."""
    text = sendable(text)
    return quote(text, safe="").replace(".", "%2E") if text.strip(".") == "" else quote(text, safe="")
