"""The reaper: finds runs whose holder has gone, and reports them lost. What becomes of them is the rules' to say.

A run held by an agent is given up when its lease has run out. A run that a process holds by itself (embedded mode) names its host and
process: here, that process is looked at instead. Process ids may be used again, so a run can be thought alive for longer than it is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from legato.core.queues import LEASE_S
from legato.core.records import Beat, FlowRun
from legato.store.port import Store

EVERY_S = 5.0
BATCH = 100


class Report(msgspec.Struct, frozen=True):
    """What one tick did: runs reported lost, and leases renewed on behalf of living processes of this host."""

    lost: int = 0
    renewed: int = 0


def tick(
    store: Store,
    now: datetime,
    *,
    host: str,
    is_alive: Callable[[int, datetime], bool],
    patient_until: datetime | None = None,
    jumped: bool = False,
) -> Report:
    """Report runs lost whose lease has run out or whose process on this host is gone.

    `is_alive(pid, started_before)` knows the processes of this host. Before `patient_until` no lease is held against its owner: while the
    server was away nobody could renew one. `jumped`: the clock was set since the last tick, so every lease is granted once more, from now.
    """
    if jumped:
        store.grant_grace(lease_s=LEASE_S, now=now)
    lost = renewed = 0
    for run in store.expired_leases(limit=BATCH, now=now):
        if patient_until is not None and now < patient_until and not _is_our_own(run, host):
            continue
        if _is_our_own(run, host) and is_alive(run.pid, run.state.at):
            store.heartbeat([Beat(run.id, run.epoch)], lease_s=LEASE_S, now=now)
            renewed += 1
        else:
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
