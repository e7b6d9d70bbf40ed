"""The store's port over HTTP: a server's verbs, called with urllib3.

One pool of kept-alive connections a process; a forked child opens its own. A call that found no server, or lost its connection before the
answer, is sent once more under the same key, and done once: the server gives the first answer again (a repeated transition is "already").
The server's clock judges, so `now` is not sent. Errors come back as the classes they were raised as.
"""

# ruff: noqa: ARG002 the port's verbs take `now`
# ruff: noqa: TID253 this module is imported only to speak to a server
from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from legato.core.errors import Unavailable
from legato.core.records import (
    Agent,
    Artifact,
    ArtifactFilter,
    ArtifactPage,
    Beat,
    BeatReply,
    Change,
    Claim,
    ClaimRequest,
    Deployment,
    DeploymentSchedule,
    Due,
    Flow,
    FlowRun,
    FlowRunFilter,
    FlowRunPage,
    JournalEntry,
    LogLine,
    QueueStatus,
    RunInput,
    SchedulePlan,
    TaskRun,
    TaskRunPage,
    Transition,
    Variable,
    Verdict,
    WorkQueue,
)
from legato.core.states import StateType
from legato.store.columns import cleaned
from legato.store.wire import (
    Answered,
    Grace,
    HeartbeatBatch,
    Ids,
    Instant,
    LossReport,
    NewVariable,
    Number,
    PlannedRuns,
    Problem,
    Reason,
    Taking,
    TransitionBatch,
    artifact_query,
    error_of,
    filter_query,
)
from legato.system import new_id

COMPRESS_ABOVE = 16_384
"""Bytes of a body from which on it is compressed: deflate at level 1 costs 0.1 microseconds a transition."""

_REPEATABLE = frozenset({"transitions", "heartbeats", "task-runs/counts", "logs/counts"})
"""POSTs that change nothing when they are repeated: the first by their numbers and their batch's id."""

SURELY_BEARABLE = 64 << 10
"""Bytes of a body that no server of ours refuses: a 413 for less comes from what stands in between, and is no fault of what was sent."""

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0

_T = TypeVar("_T")
_EVERYTHING = FlowRunFilter()
_ALL_ARTIFACTS = ArtifactFilter()
_encode = msgspec.json.Encoder().encode


