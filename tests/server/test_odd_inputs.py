"""No input makes the server fail: whatever is odd about a request is its sender's fault, and is told."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.process import ServerProcess

JSON = {"content-type": "application/json"}
AT = "2026-11-27T06:00:00Z"
ID = "01a21bb2-5f51-71a2-943a-0000000000{:02x}"

ODD_NUMBERS = st.sampled_from([2**63, -(2**63) - 1, 2**70, 10**25, -1, 0, 1e308, -0.0])
ODD_TEXTS = st.sampled_from(["", "../../x", "\x00", "\ud800", "x" * 5000, "²", "%00", "\u202e", "{}", "a/b", "\n"]) | st.text(max_size=20)
ODD_TIMES = st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-02-30T00:00:00Z", "yesterday", AT, "1e9"])
ODD: st.SearchStrategy[Any] = (
    ODD_NUMBERS | ODD_TEXTS | ODD_TIMES | st.none() | st.booleans() | st.just([]) | st.just({}) | st.just({"type": "x"})
)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def flow_run(**odd: Any) -> dict[str, Any]:
    state = {"type": "scheduled", "name": "Scheduled", "at": AT, "due_at": AT}
    return {
        "id": ID.format(1),
        "flow_name": "f",
        "name": "n",
        "created_at": AT,
        "expected_start_at": AT,
        "due_at": AT,
        "state": state,
        **odd,
    }


BODIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a flow run": ("POST", "/api/flow-runs", flow_run()),
    "a log line": ("POST", "/api/transitions", {"logs": [{"flow_run_id": ID.format(1), "at": AT, "level": 20, "logger": "l", "message": "m"}]}),
    "an artifact": ("POST", "/api/transitions", {"artifacts": [{"id": ID.format(2), "kind": "image", "key": "k", "data": {}, "created_at": AT, "updated_at": AT}]}),
    "a transition": ("POST", "/api/transitions", {"transitions": [{"kind": "flow", "run_id": ID.format(1), "seq": 1, "attempt": 0, "state": flow_run()["state"], "flow_run": flow_run()}]}),
    "a queue": ("PUT", "/api/work-queues/" + ID.format(3), {"id": ID.format(3), "name": "q", "created_at": AT, "priority": 1, "concurrency_limit": 1, "filter": {"tags": ["a"]}}),
    "a variable": ("PUT", "/api/variables/v", {"variable": {"name": "v", "value": 1, "tags": [], "updated_at": AT}}),
    "a deployment": ("PUT", "/api/deployments/" + ID.format(4), {"id": ID.format(4), "flow_name": "f", "name": "d", "entrypoint": "a.py:f", "created_at": AT, "updated_at": AT, "parameters": {}, "tags": []}),
    "a heartbeat": ("POST", "/api/heartbeats", {"beats": [{"run_id": ID.format(1), "epoch": 1}], "lease_s": 30}),
    "a claim": ("POST", "/api/claims", {"agent_id": "a", "queues": [], "limit": 1, "lease_s": 30}),
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a body where something odd may stand."""
    found = [path] if path else []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    made = dict(value) if isinstance(value, dict) else list(value)
    made[path[0]] = replaced(made[path[0]], path[1:], odd)
    return made


def ask(server: ServerProcess, method: str, path: str, body: bytes | None) -> int:
    response = server.request(method, path, headers=JSON, body=body)
    if response.status >= 400:
        assert response.headers["content-type"] == "application/problem+json", (path, response.data[:200])
        assert response.json()["detail"]
    return int(response.status)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_a_body_the_server_does_not_fail(server: ServerProcess, data: st.DataObject) -> None:
    method, path, body = BODIES[data.draw(st.sampled_from(sorted(BODIES)))]
    sent = replaced(body, data.draw(st.sampled_from(places(body))), data.draw(ODD))

    status = ask(server, method, path, json.dumps(sent).encode())

    assert status < 500, (method, path, sent)


ADDRESSES = ["flow-runs?limit={}", "flow-runs?cursor={}", "flow-runs?from={}", "flow-runs?state={}", "flow-runs/{}", "task-runs?flow_run=x&cursor={}", "task-runs/{}",
         "events?after={}", "events/position?x={}", "logs?flow_run={}", "logs?flow_run=x&after={}", "logs?flow_run=x&min_level={}", "artifacts/{}", "artifacts/{}/image",
         "artifacts?limit={}", "variables/{}", "work-queues/{}", "deployments/{}", "ui/runs?q={}", "ui/runs/{}", "ui/search?q={}", "ui/deployments/{}", "bundles/{}", "flow-runs/find?text={}&limit={}"]  # fmt: skip


@pytest.mark.parametrize("path", ADDRESSES)
def test_bytes_that_are_no_text_in_an_address_are_told_back_as_text(server: ServerProcess, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "POST"):
        for odd in ("%ED%A0%80", "%FF", "a%00b"):
            assert ask(server, method, "/api/" + path.replace("{}", odd), None) < 500


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(ADDRESSES), odd=ODD_NUMBERS | ODD_TEXTS | ODD_TIMES)
def test_whatever_stands_in_an_address_the_server_does_not_fail(server: ServerProcess, path: str, odd: Any) -> None:
    from urllib.parse import quote

    text = quote(str(odd).encode("utf-8", "surrogatepass"), safe="")

    assert ask(server, "GET", "/api/" + path.replace("{}", text), None) < 500


@pytest.mark.parametrize("path", ["/api/flow-runs", "/api/transitions", "/api/variables/x", "/api/heartbeats"])
@pytest.mark.parametrize(
    "body",
    [
        nested(100_000),
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"transitions": ' + nested(100_000) + b"}",
        b"\xff\xfe",
        b'"',
        b"nul",
        b"1e999",
    ],
)
def test_endless_nesting_and_half_json_are_the_senders_fault(server: ServerProcess, path: str, body: bytes) -> None:
    method = "PUT" if "variables" in path else "POST"

    assert 400 <= ask(server, method, path, body) < 500


@pytest.mark.parametrize("name", ["after", "Last-Event-ID"])
@pytest.mark.parametrize("value", ["²", "-1", "1e3", "x", "9" * 30, "٣"])
def test_a_position_is_a_number_in_plain_digits(server: ServerProcess, name: str, value: str) -> None:
    from urllib.parse import quote

    if name == "after":
        assert ask(server, "GET", f"/api/events/stream?after={quote(value)}", None) == 400
    elif value.isascii():
        assert server.request("GET", "/api/events/stream", headers={name: value}).status == 400


def test_a_run_that_can_only_fail_is_not_made(server: ServerProcess) -> None:
    deployment = {**BODIES["a deployment"][2], "parameter_schema": {"properties": {"n": {"type": "integer"}}}}
    assert ask(server, "PUT", BODIES["a deployment"][1], json.dumps(deployment).encode()) < 300

    for parameters, status in (({"n": 3}, 201), ({"n": "3"}, 201), ({"n": "many"}, 422), ({"m": 1}, 422)):
        assert ask(server, "POST", f"/api/deployments/{deployment['id']}/runs", json.dumps({"parameters": parameters}).encode()) == status


def test_a_deployment_whose_flow_has_a_slash_in_its_name_has_a_page(server: ServerProcess) -> None:
    deployment = {**BODIES["a deployment"][2], "id": ID.format(9), "flow_name": "etl/daily"}
    assert ask(server, "PUT", f"/api/deployments/{deployment['id']}", json.dumps(deployment).encode()) < 300

    assert ask(server, "GET", "/api/ui/deployments/etl%2Fdaily/d", None) == 200
