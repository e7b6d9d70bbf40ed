"""Flow runs as processes of this machine: forked from a warm parent that has everything imported, or started cold where that cannot be.

A warm start takes about 3 ms, a cold one 80 to 300. The warm parent is a program of its own (`legato.agent.forkserver`): it has one thread
and no connections, so that forking it is safe. Every run is the leader of its own process group; when it has ended, what it started is ended
as well: by the warm parent, which is handed its orphans, or here for a run that was started cold.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from legato.core.errors import UsageError
from legato.core.records import Claim
from legato.flow_runners.options import SubprocessFlowRunner
from legato.flow_runners.output import Output, last_line, to_stderr
from legato.flow_runners.process_tree import group_is_running, kill_group, kill_process, started_by
from legato.in_use import mark_in_use
from legato.settings import RUN_TOKEN
from legato.system import process_is_alive

MAX_FORKS = 1_000
"""A warm parent is renewed after so many runs: whatever it leaks, it leaks for a while only."""

PARENT_GRACE_S = 5.0
"""How long what a run leaves behind may take to end before it is killed."""

OnExit = Callable[["Process", int], None]


class Process:
    """One started run. `on_exit(process, code)` is called once, from another thread; a negative code is the signal that ended it.

    `reason`: why it never came to run; `in_vain`: and why it never would, here. `pid` is 0 until it is known.
    """

    def __init__(self, claim: Claim, on_exit: OnExit, output: Output | None = None) -> None:
        self.claim = claim
        self.pid = 0
        self.warm = False
        self.reason = ""
        self.in_vain = False
        self.output = output
        self._on_exit = on_exit
        self._exited = threading.Event()
        self._lock = threading.Lock()
        self._wanted: signal.Signals | None = None

    @property
    def token(self) -> str:
        """What names this process: the run, and the holding it runs under."""
        return token_of(self.claim)

    def started(self, pid: int) -> None:
        """Its process id is known. What was asked of it before is asked now."""
        with self._lock:
            self.pid = pid
            wanted = self._wanted
        if wanted is not None:
            kill_group(pid, wanted)

    def stop(self, *, force: bool = False) -> None:
        """Ask the run's process group to end, or make it; one that has no process yet, as soon as it has."""
        number = signal.SIGKILL if force else signal.SIGTERM
        with self._lock:
            if not self.pid:
                self._wanted = number
                return
        if not self._exited.is_set():
            kill_group(self.pid, number)

    def exited(self, code: int, reason: str = "", *, in_vain: bool = False) -> None:
        """Note its end, once."""
        with self._lock:
            if self._exited.is_set():
                return
            self._exited.set()
            self.reason, self.in_vain = reason, in_vain
        self._on_exit(self, code)


def token_of(claim: Claim) -> str:
    """Names a run and the holding it runs under."""
    return f"{claim.flow_run.id}-{claim.flow_run.epoch}-{claim.flow_run.attempt}"


