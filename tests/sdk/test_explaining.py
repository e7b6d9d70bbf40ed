"""`explain`, asked from user code: of flows that really ran."""

import threading

import pytest

from legato import INPUTS, Explanation, explain, flow, suspend_flow_run, task
from legato.core.errors import NotFound, RunSuspended, UsageError
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


class Switches(list[str]):
    """What is broken. No part of what a task is, although its code reads it."""

    def __legato_hash__(self) -> None:
        return None


def test_only_what_this_attempt_reused_or_failed_at_counts(h: Harness) -> None:
    broken = Switches(["first", "second"])

    @task
    def load(n: int) -> int:
        return n

    @task
    def step(name: str) -> None:
        if name in broken:
            raise OSError(f"{name} broke")

    @flow(persist_result=True)
    def main() -> None:
        load(1)
        load(2)
        step("first")
        step("second")
        if broken:
            raise ValueError("the flow itself")

    with pytest.raises(OSError, match="first broke"):
        main()
    run = h.flow_runs()[0]
    broken.remove("first")
    with pytest.raises(OSError, match="second broke"):
        main.resume(run.id)
    assert "2 results of earlier attempts were reused" in explain(run.id).sentences
    assert explain(run.id).title == "Failed at step-1: OSError: second broke"
    broken[:] = ["nothing"]
    with pytest.raises(ValueError, match="the flow itself"):
        main.resume(run.id)

    assert explain(run.id).title == "Failed at the flow itself: ValueError: the flow itself"
    assert "3 results of earlier attempts were reused" in explain(run.id).sentences


COUNTS = {"calls": 0}


def test_a_value_that_is_not_cached_says_why(h: Harness) -> None:
    @task(cache_policy=INPUTS)
    def count() -> int:
        COUNTS["calls"] += 1
        return 1

    @task(cache_policy=INPUTS)
    def read() -> int:
        return COUNTS["calls"]

    @flow
    def main() -> None:
        count()
        read()

    main()

    said = [one for one in explain(f"{h.flow_runs()[0].name}/count-0").sentences if one.startswith("Its value is not reused")]
    assert said == ["Its value is not reused and not cached: it changed 'COUNTS', which others use"]


def test_a_run_that_is_cancelled_while_it_waits_for_a_person_says_so(h: Harness) -> None:
    @flow
    def main() -> None:
        suspend_flow_run()

    with pytest.raises(RunSuspended):
        main()
    run = h.flow_runs()[0]

    h.store.request_cancel(run.id)

    assert explain(run.id).title.endswith("cancelled while it waited for a person")
