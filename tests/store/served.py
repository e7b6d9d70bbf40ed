"""A real server in a thread of the test, and a client that sets the server's clock before each call: stores are told `now`, servers are not."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import urllib3
import uvicorn

from legato.server.app import Server
from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.store.remote import RemoteStore
from legato.store.sql import SqlStore
from legato.store.sqlite import SqliteDatabase

from tests.store.make import NOON


class SetClock:
    """A clock that says what it was set to."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.at.timestamp()


class LosesAnswers(RemoteStore):
    """A client whose every first answer to a change is lost, and who asks again under the same key: it must not be done twice, and the
    second answer must be the first.
    """

    def _send(self, method: str, target: str, body: bytes, timeout_s: float, key: str = "") -> urllib3.BaseHTTPResponse:
        answer = super()._send(method, target, body, timeout_s, key)
        if not key:
            return answer
        again = super()._send(method, target, body, timeout_s, key)
        if answer.status < 400:
            assert (again.status, again.data) == (answer.status, answer.data), (method, target)
        return again


class Told:
    """A `RemoteStore` whose server believes it is `now`."""

    def __init__(self, remote: RemoteStore, clock: SetClock) -> None:
        self._remote = remote
        self._clock = clock

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._remote, verb)

        def call(*arguments: Any, now: datetime | None = None, **named: Any) -> Any:
            self._clock.at = now or self._clock.at
            return method(*arguments, **named)

        return call


@contextmanager
def served(store: SqlStore, clock: SetClock) -> Iterator[str]:
    """The URL of a server on that store."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        accepting = threading.Event()
        application = Server(store, clock=clock, on_ready=accepting.set)
        config = uvicorn.Config(application.gate, lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=2)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert accepting.wait(20)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            if application.backend is not None:
                application.backend.hang_up_soon()
            server.should_exit = True
            thread.join()


class Stand:
    """A server that stands for many tests, each with a database of its own: the store that it has is opened anew between them.

    Making an application and ending it costs ten times what a test does.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "served.db"
        self._fresh = folder / "fresh.db"
        open_sql_store(f"sqlite:///{self._fresh}").close()
        shutil.copy(self._fresh, self._path)
        self._store = open_sql_store(f"sqlite:///{self._path}")
        self._clock = SetClock()
        self._stack = ExitStack()
        self.url = self._stack.enter_context(served(self._store, self._clock))

    @contextmanager
    def remote(self) -> Iterator[Store]:
        """A client of it, at noon, of an empty store."""
        self._clock.at = NOON
        remote = LosesAnswers(self.url)
        yield cast("Store", Told(remote, self._clock))
        remote.close()
        database = self._store.database
        assert isinstance(database, SqliteDatabase)
        database.before_fork()  # nothing is open, and nobody opens anything, until the file is another
        shutil.copy(self._fresh, self._path)
        database.after_fork_in_parent()

    def close(self) -> None:
        self._stack.close()
        self._store.close()
