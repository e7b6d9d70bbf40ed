"""The stream: every transition once, in order, also after a break."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3

from legato.core.records import LogLine
from legato.core.states import COMPLETED, RUNNING
from legato.store.remote import RemoteStore

from tests.server.process import ServerProcess
from tests.store.make import add_queue, at, begin, step, task_of


class Events:
    """An open stream, read event by event."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._lines = self._split(response)
        self.last_id = ""

    @staticmethod
    def _split(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
        rest = b""
        for part in response.stream(65536):
            *whole, rest = (rest + part).split(b"\n")
            yield from (line.decode() for line in whole)

    def next(self, wanted: str) -> object:
        """The data of the next event of that name."""
        event = ""
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                event = value
            elif name == "data" and event == wanted:
                return json.loads(value)
        raise AssertionError("the stream has ended")


@contextmanager
def events(server: ServerProcess, query: str = "", last_id: str = "") -> Iterator[Events]:
    with urllib3.PoolManager(retries=False, timeout=20) as pool:
        headers = {"last-event-id": last_id} if last_id else {}
        response = pool.request("GET", f"{server.url}/api/events/stream{query}", headers=headers, preload_content=False)
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Events(response)
        response.close()


def run_ids(data: object) -> list[str]:
    assert isinstance(data, list)
    return [entry["run_id"] for entry in data]


def test_a_stream_resumes_where_it_broke_off(server: ServerProcess, remote: RemoteStore) -> None:
    with events(server) as stream:
        first = begin(remote)
        assert run_ids(stream.next("journal")) == [first.id]
        last_id = stream.last_id
    missed = [begin(remote).id for _ in range(3)]

    with events(server, last_id=last_id) as stream:
        assert run_ids(stream.next("journal")) == missed
        later = begin(remote)
        assert run_ids(stream.next("journal")) == [later.id]


def test_one_who_comes_from_the_future_is_told_to_read_anew(server: ServerProcess, remote: RemoteStore) -> None:
    begin(remote)

    with events(server, last_id="999999999") as stream:
        assert stream.next("reset") == {"position": remote.journal_position()}


def test_a_stream_of_one_run_holds_that_run_only_and_tells_of_its_logs(server: ServerProcess, remote: RemoteStore) -> None:
    mine, other = begin(remote), begin(remote)

    with events(server, f"?run={mine.id}") as stream:
        remote.apply([task_of(other)])
        first = task_of(mine)
        remote.apply([first, step(first, RUNNING), step(step(first, RUNNING), COMPLETED)], [LogLine(mine.id, at(0), 20, "l", "hello")])

        assert run_ids(stream.next("journal")) == [first.run_id] * 3
        assert stream.next("logs") == {"flow_run_id": mine.id, "total": 1}


def test_changes_outside_the_journal_are_told_too(server: ServerProcess, remote: RemoteStore) -> None:
    with events(server) as stream:
        begin(remote)
        stream.next("journal")
        add_queue(remote, "told")

        assert stream.next("changed") == {"what": "queue"}
