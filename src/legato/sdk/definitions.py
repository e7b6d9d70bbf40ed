"""What a decorator made of a function: the function, its options, and what was worked out from them. Flows and tasks build on this.

Importing this costs next to nothing; `calls` works with it, `tasks` and `flows` add what users call.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeAlias, TypeVar, overload

from legato.forking import LOADING

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
"""Covariant, so that a type checker that knows better what `async def` gives (CoroutineType) finds it where Coroutine is asked for."""
T = TypeVar("T")

_COROUTINE, _GENERATOR, _ASYNC_GENERATOR = 0x80, 0x20, 0x200
"""inspect.CO_COROUTINE, CO_GENERATOR, CO_ASYNC_GENERATOR; the module costs more to import than all of this one."""


HOOK_OPTIONS = ("on_running", "on_completion", "on_failure", "on_retry", "on_crashed", "on_cancellation")

if TYPE_CHECKING:
    from legato.core.states import State
    from legato.engine.runtime import RunView

    Hook: TypeAlias = Callable[[Any, RunView, State], Any]
    Hooked: TypeAlias = Hook | Sequence[Hook] | None


class _Wanted:
    """Whether anything in this process stores values that another attempt may reuse: then it must be known exactly what calls are made with."""

    any = False
    flows = 0


wanted = _Wanted()


class Definition(Generic[P, R_co]):
    """A decorated function. `compiled` is a place for what `calls` works out once."""

    kind = ""

    def __init__(self, fn: Callable[P, R_co], **options: Any) -> None:
        inner = _inner(fn)
        if fn is not inner or not callable(fn) or _TAKEN & set(_parameter_names(fn)):
            _check_function(self.kind, fn)
        self.fn = fn
        self.options = options
        self.__name__ = getattr(inner, "__name__", None) or type(inner).__name__
        self.name: str = options.get("name") or self.default_name(self.__name__)
        self.is_async, self.makes = _kind_of(inner)
        self.is_plain = self.makes is Kind.VALUE and not self.is_async
        self.compiled: Any = None
        self.named: Any = None
        self.is_twin = _is_twin(fn)
        self._note_wants(options)
        self.wraps_async = self.is_plain and _wraps_async(fn)
        self.__qualname__ = getattr(inner, "__qualname__", None) or type(inner).__qualname__
        self.__doc__ = inner.__doc__
        self.__module__ = inner.__module__
        self.__wrapped__ = fn

    def _note_wants(self, options: dict[str, Any]) -> None:
        """What is stored: values where that is said, and the values of flows inside flows in any case."""
        wanted.flows += self.kind == "flow"
        is_kept = any(options.get(name) for name in ("persist_result", "cache_policy", "cache_key_fn"))
        if is_kept or wanted.flows > 1 or (self.kind == "flow" and options.get("retries")):
            wanted.any = True

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickled as its name where another process finds it under that, else by value, unless it is found where it arrives."""
        from legato.engine.packing import in_either_way, is_found  # noqa: PLC0415 start-up time: decorating must cost nothing

        if is_found(self):
            return self.__qualname__
        named = (self.named or self._name())._replace(scope=self.scope)  # where it arrives, nothing tells what it is called
        by_value = object.__new__, (type(self),), {**self.__dict__, "compiled": None, "named": named}
        return in_either_way(self, by_value)

    def bound(self, instance: object, owner: type | None) -> Any:
        """The same of a method, bound to the object or class it is asked of; a static or class method, whatever it is asked of."""
        fn: Any = self.fn
        if instance is None and not isinstance(fn, (classmethod, staticmethod)):
            return self
        bound = type(self)(fn.__get__(instance, owner), **{**self.options, "name": self.name})
        bound.named = self.named or self._name()
        return bound

    # -- what a dialect may do otherwise

    def conclude(self, shell: Any, value: Any, unseen: Sequence[str]) -> Any:  # noqa: ARG002 a dialect may ask the run
        """How a run ends whose code has returned `value` (`script.Ending`); None: completed with that value.

        `unseen`: what to say of submitted tasks that failed without anybody having asked.
        """
        from legato.sdk.concluding import conclude  # noqa: PLC0415 start-up time: decorating must cost nothing

        return conclude(value, unseen)

    def returned_futures(self, value: Any) -> Sequence[Any]:
        """The futures in a returned value: `conclude` is called when they have ended."""
        from legato.sdk.concluding import returned_futures  # noqa: PLC0415 start-up time: decorating must cost nothing

        return returned_futures(value)

    def make_future(self, shell: Any, work: Callable[[], Any]) -> Any:
        """The future of a submitted task run, which `work` performs."""
        from legato.engine.futures import Future  # noqa: PLC0415 start-up time: decorating must cost nothing

        return Future(shell.run_id, shell.name, work)

    def outcome(self, shell: Any, *, value: Any = None, exc: BaseException | None = None) -> Any:
        """How a run has ended, as a value: what `return_state=True` gives."""
        from legato.sdk.run_states import outcome  # noqa: PLC0415 start-up time: decorating must cost nothing

        return outcome(shell, value=value, exc=exc)

    def with_options(self, **options: Any) -> Self:
        """The same flow or task with some options changed."""
        changed = {**self.options, **options}
        self.check(changed)
        new = type(self)(self.fn, **changed)
        new.named, new.is_twin = self.named, self.is_twin
        return new

    def plain(self) -> Self:
        """This, as what can be called here: a sync function that wraps an async one is awaited on a loop, and run to its end elsewhere."""
        if not self.wraps_async:
            return self
        from legato.sdk.wrapped import as_async, as_sync, has_loop  # noqa: PLC0415 start-up time: few functions are such wrappers

        new = type(self)(as_async(self.fn) if has_loop() else as_sync(self.fn), **{**self.options, "name": self.name})
        new.named, new.is_twin, new.wraps_async = self.named or self._name(), self.is_twin, False
        return new

    @classmethod
    def check(cls, options: dict[str, Any]) -> None:
        """Refuse options that do not exist, and values that make no sense."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """What names the function in every process that runs its project, however it is run: its file's path there, and its qualified name."""
        return str((self.named or self._name()).name)

    @property
    def scope(self) -> str:
        """Which project the key belongs to: two projects share no cached results, whatever their files are called."""
        return str((self.named or self._name()).project)

    def _name(self) -> Any:
        from legato.sdk.keys import key_of  # noqa: PLC0415 start-up time: decorating must cost nothing

        self.named = key_of(self.fn, self.__qualname__, is_twin=self.is_twin)
        return self.named

    @staticmethod
    def default_name(function: str) -> str:
        """The name of one whose decorator gives none."""
        return function

    def __legato_hash__(self) -> object:
        """As an input of a cached task, it is its function."""
        return self.fn

    def __repr__(self) -> str:
        return f"<{self.kind} '{self.name}'>"


