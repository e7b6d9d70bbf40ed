"""The web UI's files: hashed ones cached for ever, the page itself never, with its base set to where the server is mounted."""

from __future__ import annotations

import asyncio
import html
import mimetypes
from functools import lru_cache
from pathlib import Path, PurePosixPath

from legato.server.gate import Application, Receive, Scope, Send, send_problem
from legato.server.problems import BadRequest

_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Legato</title>
<h1>Legato's server is running</h1>
<p>The web UI was not built into this installation. In a source tree run <code>make ui</code>; a released package has it.</p>
<p>The API is at <a href="api/docs">api/docs</a>.</p></html>"""


def make_ui(folder: Path, *, root_path: str = "") -> Application:
    """An application that serves the files in `folder`, and its index.html for the addresses of the UI's own pages."""

    async def ui(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 ASGI's signature
        request_id = scope["legato_request_id"]
        if scope["method"] not in ("GET", "HEAD"):
            await send_problem(BadRequest("pages are only read", status=405, code="method_not_allowed"), request_id, send)
            return
        path = PurePosixPath(scope["path"].removeprefix(root_path))
        found = await asyncio.to_thread(_find, folder, path)
        if found is None:
            error = BadRequest(f"there is no page '{path}'", status=404, code="not_found", hint="the API is under /api, see /api/docs")
            await send_problem(error, request_id, send)
            return
        body = (
            await asyncio.to_thread(_page_of, folder, root_path)
            if found.name == "index.html"
            else await asyncio.to_thread(found.read_bytes)
        )
        cached = b"public, max-age=31536000, immutable" if found.parent.name == "assets" else b"no-cache"
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        headers = [(b"content-type", kind.encode()), (b"cache-control", cached), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return ui


def _find(folder: Path, path: PurePosixPath) -> Path | None:
    """The file a path means; index.html for a page of the UI, whose addresses hold no dot; None when there is nothing."""
    parts = [part for part in path.parts if part != "/"]
    if any(part == ".." or "\\" in part or "\0" in part for part in parts):
        return None
    file = folder.joinpath(*parts)
    if parts and file.is_file():
        return file
    return folder / "index.html" if not parts or "." not in parts[-1] else None


def _page_of(folder: Path, root_path: str) -> bytes:
    """The page as it is now: a UI that is built anew under a running server names other files."""
    try:
        built_ns = (folder / "index.html").stat().st_mtime_ns
    except FileNotFoundError:
        built_ns = 0
    return _page(folder, root_path, built_ns)


@lru_cache(maxsize=2)
def _page(folder: Path, root_path: str, built_ns: int) -> bytes:
    text = (folder / "index.html").read_text(encoding="utf-8") if built_ns else _MISSING
    return text.replace('<base href="/" />', f'<base href="{html.escape(root_path)}/" />').encode()
