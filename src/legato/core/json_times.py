"""Instants in JSON, always with six digits behind the second: so texts of times sort, and compare, as the times do. Pure.

msgspec leaves the digits out where they are all zero, and ":18Z" sorts behind ":18.5Z".
"""

from __future__ import annotations

import functools
import operator
import typing
from datetime import UTC, datetime
from typing import Any

import msgspec


def in_full(value: Any) -> Any:
    """A value that msgspec writes with all digits: records, and lists of them. What users put into records is JSON already, and stays as it is."""
    if type(value) is datetime:
        return value if value.microsecond else _written(value)
    if type(value) in (list, tuple):
        made = [in_full(one) for one in value]
        return value if all(map(operator.is_, made, value)) else made
    return _record_in_full(value) if isinstance(value, msgspec.Struct) else value


def _record_in_full(record: msgspec.Struct) -> msgspec.Struct:
    changed = {}
    times, others = _fields_of(type(record))
    for name in times:
        old = getattr(record, name)
        if old is not None and not old.microsecond:
            changed[name] = _written(old)
    for name in others:
        old = getattr(record, name)
        if old is not None and (new := in_full(old)) is not old:
            changed[name] = new
    if not changed:
        return record
    import copy  # noqa: PLC0415 start-up time: servers and lists come here, a flow that runs does not

    made = copy.copy(record)  # without the checks of its making: what is written in full is no instant any more
    for name, new in changed.items():
        msgspec.structs.force_setattr(made, name, new)
    return made


@functools.cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields of a record that are instants, and those that may hold some."""
    types = {field.name: _leaves(field.type) for field in msgspec.structs.fields(kind)}
    times = tuple(name for name, leaves in types.items() if leaves <= {datetime, type(None)} and datetime in leaves)
    others = tuple(
        name
        for name, leaves in types.items()
        if name not in times
        and any(leaf in (datetime, Any, object) or (isinstance(leaf, type) and issubclass(leaf, msgspec.Struct)) for leaf in leaves)
    )
    return times, others


def _leaves(annotation: Any) -> set[Any]:
    """The types that an annotation consists of; a list of instants is no instant."""
    inner = typing.get_args(annotation)
    outer = typing.get_origin(annotation)
    found = {leaf for one in inner for leaf in _leaves(one)} if inner else {annotation}
    return found | {outer} if isinstance(outer, type) and issubclass(outer, (list, tuple, dict)) else found


def _written(value: datetime) -> msgspec.Raw:
    text = value.isoformat(timespec="microseconds")
    return msgspec.Raw(f'"{text.removesuffix("+00:00") + "Z" if value.tzinfo is UTC else text}"'.encode())
