"""`legato plan`: the graph of a file's flow, in each form, and what a failure would do."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

SOURCE = """
from pathlib import Path

from legato import flow, task


@task(retries=2)
def load(month: int) -> list[int]:
    Path("ran").touch()
    return [month]


@task
def train(rows: list[int]) -> None: ...


@flow
def monthly(month: int = 1) -> None:
    rows = load.submit(month)
    if month > 6:
        train.submit(rows)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planned_flow.py").write_text(SOURCE, encoding="utf-8")
    return "planned_flow.py"


def test_the_tree_depends_on_the_parameters(file: str, legato: Command, tmp_path: Path) -> None:
    assert legato("plan", file, "-p", "month=9").out == (
        "flow monthly(month=9)\n├─ load-0 (2 retries; submitted)  line 19\n└─ train-0 (after load-0; submitted)  line 21\n"
    )
    assert legato("plan", f"{file}:monthly", "-p", "month=2").out.splitlines()[1:] == ["└─ load-0 (2 retries; submitted)  line 19"]
    assert not (tmp_path / "ran").exists()


def test_as_json_and_as_mermaid(file: str, legato: Command) -> None:
    data = json.loads(legato("plan", file, "-p", "month=9", "-o", "json").out)

    assert [node["name"] for node in data["nodes"]] == ["load-0", "train-0"]
    assert data["edges"] == [{"source": 0, "target": 1}]
    assert legato("plan", file, "-p", "month=9", "--mermaid").out.splitlines()[:3] == ["flowchart TD", '  n0["load-0"]', '  n1["train-0"]']


def test_after_a_failure(file: str, legato: Command) -> None:
    answer = legato("plan", file, "-p", "month=9", "--after-failure", "load")

    assert answer.out == "CALL\tOUTCOME\nload-0\tfails\ntrain-0\tUpstreamFailed\n"


def test_mistakes_are_answered(file: str, legato: Command) -> None:
    assert legato("plan", "nothing.py").code == 3
    lost = legato("plan", file, "--after-failure", "lod")
    assert (lost.code, "no call 'lod'" in lost.err) == (3, True)
    wrong = legato("plan", file, "-p", "mnth=3")
    assert (wrong.code, "its parameters are month" in wrong.err) == (2, True)
