"""An agent that waits costs the server nothing: no claim wakes another, and one that finds nothing writes nothing."""

import json
import sqlite3
from datetime import timedelta

import psutil

from legato.core.planning import run_of
from legato.core.records import Deployment, WorkQueue
from legato.store.remote import RemoteStore
from legato.system import new_id, now

from tests.server.process import ServerProcess


def test_a_claim_that_waits_in_vain_leaves_the_processor_alone(server: ServerProcess) -> None:
    assert server.process is not None
    watched = psutil.Process(server.process.pid)

    def used_s() -> float:
        times = watched.cpu_times()
        return times.user + times.system

    before = used_s()
    request = {"agent_id": "a", "queues": ["nothing-here"], "flow_runners": ["subprocess"], "limit": 1, "lease_s": 30}
    headers = {"content-type": "application/json"}
    response = server.request("POST", "/api/claims?wait=2", body=json.dumps(request), headers=headers)

    assert (response.status, response.json()) == (200, [])
    assert used_s() - before < 1.0


def test_a_claim_that_finds_nothing_writes_nothing(server: ServerProcess) -> None:
    database = sqlite3.connect(server.database.removeprefix("sqlite:///"))
    ask = json.dumps({"agent_id": "a", "queues": ["nothing-here"], "flow_runners": ["subprocess"], "limit": 1, "lease_s": 30})

    def version() -> int:
        return int(database.execute("pragma data_version").fetchone()[0])

    before = version()
    for key in ("", "k1", "k1", "k2"):
        headers = {"content-type": "application/json", **({"idempotency-key": key} if key else {})}
        response = server.request("POST", "/api/claims?wait=0", body=ask, headers=headers)
        assert (response.status, response.json()) == (200, [])

    assert version() == before
    database.close()


def test_a_claim_asked_again_is_given_the_first_answer_though_nothing_is_due_any_more(server: ServerProcess, remote: RemoteStore) -> None:
    at = now()
    remote.save_queue(WorkQueue(id=new_id(), name="once", created_at=at))
    made = Deployment(id=new_id(), flow_name="claimed-once", name="d", entrypoint="f.py:f", created_at=at, updated_at=at)
    remote.save_deployment(made)
    remote.create_flow_run(run_of(remote.get_deployment(made.full_name), id=new_id(), due_at=at, now=at, trigger="test"))
    ask = json.dumps({"agent_id": "a", "queues": ["once"], "limit": 1, "lease_s": 30})
    headers = {"content-type": "application/json", "idempotency-key": "the same"}
    first, second = (server.request("POST", "/api/claims?wait=0", body=ask, headers=headers).json() for _ in range(2))
    other = server.request("POST", "/api/claims?wait=0", body=ask, headers={**headers, "idempotency-key": "another"}).json()

    assert len(first) == 1
    assert second == first
    assert other == []


def test_a_key_stands_for_one_request_and_another_under_it_is_told_so(server: ServerProcess, remote: RemoteStore) -> None:
    at = now()
    made = Deployment(id=new_id(), flow_name="keyed", name="d", entrypoint="f.py:f", created_at=at, updated_at=at)
    remote.save_deployment(made)
    deployment = remote.get_deployment(made.full_name)
    first, second = (
        remote.create_flow_run(run_of(deployment, id=new_id(), due_at=at + timedelta(days=1), now=at, trigger="test")) for _ in range(2)
    )
    headers = {"content-type": "application/json", "idempotency-key": "mine"}

    def ask(method: str, path: str, body: str | None = None) -> int:
        return server.request(method, path, body=body, headers=headers).status

    assert ask("POST", f"/api/flow-runs/{first.id}/cancel") == 200
    assert ask("POST", f"/api/flow-runs/{first.id}/cancel") == 200
    for method, path, body in (
        ("POST", f"/api/flow-runs/{second.id}/cancel", None),
        ("DELETE", f"/api/flow-runs/{first.id}", None),
        ("POST", f"/api/flow-runs/{first.id}/schedule", '{"why": "x"}'),
        ("POST", f"/api/deployments/{deployment.id}/pause", None),
    ):
        assert ask(method, path, body) == 409, path
    assert remote.get_flow_run(second.id).state.name == "Scheduled"
    assert remote.get_flow_run(first.id).state.name == "Cancelled"
    key = {**headers, "idempotency-key": "other"}
    claims = [json.dumps({"agent_id": "a", "queues": [queue], "limit": 1, "lease_s": 30}) for queue in ("once", "twice")]
    assert {server.request("POST", "/api/claims?wait=0", body=one, headers=key).status for one in claims} == {200}  # empty: no key is left
