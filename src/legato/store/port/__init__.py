# mypy: disable-error-code="empty-body"
"""The store's port: everything Legato asks of the place where runs are kept, in domain verbs.

`SqlStore` (SQLite, PostgreSQL) and `RemoteStore` (a server over HTTP) implement it, and one conformance suite runs over all of them.
Every verb is synchronous, atomic, and safe to call from any thread. Verbs that depend on the time take `now`; None means the store's own
clock, which alone judges leases. Writes are idempotent where a client may have to send them again.

Each verb is declared once, here: what goes over the wire for it follows (see `verbs`). A class that overrides the methods is a store, and so is
one that has `call(verb, arguments)` and overrides none.

Errors: `NotFound`, `Conflict` (the thing changed or is in the way), `Unavailable` (try again), `UsageError` (the request makes no sense).
"""

from __future__ import annotations

from collections.abc import Mapping

from legato.store.port.deployments import DeploymentVerbs
from legato.store.port.history import HistoryVerbs, MadeVerbs
from legato.store.port.queues import QueueVerbs
from legato.store.port.reports import RunStore
from legato.store.port.runs import RunVerbs
from legato.store.verbs import verb

__all__ = ["RunStore", "Store"]


class Store(RunVerbs, HistoryVerbs, MadeVerbs, DeploymentVerbs, QueueVerbs, RunStore):
    """All verbs."""

    @property
    def address(self) -> str:
        """What tells this store from others."""

    can_wait = False
    """Whether `claim_runs` takes `wait_s`, and waits at the server until work is due."""

    @verb("GET", "info", own_route=True)
    def info(self) -> Mapping[str, str]:
        """What this store is: "kind", "location" (without passwords), "schema_version"."""
