"""The reaper: finds runs whose holder has gone, and reports them lost. What becomes of them is the rules' to say.

A run held by an agent is given up when its lease has run out. A run that a process holds by itself (embedded mode) names its host and
process: here, that process is looked at instead. Process ids may be used again, so a run can be thought alive for longer than it is.

A lease that ran out is held against nobody who could not renew it: while a server stood still, or its database took nothing, no sign of life
came through. So a run is given up only at the second look that finds its lease run out, looks being further apart than signs of life are, and
only where the database took what was written at once at both (`Silences`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from legato.core.clock import Clock
from legato.core.queues import LEASE_S
from legato.core.records import Beat, FlowRun
from legato.store.port import Store

EVERY_S = 5.0
BATCH = 1000


class Report(msgspec.Struct, frozen=True):
    """What one tick did: runs reported lost, and leases renewed on behalf of living processes of this host."""

    lost: int = 0
    renewed: int = 0


class Silences:
    """The leases that one server has found run out, from one look to the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: frozenset[tuple[str, int, datetime | None]] = frozenset()

    def lasting(self, store: Store, expired: Sequence[FlowRun]) -> list[FlowRun]:
        """Those of these runs whose lease had run out at the last look too, and whose holders could have renewed it since."""
        before, self._found = self._found, frozenset()
        if not expired or not self._takes_writes(store):
            return []
        self._found = frozenset(map(_holding, expired))
        return [run for run in expired if _holding(run) in before]

    def _takes_writes(self, store: Store) -> bool:
        began_s = self._clock.monotonic_s()
        store.heartbeat([], lease_s=LEASE_S)
        return self._clock.monotonic_s() - began_s <= PROMPT_S


def _holding(run: FlowRun) -> tuple[str, int, datetime | None]:
    return run.id, run.epoch, run.lease_expires_at


PROMPT_S = 1.0
"""A write that waits longer than this has waited for somebody, and so have signs of life. Ours take a millisecond."""


def tick(
    store: Store,
    now: datetime,
    *,
    host: str,
    is_alive: Callable[[int, datetime], bool],
    patient_until: datetime | None = None,
    jumped: bool = False,
    silences: Silences | None = None,
) -> Report:
    """Report runs lost whose lease has run out, the second time in `silences` (None: at once), or whose process on this host is gone.

    `is_alive(pid, started_before)` knows the processes of this host. Before `patient_until` no lease is held against its owner: while the
    server was away nobody could renew one. `jumped`: the clock was set since the last tick, so every lease is granted once more, from now.
    """
    if jumped:
        store.grant_grace(lease_s=LEASE_S, now=now)
    lost = renewed = 0
    silent = []
    for run in store.expired_leases(limit=BATCH, now=now):
        if _is_our_own(run, host) and is_alive(run.pid, run.state.at):
            store.heartbeat([Beat(run.id, run.epoch)], lease_s=LEASE_S, now=now)
            renewed += 1
        elif patient_until is None or now >= patient_until or _is_our_own(run, host):
            silent.append(run)
    for run in silent if silences is None else silences.lasting(store, silent):
        store.report_lost(run.id, run.epoch, _silence(run), now=now)
        lost += 1
    for run in store.held_here(host):  # the outermost ones, whose loss takes those inside with it
        if not is_alive(run.pid, run.state.at):
            store.report_lost(run.id, run.epoch, f"its process {run.pid} on {host.partition('~')[0]} is gone", now=now)
            lost += 1
    return Report(lost, renewed)


def look_here(store: Store, now: datetime, *, host: str, is_alive: Callable[[int, datetime], bool]) -> Report:
    """Look once at the processes of this host only: for embedded mode, where no service does. Leases are for a server to judge."""
    return tick(store, now, host=host, is_alive=is_alive, patient_until=datetime.max.replace(tzinfo=UTC))


def _is_our_own(run: FlowRun, host: str) -> bool:
    """Whether a process of this host holds the run by itself."""
    return run.agent_id is None and run.pid > 0 and run.host == host


def _silence(run: FlowRun) -> str:
    holder = f"its agent {run.agent_id}" if run.agent_id else f"its process {run.pid} on {run.host.partition('~')[0] or 'an unknown host'}"
    return f"{holder} has given no sign of life since its lease was renewed last"
