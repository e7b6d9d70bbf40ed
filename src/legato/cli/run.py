"""`legato run`: run a flow of a file now; list, show, watch, cancel and remove runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from legato.cli.completion import run_names
from legato.cli.grammar import Noun
from legato.cli.session import Session
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.cli.output import Column
    from legato.core.records import FlowRun, FlowRunFilter, TaskRun

FILE_VERB = " file"
"""The verb of `legato run FILE`: a name that nobody can type by accident."""


class RunNoun(Noun):
    """A first word that is no verb is a file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].partition("=")[0] in ("-p", "--param"):
            args = [FILE_VERB, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and not ctx.resilient_parsing:
            from legato.cli.local_run import is_file_word

            verbs = [name for name in self.list_commands(ctx) if name != FILE_VERB]
            if is_file_word(args[0], verbs):
                args = [FILE_VERB, *args]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in super().list_commands(ctx) if name != FILE_VERB]


command = RunNoun(
    "run",
    help="""Run a flow now, or look after runs.

    \b
    legato run FILE[:FLOW] [-p name=value]...   run it here, with its log on standard error
    legato run VERB ...                         one of the commands below
    """,
)


@command.command(
    FILE_VERB,
    hidden=True,
    examples=["legato run flow.py", "legato run flows/train.py:train -p month=3 -p 'years=[2024, 2025]'"],
    exits=(1, 3, 6, 8, 9, 130),
)
@click.argument("file", metavar="FILE[:FLOW]")
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter: JSON if it reads as such, else text.")
@click.pass_obj
def run_file(session: Session, file: str, parameters: tuple[str, ...]) -> int:
    """Run a flow here and now. Its value's preview is printed; Ctrl-C cancels, twice kills."""
    from legato.cli import local_run

    return local_run.run_file(session, file, parameters)


@command.command(
    "ls",
    examples=["legato run ls", "legato run ls --state failed --since 24h", "legato run ls --tag prod --json id,name,state.name"],
    exits=(6,),
)
@click.option("--state", "states", multiple=True, help="Only these: failed, running, Late, …")
@click.option("--tag", "tags", multiple=True, help="Only runs with all of these tags.")
@click.option("--flow", help="Only runs of this flow.")
@click.option("--deployment", help="Only runs of this deployment.")
@click.option("--since", metavar="24h|TIME", help="Only runs expected to start since then.")
@click.option("--upcoming", is_flag=True, help="Runs that have not begun instead, planned or due, the first one first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--filter", "text", default="", help="As in the web UI: 'state:failed tag:prod started:<24h text'.")
@click.pass_obj
def ls(session: Session, /, states: tuple[str, ...], tags: tuple[str, ...], limit: int, upcoming: bool, **where: Any) -> None:
    """List runs, latest first."""
    import msgspec

    from legato.cli.filters import run_filter
    from legato.cli.output import show_list
    from legato.core.states import SCHEDULED

    wanted = run_filter(session, states=states, tags=tags, **where)
    hides_plans = not upcoming and SCHEDULED not in wanted.states and not wanted.state_names and wanted.start_before is None
    shown = msgspec.structs.replace(wanted, start_before=session.now() + timedelta(seconds=1)) if hides_plans else wanted
    shown = msgspec.structs.replace(shown, states=(SCHEDULED,)) if upcoming else shown
    page = session.store.list_flow_runs(shown, limit=limit, oldest_first=upcoming)
    show_list(session, page.items, _run_columns(), name=lambda run: run.id, empty="" if page.items else _none(session, wanted))
    if page.cursor is not None and session.is_terminal:
        more = f"--limit {limit * 2} shows them, " if limit * 2 <= 1000 else ""
        session.hint(f"There are more; {more}--filter and --since narrow the list")


def _none(session: Session, wanted: FlowRunFilter) -> str:
    from legato.core.records import FlowRunFilter
    from legato.core.spelling import did_you_mean

    if wanted == FlowRunFilter():
        return "No runs yet. Make one: legato run FILE"
    if wanted.flow_name and wanted.flow_name not in (known := [flow.name for flow in session.store.list_flows()]):
        return f"No run matches: there is no flow '{wanted.flow_name}'. {did_you_mean(wanted.flow_name, known)}".rstrip()
    return "No run matches."


def _run_columns() -> list[Column]:
    from legato.cli.output import Column, StateWord

    return [
        Column("ID", lambda run: run.id),
        Column("NAME", lambda run: run.name),
        Column("FLOW", lambda run: run.flow_name, yields=1),
        Column("STATE", lambda run: StateWord(run.display_state, run.state.type)),
        Column("START", lambda run: run.started_at or run.expected_start_at, yields=2),
        Column("TOOK", _took, yields=3),
        Column("DEPLOYMENT", lambda run: run.deployment_name, yields=4),
        Column("TAGS", lambda run: run.tags, yields=5),
        Column("ATTEMPT", lambda run: run.attempt, wide=True),
        Column("QUEUE", lambda run: run.work_queue, wide=True),
        Column("MESSAGE", lambda run: run.state.message, wide=True),
    ]


