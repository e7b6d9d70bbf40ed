"""The server as a process: starting, stopping, dying, and sharing its database with others."""

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from legato.core.errors import Unavailable
from legato.core.records import ClaimRequest, LogLine, VerdictKind
from legato.core.states import COMPLETED, RUNNING
from legato.store.open import open_sql_store
from legato.store.remote import RemoteStore
from legato.system import SystemClock

from tests.server.process import ServerProcess
from tests.store.make import add_deployment, add_queue, at, begin, scheduled, step, task_of

Start = Callable[..., ServerProcess]


def test_a_server_says_where_it_is_and_forgets_it_when_it_stops(start_server: Start, tmp_path: Path) -> None:
    server = start_server()

    said = json.loads((tmp_path / "home" / "server.json").read_text())
    code = server.signal(signal.SIGTERM)

    assert server.process is not None
    assert (said["url"], said["pid"]) == (server.url, server.process.pid)
    assert code == 0
    assert not (tmp_path / "home" / "server.json").exists()


def test_a_server_whose_address_cannot_be_written_down_serves_all_the_same(
    start_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    (tmp_path / "home" / "server.json").mkdir(parents=True)
    server = start_server()

    assert server.request("GET", "/api/health").status == 200
    assert list((tmp_path / "home").glob("server.json.*")) == []


def test_a_second_server_on_the_same_file_is_refused(start_server: Start) -> None:
    server = start_server()
    assert server.process is not None

    with pytest.raises(RuntimeError, match=f"another server .process {server.process.pid}."):
        start_server()


def test_a_taken_port_is_told_with_a_way_out(start_server: Start, tmp_path: Path) -> None:
    server = start_server()

    with pytest.raises(RuntimeError, match=rf"port {server.port} is taken\n.*--port {server.port + 1}"):
        start_server(port=server.port, home=tmp_path / "other")


def test_other_machines_are_not_let_in_without_a_key(start_server: Start) -> None:
    with pytest.raises(RuntimeError, match="no API key is set"):
        start_server("--host", "0.0.0.0")


def test_stopping_does_not_wait_for_those_who_wait(start_server: Start) -> None:
    server = start_server()
    store = RemoteStore(server.url)
    add_queue(store)
    answers: list[object] = []

    def poll() -> None:
        try:
            answers.append(store.claim_runs(ClaimRequest(agent_id="a", queues=("main",)), wait_s=60))
        except Unavailable as error:
            answers.append(error)

    polls = [threading.Thread(target=poll) for _ in range(3)]
    stream = server.request("GET", "/api/events/stream", preload_content=False)
    for each in polls:
        each.start()
    assert stream.stream(1)
    time.sleep(0.5)  # until the polls have reached the server: it cannot be asked

    begun = time.monotonic()
    code = server.signal(signal.SIGINT)
    for each in polls:
        each.join()

    assert code == 0
    assert time.monotonic() - begun < 3
    assert answers == [[], [], []]


def test_runs_written_by_another_process_are_seen_within_a_second(start_server: Start) -> None:
    server = start_server()
    stream = server.request("GET", "/api/events/stream", preload_content=False)
    seen: list[str] = []
    arrived = threading.Event()

    def watch() -> None:
        for line in stream:
            if line.startswith(b"data: [") and (entries := json.loads(line[6:])):
                seen.extend(entry["run_id"] for entry in entries)
                arrived.set()
                return

    watching = threading.Thread(target=watch)
    watching.start()
    embedded = open_sql_store(server.database)
    begun = time.monotonic()
    run = begin(embedded)

    assert arrived.wait(5)
    assert time.monotonic() - begun < 1.5
    assert seen == [run.id]
    assert RemoteStore(server.url).get_flow_run(run.id) == run
    embedded.close()
    server.stop()
    watching.join()


def test_a_killed_server_has_lost_nothing_it_acknowledged(start_server: Start) -> None:
    server = start_server()
    store = RemoteStore(server.url)
    run = begin(store)
    acknowledged: list[str] = []
    killed = threading.Event()

    def report() -> None:
        while not killed.is_set():
            first = task_of(run)
            batch = [first, step(first, RUNNING, 1), step(step(first, RUNNING, 1), COMPLETED, 2)]
            try:
                store.apply(batch, [LogLine(run.id, at(0), 20, "l", "hello")])
            except Unavailable:
                return
            acknowledged.append(first.run_id)

    reporters = [threading.Thread(target=report) for _ in range(4)]
    for each in reporters:
        each.start()
    while len(acknowledged) < 40:
        time.sleep(0.01)
    server.signal(signal.SIGKILL)
    killed.set()
    for each in reporters:
        each.join()

    again = RemoteStore(start_server().url)
    there = {task.id: task.state.type for task in again.list_task_runs(run.id, limit=10_000).items}
    assert all(there.get(id_) is COMPLETED for id_ in acknowledged)
    assert again.apply([step(task_of(run), RUNNING)])[0].kind is VerdictKind.REFUSED


def test_a_client_resends_what_a_restart_interrupted(start_server: Start) -> None:
    server = start_server()
    store = RemoteStore(server.url)
    run = begin(store)
    first = task_of(run)
    store.apply([first])
    port = server.port
    server.signal(signal.SIGKILL)
    start_server(port=port)

    assert store.apply([first])[0].kind is VerdictKind.ALREADY


def test_a_due_run_is_handed_over_when_it_is_due(start_server: Start) -> None:
    store = RemoteStore(start_server().url)
    add_queue(store)
    deployment = add_deployment(store)
    clock = SystemClock()
    due = clock.now().timestamp() + 1.0
    store.create_flow_run(scheduled(due - at(0).timestamp(), deployment=deployment))

    claims = store.claim_runs(ClaimRequest(agent_id="a", queues=("main",)), wait_s=20)

    late = clock.now().timestamp() - due
    assert len(claims) == 1
    assert 0 <= late < 0.5


def test_a_waiting_agent_gets_a_run_the_moment_it_is_made_and_only_one_does(start_server: Start) -> None:
    store = RemoteStore(start_server().url)
    add_queue(store)
    deployment = add_deployment(store)
    got: list[str] = []

    def poll(agent: str) -> None:
        claims = store.claim_runs(ClaimRequest(agent_id=agent, queues=("main",), lease_s=60), wait_s=3)
        got.extend(claim.flow_run.id for claim in claims)

    polls = [threading.Thread(target=poll, args=(f"a{i}",)) for i in range(5)]
    for each in polls:
        each.start()
    time.sleep(0.5)  # until the polls have reached the server: it cannot be asked
    runs = [store.create_flow_run(scheduled(deployment=deployment)) for _ in range(3)]
    for each in polls:
        each.join()

    assert sorted(got) == sorted(run.id for run in runs)


def test_no_server_is_told_with_a_way_out() -> None:
    with pytest.raises(Unavailable, match="legato server start"):
        RemoteStore("http://127.0.0.1:9").list_flows()
