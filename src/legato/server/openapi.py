"""The API's description, OpenAPI 3.1: of the store's verbs from their declarations, of the other routes as the application describes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec

from legato.store.port import Store
from legato.store.shapes import Asked, Route, Shape, shape
from legato.store.verbs import verbs_of
from legato.store.wire import Problem

PROBLEMS = {
    "400": "The request cannot be read",
    "401": "An API key is asked for, or another than the one shown",
    "403": "A page of another site may not do this",
    "404": "There is no such thing",
    "405": "The address takes another method",
    "409": "It has changed, or is in the way",
    "413": "The body is too large",
    "415": "The body is of another kind",
    "421": "The server is not called so",
    "422": "What is asked for cannot be",
    "503": "Try again later",
}

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Asked again under it within an hour, the same answer is given, and nothing is done twice.",
    "schema": {"type": "string", "maxLength": 255},
}


class Schemas:
    """The schemas of all types that are spoken of, made together, so that each is described once."""

    def __init__(self, kinds: Iterable[Any]) -> None:
        self._kinds = list(kinds)
        made, self.components = msgspec.json.schema_components(self._kinds, ref_template="#/components/schemas/{name}")
        self._made = list(made)

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of one of them."""
        return dict(self._made[next(i for i, known in enumerate(self._kinds) if known is kind)])


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """The application's own description, with the verbs of the store, and what every operation may answer."""
    forms = [shape(declared) for declared in verbs_of(Store).values() if declared.path != "info"]
    schemas = Schemas(chain([Problem], *(_kinds(form) for form in forms)))
    for form in forms:
        for route in form.routes:
            path = schema["paths"].setdefault("/api/" + "/".join(route.segments), {})
            path[form.verb.method.lower()] = _operation(form, route, schemas)
    _describe_filters(schema, schemas)
    schema["components"]["schemas"] = {**schema["components"].get("schemas", {}), **schemas.components}
    _describe_problems(schema, schemas.of(Problem))
    stream = {"200": {"description": "server-sent events", "content": {"text/event-stream": {}}}}
    schema["paths"]["/api/events/stream"] = {"get": {"summary": "What is recorded, live.", "operationId": "stream", "responses": stream}}
    return schema


def _kinds(form: Shape) -> Iterator[Any]:
    yield form.answer
    if form.body is not None:
        yield form.body
    yield from (asked.type for asked in form.query)


def _operation(form: Shape, route: Route, schemas: Schemas) -> dict[str, Any]:
    words = (form.verb.function.__doc__ or "").strip()
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}} for part in route.segments if part[0] == "{"
    ]
    parameters += [_parameter(asked, schemas) for asked in form.query]
    if not form.verb.repeat:
        parameters.append(_KEY)
    status = str(form.verb.status)
    answer: dict[str, Any] = {"description": "Answered"}
    if status != "204":
        answer["content"] = {"application/json": {"schema": schemas.of(form.answer)}}
    operation: dict[str, Any] = {
        "summary": words.partition("\n")[0],
        "description": " ".join(words.split()),
        "operationId": form.verb.name + route.suffix,
        "parameters": parameters,
        "responses": {status: answer},
        "x-needs": form.verb.needs,
    }
    if form.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schemas.of(form.body)}}}
    return operation


def _parameter(asked: Asked, schemas: Schemas) -> dict[str, Any]:
    kind = schemas.of(asked.type)
    if asked.commas:  # both are understood; most clients write lists so
        kind = {"type": "string", "description": kind.get("description", "")}
    parameter = {"name": asked.wire, "in": "query", "required": asked.default is msgspec.NODEFAULT, "schema": kind}
    if "description" in kind:
        parameter["description"] = kind["description"]
    if asked.default not in (msgspec.NODEFAULT, None, ()):
        kind["default"] = asked.default
    return parameter


def _describe_filters(schema: dict[str, Any], schemas: Schemas) -> None:
    """The UI's list of runs takes the same filter, which its handler reads from the query by itself."""
    form = shape(verbs_of(Store)["list_flow_runs"])
    runs = schema["paths"].get("/api/ui/runs", {}).get("get")
    if runs is not None:
        known = {parameter["name"] for parameter in runs.get("parameters", [])}
        filters = [_parameter(asked, schemas) for asked in form.query if asked.argument == "filter" and asked.wire not in known]
        runs["parameters"] = [*runs.get("parameters", []), *filters]


def _describe_problems(schema: dict[str, Any], problem: dict[str, Any]) -> None:
    """Every operation may answer with a problem (RFC 9457), and says so; tuples are written as OpenAPI 3.1 wants them."""
    content = {"application/problem+json": {"schema": problem}}
    for operations in schema["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"] |= {status: {"description": words, "content": content} for status, words in PROBLEMS.items()}
    _mend_tuples(schema)


def _mend_tuples(schema: Any) -> None:
    if isinstance(schema, dict):
        if isinstance(schema.get("items"), list):
            schema["prefixItems"] = schema.pop("items")
        for inner in schema.values():
            _mend_tuples(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _mend_tuples(inner)
