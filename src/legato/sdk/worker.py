"""The other end of a task that runs elsewhere: performs a job's call, and reports what the function does. It opens no database.

In a worker process of this machine (`main`) reports go up to the flow's process while the function runs; on a cluster's machines
(`run_collected`) they are collected and come back with the answer. Either way the function finds itself in an ordinary task run: loggers,
prints, flows and tasks work in it as they do at home, the tasks it submits on threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NoReturn

import msgspec

from legato import crashing
from legato import settings as settings_module
from legato.core.errors import ResultMissing, Unavailable, UsageError
from legato.core.records import Artifact, Beat, BeatReply, LogLine, Transition, Verdict, VerdictKind
from legato.core.resume import Again, CallId, Memory, Past, Recall, Reuse
from legato.core.states import RUNNING, State
from legato.engine import jobs
from legato.engine.channel import Channel
from legato.engine.identity.ledger import Ledger
from legato.engine.jobs import ANSWER, BATCH, JOB, QUESTION, REPLY, WELCOME, Answer, Job
from legato.engine.packing import pack, pack_exception, pack_result, unpack, unpack_exception, unpack_function
from legato.engine.process import Engine
from legato.engine.script import CALL, CANCEL, SETTLE, Conclude, Ending, Policy, Settle, Stop, holds
from legato.engine.shell import FlowShell, TaskShell
from legato.engine.signals import main_thread_stops
from legato.forking import at_fork
from legato.logs import console
from legato.sdk import process
from legato.sdk.calls import compiled_task
from legato.sdk.definitions import TAGS, Definition
from legato.sdk.keys import Key
from legato.store.port import Store
from legato.store.verbs import Verb
from legato.system import now
from legato.task_runners.threads import ThreadTaskRunner

_ACCEPTED = Verdict(VerdictKind.ACCEPTED)

_GRACE_S = 2.0
"""How long user code has to end when the flow's process is gone."""


# ---------------------------------------------------------------------- the run around the function


class _FlowElsewhere(FlowShell):
    """The part of the flow's shell that its task needs here. Tasks called by task `outer-3` are numbered 3.0, 3.1, …"""

    def __init__(self, engine: Engine, job: Job) -> None:
        super().__init__(
            engine,
            job.flow_run_id,
            job.flow_run_name,
            Policy(persist=job.persist),
            _no_function,
            (),
            {},
            make_runner=ThreadTaskRunner().start,
            log_prints=job.flow_log_prints,
            ledger=_LedgerElsewhere(engine.store, job) if isinstance(engine.store, Link) else Ledger(first_number=_first_number(job)),
        )
        self.attempt, self.epoch = job.flow_attempt, job.flow_epoch
        self.state = State(RUNNING, "Running", now())
        self._number = job.name.rpartition("-")[2]
        self._flow_name = job.flow_name

    @property
    def flow_name(self) -> str:
        return self._flow_name

    def named_arguments(self) -> Mapping[str, Any]:
        return self.engine.store.get_flow_run(self.run_id).parameters

    def number_of(self, task_name: str) -> str:
        return f"{self._number}.{super().number_of(task_name)}"


def _first_number(job: Job) -> int:
    """From where calls and lanes are counted here: from elsewhere than in the flow's process, and in other workers."""
    return (int(job.run_id[-8:], 16) + 1) << 20


class _LedgerElsewhere(Ledger):
    """The ledger of the flow's process, for the calls a job makes. Occurrences and lanes are counted here: no other process makes these calls."""

    def __init__(self, link: Link, job: Job) -> None:
        super().__init__(Memory(()) if job.recalls else None, keeps_values=job.keeps_values, first_number=_first_number(job))
        self._link = link

    def recall(self, name: str, call: CallId, key: str, **what: Any) -> Recall | None:
        if self.memory is None:
            return None
        answer: Recall | None = self._link.ask("ledger", "recall", name, call, key, **what)
        return answer

    def was_not_asked(self, name: str, why: str) -> None:
        if self.memory is not None:
            self._link.ask("ledger", "was_not_asked", name, why)

    def reuses(self, name: str, *, is_flow: bool = False) -> None:
        self._link.ask("ledger", "reuses", name, is_flow=is_flow)

    def gone(self, name: str, found: Reuse, why: str) -> Again:
        again: Again = self._link.ask("ledger", "gone", name, found, why)
        return again

    def made(self, past: Past) -> None:
        self._link.ask("ledger", "made", past)


def _definition(fn: Callable[..., Any], job: Job) -> Definition[Any, Any]:
    """The task as far as its own code may ask about it."""
    definition: Definition[Any, Any] = Definition(getattr(fn, "fn", fn), name=job.task_name)
    definition.named = Key(job.key, job.scope)
    compiled_task(definition)
    return definition


def _no_function() -> None:
    raise AssertionError("the flow runs in its own process")


