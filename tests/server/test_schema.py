"""The API as its description says: generated requests for every operation, none of which makes the server fail or answers with what is not described.

Short here; `make chaos` asks for more (LEGATO_TEST_SCHEMA_EXAMPLES).
"""

import gzip
import json
import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.server.process import ServerProcess

EXAMPLES = int(os.environ.get("LEGATO_TEST_SCHEMA_EXAMPLES", "8"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_no_request_makes_the_server_fail(server: ServerProcess) -> None:
    schema = schemathesis.openapi.from_dict(server.request("GET", "/api/openapi.json").json())
    wrong: list[str] = []
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in ("/api/events/stream", "/api/claims"):
            continue  # they wait

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None)
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            response = case.call(base_url=server.url, timeout=30)
            described = case.operation.definition.raw.get("responses", {})
            if response.status_code >= 500 or str(response.status_code) not in described:
                wrong.append(f"{case.method} {case.path} {response.status_code}: {response.text[:160]}")

        ask()

    assert wrong == []
    assert asked > 300


def test_every_operation_describes_its_problems(server: ServerProcess) -> None:
    paths = server.request("GET", "/api/openapi.json").json()["paths"]

    for path, operations in paths.items():
        for method, operation in operations.items():
            if path != "/api/events/stream":
                assert {"400", "404", "409", "422"} <= operation["responses"].keys(), (method, path)


def test_long_answers_are_packed_for_those_who_can_unpack_them(server: ServerProcess) -> None:
    import urllib3

    with urllib3.PoolManager(retries=False) as pool:
        for accept, is_packed in (("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False), ("identity", False)):
            answer = pool.request("GET", f"{server.url}/api/openapi.json", headers={"accept-encoding": accept}, decode_content=False)
            assert (answer.headers.get("content-encoding") == "gzip") is is_packed, accept
            data = gzip.decompress(answer.data) if is_packed else answer.data
            assert json.loads(data)["openapi"]
        short = pool.request("GET", f"{server.url}/api/health", headers={"accept-encoding": "gzip"}, decode_content=False)
    assert "content-encoding" not in short.headers
