"""What to say when a decorator was given an option that does not exist, or a value that makes no sense."""

from __future__ import annotations

import difflib
from typing import Any

from legato.core.errors import UsageError


def explain_bad_options(kind: str, options: dict[str, Any], known: frozenset[str]) -> UsageError:
    """The error for the first option that is wrong."""
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            return UsageError(
                f"@{kind} has no option '{name}'", hint=f"did you mean {close[0]}?" if close else f"options: {', '.join(sorted(known))}"
            )
    for name, value in options.items():
        if isinstance(value, (int, float)) and value < 0:
            return UsageError(f"@{kind}({name}={value!r}): it cannot be negative", hint="give 0 or more")
    return UsageError(f"@{kind} was given options it cannot use")
