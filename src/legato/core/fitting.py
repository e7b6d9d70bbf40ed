"""Whether plain data fits a JSON schema, as far as that can be told without the flow's own code. Pure.

What some reading of the type would take is let pass ("3" for an integer, a number for a date): the flow converts it, or refuses it. What no
reading would take is refused here, before a run is made that can only fail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from legato.core.errors import ParameterError

_YES_OR_NO = frozenset(("true", "false", "yes", "no", "on", "off", "t", "f", "y", "n", "0", "1"))
DEPTH = 40


def check_parameters(values: Mapping[str, Any], schema: Mapping[str, Any], owner: str, *, preset: Collection[str] = ()) -> None:
    """Raises `ParameterError` for a parameter that the flow does not have, that is missing, or that cannot be of its type."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    if not schema:
        return
    if schema.get("additionalProperties") in (None, False):
        unknown = [name for name in values if name not in properties]
        if unknown:
            raise ParameterError(f"{owner} has no parameter '{unknown[0]}'", hint=f"its parameters are {', '.join(properties) or 'none'}")
    missing = [name for name in schema.get("required", ()) if name not in values and name not in preset]
    if missing:
        raise ParameterError(f"{owner} needs a value for '{missing[0]}'", hint=f"add a value for {missing[0]}")
    for name, value in values.items():
        wanted = properties.get(name, {})
        if not fits(value, wanted, schema.get("$defs", {})):
            raise ParameterError(f"{owner}: parameter '{name}' should be {in_words(wanted)}, and {short(value)} is not")


def fits(value: Any, schema: Any, defs: Mapping[str, Any], depth: int = DEPTH) -> bool:
    """Whether a value may be of this type."""
    if not isinstance(schema, Mapping) or depth == 0:
        return True
    if "$ref" in schema:
        return fits(value, defs.get(str(schema["$ref"]).rpartition("/")[2], {}), defs, depth - 1)
    for word in ("anyOf", "oneOf"):
        if word in schema and not any(fits(value, one, defs, depth - 1) for one in schema[word]):
            return False
    if not all(fits(value, one, defs, depth - 1) for one in schema.get("allOf", ())):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind] if kind else []
    return not kinds or any(_is(one, value, schema, defs, depth) for one in kinds)


def _is(kind: str, value: Any, schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> bool:
    act = _KINDS.get(kind)
    if act is not None:
        return act(value, schema)
    if kind == "array":
        return isinstance(value, (list, tuple)) and all(fits(item, schema.get("items", {}), defs, depth - 1) for item in value)
    if kind == "object":
        return isinstance(value, Mapping) and _object(value, schema, defs, depth)
    return True


def _object(value: Mapping[str, Any], schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> bool:
    properties: Mapping[str, Any] = schema.get("properties", {})
    if any(name not in value for name in schema.get("required", ())):
        return False
    return all(fits(item, properties.get(name, {}), defs, depth - 1) for name, item in value.items())


def _number(value: Any, schema: Mapping[str, Any], *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return isinstance(value, int)
    if whole and number != number // 1:
        return False
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    inside = (low is None or number >= low) and (high is None or number <= high)
    return inside and (above is None or number > above) and (below is None or number < below)


def _boolean(value: Any, _: Mapping[str, Any]) -> bool:
    return value in (0, 1) or (isinstance(value, str) and value.strip().lower() in _YES_OR_NO)


def _string(value: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, str):
        return "format" in schema and isinstance(value, (int, float)) and not isinstance(value, bool)
    short, long = schema.get("minLength", 0), schema.get("maxLength")
    return len(value) >= short and (long is None or len(value) <= long)


_KINDS: Mapping[str, Callable[[Any, Mapping[str, Any]], bool]] = {
    "integer": lambda value, schema: _number(value, schema, whole=True),
    "number": lambda value, schema: _number(value, schema, whole=False),
    "boolean": _boolean,
    "string": _string,
    "null": lambda value, _: value is None,
}


def in_words(schema: Any) -> str:
    """A type, for a sentence."""
    if not isinstance(schema, Mapping):
        return "something else"
    if "enum" in schema:
        return "one of " + ", ".join(repr(one) for one in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(in_words(one) for one in schema["anyOf"]))
    kind = schema.get("type")
    bounds = [f"{word} {schema[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in schema]
    name = (
        f"of type {kind}"
        if isinstance(kind, str)
        else str(schema.get("title") or schema.get("$ref", "").rpartition("/")[2] or "of its type")
    )
    return ", ".join([name, *bounds])


def short(value: Any) -> str:
    """A value, for a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
