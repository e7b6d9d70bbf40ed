"""What programs read of commands that change things, and what text of runs may do to a terminal: nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from legato.cli.session import harmless
from legato.core.foreign_words import COMMANDS, VERBS, about_command

SOURCE = """
from legato import Deployment, CronSchedule, flow
@flow
def main(): return 1
Deployment(main, name="d", tags=["t"], schedule=CronSchedule("0 8 * * *"))
"""


@pytest.fixture
def deployed(legato: Any, tmp_path: Path) -> Any:
    (tmp_path / "deploy.py").write_text(SOURCE)
    assert legato("deployment", "create", str(tmp_path / "deploy.py")).code == 0
    return legato


def test_each_changing_command_prints_what_it_changed(deployed: Any) -> None:
    run = json.loads(deployed("deployment", "run", "main/d", "-o", "json").out)["id"]
    lines = [
        ("work-queue", "create", "q"), ("work-queue", "pause", "q"), ("work-queue", "resume", "q"), ("work-queue", "set-limit", "q", "2"),
        ("work-queue", "clear-limit", "q"), ("work-queue", "rm", "q", "--yes"), ("variable", "set", "v", "1"), ("variable", "rm", "v", "--yes"),
        ("deployment", "pause", "main/d"), ("deployment", "resume", "main/d"), ("run", "cancel", run), ("run", "fork", run), ("run", "retry", run),
        ("run", "cancel", "--filter", "flow:main", "--yes"), ("run", "rm", "--filter", "flow:main", "--yes"), ("run", "gc", "--yes"),
        ("deployment", "rm", "main/d", "--yes"), ("config", "set", "log_level=DEBUG"), ("config", "unset", "log_level"), ("config", "validate"),
        ("profile", "create", "p", "api_key=secret"), ("profile", "use", "p"), ("profile", "rm", "p", "--yes"), ("config", "trust"),
    ]  # fmt: skip
    for line in lines:
        done = deployed(*line, "-o", "json")
        assert done.code == 0, (line, done.err)
        assert json.loads(done.out), line
        assert "secret" not in done.out


def test_bulk_takes_all_by_pages(deployed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from legato.store.sql import SqlStore

    paged = SqlStore.list_flow_runs
    monkeypatch.setattr(SqlStore, "list_flow_runs", lambda self, *a, **k: paged(self, *a, **{**k, "limit": min(k.get("limit", 100), 2)}))
    for _ in range(5):
        assert deployed("deployment", "run", "main/d").code == 0

    done = deployed("run", "cancel", "--filter", "tag:t", "--yes", "-o", "json")

    assert len(json.loads(done.out)) == 5


def test_last_is_the_latest_run(deployed: Any) -> None:
    assert deployed("run", "show", "last").code == 3
    run = json.loads(deployed("deployment", "run", "main/d", "-o", "json").out)

    assert json.loads(deployed("run", "show", "last", "-o", "json").out)["id"] == run["id"]
    assert json.loads(deployed("run", "logs", "last", "-o", "json").out) == []


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x1b]52;c;aGk=\x07", "\x9b31m", "a\rb", "\x00", "\u202eexe.txt", "\x7f"])
def test_text_of_a_run_cannot_steer_a_terminal(text: str) -> None:
    made = harmless(text)

    assert made.isprintable()
    assert "\x1b" not in made


def test_plain_text_stays_as_it_is() -> None:
    assert harmless("Größe 3 µs\n\tüber") == "Größe 3 µs\n\tüber"


@pytest.mark.parametrize("words", [*[(one,) for one in COMMANDS], *VERBS], ids=" ".join)
def test_words_of_other_systems_lead_to_ours(words: tuple[str, ...], legato: Any) -> None:
    done = legato(*words)

    assert done.code == 2
    assert about_command(words) in done.err
    assert "Did you mean" not in done.err


def test_secrets_of_a_deployment_are_not_shown(legato: Any, tmp_path: Path) -> None:
    runner = 'SubprocessFlowRunner(env={"DB_PASSWORD": "hunter2", "api_key": "hunter2", "REGION": "eu"})'
    (tmp_path / "deploy.py").write_text(
        f"from legato import *\n@flow\ndef main(): pass\nDeployment(main, name='d', flow_runner={runner})\n"
    )
    legato("deployment", "create", str(tmp_path / "deploy.py"))

    shown = [
        legato("deployment", verb, *name, "-o", form).out
        for verb, name in (("show", ["main/d"]), ("ls", []))
        for form in ("json", "table", "wide")
    ]

    assert not any("hunter2" in text for text in shown)
    assert "eu" in shown[0]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("Deployment(main, name='d', retries=1)", "@flow(retries=…)"),
        ("Deployment(main, name='d', tagz=[])", "did you mean tags?"),
        ("Deployment(main, name='d', cron='0 8 * * *')", "schedule=CronSchedule("),
        ("IntervalSchedule(minutes=5)", "interval=timedelta(minutes=…)"),
        ("CronSchedule('0 8 * * *', timezon='UTC')", "did you mean timezone=?"),
        ("SubprocessFlowRunner(environment={})", "SubprocessFlowRunner takes"),
        ("import datetime\nIntervalSchedule(interval=datetime.timedelta(minuts=5))", "did you mean timedelta(minutes=…)?"),
        ("Deployment(flow=mian, name='d')", "did you mean main?"),
        ("Deployment(main, name='d', schedule=CronShedule('0 8 * * *'))", "did you mean CronSchedule?"),
        ("import datetime\ndatetime.timedela(minutes=5)", "did you mean timedelta?"),
    ],
)
def test_a_misused_constructor_says_what_to_write(written: str, says: str, legato: Any, tmp_path: Path) -> None:
    (tmp_path / "deploy.py").write_text(f"from legato import *\n@flow\ndef main(): pass\n{written}\n")

    done = legato("deployment", "create", str(tmp_path / "deploy.py"))

    assert done.code == 2
    assert says in done.err
    assert "__main__" not in done.err


@pytest.mark.parametrize(("parameters", "is_told"), [("", True), (", parameters={'month': 3}", False)])
def test_a_schedule_that_leaves_a_parameter_open_is_told_of_when_it_is_made(
    parameters: str, is_told: bool, legato: Any, tmp_path: Path
) -> None:
    made = f"Deployment(main, name='d', schedule=CronSchedule('0 8 * * *'){parameters})"
    (tmp_path / "deploy.py").write_text(f"from legato import *\n@flow\ndef main(month: int): pass\n{made}\n")

    done = legato("deployment", "create", str(tmp_path / "deploy.py"))

    assert done.code == 0
    assert ("its flow needs a value for month" in done.err) is is_told


@pytest.mark.parametrize("name", ["DeploymentSpec", "Secret", "serve", "DAG"])
def test_names_of_other_systems_say_what_does_the_same(name: str) -> None:
    with pytest.raises(ImportError, match=f"legato has no '{name}': "):
        exec(f"from legato import {name}")


def test_runs_of_long_ago_can_be_named(deployed: Any) -> None:
    assert deployed("deployment", "run", "main/d").code == 0
    count = {text: len(json.loads(deployed("run", "ls", "--filter", text, "-o", "json").out)) for text in ("started:<1h", "started:>1h")}

    assert (count["started:<1h"], count["started:>1h"]) == (1, 0)
