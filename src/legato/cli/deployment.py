"""`legato deployment`: flows made runnable by others, on schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from legato.cli.completion import deployment_names
from legato.cli.grammar import Noun
from legato.cli.session import Session, path_typed
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.cli.output import Column
    from legato.core.records import Deployment, FlowRun, QueueStatus

command = Noun("deployment", help="Make flows runnable by others, on schedules.")


@command.command(
    "create",
    examples=["legato deployment create deploy.py", "legato deployment create flows/deploy.py --dry-run -o json"],
    exits=(3, 6),
)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Check everything and save nothing.")
@click.pass_obj
def create(session: Session, file: str, dry_run: bool) -> None:
    """Register the deployments that a file declares; those of the same name are replaced, with their runs kept."""
    create_from_file(session, file, dry_run=dry_run)


@command.command("ls", examples=["legato deployment ls", "legato deployment ls --tag prod -o name"], exits=(6,))
@click.option("--flow", help="Only deployments of this flow.")
@click.option("--tag", "tags", multiple=True, help="Only deployments with all of these tags.")
@click.pass_obj
def ls(session: Session, flow: str | None, tags: tuple[str, ...]) -> None:
    """List deployments."""
    from legato.cli.output import show_list

    found = [one for one in session.store.list_deployments() if flow in (None, one.flow_name) and set(tags) <= set(one.tags)]
    wanted = flow is not None or tags
    empty = "No deployment matches." if wanted else "No deployments. Create some: legato deployment create FILE"
    show_list(session, [without_secrets(one) for one in found], _columns(), name=lambda one: one.full_name, empty=empty)


def without_secrets(deployment: Deployment) -> Deployment:
    """As it may be shown: values of variables whose names speak of secrets are masked."""
    import msgspec

    env = deployment.flow_runner.get("env")
    if not isinstance(env, dict):
        return deployment
    shown = {name: "********" if any(word in name.upper() for word in SECRET_WORDS) else value for name, value in env.items()}
    return msgspec.structs.replace(deployment, flow_runner={**deployment.flow_runner, "env": shown})


SECRET_WORDS = ("PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "PRIVATE", "DSN", "DATABASE_URL")


def _columns() -> list[Column]:
    from legato.cli.output import Column
    from legato.core.schedules import describe

    return [
        Column("NAME", lambda one: one.full_name),
        Column("SCHEDULES", lambda one: [describe(each.schedule) for each in one.schedules if each.active], yields=2),
        Column("PAUSED", lambda one: one.paused, yields=3),
        Column("TAGS", lambda one: one.tags, yields=4),
        Column("UPDATED", lambda one: one.updated_at, yields=5),
        Column("ENTRYPOINT", lambda one: one.entrypoint, wide=True),
        Column("VERSION", lambda one: one.version, wide=True),
        Column("ID", lambda one: one.id, wide=True),
    ]


@command.command("show", examples=["legato deployment show train/prod", "legato deployment show train/prod -o json"], exits=(3, 6))
@click.argument("name", shell_complete=deployment_names)
@click.pass_obj
def show(session: Session, name: str) -> None:
    """Show one deployment."""
    from legato.cli.finding import find_deployment
    from legato.cli.output import show_one
    from legato.core.schedules import describe

    one = without_secrets(find_deployment(session, name))
    facts = [
        ("Name", one.full_name),
        ("ID", one.id),
        ("Description", one.description),
        ("Version", one.version),
        ("Entrypoint", one.entrypoint),
        ("Bundle", one.bundle),
        ("Parameters", one.parameters),
        ("Schedules", [describe(each.schedule) for each in one.schedules]),
        ("Paused", one.paused),
        ("Tags", one.tags),
        ("Flow runner", one.flow_runner),
        ("Retries", one.retries),
        ("If lost", str(one.on_lost)),
        ("Queues", [status.queue.name for status in queues_that_take(session, one)]),
        ("Created", one.created_at),
        ("Updated", one.updated_at),
    ]
    show_one(session, one, facts, name=one.full_name)
    session.hint(f"Run it: legato deployment run {typed(one.full_name)}")


@command.command(
    "run",
    examples=[
        "legato deployment run train/prod",
        "legato deployment run train/prod -p month=3 --watch",
        "legato deployment run train/prod --at 'in 10m'",
    ],
    exits=(1, 3, 6, 7, 8, 9, 130),
)
@click.argument("name", shell_complete=deployment_names)
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter: JSON if it reads as such, else text.")
@click.option("--tag", "tags", multiple=True, help="A tag for this run, besides the deployment's.")
@click.option("--name", "run_name", default="", help="The run's name (default: a readable one).")
@click.option("--at", metavar="TIME", help="When it is due: 'in 10m', 2026-03-01T08:00 (default: now).")
@click.option("--watch", is_flag=True, help="Print its changes of state until it has ended; the exit code tells how.")
@click.option("--wait", is_flag=True, help="The same, without printing.")
@click.option("--timeout", metavar="10m", help="With --watch or --wait: give up after this long (exit 7).")
@click.pass_obj
def run(
    session: Session,
    name: str,
    parameters: tuple[str, ...],
    tags: tuple[str, ...],
    run_name: str,
    at: str | None,
    watch: bool,
    wait: bool,
    timeout: str | None,
) -> int:
    """Have a deployment run, by whichever agent takes it."""
    from legato.cli.finding import find_deployment
    from legato.cli.follow import wait_for
    from legato.cli.times import parse_duration
    from legato.core.errors import UsageError

    if timeout and not (watch or wait):
        raise UsageError("--timeout says how long to wait", hint="add --wait or --watch")
    timeout_s = parse_duration(timeout).total_seconds() if timeout else None
    deployment = find_deployment(session, name)
    made = create_run(session, deployment, parameters, tags=tags, name=run_name, at=at)
    say_who_takes(session, [deployment])
    return wait_for(session, made, timeout_s=timeout_s, watch=watch) if watch or wait else 0


@command.command(
    "preview", examples=["legato deployment preview train/prod", "legato deployment preview train/prod --count 30 -o csv"], exits=(3, 6)
)
@click.argument("name", shell_complete=deployment_names)
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.pass_obj
def preview(session: Session, name: str, count: int) -> None:
    """Print when its schedules fire next, with a note where the clocks change."""
    from legato.cli.finding import find_deployment
    from legato.cli.schedule import print_fires

    deployment = find_deployment(session, name)
    if deployment.paused:
        session.hint(
            f"'{deployment.full_name}' is paused: none of this happens until legato deployment resume {typed(deployment.full_name)}"
        )
    active = [one.schedule for one in deployment.schedules if one.active]
    what = "Its schedules are over" if active else "Its schedules are switched off" if deployment.schedules else "It has no schedule"
    print_fires(session, active, count, empty=f"{what}: it runs when somebody says so, legato deployment run {typed(deployment.full_name)}")


@command.command("pause", examples=["legato deployment pause train/prod"], exits=(3, 6))
@click.argument("name", shell_complete=deployment_names)
@click.pass_obj
def pause(session: Session, name: str) -> None:
    """Stop its schedules. Runs planned for later are removed; those that are due already are still handed out, and running ones go on."""
    from legato.cli.finding import find_deployment
    from legato.cli.output import changed
    from legato.core.records import FlowRunFilter
    from legato.core.states import SCHEDULED

    deployment = session.store.set_deployment_paused(find_deployment(session, name).id, True)
    changed(session, deployment, f"{deployment.full_name} is paused", name=deployment.full_name)
    due = FlowRunFilter(deployment_id=deployment.id, states=(SCHEDULED,), start_before=session.now())
    if session.store.list_flow_runs(due, limit=1).items:
        session.hint(
            "Runs of it that are due already still wait for an agent. Cancel them: legato run cancel --filter "
            + typed(f"state:scheduled deployment:{deployment.full_name}")
        )


@command.command("resume", examples=["legato deployment resume train/prod"], exits=(3, 6))
@click.argument("name", shell_complete=deployment_names)
@click.pass_obj
def resume(session: Session, name: str) -> None:
    """Go on with its schedules, from now on."""
    from legato.cli.finding import find_deployment
    from legato.cli.output import changed

    deployment = session.store.set_deployment_paused(find_deployment(session, name).id, False)
    changed(session, deployment, f"{deployment.full_name} goes on", name=deployment.full_name)


@command.command("rm", examples=["legato deployment rm train/old --yes"], exits=(3, 6))
@click.argument("name", shell_complete=deployment_names)
@click.pass_obj
def rm(session: Session, name: str) -> None:
    """Remove a deployment and its schedules, and cancel its runs that wait. Runs that ended stay."""
    from legato.cli.finding import find_deployment
    from legato.cli.output import changed

    deployment = find_deployment(session, name)
    session.confirm(f"Remove deployment '{deployment.full_name}' and cancel its runs that wait?")
    cancelled = session.store.delete_deployment(deployment.id)
    said = f"; {cancelled} waiting run{'s' if cancelled != 1 else ''} cancelled" if cancelled else ""
    changed(session, deployment, f"{deployment.full_name} was removed{said}", name=deployment.full_name)


# ---------------------------------------------------------------------- what stands behind `legato deployment cr


def create_from_file(session: Session, file: str, *, dry_run: bool) -> None:
    """Save the deployments that a file declares, or only check them, and say what can be done with them."""
    from legato.cli.output import Column, show_list
    from legato.cli.server import running_server
    from legato.core.schedules import describe
    from legato.sdk.deployments import deployments_in, prepare, save, try_loading
    from legato.sdk.entry import storage_of
    from legato.storage.bundles import words_about

    path = path_typed(file)
    declared = deployments_in(path)
    prepared = prepare(declared, root=path.absolute().parent, clock=session.clock)
    for line in words_about(prepared.left_out):
        session.hint(line)
    try_loading(prepared)
    saved = [record for _, record in prepared.ready] if dry_run else save(prepared, session.store, storage_of(session.settings))
    columns = [
        Column("NAME", lambda one: one.full_name),
        Column("SCHEDULES", lambda one: [describe(each.schedule) for each in one.schedules], yields=1),
        Column("TAGS", lambda one: one.tags, yields=2),
        Column("ENTRYPOINT", lambda one: one.entrypoint, yields=3),
        Column("ID", lambda one: one.id, wide=True),
    ]
    show_list(session, saved, columns, name=lambda one: one.full_name, empty="")
    _say_what_schedules_lack(session, saved)
    if dry_run:
        session.hint("Nothing was saved. Do it: the same without --dry-run")
        return
    session.hint(f"Run it: legato deployment run {typed(saved[0].full_name)}")
    if any(one.schedules for one in saved) and not session.settings.api_url and running_server(session.settings.home) is None:
        session.hint("Schedules are planned by a server, and none is running. Start one: legato server start")
    say_who_takes(session, saved)


def _say_what_schedules_lack(session: Session, saved: Sequence[Deployment]) -> None:
    """A run by hand may be given what the deployment leaves open; a schedule gives nothing."""
    for one in saved:
        lacks = [name for name in one.parameter_schema.get("required", ()) if name not in one.parameters]
        if one.schedules and lacks:
            given = ", ".join(f"{name!r}: …" for name in lacks)
            session.hint(
                f"{one.full_name}: the runs of its schedules will fail, for its flow needs a value for {', '.join(lacks)}. "
                f"Give the deployment parameters={{{given}}}, or the flow a default"
            )


def create_run(
    session: Session,
    deployment: Deployment,
    parameters: Sequence[str],
    *,
    tags: tuple[str, ...] = (),
    name: str = "",
    at: str | None = None,
) -> FlowRun:
    """Make a run of a deployment that is due now, or at `at`, and print it."""
    from legato.cli.output import show_one
    from legato.cli.parameters import for_schema
    from legato.cli.times import iso, parse_instant
    from legato.core.planning import run_of
    from legato.system import new_id

    given = for_schema(parameters, deployment.parameter_schema, f"flow '{deployment.flow_name}'", preset=deployment.parameters)
    now = session.now()
    due_at = parse_instant(at, now) if at else now
    run = run_of(deployment, id=new_id(), due_at=due_at, now=now, trigger="command line", name=name, parameters=given, tags=tags)
    made = session.store.create_flow_run(run)
    facts = [("ID", made.id), ("Name", made.name), ("Due", made.due_at), ("Parameters", made.parameters)]
    show_one(session, made, facts, name=made.id)
    session.hint(f"Watch it: legato run watch {typed(made.name)}" + (f"   (due {iso(due_at)})" if at else ""))
    return made


def queues_that_take(session: Session, deployment: Deployment) -> list[QueueStatus]:
    """The work queues that runs of this deployment match."""
    from legato.core.planning import run_of
    from legato.core.queues import matches
    from legato.system import new_id

    now = session.now()
    run = run_of(deployment, id=new_id(), due_at=now, now=now, trigger="")
    return [status for status in session.store.list_queues() if matches(status.queue.filter, run)]


def say_who_takes(session: Session, deployments: Sequence[Deployment]) -> None:
    """One line when no live agent would take runs of one of these deployments, with the command that mends it."""
    from legato.core.queues import in_words

    if session.quiet or session.wants_json:
        return
    for deployment in deployments:
        queues = queues_that_take(session, deployment)
        if any(status.agents and not status.queue.paused for status in queues):
            continue
        paused = [status.queue for status in queues if status.agents and status.queue.paused]
        if paused:
            session.hint(
                f"Nothing will run it yet: queue '{paused[0].name}' is paused. Go on: legato work-queue resume {typed(paused[0].name)}"
            )
        elif queues:
            takes = in_words(queues[0].queue.filter)
            session.hint(f"Nothing will run it yet. Start an agent: legato agent start {typed(queues[0].queue.name)}   (it takes {takes})")
        else:
            session.hint("Nothing will run it yet: no work queue takes it. Start an agent: legato agent start default --create")
        return
