"""Several runs at once: what `legato run cancel` and `rm` do, and `gc`, which removes the stored bytes that nothing refers to any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from legato.cli.failures import MISUSED, Failure
from legato.cli.filters import run_filter
from legato.cli.finding import find_run
from legato.cli.output import show_json, show_list
from legato.core.errors import Conflict, UsageError

if TYPE_CHECKING:
    from legato.cli.session import Session
    from legato.core.records import FlowRun


def cancel(session: Session, runs: tuple[str, ...], text: str) -> None:
    """Ask runs to stop: those named, or all that match and have not ended."""
    chosen = _chosen(session, runs, text, ended=False, question="Cancel {n} run{s}?")
    done = []
    for run in chosen:
        if run.state.is_final:
            raise Conflict(f"run '{run.name}' is {run.state.name} already", hint="it has ended; there is nothing to cancel")
        try:
            done.append(session.store.request_cancel(run.id))
        except Conflict:
            if runs:
                raise
            continue  # it ended while others were cancelled
        _tell(session, len(done), len(chosen), f"{run.name} {'is cancelled' if done[-1].state.is_final else 'was asked to stop'}")
    _told(session, done)


def remove(session: Session, runs: tuple[str, ...], text: str) -> None:
    """Remove ended runs, those named or all that match, and give their disk back."""
    chosen = _chosen(session, runs, text, ended=True, question="Remove {n} run{s} for good?")
    if runs:
        session.confirm(f"Remove {', '.join(run.name for run in chosen[:5])}{' and more' if len(chosen) > 5 else ''} for good?")
    for n, run in enumerate(chosen, 1):
        session.store.delete_flow_run(run.id)
        _tell(session, n, len(chosen), f"{run.name} was removed")
    _told(session, chosen)
    if chosen and not session.settings.api_url:
        _give_back(session)


MANY = 20


def _tell(session: Session, n: int, of: int, sentence: str) -> None:
    """A line for each run; of many, one for each hundred."""
    if session.wants_json:
        return
    if of <= MANY:
        session.say(sentence)
    elif n == of or n % 100 == 0:
        session.say(f"{n} of {of} runs")


def _told(session: Session, runs: list[FlowRun]) -> None:
    """The runs as they are now, for programs."""
    if session.wants_json:
        show_list(session, runs, [], name=lambda run: run.id, empty="")


def _chosen(session: Session, runs: tuple[str, ...], text: str, *, ended: bool, question: str) -> list[FlowRun]:
    """The runs that are meant: those named, or those of the filter after asking."""
    if bool(runs) == bool(text):
        raise UsageError("say which runs: by id or name, or by --filter", hint="legato run ls lists them")
    if runs:
        return [find_run(session, run) for run in runs]
    wanted = run_filter(session, text=text)
    page = session.store.list_flow_runs(wanted, limit=1000)
    items = list(page.items)
    while page.cursor is not None:
        page = session.store.list_flow_runs(wanted, limit=1000, cursor=page.cursor)
        items += page.items
    chosen = [run for run in items if run.state.is_final == ended]
    if chosen:
        session.confirm(question.format(n=len(chosen), s="" if len(chosen) == 1 else "s"))
    else:
        session.hint("No run matches; nothing was done.")
    return chosen


# ---------------------------------------------------------------------- the disk they took


def collect(session: Session, *, dry_run: bool, older_than: timedelta) -> None:
    """Remove what nothing in the database names and is older than that, after asking."""
    if session.settings.api_url:
        raise Failure(
            "the results of a server's runs lie with the server",
            exit_code=MISUSED,
            hint="run this on its machine, with LEGATO_API_URL= and its LEGATO_HOME",
            code="usage",
        )
    from legato.store.disk import compact, forget_expired, referenced_keys  # start-up time: `cancel` needs no database of its own
    from legato.store.sql import SqlStore

    store = session.store
    assert isinstance(store, SqlStore), "without a server the store is the database itself"
    before = session.now() - older_than
    storage = session.settings.home / "storage"
    old = [file for file in storage.glob("??/*") if file.is_file() and _written(file) < before]
    named = referenced_keys(store)  # after the files were listed: what is named in the meantime is not among them, or is named now
    unused = [file for file in old if file.name.partition(".")[0] not in named or "." in file.name]
    size = sum(file.stat().st_size for file in unused)
    if unused and not dry_run:
        session.confirm(f"Remove {len(unused)} stored files ({size / 1e6:.1f} MB) that nothing refers to?")
    if not dry_run:
        forget_expired(store)
        for file in unused:
            file.unlink(missing_ok=True)
    freed = 0 if dry_run else compact(store)
    if session.wants_json:
        show_json(session, {"files": len(unused), "bytes": size, "database_bytes": freed, "removed": not dry_run})
    else:
        would = "would be removed" if dry_run else "removed"
        session.say(
            f"{len(unused)} stored files ({size / 1e6:.1f} MB) {would}"
            + (f"; the database is {freed / 1e6:.1f} MB smaller" if freed else "")
        )


def _give_back(session: Session) -> None:
    """After runs were removed: the disk they took in the database."""
    from legato.store.disk import compact
    from legato.store.sql import SqlStore

    if isinstance(session.store, SqlStore):
        freed = compact(session.store)
        if freed:
            session.hint(f"The database is {freed / 1e6:.1f} MB smaller. Their stored results: legato run gc")


def _written(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
