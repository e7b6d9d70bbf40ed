"""What is wrong with a deployment is said where it is written, and saved by nobody; and what is said of one is so."""

from pathlib import Path

import pytest

from legato.core.records import FlowRunFilter
from legato.core.states import SCHEDULED
from legato.storage import bundles
from legato.store.port import Store

from tests.cli.conftest import Command, add_deployment

FILE = """
import sys
from datetime import timedelta

from legato import Deployment, IntervalSchedule, SubprocessFlowRunner, flow


@flow
def f(x: int = 1) -> int:
    return x


S = IntervalSchedule(interval=timedelta(seconds=10))
"""

MISTAKES = [
    "Deployment(f, name='a', schedule=S, schedules=[S])",
    "Deployment(f, name='a', schedules=[S, S])",
    "Deployment(f, name='a', schedules=S)",
    "Deployment(f, name='a', schedules='* * * * *')",
    "Deployment(f, name='a', schedules=[None])",
    "Deployment(f, name='a', parameters=3)",
    "Deployment(f, name='a', parameters=[('x', 1)])",
    "Deployment(f, name='a', tags=5)",
    "Deployment(f, name='a', tags=[' '])",
    "Deployment(f, name='a', tags=['a\\n'])",
    "Deployment(f, name='a', version=3)",
    "Deployment(f, name='a', description=None)",
    "Deployment(f, name='a', paused='yes')",
    "Deployment(f, name='a', path=3)",
    "Deployment(entrypoint=3, name='a')",
    "Deployment(f, name='a'); Deployment(f, name='a', parameters={'x': 2})",
    *(f"Deployment(f, name={name!r})" for name in ("", " ", " a", "a ", "a/b", "a\nb", "a\x1b[31m", "a" * 201, 3)),
    "Deployment(f, name='a', flow_runner='subprocess')",
    "Deployment(f, name='a', flow_runner=SubprocessFlowRunner)",
    *(
        f"Deployment(f, name='a', flow_runner=SubprocessFlowRunner({option}))"
        for option in (
            *("python=3", "env={'A': 1}", "env=['A=1']", "stream_output=None", "memory_mb=-1", "memory_mb='2GB'", "memory_mb=1.5"),
            *("processes=-1", "processes=None", "linger_s='long'", "linger_s=-1", "linger_s=float('nan')"),
        )
    ),
    "sys.exit(3)",
    "sys.exit('no')",
    "raise SystemExit",
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_deployment_is_told_before_anything_is_saved(mistake: str, tmp_path: Path, legato: Command, store: Store) -> None:
    (tmp_path / "deploy.py").write_text(f"{FILE}\n{mistake}\n", encoding="utf-8")

    answer = legato("deployment", "create", str(tmp_path / "deploy.py"))

    assert answer.code == 2, answer
    assert "made a mistake" not in answer.err
    assert "TypeError" not in answer.err
    assert store.list_deployments() == []


@pytest.mark.parametrize(
    "option", ["memory_mb=2_000, processes=20", "linger_s=600", "linger_s=0", "linger_s=0.5", "env={'A': '1'}", "python='/usr/bin/python3'"]
)
def test_what_the_documentation_says_of_a_flow_runner_is_taken(option: str, tmp_path: Path, legato: Command) -> None:
    line = f"Deployment(f, name='a', flow_runner=SubprocessFlowRunner({option}))"
    (tmp_path / "deploy.py").write_text(f"{FILE}\n{line}\n", encoding="utf-8")

    assert legato("deployment", "create", str(tmp_path / "deploy.py"), "--dry-run").code == 0


SECRETS = (
    *(
        "credentials.json",
        "credentials",
        "client_secret_12.json",
        "client-secrets.json",
        "service-account-prod.json",
        "service_account.json",
    ),
    *("secrets.toml", "secret.yaml", ".secrets.yml", "token.json", "tokens.txt", "key.p12", "store.jks", ".pgpass", ".npmrc", "kubeconfig"),
)
SOURCES = ("secrets.py", "credentials.py", "tokens.py", "tokenizer.json", "secretary.csv", "keys.sql", "credentials_test.py", "key.json")


@pytest.mark.parametrize(("name", "stays_out"), [*((name, True) for name in SECRETS), *((name, False) for name in SOURCES)])
def test_files_whose_names_say_that_they_hold_secrets_stay_out_of_a_bundle(name: str, stays_out: bool, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text("", encoding="utf-8")
    (tmp_path / name).write_text("x", encoding="utf-8")

    found = bundles.contents(tmp_path)

    assert ((name not in found.files), [one.path for one in found.left_out]) == (stays_out, [name] if stays_out else [])


def test_a_deployment_without_schedules_is_not_said_to_have_fired_its_last(legato: Command, store: Store) -> None:
    add_deployment(store, "by-hand", schedules=())

    answer = legato("deployment", "preview", "etl/by-hand")

    assert "has no schedule" in answer.out + answer.err
    assert "any more" not in answer.out + answer.err


@pytest.mark.parametrize("schedule", ["0 0 29 2 *", "1826d", "FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=1", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"])
def test_a_schedule_that_fires_seldom_is_previewed_as_far_as_was_asked(schedule: str, legato: Command) -> None:
    answer = legato("schedule", "preview", schedule, "--count", "4", "--timezone", "Europe/Rome", "-o", "name")

    assert answer.code == 0, answer
    assert len(answer.out.splitlines()) == 4


@pytest.mark.parametrize("text", ["10y", "5minutes", "1h 3x".replace(" ", ""), "5"])
def test_what_begins_as_an_interval_is_answered_as_one(text: str, legato: Command) -> None:
    answer = legato("schedule", "preview", text)

    assert answer.code == (0 if text == "5" else 2)
    assert "1 fields" not in answer.err


@pytest.mark.parametrize(
    "line", ["variable ls --tag nope", "artifact ls --key nope", "deployment ls --tag nope", "deployment ls --flow nope"]
)
def test_a_list_that_nothing_matches_does_not_say_that_there_is_nothing(line: str, legato: Command) -> None:
    answer = legato(*line.split())

    assert "matches" in answer.out + answer.err


def test_a_paused_deployment_tells_of_its_runs_that_are_due_already(legato: Command, store: Store) -> None:
    add_deployment(store)
    assert "due already" not in legato("deployment", "pause", "etl/prod").err
    assert legato("deployment", "run", "etl/prod").code == 0

    said = legato("deployment", "pause", "etl/prod").err

    assert "due already" in said
    assert "legato run cancel --filter 'state:scheduled deployment:etl/prod'" in said
    assert legato("run", "cancel", "--filter", "state:scheduled deployment:etl/prod", "--yes").code == 0
    assert store.list_flow_runs(FlowRunFilter(states=(SCHEDULED,))).items == []


def test_nobody_is_told_to_run_a_deployment_that_was_deleted(legato: Command, store: Store) -> None:
    add_deployment(store, schedules=())
    legato("deployment", "run", "etl/prod", "--name", "last-one")
    legato("deployment", "rm", "etl/prod", "--yes")

    answer = legato("why", "last-one")

    assert "was deleted" in answer.out
    assert "deployment run" not in answer.out + answer.err


def test_an_answer_is_given_whole_or_by_its_fields(legato: Command, store: Store) -> None:
    add_deployment(store, schedules=())
    legato("deployment", "run", "etl/prod", "--name", "one")

    assert "give one of the two" in legato("run", "resume", "one", "--answer", "7", "-p", "ok=true").err


def test_a_flow_that_ends_its_process_ends_the_command_with_its_code(tmp_path: Path, process: Command) -> None:
    (tmp_path / "ends.py").write_text("import sys\nfrom legato import flow\n\n@flow\ndef ends():\n    sys.exit(7)\n", encoding="utf-8")

    answer = process("run", "ends.py")

    assert answer.code == 7
    assert "imported" not in answer.err
