"""Records to database rows and back: one place that knows the columns and their order.

Instants become microseconds, tuples, dicts and structs become JSON text. Only columns that never change after a run's creation, and those
that a transition may change, are told apart: see CHANGING.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from legato.core.clock import from_us, to_us
from legato.core.errors import UsageError
from legato.core.records import (
    Artifact,
    ArtifactKind,
    Change,
    ChangeKind,
    ErrorDetail,
    FlowRun,
    JournalEntry,
    LogLine,
    OnLost,
    Result,
    RunInput,
    RunKind,
    TaskRun,
    Variable,
)
from legato.core.states import SCHEDULED, State, StateType

Row: TypeAlias = Sequence[Any]

FLOW_RUN: Mapping[str, str] = {
    "id": "text",
    "flow_name": "text",
    "name": "text",
    "state_type": "text",
    "state_name": "text",
    "state_at": "bigint",
    "state_message": "text",
    "seq": "bigint",
    "attempt": "bigint",
    "created_at": "bigint",
    "expected_start_at": "bigint",
    "due_at": "bigint",
    "started_at": "bigint",
    "ended_at": "bigint",
    "parameters": "text",
    "tags": "text",
    "deployment_id": "text",
    "deployment_name": "text",
    "schedule_id": "text",
    "trigger_text": "text",
    "parent_run_id": "text",
    "upstream": "text",
    "flow_runner": "text",
    "work_queue": "text",
    "agent_id": "text",
    "lease_expires_at": "bigint",
    "cancel_requested_at": "bigint",
    "host": "text",
    "pid": "bigint",
    "retries": "bigint",
    "on_lost": "text",
    "lost": "bigint",
    "entrypoint": "text",
    "call": "text",
    "code": "text",
    "forked_from": "text",
    "fork_task": "text",
    "pause_requested_at": "bigint",
    "result": "text",
    "error": "text",
    "epoch": "bigint",
    "unstarted": "bigint",
    "overrides": "text",
}
"""Column -> PostgreSQL type, in the order of `flow_run_row` (SQLite ignores the types)."""

TASK_RUN: Mapping[str, str] = {
    "id": "text",
    "flow_run_id": "text",
    "key": "text",
    "name": "text",
    "state_type": "text",
    "state_name": "text",
    "state_at": "bigint",
    "state_message": "text",
    "seq": "bigint",
    "attempt": "bigint",
    "flow_attempt": "bigint",
    "created_at": "bigint",
    "started_at": "bigint",
    "ended_at": "bigint",
    "tags": "text",
    "upstream": "text",
    "cache_key": "text",
    "cache_expires_s": "double precision",
    "retries": "bigint",
    "call": "text",
    "code": "text",
    "parent_task_id": "text",
    "result": "text",
    "error": "text",
}

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
    "kind": "text",
    "run_id": "text",
    "flow_run_id": "text",
    "seq": "bigint",
    "attempt": "bigint",
    "state_type": "text",
    "state_name": "text",
    "at": "bigint",
    "message": "text",
    "due_at": "bigint",
}

CHANGE: Mapping[str, str] = {
    "kind": "text",
    "subject": "text",
    "event": "text",
    "at": "bigint",
    "message": "text",
    "body": "text",
}

LOG: Mapping[str, str] = {
    "flow_run_id": "text",
    "task_run_id": "text",
    "at": "bigint",
    "level": "bigint",
    "logger": "text",
    "message": "text",
    "epoch": "bigint",
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
    RunKind.FLOW: (
        *("state_type", "state_name", "state_at", "state_message", "seq", "attempt", "due_at", "started_at", "ended_at"),
        *("work_queue", "agent_id", "lease_expires_at", "lost", "result", "error", "epoch", "unstarted"),
    ),
    RunKind.TASK: (
        *("state_type", "state_name", "state_at", "state_message", "seq", "attempt", "started_at", "ended_at"),
        *("cache_key", "cache_expires_s", "result", "error"),
    ),
}
"""Columns that a transition may change."""

_json = msgspec.json.Encoder().encode
_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_code = msgspec.json.Decoder(dict[str, str]).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_value = msgspec.json.Decoder().decode
_result = msgspec.json.Decoder(Result).decode
_error = msgspec.json.Decoder(ErrorDetail).decode


def text_of(value: object) -> str:
    """The JSON text of a record or plain value."""
    return _json(value).decode()


def storable(text: str) -> str:
    """The text as both databases can hold it: without NUL (PostgreSQL has none), lone surrogates replaced (they are not UTF-8)."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def int64(value: int, column: str) -> int:
    """The number, when both databases can hold it. Raises `UsageError` naming the column."""
    if -(2**63) <= value < 2**63:
        return int(value)
    raise UsageError(f"{column} cannot hold {value}", hint="give a whole number within 64 bits")


def us(at: datetime | None) -> int | None:
    """Microseconds of an instant that may be missing."""
    return None if at is None else to_us(at)


def instant(value: int | None) -> datetime | None:
    """The inverse of `us`."""
    return None if value is None else from_us(value)


