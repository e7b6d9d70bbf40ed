"""Whether arrays are views of one memory: parts of what a call gave, or such a part and something it was given.

Whoever writes into the one then changes the other; what comes back from a store are copies. Arrays, frames and memory views are known by their
types' names, so that nothing is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

_MOST_PARTS = 1000
"""Parts of a value that are looked at."""

_CONTAINERS = (list, dict, tuple, set, frozenset)

OF_GIVEN = "what it gave is a view of what it was given: a copy would not be"
OF_EACH_OTHER = "parts of what it gave are views of the same memory: copies would not be"


def shared(value: Any, given: Iterable[Any], is_users: Callable[[Any], Any]) -> str:
    """In words, which memory is shared; "" when none is, or when it is the very array that was given, whose being handed back is noted elsewhere.

    `is_users(cls)`: whether objects of a class are looked into.
    """
    own = {id(part): memory for part in _parts_of(value, is_users) if not _is_frame(part) for memory in _memory_of(part)}
    if not own:
        return ""
    arguments = [part for one in given for part in _parts_of(one, is_users)]
    others = {id(memory) for part in arguments for memory in _memory_of(part) or ((part,) if type(part) is bytearray else ())}
    left_out = set(map(id, arguments))
    if any(id(memory) in others for part, memory in own.items() if part not in left_out):
        return OF_GIVEN
    memories = [id(memory) for memory in own.values()]
    return OF_EACH_OTHER if len(set(memories)) < len(memories) else ""


def _parts_of(value: Any, is_users: Callable[[Any], Any]) -> Iterator[Any]:
    """A value, the items of its containers and the attributes of the user's own objects, each once."""
    seen: set[int] = set()
    ahead = [value]
    while ahead and len(seen) < _MOST_PARTS:
        part = ahead.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, dict):
            ahead += part.values()
        elif isinstance(part, _CONTAINERS):
            ahead += part
        elif type(state := getattr(part, "__dict__", None)) is dict and not isinstance(part, type) and _is_looked_into(part, is_users):
            ahead += state.values()


def _is_looked_into(part: Any, is_users: Callable[[Any], Any]) -> bool:
    library = type(part).__module__.partition(".")[0]
    return library != "pandas" and (is_users(type(part)) is not None or hasattr(type(part), "get_params"))  # a model's coefficients


def _memory_of(part: Any) -> list[Any]:
    """What holds the memory behind an array (or the columns of a frame): the last of those that it is a view of."""
    if type(part) is memoryview:
        return [part.obj]
    library = type(part).__module__.partition(".")[0]
    if library == "numpy" and hasattr(part, "strides") and hasattr(type(part), "__setitem__"):
        while (base := getattr(part, "base", None)) is not None:
            part = base
        return [part.obj if type(part) is memoryview else part]
    return [memory for array in _columns_of(part) for memory in _memory_of(array)] if library == "pandas" else []


def _is_frame(part: Any) -> bool:
    """Whether it copies before it writes, so that it changes nobody's memory but its own: it counts only as something given."""
    return type(part).__module__.partition(".")[0] == "pandas"


def _columns_of(frame: Any) -> list[Any]:
    """The arrays behind a frame or series."""
    arrays = getattr(getattr(frame, "_mgr", None), "arrays", ())
    return [one if type(one).__name__ == "ndarray" else getattr(one, "_ndarray", None) for one in arrays]
