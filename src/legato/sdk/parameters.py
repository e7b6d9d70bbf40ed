"""A flow's parameters: binding arguments to names, checking and coercing them by their annotations, and how they are recorded.

pydantic is imported only when an annotation needs it: values whose type is exactly the annotated plain type are right as they are.
"""

from __future__ import annotations

import inspect
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from legato.core.errors import ParameterError
from legato.store.columns import text_of

_EXACT = (int, str, bool, float, list, dict, tuple, set, bytes)
_LONGEST = 2000


class _Mark:
    """Stands where a default would, and is shown so in a signature."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown


_MADE_ANEW: Any = _Mark("…")
"""The default of a parameter whose default is made anew for each call."""

_REQUIRED: Any = _Mark("(required)")
"""The default of a parameter without one, which may stand after those that have one."""

LARGEST_BYTES = 65_536
"""A parameter whose JSON is larger is recorded by its type and size."""


class Signature:
    """What is known of a function's parameters."""

    def __init__(self, owner: str, fn: Callable[..., Any]) -> None:
        self._owner = owner
        try:
            self._signature = inspect.signature(fn, eval_str=True)
        except NameError:  # an annotation that exists for type checkers only
            self._signature = inspect.signature(fn)
        self._factories: dict[str, Callable[[], Any]] = {}
        given = self._signature.parameters.values()
        if any(_is_field(parameter.default) for parameter in given):
            self._signature = self._signature.replace(parameters=[self._with_field(parameter) for parameter in given])
        self._adapters: dict[str, Any] = {}

    def _with_field(self, parameter: inspect.Parameter) -> inspect.Parameter:
        """`n: int = Field(3, ge=1)`, as pydantic reads it: the default is 3, and what is given must be at least 1."""
        field: Any = parameter.default
        if not _is_field(field):
            return parameter
        default = _REQUIRED if field.is_required() else field.default
        if field.default_factory is not None:
            self._factories[parameter.name] = field.default_factory
            default = _MADE_ANEW
        annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
        return parameter.replace(default=default, annotation=Annotated[annotation, field])

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by parameter name, defaults included. Raises `ParameterError`."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ParameterError(f"{self._owner}: {error}", hint=f"its parameters are {self._signature}") from None
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        for name, make in self._factories.items():
            if arguments.get(name) is _MADE_ANEW:
                arguments[name] = make()
        missing = next((name for name, value in arguments.items() if value is _REQUIRED), None)
        if missing is not None:
            raise ParameterError(f"{self._owner}: missing a required argument: '{missing}'", hint=f"its parameters are {self._signature}")
        return arguments

    def unbind(self, parameters: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The inverse of `bind`: positional and keyword arguments for a call."""
        bound = inspect.BoundArguments(self._signature, OrderedDict(parameters))
        return bound.args, bound.kwargs

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters with values coerced to their annotations. Raises `ParameterError` naming every parameter that does not fit."""
        checked: dict[str, Any] = {}
        wrong: list[str] = []
        for name, value in parameters.items():
            parameter = self._signature.parameters[name]
            annotation = parameter.annotation
            if value is None and parameter.default is None:  # Python does not ask whether a default fits: `n: int = None`
                checked[name] = value
                continue
            plain = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or isinstance(annotation, str)
            if plain or annotation in (parameter.empty, Any) or (annotation in _EXACT and type(value) is annotation):
                checked[name] = value
                continue
            try:
                checked[name] = self._adapter(name, annotation).validate_python(value)
            except ValueError as error:
                if value is parameter.default:  # nor here; one that does fit is converted: a dict for a model
                    checked[name] = value
                    continue
                wrong.append(f"parameter '{name}' does not fit: {first_reason(error)} (it is {_shown(value)})")
        if wrong:
            raise ParameterError(f"{self._owner}: " + "; ".join(wrong), hint=f"its parameters are {self._signature}")
        return checked

    @staticmethod
    def plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters as they are recorded. Large values are shortened: data belongs in storage, not in a run's row."""
        recorded = {}
        for name, value in parameters.items():
            plain = plain_value(value)
            size = len(text_of(plain))
            recorded[name] = plain if size <= LARGEST_BYTES else f"<{type(value).__name__}, {size} bytes as JSON>"
        return recorded

    def not_kept(self, parameters: Mapping[str, Any], *, validated: bool = True) -> dict[str, str]:
        """The parameters that would come back as others than they are, when the flow is given what is recorded of them; with their types.

        One that is what it is by default is a "default".
        """
        open_ = {name: value for name, value in parameters.items() if not _comes_back_as_json(value)}
        if not open_:
            return {}
        recorded = self.plain(open_)
        lost = {name: value for name, value in open_.items() if not self._comes_back(name, value, recorded[name], validated)}
        return {name: "default" if self._is_default(name, value) else type(value).__qualname__ for name, value in lost.items()}

    def changed_by_recording(self, parameters: Mapping[str, Any], checked: Mapping[str, Any]) -> dict[str, Any]:
        """Those that a flow would be given as others than what was meant, with what it would be given.

        `checked`: the same, as their annotations make them; a dict for a model is the model.
        """
        open_ = {name: value for name, value in parameters.items() if not _comes_back_as_json(value)}
        recorded = self.plain(open_)
        lost = [name for name in open_ if not self._comes_back(name, checked[name], recorded[name], validated=True)]
        return {name: msgspec.json.decode(text_of(recorded[name])) for name in lost}

    def _is_default(self, name: str, value: Any) -> bool:
        return name in self._signature.parameters and self._signature.parameters[name].default is value

    def _comes_back(self, name: str, value: Any, recorded: Any, validated: bool) -> bool:
        from legato.core.identity import digest_of  # noqa: PLC0415 start-up time: most parameters are plain

        try:
            read = msgspec.json.decode(text_of(recorded))
            again = self.validate({name: read})[name] if validated else read
            if type(again) is not type(value):
                return False
            return digest_of(again) == digest_of(value) or (hasattr(value, "model_dump") and bool(again == value))
        except Exception:  # noqa: BLE001 it does not fit, has no form, or its class raises whatever it likes: it does not come back
            return False

    def json_schema(self) -> dict[str, Any]:
        """A JSON Schema of the parameters, for forms and for checking before a run."""
        properties: dict[str, Any] = {}
        required = []
        for name, parameter in self._signature.parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            schema = self._schema_of(name, parameter.annotation)
            if parameter.default is parameter.empty or parameter.default is _REQUIRED:
                required.append(name)
            else:
                schema = _with_default(schema, parameter.default)
            properties[name] = {"title": name, **schema}
        return {"type": "object", "properties": properties, "required": required}

    def _schema_of(self, name: str, annotation: Any) -> dict[str, Any]:
        if annotation is inspect.Parameter.empty or isinstance(annotation, str):
            return {}
        try:
            schema: dict[str, Any] = self._adapter(name, annotation).json_schema()
        except Exception:  # noqa: BLE001 a type pydantic has no schema for is shown as a free JSON field
            return {}
        return schema

    def _adapter(self, name: str, annotation: Any) -> Any:
        if name not in self._adapters:
            import pydantic

            try:
                self._adapters[name] = pydantic.TypeAdapter(annotation)
            except pydantic.PydanticSchemaGenerationError:
                config = pydantic.ConfigDict(arbitrary_types_allowed=True)
                self._adapters[name] = pydantic.TypeAdapter(annotation, config=config)
        return self._adapters[name]


def _is_field(default: Any) -> bool:
    """Whether a default is what pydantic's `Field(...)` gives."""
    return type(default).__name__ == "FieldInfo" and hasattr(default, "default_factory")


def _with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """The schema of a parameter that may be left out. None, where it is the default, may be given too."""
    if default is _MADE_ANEW:
        return schema
    takes_null = not schema or schema.get("type") == "null" or {"type": "null"} in schema.get("anyOf", ())
    if default is None and not takes_null:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "default": plain_value(default)}


