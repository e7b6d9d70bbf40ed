"""A warm parent: imports everything a flow run needs, then forks one child a run. Started by an agent as `python -m legato.agent.forkserver FD`.

One thread, no database, no HTTP pool, no log file, no event loop: so forking is safe, and each child opens its own. Requests are JSON lines
on the socket FD: {"token", "output", "claim"}; answers are {"ready": pid} first, then {"run": token, "started": pid} or {"run": token, "failed":
why}, and {"exited": pid, "code"}. When the agent hangs up or dies, children are left alone (they say themselves that they live) and the parent
ends with the last of them.

The parent is handed the orphans of its children, and each child those below itself: so what a run has left behind when it ends is known, in
whatever session it hides, and is ended.

One child is made ahead: it waits with its settings read, its share of memory its own, and the sources of the last runs unpacked, so that a run
begins some milliseconds sooner. A child that is not ready yet is not waited for.

A child tells which installed packages it had to import; the parent imports them too when it is idle, so that the next run finds pandas there
instead of spending half a second on it. A package that starts threads when it is imported makes the parent unfit for forking: it says so,
the agent starts another that leaves this package out.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from legato.agent.program_end import end_program, forget_parents_end
from legato.core.records import Claim
from legato.flow_runners.process_tree import become_subreaper, children_of, group_is_running, kill_group, kill_process
from legato.in_use import mark_in_use
from legato.settings import RUN_TOKEN
from legato.system import process_is_alive

GRACE_S = 5.0
"""How long what a run left behind may take to end before it is killed."""


class Request(msgspec.Struct, frozen=True):
    """A run to start. `token` names it in the answers; `output` is the file to print into, if any."""

    token: str
    claim: Claim
    output: str = ""


class Leavings(msgspec.Struct):
    """What a run left behind, which is being ended: its group, orphans of it, and when they are killed."""

    group: int
    orphans: set[int]
    kill_at: float


SPARE_AFTER_S = 0.05
"""How long nothing must have been asked before a child is made ahead: the run that has just begun comes first."""

REMEMBERED = 2
"""The sources of how many bundles are unpacked ahead, the last ones used."""


class Spare(NamedTuple):
    """A child that was made ahead, and the way to tell it what it is to run."""

    pid: int
    line: socket.socket

    @property
    def is_ready(self) -> bool:
        """Whether it has done what it can do ahead."""
        try:
            return bool(self.line.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        except OSError:
            return False


PRELOADED = (
    *("legato.sdk.entry", "legato.sdk.logging", "legato.sdk.parameters", "legato.task_runners.threads", "legato.store.remote"),
    *("legato.core.identity", "legato.sdk.class_parts", "legato.sdk.code", "legato.sdk.concluding", "legato.sdk.deployments"),
    *(
        "legato.sdk.held",
        "legato.sdk.reached",
        "legato.sdk.rehearsal",
        "legato.sdk.statements",
        "legato.sdk.tasks",
        "legato.storage.remote",
        "legato.store.wire",
    ),
    *("encodings.idna", "encodings.cp437", "zipfile"),
    *(
        "legato.store.sql.whole",
        "legato.store.sqlite",
        "sqlite3",
        "urllib3",
        "pydantic",
        "inspect",
        "logging",
        "traceback",
        "asyncio",
        "hashlib",
        "ctypes",
    ),
)
"""What nearly every run imports. Never the user's own modules: their source may change between runs."""

NEVER_LEARNED = frozenset(("torch", "tensorflow", "jax", "jaxlib", "ray", "grpc", "distributed", "mlflow", "pytest"))
"""Packages whose libraries keep threads, devices or connections that do not survive a fork."""

THREADS_THAT_SURVIVE = frozenset(("numpy", "scipy", "pandas", "sklearn"))
"""OpenBLAS starts a pool of threads with these, and takes it down and up again around a fork by itself."""

_decode = msgspec.json.Decoder(Request).decode
_MAX_READ = 1 << 20


