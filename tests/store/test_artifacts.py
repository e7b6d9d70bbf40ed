"""Artifacts and variables: versions, lists, repeats, and content that is told again."""

from typing import Any

import msgspec
import pytest

from legato.core.artifacts import BRIEF_DATA
from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.records import Artifact, ArtifactFilter, ArtifactKind, Variable
from legato.core.states import COMPLETED
from legato.store.port import Store
from legato.system import new_id

from tests.store.make import NOON, apply, at, begin, move, task_of


def artifact(data: Any = "# Report", seconds: float = 0, **particulars: Any) -> Artifact:
    common = {"id": new_id(), "kind": ArtifactKind.MARKDOWN, "created_at": at(seconds), "updated_at": at(seconds)}
    return Artifact(data=data, **{**common, **particulars})


def save(store: Store, *artifacts: Artifact) -> None:
    assert store.apply([], [], list(artifacts), now=NOON) == []


def ids(store: Store, *, page: int = 100, **wanted: Any) -> list[str]:
    """All ids of a list, read page by page."""
    form = {name: wanted.pop(name) for name in ("oldest_first",) if name in wanted}
    found, cursor = [], None
    while True:
        got = store.list_artifacts(ArtifactFilter(**wanted), cursor=cursor, limit=page, **form)
        found += [one.id for one in got.items]
        cursor = got.cursor
        if cursor is None:
            return found


# ---------------------------------------------------------------------- artifacts


def test_an_artifact_comes_back_as_it_was_saved(store: Store) -> None:
    run = begin(store)
    task = task_of(run)
    table = {"columns": ["city", "°C", "n"], "rows": [["Zürich", 21.5, 1], ["\U0001f3bb", None, 2]]}
    one = artifact(
        table, kind=ArtifactKind.TABLE, title="Cities", description="all", flow_run_id=run.id, task_run_id=task.run_id, key="cities"
    )

    save(store, one)

    assert store.get_artifact(one.id) == msgspec.structs.replace(one, version=1)


def test_those_of_one_key_are_versions_and_the_last_is_what_the_key_means(store: Store) -> None:
    first, second, other, third = (artifact(n, key=key) for n, key in enumerate(["loss", "loss", "gain", "loss"]))
    save(store, first, second, other)
    save(store, third)

    assert [store.get_artifact(one.id).version for one in (first, second, other, third)] == [1, 2, 1, 3]
    assert store.get_artifact("loss").id == third.id
    assert store.get_artifact("loss", version=2).id == second.id
    assert ids(store, key="loss") == [third.id, second.id, first.id]
    assert ids(store, latest=True) == [third.id, other.id]
    with pytest.raises(NotFound, match="loss version 9"):
        store.get_artifact("loss", version=9)


def test_sent_again_it_is_the_same_artifact_and_the_later_content_stays(store: Store) -> None:
    one = artifact({"percent": 10.0}, kind=ArtifactKind.PROGRESS, key="loading")
    later = msgspec.structs.replace(one, data={"percent": 90.0}, title="Loading", updated_at=at(9))
    earlier = msgspec.structs.replace(one, data={"percent": 50.0}, updated_at=at(5))

    save(store, one)
    save(store, later)
    save(store, earlier, one)

    assert store.get_artifact("loading") == msgspec.structs.replace(later, version=1)
    assert ids(store, key="loading") == [one.id]


def test_told_twice_in_one_batch_it_is_added_once_with_the_later_content(store: Store) -> None:
    one = artifact({"percent": 10.0}, kind=ArtifactKind.PROGRESS, key="loading")
    later = msgspec.structs.replace(one, data={"percent": 20.0}, updated_at=at(1))

    save(store, one, later, one)

    assert store.get_artifact(one.id) == msgspec.structs.replace(later, version=1)


def test_lists_are_of_a_run_a_task_a_kind_and_go_page_by_page_either_way(store: Store) -> None:
    run, other = begin(store), begin(store)
    task = task_of(run)
    mine = [artifact(n, flow_run_id=run.id, task_run_id=task.run_id if n % 2 else None) for n in range(7)]
    link = artifact({"url": "https://a.example", "text": ""}, kind=ArtifactKind.LINK, flow_run_id=other.id)
    nobodys = artifact("outside")
    save(store, *mine, link, nobodys)

    wanted = [one.id for one in mine]
    assert ids(store, flow_run_id=run.id, page=3, oldest_first=True) == wanted
    assert ids(store, flow_run_id=run.id, page=3) == wanted[::-1]
    assert ids(store, task_run_id=task.run_id, page=2, oldest_first=True) == wanted[1::2]
    assert ids(store, kind=ArtifactKind.LINK) == [link.id]
    assert ids(store, page=4) == [nobodys.id, link.id, *wanted[::-1]]