def _found_in_main(fn: Callable[..., Any]) -> None:
    """Have what a script's function uses of its script found in `__main__` here as well, where pickle looks for it: a pool of the task's own
    sends functions by name.
    """
    if fn.__module__ == "__main__":
        found = getattr(fn, "__globals__", {})
        vars(sys.modules["__main__"]).update({name: one for name, one in found.items() if getattr(one, "__module__", None) == "__main__"})


class Call:
    """One job being performed. `stop` it from any thread, or from a signal handler."""

    def __init__(self, engine: Engine, job: Job, where: str) -> None:
        self._job = job
        self._where = where
        self._engine = engine
        self._flow = _FlowElsewhere(engine, job)
        self._shell: TaskShell | None = None
        self._reason: str | None = None
        self._unseen: list[str] = []

    @property
    def _changed(self) -> str:
        return self._shell.changed_inside if self._shell is not None else ""

    def stop(self, reason: str) -> None:
        """End the function, and what it submitted."""
        self._reason = reason
        if self._shell is not None:
            self._shell.stop(reason)
        self._flow.stop(reason)

    def run(self, find_function: Callable[[Job], Callable[..., Any]]) -> Answer:
        """Perform it; whatever happens is in the answer."""
        job = self._job
        TAGS.set(job.scope_tags or None)
        try:
            shell = self._shell = self._make_shell(find_function)
            if self._reason is not None:
                raise Stop(self._reason)
            value = self._call_async(shell) if job.is_async else self._call(shell)
            return Answer(value=pack_result(job.task_name, value), unseen=self._unseen, changed=self._changed)
        except Stop as stop:
            return Answer(stopped=stop.reason)
        except BaseException as exc:
            if not self._engine.is_mine:  # in a child that the function has forked: its end is its own
                raise
            return Answer(error=pack_exception(exc, self._where), unseen=self._unseen, changed=self._changed)
        finally:
            self._flow.close()

    def _make_shell(self, find_function: Callable[[Job], Callable[..., Any]]) -> TaskShell:
        job = self._job
        fn, (args, kwargs) = self._read(job, find_function)
        shell = TaskShell(self._flow, job.run_id, job.name, Policy(), fn, args, kwargs, key=job.key, caller=None, tags=job.tags)
        shell.attempt = job.attempt
        shell.call_id = CallId.parse(job.call)
        shell.below = job.below
        shell.definition = _definition(fn, job)
        shell.log_prints = job.log_prints
        if job.log_prints:
            from legato.sdk.logging import patch_print  # noqa: PLC0415 start-up time: wanted only by runs that log

            patch_print()
        if extra := process.current_settings().extra_loggers:
            from legato.sdk.logging import attach_extra_loggers  # noqa: PLC0415 start-up time: wanted only by runs that log

            attach_extra_loggers(extra)
        return shell

    def _read(self, job: Job, find_function: Callable[[Job], Callable[..., Any]]) -> tuple[Callable[..., Any], Any]:
        what = "function"
        try:
            fn = find_function(job)
            what = "arguments"
            return fn, unpack(job.arguments)
        except Exception as error:
            raise UsageError(
                f"the {what} of task '{job.task_name}' cannot be read in {self._where}: {type(error).__name__}: {error}",
                hint="what they are made of must be importable there, in the same version",
            ) from error

    def _call(self, shell: TaskShell) -> Any:
        try:
            return _had(shell.conclude(Conclude(value)), value) if holds(value := shell.call()) else value
        except Stop as stop:
            self._flow.settle(Settle(stop.reason))
            raise
        finally:
            if self._engine.is_mine:
                self._flow.settle(SETTLE)
                self._unseen = self._flow.open_tasks.take_unseen()

    def _call_async(self, shell: TaskShell) -> Any:
        import asyncio  # noqa: PLC0415 start-up time: sync tasks never need it

        from legato.engine.aio import aperform  # noqa: PLC0415

        async def call() -> Any:
            try:
                value = await aperform(shell, CALL)
                return _had(await aperform(shell, Conclude(value)), value) if holds(value) else value
            except Stop as stop:
                await aperform(self._flow, Settle(stop.reason))
                raise
            finally:
                if self._engine.is_mine:
                    await aperform(self._flow, SETTLE)
                    self._unseen = self._flow.open_tasks.take_unseen()

        return asyncio.run(call())


def _had(ending: Ending | None, value: Any) -> Any:
    """The value that a call came to, with the values of the futures it returned."""
    if ending is None:
        return value
    if ending.error is not None:
        raise ending.error
    return ending.value


# ---------------------------------------------------------------------- a worker process of this machine


