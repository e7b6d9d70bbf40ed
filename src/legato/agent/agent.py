"""An agent: it claims runs, starts them, says that they live, and tells how they ended when they did not do so themselves.

The caller's thread claims, waiting at the server until work is due. Three supervised loops do the rest: one says every few seconds that the
runs live and hears of wishes, one looks after processes (grace periods, starts that nobody answers, what they print), one tells the store of
what has ended. No exception ends any of them, and whatever keeps one run from starting fails that run only. What a run's end means, the store
decides; the agent only reports what it saw. What it holds is in one table, by attempt (`attempts`).
"""

from __future__ import annotations

import _thread
import math
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from legato import __version__
from legato.agent.attempts import HOLDS, Attempt, Key, Phase
from legato.core.clock import Clock
from legato.core.errors import LegatoError, NotFound, Unavailable
from legato.core.ownership import is_the_last_holder
from legato.core.queues import LEASE_S
from legato.core.records import Agent as AgentRecord
from legato.core.records import Beat, Claim, ClaimRequest, FlowRun, LogLine, RunKind, Transition
from legato.core.states import CANCELLED, FAILED, PAUSED, PENDING, State
from legato.engine.process import BEAT_EVERY_S
from legato.flow_runners.options import SubprocessFlowRunner, from_record
from legato.flow_runners.output import last_line
from legato.flow_runners.process_tree import is_stopped, memory_of, tree_of
from legato.flow_runners.subprocess import Process, SubprocessLauncher
from legato.in_use import is_in_use
from legato.storage.bundles import working_folder
from legato.store.outbox import drain_spools
from legato.store.port import Store
from legato.supervised import Supervised
from legato.system import SystemClock, new_id, process_is_alive

ANNOUNCE_EVERY_S = 10.0
GRACE_S = 10.0
"""How long a cancelled run may take to clean up before its processes are killed."""

WAIT_S = 20.0
"""How long one request waits at the server for work."""

POLL_S = 0.1
"""How often an agent without a server looks into the database."""

LOOK_EVERY_S = 0.25
"""How often it looks after its processes: what they print is shown this late at most."""

SILENT_AFTER_S = 10.0
ID_LENGTH = 36
WARNING = 30
OUTPUT_LOGGER = "legato.output"
"""The logger under which the last output of a process stands in its run's log."""

OnEvent = Callable[[str, dict[str, Any]], None]


class LongPolling(Protocol):
    """A store at which a claim can wait (`Store.can_wait`)."""

    def claim_runs(self, request: ClaimRequest, *, wait_s: float) -> list[Claim]: ...


