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
    Setting(
        "server_allowed_hosts",
        "",
        "names besides its own that the server answers to, separated by commas: flows.example.com,*.internal; others are refused (421)",
    ),
    Setting("server_base_path", "", "path under which a proxy serves it, where the proxy hands the path on: /tools/flows"),
    Setting("server_public_url", "", "the address people open, where it is another than the server's own: https://flows.example.com"),
    Setting("server_trusted_proxies", "127.0.0.0/8,::1", "addresses or networks of proxies whose X-Forwarded headers are believed"),
    Setting("server_access_log", "false", "print a line for each request"),
    Setting("server_log_format", "text", "`text` or `json`: how the server prints its log events"),
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
    server_allowed_hosts: tuple[str, ...]
    server_base_path: str
    server_public_url: str
    server_trusted_proxies: tuple[str, ...]
    server_access_log: bool
    server_log_format: str
    withheld: str

    @property
    def store_url(self) -> str:
        """Where runs are kept: the server if one is set, else the database."""
        return self.api_url or self.database_url


class Resolved(NamedTuple):
    """A setting's value as text, and where it comes from ("default", "LEGATO_API_URL", "profile prod", "legato.toml")."""

    value: str
    source: str
    beats: str = ""
    """The value that the profile has for it, where something else beats the profile."""


def resolve(environ: Mapping[str, str] | None = None, *, folder: Path | None = None) -> dict[str, Resolved]:
    """Every setting's value and source. Raises `UsageError` for a file that cannot be read or names a setting that does not exist."""
    environ = os.environ if environ is None else environ
    found = {setting.name: Resolved(setting.default, "default") for setting in SETTINGS}
    found.update(_from_files(environ, folder or _here()))
    for setting in SETTINGS:
        variable = f"LEGATO_{setting.name.upper()}"
        if f"{variable}_FILE" in environ:
            found[setting.name] = Resolved(_secret_file(variable, environ[f"{variable}_FILE"]), f"{variable}_FILE")
        if environ.get(variable) or (variable in environ and setting.name in SWITCHED_OFF_BY_NOTHING):
            before = found[setting.name]
            beaten = before.value if before.source.startswith("profile ") else before.beats
            found[setting.name] = Resolved(environ[variable], variable, beaten)
    return found


SWITCHED_OFF_BY_NOTHING = frozenset({"api_url"})
"""`LEGATO_API_URL=` says: no server, whatever the profile says. Of others an empty variable means that nothing is said."""


def withheld_key(found: Mapping[str, Resolved]) -> str:
    """Why the key is not shown to this server; "" when it may be. A key of a profile belongs to the address it was stored with."""
    key, url = found["api_key"], found["api_url"]
    if not key.value or not url.value or key.source == "default" or not key.source.startswith("profile ") or key.source == url.source:
        return ""
    if url.beats.rstrip("/") == url.value.rstrip("/"):
        return ""
    return f"the key of {key.source} was not shown: it belongs to that profile's address, and api_url comes from {url.source}"


