"""Writes the table of the store's verbs into the page on the HTTP API, from their declarations. A test holds the page against it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec

from legato.store.port import Store
from legato.store.shapes import Shape, shape
from legato.store.verbs import verbs_of

PAGE = Path(__file__).parents[1] / "docs" / "design" / "http-api.md"
BEGIN, END = "<!-- verbs: written by tools/verb_table.py -->", "<!-- end of verbs -->"


def table() -> str:
    """The table, in the order of addresses."""
    verbs = verbs_of(Store).values()
    lines = [f"| {' | '.join(row(shape(verb)))} |" for verb in sorted(verbs, key=lambda verb: (verb.path, verb.method))]
    return "\n".join(["| verb | route | in | out | who may | |", "|---|---|---|---|---|---|", *lines])


def row(form: Shape) -> Iterator[str]:
    """One verb's cells: its name, its routes, what it takes, what it answers, who may, and what repeating it does."""
    verb = form.verb
    yield f"`{verb.name}`"
    yield "<br>".join(f"`{verb.method} /api/{'/'.join(route.segments)}`" for route in form.routes)
    query = "&".join(f"{asked.wire}=" for asked in form.query)
    body = word(form.body) if form.body_is_one else ", ".join(fields(form)) and f"{{{', '.join(fields(form))}}}"
    yield " ".join(f"`{part}`" for part in (query and f"?{query}", body) if part)
    yield (
        ""
        if verb.status == 204
        else f"`{{value: {word(form.answer.__annotations__['value'])}}}`"
        if form.wraps
        else f"`{word(form.answer)}`"
    )
    yield verb.needs
    yield "" if verb.reads else "may be repeated" if verb.repeat else "once a key"


def fields(form: Shape) -> list[str]:
    """The names of the body's fields."""
    return [field.encode_name for field in msgspec.structs.fields(form.body)] if form.body is not None and not form.body_is_one else []


def word(kind: Any) -> str:
    """A type as people write it."""
    if get_origin(kind) is Annotated:
        return word(get_args(kind)[0])
    if isinstance(kind, str):
        return kind
    if (inner := get_args(kind)) and getattr(get_origin(kind), "__name__", "") in ("list", "Sequence"):
        return f"[{word(inner[0])}]"
    if kind is type(None):
        return "null"
    text = kind.__name__ if isinstance(kind, type) and not inner else str(kind)
    for package in ("legato.core.records.", "legato.core.states.", "collections.abc.", "datetime."):
        text = text.replace(package, "")
    return text.replace(" | None", " or null")


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
