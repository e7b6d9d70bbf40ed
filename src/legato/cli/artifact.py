"""`legato artifact`: what runs have made for people to look at."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import click

from legato.cli.completion import artifact_keys, run_names
from legato.cli.grammar import Noun
from legato.cli.session import Session
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.core.records import Artifact

KINDS = ("markdown", "table", "link", "image", "progress")

command = Noun("artifact", help="What runs have made for people to look at.")


@command.command(
    "ls",
    examples=["legato artifact ls", "legato artifact ls --run amber-heron --kind table", "legato artifact ls --key loss -o json"],
    exits=(3, 6),
)
@click.option("--run", help="Of this run.", shell_complete=run_names)
@click.option("--key", help="The versions of this key, the last first.", shell_complete=artifact_keys)
@click.option("--kind", type=click.Choice(KINDS), help="Of this kind.")
@click.option("--latest", is_flag=True, help="Of each key the last version only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.pass_obj
def ls(session: Session, run: str | None, key: str | None, kind: str | None, latest: bool, limit: int) -> None:
    """List artifacts, the last first. JSON leaves out data of more than 2 kB: get it with `legato artifact get`."""
    from legato.cli.finding import find_run
    from legato.cli.output import Column, show_list
    from legato.core.records import ArtifactFilter, ArtifactKind

    wanted = ArtifactFilter(
        flow_run_id=find_run(session, run).id if run else None, key=key, kind=ArtifactKind(kind) if kind else None, latest=latest
    )
    page = session.store.list_artifacts(wanted, limit=limit, brief=True)
    empty = "No artifact matches." if run or key or kind else "No artifacts. Flows make them: create_markdown_artifact(…)"
    columns = [
        Column("KEY", lambda one: one.key),
        Column("VERSION", lambda one: one.version or "", yields=2),
        Column("KIND", lambda one: one.kind),
        Column("TITLE", lambda one: one.title or in_a_line(one), yields=1),
        Column("UPDATED", lambda one: one.updated_at, yields=3),
        Column("ID", lambda one: one.id),
        Column("RUN", lambda one: one.flow_run_id, wide=True),
        Column("TASK", lambda one: one.task_run_id, wide=True),
    ]
    show_list(session, page.items, columns, name=lambda one: one.id, empty=empty)
    if page.cursor is not None:
        session.hint(f"There are more; --limit {limit * 10}")


@command.command(
    "show",
    examples=["legato artifact show loss", "legato artifact show loss --version 3", "legato artifact show 0192c3a8 -o json"],
    exits=(2, 3, 6),
)
@click.argument("artifact", metavar="KEY|ID", shell_complete=artifact_keys)
@click.option("--version", type=click.IntRange(1), help="This version of the key, not the last.")
@click.pass_obj
def show(session: Session, artifact: str, version: int | None) -> None:
    """Show one artifact: where it comes from, and what it says."""
    from legato.cli.finding import find_artifact
    from legato.cli.output import show_one

    found = find_artifact(session, artifact, version=version or 0)
    facts = [
        ("Key", found.key),
        ("Version", found.version or ""),
        ("Kind", found.kind),
        ("Title", found.title),
        ("Description", found.description),
        ("ID", found.id),
        ("Flow run", found.flow_run_id),
        ("Task run", found.task_run_id),
        ("Created", found.created_at),
        ("Updated", found.updated_at if found.updated_at != found.created_at else None),
    ]
    show_one(session, found, facts, name=found.id)
    if session.output in ("table", "wide"):
        print(f"\n{as_text(found)}")


@command.command(
    "get",
    examples=["legato artifact get report", "legato artifact get cities > cities.csv", "legato artifact get plot --out plot.png"],
    exits=(1, 2, 3, 6),
)
@click.argument("artifact", metavar="KEY|ID", shell_complete=artifact_keys)
@click.option("--version", type=click.IntRange(1), help="This version of the key, not the last.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write it to this file.")
@click.pass_obj
def get(session: Session, artifact: str, version: int | None, out: str | None) -> None:
    """Print what an artifact holds and nothing else: Markdown as it is, a table as CSV, a link's URL, an image's bytes, a percentage.

    With -o json: its data as JSON.
    """
    from legato.cli.finding import find_artifact
    from legato.cli.output import changed

    found = find_artifact(session, artifact, version=version or 0)
    if session.wants_json:
        from legato.cli.output import show_json

        show_json(session, found.data)
        return
    _write(_content(session, found), out)
    if out:
        changed(session, {"written": str(out)}, f"Written to {out}", name=str(out))


def _content(session: Session, found: Artifact) -> bytes:
    from legato.core.records import ArtifactKind

    if found.kind is ArtifactKind.IMAGE and "url" not in found.data:
        return _image(session, found)
    if found.kind is ArtifactKind.TABLE:
        return as_csv(found.data).encode()
    if found.kind in (ArtifactKind.LINK, ArtifactKind.IMAGE):
        return f"{found.data['url']}\n".encode()
    return (as_text(found) + "\n").encode()


def _image(session: Session, found: Artifact) -> bytes:
    """From this machine's storage or, where the bytes are not here, from the server's."""
    from legato.core.errors import ResultMissing
    from legato.engine.images import image_bytes
    from legato.storage.local import LocalStorage

    try:
        return image_bytes(found, LocalStorage(session.settings.home / "storage"))
    except ResultMissing:
        if not session.settings.api_url:
            raise
    from legato.cli.api import call

    answer = call(session, "GET", f"artifacts/{found.id}/image")
    if answer.status != 200:
        raise ResultMissing(
            f"the image of artifact {found.id} is neither here nor at the server", hint="look on the machine the run ran on"
        )
    return answer.body


def _write(content: bytes, out: str | None) -> None:
    import sys
    from pathlib import Path

    from legato.cli.failures import MISUSED, Failure

    if out:
        Path(out).write_bytes(content)
        return
    try:
        text = content.decode()
    except UnicodeDecodeError:
        if sys.stdout.isatty():
            raise Failure(
                "an image is no text for a terminal", exit_code=MISUSED, hint="--out FILE writes it to a file", code="usage"
            ) from None
        sys.stdout.buffer.write(content)
    else:
        print(text, end="")


# ---------------------------------------------------------------------- artifacts as text

_LINE = 60

_BAR = 30


def in_a_line(artifact: Artifact) -> str:
    """What there is to say of it in a few words; nothing where its data was left out."""
    data = artifact.data
    if isinstance(data, str):
        first = next((line.strip("# ") for line in data.splitlines() if line.strip("# ")), "")
        return first if len(first) <= _LINE else first[: _LINE - 1] + "…"
    if not isinstance(data, dict):
        return ""
    if "columns" in data:
        return f"{len(data['rows'])} rows of {', '.join(data['columns'])}"[:_LINE]
    if "url" in data:
        return str(data.get("text") or data["url"])
    return _progress(data) if "percent" in data or "done" in data else f"{data.get('type', '')}, {data.get('size', 0):,} bytes"


def as_text(artifact: Artifact) -> str:
    """What it says: Markdown as it stands, a table in columns, a bar."""
    data = artifact.data
    if isinstance(data, str):
        return data
    if "columns" in data:
        return _table(data)
    if "url" in data:
        return f"{data['text']}: {data['url']}" if data.get("text") else str(data["url"])
    if "type" in data:
        return f"{in_a_line(artifact)}. Write it to a file: legato artifact get {typed(artifact.key or artifact.id)} --out FILE"
    filled = round(_BAR * data.get("percent", 0) / 100)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {_progress(data)}"


def as_csv(data: dict[str, Any]) -> str:
    """A table as CSV, with its columns' names in the first line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(data["columns"])
    writer.writerows([_plain(value) for value in row] for row in data["rows"])
    return text.getvalue()


def _progress(data: dict[str, Any]) -> str:
    counted = f"{data['done']}" + (f" of {data['total']}" if "total" in data else "") if "done" in data else ""
    percent = f"{data['percent']:g} %" if float(data.get("percent", 0)).is_integer() else f"{data['percent']:.1f} %"
    return ", ".join(part for part in (percent if "percent" in data else "", counted) if part)


def _plain(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(data: dict[str, Any]) -> str:
    lines = [data["columns"], *([_plain(value).replace("\n", " ") for value in row] for row in data["rows"])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(data["columns"]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
