"""The bodies and answers of the HTTP API that are no records of the domain, and errors to problems and back. Server and client share them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from legato.core.errors import LegatoError, NotFound, Rejected, Unavailable
from legato.core.records import Artifact, ArtifactFilter, Beat, DeploymentSchedule, FlowRun, FlowRunFilter, LogLine, Transition, Variable


class TransitionBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of `POST /api/transitions`."""

    transitions: list[Transition] = []
    logs: list[LogLine] = []
    artifacts: list[Artifact] = []
    id: str = ""


class HeartbeatBatch(msgspec.Struct, frozen=True):
    """The body of `POST /api/heartbeats`."""

    beats: list[Beat]
    lease_s: float


class Grace(msgspec.Struct, frozen=True):
    """The body of `POST /api/flow-runs/grace`."""

    lease_s: float


class LossReport(msgspec.Struct, frozen=True):
    """The body of `POST /api/flow-runs/{id}/lost`."""

    epoch: int
    why: str


class Reason(msgspec.Struct, frozen=True):
    """The body of `POST /api/flow-runs/{id}/schedule`."""

    why: str


class Taking(msgspec.Struct, frozen=True):
    """The body of `POST /api/flow-runs/{id}/take`."""

    host: str
    pid: int
    lease_s: float
    why: str


class Answered(msgspec.Struct, frozen=True):
    """The body of `POST /api/flow-runs/{id}/inputs`."""

    key: str
    answer: Any


class PlannedRuns(msgspec.Struct, frozen=True):
    """The body of `POST /api/schedules/{id}/runs`."""

    schedule: DeploymentSchedule
    runs: list[FlowRun]
    cursor_at: datetime


class NewVariable(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of `PUT /api/variables/{name}`. Without `overwrite`, a variable of that name that is there already is a conflict."""

    variable: Variable
    overwrite: bool = True


class Number(msgspec.Struct, frozen=True):
    """An answer that is one number."""

    value: int


class Instant(msgspec.Struct, frozen=True):
    """An answer that is one instant, or none."""

    value: datetime | None


class Ids(msgspec.Struct, frozen=True):
    """The body of a question about several flow runs."""

    flow_runs: list[str]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An RFC 9457 problem, as the server words it."""

    title: str = ""
    status: int = 0
    detail: str = ""
    code: str = ""
    hint: str = ""
    request_id: str = ""
    kind: str = ""
    wanted: str = ""
    type: str = "about:blank"


def _tree(error: type[LegatoError]) -> dict[str, type[LegatoError]]:
    found = {error.code: error}
    for child in error.__subclasses__():
        found |= _tree(child)
    return found


_A_PERSON_MENDS = frozenset({401, 403, 421})
_TRY_AGAIN = frozenset({408, 425, 429}) | _A_PERSON_MENDS
"""Besides every 5xx: answers after which the same request may be taken, once the server, or a person, has done something about it."""


def error_of(problem: Problem, status: int) -> LegatoError:
    """The error that the server turned into this problem; by the status where its code says nothing: whoever can act decides which branch."""
    if problem.code == NotFound.code and problem.kind:
        return NotFound(problem.kind, problem.wanted, hint=problem.hint)
    kind = _tree(LegatoError).get(problem.code)
    if kind is None or kind is NotFound or status in _A_PERSON_MENDS:
        kind = Unavailable if status >= 500 or status in _TRY_AGAIN else Rejected
    error = kind(problem.detail or f"the server answered {status} {problem.title}".strip(), hint=problem.hint)
    if problem.code:
        error.code = problem.code
    return error


def filter_query(filter_: FlowRunFilter) -> dict[str, object]:
    """The filter as query parameters."""
    return {
        "state": ",".join(filter_.states),
        "state_name": ",".join(filter_.state_names),
        "flow": filter_.flow_name,
        "deployment": filter_.deployment_id,
        "queue": filter_.work_queue,
        "agent": filter_.agent_id,
        "parent": filter_.parent_run_id,
        "schedule": filter_.schedule_id,
        "tag": filter_.tags,
        "q": filter_.text,
        "from": filter_.start_after.isoformat() if filter_.start_after else None,
        "to": filter_.start_before.isoformat() if filter_.start_before else None,
        "top_level": 1 if filter_.top_level else None,
    }


def artifact_query(filter_: ArtifactFilter) -> dict[str, object]:
    """The filter as query parameters."""
    return {
        "flow_run": filter_.flow_run_id,
        "task_run": filter_.task_run_id,
        "key": filter_.key,
        "kind": filter_.kind,
        "latest": 1 if filter_.latest else None,
    }
