"""What processes report: transitions, log lines and artifacts, in batches; and the verbs that keep and give up what is held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeAlias

from legato.core.clock import to_us
from legato.core.errors import Conflict, NotFound, Unavailable, UsageError
from legato.core.ids import is_id
from legato.core.ownership import is_held
from legato.core.records import Artifact, Beat, BeatReply, FlowRun, LogLine, RunKind, Transition, Verdict
from legato.core.rules import state_after_crash, state_after_loss
from legato.core.states import CANCELLED, CRASHED, FINAL, PENDING, SCHEDULED, State
from legato.store import rows
from legato.store.database import Database, Session
from legato.store.sql.subject import SqlSubject, changes, flow_runs, hold, statements
from legato.store.transitions import Batch

Batched: TypeAlias = tuple[Sequence[Transition], Sequence[LogLine], Sequence[Artifact]]

BATCHES_KEPT = timedelta(days=7)
"""How long the store knows a batch again that is sent twice."""


class SqlReports(SqlSubject):
    """Reports and signs of life."""

    def apply(
        self,
        transitions: Sequence[Transition] = (),
        logs: Sequence[LogLine] = (),
        artifacts: Sequence[Artifact] = (),
        *,
        batch_id: str = "",
        now: datetime | None = None,
    ) -> list[Verdict]:
        now = self._now(now)
        lines = [(batch_id, logs)] if logs else []
        transact, workspace = self._database.transact, self.workspace
        try:
            return transact(lambda session: record(session, transitions, lines, artifacts, now, trusting=True), workspace)
        except Conflict:  # a run that was said to be new is here already: this was sent before
            return transact(lambda session: record(session, transitions, lines, artifacts, now), workspace)

    def apply_groups(
        self, batches: Sequence[Batched], *, ids: Sequence[str] = (), now: datetime | None = None
    ) -> list[list[Verdict] | Exception]:
        """Several clients' batches in one transaction, so that they share its commit. One that fails is told so and sinks no other."""
        now, ids = self._now(now), ids or [""] * len(batches)
        try:
            transitions, artifacts = (
                [t for batch, _, _ in batches for t in batch],
                [artifact for _, _, some in batches for artifact in some],
            )
            lines = [(id_, logs) for id_, (_, logs, _) in zip(ids, batches, strict=True) if logs]
            transact, workspace = self._database.transact, self.workspace
            verdicts = iter(transact(lambda session: record(session, transitions, lines, artifacts, now, trusting=True), workspace))
            return [list(islice(verdicts, len(batch))) for batch, _, _ in batches]
        except Unavailable as error:  # trying each alone would wait for the database as often as there are batches
            return [error for _ in batches]
        except Exception:  # noqa: BLE001 whose batch it was is found by trying each alone; a repeat of a committed one is "already"
            return [self._alone(batch, id_, now) for batch, id_ in zip(batches, ids, strict=True)]

    def together(self) -> AbstractContextManager[object]:
        """Verbs called inside, by this thread, share one commit, where the database allows it (SQLite: one sync to disk for all)."""
        return self._database.together()

    def _alone(self, batch: Batched, batch_id: str, now: datetime) -> list[Verdict] | Exception:
        try:
            return self.apply(*batch, batch_id=batch_id, now=now)
        except Exception as error:  # noqa: BLE001 handed to the batch's sender
            return error

    def heartbeat(self, beats: Sequence[Beat], *, lease_s: float, now: datetime | None = None) -> list[BeatReply]:
        until = to_us(self._now(now) + timedelta(seconds=lease_s))
        return self._database.transact(lambda session: _renew(session, beats, until), self.workspace)

    def expired_leases(self, *, limit: int = 100, now: datetime | None = None) -> list[FlowRun]:
        with self._reading() as session:
            found = session.rows(self._sql["expired_leases"], now=to_us(self._now(now)), limit=limit)
        return [rows.flow_run_of(row) for row in found]

    def held_here(self, host: str, *, limit: int = 10_000) -> list[FlowRun]:
        with self._reading() as session:
            return [rows.flow_run_of(row) for row in session.rows(self._sql["held_here"], host=host, limit=limit)]

    @changes
    def grant_grace(self, session: Session, *, lease_s: float, now: datetime | None = None) -> int:
        return session.run(self._sql["grant_grace"], until=to_us(self._now(now) + timedelta(seconds=lease_s)))

    @changes
    def report_lost(self, session: Session, run_id: str, epoch: int, why: str, *, now: datetime | None = None) -> FlowRun:
        now = self._now(now)
        batch, run = hold(session, run_id, now)
        if run.epoch == epoch and is_held(epoch) and run.state_type not in FINAL:
            gone = deployment_that_is_gone(session, run_id)
            after = state_after_loss(run, now, why)
            if gone and after.type is SCHEDULED:
                after = State(CANCELLED, "Cancelled", now, f"{why} before it started, and {gone}")
            run.unstarted += run.state_type is PENDING and run.claimed
            batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, after, run.attempt))
            again = state_after_crash(run, now) if after.type is CRASHED and not gone else None
            if again is not None:
                batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, again, run.attempt, reopen=True))
            batch.write()
        return flow_runs(session, [run_id])[0]

    @changes
    def hand_back(self, session: Session, run_id: str, epoch: int, why: str, *, now: datetime | None = None) -> FlowRun:
        """Give a run that was claimed, and never begun, to whoever asks next: nobody is to blame, so it counts as no failed start."""
        now = self._now(now)
        batch, run = hold(session, run_id, now)
        if run.epoch == epoch and is_held(epoch) and run.state_type is PENDING:
            gone = deployment_that_is_gone(session, run_id)
            again = (
                State(CANCELLED, "Cancelled", now, f"{why}, and {gone}") if gone else State(SCHEDULED, "Scheduled", now, why, due_at=now)
            )
            batch.decide(Transition(RunKind.FLOW, run_id, run.seq + 1, again, run.attempt))
            batch.write()
        return flow_runs(session, [run_id])[0]


