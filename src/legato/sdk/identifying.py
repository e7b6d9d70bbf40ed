"""From a call of the user's to its identity: what is called, on what, with which arguments, in which lane, by which code."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Protocol

from legato.core.digests import plain_bytes
from legato.core.resume import CallId, place_in
from legato.engine.futures import DeferredList, Future
from legato.engine.identity.lanes import Sighting, lane_of
from legato.engine.identity.ledger import NOTHING, SHORT, group_of, unknown_group
from legato.engine.shell import Shell, TaskShell
from legato.sdk.wrappers import AllowFailure, Quote, Unmapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from legato.engine.identity.calls import Seal
    from legato.engine.identity.ledger import Ledger
    from legato.sdk.arguments import Arguments
    from legato.sdk.code import Reach


class Called(Protocol):
    """What is called, as far as it decides about the identity of its calls."""

    key: str
    explicit_key: Any

    @property
    def place(self) -> str:
        """Where calls from a flow's own code stand."""
        ...

    @property
    def on(self) -> Any: ...

    @property
    def holdings(self) -> Any:
        """What its code holds that its calls may change."""
        ...

    @property
    def context(self) -> Any:
        """The context variables that its code reads, by name."""
        ...

    def code(self) -> Mapping[str, str]: ...

    def code_digest(self) -> str: ...


def reach_of(fn: Callable[..., Any]) -> Reach:
    """What a function is made of."""
    from legato.sdk.code import reach_of  # noqa: PLC0415 start-up time: wanted where something is stored

    return reach_of(fn)


def known_by(value: Any) -> Any:
    """What a function or class is known by as an input."""
    from legato.sdk.code import known_by  # noqa: PLC0415 start-up time: wanted by arguments that are, or hold, objects

    return known_by(value)


def called_on(fn: Any) -> Any:
    """What a function is called on: a method's object or class, a callable object or partial itself."""
    if isinstance(fn, MethodType):
        return fn.__self__
    return NOTHING if isinstance(fn, FunctionType) else fn


def path_of(parent: Shell) -> str:
    """What identifies the call whose code this is, among those of its flow; "" for the flow's own code."""
    return parent.call_id.path if isinstance(parent, TaskShell) and parent.call_id is not None else ""


def identify(shell: TaskShell, parent: Shell, compiled: Called, arguments: Arguments, *, submitted: bool) -> None:
    """Say which call of the flow this is, so that another attempt knows it again."""
    flow = shell.flow
    ledger = flow.ledger
    is_kept = shell.policy.persist or ledger.keeps_values
    place = compiled.place if parent is flow else place_in(path_of(parent), compiled.key)
    shell.on = on = compiled.on
    args, kwargs = arguments.args, arguments.kwargs
    plain = plain_bytes(args, kwargs) if arguments.plain and on is NOTHING else None
    if compiled.explicit_key is not None:
        group = group_of(place, b"key" + str(compiled.explicit_key).encode("utf-8", "surrogatepass"))
    elif plain is not None:
        group = f"{place}-{plain.hex()}" if len(plain) <= SHORT else group_of(place, plain)
    else:
        group = _group_by_content(shell, place, arguments, is_kept=is_kept)
    if (is_kept or flow.knows_calls) and compiled.explicit_key is None and compiled.context:
        try:
            group = group_of(group, in_context(compiled.context))
        except Exception as error:  # noqa: BLE001 it has no form, or a user's __legato_hash__ may raise anything
            shell.unknown = f"not reusable: what a context variable holds has no stable hash ({error})"
            group = unknown_group(place, shell.run_id)
    lane = shell.lane = lane_of(parent)
    code = compiled.code_digest() if flow.knows_calls or is_kept else ""
    body = flow.body if parent is flow else ""
    call = shell.call_id = ledger.identify(group, lane, submitted=submitted, code=code, attempt=flow.attempt, body=body)
    shell.below = lane.taint
    if body and flow.edits is not None:
        shell.behind_edit = flow.edits()
    if submitted:
        shell.sighting = Sighting(flow, call)
    if is_kept:
        shell.code = compiled.code
        shell.beside = beside_of(compiled.holdings, flow)


def holdings_of(fn: Any) -> Any:
    """What a function's code holds that a call of it may change; None: nothing."""
    from legato.sdk.effects import holdings_of  # noqa: PLC0415 start-up time: wanted where something is stored

    return holdings_of(fn)


def beside_of(holdings: Any, flow: Any) -> Any:
    """What looks at what a call does beside giving its value. `holdings`: what its code holds."""
    from legato.sdk.effects import VALUE, Watch  # noqa: PLC0415 start-up time: wanted where something is stored

    return Watch(holdings, outermost(flow)) if holdings is not None else VALUE


