"""An agent that waits costs the server nothing: no claim wakes another."""

import json

import psutil

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
