"""The warm parent of a flow's worker processes: imports what a worker needs once, then forks workers on request.

One thread, no database, none of the user's modules: so forking is safe. Requests and events are fixed-size records on a Unix socket; a
request to start brings the worker's socket along. It ends when the flow's process hangs up; its workers see for themselves that that is gone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from legato.engine.channel import PARENT_RECORD

_PRELOADED = ("legato.sdk.logging", "legato.sdk.calls", "legato.sdk.tasks", "legato.sdk.flows", "cloudpickle", "logging", "hashlib")


class _Parent:
    """Reads requests, forks, reaps."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: set[int] = set()
        self._wake, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)

    def serve(self) -> None:
        """Until the flow's process hangs up."""
        while True:
            sources: list[Any] = [self._control, self._wake]
            readable, _, _ = select.select(sources, [], [])
            if self._wake in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._control in readable and not self._receive():
                return

    def _receive(self) -> bool:
        try:
            data, sockets, _, _ = socket.recv_fds(self._control, PARENT_RECORD.size, 1)
        except ConnectionError:
            return False
        if len(data) < PARENT_RECORD.size:
            return False
        kind, one, two = PARENT_RECORD.unpack(data)
        if kind == b"S":
            self._start(one, sockets[0])
        elif one in self._workers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if two == signal.SIGKILL else os.kill)(one, two)
        return True

    def _start(self, number: int, descriptor: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_worker(descriptor)
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the worker does so too: whoever is first, a signal to its group finds it
        self._workers.add(pid)
        self._tell(b"P", number, pid)

    def _become_worker(self, descriptor: int) -> NoReturn:
        """In the child: leave the parent's things behind, work, and end without the parent's clean-up."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for one in (self._wake, self._wake_in):
                os.close(one)
            self._control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            from legato.sdk.worker import main  # noqa: PLC0415 preloaded

            main(descriptor)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:  # noqa: BLE001 the worker's last line: nothing above it may see an exception
            sys.excepthook(*sys.exc_info())
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            os._exit(code)

    def _reap(self) -> None:
        for pid in list(self._workers):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._workers.discard(pid)
                self._tell(b"X", pid, os.waitstatus_to_exitcode(status))

    def _tell(self, kind: bytes, one: int, two: int) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(PARENT_RECORD.pack(kind, one, two))


def main(descriptor: int) -> None:
    """Preload, then serve."""
    import importlib  # noqa: PLC0415

    import legato.sdk.worker  # noqa: PLC0415, F401

    for name in _PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # workers do not copy pages because of a collection
    _Parent(socket.socket(fileno=descriptor)).serve()
