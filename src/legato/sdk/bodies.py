"""A flow's own body, instruction by instruction: where it was edited, and whether a call stands before or behind that place.

A mark is three bytes of a digest of what an instruction does: with constants and data by their values, plain helpers by the code they reach (at
the place where they are called), tasks and flows by their names only, since those are judged by themselves. What stands in a loop with an edit,
stands behind it.
"""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from legato.core.digests import hex_digest
from legato.core.identity import cell_of
from legato.core.resume import BODY
from legato.sdk.bytecode import PLAIN, Import, names_in, token
from legato.sdk.code import own_reach_of, reach_of
from legato.sdk.definitions import Definition
from legato.sdk.reached import EFFECTS, WHOLE_MODULE, called, is_code
from legato.sdk.sources import is_own, module_tokens

_WIDTH = 6
"""Hex digits of a mark."""

_LOADS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"))
_ATTRIBUTES = frozenset(("LOAD_ATTR", "LOAD_METHOD"))
_CALLS = ("CALL", "CALL_FUNCTION_EX", "CALL_KW")
_MISSING = object()


class Body(NamedTuple):
    """A function's body as it is now: the marks, one hash for them, and for each the instruction's place and line."""

    marks: str
    hash: str
    offsets: tuple[int, ...]
    lines: tuple[int, ...]
    loops: tuple[tuple[int, int], ...]
    code: types.CodeType | None


class Edit(NamedTuple):
    """From which instruction on a body is another one."""

    offset: int
    line: int

    def __str__(self) -> str:
        return f"line {self.line} of the flow, whose code changed" if self.line else "the flow's code, which changed"


