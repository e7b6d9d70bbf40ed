"""One server process for the tests that leave it running, and a way to start others."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from legato.store.remote import RemoteStore

from tests.server.process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server, shared by a module's tests."""
    started = ServerProcess(tmp_path_factory.mktemp("server")).start()
    yield started
    started.stop()


@pytest.fixture
def remote(server: ServerProcess) -> Iterator[RemoteStore]:
    """A client of it."""
    store = RemoteStore(server.url)
    yield store
    store.close()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers of this test's own; the same home and database unless told otherwise."""
    started: list[ServerProcess] = []

    def start(*options: str, port: int = 0, home: Path = tmp_path / "home") -> ServerProcess:
        process = ServerProcess(home, *options)
        started.append(process)
        return process.start(port)

    yield start
    for process in started:
        process.stop()
