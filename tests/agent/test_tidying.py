"""An agent that begins tidies up after those that are gone, and leaves alone what somebody uses: several may share a home."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from legato.agent.agent import Agent
from legato.core.states import COMPLETED
from legato.in_use import is_in_use, mark_in_use
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore
from legato.system import new_id

from tests.store.make import apply, claimed, move

USES = """
import os, sys
from legato.in_use import mark_in_use
descriptor = os.open(sys.argv[1], os.O_RDONLY)
mark_in_use(descriptor)
if os.fork() == 0:
    os.close(0)
    print("uses it", flush=True)
    os.read(int(sys.argv[2]), 1)
    os._exit(0)
os._exit(0)
"""


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = open_sql_store("sqlite://")
    yield opened
    opened.close()


def run_that_is(store: SqlStore, what: str) -> str:
    """The id of a run that goes on here, has ended here, or is another store's."""
    if what == "another store's":
        return new_id()
    run = claimed(store)
    if what == "over":
        apply(store, move(run, COMPLETED, 1), 1)
    return run.id


@pytest.mark.parametrize(
    ("kind", "what", "used"), list(product(["folder", "output"], ["over", "going on", "another store's"], [True, False]))
)
def test_what_is_tidied_away_is_neither_used_nor_of_a_run_that_goes_on(
    store: SqlStore, tmp_path: Path, kind: str, what: str, used: bool
) -> None:
    id_ = run_that_is(store, what)
    path = tmp_path / "runs" / f"{id_}-1-1" if kind == "folder" else tmp_path / "output" / f"{id_}-1.log"
    path.parent.mkdir()
    path.mkdir() if kind == "folder" else path.write_text("printed")
    descriptor = os.open(path, os.O_RDONLY)
    if used:
        mark_in_use(descriptor)

    Agent(store, queues=["main"], home=tmp_path, environ={})._clean_up()

    assert path.exists() is (used or what == "going on")
    os.close(descriptor)


def test_a_folder_is_in_use_as_long_as_any_process_that_was_given_it_lives(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    command = [sys.executable, "-c", USES, str(tmp_path), str(ours)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[ours]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "uses it\n"
        assert is_in_use(tmp_path)
        os.close(theirs)
        process.stdout.read()

    assert not is_in_use(tmp_path)
    os.close(ours)


def test_what_is_not_there_is_not_in_use(tmp_path: Path) -> None:
    assert not is_in_use(tmp_path / "gone")
    assert not is_in_use(tmp_path)
