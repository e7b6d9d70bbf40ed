"""What is particular to each database: opening, migrating, sharing, refusing."""

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from legato.core.errors import Conflict, Corrupt, Unavailable, UsageError
from legato.core.states import CANCELLED, COMPLETED
from legato.store.migrate import LATEST
from legato.store.open import open_sql_store, open_store

from tests.store.make import apply, at, begin, move, scheduled


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

    open_sql_store(postgres_url).close()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("insert into legato_schema (version) values (%s)", [LATEST + 1])

    with pytest.raises(UsageError, match="upgrade Legato"):
        open_sql_store(postgres_url)


def test_a_file_that_is_no_database_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "legato.db").write_bytes(b"hello, I am a text file, long enough to be taken for a header" * 20)

    with pytest.raises(Corrupt, match="not a database"):
        open_sql_store(f"sqlite:///{tmp_path}/legato.db")


@pytest.mark.parametrize("version", [0, 1, LATEST, LATEST + 1])
@pytest.mark.parametrize("made", ["create table flow (x)", "create table users (x)", "create view v as select 1"])
def test_the_database_of_another_program_is_told_so_and_left_alone(made: str, version: int, tmp_path: Path) -> None:
    file = tmp_path / "legato.db"
    connection = sqlite3.connect(file)
    connection.executescript(f"{made}; pragma user_version = {version}")
    connection.close()
    before = file.read_bytes()

    with pytest.raises(UsageError, match=r"legato.db is the database of another program\npoint LEGATO_DATABASE_URL"):
        open_sql_store(f"sqlite:///{file}")

    assert file.read_bytes() == before


def test_a_file_that_only_its_copier_has_written_into_is_as_good_as_new(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "legato.db") as connection:
        connection.execute("create table _litestream_seq (id integer primary key, seq integer)")
    connection.close()

    store = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    begin(store)
    store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("made", ["create table flow (x int)", "create table variable (x int)", "create index flow_run_due on other (x)"])
