"""What pickling leaves out of some values, put back: where an exception came from, an array's byte order and whether it can be written, a view of memory.

A value that comes back from a store must be the one that was stored: code can tell.
"""

from __future__ import annotations

import copyreg
import sys
from typing import Any

from legato.core.identity import reducer_of


def kept_whole(value: Any) -> tuple[Any, ...] | None:
    """How such a value is pickled so that nothing of it is lost; None, where Python's own way will do."""
    if isinstance(value, BaseException):
        return _exception(value)
    if type(value) is memoryview:
        return memory_again, (bytearray(value) if not value.readonly else value.tobytes(), value.format, value.shape)
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value) is numpy.ndarray and not (value.flags.writeable and value.dtype.isnative) and not value.dtype.hasobject:
        plain = value.astype(value.dtype.newbyteorder("="), copy=True, order="K")
        return array_again, (plain, None if value.dtype.isnative else value.dtype, value.flags.writeable)
    if type(value) is getattr(sys.modules.get("numpy.ma"), "MaskedArray", None) and value.hardmask:
        soft = value.copy()
        soft.soften_mask()
        return masked_again, (soft,)
    return None


def _exception(value: BaseException) -> tuple[Any, ...] | None:
    reducer = reducer_of(type(value))
    is_pythons = reducer is copyreg.dispatch_table.get(type(value))
    if is_pythons and value.__cause__ is None and value.__context__ is None:
        return None
    parts: Any = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    if isinstance(parts, str) or len(parts) > 3:
        return None
    make, given, state = (*parts, None)[:3]
    return make, given, (state, value.__cause__, value.__context__, value.__suppress_context__), None, None, set_exception


def set_exception(value: BaseException, state: tuple[Any, ...]) -> None:
    """Where an exception came from, and its own attributes."""
    own, cause, context, is_suppressed = state
    if own is not None:
        value.__setstate__(own)
    value.__context__, value.__cause__ = context, cause
    value.__suppress_context__ = is_suppressed


def memory_again(data: Any, kind: str, shape: Any) -> memoryview:
    """A view of a copy of the memory."""
    return memoryview(data).cast("B").cast(kind, shape) if kind != "B" or len(shape) > 1 else memoryview(data)  # type: ignore[call-overload]  # of one kind is enough


def array_again(plain: Any, kind: Any, can_be_written: bool) -> Any:
    """An array with its byte order, and its flag."""
    value = plain if kind is None else plain.astype(kind)
    value.flags.writeable = can_be_written
    return value


def masked_again(soft: Any) -> Any:
    """A masked array whose mask is hard."""
    soft.harden_mask()
    return soft
