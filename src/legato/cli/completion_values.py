"""What the shell offers for an argument: names of runs, deployments and queues. Never an error, and nothing that takes long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from legato.store.port import Store


def _names(ask: Callable[[Store], list[str]], incomplete: str) -> list[str]:
    """Names from the embedded database. A server is not asked: a shell must not wait for a network."""
    try:
        from legato import settings
        from legato.store.open import open_store

        chosen = settings.load()
        if chosen.api_url or not (chosen.home / "legato.db").exists():
            return []
        store = open_store(chosen.store_url)
        try:
            return [name for name in ask(store) if name.startswith(incomplete)]
        finally:
            store.close()
    except Exception:  # noqa: BLE001 pressing Tab must never print an error; the loss is a completion
        return []


def run_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 click's signature
    """Names of the latest runs."""
    return _names(lambda store: [run.name for run in store.list_flow_runs(limit=100).items], incomplete)


def deployment_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 click's signature
    """Full names of deployments."""
    return _names(lambda store: [one.full_name for one in store.list_deployments()], incomplete)


def queue_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 click's signature
    """Names of work queues."""
    return _names(lambda store: [one.queue.name for one in store.list_queues()], incomplete)


def artifact_keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 click's signature
    """Keys of artifacts, the latest first."""
    from legato.core.records import ArtifactFilter

    return _names(lambda store: [one.key or "" for one in store.list_artifacts(ArtifactFilter(latest=True), brief=True).items], incomplete)


def variable_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 click's signature
    """Names of variables."""
    return _names(lambda store: [one.name for one in store.list_variables()], incomplete)
