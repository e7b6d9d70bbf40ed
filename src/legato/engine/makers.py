"""Which task run made which value, so that whoever is given the very same object is drawn as depending on that run.

For arrows in a drawing only, so it keeps no data alive: objects are held weakly, and plain containers, which cannot be, only as long as
somebody else holds them too.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_PLAIN = frozenset((type(None), bool, int, float, str, bytes))
_LONGEST = 32
"""Of a longer tuple or list the items are not remembered."""

_MOST_HELD = 64
"""How many plain containers a flow remembers at most."""

_HELD_BY_US = 3
"""References to a container that nobody else holds: the table's, the loop's variable, and the call that counts."""


class Made(NamedTuple):
    """A container, and the run that made it."""

    value: Any
    run_id: str


class Makers:
    """One flow run's."""

    __slots__ = ("_objects", "containers")

    def __init__(self) -> None:
        self._objects: dict[int, tuple[weakref.ref[Any], str]] = {}
        self.containers: dict[int, Made] = {}

    def __bool__(self) -> bool:
        return bool(self._objects or self.containers)

    def made(self, value: Any, run_id: str) -> None:
        """A task run returned this value; of a short tuple or list, the items too, as far as no other run is known to have made them."""
        self._remember(value, run_id)
        if type(value) in (tuple, list) and len(value) <= _LONGEST:
            for item in value:
                if type(item) not in _PLAIN and self.of(item) is None:
                    self._remember(item, run_id)

    def _remember(self, value: Any, run_id: str) -> None:
        key = id(value)
        try:
            self._objects[key] = (weakref.ref(value, lambda _: self._objects.pop(key, None)), run_id)
        except TypeError:
            self._let_go()
            self.containers.pop(key, None)
            self.containers[key] = Made(value, run_id)
            while len(self.containers) > _MOST_HELD:
                self.containers.pop(next(iter(self.containers)), None)

    def _let_go(self) -> None:
        """Forget the containers that nobody else holds."""
        for key in list(self.containers):
            value, _ = self.containers.get(key, (None, ""))
            if sys.getrefcount(value) <= _HELD_BY_US:
                self.containers.pop(key, None)

    def let_go(self, value: Any) -> None:
        """Somebody else hands it on: that one has made it."""
        self.containers.pop(id(value), None)

    def of(self, value: Any) -> str | None:
        """The run that made this very object, if one is known."""
        found = self._objects.get(id(value))
        if found is not None:
            return found[1] if found[0]() is value else None
        held = self.containers.get(id(value))
        return held[1] if held is not None and held[0] is value else None

    def in_values(self, values: Sequence[Any], most: int) -> Iterator[str]:
        """The runs that made these values or what they hold; looks at `most` objects."""
        ahead, seen = list(reversed(values)), 0
        while ahead and seen < most:
            value = ahead.pop()
            seen += 1
            run_id = self.of(value)
            if run_id is not None:
                yield run_id
            else:
                ahead.extend(item for item in _items(value, most - seen) if type(item) not in _PLAIN)

    def forget_idle(self) -> None:
        """A call begins: what nobody holds any more need not be kept while it runs."""
        self._let_go()

    def clear(self) -> None:
        """The flow has ended."""
        self._objects.clear()
        self.containers.clear()


def _items(value: Any, most: int) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return [item for item, _ in zip(value.values(), range(most), strict=False)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [item for item, _ in zip(value, range(most), strict=False)]
    return list(vars(value).values()) if hasattr(type(value), "__dataclass_fields__") and hasattr(value, "__dict__") else ()
