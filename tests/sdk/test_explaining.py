"""`explain`, asked from user code: of flows that really ran."""

import threading

import pytest

from legato import INPUTS, Explanation, explain, flow, task
from legato.core.errors import NotFound, UsageError
from legato.testing import Harness

from tests.support.waiting import until


def test_a_cached_a_skipped_and_a_tried_task_say_their_reasons(h: Harness) -> None:
    tries: list[int] = []

    @task(cache_policy=INPUTS)
    def load(x: int) -> int:
        return x

    @task(retries=2, retry_delay_seconds=0)
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 2:
            raise OSError("disk full")
        return 1

    @task(trigger="any_failed")
    def repair(x: int) -> None: ...

    @flow
    def etl() -> None:
        load(1)
        load(1)
        flaky()
        repair.submit(load.submit(2)).wait()

    etl()
    (run,) = h.flow_runs()

    assert explain(f"{run.name}/load-1").title.startswith("Cached ")
    assert f"it reused the result of 'load-0' of run '{run.name}'" in explain(f"{run.name}/load-1").title
    assert "It was not in the cache: no result of this task is stored" in explain(f"{run.name}/load-0").sentences
    assert explain(f"{run.name}/flaky-0").sentences[1] == "Attempt 2 of 3; before it failed attempt 1: OSError: disk full"
    assert explain(f"{run.name}/repair-0").sentences == (
        "Skipped: trigger any_failed said no: 0 of 1 before it failed",
        "Before it: 'load-2' Completed",
    )
    assert explain(run.id).kind == "completed"


def test_inside_a_flow_a_future_is_explained_with_what_has_just_happened(h: Harness) -> None:
    go_on, seen = threading.Event(), []

    @task
    def slow() -> None:
        assert go_on.wait(20)

    @task
    def after(_: None) -> None: ...

    @flow
    def etl() -> None:
        first = slow.submit()
        second = after.submit(first)
        until(lambda: explain(first).kind == "running", what="the first task's start")
        seen.append(explain(second))
        go_on.set()

    etl()

    assert isinstance(seen[0], Explanation)
    assert seen[0].title.startswith("Waits for 'slow-0', running for ")
    assert str(seen[0]).startswith(seen[0].title)


def test_a_failure_is_traced_to_the_task_it_began_in(h: Harness) -> None:
    @task
    def load() -> int:
        raise ValueError("no such file")

    @task
    def train(x: int) -> int:
        return x

    @flow
    def etl() -> int:
        return train.submit(load.submit()).result()

    with pytest.raises(Exception, match="load-0"):
        etl()
    (run,) = h.flow_runs()

    assert explain(run.name).title == "Failed at load-0: ValueError: no such file"
    assert explain(f"{run.name}/train-0").title == "Did not run because 'load-0' is Failed (ValueError: no such file)"


def test_what_is_no_run_is_refused(h: Harness) -> None:
    with pytest.raises(UsageError, match="which is no run"):
        explain(42)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        explain("amber-heron")
