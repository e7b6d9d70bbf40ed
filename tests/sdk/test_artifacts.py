"""Artifacts and variables made by user code, seen from what is recorded of them."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from legato import (
    Variable,
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    flow,
    task,
    track,
    update_progress_artifact,
)
from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.records import Artifact, ArtifactKind
from legato.engine.images import image_bytes
from legato.testing import Harness

from tests.support.waiting import until

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def only(h: Harness) -> Artifact:
    (artifact,) = h.artifacts()
    return artifact


# -- where they belong


def test_artifacts_belong_to_the_flow_run_and_task_run_that_made_them_or_to_none(h: Harness) -> None:
    @task
    def step() -> None:
        create_markdown_artifact("from a task")

    @flow
    def main() -> None:
        create_markdown_artifact("from a flow")
        step()

    main()
    create_markdown_artifact("from nowhere")

    (run,), (task_run,) = h.flow_runs(), h.task_runs()
    found = {one.data: (one.flow_run_id, one.task_run_id) for one in h.artifacts()}
    assert found == {"from a flow": (run.id, None), "from a task": (run.id, task_run.id), "from nowhere": (None, None)}


def test_the_same_functions_work_in_async_code_and_in_submitted_tasks(h: Harness) -> None:
    @task
    async def step(n: int) -> str:
        return create_markdown_artifact(f"step {n}", key="step")

    @flow
    async def main() -> list[str]:
        create_link_artifact("https://example.com", "there")
        return [await future for future in step.map([1, 2, 3])]

    made = asyncio.run(main())

    (run,) = h.flow_runs()
    assert {one.flow_run_id for one in h.artifacts()} == {run.id}
    assert {one.id for one in h.artifacts() if one.key == "step"} == set(made)
    assert sorted(one.version for one in h.artifacts() if one.key == "step") == [1, 2, 3]


def test_a_bad_key_is_refused_at_once_with_one_that_would_do(h: Harness) -> None:
    with pytest.raises(UsageError, match=r"'Loss_2024' cannot be an artifact's key[\s\S]*such as 'loss-2024'"):
        create_markdown_artifact("x", key="Loss_2024")

    assert h.artifacts() == []


# -- tables


@dataclass
class Point:
    x: int


TABLE = [{"a": 1, "b": "x"}, {"b": "y", "c": True}]


@pytest.mark.parametrize(
    ("table", "columns", "rows"),
    [
        (TABLE, ["a", "b", "c"], [[1, "x", None], [None, "y", True]]),
        ({"a": [1, 2], "b": range(2)}, ["a", "b"], [[1, 0], [2, 1]]),
        ({}, [], []),
        ([], [], []),
        (pd.DataFrame({"n": [1, 2], "t": pd.to_datetime(["2024-01-02", None])}), ["n", "t"], [[1, "2024-01-02T00:00:00"], [2, ""]]),
        (pd.DataFrame({"n": [1]}, index=pd.Index(["r"], name="city")), ["city", "n"], [["r", 1]]),
        (
            [{"a": np.float64(0.5), "b": float("nan"), "c": 2**70, "d": Point(1)}],
            ["a", "b", "c", "d"],
            [[0.5, None, str(2**70), "Point(x=1)"]],
        ),
        ([{1: datetime(2024, 1, 2, tzinfo=UTC), 2: "\udc80"}], ["1", "2"], [["2024-01-02T00:00:00+00:00", "\\udc80"]]),
    ],
)
def test_a_table_may_be_given_in_many_forms(h: Harness, table: Any, columns: list[str], rows: list[list[Any]]) -> None:
    create_table_artifact(table, key="t", title="T", description="D")

    made = only(h)
    assert (made.kind, made.key, made.title, made.description) == (ArtifactKind.TABLE, "t", "T", "D")
    assert made.data == {"columns": columns, "rows": rows}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"a": [1], "b": [1, 2]}, "'a' 1, 'b' 2"),
        ({"a": 1}, "column 'a' of the table is 1"),
        ("a,b", "a str is no table"),
        ([1, 2], "a list is no table"),
        ([{"a": "x" * 1000}] * 1100, r"artifact may have 1,000,000[\s\S]*store the rest"),
    ],
)
def test_what_is_no_table_is_refused_and_why(h: Harness, table: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        create_table_artifact(table)


# -- images


class Figure:
    """What matplotlib's figure has of what is asked of it."""

    def savefig(self, file: Any, *, format: str) -> None:
        assert format == "png"
        file.write(PIXEL)


def test_images_are_kept_in_the_artifact_when_small_and_under_their_hash_when_large(h: Harness, tmp_path: Path) -> None:
    large = PIXEL + bytes(100_000)
    (tmp_path / "plot.png").write_bytes(large)

    create_image_artifact(PIXEL)
    create_image_artifact(Figure())
    create_image_artifact(tmp_path / "plot.png")
    create_image_artifact(str(tmp_path / "plot.png"))
    create_image_artifact("https://example.com/a.png")

    small, figure, stored, again, elsewhere = h.artifacts()
    assert [image_bytes(one, h.engine.blobs) for one in (small, figure, stored)] == [PIXEL, PIXEL, large]
    assert stored.data == again.data == {"type": "image/png", "size": len(large), "blob": stored.data["blob"]}
    assert "inline" in small.data
    assert elsewhere.data == {"url": "https://example.com/a.png"}


