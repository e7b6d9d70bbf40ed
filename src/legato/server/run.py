"""Running a server: opens the store, keeps a second server off its file, starts services, serves, and stops within a second."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import msgspec
import uvicorn

from legato.core.clock import Clock, JumpWatch
from legato.core.errors import Conflict, UsageError
from legato.core.queues import LEASE_S
from legato.logs.events import log_events
from legato.server.app import VERSION, Server
from legato.server.connections import PATIENCE, Patience, PatientProtocol, limit_connections
from legato.server.gate import Policy
from legato.server.host_names import names_for
from legato.services import overlap, reaper, scheduler
from legato.services.loop import Service, ServiceLoop
from legato.storage.local import LocalStorage
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore
from legato.system import host_name, process_is_alive

GRACE_S = 5
"""Seconds that requests under way are given at a stop; waits and streams are ended at once."""

OPEN_FILES = 65_536
"""Wanted limit of open files: a thousand agents and browsers are more than the usual 1,024."""


class Listening(msgspec.Struct, frozen=True):
    """A server that accepts requests; what `server.json` in the home folder says."""

    url: str
    pid: int
    database: str
    version: str


def serve(
    *,
    database_url: str,
    home: Path,
    host: str = "127.0.0.1",
    port: int = 4200,
    api_key: str = "",
    insecure: bool = False,
    allowed_hosts: Sequence[str] = (),
    base_path: str = "",
    public_url: str = "",
    trusted_proxies: Sequence[str] = ("127.0.0.0/8", "::1"),
    access_log: bool = False,
    json_log: bool = False,
    log_level: str = "INFO",
    patience: Patience = PATIENCE,
    ready: Callable[[Listening], None] = lambda _: None,
    clock: Clock | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called once requests are accepted. Port 0 takes any free port.

    Raises `UsageError` when the address may not be bound without a key or is taken, `Conflict` when the database has a server already.
    """
    _require_key(host, api_key, insecure=insecure)
    os.umask(0o077)  # database, results and logs are the owner's alone
    with ExitStack() as stack:
        stack.enter_context(_only_server_of(database_url))
        listener = stack.enter_context(_listener(host, port))
        store = open_sql_store(database_url, durable=True)
        clock = clock or store.clock
        stack.callback(store.close)
        url_host = _in_url(host, socket.gethostname())
        listening = Listening(f"http://{url_host}:{listener.getsockname()[1]}", os.getpid(), store.info()["location"], VERSION)

        def announce() -> None:
            stack.callback(_forget, home)
            _write_down(home, listening)
            ready(listening)

        names = names_for(
            bound=host,
            machine=socket.gethostname(),
            allowed=allowed_hosts,
            public_url=public_url,
            is_any=_is_any(host),
            is_loopback=_is_loopback(host),
        )
        policy = Policy(VERSION, api_key, names, base_path, tuple(trusted_proxies), access_log)
        server = Server(
            store,
            clock=clock,
            services=_services(store, clock),
            blobs=LocalStorage(home / "storage"),
            policy=policy,
            on_ready=announce,
        )
        server.insecure = not api_key and not _is_loopback(host)
        _raise_file_limit()
        limit_connections(patience)
        log_events(log_level, as_json=json_log)
        _Uvicorn(server).run(sockets=[listener])


class _Uvicorn(uvicorn.Server):
    """Uvicorn that ends waits when a signal comes: otherwise it would wait for agents that poll and browsers that watch."""

    def __init__(self, server: Server) -> None:
        self._legato = server
        super().__init__(
            uvicorn.Config(
                server.gate,
                loop="auto",
                http=PatientProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=75,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        backend = self._legato.backend
        if backend is not None:
            backend.hang_up_soon()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn raises the signal again when it has stopped; we have, too, and end in order."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _services(store: SqlStore, clock: Clock) -> ServiceLoop:
    host = host_name()
    patient_until = clock.now() + timedelta(seconds=LEASE_S)
    for_leases, for_schedules = JumpWatch(clock), JumpWatch(clock)
    silences = reaper.Silences(clock)

    def reap(now: datetime) -> object:
        jumped = for_leases.has_jumped()
        return reaper.tick(store, now, host=host, is_alive=process_is_alive, patient_until=patient_until, jumped=jumped, silences=silences)

    def schedule(now: datetime) -> object:
        return scheduler.tick(store, now, jumped=for_schedules.has_jumped())

    return ServiceLoop(
        [
            Service("scheduler", scheduler.EVERY_S, schedule),
            Service("overlap", overlap.EVERY_S, lambda now: overlap.tick(store, now)),
            Service("reaper", reaper.EVERY_S, reap),
        ],
        clock,
    )


def _require_key(host: str, api_key: str, *, insecure: bool) -> None:
    if not (_is_loopback(host) or api_key or insecure):
        raise UsageError(
            f"{host} can be reached from other machines, and no API key is set",
            hint="set LEGATO_SERVER_API_KEY, listen on 127.0.0.1, or say --insecure-no-auth if everybody who reaches the port may do everything",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _is_any(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False


def _in_url(host: str, machine: str) -> str:
    """The host as others write it: a server that listens everywhere is known by its machine's name."""
    name = machine if _is_any(host) else host
    return f"[{name}]" if ":" in name else name


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(f"port {port} is taken", hint=f"legato server start --port {port + 1}, or stop the other") from error
            raise UsageError(
                f"cannot listen on {host} port {port}: {error.strerror or error}", hint="choose another address or port"
            ) from error
        listener.listen(2048)
        yield listener


@contextmanager
def _only_server_of(database_url: str) -> Iterator[None]:
    """Hold the lock that says: this SQLite file has a server. Any number of servers may share a PostgreSQL database."""
    if urlsplit(database_url).scheme != "sqlite" or database_url in ("sqlite://", "sqlite:///:memory:"):
        yield
        return
    path = Path(database_url.removeprefix("sqlite:///") + ".server")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise Conflict(
                f"another server (process {lock.read().strip() or 'unknown'}) has the database {path.with_suffix('')} open",
                hint="use that one, stop it, or give this one another database",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _write_down(home: Path, listening: Listening) -> None:
    """Say where the server is, for programs on this machine; in one step, so that nobody reads half of it.

    Where that cannot be said (a full disk) it serves all the same: those who know its address find it.
    """
    draft = home / f"server.json.{os.getpid()}"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.encode(listening))
        draft.replace(home / "server.json")
    except OSError as error:
        logging.getLogger(__name__).warning("address_not_written_down", extra={"file": str(home / "server.json"), "reason": str(error)})
        with suppress(OSError):
            draft.unlink()


def _forget(home: Path) -> None:
    file = home / "server.json"
    with suppress(OSError, msgspec.DecodeError):
        if msgspec.json.decode(file.read_bytes(), type=Listening).pid == os.getpid():
            file.unlink()


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
