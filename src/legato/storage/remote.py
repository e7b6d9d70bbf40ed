"""Bundles by way of a server: what is deployed on one machine is fetched by its hash on another."""

# ruff: noqa: TID253 this module is imported only to speak to a server
from __future__ import annotations

from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from legato.core.digests import hex_digest
from legato.core.errors import ResultMissing, Unavailable
from legato.storage.local import LocalStorage

TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)


class ServerStorage:
    """The bundles of the server at `url`, with a folder of this machine before it: what was fetched once is not fetched again."""

    def __init__(self, url: str, local: LocalStorage, *, api_key: str = "") -> None:
        path = urlsplit(url).path.rstrip("/")
        self._base = url.rstrip("/") if path.endswith("/api") else f"{url.rstrip('/')}/api"
        self._local = local
        self._headers = {"content-type": "application/octet-stream", **({"authorization": f"Bearer {api_key}"} if api_key else {})}

    def put(self, data: bytes) -> str:
        """Store a bundle here and there; returns its key."""
        key = self._local.put(data)
        status, answer = self._ask("PUT", key, data)
        if status >= 400:
            raise Unavailable(f"the server at {self._base} did not take the bundle ({status}): {answer[:200].decode(errors='replace')}")
        return key

    def get(self, key: str) -> bytes:
        """The bytes under `key`. Raises `ResultMissing` when neither has them, `Unavailable` when the server cannot be asked."""
        try:
            return self._local.get(key)
        except ResultMissing:
            status, data = self._ask("GET", key, None)
        if status == 404:
            raise ResultMissing(
                f"no bundle {key} is on this machine, nor on the server at {self._base}",
                hint="deploy it again; servers that share a database have to share the folder LEGATO_HOME/storage as well",
            )
        if status >= 400 or hex_digest(data, 32) != key:
            raise Unavailable(f"the server at {self._base} did not give the bundle {key} ({status})")
        self._local.put(data)
        return data

    def _ask(self, method: str, key: str, body: bytes | None) -> tuple[int, bytes]:
        try:
            with urllib3.PoolManager(retries=False, timeout=TIMEOUT) as pool:
                answer = pool.request(method, f"{self._base}/bundles/{key}", body=body, headers=self._headers, redirect=False)
                return answer.status, answer.data
        except HTTPError as error:
            raise Unavailable(
                f"cannot reach the server at {self._base}: {str(error).rpartition(': ')[2]}", hint="start it, or try again later"
            ) from None
