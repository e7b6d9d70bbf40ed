"""Parameters on the command line: `-p name=value`, where the value is JSON if it reads as such, and text otherwise."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from legato.core.errors import ParameterError, UsageError
from legato.core.fitting import check_parameters
from legato.core.spelling import did_you_mean


def parse_parameters(given: Sequence[str], *, as_text: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Values by name. Those named in `as_text` are text as they stand: for a parameter that is a string, 42 is "42"."""
    values = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"'{one}' is no parameter", hint="write -p name=value, such as -p month=3 or -p 'years=[2024, 2025]'")
        values[name] = text if name in as_text else as_json_or_text(text)
    return values


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


def for_schema(given: Sequence[str], schema: Mapping[str, Any], owner: str, *, preset: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a deployment's run, held against its recorded schema. Raises `ParameterError` before anything is created.

    Only what JSON can tell is checked here (names, missing ones, plain types); the flow checks the rest when it starts.
    """
    properties: Mapping[str, Any] = schema.get("properties", {})
    text = frozenset(name for name, one in properties.items() if one.get("type") == "string")
    values = parse_parameters(given, as_text=text)
    if not schema:
        return values
    check_names(values, tuple(properties), owner)
    missing = [name for name in schema.get("required", ()) if name not in values and name not in preset]
    if missing:
        raise ParameterError(f"{owner} needs a value for '{missing[0]}'", hint=f"add -p {missing[0]}=…")
    check_parameters(values, schema, owner, preset=preset)
    return values
