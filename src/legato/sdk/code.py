"""The code a function is made of: a short hash for it, and for everything of the user's own project that it can reach, values included.

A hash is of what the code does (see `bytecode`), and of the values that it holds: globals, whatever their names look like, defaults, closures,
class attributes, arguments of partials. Values are looked at when it is asked, since a program may set them. What the code itself changes (a
counter, a memo) is state and no code: there the statement counts that makes it. What counts as reached errs on the side of too much: a name
is looked up in every module of the project that the function mentions. The standard library, installed packages and Legato itself are taken as
given. Hashes hold for one minor version of Python.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from legato.core.digests import hex_digest
from legato.core.identity import Form, Unknown, cell_of, digest, is_frozen
from legato.sdk.bytecode import PLAIN, code_token, names_in, token
from legato.sdk.definitions import Definition
from legato.sdk.sources import is_own, module_name, module_tokens, statements_that_make

_LARGEST_SEARCHED = 100
"""Containers in globals with more items are data: they are not searched for functions."""

_LARGEST_VALUE = 1 << 20
"""Bytes of a value that are looked at. A larger one counts by the statement that makes it."""


def code_of(fn: Any) -> dict[str, str]:
    """Qualified name -> hash (16 hex digits) of a function or class, of what it reaches in the user's own project, and of the values they hold.

    Names of the function's own module stand without the module, so a script's are the same when it is run and when it is imported.
    Flows, tasks, methods, partials and decorated functions are looked into.
    """
    return dict(reach_of(fn).now())


def code_digest(fn: Any) -> str:
    """One hash for all of a function's code, as it is now."""
    return reach_of(fn).digest()


def closure_of(fn: Any) -> str:
    """A hash of what a function closes over, but for what it changes itself; "" when it closes over nothing. It is what the function is bound to."""
    inner = _unwrapped(fn)
    if not isinstance(inner, types.FunctionType) or not inner.__closure__:
        return ""
    data = reach_of(inner).held_in_cells(inner)
    code = [known_by(value) or _called(value) for cell in inner.__closure__ if _is_code(value := cell_of(cell))]
    return _digest(repr((data, code))) if data or code else ""


def not_compared(fn: Any) -> list[str]:
    """The names of values that the function uses and that cannot be compared, sorted: they are changed by it, or have no form."""
    return reach_of(fn).not_compared()


def known_by(value: Any) -> Any:
    """What a function or class is known by as a value: its name and code, where it is the user's own; None for all others."""
    if isinstance(value, type):
        if not is_own(_scope_of(value)):
            return None
    else:
        value = _unwrapped(value)
        while not isinstance(value, types.FunctionType):
            value = getattr(value, "__wrapped__", None)
            if value is None:
                return None
        if not is_own(value.__globals__):
            return None
    name = f"{module_name(value)}.{value.__qualname__}"
    asked = _asking.asked
    if value in asked:
        return name
    asked.append(value)
    try:
        return [name, reach_of(value).digest()]
    finally:
        asked.pop()


class _Asking(threading.local):
    """`asked`: what is being asked on this thread. A class may hold values of its own class: there it counts by its name."""

    def __init__(self) -> None:
        self.asked: list[Any] = []


_asking = _Asking()


