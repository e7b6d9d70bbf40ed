"""Settings: one frozen tree, read once at a process's root and passed down as plain values.

Environment beats profile beats project file beats default. `resolve` says for each setting where its value comes from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from legato.core.errors import UsageError


class Setting(NamedTuple):
    """One setting: its name (environment: LEGATO_ + upper case), default as text, what it means with unit and reason, and whether it is secret."""

    name: str
    default: str
    meaning: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("home", "~/.legato", "folder of the embedded database, results, bundles and profiles"),
    Setting("profile", "", "which profile of profiles.toml is in force; empty: the one chosen by `legato profile use`"),
    Setting("api_url", "", "a server's API, such as http://127.0.0.1:4200/api; empty: the embedded database"),
    Setting("api_key", "", "what this program shows to get into a server that asks for it", secret=True),
    Setting("database_url", "", "the database: sqlite:////path.db or postgresql://…; empty: legato.db in the home folder", secret=True),
    Setting("log_level", "INFO", "what is printed and stored of a run's log: DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    Setting(
        "extra_loggers",
        "",
        "loggers of other libraries, separated by commas, whose lines go to the run's log as well: sqlalchemy.engine,httpx",
    ),
    Setting("persist_results", "false", "store the results of all tasks, so that a run can go on where it stopped"),
    Setting("refresh_cache", "false", "run every cached task and replace what is stored; a task's own refresh_cache option comes first"),
    Setting("server_host", "127.0.0.1", "address the server listens on; anything but loopback needs server_api_key"),
    Setting("server_port", "4200", "port the server listens on"),
    Setting("server_api_key", "", "key that programs must show to the server; empty: loopback only", secret=True),
    Setting("tracebacks", "short", "`short` shows your frames only, `full` Legato's as well"),
)


class Settings(NamedTuple):
    """The settings in force, with their types."""

    home: Path
    api_url: str
    api_key: str
    database_url: str
    log_level: str
    extra_loggers: tuple[str, ...]
    persist_results: bool
    refresh_cache: bool
    tracebacks: str
    server_host: str
    server_port: int
    server_api_key: str

    @property
    def store_url(self) -> str:
        """Where runs are kept: the server if one is set, else the database."""
        return self.api_url or self.database_url


class Resolved(NamedTuple):
    """A setting's value as text, and where it comes from ("default", "LEGATO_API_URL", "profile prod", "legato.toml")."""

    value: str
    source: str


def resolve(environ: Mapping[str, str] | None = None, *, folder: Path | None = None) -> dict[str, Resolved]:
    """Every setting's value and source. Raises `UsageError` for a file that cannot be read or names a setting that does not exist."""
    environ = os.environ if environ is None else environ
    found = {setting.name: Resolved(setting.default, "default") for setting in SETTINGS}
    found.update(_from_files(environ, folder or Path.cwd()))
    for setting in SETTINGS:
        variable = f"LEGATO_{setting.name.upper()}"
        if f"{variable}_FILE" in environ:
            found[setting.name] = Resolved(_secret_file(variable, environ[f"{variable}_FILE"]), f"{variable}_FILE")
        if environ.get(variable):
            found[setting.name] = Resolved(environ[variable], variable)
    return found


def load(environ: Mapping[str, str] | None = None, *, folder: Path | None = None) -> Settings:
    """The settings in force."""
    values = {name: resolved.value for name, resolved in resolve(environ, folder=folder).items()}
    home = Path(values["home"]).expanduser().absolute()
    return Settings(
        home=home,
        api_url=_http(values["api_url"]),
        api_key=values["api_key"],
        database_url=values["database_url"] or f"sqlite:///{home / 'legato.db'}",
        log_level=_one_of("log_level", values["log_level"].upper(), ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
        extra_loggers=tuple(name.strip() for name in values["extra_loggers"].split(",") if name.strip()),
        persist_results=_one_of("persist_results", values["persist_results"].lower(), ("true", "false", "1", "0")) in ("true", "1"),
        refresh_cache=_one_of("refresh_cache", values["refresh_cache"].lower(), ("true", "false", "1", "0")) in ("true", "1"),
        tracebacks=_one_of("tracebacks", values["tracebacks"], ("short", "full")),
        server_host=values["server_host"],
        server_port=_port(values["server_port"]),
        server_api_key=values["server_api_key"],
    )


def as_text(value: object) -> str:
    """A setting's value as it is written in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """LEGATO_… variables that name no setting, each with what was probably meant. They have no effect, which nobody notices otherwise."""
    known = {f"LEGATO_{setting.name.upper()}" for setting in SETTINGS}
    known |= {f"{name}_FILE" for name in known} | {RESOLVED}
    strange = [name for name in (os.environ if environ is None else environ) if name.startswith("LEGATO_") and name not in known]
    strange = [name for name in sorted(strange) if not name.startswith(("LEGATO_TEST_", "LEGATO_CRASH_"))]
    if not strange:
        return []
    import difflib  # noqa: PLC0415 start-up time: wanted only where something is strange

    close = {name: difflib.get_close_matches(name, known, n=1) for name in strange}
    return [(name, f"Did you mean {close[name][0]}?" if close[name] else "") for name in strange]


RESOLVED = "LEGATO_RESOLVED"
"""Set for flow processes that an agent starts: the agent has resolved the settings and put them all into the environment."""


def _from_files(environ: Mapping[str, str], folder: Path) -> dict[str, Resolved]:
    if environ.get(RESOLVED):
        return {}
    home = Path(environ.get("LEGATO_HOME", "~/.legato")).expanduser()
    files = (home / "profiles.toml", folder / "legato.toml", folder / "pyproject.toml")
    if not environ.get("LEGATO_PROFILE") and not any(path.exists() for path in files):
        return {}
    from legato.settings.files import from_files  # noqa: PLC0415 start-up time: reading TOML is only worth it where there is some

    return from_files(environ, home, folder)


def _secret_file(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(
            f"{variable}_FILE names a file that cannot be read: {error}", hint=f"correct the path, or set {variable}"
        ) from None


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(f"setting {name} is '{value}'", hint=f"use one of {', '.join(allowed)}")
    return value


def _http(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise UsageError(f"setting api_url is '{url}'", hint="use an address such as http://127.0.0.1:4200/api")
    return url.rstrip("/")


def _port(value: str) -> int:
    if not value.isdigit() or not 0 <= int(value) <= 65535:
        raise UsageError(f"setting server_port is '{value}'", hint="use a number from 0 (any free port) to 65535")
    return int(value)
