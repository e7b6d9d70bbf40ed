"""A later attempt does not answer for an earlier one's failures, and whatever an attempt ends by may be tried again."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legato import SequentialTaskRunner, ThreadTaskRunner, flow, task
from legato.core.errors import UpstreamFailed
from legato.testing import Harness

tries: list[int] = []


@pytest.fixture(autouse=True)
def clean() -> None:
    tries.clear()


@task
def flaky(n: int = 0) -> int:
    if len(tries) == 1:
        raise OSError(f"no network for {n}")
    return n


@task
def slow_at_first() -> int:
    if len(tries) == 1:
        for _ in range(500):
            time.sleep(0.01)
    return 7


@task
def same(x: Any) -> Any:
    return x


@flow
def part() -> int:
    return flaky.submit(3).result()


BODIES: dict[str, tuple[Callable[[], Any], Any]] = {
    "map": (lambda: flaky.map([1, 2]).result(), [1, 2]),
    "several submits": (lambda: [one.result() for one in [flaky.submit(1), flaky.submit(2)]], [1, 2]),
    "a chain": (lambda: same.submit(flaky.submit(1)).result(), 1),
    "a long chain": (lambda: same.submit(same.submit(flaky.submit(1))).result(), 1),
    "an argument of a direct call": (lambda: same(flaky.submit(1)), 1),
    "nobody asks": (lambda: (flaky.submit(1), 5)[1], 5),
    "nobody asks for several": (lambda: (flaky.map([1, 2, 3]), 5)[1], 5),
    "a returned future": (lambda: flaky.submit(1), 1),
    "a subflow": (part, 3),
    "a map over a future": (
        lambda: same.map(same.submit([1, 2])).result() if len(tries) > 1 else flaky.map(same.submit([1, 2])).result(),
        [1, 2],
    ),
}


@pytest.mark.parametrize("runner", [ThreadTaskRunner(max_workers=2), SequentialTaskRunner()])
@pytest.mark.parametrize("body", BODIES)
def test_a_flows_next_attempt_succeeds_whatever_the_first_ended_by(h: Harness, body: str, runner: Any) -> None:
    make, expected = BODIES[body]

    @flow(retries=1, task_runner=runner)
    def main() -> Any:
        tries.append(1)
        return make()

    assert main() == expected
    assert h.flow_runs()[0].state.name == "Completed"
    assert len(tries) == 2


@pytest.mark.parametrize("way", ["direct", "submitted"])
@pytest.mark.parametrize("body", BODIES)
def test_a_tasks_next_attempt_succeeds_whatever_the_first_ended_by(h: Harness, body: str, way: str) -> None:
    make, expected = BODIES[body]
    if body.startswith("nobody asks"):
        pytest.skip("what a task has submitted and not asked for is its flow's to settle")

    @task(retries=1)
    def outer() -> Any:
        tries.append(1)
        return make()

    @flow
    def main() -> Any:
        return outer() if way == "direct" else outer.submit().result()

    assert main() == expected
    assert h.flow_runs()[0].state.name == "Completed"


def test_an_async_flows_next_attempt_succeeds_too(h: Harness) -> None:
    @flow(retries=1)
    async def main() -> Any:
        tries.append(1)
        return await asyncio.gather(*flaky.map([1, 2]))

    assert asyncio.run(main()) == [1, 2]


def test_a_flow_that_was_over_its_time_does_not_answer_for_what_it_stopped(h: Harness) -> None:
    @flow(retries=1, timeout_seconds=0.5)
    def main() -> int:
        tries.append(1)
        return slow_at_first.submit().result()

    assert main() == 7


def test_who_is_told_of_one_failure_of_a_map_is_told_of_all(h: Harness) -> None:
    tries.append(1)

    @flow
    def main() -> str:
        try:
            flaky.map([1, 2, 3]).result()
        except OSError:
            return "fell back"
        return ""

    assert main() == "fell back"


def test_without_retries_it_is_as_before(h: Harness) -> None:
    tries.append(1)

    @flow
    def main() -> int:
        return same.submit(flaky.submit(1)).result()

    with pytest.raises(UpstreamFailed):
        main()


@pytest.mark.parametrize("given", [Path("data/a.csv"), Path("/tmp/x y"), Path()])
def test_a_path_is_a_parameter_that_survives_a_retry(h: Harness, given: Path) -> None:
    seen: list[Path] = []

    @flow(persist_result=True)
    def main(path: Path = given) -> None:
        seen.append(path)
        if len(seen) == 1:
            raise OSError("once")

    with pytest.raises(OSError, match="once"):
        main()
    run = h.flow_runs()[0]
    assert run.parameters == {"path": str(given)}
    main.resume(run.id)

    assert seen == [given, given]


@pytest.mark.parametrize("way", ["direct", "submitted"])
def test_what_an_earlier_attempt_has_submitted_may_fail_later(h: Harness, way: str) -> None:
    tries: list[int] = []
    second_has_begun, has_failed = threading.Event(), threading.Event()

    @task(on_failure=lambda *_: has_failed.set())
    def fails_late() -> None:
        second_has_begun.wait(30)
        raise OSError("no network")

    @task(retries=1)
    def outer() -> str:
        tries.append(1)
        if len(tries) == 1:
            fails_late.submit()
            raise ValueError("once more")
        second_has_begun.set()
        assert has_failed.wait(30)
        return "done"

    @flow
    def main() -> str:
        return outer() if way == "direct" else outer.submit().result()

    assert main() == "done"