def deployment_that_is_gone(session: Session, run_id: str) -> str:
    """Why a run that waits would wait for ever, as a part of a sentence: its deployment was deleted. Empty for all others."""
    row = session.row(statements()["deployment_of_run"], run_id=run_id)
    if row is None or session.row(statements()["deployment_stays"], id=row[0]) is not None:
        return ""
    return f"its deployment '{row[1]}' was deleted"


class SqlReporter(SqlReports):
    """The store of a process that only reports, as a script does; asked for any other verb, it becomes the whole one.

    `whole` gives the class of that: loading it is a part of what a short script takes.
    """

    def __init__(self, database: Database, whole: Callable[[], type]) -> None:
        super().__init__(database)
        self._whole = whole

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("_"):
            raise AttributeError(verb)
        self.__class__ = self._whole()
        return getattr(self, verb)


def _renew(session: Session, beats: Sequence[Beat], until: int) -> list[BeatReply]:
    sql = statements()
    if session.row_locks:  # in one statement, which takes the rows in one order
        given = {"ids": [beat.run_id for beat in beats], "epochs": [beat.epoch for beat in beats]}
        alive = {row[0]: row for row in session.rows(sql["beats"], **given, lease=until)}
    else:
        alive = {row[0]: row for beat in beats for row in session.rows(sql["beat"], id=beat.run_id, epoch=beat.epoch, lease=until)}
    missing = sorted({beat.run_id for beat in beats} - alive.keys())
    known = {row[0]: row[2] for row in session.rows(sql["known_runs"], ids=missing)} if missing else {}
    return [_reply(beat, alive.get(beat.run_id), known.get(beat.run_id)) for beat in beats]


def _reply(beat: Beat, row: Sequence[Any] | None, state_name: str | None) -> BeatReply:
    if row is not None and row[1] == beat.epoch:
        return BeatReply(beat.run_id, True, row[2] is not None, row[3] is not None)
    if row is None and state_name is None:
        return BeatReply(beat.run_id, alive=False, reason="no such run is known here", unknown=True)
    return BeatReply(beat.run_id, alive=False, reason=f"the run is no longer this process's: it is {state_name or 'held by another'}")


