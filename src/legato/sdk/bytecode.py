"""What a piece of code does, read from its instructions: a text that is equal for equal code, the names it uses, and what it changes in place.

Comments, docstrings, annotations and line numbers do not count. Holds for one minor version of Python: bytecode differs between them.
"""

from __future__ import annotations

import dis
import functools
import opcode
import types
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
"""Constants that are compared by their repr."""

_CONSTANTS = frozenset(opcode.hasconst)
_MEANINGFUL_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
"""inspect's CO_VARARGS, CO_VARKEYWORDS, CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR."""


def code_token(code: types.CodeType) -> str:
    """A text that is equal for code that does the same. Constants are named by value, so one that is not used (a docstring) does not count."""
    body = [(op, token(code.co_consts[arg]) if op in _CONSTANTS else arg) for op, arg in instructions(code)]
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _MEANINGFUL_FLAGS)
    return repr((counts, arguments, code.co_names, code.co_freevars, body, code.co_exceptiontable))


def token(value: Any) -> str:
    """A text for a constant; for anything else only its type."""
    if isinstance(value, types.CodeType):
        return code_token(value)
    if type(value) is tuple:
        return f"({','.join(map(token, value))})"
    if type(value) is frozenset:
        return f"{{{','.join(sorted(map(token, value)))}}}"
    return f"{type(value).__name__}:{value!r}" if isinstance(value, PLAIN) else f"<{type(value).__qualname__}>"


def instructions(code: types.CodeType) -> Iterator[tuple[int, int]]:
    """The instructions with their arguments, without the interpreter's own specialisations."""
    raw = code.co_code
    extended = 0
    for i in range(0, len(raw), 2):
        op, arg = raw[i], raw[i + 1] | extended
        if op == opcode.EXTENDED_ARG:
            extended = arg << 8
            continue
        extended = 0
        yield op, arg


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and those of the functions and classes inside it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from codes(const)


class Import(NamedTuple):
    """`import module` or `from module import names` inside a body. `level`: the dots before it."""

    module: str
    level: int
    names: tuple[str, ...]


Root: TypeAlias = tuple[str, ...] | None
"""What a value on the stack is: ("global", name), ("free", name), ("own", attribute of the first argument); with a third item, a part of
that; None: anything."""


class Names(NamedTuple):
    """What code, with all that stands inside it, uses and changes.

    `bare`: globals that are used as they are, not for an attribute of theirs. `changed`: what is changed in place; `added`: what `+=` and its
    like may change, if it is of a kind that can be. `texts`: constants of code that imports by a name it has put together. `stored`: variables
    of functions around it that it assigns to. `sets`: attributes that it sets; `sets_names`: it may set names that it has put together, or some
    thing's attributes. `changes_others`: it may change something of which it is not known where it comes from, and which it has not just made.
    """

    all: frozenset[str]
    bare: frozenset[str]
    rebound: frozenset[str]
    changed: frozenset[tuple[str, str]]
    added: frozenset[tuple[str, str]]
    imports: tuple[Import, ...]
    texts: tuple[str, ...]
    stored: frozenset[str]
    sets: frozenset[str]
    sets_names: bool
    changes_others: bool


SETTERS = frozenset(("setattr", "delattr", "__setattr__", "__delattr__", "globals", "vars", "__dict__", "exec", "eval", "modules", "patch"))
"""What code uses to set names that it has put together."""


@functools.lru_cache(maxsize=8192)
def names_in(code: types.CodeType) -> Names:
    """What a code object uses and changes."""
    every: set[str] = set()
    bare: set[str] = set()
    rebound: set[str] = set()
    changed: set[tuple[str, str]] = set()
    added: set[tuple[str, str]] = set()
    imports: list[Import] = []
    texts: list[str] = []
    stored: set[str] = set()
    sets: set[str] = set()
    changes_others = False
    for inner in codes(code):
        every.update(inner.co_names)
        steps = [step for step in dis.get_instructions(inner) if step.opname not in _NOTHING]
        _look_up(steps, bare, rebound, imports)
        stack = _Stack(inner, changed, added)
        stack.run(steps)
        if stack.mixed and not stack.changes_others:  # what a variable holds in one branch, it need not hold in another
            stack = _Stack(inner, changed, added, stack.mixed)
            stack.run(steps)
        changes_others = changes_others or stack.changes_others
        sets.update(step.argval for step in steps if step.opname in _SETS)
        stored.update(step.argval for step in steps if step.opname in ("STORE_DEREF", "DELETE_DEREF") and step.argval in code.co_freevars)
        if {"import_module", "__import__"} & set(inner.co_names):
            texts += [const for const in inner.co_consts if isinstance(const, str)]
    return Names(
        frozenset(every),
        frozenset(bare),
        frozenset(rebound),
        frozenset(changed),
        frozenset(added),
        tuple(imports),
        tuple(texts),
        frozenset(stored),
        frozenset(sets),
        bool(sets) or not every.isdisjoint(SETTERS),
        changes_others,
    )


