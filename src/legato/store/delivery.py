"""What becomes of a batch of reports: sent, halved until what is at fault stands alone, set aside by name, or kept until the store is back.

Three kinds of failure, by who can act. The store cannot be reached: batches are kept in order, in the spool or else in memory, and sent when
it is back. The store refuses: the batch is halved until what is at fault stands alone, and that is set aside by name. Anything else is our
fault: the same halving, told with its traceback. A repeat is answered "already", and log lines carry their batch's id, so sending twice is safe.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from legato import crashing
from legato.core.errors import LegatoError, Unavailable
from legato.core.records import LogLine, Transition, Verdict, VerdictKind
from legato.store.items import Item, Outcome, Spooled, batch_of, items_of, send_batch
from legato.system import new_id

if TYPE_CHECKING:
    from logging import Logger

    from legato.store.port import RunStore
    from legato.store.spool import Spool

SLOW_S = 0.1
"""A store that takes so long for a batch is far, wherever it is: a slow disk, a network file system, a busy neighbour."""
QUICK_BATCHES = 50
"""After so many batches in a row that took no more than a tenth of that, it is near again: the slow moment is over."""
RETRY_EVERY_S = 1.0
"""How often an unreachable store is tried again."""
POISONED_AT = 4
"""Times that a server may answer one batch with an error of its own before the batch counts as refused, so that it holds up no others."""


class Delivery:
    """One process's way of sending batches to a store, one at a time: whoever calls has made sure of that.

    `is_far`: whether a round trip is what costs. `spool`: the folder for what cannot be sent; None: it waits in memory.
    """

    def __init__(
        self, store: RunStore, spool: Path | None, on_verdict: Callable[[Transition, Verdict], None] | None, *, kept: Spool | None = None
    ) -> None:
        self._store = store
        self._folder = spool
        self._kept = kept
        """The spool, once something was kept in it."""
        self._is_far = self._stays_far = bool(getattr(store, "can_wait", False) is True)
        self._quick = 0
        """Batches in a row that were quick."""
        self._retry_at = 0.0
        self._on_verdict = on_verdict
        self._unsent: deque[Spooled] = deque()
        """Batches that could be neither sent nor spooled, in order, as they were made up."""
        self._refusals: tuple[str, int] = ("", 0)

    @property
    def _spool(self) -> Path | None:
        return None if self._kept is None else self._kept.path

    @property
    def is_spooling(self) -> bool:
        """Whether batches wait, on disk or in memory, for the store to come back."""
        return bool(self._unsent) or self._spool is not None

    def forget(self) -> None:
        """In a forked child: what waits here is the parent's to send."""
        self._unsent.clear()
        self._kept = None

    def _send_reports(self, items: list[Item]) -> None:
        """The same for a batch that nobody waits for, which most are."""
        batch_id = new_id() if any(type(item) is LogLine for item in items) else ""
        try:
            self.drain_own()
            outcomes = self._deliver(items, batch_id)
        except Unavailable:
            self._keep(batch_of(items, batch_id))
            return
        accepted = VerdictKind.ACCEPTED
        self._tell(
            [(item, o) for item, o in zip(items, outcomes, strict=True) if o is not None and getattr(o, "kind", None) is not accepted]
        )

    def _deliver(self, items: Sequence[Item], batch_id: str, *, is_suspect: bool = False) -> list[Outcome]:
        """What the store answered to each. One that it, or we, cannot take is found by halving, and its outcome is the error.

        `is_suspect`: they are of a batch that a server fails over.
        """
        if not items:
            return []
        try:
            return self._send(items, batch_id)
        except Unavailable as error:
            if not self._is_poison(items, error, is_suspect=is_suspect):
                raise
            failed: Exception = error
            is_suspect = True
        except Exception as error:  # noqa: BLE001 whatever it is, it is one item's, and must not be everybody's
            failed = error
        if len(items) == 1:
            return [failed] if not isinstance(failed, Unavailable) else self._once_more(items, batch_id)
        half = len(items) // 2
        first = self._deliver(items[:half], batch_id and batch_id + "0", is_suspect=is_suspect)
        return first + self._deliver(items[half:], batch_id and batch_id + "1", is_suspect=is_suspect)

    def _once_more(self, items: Sequence[Item], batch_id: str) -> list[Outcome]:
        """The last try of a batch that is thought to be what a server fails over: now that the server is known to take others."""
        try:
            return self._send(items, batch_id)
        except Unavailable as error:
            if error.code != "internal":
                raise
            return [error]
        except Exception as error:  # noqa: BLE001 as above
            return [error]

    def _is_poison(self, items: Sequence[Item], error: Unavailable, *, is_suspect: bool) -> bool:
        """Whether a server has failed (by its own account) over this very batch so often, and takes others, that the batch must be what is
        wrong. A server that fails over everything has a fault of its own, which passes: then nothing is wrong with what waits.
        """
        if error.code != "internal":
            return False
        if not is_suspect and not self._fails_often(items):
            return False
        try:
            self._store.apply([])
        except LegatoError:
            return False
        return True

    def _fails_often(self, items: Sequence[Item]) -> bool:
        first = items[0]
        key = f"{getattr(first, 'run_id', '')}/{getattr(first, 'seq', '')}/{len(items)}"
        before = self._refusals[1] if self._refusals[0] == key else 0
        self._refusals = (key, before + 1)
        return before + 1 >= POISONED_AT or (len(items) == 1 and before > 0)

    def _send(self, items: Sequence[Item], batch_id: str) -> list[Outcome]:
        batch = batch_of(list(items), batch_id)
        crashing.reached("outbox.sending")
        began = time.monotonic()
        verdicts = send_batch(self._store, batch)
        crashing.reached("outbox.sent")
        took_s = time.monotonic() - began
        self._quick = self._quick + 1 if took_s < SLOW_S / 10 else 0
        if took_s > SLOW_S:
            self._is_far = True
        if len(batch.transitions) == len(items):
            return list(verdicts)
        answers = iter(verdicts)
        return [next(answers) if type(item) is Transition else None for item in items]

    def _tell(self, outcomes: Sequence[tuple[Item, Outcome]]) -> None:
        accepted, told = VerdictKind.ACCEPTED, self._on_verdict
        for item, outcome in outcomes:
            if isinstance(outcome, Exception):
                self._set_aside(item, outcome)
            elif told is not None and outcome is not None and outcome.kind is not accepted and isinstance(item, Transition):
                try:
                    told(item, outcome)
                except Exception:  # noqa: BLE001 what comes of a verdict is not what becomes of the reports
                    _logger().exception("verdict_not_told", extra={"run_id": item.run_id})

    def _set_aside(self, item: Item, why: Exception) -> None:
        """One report that can never be taken: by name in the log, and beside the spool."""
        if not isinstance(why, LegatoError):
            _logger().error("report_failed", exc_info=why, extra={"item": type(item).__name__})
        if self._folder is not None:
            self._spool_of_this_process().reject(batch_of([item]), why)
            return
        name = getattr(item, "run_id", None) or getattr(item, "id", None) or getattr(item, "flow_run_id", "")
        _logger().error("report_set_aside: a %s of %s: %s", type(item).__name__.lower(), name, why, extra={"why": str(why)})

    def _keep(self, batch: Spooled) -> bool:
        """A batch that cannot be sent now: on disk, or in memory when there is no spool or the disk takes no more."""
        if not (batch.transitions or batch.logs or batch.artifacts):
            return True
        self._retry_at = time.monotonic() + RETRY_EVERY_S
        if self._folder is not None and not self._unsent:
            try:
                self._spool_of_this_process().append(batch)
            except OSError as error:
                _logger().error("spool_cannot_be_written: %s; reports wait in memory until there is room", error, extra={"why": str(error)})
            else:
                return True
        self._unsent.append(batch)
        return False

    def _spool_of_this_process(self) -> Spool:
        from legato.store.spool import Spool, folder_for  # noqa: PLC0415 start-up time: wanted when the store is away

        if self._kept is None:
            assert self._folder is not None, "asked only where there is one"
            self._kept = Spool(folder_for(self._folder, self._store))
        return self._kept

    def _send_unsent(self) -> None:
        """What waits in memory goes first. Raises `Unavailable` when the store is still away; then it moves to the spool, if there is room."""
        while self._unsent:
            batch = self._unsent[0]
            items = items_of(batch)
            try:
                self.drain_own()
                outcomes = self._deliver(items, batch.id)
            except Unavailable:
                if self._folder is None or not self._moved_to_the_spool():
                    raise
                return
            self._unsent.popleft()
            self._tell([*zip(items, outcomes, strict=True)])

    def _moved_to_the_spool(self) -> bool:
        try:
            while self._unsent:
                self._spool_of_this_process().append(self._unsent[0])
                self._unsent.popleft()
        except OSError:
            return False
        return True

    def drain_own(self) -> None:
        """Send what was kept in the spool. Raises `Unavailable` when the store is still away: then it is kept on."""
        if self._kept is None or self._kept.path is None:
            return
        try:
            self._kept.drain(self._send_spooled)
        except Unavailable:
            self._retry_at = time.monotonic() + RETRY_EVERY_S
            raise
        except OSError as error:
            raise Unavailable(f"the spool cannot be read: {error}") from error

    def _send_spooled(self, batch: Spooled) -> None:
        items = items_of(batch)
        self._tell([*zip(items, self._deliver(items, batch.id), strict=True)])


def _logger() -> Logger:
    import logging  # noqa: PLC0415 start-up time: wanted when something went wrong

    return logging.getLogger(__name__)
