"""What all subjects of the SQL store share: the database, the statements, the clock, the workspace; how a verb becomes a transaction; and the
note in the journal that others learn of it by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import msgspec

from legato.core.clock import Clock, to_us
from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.records import ChangeKind, FlowRun, RunKind, Transition
from legato.core.states import SCHEDULED, State
from legato.store import rows
from legato.store.database import LATEST, Database, Session, load_statements
from legato.store.transitions import Batch, in_workspace
from legato.store.working import Working
from legato.system import SystemClock

ANSWERS_KEPT_US = 3_600_000_000
"""Microseconds for which an answer is kept for whoever asks again."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_S = TypeVar("_S", bound="SqlSubject")


_FOR_READING = {
    "journal": {"kind": "case when j.run > 0 then 'task' else 'flow' end", "run_id": "coalesce(t.id, r.id)", "flow_run_id": "r.id"},
    "task_run": {"flow_run_id": "(select id from flow_run where n = t.flow_run)"},
}
"""Rows name runs by their numbers, records by their ids."""


@functools.cache
def statements() -> Mapping[str, str]:
    """The named statements, with the column lists filled in."""
    columns = {
        "{flow_run}": ", ".join(rows.FLOW_RUN),
        "{task_run}": ", ".join(_FOR_READING["task_run"].get(name, f"t.{name}") for name in rows.TASK_RUN),
        "{journal}": ", ".join(_FOR_READING["journal"].get(name, f"j.{name}") for name in rows.JOURNAL_ENTRY),
        "{run_input}": ", ".join(rows.RUN_INPUT),
        "{artifact}": ", ".join(rows.ARTIFACT),
    }
    return {
        name: functools.reduce(lambda text, word: text.replace(word, columns[word]), columns, sql)
        for name, sql in load_statements().items()
    }


class SqlSubject:
    """A part of the store. Its only state is this; what subjects need of each other are functions of a session."""

    can_wait = False
    knows_batches = True

    def __init__(self, database: Database, *, clock: Clock | None = None, workspace: int = 1) -> None:
        self._database = database
        self._clock = database.clock or clock or SystemClock()
        self._sql = statements()
        self.workspace = workspace

    @property
    def address(self) -> str:
        """What tells this store from others: reports that could not be sent to it are given to no other."""
        return f"{self._database.kind}:{self._database.location}"

    @property
    def database(self) -> Database:
        """What it is on."""
        return self._database

    def info(self) -> Mapping[str, str]:
        return {"kind": self._database.kind, "location": self._database.location, "schema_version": str(LATEST)}

    def foreign_changes(self) -> bool:
        """Whether another process has written since this was last asked (see `Database.foreign_changes`)."""
        return self._database.foreign_changes()

    def close(self) -> None:
        self._database.close()

    def once(self, key: str, work: Callable[[], _T], *, asked: str = "", now: datetime | None = None) -> _T | msgspec.Raw:
        """What `work` answers, done once under this key, in one transaction with it: asked again, the same answer as JSON.

        The key is taken first and the answer written last, so whoever comes second waits and reads it. An error leaves no key: asked again,
        it is done again. An empty answer (no run to claim yet) is none. `asked` stands for the whole request: `Conflict` where another was
        made under this key.
        """
        at = to_us(self._now(now))

        def body(session: Session) -> _T | msgspec.Raw:
            session.run(self._sql["prune_answers"], before=at - ANSWERS_KEPT_US)
            if not session.run(self._sql["take_key"], key=key, at=at, asked=asked):
                row = session.row(self._sql["answer_of"], key=key)
                if row and asked and row[1] not in ("", asked):
                    raise Conflict(
                        "something else was asked under this Idempotency-Key",
                        hint="take a new key for each change; the same one only to ask again",
                    )
                return msgspec.Raw((row[0] if row and row[0] else "null").encode())
            answer = work()
            if answer == []:
                session.run(self._sql["forget_key"], key=key)
            else:
                from legato.core.json_times import in_full  # noqa: PLC0415 start-up time: only servers keep answers

                session.run(self._sql["put_answer"], key=key, answer=rows.text_of(in_full(answer)))
            return answer

        return self._database.transact(body, self.workspace)

    def has_answer(self, key: str) -> bool:
        """Whether something was done under this key."""
        with self._reading() as session:
            return session.row(self._sql["answer_of"], key=key) is not None

    def forget_answer(self, key: str) -> None:
        """What was done under this key has been taken back: asked again, it is done again."""
        self._database.transact(lambda session: session.run(self._sql["forget_key"], key=key), self.workspace)

    @property
    def clock(self) -> Clock:
        """What the store takes for the time where it is told none; it alone judges leases. On PostgreSQL it is the database's."""
        return self._clock

    def _now(self, given: datetime | None) -> datetime:
        return given or self._clock.now()

    def _reading(self) -> Any:
        return self._database.read(self.workspace)


