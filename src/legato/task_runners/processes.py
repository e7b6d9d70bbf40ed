"""Tasks on worker processes of this machine: several cores at once, and work that can be stopped by force.

Each of `max_workers` threads drives its task run's life here, and has only the function performed by a worker process, which is kept warm
between tasks. Workers report through this process: they open no database, and what they said is not lost when they are killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any, Literal

from legato import crashing
from legato.core.errors import Unavailable, UsageError
from legato.core.records import Transition
from legato.core.states import CRASHED, FINAL, State
from legato.engine import jobs
from legato.engine.futures import Future
from legato.engine.jobs import ANSWER, BATCH, JOB, REPLY, Answer, Job, JobMaker
from legato.engine.packing import pack, pack_exception, unpack
from legato.engine.process import Engine
from legato.engine.script import Lost, Stop
from legato.engine.shell import TaskShell
from legato.system import now
from legato.task_runners.away import Away
from legato.task_runners.threads import ThreadRunner
from legato.task_runners.workers import Spawner, Starter, WarmParent, Worker

_STARTS = 3
"""How often a job is handed to another worker when the first is found dead. Workers that cannot start at all must not be tried forever."""

_MOST_FUNCTIONS = 256
"""A worker that has been sent so many functions is replaced: it keeps them all."""


class ProcessRunner:
    """A running `ProcessTaskRunner`."""

    name = "processes"

    def __init__(self, max_workers: int, starter: Starter) -> None:
        self._threads = ThreadRunner(max_workers)
        self._starter = starter
        self._maker = JobMaker()
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._closed = False

    def submit(self, future: Future[Any]) -> None:
        self._threads.submit(future)

    def call(self, shell: TaskShell) -> Any:
        """Have a worker perform a task's function; returns its value, or raises what it raised."""
        job, function = self._maker.job(shell)
        for _ in range(_STARTS):
            worker = self._take(shell.engine.log_level)
            with contextlib.suppress(_NotBegunError):  # it had died unnoticed: nothing has happened yet
                return self._perform(worker, shell, job, function)
        raise Lost(f"{_STARTS} worker processes, one after the other, ended before task run '{shell.name}' could begin")

    def _perform(self, worker: Worker, shell: TaskShell, job: Job, function: bytes) -> Any:
        away = Away(ask=lambda: worker.signal(signal.SIGTERM), force=lambda: worker.signal(signal.SIGKILL))
        try:
            away.begin(shell)
        except Stop:
            self._give_back(worker)
            raise
        try:
            answer = _converse(worker, job, function, shell)
        except _NotBegunError:
            self._forget(worker)
            if not away.over():
                raise Stop(away.reason or "") from None
            raise
        if away.over() and answer is not None and answer.stopped is None:
            self._give_back(worker)
        else:  # it is gone, or a signal may still be on its way to it
            self._forget(worker)
        return away.outcome(
            answer, shell, lambda: f"worker process {worker.pid}, which ran task run '{shell.name}', {worker.how_it_ended()}"
        )

    def close(self) -> None:
        """Hang up on the workers and wait for their end. Nothing runs any more: the flow has settled its tasks."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._idle.clear()
            workers = list(self._workers)
        self._threads.close()
        for worker in workers:
            worker.channel.hang_up()
        for worker in workers:
            worker.see_off()
        self._starter.release()

    def _take(self, log_level: int) -> Worker:
        """An idle worker, or a new one: there are never more than threads that use them."""
        while True:
            with self._lock:
                if self._closed:
                    raise Lost("the flow run has ended")
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                break
            if worker.channel.is_open and len(worker.known) < _MOST_FUNCTIONS:
                return worker
            self._forget(worker)
        worker = self._started(log_level)
        with self._lock:
            self._workers.add(worker)
        return worker

    def _started(self, log_level: int) -> Worker:
        """A new worker. When the process that starts them is gone, another takes its place, once."""
        starter = self._starter
        try:
            return starter.start(log_level)
        except Unavailable:
            with self._lock:
                if self._starter is starter:
                    self._starter = starter.renewed()
            return self._starter.start(log_level)

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def _forget(self, worker: Worker) -> None:
        """Let a worker go; those that have ended since are done with."""
        worker.channel.hang_up()
        with self._lock:
            ended = [one for one in self._workers if one.has_ended and one not in self._idle]
            self._workers.difference_update(ended)
        for one in ended:
            one.see_off()


class _NotBegunError(Exception):
    """The worker was gone before it had read its job."""


def _converse(worker: Worker, job: Job, function: bytes, shell: TaskShell) -> Answer | None:
    """Send a job and see to what the worker says until it answers; None: it went away meanwhile. Raises `_NotBegunError`."""
    job.function = None if job.function_id in worker.known else function
    worker.known.add(job.function_id)
    channel = worker.channel
    crashing.reached("job.sending")
    try:
        channel.send(JOB, jobs.encode(job))
    except OSError:
        raise _NotBegunError from None
    crashing.reached("job.sent")
    received = channel.receive()
    if received is None and channel.was_unread:
        raise _NotBegunError
    inside = _Inside(shell.engine)
    with contextlib.suppress(OSError):
        while received is not None:
            kind, payload = received
            if kind == ANSWER:
                crashing.reached("answer.received")
                return jobs.decode_answer(payload)
            if kind == BATCH:
                batch = jobs.decode_batch(payload)
                inside.heard(batch.transitions)
                jobs.pass_on(batch, shell.engine)
            else:
                question = jobs.decode_question(payload)
                reply = _reply(question, shell)
                if isinstance(question, jobs.Gate):
                    inside.heard([question.transition])
                channel.send(REPLY, jobs.encode(reply))
            received = channel.receive()
    inside.are_gone(worker.pid)
    return None


class _Inside:
    """The runs that a job has begun in its worker, and that have not ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[str, Transition] = {}

    def heard(self, transitions: Sequence[Transition]) -> None:
        """The worker has told of these."""
        for one in transitions:
            if one.state.type in FINAL:
                self._open.pop(one.run_id, None)
            else:
                self._open[one.run_id] = one

    def are_gone(self, pid: int) -> None:
        """The worker is gone: say so of each, the innermost first. Nobody else will."""
        crashed = State(CRASHED, "Crashed", now(), f"the worker process {pid} it ran in went away")
        for one in reversed(self._open.values()):
            self._engine.outbox.report(Transition(one.kind, one.run_id, one.seq + 1, crashed, one.attempt, one.fence))


