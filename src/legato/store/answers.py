"""Answers to what a run has asked: JSON, held against the JSON Schema of the question before it is taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from legato.core.errors import UsageError

_LONGEST = 300
"""Characters of the schema library's sentence in an error."""

_YES_OR_NO = {**dict.fromkeys(("true", "yes", "on", "t", "y", "1"), True), **dict.fromkeys(("false", "no", "off", "f", "n", "0"), False)}


def fitting(schema: Mapping[str, Any], answer: object, asked: str) -> Any:
    """The answer, as what was asked for: text that plainly means a number or yes or no is taken as that.

    Raises `UsageError` for one that does not fit. `asked` is what to call the question; `schema` is JSON Schema, draft 2020-12, {} for anything.
    """
    read = _read(schema, answer, schema.get("$defs", {}))
    why = misfit(schema, read)
    if why is not None:
        raise UsageError(f"the answer {answer!r:.100} does not fit '{asked}', which {_wanted(schema)}", hint=why)
    return read


def misfit(schema: Mapping[str, Any], answer: object) -> str | None:
    """Why an answer does not fit, in one sentence; None: it fits."""
    if not schema:
        return None
    import jsonschema  # noqa: PLC0415 start-up time: wanted when somebody answers

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(answer))
    if error is None:
        return None
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    return f"{where + ': ' if where else ''}{error.message[:_LONGEST]}"


def _read(schema: Mapping[str, Any], value: Any, shared: Mapping[str, Any]) -> Any:
    schema = shared.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    wanted = schema.get("type")
    if wanted == "object" and isinstance(value, dict):
        fields, others = schema.get("properties", {}), schema.get("additionalProperties")
        rest = others if isinstance(others, dict) else {}
        return {name: _read(fields.get(name, rest), item, shared) for name, item in value.items()}
    if wanted == "array" and isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_read(schema["items"], item, shared) for item in value]
    if wanted == "boolean" and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return _YES_OR_NO.get(str(value).strip().lower(), value)
    if wanted in ("integer", "number") and isinstance(value, str):
        return _number(value)
    return value


def _number(text: str) -> Any:
    try:
        number = json.loads(text)
    except ValueError:
        return text
    return number if isinstance(number, (int, float)) and not isinstance(number, bool) else text


def _wanted(schema: Mapping[str, Any]) -> str:
    fields = schema.get("properties")
    if fields:
        return "asks for " + ", ".join(f"{name} ({one.get('type', 'JSON')})" for name, one in fields.items())
    if "enum" in schema:
        return f"asks for one of {', '.join(map(str, schema['enum']))}"
    return f"asks for {schema.get('type') or schema.get('title') or 'another value'}"
