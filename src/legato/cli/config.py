"""`legato config`: the settings in force, where each comes from, and changing them in the active profile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from legato.cli.grammar import Noun
from legato.cli.session import Session
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.settings.files import Profiles

command = Noun("config", help="Settings: what is in force, and where it comes from.")

FIRST_PROFILE = "default"
"""The profile that the first `config set` makes."""


@command.command("view", examples=["legato config view", "legato config view --sources -o json"])
@click.option("--sources", is_flag=True, help="Also what each setting means.")
@click.option("--show-secrets", is_flag=True, help="Print keys and passwords as they are.")
@click.pass_obj
def view(session: Session, sources: bool, show_secrets: bool) -> None:
    """Print every setting, its value, and where the value comes from."""
    from legato.cli.output import Column, show_list
    from legato.settings import SETTINGS, resolve

    found = resolve()
    records = []
    for setting in SETTINGS:
        value, source = found[setting.name].value, found[setting.name].source
        shown = "********" if setting.secret and value and not show_secrets else value
        records.append({"name": setting.name, "value": shown, "source": source, "meaning": setting.meaning})
    columns = [
        Column("SETTING", lambda one: one["name"]),
        Column("VALUE", lambda one: one["value"]),
        Column("FROM", lambda one: one["source"], yields=1),
        *([Column("MEANING", lambda one: one["meaning"], yields=2)] if sources else []),
    ]
    show_list(session, records, columns, name=lambda one: str(one["name"]), empty="")


command.aliases.update({"ls": "view", "show": "view", "list": "view"})


@command.command(
    "set",
    examples=[
        "legato config set api_url=http://127.0.0.1:4200/api",
        "legato config set log_level DEBUG",
        "legato config set api_key=- < key.txt",
    ],
)
@click.argument("words", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.pass_obj
def set_(session: Session, words: tuple[str, ...]) -> None:
    """Write settings into the active profile; one named 'default' is made when there is none.

    The value `-` is read from standard input: what is typed on a command line can be seen in the list of processes.
    """
    from legato.cli.output import show_json
    from legato.settings.files import check_value, write_profiles

    profiles, name = _active(session)
    done: list[dict[str, object]] = []
    for given, written in _pairs(words):
        value = _from_stdin(given) if written == "-" else written
        setting = _name_of(session, given)
        if setting is None:
            continue
        check_value(setting, value)
        profiles.settings.setdefault(name, {})[setting] = value
        done.append({"name": setting, "profile": name, "set": True})
        if not session.wants_json:
            session.say(f"{setting} is set in profile '{name}'")
    write_profiles(session.settings_home, profiles)
    if session.wants_json:
        show_json(session, done)
    _say_what_wins(session, [given for given, _ in _pairs(words)])


@command.command("unset", examples=["legato config unset api_url"])
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def unset(session: Session, names: tuple[str, ...]) -> None:
    """Take settings out of the active profile: their defaults are in force again."""
    from legato.cli.output import show_json
    from legato.settings.files import write_profiles

    profiles, profile = _active(session)
    done: list[dict[str, object]] = []
    for given in names:
        is_there = given in profiles.settings.get(profile, {})  # also a name that is no setting: then this is how to mend it
        setting = given if is_there else _name_of(session, given)
        if setting is None:
            continue
        was_set = profiles.settings.get(profile, {}).pop(setting, None) is not None
        done.append({"name": setting, "profile": profile, "set": False})
        if not session.wants_json:
            session.say(f"{setting} is unset in profile '{profile}'" if was_set else f"{setting} was not set in profile '{profile}'")
    write_profiles(session.settings_home, profiles)
    if session.wants_json:
        show_json(session, done)
    _say_what_wins(session, names)


@command.command("validate", examples=["legato config validate"])
@click.pass_obj
def validate(session: Session) -> None:
    """Check every setting, in files and in the environment, and say what is wrong."""
    from pathlib import Path

    from legato.settings import held_back, load, unknown_variables
    from legato.settings.files import check_name, check_value, guarded, project_settings

    load()
    waiting = held_back()
    if waiting:  # nothing of it is in force; it is wrong all the same
        for name, value in guarded(project_settings(Path.cwd())[1]).items():
            check_value(check_name(name), str(value))
    strange = unknown_variables()
    if session.wants_json:
        from legato.cli.output import show_json

        show_json(session, {"valid": True, "unknown": [name for name, _ in strange]})
        return
    for name, hint in strange:
        session.say(f"{name} is no setting of Legato's, and has no effect. {hint}".rstrip())
    if waiting:
        session.say(waiting)
    session.say("All settings can be read." if not strange else "All other settings can be read.")


@command.command("trust", examples=["legato config trust", "legato config trust --withdraw"])
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False))
@click.option("--withdraw", is_flag=True, help="Agree no longer.")
@click.pass_obj
def trust(session: Session, folder: str | None, withdraw: bool) -> None:
    """Agree that the project of this folder sets addresses, the home folder or keys. Without that, what it says of them has no effect."""
    from pathlib import Path

    from legato.cli.output import show_json
    from legato.settings.files import guarded, project_settings
    from legato.settings.files import trust as agree

    place = Path(folder or ".").absolute()
    source, table = project_settings(place)
    wanted = guarded(table)
    if not withdraw and wanted:
        said = ", ".join(f"{name} = {'********' if 'key' in name else value}" for name, value in wanted.items())
        session.confirm(f"{place / source} sets {said}. Let it?")
    if wanted or withdraw:
        agree(session.settings_home, place, withdraw=withdraw)
    if session.wants_json:
        show_json(session, {"folder": str(place), "file": source, "settings": sorted(wanted), "trusted": bool(wanted) and not withdraw})
    elif not wanted:
        session.say(f"nothing in {place} asks for it: no project file there sets an address, a home folder or a key")
    else:
        session.say(f"{place / source} {'no longer sets' if withdraw else 'may set'} {', '.join(sorted(wanted))}")


def _active(session: Session) -> tuple[Profiles, str]:
    """The profiles, and the name of the one to write into. Does not look at values: one that is wrong must be mendable from here."""
    from legato.core.errors import UsageError
    from legato.settings.files import read_profiles

    profiles = read_profiles(session.settings_home)
    asked = os.environ.get("LEGATO_PROFILE") or profiles.active
    if asked and asked not in profiles.settings:
        raise UsageError(f"there is no profile '{asked}'", hint=f"make it: legato profile create {typed(asked)}")
    name = asked or FIRST_PROFILE
    if not profiles.active and not profiles.settings:
        profiles.active = name
    return profiles, name


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values from `a=1 b=2`, or from `a 1`."""
    from legato.core.errors import UsageError

    if len(words) == 2 and "=" not in words[0]:
        return [(words[0], words[1])]
    for word in words:
        if "=" not in word:
            raise UsageError(f"'{word}' has no value", hint=f"write legato config set {typed(word)}=VALUE")
    return [(word.partition("=")[0], word.partition("=")[2]) for word in words]


def _from_stdin(name: str) -> str:
    """One line; a person who types it does not see it."""
    import sys

    from legato.core.errors import UsageError

    if not sys.stdin.isatty():
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise UsageError(
                f"nothing came on standard input for {name}", hint=f"hand it the file that holds it, with  {typed(name)}=- < FILE"
            )
        return line
    import getpass

    return getpass.getpass(f"{name}: ")


def _name_of(session: Session, typed: str) -> str | None:
    """Our name of a setting in whatever spelling; None for one that is no longer needed."""
    from legato.settings.files import RETIRED, check_name, plain_name

    if plain_name(typed) in RETIRED:
        session.say(f"{typed} is no longer needed: {RETIRED[plain_name(typed)]}")
        return None
    name = check_name(typed)
    if typed.upper().startswith("PREFECT_"):
        session.say(f"{typed} is called {name} here")
    return name


def _say_what_wins(session: Session, typed: Sequence[str]) -> None:
    """An environment variable beats the profile: say so before somebody wonders."""
    from legato.settings.files import plain_name

    for name in typed:
        variable = f"LEGATO_{plain_name(name).upper()}"
        if os.environ.get(variable):
            session.hint(f"{variable} is set in the environment, and beats the profile")