def _took(run: FlowRun | TaskRun) -> timedelta | None:
    return run.ended_at - run.started_at if run.started_at and run.ended_at else None


@command.command("show", examples=["legato run show amber-heron", "legato run show 0192c3a8 -o json"], exits=(3, 6))
@click.argument("run", shell_complete=run_names)
@click.pass_obj
def show(session: Session, run: str) -> None:
    """Show one run: what it is in, since when, and why."""
    from legato.cli.finding import find_run
    from legato.cli.output import StateWord, show_one
    from legato.core.why import explain
    from legato.store.evidence import facts_of_flow_run
    from legato.system import shown_host

    found = find_run(session, run)
    tasks = session.store.count_task_runs([found.id]).get(found.id, {})
    where = f"{found.error.file}:{found.error.line} in {found.error.function}" if found.error is not None and found.error.file else ""
    facts = [
        ("ID", found.id),
        ("Name", found.name),
        ("Flow", found.flow_name),
        ("State", StateWord(found.display_state, found.state.type)),
        ("Why", explain(facts_of_flow_run(session.store, found, session.now())).title),
        ("Error", f"{found.error.type}: {found.error.message}" if found.error else ""),
        ("Where", where),
        ("Due", found.due_at),
        ("Started", found.started_at),
        ("Ended", found.ended_at),
        ("Took", _took(found)),
        ("Attempt", found.attempt),
        ("Tasks", ", ".join(f"{n} {state}" for state, n in tasks.items())),
        ("Parameters", found.parameters),
        ("Result", _result_in_words(found)),
        ("Tags", found.tags),
        ("Deployment", found.deployment_name),
        ("Queue", found.work_queue),
        ("Parent", found.parent_run_id),
        ("Trigger", found.trigger),
        ("Process", f"{found.pid} on {shown_host(found.host)}" if found.pid else ""),
        ("Agent", _agent_of(session, found)),
        *_asked(session, found),
    ]
    show_one(session, found, facts, name=found.id)
    if found.error is not None:
        session.hint(f"Its log: legato run logs {typed(found.name)}")
    elif not found.state.is_final:
        session.hint(f"More of why: legato why {typed(found.name)}")


def _agent_of(session: Session, run: FlowRun) -> str:
    """The agent that had a run last, while it is known: within a day after it was seen."""
    found = next((one for one in session.store.list_agents() if one.id == run.agent_id), None) if run.agent_id else None
    return f"{found.name}, process {found.pid} on {found.host}" if found is not None else ""


def _asked(session: Session, run: FlowRun) -> list[tuple[str, str]]:
    """What a paused run waits for, and how to answer."""
    if run.state.is_final:
        return []
    from legato.cli.run_again import open_questions

    open_ = open_questions(session, run)
    fields = [f" -p {name}=…" for one in open_[:1] for name in one.schema.get("properties", {})]
    how = "".join(fields) or (" --answer …" if open_ and open_[0].schema else "")
    return [("Asks", f"{one.prompt or one.key}") for one in open_] + (
        [("Answer", f"legato run resume {typed(run.name)}{how}")] if open_ else []
    )


def _result_in_words(run: FlowRun) -> str:
    if run.result is None:
        return ""
    return (
        f"not stored: {run.result.unavailable}"
        if run.result.unavailable
        else run.result.preview or f"{run.result.type}, {run.result.size} bytes"
    )


