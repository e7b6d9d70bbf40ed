"""Limits on how many runs agents hold at once, beyond those of queues: on the runs with a tag, and on those of a deployment.

A limit's places are rows of `slot`, taken by the claim that hands a run over and freed with its lease. A claim locks the limits, by id, after
the queues; so what it reads of them holds, and a limit that is lowered holds from its acknowledgement on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from legato.core.errors import NotFound, UsageError
from legato.core.records import ChangeKind, Deployment, LimitStatus, TagLimit
from legato.store import columns, rows
from legato.store.database import Row, Session
from legato.store.sql.subject import SqlSubject, changes, note, statements
from legato.system import new_id

_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class SqlLimits(SqlSubject):
    """Limits."""

    @changes
    def save_limit(self, session: Session, limit: TagLimit) -> TagLimit:
        if not limit.tag:
            raise UsageError("a limit needs the tag that it is on")
        tag, size = columns.name(limit.tag), checked_size(limit.size)
        row = session.row(self._sql["limit_of_tag"], tag=tag)
        if row is not None:
            session.run(self._sql["resize_limit"], id=row[0], size=size)
        else:
            session.rows(self._sql["lock_queues"])
            id_ = new_id()
            session.run(self._sql["add_limit"], id=id_, tag=tag, deployment_id=None, size=size)
            adopt(session, id_, session.rows(self._sql["held_with_tag"], tag=tag))
        note(session, ChangeKind.LIMIT, tag, "saved", self._now(None), body={"size": size})
        return TagLimit(tag=tag, size=size)

    def list_limits(self) -> list[LimitStatus]:
        with self._reading() as session:
            found = session.rows(self._sql["list_limits"])
        return [
            LimitStatus(size=size, running=int(running), tag=tag or "", deployment_name=f"{flow}/{name}" if flow else "")
            for tag, flow, name, size, running in found
        ]

    @changes
    def delete_limit(self, session: Session, tag: str) -> None:
        row = session.row(self._sql["limit_of_tag"], tag=columns.name(tag))
        if row is None:
            raise NotFound("limit", tag)
        _delete(session, row[0])
        note(session, ChangeKind.LIMIT, tag, "deleted", self._now(None))


def checked_size(size: int) -> int:
    """Raises `UsageError` for what is no number of runs."""
    if size < 0:
        raise UsageError(f"a limit cannot be {size}", hint="give a number from 0 up")
    return rows.int64(size, "run_limit.size")


def limit_deployment(session: Session, deployment: Deployment) -> None:
    """Have a deployment's limit be as its record says."""
    sql = statements()
    row, size = session.row(sql["limit_of_deployment"], deployment_id=deployment.id), deployment.concurrency_limit
    if size is None:
        if row is not None:
            _delete(session, row[0])
    elif row is not None:
        session.run(sql["resize_limit"], id=row[0], size=checked_size(size))
    else:
        session.rows(sql["lock_queues"])
        id_ = new_id()
        session.run(sql["add_limit"], id=id_, tag=None, deployment_id=deployment.id, size=checked_size(size))
        adopt(session, id_, session.rows(sql["held_of_deployment"], deployment_id=deployment.id))


def adopt(session: Session, limit_id: str, held: Sequence[Row]) -> None:
    """Give the runs that agents hold already their places in a limit that is new."""
    for (holder,) in held:
        session.run(statements()["take_slot"], limit_id=limit_id, holder=holder)


def forget_deployment(session: Session, deployment_id: str) -> None:
    """A deployment that goes takes its limit along."""
    row = session.row(statements()["limit_of_deployment"], deployment_id=deployment_id)
    if row is not None:
        _delete(session, row[0])


def _delete(session: Session, id_: str) -> None:
    session.run(statements()["delete_limit"], id=id_)
    session.run(statements()["free_slots_of_limit"], id=id_)


class Limits:
    """The limits that one claim holds to: read and locked when it begins, with the room that is left in each as it goes on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._of_tag: dict[str, str] = {}
        self._of_deployment: dict[str, str] = {}
        self._room: dict[str, int] = {}
        found = session.rows(statements()["limits_to_hold_to"])
        used = {row[0]: int(row[1]) for row in session.rows(statements()["used_slots"], ids=[row[0] for row in found])} if found else {}
        for id_, tag, deployment_id, size in found:
            self._room[id_] = size - used.get(id_, 0)
            if tag is not None:
                self._of_tag[tag] = id_
            else:
                self._of_deployment[deployment_id] = id_

    def full_tags(self) -> list[str]:
        """Tags whose runs cannot be handed over now."""
        return sorted(tag for tag, id_ in self._of_tag.items() if self._room[id_] <= 0)

    def full_deployments(self) -> list[str]:
        """Deployments, by id, whose runs cannot."""
        return sorted(id_ for id_, limit in self._of_deployment.items() if self._room[limit] <= 0)

    def over(self, run_ids: Sequence[str]) -> Mapping[str, list[str]]:
        """By run, the limits that it needs a place in."""
        if not self._room or not run_ids:
            return {}
        needed = {}
        for id_, deployment_id, tags in self._session.rows(statements()["what_limits_look_at"], ids=list(run_ids)):
            limits = [self._of_tag[tag] for tag in dict.fromkeys(map(columns.name, _tags(tags))) if tag in self._of_tag]
            if deployment_id in self._of_deployment:
                limits.append(self._of_deployment[deployment_id])
            needed[id_] = limits
        return needed

    def take(self, limits: Sequence[str]) -> bool:
        """Take a place in each of these; False, and none is taken, when one is full."""
        if any(self._room[id_] <= 0 for id_ in limits):
            return False
        for id_ in limits:
            self._room[id_] -= 1
        return True
