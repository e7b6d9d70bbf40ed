"""`legato flow`: flows that have been run or deployed at least once."""

from __future__ import annotations

import click

from legato.cli.grammar import Noun
from legato.cli.session import Session

command = Noun("flow", help="Flows that have been run or deployed.")


@command.command("ls", examples=["legato flow ls", "legato flow ls -o name"], exits=(6,))
@click.pass_obj
def ls(session: Session) -> None:
    """List flows."""
    from legato.cli.output import Column, show_list

    columns = [
        Column("NAME", lambda flow: flow.name),
        Column("SINCE", lambda flow: flow.created_at, yields=1),
        Column("DESCRIPTION", lambda flow: flow.description, yields=2),
        Column("ID", lambda flow: flow.id, wide=True),
    ]
    show_list(session, session.store.list_flows(), columns, name=lambda flow: flow.name, empty="No flows yet. Run one: legato run FILE")


@command.command("show", examples=["legato flow show train", "legato flow show train -o json"], exits=(3, 6))
@click.argument("flow")
@click.pass_obj
def show(session: Session, flow: str) -> None:
    """Show a flow: its deployments, and how its last runs ended."""
    from legato.cli.output import show_one
    from legato.core.errors import NotFound
    from legato.core.records import FlowRunFilter
    from legato.core.spelling import did_you_mean

    flows = session.store.list_flows()
    found = next((one for one in flows if flow in (one.name, one.id)), None)
    if found is None:
        raise NotFound("flow", flow, hint=did_you_mean(flow, [one.name for one in flows]) or "list them: legato flow ls")
    counts = session.store.count_flow_runs(FlowRunFilter(flow_name=found.name))
    last = session.store.list_flow_runs(FlowRunFilter(flow_name=found.name, start_before=session.now()), limit=1).items
    facts = [
        ("Name", found.name),
        ("ID", found.id),
        ("Description", found.description),
        ("Since", found.created_at),
        ("Runs", ", ".join(f"{n} {state}" for state, n in counts.items())),
        ("Last run", f"{last[0].name}: {last[0].display_state}" if last else ""),
        ("Deployments", [one.full_name for one in session.store.list_deployments() if one.flow_name == found.name]),
    ]
    show_one(session, found, facts, name=found.name)
