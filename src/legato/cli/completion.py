"""`legato completion`: what a shell needs to complete command lines, and what it then offers: names of runs, deployments and queues.

What is offered is never an error, and takes no time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from legato.cli.grammar import Noun
from legato.cli.session import Session

if TYPE_CHECKING:
    from legato.store.port import Store

command = Noun("completion", help="Completion for your shell.")

WHERE = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/legato.fish"}


@command.command(
    "show", examples=["legato completion show bash >> ~/.bashrc", "legato completion show fish > ~/.config/fish/completions/legato.fish"]
)
@click.argument("shell", type=click.Choice(sorted(WHERE)))
@click.pass_context
def show(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete legato's command lines."""
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    assert completion is not None  # the choices are those that click has
    print(completion(ctx.find_root().command, {}, "legato", "_LEGATO_COMPLETE").source())
    session = ctx.find_object(Session)
    if session is not None and session.is_terminal:
        session.hint(f"To have it in every shell: legato completion show {shell} >> {WHERE[shell]}")


# ---------------------------------------------------------------------- what is offered for an argument


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