_T = TypeVar("_T")


class lazily(Generic[_T]):  # noqa: N801 used as a decorator, like property
    """A property that is worked out once. Unlike the standard library's until Python 3.12 it holds no lock, which a forked child would find
    held by a thread that it does not have; two threads may work it out at once, and both have the same.
    """

    def __init__(self, work_out: Callable[[Any], _T]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, owner: None, _: type) -> Self: ...
    @overload
    def __get__(self, owner: object, _: type) -> _T: ...
    def __get__(self, owner: object | None, _: type) -> _T | Self:
        if owner is None:
            return self
        value = owner.__dict__[self._name] = self._work_out(owner)
        return value


@contextmanager
def without_collections() -> Iterator[None]:
    """While modules are loaded, cyclic garbage waits: none arises, and looking for it costs a twentieth of a short script."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_engine() -> None:
    """To be called before the modules that call flows and tasks are loaded: `legato.core` loads msgspec without what it does not need here,
    which is most of what it costs. Whoever imports msgspec first decides.
    """
    global _is_loaded  # noqa: PLW0603 looked at with each call
    if _is_loaded:
        return
    with LOADING, without_collections():
        __import__("legato.core")
        __import__("legato.sdk.flow_calls")  # what a first call needs, by name: those modules know this one
        _is_loaded = True


_is_loaded = False

_decorated: dict[tuple[int, str], int] = {}


def _is_twin(fn: Any) -> bool:
    """Whether another function of this name was decorated in this module before. In an interactive session that is the same one, edited."""
    inner = getattr(fn, "__func__", fn)
    code, scope = getattr(inner, "__code__", None), getattr(inner, "__globals__", None)
    if code is None or scope is None or "__file__" not in scope:
        return False
    first = _decorated.setdefault((id(scope), inner.__qualname__), code.co_firstlineno)
    return bool(first != code.co_firstlineno)


_CALL = "__call__"

_TAKEN = frozenset(("wait_for", "return_state"))
"""Names that a call takes for itself."""


def _inner(fn: Any) -> Any:
    """The function itself, behind partials and methods."""
    while hasattr(fn, "func") and hasattr(fn, "keywords"):  # a functools.partial
        fn = fn.func
    return getattr(fn, "__func__", fn)


def _parameter_names(fn: Any) -> Sequence[str]:
    code = getattr(_inner(fn), "__code__", None)
    return () if code is None else code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _check_function(kind: str, fn: Any) -> None:
    """Refuse what cannot be called as a flow or task."""
    from legato.sdk.options import explain_bad_function  # noqa: PLC0415 start-up time: only for partials, methods and mistakes

    error = explain_bad_function(kind, fn, sorted(_TAKEN & set(_parameter_names(fn))))
    if error is not None:
        raise error


def _wraps_async(fn: Any) -> bool:
    """Whether a sync function says that it wraps an async one: what it returns may have to be awaited."""
    inner = getattr(fn, "__wrapped__", None)
    while inner is not None:
        if _kind_of(inner)[0]:
            return True
        inner = getattr(inner, "__wrapped__", None)
    return False


class Kind(Enum):
    """What calling a function gives."""

    VALUE = "value"
    ITEMS = "items"
    ASYNC_ITEMS = "async items"


def _kind_of(fn: Callable[..., Any]) -> tuple[bool, Kind]:
    """Whether a function must be awaited, and what calling it gives."""
    code = getattr(_inner(fn), "__code__", None) or getattr(getattr(type(fn), _CALL, None), "__code__", None)
    flags = code.co_flags if code is not None else 0
    if flags & _ASYNC_GENERATOR:
        return True, Kind.ASYNC_ITEMS
    return bool(flags & _COROUTINE), Kind.ITEMS if flags & _GENERATOR else Kind.VALUE


TAGS: ContextVar[tuple[str, ...] | None] = ContextVar("legato_tags", default=None)
"""Tags that runs begun here are given besides their own."""


def with_scope_tags(own: tuple[str, ...]) -> tuple[str, ...]:
    """A run's own tags, and those of the `tags(...)` it begins in."""
    scope = TAGS.get()
    return own if scope is None else (*own, *(tag for tag in scope if tag not in own))


