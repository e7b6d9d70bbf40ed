"""A value that code holds: what it was when it was last looked at."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from legato.core.identity import Form, Unknown, cell_of, digest, is_frozen
from legato.sdk.bytecode import PLAIN, token

LARGEST = 1 << 20
"""Bytes of a value that are looked at. A larger one counts by the statements that make it."""


class Held:
    """A value under a name: a global, or a `part` of a function or class. `place` tells what may be changed in place.

    `code(x)` is what a function or class in it is known by. `made_by`: a text for how it is made, for a value that cannot be compared by what
    it holds.
    """

    __slots__ = ("_code", "_get", "_last", "is_fixed", "is_unknown", "made_by", "name", "part", "place", "token")

    def __init__(self, name: str, get: Callable[[], Any], place: Any, code: Callable[[Any], Any], part: str = "") -> None:
        self._code = code
        self._get = get
        self._last: Any = Held
        self.name = name
        self.part = part
        self.place = place
        self.made_by = ""
        self.token = ""
        self.is_unknown = False
        self.is_fixed = False
        """Whether it was looked at for good: what a class was made of does not change."""

    def value(self) -> Any:
        """The value as it is now."""
        return self._get()

    def has_changed(self) -> bool:
        """Look at it again; whether it is another one than before."""
        if self.is_fixed and self.token and not self.is_unknown:
            return False
        value = self._get()
        if value is self._last:
            return False
        before = self.token
        self._last = value if is_frozen(value) else Held
        self.token, self.is_unknown = self._token_of(value)
        return self.token != before

    def _token_of(self, value: Any) -> tuple[str, bool]:
        if type(value) in PLAIN or _is_by_kind(value):
            return token(value), False
        try:
            return digest(_CodeForm(self._code, limit=LARGEST).bytes_of(value)), False
        except Unknown:
            return f"{type(value).__qualname__} {self.made_by}", True
        except Exception as error:  # noqa: BLE001 a user's __legato_hash__ may raise anything
            return f"{type(value).__qualname__} {type(error).__qualname__} {self.made_by}", True

    def noted(self) -> str:
        """What stands for it among all that code consists of."""
        return f"{self.part} {self.token}" if self.part else self.token


class _CodeForm(Form):
    """Of a function of the user's in a value that is known by its name here counts what it closes over, but for what the code itself changes."""

    __slots__ = ()

    def function(self, fn: Any) -> tuple[str, Any]:
        search = getattr(self._code, "__self__", None)
        known = self._code(fn) if self._code is not None else None
        if known is None:
            return super().function(fn)
        if search is None:  # what it holds is part of the hash that it is known by
            return "function", known
        cells = [None if search.changes(cell) else self.of(cell_of(cell)) for cell in fn.__closure__ or ()]
        return "function", [known, cells, self.of(fn.__defaults__), self.of(fn.__kwdefaults__)]


def _is_by_kind(value: Any) -> bool:
    """Whether a value is equipment and no input: it counts by its type."""
    return isinstance(value, (logging.Logger, logging.Handler))


def is_moving(value: Any) -> bool:
    """Whether using a value changes it: an iterator, a source of random numbers."""
    kind = type(value)
    return hasattr(kind, "__next__") or (kind.__module__.partition(".")[0], kind.__name__) in _MOVING


_MOVING = frozenset((("random", "Random"), ("numpy", "Generator"), ("numpy", "RandomState")))

CAN_BE_ADDED_TO = ("list", "set", "dict", "deque", "bytearray", "Counter", "OrderedDict", "defaultdict", "ndarray", "DataFrame", "Series")
