"""Tasks on a Dask cluster: one that is there, or one of this machine for as long as the flow runs."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import threading
from collections.abc import Mapping
from typing import Any

from legato.core.errors import UsageError
from legato.task_runners.away import GRACE_S
from legato.task_runners.clusters import ClusterRunner, checked, in_flight, missing, perform

_SCATTERED_BYTES = 1 << 20
"""Jobs larger than this are handed to a worker as data, instead of going through the scheduler."""


def _distributed() -> Any:
    """The library: an extra, loaded where a flow uses it."""
    return importlib.import_module("distributed")


class _Pending:
    """A job with Dask."""

    def __init__(self, client: Any, future: Any, run_id: str) -> None:
        self._client = client
        self._future = future
        self._run_id = run_id
        self._lost = "was lost"

    def answer(self) -> bytes | None:
        distributed = _distributed()

        try:
            data: bytes = self._future.result()
        except distributed.KilledWorker:
            self._lost = "died, more often than Dask allows"
        except (distributed.CancelledError, TimeoutError):
            self._lost = "was let go by Dask before it had answered"
        else:
            return data
        return None

    def ask_to_stop(self) -> None:
        """The function runs on a thread of a worker: it is ended there, at its next line of Python."""
        threading.Thread(target=self._ask, name="legato-dask-stop", daemon=True).start()  # workers may take long to hear

    def _ask(self) -> None:
        with contextlib.suppress(Exception):  # whatever is wrong with the cluster now, `force` follows
            self._client.run(_stop, self._run_id, wait=False)

    def force(self) -> None:
        with contextlib.suppress(Exception):  # the cluster may be gone: then the job is, too
            self._future.cancel(force=True)

    def how_it_was_lost(self) -> str:
        return self._lost


async def _stop(run_id: str) -> None:
    """On each worker: stop a job, if it runs there. Dask starts only coroutines without waiting for their end."""
    importlib.import_module("legato.sdk.worker").stop_collected(run_id)


class _Cluster:
    """A client of a Dask cluster, and the cluster itself if it is ours."""

    def __init__(self, client: Any, own: Any) -> None:
        self._client = client
        self._own = own
        self._numbers = itertools.count()

    def submit(self, run_id: str, name: str, job: bytes, function: bytes) -> _Pending:
        sent: Any = self._client.scatter(job, hash=False) if len(job) > _SCATTERED_BYTES else job
        future = self._client.submit(perform, sent, function, "a Dask worker", key=f"{name}-{run_id}-{next(self._numbers)}", pure=False)
        return _Pending(self._client, future, run_id)

    def close(self) -> None:
        self._client.close(GRACE_S)
        if self._own is not None:
            self._own.close()


class DaskTaskRunner:
    """Run submitted tasks on a Dask cluster: `cluster` (an object of Dask's), or the one at `address`, or one of this machine's own.

    `cluster_kwargs` are for `distributed.LocalCluster` (default: one process a core, its web page on any free port). `max_in_flight`: how many tasks are with
    the cluster at a time (default: twice its threads, from 8 to 512). Needs `pip install 'legato[dask]'`.
    """

    def __init__(
        self,
        cluster: Any = None,
        *,
        address: str | None = None,
        cluster_kwargs: Mapping[str, Any] | None = None,
        max_in_flight: int | None = None,
    ) -> None:
        if sum(given is not None for given in (cluster, address, cluster_kwargs)) > 1:
            raise UsageError("DaskTaskRunner was given more than one cluster", hint="give one of cluster, address and cluster_kwargs")
        self.cluster = cluster
        self.address = address
        self.cluster_kwargs = dict(cluster_kwargs or {})
        self.max_in_flight = checked(max_in_flight)

    def start(self) -> ClusterRunner:
        """A runner for one flow run. Raises `UsageError` when Dask is not installed."""
        try:
            distributed = _distributed()
        except ImportError:
            raise missing("Dask (distributed)", "dask") from None
        own = None
        if self.cluster is None and self.address is None:
            own = distributed.LocalCluster(**{"threads_per_worker": 1, "dashboard_address": ":0", **self.cluster_kwargs})
        client = distributed.Client(self.address or self.cluster or own, set_as_default=False)
        slots = sum(client.nthreads().values())
        return ClusterRunner("dask", _Cluster(client, own), in_flight(slots, self.max_in_flight))