@contextmanager
def tags(*names: str) -> Iterator[None]:
    """Give these tags to every flow run and task run that begins inside the `with`, in this thread or asyncio task and those it starts."""
    if not _are_tags(names):
        from legato.sdk.options import explain_bad_tags  # noqa: PLC0415 start-up time: only for mistakes

        raise explain_bad_tags(names)
    token = TAGS.set((*(TAGS.get() or ()), *names))
    try:
        yield
    finally:
        TAGS.reset(token)


def check_options(kind: str, options: dict[str, Any], known: frozenset[str]) -> None:
    """Refuse options that do not exist, and values that make no sense, where they are written: at the decorator."""
    for name, value in options.items():
        if name not in known or not _CHECKS.get(name, _anything)(value):
            from legato.sdk.options import explain_bad_option  # noqa: PLC0415 start-up time: only for mistakes

            raise explain_bad_option(kind, name, value, known)


def _anything(_value: Any) -> bool:
    return True


def _is_count(value: Any) -> bool:
    return hasattr(type(value), "__index__") and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return hasattr(type(value), "__float__") and bool(value >= 0)


def _is_delay(value: Any) -> bool:
    return callable(value) or all(map(_is_number, value if isinstance(value, (list, tuple)) else (value,)))


def _is_time_or_none(value: Any) -> bool:
    return value is None or (_is_number(value) and bool(value > 0))


def _are_tags(value: Any) -> bool:
    return value is None or (not isinstance(value, str) and hasattr(value, "__iter__") and all(isinstance(tag, str) for tag in value))


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_callable_or_none(value: Any) -> bool:
    return value is None or callable(value)


def _is_template(value: Any) -> bool:
    return _is_text_or_none(value) or callable(value)


def _are_hooks(value: Any) -> bool:
    return value is None or callable(value) or (isinstance(value, (list, tuple)) and all(map(callable, value)))


def _is_duration(value: Any) -> bool:
    return value is None or hasattr(value, "total_seconds")


def _is_trigger(value: Any) -> bool:
    if not isinstance(value, str):
        return _is_callable_or_none(value)
    from legato.core.triggers import TRIGGERS  # noqa: PLC0415 start-up time: few tasks have a trigger

    return value in TRIGGERS


def _is_runner(value: Any) -> bool:
    return value is None or hasattr(value, "start")


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "name": _is_text_or_none,
    "tags": _are_tags,
    "retries": _is_count,
    "retry_delay_seconds": _is_delay,
    "retry_jitter_factor": _is_number,
    "retry_condition_fn": _is_callable_or_none,
    "timeout_seconds": _is_time_or_none,
    "cache_key_fn": _is_callable_or_none,
    "cache_expiration": _is_duration,
    "task_run_name": _is_template,
    "flow_run_name": _is_template,
    "trigger": _is_trigger,
    "key": _is_text_or_none,
    "task_runner": _is_runner,
    **dict.fromkeys((*HOOK_OPTIONS, "on_commit", "on_rollback"), _are_hooks),
}
