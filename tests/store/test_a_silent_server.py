"""A server that takes the connection and gives no answer: how long it is waited for, and what is said meanwhile."""

import socket
import threading
from collections.abc import Iterator

import pytest

from legato.core.errors import Unavailable
from legato.core.records import ClaimRequest
from legato.store import remote
from legato.store.remote import RemoteStore


@pytest.fixture
def silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/api"


def test_who_waits_is_told_so_once_and_what_comes_next_is_waited_for_less_long(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SLOW_S", 0.05)
    monkeypatch.setattr(remote, "NO_PATIENCE_S", 0.2)
    asked: list[float] = []
    send = RemoteStore._send

    def soon(self: RemoteStore, method: str, target: str, body: bytes, timeout_s: float, key: str = "") -> object:
        asked.append(timeout_s)
        return send(self, method, target, body, min(timeout_s, 0.3), key)

    monkeypatch.setattr(RemoteStore, "_send", soon)
    store, told = RemoteStore(silent), threading.Event()
    store.on_slow = told.set

    for _ in range(2):
        with pytest.raises(Unavailable, match="gives no answer"):
            store.list_queues()

    assert told.is_set()
    assert asked == [60.0, 0.2]
    with pytest.raises(Unavailable, match="gives no answer"):
        store.claim_runs(ClaimRequest(agent_id="a", queues=("main",), limit=1), wait_s=30.0)
    assert asked[-1] == 30.2
    store.close()
