"""The search from a function through everything of the user's own project that it can reach: code, and the values that code holds.

A name is looked up in every module of the project that the function mentions: what counts as reached errs on the side of too much. Values are
compared by what they hold; what cannot be (it changes when it is used, it has no form, the code changes it) by the statements that make it, and by
all that these reach. What is done to libraries at the top of a module counts for all code of it. Where code looks things up in ways that cannot be
followed (`globals()`, `eval`), all of its module counts.
"""

from __future__ import annotations

import builtins
import functools
import gc
import logging
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from legato.core.digests import hex_digest
from legato.core.identity import cell_of, is_frozen
from legato.sdk.bytecode import PLAIN, code_token, names_in
from legato.sdk.class_parts import DESCRIPTORS, FIXED, declared, is_found
from legato.sdk.definitions import Definition
from legato.sdk.held import CAN_BE_ADDED_TO, Held, is_moving
from legato.sdk.sources import is_own, module_name, module_tokens
from legato.sdk.statements import Act, Module, Top, module_of, package_of

_LARGEST_SEARCHED = 100
"""Containers in globals with more items are data: they are not searched for functions."""

WHOLE_MODULE = frozenset(("globals", "eval", "exec", "modules", "__globals__", "_getframe", "currentframe", "getmembers"))
"""What code uses to look up names that it has put together: then any part of its module may be used."""

EFFECTS = "(what the module does)"
"""The name under which it counts what a module does to libraries when it is imported."""

READS_DOCUMENTATION = frozenset(("__doc__", "getdoc"))
READS_ANNOTATIONS = frozenset(("__annotations__", "get_type_hints", "get_annotations", "signature", "getfullargspec", "TypeAdapter"))

ONLY_WRAPS = frozenset(
    (
        *("functools", "dataclasses", "contextlib", "typing", "typing_extensions", "enum", "abc", "attr", "attrs", "pydantic", "msgspec"),
        *("builtins", "legato", "logging", "operator", "types", "pytest", "_pytest", "hypothesis", "unittest", "click", "typer", "asyncio"),
    )
)
"""Libraries whose decorators give back what counts, or register for others than tasks; and logging, which is no input."""


def digest_of_text(text: str) -> str:
    return hex_digest(text.encode("utf-8", "surrogatepass"), 8)