def body_of(fn: Any) -> Body:
    """The body of a flow's function, as it and the values it uses are now."""
    inner = getattr(fn, "__func__", fn)
    code = getattr(inner, "__code__", None)
    if not isinstance(inner, types.FunctionType) or code is None:
        return Body("", "", (), (), (), None)
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "RESUME", "NOP")]
    texts = _texts(inner, steps)
    marks = "".join(hex_digest(text.encode("utf-8", "surrogatepass"), _WIDTH // 2) for text in texts)
    whole = hex_digest("\n".join(texts).encode("utf-8", "surrogatepass"), 4)
    lines = tuple((step.positions.lineno or 0) if step.positions is not None else 0 for step in steps)
    loops = tuple((step.argval, step.offset) for step in steps if "BACKWARD" in step.opname and isinstance(step.argval, int))
    return Body(marks, whole, tuple(step.offset for step in steps), lines, loops, code)


def edited_from(before: str, now: Body) -> Edit | None:
    """Where a body differs from what it was, by its marks; None when it does not."""
    if before == now.marks:
        return None
    n = next(
        (n for n in range(len(now.offsets)) if before[n * _WIDTH : (n + 1) * _WIDTH] != now.marks[n * _WIDTH : (n + 1) * _WIDTH]), None
    )
    if n is None:  # something behind it was taken out
        n = len(now.offsets) - 1
    offset = now.offsets[n] if now.offsets else 0
    while around := [head for head, end in now.loops if head < offset <= end or head <= offset < end]:
        if (head := min(around)) >= offset:
            break
        offset = head
    at = next((i for i, place in enumerate(now.offsets) if place >= offset), n)
    return Edit(offset, next((line for line in now.lines[n:] if line), 0) if at == n else now.lines[at])


def edited_since(code: Mapping[str, str] | None, now: Body) -> Edit | None:
    """Where a body differs from the one that a run has recorded with its code; None when it does not, or nothing was recorded."""
    recorded = (code or {}).get(BODY, "")
    return edited_from(recorded.partition(" ")[2], now) if recorded else None


def edits_for(code: Mapping[str, str] | None, now: Body) -> Callable[[], Callable[[str], str] | None]:
    """What tells, at a call, of calls that were made under another body whether this one stands behind the edit.

    `code` is what the run recorded when it began. Asked at each call; the answer is asked with the hash of the body the earlier call was made in.
    """
    edit = edited_since(code, now)
    all_behind = edit_before_all(code, now)

    def at_this_call() -> Callable[[str], str] | None:
        place = _place_in(now.code)

        def behind(body: str) -> str:
            if whole := all_behind(body):
                return whole
            if not body or body == now.hash or edit is None:
                return ""
            return str(edit) if place is None or place >= edit.offset else ""

        return behind

    return at_this_call


def edit_before_all(code: Mapping[str, str] | None, now: Body) -> Callable[[str], str]:
    """What tells of the calls made in a body whether all of them stand behind an edit: nobody knows where that body differs from today's."""
    first = (code or {}).get(BODY, "").partition(" ")[0]
    is_compared = edited_since(code, now) is not None

    def behind(body: str) -> str:
        return str(Edit(0, 0)) if body and body != now.hash and (body != first or not is_compared) else ""

    return behind


def recorded(body: Body) -> str:
    """A body as a run's record keeps it."""
    return f"{body.hash} {body.marks}"


def _place_in(code: types.CodeType | None) -> int | None:
    """Where in a function the calling code stands, None: it is not called from there."""
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 the stack is what this is about
    while frame is not None:
        if frame.f_code is code:
            return frame.f_lasti
        frame = frame.f_back
    return None


# ---------------------------------------------------------------------- what an instruction does


def _texts(fn: types.FunctionType, steps: list[dis.Instruction]) -> list[str]:
    texts = [_text(step) for step in steps]
    names = _Names(fn)
    for n, step in enumerate(steps):
        if isinstance(step.argval, types.CodeType):
            texts[n] += names.in_code(step.argval)
        elif step.opname == "IMPORT_NAME":
            texts[n] += names.imported(steps, n)
        if step.opname not in _LOADS:
            continue
        value, place = names.of(step.argval)
        at = n
        while isinstance(value, types.ModuleType) and is_own(vars(value)) and at + 1 < len(steps) and steps[at + 1].opname in _ATTRIBUTES:
            at += 1
            place = (id(vars(value)), steps[at].argval)
            value = getattr(value, steps[at].argval, _MISSING)
        if value is _MISSING:
            continue
        where = _consumed_at(steps, n, at) if callable(value) else n
        texts[where] += f"|{names.meaning(value, place)}"
    if texts:
        texts[0] += names.around()
    return texts


class _Names:
    """What the names in a flow's body stand for, as it is now."""

    def __init__(self, fn: types.FunctionType) -> None:
        self._fn = fn
        self._cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False))
        self._reach = reach_of(fn)
        self._compared = self._reach.by_place()

    def of(self, name: str) -> tuple[Any, Any]:
        """The value of a name, and its place."""
        if name in self._cells:
            return cell_of(self._cells[name]), ("cell", id(self._cells[name]))
        return self._fn.__globals__.get(name, _MISSING), (id(self._fn.__globals__), name)

    def meaning(self, value: Any, place: Any) -> str:
        """What a name stands for: a task for itself, code for what it reaches, but for the tasks in it; data for what it holds, and its code."""
        if isinstance(value, Definition):
            return f"{value.kind} {value.key}"
        if isinstance(value, types.ModuleType):
            return value.__name__ + (_by_file(value.__name__, vars(value)) if is_own(vars(value)) else "")
        if isinstance(value, PLAIN):
            return self._compared.get(place, token(value))
        if is_code(value):
            return f"{called(value)} {own_reach_of(value).digest()}"
        return f"{self._compared.get(place) or type(value).__qualname__} {own_reach_of(value, self._fn.__module__).digest()}"

    def in_code(self, code: types.CodeType) -> str:
        """The same of all names in a function, lambda or comprehension inside of the body, sorted: it may run at once or later."""
        names = names_in(code)
        found = []
        for name in sorted(names.all | frozenset(code.co_freevars)):
            value, place = self.of(name)
            if value is _MISSING or value is NotImplemented:
                continue
            if isinstance(value, types.ModuleType) and is_own(vars(value)) and name not in names.bare:
                scope = vars(value)
                found += [self.meaning(scope[other], (id(scope), other)) for other in sorted(names.all) if other in scope]
            else:
                found.append(self.meaning(value, place))
        wanted: list[Any] = [*names.imports, *names.texts]
        found += [_by_file(one, self._fn.__globals__) for one in wanted]
        return "".join(f"|{one}" for one in found)

    def imported(self, steps: list[dis.Instruction], n: int) -> str:
        """What stands in a module that the body imports."""
        given = [step.argval if step.opname in ("LOAD_CONST", "LOAD_SMALL_INT") else None for step in steps[max(n - 2, 0) : n]]
        level, names = given if len(given) == 2 else (0, None)
        wanted = Import(steps[n].argval, level if isinstance(level, int) else 0, names if isinstance(names, tuple) else ())
        return _by_file(wanted, self._fn.__globals__)

    def around(self) -> str:
        """What counts for all of the body: what its modules do to libraries; all that is reached, if it looks names up that it has put together."""
        if names_in(self._fn.__code__).all & WHOLE_MODULE:
            return str(self._reach.digest())
        return "".join(f"|{name} {hashed}" for name, hashed in sorted(self._reach.now().items()) if name.endswith(EFFECTS))


def _by_file(wanted: Import | str, scope: Mapping[str, Any]) -> str:
    return "".join(f"|{name} {hashed}" for name, hashed in sorted(module_tokens(wanted, scope)))


def _text(step: dis.Instruction) -> str:
    if isinstance(step.argval, types.CodeType) or step.opname in ("LOAD_CONST", "RETURN_CONST", "KW_NAMES"):
        return f"{step.opname} {token(step.argval)}"
    if (isinstance(step.argval, int) and "JUMP" in step.opname) or step.opname in ("FOR_ITER", "SEND"):
        return f"{step.opname} {step.argval - step.offset if isinstance(step.argval, int) else step.arg}"
    return f"{step.opname} {step.argrepr or step.arg}"


def _consumed_at(steps: list[dis.Instruction], n: int, at: int) -> int:
    """Where a function that is loaded here is called: what stands between belongs to its arguments, which are made before it runs."""
    depth = 0
    for later in range(n, len(steps)):
        step = steps[later]
        try:
            depth += dis.stack_effect(step.opcode, step.arg, jump=False)
        except ValueError:
            return n
        if later > at and depth <= 1 and step.opname.startswith(_CALLS):
            return later
        if later > at and depth <= 0:
            return n
    return n
