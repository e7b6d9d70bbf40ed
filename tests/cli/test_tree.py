"""Every command explains itself, and no help loads what it does not need."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.cli.failures import EXIT_CODES
from legato.cli.grammar import Noun, Verb
from legato.cli.main import root
from legato.cli.reference import cli_page, commands, settings_page
from legato.core.names import typed

from tests.cli.conftest import Command

TREE = dict(commands())
VERBS = {line: command for line, command in TREE.items() if not isinstance(command, Noun)}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.parametrize(("page", "written"), [("cli.md", cli_page), ("settings.md", settings_page)])
def test_the_reference_is_what_the_program_says(page: str, written: Callable[[], str]) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == written(), "write it anew: python -m legato.cli.reference docs/reference"


@pytest.mark.parametrize("line", VERBS)
def test_a_command_has_help_with_an_example_and_its_exit_codes(line: str) -> None:
    command = VERBS[line]
    assert isinstance(command, Verb)

    help_ = command.get_help(click.Context(command, info_name=line))

    assert command.help
    assert command.examples
    assert set(command.exits) <= EXIT_CODES.keys()
    assert "Examples:" in help_
    assert "Exit codes:" in help_
    for example in command.examples:
        words = shlex.split(example)
        assert words[0] == "legato"
        assert root.get_command(click.Context(root), words[1]) is not None


@pytest.mark.parametrize("line", [line for line, command in TREE.items() if isinstance(command, Noun)])
def test_a_noun_has_help_with_its_verbs(line: str, legato: Command) -> None:
    answer = legato(*line.split()[1:], "--help")

    assert answer.code == 0
    assert "Commands:" in answer.out


@pytest.mark.parametrize("noun", ["runs", "flow-run", "queue", "work-queues", "deployments", "agents", "profiles"])
def test_plurals_and_other_names_of_nouns_are_accepted(noun: str, legato: Command) -> None:
    assert legato(noun, "list").code == 0


def modules_after(*arguments: str) -> set[str]:
    code = f"import sys\nfrom legato.cli.main import run\nrun({list(arguments)!r})\nprint('\\n'.join(['MODULES', *sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.rpartition("MODULES\n")[2].split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("run", "--help"), ("deployment", "create", "--help"), ("up", "--help")]
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    loaded = modules_after(*arguments)

    heavy = {
        "legato.core.records",
        "urllib3",
        "pydantic",
        "asyncio",
        "sqlite3",
        "logging",
        "rich",
        "litestar",
        "uvicorn",
        "cronsim",
        "dateutil",
    }
    ours = {name for name in loaded if name.startswith("legato.")}
    assert loaded & heavy == set()
    assert not any(name.startswith(("legato.engine", "legato.sdk", "legato.store", "legato.server", "legato.agent")) for name in ours)
    assert len(loaded) < 150


def test_a_list_loads_neither_the_engine_nor_a_server_nor_an_http_client() -> None:
    loaded = modules_after("run", "ls")

    assert loaded & {"urllib3", "pydantic", "asyncio", "litestar", "uvicorn", "rich", "legato.sdk.calls", "legato.engine.shell"} == set()
    assert len(loaded) < 250


SOURCE = Path(__file__).resolve().parents[2] / "src" / "legato"
IN_A_COMMAND = re.compile(rf"legato (?:--profile|{'|'.join({line.split()[1] for line in TREE})})\b[^;:()?]*$")
"""Text that ends within a command line which somebody is told to type."""

PLAIN = {"port + 1", "(limit or 0) + 1", "shell", "WHERE[shell]", "how", "limit * 2", "number", "close[0]"}
"""What may stand in one as it is: numbers, and words of ours."""


def unquoted(tree: ast.AST) -> Iterator[str]:
    """What is put into a command as it is, though a shell might take it apart."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            before = ""
            for part in node.values:
                if isinstance(part, ast.Constant):
                    before += str(part.value)
                elif isinstance(part, ast.FormattedValue):
                    text = ast.unparse(part.value)
                    if IN_A_COMMAND.search(before) and not text.startswith("typed(") and not text.endswith(".typed") and text not in PLAIN:
                        yield f"line {node.lineno}: {text} in {ast.unparse(node)}"
                    before += "x"


def test_commands_that_people_are_told_to_type_can_be_typed_as_they_stand() -> None:
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in SOURCE.rglob("*.py")}

    assert [f"{file.relative_to(SOURCE)}, {one}" for file, tree in trees.items() for one in unquoted(tree)] == []


@given(st.text(min_size=1))
def test_a_typed_name_is_one_word_of_a_command_line(name: str) -> None:
    assert shlex.split(f"legato run show {typed(name)} --json", posix=True) == ["legato", "run", "show", name, "--json"]
    assert shlex.split(typed(name) + "/" + typed(name)) == [f"{name}/{name}"]
