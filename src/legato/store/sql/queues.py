"""Work queues and agents, and the claim: due runs handed to an agent, never more than a queue's limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from legato.core.clock import to_us
from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.names import typed
from legato.core.queues import LATE_AFTER, is_live
from legato.core.records import (
    Agent,
    ChangeKind,
    Claim,
    ClaimRequest,
    FlowRun,
    QueueFilter,
    QueueStatus,
    RunKind,
    Transition,
    VerdictKind,
    WorkQueue,
)
from legato.core.states import PENDING, State
from legato.store import columns, rows
from legato.store.database import Session
from legato.store.sql.deployments import deployments_by_id, have_follow
from legato.store.sql.limits import Limits, adopt
from legato.store.sql.subject import SqlSubject, changes, flow_runs, note, statements
from legato.store.transitions import Batch

_queue_of = msgspec.json.Decoder(WorkQueue).decode
_agent_of = msgspec.json.Decoder(Agent).decode


AGENTS_KEPT = timedelta(days=7)
"""How long one that is heard of no more stays; lists show those of a day."""


class SqlQueues(SqlSubject):
    """Work queues, agents, claims."""

    @changes
    def claim_runs(self, session: Session, request: ClaimRequest, *, wait_s: float = 0.0, now: datetime | None = None) -> list[Claim]:  # noqa: ARG002 a database does not wait
        now = self._now(now)
        queues = [_queue_of(row[0]) for row in session.rows(self._sql["queues_to_claim_from"], names=list(request.queues))]
        picked = _pick(session, sorted(queues, key=lambda queue: (-queue.priority, queue.name)), request, now)
        if not picked:
            return []
        claimed = _hand_over(session, picked, request, now)
        runs = {run.id: run for run in flow_runs(session, claimed)}
        deployments = deployments_by_id(session, {run.deployment_id or "" for run in runs.values()})
        return [Claim(flow_run=runs[id_], deployment=deployments[runs[id_].deployment_id or ""]) for id_ in claimed]

    def next_due_at(self, *, now: datetime | None = None) -> datetime | None:  # noqa: ARG002 the port's signature
        with self._reading() as session:
            row = session.row(self._sql["next_due"])
        return rows.instant(row[0]) if row else None

    def next_due_after(self, after: datetime) -> datetime | None:
        """When the next scheduled run later than `after` becomes due: what a server sets its alarm to."""
        with self._reading() as session:
            row = session.row(self._sql["next_due_after"], after=to_us(after))
        return rows.instant(row[0]) if row else None

    @changes
    def save_queue(self, session: Session, queue: WorkQueue) -> WorkQueue:
        if queue.concurrency_limit is not None and queue.concurrency_limit < 0:
            raise UsageError(f"a queue's limit cannot be {queue.concurrency_limit}", hint="give a number from 0 up, or none for no limit")
        if not queue.name:
            raise UsageError("a work queue needs a name", hint="agents name the queues that they take runs from")
        queue = msgspec.structs.replace(queue, name=columns.key(queue.name, "the work queue"))
        session.rows(self._sql["lock_queue"], id=queue.id)
        named = session.row(self._sql["queue_by_name"], name=queue.name)
        if named is not None and _queue_of(named[0]).id != queue.id:
            raise Conflict(f"there is a work queue '{queue.name}' already", hint="choose another name, or edit that one")
        before = session.row(self._sql["queue_by_name"], name=queue.id)
        session.run(
            self._sql["save_queue"],
            id=queue.id,
            name=queue.name,
            priority=rows.int64(queue.priority, "work_queue.priority"),
            paused=int(queue.paused),
            concurrency_limit=None
            if queue.concurrency_limit is None
            else rows.int64(queue.concurrency_limit, "work_queue.concurrency_limit"),
            record=rows.text_of(queue),
        )
        old = "" if before is None else _queue_of(before[0]).name
        if old and old != queue.name:
            session.run(self._sql["rename_queue_of_runs"], name=queue.name, old=old)
        if old != queue.name:
            adopt(session, queue.id, session.rows(self._sql["held_of_queue"], name=queue.name))
        note(session, ChangeKind.QUEUE, queue.id, "saved", self._now(None), body={"name": queue.name, "paused": queue.paused})
        return queue

    def get_queue(self, name: str, *, now: datetime | None = None) -> QueueStatus:
        now = self._now(now)
        with self._reading() as session:
            return _status(session, _queue(session, name), _agents(session, now), _running(session), now)

    def list_queues(self, *, now: datetime | None = None) -> list[QueueStatus]:
        now = self._now(now)
        with self._reading() as session:
            queues = [_queue_of(row[0]) for row in session.rows(self._sql["list_queues"])]
            agents, running = _agents(session, now), _running(session)
            return [_status(session, queue, agents, running, now) for queue in queues]

    @changes
    def delete_queue(self, session: Session, name: str) -> None:
        queue = _queue(session, name)
        session.run(self._sql["delete_queue"], id=queue.id)
        session.run(self._sql["free_slots_of_limit"], id=queue.id)
        note(session, ChangeKind.QUEUE, queue.id, "deleted", self._now(None), body={"name": queue.name})

    def preview_queue(self, name: str, *, until: datetime | None = None, limit: int = 100) -> list[FlowRun]:
        with self._reading() as session:
            from legato.store import lists  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

            sql, parameters = lists.select_due(_queue(session, name).filter, lock=False)
            ids = [row[0] for row in session.rows(sql, **parameters, until=to_us(self._now(until)), limit=limit)]
            runs = {run.id: run for run in flow_runs(session, ids)} if ids else {}
        return [runs[id_] for id_ in ids]

    @changes
    def save_agent(self, session: Session, agent: Agent, *, now: datetime | None = None) -> Agent:
        agent = msgspec.structs.replace(agent, last_seen_at=self._now(now))
        session.run(self._sql["prune_agents"], before=to_us(agent.last_seen_at - AGENTS_KEPT))
        session.run(
            self._sql["save_agent"],
            id=agent.id,
            last_seen_at=to_us(agent.last_seen_at),
            ended_at=rows.us(agent.ended_at),
            record=rows.text_of(agent),
        )
        return agent

    def list_agents(self, *, now: datetime | None = None) -> list[Agent]:
        with self._reading() as session:
            return _agents(session, self._now(now))


# ---------------------------------------------------------------------- the claim


class Picked(NamedTuple):
    """A run that a queue hands over, and the limits, besides the queue's, that it takes a place in."""

    queue: WorkQueue
    run_id: str
    limits: Sequence[str]