class ForkServer:
    """Reads requests, forks children, reaps them."""

    def __init__(self, control: socket.socket, denied: frozenset[str] = frozenset()) -> None:
        self._control = control
        self._denied = NEVER_LEARNED | denied
        self._to_learn: list[str] = []
        self._lessons, self._teach = os.pipe()
        self._children: set[int] = set()
        self._buffer = b""
        self._hung_up = False
        self._leavings: list[Leavings] = []
        self._spare: Spare | None = None
        self._spares: set[int] = set()
        """Children that were made ahead and run nothing: the one that waits, and those that are ending."""
        self._bundles: list[str] = []
        self._hears_of_orphans = become_subreaper()
        self._wake, wake_in = os.pipe()
        os.set_blocking(wake_in, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> None:
        """Until the agent has hung up and the last child has ended."""
        self._tell({"ready": os.getpid()})
        while not self._hung_up or self._children or self._leavings:
            sources: list[Any] = [self._wake, self._lessons] if self._hung_up else [self._wake, self._lessons, self._control]
            readable, _, _ = select.select(sources, [], [], self._patience())
            self._end_leavings()
            if not readable and self._to_learn:
                self._learn(self._to_learn.pop(0))
                self._dismiss_spare()
            elif not readable and self._spare is None and not self._hung_up:
                self._make_spare()
            if self._wake in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._lessons in readable:
                wanted = os.read(self._lessons, _MAX_READ).decode().split()
                self._to_learn = sorted({*self._to_learn, *wanted} - self._denied - sys.modules.keys())
            if self._control in readable:
                self._receive()

    def _patience(self) -> float | None:
        """How long to wait for something to happen before something is done ahead."""
        if self._to_learn:
            return 0
        if self._spare is None and not self._hung_up:
            return SPARE_AFTER_S
        return 0.2 if self._leavings else None

    def _receive(self) -> None:
        try:
            data = self._control.recv(_MAX_READ)
        except ConnectionError:
            data = b""
        if not data:
            self._hung_up = True
            self._dismiss_spare()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._start(line)

    def _start(self, line: bytes) -> None:
        pid = self._start_spare(line)  # first of all: what is looked up here, it need not wait for
        request = _decode(line)
        bundle = request.claim.deployment.bundle
        if bundle:
            self._bundles = [bundle, *(one for one in self._bundles if one != bundle)][:REMEMBERED]
        try:
            pid = pid or os.fork()
        except OSError as error:
            self._tell({"run": request.token, "failed": f"no process could be made: {error.strerror}"})
            return
        if pid == 0:
            self._leave_parent()
            self._become(request, frozenset(sys.modules))
        self._children.add(pid)
        self._tell({"run": request.token, "started": pid})

    # -- a child that is made ahead

    def _make_spare(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            return
        if pid == 0:
            ours.close()
            self._wait_as_spare(theirs)
        theirs.close()
        self._spares.add(pid)
        self._spare = Spare(pid, ours)

    def _start_spare(self, line: bytes) -> int:
        """Have the child that was made ahead run this; 0 when there is none, or it is not ready."""
        spare = self._spare
        if spare is None or not spare.is_ready:
            return 0
        self._spare = None
        try:
            spare.line.sendall(line + b"\n")
        except OSError:
            return 0  # it has died, and is reaped with the others
        finally:
            spare.line.close()
        self._spares.discard(spare.pid)
        return spare.pid

    def _dismiss_spare(self) -> None:
        """What it knows is no longer all there is to know."""
        if self._spare is not None:
            self._spare.line.close()
            self._spare = None

    def _wait_as_spare(self, line: socket.socket) -> NoReturn:
        """In the child: do what can be done ahead, then wait for a run."""
        from legato.sdk import entry  # noqa: PLC0415 preloaded

        loaded, request = frozenset(sys.modules), b""
        try:
            self._leave_parent()
            entry.make_ready(self._bundles)
            line.sendall(b"r")
            entry.rehearse()  # a run that comes meanwhile waits for its end, which is shorter than to begin without it
            gc.collect()
            gc.freeze()  # a collection in the run looks at what is the run's
            while not request.endswith(b"\n") and (data := line.recv(_MAX_READ)):
                request += data
        except OSError:
            request = b""  # the parent is gone
        line.close()
        if not request.endswith(b"\n"):
            entry.forget_ready()
            os._exit(0)
        self._become(_decode(request), loaded)

    def _become(self, request: Request, loaded: frozenset[str]) -> NoReturn:
        """In the child: run the flow, end as a program of its own does."""
        code = 70
        try:
            os.environ[RUN_TOKEN] = request.token
            _print_into(request.output)
            from legato.sdk.entry import main  # noqa: PLC0415 preloaded; found here so that the parent keeps no reference to its own copy

            code = main(request.claim)
            self._tell_what_was_imported(loaded)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 70
        except BaseException:  # noqa: BLE001 the child's last line: nothing above it may see an exception
            sys.excepthook(*sys.exc_info())
        end_program(code, loaded)

    def _leave_parent(self) -> None:
        """In the child: signals, session and random numbers are its own, and the parent's end is not."""
        forget_parents_end()
        signal.set_wakeup_fd(-1)
        for one in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(one, signal.SIG_DFL)
        os.setsid()
        self._control.close()
        if self._spare is not None:
            self._spare.line.close()
        become_subreaper()
        _reseed_numpy()
        for stream in (sys.stdout, sys.stderr):  # line by line, so that little is lost when it is killed
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text streams of this process
        faulthandler.enable()

    def _tell_what_was_imported(self, before: frozenset[str]) -> None:
        """In the child: name the installed packages that this run imported. One short write, so that lines of children do not mix."""
        new = {name for name in sys.modules.keys() - before if "." not in name and not name.startswith("_")}
        installed = [name for name in sorted(new) if "site-packages" in (getattr(sys.modules[name], "__file__", None) or "")]
        line = " ".join(installed)[: select.PIPE_BUF - 2] + " "
        os.write(self._teach, line.encode())

    def _learn(self, name: str) -> None:
        """In the parent, when nothing else is to be done: import what runs import."""
        before = _os_threads()
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 a package that cannot be imported here is imported by the runs that can
            self._denied |= {name}
            return
        gc.freeze()
        if _os_threads() > before and name not in THREADS_THAT_SURVIVE:
            self._tell({"unfit": name})

    def _reap(self) -> None:
        """Note children that have ended, and orphans that were handed over."""
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._children.discard(pid)
                self._tell({"exited": pid, "code": os.waitstatus_to_exitcode(status)})
                self._look_for_leavings(pid)
        for pid in list(self._spares):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._spares.discard(pid)
                if self._spare is not None and self._spare.pid == pid:
                    self._dismiss_spare()
        handed = {pid for leavings in self._leavings for pid in leavings.orphans}
        for pid in handed:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _orphans(self) -> set[int]:
        return children_of(os.getpid()) - self._children - self._spares

    def _look_for_leavings(self, pid: int) -> None:
        """A run has ended: whatever is in its group, or was handed over to us just now, is its. Orphans of living runs are theirs."""
        orphans = self._orphans() if self._hears_of_orphans else set()
        if orphans or group_is_running(pid):
            kill_group(pid, signal.SIGTERM)
            for orphan in orphans:
                kill_process(orphan, signal.SIGTERM)
            self._leavings.append(Leavings(pid, orphans, time.monotonic() + GRACE_S))

    def _end_leavings(self) -> None:
        for leavings in list(self._leavings):
            if self._hears_of_orphans:  # what an orphan had started is handed over when it ends
                leavings.orphans |= self._orphans()
            living = {pid for pid in leavings.orphans if process_is_alive(pid)}
            if time.monotonic() > leavings.kill_at:
                kill_group(leavings.group, signal.SIGKILL)
                for pid in living:
                    kill_process(pid, signal.SIGKILL)
            if not living and not group_is_running(leavings.group):
                self._leavings.remove(leavings)
                self._reap()

    def _tell(self, event: dict[str, object]) -> None:
        if not self._hung_up:
            try:
                self._control.sendall(msgspec.json.encode(event) + b"\n")
            except ConnectionError:
                self._hung_up = True


def _print_into(path: str) -> None:
    """Whatever this process and what it starts print goes into this file."""
    if path:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            mark_in_use(descriptor)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.close(descriptor)


def _reseed_numpy() -> None:
    """Numpy's global generator would give every child the same numbers once the parent has used it; `random` reseeds itself."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _os_threads() -> int:
    """Threads of this process, those that Python does not know included; 1 where that cannot be seen."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return 1


def main(descriptor: int, denied: frozenset[str] = frozenset()) -> None:
    """Preload, then serve."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children do not copy pages because of a collection
    ForkServer(socket.socket(fileno=descriptor), denied).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), frozenset(sys.argv[2:]))
