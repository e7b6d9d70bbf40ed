"""The grammar of the command line: nouns, verbs, the words that may stand for them, and the options that every command takes.

Nouns are imported when they are used. A verb declares its examples and exit codes; its help shows them, and a test walks the tree.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from legato.cli.failures import EXIT_CODES, MISUSED, Failure
from legato.cli.session import FORMATS, Session
from legato.core.foreign_words import about_command
from legato.core.spelling import did_you_mean

VERB_ALIASES = {"list": "ls", "delete": "rm", "remove": "rm", "inspect": "show", "get": "show"}

EVERYWHERE = ("output", "json_fields", "quiet", "verbose", "no_color", "no_input", "yes", "profile", "api_url")


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Note an option that every command takes, at whatever place of the line it stands."""
    session = ctx.find_object(Session)
    if session is None or value in (None, False, 0):
        return
    match param.name:
        case "output":
            session.output = value
        case "json_fields":
            session.fields = tuple(field.strip() for field in value.split(",") if field.strip())
            session.output = session.output if session.output == "jsonl" else "json"
        case "verbose":
            session.verbose += value
        case "no_color":
            session.use_no_color()
        case "profile":
            session.use_profile(value)
        case "api_url":
            session.use_api_url(value)
        case "quiet" | "no_input" | "yes":
            setattr(session, param.name, True)


def _everywhere() -> list[click.Parameter]:
    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_note, **attributes)

    return [
        option("-o", "--output", type=click.Choice(FORMATS), help="How to print it."),
        option("--json", "json_fields", metavar="FIELDS", help="These fields as JSON, comma-separated."),
        option("-q", "--quiet", is_flag=True, help="No hints, no progress."),
        option("-v", "--verbose", count=True, help="Say more; -vv shows tracebacks."),
        option("--no-color", is_flag=True, help="No colour (also: NO_COLOR)."),
        option("--no-input", is_flag=True, help="Never ask."),
        option("-y", "--yes", is_flag=True, help="Answer questions with yes."),
        option("--profile", metavar="NAME", help="Take this profile's settings."),
        option("--api-url", metavar="URL", help="Speak to this server."),
    ]


def _write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """A command's own options first; those of every command in short after them."""
    own: list[tuple[str, str]] = []
    everywhere: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and not isinstance(param, click.Argument):
            (everywhere if param.name in EVERYWHERE or "--help" in param.opts else own).append(record)
    if own:
        with formatter.section("Options"):
            formatter.write_dl(own)
    with formatter.section("Everywhere"):
        formatter.write_dl(everywhere)


class Amount(click.FloatRange):
    """A number between two others; what is no number (nan) lies between none."""

    name = "float range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


MAY_BE_EMPTY = frozenset({"description", "text", "body", "answer"})
"""Options for which no text at all is a value like others."""


NAMES = frozenset({"name", "tag", "tags"})
NAMING = frozenset({"create", "run", "start", "set"})
"""Verbs that give something a name or a tag: it stands in lists and logs, and is typed again. Others may have to speak of what has an odd one."""


def _was_typed(ctx: click.Context, param: click.Parameter) -> bool:
    return ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE


class Verb(click.Command):
    """A command: `examples` are whole command lines, `exits` the codes it ends with besides 0 and 2."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), exits: Sequence[int] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        self.exits = tuple(sorted({0, MISUSED, *exits}))
        self.params.extend(_everywhere())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it; an option that was given nothing (`--at "$WHEN"`, and WHEN is not set) is a mistake, and not an option left out."""
        rest = super().parse_args(ctx, args)
        for param in self.params:
            given = ctx.params.get(param.name or "")
            is_empty = given == "" or (isinstance(given, tuple) and "" in given)
            if is_empty and isinstance(param, click.Option) and param.name not in MAY_BE_EMPTY and _was_typed(ctx, param):
                raise click.BadParameter("it is empty. Give it a value, or leave it out", ctx=ctx, param=param)
            if param.name in NAMES and self.name in NAMING:
                for word in given if isinstance(given, tuple) else (given or "",):
                    if isinstance(word, str) and (not word.isprintable() or word != word.strip()):
                        raise click.BadParameter(
                            f"{word!r} begins or ends with a space, or holds characters that cannot be printed", ctx=ctx, param=param
                        )
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 click's signature
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), EXIT_CODES[code]) for code in self.exits])


class Noun(click.Group):
    """A group of verbs, whose other spellings are accepted and whose misspellings are answered."""

    command_class = Verb

    def __init__(self, *args: Any, aliases: Mapping[str, str] | None = None, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.aliases = {**VERB_ALIASES, **(aliases or {})}
        self.params.extend(_everywhere())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        return found or super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(self.commands)  # in the order they are written, which is the order people need them in

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if self.get_command(ctx, word) is None and not ctx.resilient_parsing:
            raise self.unknown(ctx, word)
        return super().resolve_command(ctx, args)

    def unknown(self, ctx: click.Context, word: str) -> Exception:
        """The error for a word that is no verb of this noun."""
        known = [name for name in self.list_commands(ctx) if not name.startswith(" ")]
        nouns = ctx.command_path.count(" ")  # the noun may have been typed by another name than its own
        instead = about_command((*([self.name or ""] * nouns), word)) if nouns < 2 else ""
        return Failure(
            f"there is no command '{ctx.command_path} {word}'",
            exit_code=MISUSED,
            hint=instead or did_you_mean(word, [*known, *self.aliases]) or f"its commands are {', '.join(known)}",
            next_step=f"Help: {ctx.command_path} --help",
            code="usage",
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        _write_options(self, ctx, formatter)


class Entry(NamedTuple):
    """A noun before it is imported: its module under legato.cli, its line in the help, and the section it stands in."""

    module: str
    help: str
    section: str


class Root(Noun):
    """The command `legato`: its nouns are known by name, and imported when used."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], noun_aliases: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.entries = entries
        self.aliases = dict(noun_aliases)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 click's signature
        entry = self.entries.get(self.aliases.get(cmd_name, cmd_name))
        if entry is None:
            return None
        command: click.Command = importlib.import_module(f"legato.cli.{entry.module}").command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:2] == ["start", "orion"]:  # the course notes' spelling
            args[:2] = ["server", "start"]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 click's signature
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            sections.setdefault(entry.section, []).append((name, entry.help))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)
