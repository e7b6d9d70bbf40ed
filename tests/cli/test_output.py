"""How records are printed: for people, for pipes, for programs."""

import contextlib
import csv
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta

import pytest

from legato.cli.output import Column, StateWord, fitting, plain, table
from legato.cli.session import Session
from legato.cli.times import parse_duration, parse_instant, relative, spoken
from legato.core.errors import UsageError
from legato.core.states import FAILED
from legato.store.port import Store

from tests.cli.conftest import Command, add_run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_columns_that_do_not_fit_are_left_out_least_important_first() -> None:
    columns = [Column("ID", str), Column("NAME", str), Column("TAGS", str, yields=2), Column("FLOW", str, yields=1)]

    assert fitting(columns, [10, 10, 10, 10], 100) == [0, 1, 2, 3]
    assert fitting(columns, [10, 10, 10, 10], 40) == [0, 1, 3]
    assert fitting(columns, [10, 10, 10, 10], 25) == [0, 1]


def test_ids_and_names_stay_whole_however_narrow_the_terminal() -> None:
    columns = [Column("ID", lambda r: r[0]), Column("NAME", lambda r: r[1], yields=1)]

    lines, hidden = table([("0192c3a8-12f4", "amber-heron")], columns, Session(), width=5, now=NOON)

    assert lines[1] == "0192c3a8-12f4"
    assert hidden == 1


def test_states_are_coloured_and_always_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")

    lines, _ = table([StateWord("Failed", "failed")], [Column("STATE", lambda one: one)], Session(), width=80, now=NOON)

    assert lines[1] == "\x1b[38;5;160mFailed\x1b[0m"


def test_pipes_get_whole_values_on_one_line() -> None:
    assert plain(NOON) == "2026-01-01T12:00:00Z"
    assert plain(timedelta(seconds=90)) == "90"
    assert plain(("a", "b")) == "a,b"
    assert plain("two\nlines\tand a tab") == "two lines and a tab"
    assert plain(None) == ""


def test_times_are_read_and_said_as_people_do() -> None:
    assert parse_duration("1h30m") == timedelta(minutes=90)
    assert parse_duration("90") == timedelta(seconds=90)
    assert parse_instant("in 10m", NOON) == NOON + timedelta(minutes=10)
    assert parse_instant("2026-03-01T08:00+01:00", NOON) == datetime(2026, 3, 1, 7, tzinfo=UTC)
    for text, days, hour, minute in [
        ("tomorrow 8:00", 1, 8, 0),
        ("Yesterday", -1, 0, 0),
        ("today at 23:59", 0, 23, 59),
        ("tomorrow 7", 1, 7, 0),
    ]:
        there = parse_instant(text, NOON).astimezone()
        assert (there.date() - NOON.astimezone().date()).days == days
        assert (there.hour, there.minute) == (hour, minute)
    for nonsense in ("tomorow", "tomorrow 24:00", "today 8:60", "yesterday noonish"):
        with pytest.raises(UsageError, match="is no time"):
            parse_instant(nonsense, NOON)
    assert relative(NOON - timedelta(minutes=3), NOON) == "3m ago"
    assert relative(NOON + timedelta(hours=2), NOON) == "in 2h"
    assert spoken(185) == "3m 5s"
    for nonsense in ("soon", "1x", "", "5m later"):
        with pytest.raises(UsageError):
            parse_duration(nonsense)


def test_json_is_the_records_own_and_a_pipe_gets_tabs(legato: Command, store: Store) -> None:
    run = add_run(store, "amber-heron", tags=("prod", "ml"))

    [record] = json.loads(legato("run", "ls", "-o", "json").out)
    header, line = legato("run", "ls").out.splitlines()

    assert record["id"] == run.id
    assert record["state"]["type"] == "completed"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", record["created_at"])
    assert "cancel_requested_at" not in record  # equal to its default, as in the API
    assert header.split("\t")[:4] == ["ID", "NAME", "FLOW", "STATE"]
    assert line.split("\t")[:4] == [run.id, "amber-heron", "etl", "Completed"]


def test_other_forms_of_a_list(legato: Command, store: Store) -> None:
    runs = [add_run(store, "amber-heron"), add_run(store, "brave-otter", ended=FAILED)]

    assert legato("run", "ls", "-o", "name").out.split() == [runs[1].id, runs[0].id]
    assert [json.loads(line)["name"] for line in legato("-o", "jsonl", "run", "ls").out.splitlines()] == ["brave-otter", "amber-heron"]
    rows = list(csv.DictReader(legato("run", "ls", "-o", "csv").out.splitlines()))
    assert [row["state"] for row in rows] == ["Failed", "Completed"]
    assert json.loads(legato("run", "ls", "--json", "name,state.name,tags", "--limit", "1").out) == [
        {"name": "brave-otter", "state.name": "Failed", "tags": []}
    ]


def test_an_unknown_field_is_refused_with_those_there_are(legato: Command, store: Store) -> None:
    add_run(store, "amber-heron")

    answer = legato("run", "ls", "--json", "nmae")

    assert answer.code == 2
    assert "name" in json.loads(answer.err)["hint"]


def on_terminal(columns: int, *arguments: str) -> str:
    """What a command prints on a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS")}
    command = [sys.executable, "-m", "legato.cli", *arguments]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env={**environ, "TERM": "xterm"}):
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
            while part := os.read(master, 4096):
                said += part
        os.close(master)
    return said.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_relative_times_and_is_told_of_hidden_columns(store: Store) -> None:
    run = add_run(store, "amber-heron", ended=FAILED, tags=("prod",))

    narrow, broad = on_terminal(60, "run", "ls"), on_terminal(200, "run", "ls")

    assert run.id in narrow
    assert "amber-heron" in narrow
    assert "columns hidden; -o wide" in narrow
    assert "\x1b[38;5;160mFailed" in broad
    assert "ago" in broad or "now" in broad
    assert "hidden" not in broad
    assert "\x1b" not in on_terminal(200, "run", "ls", "--no-color")