_SETS = frozenset(("STORE_ATTR", "DELETE_ATTR"))
_NOTHING = frozenset(("CACHE", "NOP", "RESUME", "EXTENDED_ARG", "PRECALL_NOP"))
_GLOBALS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))
_ATTRIBUTES = frozenset(("LOAD_ATTR", "LOAD_METHOD"))


def _look_up(steps: list[dis.Instruction], bare: set[str], rebound: set[str], imports: list[Import]) -> None:
    for n, step in enumerate(steps):
        name = step.opname
        if name in _GLOBALS:
            if n + 1 == len(steps) or steps[n + 1].opname not in _ATTRIBUTES:
                bare.add(step.argval)
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            rebound.add(step.argval)
        elif name == "IMPORT_NAME":
            level, given = _constant(steps, n - 2, 0), _constant(steps, n - 1, None)
            imports.append(Import(step.argval, level if isinstance(level, int) else 0, given if isinstance(given, tuple) else ()))


def _constant(steps: list[dis.Instruction], n: int, otherwise: Any) -> Any:
    return steps[n].argval if n >= 0 and steps[n].opname in ("LOAD_CONST", "LOAD_SMALL_INT") else otherwise


# ---------------------------------------------------------------------- what is changed in place


CHANGING = frozenset(
    (
        *("append", "appendleft", "add", "update", "pop", "popleft", "popitem", "extend", "extendleft", "insert", "remove", "clear"),
        *("setdefault", "discard", "sort", "reverse", "rotate", "subtract", "intersection_update", "difference_update", "move_to_end"),
        *("put", "put_nowait", "set", "__setitem__", "__delitem__", "__setattr__", "fill", "write", "seek"),
    )
)
"""Methods that change what they are called on, of the standard library's containers and what is built like them."""

