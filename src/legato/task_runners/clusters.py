"""What Dask and Ray have in common: each thread drives one task run's life here, and has its function performed by the cluster.

A worker on a cluster cannot reach the flow's process: what the function logs, and the flows and tasks it calls, come back with the answer.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from legato.core.errors import UsageError
from legato.engine import jobs
from legato.engine.futures import Future
from legato.engine.jobs import JobMaker
from legato.engine.shell import TaskShell
from legato.task_runners.away import Away
from legato.task_runners.threads import ThreadRunner


class Pending(Protocol):
    """A job that was handed to a cluster."""

    def answer(self) -> bytes | None:
        """Wait for the answer; None when the cluster lost the job or let it go."""
        ...

    def ask_to_stop(self) -> None: ...

    def force(self) -> None:
        """Make `answer` return."""
        ...

    def how_it_was_lost(self) -> str:
        """In words, after `answer` gave None."""
        ...


class Cluster(Protocol):
    """Where jobs are performed."""

    def submit(self, run_id: str, name: str, job: bytes, function: bytes) -> Pending: ...

    def close(self) -> None: ...


class ClusterRunner:
    """A running `DaskTaskRunner` or `RayTaskRunner`: at most `in_flight` jobs are with the cluster at a time."""

    def __init__(self, name: str, cluster: Cluster, in_flight: int) -> None:
        self.name = name
        self._cluster = cluster
        self._threads = ThreadRunner(in_flight)
        self._maker = JobMaker()

    def submit(self, future: Future[Any]) -> None:
        self._threads.submit(future)

    def call(self, shell: TaskShell) -> Any:
        """Have the cluster perform a task's function; returns its value, or raises what it raised."""
        job, function = self._maker.job(shell)
        pending = self._cluster.submit(shell.run_id, shell.name, jobs.encode(job), function)
        away = Away(ask=pending.ask_to_stop, force=pending.force)
        try:
            away.begin(shell)
            data = pending.answer()
        except BaseException:
            pending.force()
            raise
        away.over()
        answer = None if data is None else jobs.decode_answer(data)
        if answer is not None:
            _take_in(answer, shell)
        return away.outcome(answer, shell, lambda: f"the worker that ran task run '{shell.name}' {pending.how_it_was_lost()}")

    def close(self) -> None:
        self._threads.close()
        self._cluster.close()


def _take_in(answer: jobs.Answer, shell: TaskShell) -> None:
    """Store and report what the function's own runs stored and reported: the values before the states that name them."""
    for blob in answer.blobs:
        shell.engine.blobs.put(blob)
    jobs.pass_on(answer, shell.engine)


def perform(job: bytes, function: bytes, where: str) -> bytes:
    """On a cluster's worker: perform a job. The worker's side stands above this layer, and is found by its name."""
    answer: bytes = importlib.import_module("legato.sdk.worker").run_collected(job, function, where)
    return answer


def missing(package: str, extra: str) -> UsageError:
    """The error for a library that is not installed."""
    return UsageError(f"{package} is not installed", hint=f"install it with: pip install 'legato[{extra}]'")


def checked(max_in_flight: int | None) -> int | None:
    """The option, refused if it makes no sense."""
    if max_in_flight is not None and max_in_flight < 1:
        raise UsageError(f"max_in_flight is {max_in_flight}", hint="give a number from 1 up, or leave it out")
    return max_in_flight


def in_flight(slots: int, wanted: int | None) -> int:
    """How many jobs to have with a cluster at a time: enough that none of its slots waits for us, few enough to have a thread each here."""
    return wanted or min(max(8, 2 * slots), 512)
