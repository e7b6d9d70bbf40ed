"""A server in a process of its own, as people run it."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import urllib3


class ServerProcess:
    """`python -m legato.server` on a free port. `url` is set once it is ready.

    `log`: a file for what it says. Without one that waits in a pipe, which holds 64 kB: a server that has more to say stands still.
    """

    def __init__(self, home: Path, *options: str, database: str = "", log: Path | None = None) -> None:
        self.home = home
        self.log = log
        self.database = database or f"sqlite:///{home}/legato.db"
        self._options = options
        self.url = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self, port: int = 0) -> "ServerProcess":
        command = [sys.executable, "-m", "legato.server", "--port", str(port), "--database", self.database, *self._options]
        environment = {**os.environ, "LEGATO_HOME": str(self.home)}
        with self.log.open("ab") if self.log is not None else contextlib.nullcontext(subprocess.PIPE) as said:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            _, errors = self.process.communicate(timeout=20)
            raise RuntimeError(errors or f"see {self.log}")
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def signal(self, number: int) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(20)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGINT)
        elif self.process is not None:
            self.signal_streams_closed()

    def signal_streams_closed(self) -> None:
        assert self.process is not None
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def request(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: object) -> urllib3.BaseHTTPResponse:
        with urllib3.PoolManager(retries=False) as pool:
            return pool.request(method, self.url + path, headers=headers, **options)  # type: ignore[arg-type]
