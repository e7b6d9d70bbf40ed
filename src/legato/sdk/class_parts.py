"""What a class of the user's consists of: all that its body says, and what is worked out from it, by name.

Fields of dataclasses, attrs classes, pydantic models and msgspec structs with all that decides about their values, in their order; members of an
enum in theirs; validators with their fields and modes; annotations; what is registered with it. Not what Python or a metaclass adds for itself.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Mapping
from enum import Enum, EnumMeta
from typing import Any

Parts = dict[str, Callable[[], Any]]

FIXED = frozenset(("fields", "validators", "private", "options", "annotations", "slots", "members"))
"""What is decided when a class is made."""


def declared(cls: type) -> Parts:
    """What a class consists of, to be asked when it is wanted."""
    own = vars(cls)
    parts: Parts = {
        name: functools.partial(_attribute_of, cls, name)
        for name in own
        if name not in _ADDED and not name.startswith(("__pydantic", "_abc_", "_member_", "__struct_"))
    }
    for name, is_there, get in _WORKED_OUT:
        if is_there in own:
            parts[name] = functools.partial(get, cls)
    if hasattr(type(cls), "__struct_config__"):
        parts["fields"] = functools.partial(_struct_fields, cls)
    if isinstance(cls, EnumMeta):
        parts["members"] = functools.partial(_members, cls)
    return parts


def is_found(cls: type) -> bool:
    """Whether a class is what its module has under its name: one that is made by a function, or by another module, is not."""
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None) if name != "<locals>" else None
        if found is None:
            return False
    return found is cls


def _attribute_of(cls: type, name: str) -> Any:
    value = vars(cls).get(name)
    return value.value if isinstance(value, Enum) else value


def _pydantic_fields(cls: type) -> dict[str, Any]:
    fields: Mapping[str, Any] = vars(cls).get("__pydantic_fields__") or {}
    return {
        name: [field.annotation, field.default, field.default_factory, *(getattr(field, part, None) for part in _FIELD_PARTS)]
        for name, field in fields.items()
    }


_FIELD_PARTS = (
    *("metadata", "alias", "alias_priority", "validation_alias", "serialization_alias", "discriminator", "exclude", "frozen"),
    *("validate_default", "init", "init_var", "kw_only", "json_schema_extra", "title", "description", "examples"),
)


def _pydantic_decorators(cls: type) -> dict[str, Any]:
    """Validators, serializers and computed fields: what they are about and when they run. What they do is compared as methods."""
    found = {}
    for kind, made in _slots_of(vars(cls)["__pydantic_decorators__"]).items():
        if isinstance(made, dict):
            found[kind] = [[name, one.cls_var_name, _slots_of(one.info)] for name, one in made.items()]
    return found


def _slots_of(value: Any) -> dict[str, Any]:
    names = [*getattr(type(value), "__dataclass_fields__", ()), *getattr(value, "__dict__", ())]
    return {name: getattr(value, name, None) for name in dict.fromkeys(names) if name not in ("wrapped_property", "build_metadata")}


def _private(cls: type) -> dict[str, Any]:
    return {name: [one.default, one.default_factory] for name, one in vars(cls)["__private_attributes__"].items()}


def _dataclass_fields(cls: type) -> list[Any]:
    return [
        [one.name, str(one._field_type), one.type, one.default, one.default_factory, dict(one.metadata), *(getattr(one, part, None) for part in _DATA_PARTS)]  # noqa: SLF001 it has no public name
        for one in vars(cls)["__dataclass_fields__"].values()
    ]  # fmt: skip


_DATA_PARTS = ("init", "repr", "hash", "compare", "kw_only")


def _struct_fields(cls: Any) -> list[Any]:
    config = cls.__struct_config__
    options = {name: getattr(config, name) for name in dir(config) if not name.startswith("__")}
    defaults = [_made_by(one) for one in cls.__struct_defaults__]
    return [options, cls.__struct_fields__, cls.__struct_encode_fields__, defaults]


def _made_by(default: Any) -> Any:
    factory = getattr(default, "factory", None) if type(default).__name__ == "Factory" else None
    return default if factory is None else ["made by", factory]


def _members(cls: Any) -> list[Any]:
    """The names of an enum's members in their order, aliases with what they stand for, and what becomes of values that are none."""
    names = [[name, member.name] for name, member in cls.__members__.items()]
    return [names, [member.name for member in cls], str(vars(cls).get("_boundary_"))]


def _annotations(cls: type) -> dict[str, Any]:
    try:
        return dict(cls.__annotations__)
    except Exception:  # noqa: BLE001 from 3.14 on they are worked out when asked for, and may name what is not there
        return {}


def _registered(cls: type) -> list[str]:
    """What has been registered with an abstract class."""
    found = [one() for one in sys.modules["_abc"]._get_dump(cls)[0]]  # noqa: SLF001 what abc itself prints
    return sorted(f"{one.__module__}.{one.__qualname__}" for one in found if one is not None)


_WORKED_OUT: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("fields", "__pydantic_fields__", _pydantic_fields),
    ("validators", "__pydantic_decorators__", _pydantic_decorators),
    ("private", "__private_attributes__", _private),
    ("fields", "__dataclass_fields__", _dataclass_fields),
    ("options", "__dataclass_params__", lambda cls: repr(vars(cls)["__dataclass_params__"])),
    ("annotations", "__annotations__", _annotations),
    ("annotations", "__annotate__", _annotations),
    ("annotations", "__annotate_func__", _annotations),
    ("slots", "__slots__", lambda cls: vars(cls)["__slots__"]),
    ("registered", "_abc_impl", _registered),
)
"""What is worked out from a class's body, and the attribute that tells that it is there."""

_ADDED = frozenset(
    (
        *("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__", "__static_attributes__", "__slots__"),
        *("__orig_bases__", "__parameters__", "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
        *(
            "_value2member_map_",
            "_generate_next_value_",
            "__dataclass_params__",
            "__dataclass_fields__",
            "__class_vars__",
            "__match_args__",
        ),
        *("__qualname__", "__signature__", "__slotnames__", "__private_attributes__", "__classcell__", "__new_member__", "_use_args_"),
        *(
            "_value_repr_",
            "_unhashable_values_",
            "_hashable_values_",
            "_unhashable_values_map_",
            "_boundary_",
            "__conditional_annotations__",
        ),
    )
)

DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType, types.MethodDescriptorType)
"""What C code has put into a class."""