class Search:
    """One search. `known_by(x)`: what a function or class in a value is known by, that this search does not look into.

    `stops`: flows and tasks are reached by their names only. `home`: the module whose names stand without it, else that of `start`.
    """

    def __init__(self, start: Any, known_by: Callable[[Any], Any], *, stops: bool = False, home: str | None = None) -> None:
        self.values: list[Held] = []
        self.code: dict[int, Any] = {}
        self.definitions: dict[int, Definition[Any, Any]] = {}
        self.memos: list[Held] = []
        """What functions that remember their values have remembered: it is no part of the code."""
        self.notes: dict[str, list[str]] = {}
        self._known_by = known_by
        self._stops = stops
        self._start = start
        self._home = home or getattr(start, "__module__", None)
        self._seen: set[int] = set()
        self._kept: list[Any] = []
        self._asked: set[Any] = set()
        self._open: list[Any] = [start]
        self._rebound: set[Any] = set()
        self._changed: set[Any] = set()
        self._added: set[Any] = set()
        self.scopes: dict[int, Mapping[str, Any]] = {}
        self._names_used: set[str] = set()
        self._annotated: set[int] = set()
        self._made: dict[int, str] = {}
        self._run()
        self.compared = [value for value in self.values if not self.is_state(value)]
        self.state = [value for value in self.values if self.is_state(value)]
        for value in self.state:
            self.note(value.name, f"{value.part} {value.made_by}")

    def _run(self) -> None:
        self._until_nothing_new(self._by_triggers)
        self.called = dict(self.code)
        """What the code itself reaches, without what only makes, or was done beside, the values that it finds."""
        self._until_nothing_new(self._by_triggers, self._by_effects, self._by_makers)

    def _until_nothing_new(self, *ways: Callable[[], None]) -> None:
        while True:
            while self._open:
                self._visit(self._open.pop())
            before = len(self._seen), len(self._asked), len(self._made)
            for look in ways:
                look()
            if not self._open and before == (len(self._seen), len(self._asked), len(self._made)):
                return

    def note(self, name: str, text: str) -> None:
        """Several things may have one name: two lambdas, a function and its defaults. In which order they are found does not count."""
        self.notes.setdefault(name, []).append(digest_of_text(text))

    def is_state(self, value: Held) -> bool:
        """Whether the code changes a value itself, or using it does."""
        if value.place is None:
            return False
        if value.place in self._rebound or value.place in self._changed:
            return True
        held = value.value()
        if value.place in self._added and type(held).__name__ in CAN_BE_ADDED_TO:
            return True
        return is_moving(held) or changes_itself(type(held))

    def changes(self, cell: Any) -> bool:
        """Whether the code changes what a closure's cell holds."""
        place = ("cell", id(cell))
        return place in self._rebound or place in self._changed or place in self._added

    def _full(self, module: str | None, name: str) -> str:
        return name if module == self._home else f"{module}.{name}"

    def _once(self, key: Any) -> bool:
        if key in self._asked:
            return False
        self._asked.add(key)
        return True

    # -- what is reached

    def _visit(self, value: Any) -> None:
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._kept.append(value)  # so that its id stays its own
        if isinstance(value, Definition):
            self.definitions[id(value)] = value
            if self._stops and value is not self._start:
                return
        if isinstance(value, types.FunctionType):
            self.code[id(value)] = value
            self._function(value)
        elif isinstance(value, type):
            self.code[id(value)] = value
            self._class(value)
        else:
            if type(value).__name__ == "_lru_cache_wrapper":
                place = ("memo", id(value))
                self.memos.append(Held(called(value), functools.partial(_remembered_by, value), place, self.known, f".{value.__name__}"))
            self._open += inside(value)

    def known(self, value: Any) -> Any:
        """What a function or class is known by in a value: by its name, where that is its own and this search looks into it anyway."""
        if id(value) not in self.code:
            return self._known_by(value)
        name = f"{module_name(value)}.{value.__qualname__}"
        if isinstance(value, type):
            return name if is_found(value) else self._known_by(value) or name
        if (registered := _registry_of(value)) is not None:
            return [name, *registered]
        if not is_own(value.__globals__):
            return None
        return name if value.__globals__.get(value.__name__) is value else [name, digest_of_text(code_token(value.__code__))]

    def _scope(self, scope: Mapping[str, Any]) -> None:
        self.scopes.setdefault(id(scope), scope)

    def _function(self, fn: types.FunctionType) -> None:
        own = is_own(fn.__globals__)
        if (wrapped := getattr(fn, "__wrapped__", None)) is not None:
            self._open.append(wrapped)
            if not own:
                self._annotated.add(id(wrapped))
        names = names_in(fn.__code__)
        self._cells(fn, own=own)
        if not own:
            self._registry(fn)
            return
        self._scope(fn.__globals__)
        module, name = fn.__globals__.get("__name__"), fn.__qualname__
        self.note(self._full(module, name), code_token(fn.__code__))
        for n, value in enumerate(fn.__defaults__ or ()):
            self._held(name, functools.partial(_default_of, fn, n), value, fn.__module__, part=f"default {n}")
        for key, value in (fn.__kwdefaults__ or {}).items():
            self._held(name, functools.partial(_kwdefault_of, fn, key), value, fn.__module__, part=f"default of {key}")
        for key, value in vars(fn).items():  # what was set on it, such as `convert.rate = 2`; its own code may change that
            if not key.startswith("__"):
                get = functools.partial(attribute, fn, key)
                self._held(name, get, value, fn.__module__, (id(fn.__globals__), fn.__name__), part=f".{key}")
        self._changes(fn, names)
        self._names_used |= names.all
        self._names(fn.__globals__, names.all, names.bare, owner=fn)
        wanted: list[Any] = [*names.imports, *names.texts]
        if names.texts or not names.all.isdisjoint(_IMPORTS):
            wanted += self._modules_in_tables(fn.__globals__, names.all)
        for one in wanted:
            self._modules_by_file(one, fn.__globals__)

    @staticmethod
    def _modules_in_tables(scope: Mapping[str, Any], names: Iterable[str]) -> list[str]:
        """What may be a module's name among the texts in the variables of code that imports by names it puts together, whole or below its package."""
        package = str(scope.get("__package__") or package_of(str(scope.get("__name__") or ""), scope.get("__file__")))
        texts = {text.lstrip(".") for name in names for text in _texts_in(scope.get(name))}
        texts = {text for text in texts if all(part.isidentifier() for part in text.split("."))}
        return sorted(texts | {f"{package}.{text}" for text in texts if package})

    def _registry(self, fn: types.FunctionType) -> None:
        """What was registered with a generic function: it is the library's, and changes when something is registered."""
        if _registry_of(fn) is not None:
            found: Mapping[Any, Any] = attribute(fn, "registry")
            self._open += found.values()
            self._annotated.update(map(id, found.values()))
            name = f"{fn.__module__}.{fn.__qualname__}"
            self.values.append(Held(name, functools.partial(_pairs_of, fn), None, self.known, "registered"))

    def _modules_by_file(self, wanted: Any, scope: Mapping[str, Any]) -> None:
        for module, text in module_tokens(wanted, scope):
            if self._once(("module", module)):
                self.note(module, text)

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
                self._annotated.add(id(value))
            else:
                self._kept.append(cell)
                self._held(fn.__qualname__, functools.partial(cell_of, cell), value, fn.__module__, ("cell", id(cell)), part=name)

    def _held(self, name: str, get: Callable[[], Any], value: Any, module: str | None, place: Any = None, *, part: str) -> None:
        """A value that a function or class holds as a `part` of it: code is looked into, anything else is asked for when it is wanted."""
        self._open.append(value)
        full = self._full(module, name)
        if is_code(value):
            self._code_held(full, get, value, part)
        else:
            self.values.append(Held(full, get, place, self.known, part))

    def _code_held(self, full: str, get: Callable[[], Any], value: Any, part: str = "") -> None:
        """Code under a name: by what it is called, or, where several are called so, by what it is."""
        if _has_no_name_of_its_own(value):
            named = self._full(value.__module__, value.__qualname__)
            self.values.append(Held(named, get, None, self._known_by, f"{full} {part}"))
        else:
            self.note(full, f"{part} {called(value)}")

    # -- names

    def _names(
        self,
        scope: Mapping[str, Any],
        names: Iterable[str],
        bare: Iterable[str] = (),
        owner: types.FunctionType | None = None,
        *,
        stops: bool = False,
    ) -> None:
        """What these names mean in a module. `owner`: the function that has them. `stops`: they lead to no flow or task."""
        for name in names:
            if name not in scope or name in _OF_EVERY_MODULE:
                continue
            value = scope[name]
            if isinstance(value, types.ModuleType):
                if value.__name__.rpartition(".")[2] != name:
                    self.note(self._full(scope.get("__name__"), name), called(value))
                elif owner is not None and not is_own(vars(value)):
                    self.note(self._full(owner.__module__, owner.__qualname__), f"{name} is {value.__name__}")
                self._module(value, name, names, is_bare=name in bare)
                continue
            if stops and isinstance(value, Definition):
                continue
            self._open.append(value)
            if owner is not None and is_code(value) and not _is_users(value):  # two libraries may have one of this name
                self.note(self._full(owner.__module__, owner.__qualname__), f"{name} is {called(value)}")
            if self._once((id(scope), name)):
                self._global(scope, name, value)

    def _module(self, module: types.ModuleType, name: str, names: Iterable[str], *, is_bare: bool) -> None:
        if not is_own(vars(module)):
            self._monkeypatches(module, names)
            return
        self._scope(vars(module))
        if is_bare or "__dict__" in names:  # handed on as it is: any part of it may be used
            self._modules_by_file(module.__name__, vars(module))
            if self._once(("whole", id(vars(module)))):
                self._names(vars(module), [other for other in list(vars(module)) if not other.startswith("__")])
        if self._once((id(module), *sorted(names))):
            if "__getattr__" in vars(module) and "__path__" in vars(module):  # a part that is asked for may be a module, loaded then
                for part in names:
                    self._modules_by_file(f"{module.__name__}.{part}", vars(module))
            self._names(vars(module), [*(other for other in names if other != name), "__getattr__"])

    def _monkeypatches(self, module: types.ModuleType, names: Iterable[str]) -> None:
        """What of a library's module was replaced by the user's own."""
        for name in names:
            value = vars(module).get(name)
            if isinstance(value, (types.FunctionType, type)) and _is_users(value) and value.__module__ != module.__name__:
                self._open.append(value)
                if self._once((id(module), name)):
                    self.note(f"{module.__name__}.{name}", called(value))

    def _global(self, scope: Mapping[str, Any], name: str, value: Any) -> None:
        full = self._full(scope.get("__name__"), name)
        get = functools.partial(_global_of, scope, name)
        if is_code(value):
            if getattr(value, "__name__", name) != name or not isinstance(value, (types.FunctionType, type, Definition)):
                self._code_held(full, get, value)  # a name for something else: it may be given to another
            return
        self._scope(scope)
        self.values.append(Held(full, get, (id(scope), name), self.known))

    # -- classes

    def _class(self, cls: type) -> None:
        if not is_users_class(cls):
            return
        self._scope(scope_of(cls))
        full = self._full(cls.__module__, cls.__qualname__)
        self.note(full, repr([called(base) if not _is_users(base) else base.__qualname__ for base in cls.__bases__]))
        self._open += cls.__bases__
        if type(cls) is not type:
            self.note(full, f"metaclass {called(type(cls))}")
            self._open.append(type(cls))
        stored = stored_by_itself(cls)
        for name, get in declared(cls).items():
            value = get()
            if isinstance(value, DESCRIPTORS):
                continue
            if name == "annotations":
                self._names(scope_of(cls), _named_in(value))
            place = ("class", id(cls), name)
            self._held(cls.__qualname__, get, value, cls.__module__, place, part=f".{name}")
            if name in FIXED and name not in vars(cls):
                self.values[-1].is_fixed = True
            if name in stored and not isinstance(value, PLAIN):
                self._changed.add(place)

    # -- what is asked for in ways that cannot be followed

    def _by_triggers(self) -> None:
        for fn in [one for one in self.code.values() if isinstance(one, types.FunctionType) and is_own(one.__globals__)]:
            used = names_in(fn.__code__).all
            if used & WHOLE_MODULE and self._once(("whole", id(fn.__globals__))):
                self._names(fn.__globals__, [name for name in list(fn.__globals__) if not name.startswith("__")])
            if (id(fn) in self._annotated or self._names_used & READS_ANNOTATIONS) and self._once(("annotations", id(fn))):
                self._held(fn.__qualname__, functools.partial(_annotations_of, fn), _annotations_of(fn), fn.__module__, part="annotations")
                self._names(fn.__globals__, _named_in(_annotations_of(fn)))
        if self._names_used & READS_DOCUMENTATION:
            self._by_documentation()
        if "__subclasses__" in self._names_used:
            self._by_subclasses()

    def _by_documentation(self) -> None:
        for one in list(self.code.values()):
            if _is_users(one) and self._once(("documentation", id(one))):
                self.note(self._full(one.__module__, one.__qualname__), f"documentation {one.__doc__}")

    def _by_subclasses(self) -> None:
        for cls in [one for one in self.code.values() if isinstance(one, type) and is_users_class(one)]:
            found: list[type] = type.__subclasses__(cls)
            if self._once(("subclasses", id(cls))):
                self.note(self._full(cls.__module__, cls.__qualname__), f"subclasses {[called(one) for one in found]}")
                self._open += found

    def _by_effects(self) -> None:
        """What the modules do to libraries when they are imported, and those that they import."""
        for scope, module in self._with_imports():
            for n, top in enumerate(module.tops):
                if top.acts and self._once(("effect", id(scope), n)) and any(reaches_out(act, scope) for act in top.acts):
                    self.note(self._full(scope.get("__name__"), EFFECTS), f"{n} {top.text}")
                    self._names(scope, top.names, stops=True)

    def _with_imports(self) -> Iterator[tuple[Mapping[str, Any], Module]]:
        ahead, seen = list(self.scopes.values()), set()
        while ahead:
            scope = ahead.pop()
            if id(scope) in seen:
                continue
            seen.add(id(scope))
            module = _module_of(scope)
            yield scope, module
            for name in module.imports:
                imported = sys.modules.get(name)
                if imported is not None and is_own(vars(imported)):
                    ahead.append(vars(imported))

    # -- how values are made that cannot be compared

    def _by_makers(self) -> None:
        for value in list(self.values):
            if id(value) in self._made:
                continue
            value.has_changed()
            if not value.is_unknown and not self.is_state(value):
                continue
            self._kept.append(value)
            texts = list(self._makers(value))
            self._made[id(value)] = value.made_by = digest_of_text("; ".join(sorted(set(texts))))

    def _makers(self, value: Held) -> Iterator[str]:
        """The statements that name a value; for one that is held by code, all of the modules that were met."""
        names = {value.place[1]} if value.place is not None and isinstance(value.place[0], int) else None
        own = value.place[0] if names is not None else None
        for scope, module in self._with_imports():
            for top in module.tops:
                if _may_make(top, names, is_here=own is None or id(scope) == own):
                    yield top.text
                    self._names(scope, top.names, stops=True)


