"""What the code that is read can change: names of functions around it and of modules, attributes of objects, containers.

Nothing of the real program is touched: changes to objects that exist are kept beside them. A change that is made only maybe (in a branch
that nobody can decide, in a loop of unknown length) leaves what was before as a possibility. All changes are logged, so that a loop's body
can be gone through, taken back, and gone through again with everything loose that it changed.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from legato.plan.containers import of_object
from legato.plan.values import Choice, Instance, Items, Known, Stream, Unknown, Value, choice, computed, live_in
from legato.plan.words import Words

Doubts: TypeAlias = frozenset[tuple[int, str]]
"""The branches and loops of a place that nobody can decide."""

_MISSING = Unknown(text="(missing)")


class _Change(NamedTuple):
    """How to take a change back, how to make loose what it changed, whether that was loose before, and the doubts it was made under."""

    undo: Callable[[], None]
    loosen: Callable[[], None]
    was_loose: bool
    born: Doubts = frozenset()


class Scope:
    """The names that code sees: its own, those around it, its module's."""

    def __init__(
        self,
        world: World,
        file: str,
        module: Mapping[str, Any],
        *,
        around: Scope | None = None,
        cells: Mapping[str, types.CellType] | None = None,
        born: Doubts = frozenset(),
        is_comprehension: bool = False,
        owner: tuple[type, str] | None = None,
    ) -> None:
        self.world = world
        self.file = file
        self.module = module
        self.around = around
        self.cells = cells or {}
        self.born = born
        self.is_comprehension = is_comprehension
        self.owner = owner
        self.names: dict[str, Value] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.returns: list[Value] = []
        self.yields: list[Value] = []
        self.yields_are_sure = True

    def look_up(self, name: str) -> Value:
        """What a name means here."""
        if name not in self.globals:
            if name in self.names:
                return self.names[name]
            if self.around is not None:
                return self.around.look_up(name)
            if name in self.cells:
                return self.world.cell(self.cells[name], name)
        return self.world.global_(self.module, name)

    def bind(self, name: str, value: Value, doubts: Doubts, *, in_loop: bool) -> None:
        """`name = value`."""
        if name in self.globals:
            self.world.set_name(("module", id(self.module), name), self.look_up(name), value, doubts, in_loop=in_loop)
        elif name in self.nonlocals:
            self._bind_around(name, value, doubts, in_loop=in_loop)
        else:
            self.names[name] = value

    def bind_outside(self, name: str, value: Value, doubts: Doubts, *, in_loop: bool) -> None:
        """`(name := value)` in a comprehension binds in the function around it."""
        target: Scope = self
        while target.is_comprehension and target.around is not None:
            target = target.around
        if target is self or name in target.globals | target.nonlocals:
            target.bind(name, value, doubts, in_loop=in_loop)
        else:
            self.world.set_in(target, name, value, doubts, in_loop=in_loop)

    def _bind_around(self, name: str, value: Value, doubts: Doubts, *, in_loop: bool) -> None:
        scope: Scope | None = self.around
        while scope is not None:
            if name in scope.names and name not in scope.nonlocals:
                self.world.set_in(scope, name, value, doubts, in_loop=in_loop)
                return
            if name in scope.cells:
                break
            scope = scope.around
        cell = (scope or self).cells.get(name)
        if cell is not None:
            self.world.set_name(("cell", id(cell), name), self.world.cell(cell, name), value, doubts, in_loop=in_loop)


