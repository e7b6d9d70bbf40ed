"""A verb is declared once: the stores have it as it is declared, and what a client says is what the server hears."""

import inspect
import runpy
import types
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from legato.core.errors import NotFound, UsageError
from legato.core.schedules import CronSchedule, IntervalSchedule
from legato.core.states import State
from legato.sdk.worker import Link
from legato.store.port import RunStore, Store
from legato.store.remote import RemoteStore
from legato.store.shapes import shape
from legato.store.sql import SqlStore
from legato.store.verbs import verbs_of

from tests.store.make import NOON

VERBS = verbs_of(Store)


@pytest.mark.parametrize("name", VERBS)
def test_the_database_has_each_verb_with_the_arguments_that_are_declared(name: str) -> None:
    declared = inspect.signature(VERBS[name].function).parameters
    ours = inspect.signature(inspect.unwrap(getattr(SqlStore, name))).parameters

    assert name not in verbs_of(SqlStore)
    named = [parameter for parameter in ours if parameter != "session"]
    assert named == list(declared)
    assert {n: ours[n].default for n in named} == {n: declared[n].default for n in declared}


def test_what_is_asked_of_a_store_without_methods_arrives_at_its_call() -> None:
    class Asked(RunStore):
        def call(self, verb: Any, arguments: Mapping[str, Any]) -> Any:
            return verb.name, dict(arguments)

    assert Asked().get_flow_run("a") == ("get_flow_run", {"run_id": "a"})  # type: ignore[comparison-overlap]
    assert Asked().heartbeat([], lease_s=3) == ("heartbeat", {"beats": [], "lease_s": 3})  # type: ignore[comparison-overlap]
    with pytest.raises(TypeError, match="missing 1 required"):
        Asked().get_flow_run()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'id'"):
        Asked().get_flow_run(id="a")  # type: ignore[call-arg]
    assert set(verbs_of(Link)) == set(VERBS) - {"apply"}
    assert set(verbs_of(RemoteStore)) == set(VERBS) - {"apply"}


def test_no_two_verbs_are_asked_at_one_address() -> None:
    addresses = [
        (verb.method, tuple("{}" if part.startswith("{") else part for part in route.segments))
        for verb in VERBS.values()
        for route in shape(verb).routes
    ]

    assert len(set(addresses)) == len(addresses)
    assert all(verb.function.__doc__ for verb in VERBS.values())


def test_every_change_that_may_not_be_done_twice_carries_a_key() -> None:
    """Whether repeating one is harmless is for a person to say: these say so, with their reason in the page on the API."""
    assert {name for name, verb in VERBS.items() if verb.repeat and verb.method != "GET"} == {
        "apply",  # transitions are known again by their numbers, lines by their batch's id
        "heartbeat",
        "count_task_runs",
        "count_logs",
    }


def test_the_page_on_the_api_has_the_table_of_all_verbs() -> None:
    """`python tools/verb_table.py` writes it."""
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "verb_table.py"))

    assert f"{tool['BEGIN']}\n\n{tool['table']()}\n\n{tool['END']}" in tool["PAGE"].read_text(encoding="utf-8")


# ---------------------------------------------------------------------- what a client says is what the server hears