def _may_make(top: Top, names: set[str] | None, *, is_here: bool) -> bool:
    """Whether a statement may have to do with what these variables hold. Elsewhere only what does something with them."""
    if names is None:
        return True
    return bool(names & top.names) and (is_here or bool(top.acts))


def _module_of(scope: Mapping[str, Any]) -> Module:
    file = scope.get("__file__")
    return module_of(file, scope.get("__package__") or package_of(str(scope.get("__name__") or ""), file))


def reaches_out(act: Act, scope: Mapping[str, Any]) -> bool:
    """Whether something that is done at a module's top may have to do with others than the module's own values, which are compared as they are."""
    if not act.on:
        return act.kind != "decorate"
    root = scope.get(act.on[0], _MISSING)
    if root is _MISSING:
        return act.kind != "decorate" and act.on[0] not in ("print", "breakpoint", "help") and hasattr(builtins, act.on[0])
    target = root
    for name in act.on[1:]:
        if not isinstance(target, types.ModuleType):
            break
        target = vars(target).get(name, _MISSING)
        if target is _MISSING:
            return act.kind != "decorate" and not is_own(vars(root))
    if act.kind == "decorate":
        return _registers(act, root, target, scope)
    if isinstance(target, types.ModuleType):
        return not is_own(vars(target))
    if isinstance(target, Definition) or _library_of(target) in ONLY_WRAPS:
        return False
    if _is_function_or_class(target):
        return act.kind == "call" or not _is_users(target)
    return isinstance(root, types.ModuleType) and not is_own(vars(root))