class World:
    """All that can be changed, and the log of changes."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._objects: dict[int, tuple[Any, Value]] = {}
        self._names: dict[tuple[str, int, str], Value] = {}
        self._loose: dict[int, Any] = {}
        self._log: list[_Change] = []
        self.modules: dict[int, Mapping[str, Any]] = {}
        self.local_methods: set[str] = set()

    # ------------------------------------------------------------------ what is there

    def value_of(self, obj: Any) -> Value:
        """An object that exists as a value. The same container is the same value each time."""
        if isinstance(obj, self._words.definition):
            return self._words.spec_of(obj, None)
        if type(obj) not in (list, dict, set, tuple):
            return Known(obj)
        if id(obj) not in self._objects:
            made = of_object(obj, self.value_of)
            if isinstance(made, Items):
                made.born = frozenset()
            self._objects[id(obj)] = (obj, made)
        return self._objects[id(obj)][1]

    def global_(self, module: Mapping[str, Any], name: str) -> Value:
        """A module's name, or a built-in one."""
        changed = self._names.get(("module", id(module), name))
        if changed is not None:
            return changed
        for place in (module, vars(builtins)):
            if name in place:
                return self.value_of(place[name])
        return Unknown(text=name)

    def cell(self, cell: types.CellType, name: str) -> Value:
        """A free variable of a real function."""
        changed = self._names.get(("cell", id(cell), name))
        if changed is not None:
            return changed
        try:
            return self.value_of(cell.cell_contents)
        except ValueError:  # not filled yet
            return Unknown(text=name)

    def attribute(self, obj: Any, name: str) -> Value | None:
        """What the code that is read has set an attribute to; None when it has not."""
        return self._names.get(("module" if isinstance(obj, types.ModuleType) else "object", _id_of(obj), name))

    def is_loose(self, obj: Any) -> bool:
        """Whether code out of sight had its hands on an object."""
        return id(obj) in self._loose

    # ------------------------------------------------------------------ changes

    @contextmanager
    def changing(self, made: Items, doubts: Doubts) -> Iterator[None]:
        """Around a change of a container: what is done only maybe makes it loose."""
        before = (list(made.items), list(made.keys), made.loose)
        try:
            yield
        finally:
            self._note_items(made, before)
            if doubts - (made.born or frozenset()):
                made.loose = True

    def loosen_items(self, made: Items) -> None:
        """It may hold anything from here on."""
        self._note_items(made, (list(made.items), list(made.keys), made.loose))
        made.loose = True

    def _note_items(self, made: Items, before: tuple[list[Value], list[Any], bool]) -> None:
        items, keys, loose = before

        def undo() -> None:
            made.items, made.keys, made.loose = list(items), list(keys), loose

        def loosen() -> None:
            made.loose = True

        self._log.append(_Change(undo, loosen, loose, made.born or frozenset()))

    def set_attribute(self, owner: Value, name: str, value: Value, doubts: Doubts, *, in_loop: bool) -> None:
        """`owner.name = value`."""
        if isinstance(owner, Instance):
            before = owner.names.get(name)
            owner.names[name] = _perhaps(before, value, doubts - (owner.born or frozenset()), in_loop=in_loop)
            self._log_name(owner.names, name, before, owner.born or frozenset())
        elif isinstance(owner, Known):
            kind = "module" if isinstance(owner.obj, types.ModuleType) else "object"
            before = self.attribute(owner.obj, name)
            self._loose.setdefault(-id(owner.obj), owner.obj)  # keeps it alive, so that its id stays its own
            self.set_name((kind, _id_of(owner.obj), name), before or Unknown(), value, doubts, in_loop=in_loop)

    def set_name(self, key: tuple[str, int, str], before: Value, value: Value, doubts: Doubts, *, in_loop: bool) -> None:
        old = self._names.get(key)
        self._names[key] = _perhaps(before, value, doubts, in_loop=in_loop)

        def loosen() -> None:
            self._names[key] = vague(self._names.get(key, before))

        self._log.append(_Change(lambda: _restore(self._names, key, old), loosen, is_vague(before)))

    def set_in(self, scope: Scope, name: str, value: Value, doubts: Doubts, *, in_loop: bool) -> None:
        """A name of a function around."""
        before = scope.names.get(name)
        scope.names[name] = _perhaps(before, value, doubts - scope.born, in_loop=in_loop)

        def loosen() -> None:
            scope.names[name] = vague(scope.names.get(name, _MISSING))

        was_loose = before is not None and is_vague(before)
        self._log.append(_Change(lambda: _restore(scope.names, name, before), loosen, was_loose, scope.born))

    def _log_name(self, names: dict[str, Value], name: str, before: Value | None, born: Doubts) -> None:
        def loosen() -> None:
            names[name] = vague(names.get(name, _MISSING))

        self._log.append(_Change(lambda: _restore(names, name, before), loosen, before is not None and is_vague(before), born))

    def loosen_instance(self, instance: Instance) -> None:
        """Its attributes may be anything from here on."""
        was = instance.loose
        instance.loose = True

        def undo() -> None:
            instance.loose = was

        def loosen() -> None:
            instance.loose = True

        self._log.append(_Change(undo, loosen, was, instance.born or frozenset()))

    def loosen_object(self, obj: Any) -> None:
        """The same of an object that was there before."""
        if id(obj) in self._loose:
            return
        self._loose[id(obj)] = obj

        def loosen() -> None:
            self._loose[id(obj)] = obj

        self._log.append(_Change(lambda: _restore(self._loose, id(obj), None), loosen, was_loose=False))

    def spend(self, stream: Stream) -> None:
        """A generator has been taken."""
        was, stream.spent = stream.spent, True

        def undo() -> None:
            stream.spent = was

        self._log.append(_Change(undo, lambda: None, was_loose=True))

    def mark(self) -> int:
        """A point to come back to."""
        return len(self._log)

    def loosens_more(self, mark: int, doubt: tuple[int, str]) -> bool:
        """Whether something was changed since that is older than this doubt, and not loose yet."""
        return any(not change.was_loose and doubt not in change.born for change in self._log[mark:])

    def take_back(self, mark: int, *, loosening: bool = False) -> None:
        """Undo all changes since; `loosening`: leave what was changed loose."""
        changed = self._log[mark:]
        for change in reversed(changed):
            change.undo()
        del self._log[mark:]
        for change in changed if loosening else ():
            change.loosen()


def _id_of(obj: Any) -> int:
    return id(vars(obj)) if isinstance(obj, types.ModuleType) else id(obj)


def _restore(names: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        names.pop(key, None)
    else:
        names[key] = value


def vague(value: Value) -> Value:
    """This, or something else that nobody knows."""
    return value if is_vague(value) else choice([value, Unknown(live=live_in(value))])


def is_vague(value: Value) -> bool:
    return isinstance(value, Unknown) or (isinstance(value, Choice) and any(isinstance(option, Unknown) for option in value.options))


def _perhaps(before: Value | None, value: Value, doubts: Doubts, *, in_loop: bool) -> Value:
    """What holds after a change that was made under these doubts."""
    if not doubts:
        return value
    if in_loop:
        return vague(computed(before, value) if before is not None else computed(value))
    return choice([before if before is not None else Unknown(), value])