ODD_TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12) | st.sampled_from(
    ["a/b", "..", ".", "%2F", "a b", "ä", "?", "#"]
)
INSTANTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))
JSON = st.recursive(st.none() | st.booleans() | st.integers(-99, 99) | ODD_TEXT, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ODD_TEXT, inner, max_size=2), max_leaves=4)  # fmt: skip
FIXED: dict[Any, st.SearchStrategy[Any]] = {
    str: ODD_TEXT,
    bool: st.booleans(),
    datetime: INSTANTS,
    Any: JSON,
    bytes: st.binary(max_size=4),
    State: st.builds(State, st.sampled_from(list(get_type_hints(State)["type"])), ODD_TEXT, INSTANTS),
    IntervalSchedule: st.builds(IntervalSchedule, interval=st.just(timedelta(hours=1)), anchor_date=st.just(NOON)),
    type(None): st.none(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a kind of argument."""
    bounds = {"min_value": -(2**40), "max_value": 2**40}
    if get_origin(kind) is Annotated:
        meta = next(each for each in kind.__metadata__ if isinstance(each, msgspec.Meta))
        kind = get_args(kind)[0]
        bounds = (
            {"min_value": meta.ge if meta.ge is not None else (meta.gt or 0) + 1, "max_value": meta.le or 2**40}
            if kind in (int, float)
            else {}
        )
    if kind in FIXED:
        return FIXED[kind]
    if kind is int:
        return st.integers(**bounds)
    if kind is float:
        return st.integers(**bounds).map(float)
    return composed(kind)


def composed(kind: Any) -> st.SearchStrategy[Any]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, types.UnionType):
        return values_of(IntervalSchedule) if CronSchedule in inner else st.one_of([values_of(one) for one in inner])
    if origin in (tuple, list, Sequence):
        lists = st.lists(values_of(inner[0]), max_size=2)
        return lists.map(tuple) if origin is tuple else lists
    if origin is dict:
        return st.dictionaries(ODD_TEXT, values_of(inner[1]), max_size=2)
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: values_of(hint) for name, hint in hints.items() if name in kind.__struct_fields__})


def heard(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a server makes of what a client sends for these."""
    from urllib.parse import unquote, urlencode

    form = shape(VERBS[name])
    segments = [unquote(part) for part in form.path_of(arguments).split("/")]
    fitting = [route for route in form.routes if len(route.segments) == len(segments) and all(a == b or a.startswith("{") for a, b in zip(route.segments, segments, strict=True))]  # fmt: skip
    body = form.body_of(arguments)
    return form.arguments(
        fitting[0], segments, urlencode(form.query_of(arguments)).encode(), b"" if body is None else msgspec.json.encode(body)
    )


@pytest.mark.parametrize("name", [name for name in VERBS if name != "info"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_the_server_hears_what_the_client_says(name: str, data: st.DataObject) -> None:
    hints = get_type_hints(VERBS[name].function, include_extras=True)
    arguments = {n: data.draw(values_of(hint), label=n) for n, hint in hints.items() if n not in ("return", "now")}
    if (
        "state_names" in (found := {n for a in arguments.values() if hasattr(a, "__struct_fields__") for n in a.__struct_fields__})
        and found
    ):
        names = tuple(word.replace(",", "") or "x" for word in arguments["filter"].state_names)
        arguments["filter"] = msgspec.structs.replace(arguments["filter"], state_names=names)
    for n, value in list(arguments.items()):
        if n == "name" and "{name:name}" in VERBS[name].path and (value.startswith("/") or value.endswith("/")):
            arguments[n] = f"flow{value}name"

    assert heard(name, arguments) == arguments


def test_a_path_that_speaks_of_another_thing_than_the_body_is_refused() -> None:
    form = shape(VERBS["save_queue"])
    body = b'{"id": "b", "name": "n", "created_at": "2026-01-01T00:00:00Z"}'

    assert form.arguments(form.routes[0], ["work-queues", "b"], b"", body)["queue"].id == "b"
    with pytest.raises(UsageError, match="the path speaks of 'a', the body of 'b'"):
        form.arguments(form.routes[0], ["work-queues", "a"], b"", body)


@pytest.mark.parametrize(
    "query", [b"stat=failed", b"limit=0", b"limit=x", b"order=up", b"state=nonsense", b"from=yesterday", b"top_level=2"]
)
def test_a_query_that_says_nothing_that_is_known_is_refused(query: bytes) -> None:
    form = shape(VERBS["list_flow_runs"])

    with pytest.raises(msgspec.ValidationError):
        form.arguments(form.routes[0], ["flow-runs"], query, b"")


def test_names_with_slashes_arrive_whole(store: Store) -> None:
    with pytest.raises(NotFound, match="a/b/c"):
        store.get_deployment("a/b/c")
    with pytest.raises(NotFound, match=r"\.\./x"):
        store.get_flow_run("../x")