def _registers(act: Act, root: Any, target: Any, scope: Mapping[str, Any]) -> bool:
    """Whether a library's decorator has given back what it was given: then it was there for something else."""
    of_library = isinstance(root, types.ModuleType) and not is_own(vars(root))
    of_library = of_library or (_is_function_or_class(root) and not _is_users(root) and not is_own(_scope_named(root)))
    if not of_library or _library_of(target) in ONLY_WRAPS or _library_of(root) in ONLY_WRAPS:
        return False
    decorated = scope.get(act.of)
    return isinstance(decorated, (types.FunctionType, type)) and not hasattr(decorated, "__wrapped__")


def _scope_named(value: Any) -> Mapping[str, Any]:
    """The module that a thing bears the name of: a library's wrapper around something of the user's bears that of the user's."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    return vars(module) if module is not None else {"__name__": "builtins"}


def _library_of(value: Any) -> str:
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return name.partition(".")[0] if isinstance(name, str) else ""


def _is_function_or_class(value: Any) -> bool:
    return isinstance(value, (types.FunctionType, type, types.BuiltinFunctionType, types.MethodType))


_MISSING = object()

_OF_EVERY_MODULE = frozenset(
    (
        *("__name__", "__file__", "__spec__", "__loader__", "__package__", "__builtins__", "__cached__", "__doc__", "__annotations__"),
        *("__path__", "__conditional_annotations__"),
    )
)
"""What Python puts into a module: other when it is run than when it is imported."""


def _remembered_by(memo: Any) -> dict[Any, Any]:
    """What a `functools.cache` or `lru_cache` has remembered that can be changed. Keys tell nothing here: a full one forgets some."""
    found = [one for one in gc.get_referents(memo) if one is not memo.__dict__]
    if memo.cache_parameters()["maxsize"] is None:
        found = [value for one in found if type(one) is dict for value in list(one.values())]
    else:
        found = [one for one in found if not _is_table_of_memo(one)]
    return {id(one): one for one in found if not is_frozen(one) and not isinstance(one, (type, types.FunctionType))}


def _is_table_of_memo(value: Any) -> bool:
    if type(value) is dict:
        return all(type(one).__name__ == "_lru_list_elem" for one in value.values())
    return type(value) is object or type(value).__name__ == "_HashedSeq"


_IMPORTS = frozenset(("import_module", "__import__"))
"""How code imports what it has put a name together for."""


def _texts_in(value: Any, depth: int = 3) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, (list, tuple, set, frozenset, dict)) and len(value) <= _LARGEST_SEARCHED * 10:
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _texts_in(one, depth - 1)


def _global_of(scope: Mapping[str, Any], name: str) -> Any:
    return scope.get(name)


def _default_of(fn: types.FunctionType, n: int) -> Any:
    return (fn.__defaults__ or ())[n] if n < len(fn.__defaults__ or ()) else None


def _kwdefault_of(fn: types.FunctionType, name: str) -> Any:
    return (fn.__kwdefaults__ or {}).get(name)


def _annotations_of(fn: Any) -> dict[str, Any]:
    try:
        return dict(fn.__annotations__)
    except Exception:  # noqa: BLE001 from 3.14 on they are worked out when asked for, and may name what is not there
        return {}


def _named_in(annotations: Mapping[str, Any]) -> set[str]:
    """The names in annotations that are texts."""
    texts = [getattr(one, "__forward_arg__", one) for one in annotations.values()]
    return {name for text in texts if isinstance(text, str) for name in _NAME.findall(text)}


_NAME = re.compile(r"[^\W\d]\w*")


def _registry_of(fn: Any) -> list[Any] | None:
    """Types with the functions that were registered for them with a generic function; None for any other."""
    registry = attribute(fn, "registry")
    if not isinstance(registry, types.MappingProxyType) or not callable(attribute(fn, "dispatch")):
        return None
    return _pairs_of(fn)


def _pairs_of(fn: Any) -> list[Any]:
    return [[kind, registered] for kind, registered in fn.registry.items()]


# ---------------------------------------------------------------------- what a thing is


def is_code(value: Any) -> bool:
    """Whether a value is looked into, and not compared. A method is both its function and what it is bound to."""
    if isinstance(value, types.MethodType):
        return isinstance(value.__self__, type)
    if isinstance(value, (types.BuiltinFunctionType, types.BuiltinMethodType)):
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    return isinstance(value, _CODE) or type(value).__name__ in ("cached_property", "_lru_cache_wrapper")


_CODE = (types.FunctionType, type, types.ModuleType, Definition, staticmethod, classmethod, property)


def _has_no_name_of_its_own(value: Any) -> bool:
    """Whether several functions may be called like this one: lambdas, and what another function has made."""
    name = getattr(value, "__qualname__", "")
    return isinstance(value, types.FunctionType) and ("<lambda>" in name or "<locals>" in name) and is_own(value.__globals__)


def called(value: Any) -> str:
    """What code is called, whoever it belongs to; a descriptor by what it is made of."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, property):
        return f"property({', '.join(called(one) if one is not None else '' for one in (value.fget, value.fset, value.fdel))})"
    if isinstance(value, (staticmethod, classmethod)):
        return f"{type(value).__name__}({called(value.__func__)})"
    if type(value).__name__ == "cached_property":
        return f"cached_property({called(value.func)})"
    if type(value).__name__ == "_lru_cache_wrapper":
        return f"cached({called(value.__wrapped__)}, typed={value.cache_parameters()['typed']})"
    inner = unwrapped(value)
    module = module_name(inner) if isinstance(inner, (types.FunctionType, type)) else getattr(inner, "__module__", "")
    return f"{module}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"