class SubprocessLauncher:
    """Starts runs for an agent. One warm parent for each interpreter and environment. `outputs`: a folder for what runs print."""

    def __init__(self, environ: Mapping[str, str], *, warm: bool = True, outputs: Path | None = None) -> None:
        self._environ = dict(environ)
        self._warm = warm and hasattr(os, "fork")
        self._outputs = outputs
        self._parents: dict[bytes, WarmParent] = {}
        self._lock = threading.Lock()

    def start(self, claim: Claim, options: SubprocessFlowRunner, on_exit: OnExit) -> Process:
        """Start a claimed run. Raises `OSError` when the interpreter cannot be started, `UsageError` for an environment that cannot be."""
        check_environment(options.env)
        process = Process(claim, on_exit, self._output(token_of(claim), options))
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

    def pump(self) -> None:
        """Show what warm parents print themselves."""
        with self._lock:
            parents = list(self._parents.values())
        for parent in parents:
            parent.pump()

    def _output(self, name: str, options: SubprocessFlowRunner) -> Output | None:
        """A file for what it prints; none, and the agent's own output, where no file can be made."""
        if self._outputs is None:
            return None
        try:
            return Output(self._outputs / f"{name}.log", to_stderr if options.stream_output else None)
        except OSError:
            return None

    def _parent(self, options: SubprocessFlowRunner) -> WarmParent | None:
        key = msgspec.json.encode(options, order="deterministic")
        with self._lock:
            parent = self._parents.get(key)
            if parent is None or not parent.is_fit:
                if parent is not None:
                    parent.close()
                denied = parent.denied if parent is not None else ()
                output = self._output(f"parent-{os.getpid()}-{time.monotonic_ns()}", options)
                try:
                    parent = self._parents[key] = WarmParent(options, self._environ, denied, output)
                except OSError:
                    return None
            return parent

    def _start_cold(self, process: Process, options: SubprocessFlowRunner) -> None:
        command = [options.python or sys.executable, "-m", "legato.sdk.entry"]
        environ = {**self._environ, **options.env, RUN_TOKEN: process.token}
        with _printing_into(process.output, options) as output:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environ, start_new_session=True)
        process.started(child.pid)

        def feed_and_wait() -> None:
            try:
                child.communicate(msgspec.json.encode(process.claim))
            except (BrokenPipeError, OSError, ValueError):
                child.wait()
            process.exited(child.returncode)
            end_what_is_left(child.pid, process.token)

        threading.Thread(target=feed_and_wait, name=f"legato-run-{child.pid}", daemon=True).start()


