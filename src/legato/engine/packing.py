"""Functions, values and exceptions as bytes, for another process of the same program, on this machine or another.

A function of a module that can be imported travels as its name, everything else by value (cloudpickle), so that what stands in a script or
inside another function works too. An exception brings its type, its chain, and the frames it went through: they are rebuilt as a traceback.
Whatever cannot be packed is refused with a `UsageError` that names it.
"""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType, TracebackType
from typing import Any

from legato.core.errors import RunFailure, UsageError
from legato.engine.tracebacks import relink

_SCALARS = frozenset((type(None), bool, int, float, str, bytes))
_LONGEST_LOOKED_AT = 64
"""Containers with more items are handed to cloudpickle unseen: looking at each would cost more than its slower start."""

_LONGEST_CHAIN = 8
_MOST_FRAMES = 100
_BY_NAME, _BY_VALUE = b"N", b"V"


def pack(value: Any) -> bytes:
    """A value as bytes. Raises whatever its own pickling raises."""
    return pickle.dumps(value, 5) if _is_plain(value, 3) else _dumped(value)


def _dumped(value: Any) -> bytes:
    buffer = io.BytesIO()
    with _sending_by_value():
        _pickler(buffer).dump(value)
    return buffer.getvalue()


@functools.cache
def _pickler_class() -> type[Any]:
    """cloudpickle's, with exceptions that come back whatever arguments their class takes.

    Python hands to the class what was handed to Exception; a class of the user's own that takes something else could be pickled, and then
    not be read again.
    """
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, BaseException) and _takes_its_own_arguments(type(obj)):
                return _remade_exception, (type(obj), obj.args), obj.__dict__
            return super().reducer_override(obj)

    return Pickler


def _pickler(buffer: io.BytesIO) -> Any:
    return _pickler_class()(buffer, 5)


def _takes_its_own_arguments(kind: type[BaseException]) -> bool:
    return hasattr(kind.__init__, "__code__") and kind.__reduce__ in (BaseException.__reduce__, OSError.__reduce__)


