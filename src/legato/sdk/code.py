"""The code a function is made of: a short hash for it, and for everything of the user's own project that it can reach, values included.

A hash is of what the code does (see `bytecode`), and of the values that it holds: globals, whatever their names look like, defaults, closures,
class attributes, arguments of partials. Values are looked at when it is asked, since a program may set them. What the code itself changes (a
counter, a memo) is state and no code: there the statement counts that makes it. What counts as reached errs on the side of too much: a name
is looked up in every module of the project that the function mentions. The standard library, installed packages and Legato itself are taken as
given. Hashes hold for one minor version of Python.
"""

from __future__ import annotations

import threading
import types
import weakref
from collections.abc import Mapping
from typing import Any

from legato.core.identity import cell_of, digest_of
from legato.sdk.held import Held
from legato.sdk.reached import Search, attribute, called, digest_of_text, is_code, is_users_class, unwrapped
from legato.sdk.sources import is_own, module_name


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
    inner = unwrapped(fn)
    if not isinstance(inner, types.FunctionType) or not inner.__closure__:
        return ""
    data = reach_of(inner).held_in_cells(inner)
    code = [known_by(value) or called(value) for cell in inner.__closure__ if is_code(value := cell_of(cell))]
    return digest_of_text(repr((data, code))) if data or code else ""


def annotations_of(fn: Any) -> str:
    """A hash of a function's annotations, with what the classes in them consist of; "" when there are none."""
    found = {name: value for name, value in (attribute(unwrapped(fn), "__annotations__") or {}).items() if name != "return"}
    if not found:
        return ""
    try:
        return digest_of(found, known_by)
    except Exception:  # noqa: BLE001 what stands in an annotation may be anything
        return digest_of_text(repr(found))


def not_compared(fn: Any) -> list[str]:
    """The names of values that the function uses and that cannot be compared, sorted: they are changed by it, or have no form."""
    return reach_of(fn).not_compared()


def known_by(value: Any) -> Any:
    """What a function or class is known by as a value: its name and code, where it is the user's own; None for all others."""
    if isinstance(value, type):
        if not is_users_class(value):
            return None
    else:
        value = unwrapped(value)
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
    return digest_of_text(repr(sorted(code.items())))


# ---------------------------------------------------------------------- what was found, and the values that are asked anew


_reaches: weakref.WeakKeyDictionary[Any, Reach] = weakref.WeakKeyDictionary()
_own_reaches: weakref.WeakKeyDictionary[Any, Reach] = weakref.WeakKeyDictionary()


changed_states: set[Any] = set()
"""What kept calls in this process have changed beside their values: the places of values and of what memos remember, "random" when its numbers were
seeded or drawn, ("environ", NAME). For cached tasks that read it, it is an input from then on.
"""


def reach_of(fn: Any) -> Reach:
    """What a function or class reaches: worked out once, but anew each time in an interactive session, where a helper may be redefined."""
    return _known_or_new(_reaches, unwrapped(fn), stops=False)


def own_reach_of(value: Any, home: str | None = None) -> Reach:
    """What a value reaches without the flows and tasks that it calls: those are judged by themselves. `home`: the module that uses it."""
    return _known_or_new(_own_reaches, value, stops=True, home=home)


def _known_or_new(known: weakref.WeakKeyDictionary[Any, Reach], start: Any, *, stops: bool, home: str | None = None) -> Reach:
    if isinstance(start, types.FunctionType):
        if _is_interactive(start.__globals__):
            return Reach(start, stops=stops)
    elif not isinstance(start, type):  # an object may come to hold other things
        return Reach(start, stops=stops, home=home)
    found = known.get(start)
    if found is None:
        found = known[start] = Reach(start, stops=stops)
        found.is_constant = found.holds_nothing
    return found


class Reach:
    """What one function reaches, and the values it found there. `stops`: flows and tasks by their names only."""

    is_constant = False
    """Whether it is the same for as long as the process lives: it reaches no values that may be others next time."""

    def __init__(self, start: Any, *, stops: bool = False, home: str | None = None) -> None:
        search = Search(start, known_by, stops=stops, home=home)
        self._values: list[Held] = search.compared
        self.state: list[Held] = search.state
        self.held: list[Held] = [*search.values, *search.memos]
        """All values that it holds, whether they are compared or the code changes them, and what memos have remembered."""
        self.scopes = search.scopes
        self._notes = search.notes
        self.code: dict[int, Any] = search.code  # kept, so that their ids stay theirs
        self.called: dict[int, Any] = search.called
        self.definitions = list(search.definitions.values())
        self._now: dict[str, str] | None = None
        self._digest: tuple[dict[str, str] | None, str] = (None, "")
        self._lock = threading.RLock()  # a class may hold values of its own class

    @property
    def holds_nothing(self) -> bool:
        """Whether there are no values to be looked at again."""
        return not self._values

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
            notes.setdefault(value.name, []).append(digest_of_text(value.noted()))
        return {name: texts[0] if len(texts) == 1 else digest_of_text("".join(sorted(texts))) for name, texts in notes.items()}

    def digest(self) -> str:
        """One hash for all."""
        now, (of, digest) = self.now(), self._digest
        if of is not now:
            digest = source_digest(now)
            self._digest = now, digest
        return digest

    def by_place(self) -> dict[Any, str]:
        """What stands for a value: for a global, by its module's scope (its id) and name; for a cell, by ("cell", its id)."""
        self.now()
        made = {value.place: value.made_by for value in self.state if value.place is not None}
        return made | {value.place: value.token for value in self._values if value.place is not None}

    def held_in_cells(self, fn: types.FunctionType) -> list[str]:
        """What the function's own cells hold, as far as that is compared, in their order."""
        self.now()
        tokens = {value.place: value.token for value in self._values}
        places = [("cell", id(cell)) for cell in fn.__closure__ or ()]
        return [f"{n} {tokens[place]}" for n, place in enumerate(places) if place in tokens]

    def not_compared(self) -> list[str]:
        """The values that do not count by what they are."""
        self.now()
        return sorted({value.name for value in self.state} | {value.name for value in self._values if value.is_unknown})


def _is_interactive(scope: Mapping[str, Any]) -> bool:
    return scope.get("__name__") == "__main__" and "__file__" not in scope