class Link(Store):
    """This process's way to the flow's: the store that nested runs report to, and the storage their results go to.

    Reports are sent and forgotten; questions are asked one at a time, and only while a job is being performed.
    """

    answers_later = False
    knows_batches = False

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asking = threading.Lock()
        self._is_working = False

    # -- the store

    @property
    def address(self) -> str:
        return ""

    def apply(
        self,
        transitions: Sequence[Transition] = (),
        logs: Sequence[LogLine] = (),
        artifacts: Sequence[Artifact] = (),
        *,
        batch_id: str = "",  # noqa: ARG002 the port's signature
        now: datetime | None = None,  # noqa: ARG002 the port's signature
    ) -> list[Verdict]:
        self._send(BATCH, jobs.encode(jobs.Batch(list(transitions), list(logs), list(artifacts))))
        return [_ACCEPTED] * len(transitions)

    def call(self, verb: Verb, arguments: Mapping[str, Any]) -> Any:
        """What the flow's process answers to any other verb."""
        return self.ask("store", verb.name, **arguments)

    def close(self) -> None:
        pass

    # -- the storage

    def put(self, data: bytes) -> str:
        key: str = self.ask("blobs", "put", data)
        return key

    def get(self, key: str) -> bytes:
        data: bytes = self.ask("blobs", "get", key)
        return data

    # -- the channel

    def next_job(self) -> Job | None:
        """The next job; None: there will be no other."""
        received = self._channel.receive()
        if received is None:
            return None
        assert received[0] == JOB, received[0]
        job = jobs.decode_job(received[1])
        self._is_working = True
        crashing.reached("job.received")
        return job

    def answer(self, answer: Answer) -> None:
        """The job is over. Waits for a question that is being asked."""
        with self._asking:
            self._is_working = False
            crashing.reached("answer.sending")
            self._send(ANSWER, jobs.encode(answer))
            crashing.reached("answer.sent")

    def gate(self, transition: Transition) -> Verdict:
        """The verdict on a transition, from the flow's process."""
        verdict: Verdict = self._question(jobs.Gate(transition)).verdict
        return verdict

    def ask(self, of: Literal["store", "blobs", "ledger"], verb: str, *args: Any, **kwargs: Any) -> Any:
        """Have the flow's process call a verb of its store, storage or ledger; returns what that returns, raises what that raises."""
        return unpack(self._question(jobs.Ask(of, verb, pack((args, kwargs)))).value)

    def _question(self, question: jobs.Question) -> Any:
        with self._asking:
            if not self._is_working:
                raise Unavailable("the task that asks has ended", hint="wait in the task for what it has started")
            self._send(QUESTION, jobs.encode(question))
            received = self._channel.receive()
            if received is None:
                raise Unavailable("the flow's process is gone")
            assert received[0] == REPLY, received[0]
            reply = jobs.decode_reply(received[1])
        if isinstance(reply, jobs.Refused):
            raise unpack_exception(reply.error)
        return reply

    def _send(self, kind: int, payload: bytes) -> None:
        try:
            self._channel.send(kind, payload)
        except OSError as error:
            raise Unavailable("the flow's process is gone") from error


class _LinkedEngine(Engine):
    """An engine whose gates are the flow's process's."""

    def __init__(self, link: Link) -> None:
        super().__init__(link, link)
        self._link = link

    def gate(self, transition: Transition) -> Verdict:
        self.outbox.flush()
        crashing.reached("question.sending")
        verdict = self._link.gate(transition)
        crashing.reached("question.answered")
        return verdict


class Worker:
    """One worker process: performs jobs one after the other, until the flow's process hangs up."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._functions: dict[int, Callable[..., Any]] = {}
        self._call: Call | None = None
        self._where = f"worker process {os.getpid()}"

    def run(self) -> None:
        """Until the flow's process hangs up."""
        received = self._channel.receive()
        if received is None:
            return
        assert received[0] == WELCOME, received[0]
        engine = self._settle_in(jobs.decode_welcome(received[1]))
        link = engine.store
        assert isinstance(link, Link)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        at_fork(in_child=self._leave_to_the_parent)
        threading.Thread(target=self._watch_flow, name="legato-lifeline", daemon=True).start()
        with main_thread_stops(), contextlib.suppress(Unavailable):
            while (job := link.next_job()) is not None:
                answer = self._perform(job, engine)
                if not engine.is_mine:  # a child that the function has forked has come to its end
                    return
                link.answer(answer)

    def _settle_in(self, welcome: jobs.Welcome) -> Engine:
        """Become like the flow's process: the same folder, environment, import path, and settings."""
        os.environ.clear()
        os.environ.update(welcome.environ)
        with contextlib.suppress(OSError):
            os.chdir(welcome.folder)
        sys.path[:] = welcome.path
        engine = _LinkedEngine(Link(self._channel))
        engine.log_level = welcome.log_level
        level = next((name for name, number in console.LEVELS.items() if number == welcome.log_level), "INFO")
        process.use_engine(engine, settings_module.load()._replace(log_level=level))
        return engine

    def _perform(self, job: Job, engine: Engine) -> Answer:
        call = self._call = Call(engine, job, self._where)
        try:
            answer = call.run(self._function)
            engine.outbox.flush()
        finally:
            self._call = None
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        return answer

    def _function(self, job: Job) -> Callable[..., Any]:
        if job.function is not None:
            self._functions[job.function_id] = unpack_function(job.function)
        function = self._functions[job.function_id]
        _found_in_main(function)
        return function

    def _on_sigterm(self, signum: int, frame: object) -> None:  # noqa: ARG002 the signal module's signature
        if self._call is None:
            raise SystemExit(0)
        self._call.stop(CANCEL)

    def _leave_to_the_parent(self) -> None:
        """In a child that user code has forked: it has no part in what the worker does."""
        self._channel.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _watch_flow(self) -> None:
        """When the flow's process goes away while user code runs, end that code, then this process and all it has started."""
        hung_up = select.poll()
        hung_up.register(self._channel.socket, 0)
        while not any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in hung_up.poll()):
            pass
        call = self._call
        if call is not None:
            call.stop(CANCEL)
        if not _ended.wait(_GRACE_S):
            _end_group()


