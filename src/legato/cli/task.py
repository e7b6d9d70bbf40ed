"""`legato task`: the task runs of a run."""

from __future__ import annotations

import click

from legato.cli.completion import run_names
from legato.cli.grammar import Noun
from legato.cli.session import Session

command = Noun("task", help="The task runs of a run.")


@command.command("ls", examples=["legato task ls amber-heron", "legato task ls 0192c3a8 --state failed -o json"], exits=(3, 6))
@click.argument("run", shell_complete=run_names)
@click.option("--state", "states", multiple=True, help="Only these: failed, running, Cached, …")
@click.pass_obj
def ls(session: Session, run: str, states: tuple[str, ...]) -> None:
    """List the task runs of a run, in the order they were made."""
    from legato.cli.filters import run_filter
    from legato.cli.finding import all_task_runs, find_run
    from legato.cli.output import Column, StateWord, show_list

    found, wanted = find_run(session, run), run_filter(session, states=states)
    tasks = all_task_runs(session, found.id)
    if states:
        tasks = [task for task in tasks if task.state.type in wanted.states or task.state.name in wanted.state_names]
    columns = [
        Column("ID", lambda task: task.id),
        Column("NAME", lambda task: task.name),
        Column("STATE", lambda task: StateWord(task.state.name, task.state.type)),
        Column("START", lambda task: task.started_at or task.created_at, yields=1),
        Column("TOOK", lambda task: task.ended_at - task.started_at if task.started_at and task.ended_at else None, yields=2),
        Column("ATTEMPT", lambda task: task.attempt, yields=3),
        Column("MESSAGE", lambda task: task.state.message, yields=4),
        Column("KEY", lambda task: task.key, wide=True),
        Column("TAGS", lambda task: task.tags, wide=True),
    ]
    show_list(session, tasks, columns, name=lambda task: task.id, empty=f"Run '{found.name}' has no such task runs.")


@command.command(
    "show", examples=["legato task show amber-heron/load-0", "legato task show 0192c3a8-12f4-7abc-9def-001122334455 -o json"], exits=(3, 6)
)
@click.argument("task", metavar="ID|RUN/NAME")
@click.pass_obj
def show(session: Session, task: str) -> None:
    """Show one task run: what it is in, since when, and why."""
    from legato.cli.finding import find_task_run
    from legato.cli.output import StateWord, show_one
    from legato.core.why import explain
    from legato.store.evidence import facts_of_task_run

    found = find_task_run(session, task)
    facts_now = facts_of_task_run(session.store, found, session.store.get_flow_run(found.flow_run_id), session.now())
    facts = [
        ("ID", found.id),
        ("Name", found.name),
        ("Flow run", found.flow_run_id),
        ("Task", found.key),
        ("State", StateWord(found.state.name, found.state.type)),
        ("Why", explain(facts_now).title),
        ("Error", f"{found.error.type}: {found.error.message}" if found.error else ""),
        ("Where", f"{found.error.file}:{found.error.line} in {found.error.function}" if found.error and found.error.file else ""),
        ("Started", found.started_at),
        ("Ended", found.ended_at),
        ("Took", found.ended_at - found.started_at if found.started_at and found.ended_at else None),
        ("Attempt", f"{found.attempt} of {found.retries + 1}"),
        ("Waited for", found.upstream),
        ("Cache key", found.cache_key),
        ("Result", (found.result.unavailable or found.result.preview or found.result.type) if found.result else ""),
        ("Tags", found.tags),
    ]
    show_one(session, found, facts, name=found.id)
