"""What may be stored: any record comes back as it was, or as the text that stands for it, or is refused by a word of ours; the same on both
databases, and never by a raw error.
"""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from legato.core.clock import from_us, to_us
from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.records import Beat, ErrorDetail, FlowRunFilter, LogLine, Result, RunKind, TaskRun, Transition, Variable, WorkQueue
from legato.core.states import COMPLETED, PAUSED, RUNNING, SCHEDULED, State
from legato.store import columns, rows
from legato.store.columns import cleaned, storable
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.system import new_id

from tests.store.make import NOON, apply, at, begin, claimed, move, scheduled, task_of

hostile = st.text(st.characters(), max_size=60) | st.sampled_from(
    ["report-\udcff.txt", "a\0b", "\ud800", "\x1b[31m", "\u202eabc", "é" * 300, ""]
)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | hostile,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3),
    max_leaves=8,
)
instants = st.datetimes(timezones=st.just(UTC)) | st.datetimes(timezones=st.just(timezone(timedelta(hours=14)))) | st.datetimes()
integers = st.integers(-(2**70), 2**70)
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def or_refused(work: Callable[[], Any]) -> Any:
    """What it gives; None when it is refused as it should be."""
    try:
        return work()
    except UsageError:
        return None


@given(instants)
def test_an_instant_comes_back_exactly_or_is_refused(instant: datetime) -> None:
    us = or_refused(lambda: to_us(instant))

    assert us is None or from_us(us) == instant


def test_the_edges_of_the_calendar_are_refused_only_beyond_it() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert from_us(to_us(last)) == last
    with pytest.raises(UsageError, match="no instant in UTC"):
        to_us(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))))
    with pytest.raises(UsageError, match="has no time zone"):
        to_us(datetime(2026, 1, 1))


@given(hostile)
def test_storable_text_is_text_of_both_databases_and_stays_as_it_is(text: str) -> None:
    stored = storable(text)

    stored.encode()
    assert "\0" not in stored
    assert storable(stored) == stored
    assert stored == text or not text.isascii() or "\0" in text


@given(st.dictionaries(hostile, st.integers(), max_size=5))
def test_no_two_keys_become_one(value: dict[str, int]) -> None:
    assert len(cleaned(value)) == len({storable(key) for key in value})


def _check_flow_run(store: SqlStore, text: str, tags: list[str], parameters: dict[str, Any], number: int, instant: datetime) -> None:
    run = scheduled(
        id=new_id(), name=text, flow_name=text or "f", tags=tuple(tags), parameters=parameters, retries=number, expected_start_at=instant
    )
    run = msgspec.structs.replace(run, due_at=at(0))

    def save() -> Any:
        return store.apply([Transition(RunKind.FLOW, run.id, 1, run.state, 0, flow_run=run)], now=NOON)

    if or_refused(save) is None:
        return
    found = store.get_flow_run(run.id)
    assert (found.retries, found.expected_start_at) == (number, instant)
    assert found.name == columns.name(text)
    assert found.parameters == msgspec.json.decode(rows.text_of(parameters))
    assert [one.id for one in store.list_flow_runs(FlowRunFilter(tags=tuple(tags), text=run.id)).items] == [run.id]
    assert store.find_flow_runs(text)[:1] != [] or not text


@EXAMPLES
@given(hostile, st.lists(hostile, max_size=3), st.dictionaries(hostile, plain_json, max_size=3), integers, instants)
def test_any_flow_run_comes_back_or_is_refused(
    sql_store: SqlStore, text: str, tags: list[str], parameters: dict[str, Any], number: int, instant: datetime
) -> None:
    _check_flow_run(sql_store, text, tags, parameters, number, instant)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@MANY
@given(hostile, st.lists(hostile, max_size=3), st.dictionaries(hostile, plain_json, max_size=3), integers, instants)
def test_ten_thousand_flow_runs_come_back_or_are_refused(
    sql_store: SqlStore, text: str, tags: list[str], parameters: dict[str, Any], number: int, instant: datetime
) -> None:
    _check_flow_run(sql_store, text, tags, parameters, number, instant)