def _pick(session: Session, queues: Sequence[WorkQueue], request: ClaimRequest, now: datetime) -> list[Picked]:
    """Which runs each queue gives, by priority. Queues and limits are locked, so what they allow, and whether they pause, holds."""
    limited = sorted(queue.id for queue in queues if queue.concurrency_limit is not None)
    used = {id_: int(n) for id_, n in session.rows(statements()["used_slots"], ids=limited)} if limited else {}
    limits = Limits(session) if queues else None
    picked: list[Picked] = []
    for queue in queues:
        room = request.limit - len(picked)
        if queue.concurrency_limit is not None:
            room = min(room, queue.concurrency_limit - used.get(queue.id, 0))
        filter_ = _narrowed(queue.filter, request.flow_runners)
        if room > 0 and filter_ is not None and limits is not None:
            picked += _of_queue(session, queue, filter_, limits, room, {one.run_id for one in picked}, now)
    return picked


def _of_queue(
    session: Session, queue: WorkQueue, filter_: QueueFilter, limits: Limits, room: int, taken: set[str], now: datetime
) -> list[Picked]:
    """The oldest due runs of one queue. When a limit fills up on the way, what it holds back is passed over, and it looks again."""
    from legato.store import lists  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

    picked: list[Picked] = []
    while room > len(picked):
        sql, parameters = lists.select_due(
            filter_, lock=session.row_locks, but_tags=limits.full_tags(), but_deployments=limits.full_deployments()
        )
        due = [row[0] for row in session.rows(sql, **parameters, until=to_us(now), limit=room + len(taken))]
        fresh = [id_ for id_ in due if id_ not in taken]
        if have_follow(session, fresh):
            continue  # what they are now, another queue may take, or a limit hold back
        needed = limits.over(fresh)
        held_back = False
        for id_ in fresh:
            if len(picked) == room:
                break
            if limits.take(needed.get(id_, ())):
                picked.append(Picked(queue, id_, needed.get(id_, ())))
                taken.add(id_)
            else:
                held_back = True
        if not held_back:
            break
    return picked


