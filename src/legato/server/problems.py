"""Errors as RFC 9457 problems: what happened, what to do, and the id to quote when asking about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from legato.core.errors import Conflict, LegatoError, NotFound, ResultMissing, Unavailable, UsageError
from legato.store.columns import cleaned
from legato.store.wire import Problem

_STATUS: tuple[tuple[type[LegatoError], int], ...] = (
    (NotFound, 404),
    (ResultMissing, 404),
    (Conflict, 409),
    (UsageError, 422),
    (Unavailable, 503),
)
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode

_OF_THE_SENDER = (OverflowError, RecursionError, UnicodeError)
"""What comes of numbers that no column holds, of instants that no calendar has, of endless nesting and of half characters."""

_SEE_DOCS = "see /api/docs for what this route takes"

CONTENT_TYPE = "application/problem+json"
TRY_AGAIN = (429, 503)
"""Statuses whose answers say when to ask again."""


class BadRequest(UsageError):
    """A request that cannot be read as HTTP API; `status` says how."""

    code = "bad_request"

    def __init__(self, message: str, *, status: int = 400, code: str = "bad_request", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code


def problem_of(error: Exception, request_id: str, route: str = "") -> Problem:
    """What a client is told about an error. One that nobody foresaw is logged in full, and told by its id alone."""
    if isinstance(error, LegatoError):
        status = error.status if isinstance(error, BadRequest) else next((s for kind, s in _STATUS if isinstance(error, kind)), 500)
        named = (error.kind, error.wanted) if isinstance(error, NotFound) else ("", "")
        return Problem(HTTPStatus(status).phrase, status, error.message, error.code, error.hint, request_id, *named)
    if isinstance(error, msgspec.MsgspecError):
        return Problem("Bad Request", 400, str(error), "bad_request", "see /api/docs for what this route takes", request_id)
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}.get(error.status_code, "http")
        return Problem(
            HTTPStatus(error.status_code).phrase, error.status_code, _detail(error), code, "see /api/docs for what there is", request_id
        )
    if isinstance(error, _OF_THE_SENDER):
        what = "it is nested too deep" if isinstance(error, RecursionError) else str(error) or type(error).__name__
        return Problem("Unprocessable Entity", 422, f"the request cannot be taken: {what[:300]}", "bad_request", _SEE_DOCS, request_id)
    _log.error("request_failed", exc_info=error, extra={"request_id": request_id, "route": route})
    return Problem(
        "Internal Server Error", 500, "the server failed on this request", "internal", f"look for {request_id} in its log", request_id
    )


def _detail(error: HTTPException) -> str:
    extra = error.extra
    if isinstance(extra, list):
        return "; ".join(f"{e.get('key', '')}: {e.get('message', '')}".strip(": ") for e in extra if isinstance(e, dict)) or error.detail
    return error.detail


def body_of(problem: Problem) -> bytes:
    """The problem as JSON. It repeats what was asked for, which may be no text: then as much of it as is."""
    try:
        return _encode(problem)
    except UnicodeEncodeError:
        return _encode(cleaned(msgspec.to_builtins(problem)))


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of the application."""
    problem = problem_of(error, request_id_of(request.scope), f"{request.method} {request.scope['path']}")
    headers = {"retry-after": "1"} if problem.status in TRY_AGAIN else {}
    return Response(body_of(problem), status_code=problem.status, media_type=CONTENT_TYPE, headers=headers)


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The id the gate gave this request."""
    return str(scope.get("legato_request_id", ""))