def flow_run_row(run: FlowRun) -> tuple[Any, ...]:
    """The row of a run that is created, in the order of FLOW_RUN."""
    state = run.state
    return (
        *(run.id, storable(run.flow_name), storable(run.name), state.type, state.name, to_us(state.at), storable(state.message)),
        *(run.seq, run.attempt),
        *(to_us(run.created_at), to_us(run.expected_start_at), us(run.due_at), us(run.started_at), us(run.ended_at)),
        *(text_of(run.parameters), text_of(run.tags), run.deployment_id, run.deployment_name, run.schedule_id, run.trigger),
        *(run.parent_run_id, text_of(run.upstream), run.flow_runner, run.work_queue, run.agent_id),
        *(us(run.lease_expires_at), us(run.cancel_requested_at), run.host, run.pid, run.retries, run.on_lost, run.lost),
        *(storable(run.entrypoint), run.call, text_of(run.code) if run.code else None, run.forked_from, run.fork_task),
        us(run.pause_requested_at),
        *(text_of(run.result) if run.result else None, text_of(run.error) if run.error else None, run.epoch, run.unstarted),
        None if run.overrides is None else text_of(run.overrides),
    )


def flow_run_of(row: Row) -> FlowRun:
    """The record of a row selected in the order of FLOW_RUN."""
    due_at = instant(row[11])
    state_type = StateType(row[3])
    return FlowRun(
        id=row[0],
        flow_name=row[1],
        name=row[2],
        state=State(state_type, row[4], from_us(row[5]), row[6], due_at if state_type is SCHEDULED else None),
        seq=row[7],
        attempt=row[8],
        created_at=from_us(row[9]),
        expected_start_at=from_us(row[10]),
        due_at=due_at,
        started_at=instant(row[12]),
        ended_at=instant(row[13]),
        parameters=_object(row[14]),
        tags=_tags(row[15]),
        deployment_id=row[16],
        deployment_name=row[17],
        schedule_id=row[18],
        trigger=row[19],
        parent_run_id=row[20],
        upstream=_tags(row[21]),
        flow_runner=row[22],
        work_queue=row[23],
        agent_id=row[24],
        lease_expires_at=instant(row[25]),
        cancel_requested_at=instant(row[26]),
        host=row[27],
        pid=row[28],
        retries=row[29],
        on_lost=OnLost(row[30]),
        lost=row[31],
        entrypoint=row[32],
        call=row[33],
        code=_code(row[34]) if row[34] else None,
        forked_from=row[35],
        fork_task=row[36],
        pause_requested_at=instant(row[37]),
        result=_result(row[38]) if row[38] else None,
        error=_error(row[39]) if row[39] else None,
        epoch=row[40],
        unstarted=row[41],
        overrides=None if row[42] is None else _object(row[42]),
    )


def task_run_of(row: Row) -> TaskRun:
    """The record of a row selected in the order of TASK_RUN."""
    return TaskRun(
        id=row[0],
        flow_run_id=row[1],
        key=row[2],
        name=row[3],
        state=State(StateType(row[4]), row[5], from_us(row[6]), row[7]),
        seq=row[8],
        attempt=row[9],
        flow_attempt=row[10],
        created_at=from_us(row[11]),
        started_at=instant(row[12]),
        ended_at=instant(row[13]),
        tags=_tags(row[14]),
        upstream=_tags(row[15]),
        cache_key=row[16],
        cache_expires_s=row[17],
        retries=row[18],
        call=row[19],
        code=_code(row[20]) if row[20] else None,
        parent_task_id=row[21],
        result=_result(row[22]) if row[22] else None,
        error=_error(row[23]) if row[23] else None,
    )


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
    """The entry of a row selected as pos, then the order of JOURNAL, then the flow's name, the deployment and the tags."""
    state = State(StateType(row[6]), row[7], from_us(row[8]), row[9], instant(row[10]))
    flow_name, deployment_id, tags = row[11:]
    return JournalEntry(
        pos=row[0],
        kind=RunKind(row[1]),
        run_id=row[2],
        flow_run_id=row[3],
        seq=row[4],
        attempt=row[5],
        state=state,
        flow_name=flow_name or "",
        deployment_id=deployment_id,
        tags=_tags(tags) if tags else (),
    )


def change_of(row: Row) -> Change:
    """The change of a row of `changes_after`."""
    pos, kind, subject, event, at, actor, message, body = row
    return Change(pos, ChangeKind(kind), subject, event, from_us(at), actor, message, _object(body) if body else {})


def log_row(line: LogLine) -> tuple[Any, ...]:
    """The row of a log line, in the order of LOG."""
    return (line.flow_run_id, line.task_run_id, to_us(line.at), line.level, storable(line.logger), storable(line.message), line.epoch)


def log_line_of(row: Row) -> LogLine:
    """The line of a row selected as n, then the order of LOG."""
    return LogLine(
        n=row[0], flow_run_id=row[1], task_run_id=row[2], at=from_us(row[3]), level=row[4], logger=row[5], message=row[6], epoch=row[7]
    )


def artifact_of(row: Row) -> Artifact:
    """The artifact of a row selected as n, then the order of ARTIFACT."""
    return Artifact(
        id=row[1],
        kind=ArtifactKind(row[2]),
        key=row[3],
        version=row[4],
        title=row[5],
        description=row[6],
        data=_value(row[7]),
        flow_run_id=row[8],
        task_run_id=row[9],
        created_at=from_us(row[10]),
        updated_at=from_us(row[11]),
        epoch=row[12],
    )


def variable_of(row: Row) -> Variable:
    """The variable of a row of name, value, tags, updated_at."""
    return Variable(name=row[0], value=_value(row[1]), tags=_tags(row[2]), updated_at=from_us(row[3]))
