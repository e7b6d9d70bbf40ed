"""Statements in order: which of them are reached, in which branches, and what the names mean after them."""

from __future__ import annotations

import ast
import contextlib
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from legato.core.graph import Moment, Part
from legato.plan import containers
from legato.plan.arithmetic import operate
from legato.plan.patterns import fit
from legato.plan.reading import NEXT, UNROLLED, Raised, Reading, Signal
from legato.plan.record import TooMuch
from legato.plan.source import own_nodes
from legato.plan.values import (
    LARGE,
    NOTHING,
    Choice,
    Instance,
    Items,
    Known,
    Local,
    Spec,
    Stream,
    Unknown,
    Value,
    WouldRaise,
    choice,
    computed,
    element,
    known,
    live_in,
    source_text,
)
from legato.plan.world import Scope, is_vague, vague

Names = dict[str, Value]
_CATCHING_ALL = frozenset(("Exception", "BaseException", "LegatoError", "RunFailure", "UpstreamFailed"))


class Statements:
    """Goes through blocks of statements."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.record = reading.record

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> Signal:
        """Statements in order. After one that maybe leaves, the rest is conditional."""
        for n, statement in enumerate(body):
            signal = self._statement(statement, scope)
            if not signal.kinds:
                continue
            if not signal.goes_on:
                return signal
            with self.record.within(signal.part):
                rest = self.block(body[n + 1 :], scope)
            return Signal(signal.kinds | rest.kinds, rest.goes_on, signal.part if rest.goes_on else None, signal.left + rest.left)
        return NEXT

    def _statement(self, s: ast.stmt, scope: Scope) -> Signal:
        self.record.step()
        method: Callable[[Any, Scope], Signal | None] | None = getattr(self, f"_do_{type(s).__name__}", None)
        try:
            if method is None:
                raise NotImplementedError
            return method(s, scope) or NEXT
        except TooMuch:
            raise
        except Raised:
            return Signal(frozenset(("raise",)), goes_on=False)
        except WouldRaise:
            self.record.note(s.lineno, f"`{source_text(s)}` raises, as far as can be told")
        except (Exception, RecursionError):  # noqa: BLE001 odd code makes the plan vaguer, never an error
            self.record.note(s.lineno, f"`{source_text(s)}` could not be followed")
        self._forget(s, scope)
        return NEXT

    def _forget(self, s: ast.stmt, scope: Scope) -> None:
        """After a statement that was not gone through to its end: what it may have bound or changed is not known."""
        for node in (s, *own_nodes(s)):
            if isinstance(node, ast.Name):
                held = scope.look_up(node.id)
                if isinstance(node.ctx, ast.Load):
                    self.reading.spoil(held)
                elif node.id in scope.names:
                    self._bind(scope, node.id, vague(held))
                else:
                    self._bind(scope, node.id, Unknown())

    def _bind(self, scope: Scope, name: str, value: Value) -> None:
        scope.bind(name, value, self.record.doubts, in_loop=self.record.in_loop)

    # ------------------------------------------------------------------ simple statements

    def _do_Pass(self, _: ast.Pass, __: Scope) -> None:
        return

    def _do_Expr(self, s: ast.Expr, scope: Scope) -> None:
        self.reading.value(s.value, scope)

    def _do_Assign(self, s: ast.Assign, scope: Scope) -> None:
        value = self.reading.value(s.value, scope)
        for target in s.targets:
            self.assign(target, value, scope)

    def _do_AnnAssign(self, s: ast.AnnAssign, scope: Scope) -> None:
        if s.value is not None:
            self.assign(s.target, self.reading.value(s.value, scope), scope)

    def _do_AugAssign(self, s: ast.AugAssign, scope: Scope) -> None:
        before = self.reading.value(_as_load(s.target), scope)
        after = self.reading.value(s.value, scope)
        self.reading.touched(s.lineno, before, after)
        if isinstance(before, Items) and before.kind != "tuple":
            self._change_in_place(before, s.op, after)
        elif isinstance(before, Choice):
            self.reading.spoil(before)
            self.assign(s.target, computed(before, after), scope)
        else:
            self.assign(s.target, operate(s.op, before, self.reading.force(after)), scope)

    def _change_in_place(self, made: Items, op: ast.operator, value: Value) -> None:
        """`made += value`, `made |= value`."""
        name = {"list": "extend" if isinstance(op, ast.Add) else "", "set": "update" if isinstance(op, ast.BitOr) else ""}.get(made.kind)
        name = "update" if made.kind == "dict" and isinstance(op, ast.BitOr) else name
        with self.reading.world.changing(made, self.record.doubts):
            try:
                containers.method(made, name or "", [self.reading.force(value)], {})
            except containers.NotModelled:
                made.loose = True

    def _do_Delete(self, s: ast.Delete, scope: Scope) -> None:
        for target in s.targets:
            self._delete(target, scope)

    def _delete(self, target: ast.expr, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            self._bind(scope, target.id, Unknown(text=target.id))
        elif isinstance(target, ast.Subscript):
            owner = self.reading.value(target.value, scope)
            index = None if isinstance(target.slice, ast.Slice) else self.reading.value(target.slice, scope)
            bounds = self._bounds(target.slice, scope)
            self.reading.touched(target.lineno, owner)
            self._change(owner, lambda made: containers.delete(made, index, bounds))
        elif isinstance(target, ast.Attribute):
            self.reading.set_attribute(self.reading.value(target.value, scope), target.attr, Unknown(text=target.attr), target.lineno)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for one in target.elts:
                self._delete(one, scope)

    def _change(self, owner: Value, act: Callable[[Items], None]) -> None:
        """Change a container; one of several, which nobody knows: each of them maybe."""
        if isinstance(owner, Choice):
            for option in owner.options:
                with self.record.within(self.record.branch("if it is this one")):
                    self._change(option, act)
        elif isinstance(owner, Items):
            with self.reading.world.changing(owner, self.record.doubts):
                try:
                    act(owner)
                except containers.NotModelled:
                    owner.loose = True
        else:
            self.reading.spoil(owner)

    def _bounds(self, at: ast.expr, scope: Scope) -> list[Value]:
        return [self.reading.value(one, scope) for one in (at.lower, at.upper, at.step)] if isinstance(at, ast.Slice) else []

    def _do_Return(self, s: ast.Return, scope: Scope) -> Signal:
        scope.returns.append(self.reading.value(s.value, scope) if s.value is not None else NOTHING)
        if any(part.part == "except" for part in self.record.here()):
            self.record.moments.append(Moment("return", self.record.place))
        return Signal(frozenset(("return",)), goes_on=False)

    def _do_Raise(self, s: ast.Raise, scope: Scope) -> Signal:
        if s.exc is not None:
            self.reading.value(s.exc, scope)
        if not self.record.place or self.record.place[-1].kind not in ("if", "loop"):
            self.record.moments.append(Moment("raise", self.record.place))
        return Signal(frozenset(("raise",)), goes_on=False)

    def _do_Assert(self, s: ast.Assert, scope: Scope) -> Signal | None:
        sure, truth = self.reading.truth(self.reading.value(s.test, scope), s.test)
        if sure and not truth:
            return Signal(frozenset(("raise",)), goes_on=False)
        return None if sure else Signal(frozenset(("raise",)), True, self.record.branch(f"if {source_text(s.test)}"))

    def _do_Break(self, _: ast.Break, scope: Scope) -> Signal:
        return Signal(frozenset(("break",)), goes_on=False, left=(dict(scope.names),))

    def _do_Continue(self, _: ast.Continue, scope: Scope) -> Signal:
        return Signal(frozenset(("continue",)), goes_on=False, left=(dict(scope.names),))

    def _do_Global(self, s: ast.Global, scope: Scope) -> None:
        scope.globals.update(s.names)

    def _do_Nonlocal(self, s: ast.Nonlocal, scope: Scope) -> None:
        scope.nonlocals.update(s.names)

    def _do_Import(self, s: ast.Import, scope: Scope) -> None:
        for alias in s.names:
            module = sys.modules.get(alias.name if alias.asname else alias.name.partition(".")[0])
            found: Value = Known(module) if module is not None else Unknown(text=alias.name)
            self._bind(scope, alias.asname or alias.name.partition(".")[0], found)

    def _do_ImportFrom(self, s: ast.ImportFrom, scope: Scope) -> None:
        module = sys.modules.get(s.module or "")
        for alias in s.names:
            found = self.reading.attribute(Known(module), alias.name, s.lineno) if module is not None else Unknown(text=alias.name)
            self._bind(scope, alias.asname or alias.name, found)

    # ------------------------------------------------------------------ definitions

    def _do_FunctionDef(self, s: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        self._bind(scope, s.name, self._decorated(s, scope))

    _do_AsyncFunctionDef = _do_FunctionDef

    def _decorated(self, s: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> Value:
        """A function defined on the way; with @task or @flow on it, a task or flow."""
        defaults = {id(e): self.reading.value(e, scope) for e in (*s.args.defaults, *s.args.kw_defaults) if e is not None}
        made: Value = Local(s, scope, defaults)
        for decorator in reversed(s.decorator_list):
            call = decorator if isinstance(decorator, ast.Call) else None
            named = self.reading.value(call.func if call else decorator, scope)
            kind = self.reading.words.decorators.get(_full_name(named))
            if kind:
                options = {k.arg: _option(self.reading.value(k.value, scope)) for k in (call.keywords if call else ()) if k.arg}
                made = self._spec(kind, s, options, made, scope)
            elif _full_name(named) not in _KEEPING_THE_FUNCTION:
                decorated = self.reading.value(decorator, scope) if call else named
                at = call or ast.copy_location(ast.Call(decorator, [], []), decorator)
                made = self.reading.call(decorated, [made], {}, at, scope)
        return made

    def _spec(self, kind: str, s: ast.FunctionDef | ast.AsyncFunctionDef, options: dict[str, Any], body: Value, scope: Scope) -> Spec:
        given = options.get("name")
        name = given if isinstance(given, str) else s.name if kind == "task" else s.name.replace("_", "-")
        key = f"{scope.module.get('__name__', '')}.{s.name}"
        return Spec(kind, name, key, options, body, scope.file, is_async=isinstance(s, ast.AsyncFunctionDef))

    def _do_ClassDef(self, s: ast.ClassDef, scope: Scope) -> None:
        """Its body runs; what its objects do is not known."""
        for e in (*s.decorator_list, *s.bases, *(k.value for k in s.keywords)):
            self.reading.value(e, scope)
        inner = Scope(self.reading.world, scope.file, scope.module, around=scope, born=self.record.doubts)
        self.block(s.body, inner)
        names = {name for name, value in inner.names.items() if isinstance(value, (Local, Spec))}
        reaches = any(self.reading.reach.can_call(value) for value in inner.names.values())
        self.reading.world.local_methods |= names if reaches else set()
        self._bind(scope, s.name, Unknown(text=s.name, live=s.name if reaches else ""))

    # ------------------------------------------------------------------ branches

    def _do_If(self, s: ast.If, scope: Scope) -> Signal:
        sure, truth = self.reading.truth(self.reading.value(s.test, scope), s.test)
        if sure:
            return self.block(s.body if truth else s.orelse, scope)
        text = source_text(s.test)
        id_ = self.record.new_id()
        yes, no = Part("if", id_, "body", f"if {text}"), Part("if", id_, "else", f"unless {text}")
        before = dict(scope.names)
        with self.record.within(yes):
            first = self.block(s.body, scope)
        after_yes, scope.names = scope.names, dict(before)
        with self.record.within(no):
            second = self.block(s.orelse, scope)
        return _joined(scope, [(first, after_yes, yes), (second, scope.names, no)])

    def _do_Match(self, s: ast.Match, scope: Scope) -> Signal:
        subject = self.reading.value(s.subject, scope)
        self.reading.touched(s.lineno, subject)
        before, outcomes = scope.names, []
        doubtful = False
        for case in s.cases:
            scope.names = dict(before)
            found = fit(self.reading, case.pattern, subject, scope)
            if found.sure and not found.fits:
                continue
            for name, value in found.names.items():
                self._bind(scope, name, value)
            sure = found.sure
            if case.guard is not None:
                guard_sure, truth = self.reading.truth(self.reading.value(case.guard, scope), case.guard)
                if guard_sure and not truth:
                    continue
                sure = sure and guard_sure
            if sure and not doubtful:
                return self.block(case.body, scope)
            doubtful = True
            part = self.record.branch(f"if {source_text(s.subject, 30)} is {source_text(case.pattern, 30)}")
            with self.record.within(part):
                outcomes.append((self.block(case.body, scope), scope.names, part))
            if sure:
                break
        else:
            scope.names = before
            outcomes.append((NEXT, before, self.record.branch(f"if {source_text(s.subject, 30)} is none of these")))
        return _joined(scope, outcomes) if doubtful else NEXT

    # ------------------------------------------------------------------ loops

    def _do_For(self, s: ast.For | ast.AsyncFor, scope: Scope) -> Signal:
        over = self.reading.value(s.iter, scope)
        stream = over if isinstance(over, Stream) else None
        each = self.reading.each(over, UNROLLED)
        if each is None:
            over = self.reading.force(over)
            self.reading.touched(s.lineno, over)
            part = Part("loop", self.record.new_id(), "", f"× ? (over '{source_text(s.iter, 40)}')")
            return self._once(part, s, scope, element(over))
        size = len(over.items) if isinstance(over, Items) else -1
        kinds: frozenset[str] = frozenset()
        left: list[Names] = []
        with contextlib.ExitStack() as doubts:
            for item in each:
                self.assign(s.target, item, scope)
                signal = self.block(s.body, scope)
                kinds |= signal.kinds - {"continue"}
                left += [names for names in signal.left if "break" in signal.kinds]
                if signal.left and "continue" in signal.kinds:
                    scope.names = _merged([*([scope.names] if signal.goes_on else []), *signal.left])
                if not signal.goes_on and signal.kinds != {"continue"}:
                    if "continue" not in signal.kinds:
                        return self._after_leaving(s, scope, kinds, left, stream)
                    doubts.enter_context(self.record.within(self.record.branch(f"unless it left before, in line {s.lineno}")))
                elif signal.goes_on and signal.part is not None and kinds:
                    doubts.enter_context(self.record.within(signal.part))
            if isinstance(over, Items) and len(over.items) != size:
                self.record.note(s.lineno, f"what `{source_text(s.iter, 40)}` holds changes while it is gone through")
            ended = self.block(s.orelse, scope)
        return self._loop_end(s, scope, kinds, left, ended, stream)

    _do_AsyncFor = _do_For

    def _after_leaving(self, s: ast.stmt, scope: Scope, kinds: frozenset[str], left: list[Names], stream: Stream | None) -> Signal:
        """An iteration surely left the loop."""
        self._note_partly_taken(s, stream)
        if "break" not in kinds:
            return Signal(kinds, goes_on=False)
        scope.names = _merged(left)
        kinds -= {"break"}
        return Signal(kinds, goes_on=True, part=self.record.branch(f"unless it left before, in line {s.lineno}")) if kinds else NEXT

    def _loop_end(
        self, s: ast.stmt, scope: Scope, kinds: frozenset[str], left: list[Names], ended: Signal, stream: Stream | None = None
    ) -> Signal:
        """The loop ran to its end, or maybe was left."""
        if kinds:
            self._note_partly_taken(s, stream)
        names = ([scope.names] if ended.goes_on else []) + left
        goes_on = bool(names)
        if goes_on:
            scope.names = _merged(names)
        kinds = (kinds - {"break"}) | ended.kinds
        if not kinds:
            return NEXT
        part = ended.part or (self.record.branch(f"unless it left before, in line {s.lineno}") if goes_on else None)
        return Signal(kinds, goes_on, part, ended.left)

    def _note_partly_taken(self, s: ast.stmt, stream: Stream | None) -> None:
        if stream is not None and stream.text:
            self.record.note(s.lineno, f"how much of `{stream.text}` is taken is not known")

    def _once(self, part: Part, s: ast.For | ast.AsyncFor | ast.While, scope: Scope, item: Value | None) -> Signal:
        """A loop of unknown length: its body once, as what is repeated. What it changes is loose from the start: it may be the tenth time."""
        world, before, doubt = self.reading.world, dict(scope.names), (part.id, part.part)
        while True:
            mark, found = world.mark(), self.record.snapshot()
            scope.names = dict(before)
            with self.record.within(part):
                if item is not None and not isinstance(s, ast.While):
                    self.assign(s.target, item, scope)
                elif isinstance(s, ast.While):
                    self.reading.value(s.test, scope)
                signal = self.block(s.body, scope)
            ends = [scope.names, *signal.left]
            changed = {n for names in ends for n, held in before.items() if names.get(n) is not held and not is_vague(held)}
            if not changed and not world.loosens_more(mark, doubt):
                break
            world.take_back(mark, loosening=True)
            self.record.take_back(found)
            before |= {name: vague(before[name]) for name in changed}
        names = _merged([before, *([scope.names] if signal.goes_on else []), *signal.left])
        scope.names = {name: value if name in before else vague(value) for name, value in names.items()}
        kinds = signal.kinds - {"continue", "break"}
        if "break" in signal.kinds and s.orelse:
            with self.record.within(self.record.branch(f"unless it left before, in line {s.lineno}")):
                ended = self.block(s.orelse, scope)
        else:
            ended = self.block(s.orelse, scope)
        return self._loop_end(s, scope, kinds, [dict(scope.names)] if "break" in signal.kinds else [], ended)

    def _do_While(self, s: ast.While, scope: Scope) -> Signal:
        """Gone through as long as its condition is known; one whose end is not known is one step."""
        world, record = self.reading.world, self.record
        start = (world.mark(), record.snapshot(), dict(scope.names))
        for _ in range(UNROLLED):
            here = (world.mark(), record.snapshot(), dict(scope.names))
            sure, truth = self.reading.truth(self.reading.value(s.test, scope), s.test)
            if sure and not truth:
                return self.block(s.orelse, scope)
            signal = self.block(s.body, scope) if sure else NEXT
            if not sure or (signal.goes_on and signal.kinds) or len(signal.kinds) > 1:
                start = here
                break
            if signal.kinds == {"break"}:
                return NEXT
            if signal.kinds == {"continue"}:
                scope.names = _merged(list(signal.left))
            elif signal.kinds:
                return signal
        mark, found, scope.names = start
        world.take_back(mark)
        record.take_back(found)
        return self._once(Part("loop", record.new_id(), "", f"× ? (while {source_text(s.test, 40)})"), s, scope, None)

    # ------------------------------------------------------------------ with and try

    def _do_With(self, s: ast.With | ast.AsyncWith, scope: Scope) -> Signal:
        exits: list[tuple[Value, int]] = []
        prefix = "a" if isinstance(s, ast.AsyncWith) else ""
        for item in s.items:
            value = self.reading.value(item.context_expr, scope)
            entered = self._entered(value, f"__{prefix}enter__", s, scope)
            if isinstance(value, (Instance, Known, Choice)):
                exits.append((value, item.context_expr.lineno))
            if item.optional_vars is not None:
                self.assign(item.optional_vars, entered, scope)
        signal = self.block(s.body, scope)
        for value, line in reversed(exits):
            self._call_method(value, f"__{prefix}exit__", [NOTHING] * 3, s, scope, line)
        if "raise" in signal.kinds:  # it may be suppressed
            return Signal(
                signal.kinds, True, self.record.branch(f"unless the `with` of line {s.lineno} lets an error through"), signal.left
            )
        return signal

    _do_AsyncWith = _do_With

    def _entered(self, value: Value, method: str, s: ast.stmt, scope: Scope) -> Value:
        if isinstance(value, Stream):
            each = self.reading.each(value, UNROLLED)
            return each[0] if each else computed(value)
        if isinstance(value, (Instance, Known, Choice)):
            return self._call_method(value, method, [], s, scope, s.lineno)
        if name := live_in(value):
            self.record.note(s.lineno, f"what `with` does with '{name}' is not known")
        return computed(value)

    def _call_method(self, value: Value, name: str, args: list[Value], s: ast.stmt, scope: Scope, line: int) -> Value:
        """A method that a statement calls."""
        at = ast.copy_location(ast.Call(ast.Attribute(ast.Name("it", ast.Load()), name, ast.Load()), [], []), s)
        return self.reading.call(self.reading.attribute(value, name, line), args, {}, ast.fix_missing_locations(at), scope)

    def _do_Try(self, s: ast.Try, scope: Scope) -> Signal:
        id_ = self.record.new_id()
        if s.handlers:
            self.record.caught.add(id_)
            if any(handler.type is None or _CATCHING_ALL & _names_in(handler.type) for handler in s.handlers):
                self.record.caught_all.add(id_)
        before = dict(scope.names)
        with self.record.within(Part("try", id_, "body")):
            signal = self.block(s.body, scope)
        if signal.goes_on and s.orelse:
            with self.record.within(signal.part, Part("try", id_, "else")):
                signal = _after(signal, self.block(s.orelse, scope))
        lines = f"lines {s.body[0].lineno}-{s.body[-1].end_lineno}"
        merged = [scope.names] if signal.goes_on or not s.handlers else []
        failed, falls_through, left = _perhaps_half_way(before, scope.names), False, signal.left
        kinds = signal.kinds - ({"raise"} if s.handlers else set())
        for handler in s.handlers:
            scope.names = dict(failed)
            caught = f"on {source_text(handler.type)}" if handler.type is not None else "on any failure"
            with self.record.within(Part("try", id_, "except", f"{caught} in {lines}")):
                if handler.name:
                    self._bind(scope, handler.name, Unknown())
                ended = self.block(handler.body, scope)
            left += ended.left
            if "raise" in signal.kinds:
                kinds |= ended.kinds
            if ended.goes_on:
                falls_through = True
                merged.append(scope.names)
        scope.names = _merged(merged) if merged else scope.names
        with self.record.within(Part("try", id_, "finally")):
            last = self.block(s.finalbody, scope)
        if not last.goes_on:
            return last
        maybe = Part("try", id_, "except", f"after a failure in {lines}")
        if not signal.goes_on and not falls_through:
            return Signal(signal.kinds | kinds | last.kinds, goes_on=False, left=left)
        if not signal.goes_on or "raise" in signal.kinds:
            return Signal(kinds | last.kinds or frozenset(("raise",)), goes_on=True, part=maybe, left=left)
        return Signal(kinds | last.kinds, True, signal.part or last.part or (maybe if kinds | last.kinds else None), left)

    _do_TryStar = _do_Try

    # ------------------------------------------------------------------ targets

    def assign(self, target: ast.expr, value: Value, scope: Scope) -> None:
        """`target = value`."""
        if isinstance(target, ast.Name):
            self._bind(scope, target.id, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target.elts, value, scope)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, computed(value), scope)
        elif isinstance(target, ast.Subscript):
            owner = self.reading.value(target.value, scope)
            self.reading.touched(target.lineno, owner)
            if isinstance(target.slice, ast.Slice):
                bounds, given = self._bounds(target.slice, scope), self.reading.force(value)
                self._change(owner, lambda made: containers.set_slice(made, bounds, given))
            else:
                index = self.reading.value(target.slice, scope)
                self._change(owner, lambda made: containers.set_item(made, index, value))
        elif isinstance(target, ast.Attribute):
            self.reading.set_attribute(self.reading.value(target.value, scope), target.attr, value, target.lineno)

    def _unpack(self, targets: Sequence[ast.expr], value: Value, scope: Scope) -> None:
        each = self.reading.each(value, LARGE)
        starred = next((n for n, target in enumerate(targets) if isinstance(target, ast.Starred)), None)
        if each is None:
            self.reading.touched(targets[0].lineno if targets else 0, value)
        elif len(each) < len(targets) - (starred is not None) or (starred is None and len(each) != len(targets)):
            raise WouldRaise
        elif starred is not None:
            after = len(targets) - starred - 1
            middle = self.reading.new(Items("list", each[starred : len(each) - after]))
            each = [*each[:starred], middle, *each[len(each) - after :]]
        for n, target in enumerate(targets):
            plain = target.value if isinstance(target, ast.Starred) else target
            if each is not None:
                self.assign(plain, each[n], scope)
            else:
                self.assign(plain, element(value) if plain is target else computed(value), scope)


# ---------------------------------------------------------------------- small questions


def _joined(scope: Scope, outcomes: list[tuple[Signal, Names, Part]]) -> Signal:
    """After branches of which one is taken: the names, and how they end together."""
    going = [(signal, names, part) for signal, names, part in outcomes if signal.goes_on]
    kinds = frozenset[str]().union(*(signal.kinds for signal, _, _ in outcomes))
    left = tuple(names for signal, _, _ in outcomes for names in signal.left)
    if not going:
        return Signal(kinds, goes_on=False, left=left)
    scope.names = _merged([names for _, names, _ in going])
    if not kinds:
        return NEXT
    part = going[0][2] if len(going) == 1 else next((signal.part for signal, _, _ in going if signal.part is not None), going[0][2])
    return Signal(kinds, goes_on=True, part=part, left=left)


def _after(first: Signal, second: Signal) -> Signal:
    part = (first.part or second.part) if second.goes_on else None
    return Signal(first.kinds | second.kinds, second.goes_on, part, first.left + second.left)


def _merged(many: list[Names]) -> Names:
    """The names after one of several ways, nobody knows which."""
    if len(many) == 1:
        return many[0]
    names = dict.fromkeys(name for one in many for name in one)
    return {name: choice([one[name] for one in many if name in one]) for name in names}


def _perhaps_half_way(before: Names, after: Names) -> Names:
    """The names when a block was left somewhere within."""
    found = {}
    for name in {**before, **after}:
        one, other = before.get(name), after.get(name)
        if one is not None and one is other:
            found[name] = one
        else:
            found[name] = choice([value for value in (one, other) if value is not None] + [Unknown(live=live_in(other) if other else "")])
    return found


def _option(value: Value) -> Any:
    """The value of a decorator's option, None when it is not known."""
    ok, data = known(value)
    return data if ok else value.obj if isinstance(value, Known) else None


def _full_name(value: Value) -> str:
    """Module and name of a function."""
    obj = value.obj if isinstance(value, Known) else None
    return f"{obj.__module__}.{obj.__name__}" if isinstance(obj, types.FunctionType) else ""


_KEEPING_THE_FUNCTION = frozenset(
    ("functools.wraps", "contextlib.contextmanager", "contextlib.asynccontextmanager", "typing.overload", "typing.no_type_check")
)
"""Decorators that change nothing of what a function does when it is called."""


def _names_in(type_: ast.expr) -> set[str]:
    return {node.id if isinstance(node, ast.Name) else node.attr for node in ast.walk(type_) if isinstance(node, (ast.Name, ast.Attribute))}


def _as_load(target: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Name(target.id, ast.Load()), target) if isinstance(target, ast.Name) else target
