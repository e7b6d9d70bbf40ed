"""`legato profile`: named sets of settings, one of which is active."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from legato.cli.grammar import Noun
from legato.cli.session import Session
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.settings.files import Profiles

command = Noun("profile", help="Named sets of settings.")


@command.command("ls", examples=["legato profile ls", "legato profile ls -o json"])
@click.pass_obj
def ls(session: Session) -> None:
    """List profiles."""
    from legato.cli.output import Column, show_list
    from legato.settings.files import read_profiles

    profiles = read_profiles(session.settings_home)
    records = [
        {"name": name, "active": name == profiles.active, "settings": sorted(table)} for name, table in sorted(profiles.settings.items())
    ]
    columns = [
        Column("NAME", lambda one: one["name"]),
        Column("ACTIVE", lambda one: one["active"]),
        Column("SETTINGS", lambda one: one["settings"], yields=1),
    ]
    show_list(session, records, columns, name=lambda one: str(one["name"]), empty="No profiles yet. Make one: legato profile create NAME")


@command.command(
    "create", examples=["legato profile create prod", "legato profile create prod api_url=https://flows.example.com/api --use"], exits=(5,)
)
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--use", "is_used", is_flag=True, help="Make it the active one.")
@click.pass_obj
def create(session: Session, name: str, settings: tuple[str, ...], is_used: bool) -> None:
    """Make a profile."""
    from legato.cli.output import changed
    from legato.core.errors import Conflict, UsageError
    from legato.settings.files import check_name, check_value, read_profiles, write_profiles

    profiles = read_profiles(session.settings_home)
    if not name.isprintable() or not name or name != name.strip():
        raise UsageError(f"{name!r} cannot be a profile's name", hint="give a short name without spaces around it, such as prod")
    if name in profiles.settings:
        raise Conflict(f"there is a profile '{name}' already", hint=f"change it: legato --profile {typed(name)} config set NAME=VALUE")
    values = {}
    for word in settings:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"'{word}' has no value", hint="write NAME=VALUE")
        values[check_name(key)] = check_value(check_name(key), value)
    profiles.settings[name] = values
    if is_used:
        profiles.active = name
    write_profiles(session.settings_home, profiles)
    changed(session, _shown(name, profiles), f"Profile '{name}' was made{' and is active' if is_used else ''}", name=name)
    if not is_used:
        session.hint(f"Use it: legato profile use {typed(name)}")


@command.command("use", examples=["legato profile use prod"], exits=(3,))
@click.argument("name")
@click.pass_obj
def use(session: Session, name: str) -> None:
    """Make a profile the active one."""
    from legato.cli.output import changed
    from legato.core.errors import NotFound
    from legato.core.spelling import did_you_mean
    from legato.settings.files import read_profiles, write_profiles

    profiles = read_profiles(session.settings_home)
    if name not in profiles.settings:
        raise NotFound("profile", name, hint=did_you_mean(name, profiles.settings) or f"make it: legato profile create {typed(name)}")
    profiles.active = name
    write_profiles(session.settings_home, profiles)
    changed(session, _shown(name, profiles), f"Profile '{name}' is active", name=name)


@command.command("rm", examples=["legato profile rm prod --yes"], exits=(3,))
@click.argument("name")
@click.pass_obj
def rm(session: Session, name: str) -> None:
    """Remove a profile and its settings."""
    from legato.cli.output import changed
    from legato.core.errors import NotFound
    from legato.core.spelling import did_you_mean
    from legato.settings.files import read_profiles, write_profiles

    profiles = read_profiles(session.settings_home)
    if name not in profiles.settings:
        raise NotFound("profile", name, hint=did_you_mean(name, profiles.settings) or "legato profile ls lists them")
    session.confirm(f"Remove profile '{name}' with {len(profiles.settings[name])} settings?")
    gone = _shown(name, profiles)
    del profiles.settings[name]
    if profiles.active == name:
        profiles.active = ""
    write_profiles(session.settings_home, profiles)
    changed(session, gone, f"Profile '{name}' was removed", name=name)


def _shown(name: str, profiles: Profiles) -> dict[str, object]:
    """A profile for programs, its keys masked."""
    from legato.settings import SETTINGS

    secret = {setting.name for setting in SETTINGS if setting.secret}
    shown = {key: "********" if key in secret else value for key, value in profiles.settings.get(name, {}).items()}
    return {"name": name, "active": profiles.active == name, "settings": shown}