def context_of(fn: Any) -> dict[str, ContextVar[Any]]:
    """The context variables that a function's code reads, by name."""
    found = {held.name: held.value() for held in reach_of(fn).held}
    return {name: value for name, value in found.items() if isinstance(value, ContextVar)}


def in_context(variables: Mapping[str, ContextVar[Any]]) -> bytes:
    """What context variables hold here, as bytes. Raises `Unknown`."""
    from legato.core.identity import form_of  # noqa: PLC0415 start-up time: few tasks read any

    return form_of([(name, [one.get()] if one in copy_context() else None) for name, one in sorted(variables.items())], known_by)


def outermost(flow: Any) -> Any:
    """The definition of the outermost flow that is under way here, as far as it is known."""
    while flow.parent is not None:
        flow = flow.parent
    return flow.definition


def _group_by_content(shell: TaskShell, place: str, arguments: Arguments, *, is_kept: bool) -> str:
    """The group of a call by what its arguments hold; of one of its own when that cannot be told, or nobody will want to know."""
    if not shell.flow.knows_calls and not is_kept:
        shell.unknown = "its arguments were not compared: nothing was to be stored"
        return unknown_group(place, shell.run_id)
    from legato.core.identity import Unknown  # noqa: PLC0415 start-up time: most arguments are plain
    from legato.engine.identity.calls import UNKEPT_BYTES, Seal, can_change, encoded  # noqa: PLC0415

    try:
        data = encoded(shell.on, arguments.args, arguments.kwargs, known_by, _not_there_yet, limit=None if is_kept else UNKEPT_BYTES)
    except Unknown as error:
        shell.unknown = error.where
        return unknown_group(place, shell.run_id)
    if is_kept and can_change(shell.on, arguments.args, arguments.kwargs):
        shell.seal = Seal(shell.on, known_by, data)
    return group_of(place, data)


def _not_there_yet(value: Any) -> Any:
    """What a future counts by among the inputs: the call that makes it. What it comes to is compared when it is there."""
    if isinstance(value, DeferredList):
        return "mapped", value.made_by
    if isinstance(value, Future):
        return "future", value.made_by
    if isinstance(value, (AllowFailure, Quote, Unmapped)):
        return type(value).__name__, value.value
    return NotImplemented


def note_what_came(shell: TaskShell, arguments: Arguments) -> None:
    """The futures among a call's arguments have ended: what they came to is one of its inputs, and a new or changed one comes before it."""
    if not shell.below:
        shell.below = next((one.sighting.changed for one in arguments.futures if one.sighting is not None and one.sighting.changed), "")
    if shell.seal is not None and shell.seal.is_broken(arguments.args, arguments.kwargs, _not_there_yet):
        shell.has_changed = True  # between the submitting and now
    is_kept = shell.policy.persist or shell.flow.keeps_values
    if not (shell.flow.knows_calls or is_kept) or shell.unknown:
        return
    from legato.core.identity import Unknown, digest  # noqa: PLC0415 start-up time: most arguments are plain
    from legato.engine.identity.calls import UNKEPT_BYTES, Seal, encoded  # noqa: PLC0415

    try:
        data = encoded(shell.on, shell.args, shell.kwargs, known_by, limit=None if is_kept else UNKEPT_BYTES)
    except Unknown as error:
        shell.unknown = error.where
        return
    shell.inputs = digest(data)
    if is_kept:
        shell.seal = Seal(shell.on, known_by, data)


def identify_flow(
    ledger: Ledger, parent: Shell, key: str, fn: Callable[..., Any], run_id: str, parameters: Mapping[str, Any]
) -> tuple[CallId, str, Seal | None]:
    """Which call a flow inside another is; why its parameters cannot be compared, "" when they can; and the seal on them."""
    place, on = place_in(path_of(parent), key), called_on(fn)
    unknown = ""
    seal: Seal | None = None
    from legato.core.identity import Unknown  # noqa: PLC0415 start-up time: most arguments are plain
    from legato.engine.identity.calls import Seal, encoded  # noqa: PLC0415

    try:
        data = encoded(on, (), parameters, known_by)
        group, seal = group_of(place, data), Seal(on, known_by, data)
        if variables := context_of(fn):
            group = group_of(group, in_context(variables))
    except Unknown as error:
        group, unknown = unknown_group(place, run_id), error.where
    body = parent.flow.body if parent is parent.flow else ""
    call = ledger.identify(group, lane_of(parent), code=reach_of(fn).digest(), attempt=parent.flow.attempt, body=body)
    return call, unknown, seal