def record(
    session: Session,
    transitions: Sequence[Transition],
    lines: Sequence[tuple[str, Sequence[LogLine]]],
    artifacts: Sequence[Artifact],
    now: datetime,
    *,
    trusting: bool = False,
) -> list[Verdict]:
    """Decide and write transitions, log lines (by the id of the batch they came in), and artifacts."""
    verdicts: list[Verdict] = []
    batch = Batch(session, statements(), now)
    if transitions:
        batch.load(transitions, trusting=trusting)
        verdicts = [batch.decide(t) for t in transitions]
    if lines:
        _write_lines(session, batch, lines, now)
    if artifacts:
        save_artifacts(session, artifacts)
    batch.write()
    return verdicts


def _write_lines(session: Session, batch: Batch, lines: Sequence[tuple[str, Sequence[LogLine]]], now: datetime) -> None:
    """Lines of a batch that was here before, by its id, are here already."""
    sql, new = statements(), list[LogLine]()
    for batch_id, logs in lines:
        if not batch_id or session.run(sql["add_batch"], id=batch_id, at=to_us(now)):
            new += logs
    if any(batch_id for batch_id, _ in lines):
        session.run(sql["prune_batches"], before=to_us(now - BATCHES_KEPT))
    missing = sorted(id_ for id_ in {line.flow_run_id for line in new} if batch.facts_of(id_) is None)
    if missing:
        found = {row[0] for row in session.rows(sql["known_runs"], ids=missing)}
        if gone := [id_ for id_ in missing if id_ not in found]:
            raise NotFound("flow run", gone[0], hint="its log lines cannot be kept without it")
    if new:
        session.insert("log", rows.LOG, [rows.log_row(line) for line in new])


# ---------------------------------------------------------------------- artifacts


def save_artifacts(session: Session, artifacts: Sequence[Artifact]) -> None:
    """Add them, or change those that are here already."""
    sql = statements()
    for artifact in artifacts:
        check_artifact(artifact)
    here = {row[0] for row in session.rows(sql["artifacts_here"], ids=[artifact.id for artifact in artifacts])}
    new: dict[str, Artifact] = {}
    for artifact in artifacts:
        if artifact.id in here:
            session.run(sql["change_artifact"], id=artifact.id, **_content(artifact))
        elif (
            artifact.id not in new or new[artifact.id].updated_at <= artifact.updated_at
        ):  # told twice in one batch: the last content counts
            new[artifact.id] = artifact
    versions = _take_versions(session, Counter(artifact.key for artifact in new.values() if artifact.key))
    for artifact in new.values():
        _add_artifact(session, artifact, next(versions[artifact.key]) if artifact.key else 0)
    if versions:
        session.run(sql["mark_latest"], keys=sorted(versions))


def _take_versions(session: Session, counts: Mapping[str, int]) -> dict[str, Iterator[int]]:
    """By key, the numbers of its new versions. Keys are locked in one order, whoever writes."""
    versions = {}
    for key, count in sorted(counts.items()):
        row = session.row(statements()["take_versions"], key=key, count=count)
        assert row is not None, "the statement returns the row it wrote"
        versions[key] = iter(range(int(row[0]) - count + 1, int(row[0]) + 1))
    return versions


def _add_artifact(session: Session, artifact: Artifact, version: int) -> None:
    session.run(
        statements()["add_artifact"],
        id=artifact.id,
        kind=str(artifact.kind),
        key=artifact.key,
        version=version,
        flow_run_id=artifact.flow_run_id,
        task_run_id=artifact.task_run_id,
        created_at=to_us(artifact.created_at),
        epoch=artifact.epoch,
        **_content(artifact),
    )


def check_artifact(artifact: Artifact) -> None:
    """Raises `UsageError` for what must not be stored; the sender's own checks come before."""
    if not is_id(artifact.id):
        raise UsageError(f"'{artifact.id}' is no artifact's id", hint="give a UUID in its canonical form")
    if artifact.key is not None:
        from legato.core.artifacts import check_key  # noqa: PLC0415 start-up time: few runs make artifacts

        check_key(artifact.key)


def _content(artifact: Artifact) -> dict[str, Any]:
    """The columns that saving it again changes."""
    title, description = rows.storable(artifact.title), rows.storable(artifact.description)
    return {"title": title, "description": description, "data": rows.text_of(artifact.data), "updated_at": to_us(artifact.updated_at)}