_ended = threading.Event()


def _end_group() -> None:
    if os.getpgid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def main(descriptor: int) -> None:
    """A worker process's life, on the socket that is its way to the flow's process."""
    signal.signal(signal.SIGINT, _ignore)
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        Worker(channel).run()
    finally:
        _ended.set()
        channel.close()


def _ignore(signum: int, frame: object) -> None:
    """Ctrl-C is for the flow's process, which tells us. Not SIG_IGN: the programs that tasks start would inherit that."""


# ---------------------------------------------------------------------- a worker on a cluster


class _Collector(Store):
    """Keeps what a function's runs report and store, until the answer takes it along."""

    answers_later = True
    knows_batches = False

    def __init__(self) -> None:
        self.transitions: list[Transition] = []
        self.logs: list[LogLine] = []
        self.artifacts: dict[str, Artifact] = {}
        self.blobs: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return ""

    def apply(
        self,
        transitions: Sequence[Transition] = (),
        logs: Sequence[LogLine] = (),
        artifacts: Sequence[Artifact] = (),
        *,
        batch_id: str = "",  # noqa: ARG002 the port's signature
        now: datetime | None = None,  # noqa: ARG002 the port's signature
    ) -> list[Verdict]:
        self.transitions.extend(msgspec.structs.replace(t, happened=True) for t in transitions)  # the store hears of it when it is done
        self.logs.extend(logs)
        self.artifacts.update((artifact.id, artifact) for artifact in artifacts)
        return [_ACCEPTED] * len(transitions)

    def heartbeat(self, beats: Sequence[Beat], *, lease_s: float, now: datetime | None = None) -> list[BeatReply]:  # noqa: ARG002 the port's signature
        return [BeatReply(beat.run_id, alive=True) for beat in beats]

    def call(self, verb: Verb, arguments: Mapping[str, Any]) -> NoReturn:  # noqa: ARG002 the port's signature
        """Any other verb says why it cannot be had."""
        raise _out_of_reach(verb.name)

    def close(self) -> None:
        pass

    def put(self, data: bytes) -> str:
        key = hashlib.blake2b(data, digest_size=32).hexdigest()
        self.blobs[key] = data
        return key

    def get(self, key: str) -> bytes:
        if key in self.blobs:
            return self.blobs[key]
        raise ResultMissing(
            f"the result stored under {key} cannot be read on a cluster's worker", hint="load it in the flow, and hand it on"
        )


def _out_of_reach(verb: str) -> UsageError:
    return UsageError(
        f"the store cannot be asked ({verb}) by a task on a cluster's worker", hint="ask in the flow, and give the task the answer"
    )


_calls: dict[str, Call] = {}
"""The calls being performed in this process, by task run."""


def run_collected(job_bytes: bytes, function: bytes, where: str) -> bytes:
    """Perform a job and bring back its answer, with all that was reported meanwhile."""
    job = jobs.decode_job(job_bytes)
    collector = _Collector()
    engine = Engine(collector, collector)
    call = _calls[job.run_id] = Call(engine, job, where)
    try:
        with main_thread_stops():
            answer = call.run(lambda _: unpack_function(function))
    finally:
        _calls.pop(job.run_id, None)
    engine.close()
    answer.transitions, answer.logs = collector.transitions, collector.logs
    answer.artifacts, answer.blobs = list(collector.artifacts.values()), list(collector.blobs.values())
    return jobs.encode(answer)


def stop_collected(run_id: str) -> None:
    """Stop a call, if it is being performed in this process."""
    call = _calls.get(run_id)
    if call is not None:
        call.stop(CANCEL)