def _comes_back_as_json(value: Any, depth: int = 6) -> bool:
    """Whether JSON gives back the very same value, and it is small enough to be recorded whole."""
    kind = type(value)
    if kind in (type(None), bool, int):
        return kind is not int or -(2**53) <= value <= 2**53
    if kind is str:
        return len(value) < LARGEST_BYTES // 8 and _is_unicode(value)
    if kind is float:
        return math.isfinite(value)
    if not depth or (kind is not list and kind is not dict) or len(value) > _MOST_ITEMS:
        return False
    if kind is list:
        return all(_comes_back_as_json(item, depth - 1) for item in value)
    return all(type(key) is str and _is_unicode(key) and _comes_back_as_json(item, depth - 1) for key, item in value.items())


def _is_unicode(text: str) -> bool:
    """Whether it holds no half of a pair, as names of files may that are no UTF-8."""
    return text.isascii() or text.encode("utf-8", "replace").decode() == text


_MOST_ITEMS = 50


def plain_value(value: Any) -> Any:
    """A value as it is recorded: JSON types, with a short text in place of what JSON cannot hold."""
    try:
        return msgspec.to_builtins(value, enc_hook=_model_or_text, str_keys=True)
    except Exception:  # noqa: BLE001 a user's __repr__ or mapping may raise anything; the run matters more than how it is shown
        return f"<{type(value).__name__}>"


def _model_or_text(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)  # as text, from which the annotation makes a path again
    return _shown(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def first_reason(error: ValueError) -> str:
    """What a validation holds against a value, in one line."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        first = errors()[0]
        place = ".".join(str(part) for part in first.get("loc", ()))
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return str(error)
