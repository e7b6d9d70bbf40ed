"""Flow runs as people and services handle them: made, found, listed, cancelled, paused, run again, taken up, answered, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from legato.core.clock import to_us
from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.ids import is_id
from legato.core.names import typed
from legato.core.ownership import is_held
from legato.core.records import ChangeKind, Deployment, FlowRun, FlowRunFilter, FlowRunPage, RunInput, RunKind, Transition, VerdictKind
from legato.core.rules import completed_already
from legato.core.states import CANCELLED, COMPLETED, FINAL, PAUSED, PENDING, RUNNING, SCHEDULED, State, StateType
from legato.store import columns, rows
from legato.store.database import Session
from legato.store.sql.deployments import check_parameters, deployments_by_id, have_follow
from legato.store.sql.reports import deployment_that_is_gone, record
from legato.store.sql.subject import SqlSubject, changes, creation, delete_runs, flow_runs, hold, note, statements
from legato.store.transitions import Batch
from legato.store.working import Working

if TYPE_CHECKING:
    from legato.store.lists import FlowRunQuery

_EVERYTHING = FlowRunFilter()


class SqlRuns(SqlSubject):
    """Flow runs."""

    @changes
    def create_flow_run(self, session: Session, run: FlowRun, *, now: datetime | None = None) -> FlowRun:
        if not is_id(run.id):
            raise UsageError(f"'{run.id[:80]}' is no id", hint="give a UUID in its canonical form")
        if run.state.type is not SCHEDULED:
            raise UsageError(
                f"run '{run.name}' cannot be created as {run.state.name}: nobody would hold it",
                hint="create it SCHEDULED; whoever claims it starts it",
            )
        if run.deployment_id is not None:
            stays = session.row(self._sql["deployment_stays"], id=columns.ident(run.deployment_id))
            deployment = deployments_by_id(session, {run.deployment_id}).get(run.deployment_id)
            if stays is None or deployment is None:
                raise NotFound("deployment", run.deployment_name or run.deployment_id, hint="legato deployment ls lists them")
            check_parameters(deployment, run.overrides or ())
            run = _as_made_now(run, deployment)
        verdict = record(session, [creation(run)], (), (), self._now(now))[0]
        if verdict.kind not in (VerdictKind.ACCEPTED, VerdictKind.ALREADY):
            raise Conflict(f"run {run.id} could not be created: {verdict.reason}")
        return flow_runs(session, [run.id])[0]

    def get_flow_run(self, run_id: str) -> FlowRun:
        with self._reading() as session:
            found = flow_runs(session, [run_id])
        if not found:
            raise NotFound("flow run", run_id, hint="legato run ls lists the runs that are here")
        return found[0]

    def list_flow_runs(
        self, filter: FlowRunFilter = _EVERYTHING, *, cursor: str | None = None, limit: int = 100, oldest_first: bool = False
    ) -> FlowRunPage:
        from legato.store import lists  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

        with self._reading() as session:
            found = runs_with(session, filter.text)
            page = _numbers(session, filter, limit + 1, found, cursor=cursor, oldest_first=oldest_first)
            read = session.rows(lists.select_by_number(), numbers=[n for _, n in page[:limit]]) if page else []
        by_number = {row[0]: row for row in read}
        items = [rows.flow_run_of(by_number[n][1:]) for _, n in page[:limit]]
        return FlowRunPage(items, lists.make_cursor(*page[limit - 1]) if len(page) > limit else None)

    def count_flow_runs(self, filter: FlowRunFilter = _EVERYTHING) -> dict[StateType, int]:
        from legato.store import lists  # noqa: PLC0415 start-up time: as above

        counts = {}
        with self._reading() as session:
            found = runs_with(session, filter.text)
            for state in filter.states or tuple(StateType):
                of_state = _numbers(session, msgspec.structs.replace(filter, states=(state,)), lists.COUNT_CAP + 1, found, counted=True)
                if of_state[0][0]:
                    counts[state] = int(of_state[0][0])
        return counts

    def find_flow_runs(self, text: str = "", *, limit: int = 10) -> list[FlowRun]:
        with self._reading() as session:
            found = session.rows(self._sql["flow_runs_by_name"], name=columns.name(text), limit=limit)
            prefix = text.lower()
            if not found and prefix and set(prefix) <= set("0123456789abcdef-"):
                found = session.rows(self._sql["flow_runs_by_id_prefix"], low=prefix, high=prefix + "g", limit=limit)
        return [rows.flow_run_of(row) for row in found]

    @changes
    def request_cancel(self, session: Session, run_id: str, *, now: datetime | None = None) -> FlowRun:
        now = self._now(now)
        batch, run = hold(session, run_id, now)
        if run.state_type not in FINAL:
            session.run(self._sql["wish_cancel"], id=run_id, now=to_us(now))
            if not is_held(run.epoch):
                cancelled = State(CANCELLED, "Cancelled", now, f"cancelled {_when(run)}")
                batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, cancelled, run.attempt))
                batch.write()
            else:
                note(session, ChangeKind.WISH, run_id, "cancel", now)
        return flow_runs(session, [run_id])[0]

    @changes
    def request_pause(self, session: Session, run_id: str, *, now: datetime | None = None) -> FlowRun:
        now = self._now(now)
        _, run = hold(session, run_id, now)
        if run.state_type is not RUNNING:
            raise Conflict(f"run '{run.name}' is {run.state_name}, so it cannot be paused", hint="only a run that is running can be paused")
        session.run(self._sql["wish_pause"], id=run_id, now=to_us(now))
        note(session, ChangeKind.WISH, run_id, "pause", now)
        return flow_runs(session, [run_id])[0]

    @changes
    def schedule_again(self, session: Session, run_id: str, *, why: str, now: datetime | None = None) -> FlowRun:
        now = self._now(now)
        batch, run = hold(session, run_id, now)
        if run.state_type is COMPLETED:
            raise completed_already(run.name)
        if gone := deployment_that_is_gone(session, run_id):
            raise Conflict(f"run '{run.name}' cannot be scheduled again: {gone}, and agents take only what belongs to one")
        _let_go_on(session, batch, run, why, now)
        batch.write()
        have_follow(session, [run_id])  # it may never have been taken, and its deployment have changed while it was out of line
        return flow_runs(session, [run_id])[0]

    @changes
    def take_flow_run(
        self, session: Session, run_id: str, *, host: str, pid: int, lease_s: float, why: str, now: datetime | None = None
    ) -> FlowRun:
        now = self._now(now)
        batch, run = hold(session, run_id, now)
        if run.state_type is PENDING and session.row(self._sql["is_held_by"], id=run_id, host=host, pid=pid):
            return flow_runs(session, [run_id])[0]  # asked again, because the first answer was lost
        if run.state_type is not SCHEDULED:
            _let_go_on(session, batch, run, why, now)
        elif is_held(run.epoch):
            raise _still_held(run)
        pending = State(PENDING, "Pending", now, why)
        verdict = batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, pending, run.attempt + 1), hands_over=True)
        if verdict.kind is not VerdictKind.ACCEPTED:
            raise Conflict(f"run '{run.name}' cannot be taken up: {verdict.reason or verdict.kind}")
        batch.lease(run_id, queue=None, agent_id=None, until=now + timedelta(seconds=lease_s))
        session.run(self._sql["held_by"], id=run_id, host=columns.name(host), pid=pid)
        batch.write()
        return flow_runs(session, [run_id])[0]

    @changes
    def ask_input(self, session: Session, wanted: RunInput) -> RunInput:
        session.run(
            self._sql["ask_input"],
            id=wanted.flow_run_id,
            key=columns.token(wanted.key),
            now=to_us(wanted.asked_at),
            prompt=rows.storable(wanted.prompt),
            schema=rows.text_of(wanted.schema),
        )
        return next(i for i in _inputs(session, wanted.flow_run_id) if i.key == columns.token(wanted.key))

    @changes
    def answer_input(self, session: Session, run_id: str, key: str, answer: object, *, now: datetime | None = None) -> RunInput:
        now = self._now(now)
        found = next((i for i in _inputs(session, run_id) if i.key == columns.token(key)), None)
        if found is None:
            raise NotFound("input", key, hint=f"legato run show {typed(run_id)} tells what the run asked for")
        if found.answered_at is None:
            from legato.store.answers import fitting  # noqa: PLC0415 start-up time: few runs are answered

            answer = fitting(found.schema, answer, found.prompt or found.key)
        if not session.run(self._sql["answer_input"], id=run_id, key=found.key, now=to_us(now), answer=rows.text_of(answer)):
            raise Conflict(f"'{key}' was answered already", hint="the first answer counts")
        session.run(self._sql["forget_pause"], id=run_id)
        note(session, ChangeKind.WISH, run_id, "answered", now, body={"key": found.key})
        return next(i for i in _inputs(session, run_id) if i.key == found.key)

    def list_inputs(self, run_id: str) -> list[RunInput]:
        with self._reading() as session:
            return _inputs(session, run_id)

    @changes
    def delete_flow_run(self, session: Session, run_id: str, *, now: datetime | None = None) -> None:
        now = self._now(now)
        _, run = hold(session, run_id, now)
        if run.state_type not in FINAL:
            raise Conflict(
                f"run '{run.name}' is {run.state_name}, so it cannot be deleted", hint=f"cancel it first: legato run cancel {typed(run_id)}"
            )
        delete_runs(session, [run_id], now, f"run '{run.name}' was deleted")


def _as_made_now(run: FlowRun, deployment: Deployment) -> FlowRun:
    """A new run of a deployment, which its maker had read some time before."""
    from legato.core.planning import as_the_deployment_is, follows_its_deployment  # noqa: PLC0415 start-up time: few runs have one

    return as_the_deployment_is(run, deployment) if follows_its_deployment(run) else run


FEW, FEW_WITH_TEXT = 500, 2_000
"""Runs that meet one condition of a list, up to which they are read one by one and asked for the others: what costs less than to merge
50,000. Of a text nothing can be merged.
"""


def _numbers(
    session: Session,
    filter_: FlowRunFilter,
    limit: int,
    found: list[int] | None,
    *,
    cursor: str | None = None,
    oldest_first: bool = False,
    counted: bool = False,
) -> Sequence[Any]:
    """(expected start, n) of a filter's runs, in order, at most `limit`; `counted`: how many these are, alone in one row.

    `found`: what its text is in, where that is known. Few runs that meet one condition are read, and asked for the others; else the indexes
    of all conditions are merged.
    """
    from legato.store import lists  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

    tags = tuple(dict.fromkeys(columns.name(tag) for tag in filter_.tags))
    query = lists.FlowRunQuery(filter_, tags, cursor=cursor, oldest_first=oldest_first, by_join=session.row_locks)
    if found is None and len(query.streams) > 1 and not filter_.text:
        found = _fewest(session, query)
    if found is None and query.streams:
        if query.merges:
            session.merging()
        sql, parameters = query.merged(limit)
    else:
        sql, parameters = query.read(limit, found)
    return session.rows(f"select count(*) from ({sql}) c" if counted else sql, **parameters)  # noqa: S608 made by `lists`


def _fewest(session: Session, query: FlowRunQuery) -> list[int] | None:
    """The runs of the smallest stream, where they are few."""
    sql, parameters = query.sizes(FEW)
    sizes = [*session.rows(sql, **parameters)[0]]
    least = min(sizes)
    if least > FEW:
        return None
    sql, parameters = query.numbers_of(sizes.index(least))
    return [n for (n,) in session.rows(sql, **parameters)]


def runs_with(session: Session, text: str) -> list[int] | None:
    """The runs whose name holds a text, or whose id begins with it, when they are few and an index tells; None: read the names."""
    if len(text) < _TRIGRAM or not text.isascii() or any(mark in text for mark in "%_\\"):
        return None
    kind = "sqlite" if not session.row_locks else "postgres"
    sql = statements()
    if session.row(sql[f"is_searchable_{kind}"]) is None or session.row(sql["flow_with_text"], text=f"%{text.lower()}%") is not None:
        return None
    found = {int(row[0]) for row in session.rows(sql[f"runs_with_text_{kind}"], text=f"%{text.lower()}%", limit=FEW_WITH_TEXT + 1)}
    low = text.lower()
    if set(low) <= set("0123456789abcdef-"):
        found |= {int(row[0]) for row in session.rows(sql["runs_with_id"], low=low, high=low + "g", limit=FEW_WITH_TEXT + 1)}
    return sorted(found) if len(found) <= FEW_WITH_TEXT else None


def _when(run: Working) -> str:
    """In words, what a run that nobody holds was about when it was cancelled."""
    if run.state_type is PAUSED:
        return "while it waited for a person"
    return "before it started again" if run.attempt else "before it started"


_TRIGRAM = 3


def _inputs(session: Session, run_id: str) -> list[RunInput]:
    return [rows.run_input_of(row) for row in session.rows(statements()["inputs_of"], id=run_id)]


def _let_go_on(session: Session, batch: Batch, run: Working, why: str, now: datetime) -> None:
    """Move a run that has ended, or that nobody holds while it is paused, back to SCHEDULED, with earlier wishes forgotten."""
    is_over = run.state_type in FINAL
    if not is_over and (run.state_type is not PAUSED or is_held(run.epoch)):
        raise _still_held(run)
    session.run(statements()["forget_wishes"], id=run.id)
    run.cancel_requested, run.unstarted = False, 0
    again = State(SCHEDULED, "AwaitingRetry" if is_over else "Scheduled", now, why, due_at=now)
    batch.decide(Transition(RunKind.FLOW, run.id, run.seq + 1, again, run.attempt, reopen=is_over))


def _still_held(run: Working) -> Conflict:
    return Conflict(
        f"run '{run.name}' is {run.state_name}: somebody holds it", hint="cancel it, or wait until it has ended or its lease has run out"
    )
