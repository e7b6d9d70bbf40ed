"""Worker processes of this machine, as the flow's process sees them: started by a warm parent or one by one, signalled, and seen to their end.

A worker is the leader of its own process group: what it started ends with it when it is killed, and Ctrl-C on the terminal is not for it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import ClassVar, Protocol

from legato.core.errors import Unavailable
from legato.engine import jobs
from legato.engine.channel import PARENT_RECORD, Channel

_START_TIMEOUT_S = 60.0
_EXIT_TIMEOUT_S = 2.0
"""How long a worker that was hung up on may take to end."""


class Worker:
    """One worker process. `known` are the functions it has been sent."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.known: set[int] = set()
        self.pid = 0

    def signal(self, number: int) -> None:
        """Send it a signal; SIGKILL goes to all it has started, too. Nothing happens when it has ended."""
        raise NotImplementedError

    def exit_code(self, wait_s: float) -> int | None:
        """Its exit code, negative for a signal; None: it has not ended within `wait_s`, or its end was seen by nobody."""
        raise NotImplementedError

    @property
    def has_ended(self) -> bool:
        """Whether its end has been seen, without waiting."""
        raise NotImplementedError

    def see_off(self) -> None:
        """After hanging up: wait for its end, and kill it when it takes too long."""
        self.channel.hang_up()
        if self.exit_code(_EXIT_TIMEOUT_S) is None and not self.has_ended:
            self.signal(signal.SIGKILL)
            self.exit_code(_EXIT_TIMEOUT_S)
        self.channel.close()

    def how_it_ended(self) -> str:
        """In words, for an error message."""
        code = self.exit_code(_EXIT_TIMEOUT_S)
        if code is None:
            return "went away"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"


class Starter(Protocol):
    """A way of starting workers."""

    def start(self, log_level: int) -> Worker: ...

    def renewed(self) -> Starter:
        """What starts workers when this cannot any more."""
        ...

    def release(self) -> None:
        """No more workers will be wanted by this user of it."""
        ...


# ---------------------------------------------------------------------- one by one


class _SpawnedWorker(Worker):
    """A worker that is a child of this process."""

    def __init__(self, channel: Channel, process: subprocess.Popen[bytes]) -> None:
        super().__init__(channel)
        self._process = process
        self.pid = process.pid

    def signal(self, number: int) -> None:
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if number == signal.SIGKILL else os.kill)(self.pid, number)

    def exit_code(self, wait_s: float) -> int | None:
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None


class Spawner:
    """Starts each worker as a new interpreter: some tenths of a second each, and nothing is shared."""

    def start(self, log_level: int) -> Worker:
        ours, theirs = socket.socketpair()
        process = _interpreter("legato.sdk.worker", theirs)
        return _welcomed(_SpawnedWorker(Channel(ours), process), log_level)

    def release(self) -> None:
        pass

    def renewed(self) -> Spawner:
        return self


def _interpreter(module: str, theirs: socket.socket) -> subprocess.Popen[bytes]:
    """A new interpreter with this one's import path, running `module.main` on its end of a socket. The program's own main file is not run."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from {module} import main; main({theirs.fileno()})"
    with theirs:
        return subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)


def _welcomed(worker: Worker, log_level: int) -> Worker:
    worker.channel.send(jobs.WELCOME, jobs.encode(jobs.welcome(log_level)))
    return worker


# ---------------------------------------------------------------------- from a warm parent


class _ForkedWorker(Worker):
    """A worker that is a child of the warm parent, which signals it and says how it ended."""

    def __init__(self, channel: Channel, parent: WarmParent) -> None:
        super().__init__(channel)
        self._parent = parent
        self._code: int | None = None
        self.started = threading.Event()
        self._ended = threading.Event()

    def ended(self, code: int | None) -> None:
        self._code = code
        self.started.set()
        self._ended.set()

    def signal(self, number: int) -> None:
        if not self.has_ended:
            self._parent.signal(self.pid, number)

    def exit_code(self, wait_s: float) -> int | None:
        self._ended.wait(wait_s)
        return self._code

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()


class WarmParent:
    """A process that has everything imported and forks workers in milliseconds. All runners of this process share one, while there are any."""

    _shared: ClassVar[WarmParent | None] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def acquire(cls) -> WarmParent:
        """The shared one, started if there is none. `release` it."""
        with cls._lock:
            shared = cls._shared
            if shared is None or shared._gone or shared._owner != os.getpid():  # noqa: SLF001 its own class
                shared = cls._shared = cls()
            shared._users += 1
            return shared

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._owner = os.getpid()
        self._users = 0
        self._gone = False
        self._control = ours
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._starting: dict[int, _ForkedWorker] = {}
        self._running: dict[int, _ForkedWorker] = {}
        self._process = _interpreter("legato.sdk.worker_parent", theirs)
        self._reader = threading.Thread(target=self._read, name="legato-worker-parent", daemon=True)
        self._reader.start()

    def start(self, log_level: int) -> Worker:
        ours, theirs = socket.socketpair()
        worker = _ForkedWorker(Channel(ours), self)
        with theirs, self._sending:
            number = next(self._numbers)
            self._starting[number] = worker
            try:
                socket.send_fds(self._control, [PARENT_RECORD.pack(b"S", number, 0)], [theirs.fileno()])
            except OSError:
                worker.ended(None)
        if not worker.started.wait(_START_TIMEOUT_S) or worker.has_ended:
            ours.close()
            raise Unavailable("no worker process could be started: their parent process is gone", hint="run the task again")
        return _welcomed(worker, log_level)

    def renewed(self) -> WarmParent:
        """Another in its place, for one user of this."""
        self._gone = True
        self.release()
        return WarmParent.acquire()

    def signal(self, pid: int, number: int) -> None:
        """Have a worker signalled, if it is still running: its parent knows, so no other process that got its number is hit."""
        with self._sending, contextlib.suppress(OSError):
            self._control.sendall(PARENT_RECORD.pack(b"K", pid, number))

    def release(self) -> None:
        with WarmParent._lock:
            self._users -= 1
            if self._users > 0:
                return
            self._gone = True
            if WarmParent._shared is self:
                WarmParent._shared = None
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        self._reader.join(_EXIT_TIMEOUT_S)

    def _read(self) -> None:
        with self._control.makefile("rb") as events:
            while len(record := events.read(PARENT_RECORD.size)) == PARENT_RECORD.size:
                kind, one, two = PARENT_RECORD.unpack(record)
                if kind == b"P":
                    worker = self._starting.pop(one)
                    worker.pid = two
                    self._running[two] = worker
                    worker.started.set()
                elif (ended := self._running.pop(one, None)) is not None:
                    ended.ended(two)
        self._gone = True
        self._process.wait()
        self._control.close()
        for worker in [*self._starting.values(), *self._running.values()]:
            worker.ended(None)
