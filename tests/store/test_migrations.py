"""An old database becomes a new one with its data, whatever happens on the way."""

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from legato.core.ownership import is_held
from legato.core.records import Beat, FlowRunFilter
from legato.core.states import PAUSED, PENDING, RUNNING, SCHEDULED, StateType
from legato.store import sqlite_schema
from legato.store.migrate import LATEST, migrations
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore
from legato.store.sqlite_schema import file_lock

from tests.store.make import add_queue, at, claim

OLD = (Path(__file__).parent / "data" / "version_4.sql").read_text()
"""The rows of a database that the release before version 5 made, with runs in every state."""


def old_schema(kind: str) -> list[str]:
    return [script for number, script in migrations(kind, after=0) if number <= 4]


def make_old(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        for script in old_schema("sqlite"):
            connection.executescript(script)
        connection.executescript(OLD)
        connection.execute("pragma user_version = 4")
    connection.close()


def check_migrated(store: SqlStore) -> None:
    """Everything is here, and goes on as it stood."""
    runs = {run.name: run for run in store.list_flow_runs(limit=1000).items}
    assert len(runs) == 36
    states = store.count_flow_runs()
    assert set(states) == set(StateType)
    for run in runs.values():
        assert is_held(run.epoch) == (run.state.type in (PENDING, RUNNING) or run.state.is_final), (run.name, run.state, run.epoch)
        if run.state.type in (SCHEDULED, PAUSED):
            assert not is_held(run.epoch)
    held = runs["held-running"]
    assert store.heartbeat([Beat(held.id, held.epoch)], lease_s=30, now=at(5))[0].alive
    assert store.report_lost(held.id, held.epoch, "gone", now=at(6)).state.name == "Crashed"
    assert store.report_lost(held.id, held.epoch, "gone", now=at(7)).lost == 1
    assert [run.name for run in store.list_flow_runs(FlowRunFilter(tags=("prod",), text="done")).items] == ["done"]
    assert len(store.list_schedules()) == len(store.due_schedules(now=at(0))) == 1
    assert store.get_queue("main", now=at(0)).running == 1
    assert (store.get_variable("limit").value, store.get_artifact("report").data) == (3, "# hi")
    assert [line.message for line in store.read_logs(runs["embedded"].id)] == ["hello"]
    assert [entry.seq for entry in store.list_transitions(runs["done"].id)] == [1, 2, 3, 4]
    add_queue(store, "all")
    assert {one.flow_run.name for one in claim(store, "all", limit=10, seconds=900)} >= {"again", "waiting"}


def test_an_old_database_is_migrated_with_its_data(tmp_path: Path) -> None:
    make_old(tmp_path / "legato.db")

    store = open_sql_store(f"sqlite:///{tmp_path}/legato.db")

    check_migrated(store)
    with store._database.read() as session:
        assert session.rows("pragma foreign_key_check") == []
        assert session.row("pragma integrity_check") == ("ok",)
    store.close()


@pytest.mark.postgres
def test_an_old_database_is_migrated_with_its_data_on_postgresql(postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url) as connection:
        for script in old_schema("postgres"):
            connection.execute(script.encode(), prepare=False)
        connection.execute(OLD.encode(), prepare=False)
        for table in ("flow_run", "flow", "tag", "task_run", "log", "artifact"):
            connection.execute(f"select setval(pg_get_serial_sequence('{table}', 'n'), (select max(n) from {table}))".encode())
        connection.execute("create table legato_schema (version bigint not null)")
        connection.execute("insert into legato_schema (version) values (4)")

    store = open_sql_store(postgres_url)

    check_migrated(store)
    store.close()


def migrate_in_a_child(path: Path, killed_at: int) -> tuple[int, int]:
    """How a process ended that migrated, and how many statements it has seen; it kills itself at the one named (0: at none)."""
    seen, told = 0, os.memfd_create("seen")
    child = os.fork()
    if child == 0:

        def count(_: str) -> None:
            nonlocal seen
            seen += 1
            if seen == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            connection = sqlite3.connect(path, isolation_level=None)
            connection.set_trace_callback(count)
            sqlite_schema.migrate(connection, path)
            os.write(told, str(seen).encode())
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, int(os.pread(told, 20, 0) or 0)


def test_a_migration_killed_at_any_statement_is_done_by_the_next_start(tmp_path: Path) -> None:
    """One file for all kills: each time it is still the old one, whole, or the new one."""
    path = tmp_path / "legato.db"
    make_old(path)
    version, step, kills = 4, 1, 0
    while (ended := migrate_in_a_child(path, step)[0]) != 0:
        assert ended == -signal.SIGKILL, step
        kills += 1
        with sqlite3.connect(path) as connection:
            reached = connection.execute("pragma user_version").fetchone()[0]
            assert connection.execute("pragma quick_check").fetchone() == ("ok",)
        connection.close()
        assert version <= reached <= LATEST
        step = 1 if reached > version else step + (1 if os.environ.get("LEGATO_LONG_TESTS") else 3)  # each migration from its start
        version = reached
    assert kills > 10 * (LATEST - 4)

    store = open_sql_store(f"sqlite:///{path}")
    check_migrated(store)
    store.close()


def test_a_new_database_is_what_the_migrations_make() -> None:
    """It is made from one script, which is written down by `python tools/schema.py` after a migration was added."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(sqlite_schema.schema())

    found = connection.execute("select sql from sqlite_master where sql is not null order by rowid").fetchall()
    connection.close()
    assert [sql for (sql,) in found] == sqlite_schema.schema_of_migrations()


def test_a_lock_that_a_killed_start_left_behind_holds_up_nobody(tmp_path: Path) -> None:
    (tmp_path / "legato.db-migrate").write_text("")

    store = open_sql_store(f"sqlite:///{tmp_path}/legato.db")

    assert store.info()["schema_version"] == str(LATEST)
    with file_lock(tmp_path / "legato.db"):
        pass
    store.close()
