"""Flow runs as lists: creating, finding, filtering, paging, counting, deleting."""

import random

import msgspec
import pytest

from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.records import FlowRun, FlowRunFilter
from legato.core.states import COMPLETED, FAILED, RUNNING, SCHEDULED, StateType
from legato.store.port import Store
from legato.system import new_id

from tests.store.make import NOON, add_deployment, apply, at, begin, claimed, move, scheduled, state, step, task_of


def every_page(store: Store, filter_: FlowRunFilter, *, limit: int, oldest_first: bool = False) -> list[FlowRun]:
    found: list[FlowRun] = []
    cursor = None
    while True:
        page = store.list_flow_runs(filter_, cursor=cursor, limit=limit, oldest_first=oldest_first)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found


def ids(runs: list[FlowRun]) -> list[str]:
    return [run.id for run in runs]


def test_creating_the_same_run_twice_gives_the_run_that_is_there(store: Store) -> None:
    run = scheduled(60, tags=("prod",))
    first = store.create_flow_run(run, now=at(0))
    store.request_cancel(run.id, now=at(1))

    again = store.create_flow_run(run, now=at(2))

    assert first.state.type is SCHEDULED
    assert first.due_at == at(60)
    assert (again.id, again.state.name) == (run.id, "Cancelled")


def test_lists_are_by_expected_start_newest_first(store: Store) -> None:
    runs = [store.create_flow_run(scheduled(due), now=at(0)) for due in (5, 1, 9, 3)]

    newest_first = ids(store.list_flow_runs().items)

    assert newest_first == [runs[i].id for i in (2, 0, 3, 1)]
    assert ids(store.list_flow_runs(oldest_first=True).items) == newest_first[::-1]


@pytest.mark.parametrize("tagged", [False, True])
def test_pages_over_ties_hold_every_run_once(store: Store, tagged: bool) -> None:
    chance = random.Random(7)
    runs = [store.create_flow_run(scheduled(chance.choice([0, 0, 1]), tags=("prod", "ml")), now=at(0)) for _ in range(17)]
    filter_ = FlowRunFilter(tags=("ml", "prod") if tagged else ())

    whole = ids(store.list_flow_runs(filter_, limit=100).items)

    assert sorted(whole) == sorted(ids(runs))
    for limit in (1, 4, 17):
        assert ids(every_page(store, filter_, limit=limit)) == whole
        assert ids(every_page(store, filter_, limit=limit, oldest_first=True)) == whole[::-1]


def test_a_cursor_stays_true_while_runs_come_and_go(store: Store) -> None:
    runs = [store.create_flow_run(scheduled(due), now=at(0)) for due in range(6)]
    page = store.list_flow_runs(limit=3)
    store.create_flow_run(scheduled(100), now=at(0))
    store.request_cancel(runs[3].id, now=at(1))
    store.delete_flow_run(runs[3].id)

    rest = store.list_flow_runs(cursor=page.cursor, limit=10)

    assert ids(rest.items) == ids(runs[2::-1])


def test_a_cursor_from_elsewhere_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="not a cursor"):
        store.list_flow_runs(cursor="x")
    with pytest.raises(UsageError, match="not a cursor"):
        store.list_task_runs("r", cursor="x")


def test_filters_are_all_that_is_given(store: Store) -> None:
    deployment = add_deployment(store, "nightly")
    a = begin(store, flow_name="etl", tags=("prod",))
    b = begin(store, flow_name="train", tags=("prod", "gpu"))
    apply(store, move(b, FAILED, 1, name="TimedOut"), 1)
    c = store.create_flow_run(scheduled(100, deployment=deployment, tags=("gpu",), schedule_id="s1"), now=at(0))
    d = begin(store, 50, due=50, parent_run_id=a.id, flow_name="train")

    def found(**filter_: object) -> set[str]:
        return set(ids(store.list_flow_runs(FlowRunFilter(**filter_)).items))  # type: ignore[arg-type]

    assert found() == {a.id, b.id, c.id, d.id}
    assert found(states=(RUNNING,)) == {a.id, d.id}
    assert found(states=(RUNNING, FAILED)) == {a.id, b.id, d.id}
    assert found(state_names=("TimedOut",)) == {b.id}
    assert found(flow_name="train") == {b.id, d.id}
    assert found(flow_name="train", tags=("gpu",)) == {b.id}
    assert found(tags=("prod", "gpu")) == {b.id}
    assert found(tags=("nobody-uses-this",)) == set()
    assert found(deployment_id=deployment.id) == {c.id}
    assert found(schedule_id="s1") == {c.id}
    assert found(parent_run_id=a.id) == {d.id}
    assert found(top_level=True) == {a.id, b.id, c.id}
    assert found(start_after=at(50)) == {c.id, d.id}
    assert found(start_before=at(50)) == {a.id, b.id}


def test_runs_are_found_by_who_held_them(store: Store) -> None:
    run = claimed(store)

    assert ids(store.list_flow_runs(FlowRunFilter(work_queue="main")).items) == [run.id]
    assert ids(store.list_flow_runs(FlowRunFilter(agent_id="agent-1")).items) == [run.id]
    assert ids(store.list_flow_runs(FlowRunFilter(agent_id="agent-2")).items) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("heron", {"amber-heron", "grey-heron"}),
        ("HERON", {"amber-heron", "grey-heron"}),
        ("etl", {"amber-heron", "grey-heron", "50%_off"}),
        ("%", {"50%_off"}),
        ("_", {"50%_off"}),
        ("otter", set()),
    ],
)
def test_text_is_a_part_of_the_name_taken_literally(store: Store, text: str, names: set[str]) -> None:
    for name in ("amber-heron", "grey-heron", "50%_off"):
        begin(store, name=name)

    assert {run.name for run in store.list_flow_runs(FlowRunFilter(text=text)).items} == names