class StopClaiming(BaseException):
    """Raised by a signal handler to end a wait for work. What the server may have handed over just then goes back when its lease ends."""


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
        self._launcher = SubprocessLauncher(environ, warm=warm, outputs=home / "output")
        self._running: dict[Key, Attempt] = {}
        self._changed = threading.Condition()
        self._draining = False
        self._leaving = threading.Event()
        self._announced = -math.inf
        self._reached = True
        self.is_waiting = False
        is_expected = self._is_away
        self._beats = Supervised(
            "legato-agent-beats", self._beat_step, every_s=BEAT_EVERY_S, longest_s=BEAT_EVERY_S, is_expected=is_expected
        )
        self._watch = Supervised("legato-agent-watch", self._look_after, every_s=LOOK_EVERY_S, longest_s=LOOK_EVERY_S)
        self._tell = Supervised("legato-agent-ends", self._tell_ends, every_s=1.0, longest_s=10.0, is_expected=is_expected)

    # -- the claiming thread

    def run(self, *, once: bool = False) -> None:
        """Claim and start runs until told to stop. `once`: until no run is due, and all that were claimed have ended."""
        try:
            self._announce()
        except Unavailable as error:
            self._unreachable(error)
        self._clean_up()
        self._launcher.prepare(SubprocessFlowRunner())
        for loop in (self._beats, self._watch, self._tell):
            loop.start()
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
            for loop in (self._beats, self._watch, self._tell):
                loop.stop()
            self._launcher.close()
            self._say_goodbye()

    def stop(self) -> None:
        """First call: claim no more, and wait for the runs that are going on. Second: leave them; they finish, and say so, by themselves."""
        leaves, self._draining = self._draining, True
        _thread.start_new_thread(self._wake, (leaves,))  # a signal's handler takes no lock: the code that it interrupts may have it

    def _wake(self, leaves: bool) -> None:
        if leaves:
            self._leaving.set()
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
        except LegatoError as error:  # whatever is wrong with one request, the next may be taken
            self._unreachable(error)
            self._leaving.wait(1.0)
            return []
        self._back()
        return claims

    def _wait_for_claims(self, request: ClaimRequest) -> list[Claim]:
        try:
            self.is_waiting = not self._draining
            return cast("LongPolling", self.store).claim_runs(request, wait_s=WAIT_S) if self.is_waiting else []
        except StopClaiming:
            return []
        finally:
            self.is_waiting = False

    def _unreachable(self, error: LegatoError) -> None:
        if self._reached:
            self._reached = False
            self._on_event("unreachable", {"message": error.message, "hint": "trying again; runs that are going on go on"})

    def _back(self) -> None:
        if not self._reached:
            self._reached = True
            self._on_event("reachable", {"message": "the server is back"})

    def _is_away(self, error: Exception) -> bool:
        """Whether a loop failed because the store cannot be had just now: that is told in a line, and not logged."""
        if isinstance(error, Unavailable):
            self._unreachable(error)
            return True
        return False

    def _drain(self) -> None:
        with self._changed:
            if self._running and not self._leaving.is_set():
                self._on_event("draining", {"runs": self._names()})
            while self._running and not self._leaving.is_set():
                self._changed.wait(0.5)

    # -- starting

    def _start(self, claim: Claim) -> None:
        attempt = Attempt(claim, self._clock.monotonic_s())
        with self._changed:
            self._running[attempt.key] = attempt
        run = claim.flow_run
        try:
            options = attempt.options = from_record(claim.deployment.flow_runner)
            attempt.process = self._launcher.start(claim, options, partial(self._exited, attempt))
        except Exception as error:  # noqa: BLE001 whatever the launcher raises fails this run, and no other
            message = error.message if isinstance(error, LegatoError) else f"{type(error).__name__}: {error}"
            self._never_ran(attempt, f"its flow runner could not start it: {message}")
            return
        self._on_event("claimed", {"run": run.name, "flow": run.flow_name, "id": run.id, "queue": run.work_queue, "attempt": run.attempt})

    def _never_ran(self, attempt: Attempt, why: str) -> None:
        """It could not be started, and trying again would not help."""
        with self._changed:
            attempt.why, attempt.never_ran = why, True
            attempt.goes(Phase.EXITED)
        self._tell.wake()

    def _exited(self, attempt: Attempt, process: Process, code: int) -> None:
        """Its process has ended. Called from the launcher's threads, which have others to look after: telling the store is another loop's."""
        with self._changed:
            if attempt.goes(Phase.EXITED):
                attempt.code = code
                attempt.never_ran = getattr(process, "in_vain", False)
                attempt.why = getattr(process, "reason", "") or attempt.why
        self._tell.wake()

    # -- the end of a run

    def _tell_ends(self) -> float | None:
        """See to it that the store knows how each run ended. What cannot be told now is told the next time."""
        for attempt in [one for one in self._attempts() if one.phase is Phase.EXITED]:
            self._settle(attempt)
        return None

    def _clean_up(self) -> None:
        """Folders and outputs of runs whose agent went away before they ended. What a process still works in, or prints into, is left alone:
        it may be another agent's, and its run one that this store has never heard of.
        """
        for entry in [*(self._home / "runs").glob("*"), *(self._home / "output").glob("*.log")]:
            run_id = entry.name[:ID_LENGTH]
            try:
                is_over = self.store.get_flow_run(run_id).state.is_final
            except NotFound:
                is_over = not entry.name.startswith("parent-")
            except LegatoError:
                return
            if not is_over or is_in_use(entry):
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

        for entry in (self._home / "ready").glob("*"):
            pid = entry.name.partition("-")[0]
            if not pid.isdecimal() or not process_is_alive(int(pid)):
                shutil.rmtree(entry, ignore_errors=True)

    def _settle(self, attempt: Attempt) -> None:
        run_id = attempt.claim.flow_run.id
        try:
            drain_spools(self._home / "spool", self.store)
            run = self.store.get_flow_run(run_id)
            if run.epoch == attempt.epoch and not run.state.is_final:
                run = self._report_end(attempt, run)
        except Unavailable:
            raise
        except LegatoError as error:
            self._forget(attempt, "ended", {"state": "unknown", "why": error.message})
            return
        fields = {"state": run.state.name, "message": run.state.message}
        self._forget(attempt, "could_not_start" if attempt.never_ran else "ended", fields)

    def _report_end(self, attempt: Attempt, run: FlowRun) -> FlowRun:
        """The process ended, and the store has not heard of the run's end from it."""
        has_begun = run.state.type is not PENDING
        why = attempt.ending() if has_begun else attempt.failed_start()
        output = attempt.process.output if attempt.process is not None else None
        said = output.tail() if output is not None else ""
        if said:
            self.store.apply(
                [], [LogLine(run.id, self._clock.now(), 40, OUTPUT_LOGGER, f"the last output of its process:\n{said}", epoch=attempt.epoch)]
            )
        if said and not has_begun and not attempt.why:
            why = f"{why}: {last_line(said)}"
        if run.cancel_requested_at is not None:
            return self._end(attempt, run, State(CANCELLED, "Cancelled", self._clock.now(), f"cancelled; {why}"))
        if attempt.never_ran:
            return self._end(attempt, run, State(FAILED, "Failed", self._clock.now(), why))
        return self.store.report_lost(run.id, attempt.epoch, why)

    def _end(self, attempt: Attempt, run: FlowRun, state: State) -> FlowRun:
        self.store.apply([Transition(RunKind.FLOW, run.id, run.seq + 1, state, run.attempt, attempt.epoch)])
        return self.store.get_flow_run(run.id)

    def _forget(self, attempt: Attempt, event: str, fields: dict[str, Any]) -> None:
        with self._changed:
            attempt.goes(Phase.TOLD)
            self._running.pop(attempt.key, None)
            self._changed.notify_all()
        if attempt.process is not None and attempt.process.output is not None:
            attempt.process.output.remove()
        shutil.rmtree(working_folder(self._home, *attempt.key), ignore_errors=True)
        for folder in (self._home / "ready").glob(f"{attempt.process.pid}-*") if attempt.process is not None else ():
            shutil.rmtree(folder, ignore_errors=True)
        run = attempt.claim.flow_run
        self._on_event(event, {"run": run.name, "id": run.id, **fields})

    # -- looking after processes

    def _attempts(self) -> list[Attempt]:
        with self._changed:
            return list(self._running.values())

    def _names(self) -> list[str]:
        return [one.claim.flow_run.name for one in self._running.values()]

    def _look_after(self) -> None:
        """Kill what had its grace, give up starts that nobody answers, show what is printed."""
        now_s = self._clock.monotonic_s()
        for attempt in self._attempts():
            todo = attempt.looks_after(now_s)
            if todo == "kill":
                attempt.process.stop(force=True)
            elif todo == "give up":
                self._give_up(attempt)
            elif todo:
                self._lingers(attempt, is_too_long=todo == "end")
            if attempt.process is not None and attempt.process.output is not None:
                attempt.process.output.pump()
            self._look_for_silence(attempt, now_s)
            self._hold_to_limits(attempt)
        self._launcher.pump()

    def _hold_to_limits(self, attempt: Attempt) -> None:
        """End a run that takes more than its flow runner's options allow it."""
        options = attempt.options
        if attempt.phase is not Phase.RUNNING or options is None or not (options.memory_mb or options.processes):
            return
        pids = tree_of(attempt.process.pid)
        used_mb = memory_of(pids) / 1e6 if options.memory_mb else 0.0
        over = ""
        if options.memory_mb and used_mb > options.memory_mb:
            over = f"it used {used_mb:.0f} MB of memory, more than its limit of {options.memory_mb} MB"
        elif options.processes and len(pids) > options.processes:
            over = f"it had {len(pids)} processes, more than its limit of {options.processes}"
        if over:
            with self._changed:
                attempt.why = over
                attempt.kill_at = self._clock.monotonic_s()
                attempt.goes(Phase.STOPPING)
            attempt.process.stop(force=True)

    def _give_up(self, attempt: Attempt) -> None:
        """No process came of it. If one comes after all, it is killed."""
        if attempt.process is not None:
            attempt.process.stop(force=True)
        with self._changed:
            attempt.why = "" if attempt.phase is Phase.STOPPING else "its process did not come up in time"
            attempt.why = attempt.why or "it had no process yet"
            attempt.goes(Phase.EXITED)
        self._tell.wake()

    def _lingers(self, attempt: Attempt, *, is_too_long: bool) -> None:
        """Its run is over, and its process goes on: that is said, and after a while it is ended."""
        options, pid = attempt.options, attempt.process.pid
        limit_s = options.linger_s if options is not None else 0.0
        if is_too_long:
            how = f"process {pid} went on for {limit_s:g} s after the run's end, and is ended now (linger_s of its flow runner)"
        else:
            then = f"; it is ended {limit_s:g} s after the run's end (linger_s of its flow runner)" if limit_s else ""
            how = f"process {pid} goes on after the run's end, most likely for a thread that is no daemon, and keeps a place{then}"
        attempt.lingers = True
        if is_too_long:
            self._end_run(attempt, grace_s=GRACE_S)
        self._say(attempt, "lingers", how)

    def _say(self, attempt: Attempt, event: str, message: str) -> None:
        """Tell of a process, on the console and in its run's log."""
        run = attempt.claim.flow_run
        self._on_event(event, {"run": run.name, "id": run.id, "message": message})
        self.store.apply([], [LogLine(run.id, self._clock.now(), WARNING, "legato.agent", message, epoch=attempt.epoch)])

    def _look_for_silence(self, attempt: Attempt, now_s: float) -> None:
        """A process that was stopped (SIGSTOP) holds its run without end: that is said, once."""
        if attempt.phase is not Phase.RUNNING or attempt.is_silent or now_s - attempt.begun_s < SILENT_AFTER_S:
            return
        if is_stopped(attempt.process.pid):
            attempt.is_silent = True
            pid = attempt.process.pid
            self._say(attempt, "silent", f"its process {pid} was stopped (SIGSTOP) and stands still; `kill -CONT {pid}` lets it go on")

    # -- saying that they live

    def _beat_step(self) -> float | None:
        self._beat()
        if self._clock.monotonic_s() - self._announced > ANNOUNCE_EVERY_S:
            self._announce()
        self._back()
        return None

    def _beat(self) -> None:
        alive = {(one.claim.flow_run.id, one.epoch): one for one in self._attempts() if one.phase in HOLDS}
        if not alive:
            return
        asked = list(alive.values())
        replies = self.store.heartbeat([Beat(one.claim.flow_run.id, one.epoch) for one in asked], lease_s=LEASE_S)
        for attempt, reply in zip(asked, replies, strict=True):
            if attempt.phase is Phase.STOPPING:
                continue
            if reply.cancel_requested:
                self._end_run(attempt, grace_s=GRACE_S)
            elif reply.is_over and not self._has_ended(attempt):
                self._end_run(attempt, grace_s=0.0)
            elif reply.is_over and attempt.over_s is None:
                attempt.over_s = self._clock.monotonic_s()

    def _has_ended(self, attempt: Attempt) -> bool:
        """The run is over in the store, or suspended, by its own process: it is about to exit. Anything else means that it is no longer ours."""
        try:
            run = self.store.get_flow_run(attempt.claim.flow_run.id)
        except NotFound:
            return False
        return (run.state.is_final or run.state.type is PAUSED) and is_the_last_holder(attempt.epoch, run.epoch)

    def _end_run(self, attempt: Attempt, *, grace_s: float) -> None:
        """Ask it to end, and kill it after the grace; one that has no process yet settles at once."""
        with self._changed:
            if not attempt.goes(Phase.STOPPING):
                return
            attempt.kill_at = self._clock.monotonic_s() + grace_s
        if attempt.process is not None:
            attempt.process.stop(force=grace_s == 0.0)
        self._watch.wake()

    def _announce(self) -> None:
        lingering = tuple(one.claim.flow_run.name for one in self._attempts() if one.lingers)
        self._record = msgspec.structs.replace(_seen(self._record, self._clock.now(), len(self._running)), lingering=lingering)
        self.store.save_agent(self._record)
        self._announced = self._clock.monotonic_s()

    def _say_goodbye(self) -> None:
        now = self._clock.now()
        ended = _seen(self._record, now, len(self._running), ended_at=now)
        try:
            self.store.save_agent(ended)
        except LegatoError:
            return  # it will be taken for gone when it has not been seen for a while
        finally:
            self._on_event("stopped", {"agent": self._record.name, "left": self._names()})


def _seen(record: AgentRecord, now: datetime, running: int, *, ended_at: datetime | None = None) -> AgentRecord:
    return msgspec.structs.replace(record, last_seen_at=now, running=running, ended_at=ended_at)
