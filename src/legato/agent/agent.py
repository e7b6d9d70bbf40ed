"""An agent: three threads around a table of running processes.

The caller's thread claims, waiting at the server until work is due. One thread says every few seconds that the runs live, hears of
cancellations, and settles what has ended. Launchers call back when a process ends. What a run's end means, the store decides; the agent
only reports what it saw: a process that ended without the store having heard of the run's end is lost.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from legato import __version__
from legato.core.clock import Clock
from legato.core.errors import LegatoError, Unavailable
from legato.core.ownership import is_the_last_holder
from legato.core.queues import LEASE_S
from legato.core.records import Agent as AgentRecord
from legato.core.records import Beat, Claim, ClaimRequest, RunKind, Transition
from legato.core.states import CANCELLED, FAILED, PAUSED, State
from legato.engine.process import BEAT_EVERY_S
from legato.flow_runners.options import SubprocessFlowRunner, from_record
from legato.flow_runners.subprocess import Process, SubprocessLauncher
from legato.store.outbox import drain_spools
from legato.store.port import Store
from legato.system import SystemClock, new_id

ANNOUNCE_EVERY_S = 10.0
GRACE_S = 10.0
"""How long a cancelled run may take to clean up before its processes are killed."""

WAIT_S = 20.0
"""How long one request waits at the server for work."""

POLL_S = 0.1
"""How often an agent without a server looks into the database."""

OnEvent = Callable[[str, dict[str, Any]], None]


class LongPolling(Protocol):
    """A store at which a claim can wait (`Store.can_wait`)."""

    def claim_runs(self, request: ClaimRequest, *, wait_s: float) -> list[Claim]: ...


class StopClaiming(BaseException):
    """Raised by a signal handler to end a wait for work. What the server may have handed over just then goes back when its lease ends."""


class Running:
    """A run that this agent has started."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.process: Process | None = None
        self.code: int | None = None
        self.kill_at: float | None = None
        self.cancelled = False

    @property
    def id(self) -> str:
        return self.claim.flow_run.id

    @property
    def epoch(self) -> int:
        """The token under which this agent holds the run."""
        return self.claim.flow_run.epoch