@command.command(
    "logs",
    examples=["legato run logs amber-heron", "legato run logs 0192c3a8 --level warning", "legato run logs amber-heron --follow"],
    exits=(3, 6, 130),
)
@click.argument("run", shell_complete=run_names)
@click.option(
    "--level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    default="debug",
    help="This and above.",
)
@click.option("--task", help="Only this task run (its name or id).")
@click.option("--text", default="", help="Only lines that hold this.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.pass_obj
def logs(session: Session, run: str, level: str, task: str | None, text: str, follow: bool) -> None:
    """Print a run's log."""
    from legato.cli.finding import find_run, find_task_run
    from legato.cli.follow import print_logs
    from legato.core.ids import is_id

    found = find_run(session, run)
    task_run = find_task_run(session, task if is_id(task) else f"{found.id}/{task}") if task else None
    print_logs(session, found, level=level.lower(), task_run_id=task_run.id if task_run else None, follow=follow, text=text)


@command.command(
    "watch", examples=["legato run watch amber-heron", "legato run watch 0192c3a8 --timeout 10m"], exits=(1, 3, 6, 7, 8, 9, 130)
)
@click.argument("run", shell_complete=run_names)
@click.option("--timeout", metavar="10m", help="Give up watching after this long (exit 7).")
@click.pass_obj
def watch(session: Session, run: str, timeout: str | None) -> int:
    """Print each change of state until the run has ended; the exit code tells how."""
    from legato.cli.finding import find_run
    from legato.cli.follow import wait_for
    from legato.cli.times import parse_duration

    return wait_for(session, find_run(session, run), timeout_s=parse_duration(timeout).total_seconds() if timeout else None, watch=True)


@command.command(
    "cancel", examples=["legato run cancel amber-heron", "legato run cancel --filter 'state:running tag:dev' --yes"], exits=(3, 5, 6)
)
@click.argument("runs", nargs=-1, shell_complete=run_names)
@click.option("--filter", "text", default="", help="All runs that match and have not ended; asks first.")
@click.pass_obj
def cancel(session: Session, runs: tuple[str, ...], text: str) -> None:
    """Ask runs to stop. One that nobody runs is cancelled at once; otherwise its process is stopped within seconds."""
    from legato.cli import run_many

    run_many.cancel(session, runs, text)


PLAN_HELP = "Only print what would be reused and what would run again, and why."


@command.command(
    "retry",
    examples=["legato run retry amber-heron", "legato run retry 0192c3a8 --plan"],
    exits=(1, 3, 5, 6, 8, 9, 130),
)
@click.argument("run", shell_complete=run_names)
@click.option("--plan", "only_plan", is_flag=True, help=PLAN_HELP)
@click.pass_obj
def retry(session: Session, run: str, only_plan: bool) -> int:
    """Run an ended run again, as a new attempt: finished tasks whose values are stored are not run again.

    A deployment's run is given to agents; any other runs here, from the file it came from. The plan of what is reused is printed.
    """
    from legato.cli import run_again
    from legato.cli.finding import find_run

    return run_again.retry(session, find_run(session, run), only_plan=only_plan)


@command.command(
    "resume",
    examples=[
        "legato run resume amber-heron",
        "legato run resume amber-heron -p approved=true -p reason=fine",
        "legato run resume 0192c3a8 --answer 7",
    ],
    exits=(1, 2, 3, 5, 6, 8, 9, 130),
)
@click.argument("run", shell_complete=run_names)
@click.option("--answer", metavar="JSON", help="What the run asked for: JSON if it reads as such, else text.")
@click.option("-p", "--param", "given", multiple=True, metavar="NAME=VALUE", help="The same, a field at a time.")
@click.option("--key", default="", help="Which of several questions is answered (default: the oldest).")
@click.option("--plan", "only_plan", is_flag=True, help=PLAN_HELP)
@click.pass_obj
def resume(session: Session, run: str, answer: str | None, given: tuple[str, ...], key: str, only_plan: bool) -> int:
    """Have a paused or suspended run go on, with an answer where it asked for one. A run that has ended is retried."""
    from legato.cli import run_again
    from legato.cli.finding import find_run

    return run_again.resume(session, find_run(session, run), answer=answer, given=given, key=key, only_plan=only_plan)


@command.command(
    "fork",
    examples=[
        "legato run fork amber-heron --from train",
        "legato run fork amber-heron --from train-2 -p month=4",
        "legato run fork 0192c3a8 --plan",
    ],
    exits=(1, 2, 3, 6, 8, 9, 130),
)
@click.argument("run", shell_complete=run_names)
@click.option(
    "--from", "task", default="", metavar="TASK", help="Run this task again, and all that depended on it (its name, or a task run's)."
)
@click.option("-p", "--param", "given", multiple=True, metavar="NAME=VALUE", help="Parameters that are to be other than the run's.")
@click.option("--plan", "only_plan", is_flag=True, help=PLAN_HELP)
@click.pass_obj
def fork(session: Session, run: str, task: str, given: tuple[str, ...], only_plan: bool) -> int:
    """Run a new run that reuses what this one stored, from a task on, or with other parameters. This one stays as it is."""
    from legato.cli import run_again
    from legato.cli.finding import find_run

    return run_again.fork(session, find_run(session, run), task=task, given=given, only_plan=only_plan)


@command.command("pause", examples=["legato run pause amber-heron"], exits=(3, 5, 6))
@click.argument("run", shell_complete=run_names)
@click.pass_obj
def pause(session: Session, run: str) -> None:
    """Ask a running run to wait before its next task. `legato run resume` lets it go on."""
    from legato.cli import run_again
    from legato.cli.finding import find_run

    run_again.pause(session, find_run(session, run))


@command.command("rm", examples=["legato run rm amber-heron --yes", "legato run rm --filter 'state:failed tag:dev'"], exits=(3, 5, 6))
@click.argument("runs", nargs=-1, shell_complete=run_names)
@click.option("--filter", "text", default="", help="All ended runs that match; asks first.")
@click.pass_obj
def rm(session: Session, runs: tuple[str, ...], text: str) -> None:
    """Remove ended runs with their tasks, logs and history. This cannot be undone."""
    from legato.cli import run_many

    run_many.remove(session, runs, text)


@command.command("gc", examples=["legato run gc --dry-run", "legato run gc --yes"], exits=(2, 6))
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--older-than", default="1d", show_default=True, metavar="1d|12h", help="Leave alone what was written since.")
@click.pass_obj
def gc(session: Session, dry_run: bool, older_than: str) -> None:
    """Remove stored results and bundles that nothing refers to any more, and give their disk back. Runs are removed with `run rm`."""
    from legato.cli.run_many import collect
    from legato.cli.times import parse_duration

    collect(session, dry_run=dry_run, older_than=parse_duration(older_than))
