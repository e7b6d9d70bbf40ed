"""What a plan has to be told of the SDK: which objects are tasks and flows, and which functions wrap arguments. `plan` knows no decorator itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from legato.plan.values import Spec


class Words(NamedTuple):
    """`definition`: the class of tasks and flows. `spec_of`: one of them (bound to an object, if any) as a plan sees it.

    `wrappers`: functions around an argument, by what they mean. `decorators`: by module and name, the functions that make a task or flow of a
    function. `is_own`: whether the names of a module are the user's project's.
    """

    definition: type
    spec_of: Callable[[Any, Any], Spec]
    wrappers: Mapping[Any, str]
    decorators: Mapping[str, str]
    is_own: Callable[[Mapping[str, Any]], bool]
