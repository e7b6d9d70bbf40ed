"""Parameters on the command line: `-p name=value`, where the value is JSON if it reads as such, and text otherwise."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from legato.core.errors import ParameterError, UsageError
from legato.core.fitting import check_parameters, fits
from legato.core.spelling import did_you_mean

if TYPE_CHECKING:
    from legato.sdk.flows import Flow


def parse_parameters(given: Sequence[str], type_of: Callable[[str], Mapping[str, Any]] = lambda _: {}) -> dict[str, Any]:
    """Values by name. `type_of`: the JSON schema of a parameter, as far as there is one."""
    values = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"'{one}' is no parameter", hint="write -p name=value, such as -p month=3 or -p 'years=[2024, 2025]'")
        values[name] = as_typed(text, type_of(name))
    return values


def as_typed(text: str, schema: Mapping[str, Any]) -> Any:
    """The value that the text is as JSON, or the text itself: where only that fits the type (42 is "42" for a string, also for one that may
    be left out), and where the type can tell more digits of a number than a float holds.
    """
    if schema.get("type") == "string":
        return text
    try:
        value = as_json_or_text(text)
    except UsageError:
        if _takes_text(schema):
            return text
        raise
    defs = schema.get("$defs", {})
    if not fits(value, schema, defs) and fits(text, schema, defs):
        return text
    is_exact = not isinstance(value, float) or Decimal(text) == Decimal(repr(value))
    return value if is_exact or not _takes_text(schema) else text.strip()


def types_of(flow: Flow[Any, Any]) -> Callable[[str], Mapping[str, Any]]:
    """The JSON schema of each of a flow's parameters, worked out (by pydantic) for those alone that are given and not of a plain type."""
    try:
        parameters = inspect.signature(flow.fn).parameters
    except (TypeError, ValueError):
        return lambda _: {}

    def type_of(name: str) -> Mapping[str, Any]:
        annotation = parameters[name].annotation if name in parameters else Any
        plain = _PLAIN.get(annotation) if isinstance(annotation, (type, str)) or annotation is Any else None
        if plain is not None:
            return plain
        from legato.sdk.flow_calls import compiled_flow

        known: Mapping[str, Mapping[str, Any]] = compiled_flow(flow).signature.json_schema()["properties"]
        return known.get(name, {})

    return type_of


_TEXT: Mapping[str, Any] = {"type": "string"}
_READ_RIGHTLY: tuple[Any, ...] = (int, float, bool, Any, inspect.Parameter.empty, "int", "float", "bool", "Any")
_PLAIN: dict[Any, Mapping[str, Any]] = {str: _TEXT, "str": _TEXT, **{each: {} for each in _READ_RIGHTLY}}
"""Types for which no schema has to be made."""


def _takes_text(schema: Mapping[str, Any]) -> bool:
    """Whether a value may be given as text too: an optional string, and a Decimal."""
    return any(one.get("type") == "string" for one in schema.get("anyOf", ()))


def as_json_or_text(text: str) -> Any:
    """The value that the text is as JSON; the text itself where it is none. Raises `UsageError` for a number too large to be kept as one."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text
    except RecursionError:
        raise UsageError(f"'{text[:40]}…' is nested too deeply") from None
    if not _is_finite(value):
        raise UsageError(f"'{text}' holds a number that is too large for JSON", hint="write a smaller one, or the value as text")
    return value


def _no_constant(word: str) -> Any:
    """Python's `json` reads NaN and Infinity, and nothing that we write to keeps them: they are no JSON, so they are text."""
    raise ValueError(word)


def _is_finite(value: Any) -> bool:
    """Whether every number in it is one that JSON gives back: 1e999 is read as infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_is_finite(one) for one in value.values())
    return not isinstance(value, list) or all(_is_finite(one) for one in value)


def check_names(given: Mapping[str, Any], known: Sequence[str], owner: str) -> None:
    """Raises `ParameterError` for a parameter that the flow does not have."""
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"its parameters are {', '.join(known) or 'none'}"
            raise ParameterError(f"{owner} has no parameter '{name}'", hint=hint)


def check_unicode(name: str, value: Any) -> None:
    """Raises `ParameterError` for what no JSON holds, and a store or another process would be given as other text."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ParameterError(
            f"'{name}' is no Unicode: it is {value!r}", hint="what is sent to others has to be; give another name to the file that is meant"
        ) from None


def for_schema(given: Sequence[str], schema: Mapping[str, Any], owner: str, *, preset: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a deployment's run, held against its recorded schema. Raises `ParameterError` before anything is created.

    Only what JSON can tell is checked here (names, missing ones, plain types); the flow checks the rest when it starts.
    """
    properties: Mapping[str, Any] = schema.get("properties", {})
    values = parse_parameters(given, lambda name: properties.get(name, {}))
    for name, value in values.items():
        check_unicode(name, value)
    if not schema:
        return values
    check_names(values, tuple(properties), owner)
    missing = [name for name in schema.get("required", ()) if name not in values and name not in preset]
    if missing:
        raise ParameterError(f"{owner} needs a value for '{missing[0]}'", hint=f"add -p {missing[0]}=…")
    check_parameters(values, schema, owner, preset=preset)
    return values
