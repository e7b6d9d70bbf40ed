"""Which runs a list holds, in the words of the web UI's filter line: `state:failed tag:prod started:<24h any text`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from legato.cli.finding import find_deployment
from legato.cli.times import parse_since
from legato.core.errors import UsageError
from legato.core.spelling import did_you_mean

if TYPE_CHECKING:
    from legato.cli.session import Session
    from legato.core.records import FlowRunFilter

KEYS = ("state", "tag", "flow", "deployment", "queue", "started")


def run_filter(
    session: Session,
    *,
    states: Sequence[str] = (),
    tags: Sequence[str] = (),
    flow: str | None = None,
    deployment: str | None = None,
    since: str | None = None,
    text: str = "",
) -> FlowRunFilter:
    """The filter that the options and the filter line say together. Raises `UsageError` with a suggestion."""
    from legato.core.records import FlowRunFilter

    wanted: dict[str, list[str]] = {"state": [*states], "tag": [*tags]}
    for key, value in (("flow", flow), ("deployment", deployment), ("started", since)):
        wanted[key] = [value] if value else []
    words = _read(text, wanted)
    types, names = _states([part for value in wanted["state"] for part in value.split(",") if part])
    particulars: dict[str, Any] = {}
    if wanted["deployment"]:
        particulars["deployment_id"] = find_deployment(session, wanted["deployment"][-1]).id
    if wanted["started"]:
        said = wanted["started"][-1]
        side = "start_before" if said.startswith(">") else "start_after"  # >90d: longer ago than that
        particulars[side] = parse_since(said.lstrip("<>="), session.now())
    if wanted["flow"]:
        particulars["flow_name"] = wanted["flow"][-1]
    if wanted.get("queue"):
        particulars["work_queue"] = wanted["queue"][-1]
    return FlowRunFilter(states=types, state_names=names, tags=tuple(wanted["tag"]), text=" ".join(words), **particulars)


def _read(text: str, wanted: dict[str, list[str]]) -> list[str]:
    """Sort the words of a filter line into `wanted`; returns those that are no key:value."""
    words = []
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the filter {text!r} cannot be read: {error}", hint="close the quotes") from None
    for part in parts:
        key, colon, value = part.partition(":")
        if not colon or not value:
            words.append(part)
        elif key in KEYS:
            wanted.setdefault(key, []).append(value)
        else:
            raise UsageError(f"a filter has no key '{key}'", hint=did_you_mean(key, KEYS) or f"keys: {', '.join(KEYS)}")
    return words


def _states(wanted: Sequence[str]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """State types ("failed"), and state names ("Late", "TimedOut") among the wanted."""
    from legato.core.states import TYPE_OF, StateType

    types, names = [], []
    by_lower_case = {name.lower(): name for name in TYPE_OF}
    for word in wanted:
        lower = word.lower()
        if lower in tuple(StateType):
            types.append(StateType(lower))
        elif lower in by_lower_case:
            names.append(by_lower_case[lower])
        else:
            known = (*(str(one) for one in StateType), *TYPE_OF)
            raise UsageError(
                f"there is no state '{word}'", hint=did_you_mean(word, known) or f"states: {', '.join(str(s) for s in StateType)}"
            )
    return tuple(types), tuple(names)
