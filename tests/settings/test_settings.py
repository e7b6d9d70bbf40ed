"""Where settings come from, what beats what, and what is refused."""

import re
from pathlib import Path

import pytest

import legato
from legato.core.errors import UsageError
from legato.settings import SETTINGS, load, resolve, unknown_variables
from legato.settings.files import Profiles, check_name, check_value, read_profiles, write_profiles


def test_environment_beats_profile_beats_project_beats_default(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    project.mkdir()
    environ = {"LEGATO_HOME": str(home)}

    def level() -> tuple[str, str]:
        found = resolve(environ, folder=project)["log_level"]
        return found.value, found.source

    assert level() == ("INFO", "default")
    (project / "pyproject.toml").write_text('[tool.legato.settings]\nlog_level = "WARNING"\n', encoding="utf-8")
    assert level() == ("WARNING", "pyproject.toml")
    (project / "legato.toml").write_text('[settings]\nlog_level = "ERROR"\n', encoding="utf-8")
    assert level() == ("ERROR", "legato.toml")
    write_profiles(home, Profiles("prod", {"prod": {"log_level": "CRITICAL"}, "dev": {"log_level": "INFO"}}))
    assert level() == ("CRITICAL", "profile prod")
    environ["LEGATO_PROFILE"] = "dev"
    assert level() == ("INFO", "profile dev")
    environ["LEGATO_LOG_LEVEL"] = "DEBUG"
    assert level() == ("DEBUG", "LEGATO_LOG_LEVEL")


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("hunter2\n", encoding="utf-8")

    assert load({"LEGATO_HOME": str(tmp_path), "LEGATO_API_KEY_FILE": str(key)}, folder=tmp_path).api_key == "hunter2"
    with pytest.raises(UsageError, match="cannot be read"):
        load({"LEGATO_HOME": str(tmp_path), "LEGATO_API_KEY_FILE": str(tmp_path / "gone")}, folder=tmp_path)


def test_profiles_come_back_as_they_were_written_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    settings = {"a b": {"api_key": 'quo"te\\d'}, "dev": {}}

    write_profiles(tmp_path, Profiles("dev", settings))

    assert (read_profiles(tmp_path).active, read_profiles(tmp_path).settings) == ("dev", settings)
    assert (tmp_path / "profiles.toml").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("value", ["two\nlines", "tab\there", "nul\x00", "\x7f", "ümläut ✓"])
def test_any_value_survives_being_written(value: str, tmp_path: Path) -> None:
    write_profiles(tmp_path, Profiles("", {"p": {"api_key": value}}))

    assert read_profiles(tmp_path).settings == {"p": {"api_key": value}}


def test_a_profile_that_is_not_there_is_refused_even_when_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no profile 'prod'"):
        load({"LEGATO_HOME": str(tmp_path), "LEGATO_PROFILE": "prod"}, folder=tmp_path)


def test_a_name_that_is_no_setting_is_refused_in_files_and_noted_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "legato.toml").write_text('[settings]\nlgo_level = "DEBUG"\n', encoding="utf-8")

    with pytest.raises(UsageError, match="no setting 'lgo_level'") as refused:
        load({"LEGATO_HOME": str(tmp_path)}, folder=tmp_path)
    assert "log_level" in refused.value.hint
    assert unknown_variables({"LEGATO_LGO_LEVEL": "x", "LEGATO_LOG_LEVEL": "INFO", "LEGATO_API_KEY_FILE": "/k", "LEGATO_TEST_X": "1"}) == [
        ("LEGATO_LGO_LEVEL", "Did you mean LEGATO_LOG_LEVEL?")
    ]


@pytest.mark.parametrize("typed", ["log_level", "LOG-LEVEL", "LEGATO_LOG_LEVEL", "PREFECT_LOGGING_LEVEL"])
def test_a_setting_is_known_by_other_spellings(typed: str) -> None:
    assert check_name(typed) == "log_level"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("log_level", "LOUD"),
        ("server_port", "http"),
        ("server_port", "70000"),
        ("persist_results", "maybe"),
        ("tracebacks", "long"),
        ("api_url", "localhost:4200"),
        ("api_url", "http://"),
        ("api_url", "http://:4200/api"),
        ("api_url", "http://127.0.0.1:70000/api"),
        ("api_url", "http://flows example/api"),
        ("api_url", "http://[::1/api"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        check_value(name, value)


def test_every_setting_says_what_it_means() -> None:
    assert all(setting.meaning and setting.name == setting.name.lower() for setting in SETTINGS)
    assert [setting.name for setting in SETTINGS if "key" in setting.name and not setting.secret] == []


def test_no_variable_of_our_own_is_called_strange() -> None:
    """Whatever the code sets or reads: a run whose process was given one of these would be told that it has no effect."""
    source = "".join(file.read_text(encoding="utf-8") for file in Path(legato.__file__).parent.rglob("*.py"))
    ours = {
        name
        for name in re.findall(r"(?<![_A-Z])LEGATO_[A-Z_]*[A-Z]", source)
        if name not in ("LEGATO_COMPLETE", "LEGATO_CRASH", "LEGATO_TEST")
    }

    assert len(ours) > 10
    assert unknown_variables(dict.fromkeys(ours, "x")) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("legato.toml", "[setings]\nlog_level = 'DEBUG'"),
        ("legato.toml", "log_level = 'DEBUG'"),
        ("legato.toml", "settings = 5"),
        ("pyproject.toml", "[tool.legato]\nlog_level = 'DEBUG'"),
        ("pyproject.toml", "tool = 5"),
        ("pyproject.toml", "[tool]\nlegato = 'DEBUG'"),
    ],
)
def test_what_would_have_no_effect_in_a_project_file_is_an_error(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")

    with pytest.raises(UsageError, match=file.replace(".", r"\.")):
        load({"LEGATO_HOME": str(tmp_path / "home")}, folder=tmp_path)


@pytest.mark.parametrize("text", ["profiles = 5", "[profiles]\nprod = 5", "profiles = [1]"])
def test_a_file_of_profiles_that_holds_something_else_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(text, encoding="utf-8")

    with pytest.raises(UsageError, match="is to be a table"):
        read_profiles(tmp_path)


def test_an_empty_home_in_the_environment_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles.toml").write_text("profiles = 5", encoding="utf-8")  # of nobody's home

    assert load({"LEGATO_HOME": ""}, folder=tmp_path).home == tmp_path / ".legato"


def test_a_value_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="no text"):
        check_value("home", "/tmp/\udcff")