def changed_code(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The names whose code differs, is new or is gone, sorted."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def source_digest(code: Mapping[str, str]) -> str:
    """One hash for all of a function's code."""
    return _digest(repr(sorted(code.items())))


# ---------------------------------------------------------------------- what was found, and the values that are asked anew


_reaches: weakref.WeakKeyDictionary[Any, Reach] = weakref.WeakKeyDictionary()


def reach_of(fn: Any) -> Reach:
    """What a function or class reaches: worked out once, but anew each time in an interactive session, where a helper may be redefined."""
    start = _unwrapped(fn)
    if isinstance(start, types.FunctionType) and _is_interactive(start.__globals__):
        return Reach(start)
    try:
        found = _reaches.get(start)
        if found is None:
            found = _reaches[start] = Reach(start)
            found.is_constant = not found._values  # noqa: SLF001 of this module
    except TypeError:  # a callable object that cannot be referred to weakly
        return Reach(start)
    return found


class Reach:
    """What one function reaches, and the values it found there."""

    is_constant = False
    """Whether it is the same for as long as the process lives: it reaches no values that may be others next time."""

    def __init__(self, start: Any) -> None:
        walk = _Walk(start)
        self._values = [value for value in walk.values if not walk.is_state(value)]
        self._state = [value.name for value in walk.values if walk.is_state(value)]
        self._notes = walk.finished(self._values)
        self._looked_into = walk.code  # kept, so that their ids stay theirs
        self._now: dict[str, str] | None = None
        self._digest: tuple[dict[str, str] | None, str] = (None, "")
        self._lock = threading.RLock()  # a class may hold values of its own class

    def now(self) -> dict[str, str]:
        """Names with their hashes: the very same dict as long as nothing has changed. Not to be changed."""
        now = self._now
        if now is not None and not self._values:
            return now
        with self._lock:
            changed = [value for value in self._values if value.has_changed()]
            now = self._now
            if changed or now is None:
                now = self._now = self._put_together()
            return now

    def _put_together(self) -> dict[str, str]:
        notes = {name: list(texts) for name, texts in self._notes.items()}
        for value in self._values:
            _note(notes, value.name, f"{value.part} {value.token}" if value.part else value.token)
        return {name: texts[0] if len(texts) == 1 else _digest("".join(sorted(texts))) for name, texts in notes.items()}

    def digest(self) -> str:
        """One hash for all."""
        now, (of, digest) = self.now(), self._digest
        if of is not now:
            digest = source_digest(now)
            self._digest = now, digest
        return digest

    def by_place(self) -> dict[Any, str]:
        """What is compared by value: for a global, by its module's scope (its id) and name; for a cell, by ("cell", its id)."""
        self.now()
        return {value.place: value.token for value in self._values if value.place is not None}

    def held_in_cells(self, fn: types.FunctionType) -> list[str]:
        """What the function's own cells hold, as far as that is compared, in their order."""
        tokens = self.by_place()
        places = [("cell", id(cell)) for cell in fn.__closure__ or ()]
        return [f"{n} {tokens[place]}" for n, place in enumerate(places) if place in tokens]

    def not_compared(self) -> list[str]:
        """The values that do not count by what they are."""
        self.now()
        return sorted({*self._state, *(one.name for one in self._values if one.is_unknown)})


class Value:
    """A value that code holds: what it was when it was last looked at. `place` tells what may be changed in place."""

    __slots__ = ("_code", "_get", "_last", "fallback", "is_unknown", "name", "part", "place", "token")

    def __init__(
        self, name: str, get: Callable[[], Any], place: Any, fallback: Callable[[], str], code: Callable[[Any], Any], part: str = ""
    ) -> None:
        self._code = code
        self.name = name
        self.part = part
        self.place = place
        self.fallback = fallback
        self.token = ""
        self.is_unknown = False
        self._get = get
        self._last: Any = Value

    def has_changed(self) -> bool:
        """Look at it again; whether it is another one than before."""
        value = self._get()
        if value is self._last:
            return False
        before = self.token
        self._last = value if is_frozen(value) else Value
        self.token, self.is_unknown = self._token_of(value)
        return self.token != before

    def _token_of(self, value: Any) -> tuple[str, bool]:
        if type(value) in PLAIN or _is_by_kind(value):
            return token(value), False
        try:
            return digest(Form(self._code, limit=_LARGEST_VALUE).bytes_of(value)), False
        except Unknown:
            return f"{type(value).__qualname__} {self.fallback()}", True
        except Exception as error:  # noqa: BLE001 a user's __legato_hash__ may raise anything
            return f"{type(value).__qualname__} {type(error).__qualname__} {self.fallback()}", True


def _is_by_kind(value: Any) -> bool:
    """Whether a value is equipment and no input: it counts by its type."""
    return isinstance(value, (logging.Logger, logging.Handler))


def _is_moving(value: Any) -> bool:
    """Whether using a value changes it: an iterator, a source of random numbers."""
    kind = type(value)
    return hasattr(kind, "__next__") or (kind.__module__.partition(".")[0], kind.__name__) in _MOVING


_MOVING = frozenset((("random", "Random"), ("numpy", "Generator"), ("numpy", "RandomState")))
_CAN_BE_ADDED_TO = ("list", "set", "dict", "deque", "bytearray", "Counter", "OrderedDict", "defaultdict", "ndarray", "DataFrame", "Series")


# ---------------------------------------------------------------------- the search


class _Walk:
    """One search from a function through everything it reaches."""

    def __init__(self, start: Any) -> None:
        self.values: list[Value] = []
        self.code: dict[int, Any] = {}
        self._notes: dict[str, list[str]] = {}
        self._home = getattr(start, "__module__", None)
        self._seen: set[int] = set()
        self._kept: list[Any] = []
        self._asked: set[Any] = set()
        self._open: list[Any] = [start]
        self._rebound: set[Any] = set()
        self._changed: set[Any] = set()
        self._added: set[Any] = set()
        while self._open:
            self._visit(self._open.pop())

    def is_state(self, value: Value) -> bool:
        """Whether the code changes a value itself, or using it does."""
        if value.place is None:
            return False
        if value.place in self._rebound or value.place in self._changed:
            return True
        held = value._get()  # noqa: SLF001 its own part
        if isinstance(value.place, tuple) and ("object", id(held)) in self._changed:
            return True
        if value.place in self._added and type(held).__name__ in _CAN_BE_ADDED_TO:
            return True
        return _is_moving(held) or _changes_itself(type(held))

    def finished(self, compared: list[Value]) -> dict[str, list[str]]:
        """The notes, with the statements that make what is not compared by value."""
        names = {id(value) for value in compared}
        for value in self.values:
            if id(value) not in names:
                _note(self._notes, value.name, f"{value.part} {value.fallback()}")
        return self._notes

    def _visit(self, value: Any) -> None:
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._kept.append(value)  # so that its id stays its own
        if isinstance(value, types.FunctionType):
            self.code[id(value)] = value
            self._function(value)
        elif isinstance(value, type):
            self.code[id(value)] = value
            self._class(value)
        else:
            self._open += _inside(value)

    def _known_here(self, value: Any) -> Any:
        """What a function or class is known by in a value: by its name where this search looks into it anyway."""
        known = known_by(value) if id(value) not in self.code else None
        if known is None and id(value) in self.code:
            return f"{module_name(value)}.{value.__qualname__}"
        return known

    def _function(self, fn: types.FunctionType) -> None:
        if (wrapped := getattr(fn, "__wrapped__", None)) is not None:
            self._open.append(wrapped)
        own = is_own(fn.__globals__)
        names = names_in(fn.__code__)
        self._cells(fn, own=own)
        if not own:
            return
        self._note(fn.__globals__.get("__name__"), fn.__qualname__, code_token(fn.__code__))
        for n, value in enumerate(fn.__defaults__ or ()):
            self._held(fn.__qualname__, functools.partial(_default_of, fn, n), value, fn.__module__, part=f"default {n}")
        for name, value in (fn.__kwdefaults__ or {}).items():
            self._held(fn.__qualname__, functools.partial(_kwdefault_of, fn, name), value, fn.__module__, part=f"default of {name}")
        for name, value in vars(fn).items():  # what was set on it, such as `convert.rate = 2`; its own code may change that
            if not name.startswith("__"):
                get = functools.partial(_attribute, fn, name)
                self._held(fn.__qualname__, get, value, fn.__module__, (id(fn.__globals__), fn.__name__), part=f".{name}")
        self._changes(fn, names)
        self._names(fn.__globals__, names.all, names.bare, owner=fn)
        wanted: list[Any] = [*names.imports, *names.texts]
        for one in wanted:
            for module, text in module_tokens(one, fn.__globals__):
                if ("module", module) not in self._asked:
                    self._asked.add(("module", module))
                    _note(self._notes, module, text)

    def _changes(self, fn: types.FunctionType, names: Any) -> None:
        scope = id(fn.__globals__)
        self._rebound.update((scope, name) for name in names.rebound)
        cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False))
        for roots, found in ((names.changed, self._changed), (names.added, self._added)):
            for kind, name in roots:
                if kind == "global":
                    found.add((scope, name))
                elif kind == "free" and name in cells:
                    found.add(("cell", id(cells[name])))
        for name in names.stored:
            if name in cells:
                self._rebound.add(("cell", id(cells[name])))

    def _cells(self, fn: types.FunctionType, *, own: bool) -> None:
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            value = cell_of(cell)
            if value is NotImplemented:
                continue
            if not own:
                self._open.append(value)  # a library's wrapper around a function of the user's
            else:
                self._kept.append(cell)
                self._held(fn.__qualname__, functools.partial(cell_of, cell), value, fn.__module__, ("cell", id(cell)), part=name)

    def _held(self, name: str, get: Callable[[], Any], value: Any, module: str | None, place: Any = None, *, part: str) -> None:
        """A value that a function or class holds as a `part` of it: code is looked into, anything else is asked for when it is wanted."""
        self._open.append(value)
        full = name if module == self._home else f"{module}.{name}"
        if _is_code(value):
            self._code_held(full, get, value, part)
        else:
            self.values.append(Value(full, get, place, str, self._known_here, part))

    def _code_held(self, full: str, get: Callable[[], Any], value: Any, part: str = "") -> None:
        """Code under a name: by what it is called, or, where several are called so, by what it is."""
        if _has_no_name_of_its_own(value):
            named = value.__qualname__ if value.__module__ == self._home else f"{value.__module__}.{value.__qualname__}"
            self.values.append(Value(named, get, None, str, known_by, f"{full} {part}"))
        else:
            _note(self._notes, full, f"{part} {_called(value)}")

    def _names(
        self, scope: Mapping[str, Any], names: Iterable[str], bare: Iterable[str] = (), owner: types.FunctionType | None = None
    ) -> None:
        """What these names mean in a module. `owner`: the function that has them."""
        for name in names:
            if name not in scope or name in _OF_EVERY_MODULE:
                continue
            value = scope[name]
            if isinstance(value, types.ModuleType):
                if value.__name__.rpartition(".")[2] != name:
                    self._note(scope.get("__name__"), name, _called(value))
                elif owner is not None and not is_own(vars(value)):
                    self._note(owner.__module__, owner.__qualname__, f"{name} is {value.__name__}")
                self._module(value, name, names, is_bare=name in bare)
                continue
            self._open.append(value)
            if owner is not None and _is_code(value) and not is_own(_scope_of_code(value)):  # two libraries may have one of this name
                self._note(owner.__module__, owner.__qualname__, f"{name} is {_called(value)}")
            if (id(scope), name) not in self._asked:
                self._asked.add((id(scope), name))
                self._global(scope, name, value)

    def _module(self, module: types.ModuleType, name: str, names: Iterable[str], *, is_bare: bool) -> None:
        if not is_own(vars(module)):
            return
        if is_bare:  # handed on as it is: any part of it may be used
            for found, text in module_tokens(module.__name__, vars(module)):
                if ("module", found) not in self._asked:
                    self._asked.add(("module", found))
                    _note(self._notes, found, text)
        if (id(module), *sorted(names)) not in self._asked:
            self._asked.add((id(module), *sorted(names)))
            self._names(vars(module), [other for other in names if other != name])

    def _global(self, scope: Mapping[str, Any], name: str, value: Any) -> None:
        module = scope.get("__name__")
        full = name if module == self._home else f"{module}.{name}"
        if _is_code(value):
            if getattr(value, "__name__", name) != name:  # a name for something else: it may be given to another
                self._code_held(full, functools.partial(_global_of, scope, name), value)
            return
        fallback = functools.partial(statements_that_make, scope.get("__file__"), name)
        self.values.append(Value(full, functools.partial(_global_of, scope, name), (id(scope), name), fallback, self._known_here))

    def _class(self, cls: type) -> None:
        if not is_own(_scope_of(cls)):
            return
        self._note(cls.__module__, cls.__qualname__, repr([base.__qualname__ for base in cls.__bases__]))
        self._open += cls.__bases__
        if type(cls) is not type:
            self._note(cls.__module__, cls.__qualname__, f"metaclass {_called(type(cls))}")
            self._open.append(type(cls))
        stored = _stored_by_itself(cls)
        for name, get in _declared(cls).items():
            value = get()
            if isinstance(value, _DESCRIPTORS):
                continue
            place = ("class", id(cls), name)
            self._held(cls.__qualname__, get, value, cls.__module__, place, part=f".{name}")
            if name in stored and not isinstance(value, PLAIN):
                self._changed.add(place)

    def _note(self, module: str | None, name: str, text: str) -> None:
        _note(self._notes, name if module == self._home else f"{module}.{name}", text)


