"""What `legato.plan` has to be told of tasks and flows to read a flow's source."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any

from legato.plan.values import Known, Spec
from legato.plan.words import Words
from legato.sdk.calls import signature_of
from legato.sdk.definitions import Definition, Kind
from legato.sdk.sources import is_own
from legato.sdk.wrappers import allow_failure, quote, unmapped


def spec_of(definition: Definition[Any, Any], owner: Any = None) -> Spec:
    """What a plan needs of a task or flow."""
    fn = definition.fn
    file = getattr(getattr(fn, "__code__", None), "co_filename", "")
    if owner is None:
        owner = getattr(fn, "__self__", None)
    body = Known(types.MethodType(getattr(fn, "__func__", fn), owner)) if owner is not None else Known(fn)
    return Spec(
        definition.kind,
        definition.name,
        definition.key,
        definition.options,
        body,
        file,
        definition.makes is not Kind.VALUE,
        definition.is_async,
    )


def as_a_run_takes_them(flow: Definition[Any, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as a run would have them: checked and converted by their annotations. Those that the flow does not have stay."""
    if not flow.options.get("validate_parameters", True):
        return dict(parameters)
    known = set(inspect.signature(flow.fn).parameters)
    checked = signature_of(f"flow '{flow.name}'", flow.fn).validate({name: value for name, value in parameters.items() if name in known})
    return {**parameters, **checked}


WORDS = Words(
    definition=Definition,
    spec_of=spec_of,
    wrappers={allow_failure: "allow_failure", unmapped: "unmapped", quote: "quote"},
    decorators={"legato.sdk.tasks.task": "task", "legato.sdk.flows.flow": "flow"},
    is_own=is_own,
)
