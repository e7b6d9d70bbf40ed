"""The store on a SQL database. Rules run inside its transactions; see `transitions` for those, `lists` for filters, `statements/` for the SQL."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeAlias

import msgspec

from legato.core.artifacts import BRIEF_DATA, check_key, check_variable_name
from legato.core.clock import Clock, from_us, to_us
from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.ids import is_id
from legato.core.queues import AGENT_LIVE, LATE_AFTER
from legato.core.records import (
    Agent,
    Artifact,
    ArtifactFilter,
    ArtifactPage,
    Beat,
    BeatReply,
    Claim,
    ClaimRequest,
    Deployment,
    DeploymentSchedule,
    Flow,
    FlowRun,
    FlowRunFilter,
    FlowRunPage,
    JournalEntry,
    LogLine,
    QueueFilter,
    QueueStatus,
    RunInput,
    RunKind,
    TaskRun,
    TaskRunPage,
    Transition,
    Variable,
    Verdict,
    VerdictKind,
    WorkQueue,
)
from legato.core.rules import state_after_crash, state_after_loss
from legato.core.states import CANCELLED, CRASHED, FINAL, PAUSED, PENDING, RUNNING, SCHEDULED, State, StateType
from legato.store import lists, rows
from legato.store.database import Database, Session, load_statements
from legato.store.migrate import LATEST
from legato.store.port import COUNT_CAP
from legato.store.transitions import Batch, Working
from legato.system import SystemClock

_EVERYTHING = FlowRunFilter()

_ALL_ARTIFACTS = ArtifactFilter()

Batched: TypeAlias = tuple[Sequence[Transition], Sequence[LogLine], Sequence[Artifact]]


@functools.cache
def statements() -> Mapping[str, str]:
    """The named statements, with the column lists filled in."""
    columns = {
        "{flow_run}": ", ".join(rows.FLOW_RUN),
        "{task_run}": ", ".join(rows.TASK_RUN),
        "{journal}": ", ".join(rows.JOURNAL),
        "{run_input}": ", ".join(rows.RUN_INPUT),
        "{artifact}": ", ".join(rows.ARTIFACT),
    }
    return {
        name: functools.reduce(lambda text, word: text.replace(word, columns[word]), columns, sql)
        for name, sql in load_statements().items()
    }


class SqlStore:
    """The `Store` port on SQLite or PostgreSQL."""

    can_wait = False

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._sql = statements()

    # ------------------------------------------------------------------ transitions

    def apply(
        self,
        transitions: Sequence[Transition],
        logs: Sequence[LogLine] = (),
        artifacts: Sequence[Artifact] = (),
        *,
        now: datetime | None = None,
    ) -> list[Verdict]:
        now = now or self._clock.now()
        try:
            with self._database.write() as session:
                return self._apply(session, transitions, logs, now, artifacts, trusting=True)
        except Conflict:  # a run that was said to be new is here already: this was sent before
            with self._database.write() as session:
                return self._apply(session, transitions, logs, now, artifacts)

    def apply_groups(self, batches: Sequence[Batched], *, now: datetime | None = None) -> list[list[Verdict] | Exception]:
        """Several clients' batches in one transaction, so that they share its commit. One that fails is told so and sinks no other."""
        now = now or self._clock.now()
        try:
            with self._database.write() as session:
                transitions, lines = [t for batch, _, _ in batches for t in batch], [line for _, logs, _ in batches for line in logs]
                artifacts = [artifact for _, _, some in batches for artifact in some]
                verdicts = iter(self._apply(session, transitions, lines, now, artifacts, trusting=True))
            return [list(islice(verdicts, len(batch))) for batch, _, _ in batches]
        except Exception:  # noqa: BLE001 whose batch it was is found by trying each alone; a repeat of a committed one is "already"
            return [self._alone(batch, now) for batch in batches]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Verbs called inside, by this thread, share one commit, where the database allows it (SQLite: one sync to disk for all)."""
        if self._database.row_locks:
            yield
            return
        with self._database.write():
            yield

    def _alone(self, batch: Batched, now: datetime) -> list[Verdict] | Exception:
        try:
            return self.apply(*batch, now=now)
        except Exception as error:  # noqa: BLE001 handed to the batch's sender
            return error

    def _apply(
        self,
        session: Session,
        transitions: Sequence[Transition],
        logs: Sequence[LogLine],
        now: datetime,
        artifacts: Sequence[Artifact] = (),
        *,
        trusting: bool = False,
    ) -> list[Verdict]:
        verdicts: list[Verdict] = []
        if transitions:
            batch = self._batch(session, now)
            batch.load(transitions, trusting=trusting)
            verdicts = [batch.decide(t) for t in transitions]
            batch.write()
        if logs:
            session.insert("log", rows.LOG, [rows.log_row(line) for line in logs])
        if artifacts:
            self._save_artifacts(session, artifacts)
        return verdicts

    def _batch(self, session: Session, now: datetime) -> Batch:
        return Batch(session, self._sql, now)

    # ------------------------------------------------------------------ flow runs

    def create_flow_run(self, run: FlowRun, *, now: datetime | None = None) -> FlowRun:
        with self._database.write() as session:
            if run.deployment_id is not None and session.row(self._sql["deployment_by_id"], id=run.deployment_id) is None:
                raise NotFound("deployment", run.deployment_name or run.deployment_id, hint="legato deployment ls lists them")
            verdict = self._apply(session, [_creation(run)], (), now or self._clock.now())[0]
            if verdict.kind not in (VerdictKind.ACCEPTED, VerdictKind.ALREADY):
                raise Conflict(f"run {run.id} could not be created: {verdict.reason}")
            return self._flow_runs(session, [run.id])[0]

    def get_flow_run(self, run_id: str) -> FlowRun:
        with self._database.read() as session:
            found = self._flow_runs(session, [run_id])
        if not found:
            raise NotFound("flow run", run_id, hint="legato run ls lists the runs that are here")
        return found[0]

    def list_flow_runs(
        self, filter: FlowRunFilter = _EVERYTHING, *, cursor: str | None = None, limit: int = 100, oldest_first: bool = False
    ) -> FlowRunPage:
        sql, parameters = lists.select_flow_runs(filter, cursor=cursor, limit=limit + 1, oldest_first=oldest_first)
        with self._database.read() as session:
            found = session.rows(sql, **parameters)
        more = len(found) > limit
        items = [rows.flow_run_of(row[1:]) for row in found[:limit]]
        return FlowRunPage(items, lists.make_cursor(to_us(items[-1].expected_start_at), found[limit - 1][0]) if more else None)

    def count_flow_runs(self, filter: FlowRunFilter = _EVERYTHING) -> dict[StateType, int]:
        counts = {}
        with self._database.read() as session:
            for state in filter.states or tuple(StateType):
                sql, parameters = lists.count_flow_runs(filter, state)
                row = session.row(sql, **parameters)
                if row and row[0]:
                    counts[state] = int(row[0])
        return counts

    def find_flow_runs(self, text: str, *, limit: int = 10) -> list[FlowRun]:
        with self._database.read() as session:
            found = session.rows(self._sql["flow_runs_by_name"], name=text, limit=limit)
            if not found and text and set(text) <= set("0123456789abcdef-"):
                found = session.rows(self._sql["flow_runs_by_id_prefix"], low=text, high=text + "g", limit=limit)
        return [rows.flow_run_of(row) for row in found]

    def request_cancel(self, run_id: str, *, now: datetime | None = None) -> FlowRun:
        now = now or self._clock.now()
        with self._database.write() as session:
            batch, run = self._hold(session, run_id, now)
            if run.state_type not in FINAL:
                session.run(self._sql["wish_cancel"], id=run_id, now=to_us(now))
                if run.lease_expires_at is None and run.state_type is not RUNNING:
                    cancelled = State(CANCELLED, "Cancelled", now, "cancelled before it started")
                    batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, cancelled, run.attempt))
                    batch.write()
            return self._flow_runs(session, [run_id])[0]

    def request_pause(self, run_id: str, *, now: datetime | None = None) -> FlowRun:
        now = now or self._clock.now()
        with self._database.write() as session:
            _, run = self._hold(session, run_id, now)
            if run.state_type is not RUNNING:
                raise Conflict(
                    f"run '{run.name}' is {run.state_name}, so it cannot be paused", hint="only a run that is running can be paused"
                )
            session.run(self._sql["wish_pause"], id=run_id, now=to_us(now))
            return self._flow_runs(session, [run_id])[0]

    def schedule_again(self, run_id: str, *, why: str, now: datetime | None = None) -> FlowRun:
        now = now or self._clock.now()
        with self._database.write() as session:
            batch, run = self._hold(session, run_id, now)
            self._let_go_on(session, batch, run, why, now)
            batch.write()
            return self._flow_runs(session, [run_id])[0]

    def take_flow_run(self, run_id: str, *, host: str, pid: int, lease_s: float, why: str, now: datetime | None = None) -> FlowRun:
        now = now or self._clock.now()
        with self._database.write() as session:
            batch, run = self._hold(session, run_id, now)
            if run.state_type is PENDING and session.row(self._sql["is_held_by"], id=run_id, host=host, pid=pid):
                return self._flow_runs(session, [run_id])[0]  # asked again, because the first answer was lost
            if run.state_type is not SCHEDULED:
                self._let_go_on(session, batch, run, why, now)
            elif run.lease_expires_at is not None:
                raise _still_held(run)
            pending = State(PENDING, "Pending", now, why)
            verdict = batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, pending, run.attempt + 1))
            if verdict.kind is not VerdictKind.ACCEPTED:
                raise Conflict(f"run '{run.name}' cannot be taken up: {verdict.reason or verdict.kind}")
            batch.lease(run_id, queue=None, agent_id=None, until=now + timedelta(seconds=lease_s))
            batch.write()
            session.run(self._sql["held_by"], id=run_id, host=host, pid=pid)
            return self._flow_runs(session, [run_id])[0]

    def _let_go_on(self, session: Session, batch: Batch, run: Working, why: str, now: datetime) -> None:
        """Move a run that has ended, or that nobody holds while it is paused, back to SCHEDULED, with earlier wishes forgotten."""
        is_over = run.state_type in FINAL
        if not is_over and (run.state_type is not PAUSED or run.lease_expires_at is not None):
            raise _still_held(run)
        session.run(self._sql["forget_wishes"], id=run.id)
        run.cancel_requested = False
        again = State(SCHEDULED, "AwaitingRetry" if is_over else "Scheduled", now, why, due_at=now)
        batch.decide(Transition(RunKind.FLOW, run.id, run.seq + 1, again, run.attempt, reopen=is_over))

    def ask_input(self, wanted: RunInput) -> RunInput:
        with self._database.write() as session:
            session.run(
                self._sql["ask_input"],
                id=wanted.flow_run_id,
                key=wanted.key,
                now=to_us(wanted.asked_at),
                prompt=rows.storable(wanted.prompt),
                schema=rows.text_of(wanted.schema),
            )
            return next(i for i in self._inputs(session, wanted.flow_run_id) if i.key == wanted.key)

    def answer_input(self, run_id: str, key: str, answer: object, *, now: datetime | None = None) -> RunInput:
        with self._database.write() as session:
            found = next((i for i in self._inputs(session, run_id) if i.key == key), None)
            if found is None:
                raise NotFound("input", key, hint=f"legato run show {run_id} tells what the run asked for")
            at = to_us(now or self._clock.now())
            if not session.run(self._sql["answer_input"], id=run_id, key=key, now=at, answer=rows.storable(rows.text_of(answer))):
                raise Conflict(f"'{key}' was answered already", hint="the first answer counts")
            session.run(self._sql["forget_pause"], id=run_id)
            return next(i for i in self._inputs(session, run_id) if i.key == key)

    def list_inputs(self, run_id: str) -> list[RunInput]:
        with self._database.read() as session:
            return self._inputs(session, run_id)

    def _inputs(self, session: Session, run_id: str) -> list[RunInput]:
        return [rows.run_input_of(row) for row in session.rows(self._sql["inputs_of"], id=run_id)]

    def delete_flow_run(self, run_id: str) -> None:
        with self._database.write() as session:
            _, run = self._hold(session, run_id, self._clock.now())
            if run.state_type not in FINAL:
                raise Conflict(
                    f"run '{run.name}' is {run.state_name}, so it cannot be deleted", hint=f"cancel it first: legato run cancel {run_id}"
                )
            self._delete(session, run_id)

    def _delete(self, session: Session, run_id: str) -> None:
        keys = [row[0] for row in session.rows(self._sql["keys_of_run"], id=run_id)]
        doomed = (
            "delete_cache_claims",
            "delete_run_tags",
            "delete_task_runs",
            "delete_logs",
            "delete_inputs",
            "delete_artifacts",
            "delete_run",
        )
        for statement in doomed:
            session.run(self._sql[statement], id=run_id)
        if keys:
            session.run(self._sql["mark_latest"], keys=keys)

    def _flow_runs(self, session: Session, ids: Sequence[str]) -> list[FlowRun]:
        return [rows.flow_run_of(row) for row in session.rows(self._sql["flow_runs_by_id"], ids=list(ids))]

    def _hold(self, session: Session, run_id: str, now: datetime) -> tuple[Batch, Working]:
        """Read (and on PostgreSQL lock) one flow run for a change."""
        batch = self._batch(session, now)
        batch.load([Transition(RunKind.FLOW, run_id, 0, State(SCHEDULED, "Scheduled", now))])
        run = batch.facts_of(run_id)
        if run is None:
            raise NotFound("flow run", run_id, hint="legato run ls lists the runs that are here")
        return batch, run

    # ------------------------------------------------------------------ task runs, history, logs

    def get_task_run(self, run_id: str) -> TaskRun:
        with self._database.read() as session:
            row = session.row(self._sql["task_run_by_id"], id=run_id)
        if row is None:
            raise NotFound("task run", run_id)
        return rows.task_run_of(row)

    def list_task_runs(self, flow_run_id: str, *, cursor: str | None = None, limit: int = 1000) -> TaskRunPage:
        after = _number(cursor)
        with self._database.read() as session:
            found = session.rows(self._sql["task_runs_after"], flow_run_id=flow_run_id, after=after, limit=limit + 1)
        items = [rows.task_run_of(row[1:]) for row in found[:limit]]
        return TaskRunPage(items, str(found[limit - 1][0]) if len(found) > limit else None)

    def count_task_runs(self, flow_run_ids: Sequence[str]) -> dict[str, dict[StateType, int]]:
        counts: dict[str, dict[StateType, int]] = {}
        with self._database.read() as session:
            for run_id, state, n in session.rows(self._sql["count_task_runs"], ids=list(flow_run_ids)):
                counts.setdefault(run_id, {})[StateType(state)] = n
        return counts

    def list_transitions(self, run_id: str) -> list[JournalEntry]:
        with self._database.read() as session:
            return [rows.journal_entry_of(row) for row in session.rows(self._sql["transitions_of"], run_id=run_id)]

    def read_journal(self, after: int, *, limit: int = 1000) -> list[JournalEntry]:
        with self._database.read() as session:
            return [rows.journal_entry_of(row) for row in session.rows(self._sql["journal_after"], after=after, limit=limit)]

    def journal_position(self) -> int:
        with self._database.read() as session:
            row = session.row(self._sql["journal_position"])
        return int(row[0]) if row else 0

    def read_logs(
        self,
        flow_run_id: str,
        *,
        task_run_id: str | None = None,
        min_level: int = 0,
        text: str = "",
        after: int = 0,
        limit: int = 500,
    ) -> list[LogLine]:
        where = lists.Where()
        where.add("flow_run_id = :flow_run_id and n > :after and level >= :level", flow_run_id=flow_run_id, after=after, level=min_level)
        if task_run_id is not None:
            where.add("task_run_id = :task_run_id", task_run_id=task_run_id)
        if text:
            where.add("lower(message) like :text escape '\\'", text=lists.containing(text))
        sql = f"select n, {', '.join(rows.LOG)} from log where {where.text} order by n limit :limit"  # noqa: S608 built from names of ours
        with self._database.read() as session:
            return [rows.log_line_of(row) for row in session.rows(sql, **where.parameters, limit=limit)]

    def count_logs(self, flow_run_ids: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        with self._database.read() as session:
            found = session.rows(self._sql["count_logs"], ids=list(flow_run_ids))
        return {run_id: (int(total), int(warnings), int(errors)) for run_id, total, warnings, errors in found}

    # ------------------------------------------------------------------ artifacts, variables

    def _save_artifacts(self, session: Session, artifacts: Sequence[Artifact]) -> None:
        for artifact in artifacts:
            _check_artifact(artifact)
        here = {row[0] for row in session.rows(self._sql["artifacts_here"], ids=[artifact.id for artifact in artifacts])}
        new: list[Artifact] = []
        for artifact in artifacts:
            if artifact.id in here:
                self._change_artifact(session, artifact)
            elif artifact.id in {one.id for one in new}:  # told twice in one batch: the last content counts
                new = [artifact if one.id == artifact.id and one.updated_at <= artifact.updated_at else one for one in new]
            else:
                new.append(artifact)
        versions = self._take_versions(session, Counter(artifact.key for artifact in new if artifact.key))
        for artifact in new:
            self._add_artifact(session, artifact, next(versions[artifact.key]) if artifact.key else 0)
        if versions:
            session.run(self._sql["mark_latest"], keys=sorted(versions))

    def _take_versions(self, session: Session, counts: Mapping[str, int]) -> dict[str, Iterator[int]]:
        """By key, the numbers of its new versions. Keys are locked in one order, whoever writes."""
        versions = {}
        for key, count in sorted(counts.items()):
            row = session.row(self._sql["take_versions"], key=key, count=count)
            assert row is not None, "the statement returns the row it wrote"
            versions[key] = iter(range(int(row[0]) - count + 1, int(row[0]) + 1))
        return versions

    def _add_artifact(self, session: Session, artifact: Artifact, version: int) -> None:
        session.run(
            self._sql["add_artifact"],
            id=artifact.id,
            kind=str(artifact.kind),
            key=artifact.key,
            version=version,
            flow_run_id=artifact.flow_run_id,
            task_run_id=artifact.task_run_id,
            created_at=to_us(artifact.created_at),
            **_content(artifact),
        )

    def _change_artifact(self, session: Session, artifact: Artifact) -> None:
        session.run(self._sql["change_artifact"], id=artifact.id, **_content(artifact))

    def get_artifact(self, wanted: str, *, version: int = 0) -> Artifact:
        with self._database.read() as session:
            if is_id(wanted):
                row = session.row(self._sql["artifact_by_id"], id=wanted)
            else:
                row = session.row(self._sql["artifact_of_key"], key=wanted, version=version)
        if row is None:
            named = f"{wanted} version {version}" if version else wanted
            raise NotFound("artifact", named, hint="legato artifact ls lists them")
        return rows.artifact_of(row)

    def list_artifacts(
        self,
        filter: ArtifactFilter = _ALL_ARTIFACTS,
        *,
        cursor: str | None = None,
        limit: int = 100,
        oldest_first: bool = False,
        brief: bool = False,
    ) -> ArtifactPage:
        longest = BRIEF_DATA if brief else None
        sql, parameters = lists.select_artifacts(filter, after=_number(cursor), oldest_first=oldest_first, longest=longest)
        with self._database.read() as session:
            found = session.rows(sql, **parameters, limit=limit + 1)
        return ArtifactPage([rows.artifact_of(row) for row in found[:limit]], str(found[limit - 1][0]) if len(found) > limit else None)

    def get_variable(self, name: str) -> Variable:
        with self._database.read() as session:
            return self._variable(session, name)

    def _variable(self, session: Session, name: str) -> Variable:
        row = session.row(self._sql["variable_by_name"], name=name)
        if row is None:
            raise NotFound("variable", name, hint=f"legato variable ls lists them; make it: legato variable set {name} VALUE")
        return rows.variable_of(row)

    def set_variable(self, variable: Variable, *, overwrite: bool = True, now: datetime | None = None) -> Variable:
        check_variable_name(variable.name)
        value = {"value": rows.text_of(variable.value), "tags": rows.text_of(variable.tags)}
        statement = self._sql["save_variable" if overwrite else "add_variable"]
        with self._database.write() as session:
            if not session.run(statement, name=variable.name, now=to_us(now or self._clock.now()), **value):
                raise Conflict(
                    f"there is a variable '{variable.name}' already", hint="say overwrite=True (--overwrite) to replace its value"
                )
            return self._variable(session, variable.name)

    def list_variables(self) -> list[Variable]:
        with self._database.read() as session:
            return [rows.variable_of(row) for row in session.rows(self._sql["list_variables"])]

    def delete_variable(self, name: str) -> None:
        with self._database.write() as session:
            self._variable(session, name)
            session.run(self._sql["delete_variable"], name=name)

    # ------------------------------------------------------------------ claims and leases

    def claim_runs(self, request: ClaimRequest, *, now: datetime | None = None) -> list[Claim]:
        now = now or self._clock.now()
        claimed: list[str] = []
        with self._database.write() as session:
            for queue_id, record in session.rows(self._sql["queues_to_claim_from"], names=list(request.queues)):
                if len(claimed) < request.limit:
                    queue = msgspec.json.decode(record, type=WorkQueue)
                    claimed += self._claim_from(session, queue_id, queue, request, request.limit - len(claimed), now)
            runs = {run.id: run for run in self._flow_runs(session, claimed)} if claimed else {}
            deployments = self._deployments_by_id(session, {run.deployment_id or "" for run in runs.values()})
        return [Claim(flow_run=runs[id_], deployment=deployments[runs[id_].deployment_id or ""]) for id_ in claimed]

    def _claim_from(self, session: Session, queue_id: str, queue: WorkQueue, request: ClaimRequest, limit: int, now: datetime) -> list[str]:
        if queue.concurrency_limit is not None:
            if self._database.row_locks:
                session.rows(self._sql["lock_queue"], id=queue_id)
            used = session.row(self._sql["used_slots"], queue_id=queue_id)
            limit = min(limit, queue.concurrency_limit - (int(used[0]) if used else 0))
        filter_ = queue.filter
        if request.flow_runners:
            allowed = tuple(set(filter_.flow_runners) & set(request.flow_runners)) if filter_.flow_runners else request.flow_runners
            filter_ = msgspec.structs.replace(filter_, flow_runners=allowed)
            limit = limit if allowed else 0
        if limit <= 0:
            return []
        sql, parameters = lists.select_due(filter_, lock=self._database.row_locks)
        ids = [row[0] for row in session.rows(sql, **parameters, until=to_us(now), limit=limit)]
        return self._hand_over(session, queue, ids, request, now)

    def _hand_over(self, session: Session, queue: WorkQueue, ids: Sequence[str], request: ClaimRequest, now: datetime) -> list[str]:
        if not ids:
            return []
        batch = self._batch(session, now)
        pending = State(PENDING, "Pending", now, f"claimed from queue {queue.name}")
        batch.load([Transition(RunKind.FLOW, id_, 0, pending) for id_ in ids])
        claimed = []
        for id_ in ids:
            run = batch.facts_of(id_)
            if run is None:
                continue
            verdict = batch.decide(Transition(RunKind.FLOW, id_, run.seq + 1, pending, run.attempt + 1))
            if verdict.kind is VerdictKind.ACCEPTED:
                batch.lease(id_, queue=queue.name, agent_id=request.agent_id, until=now + timedelta(seconds=request.lease_s))
                session.run(self._sql["take_slot"], run_id=id_, queue_id=queue.id)
                claimed.append(id_)
        batch.write()
        return claimed

    def next_due_at(self, *, now: datetime | None = None) -> datetime | None:  # noqa: ARG002 the port's signature
        with self._database.read() as session:
            row = session.row(self._sql["next_due"])
        return rows.instant(row[0]) if row else None

    def next_due_after(self, after: datetime) -> datetime | None:
        """When the next scheduled run later than `after` becomes due: what a server sets its alarm to."""
        with self._database.read() as session:
            row = session.row(self._sql["next_due_after"], after=to_us(after))
        return rows.instant(row[0]) if row else None

    def heartbeat(self, beats: Sequence[Beat], *, lease_s: float, now: datetime | None = None) -> list[BeatReply]:
        until = (now or self._clock.now()) + timedelta(seconds=lease_s)
        replies = []
        with self._database.write() as session:
            for beat in beats:
                row = session.row(self._sql["beat"], id=beat.run_id, attempt=beat.attempt, lease=to_us(until))
                if row is None:
                    replies.append(BeatReply(beat.run_id, alive=False, reason=f"attempt {beat.attempt} is over"))
                else:
                    replies.append(BeatReply(beat.run_id, True, row[0] is not None, row[1] is not None))
        return replies

    def expired_leases(self, *, limit: int = 100, now: datetime | None = None) -> list[FlowRun]:
        with self._database.read() as session:
            found = session.rows(self._sql["expired_leases"], now=to_us(now or self._clock.now()), limit=limit)
        return [rows.flow_run_of(row) for row in found]

    def report_lost(self, run_id: str, attempt: int, why: str, *, now: datetime | None = None) -> FlowRun:
        now = now or self._clock.now()
        with self._database.write() as session:
            batch, run = self._hold(session, run_id, now)
            is_suspended = run.state_type is PAUSED and run.lease_expires_at is None  # its process went on purpose
            if run.attempt == attempt and run.state_type not in FINAL and not is_suspended:
                after = state_after_loss(run, now, why)
                batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, after, attempt))
                again = state_after_crash(run, now) if after.type is CRASHED else None
                if again is not None:
                    batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, again, attempt, reopen=True))
                batch.write()
            return self._flow_runs(session, [run_id])[0]

    # ------------------------------------------------------------------ flows, deployments, schedules

    def list_flows(self) -> list[Flow]:
        with self._database.read() as session:
            found = session.rows(self._sql["list_flows"])
        return [Flow(id=row[0], name=row[1], created_at=from_us(row[2]), description=row[3]) for row in found]

    def save_deployment(self, deployment: Deployment, *, now: datetime | None = None) -> Deployment:
        now = now or self._clock.now()
        with self._database.write() as session:
            found = session.row(self._sql["deployment_by_name"], flow_name=deployment.flow_name, name=deployment.name)
            if found is not None:
                old = msgspec.json.decode(found[0], type=Deployment)
                deployment = msgspec.structs.replace(deployment, id=old.id, created_at=old.created_at)
            session.run(self._sql["add_flow"], id=deployment.id, name=deployment.flow_name, now=to_us(now))
            self._write_deployment(session, deployment)
            self._save_schedules(session, deployment, now)
            return self._deployment(session, deployment.id)

    def _write_deployment(self, session: Session, deployment: Deployment) -> None:
        bare = msgspec.structs.replace(deployment, schedules=())
        session.run(
            self._sql["save_deployment"],
            id=bare.id,
            flow_name=bare.flow_name,
            name=bare.name,
            paused=int(bare.paused),
            record=rows.text_of(bare),
        )

    def _save_schedules(self, session: Session, deployment: Deployment, now: datetime) -> None:
        """Keep unchanged schedules with their cursors; edited and removed ones lose their unstarted runs, and begin anew from now."""
        old = {s.id: s for s in self._schedules(session, deployment.id)}
        kept = set()
        for wanted in deployment.schedules:
            same = next((s for s in old.values() if s.id not in kept and (s.id == wanted.id or s.schedule == wanted.schedule)), None)
            if same is not None:
                kept.add(same.id)
                if (same.schedule, same.active, same.catchup) == (wanted.schedule, wanted.active, wanted.catchup):
                    continue
                self._remove_unstarted(session, "unstarted_of_schedule", schedule_id=same.id)
            version, id_ = (same.version + 1, same.id) if same is not None else (1, wanted.id)
            saved = msgspec.structs.replace(wanted, id=id_, deployment_id=deployment.id, version=version, cursor_at=now)
            session.run(
                self._sql["save_schedule"],
                id=id_,
                deployment_id=deployment.id,
                active=int(saved.active),
                version=version,
                cursor_at=to_us(now),
                record=rows.text_of(saved),
            )
        for gone in old.keys() - kept:
            self._remove_unstarted(session, "unstarted_of_schedule", schedule_id=gone)
            session.run(self._sql["delete_ticks"], id=gone)
            session.run(self._sql["delete_schedule"], id=gone)
        if deployment.paused:
            self._remove_unstarted(session, "unstarted_of_deployment", deployment_id=deployment.id)

    def _remove_unstarted(self, session: Session, statement: str, **parameters: str) -> list[str]:
        """Remove runs that a schedule planned and nobody has taken: they were a plan, not history."""
        ids = [row[0] for row in session.rows(self._sql[statement], **parameters)]
        for id_ in ids:
            self._delete(session, id_)
        return ids

    def _schedules(self, session: Session, deployment_id: str) -> list[DeploymentSchedule]:
        return [_schedule_of(row) for row in session.rows(self._sql["schedules_of"], deployment_id=deployment_id)]

    def _deployments_by_id(self, session: Session, ids: set[str]) -> dict[str, Deployment]:
        found = session.rows(self._sql["deployments_by_id"], ids=sorted(ids)) if ids else []
        return {row[0]: msgspec.json.decode(row[1], type=Deployment) for row in found}

    def _deployment(self, session: Session, name: str) -> Deployment:
        flow_name, slash, short = name.rpartition("/")
        if slash:
            row = session.row(self._sql["deployment_by_name"], flow_name=flow_name, name=short)
        else:
            row = session.row(self._sql["deployment_by_id"], id=name) if is_id(name) else None
        if row is None:
            raise NotFound("deployment", name, hint="legato deployment ls lists them; a deployment's name is flow/name")
        deployment = msgspec.json.decode(row[0], type=Deployment)
        return msgspec.structs.replace(deployment, schedules=tuple(self._schedules(session, deployment.id)))

    def get_deployment(self, name: str) -> Deployment:
        with self._database.read() as session:
            return self._deployment(session, name)

    def list_deployments(self) -> list[Deployment]:
        with self._database.read() as session:
            found = [msgspec.json.decode(row[0], type=Deployment) for row in session.rows(self._sql["list_deployments"])]
            schedules = [_schedule_of(row) for row in session.rows(self._sql["all_schedules"])]
        return [msgspec.structs.replace(d, schedules=tuple(s for s in schedules if s.deployment_id == d.id)) for d in found]

    def set_deployment_paused(self, name: str, paused: bool, *, now: datetime | None = None) -> Deployment:
        now = now or self._clock.now()
        with self._database.write() as session:
            deployment = self._deployment(session, name)
            if deployment.paused != paused:
                self._write_deployment(session, msgspec.structs.replace(deployment, paused=paused, updated_at=now))
                if paused:
                    self._remove_unstarted(session, "unstarted_of_deployment", deployment_id=deployment.id)
                else:  # begin anew from now: what passed while it was paused is not caught up
                    self._restart_schedules(session, deployment, now)
            return self._deployment(session, deployment.id)

    def _restart_schedules(self, session: Session, deployment: Deployment, now: datetime) -> None:
        for schedule in deployment.schedules:
            saved = msgspec.structs.replace(schedule, version=schedule.version + 1, cursor_at=now)
            session.run(
                self._sql["save_schedule"],
                id=saved.id,
                deployment_id=deployment.id,
                active=int(saved.active),
                version=saved.version,
                cursor_at=to_us(now),
                record=rows.text_of(saved),
            )

    def delete_deployment(self, name: str, *, now: datetime | None = None) -> int:
        now = now or self._clock.now()
        with self._database.write() as session:
            deployment = self._deployment(session, name)
            planned = self._remove_unstarted(session, "unstarted_of_deployment", deployment_id=deployment.id)
            waiting = [row[0] for row in session.rows(self._sql["waiting_of_deployment"], deployment_id=deployment.id)]
            batch = self._batch(session, now)
            cancelled = State(CANCELLED, "Cancelled", now, f"deployment {deployment.full_name} was deleted")
            batch.load([Transition(RunKind.FLOW, id_, 0, cancelled) for id_ in waiting])
            for id_ in waiting:
                if (run := batch.facts_of(id_)) is not None:
                    batch.decide(Transition(RunKind.FLOW, id_, run.seq + 1, cancelled, run.attempt))
            batch.write()
            for schedule in deployment.schedules:
                session.run(self._sql["delete_ticks"], id=schedule.id)
                session.run(self._sql["delete_schedule"], id=schedule.id)
            session.run(self._sql["delete_deployment"], id=deployment.id)
            return len(planned) + len(waiting)

    def list_schedules(self) -> list[DeploymentSchedule]:
        with self._database.read() as session:
            return [_schedule_of(row) for row in session.rows(self._sql["live_schedules"])]

    def schedule_runs(
        self, schedule: DeploymentSchedule, runs: Sequence[FlowRun], *, cursor_at: datetime, now: datetime | None = None
    ) -> int:
        with self._database.write() as session:
            if not session.run(self._sql["move_cursor"], id=schedule.id, version=schedule.version, cursor_at=to_us(cursor_at)):
                raise Conflict(f"schedule {schedule.id} has been edited or removed since it was read")
            week_before = to_us(cursor_at - timedelta(days=7))
            session.run(self._sql["prune_ticks"], schedule_id=schedule.id, version=schedule.version, before=week_before)
            new = [run for run in runs if self._take_tick(session, schedule, run)]
            self._apply(session, [_creation(run) for run in new], (), now or self._clock.now())
            return len(new)

    def _take_tick(self, session: Session, schedule: DeploymentSchedule, run: FlowRun) -> bool:
        at = to_us(run.expected_start_at)
        return session.run(self._sql["add_tick"], schedule_id=schedule.id, version=schedule.version, at=at, run_id=run.id) == 1

    # ------------------------------------------------------------------ work queues, agents

    def save_queue(self, queue: WorkQueue) -> WorkQueue:
        if queue.concurrency_limit is not None and queue.concurrency_limit < 0:
            raise UsageError(f"a queue's limit cannot be {queue.concurrency_limit}", hint="give a number from 0 up, or none for no limit")
        with self._database.write() as session:
            found = session.row(self._sql["queue_by_name"], name=queue.name)
            if found is not None and msgspec.json.decode(found[0], type=WorkQueue).id != queue.id:
                raise Conflict(f"there is a work queue '{queue.name}' already", hint="choose another name, or edit that one")
            session.run(
                self._sql["save_queue"],
                id=queue.id,
                name=queue.name,
                priority=queue.priority,
                paused=int(queue.paused),
                concurrency_limit=queue.concurrency_limit,
                record=rows.text_of(queue),
            )
        return queue

    def _queue(self, session: Session, name: str) -> WorkQueue:
        row = session.row(self._sql["queue_by_name"], name=name)
        if row is None:
            raise NotFound("work queue", name, hint=f"legato work-queue ls lists them; make it: legato work-queue create {name}")
        return msgspec.json.decode(row[0], type=WorkQueue)

    def get_queue(self, name: str, *, now: datetime | None = None) -> QueueStatus:
        now = now or self._clock.now()
        with self._database.read() as session:
            queue = self._queue(session, name)
            return self._status(session, queue, self._agents(session, now), self._running(session), now)

    def list_queues(self, *, now: datetime | None = None) -> list[QueueStatus]:
        now = now or self._clock.now()
        with self._database.read() as session:
            queues = [msgspec.json.decode(row[0], type=WorkQueue) for row in session.rows(self._sql["list_queues"])]
            agents, running = self._agents(session, now), self._running(session)
            return [self._status(session, queue, agents, running, now) for queue in queues]

    def _running(self, session: Session) -> dict[str, int]:
        return {queue: int(n) for queue, n in session.rows(self._sql["running_by_queue"])}

    def _status(
        self, session: Session, queue: WorkQueue, agents: Sequence[Agent], running: Mapping[str, int], now: datetime
    ) -> QueueStatus:
        due = self._due(session, queue.filter, until=now, limit=COUNT_CAP)
        return QueueStatus(
            queue=queue,
            running=running.get(queue.name, 0),
            waiting=len(due),
            late=sum(1 for run in due if run.due_at and run.due_at < now - LATE_AFTER),
            agents=sum(1 for agent in agents if queue.name in agent.queues and agent.last_seen_at > now - AGENT_LIVE),
            oldest_due_at=due[0].due_at if due else None,
        )

    def _due(self, session: Session, filter_: QueueFilter, *, until: datetime, limit: int) -> list[FlowRun]:
        sql, parameters = lists.select_due(filter_, lock=False)
        ids = [row[0] for row in session.rows(sql, **parameters, until=to_us(until), limit=limit)]
        runs = {run.id: run for run in self._flow_runs(session, ids)} if ids else {}
        return [runs[id_] for id_ in ids]

    def delete_queue(self, name: str) -> None:
        with self._database.write() as session:
            session.run(self._sql["delete_queue"], id=self._queue(session, name).id)

    def preview_queue(self, name: str, *, until: datetime, limit: int = 100) -> list[FlowRun]:
        with self._database.read() as session:
            return self._due(session, self._queue(session, name).filter, until=until, limit=limit)

    def save_agent(self, agent: Agent, *, now: datetime | None = None) -> Agent:
        agent = msgspec.structs.replace(agent, last_seen_at=now or self._clock.now())
        with self._database.write() as session:
            session.run(
                self._sql["save_agent"],
                id=agent.id,
                last_seen_at=to_us(agent.last_seen_at),
                ended_at=rows.us(agent.ended_at),
                record=rows.text_of(agent),
            )
        return agent

    def list_agents(self, *, now: datetime | None = None) -> list[Agent]:
        with self._database.read() as session:
            return self._agents(session, now or self._clock.now())

    def _agents(self, session: Session, now: datetime) -> list[Agent]:
        found = session.rows(self._sql["list_agents"], since=to_us(now - timedelta(days=1)))
        return [msgspec.json.decode(row[0], type=Agent) for row in found]

    # ------------------------------------------------------------------ the store itself

    def info(self) -> Mapping[str, str]:
        return {"kind": self._database.kind, "location": self._database.location, "schema_version": str(LATEST)}

    def foreign_changes(self) -> bool:
        """Whether another process has written since this was last asked (see `Database.foreign_changes`)."""
        return self._database.foreign_changes()

    def close(self) -> None:
        self._database.close()


def _check_artifact(artifact: Artifact) -> None:
    """Raises `UsageError` for what must not be stored; the sender's own checks come before."""
    if not is_id(artifact.id):
        raise UsageError(f"'{artifact.id}' is no artifact's id", hint="give a UUID in its canonical form")
    if artifact.key is not None:
        check_key(artifact.key)


def _content(artifact: Artifact) -> dict[str, Any]:
    """The columns that saving it again changes."""
    title, description = rows.storable(artifact.title), rows.storable(artifact.description)
    return {"title": title, "description": description, "data": rows.text_of(artifact.data), "updated_at": to_us(artifact.updated_at)}


def _creation(run: FlowRun) -> Transition:
    return Transition(RunKind.FLOW, run.id, 1, run.state, run.attempt, flow_run=run)


def _still_held(run: Working) -> Conflict:
    return Conflict(
        f"run '{run.name}' is {run.state_name}: somebody holds it", hint="cancel it, or wait until it has ended or its lease has run out"
    )


def _schedule_of(row: Sequence[Any]) -> DeploymentSchedule:
    return msgspec.structs.replace(msgspec.json.decode(row[0], type=DeploymentSchedule), cursor_at=rows.instant(row[1]))


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdigit():
        raise UsageError(f"'{cursor}' is not a cursor of this list", hint="leave the cursor out to begin at the start")
    return int(cursor)
