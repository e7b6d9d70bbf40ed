"""The reader: its parts put together, and what a flow's plan is made of in the end."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from legato.core.errors import UsageError
from legato.core.graph import Plan
from legato.plan.calls import Calls
from legato.plan.containers import of_object
from legato.plan.expressions import Expressions
from legato.plan.reach import Reach
from legato.plan.reading import Raised, Signal
from legato.plan.record import NODES, Record, TooMuch
from legato.plan.source import tree_of
from legato.plan.statements import Statements
from legato.plan.tasks import TaskCalls
from legato.plan.values import NAMED, PLAIN, Bound, Choice, Instance, Items, Known, Local, Unknown, Value, is_plain
from legato.plan.words import Words
from legato.plan.world import Scope, World


def plan_of(flow: Any, parameters: Mapping[str, Any], words: Words) -> Plan:
    """The plan of a flow for these parameters. Raises `UsageError` when its source is not there, or for a parameter it does not have."""
    fn = getattr(flow.fn, "__func__", flow.fn)
    if tree_of(fn) is None:
        raise UsageError(
            f"the source of flow '{flow.name}' is not available, and a plan is read from it",
            hint="define the flow in a file, not in a REPL or exec()",
        )
    names = inspect.signature(flow.fn).parameters
    wrong = [name for name in parameters if name not in names and not any(p.kind is p.VAR_KEYWORD for p in names.values())]
    if wrong:
        raise UsageError(f"flow '{flow.name}' has no parameter '{wrong[0]}'", hint=f"its parameters are {', '.join(names) or 'none'}")
    reader = Reader(words)
    given = {name: of_object(value, reader.world.value_of) for name, value in parameters.items()}
    owner = getattr(flow.fn, "__self__", None)
    reader.read(fn, ([Known(owner)] if owner is not None else []), given)
    shown = {name: _shown(name, parameters, p) for name, p in names.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    code = inspect.unwrap(fn).__code__
    return reader.record.plan(flow.name, shown, code.co_filename, code.co_firstlineno)


def _shown(name: str, given: Mapping[str, Any], parameter: inspect.Parameter) -> str:
    if name not in given and parameter.default is parameter.empty:
        return "?"
    value = given.get(name, parameter.default)
    text = repr(value) if is_plain(value) else f"<{type(value).__qualname__}>"
    return text if len(text) <= 40 else f"{text[:39]}…"


class Reader:
    """Goes through a flow's source. Its parts do the work; here they find each other."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.record = Record()
        self.world = World(words)
        self.reach = Reach(words, self.world)
        self._statements = Statements(self)
        self._expressions = Expressions(self)
        self._tasks = TaskCalls(self)
        self._calls = Calls(self, self._tasks)

    def read(self, fn: Any, args: list[Value], kwargs: Mapping[str, Value]) -> None:
        """Go through a flow's function, as far as it can be followed."""
        try:
            self.force(self.function(Known(fn), args, kwargs))
        except Raised:
            return
        except TooMuch:
            self.record.note(fn.__code__.co_firstlineno, f"the plan ends here: it has more than {NODES} calls, or too much code to follow")

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> Signal:
        return self._statements.block(body, scope)

    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None:
        self._statements.assign(target, value, scope)

    def value(self, e: ast.expr | None, scope: Scope) -> Value:
        return self._expressions.value(e, scope)

    def called_here(self, e: ast.Call, scope: Scope) -> Value:
        return self._calls.of(e, scope)

    def arguments(self, nodes: Sequence[ast.expr], scope: Scope) -> tuple[list[Value], bool]:
        return self._expressions.arguments(nodes, scope)

    def attribute(self, owner: Value, name: str, line: int) -> Value:
        return self._expressions.attribute(owner, name, line)

    def set_attribute(self, owner: Value, name: str, value: Value, line: int) -> None:
        self._expressions.set_attribute(owner, name, value, line)

    def truth(self, value: Value, e: ast.expr) -> tuple[bool, bool]:
        return self._expressions.truth(value, e)

    def touched(self, line: int, *values: Value) -> None:
        self._expressions.touched(line, *values)

    def force(self, value: Value) -> Value:
        return self._expressions.force(value)

    def each(self, value: Value, limit: int) -> list[Value] | None:
        return self._expressions.each(value, limit)

    def new(self, made: Items) -> Items:
        return self._expressions.new(made)

    def call(self, callee: Value, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, scope: Scope) -> Value:
        return self._calls.call(callee, args, kwargs, e, scope)

    def function(self, fn: Value, args: list[Value], kwargs: Mapping[str, Value], line: int = 0) -> Value:
        return self._calls.function(fn, args, kwargs, line)

    def spoil(self, value: Value, depth: int = 6) -> None:
        """Code out of sight had its hands on a value: what of it can change may have."""
        if depth == 0:
            return
        if isinstance(value, Items):
            if value.kind != "tuple":
                self.world.loosen_items(value)
            for item in value.items:
                self.spoil(item, depth - 1)
        elif isinstance(value, Instance):
            self.world.loosen_instance(value)
            for item in value.names.values():
                self.spoil(item, depth - 1)
        elif isinstance(value, Choice):
            for option in value.options:
                self.spoil(option, depth - 1)
        elif isinstance(value, Bound):
            for part in (value.fn, *value.args, *value.kwargs.values()):
                self.spoil(part, depth - 1)
        elif isinstance(value, Local):
            self._spoil_names(value, depth)
        elif isinstance(value, Known) and self._can_change(value.obj):
            self.world.loosen_object(value.obj)

    def _spoil_names(self, fn: Local, depth: int) -> None:
        """A function out of sight may be called: what its code can reach may change."""
        outer = {name for node in ast.walk(fn.tree) if isinstance(node, (ast.Nonlocal, ast.Global)) for name in node.names}
        inner = Scope(self.world, fn.scope.file, fn.scope.module, around=fn.scope)
        inner.nonlocals = outer
        for node in ast.walk(fn.tree):
            if isinstance(node, ast.Name) and node.id in outer and isinstance(node.ctx, ast.Store):
                inner.bind(node.id, Unknown(), self.record.doubts, in_loop=self.record.in_loop)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                held = fn.scope.look_up(node.id)
                if isinstance(held, (Items, Instance)):
                    self.spoil(held, depth - 1)

    def _can_change(self, obj: Any) -> bool:
        return not isinstance(obj, NAMED) and type(obj) not in PLAIN and self.reach.is_own_class(type(obj))
