"""One process's engine: the store it writes to, the outbox before it, and the thread that says "still alive" for the runs it holds."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from legato import crashing
from legato.core.errors import LegatoError, Unavailable
from legato.core.queues import LEASE_S
from legato.core.records import Beat, RunKind, Transition, Verdict, VerdictKind
from legato.core.states import FINAL, RUNNING
from legato.engine.results import BlobStore
from legato.engine.script import CANCEL
from legato.forking import at_fork
from legato.logs import console
from legato.store.outbox import Outbox, drain_spools
from legato.supervised import Supervised
from legato.system import host_name, now, randomness

if TYPE_CHECKING:
    from random import Random

    from legato.store.port import RunStore

BEAT_EVERY_S = 3.0
"""How often an engine says that its runs live. Also how soon it hears of a wish to cancel."""

PATIENCE_S = 10.0
"""How long a gate waits for a store that went away. Then it is kept in the spool, and the run goes on."""


GOES_ON = "the run goes on, and its states are sent when the store is back"


class Held(Protocol):
    """A flow run as the engine's heartbeat sees it."""

    @property
    def run_id(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    def stop(self, reason: str) -> None: ...

    def pause(self, asked_s: float) -> None: ...

    def leave_at_exit(self) -> None: ...


class Engine:
    """What all runs of a process share. Safe to use from any thread; `close` it to send what waits."""

    def __init__(self, store: RunStore, blobs: BlobStore, *, spool: Path | None = None, random: Random | None = None) -> None:
        self.store = store
        self.blobs = blobs
        self._random = random
        self.host = host_name()
        self.pid = os.getpid()
        self._spool = spool
        _engines.add(self)
        self.outbox = Outbox(store, spool=spool, on_verdict=self._on_verdict)
        self._held: dict[str, Held] = {}
        self._not_begun: set[str] = set()
        self._never_begun: set[str] = set()
        """Outermost runs that the store could not be told of: their code has not run."""
        self._lock = threading.Lock()
        self._beats: Supervised | None = None
        self._warned = False
        self._away_since: float | None = None
        """When a gate first found the store away; None once one has reached it. All gates of one absence share its patience."""
        self.log_level = console.LEVELS["INFO"]
        """The least level of lines that are printed and stored."""

    @property
    def is_mine(self) -> bool:
        """Whether it was made in this process: a forked child has a copy, and must not speak for its parent's runs."""
        return self.pid == os.getpid()

    @property
    def runs_held(self) -> int:
        """How many flow runs this process holds now."""
        return len(self._held)

    def has_not_begun(self, run_id: str) -> None:
        """A run was handed to this process, and does not begin before the store has heard of it."""
        self._not_begun.add(run_id)

    def draw(self) -> float:
        """A number evenly drawn from [0, 1)."""
        if self._random is None:
            self._random = randomness()
        return self._random.random()

    def gate(self, transition: Transition) -> Verdict:
        """Record a transition now, and wait for the verdict.

        An outermost run that was never heard of must reach the store within PATIENCE_S (else `Unavailable`: nothing has begun, and nothing is
        kept of it); one that was handed out and has not begun waits for it;
        one that is under way, and what begins inside it, outlives the store's absence: after PATIENCE_S its transition is kept on disk for later and taken as accepted, as something that has
        happened, and those that follow wait no more until the store is back.
        """
        if crashing.armed is None:
            return self._gate(transition)
        _reached_gate(transition, answered=False)
        verdict = self._gate(transition)
        _reached_gate(transition, answered=True)
        return verdict

    def _gate(self, transition: Transition) -> Verdict:
        begins = transition.flow_run is not None and transition.flow_run.parent_run_id is None
        if transition.run_id in self._never_begun:
            return Verdict(VerdictKind.ACCEPTED, seq=transition.seq, attempt=transition.attempt)
        while True:
            try:
                verdict = self.outbox.gate(transition)
            except Unavailable as error:
                if transition.run_id in self._not_begun:  # nothing is lost by waiting, and somebody else may have it by now
                    self._warn(error, "the run begins when the store is back")
                    time.sleep(0.25)
                    continue
                if self._spool is None:
                    raise
                self._warn(error, "a run begins when it can be recorded" if begins else GOES_ON)
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    console.line("INFO", "legato", f"waiting up to {PATIENCE_S:g} s for the {self._where} to come back")
                if time.monotonic() - self._away_since > PATIENCE_S:
                    if begins:
                        self._never_begun.add(transition.run_id)
                        self.outbox.leave_out(transition.run_id)
                        raise
                    self.outbox.spool(msgspec.structs.replace(transition, happened=True))
                    return Verdict(VerdictKind.ACCEPTED, seq=transition.seq, attempt=transition.attempt)
                time.sleep(0.25)
            except Exception as error:
                if begins:
                    raise  # nothing was begun: whoever begins it learns why it cannot be
                return self._not_taken(transition, error)
            else:
                self._away_since = None
                self._not_begun.discard(transition.run_id)
                return verdict

    def _not_taken(self, transition: Transition, error: Exception) -> Verdict:
        """A transition that can be recorded neither now nor later is no reason for user code to fail: it is set aside, and work goes on."""
        console.line("ERROR", "legato", f"a state ({transition.state.name} of {transition.run_id}) cannot be recorded: {error}")
        return Verdict(VerdictKind.ACCEPTED, seq=transition.seq, attempt=transition.attempt)

    @property
    def _where(self) -> str:
        return "server" if getattr(self.store, "can_wait", False) is True else "database"

    def _warn(self, error: Unavailable, what: str = GOES_ON) -> None:
        if not self._warned:
            self._warned = True
            console.line("WARNING", "legato", f"{error.message}; {what}")

    def _on_verdict(self, transition: Transition, verdict: Verdict) -> None:
        """A report was not simply recorded. When its flow run is no longer this process's, stop it."""
        if verdict.kind is VerdictKind.REFUSED and verdict.code in ("fenced", "not_found"):
            for held in list(self._held.values()):
                if transition.fence is not None and held.epoch == transition.fence and held.run_id == _flow_run_of(transition):
                    held.stop(verdict.reason)

    # -- signs of life

    def hold(self, held: Held) -> None:
        """Say that this run lives, until `release`."""
        with self._lock:
            self._held[held.run_id] = held
            self._have_beats()

    def _have_beats(self) -> None:
        if self._beats is None or not self._beats.is_alive:
            self._beats = Supervised("legato-heartbeat", self._beat_for_all, every_s=BEAT_EVERY_S, longest_s=BEAT_EVERY_S)
            self._beats.start()

    def make_ready(self) -> None:
        """Have the threads that a run needs before there is one."""
        with self._lock:
            self._have_beats()
        self.outbox.make_ready()

    def release(self, run_id: str) -> None:
        with self._lock:
            self._held.pop(run_id, None)

    def lease_until(self) -> datetime:
        """When a lease taken now runs out."""
        return now() + timedelta(seconds=LEASE_S)

    def _beat_for_all(self) -> None:
        with self._lock:
            held = dict(self._held)
        if held:
            self._beat(held)

    def _beat(self, held: dict[str, Held]) -> None:
        asked_s = time.monotonic()
        try:
            replies = self.store.heartbeat([Beat(run_id, one.epoch) for run_id, one in held.items()], lease_s=LEASE_S)
        except Unavailable as error:
            self._warn(error)
            return
        for reply in replies:
            if reply.cancel_requested:
                held[reply.run_id].stop(CANCEL)
            elif reply.pause_requested:
                held[reply.run_id].pause(asked_s)
            elif reply.is_over and reply.run_id in self._held and not self.outbox.is_spooling:
                held[reply.run_id].stop(reply.reason)

    # -- the end

    def drain_old_spools(self, report: Callable[[int], None]) -> None:
        """Send what earlier processes could not; tells `report` how many files. That they cannot be sent is no reason not to work."""
        if self._spool is not None and self._spool.is_dir():
            try:
                sent = drain_spools(self._spool, self.store)
            except (LegatoError, OSError) as error:
                console.line("WARNING", "legato", f"what earlier processes could not tell the store is kept: {error}")
                return
            if sent:
                report(sent)

    def leave_to_the_parent(self) -> None:
        """In a forked child: the runs that this engine was driving are the parent's, and nothing is said of them here."""
        self._lock = threading.Lock()
        self._held, self._beats = {}, None
        self.outbox = cast("Outbox", Nowhere())

    def close(self) -> str:
        """Send what waits. What became of the rest, as a sentence; "" when nothing is left."""
        for held in list(self._held.values()):
            held.leave_at_exit()
        if self._beats is not None:
            self._beats.stop(wait_s=1.0)
        sent = self.outbox.close()
        self.store.close()
        if sent:
            return ""
        lost = self.outbox.unkept
        if lost:
            return f"{lost} reports are lost: neither the {self._where} nor the folder {self._spool} took them"
        return f"the {self._where} cannot be reached: what it has not been told is kept, and sent by the next process"


class Nowhere:
    """An outbox for a forked child's copy of its parent's runs: what the child says of them is not so."""

    is_spooling = False
    unkept = 0

    def report(self, *_: object) -> None:
        """Forget it."""

    add = show = spool = after_fork = leave_out = report

    def flush(self) -> None:
        """There is nothing to send."""

    def gate(self, transition: Transition) -> Verdict:
        """Anything goes: it changes nothing."""
        return Verdict(VerdictKind.ACCEPTED, seq=transition.seq, attempt=transition.attempt)

    def close(self, *, wait_s: float = 0.0) -> bool:  # noqa: ARG002 an outbox's signature
        """Nothing is left behind."""
        return True


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    for engine in list(_engines):
        engine.leave_to_the_parent()


at_fork(in_child=_leave_to_the_parent)


def _reached_gate(transition: Transition, *, answered: bool) -> None:
    """The crash points around a gate."""
    is_flow = transition.kind is RunKind.FLOW
    if transition.state.type in FINAL and is_flow:
        crashing.reached("flow.ended" if answered else "flow.ending")
    elif transition.state.type in FINAL:
        crashing.reached("task.ended" if answered else "task.ending")
    elif transition.state.type is RUNNING and is_flow:
        crashing.reached("flow.started" if answered else "flow.starting")


def _flow_run_of(transition: Transition) -> str:
    if transition.task_run is not None:
        return transition.task_run.flow_run_id
    return transition.run_id
