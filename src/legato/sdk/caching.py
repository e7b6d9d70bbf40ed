"""What a task asks of the cache for one call: the key and its parts, worked out from the policy, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from legato.core import caching
from legato.core.caching import CachePolicy, as_policy, cache_key, hash_input, hash_inputs, key_of
from legato.core.errors import UsageError
from legato.core.identity import digest_of
from legato.core.records import CacheAsk
from legato.engine.futures import SCOPE
from legato.engine.identity.ledger import NOTHING
from legato.engine.shell import FlowShell, Shell, TaskShell
from legato.sdk.code import changed_states, closure_of, code_of, known_by
from legato.sdk.definitions import Definition
from legato.sdk.identifying import called_on, context_of
from legato.store.columns import token


class CacheContext:
    """What a key function is told of the call: the `task`, its `name`, `key` and function `fn`, and the flow run it belongs to."""

    __slots__ = ("flow_run_id", "flow_run_name", "fn", "key", "name", "options", "scope", "task")

    def __init__(self, task: Definition[Any, Any], flow: FlowShell) -> None:
        self.task = task
        self.fn: Callable[..., Any] = task.fn
        self.name = task.name
        self.key = task.key
        self.scope = task.scope
        self.options = task.options
        self.flow_run_id = flow.run_id
        self.flow_run_name = flow.name


class Caching:
    """A task's cache options, made ready once for many calls."""

    def __init__(self, task: Definition[Any, Any], key: str, *, refresh: bool) -> None:
        options = task.options
        policy = _policy_of(task)
        expiration = options.get("cache_expiration")
        chosen = options.get("refresh_cache")
        self._task = task
        self._key = key
        self._policy = policy
        self._expires_s: float | None = expiration.total_seconds() if expiration is not None else None
        self._refresh = refresh if chosen is None else bool(chosen)
        self._checked = not policy.without

    def __bool__(self) -> bool:
        """Whether the task caches at all."""
        return bool(self._policy)

    def prepare(self, shell: TaskShell, bind: Callable[[], dict[str, Any]]) -> None:
        """Put on the shell what the start of its run asks of the cache. `bind` gives the arguments by name.

        An input without a stable hash leaves the call uncached, with the reason as the message of its start. What a key function raises
        is raised: the user asked for that very key.
        """
        parameters = bind()
        if not self._checked:
            self._check_names(parameters)
        try:
            parts = self._parts(shell, parameters)
        except _NotCached as error:
            shell.start_message = f"not cached: {error}"
            return
        if parts is None:
            shell.start_message = "not cached: the key function returned None"
            return
        is_users = not self._policy.names and len(self._policy.fns) == 1
        key = token(next(iter(parts.values()))) if is_users else key_of(self._key, parts)
        shell.cache_key, shell.cache_expires_s = key, self._expires_s
        shell.cache = CacheAsk(
            key=key,
            task_key=self._key,
            policy=repr(self._policy),
            parts=parts,
            expires_s=self._expires_s,
            refresh=self._refresh,
            patient=self._task.is_async or not would_hold_up_a_loop(),
            within=enclosing(shell),
        )

    def _parts(self, shell: TaskShell, parameters: dict[str, Any]) -> dict[str, str] | None:
        """The parts of the key by name, None: a key function wants no caching."""
        names, flow = self._policy.names, shell.flow
        parts: dict[str, str] = {}
        for fn in self._policy.fns:
            key = fn(CacheContext(self._task, flow), parameters)
            if key is None:
                return None
            parts[f"key:{getattr(fn, '__name__', type(fn).__name__)}"] = str(key)
        parts[caching.PROJECT_PART] = self._task.scope
        if caching.INPUTS_PART in names:
            on = called_on(self._task.fn)  # a method's object, a partial with its arguments, a callable object
            if on is not NOTHING:
                parts["input:self"] = _hash("self", on)
            if closure := closure_of(self._task.fn):
                parts["input:closure"] = closure
            parts |= {f"input:{name}": _hash(name, value) for name, value in parameters.items() if name not in self._policy.without}
            parts |= {f"input:{name}": _hash(name, one.get(None)) for name, one in context_of(self._task.fn).items()}
        if caching.FILES_PART in names:
            parts |= _files(parameters, self._policy.without)
        if caching.SOURCE_PART in names:
            parts |= {f"code:{name}": digest for name, digest in code_of(self._task.fn).items()}
            if changed_states:
                from legato.sdk.effects import changed_states_of  # noqa: PLC0415 beside its only use

                parts |= {f"code:{name}": _hash(name, value) for name, value in changed_states_of(self._task.fn).items()}
        if caching.RUN_PART in names:
            parts["run"] = flow.run_id
        if caching.PARAMETERS_PART in names:
            parts["parameters"] = _hash("parameters", [list(flow.args), dict(flow.kwargs)], whose="the flow's ")
        return parts

    def _check_names(self, parameters: Mapping[str, Any]) -> None:
        for name in sorted(self._policy.without - parameters.keys()):
            raise UsageError(
                f"task '{self._task.name}': cache_policy leaves out {name!r}, which is none of its inputs",
                hint=f"its inputs are {', '.join(parameters) or 'none'}",
            )
        self._checked = True


class _NotCached(Exception):
    """Why a call cannot be cached."""


def _policy_of(task: Definition[Any, Any]) -> CachePolicy:
    policy, fn = task.options.get("cache_policy"), task.options.get("cache_key_fn")
    if policy is not None and fn is not None:
        raise UsageError(
            f"task '{task.name}' has both a cache_policy and a cache_key_fn", hint="give one: CacheKeyFn(fn) + another policy combines them"
        )
    return as_policy(fn if policy is None else policy)


def _hash(name: str, value: Any, whose: str = "") -> str:
    try:
        return hash_input(name, value, known_by)
    except UsageError as error:
        raise _NotCached(whose + error.message) from None


def _files(parameters: Mapping[str, Any], without: frozenset[str]) -> dict[str, str]:
    from legato.sdk.files import behind  # noqa: PLC0415 start-up time: only for tasks that ask for files

    found = {f"file:{name}": behind(value) for name, value in parameters.items() if name not in without}
    return {name: digest for name, digest in found.items() if digest}


def would_hold_up_a_loop() -> bool:
    """Whether waiting here would stop an event loop, on which the holder may be running."""
    import sys  # noqa: PLC0415 beside its only use

    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def enclosing(shell: TaskShell) -> tuple[str, ...]:
    """The runs and transactions that this call is inside of, in this process: none of them can end before it does."""
    scope = SCOPE.get()
    found = scope.run_ids() if scope is not None else []
    outer: Shell | None = shell.caller
    while outer is not None:
        found.append(outer.run_id)
        outer = outer.caller
    return tuple(found)


def task_input_hash(task: Any, parameters: Mapping[str, Any]) -> str:
    """A `cache_key_fn`: the task and a stable hash of its arguments. Raises `UsageError` for arguments that have none."""
    return cache_key(task.key, digest_of([task.scope, hash_inputs(parameters, known_by)]))