def load(environ: Mapping[str, str] | None = None, *, folder: Path | None = None) -> Settings:
    """The settings in force."""
    found = resolve(environ, folder=folder)
    withheld = withheld_key(found)
    values = {name: resolved.value for name, resolved in found.items()}
    home = folder_named("home", values["home"])
    return Settings(
        home=home,
        api_url=_http(values["api_url"]),
        api_key="" if withheld else values["api_key"],
        database_url=values["database_url"] or f"sqlite:///{home / 'legato.db'}",
        log_level=_one_of("log_level", values["log_level"].upper(), ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
        extra_loggers=_list(values["extra_loggers"]),
        persist_results=_yes("persist_results", values["persist_results"]),
        refresh_cache=_yes("refresh_cache", values["refresh_cache"]),
        tracebacks=_one_of("tracebacks", values["tracebacks"], ("short", "full")),
        server_host=values["server_host"],
        server_port=_port(values["server_port"]),
        server_api_key=values["server_api_key"],
        server_allowed_hosts=_list(values["server_allowed_hosts"]),
        server_base_path=_base_path(values["server_base_path"]),
        server_public_url=_http(values["server_public_url"], "server_public_url"),
        server_trusted_proxies=_networks(values["server_trusted_proxies"]),
        server_access_log=_yes("server_access_log", values["server_access_log"]),
        server_log_format=_one_of("server_log_format", values["server_log_format"], ("text", "json")),
        withheld=withheld,
    )


def home_of(environ: Mapping[str, str]) -> Path:
    """The home folder that the environment names, or the usual one: where profiles are, before any of them is read."""
    return folder_named("home", environ.get("LEGATO_HOME") or "~/.legato")


def folder_named(name: str, value: str) -> Path:
    """The folder that a setting names. Raises `UsageError` for one in the home of a user who does not exist, or beside a folder that is gone."""
    try:
        return Path(value).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        why = "there is no such user" if isinstance(error, RuntimeError) else "the folder this was started in is gone"
        raise UsageError(f"setting {name} is '{value}', and {why}", hint="give the whole path of a folder: /var/lib/legato") from None


def _here() -> Path:
    """The folder this was started in; when it is gone meanwhile, one that holds no project."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.devnull)


def as_text(value: object) -> str:
    """A setting's value as it is written in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """LEGATO_… variables that name no setting, each with what was probably meant. They have no effect, which nobody notices otherwise."""
    known = {f"LEGATO_{setting.name.upper()}" for setting in SETTINGS}
    known |= {f"{name}_FILE" for name in known} | {RESOLVED, RUN_TOKEN}
    strange = [name for name in (os.environ if environ is None else environ) if name.startswith("LEGATO_") and name not in known]
    strange = [name for name in sorted(strange) if not name.startswith(("LEGATO_TEST_", "LEGATO_CRASH_"))]
    if not strange:
        return []
    from legato.core.spelling import close_to  # noqa: PLC0415 start-up time: wanted only where something is strange

    close = {name: close_to(name, known) for name in strange}
    return [(name, f"Did you mean {close[name][0]}?" if close[name] else "") for name in strange]


def notes(chosen: Settings) -> list[str]:
    """What whoever reads the settings should be told: what was held back of them, and variables that have no effect."""
    strange = [f"{name} is no setting of Legato's, and has no effect. {hint}".rstrip() for name, hint in unknown_variables()]
    return [note for note in (held_back(), chosen.withheld, *strange) if note]


RUN_TOKEN = "LEGATO_RUN_TOKEN"  # noqa: S105 a name, no secret
"""Set by whoever starts a run, in its process: names the run and its holding, and whatever it starts inherits it."""

RESOLVED = "LEGATO_RESOLVED"
"""Set for flow processes that an agent starts: the agent has resolved the settings and put them all into the environment."""


def _from_files(environ: Mapping[str, str], folder: Path) -> dict[str, Resolved]:
    if environ.get(RESOLVED):
        return {}
    home = home_of(environ)
    files = (home / "profiles.toml", folder / "legato.toml", folder / "pyproject.toml")
    if not environ.get("LEGATO_PROFILE") and not any(is_there(path) for path in files):
        return {}
    from legato.settings.files import from_files  # noqa: PLC0415 start-up time: reading TOML is only worth it where there is some

    return from_files(environ, home, folder)


def is_there(path: Path) -> bool:
    """Whether there is such a file. Raises `UsageError` where nobody may look: what it sets must not be passed over in silence."""
    try:
        return path.exists()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="see who owns the folder, or set LEGATO_HOME to one of your own"
        ) from None


def held_back(environ: Mapping[str, str] | None = None, *, folder: Path | None = None) -> str:
    """What a project file of this folder wants to set and may not, as a sentence; "" when there is nothing of the kind."""
    environ = os.environ if environ is None else environ
    folder = folder or _here()
    if environ.get(RESOLVED) or not any(is_there(folder / name) for name in ("legato.toml", "pyproject.toml")):
        return ""
    from legato.settings.files import guarded, is_trusted, project_settings  # noqa: PLC0415 start-up time

    home = home_of(environ)
    source, table = project_settings(folder)
    wanted = guarded(table)
    if not wanted or is_trusted(home, folder, table):
        return ""
    return f"{source} of this folder sets {', '.join(sorted(wanted))}, which has no effect until you agree: legato config trust"


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


def _yes(name: str, value: str) -> bool:
    return _one_of(name, value.lower(), ("true", "false", "1", "0")) in ("true", "1")


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _names_a_host(url: str) -> bool:
    from urllib.parse import urlsplit  # noqa: PLC0415 start-up time: few processes have a server

    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and not any(map(str.isspace, url)) and parts.port != 0
    except ValueError:  # a port that is no number, or beyond 65,535
        return False


def _http(url: str, name: str = "api_url") -> str:
    if url and not (url.startswith(("http://", "https://")) and _names_a_host(url)):
        raise UsageError(f"setting {name} is '{url}'", hint="use an address such as http://127.0.0.1:4200/api")
    return url.rstrip("/")


def _base_path(path: str) -> str:
    path = path.rstrip("/")
    if path and (not path.startswith("/") or "//" in path or ".." in path.split("/")):
        raise UsageError(f"setting server_base_path is '{path}'", hint="use a path such as /tools/flows")
    return path


def _networks(value: str) -> tuple[str, ...]:
    found = _list(value)
    if value and value != "127.0.0.0/8,::1":
        import ipaddress  # noqa: PLC0415 start-up time: only where somebody sets it

        for one in found:
            try:
                ipaddress.ip_network(one, strict=False)
            except ValueError:
                raise UsageError(
                    f"setting server_trusted_proxies holds '{one}'", hint="use addresses or networks: 10.0.0.7,192.168.0.0/16"
                ) from None
    return found


def _port(value: str) -> int:
    if not value.isdecimal() or not 0 <= int(value) <= 65535:
        raise UsageError(f"setting server_port is '{value}'", hint="use a number from 0 (any free port) to 65535")
    return int(value)
