"""What is let in: names, other sites' pages, keys, sizes, content types; and the headers that keep a browser safe."""

import gzip
import json
import socket
import zlib
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from legato.store.remote import RemoteStore

from tests.server.process import ServerProcess
from tests.store.make import begin

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4200", "127.0.0.1.evil.example", "", "[::1]evil.example", "[::1].evil.example:80"]
)
def test_a_foreign_name_is_turned_away(server: ServerProcess, host: str) -> None:
    assert server.request("GET", "/api/health", headers={"host": host}).status in {400, 421}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:4200"])
def test_the_loopbacks_names_are_welcome(server: ServerProcess, host: str) -> None:
    assert server.request("GET", "/api/health", headers={"host": host}).status == 200


@pytest.mark.parametrize(
    "header",
    ["host: localhost", "origin: http://evil.example", "content-type: text/plain", "authorization: Bearer x", "idempotency-key: b"],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_header_that_is_judged_by_comes_once(server: ServerProcess, header: str, first: bool) -> None:
    parts = urlsplit(server.url)
    own = [
        f"host: {parts.netloc}",
        f"origin: {server.url}",
        "content-type: application/json",
        "authorization: Bearer y",
        "idempotency-key: a",
    ]
    lines = [header, *own] if first else [*own, header]
    request = "\r\n".join(["POST /api/transitions HTTP/1.1", *lines, "content-length: 2", "connection: close", "", "{}"])
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = connection.makefile("rb").readline()

    assert b" 400 " in answer


def test_another_sites_page_cannot_change_things(server: ServerProcess) -> None:
    own = server.url
    assert server.request("POST", "/api/claims", headers={**JSON, "origin": "http://evil.example"}, body=b"{}").status == 403
    assert server.request("POST", "/api/claims", headers={**JSON, "origin": "null"}, body=b"{}").status == 403
    assert server.request("POST", "/api/transitions", headers={**JSON, "origin": own}, body=b"{}").status == 200
    assert "access-control-allow-origin" not in server.request("GET", "/api/health", headers={"origin": "http://evil.example"}).headers


def test_a_body_must_be_json(server: ServerProcess) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert server.request("POST", "/api/transitions", headers={"content-type": kind}, body=b"{}").status == 415


def test_a_body_has_a_limit_also_when_it_is_packed(server: ServerProcess) -> None:
    def status(path: str, body: bytes, **headers: str) -> int:
        return server.request("POST", path, headers={**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}, body=body).status

    two_mb = json.dumps({"x": "y" * (2 << 20)}).encode()
    assert status("/api/flow-runs", two_mb) == 413
    assert status("/api/transitions", two_mb) == 200
    assert status("/api/transitions", zlib.compress(b"x" * (9 << 20)), content_encoding="deflate") == 413
    assert status("/api/transitions", gzip.compress(b"{}"), content_encoding="gzip") == 200
    assert status("/api/transitions", gzip.compress(b"{}" * 99)[:-9], content_encoding="gzip") == 400
    assert status("/api/transitions", b"junk", content_encoding="deflate") == 400
    assert status("/api/transitions", b"{}", content_encoding="br") == 415


def test_a_problem_says_what_happened_and_what_to_do(server: ServerProcess) -> None:
    response = server.request("GET", "/api/flow-runs/none")

    problem = response.json()
    assert (response.status, response.headers["content-type"]) == (404, "application/problem+json")
    assert (problem["status"], problem["code"], problem["detail"]) == (404, "not_found", "no flow run 'none'")
    assert "legato run ls" in problem["hint"]
    assert problem["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/transitions", b"{", 400),
        ("POST", "/api/transitions", b'{"transitions": [{}]}', 400),
        ("GET", "/api/transitions", b"", 405),
        ("POST", "/api/claims?wait=x", b'{"agent_id": "a", "queues": []}', 400),
        ("POST", "/api/claims?wait=999", b'{"agent_id": "a", "queues": []}', 400),
        ("POST", "/api/claims", b'{"agent_id": "a", "queues": [], "limit": 0}', 400),
        ("POST", "/api/heartbeats", b'{"beats": [], "lease_s": -1}', 400),
        ("GET", "/api/flow-runs?state=nonsense", b"", 400),
        ("GET", "/api/flow-runs?limit=0", b"", 400),
        ("GET", "/api/flow-runs?cursor=x", b"", 422),
        ("GET", "/api/events?after=-1", b"", 400),
        ("GET", "/api/events/stream?after=x", b"", 400),
        ("PUT", "/api/work-queues/a", b'{"id": "b", "name": "n", "created_at": "2026-01-01T00:00:00Z"}', 422),
        ("GET", "/api/nothing", b"", 404),
        ("PATCH", "/api/flow-runs", b"", 405),
    ],
)
def test_a_bad_request_is_told_what_is_bad(server: ServerProcess, method: str, path: str, body: bytes, status: int) -> None:
    response = server.request(method, path, headers=JSON, body=body or None)

    assert (response.status, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["detail"]


def test_a_key_is_asked_for_everywhere_but_at_the_door(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server("--api-key", "secret")

    assert [server.request("GET", path).status for path in ("/api/health", "/api/ready", "/", "/runs")] == [200] * 4
    for path in ("/api/flow-runs", "/api/openapi.json", "/api/docs", "/api/health/", "/api/events/stream", "/api/ui/home"):
        assert server.request("GET", path).status == 401
    assert server.request("POST", "/api/transitions", headers=JSON, body=b"{}").status == 401
    assert server.request("GET", "/api/flow-runs", headers={"authorization": "Bearer wrong"}).status == 401
    assert begin(RemoteStore(server.url, api_key="secret")).name == "amber-heron"


def test_browsers_are_told_to_be_careful(server: ServerProcess) -> None:
    for path in ("/", "/api/health", "/api/docs"):
        headers = server.request("GET", path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-legato-version"]


def test_the_ui_answers_at_its_pages_addresses(server: ServerProcess) -> None:
    page = server.request("GET", "/")
    assert page.headers["cache-control"] == "no-cache"
    assert server.request("GET", "/runs/0192").data == page.data.replace(b'<base href="./"', b'<base href="../"')
    assert server.request("GET", "/missing.js").status == 404
    assert server.request("GET", "/..%2f..%2fpyproject.toml").status == 404
    assert server.request("POST", "/runs", headers=JSON, body=b"{}").status == 405


def test_the_api_describes_itself(server: ServerProcess) -> None:
    schema = server.request("GET", "/api/openapi.json").json()
    docs = server.request("GET", "/api/docs").data.decode()

    assert schema["openapi"].startswith("3.1")
    assert {"/api/transitions", "/api/claims", "/api/flow-runs/{run_id}", "/api/deployments/{flow}/{name}"} <= set(schema["paths"])
    for path in schema["paths"]:
        assert f"<code>{path}</code>" in docs
    assert "http://" not in docs
    assert "<script" not in docs


def test_ready_tells_when_services_last_ticked(server: ServerProcess) -> None:
    ready = server.request("GET", "/api/ready").json()

    assert ready["status"] == "ready"
    assert set(ready["services"]) == {"scheduler", "overlap", "reaper"}
