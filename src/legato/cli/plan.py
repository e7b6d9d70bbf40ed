"""`legato plan`: the graph of a flow of a file, before anything of it runs."""

from __future__ import annotations

import click

from legato.cli.grammar import Verb
from legato.cli.session import Session, path_typed


@click.command(
    "plan",
    cls=Verb,
    examples=[
        "legato plan train.py -p month=3",
        "legato plan flows/train.py:train --mermaid > train.mmd",
        "legato plan train.py --after-failure load",
        "legato plan train.py -o json",
    ],
    exits=(3,),
)
@click.argument("file", metavar="FILE[:FLOW]")
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter: JSON if it reads as such, else text.")
@click.option("--mermaid", is_flag=True, help="As a Mermaid flowchart.")
@click.option("--after-failure", metavar="CALL", help="What becomes of each call if this one fails (a run's name, or a task's).")
@click.pass_obj
def command(session: Session, file: str, parameters: tuple[str, ...], mermaid: bool, after_failure: str | None) -> None:
    """Show what a flow would call, and in which order. The file is imported; the flow, its tasks and its helpers are only read.

    Parameters that are not given are not known: what depends on them is shown as conditional.
    """
    from pathlib import Path

    from legato.cli.output import Column, show_json, show_list
    from legato.cli.parameters import parse_parameters, types_of
    from legato.sdk.loading import load_flow

    path, colon, name = file.partition(":")
    flow = load_flow(f"{path_typed(path).absolute()}{colon}{name}", Path.cwd())
    plan = flow.plan(**parse_parameters(parameters, types_of(flow)))
    if after_failure is not None:
        outcomes = [{"call": call, "outcome": outcome} for call, outcome in plan.after_failure(after_failure).items()]
        columns = [Column("CALL", lambda row: row["call"]), Column("OUTCOME", lambda row: row["outcome"])]
        show_list(session, outcomes, columns, name=lambda row: row["call"], empty="The flow calls no task.")
    elif session.wants_json:
        show_json(session, plan.to_dict())
    else:
        print(plan.mermaid() if mermaid else plan)
