"""Prefect 3, reporting to a server of its own on loopback (its only way of keeping history), logging no more than ours."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import free_port

QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "DO_NOT_TRACK": "1",
}


class Prefect:
    """The public API, as it is."""

    def __init__(self) -> None:
        import prefect

        self.version = prefect.__version__
        self._prefect = prefect

    def flow(self, fn: Callable[..., Any], *, runner: str = "threads") -> Callable[..., Any]:
        from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

        chosen = ProcessPoolTaskRunner(2) if runner == "processes" else ThreadPoolTaskRunner(1 if runner == "sequential" else 6)
        return self._prefect.flow(name="bench", task_runner=chosen)(fn)

    def task(self, fn: Callable[..., Any], *, stored: bool = False) -> Callable[..., Any]:
        from prefect.cache_policies import NO_CACHE

        return self._prefect.task(fn, cache_policy=NO_CACHE, persist_result=stored)

    def submit(self, task: Any, *args: Any) -> Any:
        return task.submit(*args)

    def value(self, handle: Any) -> Any:
        return handle.result()

    def in_order_of_end(self, handles: Sequence[Any]) -> Iterable[Any]:
        from prefect.futures import as_completed

        return as_completed(handles)


@contextmanager
def open_system(home: Path) -> Iterator[Prefect]:
    """The system, ready."""
    os.environ.update(PREFECT_HOME=str(home), **QUIET)
    yield Prefect()


@contextmanager
def serving(python: str, home: Path) -> Iterator[tuple[dict[str, str], int]]:
    """A server on loopback; what a client's environment must say, and the server's process id."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(home)}
    with (home / "server.log").open("wb") as log:
        command = [python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    try:
        until = time.monotonic() + 90
        while not _is_healthy(f"{url}/health"):
            if child.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"its server did not start: {(home / 'server.log').read_text()[-300:]}")
            time.sleep(0.2)
        yield {"PREFECT_API_URL": url}, child.pid
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
