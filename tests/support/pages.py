"""Runs the Python blocks of one documentation page, in order, as one program: `python pages.py PAGE`.

A block is what stands between ```python and ```; a block preceded by `<!-- no-run: reason -->` is left out. The blocks
share the namespace of `__main__`, as if a reader had typed them one after another, and keep their line numbers, so a
traceback and `inspect.getsource` point into the page.
"""

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})\s*(?P<language>[\w+-]*)")
NO_RUN = re.compile(r"^\s*<!--\s*no-run:(?P<reason>.*)-->\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """One Python block: its text, the page's line it starts at, and why it is not to be run, if it is not."""

    source: str
    first_line: int
    no_run: str | None


def python_blocks(page: str) -> Iterator[Block]:
    """The Python blocks of a page. Raises `ValueError` for a fence that is never closed or a no-run without a reason."""
    lines = page.splitlines()
    i, previous = 0, ""
    while i < len(lines):
        fence = FENCE.match(lines[i])
        if fence is None:
            previous = lines[i] if lines[i].strip() else previous
            i += 1
            continue
        end = closing_fence(lines, i, fence["ticks"])
        if fence["language"] in {"python", "py", "python3"}:
            yield Block(textwrap.dedent("\n".join(lines[i + 1 : end])), i + 2, reason_not_to_run(previous, i))
        i, previous = end + 1, ""


def closing_fence(lines: list[str], opening: int, ticks: str) -> int:
    for i in range(opening + 1, len(lines)):
        text = lines[i].strip()
        if text.startswith(ticks) and set(text) == {ticks[0]}:
            return i
    message = f"line {opening + 1}: this block is never closed"
    raise ValueError(message)


def reason_not_to_run(previous: str, opening: int) -> str | None:
    marked = NO_RUN.match(previous)
    if marked is None:
        return None
    reason = marked["reason"].strip()
    if not reason:
        message = f"line {opening + 1}: `no-run` needs a reason"
        raise ValueError(message)
    return reason


def run_page(path: Path) -> None:
    """Runs the page's blocks in a fresh `__main__`. What a block raises comes out as it is."""
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    for block in python_blocks(path.read_text(encoding="utf-8")):
        if block.no_run is None:
            source = "\n" * (block.first_line - 1) + block.source
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
