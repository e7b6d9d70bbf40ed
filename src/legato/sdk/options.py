"""What to say when a decorator was given an option that does not exist, or a value that makes no sense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from legato.core.errors import UsageError
from legato.core.spelling import close_to


def explain_bad_option(kind: str, name: str, value: Any, known: frozenset[str]) -> UsageError:
    """The error for an option that does not exist, or whose value cannot be used."""
    if name not in known:
        close = _OTHER_WORDS.get(name) or "".join(close_to(name, known))
        return UsageError(
            f"@{kind} has no option '{name}'", hint=f"did you mean {close}?" if close else f"options: {', '.join(sorted(known))}"
        )
    if isinstance(value, (int, float)) and value < 0:
        return UsageError(f"@{kind}({name}={value!r}): it cannot be negative", hint="give 0 or more")
    return UsageError(f"@{kind}({name}={value!r}) makes no sense", hint=f"give {_wanted(name)}")


def explain_bad_tags(names: tuple[Any, ...]) -> UsageError:
    """The error for `with tags(…)` that was given something else than text."""
    return UsageError(f"tags({', '.join(map(repr, names))}): a tag is text", hint='write tags("nightly", "taxi")')


_OTHER_WORDS = {
    "retry": "retries",
    "timeout": "timeout_seconds",
    "cache": "cache_policy",
    "runner": "task_runner",
    "delay": "retry_delay_seconds",
}
"""What people call an option by that is not the nearest name."""
_TEXT = "text"
_WANTED = {
    "name": _TEXT,
    "key": _TEXT,
    "tags": 'a list of text, such as ["nightly"]',
    "retries": "a whole number, 0 or more",
    "retry_delay_seconds": "a number of seconds, a list of them (one for each retry), or a function of the failed attempt",
    "retry_jitter_factor": "a number, such as 0.5 for half more or less",
    "retry_condition_fn": "a function of the exception that says whether to try again",
    "timeout_seconds": "a number of seconds above 0, such as 1.5",
    "cache_key_fn": "a function (context, parameters) -> str | None",
    "cache_expiration": "a timedelta, such as timedelta(hours=6)",
    "task_run_name": "a template such as 'load-{month}', or a function",
    "flow_run_name": "a template such as 'train-{month}', or a function",
    "task_runner": "a task runner, such as ProcessTaskRunner(max_workers=2)",
}


def _wanted(name: str) -> str:
    if name == "trigger":
        from legato.core.triggers import TRIGGERS  # noqa: PLC0415 only for this mistake

        return f"a function, or one of {', '.join(TRIGGERS)}"
    return _WANTED.get(name, "a function, or a list of functions")


def explain_bad_function(kind: str, fn: Any, taken: Sequence[str]) -> UsageError | None:
    """What to say of something that was to be made a flow or task, and cannot be; None: it can."""
    if not callable(fn) and not isinstance(fn, (classmethod, staticmethod)):
        return UsageError(f"{kind}({fn!r}): that cannot be called", hint=f"decorate a function: @{kind} above its def")
    if taken:
        name = getattr(fn, "__name__", type(fn).__name__)
        return UsageError(
            f"{kind} '{name}' has a parameter called '{taken[0]}', which is an option of every call of a {kind}",
            hint="call the parameter something else: its value would never arrive",
        )
    return None