def test_the_latest_of_each_key_goes_page_by_page(store: Store) -> None:
    versions = [artifact(n, key=f"key-{n % 5}") for n in range(13)]
    save(store, *versions)

    assert ids(store, latest=True, page=2) == [one.id for one in versions[:-6:-1]]


def test_a_brief_list_leaves_out_much_data_and_only_that(store: Store) -> None:
    short, long = artifact("short"), artifact("x" * (BRIEF_DATA + 1), title="long")
    save(store, short, long)

    page = store.list_artifacts(brief=True)

    assert [(one.title, one.data) for one in page.items] == [("long", None), ("", "short")]
    assert store.list_artifacts().items[0].data == long.data


def test_artifacts_go_with_their_run_and_the_key_falls_back_to_what_is_left(store: Store) -> None:
    run, other = begin(store), begin(store)
    first, second, only = (
        artifact(1, key="a", flow_run_id=other.id),
        artifact(2, key="a", flow_run_id=run.id),
        artifact(3, key="b", flow_run_id=run.id),
    )
    save(store, first, second, only)
    apply(store, move(run, COMPLETED, 1), 1)

    store.delete_flow_run(run.id)

    assert ids(store, latest=True) == [first.id]
    with pytest.raises(NotFound, match="artifact 'b'"):
        store.get_artifact("b")
    fresh = artifact(4, key="a")
    save(store, fresh)
    assert store.get_artifact("a").version == 3  # a number is never given twice


def test_a_bad_key_is_refused_and_nothing_of_its_batch_is_kept(store: Store) -> None:
    fine = artifact()

    with pytest.raises(UsageError, match=r"'Not A Key' cannot be an artifact's key[\s\S]*such as 'not-a-key'"):
        store.apply([], [], [fine, artifact(key="Not A Key")], now=NOON)

    assert ids(store) == []


def test_nul_in_words_and_data_does_no_harm(store: Store) -> None:
    one = artifact("a\0b", title="t\0", description="d\0")

    save(store, one)

    found = store.get_artifact(one.id)
    assert (found.data, found.title, found.description) == ("a\0b", "t\\0", "d\\0")


# ---------------------------------------------------------------------- variables


def variable(name: str, value: Any = 1, *tags: str) -> Variable:
    return Variable(name=name, value=value, tags=tags, updated_at=NOON)


def test_a_variable_holds_any_json_and_is_replaced_by_name(store: Store) -> None:
    for value in (None, True, 0, 1.5, "text \U0001f3bb", [1, [2]], {"a": {"b": None}}):
        saved = store.set_variable(variable("limits", value, "prod"), now=at(7))

        assert store.get_variable("limits") == saved == Variable(name="limits", value=value, tags=("prod",), updated_at=at(7))
    assert [one.name for one in store.list_variables()] == ["limits"]


def test_without_overwrite_a_variable_that_is_there_stays(store: Store) -> None:
    store.set_variable(variable("limit", 1), overwrite=False, now=NOON)

    with pytest.raises(Conflict, match="a variable 'limit' already"):
        store.set_variable(variable("limit", 2), overwrite=False, now=NOON)

    assert store.get_variable("limit").value == 1


def test_variables_are_listed_by_name_and_removed(store: Store) -> None:
    for name in ("zeta", "alpha", "mid_1"):
        store.set_variable(variable(name), now=NOON)

    store.delete_variable("mid_1")

    assert [one.name for one in store.list_variables()] == ["alpha", "zeta"]
    for verb in (store.get_variable, store.delete_variable):
        with pytest.raises(NotFound, match="no variable 'mid_1'"):
            verb("mid_1")


def test_a_bad_name_is_refused_with_one_that_would_do(store: Store) -> None:
    with pytest.raises(UsageError, match=r"'Max Rows!' cannot be[\s\S]*such as 'max_rows'"):
        store.set_variable(variable("Max Rows!"), now=NOON)
