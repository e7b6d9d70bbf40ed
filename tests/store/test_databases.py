"""What is particular to each database: opening, migrating, sharing, refusing."""

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from legato.core.errors import Corrupt, Unavailable, UsageError
from legato.core.states import CANCELLED
from legato.store.migrate import LATEST
from legato.store.open import open_sql_store, open_store

from tests.store.make import at, begin, scheduled


def _open_and_write(url: str, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    store = open_sql_store(url)
    begin(store)
    store.close()


def test_eight_processes_may_open_one_fresh_file_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8)
    url = f"sqlite:///{tmp_path}/new/legato.db"
    processes = [context.Process(target=_open_and_write, args=(url, barrier)) for _ in range(8)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(60)

    assert [each.exitcode for each in processes] == [0] * 8
    store = open_sql_store(url)
    assert store.journal_position() == 8
    store.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/legato.db"
    open_sql_store(url).close()
    with sqlite3.connect(tmp_path / "legato.db") as connection:
        connection.execute(f"pragma user_version = {LATEST + 1}")
    connection.close()

    with pytest.raises(UsageError, match=f"schema version {LATEST + 1}.*\nupgrade Legato"):
        open_sql_store(url)


@pytest.mark.postgres
def test_a_newer_schema_is_refused_on_postgresql_too(postgres_url: str) -> None:
    import psycopg

    open_sql_store(postgres_url).close()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("insert into legato_schema (version) values (%s)", [LATEST + 1])

    with pytest.raises(UsageError, match="upgrade Legato"):
        open_sql_store(postgres_url)


def test_a_file_that_is_no_database_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "legato.db").write_bytes(b"hello, I am a text file, long enough to be taken for a header" * 20)

    with pytest.raises(Corrupt, match="not a database"):
        open_sql_store(f"sqlite:///{tmp_path}/legato.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises((Unavailable, PermissionError)):
        open_sql_store(f"sqlite:///{tmp_path}/legato.db")


def test_a_home_that_is_no_folder_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(Unavailable, match=r"the folder .*/home cannot be used: File exists\n.*LEGATO_HOME"):
        open_sql_store(f"sqlite:///{tmp_path}/home/legato.db")


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="no database URL"):
        open_store("mysql://x")


def test_another_connections_commit_is_noticed_and_ones_own_is_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/legato.db"
    mine, other = open_sql_store(url), open_sql_store(url)
    mine.foreign_changes()

    begin(mine)
    assert not mine.foreign_changes()
    begin(other)
    assert mine.foreign_changes()
    assert not mine.foreign_changes()
    mine.close()
    other.close()


def test_a_server_syncs_each_commit_and_an_embedded_process_does_not(tmp_path: Path) -> None:
    for durable, level in ((True, 2), (False, 1)):
        store = open_sql_store(f"sqlite:///{tmp_path}/legato.db", durable=durable)
        with store._database.write() as session:
            row = session.row("pragma synchronous")
        assert row is not None
        assert row[0] == level
        store.close()


def test_verbs_called_together_share_a_commit_and_fail_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/legato.db"
    store, other = open_sql_store(url), open_sql_store(url)

    run, bad = scheduled(), scheduled(tags=(object(),))
    with store.together():
        store.create_flow_run(run, now=at(0))
        with pytest.raises(Exception, match="object"):
            store.create_flow_run(bad, now=at(0))
        store.request_cancel(run.id, now=at(1))
        assert other.list_flow_runs().items == []

    assert [each.state.type for each in other.list_flow_runs().items] == [CANCELLED]
    store.close()
    other.close()


def test_a_forked_child_opens_its_own_connections(tmp_path: Path) -> None:
    store = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    begin(store)
    pid = os.fork()
    if pid == 0:
        try:
            begin(store)
            os._exit(0 if len(store.list_flow_runs().items) == 2 else 3)
        except BaseException:  # noqa: BLE001 a forked child must not go on as a second pytest
            os._exit(4)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    begin(store)
    assert len(store.list_flow_runs().items) == 3
    store.close()


def test_opening_an_embedded_store_loads_no_client_and_no_other_driver() -> None:
    program = (
        "import sys; from legato.store.open import open_store; open_store('sqlite://').close();"
        "print([m for m in ('urllib3', 'psycopg', 'asyncio', 'litestar') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
