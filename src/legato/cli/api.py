"""`legato api`: a raw call to the server's API, with this profile's address and key; `doctor`, `open` and `artifact` call it so, too, past the store's port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import click

from legato.cli.failures import CONFLICT, FAILED, FORBIDDEN, MISUSED, NOT_FOUND, UNREACHABLE, Failure
from legato.cli.grammar import Verb
from legato.cli.server import running_server
from legato.cli.session import Session
from legato.core.errors import Unavailable


@click.command(
    "api",
    cls=Verb,
    examples=[
        "legato api GET flow-runs -f state=failed -f limit=3",
        "legato api POST flow-runs/0192c3a8-12f4-7abc-9def-001122334455/cancel",
        "legato api GET health",
    ],
    exits=(1, 3, 4, 5, 6),
)
@click.argument("method", type=click.Choice(["GET", "POST", "PUT", "PATCH", "DELETE"], case_sensitive=False))
@click.argument("path")
@click.option(
    "-f", "--field", "fields", multiple=True, metavar="NAME=VALUE", help="A query parameter (GET, DELETE) or a field of the JSON body."
)
@click.option("--body", help="The whole body as JSON; - reads it from standard input.")
@click.pass_obj
def command(session: Session, method: str, path: str, fields: tuple[str, ...], body: str | None) -> int:
    """Call METHOD PATH under /api and print what comes back."""
    import json
    import sys

    from legato.cli.parameters import parse_parameters

    values = parse_parameters(fields)
    is_read = method.upper() in ("GET", "DELETE")
    text = sys.stdin.read() if body == "-" else body
    sent = text.encode() if text is not None else json.dumps(values).encode() if values and not is_read else None
    query = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()} if is_read else None
    answer = call(session, method.upper(), path, query=query, body=sent)
    try:
        print(json.dumps(json.loads(answer.body), indent=2, ensure_ascii=False) if answer.body else "")
    except ValueError:
        print(answer.body.decode(errors="replace"))
    if answer.status < 400:
        return 0
    session.hint(f"The server answered {answer.status}")
    codes = {400: MISUSED, 401: FORBIDDEN, 403: FORBIDDEN, 404: NOT_FOUND, 409: CONFLICT, 422: MISUSED, 502: UNREACHABLE, 503: UNREACHABLE}
    return codes.get(answer.status, FAILED)


# ---------------------------------------------------------------------- the call


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

    from legato.store.remote import why_not

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
        raise Unavailable(f"cannot reach the server at {server_url(session)}: {why_not(error)}") from None
    return Answer(response.status, dict(response.headers), response.data)
