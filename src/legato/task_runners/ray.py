"""Tasks on a Ray cluster: one that is there, or one of this machine for as long as flows use it."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from typing import Any

from legato.task_runners.clusters import ClusterRunner, checked, in_flight, missing, perform


def _ray() -> Any:
    """The library: an extra, loaded where a flow uses it."""
    return importlib.import_module("ray")


class _Pending:
    """A job with Ray."""

    def __init__(self, ref: Any) -> None:
        self._ref = ref
        self._lost = "was lost"

    def answer(self) -> bytes | None:
        ray = _ray()

        try:
            data: bytes = ray.get(self._ref)
        except ray.exceptions.TaskCancelledError:
            self._lost = "was cancelled in Ray"
        except ray.exceptions.RayError as error:
            self._lost = f"was lost: {str(error).split(chr(10), 1)[0]}"
        else:
            return data
        return None

    def ask_to_stop(self) -> None:
        """Ray raises KeyboardInterrupt in the function."""
        self._cancel(force=False)

    def force(self) -> None:
        """Ray kills the worker process."""
        self._cancel(force=True)

    def _cancel(self, *, force: bool) -> None:
        ray = _ray()

        ray.cancel(self._ref, force=force)

    def how_it_was_lost(self) -> str:
        return self._lost


class _Users:
    """How many runners use the Ray that was started here: it is one for the whole process, and ends with the last of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._ours = False

    def enter(self, address: str | None, init_kwargs: Mapping[str, Any]) -> None:
        ray = _ray()

        with self._lock:
            if not ray.is_initialized():
                ray.init(address=address, **({} if address else {"include_dashboard": False}), **init_kwargs)
                self._ours = True
            self._count += 1

    def leave(self) -> None:
        ray = _ray()

        with self._lock:
            self._count -= 1
            if self._count == 0 and self._ours:
                self._ours = False
                ray.shutdown()


_users = _Users()


class _Cluster:
    """This process's connection to Ray."""

    def __init__(self) -> None:
        ray = _ray()

        self._perform = ray.remote(perform)

    def submit(self, run_id: str, name: str, job: bytes, function: bytes) -> _Pending:  # noqa: ARG002 Ray makes ids of its own
        return _Pending(self._perform.options(max_retries=0, name=name).remote(job, function, "a Ray worker"))

    def close(self) -> None:
        _users.leave()


class RayTaskRunner:
    """Run submitted tasks on Ray: the cluster at `address`, or one of this machine's own, or the one this process is connected to already.

    `init_kwargs` are for `ray.init`. `max_in_flight`: how many tasks are with the cluster at a time (default: twice its CPUs, from 8 to 512).
    Needs `pip install 'legato[ray]'`.
    """

    def __init__(
        self, address: str | None = None, *, init_kwargs: Mapping[str, Any] | None = None, max_in_flight: int | None = None
    ) -> None:
        self.address = address
        self.init_kwargs = dict(init_kwargs or {})
        self.max_in_flight = checked(max_in_flight)

    def start(self) -> ClusterRunner:
        """A runner for one flow run. Raises `UsageError` when Ray is not installed."""
        try:
            ray = _ray()
        except ImportError:
            raise missing("Ray", "ray") from None
        _users.enter(self.address, self.init_kwargs)
        slots = int(ray.cluster_resources().get("CPU", 1))
        return ClusterRunner("ray", _Cluster(), in_flight(slots, self.max_in_flight))
