"""The tables' columns, each declared once, and what follows from that: rows of records, records of rows, what a transition may change.

The order of a declaration is the order of its table's select lists and inserts; nothing is said twice, and nothing by position.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from legato.core.clock import from_us, to_us
from legato.core.records import (
    Artifact,
    ArtifactKind,
    Change,
    ChangeKind,
    FlowRun,
    JournalEntry,
    LogLine,
    OnLost,
    RunInput,
    RunKind,
    TaskRun,
    Variable,
)
from legato.core.states import SCHEDULED, State, StateType
from legato.store import columns
from legato.store.columns import (
    AT,
    ERROR,
    ID,
    INT,
    NAME,
    OBJECT,
    REAL,
    RESULT,
    TEXT,
    TEXTS,
    TOKEN,
    WORDS,
    Column,
    cleaned,
    enum_of,
    int64,
    maybe,
    storable,
    text_of,
)

__all__ = ["cleaned", "int64", "storable", "text_of"]

Row: TypeAlias = Sequence[Any]

_STATE = (
    Column("state_type", enum_of(StateType), "state.type", changes=True),
    Column("state_name", NAME, "state.name", changes=True),
    Column("state_at", AT, "state.at", changes=True),
    Column("state_message", TEXT, "state.message", changes=True),
    Column("seq", INT, changes=True),
    Column("attempt", INT, changes=True),
)

FLOW_RUN_COLUMNS = (
    Column("id", ID),
    Column("flow_name", NAME),
    Column("name", NAME),
    *_STATE,
    Column("created_at", AT),
    Column("expected_start_at", AT),
    Column("due_at", maybe(AT), changes=True),
    Column("started_at", maybe(AT), changes=True),
    Column("ended_at", maybe(AT), changes=True),
    Column("parameters", OBJECT),
    Column("tags", TEXTS),
    Column("deployment_id", maybe(ID)),
    Column("deployment_name", maybe(NAME)),
    Column("schedule_id", maybe(ID)),
    Column("trigger_text", TEXT, "trigger"),
    Column("parent_run_id", maybe(ID)),
    Column("upstream", TEXTS),
    Column("flow_runner", NAME),
    Column("work_queue", maybe(NAME), changes=True),
    Column("agent_id", maybe(ID), changes=True),
    Column("lease_expires_at", maybe(AT), changes=True),
    Column("cancel_requested_at", maybe(AT)),
    Column("host", NAME),
    Column("pid", INT),
    Column("retries", INT),
    Column("on_lost", enum_of(OnLost)),
    Column("lost", INT, changes=True),
    Column("entrypoint", TEXT),
    Column("call", TEXT),
    Column("code", WORDS),
    Column("forked_from", maybe(ID)),
    Column("fork_task", maybe(TEXT)),
    Column("pause_requested_at", maybe(AT)),
    Column("result", RESULT, changes=True),
    Column("error", ERROR, changes=True),
    Column("epoch", INT, changes=True),
    Column("unstarted", INT, changes=True),
    Column("overrides", maybe(OBJECT)),
)

TASK_RUN_COLUMNS = (
    Column("id", ID),
    Column("flow_run_id", ID),
    Column("key", TEXT),
    Column("name", TEXT),
    *_STATE,
    Column("flow_attempt", INT),
    Column("created_at", AT),
    Column("started_at", maybe(AT), changes=True),
    Column("ended_at", maybe(AT), changes=True),
    Column("tags", TEXTS),
    Column("upstream", TEXTS),
    Column("cache_key", maybe(TOKEN), changes=True),
    Column("cache_expires_s", maybe(REAL), changes=True),
    Column("retries", INT),
    Column("call", TEXT),
    Column("code", WORDS),
    Column("parent_task_id", maybe(ID)),
    Column("result", RESULT, changes=True),
    Column("error", ERROR, changes=True),
)

LOG_COLUMNS = (
    Column("flow_run_id", ID),
    Column("task_run_id", maybe(ID)),
    Column("at", AT),
    Column("level", INT),
    Column("logger", TEXT),
    Column("message", TEXT),
    Column("epoch", INT),
)

FLOW_RUN: Mapping[str, str] = columns.types_of(FLOW_RUN_COLUMNS)
TASK_RUN: Mapping[str, str] = columns.types_of(TASK_RUN_COLUMNS)
NUMBERED_TASK_RUN: Mapping[str, str] = {"n": "bigint", "flow_run": "bigint", **{k: v for k, v in TASK_RUN.items() if k != "flow_run_id"}}
NUMBERED_FLOW_RUN: Mapping[str, str] = {"n": "bigint", **FLOW_RUN}
"""Rows as they are written: with their numbers, and runs named by theirs."""
LOG: Mapping[str, str] = columns.types_of(LOG_COLUMNS)

RUN_INPUT: Mapping[str, str] = {
    "flow_run_id": "text",
    "key": "text",
    "asked_at": "bigint",
    "prompt": "text",
    "input_schema": "text",
    "answered_at": "bigint",
    "answer": "text",
}

JOURNAL: Mapping[str, str] = {
    "run": "bigint",
    "seq": "bigint",
    "attempt": "bigint",
    "state_type": "text",
    "state_name": "text",
    "at": "bigint",
    "message": "text",
    "due_at": "bigint",
}

JOURNAL_ENTRY = ("kind", "run_id", "flow_run_id", *list(JOURNAL)[1:])
"""What an entry is read as: its runs by their ids."""

CHANGE: Mapping[str, str] = {
    "kind": "text",
    "subject": "text",
    "event": "text",
    "at": "bigint",
    "message": "text",
    "body": "text",
}

ARTIFACT = (
    "id",
    "kind",
    "key",
    "version",
    "title",
    "description",
    "data",
    "flow_run_id",
    "task_run_id",
    "created_at",
    "updated_at",
    "epoch",
)

CHANGING: Mapping[RunKind, tuple[str, ...]] = {
    RunKind.FLOW: tuple(column.name for column in FLOW_RUN_COLUMNS if column.changes),
    RunKind.TASK: tuple(column.name for column in TASK_RUN_COLUMNS if column.changes),
}
"""Columns that a transition may change."""

_state_types: Mapping[str, StateType] = {one.value: one for one in StateType}
_kinds: Mapping[str, RunKind] = {one.value: one for one in RunKind}
_object = msgspec.json.Decoder(dict[str, Any]).decode
_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_value = msgspec.json.Decoder().decode


def state_name(type_: str, name: str) -> str:
    """The name of a journal entry's state: one that is called as its type is has none there."""
    return name or type_.capitalize()