def _narrowed(filter_: QueueFilter, flow_runners: Sequence[str]) -> QueueFilter | None:
    """The queue's filter for an agent that can start these flow runners only (none named: all); None when nothing is left."""
    if not flow_runners:
        return filter_
    allowed = tuple(set(filter_.flow_runners) & set(flow_runners)) if filter_.flow_runners else tuple(flow_runners)
    return msgspec.structs.replace(filter_, flow_runners=allowed) if allowed else None


def _hand_over(session: Session, picked: Sequence[Picked], request: ClaimRequest, now: datetime) -> list[str]:
    """Decide about all of them, and write once."""
    batch = Batch(session, statements(), now)
    until = now + timedelta(seconds=min(request.lease_s, _LONGEST_LEASE_S))
    batch.load([Transition(RunKind.FLOW, id_, 0, State(PENDING, "Pending", now)) for _, id_, _ in picked])
    claimed, places = [], []
    for queue, id_, limits in picked:
        run = batch.facts_of(id_)
        if run is None:
            continue
        pending = State(PENDING, "Pending", now, f"claimed from queue {queue.name}")
        verdict = batch.decide(Transition(RunKind.FLOW, id_, run.seq + 1, pending, run.attempt + 1), hands_over=True)
        if verdict.kind is VerdictKind.ACCEPTED:
            batch.lease(id_, queue=queue.name, agent_id=request.agent_id, until=until)
            claimed.append(id_)
            places += [(limit_id, id_) for limit_id in (queue.id, *limits)]
    for limit_id, holder in sorted(places):
        session.run(statements()["take_slot"], limit_id=limit_id, holder=holder)
    batch.write()
    return claimed


_LONGEST_LEASE_S = 86_400.0


# ---------------------------------------------------------------------- queues and agents, read


def _queue(session: Session, name: str) -> WorkQueue:
    row = session.row(statements()["queue_by_name"], name=rows.storable(name))
    if row is None:
        raise NotFound("work queue", name, hint=f"legato work-queue ls lists them; make it: legato work-queue create {typed(name)}")
    return _queue_of(row[0])


def _running(session: Session) -> dict[str, int]:
    return {limit_id: int(n) for limit_id, n in session.rows(statements()["running_by_queue"])}


def _status(session: Session, queue: WorkQueue, agents: Sequence[Agent], running: Mapping[str, int], now: datetime) -> QueueStatus:
    from legato.store import lists  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

    sql, parameters = lists.count_due(queue.filter, lists.COUNT_CAP)
    row: Sequence[Any] = session.row(sql, **parameters, until=to_us(now), late=to_us(now - LATE_AFTER)) or (0, 0, None)
    return QueueStatus(
        queue=queue,
        running=running.get(queue.id, 0),
        waiting=int(row[0]),
        late=int(row[1] or 0),
        agents=sum(1 for agent in agents if queue.name in agent.queues and is_live(agent, now)),
        oldest_due_at=rows.instant(row[2]),
    )


def _agents(session: Session, now: datetime) -> list[Agent]:
    return [_agent_of(row[0]) for row in session.rows(statements()["list_agents"], since=to_us(now - timedelta(days=1)))]