@pytest.mark.parametrize(
    ("image", "says"), [(b"%PDF-1.4", "8 bytes are no image"), ("gone.png", "'gone.png' cannot be read"), (3, "a int is no")]
)
def test_what_is_no_image_is_refused(h: Harness, image: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        create_image_artifact(image)


# -- progress


def test_progress_is_one_artifact_that_moves_and_can_be_read_while_the_task_runs(h: Harness) -> None:
    half, go_on = threading.Event(), threading.Event()

    @task
    def load() -> None:
        bar = create_progress_artifact(title="Loading", key="loading")
        update_progress_artifact(bar, 50, description="half")
        half.set()
        assert go_on.wait(20)
        update_progress_artifact(bar, 100)

    @flow
    def main() -> None:
        load.submit().result()

    running = threading.Thread(target=main)
    running.start()
    assert half.wait(20)
    seen = until(
        lambda: [one for one in h.store.list_artifacts().items if one.data == {"percent": 50.0}], what="the bar at 50 while the task runs"
    )
    go_on.set()
    running.join()

    assert seen[0].description == "half"
    assert (only(h).data, only(h).title, only(h).version) == ({"percent": 100.0}, "Loading", 1)


@pytest.mark.parametrize("progress", [-1, 101, float("nan"), "half"])
def test_progress_outside_0_to_100_is_refused(h: Harness, progress: Any) -> None:
    with pytest.raises(UsageError, match="from 0 to 100"):
        create_progress_artifact(progress)


def test_only_progress_that_is_there_can_be_updated(h: Harness) -> None:
    with pytest.raises(UsageError, match="is a markdown, and only progress can be updated"):
        update_progress_artifact(create_markdown_artifact("x"), 5)
    with pytest.raises(NotFound, match="no artifact"):
        update_progress_artifact("0192c3a8-12f4-7abc-9def-001122334455", 5)


def test_track_gives_the_items_and_counts_them(h: Harness) -> None:
    assert list(track([1, 2, 3], "loading", key="load")) == [1, 2, 3]

    assert (only(h).title, only(h).key, only(h).data) == ("loading", "load", {"percent": 100.0, "done": 3, "total": 3})


def test_track_of_something_without_a_length_counts_and_ends_full(h: Harness) -> None:
    items = track(x for x in "abc")
    next(items)
    assert only(h).data == {"done": 0}

    assert list(items) == ["b", "c"]

    assert only(h).data == {"percent": 100.0, "done": 3, "total": 3}


def test_a_loop_that_is_left_leaves_its_bar_where_it_was(h: Harness) -> None:
    def load() -> None:
        for item in track(range(4), "loading"):
            if item == 2:
                raise ValueError(item)

    with pytest.raises(ValueError, match="2"):
        load()

    assert only(h).data == {"percent": 50.0, "done": 2, "total": 4}


def test_track_follows_async_iterators_too(h: Harness) -> None:
    async def numbers() -> AsyncIterator[int]:
        for n in range(3):
            yield n

    async def main() -> list[int]:
        return [n async for n in track(numbers(), "async", total=3)]

    assert asyncio.run(main()) == [0, 1, 2]
    assert only(h).data == {"percent": 100.0, "done": 3, "total": 3}


def test_a_loop_that_stalls_shows_where_it_stalled_without_being_asked(h: Harness) -> None:
    items = track(range(10), "loading")
    for _ in range(4):
        next(items)

    seen = until(
        lambda: [one for one in h.store.list_artifacts().items if one.data["done"] == 3], what="three done, told by nobody but the outbox"
    )

    assert seen[0].data["percent"] == 30


# -- variables


def test_variables_are_set_read_replaced_and_removed(h: Harness) -> None:
    Variable.set("limits", {"rows": [1, 2]}, tags=["prod"])

    assert Variable.get("limits") == {"rows": [1, 2]}
    with pytest.raises(Conflict, match="already"):
        Variable.set("limits", 3)
    Variable.set("limits", None, overwrite=True)
    assert Variable.get("limits", default=7) is None
    assert Variable.unset("limits")
    assert not Variable.unset("limits")
    assert Variable.get("limits", default=7) == 7
    with pytest.raises(NotFound, match="no variable 'limits'"):
        Variable.get("limits")


def test_variables_in_async_code_are_asked_in_a_thread(h: Harness) -> None:
    @flow
    async def main() -> Any:
        await Variable.aset("limit", 1)
        before = await Variable.aget("limit")
        return before, await Variable.aunset("limit"), await Variable.aget("limit", default=None), Variable.get("limit", "sync works too")

    assert asyncio.run(main()) == (1, True, None, "sync works too")


@pytest.mark.parametrize("value", [object(), {1: "a"}, (1, 2), float("nan"), {"a": {1, 2}}])
def test_what_json_would_not_give_back_is_refused(h: Harness, value: Any) -> None:
    with pytest.raises(UsageError, match="variable 'v'"):
        Variable.set("v", value)


def test_tags_that_are_one_text_are_refused(h: Harness) -> None:
    with pytest.raises(UsageError, match=r"tags=\['prod'\]"):
        Variable.set("v", 1, tags="prod")
