"""An agent that waits costs the server nothing: no claim wakes another, and one that finds nothing writes nothing."""

import json
import sqlite3

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
