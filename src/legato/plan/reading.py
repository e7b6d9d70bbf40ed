"""What the parts of a reader ask of each other: statements are made of expressions, these of calls, calls of functions made of statements."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from legato.core.graph import Part
from legato.plan.reach import Reach
from legato.plan.record import Record
from legato.plan.values import Items, Value
from legato.plan.words import Words
from legato.plan.world import Scope, World

UNROLLED = 100
"""Loops over more elements are shown as one step."""


class Signal(NamedTuple):
    """How a statement ends. `kinds`: the ways in which it may leave (return, raise, break, continue); `goes_on`: whether what follows may be
    reached. Where both are so, what follows stands within `part`. `left`: the names at each break and continue.
    """

    kinds: frozenset[str] = frozenset()
    goes_on: bool = True
    part: Part | None = None
    left: tuple[dict[str, Value], ...] = ()


NEXT = Signal()


class Raised(Exception):
    """A function of the user's surely raises here."""


class Reading(Protocol):
    """A reader, as its parts see it."""

    record: Record
    world: World
    reach: Reach
    words: Words

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> Signal: ...
    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None: ...
    def value(self, e: ast.expr | None, scope: Scope) -> Value: ...
    def arguments(self, nodes: Sequence[ast.expr], scope: Scope) -> tuple[list[Value], bool]: ...
    def attribute(self, owner: Value, name: str, line: int) -> Value: ...
    def set_attribute(self, owner: Value, name: str, value: Value, line: int) -> None: ...
    def truth(self, value: Value, e: ast.expr) -> tuple[bool, bool]: ...
    def force(self, value: Value) -> Value: ...
    def each(self, value: Value, limit: int) -> list[Value] | None: ...
    def call(self, callee: Value, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value: ...
    def function(self, fn: Value, args: list[Value], kwargs: Mapping[str, Value], line: int = 0) -> Value: ...
    def called_here(self, e: ast.Call, scope: Scope) -> Value: ...
    def spoil(self, value: Value) -> None: ...
    def touched(self, line: int, *values: Value) -> None: ...
    def new(self, made: Items) -> Items: ...
