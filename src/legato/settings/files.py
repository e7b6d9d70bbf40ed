"""Settings from files: profiles in `profiles.toml` of the home folder, and the project's `legato.toml` or `[tool.legato]` in pyproject.toml."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from legato.core.errors import UsageError
from legato.core.names import typed
from legato.core.spelling import close_to
from legato.settings import SETTINGS, Resolved, is_there, load

_NAMES = tuple(setting.name for setting in SETTINGS)


def from_files(environ: Mapping[str, str], home: Path, folder: Path) -> dict[str, Resolved]:
    """What the files say, the profile over the project."""
    found: dict[str, Resolved] = {}
    source, table = project_settings(folder)
    held_back = {} if is_trusted(home, folder, table) else guarded(table)
    found.update(_checked({name: value for name, value in table.items() if name not in held_back}, source))
    profiles = read_profiles(home)
    name = environ.get("LEGATO_PROFILE") or found.get("profile", Resolved("", "")).value or profiles.active
    if name and name in profiles.settings:
        found.update(_checked(profiles.settings[name], f"profile {name}"))
    elif name:
        raise UsageError(
            f"there is no profile '{name}'", hint=f"legato profile ls lists them; make it: legato profile create {typed(name)}"
        )
    return found


def project_settings(folder: Path) -> tuple[str, dict[str, Any]]:
    """What the project of a folder sets, and in which file: legato.toml, or pyproject.toml."""
    if is_there(folder / "legato.toml"):
        return "legato.toml", _only_settings(read_toml(folder / "legato.toml"), folder / "legato.toml", "settings")
    if is_there(folder / "pyproject.toml"):
        tools = _table(read_toml(folder / "pyproject.toml"), "tool", folder / "pyproject.toml")
        own = _table(tools, "legato", folder / "pyproject.toml")
        return "pyproject.toml", _only_settings(own, folder / "pyproject.toml", "tool.legato.settings")
    return "", {}


def _only_settings(own: dict[str, Any], path: Path, name: str) -> dict[str, Any]:
    """The table of settings out of what is ours in a file. Raises `UsageError` for anything beside it, which would have no effect."""
    for other in own:
        if other != "settings":
            is_setting = plain_name(other) in _NAMES
            hint = f"write it below [{name}]" if is_setting else f"settings stand in the table [{name}]"
            raise UsageError(f"{path} holds '{other}', which means nothing there", hint=hint)
    return _table(own, "settings", path)


def _table(tables: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """The table of that name; empty when there is none. Raises `UsageError` when something else has the name."""
    found = tables.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"{path}: '{name}' is to be a table, and is {found!r}", hint=f"write [{name}], and below it one line a value")
    return found


GUARDED = frozenset({"home", "profile", "api_url", "api_key", "database_url"})


def guarded(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a project that decide where data and keys go: they have no effect until somebody agrees (`legato config trust`)."""
    return {name: value for name, value in table.items() if plain_name(name) in GUARDED or plain_name(name).startswith("server_")}


def is_trusted(home: Path, folder: Path, table: Mapping[str, Any]) -> bool:
    """Whether somebody has agreed to what this folder's project sets, as it is now."""
    wanted = guarded(table)
    return not wanted or _trusted(home).get(str(folder.resolve())) == _fingerprint(wanted)


def trust(home: Path, folder: Path, *, withdraw: bool = False) -> dict[str, Any]:
    """Agree to what this folder's project sets, or no longer; returns that. A later change of it has to be agreed to again."""
    _, table = project_settings(folder)
    agreed, wanted = _trusted(home), guarded(table)
    if withdraw:
        agreed.pop(str(folder.resolve()), None)
    else:
        agreed[str(folder.resolve())] = _fingerprint(wanted)
    import json  # noqa: PLC0415 start-up time: most homes have no such file

    _write_private(home / "trusted.json", json.dumps(agreed, indent=1))
    return wanted


def _trusted(home: Path) -> dict[str, str]:
    try:
        import json  # noqa: PLC0415 start-up time: most homes have no such file

        data = json.loads((home / "trusted.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}


def _fingerprint(table: Mapping[str, Any]) -> str:
    import json  # noqa: PLC0415 start-up time: most homes have no such file

    text = json.dumps({name: str(value) for name, value in table.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_private(path: Path, text: str) -> None:
    """Replace a file, readable by its owner alone from its first byte on."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


class Profiles:
    """The profiles of a home folder: settings by profile name, and which is active."""

    def __init__(self, active: str, settings: dict[str, dict[str, str]]) -> None:
        self.active = active
        self.settings = settings


def read_profiles(home: Path) -> Profiles:
    """The profiles there are; none when the file is not there."""
    path = home / "profiles.toml"
    if not is_there(path):
        return Profiles("", {})
    data = read_toml(path)
    profiles = _table(data, "profiles", path)
    return Profiles(str(data.get("active", "")), {name: {k: str(v) for k, v in _table(profiles, name, path).items()} for name in profiles})


def write_profiles(home: Path, profiles: Profiles) -> None:
    """Replace the file, readable by its owner alone: a profile may hold a key."""
    lines = [f"active = {_quoted(profiles.active)}", ""]
    for name, settings in sorted(profiles.settings.items()):
        lines.append(f"[profiles.{_quoted(name)}]")
        lines += [f"{key} = {_quoted(value)}" for key, value in sorted(settings.items())]
        lines.append("")
    _write_private(home / "profiles.toml", "\n".join(lines))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's tables. Raises `UsageError` naming file and place."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="correct the file, or move it away") from None


OTHER_NAMES = {
    "orion_url": "api_url",
    "orion_api_url": "api_url",
    "orion_database_connection_url": "database_url",
    "logging_level": "log_level",
}
"""What other systems call some of our settings."""

RETIRED = dict.fromkeys(("ui_api_url", "orion_ui_api_url", "ui_url"), "the web UI finds the API of the server it came from")
"""Settings people know from elsewhere that have nothing left to say, and why."""


def plain_name(name: str) -> str:
    """A setting's name in our spelling, from any that people type (LEGATO_API_URL, api-url, PREFECT_ORION_URL). It may not exist."""
    plain = name.lower().replace("-", "_").removeprefix("legato_").removeprefix("prefect_")
    return OTHER_NAMES.get(plain, plain)


def check_name(name: str) -> str:
    """As `plain_name`, of a setting that exists. Raises `UsageError` with a suggestion."""
    plain = plain_name(name)
    if plain not in _NAMES:
        close = close_to(plain, _NAMES)
        raise UsageError(f"there is no setting '{name}'", hint=f"did you mean {close[0]}?" if close else f"settings: {', '.join(_NAMES)}")
    return plain


def check_value(name: str, value: str) -> str:
    """The value, if this setting may have it. Raises `UsageError`."""
    if value != value.encode("utf-8", "replace").decode():
        raise UsageError(f"{value!r} is no text that can be written into a file", hint="a setting's value is UTF-8")
    load({f"LEGATO_{name.upper()}": value, "LEGATO_HOME": value if name == "home" else os.devnull}, folder=Path(os.devnull))
    return value


def _checked(table: Mapping[str, Any], source: str) -> dict[str, Resolved]:
    return {
        check_name(name): Resolved(str(value).lower() if isinstance(value, bool) else str(value), source) for name, value in table.items()
    }


def _quoted(text: str) -> str:
    """A TOML basic string. JSON's escapes are TOML's, but for DEL, which TOML wants escaped."""
    import json  # noqa: PLC0415 start-up time: most homes have no such file

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