def changes(verb: Callable[Concatenate[_S, Session, _P], _T]) -> Callable[Concatenate[_S, _P], _T]:
    """A verb that writes: the method is given an open session after `self`, and runs again when its transaction could not be committed."""

    @functools.wraps(verb)
    def transacted(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._database.transact(lambda session: verb(self, session, *args, **kwargs), self.workspace)

    return cast("Callable[Concatenate[_S, _P], _T]", transacted)  # `wraps` gives it a class of its own


def note(
    session: Session, kind: ChangeKind, subject: str, event: str, now: datetime, *, message: str = "", body: Mapping[str, Any] | None = None
) -> None:
    """Write down what was done to something that is no run, for others to learn of. Comes last: it takes the journal's lock."""
    row = (str(kind), rows.storable(subject), event, to_us(now), rows.storable(message), rows.text_of(body) if body else None)
    session.append_to_journal(*in_workspace(session, rows.CHANGE, [row]), table="change")


def flow_runs(session: Session, ids: Sequence[str]) -> list[FlowRun]:
    """Those of these runs that are here, in no order."""
    return [rows.flow_run_of(row) for row in session.rows(statements()["flow_runs_by_id"], ids=list(ids))]


def hold(session: Session, run_id: str, now: datetime) -> tuple[Batch, Working]:
    """Read (and on PostgreSQL lock) one flow run for a change."""
    batch = Batch(session, statements(), now)
    batch.load([Transition(RunKind.FLOW, run_id, 0, State(SCHEDULED, "Scheduled", now))])
    run = batch.facts_of(run_id)
    if run is None:
        raise NotFound("flow run", run_id, hint="legato run ls lists the runs that are here")
    return batch, run


def creation(run: FlowRun) -> Transition:
    """The first transition of a run that somebody makes to be run later."""
    return Transition(RunKind.FLOW, run.id, 1, run.state, run.attempt, flow_run=run)


def delete_runs(session: Session, ids: Sequence[str], now: datetime, why: str) -> None:
    """Take runs away with all that hangs on them, their history too."""
    if not ids:
        return
    sql = statements()
    keys = sorted({row[0] for id_ in ids for row in session.rows(sql["keys_of_run"], id=id_)})
    for id_ in ids:
        for statement in ("delete_cache_claims", "delete_run_tags", "delete_logs", "delete_inputs", "delete_artifacts"):
            session.run(sql[statement], id=id_)
    if keys:
        session.run(sql["mark_latest"], keys=keys)
    note(session, ChangeKind.RUNS, "", "deleted", now, message=why, body={"flow_runs": sorted(ids)[:1000], "count": len(ids)})
    for id_ in ids:
        for statement in ("hollow_journal", "hollow_journal_of_tasks", "delete_task_runs", "delete_run"):
            session.run(sql[statement], id=id_)


def number(cursor: str | None) -> int:
    """The integer that a cursor of a plain list is."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise UsageError(f"'{cursor}' is not a cursor of this list", hint="leave the cursor out to begin at the start")
    return int(cursor)