def check_environment(env: Mapping[str, str]) -> None:
    """Raises `UsageError` for variables that no process can have."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name:
            raise UsageError(f"env: a variable cannot be called {name!r}", hint="names hold no '=' and no NUL")
        if "\0" in value:
            raise UsageError(f"env: the value of {name} holds a NUL character", hint="leave it out: no process can be given it")


@contextlib.contextmanager
def _printing_into(output: Output | None, options: SubprocessFlowRunner) -> Any:
    """What to hand to Popen as stdout and stderr."""
    if output is None:
        yield None if options.stream_output else subprocess.DEVNULL
        return
    descriptor = output.open()
    mark_in_use(descriptor)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def end_what_is_left(pgid: int, token: str) -> None:
    """End what a run has started and left behind, in its group or elsewhere: asked first, then made to."""
    if not group_is_running(pgid) and not started_by(token):
        return
    kill_group(pgid, signal.SIGTERM)
    for pid in started_by(token):
        kill_process(pid, signal.SIGTERM)
    pause, until = threading.Event(), time.monotonic() + PARENT_GRACE_S
    while time.monotonic() < until and (group_is_running(pgid) or started_by(token)):
        pause.wait(0.2)
    kill_group(pgid, signal.SIGKILL)
    for pid in started_by(token):
        kill_process(pid, signal.SIGKILL)


class WarmParent:
    """The agent's end of a fork server: requests out, starts and exits in, one JSON line each.

    `denied` are packages it must not import: they were found to make a parent unfit.
    """

    def __init__(
        self, options: SubprocessFlowRunner, environ: Mapping[str, str], denied: tuple[str, ...] = (), output: Output | None = None
    ) -> None:
        self.denied = denied
        python = options.python or sys.executable
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._send = threading.Lock()
        self._starting: dict[str, Process] = {}
        self._running: dict[int, Process] = {}
        self._forks = 0
        self._ready = False
        self._gone = False
        self._unfit = False
        self._packages = _packages_stamp(python)
        self._python = python
        self._output = output
        command = [python, "-m", "legato.agent.forkserver", str(theirs.fileno()), *denied]
        try:
            with _printing_into(output, options) as printed:
                self._child = subprocess.Popen(
                    command,
                    pass_fds=[theirs.fileno()],
                    env={**environ, **options.env},
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=printed,
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        threading.Thread(target=self._read, name="legato-warm-parent", daemon=True).start()

    @property
    def is_fit(self) -> bool:
        """Whether it may start further runs: alive, not worn out, and its packages are those that are installed now."""
        return not self._gone and not self._unfit and self._forks < MAX_FORKS and self._packages == _packages_stamp(self._python)

    def start(self, process: Process) -> bool:
        """Have it fork a run. False: it is gone, start the run in another way."""
        printed = str(process.output.path) if process.output is not None else ""
        line = msgspec.json.encode({"token": process.token, "output": printed, "claim": process.claim}) + b"\n"
        with self._send:
            if self._gone:
                return False
            self._starting[process.token] = process
            self._forks += 1
            process.warm = True
            try:
                self._socket.sendall(line)
            except OSError:
                return self._starting.pop(process.token, None) is None  # `_lost` may have had it already, and told its end
        return True

    def close(self) -> None:
        """Hang up: it leaves its children alone and ends."""
        with self._send:
            self._gone = self._gone or not (self._starting or self._running)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def pump(self) -> None:
        """Show what it has printed itself."""
        if self._output is not None:
            self._output.pump()

    def _read(self) -> None:
        """Hear what happens. However the connection ends, those that wait for it are told."""
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._hear(msgspec.json.decode(line))
        except (OSError, ValueError, KeyError):
            pass  # it was cut off, with something left unread: `_lost` says what that means
        finally:
            self._lost()

    def _hear(self, event: dict[str, Any]) -> None:
        if "ready" in event:
            self._ready = True
        elif "started" in event:
            process = self._starting.pop(event["run"], None)
            if process is not None:
                self._running[event["started"]] = process
                process.started(event["started"])
        elif "failed" in event:
            process = self._starting.pop(event["run"], None)
            if process is not None:
                process.exited(-signal.SIGKILL, event["failed"])
        elif "unfit" in event:
            self.denied, self._unfit = (*self.denied, event["unfit"]), True
        elif "exited" in event and (process := self._running.pop(event["exited"], None)) is not None:
            process.exited(event["code"])

    def _lost(self) -> None:
        """It is gone. Runs it had not started yet are told so; those it had started go on, and are watched by their pids."""
        with self._send:
            self._gone = True
            starting = list(self._starting.values())
            self._starting.clear()
        if starting and not self._ready:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(5)
        if self._child.poll() is None:
            self._child.terminate()
        code = self._child.wait()
        self._socket.close()
        reason = "" if self._ready else self._why_it_never_came_up(code)
        for process in starting:
            process.exited(-signal.SIGKILL, reason, in_vain=bool(reason) and code >= 0)  # what was killed may come up the next time
        for process in [*self._running.values()]:
            threading.Thread(target=_watch, args=(process,), name=f"legato-run-{process.pid}", daemon=True).start()
        self._running.clear()
        if self._output is not None:
            self._output.remove()

    def _why_it_never_came_up(self, code: int) -> str:
        said = last_line(self._output.tail()) if self._output is not None else ""
        if code < 0:
            return f"its warm parent was killed by signal {-code} before it could start a flow" + (f": {said}" if said else "")
        how = f"the interpreter {self._python} ended with exit code {code} before it could start a flow"
        return f"{how}: {said}" if said else f"{how}; is Legato installed there?"


def _watch(process: Process) -> None:
    """Wait for the end of a process whose warm parent is gone. Where it was handed to us its exit code can be had; else the store says how
    the run ended.
    """
    pause = threading.Event()
    while True:
        with contextlib.suppress(ChildProcessError):
            done, status = os.waitpid(process.pid, os.WNOHANG)
            if done:
                process.exited(os.waitstatus_to_exitcode(status))
                break
        if not process_is_alive(process.pid):
            process.exited(0)
            break
        pause.wait(0.5)
    end_what_is_left(process.pid, process.token)


def _packages_stamp(python: str) -> float:
    """When packages were last installed for an interpreter of ours; a constant for foreign ones, which are not looked into."""
    if python != sys.executable:
        return 0.0
    return sum(Path(folder).stat().st_mtime for folder in sys.path if folder.endswith("site-packages") and Path(folder).is_dir())
