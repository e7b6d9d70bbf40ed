"""`legato artifact` and `legato variable`: what is printed, written and refused. In process, on the embedded store."""

import json
from pathlib import Path
from typing import Any

import pytest

from legato.core.records import Artifact, ArtifactKind
from legato.engine.images import image_data
from legato.storage.local import LocalStorage
from legato.store.port import Store
from legato.system import SystemClock, new_id

from tests.cli.conftest import Command, add_run

TABLE = {"columns": ["city", "n"], "rows": [["Zürich, old", 1], ["Oslo", None]]}


def add(store: Store, kind: str, data: Any, **particulars: Any) -> Artifact:
    now = SystemClock().now()
    one = Artifact(id=new_id(), kind=ArtifactKind(kind), created_at=now, updated_at=now, data=data, **particulars)
    store.apply([], [], [one])
    return store.get_artifact(one.id)


def test_artifacts_are_listed_and_filtered(legato: Command, store: Store) -> None:
    run = add_run(store, "amber-heron")
    add(store, "markdown", "# Loss\n0.5", key="loss")
    second = add(store, "markdown", "# Loss\n0.4", key="loss")
    table = add(store, "table", TABLE, flow_run_id=run.id, title="Cities")

    lines = legato("artifact", "ls").out.splitlines()

    assert lines[0].split("\t") == ["KEY", "VERSION", "KIND", "TITLE", "UPDATED", "ID"]
    assert [line.split("\t")[:4] for line in lines[1:]] == [
        ["", "", "table", "Cities"],
        ["loss", "2", "markdown", "Loss"],
        ["loss", "1", "markdown", "Loss"],
    ]
    for options, wanted in (
        (("--run", "amber-heron"), [table.id]),
        (("--latest",), [second.id]),
        (("--kind", "table"), [table.id]),
        (("--key", "loss", "--limit", "1"), [second.id]),
    ):
        assert legato("artifacts", "ls", *options, "-o", "name").out.split() == wanted


def test_show_says_where_it_comes_from_and_what_it_says(legato: Command, store: Store) -> None:
    run = add_run(store, "amber-heron")
    add(store, "table", TABLE, key="cities", flow_run_id=run.id)
    bar = add(store, "progress", {"percent": 50.0, "done": 2, "total": 4}, title="Loading")

    shown = legato("artifact", "show", "cities").out
    assert run.id in shown
    assert "city         n\nZürich, old  1\nOslo" in shown
    assert "[###############...............] 50 %, 2 of 4" in legato("artifact", "show", bar.id[:30]).out
    assert json.loads(legato("artifact", "show", "cities", "-o", "json").out)["data"] == TABLE


def test_get_prints_the_content_and_nothing_else(legato: Command, store: Store) -> None:
    add(store, "markdown", "first", key="report")
    add(store, "markdown", "# Second", key="report")
    add(store, "table", TABLE, key="cities")
    add(store, "link", {"url": "https://example.com", "text": "there"}, key="there")

    assert legato("artifact", "get", "report").out == "# Second\n"
    assert legato("artifact", "get", "report", "--version", "1").out == "first\n"
    assert legato("artifact", "get", "cities").out == 'city,n\n"Zürich, old",1\nOslo,\n'
    assert legato("artifact", "get", "there").out == "https://example.com\n"
    assert json.loads(legato("artifact", "get", "cities", "-o", "json").out) == TABLE


def test_get_writes_an_image_to_a_file(legato: Command, store: Store, legato_home: Path, tmp_path: Path) -> None:
    image = b"\x89PNG\r\n\x1a\n" + bytes(9000)
    add(store, "image", image_data(image, LocalStorage(legato_home / "storage")), key="plot")

    answer = legato("artifact", "get", "plot", "--out", str(tmp_path / "plot.png"))

    assert answer.code == 0
    assert (tmp_path / "plot.png").read_bytes() == image


def test_variables_are_set_printed_listed_and_removed(legato: Command) -> None:
    assert legato("variable", "set", "max-rows", "10", "-t", "prod").code == 0
    legato("variable", "set", "cities", '["rome", "oslo"]')
    legato("variable", "set", "zip", "00100", "--text")
    legato("variable", "set", "name", "x y")

    assert legato("variable", "get", "max-rows").out == "10\n"
    assert legato("variable", "get", "zip").out == "00100\n"
    assert legato("variable", "get", "name").out == "x y\n"
    assert json.loads(legato("variable", "get", "cities", "-o", "json").out)["value"] == ["rome", "oslo"]
    assert legato("variables", "ls", "-o", "name").out.split() == ["cities", "max-rows", "name", "zip"]
    assert legato("variable", "ls", "--tag", "prod", "-o", "name").out.split() == ["max-rows"]
    assert legato("variable", "rm", "max-rows", "--yes").code == 0
    assert legato("variable", "get", "max-rows").code == 3


@pytest.mark.parametrize(
    ("line", "code", "wanted"),
    [
        ("artifact show los", 3, "Did you mean  loss ?"),
        ("artifact show loss --version 7", 3, "no artifact 'loss version 7'"),
        ("artifact ls --kind tabel", 2, "table"),
        ("artifact ls --run amber-hreon", 3, "amber-heron"),
        ("variable get max-row", 3, "Did you mean  max-rows ?"),
        ("variable set max-rows 11", 5, "--overwrite"),
        ("variable set Max.Rows 11", 2, "such as 'max_rows'"),
        ("variable rm max-rows", 2, "add --yes"),
    ],
)
def test_a_mistake_is_answered_with_a_way_on(line: str, code: int, wanted: str, legato: Command, store: Store) -> None:
    add_run(store, "amber-heron")
    add(store, "markdown", "x", key="loss")
    legato("variable", "set", "max-rows", "10")

    answer = legato(*line.split())

    assert answer.code == code, answer.err
    assert wanted in answer.err
    assert len(answer.err.splitlines()) <= 4
