"""The server behind a real nginx, under a path, set up as the documentation says: the API with its long waits, events as they happen, uploads."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import urllib3

from legato.core.records import ClaimRequest
from legato.storage.local import LocalStorage
from legato.storage.remote import ServerStorage
from legato.store.remote import RemoteStore

from tests.server.process import ServerProcess
from tests.store.make import add_deployment, add_queue, begin, scheduled
from tests.support.nginx import documented_location, nginx

PATH = "/x/y/"


class Fronted(NamedTuple):
    """A server, and where the world finds it."""

    server: ServerProcess
    url: str


@pytest.fixture(scope="module", params=[True, False], ids=["the path is cut off", "the path is handed on"])
def fronted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    folder = tmp_path_factory.mktemp("fronted")
    options = [] if request.param else ["--base-path", PATH.rstrip("/")]
    server = ServerProcess(folder / "server", *options).start()
    try:
        with nginx(folder / "nginx", documented_location(PATH, server.port, strips=request.param)) as url:
            yield Fronted(server, url + PATH.rstrip("/"))
    finally:
        server.stop()


def test_pages_and_their_files_are_found_under_the_path(fronted: Fronted) -> None:
    with urllib3.PoolManager(retries=False) as pool:
        for page in ("/", "/runs/amber-heron", "/deployments/a/b", "/api/health"):
            assert pool.request("GET", fronted.url + page).status == 200, page
        for beside in ("/metrics", "/assets/none.js", "/api/none"):
            assert pool.request("GET", fronted.url + beside).status == 404, beside


def test_a_page_of_ours_may_change_things_and_a_foreign_one_may_not(fronted: Fronted) -> None:
    with urllib3.PoolManager(retries=False) as pool:
        for origin, status in ((fronted.url.removesuffix(PATH.rstrip("/")), 200), ("http://evil.example", 403)):
            headers = {"content-type": "application/json", "origin": origin}
            answer = pool.request("POST", fronted.url + "/api/transitions", headers=headers, body=b"{}")
            assert answer.status == status, origin


def test_an_agent_waits_through_it_and_is_handed_a_run_when_it_is_made(fronted: Fronted) -> None:
    store = RemoteStore(f"{fronted.url}/api")
    add_queue(store)
    deployment = add_deployment(store)
    got: list[float] = []

    def wait() -> None:
        claims = store.claim_runs(ClaimRequest(agent_id="a", queues=("main",)), wait_s=20)
        got.extend(time.monotonic() for _ in claims)

    waiting = threading.Thread(target=wait)
    waiting.start()
    made = time.monotonic()
    store.create_flow_run(scheduled(deployment=deployment))
    waiting.join()

    assert len(got) == 1
    assert got[0] - made < 5


def test_events_come_as_they_happen(fronted: Fronted) -> None:
    store = RemoteStore(f"{fronted.url}/api")
    with urllib3.PoolManager(retries=False) as pool:
        stream = pool.request("GET", f"{fronted.url}/api/events/stream", preload_content=False, timeout=20)
        run = begin(store)
        lines = iter(stream)

        assert any(run.id.encode() in line for line in lines)  # it ends when the run is told; buffered, this would time out
        stream.release_conn()
        stream.close()


def test_a_large_bundle_goes_through(fronted: Fronted, tmp_path: Path) -> None:
    data = bytes(6_000_000)

    key = ServerStorage(f"{fronted.url}/api", LocalStorage(tmp_path / "here")).put(data)

    assert ServerStorage(f"{fronted.url}/api", LocalStorage(tmp_path / "there")).get(key) == data
