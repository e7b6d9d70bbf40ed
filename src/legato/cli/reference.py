"""The reference pages of the command line and of the settings, written from what the program itself knows.

`python -m legato.cli.reference FOLDER` writes them; a test holds the pages in the repository against it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from legato.cli.failures import EXIT_CODES
from legato.cli.grammar import EVERYWHERE, Noun, Verb
from legato.cli.main import ENTRIES, NOUN_ALIASES, root
from legato.cli.run import FILE_VERB
from legato.settings import SETTINGS

CLI_INTRODUCTION = """# The command line

`legato NOUN VERB`. Nouns are singular; plurals are accepted, and `ls` = `list`, `rm` = `delete`, `show` = `inspect`.
`legato NOUN VERB --help` shows what stands here. `legato` alone says what is running.

**What is meant.** Wherever a run, deployment or queue is asked for, its name, its whole id, or the beginning of its id (four characters or
more, if no other has it) will do. A deployment's name is `flow/name`. What could be several things is answered with the list of them.

**Output.** `-o table` (default), `wide`, `json`, `jsonl` (one object a line), `csv`, `name`. `--json id,state.name` picks fields. On a terminal,
tables are aligned and times are relative; elsewhere lines are tab-separated below a line of titles, with full values, ISO 8601 times in UTC and
no colour. JSON is the API's own: snake_case, durations in seconds, fields equal to their default left out (not with `--json`).

**Streams.** Data goes to standard output; hints, progress and errors go to standard error.

**Errors** say what happened, why or what was probably meant, and what to type next; with `-o json` they are one JSON object
(`code`, `message`, `hint`, `exit_code`). A mistake of Legato's own is one line and a file with the traceback; `-vv` shows it at once.

**Which store.** The server of setting [`api_url`](settings.md#api_url) (or `--api-url`), else the embedded database. In embedded mode each command
first looks for runs whose process is gone, so that none of them looks alive.
"""

SETTINGS_INTRODUCTION = """# Settings

Environment beats profile beats project file beats default; `legato config view` says where each value comes from.

| where | how |
|---|---|
| environment | `LEGATO_` and the name in upper case, such as `LEGATO_LOG_LEVEL=DEBUG`; `LEGATO_API_KEY_FILE=/run/secrets/key` reads a value from a file |
| profile | `legato config set log_level=DEBUG` writes into the active profile, in `profiles.toml` of the home folder; `--profile NAME` takes another |
| project | `legato.toml` in the working folder, table `[settings]`; or `pyproject.toml`, table `[tool.legato.settings]` |

A name that is no setting is an error in a file, and pointed out by `legato config validate` in the environment. Durations and sizes carry
their unit in the text below.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command of the tree, with the line that leads to it, in the order of the help."""
    top = click.Context(root, info_name="legato", **root.context_settings)
    for noun in root.list_commands(top):
        found = root.get_command(top, noun)
        assert found is not None
        yield f"legato {noun}", found
        if noun == "run" and isinstance(found, Noun):
            yield "legato run FILE", found.commands[FILE_VERB]
        if isinstance(found, Noun):
            inside = click.Context(found, info_name=noun, parent=top)
            for verb in found.list_commands(inside):
                command = found.get_command(inside, verb)
                assert command is not None
                yield f"legato {noun} {verb}", command


def cli_page() -> str:
    """docs/reference/cli.md."""
    parts = [CLI_INTRODUCTION, _everywhere(), _exit_codes()]
    for line, command in commands():
        parts.append(_section(line, command))
    return "\n".join(parts)


def _everywhere() -> str:
    verb = next(command for _, command in commands() if isinstance(command, Verb))
    rows = _option_rows(verb, everywhere=True)
    return "\n".join(
        ["## Options of every command", "", "They may stand anywhere on the line.", "", "| option | |", "|---|---|", *rows, ""]
    )


def _exit_codes() -> str:
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *rows, ""])


def _section(line: str, command: click.Command) -> str:
    if isinstance(command, Noun):
        noun = line.removeprefix("legato ")
        others = sorted(name for name, meant in NOUN_ALIASES.items() if meant == noun)
        also = f" Also spelled {', '.join(f'`{name}`' for name in others)}." if others else ""
        return f"## {line}\n\n{ENTRIES[noun].help}{also}\n"
    assert isinstance(command, Verb)
    context = click.Context(command, info_name=line)
    arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
    own = "" if line.endswith("FILE") else " ".join(arguments)
    level = "##" if line.count(" ") == 1 else "###"
    lines = [f"{level} {line} {own}".rstrip(), "", inspect.cleandoc(command.help or ""), ""]
    rows = _option_rows(command, everywhere=False)
    if rows:
        lines += ["| option | |", "|---|---|", *rows, ""]
    lines += ["```console", *(f"$ {example}" for example in command.examples), "```", ""]
    lines += [f"Exit codes: {', '.join(str(code) for code in command.exits)}.", ""]
    return "\n".join(lines)


def _option_rows(command: click.Command, *, everywhere: bool) -> list[str]:
    context = click.Context(command, info_name="legato")
    rows = []
    for param in command.params:
        record = None if isinstance(param, click.Argument) else param.get_help_record(context)
        if record is not None and (param.name in EVERYWHERE) == everywhere:
            names, meaning = (text.replace("|", "\\|") for text in record)
            rows.append(f"| `{names}` | {' '.join(meaning.split())} |")
    return rows


def settings_page() -> str:
    """docs/reference/settings.md."""
    parts = [SETTINGS_INTRODUCTION]
    for setting in SETTINGS:
        default = f"`{setting.default}`" if setting.default else "empty"
        secret = " Secret: shown as `********`, and never logged." if setting.secret else ""
        meaning = setting.meaning[0].upper() + setting.meaning[1:]
        parts.append(f"## {setting.name}\n\n{meaning}.{secret}\n\nDefault: {default}. Environment: `LEGATO_{setting.name.upper()}`.\n")
    return "\n".join(parts)


def main() -> None:
    """Write both pages into the folder that is named."""
    folder = Path(sys.argv[1])
    (folder / "cli.md").write_text(cli_page(), encoding="utf-8")
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