def _reply(question: jobs.Question, shell: TaskShell) -> jobs.Reply:
    engine = shell.engine
    try:
        match question:
            case jobs.Gate(transition):
                return jobs.Verdicts(engine.gate(transition))
            case jobs.Ask(of, verb, arguments):
                args, kwargs = unpack(arguments)
                asked = {"store": engine.store, "blobs": engine.blobs, "ledger": shell.flow.ledger}[of]
                return jobs.Found(pack(getattr(asked, verb)(*args, **kwargs)))
    except Exception as error:  # noqa: BLE001 it is raised where the question was asked
        return jobs.Refused(pack_exception(error, "the flow's process"))


class ProcessTaskRunner:
    """Run submitted tasks on worker processes, at most `max_workers` at once (default: the number of cores this process may use).

    `start_method`: "forkserver" (a clean warm parent forks them, some milliseconds each) or "spawn" (each is a new interpreter).
    """

    def __init__(self, max_workers: int | None = None, start_method: Literal["forkserver", "spawn"] = "forkserver") -> None:
        if max_workers is not None and max_workers < 1:
            raise UsageError(f"max_workers is {max_workers}", hint="give a number from 1 up, or leave it out")
        if start_method not in ("forkserver", "spawn"):
            raise UsageError(f"start_method is {start_method!r}", hint='give "forkserver" or "spawn"')
        self.max_workers = max_workers or _cores()
        self.start_method = start_method

    def start(self) -> ProcessRunner:
        """A runner for one flow run. Its first worker is started by the first task."""
        return ProcessRunner(self.max_workers, Spawner() if self.start_method == "spawn" else WarmParent.acquire())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
