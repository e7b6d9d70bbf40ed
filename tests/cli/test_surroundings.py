"""What a command says when what it stands on is not as usual: its folder, its streams, its home, its encoding; and values beside the range."""

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.cli.grammar import MAY_BE_EMPTY
from legato.cli.parameters import as_json_or_text
from legato.cli.session import sentence
from legato.cli.times import parse_duration, parse_since
from legato.core.errors import UsageError
from legato.logs.console import in_a_line

from tests.cli.conftest import Command
from tests.cli.test_tree import VERBS

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
COMMANDS = ["", "run ls", "doctor", "deployment create x.py", "run x.py", "config view", "variable get x"]


def started(script: str, folder: Path, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", "-c", script.replace("LEGATO", f"{sys.executable} -m legato.cli")],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_gone_is_no_mistake_of_ours(command: str, tmp_path: Path) -> None:
    code, said = started(f"mkdir gone; cd gone; rmdir ../gone; LEGATO {command}", tmp_path, LEGATO_HOME=str(tmp_path / "home"))

    assert "Traceback" not in said
    assert "made a mistake" not in said
    assert code in (0, 2, 3)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("home", ["~no-such-user/x", "/dev/null/x", "x" * 5000])
def test_a_home_that_cannot_be_is_told_of(command: str, home: str, tmp_path: Path) -> None:
    code, said = started(f"LEGATO {command}", tmp_path, LEGATO_HOME=home)

    assert "Traceback" not in said
    assert "made a mistake" not in said
    assert code != 0 or command in ("", "config view")


@pytest.mark.parametrize("command", ["", "run ls", "run ls -o json", "run ls -o csv", "config view -o csv", "version"])
@pytest.mark.parametrize("stream", [">&-", "2>&-", "<&-", "> /dev/full"])
def test_a_stream_that_is_closed_or_full_is_no_mistake_of_ours(command: str, stream: str, tmp_path: Path) -> None:
    code, said = started(f"LEGATO {command} {stream}", tmp_path, LEGATO_HOME=str(tmp_path / "home"))

    assert "Traceback" not in said
    assert "made a mistake" not in said
    assert code == 0 or "cannot be written" in said or stream == "> /dev/full"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_names_that_the_encoding_has_no_sign_for_are_printed_and_json_stays_json(encoding: str, output: str, tmp_path: Path) -> None:
    environ = {"LEGATO_HOME": str(tmp_path / "home"), "PYTHONIOENCODING": encoding}
    text = json.dumps("große 漢字 🎼")

    assert started(f"LEGATO variable set song '{text}'", tmp_path, LEGATO_HOME=environ["LEGATO_HOME"])[0] == 0
    done = subprocess.run(
        [sys.executable, "-m", "legato.cli", "variable", "ls", "-o", output], cwd=tmp_path, env=environ, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    if output == "json":
        assert json.loads(done.stdout.decode(encoding))[0]["value"] == "große 漢字 🎼"


def test_legato_alone_says_what_is_wrong_as_its_commands_do(legato: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGATO_LOG_LEVEL", "loud")

    assert legato().code == legato("run", "ls").code == 2


def options() -> list[tuple[str, str, bool]]:
    """Every option that takes text, of every command."""
    return [
        (line, param.opts[-1], param.multiple)
        for line, command in VERBS.items()
        for param in command.params
        if isinstance(param, click.Option)
        and isinstance(param.type, click.types.StringParamType)
        and param.expose_value
        and not param.is_flag
        if param.name not in MAY_BE_EMPTY
    ]


@pytest.mark.parametrize(("line", "option", "multiple"), options())
def test_an_option_that_was_given_nothing_is_not_taken_for_one_that_was_left_out(
    line: str, option: str, multiple: bool, legato: Command
) -> None:
    command = VERBS[line]
    words = ["1" for param in command.params if isinstance(param, click.Argument) and param.required]

    answer = legato(*line.split()[1:], *words, option, "")

    assert answer.code == 2, answer
    assert "is empty" in answer.err or multiple, answer


@given(st.one_of(st.text(), st.from_regex(r"\d{1,400}(\.\d{1,30})?[smhdw]?", fullmatch=True)))
def test_whatever_is_given_as_a_time_is_one_near_enough_or_is_refused(text: str) -> None:
    try:
        length = parse_duration(text)
        since = parse_since(text, NOON)
    except UsageError:
        return

    assert timedelta() <= length <= timedelta(days=36_600)
    assert since == NOON - length


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(JSON.map(json.dumps) | st.text() | st.sampled_from(["1e999", "[-1e400]", '{"a": NaN}', "Infinity", "[" * 100_000]))
def test_a_value_that_was_typed_is_kept_as_it_is_or_refused(text: str) -> None:
    try:
        value = as_json_or_text(text)
    except UsageError:
        return

    assert value == text or json.loads(json.dumps(value, allow_nan=False)) == value
    assert not (isinstance(value, float) and not math.isfinite(value))


def test_a_sentence_that_begins_with_a_name_keeps_it() -> None:
    assert sentence("the key was not shown") == "The key was not shown"
    assert sentence("legato.toml of this folder") == "legato.toml of this folder"


@pytest.mark.parametrize("hours", ["nan", "inf", "1e300", "-1"])
def test_hours_are_a_number_of_hours(hours: str, legato: Command) -> None:
    assert legato("work-queue", "preview", "default", "--hours", hours).code == 2


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", " a", "a ", "\udcff", "a\u202eb"])
@pytest.mark.parametrize(
    "line",
    [
        "work-queue create NAME",
        "work-queue create q -t NAME",
        "limit create NAME 1",
        "agent start q --create --once --name NAME",
        "profile create NAME",
    ],
)
def test_a_name_that_could_not_be_typed_again_is_refused_where_it_is_given(name: str, line: str, legato: Command) -> None:
    answer = legato(*(name if word == "NAME" else word for word in line.split()))

    assert answer.code == 2, answer
    assert "made a mistake" not in answer.err


@given(st.text())
def test_a_line_with_anybodys_name_in_it_stays_one_line_that_only_prints(name: str) -> None:
    assert in_a_line(f"took '{name}'").isprintable()
    assert in_a_line("took 'große 漢字'") == "took 'große 漢字'"