def unwrapped(value: Any) -> Any:
    """The function behind a flow, a task, a method or a partial."""
    while True:
        if isinstance(value, Definition):
            value = value.fn
        elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
            value = value.__func__
        else:
            return value


def inside(value: Any) -> Iterator[Any]:
    """What stands behind a value that is neither a function nor a class."""
    inner = unwrapped(value)
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
    elif isinstance(value, functools.singledispatchmethod):
        yield value.dispatcher
    elif isinstance(value, (list, tuple, set, frozenset, dict)):
        if len(value) <= _LARGEST_SEARCHED:
            yield from list(value.values()) if isinstance(value, dict) else list(value)
        if type(value) not in (list, tuple, set, frozenset, dict):
            yield type(value)
    elif isinstance(value, logging.Logger):
        logger: Any = value
        while logger is not None:  # what a program's own handlers and filters do is no input, but code
            yield from (*logger.handlers, *logger.filters)
            logger = logger.parent
    elif not isinstance(value, types.ModuleType):
        if (wrapped := attribute(value, "__wrapped__")) is not None:
            yield wrapped
        if type(type(value)) is type and not is_users_class(type(value)):  # what C code holds, such as a function made a ufunc
            yield from (one for one in gc.get_referents(value) if isinstance(one, types.FunctionType))
        if isinstance(value, logging.Handler):
            yield from value.filters
        yield type(value)


def attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 a user's __getattr__ may raise anything; then there is nothing to follow
        return None


def _is_users(value: Any) -> bool:
    """Whether a function or class is of the user's project. What C code has made is nobody's."""
    if isinstance(value, types.FunctionType):
        return is_own(value.__globals__)
    if isinstance(value, (types.BuiltinFunctionType, types.BuiltinMethodType)):
        return False
    return is_users_class(value) if isinstance(value, type) else True


def is_users_class(cls: type) -> bool:
    """Whether a class is of the user's project; also one that a library's function has made for it, such as `make_dataclass`."""
    return is_own(scope_of(cls)) or (cls.__module__ == "types" and not is_found(cls))


def scope_of(cls: type) -> Mapping[str, Any]:
    """The module of a class, as far as it is known."""
    module = sys.modules.get(cls.__module__)
    return vars(module) if module is not None else {"__name__": cls.__module__}


@functools.lru_cache(maxsize=1024)
def stored_by_itself(cls: type) -> frozenset[str]:
    """Attributes that a class's own methods change after it was made."""
    found: set[str] = set()
    for name, value in vars(cls).items():
        fn = unwrapped(value.fget if isinstance(value, property) else value)
        if isinstance(fn, types.FunctionType) and name not in _MAKING:
            found.update(attribute for kind, attribute in names_in(fn.__code__).changed if kind == "own" and attribute)
    return frozenset(found)


_MAKING = frozenset(("__init__", "__new__", "__post_init__", "__attrs_post_init__", "__setstate__", "model_post_init", "__init_subclass__"))


def changes_itself(kind: type) -> bool:
    """Whether objects of a class of the user's own change when they are used: a client that keeps a token, a counter."""
    return any(stored_by_itself(base) for base in kind.__mro__ if is_own(scope_of(base)))
