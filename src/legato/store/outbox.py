"""The outbox: reports wait here a moment and go to the store in batches; gates go at once, with everything that waits before them.

Beside its store (embedded), whoever adds an item flushes when 500 wait or the oldest has waited 50 ms, and a timer flushes only what nobody
else would: a flusher of its own gains nothing under the GIL. Far from it (a server), one sender thread makes the requests, and reporters only
append: a round trip costs the sender, not the tasks. Gates are items of the same queue, so order holds by itself.

What becomes of a batch that cannot be sent is `delivery`'s business; none of it reaches user code, or ends a thread. Of an artifact only the
latest content waits: progress may be told a million times, and is written once a flush.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legato.core.errors import Unavailable
from legato.core.records import Artifact, LogLine, Transition, Verdict
from legato.forking import at_fork
from legato.store.delivery import QUICK_BATCHES, RETRY_EVERY_S, Delivery
from legato.store.items import MAX_BYTES, Asked, Moving, Outcome, batched, contents_of, items_of, size_of
from legato.supervised import Supervised
from legato.system import new_id

if TYPE_CHECKING:
    from legato.store.port import RunStore

__all__ = ["Moving", "Outbox", "drain_spools"]

MAX_ITEMS = 500
MAX_AGE_S = 0.05
MAX_WAITING = 50_000
"""Items that may wait for a far store; above it a reporter waits for one request of the sender's, never for the store."""


def drain_spools(folder: Path, store: RunStore) -> int:
    """Send what earlier processes left behind for this store; returns how many files."""
    from legato.store import left_behind  # noqa: PLC0415 start-up time: few processes find anything

    return left_behind.drain_spools(folder, store)


_outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()