def test_text_may_be_the_beginning_of_an_id(store: Store) -> None:
    run = begin(store)

    assert ids(store.list_flow_runs(FlowRunFilter(text=run.id[:20])).items) == [run.id]


def test_runs_are_found_by_name_or_by_the_beginning_of_their_id(store: Store) -> None:
    older, newer, other = begin(store, name="brisk-otter"), begin(store, name="brisk-otter"), begin(store, name="calm-owl")

    assert ids(store.find_flow_runs("brisk-otter")) == [newer.id, older.id]
    assert ids(store.find_flow_runs(other.id[:-1])) == [other.id]
    assert ids(store.find_flow_runs(other.id)) == [other.id]
    assert store.find_flow_runs("calm") == []
    assert len(store.find_flow_runs("0", limit=2)) == 2


def test_counts_are_by_state_type(store: Store) -> None:
    for tags in (("a",), ("a", "b"), ()):
        begin(store, tags=tags)
    store.create_flow_run(scheduled(60, tags=("a",)), now=at(0))

    assert store.count_flow_runs() == {SCHEDULED: 1, RUNNING: 3}
    assert store.count_flow_runs(FlowRunFilter(tags=("a",))) == {SCHEDULED: 1, RUNNING: 2}
    assert store.count_flow_runs(FlowRunFilter(states=(RUNNING,), tags=("b",))) == {RUNNING: 1}


def test_flows_are_known_once_they_have_run_or_are_deployed(store: Store) -> None:
    begin(store, flow_name="train")
    begin(store, flow_name="train")
    add_deployment(store, flow_name="etl")

    assert [flow.name for flow in store.list_flows()] == ["etl", "train"]


def test_task_runs_are_paged_in_order_of_creation(store: Store) -> None:
    run, other = begin(store), begin(store)
    firsts = [task_of(run, name=f"train-{i}") for i in range(7)]
    store.apply([*firsts, task_of(other)], now=at(0))

    page = store.list_task_runs(run.id, limit=3)
    rest = store.list_task_runs(run.id, cursor=page.cursor, limit=100)

    assert [t.name for t in [*page.items, *rest.items]] == [f"train-{i}" for i in range(7)]
    assert rest.cursor is None


def test_task_runs_are_counted_by_flow_run_and_state(store: Store) -> None:
    run, empty = begin(store), begin(store)
    a, b = task_of(run), task_of(run)
    store.apply([a, b, step(a, RUNNING)], now=at(0))

    counts = store.count_task_runs([run.id, empty.id])

    assert {run_id: {str(k): v for k, v in types.items()} for run_id, types in counts.items()} == {run.id: {"pending": 1, "running": 1}}


def test_only_an_ended_run_can_be_deleted_and_leaves_nothing(store: Store) -> None:
    run = begin(store, tags=("prod",))
    first = task_of(run)
    apply(store, first)
    with pytest.raises(Conflict, match="cannot be deleted"):
        store.delete_flow_run(run.id)
    apply(store, move(run, COMPLETED, 1), 1)

    store.delete_flow_run(run.id)

    with pytest.raises(NotFound):
        store.get_flow_run(run.id)
    with pytest.raises(NotFound):
        store.get_task_run(first.run_id)
    assert store.list_flow_runs(FlowRunFilter(tags=("prod",))).items == []
    with pytest.raises(NotFound):
        store.delete_flow_run(run.id)


@pytest.mark.parametrize("verb", ["request_cancel", "delete_flow_run"])
def test_changing_a_run_that_is_not_here_says_so(store: Store, verb: str) -> None:
    with pytest.raises(NotFound, match="no flow run"):
        getattr(store, verb)(new_id())


def test_the_store_says_what_it_is(store: Store) -> None:
    info = store.info()

    assert info["kind"] in {"sqlite", "postgres"}
    assert info["schema_version"].isdigit()
    assert info["location"]


def test_closing_twice_is_harmless(store: Store) -> None:
    store.close()
    store.close()


@pytest.mark.parametrize("type_", [each for each in StateType if each is not SCHEDULED])
def test_a_run_that_nobody_would_hold_is_not_created(store: Store, type_: StateType) -> None:
    run = msgspec.structs.replace(scheduled(), state=state(type_))

    with pytest.raises(UsageError, match="nobody would hold it"):
        store.create_flow_run(run, now=NOON)

    assert store.list_flow_runs().items == []


@pytest.mark.parametrize("makers_clock_is_off_by_s", [0, -3600, 3600, 50 * 365 * 86_400])
def test_a_new_runs_lease_is_by_the_stores_clock_whatever_its_makers_clock_says(store: Store, makers_clock_is_off_by_s: int) -> None:
    run = begin(store, host="elsewhere~1", pid=7, lease_expires_at=at(makers_clock_is_off_by_s + 30))

    assert store.expired_leases(now=at(29)) == []
    assert [each.id for each in store.expired_leases(now=at(31))] == [run.id]


def test_a_list_of_runs_with_too_many_tags_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="at once"):
        store.list_flow_runs(FlowRunFilter(tags=tuple(f"t{i}" for i in range(2000))))