_POPS = frozenset(("POP_TOP", "RETURN_VALUE", "STORE_GLOBAL", "STORE_NAME", "STORE_DEREF", "RAISE_VARARGS", "POP_EXCEPT", "YIELD_VALUE"))
_KEEPS = frozenset(("KW_NAMES", "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "COPY_FREE_VARS", "MAKE_CELL", "NOT_TAKEN"))
_FIRST_IN_PLACE = 13


class _Stack:
    """One run over a code object's instructions in the order in which they stand, that follows what is on the stack, as far as it is known."""

    def __init__(
        self, code: types.CodeType, changed: set[tuple[str, str]], added: set[tuple[str, str]], unsure: frozenset[str] = frozenset()
    ) -> None:
        self._changed = changed
        self._added = added
        self._unsure = unsure
        self._mixed: set[str] = set()
        self.changes_others = False
        self._first = code.co_varnames[0] if code.co_argcount else ""
        self._inner = frozenset(code.co_cellvars)
        self._stack: list[Root] = []
        self._locals: dict[str, Root] = {}
        self._jumps: dict[int, list[Root]] = {}

    @property
    def mixed(self) -> frozenset[str]:
        """The variables that hold something just made, and something else at another time."""
        return frozenset(self._mixed)

    def run(self, steps: list[dis.Instruction]) -> None:
        for step in steps:
            if step.offset in self._jumps:
                self._stack = self._jumps.pop(step.offset)
            handler = _HANDLERS.get(step.opname)
            if handler is not None:
                handler(self, step)
            else:
                self._other(step)
            if step.opcode in _JUMPS and isinstance(step.argval, int) and step.argval > step.offset:
                self._jumps.setdefault(step.argval, list(self._stack))

    def _pop(self) -> Root:
        return self._stack.pop() if self._stack else None

    def _at(self, depth: int) -> Root:
        return self._stack[-depth] if len(self._stack) >= depth else None

    def _drop(self, n: int) -> None:
        for _ in range(n):
            self._pop()

    def _change(self, root: Root) -> None:
        if root is None:
            self.changes_others = True
        elif root is not _NEW:
            self._changed.add((root[0], root[1]))

    def _other(self, step: dis.Instruction) -> None:
        """Any other instruction: what it leaves on top is not known."""
        try:
            effect = dis.stack_effect(step.opcode, step.arg, jump=False)
        except ValueError:
            effect = 0
        if step.opname in _POPS or step.opname.startswith("POP_JUMP"):
            self._drop(max(1, -effect))
        elif step.opname in _KEEPS:
            return
        elif effect > 0:
            self._stack += [None] * effect
        else:
            self._drop(-effect)
            if self._stack:
                self._stack[-1] = None

    def _global(self, step: dis.Instruction) -> None:
        effect = dis.stack_effect(step.opcode, step.arg, jump=False)
        if effect > 1:
            self._stack += [None] * effect  # a function that is about to be called
        else:
            self._stack.append(("global", step.argval))

    def _free(self, step: dis.Instruction) -> None:
        self._stack.append(("free", step.argval) if step.argval not in self._inner else self._locals.get(step.argval))

    def _local(self, step: dis.Instruction) -> None:
        names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
        for name in names:
            root = self._locals.get(name, ("own", "") if name == self._first and name in ("self", "cls") else None)
            self._stack.append(None if root is _NEW and name in self._unsure else root)

    def _store_local(self, step: dis.Instruction) -> None:
        names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
        if step.opname == "STORE_FAST_LOAD_FAST":
            self._store(names[0])
            self._stack.append(self._locals.get(names[1]))
            return
        for name in names:
            self._store(name)

    def _store(self, name: str) -> None:
        root = self._pop()
        if (self._locals.get(name, root) is _NEW) is not (root is _NEW):
            self._mixed.add(name)
        self._locals[name] = root

    def _constant(self, _: dis.Instruction) -> None:
        self._stack.append(_NEW)

    def _build(self, step: dis.Instruction) -> None:
        self._drop(1 - dis.stack_effect(step.opcode, step.arg, jump=False))
        self._stack.append(_NEW)

    def _extend(self, step: dis.Instruction) -> None:
        self._drop(-dis.stack_effect(step.opcode, step.arg, jump=False))

    def _attribute(self, step: dis.Instruction) -> None:
        root = self._pop()
        effect = dis.stack_effect(step.opcode, step.arg, jump=False)
        name = step.argval
        if name in CHANGING:
            self._change(root)
        found = ("own", name) if root == ("own", "") else _part_of(root)
        self._stack += [found, *[None] * effect] if effect >= 0 else []

    def _subscript(self, _: dis.Instruction) -> None:
        self._pop()
        self._stack.append(_part_of(self._pop()))

    def _store_subscript(self, _: dis.Instruction) -> None:
        self._pop()
        self._change(self._pop())
        self._pop()

    def _delete_subscript(self, _: dis.Instruction) -> None:
        self._pop()
        self._change(self._pop())

    def _store_attribute(self, step: dis.Instruction) -> None:
        root = self._pop()
        self._change(("own", step.argval) if root == ("own", "") else root)
        if step.opname == "STORE_ATTR":
            self._pop()

    def _copy(self, step: dis.Instruction) -> None:
        self._stack.append(self._at(step.arg or 1))

    def _swap(self, step: dis.Instruction) -> None:
        n = step.arg or 2
        if len(self._stack) >= n:
            self._stack[-1], self._stack[-n] = self._stack[-n], self._stack[-1]

    def _operation(self, step: dis.Instruction) -> None:
        is_subscript = step.argrepr == "[]"  # from 3.14 on
        self._pop()
        root = self._pop()
        in_place = (step.arg or 0) >= _FIRST_IN_PLACE and not is_subscript
        if in_place and root is None:
            self.changes_others = True
        elif in_place and root is not None and root is not _NEW and len(root) == 2:
            self._added.add((root[0], root[1]))
        self._stack.append(root if in_place else _part_of(root) if is_subscript else _NEW)


_NEW: Root = ("new", "")
"""What has just been made here, as an empty list, from parts or by an operation; or a constant, which cannot be changed."""


def _part_of(root: Root) -> Root:
    return None if root is None or root is _NEW else (*root[:2], "part")


_JUMPS = frozenset((*opcode.hasjrel, *opcode.hasjabs))
_HANDLERS: dict[str, Any] = {
    **dict.fromkeys(_GLOBALS, _Stack._global),  # noqa: SLF001 they are this module's own
    **dict.fromkeys(("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_CLOSURE"), _Stack._free),  # noqa: SLF001
    **dict.fromkeys(("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_FAST_AND_CLEAR"), _Stack._local),  # noqa: SLF001
    **dict.fromkeys(("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"), _Stack._local),  # noqa: SLF001
    **dict.fromkeys(("STORE_FAST", "STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST"), _Stack._store_local),  # noqa: SLF001
    **dict.fromkeys(_ATTRIBUTES, _Stack._attribute),  # noqa: SLF001
    "BINARY_SUBSCR": _Stack._subscript,  # noqa: SLF001
    "STORE_SUBSCR": _Stack._store_subscript,  # noqa: SLF001
    "DELETE_SUBSCR": _Stack._delete_subscript,  # noqa: SLF001
    **dict.fromkeys(("STORE_ATTR", "DELETE_ATTR"), _Stack._store_attribute),  # noqa: SLF001
    **dict.fromkeys(("BUILD_LIST", "BUILD_MAP", "BUILD_SET", "BUILD_CONST_KEY_MAP"), _Stack._build),  # noqa: SLF001
    **dict.fromkeys(("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE", "LIST_APPEND", "SET_ADD", "MAP_ADD"), _Stack._extend),  # noqa: SLF001
    **dict.fromkeys(("LOAD_CONST", "LOAD_SMALL_INT"), _Stack._constant),  # noqa: SLF001
    "COPY": _Stack._copy,  # noqa: SLF001
    "SWAP": _Stack._swap,  # noqa: SLF001
    "BINARY_OP": _Stack._operation,  # noqa: SLF001
}
