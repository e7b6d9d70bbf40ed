"""The web UI's files: hashed ones cached for ever, the page itself never. Its base is relative, as many steps up as its address is deep: so it
finds its files and the API under whatever path a proxy serves it, without being told.

They are read once, when the server starts, into a table from address to bytes. A request is looked up in that table and nowhere else: no
part of what somebody sends ever becomes a path of the machine (`//etc/passwd` once did).
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from legato.server.gate import Application, Receive, Scope, Send, accepts_gzip, send_problem
from legato.server.problems import BadRequest

_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Legato</title>
<h1>Legato's server is running</h1>
<p>The web UI was not built into this installation. In a source tree run <code>make ui</code>; a released package has it.</p>
<p>The API is at <a href="api/docs">api/docs</a>.</p></html>"""


_PAGE_OF_THE_UI = re.compile(r"(/[^/.\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*)*/?")
"""An address inside the UI: parts that are neither empty nor begin with a dot, without backslashes and control characters."""


_PROBES = frozenset(
    {"/health", "/healthz", "/livez", "/ready", "/readyz", "/ping", "/metrics", "/status", "/api", "/openapi.json", "/docs"}
)
"""What programs ask for elsewhere: a page as the answer would look like a healthy one for ever. Ours are under /api."""


class Asset(msgspec.Struct, frozen=True):
    """One file of the built UI, as it is sent."""

    body: bytes
    content_type: str
    is_hashed: bool
    packed: bytes = b""
    """The same as gzip, where that is worth it: as the build has left it."""


def read_assets(folder: Path) -> Mapping[str, Asset]:
    """The built UI by address: `/` for the page, `/assets/…` for the rest. Only the page, saying so, where no UI was built."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.resolve().is_relative_to(folder.resolve()))
    files = [file for file in files if not (file.suffix == ".gz" and file.with_suffix("") in files)]  # a packed copy is no file of its own
    table = {f"/{file.relative_to(folder).as_posix()}": _asset_of(file, file.parent.name == "assets") for file in files}
    page = table.get("/index.html")
    text = page.body.decode() if page else _MISSING
    table["/"] = table["/index.html"] = Asset(text.encode(), "text/html; charset=utf-8", is_hashed=False)
    return table


def _asset_of(file: Path, is_hashed: bool) -> Asset:
    content_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    copy = file.with_name(f"{file.name}.gz")
    return Asset(file.read_bytes(), content_type, is_hashed, copy.read_bytes() if is_hashed and copy.is_file() else b"")


def make_ui(folder: Path) -> Application:
    """An application that serves the files that are in `folder` now, and the page for the addresses of the UI's own pages."""
    assets = read_assets(folder)

    async def ui(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 ASGI's signature
        request_id = scope["legato_request_id"]
        if scope["method"] not in ("GET", "HEAD"):
            await send_problem(BadRequest("pages are only read", status=405, code="method_not_allowed"), request_id, send)
            return
        path = scope["path"]
        found = find_asset(assets, path)
        if found is None:
            error = BadRequest(
                f"there is no page {path[:200]!r}", status=404, code="not_found", hint="the API is under /api, see /api/docs"
            )
            await send_problem(error, request_id, send)
            return
        packs = bool(found.packed) and accepts_gzip(scope)
        body = based(found.body, path) if found is assets["/"] else found.packed if packs else found.body
        cached = b"public, max-age=31536000, immutable" if found.is_hashed else b"no-cache"
        headers = [
            (b"content-type", found.content_type.encode()),
            (b"cache-control", cached),
            (b"content-length", str(len(body)).encode()),
            *([(b"vary", b"accept-encoding")] if found.packed else []),
            *([(b"content-encoding", b"gzip")] if packs else []),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return ui


def based(page: bytes, path: str) -> bytes:
    """The page for this address: its base is the UI's root, seen from there."""
    steps = path.count("/") - 1
    return page.replace(b'<base href="/" />', b'<base href="%s" />' % (b"../" * steps or b"./"))


def find_asset(assets: Mapping[str, Asset], path: str) -> Asset | None:
    """What a path means: a file, the page where it is an address of the UI (its last part holds no dot), None when it is neither."""
    if path in assets:
        return assets[path]
    if path.rstrip("/") in _PROBES:
        return None
    is_page = _PAGE_OF_THE_UI.fullmatch(path) is not None and "." not in path.rpartition("/")[2]
    return assets["/"] if is_page else None