class RemoteStore:
    """The `Store` port of the server at `url` ("http://host:4200" or "http://host:4200/api")."""

    can_wait = True
    knows_batches = True

    def __init__(self, url: str, *, api_key: str = "") -> None:
        parts = urlsplit(url)
        self._root = parts._replace(path="", query="", fragment="").geturl()
        path = parts.path.rstrip("/")
        self._base = path if path.endswith("/api") else f"{path}/api"
        self.url = self.address = self._root + self._base
        self._headers = {"accept": "application/json", "content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._pid = 0

    # ------------------------------------------------------------------ the call

    def _connections(self) -> urllib3.HTTPConnectionPool:
        if self._pool is None or self._pid != os.getpid():  # a forked child must not write into its parent's connections
            timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
            self._pool = urllib3.connection_from_url(self._root, maxsize=16, block=False, timeout=timeout, retries=False)
            self._pid = os.getpid()
        return self._pool

    def _call(
        self,
        method: str,
        path: str,
        answer: type[_T],
        *,
        body: object = None,
        query: Mapping[str, object] | None = None,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> _T:
        given = [(name, value) for name, value in (query or {}).items() if value not in (None, "", ())]
        target = f"{self._base}/{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")
        key = "" if method == "GET" or path in _REPEATABLE else new_id()
        sent = b"" if body is None else _json(body)
        response = self._send(method, target, sent, timeout_s, key)
        if response.status == 413 and len(sent) < SURELY_BEARABLE:
            raise Unavailable(
                f"{self._root} takes no body of {len(sent)} bytes (413)",
                hint="a proxy in between has too low a limit: it should let 32 MB pass",
            )
        if response.status >= 400:
            raise error_of(_problem(response.data), response.status)
        try:
            return msgspec.json.decode(response.data or b"null", type=answer)
        except msgspec.DecodeError as error:
            raise Unavailable(  # a proxy's page, or half an answer: whoever asked may ask again
                f"{method} {self._root}{target} gave an answer that cannot be read: {error}", hint="is this a Legato server?"
            ) from error

    def _send(self, method: str, target: str, body: bytes, timeout_s: float, key: str = "") -> urllib3.BaseHTTPResponse:
        headers = {**self._headers, "idempotency-key": key} if key else self._headers
        if len(body) > COMPRESS_ABOVE:
            headers, body = {**headers, "content-encoding": "deflate"}, zlib.compress(body, 1)
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=timeout_s)
        for last in (False, True):
            try:
                return self._connections().urlopen(method, target, body=body or None, headers=headers, timeout=timeout, redirect=False)
            except HTTPError as error:
                if last or "timed out" in str(error).lower():
                    raise Unavailable(
                        f"cannot reach the server at {self._root}: {_why(error)}",
                        hint="Start one: legato server start; or unset LEGATO_API_URL",
                    ) from None
        raise AssertionError("the loop returns or raises")

    # ------------------------------------------------------------------ reporting

    def apply(
        self,
        transitions: Sequence[Transition],
        logs: Sequence[LogLine] = (),
        artifacts: Sequence[Artifact] = (),
        *,
        batch_id: str = "",
        now: datetime | None = None,
    ) -> list[Verdict]:
        batch_id = batch_id or (new_id() if logs else "")
        body = TransitionBatch(list(transitions), list(logs), list(artifacts), batch_id)
        return self._call("POST", "transitions", list[Verdict], body=body)

    def heartbeat(self, beats: Sequence[Beat], *, lease_s: float, now: datetime | None = None) -> list[BeatReply]:
        return self._call("POST", "heartbeats", list[BeatReply], body=HeartbeatBatch(list(beats), lease_s), timeout_s=10.0)

    # ------------------------------------------------------------------ flow runs

    def create_flow_run(self, run: FlowRun, *, now: datetime | None = None) -> FlowRun:
        return self._call("POST", "flow-runs", FlowRun, body=run)

    def get_flow_run(self, run_id: str) -> FlowRun:
        return self._call("GET", f"flow-runs/{_part(run_id)}", FlowRun)

    def list_flow_runs(
        self, filter: FlowRunFilter = _EVERYTHING, *, cursor: str | None = None, limit: int = 100, oldest_first: bool = False
    ) -> FlowRunPage:
        order = "oldest" if oldest_first else None
        return self._call("GET", "flow-runs", FlowRunPage, query={"cursor": cursor, "limit": limit, "order": order, **filter_query(filter)})

    def count_flow_runs(self, filter: FlowRunFilter = _EVERYTHING) -> dict[StateType, int]:
        return self._call("GET", "flow-runs/counts", dict[StateType, int], query=filter_query(filter))

    def find_flow_runs(self, text: str, *, limit: int = 10) -> list[FlowRun]:
        return self._call("GET", "flow-runs/find", list[FlowRun], query={"text": text, "limit": limit})

    def request_cancel(self, run_id: str, *, now: datetime | None = None) -> FlowRun:
        return self._call("POST", f"flow-runs/{_part(run_id)}/cancel", FlowRun)

    def request_pause(self, run_id: str, *, now: datetime | None = None) -> FlowRun:
        return self._call("POST", f"flow-runs/{_part(run_id)}/pause", FlowRun)

    def schedule_again(self, run_id: str, *, why: str, now: datetime | None = None) -> FlowRun:
        return self._call("POST", f"flow-runs/{_part(run_id)}/schedule", FlowRun, body=Reason(why))

    def take_flow_run(self, run_id: str, *, host: str, pid: int, lease_s: float, why: str, now: datetime | None = None) -> FlowRun:
        return self._call("POST", f"flow-runs/{_part(run_id)}/take", FlowRun, body=Taking(host, pid, lease_s, why))

    def ask_input(self, wanted: RunInput) -> RunInput:
        return self._call("PUT", f"flow-runs/{_part(wanted.flow_run_id)}/inputs", RunInput, body=wanted)

    def answer_input(self, run_id: str, key: str, answer: object, *, now: datetime | None = None) -> RunInput:
        return self._call("POST", f"flow-runs/{_part(run_id)}/inputs", RunInput, body=Answered(key, answer))

    def list_inputs(self, run_id: str) -> list[RunInput]:
        return self._call("GET", f"flow-runs/{_part(run_id)}/inputs", list[RunInput])

    def delete_flow_run(self, run_id: str, *, now: datetime | None = None) -> None:
        self._call("DELETE", f"flow-runs/{_part(run_id)}", type(None))

    # ------------------------------------------------------------------ task runs, history, logs

    def get_task_run(self, run_id: str) -> TaskRun:
        return self._call("GET", f"task-runs/{_part(run_id)}", TaskRun)

    def list_task_runs(self, flow_run_id: str, *, cursor: str | None = None, limit: int = 1000) -> TaskRunPage:
        return self._call("GET", "task-runs", TaskRunPage, query={"flow_run": flow_run_id, "cursor": cursor, "limit": limit})

    def count_task_runs(self, flow_run_ids: Sequence[str]) -> dict[str, dict[StateType, int]]:
        return self._call("POST", "task-runs/counts", dict[str, dict[StateType, int]], body=Ids(list(flow_run_ids)))

    def list_transitions(self, run_id: str) -> list[JournalEntry]:
        return self._call("GET", f"flow-runs/{_part(run_id)}/transitions", list[JournalEntry])

    def read_journal(self, after: int, *, limit: int = 1000) -> list[JournalEntry]:
        return self._call("GET", "events", list[JournalEntry], query={"after": after, "limit": limit})

    def read_changes(self, after: int, *, limit: int = 1000) -> list[Change]:
        return self._call("GET", "changes", list[Change], query={"after": after, "limit": limit})

    def journal_position(self) -> int:
        return self._call("GET", "events/position", Number).value

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
        query = {"flow_run": flow_run_id, "task_run": task_run_id, "min_level": min_level, "q": text, "after": after, "limit": limit}
        return self._call("GET", "logs", list[LogLine], query=query)

    def count_logs(self, flow_run_ids: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        return self._call("POST", "logs/counts", dict[str, tuple[int, int, int]], body=Ids(list(flow_run_ids)))

    # ------------------------------------------------------------------ artifacts, variables

    def get_artifact(self, wanted: str, *, version: int = 0) -> Artifact:
        return self._call("GET", f"artifacts/{_part(wanted)}", Artifact, query={"version": version or None})

    def list_artifacts(
        self,
        filter: ArtifactFilter = _ALL_ARTIFACTS,
        *,
        cursor: str | None = None,
        limit: int = 100,
        oldest_first: bool = False,
        brief: bool = False,
    ) -> ArtifactPage:
        form = {"cursor": cursor, "limit": limit, "order": "oldest" if oldest_first else None, "brief": 1 if brief else None}
        return self._call("GET", "artifacts", ArtifactPage, query={**form, **artifact_query(filter)})

    def get_variable(self, name: str) -> Variable:
        return self._call("GET", f"variables/{_part(name)}", Variable)

    def set_variable(self, variable: Variable, *, overwrite: bool = True, now: datetime | None = None) -> Variable:
        return self._call("PUT", f"variables/{_part(variable.name)}", Variable, body=NewVariable(variable, overwrite))

    def list_variables(self) -> list[Variable]:
        return self._call("GET", "variables", list[Variable])

    def delete_variable(self, name: str) -> None:
        self._call("DELETE", f"variables/{_part(name)}", type(None))

    # ------------------------------------------------------------------ claims and leases

    def claim_runs(self, request: ClaimRequest, *, now: datetime | None = None, wait_s: float = 0.0) -> list[Claim]:
        """As the port says; waits up to `wait_s` seconds at the server for the first run."""
        return self._call(
            "POST", "claims", list[Claim], body=request, query={"wait": wait_s or None}, timeout_s=wait_s + READ_TIMEOUT_S / 2
        )

    def next_due_at(self, *, now: datetime | None = None) -> datetime | None:
        return self._call("GET", "flow-runs/next-due", Instant).value

    def expired_leases(self, *, limit: int = 100, now: datetime | None = None) -> list[FlowRun]:
        return self._call("GET", "flow-runs/expired", list[FlowRun], query={"limit": limit})

    def grant_grace(self, *, lease_s: float, now: datetime | None = None) -> int:
        return self._call("POST", "flow-runs/grace", Number, body=Grace(lease_s)).value

    def held_here(self, host: str, *, limit: int = 10_000) -> list[FlowRun]:
        return self._call("GET", "flow-runs/held-here", list[FlowRun], query={"host": host, "limit": limit})

    def report_lost(self, run_id: str, epoch: int, why: str, *, now: datetime | None = None) -> FlowRun:
        return self._call("POST", f"flow-runs/{_part(run_id)}/lost", FlowRun, body=LossReport(epoch, why))

    # ------------------------------------------------------------------ flows, deployments, schedules

    def list_flows(self) -> list[Flow]:
        return self._call("GET", "flows", list[Flow])

    def save_deployment(self, deployment: Deployment, *, now: datetime | None = None) -> Deployment:
        return self._call("PUT", f"deployments/{_part(deployment.id)}", Deployment, body=deployment)

    def get_deployment(self, name: str) -> Deployment:
        return self._call("GET", f"deployments/{_path(name)}", Deployment)

    def list_deployments(self) -> list[Deployment]:
        return self._call("GET", "deployments", list[Deployment])

    def set_deployment_paused(self, name: str, paused: bool, *, now: datetime | None = None) -> Deployment:
        return self._call("POST", f"deployments/{_path(name)}/{'pause' if paused else 'resume'}", Deployment)

    def delete_deployment(self, name: str, *, now: datetime | None = None) -> int:
        return self._call("DELETE", f"deployments/{_path(name)}", Number).value

    def list_schedules(self) -> list[DeploymentSchedule]:
        return self._call("GET", "schedules", list[DeploymentSchedule])

    def due_schedules(self, *, limit: int = 100, now: datetime | None = None) -> list[Due]:
        return self._call("GET", "schedules/due", list[Due], query={"limit": limit})

    def plan_runs(self, plans: Sequence[SchedulePlan], *, now: datetime | None = None) -> list[int | None]:
        return self._call("POST", "schedules/plans", list[int | None], body=list(plans))

    def look_at_all_schedules(self, *, now: datetime | None = None) -> None:
        self._call("POST", "schedules/look", type(None))

    def schedule_runs(
        self, schedule: DeploymentSchedule, runs: Sequence[FlowRun], *, cursor_at: datetime, now: datetime | None = None
    ) -> int:
        body = PlannedRuns(schedule, list(runs), cursor_at)
        return self._call("POST", f"schedules/{_part(schedule.id)}/runs", Number, body=body).value

    # ------------------------------------------------------------------ work queues, agents

    def save_queue(self, queue: WorkQueue) -> WorkQueue:
        return self._call("PUT", f"work-queues/{_part(queue.id)}", QueueStatus, body=queue).queue

    def get_queue(self, name: str, *, now: datetime | None = None) -> QueueStatus:
        return self._call("GET", f"work-queues/{_part(name)}", QueueStatus)

    def list_queues(self, *, now: datetime | None = None) -> list[QueueStatus]:
        return self._call("GET", "work-queues", list[QueueStatus])

    def delete_queue(self, name: str) -> None:
        self._call("DELETE", f"work-queues/{_part(name)}", type(None))

    def preview_queue(self, name: str, *, until: datetime, limit: int = 100) -> list[FlowRun]:
        return self._call("GET", f"work-queues/{_part(name)}/preview", list[FlowRun], query={"until": until.isoformat(), "limit": limit})

    def save_agent(self, agent: Agent, *, now: datetime | None = None) -> Agent:
        return self._call("PUT", f"agents/{_part(agent.id)}", Agent, body=agent)

    def list_agents(self, *, now: datetime | None = None) -> list[Agent]:
        return self._call("GET", "agents", list[Agent])

    # ------------------------------------------------------------------ the store itself

    def info(self) -> Mapping[str, str]:
        return self._call("GET", "info", dict[str, str])

    def close(self) -> None:
        if self._pool is not None and self._pid == os.getpid():
            self._pool.close()
        self._pool = None


def _json(body: object) -> bytes:
    """The body as JSON; where it holds text that is not Unicode (lone surrogates), that text is made storable first."""
    try:
        return _encode(body)
    except UnicodeEncodeError:
        return _encode(cleaned(msgspec.to_builtins(body)))


def _part(text: str) -> str:
    """One segment of a path. A segment of dots only would be taken for a direction."""
    return quote(text, safe="").replace(".", "%2E") if text.strip(".") == "" else quote(text, safe="")


def _path(name: str) -> str:
    """A deployment's id or "flow/name" as segments."""
    return "/".join(_part(part) for part in name.split("/"))


def _problem(body: bytes) -> Problem:
    try:
        return msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        return Problem(detail=f"the server gave no reason that can be read: {body[:200].decode(errors='replace')}")


def _why(error: HTTPError) -> str:
    return str(error).rpartition(": ")[2] or type(error).__name__
