"""Operators, comparisons and built-in functions on values that are known: computed where that takes no time and runs nobody's code. Pure."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Mapping
from typing import Any

from legato.plan.containers import of_object, set_of
from legato.plan.values import LARGE, Items, Known, Spec, Value, WouldRaise, computed, known

COMPUTABLE = frozenset(
    (
        "range", "len", "min", "max", "sum", "abs", "round", "int", "float", "str", "bool", "any", "all", "sorted", "set", "dict", "list",
        "tuple", "frozenset", "divmod", "ord", "chr", "repr", "hash", "bin", "hex", "reversed",
    )
)  # fmt: skip
"""Built-in functions that are worked out when their arguments are known."""

TEXT_METHODS = frozenset(
    (
        "upper", "lower", "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "removeprefix", "removesuffix",
        "title", "capitalize", "casefold", "replace", "join", "find", "index", "count", "isdigit", "isalpha", "isnumeric", "partition",
        "rpartition", "swapcase",
    )
)  # fmt: skip

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
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


def value_of(data: Any) -> Value:
    """Plain data as a value."""
    return of_object(data, Known)


def operate(op: ast.operator, left: Value, right: Value) -> Value:
    """`left op right`."""
    if isinstance(left, Items) and isinstance(right, Items) and not (left.loose or right.loose):
        if isinstance(op, ast.Add) and left.kind == right.kind and left.kind in ("list", "tuple"):
            return Items(left.kind, [*left.items, *right.items])
        if isinstance(op, ast.BitOr) and left.kind == right.kind == "set":
            return set_of([*left.items, *right.items])
    if isinstance(op, ast.Mult) and isinstance(left, Items) and left.kind in ("list", "tuple") and not left.loose:
        ok, times = known(right)
        if ok and isinstance(times, int) and len(left.items) * times <= LARGE:
            return Items(left.kind, left.items * times)
    (ok_left, a), (ok_right, b) = known(left), known(right)
    act = _OPERATORS.get(type(op))
    if act is None or not (ok_left and ok_right) or not _is_small(op, a, b):
        return computed(left, right)
    return run(lambda: act(a, b))


def run(act: Callable[[], Any]) -> Value:
    """Plain data worked out; `WouldRaise` where that raises."""
    try:
        return value_of(act())
    except Exception as error:
        raise WouldRaise from error


def _is_small(op: ast.operator, a: Any, b: Any) -> bool:
    """Whether an operation is done in no time, whatever the numbers."""
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    if numbers:
        return not any(isinstance(one, int) and one.bit_length() > 1024 for one in (a, b))
    if isinstance(op, ast.Mod):
        return False
    sizes = [abs(one) if isinstance(one, (int, float)) else len(one) if hasattr(one, "__len__") else 0 for one in (a, b)]
    return not isinstance(op, ast.Mult) or sizes[0] * sizes[1] <= LARGE


def compare(op: ast.cmpop, left: Value, right: Value) -> tuple[bool, bool]:
    """Whether `left op right` is known, and what it is."""
    if isinstance(op, (ast.Is, ast.IsNot)):
        if (
            (isinstance(left, Items) or isinstance(right, Items))
            and isinstance(left, (Known, Items, Spec))
            and isinstance(right, (Known, Items, Spec))
        ):
            return True, (left is right) is isinstance(op, ast.Is)
        if isinstance(left, (Known, Spec)) and isinstance(right, (Known, Spec)) and (isinstance(left, Known) or isinstance(right, Known)):
            same = isinstance(left, Known) and isinstance(right, Known) and left.obj is right.obj
            return True, same is isinstance(op, ast.Is)
        return False, False
    (ok_left, a), (ok_right, b) = known(left), known(right)
    if isinstance(op, (ast.In, ast.NotIn)) and isinstance(right, Items) and right.kind == "dict" and not right.loose:
        ok_right, b = True, right.keys
    act = _COMPARISONS.get(type(op))
    if act is None or not (ok_left and ok_right):
        return False, False
    try:
        return True, bool(act(a, b))
    except Exception as error:
        raise WouldRaise from error


def builtin(name: str, args: list[Value], kwargs: Mapping[str, Value]) -> Value | None:
    """What a built-in function gives for arguments that are known; None when it cannot be told."""
    if name not in COMPUTABLE or any(key not in ("reverse", "sep", "default", "start", "base", "encoding") for key in kwargs):
        return None
    data, named = [known(arg) for arg in args], {key: known(value) for key, value in kwargs.items()}
    given = [*data, *named.values()]
    if not all(ok and not (type(value) in (range, int) and _is_long(value)) for ok, value in given):
        return None
    if name == "hash" and any(not isinstance(value, (int, float)) for _, value in data):
        return None  # of text it differs from process to process
    try:
        made = getattr(builtins, name)(*[value for _, value in data], **{key: value for key, (_, value) in named.items()})
    except Exception as error:
        raise WouldRaise from error
    return value_of(list(made) if name == "reversed" else made)


def _is_long(value: Any) -> bool:
    return len(value) > LARGE if type(value) is range else value.bit_length() > 4096
