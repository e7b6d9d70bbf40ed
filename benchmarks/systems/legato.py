"""Legato, embedded or reporting to the server that LEGATO_API_URL names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import legato
from legato.sdk import process


class Legato:
    """The public API, as it is."""

    version = legato.__version__

    def flow(self, fn: Callable[..., Any], *, runner: str = "threads") -> Callable[..., Any]:
        runners = {
            "threads": legato.ThreadTaskRunner(max_workers=6),
            "processes": legato.ProcessTaskRunner(max_workers=2),
            "sequential": legato.SequentialTaskRunner(),
        }
        return legato.flow(name="bench", task_runner=runners[runner])(fn)

    def task(self, fn: Callable[..., Any], *, stored: bool = False) -> Callable[..., Any]:
        return legato.task(persist_result=True)(fn) if stored else legato.task(fn)

    def submit(self, task: Any, *args: Any) -> Any:
        return task.submit(*args)

    def value(self, handle: Any) -> Any:
        return handle.result()

    def in_order_of_end(self, handles: Sequence[Any]) -> Iterable[Any]:
        return legato.as_completed(handles)


@contextmanager
def open_system(home: Path) -> Iterator[Legato]:
    """The system, ready; what it has not written yet when the work is done is written before this ends."""
    os.environ.update(LEGATO_HOME=str(home), LEGATO_LOG_LEVEL="CRITICAL")
    process.use_engine(None)
    yield Legato()
    process.close_engine()
