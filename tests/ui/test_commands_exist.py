"""Every command that a page or the server's hints show is one that `legato` has."""

import re
from pathlib import Path

import click
import pytest

from legato.cli.main import root

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(path for path in (ROOT / "ui/src").rglob("*") if path.suffix in (".ts", ".svelte") and not path.name.endswith(".test.ts")),
    *(path for path in (ROOT / "src/legato/server").rglob("*.py")),
    *(path for path in (ROOT / "src/legato/core").glob("why*.py")),
]
SHOWN = re.compile(r"\blegato ((?:[a-z][a-z-]*)(?: \$?\{[^}]*\}[^ ]*| [A-Za-z./-]+)*)")
FILE = re.compile(r"\.py\b")


def commands_in(text: str) -> list[list[str]]:
    """The words after `legato`, as far as they are literal."""
    found = []
    for match in SHOWN.finditer(text):
        before = text[max(0, match.start() - 12) : match.start()]
        if before.rstrip().endswith(("from", "import", "make")):
            continue
        found.append(match.group(1).split())
    return found


def problem_with(words: list[str]) -> str:
    """What is wrong with a command; empty when it exists."""
    at: click.Command = root
    context = click.Context(root)
    for word in words:
        if not isinstance(at, click.Group):
            return ""
        if word.startswith(("{", "$")):
            return ""  # made up at run time
        if FILE.search(word) or not re.fullmatch(r"[a-z][a-z-]*", word):
            return "" if at.name == "run" and FILE.search(word) else f"'{word}' is no command of {at.name}"
        after = at.get_command(context, word)
        if after is None:
            return f"'{word}' is no command of {at.name}"
        at = after
    return ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_are_shown_exist(path: Path) -> None:
    wrong = [f"legato {' '.join(words)}: {why}" for words in commands_in(path.read_text()) if (why := problem_with(words))]

    assert wrong == []


def test_the_looking_itself_finds_what_is_wrong() -> None:
    assert [problem_with(words) for words in commands_in("Try `legato run replay x` and `legato run hello.py`, `legato run logs x`")] == [
        "'replay' is no command of run",
        "",
        "",
    ]