def us(at: datetime | None) -> int | None:
    """Microseconds of an instant that may be missing."""
    return None if at is None else to_us(at)


def instant(value: int | None) -> datetime | None:
    """The inverse of `us`."""
    return None if value is None else from_us(value)


# ---------------------------------------------------------------------- compiled when they are first wanted: few processes need all


@functools.cache
def _flow_run_writer() -> Callable[..., tuple[Any, ...]]:
    return columns.writer("flow_run", FLOW_RUN_COLUMNS, changing_from="w")


@functools.cache
def task_run_writer() -> Callable[..., tuple[Any, ...]]:
    """A function of a task run, and of what holds its changing columns as they are stored, that gives its row in the order of
    NUMBERED_TASK_RUN, after the numbers.
    """
    written = [column for column in TASK_RUN_COLUMNS if column.name != "flow_run_id"]
    return columns.writer("task_run", written, changing_from="w")


@functools.cache
def _log_writer() -> Callable[..., tuple[Any, ...]]:
    return columns.writer("log", LOG_COLUMNS)


@functools.cache
def _flow_run_reader() -> Callable[[Row], FlowRun]:
    place = {column.name: i for i, column in enumerate(FLOW_RUN_COLUMNS)}
    names = {"State": State, "state_types": _state_types, "SCHEDULED": SCHEDULED, "from_us": from_us}
    due = f"from_us(row[{place['due_at']}]) if t is SCHEDULED and row[{place['due_at']}] is not None else None"
    state = f"state=State((t := state_types[row[{place['state_type']}]]), row[{place['state_name']}], {_state_rest(place)}, {due})"
    return columns.reader(FLOW_RUN_COLUMNS, FlowRun, names=names, extra=state)


