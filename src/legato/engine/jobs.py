"""What travels between a flow's process and the one that performs a task's call: the job there, reports on the way, the answer back.

The flow's process keeps the run's life (states, retries, results); the other runs the function, and reports what the function does: its log
lines, and the flows and tasks it calls.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from legato.core.errors import UsageError
from legato.core.records import Artifact, LogLine, Transition, Verdict
from legato.engine.packing import pack_arguments, pack_function, unpack, unpack_exception
from legato.engine.process import Engine
from legato.engine.shell import TaskShell


class Job(msgspec.Struct, omit_defaults=True):
    """One call of a task's function, and the run it belongs to. `function` is left out for one that the worker has been sent before."""

    function_id: int
    arguments: bytes
    run_id: str
    task_name: str
    name: str
    key: str
    scope: str
    attempt: int
    flow_run_id: str
    flow_run_name: str
    flow_name: str
    flow_attempt: int
    flow_epoch: int
    call: str = ""
    is_async: bool = False
    log_prints: bool = False
    flow_log_prints: bool = False
    persist: bool = False
    recalls: bool = False
    keeps_values: bool = False
    knows_calls: bool = True
    below: str = ""
    tags: tuple[str, ...] = ()
    scope_tags: tuple[str, ...] = ()
    function: bytes | None = None


class Answer(msgspec.Struct, omit_defaults=True):
    """How a call ended: with a value, with an exception, or stopped. `unseen` are failures of tasks it submitted that nobody asked about,
    `changed` a call that it made that is new or changed.

    The rest is for workers that cannot report while they work: what they had to report, and the values they had to store.
    """

    value: bytes | None = None
    error: bytes | None = None
    stopped: str | None = None
    unseen: list[str] = []
    changed: str = ""
    transitions: list[Transition] = []
    logs: list[LogLine] = []
    artifacts: list[Artifact] = []
    blobs: list[bytes] = []


class Batch(msgspec.Struct):
    """Reports made while a call runs."""

    transitions: list[Transition]
    logs: list[LogLine]
    artifacts: list[Artifact] = []


class Gate(msgspec.Struct, tag=True):
    """Asks for a transition's verdict."""

    transition: Transition


class Ask(msgspec.Struct, tag=True):
    """Asks the flow's process to call a verb of its store, of its storage, or of the flow run's ledger. Arguments and answer are packed values."""

    of: Literal["store", "blobs", "ledger"]
    verb: str
    arguments: bytes


class Refused(msgspec.Struct, tag=True):
    """The asking failed, with this exception."""

    error: bytes


class Verdicts(msgspec.Struct, tag=True):
    verdict: Verdict


class Found(msgspec.Struct, tag=True):
    value: bytes


class Welcome(msgspec.Struct):
    """What a worker process must know before its first job: it becomes like the flow's process."""

    path: list[str]
    folder: str
    environ: dict[str, str]
    log_level: int


Question = Gate | Ask
Reply = Verdicts | Found | Refused

JOB, ANSWER, BATCH, QUESTION, REPLY, WELCOME = range(1, 7)

encode = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_batch = msgspec.msgpack.Decoder(Batch).decode
decode_question = msgspec.msgpack.Decoder(Question).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
decode_welcome = msgspec.msgpack.Decoder(Welcome).decode


_MOST_FUNCTIONS = 256


class JobMaker:
    """Makes jobs of task runs; packs each function once. What a function closes over is what it was at its first submit."""

    def __init__(self) -> None:
        self._packed: dict[tuple[type, int], tuple[Any, int, bytes]] = {}
        self._numbers = itertools.count()

    def job(self, shell: TaskShell) -> tuple[Job, bytes]:
        """The job of a task run, without its function, and the function. Raises `UsageError` naming what cannot travel."""
        function_id, function = self._function(shell)
        flow = shell.flow
        task_name = shell.task_name
        job = Job(
            function_id=function_id,
            arguments=pack_arguments(task_name, shell.fn, shell.args, shell.kwargs),
            run_id=shell.run_id,
            task_name=task_name,
            name=shell.name,
            key=shell.key,
            scope=shell.definition.scope,
            attempt=shell.attempt,
            flow_run_id=flow.run_id,
            flow_run_name=flow.name,
            flow_name=flow.flow_name,
            flow_attempt=flow.attempt,
            flow_epoch=flow.epoch,
            call=str(shell.call_id) if shell.call_id is not None else "",
            is_async=shell.definition.is_async,
            log_prints=shell.log_prints,
            flow_log_prints=flow.log_prints,
            persist=flow.policy.persist,
            recalls=flow.ledger.memory is not None,
            keeps_values=flow.ledger.keeps_values,
            knows_calls=flow.knows_calls,
            below=shell.taint_inside,
            tags=shell.tags,
            scope_tags=shell.scope_tags,
        )
        return job, function

    def _function(self, shell: TaskShell) -> tuple[int, bytes]:
        fn = shell.fn
        key = (type(fn), id(getattr(fn, "fn", fn)))  # a generator's function comes in a new wrapper each time
        known = self._packed.get(key)
        if known is not None:
            return known[1], known[2]
        if len(self._packed) >= _MOST_FUNCTIONS:
            self._packed.clear()
        number = next(self._numbers)
        packed = pack_function(shell.task_name, fn)
        self._packed[key] = (fn, number, packed)
        return number, packed


def welcome(log_level: int) -> Welcome:
    """What a worker process of this one must know."""
    return Welcome(path=list(sys.path), folder=str(Path.cwd()), environ=dict(os.environ), log_level=log_level)


def opened(answer: Answer, shell: TaskShell) -> Any:
    """The value an answer brings; raises the exception it brings. Neither for an answer that was stopped."""
    shell.flow.open_tasks.failed_elsewhere.extend(answer.unseen)
    shell.changed_inside = shell.changed_inside or answer.changed
    if answer.error is not None:
        raise unpack_exception(answer.error)
    assert answer.value is not None
    try:
        return unpack(answer.value)
    except Exception as error:
        raise UsageError(
            f"the result of task run '{shell.name}' cannot be read here: {type(error).__name__}: {error}",
            hint="return plain data, or a type whose pickling gives it back",
        ) from error


def pass_on(reports: Batch | Answer, engine: Engine) -> None:
    """Report here what was reported elsewhere."""
    for transition in reports.transitions:
        engine.outbox.report(transition)
    for line in reports.logs:
        engine.outbox.report(line)
    for artifact in reports.artifacts:
        engine.outbox.show(artifact)