def _note(notes: dict[str, list[str]], name: str, text: str) -> None:
    """Several things may have one name: two lambdas, a function and its defaults. In which order they are found does not count."""
    notes.setdefault(name, []).append(_digest(text))


def _has_no_name_of_its_own(value: Any) -> bool:
    """Whether several functions may be called like this one: lambdas, and what another function has made."""
    name = getattr(value, "__qualname__", "")
    return isinstance(value, types.FunctionType) and ("<lambda>" in name or "<locals>" in name) and is_own(value.__globals__)


def _scope_of_code(value: Any) -> Mapping[str, Any]:
    if isinstance(value, types.FunctionType):
        return value.__globals__
    return _scope_of(value) if isinstance(value, type) else {}


_DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType, types.BuiltinFunctionType)
_OF_EVERY_MODULE = frozenset(
    (
        "__name__",
        "__file__",
        "__spec__",
        "__loader__",
        "__package__",
        "__builtins__",
        "__cached__",
        "__doc__",
        "__annotations__",
        "__path__",
    )
)
"""What Python puts into a module: other when it is run than when it is imported."""


def _global_of(scope: Mapping[str, Any], name: str) -> Any:
    return scope.get(name)


def _default_of(fn: types.FunctionType, n: int) -> Any:
    return (fn.__defaults__ or ())[n] if n < len(fn.__defaults__ or ()) else None


