"""The writer: one thread through which all of a server's writes go, so that many requests share one commit.

Two lanes: gates (small batches, claims, heartbeats, other verbs) go before bulk reports, and at most GROUP_CAP transitions are taken at
a time, so that a gate never waits for more than one group. The event loop is woken once a group. Between groups the thread asks whether
another process has written to the database: only the writer's own connection can tell its own commits from those of others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from legato.core.clock import Clock
from legato.core.errors import Unavailable
from legato.core.records import Artifact, LogLine, RunKind, Transition, Verdict, VerdictKind
from legato.core.states import PENDING, RUNNING
from legato.store.sql import SqlStore

GROUP_CAP = 500
"""Transitions in one group: gates beside full bulk load then wait 9 ms (p50) instead of 35 with 5,000 (2 cores, 2026-11)."""

GATE_SIZE = 8
"""Batches up to this size go in the first lane: they are gates, with what waited before them."""

WATCHED_EVERY_S, IDLE_EVERY_S = 0.1, 1.0
"""How often other processes' writes are looked for, while somebody waits or watches, and while nobody does."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Job(msgspec.Struct):
    """One request's work: a batch of transitions, log lines and artifacts, or a call, which `stirs` when it may make runs due or free slots.

    `answer` is set by the thread, and settled on the loop.
    """

    future: asyncio.Future[Any]
    transitions: Sequence[Transition] = ()
    logs: Sequence[LogLine] = ()
    artifacts: Sequence[Artifact] = ()
    id: str = ""
    call: Callable[[], object] | None = None
    key: str = ""
    asked: str = ""
    stirs: bool = True
    answer: object = None


class Written(msgspec.Struct, frozen=True):
    """What a group has changed, for those who wait: `stirs` when runs may have become due or slots free, `logged` runs with new log lines,
    `shown` runs with new or changed artifacts (None: those made outside a run).
    """

    journal: bool
    stirs: bool
    logged: frozenset[str] = frozenset()
    shown: frozenset[str | None] = frozenset()


class Writer:
    """Owns the thread. `on_written` is called on the loop after each group that changed something, also when another process did."""

    def __init__(self, store: SqlStore, clock: Clock, on_written: Callable[[Written], None]) -> None:
        self._store = store
        self._clock = clock
        self._on_written = on_written
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        self._gates: deque[Job] = deque()
        self._bulk: deque[Job] = deque()
        self._stopping = False
        self.watched = False
        self._thread = threading.Thread(target=self._run, name="legato-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what was handed in, then end. Safe to call twice, and before `start`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    async def apply(
        self, transitions: Sequence[Transition], logs: Sequence[LogLine], artifacts: Sequence[Artifact] = (), batch_id: str = ""
    ) -> list[Verdict]:
        """The verdicts, once they are committed."""
        job = Job(self._loop.create_future(), transitions, logs, artifacts, batch_id)
        self._put(job, self._gates if len(transitions) + len(logs) + len(artifacts) <= GATE_SIZE else self._bulk)
        verdicts: list[Verdict] = await job.future
        return verdicts

    async def call(self, function: Callable[[], _T], *, stirs: bool = True, key: str = "", asked: str = "") -> _T:
        """What a verb of the store returns, once it is committed. Not `stirs`: it can make no run due and free no slot.

        Asked again under the same `key`, it is not done again: what is returned is the same answer, as JSON (`msgspec.Raw`).
        """
        job = Job(self._loop.create_future(), call=function, stirs=stirs, key=key, asked=asked)
        self._put(job, self._gates)
        result: _T = await job.future
        return result

    def _put(self, job: Job, lane: deque[Job]) -> None:
        with self._wake:
            if self._stopping:
                raise Unavailable("the server is stopping", hint="try again in a moment")
            lane.append(job)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not (self._gates or self._bulk or self._stopping):
                    self._wake.wait(WATCHED_EVERY_S if self.watched else IDLE_EVERY_S)
                group = self._take()
                if self._stopping and not group:
                    return
            if group:
                self._perform(group)
            self._look_for_others()

    def _take(self) -> list[Job]:
        group: list[Job] = []
        size = 0
        for lane in (self._gates, self._bulk):
            while lane and size < GROUP_CAP:
                job = lane.popleft()
                group.append(job)
                size += max(1, len(job.transitions) + len(job.logs) + len(job.artifacts))
        return group

    def _perform(self, group: list[Job]) -> None:
        try:
            with self._store.together():
                self._apply([job for job in group if job.call is None])
                for job in group:
                    if job.call is not None:
                        call = (
                            job.call
                            if not job.key
                            else partial(self._store.once, job.key, job.call, asked=job.asked, now=self._clock.now())
                        )
                        job.answer = _outcome(call)
        except Exception as error:  # noqa: BLE001 whatever it is, those who wait are told
            _log.exception("group_not_committed", extra={"jobs": len(group)})
            for job in group:
                job.answer = error
        self._tell(settle, group)
        self._tell(self._on_written, _written(group))

    def _apply(self, batches: list[Job]) -> None:
        if batches:
            groups, ids = [(job.transitions, job.logs, job.artifacts) for job in batches], [job.id for job in batches]
            answers = self._store.apply_groups(groups, ids=ids, now=self._clock.now())
            for job, answer in zip(batches, answers, strict=True):
                job.answer = answer

    def _look_for_others(self) -> None:
        try:
            if self._store.foreign_changes():
                self._tell(self._on_written, Written(journal=True, stirs=True))
        except Exception:  # noqa: BLE001 the thread must go on: it is the only one that writes
            _log.exception("cannot_look_for_other_writers")

    def _tell(self, function: Callable[[_T], None], what: _T) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, what)


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 handed to whoever asked
        return error


def _written(group: Sequence[Job]) -> Written:
    flow = any(_may_stir(job) for job in group)
    called = any(job.call is not None for job in group)
    journal = called or any(job.transitions for job in group)
    stirs = flow or any(job.call is not None and job.stirs for job in group)
    logged = frozenset(line.flow_run_id for job in group for line in job.logs)
    shown = frozenset(artifact.flow_run_id for job in group for artifact in job.artifacts)
    return Written(journal, stirs=stirs, logged=logged, shown=shown)


def _may_stir(job: Job) -> bool:
    """Whether a batch may have made runs due or freed slots. A run that begins does neither, unless it was ended instead."""
    if not any(t.kind is RunKind.FLOW for t in job.transitions):
        return False
    verdicts = job.answer if isinstance(job.answer, list) else []
    if len(verdicts) != len(job.transitions):
        return True  # it failed, or was known already: what became of it is not in its answer
    return any(
        t.kind is RunKind.FLOW and (t.state.type not in (PENDING, RUNNING) or verdict.kind is not VerdictKind.ACCEPTED)
        for t, verdict in zip(job.transitions, verdicts, strict=True)
    )


def settle(group: Sequence[Job]) -> None:
    """Hand the answers to those who await them: one wake-up of the loop for all."""
    for job in group:
        if job.future.done():
            continue
        if isinstance(job.answer, BaseException):
            job.future.set_exception(job.answer)
        else:
            job.future.set_result(job.answer)
