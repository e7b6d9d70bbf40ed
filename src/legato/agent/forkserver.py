"""A warm parent: imports everything a flow run needs, then forks one child a run. Started by an agent as `python -m legato.agent.forkserver FD`.

One thread, no database, no HTTP pool, no log file, no event loop: so forking is safe, and each child opens its own. Requests are claims as
JSON lines on the socket FD; answers are {"run", "started": pid} and {"exited": pid, "code"}. When the agent hangs up or dies, children are
left alone (they say themselves that they live) and the parent ends with the last of them.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

import msgspec

from legato.core.records import Claim

PRELOADED = (
    *("legato.sdk.entry", "legato.sdk.logging", "legato.sdk.parameters", "legato.task_runners.threads", "legato.store.remote"),
    *("legato.store.sql", "legato.store.sqlite", "sqlite3", "urllib3", "pydantic", "inspect", "logging", "traceback", "asyncio", "hashlib"),
)
"""What nearly every run imports. Never the user's own modules: their source may change between runs."""

_decode = msgspec.json.Decoder(Claim).decode
_MAX_READ = 1 << 20


class ForkServer:
    """Reads requests, forks children, reaps them."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._buffer = b""
        self._hung_up = False
        self._wake, wake_in = os.pipe()
        os.set_blocking(wake_in, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> None:
        """Until the agent has hung up and the last child has ended."""
        while not self._hung_up or self._children:
            sources: list[Any] = [self._wake] if self._hung_up else [self._wake, self._control]
            readable, _, _ = select.select(sources, [], [])
            if self._wake in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._control in readable:
                self._receive()

    def _receive(self) -> None:
        try:
            data = self._control.recv(_MAX_READ)
        except ConnectionError:
            data = b""
        if not data:
            self._hung_up = True
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._start(_decode(line))

    def _start(self, claim: Claim) -> None:
        pid = os.fork()
        if pid == 0:
            self._become(claim)
        self._children.add(pid)
        self._tell({"run": claim.flow_run.id, "started": pid})

    def _become(self, claim: Claim) -> NoReturn:
        """In the child: leave the parent's things behind, run the flow, end without the parent's clean-up."""
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            for one in (signal.SIGCHLD, signal.SIGINT):
                signal.signal(one, signal.SIG_DFL)
            os.setsid()
            self._control.close()
            _reseed_numpy()
            from legato.sdk.entry import main  # noqa: PLC0415 preloaded; found here so that the parent keeps no reference to its own copy

            code = main(claim)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 70
        except BaseException:  # noqa: BLE001 the child's last line: nothing above it may see an exception
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._children.discard(pid)
                self._tell({"exited": pid, "code": os.waitstatus_to_exitcode(status)})

    def _tell(self, event: dict[str, object]) -> None:
        if not self._hung_up:
            try:
                self._control.sendall(msgspec.json.encode(event) + b"\n")
            except ConnectionError:
                self._hung_up = True


def _reseed_numpy() -> None:
    """Numpy's global generator would give every child the same numbers once the parent has used it; `random` reseeds itself."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def main(descriptor: int) -> None:
    """Preload, then serve."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children do not copy pages because of a collection
    ForkServer(socket.socket(fileno=descriptor)).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