@EXAMPLES
@given(hostile, hostile, hostile, st.floats() | st.none(), integers)
def test_any_report_of_a_task_is_kept(
    sql_store: SqlStore, name: str, message: str, error: str, expires_s: float | None, level: int
) -> None:
    """What a run reports is made storable: only a number or an id may be refused."""
    run = begin(sql_store)
    task = TaskRun(
        id=new_id(), flow_run_id=run.id, key=name, name=name, state=State(RUNNING, "Running", NOON, message), created_at=NOON,
        tags=(name, message), call=name, cache_key=f"{name}/{run.id}", cache_expires_s=expires_s,
    )  # fmt: skip
    sql_store.apply([Transition(RunKind.TASK, task.id, 1, task.state, 1, run.epoch, task_run=task)], now=NOON)
    detail = ErrorDetail(type=name, message=error, traceback=error)
    done = Transition(
        RunKind.TASK, task.id, 2, State(COMPLETED, "Completed", at(1), message), 1, run.epoch, result=Result(preview=error), error=detail
    )
    sql_store.apply([done], now=at(1))

    found = sql_store.get_task_run(task.id)
    assert (found.name, found.state.message) == (storable(name), storable(message))
    assert found.error is not None
    assert found.error.message in (error, storable(error))
    line = LogLine(run.id, NOON, level, name, message)
    if or_refused(lambda: sql_store.apply([], [line], now=NOON)) is not None:
        (kept,) = sql_store.read_logs(run.id, min_level=level)
        assert (kept.message, kept.level) == (storable(message), level)


@EXAMPLES
@given(hostile, plain_json, integers)
def test_any_queue_and_any_question_end_in_an_answer_or_in_a_word_of_ours(sql_store: SqlStore, text: str, value: Any, number: int) -> None:
    for work in (
        lambda: sql_store.save_queue(WorkQueue(id=new_id(), name=text, created_at=NOON, priority=number)),
        lambda: sql_store.get_queue(text, now=NOON),
        lambda: sql_store.set_variable(Variable(name=text, value=value, updated_at=NOON), now=NOON),
        lambda: sql_store.get_deployment(text),
        lambda: sql_store.list_flow_runs(FlowRunFilter(text=text)),
        lambda: sql_store.list_flow_runs(FlowRunFilter(tags=(text,)), cursor=f"{number}.{number}"),
        lambda: sql_store.list_task_runs(text, cursor=text),
        lambda: sql_store.read_logs(text, text=text),
        lambda: sql_store.get_artifact(text),
    ):
        with contextlib.suppress(UsageError, NotFound, Conflict):
            work()


def test_what_is_declared_is_what_the_tables_hold(sql_store: SqlStore) -> None:
    """Every column of a declared table is there, in both databases, and none besides the database's own."""
    own = {"n", "workspace"}
    for table, declared in (("flow_run", rows.FLOW_RUN), ("task_run", rows.NUMBERED_TASK_RUN), ("log", rows.LOG)):
        with sql_store._database.read() as session:
            if sql_store.info()["kind"] == "sqlite":
                there = {row[1] for row in session.rows(f"pragma table_info({table})")}
            else:
                there = {
                    row[0] for row in session.rows("select column_name from information_schema.columns where table_name = :t", t=table)
                }
        assert there - own == set(declared) - own, table


def test_a_value_that_cannot_be_stored_is_named(sql_store: SqlStore) -> None:
    run = scheduled(retries=2**70)
    with pytest.raises(UsageError, match=r"flow_run\.retries cannot hold"):
        sql_store.create_flow_run(run, now=NOON)
    assert SCHEDULED is run.state.type


@pytest.mark.parametrize("number", [2**63, 2**70, -(2**63) - 1])
@pytest.mark.parametrize("what", ["attempt", "attempt of a task", "beat"])
def test_a_number_that_no_column_holds_is_its_senders_mistake(store: Store, what: str, number: int) -> None:
    run = claimed(store)

    with pytest.raises(UsageError):
        if what == "attempt":
            apply(store, move(run, PAUSED, 1, attempt=number), 1)
        elif what == "beat":
            store.heartbeat([Beat(run.id, number)], lease_s=30, now=at(1))
        else:
            apply(store, msgspec.structs.replace(task_of(run, 1), attempt=number), 1)

    assert store.get_flow_run(run.id) == run
