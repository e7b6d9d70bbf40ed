"""No system at all: the functions themselves and the standard library's executors. The floor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.workloads import Unsupported


class Plain:
    """Functions stay what they are; a submitted call waits for the handles among its arguments in its worker."""

    version = ""

    def __init__(self) -> None:
        self._executor: Executor | None = None

    def flow(self, fn: Callable[..., Any], *, runner: str = "threads") -> Callable[..., Any]:
        def run() -> Any:
            executor = ProcessPoolExecutor(2) if runner == "processes" else ThreadPoolExecutor(1 if runner == "sequential" else 6)
            before, self._executor = self._executor, executor
            with executor:
                value = fn()
            self._executor = before
            return value

        return run

    def task(self, fn: Callable[..., Any], *, stored: bool = False) -> Callable[..., Any]:
        if stored:
            raise Unsupported("nothing is stored")
        return fn

    def submit(self, task: Callable[..., Any], *args: Any) -> Future[Any]:
        assert self._executor is not None
        if any(isinstance(arg, Future) for arg in args):
            return self._executor.submit(lambda: task(*[arg.result() if isinstance(arg, Future) else arg for arg in args]))
        return self._executor.submit(task, *args)

    def value(self, handle: Future[Any]) -> Any:
        return handle.result()

    def in_order_of_end(self, handles: Sequence[Future[Any]]) -> Iterable[Future[Any]]:
        return as_completed(handles)


@contextmanager
def open_system(home: Path) -> Iterator[Plain]:  # noqa: ARG001 the others need one
    """The system, ready."""
    yield Plain()
