"""The API's own documentation: one page made from the OpenAPI description, with nothing fetched from elsewhere and no script."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
code{font-family:ui-monospace,monospace}section{border-top:1px solid #8884;padding:.5rem 0}b.m{display:inline-block;min-width:4.5rem}
ul{margin:.2rem 0}small{opacity:.75}"""


def docs_page(schema: dict[str, Any]) -> str:
    """The page for an OpenAPI description."""
    operations = [
        _operation(method, path, operation)
        for path, methods in sorted(schema["paths"].items())
        for method, operation in methods.items()
        if isinstance(operation, dict)
    ]
    info = schema["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title><style>{_STYLE}</style>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description') or '')}</p>"
        f'<p>The whole description: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>{"".join(operations)}</html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{escape(p['name'])}</code> <small>{escape(p['in'])}{', required' if p.get('required') else ''}</small> "
        f"{escape(p.get('description') or '')}</li>"
        for p in operation.get("parameters") or []
    )
    body = _schema_name(operation.get("requestBody"))
    taken = f"<p>takes <code>{escape(body)}</code></p>" if body else ""
    listed = f"<ul>{parameters}</ul>" if parameters else ""
    return (
        f'<section><b class="m">{escape(method.upper())}</b> <code>{escape(path)}</code>'
        f"<div>{escape(operation.get('description') or operation.get('summary') or '')}</div>{listed}{taken}</section>"
    )


def _schema_name(body: dict[str, Any] | None) -> str:
    content = (body or {}).get("content", {}).get("application/json", {}).get("schema", {})
    return str(content.get("$ref", "")).rpartition("/")[2]