def _remade_exception(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    exc = kind.__new__(kind, *args)
    exc.args = args
    return exc


def unpack(data: bytes) -> Any:
    """The value again. Raises whatever its own unpickling raises."""
    return pickle.loads(data)  # noqa: S301 written by a process of the same program


def _is_plain(value: Any, depth: int) -> bool:
    """Whether a value holds nothing but exact builtin types, which plain pickle gives back as they were."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if depth == 0 or kind not in (tuple, list, dict, set) or len(value) > _LONGEST_LOOKED_AT:
        return False
    if kind is dict:
        return all(type(key) in _SCALARS and _is_plain(item, depth - 1) for key, item in value.items())
    return all(_is_plain(item, depth - 1) for item in value)


# ---------------------------------------------------------------------- arguments and results


def pack_arguments(task_name: str, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """A call's arguments as bytes. Raises `UsageError` naming the one that cannot travel."""
    try:
        return pack((tuple(args), kwargs))
    except Exception as error:
        for name, value in _named(fn, args, kwargs):
            if (why := _why_not(value)) is not None:
                raise _cannot_travel(f"argument '{name}' of task '{task_name}'", value, why) from None
        raise UsageError(f"the arguments of task '{task_name}' cannot be sent to another process: {error}") from error


def pack_result(task_name: str, value: Any) -> bytes:
    """A task's value as bytes. Raises `UsageError` when it cannot travel."""
    try:
        return pack(value)
    except Exception as error:  # noqa: BLE001 a user's __reduce__ may raise anything
        raise _cannot_travel(f"the result of task '{task_name}'", value, error) from None


def _named(fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    code = getattr(getattr(fn, "__func__", fn), "__code__", None)
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount] if code is not None else ()
    if hasattr(fn, "__func__"):
        names = names[1:]
    positional = [(names[n] if n < len(names) else f"number {n + 1}", value) for n, value in enumerate(args)]
    return [*positional, *kwargs.items()]


def _why_not(value: Any) -> Exception | None:
    try:
        pack(value)
    except Exception as error:  # noqa: BLE001 a user's __reduce__ may raise anything
        return error
    return None


def _cannot_travel(what: str, value: Any, why: Exception) -> UsageError:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return UsageError(
        f"{what} is of type {name}, which cannot be sent to another process: {type(why).__name__}: {str(why)[:300]}",
        hint="send what it is made from (a path, an address, plain data) and make it in the task, or run the task on threads",
    )


# ---------------------------------------------------------------------- functions


def pack_function(task_name: str, fn: Callable[..., Any]) -> bytes:
    """A task's function as bytes. Raises `UsageError` when something it closes over cannot travel."""
    name = getattr(fn, "__qualname__", "")
    if name and travels_by_name(fn.__module__) and getattr(_found(fn.__module__, name), "fn", None) is fn:
        return _BY_NAME + f"{fn.__module__}:{name}".encode()

    try:
        return _BY_VALUE + _dumped(fn)
    except Exception as error:  # noqa: BLE001 a user's __reduce__ may raise anything
        raise UsageError(
            f"the function of task '{task_name}' cannot be sent to another process: it uses something that cannot be pickled "
            f"({type(error).__name__}: {str(error)[:300]})",
            hint="define it at the top of a module, and make connections, locks and open files inside it",
        ) from None


def unpack_function(data: bytes) -> Callable[..., Any]:
    """The function again. Raises `ImportError` or `AttributeError` when its module is another one here."""
    if data[:1] == _BY_VALUE:
        function: Callable[..., Any] = unpack(data[1:])
        return function
    module, _, name = data[1:].decode().partition(":")
    importlib.import_module(module)
    found: Callable[..., Any] | None = getattr(_found(module, name), "fn", None)
    if found is None:
        raise AttributeError(f"module '{module}' has no task '{name}' here")
    return found


class _ByValue(threading.local):
    is_on = False


_by_value = _ByValue()
"""`is_on`: a pickler is at work that sends functions by value."""


@contextmanager
def _sending_by_value() -> Iterator[None]:
    before, _by_value.is_on = _by_value.is_on, True
    try:
        yield
    finally:
        _by_value.is_on = before


def in_either_way(owner: Any, by_value: tuple[Any, ...]) -> tuple[Any, ...]:
    """How a flow or task of a script is reduced: by value, where the pickler can do that; else so that plain pickle can send it as well.

    In a process that has run the same script (`multiprocessing`, a ProcessPoolExecutor) it arrives as the one that is there.
    """
    if _by_value.is_on:
        return by_value
    return found_or_made, (owner.__module__, owner.__qualname__, owner.key, _dumped(owner))


def found_or_made(module: str, name: str, key: str, data: bytes) -> Any:
    """The flow or task that this process knows by the name, if it is the same; else one made from what was sent."""
    there = _found(module, name) if module in sys.modules else None
    return there if there is not None and getattr(there, "key", None) == key else unpack(data)


def is_found(owner: Any) -> bool:
    """Whether another process finds this very flow or task under its module and name."""
    return travels_by_name(owner.__module__) and _found(owner.__module__, owner.__qualname__) is owner


def _found(module: str, qualified: str) -> Any:
    """What stands in a module under a name: for a decorated function, its task or flow."""
    found: Any = sys.modules[module]
    for name in qualified.split("."):
        found = getattr(found, name, None)
    return found


def travels_by_name(module_name: str) -> bool:
    """Whether what is defined in a module can be sent as its name. If not, from here on all of it is sent by value."""
    module = sys.modules.get(module_name)
    if module is None or module_name == "__main__":
        return False
    if not _can_be_imported(module):
        _send_by_value(module)
        return False
    return True


@functools.cache
def _can_be_imported(module: ModuleType) -> bool:
    """Whether another process that imports this name on the same path gets the same file."""
    package, _, _ = module.__name__.rpartition(".")
    parent = sys.modules.get(package) if package else None
    path = list(parent.__path__) if parent is not None else None
    for finder in sys.meta_path:
        spec = finder.find_spec(module.__name__, path)
        if spec is not None:
            return spec.origin is not None and spec.origin == getattr(module, "__file__", None)
    return False


def _send_by_value(module: ModuleType) -> None:
    """A module that only this process can import (run from a file by its path): what is defined in it travels whole."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)


# ---------------------------------------------------------------------- exceptions


def pack_exception(exc: BaseException, where: str) -> bytes:
    """An exception with its chain and its frames. One that cannot travel is replaced by a `RunFailure` that says what it said."""
    return pickle.dumps(_packed(exc, where, _LONGEST_CHAIN), 5)


def unpack_exception(data: bytes) -> BaseException:
    """The exception again, with a traceback through the frames it had there."""
    packed: dict[str, Any] = pickle.loads(data)  # noqa: S301 written by a process of the same program
    return _unpacked(packed)


def _packed(exc: BaseException, where: str, depth: int) -> dict[str, Any]:
    relink(exc)
    packed: dict[str, Any] = {
        "data": _travelling(exc),
        "type": type(exc).__qualname__,
        "text": _text(exc),
        "frames": _frames(exc.__traceback__),
        "where": where,
        "suppress": exc.__suppress_context__,
    }
    if depth > 0:
        if exc.__cause__ is not None:
            packed["cause"] = _packed(exc.__cause__, where, depth - 1)
        if exc.__context__ is not None and exc.__context__ is not exc.__cause__:
            packed["context"] = _packed(exc.__context__, where, depth - 1)
    return packed


def _travelling(exc: BaseException) -> bytes | None:
    """The exception's bytes, known to give it back; None when it cannot travel, and another has to take its place."""
    try:
        data = pack(exc)
        return data if type(unpack(data)) is type(exc) else None
    except (Exception, SystemExit):  # noqa: BLE001 a user's class may raise anything, and must not end the worker with it
        return None


def _unpacked(packed: dict[str, Any]) -> BaseException:
    exc: BaseException | None = None
    if packed["data"] is not None:
        try:
            exc = unpack(packed["data"])
        except (Exception, SystemExit):  # noqa: BLE001 it could be read there and cannot be read here: say what it said
            exc = None
    if exc is None:
        exc = RunFailure(
            f"{packed['type']}: {packed['text']}",
            hint=f"the exception itself could not be brought here from {packed['where']}: it cannot be pickled",
        )
    if "cause" in packed:
        exc.__cause__ = _unpacked(packed["cause"])
    if "context" in packed:
        exc.__context__ = _unpacked(packed["context"])
    exc.__suppress_context__ = packed["suppress"]
    return exc.with_traceback(_traceback(packed["frames"]))


def _text(exc: BaseException) -> str:
    try:
        return str(exc)[:2000]
    except Exception as error:  # noqa: BLE001 a user's __str__ may raise anything
        return f"<its message could not be made: {type(error).__name__}>"


def _frames(tb: TracebackType | None) -> list[tuple[str, str, int, str]]:
    frames: list[tuple[str, str, int, str]] = []
    while tb is not None and len(frames) < _MOST_FRAMES:
        code = tb.tb_frame.f_code
        frames.append((code.co_filename, code.co_name, tb.tb_lineno, str(tb.tb_frame.f_globals.get("__name__", ""))))
        tb = tb.tb_next
    return frames


def _traceback(frames: list[tuple[str, str, int, str]]) -> TracebackType | None:
    """A traceback that reads as the one over there did. Its frames have no variables."""
    tb: TracebackType | None = None
    for file, name, line, module in reversed(frames):
        tb = TracebackType(tb, _frame(file, name, module), -1, line)
    return tb


@functools.lru_cache(maxsize=256)
def _frame(file: str, name: str, module: str) -> FrameType:
    raised: TracebackType | None = None
    code = compile("raise LookupError", file, "exec").replace(co_name=name)
    try:
        exec(code, {"__name__": module, "__file__": file})  # noqa: S102 one line of our own, under another's name
    except LookupError as error:
        raised = error.__traceback__
    assert raised is not None
    assert raised.tb_next is not None
    return raised.tb_next.tb_frame
