"""The stores one suite runs over: SQLite, PostgreSQL, and a server reached over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.store.sql import SqlStore

from tests.store.served import Stand
from tests.support.postgres import PostgresServer

SQL = [pytest.param("sqlite", id="sqlite"), pytest.param("postgres", id="postgres", marks=pytest.mark.postgres)]


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Gives the URL of a fresh, migrated database of a kind; the same one for the whole test."""
    with ExitStack() as stack:
        urls: dict[str, str] = {}

        def url(kind: str) -> str:
            if kind not in urls:
                urls[kind] = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else stack.enter_context(_postgres(request))
            return urls[kind]

        yield url


def _postgres(request: pytest.FixtureRequest):
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.template("legato", lambda url: open_sql_store(url).close())
    return server.emptied("legato")


@pytest.fixture(params=SQL)
def sql_store(request: pytest.FixtureRequest, database_url: Callable[[str], str]) -> Iterator[SqlStore]:
    """A store on a database of its own: for what only SQL stores do (groups of batches, other writers)."""
    store = open_sql_store(database_url(request.param))
    yield store
    store.close()


@pytest.fixture(params=[*SQL, "remote"])
def store(request: pytest.FixtureRequest, database_url: Callable[[str], str]) -> Iterator[Store]:
    """Every implementation of the port."""
    if request.param == "remote":
        with request.getfixturevalue("stand").remote() as remote:
            yield remote
        return
    opened = open_sql_store(database_url(request.param))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A server for a module's tests: each finds it empty."""
    stand = Stand(tmp_path_factory.mktemp("served"))
    yield stand
    stand.close()
