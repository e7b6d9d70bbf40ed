"""The outbox: reports wait here a moment and go to the store in batches; gates go at once, with everything that waits before them.

Whoever adds an item flushes when 500 wait or the oldest has waited 50 ms; a timer thread flushes only what nobody else would (a flusher
thread of its own gains nothing under the GIL). When the store cannot be reached, batches are written to a spool file in order and sent
when it is back, by this process or the next (`drain_spools`). A repeat is answered "already", so sending twice is safe. Of an artifact only the latest
content waits: progress may be told a million times, and is written once a flush.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from legato import crashing
from legato.core.errors import LegatoError, Unavailable
from legato.core.records import Artifact, LogLine, Transition, Verdict, VerdictKind
from legato.store.port import RunStore
from legato.system import new_id, process_is_alive

MAX_ITEMS = 500
MAX_AGE_S = 0.05
MAX_BYTES = 2_000_000
"""Bytes of artifacts that may wait: with one more of the largest kind they still fit into one request."""
RETRY_EVERY_S = 1.0
"""How often an unreachable store is tried again."""


Item: TypeAlias = Transition | LogLine | Artifact


class Moving(Protocol):
    """An artifact whose content is made when it is sent: for what changes faster than anybody reads."""

    @property
    def id(self) -> str: ...

    def content(self) -> Artifact:
        """The artifact as it stands. Called on any thread."""
        ...


class Spooled(msgspec.Struct, frozen=True):
    """One batch as a line of the spool file."""

    transitions: list[Transition]
    logs: list[LogLine]
    artifacts: list[Artifact] = []


_encode = msgspec.json.Encoder().encode
_outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()


class Outbox:
    """One process's way of writing to a store. Safe to use from any thread.

    `on_verdict` is told of every report that was not simply recorded (refused, or replaced by another state).
    `spool` is the folder for batches that cannot be sent; None: `Unavailable` is raised to the one who flushes, and nothing is dropped.
    """

    def __init__(
        self, store: RunStore, *, spool: Path | None = None, on_verdict: Callable[[Transition, Verdict], None] | None = None
    ) -> None:
        self._store = store
        self._spool_dir = spool
        self._spool: Path | None = None
        self._retry_at = 0.0
        self._on_verdict = on_verdict
        self._items: deque[Transition | LogLine] = deque()
        self._artifacts: dict[str, Artifact | Moving] = {}
        self._artifact_bytes = 0
        self._artifacts_lock = threading.Lock()
        self._oldest = 0.0
        self._lock = threading.RLock()
        self._armed = threading.Event()
        self._timer: threading.Thread | None = None
        self._closed = False
        _outboxes.add(self)

    def report(self, item: Transition | LogLine) -> None:
        """Add a transition or log line that need not be waited for."""
        items = self._items
        now = time.monotonic()
        items.append(item)
        if len(items) == 1:
            self._oldest = now
        if not self._armed.is_set():
            self._arm()
        if len(items) >= MAX_ITEMS or now - self._oldest > MAX_AGE_S:
            self.flush()

    def add(self, item: Transition | LogLine) -> None:
        """The same, leaving the flush to the timer: for code on an event loop, which a flush would hold up for a millisecond."""
        self._items.append(item)
        if len(self._items) == 1:
            self._oldest = time.monotonic()
        if not self._armed.is_set():
            self._arm()

    def show(self, artifact: Artifact | Moving) -> None:
        """Add an artifact, in place of earlier content of the same that still waits. One that moves is asked for its content when sent."""
        size = len(_encode(artifact)) if isinstance(artifact, Artifact) else 0
        now = time.monotonic()
        with self._artifacts_lock:
            if not self._items and not self._artifacts:
                self._oldest = now
            self._artifacts[artifact.id] = artifact
            self._artifact_bytes += size
        if not self._armed.is_set():
            self._arm()
        if self._artifact_bytes >= MAX_BYTES or now - self._oldest > MAX_AGE_S:
            self.flush()

    def gate(self, transition: Transition) -> Verdict:
        """Send a transition now, after everything that waits, and return its verdict. Raises `Unavailable` when the store cannot be reached."""
        with self._lock:
            while len(self._items) > MAX_ITEMS:
                self._send_some()
            waiting = self._take()
            try:
                return self._send([*waiting, transition])[-1]
            except Unavailable:  # the caller decides about the gate; what went before it is kept
                if self._spool_dir is None:
                    self._put_back(waiting)
                else:
                    self._append_to_spool(waiting)
                raise

    def flush(self) -> None:
        """Send everything that waits."""
        with self._lock:
            while self._items or self._artifacts:
                self._send_some()

    def spool(self, transition: Transition) -> None:
        """Keep a transition for later: what a gate becomes when the store stays away and the work is done."""
        with self._lock:
            self._append_to_spool([*self._take(), transition])

    @property
    def is_spooling(self) -> bool:
        """Whether batches wait on disk for the store to come back."""
        return self._spool is not None

    def close(self, *, wait_s: float = 5.0) -> bool:
        """Send what waits, trying for up to `wait_s` seconds; returns False when something stays behind in the spool."""
        self._closed = True
        self._armed.set()
        deadline = time.monotonic() + wait_s
        self.flush()
        while not self._is_drained():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def _is_drained(self) -> bool:
        with self._lock:
            try:
                self._drain_own()
            except Unavailable:
                return False
        return True

    def _take(self) -> list[Item]:
        taken: list[Item] = []
        items = self._items
        while items:
            taken.append(items.popleft())
        return [*taken, *self._take_artifacts()]

    def _take_artifacts(self) -> list[Artifact]:
        if not self._artifacts:
            return []
        with self._artifacts_lock:
            taken, self._artifacts, self._artifact_bytes = self._artifacts, {}, 0
        return [one if isinstance(one, Artifact) else one.content() for one in taken.values()]

    def _put_back(self, taken: Sequence[Item]) -> None:
        """Have them wait again, before what came meanwhile."""
        self._items.extendleft(item for item in reversed(taken) if not isinstance(item, Artifact))
        with self._artifacts_lock:
            self._artifacts = {**{item.id: item for item in taken if isinstance(item, Artifact)}, **self._artifacts}

    def _send_some(self) -> None:
        items = self._items
        taken: list[Item] = [items.popleft() for _ in range(min(len(items), 2 * MAX_ITEMS))]  # only who has the lock takes any out
        taken += self._take_artifacts()
        self._oldest = time.monotonic()
        if self._spool is not None and time.monotonic() < self._retry_at:
            self._append_to_spool(taken)
            return
        try:
            self._send(taken)
        except Unavailable:
            if self._spool_dir is None:
                self._put_back(taken)
                raise
            self._append_to_spool(taken)

    def _send(self, items: Sequence[Item]) -> list[Verdict]:
        self._drain_own()
        batch = _batch_of(items)
        crashing.reached("outbox.sending")
        verdicts = self._store.apply(batch.transitions, batch.logs, batch.artifacts)
        crashing.reached("outbox.sent")
        self._tell(batch.transitions, verdicts)
        return verdicts

    def _tell(self, transitions: Sequence[Transition], verdicts: Sequence[Verdict]) -> None:
        if self._on_verdict is not None:
            accepted = VerdictKind.ACCEPTED
            others = [(t, verdict) for t, verdict in zip(transitions, verdicts, strict=True) if verdict.kind is not accepted]
            for transition, verdict in others:
                self._on_verdict(transition, verdict)

    def _append_to_spool(self, items: Sequence[Item]) -> None:
        if not items:
            return
        if self._spool is None:
            if self._spool_dir is None:
                raise Unavailable("the store cannot be reached, and there is no spool to keep reports in")
            self._spool_dir.mkdir(parents=True, exist_ok=True)
            self._spool = self._spool_dir / f"{os.getpid()}-{new_id()}.jsonl"
        with self._spool.open("ab") as file:
            file.write(_encode(_batch_of(items)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        crashing.reached("spool.written")
        self._retry_at = time.monotonic() + RETRY_EVERY_S

    def _drain_own(self) -> None:
        if self._spool is not None:
            try:
                _drain(self._spool, self._store, self._tell)
            except Unavailable:
                self._retry_at = time.monotonic() + RETRY_EVERY_S
                raise
            self._spool = None

    def _arm(self) -> None:
        """Have the timer flush what waits, should nobody else."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Thread(target=self._run_timer, name="legato-outbox", daemon=True)
                self._timer.start()
        self._armed.set()

    def _run_timer(self) -> None:
        while not self._closed:
            self._armed.wait()
            while (
                self._armed.is_set() and not self._closed
            ):  # stays armed while it sleeps: waking it for each item would cost more than the item
                time.sleep(MAX_AGE_S if self._spool is None else RETRY_EVERY_S)
                try:
                    self._flush_aged()
                except Unavailable:
                    time.sleep(RETRY_EVERY_S)  # no spool: the items are still here; whoever needs them sent is told by `flush`
                if not (self._items or self._artifacts) and self._spool is None:
                    self._armed.clear()
                    if self._items or self._artifacts:  # one that came between these lines, and saw it armed
                        self._armed.set()

    def _flush_aged(self) -> None:
        if self._spool is not None:
            with self._lock:
                self._drain_own()
        if (self._items or self._artifacts) and time.monotonic() - self._oldest >= MAX_AGE_S * 0.9:
            self.flush()

    def after_fork(self) -> None:
        """In a forked child: what waits here is the parent's to send, and its timer thread does not exist."""
        self._items.clear()
        self._artifacts, self._artifact_bytes, self._artifacts_lock = {}, 0, threading.Lock()
        self._lock, self._armed, self._timer, self._spool = threading.RLock(), threading.Event(), None, None


