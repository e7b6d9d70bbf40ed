"""The PostgreSQL fixture keeps its promises: fresh, empty, apart, gone afterwards."""

import importlib.util
from pathlib import Path

import pytest

from tests.support import parts, postgres
from tests.support.postgres import PostgresServer, PrivateCluster

psycopg = pytest.importorskip("psycopg")
needs_server = pytest.mark.postgres


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return [name for (name,) in rows]


def make_table(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table made_by_a_test (id int primary key)")


@needs_server
@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_database(postgres_url: str, turn: int) -> None:
    assert tables(postgres_url) == []

    make_table(postgres_url)


@needs_server
def test_a_template_is_prepared_once_and_copied(postgres_server: PostgresServer) -> None:
    prepared = []

    def prepare(url: str) -> None:
        prepared.append(url)
        make_table(url)

    for _ in range(2):
        postgres_server.template("test_postgres", prepare)
        with postgres_server.database(template="test_postgres") as url:
            assert tables(url) == ["made_by_a_test"]

    assert len(prepared) == 1


@needs_server
def test_a_database_is_dropped_even_while_somebody_is_connected(postgres_server: PostgresServer) -> None:
    with postgres_server.database() as url:
        left_open = psycopg.connect(url)

    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    left_open.close()


@needs_server
def test_text_is_utf8_and_sorts_by_code_point(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("select getdatabaseencoding(), datcollate from pg_database where datname = current_database()").fetchone()

    assert row == ("UTF8", "C.UTF-8")


def test_stopping_twice_or_before_starting_is_harmless(tmp_path: Path) -> None:
    cluster = PrivateCluster(tmp_path)

    cluster.stop()
    cluster.stop()


def test_a_server_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    broken = tmp_path / "initdb"
    broken.write_text("#!/bin/sh\necho no room left >&2\nexit 1\n")
    broken.chmod(0o755)
    for parent in [d for d in tmp_path.parents if d.stat().st_uid == tmp_path.stat().st_uid and d.name.startswith("pytest-")]:
        parent.chmod(0o755)  # PostgreSQL runs as another user when the tests run as root
    cluster = PrivateCluster(tmp_path)

    with pytest.raises(RuntimeError, match="no room left"):
        cluster.start()
    cluster.stop()


def test_a_missing_server_is_a_skip_here_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such thing"):
        parts.missing_part("no such thing")

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such thing"):
        parts.missing_part("no such thing")


def test_the_newest_debian_version_comes_first_and_the_wheel_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    versions = [int(d.parent.name) for d in postgres.debian_bin_dirs()]

    assert versions == sorted(versions, reverse=True)
    assert postgres.wheel_bin_dirs() == []
