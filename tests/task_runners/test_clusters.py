"""What is special to runners on clusters: the extras they need, whose cluster it is, and what comes back with an answer."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legato import DaskTaskRunner, RayTaskRunner, flow
from legato.core.errors import UsageError
from legato.testing import Harness

from tests.task_runners import work


def in_flow(runner: Any, body: Callable[[], Any]) -> Any:
    @flow(task_runner=runner)
    def main() -> Any:
        return body()

    return main()


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


def test_naming_the_runners_imports_neither_library() -> None:
    code = "import legato, sys; legato.DaskTaskRunner(), legato.RayTaskRunner(); print([m for m in ('dask', 'distributed', 'ray') if m in sys.modules])"

    assert python(code) == "[]\n"


@pytest.mark.parametrize(("runner", "library", "extra"), [("DaskTaskRunner", "distributed", "dask"), ("RayTaskRunner", "ray", "ray")])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(runner: str, library: str, extra: str, legato_home: Path) -> None:
    code = f"""
import sys
sys.modules[{library!r}] = None  # as if it were not installed
from legato import {runner}
try:
    {runner}().start()
except Exception as error:
    print(type(error).__name__, "|", error.hint)
"""

    assert python(code) == f"UsageError | install it with: pip install 'legato[{extra}]'\n"


def test_one_cluster_is_enough() -> None:
    with pytest.raises(UsageError, match="more than one cluster"):
        DaskTaskRunner(address="tcp://127.0.0.1:8786", cluster_kwargs={})


@pytest.mark.parametrize("make", [lambda: DaskTaskRunner(max_in_flight=0), lambda: RayTaskRunner(max_in_flight=0)])
def test_a_runner_with_no_task_in_flight_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(UsageError, match="max_in_flight is 0"):
        make()


def test_a_cluster_of_its_own_is_there_for_one_flow(h: Harness) -> None:
    runner = DaskTaskRunner(cluster_kwargs={"n_workers": 1, "host": "127.0.0.1"})

    assert in_flow(runner, lambda: work.double.map([1, 2]).result()) == [2, 4]
    assert in_flow(runner, lambda: work.double.submit(3).result()) == 6


def test_a_cluster_is_found_by_its_address(h: Harness, dask_cluster: Any) -> None:
    assert in_flow(DaskTaskRunner(address=dask_cluster.scheduler_address), lambda: work.double.submit(3).result()) == 6


def test_no_more_tasks_are_with_the_cluster_than_may_be(h: Harness, dask_cluster: Any, tmp_path: Path) -> None:
    def body() -> None:
        for _ in range(4):
            work.note_span.submit(tmp_path / "notes")

    in_flow(DaskTaskRunner(dask_cluster, max_in_flight=1), body)

    assert work.notes(tmp_path / "notes") == ["in", "out"] * 4
