"""Errors to problems of the HTTP API and back. Server and client share them."""

from __future__ import annotations

import msgspec

from legato.core.errors import LegatoError, NotFound, Rejected, Unavailable


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An RFC 9457 problem, as the server words it."""

    title: str = ""
    status: int = 0
    detail: str = ""
    code: str = ""
    hint: str = ""
    request_id: str = ""
    kind: str = ""
    wanted: str = ""
    type: str = "about:blank"


def _tree(error: type[LegatoError]) -> dict[str, type[LegatoError]]:
    found = {error.code: error}
    for child in error.__subclasses__():
        found |= _tree(child)
    return found


_A_PERSON_MENDS = frozenset({401, 403, 421})
_TRY_AGAIN = frozenset({408, 425, 429}) | _A_PERSON_MENDS
"""Besides every 5xx: answers after which the same request may be taken, once the server, or a person, has done something about it."""


def error_of(problem: Problem, status: int) -> LegatoError:
    """The error that the server turned into this problem; by the status where its code says nothing: whoever can act decides which branch."""
    if problem.code == NotFound.code and problem.kind:
        return NotFound(problem.kind, problem.wanted, hint=problem.hint)
    kind = _tree(LegatoError).get(problem.code)
    if kind is None or kind is NotFound or status in _A_PERSON_MENDS:
        kind = Unavailable if status >= 500 or status in _TRY_AGAIN else Rejected
    error = kind(problem.detail or f"the server answered {status} {problem.title}".strip(), hint=problem.hint)
    if problem.code:
        error.code = problem.code
    return error
