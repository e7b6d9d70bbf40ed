"""DBOS on SQLite. Flows are its workflows; called tasks its steps, submitted ones its child workflows. It always stores what they return."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.workloads import Unsupported


class Dbos:
    """The public API, as it is. Everything must be registered before it is launched, so launching waits for the first flow that is called."""

    def __init__(self, home: Path) -> None:
        from importlib.metadata import version as version_of

        from dbos import DBOS

        self.version = version_of("dbos")
        home.mkdir(parents=True, exist_ok=True)
        self._dbos = DBOS
        self._launched = False
        self._children: dict[Any, Any] = {}
        self._numbers = itertools.count()
        url = f"sqlite:///{home / 'dbos.sqlite'}"
        DBOS(config={"name": "bench", "system_database_url": url, "log_level": "CRITICAL", "run_admin_server": False})

    def flow(self, fn: Callable[..., Any], *, runner: str = "threads") -> Callable[..., Any]:
        if runner != "threads":
            raise Unsupported("steps run in threads")
        registered = self._dbos.workflow(name=f"flow-{next(self._numbers)}")(fn)
        if not self._launched:
            self._dbos.launch()
            self._launched = True
        return registered

    def task(self, fn: Callable[..., Any], *, stored: bool = False) -> Callable[..., Any]:  # noqa: ARG002 it stores always
        step = self._dbos.step(name=f"step-{next(self._numbers)}")(fn)
        self._children[step] = self._dbos.workflow(name=f"child-{next(self._numbers)}")(fn)
        return step

    def submit(self, task: Any, *args: Any) -> Any:
        ready = [arg.get_result() if hasattr(arg, "get_result") else arg for arg in args]  # it takes no handles as arguments
        return self._dbos.start_workflow(self._children[task], *ready)

    def value(self, handle: Any) -> Any:
        return handle.get_result()

    def in_order_of_end(self, handles: Sequence[Any]) -> Iterable[Any]:
        return handles

    def close(self) -> None:
        """Stop its threads."""
        self._dbos.destroy()


@contextmanager
def open_system(home: Path) -> Iterator[Dbos]:
    """The system, ready."""
    system = Dbos(home)
    yield system
    system.close()
