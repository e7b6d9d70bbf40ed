"""`legato api`: a raw call to the server's API, with this profile's address and key."""

from __future__ import annotations

import click

from legato.cli.grammar import Verb
from legato.cli.session import Session


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

    from legato.cli.failures import CONFLICT, FAILED, FORBIDDEN, MISUSED, NOT_FOUND, UNREACHABLE
    from legato.cli.parameters import parse_parameters
    from legato.cli.raw_http import call

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