@functools.cache
def _task_run_reader() -> Callable[[Row], TaskRun]:
    place = {column.name: i for i, column in enumerate(TASK_RUN_COLUMNS)}
    names = {"State": State, "state_types": _state_types, "from_us": from_us}
    state = f"state=State(state_types[row[{place['state_type']}]], row[{place['state_name']}], {_state_rest(place)})"
    return columns.reader(TASK_RUN_COLUMNS, TaskRun, names=names, extra=state)


def _state_rest(place: Mapping[str, int]) -> str:
    return f"from_us(row[{place['state_at']}]), row[{place['state_message']}]"


def flow_run_row(run: FlowRun, changing: object) -> tuple[Any, ...]:
    """The row of a run that is created, in the order of FLOW_RUN; `changing` holds what a transition may change, as it is stored."""
    return _flow_run_writer()(run, changing)


def flow_run_of(row: Row) -> FlowRun:
    """The record of a row selected in the order of FLOW_RUN."""
    return _flow_run_reader()(row)


def task_run_of(row: Row) -> TaskRun:
    """The record of a row selected in the order of TASK_RUN."""
    return _task_run_reader()(row)


def log_row(line: LogLine) -> tuple[Any, ...]:
    """The row of a log line, in the order of LOG."""
    return _log_writer()(line)


# ---------------------------------------------------------------------- the others


def run_input_of(row: Row) -> RunInput:
    """The record of a row selected in the order of RUN_INPUT."""
    return RunInput(
        flow_run_id=row[0],
        key=row[1],
        asked_at=from_us(row[2]),
        prompt=row[3],
        schema=_object(row[4]),
        answered_at=instant(row[5]),
        answer=msgspec.json.decode(row[6]) if row[6] else None,
    )


def journal_entry_of(row: Row) -> JournalEntry:
    """The entry of a row selected as pos, then the order of JOURNAL_ENTRY, then the flow's name, the deployment and the tags."""
    pos, kind, run_id, flow_run_id, seq, attempt, type_, name, at, message, due_at, flow_name, deployment_id, tags = row
    return JournalEntry(
        pos=pos,
        kind=_kinds[kind],
        run_id=run_id,
        flow_run_id=flow_run_id,
        seq=seq,
        attempt=attempt,
        state=State(_state_types[type_], state_name(type_, name), from_us(at), message, instant(due_at)),
        flow_name=flow_name or "",
        deployment_id=deployment_id,
        tags=_tags(tags) if tags and tags != "[]" else (),
    )


def change_of(row: Row) -> Change:
    """The change of a row of `changes_after`."""
    pos, kind, subject, event, at, actor, message, body = row
    return Change(pos, ChangeKind(kind), subject, event, from_us(at), actor, message, _object(body) if body else {})


def log_line_of(row: Row) -> LogLine:
    """The line of a row selected as n, then the order of LOG."""
    n, flow_run_id, task_run_id, at, level, logger, message, epoch = row
    return LogLine(flow_run_id, from_us(at), level, logger, message, task_run_id, n, epoch)


def artifact_of(row: Row) -> Artifact:
    """The artifact of a row selected as n, then the order of ARTIFACT."""
    _, id_, kind, key, version, title, description, data, flow_run_id, task_run_id, created_at, updated_at, epoch = row
    return Artifact(
        id=id_,
        kind=ArtifactKind(kind),
        key=key,
        version=version,
        title=title,
        description=description,
        data=_value(data),
        flow_run_id=flow_run_id,
        task_run_id=task_run_id,
        created_at=from_us(created_at),
        updated_at=from_us(updated_at),
        epoch=epoch,
    )


def variable_of(row: Row) -> Variable:
    """The variable of a row of name, value, tags, updated_at."""
    return Variable(name=row[0], value=_value(row[1]), tags=_tags(row[2]), updated_at=from_us(row[3]))
