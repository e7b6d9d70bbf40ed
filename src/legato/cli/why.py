"""`legato why`: why a run is as it is, in sentences. What it says is said by `core.why`, here as in the web UI."""

from __future__ import annotations

import click

from legato.cli.completion import run_names
from legato.cli.grammar import Verb
from legato.cli.session import Session


@click.command(
    "why",
    cls=Verb,
    examples=["legato why amber-heron", "legato why amber-heron/train-0", "legato why 0192c3a8 -o json"],
    exits=(3, 6),
)
@click.argument("run", metavar="RUN|RUN/TASK", shell_complete=run_names)
@click.pass_obj
def command(session: Session, run: str) -> None:
    """Say why a run or task run waits, failed, was cached, skipped, tried again, …, with the numbers of this moment."""
    from legato.cli.finding import find_run, find_task_run
    from legato.cli.output import show_json
    from legato.core.ids import is_id
    from legato.core.why import explain
    from legato.store.evidence import facts_of_flow_run, facts_of_task_run, find_explained

    if is_id(run):
        found, task = find_explained(session.store, run)
    elif "/" in run:
        task = find_task_run(session, run)
        found = session.store.get_flow_run(task.flow_run_id)
    else:
        found, task = find_run(session, run), None
    now = session.now()
    answer = explain(facts_of_flow_run(session.store, found, now) if task is None else facts_of_task_run(session.store, task, found, now))
    if session.wants_json:
        show_json(session, {"sentences": list(answer.sentences), "facts": answer.facts, "hint": answer.hint})
        return
    print("\n".join(answer.sentences))
    if answer.hint:
        session.hint(f"Try: {answer.hint}")
