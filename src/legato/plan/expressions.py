"""Expressions: what is known of their values. The calls in them are made on the way."""

from __future__ import annotations

import ast
import functools
import inspect
import types
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from legato.core.graph import Part
from legato.plan import containers
from legato.plan.arithmetic import compare, operate
from legato.plan.reading import UNROLLED, Reading
from legato.plan.values import (
    LARGE,
    NOTHING,
    Bound,
    Choice,
    Instance,
    Items,
    Known,
    Local,
    Method,
    Spec,
    Stream,
    Super,
    Unknown,
    Value,
    choice,
    computed,
    element,
    elements,
    is_hashable,
    known,
    live_in,
    many,
    settled,
    source_text,
    truth_of,
)
from legato.plan.world import Scope


class Expressions:
    """Works out expressions."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.record = reading.record

    def value(self, e: ast.expr | None, scope: Scope) -> Value:
        """What is known of an expression's value."""
        if e is None:
            return NOTHING
        method: Callable[[Any, Scope], Value] | None = getattr(self, f"_of_{type(e).__name__}", None)
        if method is None:
            return computed(*[self.value(child, scope) for child in ast.iter_child_nodes(e) if isinstance(child, ast.expr)])
        made = method(e, scope)
        return self.new(made) if isinstance(made, Items) else made

    def new(self, made: Items) -> Items:
        """A container made here: changes under no more doubts than now are sure."""
        if made.born is None:
            made.born = self.record.doubts
            for item in made.items:
                if isinstance(item, Items):
                    self.new(item)
        return made

    def each(self, value: Value, limit: int) -> list[Value] | None:
        """The elements of an iterable, a generator gone through."""
        return elements(self.force(value), limit)

    def force(self, value: Value) -> Value:
        """What a generator gives, its code gone through; any other value as it is. The second time there is nothing left."""
        if not isinstance(value, Stream):
            return value
        if value.spent:
            return Items("list", [], loose=bool(self.record.doubts))
        self.reading.world.spend(value)
        return value.run()

    def truth(self, value: Value, e: ast.expr) -> tuple[bool, bool]:
        """Whether it is known if a value is true."""
        self.touched(e.lineno, value)
        return truth_of(value)

    def touched(self, line: int, *values: Value) -> None:
        """An operator is used on values: that of an object of the project's own class may call a task."""
        name = self.reading.reach.first_in(values, operators=True)
        if name:
            self.record.note(line, f"what an operator of '{name}' does is not known")
        for value in values:
            if isinstance(value, Instance) and name:
                self.reading.spoil(value)

    # ------------------------------------------------------------------ names and constants

    def _of_Constant(self, e: ast.Constant, _: Scope) -> Value:
        return Known(e.value)

    def _of_Name(self, e: ast.Name, scope: Scope) -> Value:
        return scope.look_up(e.id)

    def _of_Call(self, e: ast.Call, scope: Scope) -> Value:
        return self.reading.called_here(e, scope)

    def _of_Lambda(self, e: ast.Lambda, scope: Scope) -> Value:
        return Local(e, scope, {id(d): self.value(d, scope) for d in (*e.args.defaults, *e.args.kw_defaults) if d is not None})

    def _of_NamedExpr(self, e: ast.NamedExpr, scope: Scope) -> Value:
        value = self.value(e.value, scope)
        scope.bind_outside(e.target.id, value, self.record.doubts, in_loop=self.record.in_loop)
        return value

    def _of_Await(self, e: ast.Await, scope: Scope) -> Value:
        value = self.value(e.value, scope)
        self.record.ask(value)
        return settled(value)

    def _of_Yield(self, e: ast.Yield, scope: Scope) -> Value:
        scope.yields.append(self.value(e.value, scope))
        scope.yields_are_sure = scope.yields_are_sure and not (self.record.doubts - scope.born)
        return Unknown()

    def _of_YieldFrom(self, e: ast.YieldFrom, scope: Scope) -> Value:
        value = self.force(self.value(e.value, scope))
        each = self.each(value, UNROLLED)
        scope.yields.extend(each if each is not None else [element(value)])
        scope.yields_are_sure = scope.yields_are_sure and each is not None and not (self.record.doubts - scope.born)
        return Unknown()

    # ------------------------------------------------------------------ displays

    def arguments(self, nodes: Sequence[ast.expr], scope: Scope) -> tuple[list[Value], bool]:
        """The values of a display or of positional arguments, and whether there are just so many."""
        found: list[Value] = []
        sure = True
        for node in nodes:
            value = self.value(node.value if isinstance(node, ast.Starred) else node, scope)
            if not isinstance(node, ast.Starred):
                found.append(value)
                continue
            value = self.force(value)
            each = self.each(value, LARGE)
            found += each if each is not None else [element(value)]
            sure = sure and each is not None
        return found, sure

    def _of_List(self, e: ast.List, scope: Scope) -> Value:
        items, sure = self.arguments(e.elts, scope)
        return Items("list", items, loose=not sure)

    def _of_Tuple(self, e: ast.Tuple, scope: Scope) -> Value:
        items, sure = self.arguments(e.elts, scope)
        return Items("tuple", items, loose=not sure)

    def _of_Set(self, e: ast.Set, scope: Scope) -> Value:
        items, sure = self.arguments(e.elts, scope)
        self.touched(e.lineno, *items)
        made = containers.set_of(items)
        made.loose = made.loose or not sure
        return made

    def _of_Dict(self, e: ast.Dict, scope: Scope) -> Value:
        made, loose = Items("dict", [], []), False
        for key_node, value_node in zip(e.keys, e.values, strict=True):
            if key_node is None:
                value = self.value(value_node, scope)
                loose = loose or not self._spread(made, value)
                continue
            ok, key = known(key_value := self.value(key_node, scope))
            value = self.value(value_node, scope)
            self.touched(e.lineno, key_value)
            if ok and is_hashable(key):
                containers.put(made, key, value)
            else:
                loose = True
                containers.put(made, f"(not known {len(made.keys)})", value)
        made.loose = loose
        return made

    def _spread(self, made: Items, value: Value) -> bool:
        if not isinstance(value, Items) or value.kind != "dict" or value.loose:
            containers.put(made, f"(not known {len(made.keys)})", computed(value))
            return False
        for key, item in zip(value.keys, value.items, strict=True):
            containers.put(made, key, item)
        return True

    def _of_JoinedStr(self, e: ast.JoinedStr, scope: Scope) -> Value:
        texts: list[str | None] = []
        values = []
        for part in e.values:
            if not isinstance(part, ast.FormattedValue):
                texts.append(str(part.value) if isinstance(part, ast.Constant) else None)
                continue
            value = self.value(part.value, scope)
            if part.format_spec is not None:
                self.value(part.format_spec, scope)
            self.touched(e.lineno, value)
            values.append(value)
            ok, data = known(value)
            texts.append(str(data) if ok and part.conversion == -1 and part.format_spec is None else None)
        return Known("".join(text for text in texts if text is not None)) if None not in texts else computed(*values)

    # ------------------------------------------------------------------ operators

    def _of_IfExp(self, e: ast.IfExp, scope: Scope) -> Value:
        sure, truth = self.truth(self.value(e.test, scope), e.test)
        if sure:
            return self.value(e.body if truth else e.orelse, scope)
        id_, text = self.record.new_id(), source_text(e.test)
        with self.record.within(Part("if", id_, "body", f"if {text}")):
            yes = self.value(e.body, scope)
        with self.record.within(Part("if", id_, "else", f"unless {text}")):
            no = self.value(e.orelse, scope)
        return choice([yes, no])

    def _of_BoolOp(self, e: ast.BoolOp, scope: Scope) -> Value:
        is_and, place = isinstance(e.op, ast.And), self.record.place
        found: list[Value] = []
        try:
            for n, each in enumerate(e.values):
                value = self.value(each, scope)
                sure, truth = self.truth(value, each) if n < len(e.values) - 1 else (False, False)
                if sure and truth is not is_and:
                    return choice([*found, value])
                if sure:
                    continue
                found.append(value)
                self.record.place = (*self.record.place, self.record.branch(f"{'if' if is_and else 'unless'} {source_text(each)}"))
        finally:
            self.record.place = place
        return choice(found) if found else NOTHING

    def _of_BinOp(self, e: ast.BinOp, scope: Scope) -> Value:
        left, right = self.value(e.left, scope), self.value(e.right, scope)
        self.touched(e.lineno, left, right)
        return operate(e.op, left, right)

    def _of_UnaryOp(self, e: ast.UnaryOp, scope: Scope) -> Value:
        value = self.value(e.operand, scope)
        if isinstance(e.op, ast.Not):
            sure, truth = self.truth(value, e.operand)
            return Known(not truth) if sure else computed(value)
        self.touched(e.lineno, value)
        ok, data = known(value)
        return Known(-data) if ok and isinstance(e.op, ast.USub) and isinstance(data, (int, float)) else computed(value)

    def _of_Compare(self, e: ast.Compare, scope: Scope) -> Value:
        values = [self.value(e.left, scope)]
        place, sure_so_far = self.record.place, True
        try:
            for op, right in zip(e.ops, e.comparators, strict=True):
                values.append(self.force(self.value(right, scope)) if isinstance(op, (ast.In, ast.NotIn)) else self.value(right, scope))
                if not isinstance(op, (ast.Is, ast.IsNot)):
                    self.touched(e.lineno, *values[-2:])
                sure, truth = compare(op, values[-2], values[-1])
                if sure and not truth and sure_so_far:
                    return Known(False)
                if not sure:
                    sure_so_far = False
                    self.record.place = (*self.record.place, self.record.branch(f"if {source_text(e)}"))
        finally:
            self.record.place = place
        return Known(True) if sure_so_far else computed(*values)

    def _of_Subscript(self, e: ast.Subscript, scope: Scope) -> Value:
        owner = self.value(e.value, scope)
        self.touched(e.lineno, owner)
        if isinstance(e.slice, ast.Slice):
            return containers.slice_of(owner, [self.value(one, scope) for one in (e.slice.lower, e.slice.upper, e.slice.step)])
        index = self.value(e.slice, scope)
        if isinstance(owner, Choice):
            return choice(
                [containers.item_of(option, index) if not isinstance(option, Items) else element(option) for option in owner.options]
            )
        if not isinstance(owner, Items) or owner.loose:
            self.record.may_raise(e.lineno)
        return containers.item_of(owner, index)

    # ------------------------------------------------------------------ comprehensions

    def _comprehension(self, e: Any, scope: Scope, made: list[ast.expr]) -> tuple[list[list[Value]], bool]:
        """The rows of a comprehension, and whether there are as many as that."""
        inner = Scope(scope.world, scope.file, scope.module, around=scope, born=self.record.doubts, is_comprehension=True)
        rows: list[list[Value]] = []
        sure = self._generate(e.generators, inner, lambda: rows.append([self.value(one, inner) for one in made]))
        return rows, sure

    def _generate(self, generators: Sequence[ast.comprehension], scope: Scope, act: Callable[[], None]) -> bool:
        if not generators:
            act()
            return True
        first = generators[0]
        over = self.force(self.value(first.iter, scope))
        each = self.each(over, UNROLLED)
        if each is not None:
            results = []
            for item in each:
                self.reading.assign(first.target, item, scope)
                results.append(self._filtered(first.ifs, generators[1:], scope, act))
            return all(results)
        self.touched(first.iter.lineno, over)
        part = Part("loop", self.record.new_id(), "", f"× ? (over '{source_text(first.iter, 40)}')")
        self._repeated(
            part,
            lambda: self.reading.assign(first.target, element(over), scope),
            lambda: self._filtered(first.ifs, generators[1:], scope, act),
        )
        return False

    def _repeated(self, part: Part, begin: Callable[[], None], act: Callable[[], object]) -> None:
        """The same code nobody knows how often: again from the start as long as it changes something that it was taken to leave."""
        world = self.reading.world
        while True:
            mark, found = world.mark(), self.record.snapshot()
            with self.record.within(part):
                begin()
                act()
            if not world.loosens_more(mark, (part.id, part.part)):
                return
            world.take_back(mark, loosening=True)
            self.record.take_back(found)

    def _filtered(self, tests: Sequence[ast.expr], rest: Sequence[ast.comprehension], scope: Scope, act: Callable[[], None]) -> bool:
        place, sure_so_far = self.record.place, True
        try:
            for test in tests:
                sure, truth = self.truth(self.value(test, scope), test)
                if sure and not truth:
                    return sure_so_far
                if not sure:
                    sure_so_far = False
                    self.record.place = (*self.record.place, self.record.branch(f"if {source_text(test)}"))
            return self._generate(rest, scope, act) and sure_so_far
        finally:
            self.record.place = place

    def _of_ListComp(self, e: ast.ListComp, scope: Scope) -> Value:
        rows, sure = self._comprehension(e, scope, [e.elt])
        items = [row[0] for row in rows]
        return Items("list", items) if sure else many(items)

    def _of_SetComp(self, e: ast.SetComp, scope: Scope) -> Value:
        rows, sure = self._comprehension(e, scope, [e.elt])
        items = [row[0] for row in rows]
        return containers.set_of(items) if sure else many(items)

    def _of_GeneratorExp(self, e: ast.GeneratorExp, scope: Scope) -> Value:
        return Stream(lambda: self._of_ListComp(e, scope), source_text(e, 40))  # type: ignore[arg-type]  # the same parts

    def _of_DictComp(self, e: ast.DictComp, scope: Scope) -> Value:
        rows, sure = self._comprehension(e, scope, [e.key, e.value])
        return containers.dict_of([(row[0], row[1]) for row in rows]) if sure else computed(*[row[1] for row in rows])

    # ------------------------------------------------------------------ attributes

    def _of_Attribute(self, e: ast.Attribute, scope: Scope) -> Value:
        return self.attribute(self.value(e.value, scope), e.attr, e.lineno)

    def attribute(self, owner: Value, name: str, line: int) -> Value:
        """An attribute, where it can be had without running anybody's code; a property of the project's own classes is gone through."""
        if isinstance(owner, Choice):
            return choice([self.attribute(option, name, line) for option in owner.options])
        if isinstance(owner, Instance):
            return self._of_instance(owner, owner.cls.__mro__, name, line)
        if isinstance(owner, Super):
            after = owner.instance.cls if isinstance(owner.instance, Instance) else type(getattr(owner.instance, "obj", None))
            mro = after.__mro__
            mro = mro[mro.index(owner.cls) + 1 :] if owner.cls in mro else ()
            return self._of_class(owner.instance, mro, name, line) or Method(owner, name)
        if not isinstance(owner, Known):
            return Method(owner, name)
        obj = owner.obj
        changed = self.reading.world.attribute(obj, name)
        if changed is not None:
            return changed
        if isinstance(obj, types.ModuleType):
            return self._of_module(obj, name)
        if isinstance(obj, Enum) and name in ("value", "name"):
            return self.reading.world.value_of(obj.__dict__.get(f"_{name}_"))
        return self._of_object(owner, obj, name, line)

    def _of_module(self, module: types.ModuleType, name: str) -> Value:
        found = getattr(module, name, None) if module.__name__ == "legato" else vars(module).get(name)
        if self.reading.words.is_own(vars(module)):
            self.reading.world.modules.setdefault(id(vars(module)), vars(module))
        return self.reading.world.value_of(found) if found is not None or name in vars(module) else Unknown(text=name)

    def _of_object(self, owner: Known, obj: Any, name: str, line: int) -> Value:
        try:
            found = inspect.getattr_static(obj, name)
        except AttributeError:
            return self._missing(owner, type(obj), name, line)
        if not isinstance(obj, type) and not _is_in_instance(obj, name):
            return self._of_class(owner, type(obj).__mro__, name, line) or Method(owner, name)
        if isinstance(found, staticmethod):
            return self.reading.world.value_of(found.__func__)
        if isinstance(found, classmethod):
            return Known(types.MethodType(found.__func__, obj if isinstance(obj, type) else type(obj)))
        if isinstance(found, self.reading.words.definition):
            return self.reading.words.spec_of(found, None if isinstance(obj, type) else obj)
        if self.reading.world.is_loose(obj) or (
            hasattr(type(found), "__get__") and not isinstance(found, (types.FunctionType, types.MethodType, type))
        ):
            return Method(owner, name)
        return self.reading.world.value_of(found)

    def _missing(self, owner: Value, cls: type, name: str, line: int) -> Value:
        """No such attribute: `__getattr__` of an own class may give one."""
        if inspect.getattr_static(cls, "__getattr__", None) is not None and self.reading.reach.class_reaches(cls):
            self.record.note(line, f"what `{name}` of a {cls.__name__} is is not known")
        return Unknown(text=name, live=live_in(owner)) if not isinstance(owner, Known) else Method(owner, name)

    def _of_instance(self, owner: Instance, mro: tuple[type, ...], name: str, line: int) -> Value:
        found = next((vars(cls)[name] for cls in mro if name in vars(cls)), None)
        if isinstance(found, property) or name not in owner.names:
            made = self._of_class(owner, mro, name, line)
            if made is not None:
                return made
        if name in owner.names:
            return computed(owner.names[name]) if owner.loose else owner.names[name]
        if owner.loose:
            return Unknown(text=name, live=owner.cls.__name__ if self.reading.reach.class_reaches(owner.cls) else "")
        return self._missing(owner, owner.cls, name, line)

    def _of_class(self, owner: Value, mro: tuple[type, ...], name: str, line: int) -> Value | None:
        """What a class gives one of its objects under a name; None when it has nothing there."""
        base = next((cls for cls in mro if name in vars(cls)), None)
        if base is None:
            return None
        found = vars(base)[name]
        reading = self.reading
        if isinstance(found, reading.words.definition):
            return self._bound_spec(found, owner)
        if isinstance(found, staticmethod):
            return reading.world.value_of(found.__func__)
        if isinstance(found, classmethod):
            return Bound(Known(found.__func__), (Known(mro[0]),))
        if isinstance(found, types.FunctionType):
            if isinstance(owner, Known):
                return Known(types.MethodType(found, owner.obj))
            return Bound(Known(found), (owner,))
        if isinstance(found, property) and reading.reach.is_own_class(base) and isinstance(found.fget, types.FunctionType):
            return reading.function(Known(found.fget), [owner], {}, line)
        if isinstance(found, functools.cached_property) and reading.reach.is_own_class(base):
            made = reading.function(Known(found.func), [owner], {}, line)
            reading.set_attribute(owner, name, made, line)
            return made
        if hasattr(type(found), "__get__") and not isinstance(found, type):
            if reading.reach.object_reaches(found) or reading.reach.class_reaches(type(found)):
                self.record.note(line, f"what `{name}` of a {mro[0].__name__} is is not known")
            return None
        return None if isinstance(owner, Known) and reading.world.is_loose(owner.obj) else reading.world.value_of(found)

    def _bound_spec(self, definition: Any, owner: Value) -> Spec:
        if isinstance(owner, Known):
            return self.reading.words.spec_of(definition, owner.obj)
        spec = self.reading.words.spec_of(definition, None)
        return Spec(spec.kind, spec.name, spec.key, spec.options, Bound(spec.body, (owner,)), spec.file, spec.makes_items, spec.is_async)

    def set_attribute(self, owner: Value, name: str, value: Value, line: int) -> None:
        """`owner.name = value`."""
        if isinstance(owner, Choice):
            for option in owner.options:
                with self.record.within(self.record.branch("if it is this one")):
                    self.set_attribute(option, name, value, line)
            return
        cls = owner.cls if isinstance(owner, Instance) else type(owner.obj) if isinstance(owner, Known) else None
        setter = inspect.getattr_static(cls, name, None) if cls is not None else None
        if isinstance(setter, property) and isinstance(setter.fset, types.FunctionType):
            self.reading.function(Known(setter.fset), [owner, value], {}, line)
            return
        if (
            cls is not None
            and inspect.getattr_static(cls, "__setattr__", None) is not object.__setattr__
            and self.reading.reach.class_reaches(cls)
        ):
            self.record.note(line, f"what setting `{name}` does is not known")
        self.reading.world.set_attribute(owner, name, value, self.record.doubts, in_loop=self.record.in_loop)


def _is_in_instance(obj: Any, name: str) -> bool:
    try:
        return name in object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return False
