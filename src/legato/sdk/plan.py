"""`flow.plan()`: the flow's graph, read from its source. Nothing of the user's is called: not the flow, no task, no helper, no property.

The source is gone through statement by statement with what is known of each value (`plan_values`). A branch is followed alone when its
condition depends on parameters and constants only, a loop is unrolled when its length is known; everything else is in the plan as
conditional, repeated, or among what is not known. Helper functions of the user's project are read as well. Odd code makes the plan vaguer,
never wrong on purpose, and never an error.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import operator
import sys
import textwrap
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from legato.core.caching import as_policy
from legato.core.errors import LegatoError, UsageError
from legato.core.graph import COMPUTED, FUTURE, VALUE, WAIT_FOR, Edge, Moment, Node, NotKnown, Part, Plan
from legato.engine.futures import as_completed, wait
from legato.sdk.definitions import Definition, Kind
from legato.sdk.plan_values import (
    NOTHING,
    Choice,
    Items,
    Known,
    Local,
    Method,
    Result,
    Spec,
    Unknown,
    Value,
    Wrapped,
    choice,
    computed,
    deps_of,
    elements,
    is_plain,
    known,
    settled,
    source_text,
)
from legato.sdk.sources import is_own
from legato.sdk.wrappers import allow_failure, quote, unmapped

UNROLLED = 100
"""Loops over more elements are shown as one step."""
STEPS = 60_000
NODES = 3_000
DEPTH = 60
"""Functions inside functions are read this deep; a recursion whose end is not known stops here."""


def plan_of(flow: Definition[Any, Any], parameters: Mapping[str, Any]) -> Plan:
    """The plan of a flow for these parameters. Raises `UsageError` when its source is not there, or for a parameter it does not have."""
    fn = inspect.unwrap(getattr(flow.fn, "__func__", flow.fn))
    if tree_of(fn) is None:
        raise UsageError(
            f"the source of flow '{flow.name}' is not available, and a plan is read from it",
            hint="define the flow in a file, not in a REPL or exec()",
        )
    names = inspect.signature(flow.fn).parameters
    wrong = [name for name in parameters if name not in names and not any(p.kind is p.VAR_KEYWORD for p in names.values())]
    if wrong:
        raise UsageError(f"flow '{flow.name}' has no parameter '{wrong[0]}'", hint=f"its parameters are {', '.join(names) or 'none'}")
    reader = Reader()
    given = {name: _parameter(value) for name, value in parameters.items()}
    owner = getattr(flow.fn, "__self__", None)
    reader.read(fn, ([Known(owner)] if owner is not None else []), given)
    shown = {name: _shown(name, parameters, p) for name, p in names.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    code = fn.__code__
    return reader.plan(flow.name, shown, code.co_filename, code.co_firstlineno)


def _shown(name: str, given: Mapping[str, Any], parameter: inspect.Parameter) -> str:
    if name not in given and parameter.default is parameter.empty:
        return "?"
    value = given.get(name, parameter.default)
    text = repr(value) if is_plain(value) else f"<{type(value).__qualname__}>"
    return text if len(text) <= 40 else f"{text[:39]}…"


def _parameter(value: Any) -> Value:
    """A parameter, list and dicts taken apart: what the flow's code appends to its own copy is not appended to the caller's."""
    if type(value) in (list, tuple) and len(value) <= 10_000:
        return Items(type(value).__name__, [_parameter(item) for item in value])
    if type(value) is dict and is_plain(list(value)):
        return Items("dict", [_parameter(item) for item in value.values()], list(value))
    return Known(value)


class Source(NamedTuple):
    """A function's syntax tree."""

    tree: ast.FunctionDef | ast.AsyncFunctionDef
    file: str


@functools.lru_cache(maxsize=2048)
def _parsed(code: types.CodeType) -> Source | None:
    try:
        lines, start = inspect.getsourcelines(code)
        module = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    tree = module.body[0] if module.body else None
    if not isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)) or tree.name != code.co_name:
        return None
    ast.increment_lineno(tree, start - 1)
    return Source(tree, code.co_filename)


def tree_of(fn: Any) -> Source | None:
    """The syntax tree of a plain function, None when its source is not there."""
    return _parsed(fn.__code__) if isinstance(fn, types.FunctionType) else None


class Scope:
    """The names that code sees: its own, those around it, its module's."""

    def __init__(self, file: str, module: Mapping[str, Any], around: Scope | None = None, cells: Mapping[str, Any] | None = None) -> None:
        self.file = file
        self.module = module
        self.around = around
        self.cells = cells or {}
        self.names: dict[str, Value] = {}
        self.returns: list[Value] = []
        self.yields: list[Value] = []

    def look_up(self, name: str) -> Value:
        if name in self.names:
            return self.names[name]
        if self.around is not None:
            return self.around.look_up(name)
        for place in (self.cells, self.module, vars(builtins)):
            if name in place:
                return _of_object(place[name])
        return Unknown(text=name)


def _of_object(obj: Any) -> Value:
    return spec_of(obj) if isinstance(obj, Definition) else Known(obj)


def spec_of(definition: Definition[Any, Any], owner: Any = None) -> Spec:
    """What a plan needs of a task or flow."""
    fn = definition.fn
    file = getattr(getattr(fn, "__code__", None), "co_filename", "")
    if owner is None:
        owner = getattr(fn, "__self__", None)
    body = Known(types.MethodType(getattr(fn, "__func__", fn), owner)) if owner is not None else Known(fn)
    return Spec(
        definition.kind,
        definition.name,
        definition.key,
        definition.options,
        body,
        file,
        definition.makes is not Kind.VALUE,
        definition.is_async,
    )


class Signal(NamedTuple):
    """How a statement ends: it goes on ("next"), or leaves; with a part, only maybe, and what follows stands within that part."""

    kind: str
    part: Part | None = None


NEXT = Signal("next")


class TooMuch(Exception):
    """The flow has more steps than a plan shows."""


