"""Rows of the table: what was measured, beside its floor in the same run. Ratios are what counts; the machine's mood is in both."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line of the table. `budget` and `measured` are in `unit`; `floor` says what the ratio is taken to."""

    what: str
    measured: float
    unit: str
    budget: float
    floor: float | None = None
    floor_is: str = ""
    more_is_better: bool = False
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the budget is kept."""
        return self.measured >= self.budget if self.more_is_better else self.measured <= self.budget


def best_of(times: int, run: Callable[[], float]) -> float:
    """The median of several runs: the best would flatter, the mean would punish for the neighbours' work."""
    return statistics.median(run() for _ in range(times))


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


@contextmanager
def home() -> Iterator[Path]:
    """An empty LEGATO_HOME for this process and its children, and silence on the console."""
    with tempfile.TemporaryDirectory(prefix="legato-bench-") as folder:
        before = dict(os.environ)
        for name in [name for name in os.environ if name.startswith("LEGATO_")]:
            del os.environ[name]
        os.environ.update(LEGATO_HOME=folder, LEGATO_LOG_LEVEL="CRITICAL")
        try:
            yield Path(folder)
        finally:
            os.environ.clear()
            os.environ.update(before)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def python(*arguments: str) -> float:
    """Seconds of wall time of a fresh interpreter."""
    return seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True))


@contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of a private PostgreSQL, None where there are no binaries for one."""
    from tests.support.postgres import PrivateCluster, find_bin_dir

    found = find_bin_dir()
    if found is None:
        yield None
        return
    cluster = PrivateCluster(found)
    cluster.start()
    try:
        yield cluster.url
    finally:
        cluster.stop()


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """A server process on a free port, on a database of its own; its URL and process id."""
    child = subprocess.Popen(
        [sys.executable, "-m", "legato.server", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "LEGATO_HOME": str(folder / "server")},
    )
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip(), child.pid
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()