def _batch_of(items: Sequence[Item]) -> Spooled:
    transitions = [item for item in items if type(item) is Transition]
    if len(transitions) == len(items):
        return Spooled(transitions, [])
    return Spooled(
        transitions,
        [item for item in items if type(item) is LogLine],
        [item for item in items if type(item) is Artifact],
    )


def _forget_in_child() -> None:
    for outbox in list(_outboxes):
        outbox.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _drain(spool: Path, store: RunStore, tell: Callable[[Sequence[Transition], Sequence[Verdict]], None]) -> None:
    """Send a spool file's batches in order, then remove it. A half-written last line (the process was killed) was never acknowledged.

    A batch that the store can never take is put aside under `.rejected`, or it would keep all that follows from ever being sent.
    """
    if not spool.exists():
        return  # somebody tidied up the folder; what was in it is gone
    for batch in _batches(spool):
        try:
            tell(batch.transitions, store.apply(batch.transitions, batch.logs, batch.artifacts))
        except Unavailable:
            raise
        except LegatoError:
            aside = spool.with_suffix(".rejected")
            import logging  # noqa: PLC0415 start-up time: wanted when something went badly wrong

            logging.getLogger(__name__).exception(
                "spooled_batch_rejected", extra={"kept_in": str(aside), "transitions": len(batch.transitions)}
            )
            with aside.open("ab") as file:
                file.write(_encode(batch) + b"\n")
    crashing.reached("spool.sent")
    spool.unlink(missing_ok=True)
    crashing.reached("spool.drained")


def _batches(spool: Path) -> Iterator[Spooled]:
    decode = msgspec.json.Decoder(Spooled).decode  # made here: it takes the types of all records apart, and few processes read a spool
    with spool.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield decode(line)


def drain_spools(folder: Path, store: RunStore) -> int:
    """Send what earlier processes left behind in `folder`; returns how many files. Files of living processes are theirs."""
    sent = 0
    for spool in sorted(folder.glob("*.jsonl")) if folder.is_dir() else ():
        pid = int(spool.name.partition("-")[0])
        if pid != os.getpid() and process_is_alive(pid):
            continue
        _drain(spool, store, lambda _, __: None)
        sent += 1
    return sent