class Agent:
    """Claims and runs until `stop`. `limit`: runs at once. `on_event(name, fields)` is told what happens, for the console."""

    def __init__(
        self,
        store: Store,
        *,
        queues: Sequence[str],
        home: Path,
        environ: dict[str, str],
        name: str = "",
        limit: int | None = None,
        on_event: OnEvent | None = None,
        clock: Clock | None = None,
        warm: bool = True,
    ) -> None:
        self.store = store
        self.id = new_id()
        self.limit = limit or max(2, 2 * (os.cpu_count() or 1))
        self._clock = clock or SystemClock()
        self._home = home
        self._on_event = on_event or (lambda *_: None)
        now = self._clock.now()
        self._record = AgentRecord(
            id=self.id,
            name=name or f"{os.uname().nodename}-{os.getpid()}",
            queues=tuple(queues),
            started_at=now,
            last_seen_at=now,
            host=os.uname().nodename,
            pid=os.getpid(),
            version=__version__,
            capacity=self.limit,
        )
        self._launcher = SubprocessLauncher(environ, warm=warm)
        self._running: dict[str, Running] = {}
        self._changed = threading.Condition()
        self._draining = False
        self._leaving = threading.Event()
        self._announced = 0.0
        self._reached = True
        self.is_waiting = False

    # -- the claiming thread

    def run(self, *, once: bool = False) -> None:
        """Claim and start runs until told to stop. `once`: until no run is due, and all that were claimed have ended."""
        self._announce()
        self._launcher.prepare(SubprocessFlowRunner())
        beats = threading.Thread(target=self._run_beats, name="legato-agent-beats", daemon=True)
        beats.start()
        self._on_event("started", {"agent": self._record.name, "queues": self._record.queues, "limit": self.limit})
        try:
            while not self._draining and not self._leaving.is_set():
                room = self._wait_for_room()
                claims = self._claim(room, wait=not once) if room else []
                for claim in claims:
                    self._start(claim)
                if once and not claims:
                    break
            self._drain()
        finally:
            self._leaving.set()
            self._launcher.close()
            self._say_goodbye()

    def stop(self) -> None:
        """First call: claim no more, and wait for the runs that are going on. Second: leave them; they finish, and say so, by themselves."""
        if self._draining:
            self._leaving.set()
        self._draining = True
        threading.Thread(target=self._wake, daemon=True).start()  # not from a signal handler, which may hold the lock already

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _wait_for_room(self) -> int:
        with self._changed:
            while len(self._running) >= self.limit and not self._draining:
                self._changed.wait(1.0)
            return 0 if self._draining else self.limit - len(self._running)

    def _claim(self, room: int, *, wait: bool) -> list[Claim]:
        request = ClaimRequest(agent_id=self.id, queues=self._record.queues, limit=room, lease_s=LEASE_S)
        try:
            if self.store.can_wait and wait:
                claims = self._wait_for_claims(request)
            else:
                due = self.store.next_due_at()
                claims = self.store.claim_runs(request) if due is not None and due <= self._clock.now() else []
                if not claims and wait:
                    self._leaving.wait(POLL_S)
        except Unavailable as error:
            self._unreachable(error)
            self._leaving.wait(1.0)
            return []
        self._reached = True
        return claims

    def _wait_for_claims(self, request: ClaimRequest) -> list[Claim]:
        try:
            self.is_waiting = not self._draining
            return cast("LongPolling", self.store).claim_runs(request, wait_s=WAIT_S) if self.is_waiting else []
        except StopClaiming:
            return []
        finally:
            self.is_waiting = False

    def _unreachable(self, error: Unavailable) -> None:
        if self._reached:
            self._reached = False
            self._on_event("unreachable", {"message": error.message, "hint": "trying again; runs that are going on go on"})

    def _drain(self) -> None:
        with self._changed:
            if self._running and not self._leaving.is_set():
                self._on_event("draining", {"runs": [one.claim.flow_run.name for one in self._running.values()]})
            while self._running and not self._leaving.is_set():
                self._changed.wait(0.5)

    # -- starting

    def _start(self, claim: Claim) -> None:
        running = Running(claim)
        with self._changed:
            self._running[running.id] = running
        try:
            options = from_record(claim.deployment.flow_runner)
            running.process = self._launcher.start(claim, options, self._exited)
        except (LegatoError, OSError) as error:
            self._could_not_start(running, str(error))
            return
        run = claim.flow_run
        self._on_event("claimed", {"run": run.name, "flow": run.flow_name, "id": run.id, "queue": run.work_queue, "attempt": run.attempt})

    def _could_not_start(self, running: Running, why: str) -> None:
        run = running.claim.flow_run
        failed = State(FAILED, "Failed", self._clock.now(), f"its flow runner could not start it: {why}")
        self._retrying(lambda: self.store.apply([Transition(RunKind.FLOW, run.id, run.seq + 1, failed, run.attempt, run.epoch)]))
        self._forget(running, "failed to start", {"why": why})

    def _exited(self, process: Process, code: int) -> None:
        running = self._running.get(process.claim.flow_run.id)
        if running is not None:
            running.code = code
            self._settle(running)

    # -- the end of a run

    def _settle(self, running: Running) -> None:
        """See to it that the store knows how the run ended. When it cannot be reached, the beating thread tries again."""
        try:
            drain_spools(self._home / "spool", self.store)
            run = self.store.get_flow_run(running.id)
            if run.epoch == running.epoch and not run.state.is_final:
                run = self._report_end(running)
        except Unavailable as error:
            self._unreachable(error)
            return
        except LegatoError as error:
            self._forget(running, "ended", {"state": "unknown", "why": error.message})
            return
        self._forget(running, "ended", {"state": run.state.name, "message": run.state.message})

    def _report_end(self, running: Running) -> Any:
        """The process ended, and the store has not heard of the run's end from it."""
        code = running.code or 0
        why = f"its process was killed by {_signal_name(-code)}" if code < 0 else f"its process ended (exit code {code}) before the run did"
        run = self.store.get_flow_run(running.id)
        if run.cancel_requested_at is not None:
            cancelled = State(CANCELLED, "Cancelled", self._clock.now(), f"cancelled; {why}")
            self.store.apply([Transition(RunKind.FLOW, run.id, run.seq + 1, cancelled, run.attempt, running.epoch)])
            return self.store.get_flow_run(running.id)
        return self.store.report_lost(running.id, running.epoch, why)

    def _forget(self, running: Running, event: str, fields: dict[str, Any]) -> None:
        with self._changed:
            self._running.pop(running.id, None)
            self._changed.notify_all()
        self._on_event(event, {"run": running.claim.flow_run.name, "id": running.id, **fields})

    # -- the beating thread

    def _run_beats(self) -> None:
        while not self._leaving.wait(BEAT_EVERY_S if not self._ending() else 0.5):
            try:
                self._beat()
                if self._clock.monotonic_s() - self._announced > ANNOUNCE_EVERY_S:
                    self._announce()
            except Unavailable as error:
                self._unreachable(error)
            for running in list(self._running.values()):
                if running.code is not None:
                    self._settle(running)
                elif running.kill_at is not None and self._clock.monotonic_s() > running.kill_at and running.process is not None:
                    running.process.stop(force=True)

    def _ending(self) -> bool:
        return any(one.kill_at is not None or one.code is not None for one in list(self._running.values()))

    def _beat(self) -> None:
        alive = {one.id: one for one in list(self._running.values()) if one.code is None}
        if not alive:
            return
        for reply in self.store.heartbeat([Beat(one.id, one.epoch) for one in alive.values()], lease_s=LEASE_S):
            running = alive[reply.run_id]
            if reply.cancel_requested and not running.cancelled:
                self._end_run(running, grace_s=GRACE_S)
            elif reply.is_over and running.process is not None and not running.cancelled and not self._has_ended(running):
                self._end_run(running, grace_s=0.0)

    def _has_ended(self, running: Running) -> bool:
        """The run is over in the store, or suspended, by its own process: it is about to exit. Anything else means that it is no longer ours."""
        run = self.store.get_flow_run(running.id)
        return (run.state.is_final or run.state.type is PAUSED) and is_the_last_holder(running.epoch, run.epoch)

    def _end_run(self, running: Running, *, grace_s: float) -> None:
        running.cancelled = True
        running.kill_at = self._clock.monotonic_s() + grace_s
        if running.process is not None:
            running.process.stop(force=grace_s == 0.0)

    def _announce(self) -> None:
        self._announced = self._clock.monotonic_s()
        self._record = _seen(self._record, self._clock.now(), len(self._running))
        self.store.save_agent(self._record)

    def _say_goodbye(self) -> None:
        now = self._clock.now()
        ended = _seen(self._record, now, len(self._running), ended_at=now)
        try:
            self.store.save_agent(ended)
        except Unavailable:
            return  # it will be taken for gone when it has not been seen for a while
        finally:
            self._on_event("stopped", {"agent": self._record.name, "left": [one.claim.flow_run.name for one in self._running.values()]})

    def _retrying(self, call: Callable[[], Any]) -> None:
        """Do it when the store can be reached, unless the agent leaves first."""
        while not self._leaving.is_set():
            try:
                call()
            except Unavailable as error:
                self._unreachable(error)
                self._leaving.wait(1.0)
            else:
                return


def _seen(record: AgentRecord, now: datetime, running: int, *, ended_at: datetime | None = None) -> AgentRecord:
    return msgspec.structs.replace(record, last_seen_at=now, running=running, ended_at=ended_at)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
