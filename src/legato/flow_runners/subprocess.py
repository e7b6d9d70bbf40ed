"""Flow runs as processes of this machine: forked from a warm parent that has everything imported, or started cold where that cannot be.

A warm start takes about 3 ms, a cold one 80 to 300. The warm parent is a program of its own (`legato.agent.forkserver`): it has one thread
and no connections, so that forking it is safe. Every run is the leader of its own process group; stopping a run stops the group.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from legato.core.records import Claim
from legato.flow_runners.options import SubprocessFlowRunner

MAX_FORKS = 1_000
"""A warm parent is renewed after so many runs: whatever it leaks, it leaks for a while only."""

_START_TIMEOUT_S = 30.0


class Process:
    """One started run. `on_exit(process, code)` is called once, from another thread; a negative code is the signal that ended it."""

    def __init__(self, claim: Claim, on_exit: Callable[[Process, int], None]) -> None:
        self.claim = claim
        self.pid = 0
        self.warm = False
        self._on_exit = on_exit
        self._exited = threading.Event()

    def stop(self, *, force: bool = False) -> None:
        """Ask the run's process group to end, or make it."""
        if self.pid and not self._exited.is_set():
            try:
                os.killpg(self.pid, signal.SIGKILL if force else signal.SIGTERM)
            except ProcessLookupError:
                return

    def exited(self, code: int) -> None:
        """Note its end."""
        if not self._exited.is_set():
            self._exited.set()
            self._on_exit(self, code)


class SubprocessLauncher:
    """Starts runs for an agent. One warm parent for each interpreter and environment."""

    def __init__(self, environ: Mapping[str, str], *, warm: bool = True) -> None:
        self._environ = dict(environ)
        self._warm = warm and hasattr(os, "fork")
        self._parents: dict[bytes, WarmParent] = {}
        self._lock = threading.Lock()

    def start(self, claim: Claim, options: SubprocessFlowRunner, on_exit: Callable[[Process, int], None]) -> Process:
        """Start a claimed run. Raises `OSError` when the interpreter cannot be started."""
        process = Process(claim, on_exit)
        parent = self._parent(options) if self._warm else None
        if parent is None or not parent.start(process):
            self._start_cold(process, options)
        return process

    def prepare(self, options: SubprocessFlowRunner) -> None:
        """Have a warm parent ready before the first run wants it."""
        if self._warm:
            self._parent(options)

    def close(self) -> None:
        """Let the warm parents go. Runs that are going on are not touched."""
        with self._lock:
            for parent in self._parents.values():
                parent.close()
            self._parents.clear()

    def _parent(self, options: SubprocessFlowRunner) -> WarmParent | None:
        key = msgspec.json.encode(options, order="deterministic")
        with self._lock:
            parent = self._parents.get(key)
            if parent is None or not parent.is_fit:
                if parent is not None:
                    parent.close()
                denied = parent.denied if parent is not None else ()
                try:
                    parent = self._parents[key] = WarmParent(options, self._environ, denied)
                except OSError:
                    return None
            return parent

    def _start_cold(self, process: Process, options: SubprocessFlowRunner) -> None:
        command = [options.python or sys.executable, "-m", "legato.sdk.entry"]
        output = None if options.stream_output else subprocess.DEVNULL
        environ = {**self._environ, **options.env}
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environ, start_new_session=True)
        process.pid = child.pid

        def feed_and_wait() -> None:
            try:
                child.communicate(msgspec.json.encode(process.claim))
            except BrokenPipeError:
                child.wait()
            process.exited(child.returncode)

        threading.Thread(target=feed_and_wait, name=f"legato-run-{child.pid}", daemon=True).start()


class WarmParent:
    """The agent's end of a fork server: requests out, starts and exits in, one JSON line each.

    `denied` are packages it must not import: they were found to make a parent unfit.
    """

    def __init__(self, options: SubprocessFlowRunner, environ: Mapping[str, str], denied: tuple[str, ...] = ()) -> None:
        self.denied = denied
        python = options.python or sys.executable
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._send = threading.Lock()
        self._starting: dict[str, Process] = {}
        self._running: dict[int, Process] = {}
        self._forks = 0
        self._gone = False
        self._unfit = False
        self._packages = _packages_stamp(python)
        self._python = python
        command = [python, "-m", "legato.agent.forkserver", str(theirs.fileno()), *denied]
        output = None if options.stream_output else subprocess.DEVNULL
        self._child = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env={**environ, **options.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        theirs.close()
        threading.Thread(target=self._read, name="legato-warm-parent", daemon=True).start()

    @property
    def is_fit(self) -> bool:
        """Whether it may start further runs: alive, not worn out, and its packages are those that are installed now."""
        return not self._gone and not self._unfit and self._forks < MAX_FORKS and self._packages == _packages_stamp(self._python)

    def start(self, process: Process) -> bool:
        """Have it fork a run. False: it is gone, start the run in another way."""
        run_id = process.claim.flow_run.id
        line = msgspec.json.encode(process.claim) + b"\n"
        with self._send:
            if self._gone:
                return False
            self._starting[run_id] = process
            self._forks += 1
            try:
                self._socket.sendall(line)
            except OSError:
                self._starting.pop(run_id, None)
                return False
        process.warm = True
        return True

    def close(self) -> None:
        """Hang up: it leaves its children alone and ends."""
        with self._send:
            self._gone = self._gone or not (self._starting or self._running)
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return

    def _read(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                event: dict[str, Any] = msgspec.json.decode(line)
                if "started" in event:
                    process = self._starting.pop(event["run"], None)
                    if process is not None:
                        process.pid = event["started"]
                        self._running[process.pid] = process
                elif "unfit" in event:
                    self.denied, self._unfit = (*self.denied, event["unfit"]), True
                elif (process := self._running.pop(event["exited"], None)) is not None:
                    process.exited(event["code"])
        self._lost()

    def _lost(self) -> None:
        """It is gone. Runs it had not started yet are told so; those it had started go on, and are watched by their pids."""
        with self._send:
            self._gone = True
        self._child.wait()
        self._socket.close()
        for process in [*self._starting.values()]:
            process.exited(-signal.SIGKILL)
        self._starting.clear()
        for process in [*self._running.values()]:
            threading.Thread(target=_watch, args=(process,), name=f"legato-run-{process.pid}", daemon=True).start()
        self._running.clear()


def _watch(process: Process) -> None:
    """Wait for the end of a process that is not our child. Its exit code cannot be known; the store says how the run ended."""
    pause = threading.Event()
    while True:
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            process.exited(0)
            return
        pause.wait(0.5)


def _packages_stamp(python: str) -> float:
    """When packages were last installed for an interpreter of ours; a constant for foreign ones, which are not looked into."""
    if python != sys.executable:
        return 0.0
    return sum(Path(folder).stat().st_mtime for folder in sys.path if folder.endswith("site-packages") and Path(folder).is_dir())