class Outbox(Delivery):
    """One process's way of writing to a store. Safe to use from any thread.

    `on_verdict` is told of every report that was not simply recorded (refused, or replaced by another state).
    `spool` is the folder for batches that cannot be sent; None: they wait in memory, and `flush` and `gate` raise `Unavailable`.
    """

    def __init__(
        self, store: RunStore, *, spool: Path | None = None, on_verdict: Callable[[Transition, Verdict], None] | None = None
    ) -> None:
        super().__init__(store, spool, on_verdict)
        self._items: deque[Transition | LogLine | Asked] = deque()
        self._artifacts: dict[str, Artifact | Moving] = {}
        self._artifact_bytes = 0
        self._closed = False
        self._begin()
        _outboxes.add(self)

    def _begin(self) -> None:
        """Locks and threads, made here and anew in a forked child."""
        self._artifacts_lock = threading.Lock()
        self._oldest = 0.0
        self._lock = threading.RLock()
        self._armed = threading.Event()
        self._unheard: set[str] = set()
        self._turn = threading.Condition()
        self._loop: Supervised | None = None
        self._waiters = 0

    # ------------------------------------------------------------------ adding

    def report(self, item: Transition | LogLine) -> None:
        """Add a transition or log line that need not be waited for. Never raises."""
        items = self._items
        now = time.monotonic()
        items.append(item)
        if len(items) == 1:
            self._oldest = now
        if not self._armed.is_set():
            self._arm()
        if len(items) >= MAX_ITEMS or now - self._oldest > MAX_AGE_S:
            self._hurry()

    def add(self, item: Transition | LogLine) -> None:
        """The same, leaving the flush to the timer: for code on an event loop, which a flush would hold up for a millisecond."""
        self._items.append(item)
        if len(self._items) == 1:
            self._oldest = time.monotonic()
        if not self._armed.is_set():
            self._arm()

    def show(self, artifact: Artifact | Moving) -> None:
        """Add an artifact, in place of earlier content of the same that still waits. One that moves is asked for its content when sent."""
        size = size_of(artifact) if isinstance(artifact, Artifact) else 0
        now = time.monotonic()
        with self._artifacts_lock:
            if not self._items and not self._artifacts:
                self._oldest = now
            self._artifacts[artifact.id] = artifact
            self._artifact_bytes += size
        if not self._armed.is_set():
            self._arm()
        if self._artifact_bytes >= MAX_BYTES or now - self._oldest > MAX_AGE_S:
            self._hurry()

    def _hurry(self) -> None:
        """Enough waits: send it here, beside the store; have it sent, far from it."""
        if not self._is_far:
            if not self._lock.acquire(blocking=len(self._items) > MAX_WAITING):
                return  # somebody is sending, and goes on until nothing waits
            try:
                with contextlib.suppress(Unavailable):  # no spool: it waits here, and is sent with what comes next
                    self._flush_here()
            finally:
                self._lock.release()
            return
        loop = self._loop
        if loop is not None:
            loop.wake()
        if len(self._items) > MAX_WAITING:
            with self._turn:
                self._turn.wait(5.0)

    # ------------------------------------------------------------------ asking, and having it sent

    def gate(self, transition: Transition) -> Verdict:
        """Send a transition now, after everything that waits, and return its verdict. Raises `Unavailable` when the store cannot be reached,
        and what the store (or we) had against it when it was refused as a request.
        """
        if self._is_far:
            outcome: object = self._ask(Asked(transition))
        else:
            with self._lock:
                outcome = self._gate_here(transition)
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, Verdict), "a transition that was sent has a verdict"
        return outcome

    def _gate_here(self, transition: Transition) -> Verdict | BaseException | None:
        while len(self._items) > MAX_ITEMS and self._send_some():
            pass
        self._send_unsent()
        waiting = self._take(MAX_ITEMS * 4)
        if any(type(item) is Asked for item in waiting):  # it was far a moment ago, or has just become so, and others ask as one does there
            mine = Asked(transition)
            taken = [*waiting, mine]
            self._answer(taken, [item for item in taken if type(item) is Asked])
            return mine.outcome
        return self._sent_or_kept([*waiting, transition], asked=1)[-1]

    def flush(self) -> None:
        """Have everything sent that waits, and wait for it. Raises `Unavailable` when it can neither be sent nor spooled."""
        if self._is_far and self._loop is not None and self._loop.is_alive:
            outcome = self._ask(Asked(None))
            if isinstance(outcome, BaseException) and self._folder is None:
                raise outcome
            return
        with self._lock:
            self._flush_here()

    def _flush_here(self) -> None:
        while self._items or self._artifacts or self._unsent:
            if not self._send_some():
                if self._folder is not None:
                    return  # the disk is full: it waits in memory, and that was said
                raise Unavailable("the store cannot be reached; what was reported waits in memory")

    def _ask(self, asked: Asked) -> Verdict | BaseException | None:
        """Put a gate in line, and wait for its answer, which comes with the answer to everything before it."""
        with self._turn:
            self._waiters += 1
        self._items.append(asked)
        if not self._armed.is_set():
            self._arm()
        while not asked.answered.is_set():
            loop = self._loop
            if loop is None or not loop.is_alive:  # closed meanwhile: nobody else sends
                with self._lock:
                    while self._items and self._send_some():
                        pass
                asked.answer(Unavailable("the outbox is closed"))
                break
            loop.wake()
            asked.answered.wait(1.0)
        with self._turn:
            self._waiters -= 1
        return asked.outcome

    def spool(self, transition: Transition) -> None:
        """Keep a transition for later: what a gate becomes when the store stays away and the work is done."""
        with self._lock:
            taken = self._take(MAX_ITEMS * 1000)
            self._items.extend(item for item in taken if type(item) is Asked)  # they are somebody's who waits for the answer
            self._keep(batched(contents_of([*(item for item in taken if type(item) is not Asked), transition])))

    def leave_out(self, run_id: str) -> None:
        """Send nothing of this flow run, now or later: the store has never heard of it, and would refuse each word."""
        self._unheard.add(run_id)

    @property
    def unkept(self) -> int:
        """How many reports stand in this process's memory alone. Once it is closed: how many are lost."""
        return len(self._items) + len(self._artifacts) + sum(len(items_of(batch)) for batch in self._unsent)

    def close(self, *, wait_s: float = 5.0) -> bool:
        """Send what waits, trying for up to `wait_s` seconds; returns False when something stays behind."""
        deadline = time.monotonic() + wait_s
        with contextlib.suppress(Unavailable):  # tried again below
            self.flush()
        self._closed = True
        self._armed.set()
        if self._loop is not None:
            self._loop.stop(wait_s=max(wait_s, 1.0))
        while not self._is_drained():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def _is_drained(self) -> bool:
        with self._lock:
            try:
                self.drain_own()
                self._send_unsent()
                while self._items or self._artifacts:
                    if not self._send_some():
                        return False
            except Unavailable:
                return False
        return True

    # ------------------------------------------------------------------ taking

    def _take(self, most: int) -> list[Any]:
        """Up to so many items, and as many as one request may hold, then the artifacts. Only who has the lock takes any out."""
        taken: list[Any] = []
        items = self._items
        if not self._is_far:
            taken = [items.popleft() for _ in range(min(len(items), most))]
        else:
            size = 0
            while items and len(taken) < most and size < MAX_BYTES:
                item = items.popleft()
                size += size_of(item)
                taken.append(item)
        if self._unheard:
            taken = [item for item in taken if _flow_run_of(item) not in self._unheard]
        return taken + self._take_artifacts() if self._artifacts else taken

    def _take_artifacts(self) -> list[Artifact]:
        with self._artifacts_lock:
            taken, self._artifacts, self._artifact_bytes = self._artifacts, {}, 0
        return [one if isinstance(one, Artifact) else one.content() for one in taken.values()]

    # ------------------------------------------------------------------ sending

    def _send_some(self) -> bool:
        """One batch; False when it could be neither sent nor spooled, and waits."""
        if self._spool is not None and time.monotonic() < self._retry_at and not self._waiters:
            taken = self._take(2 * MAX_ITEMS)
            self._oldest = time.monotonic()
            return self._keep(batched(contents_of(taken)))
        try:
            self._send_unsent()
        except Unavailable as error:
            self._turn_away(error)
            return False
        taken = self._take(2 * MAX_ITEMS)
        self._oldest = time.monotonic()
        asked = [item for item in taken if type(item) is Asked]  # also near: somebody may have asked when it was far, a moment ago
        if not asked:
            if taken:
                self._send_reports(taken)
            return not self._unsent
        self._answer(taken, asked)
        return not self._unsent

    def _turn_away(self, error: Unavailable) -> None:
        """Tell those who wait for an answer that there is none now; what they sent is theirs to keep. Reports wait on, in their order."""
        waiting = [self._items.popleft() for _ in range(len(self._items))]
        self._items.extendleft(item for item in reversed(waiting) if type(item) is not Asked)
        for item in waiting:
            if type(item) is Asked:
                item.answer(error)

    def _answer(self, taken: list[Any], asked: Sequence[Asked]) -> None:
        """Send a batch with gates among it, and tell those who wait; whatever happens, they are answered."""
        try:
            outcomes = self._sent_or_kept(taken, asked=len(asked))
            for item, outcome in zip(taken, outcomes, strict=True):
                if isinstance(item, Asked):
                    item.answer(outcome)
        except BaseException as error:
            for one in asked:
                one.answer(error)
            raise
        finally:
            for one in asked:
                one.answer(None)

    def _sent_or_kept(self, items: Sequence[Any], *, asked: int) -> list[Outcome]:
        """What became of each item: a verdict, what was wrong with it, or None for what has none. When the store is away, reports are kept,
        and gates are told `Unavailable` (their senders decide): the last item is one when `asked` says so, or those that are `Asked`.
        """
        gates = {i for i, item in enumerate(items) if isinstance(item, Asked)} or ({len(items) - 1} if asked else set())
        contents = [item.transition if isinstance(item, Asked) else item for item in items]
        real = [(i, item) for i, item in enumerate(contents) if item is not None]
        outcomes: list[Outcome] = [None] * len(items)
        batch_id = new_id() if any(type(item) is LogLine for _, item in real) else ""
        try:
            self.drain_own()
            for (i, _), outcome in zip(real, self._deliver([item for _, item in real], batch_id), strict=True):
                outcomes[i] = outcome
        except Unavailable as error:
            self._keep(batched([item for i, item in real if i not in gates], batch_id))
            for i in gates:
                outcomes[i] = error
            return outcomes
        self._tell([(item, outcomes[i]) for i, item in real if i not in gates])
        return outcomes

    # ------------------------------------------------------------------ what nobody else sends

    def make_ready(self) -> None:
        """Have the thread that sends, before anything is to be sent."""
        self._arm()

    def _arm(self) -> None:
        """Have the timer (near) or the sender (far) send what waits, should nobody else."""
        with self._lock:
            if self._loop is None and not self._closed:
                self._loop = Supervised(
                    "legato-outbox",
                    self._step,
                    every_s=MAX_AGE_S,
                    longest_s=RETRY_EVERY_S,
                    is_expected=lambda error: isinstance(error, Unavailable),
                )
                self._loop.start()
            self._armed.set()
        if self._loop is not None:
            self._loop.wake()

    def _step(self) -> float:
        """One round. Stays armed while something waits: waking it for each item would cost more than the item."""
        if self._is_far and not self._waiters and len(self._items) < MAX_ITEMS and self._artifact_bytes < MAX_BYTES:
            wait_s = self._oldest + MAX_AGE_S - time.monotonic()
            if (self._items or self._artifacts) and wait_s > 0.001:
                return wait_s
        with self._lock:
            if self._is_far:
                while (self._items or self._artifacts or self._unsent) and self._send_some():
                    self._let_on()
                self._let_on()
                if self._quick >= QUICK_BATCHES and not (self._stays_far or self._items):
                    self._is_far = False
            elif (self._items or self._artifacts or self._unsent) and time.monotonic() - self._oldest >= MAX_AGE_S * 0.9:
                while (self._items or self._artifacts or self._unsent) and self._send_some():
                    pass
            if self._spool is not None and time.monotonic() >= self._retry_at:
                self.drain_own()
        if self._items or self._artifacts or self._unsent or self._spool is not None:
            return RETRY_EVERY_S if self.is_spooling else MAX_AGE_S
        self._armed.clear()
        if self._items or self._artifacts:  # one that came between these lines, and saw it armed
            self._armed.set()
            return MAX_AGE_S
        return _LONG_S

    def _let_on(self) -> None:
        with self._turn:
            self._turn.notify_all()

    def after_fork(self) -> None:
        """In a forked child: what waits here is the parent's to send, and its threads do not exist."""
        self.forget()
        self._items.clear()
        self._artifacts, self._artifact_bytes = {}, 0
        self._begin()


def _flow_run_of(item: object) -> str:
    """The flow run that a report is about; "" where that is not said."""
    if isinstance(item, Transition) and item.task_run is not None:
        return item.task_run.flow_run_id
    return getattr(item, "flow_run_id", "") or getattr(item, "run_id", "")


_LONG_S = 3600.0
"""A wait that is ended by a wake-up."""


def _forget_in_child() -> None:
    for outbox in list(_outboxes):
        outbox.after_fork()


at_fork(in_child=_forget_in_child)