def _kwdefault_of(fn: types.FunctionType, name: str) -> Any:
    return (fn.__kwdefaults__ or {}).get(name)


def _is_code(value: Any) -> bool:
    """Whether a value is looked into, and not compared. A method is both its function and what it is bound to."""
    if isinstance(value, types.MethodType):
        return isinstance(value.__self__, type)
    if isinstance(value, (types.BuiltinFunctionType, types.BuiltinMethodType)):
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    return isinstance(value, _CODE) or type(value).__name__ in ("cached_property", "_lru_cache_wrapper")


_CODE = (types.FunctionType, type, types.ModuleType, Definition, staticmethod, classmethod, property)


def _called(value: Any) -> str:
    """What code is called, whoever it belongs to."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    inner = _unwrapped(value)
    module = module_name(inner) if isinstance(inner, (types.FunctionType, type)) else getattr(inner, "__module__", "")
    return f"{module}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"


def _unwrapped(value: Any) -> Any:
    """The function behind a flow, a task, a method or a partial."""
    while True:
        if isinstance(value, Definition):
            value = value.fn
        elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
            value = value.__func__
        else:
            return value


def _inside(value: Any) -> Iterator[Any]:
    """What stands behind a value that is neither a function nor a class."""
    inner = _unwrapped(value)
    if isinstance(value, types.MethodType) and not isinstance(value.__self__, type):
        yield type(value.__self__)
    if inner is not value:
        yield inner
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, property):
        yield from (value.fget, value.fset, value.fdel)
    elif isinstance(value, functools.cached_property):
        yield value.func
    elif isinstance(value, (list, tuple, set, frozenset, dict)):
        if len(value) <= _LARGEST_SEARCHED:
            yield from list(value.values()) if isinstance(value, dict) else list(value)
        if type(value) not in (list, tuple, set, frozenset, dict):
            yield type(value)
    elif not isinstance(value, types.ModuleType):
        if (wrapped := _attribute(value, "__wrapped__")) is not None:
            yield wrapped
        yield type(value)


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 a user's __getattr__ may raise anything; then there is nothing to follow
        return None


# ---------------------------------------------------------------------- classes


def _declared(cls: type) -> dict[str, Callable[[], Any]]:
    """What a class body says: methods, values, fields. Not what Python or a metaclass adds."""
    own: dict[str, Callable[[], Any]] = {
        name: functools.partial(_attribute_of, cls, name)
        for name in vars(cls)
        if name not in _ADDED and not name.startswith(("__pydantic", "_abc_", "_member_"))
    }
    if "__pydantic_fields__" in vars(cls):
        own["fields"] = functools.partial(_pydantic_fields, cls)
    return own


def _attribute_of(cls: type, name: str) -> Any:
    value = vars(cls).get(name)
    return value.value if isinstance(value, Enum) else value


def _pydantic_fields(cls: type) -> dict[str, Any]:
    """The fields of a pydantic model, with all that decides about their values."""
    fields: Mapping[str, Any] = vars(cls).get("__pydantic_fields__") or {}
    return {
        name: [field.annotation, field.default, field.default_factory, *(getattr(field, part, None) for part in _FIELD_PARTS)]
        for name, field in fields.items()
    }


_FIELD_PARTS = ("metadata", "alias", "validation_alias", "serialization_alias", "discriminator", "exclude", "frozen", "validate_default")

_ADDED = frozenset(
    (
        *("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__", "__static_attributes__", "__slots__"),
        *("__orig_bases__", "__parameters__", "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
        *(
            "_value2member_map_",
            "_generate_next_value_",
            "__dataclass_params__",
            "__dataclass_fields__",
            "__class_vars__",
            "__match_args__",
        ),
        *(
            "__qualname__",
            "__signature__",
            "__slotnames__",
            "__private_attributes__",
            "__classcell__",
            "__new_member__",
            "_use_args_",
            "_value_repr_",
        ),
        *("_unhashable_values_", "_hashable_values_", "_unhashable_values_map_"),
    )
)


@functools.lru_cache(maxsize=1024)
def _stored_by_itself(cls: type) -> frozenset[str]:
    """Attributes that a class's own methods change after it was made."""
    found: set[str] = set()
    for name, value in vars(cls).items():
        fn = _unwrapped(value.fget if isinstance(value, property) else value)
        if isinstance(fn, types.FunctionType) and name not in _MAKING:
            found.update(attribute for kind, attribute in names_in(fn.__code__).changed if kind == "own" and attribute)
    return frozenset(found)


_MAKING = frozenset(("__init__", "__new__", "__post_init__", "__attrs_post_init__", "__setstate__", "model_post_init", "__init_subclass__"))


def _changes_itself(kind: type) -> bool:
    """Whether objects of a class of the user's own change when they are used: a client that keeps a token, a counter."""
    return any(_stored_by_itself(base) for base in kind.__mro__ if is_own(_scope_of(base)))


def _scope_of(cls: type) -> Mapping[str, Any]:
    """The module of a class, as far as it is known."""
    module = sys.modules.get(cls.__module__)
    return vars(module) if module is not None else {"__name__": cls.__module__}


def _is_interactive(scope: Mapping[str, Any]) -> bool:
    return scope.get("__name__") == "__main__" and "__file__" not in scope


def _digest(text: str) -> str:
    return hex_digest(text.encode("utf-8", "surrogatepass"), 8)
