"""Crash points: named places at which this process can be made to die, as if the machine had pulled its plug there.

For tests that prove what survives. LEGATO_CRASH_AT="task.after_code:2" ends the process by SIGKILL when it reaches that point for the second
time; several are given with commas between. LEGATO_CRASH_TRACE=FILE has every point that is reached written to a file, a line each: the process
id, the point, the how-manieth time in this process, and "killed" when it died of it. Without either, a point costs a look at a variable.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

POINTS: Mapping[str, str] = {
    # a flow run's life
    "flow.starting": "a flow run is about to be recorded as running; a new one is not known to the store yet",
    "flow.started": "the store has recorded that a flow run runs; none of its code has",
    "flow.before_code": "a flow's own code is about to run",
    "flow.after_code": "a flow's own code has returned; tasks it has submitted may still run",
    "flow.settled": "what a flow has submitted has ended; its value is not stored",
    "flow.ending": "a flow run's last state is about to be sent; its value is stored",
    "flow.ended": "the store has recorded how a flow run ended; its caller has not been told",
    "subflow.beginning": "a flow run inside another one's is about to begin",
    "subflow.ended": "a flow run inside another one's has ended; its caller has not been told",
    # going on
    "run.taking": "a process is about to take up a run that ended or was suspended",
    "run.taken": "a process has taken up a run, and has run nothing of it",
    "pause.asked": "what a person is asked is recorded",
    "pause.waiting": "a flow run is paused, and waits for the answer in its process",
    "pause.answered": "a person's answer is there; the flow's code has not been given it",
    "flow.suspended": "a flow run is recorded as suspended; its process is about to end",
    # a task run's life
    "task.nested": "a task is called from inside another task",
    "task.before_code": "a task's code is about to run, here",
    "task.after_code": "a task's code has returned, here; nothing is recorded of that",
    "task.ending": "a task run's last state, with its stored value, is about to be sent",
    "task.ended": "the store has recorded how a task run ended; its caller has not been told",
    "task.waiting": "a task run is about to wait: for its next try, or for another one's result",
    "task.skipped": "a task was skipped by its trigger; that is not sent yet",
    "task.cached": "the store has answered a task's start with a stored result",
    "task.reused": "an earlier attempt's value was found for a task; that is not recorded yet",
    "future.ended": "a submitted task's value, or error, is there for whoever waits for it",
    # values
    "result.serialised": "a value has become bytes",
    "blob.written": "the bytes of a large value lie beside their place, synced",
    "blob.in_place": "the bytes of a large value are in their place; no state names them",
    # on the way to the store
    "outbox.sending": "a batch of reports is about to be sent to the store",
    "outbox.sent": "the store has answered a batch; nobody here has been told",
    "store.committing": "a transaction is written and not committed",
    "store.committed": "a transaction is committed; whoever asked for it has not been told",
    "spool.written": "reports that could not be sent are on disk",
    "spool.sent": "spooled reports are with the store; their file is still there",
    "spool.drained": "a spool file was sent, and removed",
    # tasks on worker processes
    "job.sending": "the flow's process is about to send a job to a worker",
    "job.sent": "a worker was sent a job",
    "job.received": "in the worker: a job has arrived, and has not begun",
    "answer.sending": "in the worker: a job is done, and its answer is not sent",
    "answer.sent": "in the worker: the answer is sent",
    "answer.received": "the flow's process has a worker's answer, and has recorded nothing of it",
    "question.sending": "in the worker: a state of a task inside the job is about to be sent to the flow's process",
    "question.answered": "in the worker: the flow's process has answered that",
}
"""Every point, and what is true when it is reached. A name that is not here cannot be reached or asked for."""

Crash = Callable[[str], None]

armed: Crash | None = None
"""What reaching a point does; None, nearly always: nothing. Where a call would be felt, look before calling `reached`."""


def reached(point: str) -> None:
    """This process is at `point`. It dies here when it was asked to."""
    if armed is not None:
        armed(point)


def arm(crash_at: str, trace: str = "") -> None:
    """Die at `crash_at` ("point:n", several with commas between, "" for none), and write every point that is reached to the file `trace`.

    Counts from here on, and replaces what was armed before. Raises `ValueError` for a point that is not registered.
    """
    global armed  # noqa: PLW0603 a look at a module's variable is the cheapest hook there is
    wanted = dict(_parsed(one) for one in crash_at.split(",") if one)
    armed = _Armed(wanted, trace) if wanted or trace else None


def _parsed(text: str) -> tuple[str, int]:
    point, _, n = text.strip().partition(":")
    if point not in POINTS:
        raise ValueError(f"there is no crash point '{point}'; there are {', '.join(POINTS)}")
    if n and not (n.isdecimal() and int(n) > 0):
        raise ValueError(f"'{text}' does not say at which time to crash: give a number from 1 up, as in {point}:2")
    return point, int(n or 1)


class _Armed:
    """Counts the points this process has reached. A forked child counts anew."""

    def __init__(self, wanted: Mapping[str, int], trace: str) -> None:
        self._wanted = wanted
        self._trace = Path(trace) if trace else None
        self._lock = threading.Lock()
        self._pid = 0
        self._counts: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        if point not in POINTS:
            raise ValueError(f"crash point '{point}' is not registered in legato.crashing.POINTS")
        if self._pid != os.getpid():
            self._pid, self._lock, self._counts = os.getpid(), threading.Lock(), Counter()
        with self._lock:
            self._counts[point] = n = self._counts[point] + 1
            dies = self._wanted.get(point) == n
            if self._trace is not None:
                _append(self._trace, f"{self._pid} {point} {n}{' killed' if dies else ''}\n")
            if dies:
                os.kill(self._pid, signal.SIGKILL)
                threading.Event().wait()  # no further line of this thread runs; the lock holds back the others until the signal has come


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


if "LEGATO_CRASH_AT" in os.environ or "LEGATO_CRASH_TRACE" in os.environ:
    arm(os.environ.get("LEGATO_CRASH_AT", ""), os.environ.get("LEGATO_CRASH_TRACE", ""))