class Reader:
    """Goes through source and gathers nodes, edges and moments."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.moments: list[Moment] = []
        self.not_known: dict[tuple[int, str], NotKnown] = {}
        self.caught: set[int] = set()
        self.caught_all: set[int] = set()
        self.place: tuple[Part, ...] = ()
        self.counters: list[Counter[str]] = [Counter()]
        self.steps = 0
        self.depth: list[Any] = []
        self.ids = 0

    def plan(self, flow: str, parameters: dict[str, str], file: str, line: int) -> Plan:
        return Plan(
            flow=flow,
            parameters=parameters,
            nodes=tuple(self.nodes),
            edges=tuple(self.edges),
            not_known=tuple(sorted(self.not_known.values(), key=lambda one: one.line)),
            moments=tuple(self.moments),
            caught=frozenset(self.caught),
            caught_all=frozenset(self.caught_all),
            file=file,
            line=line,
        )

    def read(self, fn: Any, args: list[Value], kwargs: dict[str, Value]) -> Value:
        """Go through a function, as far as it can be followed."""
        try:
            return self.function(Known(fn), args, kwargs)
        except TooMuch:
            self.note(fn.__code__.co_firstlineno, f"the plan ends here: it has more than {NODES} calls, or too much code to follow")
            return Unknown()

    def note(self, line: int, what: str) -> None:
        """Something the source does not tell."""
        self.not_known.setdefault((line, what), NotKnown(line, what))

    def new_id(self) -> int:
        self.ids += 1
        return self.ids

    @contextmanager
    def within(self, part: Part | None) -> Iterator[None]:
        before = self.place
        self.place = before if part is None else (*before, part)
        try:
            yield
        finally:
            self.place = before

    # ------------------------------------------------------------------ statements

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> Signal:
        """Statements in order. After one that maybe leaves, the rest is conditional."""
        for n, statement in enumerate(body):
            signal = self.statement(statement, scope)
            if signal.kind == "next":
                continue
            if signal.part is None:
                return signal
            with self.within(signal.part):
                rest = self.block(body[n + 1 :], scope)
            return signal if rest.kind == "next" else Signal(rest.kind, rest.part)
        return NEXT

    def statement(self, s: ast.stmt, scope: Scope) -> Signal:
        self.steps += 1
        if self.steps > STEPS:
            raise TooMuch
        method = getattr(self, f"_do_{type(s).__name__}", None)
        if method is None:
            return NEXT
        try:
            return method(s, scope) or NEXT
        except TooMuch:
            raise
        except (Exception, RecursionError):  # noqa: BLE001 odd code makes the plan vaguer, never an error
            self.note(s.lineno, f"`{source_text(s)}` could not be followed")
            return NEXT

    def _do_Expr(self, s: ast.Expr, scope: Scope) -> None:
        self.value(s.value, scope)

    def _do_Assign(self, s: ast.Assign, scope: Scope) -> None:
        value = self.value(s.value, scope)
        for target in s.targets:
            self.assign(target, value, scope)

    def _do_AnnAssign(self, s: ast.AnnAssign, scope: Scope) -> None:
        if s.value is not None:
            self.assign(s.target, self.value(s.value, scope), scope)

    def _do_AugAssign(self, s: ast.AugAssign, scope: Scope) -> None:
        before = self.value(_as_load(s.target), scope)
        after = self.value(s.value, scope)
        more = elements(after, 10_000)
        if isinstance(before, Items) and before.kind != "dict" and isinstance(s.op, ast.Add) and more is not None:
            before.items.extend(more)
            return
        self.assign(s.target, _operate(s.op, before, after), scope)

    def _do_Return(self, s: ast.Return, scope: Scope) -> Signal:
        scope.returns.append(self.value(s.value, scope) if s.value is not None else NOTHING)
        if any(part.part == "except" for part in self._here()):
            self.moments.append(Moment("return", self.place))
        return Signal("return")

    def _here(self) -> tuple[Part, ...]:
        """The parts of the place that are in the function being read."""
        inner = max((n for n, part in enumerate(self.place) if part.kind in ("call", "flow", "task")), default=-1)
        return self.place[inner + 1 :]

    def _do_Raise(self, s: ast.Raise, scope: Scope) -> Signal:
        if s.exc is not None:
            self.value(s.exc, scope)
        if not self.place or self.place[-1].kind not in ("if", "loop"):
            self.moments.append(Moment("raise", self.place))
        return Signal("raise")

    def _do_Assert(self, s: ast.Assert, scope: Scope) -> None:
        self.value(s.test, scope)

    def _do_Break(self, _: ast.Break, __: Scope) -> Signal:
        return Signal("break")

    def _do_Continue(self, _: ast.Continue, __: Scope) -> Signal:
        return Signal("continue")

    def _do_FunctionDef(self, s: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        scope.names[s.name] = self._decorated(s, scope)

    _do_AsyncFunctionDef = _do_FunctionDef

    def _decorated(self, s: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> Value:
        """A function defined on the way; with @task or @flow on it, a task or flow."""
        made: Value = Local(s, scope)
        for decorator in reversed(s.decorator_list):
            call = decorator if isinstance(decorator, ast.Call) else None
            kind = _decorator_kind(self.value(call.func if call else decorator, scope))
            if kind:
                options = {k.arg: _option(self.value(k.value, scope)) for k in (call.keywords if call else ()) if k.arg}
                name = (
                    options.get("name") if isinstance(options.get("name"), str) else s.name if kind == "task" else s.name.replace("_", "-")
                )
                made = Spec(
                    kind,
                    str(name),
                    f"{scope.module.get('__name__', '')}.{s.name}",
                    options,
                    made,
                    scope.file,
                    is_async=isinstance(s, ast.AsyncFunctionDef),
                )
        return made

    def _do_If(self, s: ast.If, scope: Scope) -> Signal:
        sure, truth = _truth(test := self.value(s.test, scope))
        if sure:
            return self.block(s.body if truth else s.orelse, scope)
        del test
        id_, text = self.new_id(), source_text(s.test)
        yes, no = Part("if", id_, "body", f"if {text}"), Part("if", id_, "else", f"unless {text}")
        before = dict(scope.names)
        with self.within(yes):
            first = self.block(s.body, scope)
        after_yes, scope.names = scope.names, dict(before)
        with self.within(no):
            second = self.block(s.orelse, scope)
        if first.kind != "next" and first.part is None and second.kind != "next" and second.part is None:
            return first
        if first.kind != "next" and first.part is None:
            return Signal(first.kind, no)
        if second.kind != "next" and second.part is None:
            scope.names = after_yes
            return Signal(second.kind, yes)
        scope.names = _merge_names(after_yes, scope.names)
        return NEXT

    def _do_For(self, s: ast.For | ast.AsyncFor, scope: Scope) -> Signal:
        over = self.value(s.iter, scope)
        each = elements(over, UNROLLED)
        if each is None:
            part = Part("loop", self.new_id(), "", f"× ? (over '{source_text(s.iter, 40)}')")
            return self._once(part, s, scope, _element(over))
        for item in each:
            self.assign(s.target, item, scope)
            signal = self.block(s.body, scope)
            if signal.kind in ("return", "raise") and signal.part is None:
                return signal
            if signal.kind == "break" and signal.part is None:
                return NEXT
        self.block(s.orelse, scope)
        return NEXT

    _do_AsyncFor = _do_For

    def _once(self, part: Part, s: ast.For | ast.AsyncFor | ast.While, scope: Scope, item: Value | None) -> Signal:
        """A loop of unknown length: its body once, as what is repeated."""
        before = dict(scope.names)
        with self.within(part):
            if item is not None and not isinstance(s, ast.While):
                self.assign(s.target, item, scope)
            self.block(s.body, scope)
        scope.names = _merge_names(before, scope.names)
        self.block(s.orelse, scope)
        return NEXT

    def _do_While(self, s: ast.While, scope: Scope) -> Signal:
        sure, truth = _truth(self.value(s.test, scope))
        if sure and not truth:
            return self.block(s.orelse, scope)
        return self._once(Part("loop", self.new_id(), "", f"× ? (while {source_text(s.test, 40)})"), s, scope, None)

    def _do_With(self, s: ast.With | ast.AsyncWith, scope: Scope) -> Signal:
        for item in s.items:
            value = self.value(item.context_expr, scope)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, computed(value), scope)
        return self.block(s.body, scope)

    _do_AsyncWith = _do_With

    def _do_Try(self, s: ast.Try, scope: Scope) -> Signal:
        id_ = self.new_id()
        if s.handlers:
            self.caught.add(id_)
            if any(handler.type is None or _CATCHING_ALL & _names_in(handler.type) for handler in s.handlers):
                self.caught_all.add(id_)
        before = dict(scope.names)
        with self.within(Part("try", id_, "body")):
            signal = self.block(s.body, scope)
        if signal.kind == "next" and s.orelse:
            with self.within(Part("try", id_, "else")):
                signal = self.block(s.orelse, scope)
        merged, falls_through = scope.names, False
        for handler in s.handlers:
            scope.names = _merge_names(dict(before), merged)
            caught = f"on {source_text(handler.type)}" if handler.type is not None else "on any failure"
            part = Part("try", id_, "except", f"{caught} in lines {s.body[0].lineno}-{s.body[-1].end_lineno}")
            with self.within(part):
                if handler.name:
                    scope.names[handler.name] = Unknown()
                ended = self.block(handler.body, scope)
            if ended.kind == "next" or ended.part is not None:
                falls_through = True
                merged = _merge_names(merged, scope.names)
        scope.names = merged
        with self.within(Part("try", id_, "finally")):
            last = self.block(s.finalbody, scope)
        if last.kind != "next":
            return last
        if signal.kind != "next" and signal.part is None and falls_through:
            return Signal(signal.kind, Part("try", id_, "except", f"after a failure in lines {s.body[0].lineno}-{s.body[-1].end_lineno}"))
        return signal

    _do_TryStar = _do_Try

    def _do_Match(self, s: ast.Match, scope: Scope) -> None:
        self.value(s.subject, scope)
        merged = before = scope.names
        for case in s.cases:
            scope.names = dict(before)
            with self.within(Part("if", self.new_id(), "body", f"if {source_text(s.subject, 30)} is {source_text(case.pattern, 30)}")):
                for name in ast.walk(case.pattern):
                    if isinstance(name, (ast.MatchAs, ast.MatchStar)) and name.name:
                        scope.names[name.name] = Unknown()
                self.block(case.body, scope)
            merged = _merge_names(merged, scope.names)
        scope.names = merged

    def _do_Import(self, s: ast.Import, scope: Scope) -> None:
        for alias in s.names:
            module = sys.modules.get(alias.name if alias.asname else alias.name.partition(".")[0])
            scope.names[alias.asname or alias.name.partition(".")[0]] = Known(module) if module is not None else Unknown(text=alias.name)

    def _do_ImportFrom(self, s: ast.ImportFrom, scope: Scope) -> None:
        module = sys.modules.get(s.module or "")
        for alias in s.names:
            found = self.attribute(Known(module), alias.name) if module is not None else Unknown(text=alias.name)
            scope.names[alias.asname or alias.name] = found

    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target.elts, value, scope)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, computed(value), scope)
        elif isinstance(target, ast.Subscript):
            owner, at = self.value(target.value, scope), known(self.value(target.slice, scope))
            if isinstance(owner, Items) and owner.kind == "dict" and at[0]:
                _put(owner, at[1], value)
            elif isinstance(owner, Items):
                owner.items.append(value)
        elif isinstance(target, ast.Attribute):
            self.value(target.value, scope)

    def _unpack(self, targets: Sequence[ast.expr], value: Value, scope: Scope) -> None:
        each = elements(value, 10_000)
        starred = any(isinstance(target, ast.Starred) for target in targets)
        for n, target in enumerate(targets):
            if each is not None and not starred and len(each) == len(targets):
                self.assign(target, each[n], scope)
            else:
                self.assign(target, _element(value), scope)

    # ------------------------------------------------------------------ expressions

    def value(self, e: ast.expr | None, scope: Scope) -> Value:
        """What is known of an expression's value. The calls in it are made."""
        if e is None:
            return NOTHING
        method: Callable[[Any, Scope], Value] | None = getattr(self, f"_of_{type(e).__name__}", None)
        if method is not None:
            return method(e, scope)
        return computed(*[self.value(child, scope) for child in ast.iter_child_nodes(e) if isinstance(child, ast.expr)])

    def _of_Constant(self, e: ast.Constant, _: Scope) -> Value:
        return Known(e.value)

    def _of_Name(self, e: ast.Name, scope: Scope) -> Value:
        return scope.look_up(e.id)

    def _of_Lambda(self, e: ast.Lambda, scope: Scope) -> Value:
        return Local(e, scope)

    def _of_NamedExpr(self, e: ast.NamedExpr, scope: Scope) -> Value:
        value = self.value(e.value, scope)
        self.assign(e.target, value, scope)
        return value

    def _of_Await(self, e: ast.Await, scope: Scope) -> Value:
        value = self.value(e.value, scope)
        self.ask(value)
        return settled(value)

    def _of_Yield(self, e: ast.Yield, scope: Scope) -> Value:
        scope.yields.append(self.value(e.value, scope))
        return Unknown()

    def _of_YieldFrom(self, e: ast.YieldFrom, scope: Scope) -> Value:
        value = self.value(e.value, scope)
        scope.yields.extend(elements(value, UNROLLED) or [value])
        return Unknown()

    def _elements_of(self, nodes: Sequence[ast.expr], scope: Scope) -> list[Value] | None:
        """The values of a display or of positional arguments; None when a starred one has nobody knows how many."""
        found: list[Value] = []
        for node in nodes:
            value = self.value(node.value if isinstance(node, ast.Starred) else node, scope)
            if not isinstance(node, ast.Starred):
                found.append(value)
                continue
            each = elements(value, 10_000)
            found += each if each is not None else [_element(value)]
        return found

    def _display(self, kind: str, e: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Value:
        return Items(kind, self._elements_of(e.elts, scope) or [])

    def _of_List(self, e: ast.List, scope: Scope) -> Value:
        return self._display("list", e, scope)

    def _of_Tuple(self, e: ast.Tuple, scope: Scope) -> Value:
        return self._display("tuple", e, scope)

    def _of_Set(self, e: ast.Set, scope: Scope) -> Value:
        return self._display("set", e, scope)

    def _of_Dict(self, e: ast.Dict, scope: Scope) -> Value:
        made, loose = Items("dict", [], []), False
        for key_node, value_node in zip(e.keys, e.values, strict=True):
            value = self.value(value_node, scope)
            ok, key = known(self.value(key_node, scope)) if key_node is not None else (False, None)
            if ok and _hashable(key):
                _put(made, key, value)
            elif key_node is None and isinstance(value, Items) and value.kind == "dict":
                for inner, item in zip(value.keys, value.items, strict=True):
                    _put(made, inner, item)
            else:
                loose = True
                made.items.append(value)
        return computed(made) if loose else made

    def _of_JoinedStr(self, e: ast.JoinedStr, scope: Scope) -> Value:
        texts, values = [], []
        for part in e.values:
            formatted = isinstance(part, ast.FormattedValue)
            value = self.value(part.value if isinstance(part, ast.FormattedValue) else part, scope)
            values.append(value)
            ok, data = known(value)
            plain = ok and not (formatted and (part.conversion != -1 or part.format_spec is not None))  # type: ignore[attr-defined]  # formatted
            texts.append(str(data) if plain else None)
        return Known("".join(text for text in texts if text is not None)) if None not in texts else computed(*values)

    def _of_IfExp(self, e: ast.IfExp, scope: Scope) -> Value:
        sure, truth = _truth(self.value(e.test, scope))
        if sure:
            return self.value(e.body if truth else e.orelse, scope)
        id_, text = self.new_id(), source_text(e.test)
        with self.within(Part("if", id_, "body", f"if {text}")):
            yes = self.value(e.body, scope)
        with self.within(Part("if", id_, "else", f"unless {text}")):
            no = self.value(e.orelse, scope)
        return choice([yes, no])

    def _of_BoolOp(self, e: ast.BoolOp, scope: Scope) -> Value:
        is_and, place = isinstance(e.op, ast.And), self.place
        found: list[Value] = []
        try:
            for n, each in enumerate(e.values):
                value = self.value(each, scope)
                sure, truth = _truth(value)
                if sure and truth is not is_and:
                    return value if not found else choice([*found, value])
                if sure and n < len(e.values) - 1:
                    continue
                found.append(value)
                word = "if" if is_and else "unless"
                self.place = (*self.place, Part("if", self.new_id(), "body", f"{word} {source_text(each)}"))
        finally:
            self.place = place
        return choice(found) if found else NOTHING

    def _of_BinOp(self, e: ast.BinOp, scope: Scope) -> Value:
        return _operate(e.op, self.value(e.left, scope), self.value(e.right, scope))

    def _of_UnaryOp(self, e: ast.UnaryOp, scope: Scope) -> Value:
        value = self.value(e.operand, scope)
        if isinstance(e.op, ast.Not):
            sure, truth = _truth(value)
            return Known(not truth) if sure else computed(value)
        ok, data = known(value)
        return Known(-data) if ok and isinstance(e.op, ast.USub) and isinstance(data, (int, float)) else computed(value)

    def _of_Compare(self, e: ast.Compare, scope: Scope) -> Value:
        values = [self.value(each, scope) for each in (e.left, *e.comparators)]
        for n, op in enumerate(e.ops):
            sure, truth = _compare(op, values[n], values[n + 1])
            if not sure:
                return computed(*values)
            if not truth:
                return Known(False)
        return Known(True)

    def _of_Subscript(self, e: ast.Subscript, scope: Scope) -> Value:
        owner, index = self.value(e.value, scope), self.value(e.slice, scope)
        ok, at = known(index)
        if isinstance(e.slice, ast.Slice):
            return _sliced(owner, [known(self.value(one, scope)) for one in (e.slice.lower, e.slice.upper, e.slice.step)])
        if ok and isinstance(owner, Items):
            if owner.kind == "dict":
                return owner.items[owner.keys.index(at)] if at in owner.keys else computed(owner)
            return owner.items[at] if isinstance(at, int) and -len(owner.items) <= at < len(owner.items) else computed(owner)
        if ok and isinstance(owner, Known) and is_plain(owner.obj):
            return Known(owner.obj[at])
        if isinstance(owner, Result) and isinstance(at, int):
            return Result(owner.node, owner.how)
        return computed(owner, index)

    def _comprehension(self, e: Any, scope: Scope, made: list[ast.expr]) -> tuple[list[list[Value]], bool]:
        """The rows of a comprehension, and whether there are as many as that."""
        inner = Scope(scope.file, scope.module, scope)
        rows: list[list[Value]] = []
        sure = self._generate(e.generators, inner, lambda: rows.append([self.value(one, inner) for one in made]))
        return rows, sure

    def _generate(self, generators: Sequence[ast.comprehension], scope: Scope, act: Callable[[], None]) -> bool:
        if not generators:
            act()
            return True
        first = generators[0]
        over = self.value(first.iter, scope)
        each = elements(over, UNROLLED)
        if each is None:
            with self.within(Part("loop", self.new_id(), "", f"× ? (over '{source_text(first.iter, 40)}')")):
                self.assign(first.target, _element(over), scope)
                self._filtered(first.ifs, generators[1:], scope, act)
            return False
        results = []
        for item in each:
            self.assign(first.target, item, scope)
            results.append(self._filtered(first.ifs, generators[1:], scope, act))
        return all(results)

    def _filtered(self, tests: Sequence[ast.expr], rest: Sequence[ast.comprehension], scope: Scope, act: Callable[[], None]) -> bool:
        doubts = []
        for test in tests:
            sure, truth = _truth(self.value(test, scope))
            if sure and not truth:
                return True
            if not sure:
                doubts.append(Part("if", self.new_id(), "body", f"if {source_text(test)}"))
        before, self.place = self.place, (*self.place, *doubts)
        try:
            return self._generate(rest, scope, act) and not doubts
        finally:
            self.place = before

    def _of_ListComp(self, e: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: Scope) -> Value:
        rows, sure = self._comprehension(e, scope, [e.elt])
        items = [row[0] for row in rows]
        return Items("list", items) if sure else _many(items)

    _of_SetComp = _of_GeneratorExp = _of_ListComp

    def _of_DictComp(self, e: ast.DictComp, scope: Scope) -> Value:
        rows, sure = self._comprehension(e, scope, [e.key, e.value])
        keys = [known(row[0]) for row in rows]
        if sure and all(ok and _hashable(key) for ok, key in keys):
            return Items("dict", [row[1] for row in rows], [key for _, key in keys])
        return computed(*[row[1] for row in rows])

    def _of_Attribute(self, e: ast.Attribute, scope: Scope) -> Value:
        return self.attribute(self.value(e.value, scope), e.attr)

    def attribute(self, owner: Value, name: str) -> Value:
        """An attribute, where it can be had without running anybody's code."""
        if not isinstance(owner, Known):
            return Method(owner, name)
        obj = owner.obj
        if isinstance(obj, types.ModuleType):
            found = getattr(obj, name, None) if obj.__name__ == "legato" else vars(obj).get(name)
            return _of_object(found) if found is not None else Unknown(text=name)
        if isinstance(obj, Enum) and name in ("value", "name"):
            return Known(obj.__dict__.get(f"_{name}_"))
        try:
            found = inspect.getattr_static(obj, name)
        except AttributeError:
            return Method(owner, name)
        if isinstance(found, (staticmethod, classmethod)):
            found = (
                found.__func__
                if isinstance(found, staticmethod)
                else types.MethodType(found.__func__, obj if isinstance(obj, type) else type(obj))
            )
        if isinstance(found, Definition):
            return spec_of(found, None if isinstance(obj, type) else obj)
        if isinstance(found, types.FunctionType) and not isinstance(obj, type):
            return Known(found if _is_in_instance(obj, name) else types.MethodType(found, obj))
        if hasattr(type(found), "__get__") and not isinstance(found, (types.FunctionType, types.MethodType, type)):
            return Method(owner, name)
        return Known(found)

    # ------------------------------------------------------------------ calls

    def _of_Call(self, e: ast.Call, scope: Scope) -> Value:
        self.steps += 1
        callee = self.value(e.func, scope)
        args = self._elements_of(e.args, scope) or []
        kwargs: dict[str, Value] = {}
        for keyword in e.keywords:
            value = self.value(keyword.value, scope)
            if keyword.arg is not None:
                kwargs[keyword.arg] = value
            elif isinstance(value, Items) and value.kind == "dict":
                kwargs |= {str(key): item for key, item in zip(value.keys, value.items, strict=True)}
            else:
                kwargs["**"] = computed(value)
        return self.call(callee, args, kwargs, e, scope)

    def call(self, callee: Value, args: list[Value], kwargs: dict[str, Value], e: ast.Call, scope: Scope) -> Value:
        if isinstance(callee, Choice):
            return choice([self.call(option, args, kwargs, e, scope) for option in callee.options])
        if isinstance(callee, Spec):
            return self.called(callee, args, kwargs, e, submitted=False)
        if isinstance(callee, Local):
            return self.function(callee, args, kwargs)
        if isinstance(callee, Method):
            return self._method(callee, args, kwargs, e)
        if isinstance(callee, Known):
            return self._object(callee.obj, args, kwargs, e)
        self._unknown_call(args, kwargs, e, is_value=isinstance(callee, Unknown))
        return computed(callee, *args, *kwargs.values())

    def _unknown_call(self, args: list[Value], kwargs: dict[str, Value], e: ast.Call, *, is_value: bool) -> None:
        handed = [value.name for value in (*args, *kwargs.values()) if isinstance(value, Spec)]
        if handed:
            self.note(e.lineno, f"whether `{source_text(e.func)}` calls '{handed[0]}', which it is handed, is not known")
        elif is_value:
            self.note(e.lineno, f"what `{source_text(e)}` does is not known: it is no task")

    def _object(self, obj: Any, args: list[Value], kwargs: dict[str, Value], e: ast.Call) -> Value:
        """A call of something known as a Python object."""
        if any(obj is wrapper for wrapper in (allow_failure, unmapped, quote)) and args:
            return Wrapped(obj.__name__, args[0])
        if obj is as_completed and args:
            return args[0]
        if obj is wait and args:
            return Unknown()
        plain = isinstance(obj, (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type))
        name, module = (obj.__name__, obj.__module__ or "") if plain else ("", "")
        if module.startswith("asyncio") and name == "gather":
            for value in args:
                self.ask(value)
            return Items("list", [settled(value) for value in args])
        if module.startswith("asyncio") and name in ("create_task", "ensure_future", "wait_for", "shield") and args:
            return args[0]
        if plain and vars(builtins).get(name) is obj:
            return self._builtin(name, args, kwargs, e)
        fn = _behind(obj)
        if isinstance(fn, types.FunctionType) and is_own(fn.__globals__):
            if tree_of(fn) is None:
                self._unknown_call(args, kwargs, e, is_value=True)
                return computed(*args, *kwargs.values())
            return self.function(Known(obj), args, kwargs)
        self._unknown_call(args, kwargs, e, is_value=False)
        return computed(*args, *kwargs.values())

    def _builtin(self, name: str, args: list[Value], kwargs: dict[str, Value], e: ast.Call) -> Value:
        first = elements(args[0], 10_000) if args else None
        if name == "map" and len(args) >= 2 and isinstance(args[0], (Spec, Local, Known)):
            each = elements(args[1], UNROLLED)
            if each is not None:
                return Items("list", [self.call(args[0], [item], {}, e, Scope("", {})) for item in each])
        if name == "len" and first is not None:
            return Known(len(first))
        if name in ("list", "tuple", "iter") and first is not None and not kwargs:
            return Items("tuple" if name == "tuple" else "list", first)
        if name in ("list", "tuple", "iter", "sorted", "reversed") and args and isinstance(args[0], Result):
            return args[0]
        if name == "reversed" and first is not None:
            return Items("list", first[::-1])
        if name == "enumerate" and first is not None:
            begin = known(args[1] if len(args) > 1 else kwargs.get("start", Known(0)))
            return Items("list", [Items("tuple", [Known(n), item]) for n, item in enumerate(first, begin[1] if begin[0] else 0)])
        if name == "zip" and args:
            columns = [elements(arg, 10_000) for arg in args]
            if all(column is not None for column in columns):
                return Items("list", [Items("tuple", list(row)) for row in zip(*[c for c in columns if c is not None], strict=False)])
        if name == "dict" and not args:
            return Items("dict", list(kwargs.values()), list(kwargs))
        if name in _COMPUTABLE and not kwargs:
            data = [known(arg) for arg in args]
            if all(ok and not (type(value) is range and len(value) > 10_000) for ok, value in data):
                try:
                    return Known(getattr(builtins, name)(*[value for _, value in data]))
                except Exception:  # noqa: BLE001 the run would raise here as well
                    return Unknown()
        self._unknown_call(args, kwargs, e, is_value=False)
        return computed(*args, *kwargs.values())

    def _method(self, callee: Method, args: list[Value], kwargs: dict[str, Value], e: ast.Call) -> Value:
        owner, name = callee.owner, callee.name
        if isinstance(owner, Spec):
            return self._spec_method(owner, name, args, kwargs, e)
        if isinstance(owner, Choice):
            return choice([self._method(Method(option, name), args, kwargs, e) for option in owner.options])
        if name in ("result", "wait", "exception", "state") and deps_of(owner) and not isinstance(owner, Unknown):
            if name == "result" and _truth(kwargs.get("raise_on_failure", Known(True))) != (True, False):
                self.ask(owner)
            return settled(owner) if name == "result" else computed(owner)
        if isinstance(owner, Items) and (found := _items_method(owner, name, args)) is not None:
            return found
        if isinstance(owner, Known) and type(owner.obj) is str and name in _TEXT_METHODS:
            data = [known(arg) for arg in args]
            if all(ok for ok, _ in data) and not kwargs:
                return Known(getattr(owner.obj, name)(*[value for _, value in data]))
        if name in ("create_task", "start_soon") and args:
            return args[0]
        self._unknown_call(args, kwargs, e, is_value=False)
        return computed(owner, *args, *kwargs.values())

    def _spec_method(self, spec: Spec, name: str, args: list[Value], kwargs: dict[str, Value], e: ast.Call) -> Value:
        if name == "submit":
            return self.called(spec, args, kwargs, e, submitted=True)
        if name == "map":
            return self._mapped(spec, args, kwargs, e)
        if name == "with_options":
            options = {**spec.options, **{key: _option(value) for key, value in kwargs.items()}}
            return msgspec.structs.replace(spec, options=options, name=str(options.get("name") or spec.name))
        if name == "fn":
            return self.function(spec.body, args, kwargs)
        self.note(e.lineno, f"what `{source_text(e)}` does is not known")
        return computed(*args, *kwargs.values())

    def ask(self, value: Value) -> None:
        """Results are asked for: a failure there is raised here."""
        for node, (how, _) in deps_of(value).items():
            if self.nodes[node].awaited or (how in (FUTURE, VALUE) and self.nodes[node].submitted):
                self.moments.append(Moment("ask", self.place, node))

    def called(self, spec: Spec, args: list[Value], kwargs: dict[str, Value], e: ast.Call, *, submitted: bool, repeat: str = "") -> Value:
        """A call of a task or flow: a node, its edges, and what is inside of it."""
        if len(self.nodes) >= NODES:
            raise TooMuch
        kwargs = dict(kwargs)
        wait_for, quiet = kwargs.pop("wait_for", NOTHING), kwargs.pop("return_state", Known(False))
        node = self._node(spec, e, submitted=submitted, repeat=repeat, quiet=_truth(quiet) == (True, True))
        handed = [*args, *kwargs.values()]
        for value in handed if spec.kind == "flow" else ():
            self.ask(value)
        self.nodes.append(node)
        self.moments.append(Moment("call", self.place, node.id))
        deps = deps_of(Items("tuple", handed))
        for source, (_, tolerated) in deps_of(wait_for).items():
            deps.setdefault(source, (WAIT_FOR, tolerated))
        self.edges += [Edge(source, node.id, how, tolerated) for source, (how, tolerated) in deps.items()]
        self._inside(spec, node, args, kwargs)
        many = bool(node.repeat) or spec.makes_items
        if spec.kind == "flow":
            return Result(node.id, COMPUTED, many=spec.makes_items)
        return (
            Result(node.id, FUTURE if submitted else VALUE, many=many and not submitted)
            if not repeat
            else Result(node.id, FUTURE, many=True)
        )

    def _node(self, spec: Spec, e: ast.Call, *, submitted: bool, repeat: str, quiet: bool) -> Node:
        loops = [part.text for part in self.place if part.kind == "loop"]
        texts = [part.text for part in self.place if part.text and part.kind in ("if", "try")]
        options = spec.options
        counter = self.counters[-1]
        name = f"{spec.name}-{counter[spec.name]}" if spec.kind == "task" else spec.name
        repeat = repeat or (loops[-1] if loops else "")
        if repeat or spec.kind == "flow":
            name = spec.name
            same = sum(1 for node in self.nodes if node.name == name or node.name.startswith(f"{name} ("))
            name = f"{name} ({same + 1})" if same else name
        counter[spec.name] += 1
        cached = options.get("cache_policy") or options.get("cache_key_fn")
        trigger = options.get("trigger")
        timeout = options.get("timeout_seconds")
        retries = options.get("retries", 0)
        parent = next((part.id for part in reversed(self.place) if part.kind in ("flow", "task")), None)
        return Node(
            id=len(self.nodes),
            name=name,
            kind=spec.kind,
            task=spec.name,
            key=spec.key,
            file=spec.file,
            line=e.lineno,
            trigger=trigger if isinstance(trigger, str) else getattr(trigger, "__name__", "all_succeeded") if trigger else "all_succeeded",
            retries=retries if isinstance(retries, int) else 0,
            timeout_s=float(timeout) if isinstance(timeout, (int, float)) else None,
            cached=_policy_text(cached),
            persisted=bool(options.get("persist_result")) or bool(cached),
            submitted=submitted,
            parent=parent,
            condition="; ".join(dict.fromkeys(texts)),
            repeat=repeat,
            quiet=quiet,
            awaited=spec.is_async and not submitted and not spec.makes_items,
        )

    def _inside(self, spec: Spec, node: Node, args: list[Value], kwargs: dict[str, Value]) -> None:
        """The calls that are made inside a flow, or inside a task."""
        is_flow = spec.kind == "flow"
        if not is_flow and not _mentions_calls(spec.body):
            return
        enter = _own_values if is_flow else settled
        if is_flow:
            self.counters.append(Counter())
        try:
            with self.within(Part(spec.kind, node.id)):
                self.function(spec.body, [enter(a) for a in args], {k: enter(v) for k, v in kwargs.items()}, line=node.line)
        finally:
            if is_flow:
                self.counters.pop()

    def _mapped(self, spec: Spec, args: list[Value], kwargs: dict[str, Value], e: ast.Call) -> Value:
        kwargs = dict(kwargs)
        wait_for = kwargs.pop("wait_for", NOTHING)
        kwargs.pop("return_state", None)
        named: dict[Any, Value] = {**dict(enumerate(args)), **kwargs}
        texts: dict[Any, str] = {
            **{n: source_text(a, 40) for n, a in enumerate(e.args)},
            **{k.arg: source_text(k.value, 40) for k in e.keywords},
        }
        futures = [value for value in named.values() if isinstance(value, Result) and value.how == FUTURE and not value.many]
        columns = {name: elements(value, UNROLLED) for name, value in named.items() if _is_mapped(value)}
        before = Items("list", [wait_for, *futures]) if futures else wait_for
        whole = {name: value.value if isinstance(value, Wrapped) and value.kind == "unmapped" else value for name, value in named.items()}
        if columns and all(column is not None for column in columns.values()):
            length = min(len(column) for column in columns.values() if column is not None)
            rows = [{**whole, **{name: column[i] for name, column in columns.items() if column is not None}} for i in range(length)]
            return Items("list", [self._submit_row(spec, row, before, e, "") for row in rows])
        over = next((name for name, column in columns.items() if column is None), None)
        row = {n: Unknown() if v in futures else _element(v) if n in columns else v for n, v in whole.items()}
        return self._submit_row(spec, row, before, e, f"× ? (over '{texts.get(over, '…')}')")

    def _submit_row(self, spec: Spec, row: Mapping[Any, Value], wait_for: Value, e: ast.Call, repeat: str) -> Value:
        args = [value for name, value in row.items() if isinstance(name, int)]
        kwargs = {name: value for name, value in row.items() if not isinstance(name, int)}
        if wait_for is not NOTHING:
            kwargs["wait_for"] = wait_for
        return self.called(spec, args, kwargs, e, submitted=True, repeat=repeat)

    # ------------------------------------------------------------------ functions that are read

    def function(self, fn: Value, args: list[Value], kwargs: dict[str, Value], line: int = 0) -> Value:
        """Go through a function's body with these arguments; what it returns, as far as it is known."""
        if isinstance(fn, Local):
            tree, scope = fn.tree, Scope(fn.scope.file, fn.scope.module, fn.scope)
            defaults: Callable[[ast.expr], Value] = functools.partial(self.value, scope=fn.scope)
        else:
            obj = fn.obj if isinstance(fn, Known) else None
            if isinstance(obj, types.MethodType):
                args = [Known(obj.__self__), *args]
                obj = obj.__func__
            obj = _behind(obj)
            source = tree_of(obj)
            if source is None or not isinstance(obj, types.FunctionType):
                if line:
                    self.note(line, "the source of what is called here is not available")
                return computed(*args, *kwargs.values())
            tree = source.tree
            scope = Scope(source.file, obj.__globals__, cells=_closure(obj))
            defaults = _defaults_of(obj, tree)
        if len(self.depth) >= DEPTH or (self.depth.count(tree) >= 2 and not all(known(a)[0] for a in (*args, *kwargs.values()))):
            self.note(tree.lineno, f"how often `{getattr(tree, 'name', 'lambda')}` calls itself is not known")
            return computed(*args, *kwargs.values())
        _bind(tree.args, args, kwargs, defaults, scope)
        self.depth.append(tree)
        is_flow_itself = len(self.depth) == 1
        in_call = self.place and self.place[-1].kind in ("flow", "task") and not is_flow_itself
        part = None if is_flow_itself or in_call else Part("call", self.new_id())
        try:
            with self.within(part):
                if isinstance(tree, ast.Lambda):
                    return self.value(tree.body, scope)
                self.block(tree.body, scope)
        finally:
            self.depth.pop()
        if scope.yields:
            return Items("list", scope.yields)
        return choice(scope.returns) if scope.returns else NOTHING


# ---------------------------------------------------------------------- small questions about values

_COMPUTABLE = frozenset(
    ("range", "len", "min", "max", "sum", "abs", "round", "int", "float", "str", "bool", "any", "all", "sorted", "set", "dict")
)
_TEXT_METHODS = frozenset(
    ("upper", "lower", "strip", "split", "startswith", "endswith", "removeprefix", "removesuffix", "title", "replace")
)

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def _operate(op: ast.operator, left: Value, right: Value) -> Value:
    (ok_left, a), (ok_right, b) = known(left), known(right)
    act = _OPERATORS.get(type(op))
    if isinstance(op, ast.Add) and isinstance(left, Items) and isinstance(right, Items) and "dict" not in (left.kind, right.kind):
        return Items(left.kind, [*left.items, *right.items])
    if act is None or not (ok_left and ok_right) or not _is_small(op, a, b):
        return computed(left, right)
    try:
        return Known(act(a, b))
    except Exception:  # noqa: BLE001 the run would raise here as well
        return Unknown()


def _is_small(op: ast.operator, a: Any, b: Any) -> bool:
    """Whether an operation is done in no time, whatever the numbers."""
    if isinstance(op, ast.Mod) and not isinstance(a, (int, float)):
        return False
    sizes = [abs(one) if isinstance(one, (int, float)) else len(one) if hasattr(one, "__len__") else 0 for one in (a, b)]
    return not isinstance(op, ast.Mult) or (isinstance(a, (int, float)) and isinstance(b, (int, float))) or sizes[0] * sizes[1] <= 10_000


def _compare(op: ast.cmpop, left: Value, right: Value) -> tuple[bool, bool]:
    if isinstance(op, (ast.Is, ast.IsNot)) and isinstance(left, (Known, Items, Spec)) and isinstance(right, (Known, Items, Spec)):
        same = isinstance(left, Known) and isinstance(right, Known) and left.obj is right.obj
        return True, same is isinstance(op, ast.Is)
    (ok_left, a), (ok_right, b) = known(left), known(right)
    if isinstance(right, Items) and right.kind == "dict":
        ok_right, b = True, right.keys
    act = _COMPARISONS.get(type(op))
    if act is None or not (ok_left and ok_right):
        return False, False
    try:
        return True, bool(act(a, b))
    except Exception:  # noqa: BLE001 the run would raise here as well
        return False, False


def _truth(value: Value) -> tuple[bool, bool]:
    """Whether it is known if a value is true, and if it is."""
    if isinstance(value, Items):
        return True, bool(value.items)
    if isinstance(value, Known) and is_plain(value.obj):
        return True, bool(value.obj)
    return isinstance(value, (Spec, Local)), True


def _element(value: Value) -> Value:
    """One element of something whose elements are not known one by one."""
    if isinstance(value, Result):
        return Result(value.node, value.how) if value.many or value.how != FUTURE else Result(value.node, VALUE)
    if isinstance(value, Items):
        return choice(value.items) if value.items else Unknown()
    if isinstance(value, Choice):
        return choice([_element(option) for option in value.options])
    return computed(value)


def _many(items: list[Value]) -> Value:
    """A list of nobody knows how many such values."""
    if len(items) == 1 and isinstance(items[0], Result):
        return Result(items[0].node, items[0].how, many=True)
    return computed(*items)


def _is_mapped(value: Value) -> bool:
    if isinstance(value, Known):
        return isinstance(value.obj, (list, tuple, set, frozenset, range))
    if isinstance(value, Items):
        return value.kind != "dict"
    return isinstance(value, (Result, Unknown, Choice))


def _items_method(owner: Items, name: str, args: list[Value]) -> Value | None:
    if owner.kind == "dict":
        if name == "values":
            return Items("list", list(owner.items))
        if name == "keys":
            return Items("list", [Known(key) for key in owner.keys])
        if name == "items":
            return Items("list", [Items("tuple", [Known(k), v]) for k, v in zip(owner.keys, owner.items, strict=True)])
        if name == "get" and args:
            ok, key = known(args[0])
            return (
                (owner.items[owner.keys.index(key)] if key in owner.keys else args[1] if len(args) > 1 else NOTHING)
                if ok
                else computed(owner)
            )
        return None
    if name in ("append", "add") and args:
        owner.items.append(args[0])
        return NOTHING
    if name == "extend" and args:
        owner.items.extend(elements(args[0], 10_000) or [args[0]])
        return NOTHING
    if name == "pop" and owner.items:
        return owner.items.pop()
    return Items(owner.kind, list(owner.items)) if name == "copy" else None


def _put(made: Items, key: Any, value: Value) -> None:
    if key in made.keys:
        made.items[made.keys.index(key)] = value
    else:
        made.keys = [*made.keys, key]
        made.items.append(value)


def _hashable(key: Any) -> bool:
    return isinstance(key, (type(None), bool, int, float, str, bytes, tuple))


def _sliced(owner: Value, parts: list[tuple[bool, Any]]) -> Value:
    if all(ok for ok, _ in parts):
        cut = slice(*[at for _, at in parts])
        if isinstance(owner, Items) and owner.kind != "dict":
            return Items(owner.kind, owner.items[cut])
        if isinstance(owner, Known) and is_plain(owner.obj) and not isinstance(owner.obj, dict):
            return Known(owner.obj[cut])
    return owner if isinstance(owner, Result) and owner.many else computed(owner)


def _merge_names(one: dict[str, Value], other: dict[str, Value]) -> dict[str, Value]:
    return {name: choice([names[name] for names in (one, other) if name in names]) for name in {**one, **other}}


def _own_values(value: Value) -> Value:
    """What a nested flow is handed: plain values; the runs that made them belong to the flow around it."""
    if isinstance(value, Items):
        return Items(value.kind, [_own_values(item) for item in value.items], value.keys)
    return value if isinstance(value, (Known, Spec, Local)) else Unknown()


def _option(value: Value) -> Any:
    """The value of a decorator's option, None when it is not known."""
    ok, data = known(value)
    return data if ok else value.obj if isinstance(value, Known) else None


def _policy_text(cached: Any) -> str:
    if not cached:
        return ""
    try:
        return repr(as_policy(cached))
    except LegatoError:
        return "?"


def _decorator_kind(value: Value) -> str:
    if not isinstance(value, Known) or not isinstance(value.obj, types.FunctionType):
        return ""
    named = f"{value.obj.__module__}.{value.obj.__name__}"
    return {"legato.sdk.tasks.task": "task", "legato.sdk.flows.flow": "flow"}.get(named, "")


_CATCHING_ALL = frozenset(("Exception", "BaseException", "LegatoError", "RunFailure", "UpstreamFailed"))


def _names_in(type_: ast.expr) -> set[str]:
    return {node.id if isinstance(node, ast.Name) else node.attr for node in ast.walk(type_) if isinstance(node, (ast.Name, ast.Attribute))}


def _as_load(target: ast.expr) -> ast.expr:
    return ast.Name(target.id, ast.Load()) if isinstance(target, ast.Name) else target


def _closure(fn: types.FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return found


def _defaults_of(fn: types.FunctionType, tree: ast.FunctionDef | ast.AsyncFunctionDef) -> Callable[[ast.expr], Value]:
    """The default values of a real function, found by the expressions that made them."""
    pairs: list[tuple[ast.expr, Any]] = list(zip(tree.args.defaults, fn.__defaults__ or (), strict=False))
    keyword = fn.__kwdefaults__ or {}
    pairs += [
        (e, keyword[a.arg]) for a, e in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True) if e is not None and a.arg in keyword
    ]
    by_id = {id(e): _parameter(value) for e, value in pairs}
    return lambda e: by_id.get(id(e), Unknown())


def _bind(a: ast.arguments, args: list[Value], kwargs: dict[str, Value], default: Callable[[ast.expr], Value], scope: Scope) -> None:
    """Parameters to values."""
    positional = [*a.posonlyargs, *a.args]
    left, rest = dict(kwargs), list(args)
    defaults = dict(zip([p.arg for p in positional][len(positional) - len(a.defaults) :], a.defaults, strict=True))
    defaults |= {p.arg: e for p, e in zip(a.kwonlyargs, a.kw_defaults, strict=True) if e is not None}
    for parameter in (*positional, *a.kwonlyargs):
        name = parameter.arg
        if rest and parameter not in a.kwonlyargs:
            scope.names[name] = rest.pop(0)
        elif name in left:
            scope.names[name] = left.pop(name)
        else:
            scope.names[name] = default(defaults[name]) if name in defaults else left.get("**", Unknown(text=name))
    if a.vararg is not None:
        scope.names[a.vararg.arg] = Items("tuple", rest)
    if a.kwarg is not None:
        scope.names[a.kwarg.arg] = Items("dict", list(left.values()), list(left))


def _is_in_instance(obj: Any, name: str) -> bool:
    try:
        return name in object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return False


def _behind(obj: Any) -> Any:
    """The plain function behind a method or a decorated function; anything else as it is."""
    obj = obj.__func__ if isinstance(obj, types.MethodType) else obj
    return inspect.unwrap(obj) if isinstance(obj, types.FunctionType) else obj


def _mentions_calls(body: Value) -> bool:
    """Whether a task's function can reach another task or flow: most do not, and need not be read."""
    if isinstance(body, Local):
        return True
    obj = body.obj if isinstance(body, Known) else None
    fn = _behind(obj)
    return isinstance(fn, types.FunctionType) and _reaches(fn, set())


def _reaches(fn: types.FunctionType, seen: set[int]) -> bool:
    if id(fn) in seen or not is_own(fn.__globals__):
        return False
    seen.add(id(fn))
    names: set[str] = set()
    codes = [fn.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
    inner = _closure(fn)
    found = [*inner.values(), *(fn.__globals__[name] for name in names if name in fn.__globals__)]
    found += [
        vars(module)[name] for module in list(found) if isinstance(module, types.ModuleType) for name in names if name in vars(module)
    ]
    if any(isinstance(one, Definition) for one in found) or ("self" in fn.__code__.co_varnames and "." in fn.__qualname__):
        return True
    return any(isinstance(one, types.FunctionType) and _reaches(one, seen) for one in found)
