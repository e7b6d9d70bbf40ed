"""Bundles by way of the server: stored under their hash, and nothing else is."""

from pathlib import Path

import pytest

from legato.core.digests import hex_digest
from legato.core.errors import ResultMissing, Unavailable
from legato.storage.local import LocalStorage
from legato.storage.remote import ServerStorage

from tests.server.process import ServerProcess

BYTES = {"content-type": "application/octet-stream"}


def test_what_one_machine_deploys_another_fetches(server: ServerProcess, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    key = ServerStorage(server.url, LocalStorage(tmp_path / "here")).put(data)

    elsewhere = ServerStorage(f"{server.url}/api", LocalStorage(tmp_path / "there"))

    assert elsewhere.get(key) == data
    assert LocalStorage(tmp_path / "there").get(key) == data
    with pytest.raises(ResultMissing, match="deploy it again"):
        elsewhere.get(hex_digest(b"never", 32))


@pytest.mark.parametrize("key", ["x", "..%2f..%2fetc", "0" * 63, "g" * 64, "0" * 4000])
def test_only_a_hash_is_a_key(server: ServerProcess, key: str) -> None:
    for method in ("GET", "PUT"):
        assert server.request(method, f"/api/bundles/{key}", headers=BYTES, body=b"x" if method == "PUT" else None).status in (404, 422)


def test_bytes_of_another_hash_are_refused(server: ServerProcess) -> None:
    key = hex_digest(b"a", 32)

    assert server.request("PUT", f"/api/bundles/{key}", headers=BYTES, body=b"b").status == 422
    assert server.request("PUT", f"/api/bundles/{key}", headers={"content-type": "text/plain"}, body=b"a").status == 415
    assert server.request("PUT", f"/api/bundles/{key}", headers=BYTES, body=bytes(33 << 20)).status == 413
    assert server.request("GET", f"/api/bundles/{key}").status == 404


def test_a_server_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot reach"):
        ServerStorage("http://127.0.0.1:9", LocalStorage(tmp_path)).put(b"x")
