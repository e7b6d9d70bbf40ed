"""Calls of tasks and flows: the nodes and edges they make, and what is called inside of them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from legato.core.graph import COMPUTED, FUTURE, VALUE, WAIT_FOR, Edge, Moment, Node, Part
from legato.plan.reach import may_change
from legato.plan.reading import UNROLLED, Raised, Reading
from legato.plan.values import (
    NOTHING,
    Bound,
    Choice,
    Instance,
    Items,
    Known,
    Local,
    Result,
    Spec,
    Stream,
    Unknown,
    Value,
    Wrapped,
    computed,
    deps_of,
    element,
    elements,
    known,
    own_values,
    settled,
    source_text,
    truth_of,
)


class TaskCalls:
    """Records the calls of tasks and flows."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.record = reading.record

    def method(self, spec: Spec, name: str, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call) -> Value:
        """A method of a task or flow."""
        if name == "submit":
            return self.called(spec, args, kwargs, e, submitted=True)
        if name == "map":
            return self._mapped(spec, args, kwargs, e)
        if name == "with_options":
            options = {**spec.options, **{key: _option(value) for key, value in kwargs.items()}}
            return msgspec.structs.replace(spec, options=options, name=str(options.get("name") or spec.name))
        if name == "fn":
            return self.reading.function(spec.body, args, kwargs)
        self.record.note(e.lineno, f"what `{source_text(e)}` does is not known")
        return computed(*args, *kwargs.values())

    def called(
        self, spec: Spec, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call, *, submitted: bool, repeat: str = ""
    ) -> Value:
        """A call: a node, its edges, and what is inside of it."""
        args, named = [self._taken(a, e) for a in args], {name: self._taken(value, e) for name, value in kwargs.items()}
        wait_for, quiet = named.pop("wait_for", NOTHING), named.pop("return_state", Known(False))
        node = self.record.call(spec, e.lineno, submitted=submitted, repeat=repeat, quiet=truth_of(quiet) == (True, True))
        handed = [*args, *named.values()]
        for value in handed if spec.kind == "flow" else ():
            self.record.ask(value)
        self.record.moments.append(Moment("call", self.record.place, node.id))
        deps = deps_of(Items("tuple", handed))
        for source, (_, tolerated) in deps_of(wait_for).items():
            deps.setdefault(source, (WAIT_FOR, tolerated))
        self.record.edges += [Edge(source, node.id, how, tolerated) for source, (how, tolerated) in deps.items()]
        self._inside(spec, node, args, named)
        self._changed(spec, args, named)
        if spec.kind == "flow":
            return Result(node.id, COMPUTED, many=spec.makes_items)
        if repeat:
            return Result(node.id, FUTURE, many=True)
        return Result(node.id, FUTURE if submitted else VALUE, many=(bool(node.repeat) or spec.makes_items) and not submitted)

    def _taken(self, value: Value, e: ast.Call) -> Value:
        """A generator that is handed over: who gets it takes as much as it likes."""
        if not isinstance(value, Stream):
            return value
        with self.record.within(self.record.branch(f"as far as `{source_text(e.func)}` asks for it")):
            return computed(self.reading.force(value))

    def _changed(self, spec: Spec, args: list[Value], kwargs: Mapping[str, Value]) -> None:
        """What the function may do to the containers that it is handed."""
        handed: list[tuple[int | str, Value]] = [*enumerate(args), *kwargs.items()]
        for place, value in handed:
            held = value.value if isinstance(value, Wrapped) else value
            if isinstance(held, (Items, Instance, Choice)) and may_change(spec.body, place, nested=_has_inner(held)):
                self.reading.spoil(held)

    def _inside(self, spec: Spec, node: Node, args: list[Value], kwargs: Mapping[str, Value]) -> None:
        """The calls that are made inside a flow, or inside a task. Most tasks call nothing, and need not be gone through."""
        is_flow = spec.kind == "flow"
        if not is_flow and not isinstance(spec.body, Local) and not self.reading.reach.can_call(spec.body):
            return
        enter = own_values if is_flow else settled
        if is_flow:
            self.record.counters.append(Counter())
        try:
            with self.record.within(Part(spec.kind, node.id)):
                self.reading.force(
                    self.reading.function(spec.body, [enter(a) for a in args], {k: enter(v) for k, v in kwargs.items()}, line=node.line)
                )
        except Raised:
            self.record.note(node.line, f"'{spec.name}' raises, as far as can be told")
        finally:
            if is_flow:
                self.record.counters.pop()

    def _mapped(self, spec: Spec, args: list[Value], kwargs: Mapping[str, Value], e: ast.Call) -> Value:
        given = dict(kwargs)
        wait_for = given.pop("wait_for", NOTHING)
        given.pop("return_state", None)
        named: dict[Any, Value] = dict(enumerate(self.reading.force(value) for value in args))
        named |= {name: self.reading.force(value) for name, value in given.items()}
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
            return Items("list", [self._row(spec, row, before, e, "") for row in rows])
        over = next((name for name, column in columns.items() if column is None), None)
        row = {n: Unknown() if v in futures else element(v) if n in columns else v for n, v in whole.items()}
        return self._row(spec, row, before, e, f"× ? (over '{texts.get(over, '…')}')")

    def _row(self, spec: Spec, row: Mapping[Any, Value], wait_for: Value, e: ast.Call, repeat: str) -> Value:
        args = [value for name, value in row.items() if isinstance(name, int)]
        kwargs = {name: value for name, value in row.items() if not isinstance(name, int)}
        if wait_for is not NOTHING:
            kwargs["wait_for"] = wait_for
        return self.called(spec, args, kwargs, e, submitted=True, repeat=repeat)


def _has_inner(value: Value) -> bool:
    if isinstance(value, Items):
        return any(isinstance(item, (Items, Instance, Choice, Bound)) for item in value.items)
    return True


def _is_mapped(value: Value) -> bool:
    if isinstance(value, Known):
        return isinstance(value.obj, (tuple, frozenset, range))
    if isinstance(value, Items):
        return value.kind != "dict"
    return isinstance(value, (Result, Unknown, Choice))


def _option(value: Value) -> Any:
    ok, data = known(value)
    return data if ok else value.obj if isinstance(value, Known) else None
