"""Calls to the server's API that go past the store's port: for `legato api`, `doctor` and `open`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from legato.cli.failures import UNREACHABLE, Failure
from legato.cli.server_file import running_server
from legato.core.errors import Unavailable

if TYPE_CHECKING:
    from legato.cli.session import Session


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def server_url(session: Session) -> str:
    """The server's address without /api: of the settings, else of the server that runs on this machine. Raises `Failure`."""
    if session.settings.api_url:
        return session.settings.api_url.removesuffix("/api")
    note = running_server(session.settings.home)
    if note is None:
        raise Failure(
            "no server is set, and none runs on this machine",
            exit_code=UNREACHABLE,
            hint="Start one:    legato server start",
            next_step="Or name one:  legato config set api_url=http://HOST:4200/api",
            code="unavailable",
        )
    return note.url


def call(
    session: Session, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None, timeout_s: float = 30
) -> Answer:
    """Call `path` (under /api) with this session's key. Raises `Unavailable`."""
    import urllib3  # start-up time: most commands speak to the store

    url = f"{server_url(session)}/api/{path.removeprefix('/').removeprefix('api/')}"
    headers = {"accept": "application/json", "content-type": "application/json"}
    key = session.settings.api_key or session.settings.server_api_key
    if key:
        headers["authorization"] = f"Bearer {key}"
    try:
        response = urllib3.PoolManager(retries=False, timeout=timeout_s).request(
            method, url + (f"?{urlencode(query)}" if query else ""), headers=headers, body=body
        )
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable(f"cannot reach the server at {server_url(session)}: {error}") from None
    return Answer(response.status, dict(response.headers), response.data)
