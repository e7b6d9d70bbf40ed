"""`legato completion`: what a shell needs to complete command lines."""

from __future__ import annotations

import click

from legato.cli.grammar import Noun
from legato.cli.session import Session

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
