"""Flows, deployments and their schedules. What is planned is no copy: runs that nobody has taken follow their deployment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from legato.core.clock import from_us, to_us
from legato.core.errors import Conflict, NotFound, UsageError
from legato.core.ids import is_id
from legato.core.records import (
    ChangeKind,
    Deployment,
    DeploymentSchedule,
    Due,
    Flow,
    FlowRun,
    RunKind,
    SchedulePlan,
    Transition,
)
from legato.core.states import CANCELLED, State
from legato.store import columns, rows
from legato.store.database import Session
from legato.store.sql.limits import forget_deployment, limit_deployment
from legato.store.sql.reports import record
from legato.store.sql.subject import SqlSubject, changes, creation, delete_runs, flow_runs, note, statements
from legato.store.transitions import Batch, tag_runs
from legato.system import new_id

_deployment_of = msgspec.json.Decoder(Deployment).decode
_schedule_record = msgspec.json.Decoder(DeploymentSchedule).decode


class SqlDeployments(SqlSubject):
    """Flows, deployments, schedules."""

    def list_flows(self) -> list[Flow]:
        with self._reading() as session:
            found = session.rows(self._sql["list_flows"])
        return [Flow(id=row[0], name=row[1], created_at=from_us(row[2]), description=row[3]) for row in found]

    @changes
    def save_deployment(self, session: Session, deployment: Deployment, *, now: datetime | None = None) -> Deployment:
        now = self._now(now)
        check_parameters(deployment, deployment.parameters)
        deployment = _with_keys(deployment)
        flow_name, name = deployment.flow_name, deployment.name
        found = session.row(self._sql["deployment_to_change_by_name"], flow_name=flow_name, name=name)
        if found is None:
            found = session.row(self._sql["deployment_to_change_by_id"], id=deployment.id)
        old = _deployment_of(found[0]) if found is not None else None
        if old is not None:
            deployment = msgspec.structs.replace(deployment, id=old.id, created_at=old.created_at)
        if deployment.paused is None:  # not mentioned: what a person has decided stays
            deployment = msgspec.structs.replace(deployment, paused=bool(old is not None and old.paused))
        session.run(self._sql["add_flow"], id=deployment.id, name=flow_name, now=to_us(now))
        _write_deployment(session, deployment)
        limit_deployment(session, deployment)
        _save_schedules(session, deployment, now, resumed=bool(old is not None and old.paused and not deployment.paused))
        _rewrite_what_waits(session, deployment, old)
        note(session, ChangeKind.DEPLOYMENT, deployment.id, "saved", now, body={"name": deployment.full_name, "paused": deployment.paused})
        return deployment_named(session, deployment.id)

    def get_deployment(self, name: str) -> Deployment:
        with self._reading() as session:
            return deployment_named(session, name)

    def list_deployments(self) -> list[Deployment]:
        with self._reading() as session:
            found = [_deployment_of(row[0]) for row in session.rows(self._sql["list_deployments"])]
            of: dict[str, list[DeploymentSchedule]] = {}
            for row in session.rows(self._sql["all_schedules"]):
                schedule = _schedule_of(row)
                of.setdefault(schedule.deployment_id, []).append(schedule)
        return [msgspec.structs.replace(d, schedules=tuple(of.get(d.id, ()))) for d in found]

    @changes
    def set_deployment_paused(self, session: Session, name: str, paused: bool, *, now: datetime | None = None) -> Deployment:
        now = self._now(now)
        deployment = deployment_named(session, name, to_change=True)
        if bool(deployment.paused) != paused:
            changed = msgspec.structs.replace(deployment, paused=paused, updated_at=now)
            _write_deployment(session, changed)
            _save_schedules(session, changed, now, resumed=not paused)
            note(session, ChangeKind.DEPLOYMENT, deployment.id, "paused" if paused else "resumed", now, body={"name": deployment.full_name})
        return deployment_named(session, deployment.id)

    @changes
    def delete_deployment(self, session: Session, name: str, *, now: datetime | None = None) -> int:
        now = self._now(now)
        deployment = deployment_named(session, name, to_change=True)
        forget_deployment(session, deployment.id)
        planned = [row[0] for row in session.rows(self._sql["unstarted_of_deployment"], deployment_id=deployment.id, now=_LONG_AGO)]
        waiting = [row[0] for row in session.rows(self._sql["waiting_of_deployment"], deployment_id=deployment.id) if row[0] not in planned]
        batch = Batch(session, self._sql, now)
        cancelled = State(CANCELLED, "Cancelled", now, f"deployment {deployment.full_name} was deleted")
        batch.load([Transition(RunKind.FLOW, id_, 0, cancelled) for id_ in sorted({*planned, *waiting})])
        for id_ in waiting:
            if (run := batch.facts_of(id_)) is not None:
                batch.decide(Transition(RunKind.FLOW, id_, run.seq + 1, cancelled, run.attempt))
        for schedule in deployment.schedules:
            _delete_schedule(session, schedule.id)
        session.run(self._sql["delete_deployment"], id=deployment.id)
        batch.write()
        delete_runs(session, planned, now, f"planned by deployment {deployment.full_name}, which was deleted")
        note(session, ChangeKind.DEPLOYMENT, deployment.id, "deleted", now, body={"name": deployment.full_name})
        return len(planned) + len(waiting)

    # ------------------------------------------------------------------ schedules

    def list_schedules(self) -> list[DeploymentSchedule]:
        with self._reading() as session:
            return [_schedule_of(row) for row in session.rows(self._sql["live_schedules"])]

    def due_schedules(self, *, limit: int = 100, now: datetime | None = None) -> list[Due]:
        with self._reading() as session:
            found = session.rows(self._sql["due_schedules"], now=to_us(self._now(now)), limit=limit)
        return [Due(_schedule_of(row), _deployment_of(row[2])) for row in found]

    @changes
    def schedule_runs(
        self, session: Session, schedule: DeploymentSchedule, runs: Sequence[FlowRun], *, cursor_at: datetime, now: datetime | None = None
    ) -> int:
        now = self._now(now)
        created = _plan(session, [SchedulePlan(schedule, list(runs), cursor_at, now)], now)[0]
        if created is None:
            raise Conflict(f"schedule {schedule.id} has been edited or removed since it was read")
        return created

    @changes
    def plan_runs(self, session: Session, plans: Sequence[SchedulePlan], *, now: datetime | None = None) -> list[int | None]:
        return _plan(session, plans, self._now(now))

    @changes
    def look_at_all_schedules(self, session: Session, *, now: datetime | None = None) -> None:
        session.run(self._sql["look_at_all"], now=to_us(self._now(now)))


def _plan(session: Session, plans: Sequence[SchedulePlan], now: datetime) -> list[int | None]:
    """How many new runs each schedule got; None for one that was edited, paused or removed since it was read.

    The runs are as the deployment is now, whatever it was when the plan was made.
    """
    from legato.core.planning import as_the_deployment_is  # noqa: PLC0415 start-up time: whoever runs a flow plans nothing

    sql, created, new = statements(), list[tuple[str, int | None]](), list[FlowRun]()
    ids = sorted({plan.schedule.deployment_id for plan in plans})
    deployments = {row[0]: _deployment_of(row[1]) for row in session.rows(sql["deployments_to_plan"], ids=ids)} if ids else {}
    for plan in sorted(plans, key=lambda plan: plan.schedule.id):
        cursor_at, look_at = to_us(plan.cursor_at), to_us(plan.look_at)
        schedule = plan.schedule
        deployment = deployments.get(schedule.deployment_id)
        if (
            deployment is None
            or deployment.paused
            or not session.run(sql["move_cursor"], id=schedule.id, version=schedule.version, cursor_at=cursor_at, look_at=look_at)
        ):
            created.append((schedule.id, None))
            continue
        session.run(sql["prune_ticks"], schedule_id=schedule.id, version=schedule.version, before=to_us(plan.cursor_at - timedelta(days=7)))
        fresh = [run for run in plan.runs if _take_tick(session, schedule, run)]
        new += [as_the_deployment_is(run, deployment) for run in fresh]
        created.append((schedule.id, len(fresh)))
    if new:
        record(session, [creation(run) for run in new], (), (), now)
    for plan in plans:
        if plan.skipped and dict(created)[plan.schedule.id] is not None:
            _note_skipped(session, plan, now)
    numbers = dict(created)
    return [numbers[plan.schedule.id] for plan in plans]


def _note_skipped(session: Session, plan: SchedulePlan, now: datetime) -> None:
    body = {
        "deployment": plan.schedule.deployment_id,
        "count": plan.skipped,
        "from": plan.skipped_from,
        "to": plan.skipped_to,
        "catchup": str(plan.schedule.catchup),
    }
    why = f"{plan.skipped} tick(s) passed while no scheduler was up; catch-up '{plan.schedule.catchup}' skips them"
    note(session, ChangeKind.SCHEDULE, plan.schedule.id, "skipped", now, message=why, body=body)


def _take_tick(session: Session, schedule: DeploymentSchedule, run: FlowRun) -> bool:
    at = to_us(run.expected_start_at)
    return session.run(statements()["add_tick"], schedule_id=schedule.id, version=schedule.version, at=at, run_id=run.id) == 1


# ---------------------------------------------------------------------- writing a deployment


_LONGEST_OF_TWO = 300
"""Characters of each of two names that stand in one index."""


def _with_keys(deployment: Deployment) -> Deployment:
    """With its names as they are stored. Raises `UsageError` for names by which it could not be found again."""
    if "/" in deployment.name or not deployment.name:
        raise UsageError(
            f"a deployment cannot be called '{deployment.name[:80]}'",
            hint="its name follows that of its flow and a slash: it has none itself",
        )
    return msgspec.structs.replace(
        deployment,
        flow_name=columns.key(deployment.flow_name, "the flow", _LONGEST_OF_TWO),
        name=columns.key(deployment.name, "the deployment", _LONGEST_OF_TWO),
    )


def _write_deployment(session: Session, deployment: Deployment) -> None:
    bare = msgspec.structs.replace(deployment, schedules=())
    session.run(
        statements()["save_deployment"],
        id=bare.id,
        flow_name=bare.flow_name,
        name=bare.name,
        paused=int(bool(bare.paused)),
        record=rows.text_of(bare),
    )


def _save_schedules(session: Session, deployment: Deployment, now: datetime, *, resumed: bool) -> None:
    """Keep unchanged schedules with their cursors and what they have planned; plan the others anew."""
    old = {s.id: s for s in _schedules(session, deployment.id)}
    kept, gone = set(), []
    for wanted in deployment.schedules:
        same = next((s for s in old.values() if s.id not in kept and (s.id == wanted.id or s.schedule == wanted.schedule)), None)
        if same is not None:
            kept.add(same.id)
            edited = (same.schedule, same.active, same.catchup) != (wanted.schedule, wanted.active, wanted.catchup)
            if edited or resumed:
                gone += _replan(session, msgspec.structs.replace(wanted, id=same.id, version=same.version + 1), deployment, now)
            continue
        taken = session.row(statements()["deployment_of_schedule"], id=wanted.id)  # a copied deployment brings the other one's ids
        _replan(session, msgspec.structs.replace(wanted, id=new_id() if taken else wanted.id, version=1), deployment, now)
    for id_ in old.keys() - kept:
        gone += _unstarted(session, "unstarted_of_schedule", now, schedule_id=id_)
        _delete_schedule(session, id_)
    if deployment.paused:
        gone += [id_ for id_ in _unstarted(session, "unstarted_of_deployment", now, deployment_id=deployment.id) if id_ not in gone]
    delete_runs(session, gone, now, f"planned anew: deployment {deployment.full_name} or its schedule has changed")


def _replan(session: Session, schedule: DeploymentSchedule, deployment: Deployment, now: datetime) -> list[str]:
    """Begin a schedule anew from now: another version, looked at at once. Returns what it has planned and nobody has taken; runs that are
    due already are owed, and stay.
    """
    saved = msgspec.structs.replace(schedule, deployment_id=deployment.id, cursor_at=now)
    session.run(
        statements()["save_schedule"],
        id=saved.id,
        deployment_id=deployment.id,
        active=int(saved.active),
        version=saved.version,
        cursor_at=to_us(now),
        record=rows.text_of(saved),
    )
    gone = _unstarted(session, "unstarted_of_schedule", now, schedule_id=saved.id)
    before = to_us(now - timedelta(days=1))
    session.run(statements()["forget_ticks"], schedule_id=saved.id, version=saved.version - 1, gone=gone, before=before)
    session.run(statements()["keep_ticks"], schedule_id=saved.id, version=saved.version)
    return gone


def _unstarted(session: Session, statement: str, now: datetime, **parameters: str) -> list[str]:
    return [row[0] for row in session.rows(statements()[statement], **parameters, now=to_us(now))]


def _delete_schedule(session: Session, id_: str) -> None:
    session.run(statements()["delete_ticks"], id=id_)
    session.run(statements()["delete_schedule"], id=id_)


_LONG_AGO = to_us(datetime.fromisoformat("0001-01-01T00:00:00+00:00"))


def _rewrite_what_waits(session: Session, deployment: Deployment, before: Deployment | None) -> None:
    """Runs that nobody has taken yet show, and are found by, what the deployment is now."""
    from legato.core.planning import as_the_deployment_is  # noqa: PLC0415 start-up time: whoever runs a flow deploys nothing

    waiting = [rows.flow_run_of(row) for row in session.rows(statements()["followers_of_deployment"], deployment_id=deployment.id)]
    _rewrite(session, [(run, as_the_deployment_is(run, deployment, before)) for run in waiting])


def have_follow(session: Session, ids: Sequence[str]) -> bool:
    """Have those of these runs that follow their deployment be as it is now; whether any was not. The runs are locked by the caller.

    Whoever saves a deployment has done so already: this is for runs that were made by an older Legato.
    """
    from legato.core.planning import as_the_deployment_is, follows_its_deployment  # noqa: PLC0415 as above

    waiting = [run for run in flow_runs(session, ids) if follows_its_deployment(run)] if ids else []
    deployments = deployments_by_id(session, {run.deployment_id or "" for run in waiting})
    made_anew = [(run, deployments.get(run.deployment_id or "")) for run in sorted(waiting, key=lambda run: run.id)]
    return _rewrite(session, [(run, as_the_deployment_is(run, deployment)) for run, deployment in made_anew if deployment is not None])


def _rewrite(session: Session, waiting: Sequence[tuple[FlowRun, FlowRun]]) -> bool:
    """Write what has changed of waiting runs, given as they are and as they are to be: their rows, and the tags that they are found by."""
    changed = [(run, after) for run, after in waiting if after != run]
    for _, after in changed:
        _write_plan(session, after)
    retagged = [after for run, after in changed if after.tags != run.tags]
    for run in retagged:
        session.run(statements()["delete_run_tags"], id=run.id)
    tag_runs(session, statements(), [(tag, run.id) for run in retagged for tag in run.tags])
    return bool(changed)


def _write_plan(session: Session, run: FlowRun) -> None:
    """What a run takes from its deployment, written into its row (its tags lie in a table of their own besides)."""
    session.run(
        statements()["follow_deployment"],
        id=run.id,
        parameters=rows.text_of(run.parameters),
        tags=rows.text_of(run.tags),
        flow_name=columns.name(run.flow_name),
        deployment_name=columns.name(run.deployment_name or ""),
        flow_runner=columns.name(run.flow_runner),
        retries=rows.int64(run.retries, "flow_run.retries"),
        on_lost=str(run.on_lost),
    )


def check_parameters(deployment: Deployment, given: Iterable[str]) -> None:
    """Raises `UsageError` for parameters that the flow does not take (a schema that says so is there, and closed)."""
    schema: Mapping[str, Any] = deployment.parameter_schema
    known = schema.get("properties")
    if not isinstance(known, dict) or schema.get("additionalProperties", False) is not False:
        return
    unknown = sorted(set(given) - known.keys())
    if unknown:
        raise UsageError(
            f"flow {deployment.flow_name} has no parameter {', '.join(repr(name) for name in unknown)}",
            hint=f"it takes {', '.join(sorted(known)) or 'none'}",
        )


# ---------------------------------------------------------------------- reading


def _schedules(session: Session, deployment_id: str) -> list[DeploymentSchedule]:
    return [_schedule_of(row) for row in session.rows(statements()["schedules_of"], deployment_id=deployment_id)]


def deployments_by_id(session: Session, ids: set[str]) -> dict[str, Deployment]:
    """Those of these deployments that are here, without their schedules."""
    found = session.rows(statements()["deployments_by_id"], ids=sorted(ids)) if ids else []
    return {row[0]: _deployment_of(row[1]) for row in found}


def deployment_named(session: Session, name: str, *, to_change: bool = False) -> Deployment:
    """By id or "flow/name"."""
    by = "deployment_to_change_by" if to_change else "deployment_by"
    flow_name, slash, short = rows.storable(name).rpartition("/")
    if slash:
        row = session.row(statements()[f"{by}_name"], flow_name=flow_name, name=short)
    else:
        row = session.row(statements()[f"{by}_id"], id=name) if is_id(name) else None
    if row is None:
        raise NotFound("deployment", name, hint="legato deployment ls lists them; a deployment's name is flow/name")
    deployment = _deployment_of(row[0])
    return msgspec.structs.replace(deployment, schedules=tuple(_schedules(session, deployment.id)))


def _schedule_of(row: Sequence[Any]) -> DeploymentSchedule:
    return msgspec.structs.replace(_schedule_record(row[0]), cursor_at=rows.instant(row[1]))
