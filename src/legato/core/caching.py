"""Cache policies, keys and reasons: what makes two task calls the same work, and how a hit or a miss is told to people.

A key is a hash of named parts, one for each thing the policy asks for (an input, a function's code, the run); the parts are kept beside the
stored result, so that a miss can say which of them differs. What a value is, `identity` says. Pure: the store loads entries and asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from legato.core.errors import UsageError
from legato.core.records import CacheAsk, Result

if TYPE_CHECKING:
    from legato.core.identity import Code

KeyFn: TypeAlias = Callable[[Any, dict[str, Any]], str | None]

INPUTS_PART, SOURCE_PART, RUN_PART, PARAMETERS_PART, TASK_PART = "INPUTS", "SOURCE", "RUN", "PARAMETERS", "TASK"
FILES_PART = "FILES"
PROJECT_PART = "project"
"""Not for users to ask for: a task's name means something in its own project only."""
_ORDER = (INPUTS_PART, FILES_PART, SOURCE_PART, PARAMETERS_PART, RUN_PART, TASK_PART)


class CachePolicy:
    """What must be equal for a stored result to be reused. `a + b` asks for both, `policy - "x"` leaves the input x out.

    The task itself is always asked for, so two tasks never share results, except under a key that is a function's alone.
    """

    __slots__ = ("fns", "names", "without")

    def __init__(self, names: frozenset[str] = frozenset(), fns: tuple[KeyFn, ...] = (), without: frozenset[str] = frozenset()) -> None:
        self.names = names
        self.fns = fns
        self.without = without

    def __add__(self, other: object) -> CachePolicy:
        if not isinstance(other, CachePolicy):
            return NotImplemented
        fns = self.fns + tuple(fn for fn in other.fns if fn not in self.fns)
        return CachePolicy(self.names | other.names, fns, self.without | other.without)

    def __sub__(self, name: object) -> CachePolicy:
        if not isinstance(name, str):
            return NotImplemented
        if INPUTS_PART not in self.names:
            raise UsageError(
                f"{self!r} - {name!r}: this policy does not look at inputs", hint=f"write INPUTS - {name!r}, or leave the subtraction out"
            )
        return CachePolicy(self.names, self.fns, self.without | {name})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CachePolicy) and (self.names, set(self.fns), self.without) == (other.names, set(other.fns), other.without)

    def __hash__(self) -> int:
        return hash((self.names, frozenset(self.fns), self.without))

    def __bool__(self) -> bool:
        """Whether it caches at all."""
        return bool(self.names or self.fns)

    def __repr__(self) -> str:
        named = [name for name in _ORDER if name in self.names] + [_name_of(fn) for fn in self.fns]
        return " + ".join(named) + "".join(f" - {name!r}" for name in sorted(self.without)) if named else "NONE"


def CacheKeyFn(fn: KeyFn) -> CachePolicy:  # noqa: N802 it reads as what it makes, beside the policies in capitals
    """A policy from a function of (context, parameters) that returns the key, or None: not cached this time.

    Alone, its key is used as it is, and tasks that return equal keys share a result.
    """
    return CachePolicy(fns=(fn,))


NONE = CachePolicy()
"""Nothing is cached."""

INPUTS = CachePolicy(frozenset({INPUTS_PART}))
"""The same arguments."""

FILES = CachePolicy(frozenset({FILES_PART}))
"""The same files: what the `Path`s among the arguments lead to, by content; without it a path counts by its text."""

SOURCE = CachePolicy(frozenset({SOURCE_PART}))
"""The same code: of the task, and of every function and class of the project that it reaches."""

RUN = CachePolicy(frozenset({RUN_PART}))
"""The same flow run: nothing is shared between runs."""

PARAMETERS = CachePolicy(frozenset({PARAMETERS_PART}))
"""The same parameters of the flow."""

TASK = CachePolicy(frozenset({TASK_PART}))
"""The same task, whatever it is given: one result for all calls."""

DEFAULT = INPUTS + SOURCE
"""The same arguments and the same code."""


def as_policy(value: object) -> CachePolicy:
    """What was given as `cache_policy`. Raises `UsageError` for what is none."""
    if isinstance(value, CachePolicy):
        return value
    if value is None:
        return NONE
    if callable(value):
        return CacheKeyFn(value)
    raise UsageError(
        f"cache_policy is {value!r}, which is no cache policy",
        hint="give INPUTS, FILES, SOURCE, RUN, PARAMETERS, TASK, DEFAULT, NONE, a sum of them, or a function (context, parameters) -> str | None",
    )


def _name_of(fn: KeyFn) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


# ---------------------------------------------------------------------- keys


def hash_inputs(arguments: Mapping[str, Any], code: Code | None = None) -> str:
    """A 128-bit hex digest of a call's arguments by name, equal for equal values in every process, in whatever order they were given.

    Raises `UsageError`, naming the argument, when a value has no stable hash.
    """
    from legato.core.identity import digest_of  # noqa: PLC0415 start-up time: every store knows of caching, few flows do

    return digest_of([[name, hash_input(name, arguments[name], code)] for name in sorted(arguments)])


