"""The store's verbs as routes: from a method and a path to the verb, from the request to its arguments, and back. No verb is named here.

Bare ASGI in front of the application, which answers what is no verb of the store: pages, images, health. A run that is got so costs two
thirds of what the same route cost in Litestar, a cancel four fifths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec

from legato.core.json_times import in_full
from legato.server.backend import Backend
from legato.server.gate import Application, Receive, Scope, Send, read_body, send_json, send_problem
from legato.server.problems import BadRequest
from legato.store.port import Store
from legato.store.shapes import Route, Shape, shape
from legato.store.verbs import verbs_of

_encode = msgspec.json.Encoder().encode
_NO_CONTENT = 204


class _Node:
    """One place in the tree of paths: what follows it by its word, what follows whatever stands there, and what is asked there."""

    __slots__ = ("answers", "any", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.answers: dict[str, tuple[Shape, Route] | None] = {}

    def at(self, segments: Iterable[str]) -> _Node:
        """The place of a path, made if need be; segments in braces stand for any text."""
        node = self
        for segment in segments:
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.words.setdefault(segment, _Node())
        return node

    def matching(self, segments: list[str], start: int = 0) -> Iterable[_Node]:
        """The places that a path may be at, words before texts."""
        if start == len(segments):
            yield self
            return
        if (word := self.words.get(segments[start])) is not None:
            yield from word.matching(segments, start + 1)
        if self.any is not None and segments[start]:
            yield from self.any.matching(segments, start + 1)


class Dispatcher:
    """An application that answers the verbs of the store, and hands on what is none. `others`: (method, path) of what that one answers."""

    def __init__(self, application: Application, backend: Callable[[], Backend], others: Iterable[tuple[str, str]]) -> None:
        self._application = application
        self._backend = backend
        self._tree = _Node()
        for declared in verbs_of(Store).values():
            if not declared.own_route:
                for route in shape(declared).routes:
                    self._tree.at(route.segments).answers[declared.method] = (shape(declared), route)
        for method, path in others:
            self._tree.at(path.removeprefix("/api/").split("/")).answers.setdefault(method, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        segments = _segments(scope) if scope["type"] == "http" else []
        places = [place for place in self._tree.matching(segments) if place.answers] if segments else []
        if not places:
            await self._application(scope, receive, send)
            return
        place = next((place for place in places if scope["method"] in place.answers), None)
        if place is not None and (found := place.answers[scope["method"]]) is not None:
            await self._answer(*found, segments, scope, receive, send)
        elif place is not None:
            await self._application(scope, receive, send)
        else:
            await _refuse_method(sorted({method for place in places for method in place.answers}), scope, send)

    async def _answer(self, form: Shape, route: Route, segments: list[str], scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive) if form.body is not None else b""
            arguments = form.arguments(route, segments, scope["query_string"], body)
            answer = await _perform(self._backend(), form, arguments)
        except Exception as error:  # noqa: BLE001 the outermost handler: what is not foreseen is logged there
            await send_problem(error, str(scope["legato_request_id"]), send, route=f"{scope['method']} {scope['path']}")
            return
        if form.verb.status == _NO_CONTENT:
            await send({"type": "http.response.start", "status": _NO_CONTENT, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send_json(_encode({"value": in_full(answer)} if form.wraps else in_full(answer)), send, status=form.verb.status)


async def _perform(backend: Backend, form: Shape, arguments: dict[str, Any]) -> Any:
    if form.takes_now:
        arguments["now"] = backend.now()
    call = partial(getattr(backend.store, form.verb.name), **arguments)
    return await (backend.read(call) if form.verb.reads else backend.write(call, changed=form.verb.changes))


def _segments(scope: Scope) -> list[str]:
    """What stands between the slashes after /api, as it was meant: a slash that is part of a name is written %2F."""
    raw = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    if not raw.startswith("/api/"):
        return []
    return [unquote(part, errors="surrogateescape") for part in raw[5:].removesuffix("/").split("/")]


async def _refuse_method(methods: list[str], scope: Scope, send: Send) -> None:
    error = BadRequest(f"{scope['path']} takes {', '.join(methods)}", status=405, code="method_not_allowed")
    await send_problem(error, str(scope["legato_request_id"]), send, headers=[(b"allow", ", ".join(methods).encode())])