def test_a_postgresql_with_another_programs_tables_is_told_so_and_left_alone(made: str, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create table other (x int)")
        connection.execute(made)  # type: ignore[arg-type]

        with pytest.raises(
            UsageError, match=r"the database holds what another program has made: .* already exists\ngive Legato a database"
        ):
            open_sql_store(postgres_url)

        tables = connection.execute("select count(*) from information_schema.tables where table_schema = 'public'").fetchone()
    assert tables in ((1,), (2,))


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


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_process_whose_database_a_newer_one_has_migrated_is_told_to_wait_and_loses_nothing(
    database_url: Callable[[str], str], kind: str
) -> None:
    """The outbox keeps what it could not send while a store is `Unavailable`; a raw error of the driver would be taken for the report's fault."""
    store, newer = open_sql_store(database_url(kind)), open_sql_store(database_url(kind))
    run = begin(store)
    with newer._database.write() as session:
        session.run("alter table flow_run rename column epoch to something_newer")
        session.run(
            f"pragma user_version = {LATEST + 1}" if kind == "sqlite" else f"insert into legato_schema (version) values ({LATEST + 1})"
        )

    for ask in (lambda: store.get_flow_run(run.id), store.list_flow_runs, lambda: apply(store, move(run, COMPLETED, 1), 1)):
        with pytest.raises(Unavailable, match=f"newer Legato.*{LATEST + 1}"):
            ask()

    with newer._database.write() as session:
        session.run("alter table flow_run rename column something_newer to epoch")
        session.run(f"pragma user_version = {LATEST}" if kind == "sqlite" else f"delete from legato_schema where version = {LATEST + 1}")
    apply(store, move(run, COMPLETED, 1), 1)
    assert store.get_flow_run(run.id).state.type is COMPLETED
    newer.close()
    store.close()


SQLITE_SAYS = {
    "SQLITE_BUSY": Unavailable,
    "SQLITE_BUSY_SNAPSHOT": Unavailable,
    "SQLITE_LOCKED": Unavailable,
    "SQLITE_FULL": Unavailable,
    "SQLITE_READONLY_DBMOVED": Unavailable,
    "SQLITE_CANTOPEN": Unavailable,
    "SQLITE_IOERR_WRITE": Unavailable,
    "SQLITE_IOERR_FSYNC": Unavailable,
    "SQLITE_NOMEM": Unavailable,
    "SQLITE_PROTOCOL": Unavailable,
    "SQLITE_CORRUPT": Corrupt,
    "SQLITE_NOTADB": Corrupt,
    "SQLITE_TOOBIG": sqlite3.OperationalError,
    "SQLITE_ERROR": sqlite3.OperationalError,
}
"""What is no fault of the report is kept and sent again; what is, is set aside: a raw error of the driver."""


@pytest.mark.parametrize("code", SQLITE_SAYS)
def test_what_sqlite_cannot_do_now_is_kept_and_what_it_never_can_is_not(code: str) -> None:
    store = open_sql_store("sqlite:///:memory:")
    error = sqlite3.OperationalError("it cannot")
    error.sqlite_errorname = code

    def work(session: object) -> None:
        raise error

    with pytest.raises(SQLITE_SAYS[code]):
        store._database.transact(work)
    assert store.list_flow_runs().items == []
    store.close()


POSTGRES_SAYS = {
    **dict.fromkeys(
        ("25006", "25P03", "28P01", "3D000", "42501", "53100", "53200", "53300", "57014", "57P01", "57P03", "58030"), Unavailable
    ),
    "23503": Conflict,
    "54000": psycopg.OperationalError,
    "22003": UsageError,
    "42601": psycopg.ProgrammingError,
}


@pytest.mark.postgres
def test_what_postgresql_cannot_do_now_is_kept_and_what_it_never_can_is_not(postgres_url: str) -> None:
    store = open_sql_store(postgres_url)
    for code, expected in POSTGRES_SAYS.items():

        def work(session: object, code: str = code) -> None:
            raise psycopg.errors.lookup(code)("it cannot")

        with pytest.raises(expected):
            store._database.transact(work)
        assert store.list_flow_runs().items == []
    store.close()


@pytest.mark.postgres
def test_a_primary_that_became_a_standby_is_left_for_the_one_that_answers_now(postgres_url: str) -> None:
    store = open_sql_store(postgres_url)
    store._database._connection().execute("set default_transaction_read_only = on")  # type: ignore[attr-defined]

    run = begin(store)

    assert store.get_flow_run(run.id).id == run.id
    store.close()


def test_a_sqlite_that_is_too_old_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")

    with pytest.raises(UsageError, match=r"SQLite 3\.34\.1.*3\.35\.0 or newer"):
        open_sql_store("sqlite:///:memory:")


@pytest.mark.parametrize("query", ["foo=1", "connect_timeout", "%zz=1", "sslmode=require&foo=1"])
def test_an_address_of_postgresql_that_its_driver_cannot_read_is_a_mistake_of_whoever_wrote_it(query: str) -> None:
    pytest.importorskip("psycopg")

    with pytest.raises(UsageError, match="no database URL") as refused:
        open_store(f"postgresql://me:geheim@127.0.0.1:1/x?{query}")

    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("how", ["removed", "replaced by another", "replaced by a copy"])
def test_nothing_is_written_into_a_file_that_is_no_longer_there(tmp_path: Path, how: str) -> None:
    path = tmp_path / "legato.db"
    store, other = open_sql_store(f"sqlite:///{path}"), open_sql_store(f"sqlite:///{tmp_path}/other.db")
    begin(store)
    other.close()
    if how == "removed":
        for file in tmp_path.glob("legato.db*"):
            file.unlink()
    elif how == "replaced by another":
        (tmp_path / "other.db").replace(path)
    else:
        shutil.copy(path, tmp_path / "copy")
        (tmp_path / "copy").replace(path)

    with pytest.raises(Unavailable, match="removed or replaced"):
        begin(store)

    store.close()
    again = open_sql_store(f"sqlite:///{path}")  # a new process, or the same one after a fork
    begin(again)
    again.close()