def hash_input(name: str, value: Any, code: Code | None = None) -> str:
    """The hash of one argument. Raises `UsageError`, naming it and its type, when it has none."""
    from legato.core.identity import Unknown, digest_of  # noqa: PLC0415 start-up time: every store knows of caching, few flows do

    try:
        return digest_of(value, code)
    except Unknown as error:
        inside = f", which holds a {error.kind.__qualname__}," if error.kind not in (type(value), object) else ""
        raise UsageError(
            f"argument '{name}' of type {type(value).__qualname__}{inside} has no stable hash{error.where}, so it cannot be part of a cache key",
            hint=f"leave it out (cache_policy=INPUTS - {name!r}), give the task a cache_key_fn, or give the type a __legato_hash__ method",
        ) from None


def cache_key(task_key: str, digest: str) -> str:
    """The key under which a task's result is cached: the task's own key keeps two tasks with equal inputs apart."""
    return f"{task_key}/{digest}"


def key_of(task_key: str, parts: Mapping[str, str]) -> str:
    """The key of a call with these parts."""
    from legato.core.identity import digest_of  # noqa: PLC0415 start-up time: every store knows of caching, few flows do

    return cache_key(task_key, digest_of([[name, parts[name]] for name in sorted(parts)]))


# ---------------------------------------------------------------------- reasons


class CacheEntry(msgspec.Struct, frozen=True):
    """A stored result: who made it, when, under what. The names are empty when that run was deleted since."""

    key: str
    result: Result
    made_at: datetime
    expires_at: datetime | None = None
    policy: str = ""
    parts: dict[str, str] | None = None
    task_name: str = ""
    flow_run_name: str = ""

    def answers(self, ask: CacheAsk, now: datetime) -> bool:
        """Whether it may be used: it has not expired, and is not what could not be read."""
        is_fresh = self.expires_at is None or self.expires_at > now
        return is_fresh and (ask.newer_than is None or self.made_at > ask.newer_than)


class CacheHolder(msgspec.Struct, frozen=True):
    """A task run that is making the result of a key just now."""

    task_run_id: str
    since: datetime
    task_name: str = ""
    flow_run_name: str = ""


def why_reused(entry: CacheEntry, now: datetime) -> str:
    """The message of a task that was answered from the cache."""
    by = f"reused the result of {_whose(entry.task_name, entry.flow_run_name)}, made {ago(entry.made_at, now)}"
    return f"{by} ({entry.policy}; key {entry.key})" if entry.policy else f"{by} (key {entry.key})"


def why_waiting(holder: CacheHolder, now: datetime) -> str:
    """The message of a task whose result another is making."""
    since = f"since {age_text((now - holder.since).total_seconds())}"
    return f"waits for {_whose(holder.task_name, holder.flow_run_name)}, which is making this result {since}"


def why_missed(ask: CacheAsk, now: datetime, *, same_key: CacheEntry | None, latest: Sequence[CacheEntry]) -> str:
    """Why nothing stored answers `ask`: `same_key` is what is stored under its key, `latest` the task's latest results under any, the last
    first. It is compared with that of them which differs least: of a call with other inputs nobody wants to hear what differs.
    """
    if ask.refresh:
        return "runs because refresh_cache is on"
    if same_key is not None and same_key.expires_at is not None:
        return f"not in the cache: the stored result expired {ago(same_key.expires_at, now)}"
    if not latest:
        return "not in the cache: no result of this task is stored"
    nearest = min(latest, key=lambda one: len(differences(ask.parts, one.parts)) if one.parts else len(ask.parts))
    different = differences(ask.parts, nearest.parts)
    which = "latest" if nearest is latest[0] else "nearest"
    whose = f"the {which} stored result, of {_whose(nearest.task_name, nearest.flow_run_name)}, made {ago(nearest.made_at, now)}"
    if not different:
        return f"not in the cache: nothing is stored under its key; {whose}"
    shown = ", ".join(different[:3]) + (f" and {len(different) - 3} more" if len(different) > 3 else "")
    return f"not in the cache: {shown} differ{'s' if len(different) == 1 else ''} from {whose}"


def differences(parts: Mapping[str, str], before: Mapping[str, str] | None) -> list[str]:
    """In words, the parts of two keys that are not equal."""
    if not before:
        return []
    return [_part_name(name) for name in sorted(parts.keys() | before.keys()) if parts.get(name) != before.get(name)]


def _part_name(name: str) -> str:
    kind, _, what = name.partition(":")
    if kind == "input":
        return f"input '{what}'"
    if kind == "file":
        return f"the file behind input '{what}'"
    if kind == "code":
        return f"the code of '{what}'"
    return {"run": "the flow run", "parameters": "the flow's parameters", PROJECT_PART: "the project"}.get(
        kind, f"the key of {what}" if what else kind
    )


def _whose(task_name: str, flow_run_name: str) -> str:
    if not task_name:
        return "a run that was deleted"
    return f"'{task_name}' of run '{flow_run_name}'" if flow_run_name else f"'{task_name}'"


def ago(at: datetime, now: datetime) -> str:
    """How long before `now` that was, in words: "3 min ago"."""
    return f"{age_text((now - at).total_seconds())} ago"


def age_text(seconds: float) -> str:
    """A duration in its largest whole unit: "40 s", "3 min", "2 h", "5 d"."""
    whole = max(round(seconds), 0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if whole >= 2 * size or (whole >= size and unit != "d"):
            return f"{whole // size} {unit}"
    return f"{whole} s"
