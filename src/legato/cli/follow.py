"""Following a run until it ends: one line for each change of state, or each line of its log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from legato.cli.failures import TIMED_OUT, Failure, exit_code_of_fate
from legato.cli.output import STATE_COLOURS, StateWord, paint, show_json, to_plain
from legato.cli.session import harmless
from legato.cli.times import iso
from legato.core.names import typed

if TYPE_CHECKING:
    from legato.cli.session import Session
    from legato.core.records import FlowRun, JournalEntry, LogLine

LOOK_EVERY_S = 0.25
"""How often the store is asked for news. A person sees a quarter of a second as "at once"."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def wait_for(session: Session, run: FlowRun, *, timeout_s: float | None = None, watch: bool = False) -> int:
    """Wait until the run has ended, printing its changes of state with `watch`; returns the exit code that tells its fate."""
    store, deadline = session.store, _deadline(session, timeout_s)
    names = {run.id: run.name}
    seen: list[JournalEntry] = []
    whole = watch and session.output == "json"
    tell = seen.append if whole else lambda entry: _print_entry(session, entry, run, names)
    position = store.journal_position() if watch else 0
    told = set()
    for entry in store.list_transitions(run.id) if watch else ():
        tell(entry)
        told.add(entry.pos)  # what happened since the position was asked for is among the news, too
    while True:
        run = store.get_flow_run(run.id)
        if watch:
            until = store.journal_position()  # asked for after the run: its end stands before it
            for entry in _news(session, position, until):
                if entry.flow_run_id == run.id and entry.pos not in told:
                    tell(entry)
            position = until
        if run.state.is_final:
            if whole:
                show_json(session, [to_plain(entry) for entry in seen])
            return exit_code_of_fate(run.state.type)
        _pause(session, deadline, run)


def _news(session: Session, position: int, until: int) -> Iterator[JournalEntry]:
    """What was recorded after the one position, up to the other: on a busy server something follows always."""
    while position < until and (entries := session.store.read_journal(position)):
        yield from (entry for entry in entries if entry.pos <= until)
        position = entries[-1].pos


def _print_entry(session: Session, entry: JournalEntry, run: FlowRun, names: dict[str, str]) -> None:
    if session.wants_json:
        print(json.dumps(to_plain(entry), ensure_ascii=False), flush=True)
        return
    if entry.run_id not in names:
        names[entry.run_id] = session.store.get_task_run(entry.run_id).name
    who = f"{run.name}" if entry.run_id == run.id else f"{run.name}/{names[entry.run_id]}"
    word = StateWord(entry.state.name, entry.state.type)
    name = paint(word.name.ljust(13), STATE_COLOURS.get(word.type, ""), session)
    print(f"{stamp(session, entry.state.at)}  {name}  {who}  {harmless(entry.state.message)}".rstrip(), flush=True)


def stamp(session: Session, at: datetime) -> str:
    """The time of a line: this machine's clock for a person, ISO 8601 for a pipe."""
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3] if session.is_terminal else iso(at)


def print_logs(session: Session, run: FlowRun, *, level: str, task_run_id: str | None, follow: bool, text: str) -> None:
    """Print a run's log; with `follow`, until the run has ended."""
    store, after, ended = session.store, 0, False
    whole: list[LogLine] | None = [] if session.output == "json" and not follow else None
    while True:
        lines = store.read_logs(run.id, task_run_id=task_run_id, min_level=LEVELS[level], text=text, after=after)
        for line in lines:
            after = line.n
            if whole is None:
                _print_line(session, line)
            else:
                whole.append(line)
        if lines:
            continue
        if ended or not follow:
            if whole is not None:
                show_json(session, [to_plain(line) for line in whole])
            return
        ended = store.get_flow_run(run.id).state.is_final
        if not ended:
            session.clock.sleep(LOOK_EVERY_S)


def _print_line(session: Session, line: LogLine) -> None:
    if session.wants_json:
        print(json.dumps(to_plain(line), ensure_ascii=False), flush=True)
        return
    message = harmless(line.message) if session.is_terminal else line.message
    level = next((name for name, number in reversed(LEVELS.items()) if line.level >= number), "debug").upper()
    colour = STATE_COLOURS["failed"] if line.level >= 40 else STATE_COLOURS["paused"] if line.level >= 30 else ""
    print(paint(f"{stamp(session, line.at)}  {level:<8}  {message}", colour, session), flush=True)


def _deadline(session: Session, timeout_s: float | None) -> datetime | None:
    return None if timeout_s is None else session.now() + timedelta(seconds=timeout_s)


def _pause(session: Session, deadline: datetime | None, run: FlowRun) -> None:
    if deadline is not None and session.now() >= deadline:
        raise Failure(
            f"run '{run.name}' is still {run.display_state}",
            exit_code=TIMED_OUT,
            hint="it goes on without being watched",
            next_step=f"Look again: legato run watch {typed(run.id)}",
            code="timed_out",
        )
    session.clock.sleep(LOOK_EVERY_S)
