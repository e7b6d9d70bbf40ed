"""What a folder's project file may set by itself, whom a key is shown, and that every setting reaches a run."""

import json
import re
import stat
from pathlib import Path

import pytest

from legato import settings
from legato.agent.run import NOT_FOR_RUNS, environment_for_runs
from legato.core.errors import UsageError
from legato.settings import SETTINGS, held_back, load
from legato.settings.files import GUARDED, Profiles, trust, write_profiles

EVIL = "http://evil.example/api"
OTHERS = {
    "home": "/elsewhere", "api_url": EVIL, "api_key": "theirs", "database_url": "sqlite:////elsewhere.db", "server_host": "0.0.0.0",
    "server_api_key": "theirs", "server_allowed_hosts": "evil.example", "server_public_url": "http://evil.example",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "cloned"
    made.mkdir()
    return made


def project(folder: Path, file: str, **values: str) -> None:
    table = "[settings]" if file == "legato.toml" else "[tool.legato.settings]"
    (folder / file).write_text("\n".join([table, *(f"{name} = {json.dumps(value)}" for name, value in values.items())]))


@pytest.mark.parametrize("file", ["legato.toml", "pyproject.toml"])
@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_cloned_folder_sets_no_address_home_or_key(home: Path, folder: Path, file: str, name: str) -> None:
    plain = load({"LEGATO_HOME": str(home)}, folder=home)
    project(folder, file, **{name: OTHERS[name], "log_level": "DEBUG"})

    loaded = load({"LEGATO_HOME": str(home)}, folder=folder)

    assert getattr(loaded, name) == getattr(plain, name)
    assert loaded.log_level == "DEBUG"
    note = held_back({"LEGATO_HOME": str(home)}, folder=folder)
    assert name in note
    assert "legato config trust" in note


def test_every_setting_that_decides_where_things_go_is_guarded() -> None:
    by_name = {setting.name for setting in SETTINGS}

    assert by_name >= GUARDED
    assert {name for name in by_name if name.endswith(("_url", "_key")) and not name.startswith("server_")} <= GUARDED


def test_consent_holds_for_what_was_agreed_to_and_no_longer(home: Path, folder: Path) -> None:
    environ = {"LEGATO_HOME": str(home)}
    project(folder, "legato.toml", api_url="http://ours.example/api")
    trust(home, folder)
    agreed = load(environ, folder=folder).api_url
    project(folder, "legato.toml", api_url=EVIL)
    changed = load(environ, folder=folder).api_url
    trust(home, folder)
    trust(home, folder, withdraw=True)

    assert (agreed, changed) == ("http://ours.example/api", "")
    assert load(environ, folder=folder).api_url == ""
    assert stat.S_IMODE((home / "trusted.json").stat().st_mode) == 0o600


def keyed(home: Path) -> None:
    prod = {"api_url": "http://prod.example/api", "api_key": "prodkey"}
    write_profiles(home, Profiles("prod", {"prod": prod, "keyless": {"api_url": EVIL}}))


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, "prodkey"),
        ({"LEGATO_API_URL": "http://prod.example/api/"}, "prodkey"),
        ({"LEGATO_API_URL": EVIL}, ""),
        ({"LEGATO_API_URL": "http://prod.example.evil.example/api"}, ""),
        ({"LEGATO_API_URL": EVIL, "LEGATO_API_KEY": "mine"}, "mine"),
        ({"LEGATO_PROFILE": "keyless"}, ""),
        ({"LEGATO_API_KEY": "mine"}, "mine"),
    ],
)
def test_a_profiles_key_is_shown_to_the_address_it_was_stored_with(home: Path, folder: Path, environ: dict[str, str], shown: str) -> None:
    keyed(home)

    assert load({"LEGATO_HOME": str(home), **environ}, folder=folder).api_key == shown


def test_a_projects_address_is_shown_no_key_of_a_profile_even_when_trusted(home: Path, folder: Path) -> None:
    write_profiles(home, Profiles("p", {"p": {"api_key": "prodkey"}}))
    project(folder, "legato.toml", api_url=EVIL)
    trust(home, folder)

    loaded = load({"LEGATO_HOME": str(home)}, folder=folder)

    assert (loaded.api_url, loaded.api_key) == (EVIL, "")
    assert "belongs to that profile's address" in loaded.withheld


def test_an_empty_address_in_the_environment_switches_the_profiles_server_off(home: Path, folder: Path) -> None:
    keyed(home)

    assert load({"LEGATO_HOME": str(home), "LEGATO_API_URL": ""}, folder=folder).store_url.startswith("sqlite://")


UNLIKE_THE_DEFAULT = {
    "api_url": "http://a.example/api", "api_key": "k", "log_level": "DEBUG", "extra_loggers": "a,b.c", "persist_results": "true",
    "refresh_cache": "true", "tracebacks": "full", "home": "/tmp/elsewhere", "database_url": "sqlite:////tmp/x.db",
}  # fmt: skip


@pytest.mark.parametrize("name", [one.name for one in SETTINGS if not one.name.startswith("server_") and one.name not in NOT_FOR_RUNS])
def test_every_setting_reaches_a_run(name: str, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"LEGATO_HOME": str(home), f"LEGATO_{name.upper()}": UNLIKE_THE_DEFAULT[name]}
    if name == "api_key":
        environ["LEGATO_API_URL"] = "http://a.example/api"
    for key in environ:
        monkeypatch.delenv(key, raising=False)
    here = load(environ, folder=folder)

    there = load(environment_for_runs(here), folder=folder)

    assert getattr(there, name) == getattr(here, name)
    assert getattr(there, name) != getattr(load({"LEGATO_HOME": str(home)}, folder=folder), name)
    assert there.store_url == here.store_url


@pytest.mark.parametrize(
    ("name", "value"),
    [("server_base_path", "a"), ("server_base_path", "/a/../b"), ("server_trusted_proxies", "proxy"), ("server_public_url", "x")],
)
def test_a_setting_that_cannot_be_is_refused(name: str, value: str, home: Path) -> None:
    with pytest.raises(UsageError, match=name):
        settings.load({"LEGATO_HOME": str(home), f"LEGATO_{name.upper()}": value}, folder=home)


def test_every_variable_that_a_message_names_is_a_setting() -> None:
    source = Path(settings.__file__).parent.parent
    named = {word for file in source.rglob("*.py") for word in re.findall(r"LEGATO_[A-Z][A-Z_]*[A-Z]", file.read_text(encoding="utf-8"))}
    known = {f"LEGATO_{setting.name.upper()}" for setting in SETTINGS} | INSIDE

    assert {name for name in named if name.removesuffix("_FILE") not in known and not any(one.startswith(name) for one in known)} == set()


INSIDE = {
    "LEGATO_RESOLVED",
    "LEGATO_RUN_TOKEN",
    "LEGATO_TEST_POSTGRES_URL",
    "LEGATO_CRASH_AT",
    "LEGATO_CRASH_ON",
    "LEGATO_CRASH_TRACE",
    "LEGATO_COMPLETE",
}
"""Between our own processes, and for tests: nobody is told to set these."""
