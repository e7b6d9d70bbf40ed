"""What flows and tasks do, seen from user code and from what is recorded of them."""

import asyncio
import io
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from legato import (
    Deployment,
    SequentialTaskRunner,
    ThreadTaskRunner,
    allow_failure,
    flow,
    get_run_logger,
    tags,
    task,
    task_input_hash,
    unmapped,
)
from legato.core.errors import ParameterError, RunFailure, UpstreamFailed, UsageError
from legato.core.states import StateType
from legato.system import new_id
from legato.testing import Harness

from tests.support.waiting import until


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def fail(message: str = "no luck") -> int:
    raise ValueError(message)


# -- calls and futures


def test_a_task_called_directly_gives_its_value_and_is_recorded(h: Harness) -> None:
    @flow
    def main() -> int:
        return add(2, y=3)

    assert main() == 5

    (run,) = h.flow_runs()
    assert (run.flow_name, run.state.name, run.parameters) == ("main", "Completed", {})
    (task_run,) = h.task_runs()
    assert task_run.name == "add-0"
    assert h.states(task_run) == ["Running", "Completed"]


def test_a_task_called_outside_a_flow_is_a_run_of_its_own(h: Harness) -> None:
    assert add(1) == 2

    (run,) = h.flow_runs()
    assert (run.flow_name, run.state.name, run.trigger) == ("add", "Completed", "a task called outside a flow")
    assert [task_run.name for task_run in h.task_runs()] == ["add-0"]


def test_submit_gives_a_future_and_passing_it_on_makes_a_dependency(h: Harness) -> None:
    @flow
    def main() -> int:
        first = add.submit(1)
        return add.submit(first, 10).result()

    assert main() == 12
    first, second = h.task_runs()
    assert second.upstream == (first.id,)
    assert h.states(first) == ["Pending", "Running", "Completed"]


def test_futures_inside_containers_are_resolved_and_depended_on(h: Harness) -> None:
    @task
    def total(parts: dict[str, list[int]]) -> int:
        return sum(parts["a"]) + sum(parts["b"])

    @flow
    def main() -> int:
        one, two = add.submit(0), add.submit(1)
        return total.submit({"a": [one, 10], "b": [two]}).result()

    assert main() == 13
    runs = h.task_runs()
    assert set(runs[2].upstream) == {runs[0].id, runs[1].id}


def test_a_container_without_futures_is_handed_over_as_the_same_object(h: Harness) -> None:
    rows = [{"a": 1}, {"a": 2}]

    @task
    def same(given: list[dict[str, int]], number: int) -> bool:
        return given is rows and number == 1

    @flow
    def main() -> bool:
        return same.submit(rows, add.submit(0)).result()

    assert main()


def test_a_value_that_a_task_made_is_followed_to_the_task_that_is_given_it(h: Harness) -> None:
    class Frame:
        pass

    @task
    def read() -> tuple[Frame, Frame]:
        return Frame(), Frame()

    @task
    def use(frame: Frame) -> None:
        pass

    @flow
    def main() -> None:
        left, _right = read()
        use(left)

    main()
    made, used = h.task_runs()
    assert used.upstream == (made.id,)


def test_map_calls_once_for_each_element_and_hands_unmapped_values_whole(h: Harness) -> None:
    @task
    def join(x: int, many: list[int]) -> str:
        return f"{x}:{many}"

    @flow
    def main() -> list[str]:
        return [future.result() for future in join.map([1, 2], unmapped([7, 8]))]

    assert main() == ["1:[7, 8]", "2:[7, 8]"]
    assert [run.name for run in h.task_runs()] == ["join-0", "join-1"]


def test_mapping_over_a_future_waits_for_it_and_depends_on_it(h: Harness) -> None:
    @task
    def numbers() -> list[int]:
        return [1, 2]

    @flow
    def main() -> list[int]:
        return [future.result() for future in add.map(numbers.submit())]

    assert main() == [2, 3]
    made, *mapped = h.task_runs()
    assert [run.upstream for run in mapped] == [(made.id,), (made.id,)]


def test_map_refuses_lists_of_different_lengths_and_nothing_to_map(h: Harness) -> None:
    @flow
    def uneven() -> None:
        add.map([1, 2], [1, 2, 3])

    @flow
    def nothing() -> None:
        add.map(1, 2)

    with pytest.raises(UsageError, match="different lengths"):
        uneven()
    with pytest.raises(UsageError, match="nothing to map over"):
        nothing()


def test_wait_for_orders_tasks_without_passing_values(h: Harness) -> None:
    order: list[str] = []

    @task
    def slow() -> None:
        time.sleep(0.05)
        order.append("slow")

    @task
    def after() -> None:
        order.append("after")

    @flow
    def main() -> None:
        after.submit(wait_for=[slow.submit()]).result()

    main()
    assert order == ["slow", "after"]
    runs = h.task_runs()
    assert runs[1].upstream == (runs[0].id,)


def test_a_failed_upstream_names_the_culprit_and_the_dependent_never_runs(h: Harness) -> None:
    @flow
    def main() -> None:
        add.submit(fail.submit()).result()

    with pytest.raises(UpstreamFailed, match="'fail-0' did not complete: ValueError: no luck"):
        main()
    failed, dependent = h.task_runs()
    assert failed.state.name == "Failed"
    assert h.states(dependent) == ["Pending", "UpstreamFailed"]


def test_allow_failure_hands_over_the_exception_and_the_flow_completes(h: Harness) -> None:
    @task
    def look(outcome: object) -> str:
        return type(outcome).__name__

    @flow
    def main() -> str:
        return look.submit(allow_failure(fail.submit())).result()

    assert main() == "ValueError"
    assert h.flow_runs()[0].state.type is StateType.COMPLETED


def test_a_submitted_task_that_failed_unseen_fails_the_flow(h: Harness) -> None:
    @flow
    def main() -> str:
        fail.submit()
        return "looks fine"

    with pytest.raises(UpstreamFailed, match="1 submitted task failed and nobody asked for the result: 'fail-0' \\(ValueError: no luck\\)"):
        main()
    assert h.flow_runs()[0].state.type is StateType.FAILED


def test_a_flow_ends_only_after_everything_it_submitted(h: Harness) -> None:
    ended: list[int] = []

    @task
    def slow(i: int) -> None:
        time.sleep(0.05)
        ended.append(i)

    @flow
    def main() -> None:
        slow.map([1, 2, 3])

    main()
    assert sorted(ended) == [1, 2, 3]
    assert all(run.state.is_final for run in h.task_runs())


def test_return_state_gives_how_it_ended_instead_of_raising(h: Harness) -> None:
    ended = []

    @flow
    def main() -> None:
        ended.append(fail(return_state=True))  # type: ignore[call-arg]
        ended.append(add(1, return_state=True))  # type: ignore[call-arg]

    assert main(return_state=True).is_completed()  # type: ignore[call-arg]
    failed, good = ended
    assert failed.is_failed()
    assert "no luck" in failed.message
    assert good.result() == 2


@pytest.mark.parametrize("runner", [SequentialTaskRunner(), ThreadTaskRunner(max_workers=2)])
def test_every_task_runner_gives_the_same_results(h: Harness, runner: Any) -> None:
    @flow(task_runner=runner)
    def main() -> list[int]:
        futures = add.map(list(range(20)))
        chained = [add.submit(future) for future in futures]
        return [future.result() for future in chained]

    assert main() == [i + 2 for i in range(20)]


def test_the_thread_runner_keeps_to_its_limit(h: Harness) -> None:
    now, most = 0, 0
    lock = threading.Lock()

    @task
    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1

    @flow(task_runner=ThreadTaskRunner(max_workers=3))
    def main() -> None:
        for _ in range(20):
            work.submit()

    main()
    assert most == 3


def test_a_tree_of_nested_submits_on_two_workers_does_not_deadlock(h: Harness) -> None:
    @task
    def node(depth: int) -> int:
        if depth == 0:
            return 1
        left, right = node.submit(depth - 1), node.submit(depth - 1)
        return left.result() + right.result()

    @flow(task_runner=ThreadTaskRunner(max_workers=2))
    def main() -> int:
        return node.submit(8).result()

    assert main() == 256
    assert len(h.task_runs()) == 511


def test_a_chain_of_nested_submits_deeper_than_the_stack_allows_still_ends(h: Harness) -> None:
    @task
    def link(n: int) -> int:
        return 0 if n == 0 else 1 + link.submit(n - 1).result()

    @flow(task_runner=ThreadTaskRunner(max_workers=2))
    def main() -> int:
        return link.submit(300).result()

    assert main() == 300


# -- retries, timeouts, caching


def test_a_task_is_tried_again_and_its_attempts_are_recorded(h: Harness) -> None:
    tries: list[int] = []

    @task(retries=2)
    def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        return "done"

    @flow
    def main() -> str:
        return flaky()

    assert main() == "done"
    (run,) = h.task_runs()
    assert h.states(run) == ["Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed"]
    assert run.attempt == 3


def test_a_condition_decides_which_failures_are_worth_a_retry(h: Harness) -> None:
    @task(retries=5, retry_condition_fn=lambda exc: "again" in str(exc))
    def picky() -> None:
        raise ValueError("never")

    @flow
    def main() -> None:
        picky()

    with pytest.raises(ValueError, match="never"):
        main()
    assert h.states(h.task_runs()[0]) == ["Running", "Failed"]


def test_a_flow_is_tried_again_with_the_next_attempt_number(h: Harness) -> None:
    tries: list[int] = []

    @flow(retries=1)
    def main() -> int:
        tries.append(add(1))
        if len(tries) == 1:
            raise RuntimeError("first time")
        return len(tries)

    assert main() == 2
    (run,) = h.flow_runs()
    assert (run.attempt, run.state.name) == (2, "Completed")
    assert [task_run.flow_attempt for task_run in h.task_runs()] == [1, 2]


@pytest.mark.parametrize("submitted", [False, True])
def test_a_sync_task_that_takes_too_long_is_stopped_where_it_computes(h: Harness, submitted: bool) -> None:
    @task(timeout_seconds=0.1)
    def spin() -> None:
        while True:
            sum(range(100))

    @flow
    def main() -> None:
        if submitted:
            spin.submit().result()
        else:
            spin()

    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"timeout of 0\.1 s"):
        main()
    assert time.monotonic() - began < 5
    assert h.task_runs()[0].state.name == "TimedOut"


def test_a_sleeping_task_on_the_main_thread_is_stopped_at_once(h: Harness) -> None:
    @task(timeout_seconds=0.1)
    def doze() -> None:
        time.sleep(30)

    @flow
    def main() -> str:
        with pytest.raises(TimeoutError):
            doze()
        return "went on"

    assert main() == "went on"


def test_a_flow_that_takes_too_long_ends_the_task_it_is_in(h: Harness) -> None:
    @task
    def doze() -> None:
        time.sleep(30)

    @flow(timeout_seconds=0.2)
    def main() -> None:
        doze()

    with pytest.raises(TimeoutError):
        main()
    assert h.flow_runs()[0].state.name == "TimedOut"
    assert h.task_runs()[0].state.is_final


def test_a_cached_result_is_used_by_the_next_run_and_says_so(h: Harness) -> None:
    calls: list[int] = []

    @task(cache_key_fn=task_input_hash)
    def costly(x: int) -> list[int]:
        calls.append(x)
        return [x]

    @flow
    def main() -> list[int]:
        return costly(7)

    assert main() == main() == [7]
    assert calls == [7]
    second = h.task_runs(h.flow_runs()[1])[0]
    assert second.state.name == "Cached"
    assert h.states(second) == ["Cached"] or h.states(second) == ["Pending", "Cached"]


def test_an_expired_cache_entry_is_not_used(h: Harness) -> None:
    calls: list[int] = []

    @task(cache_key_fn=task_input_hash, cache_expiration=timedelta(0))
    def costly(x: int) -> int:
        calls.append(x)
        return x

    @flow
    def main() -> int:
        return costly(1)

    main(), main()
    assert calls == [1, 1]


def test_an_argument_that_cannot_be_hashed_is_named(h: Harness) -> None:
    @task(cache_key_fn=task_input_hash)
    def use(connection: object) -> None:
        pass

    @flow
    def main() -> None:
        use(threading.Lock())

    with pytest.raises(UsageError, match="'connection' of type lock has no stable hash"):
        main()
    assert h.task_runs()[0].state.type is StateType.FAILED


# -- results, parameters, names


def test_a_result_that_cannot_be_stored_leaves_the_true_state_and_says_why(h: Harness) -> None:
    @flow
    def main() -> object:
        return threading.Lock()

    main()
    (run,) = h.flow_runs()
    assert run.state.type is StateType.COMPLETED
    assert run.result is not None
    assert "lock cannot be serialised" in run.result.unavailable


def test_parameters_are_coerced_and_checked_before_anything_is_recorded(h: Harness) -> None:
    @flow
    def main(n: int, names: list[str] | None = None) -> int:
        return n

    assert main("5") == 5  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"parameter 'n' does not fit: .*valid integer.* \(it is 'many'\)"):
        main("many")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="missing a required argument: 'n'"):
        main()  # type: ignore[call-arg]
    assert len(h.flow_runs()) == 1


def test_run_names_come_from_the_template_or_are_readable(h: Harness) -> None:
    @flow(flow_run_name="train-{month}")
    def named(month: str) -> None:
        pass

    @flow
    def plain() -> None:
        pass

    named("may"), plain()
    first, second = h.flow_runs()
    assert first.name == "train-may"
    assert second.name.count("-") == 1


def test_options_that_do_not_exist_are_refused_at_the_decorator_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean retries"):
        task(retrys=3)(lambda: None)
    with pytest.raises(UsageError, match="did you mean retries"):
        task(retry=3)(lambda: None)
    with pytest.raises(UsageError, match="cannot be negative"):
        flow(retries=-1)(lambda: None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": "3"}, "a whole number"),
        ({"retries": 1.5}, "a whole number"),
        ({"retry_delay_seconds": "15s"}, "a number of seconds"),
        ({"retry_delay_seconds": [1, "2"]}, "a number of seconds"),
        *(({"timeout_seconds": wrong}, "a number of seconds above 0") for wrong in ("3", 0, 0.0, float("nan"))),
        ({"retry_condition_fn": [ValueError]}, "a function of the exception"),
        ({"cache_expiration": 60}, "a timedelta"),
        ({"trigger": "on_failure"}, "any_failed"),
        ({"on_failure": "alert"}, "a list of functions"),
        ({"tags": "nightly"}, "a list of text"),
        ({"tags": [2021]}, "a list of text"),
        ({"name": 3}, "give text"),
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused_at_the_decorator_with_what_would(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        task(**options)(lambda: None)
    with pytest.raises(UsageError, match=words):
        task(lambda: None).with_options(**options)


def test_a_task_runner_that_is_none_is_refused_at_the_decorator() -> None:
    with pytest.raises(UsageError, match=r"task_runner='process'.*\ngive a task runner"):
        flow(task_runner="process")(lambda: None)


@pytest.mark.parametrize("given", ["nightly", [2021]], ids=str)
def test_a_deployment_s_tags_are_a_list_of_text(given: Any) -> None:
    with pytest.raises(UsageError, match=r"deployment 'prod' has tags=.*\ngive a list of text"):
        Deployment(flow(fail), name="prod", tags=given)


def test_a_tag_that_is_no_text_is_refused_where_it_is_given() -> None:
    with pytest.raises(UsageError, match=r"tags\(2021\): a tag is text"), tags(2021):  # type: ignore[arg-type]
        pass


def test_an_exception_shows_the_users_frames_only(h: Harness) -> None:
    @flow
    def main() -> None:
        fail()

    with pytest.raises(ValueError, match="no luck") as caught:
        main()
    names = [frame.name for frame in caught.traceback]
    assert names[-2:] == ["main", "fail"]
    assert not any("legato" in str(frame.path) for frame in caught.traceback[1:])
    (run,) = h.flow_runs()
    assert run.error is not None
    assert (run.error.type, run.error.function) == ("ValueError", "fail")
    assert "raise ValueError(message)" in run.error.source


def test_an_exception_of_a_task_outside_a_flow_shows_the_users_frames_only(h: Harness) -> None:
    with pytest.raises(ValueError, match="no luck") as caught:
        fail()
    assert [frame.name for frame in caught.traceback][1:] == ["fail"]


def test_an_error_of_ours_on_purpose_shows_no_frame_of_ours(h: Harness) -> None:
    @flow
    def main(n: int) -> None:
        pass

    with pytest.raises(ParameterError) as caught:
        main("many")  # type: ignore[arg-type]
    assert [frame.name for frame in caught.traceback] == ["test_an_error_of_ours_on_purpose_shows_no_frame_of_ours"]


# -- nesting, methods, logs


def test_a_nested_flow_is_a_run_of_its_own_and_depends_on_what_it_was_given(h: Harness) -> None:
    @flow
    def child(x: int) -> int:
        return add(x)

    @flow
    def parent() -> int:
        return child(add.submit(1))  # type: ignore[arg-type]

    assert parent() == 3
    outer, inner = h.flow_runs()
    assert inner.parent_run_id == outer.id
    assert inner.upstream == (h.task_runs(outer)[0].id,)


def test_flows_and_tasks_work_as_methods(h: Harness) -> None:
    class Model:
        factor = 3

        @task
        def scale(self, x: int) -> int:
            return x * self.factor

        @flow
        def run(self, x: int) -> int:
            return self.scale(x)

    assert Model().run(4) == 12
    assert h.task_runs()[0].name == "scale-0"


def test_logs_and_prints_go_to_the_runs_log(h: Harness) -> None:
    @task
    def speak() -> None:
        get_run_logger().warning("careful %s", "now")

    @flow(log_prints=True)
    def main() -> None:
        print("hello", 3)
        speak()

    main()
    lines = h.logs()
    assert [(line.level, line.message) for line in lines] == [(20, "hello 3"), (30, "careful now")]
    assert lines[1].task_run_id == h.task_runs()[0].id


class Unspeakable:
    """Cannot be shown, as objects of some libraries cannot when they are half made."""

    def __repr__(self) -> str:
        raise RuntimeError("not yet")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (("%s and %s", "one"), "%s and %s ('one',) (it could not be formatted: TypeError)"),
        (("%d rows", "many"), "%d rows ('many',) (it could not be formatted: TypeError)"),
        (("done", 1, 2), "done (1, 2) (it could not be formatted: TypeError)"),
        (("100%",), "100%"),
        (("100% of %s", "all"), "100% of %s ('all',) (it could not be formatted: TypeError)"),
        (("%s", Unspeakable()), "%s <tuple> (it could not be formatted: RuntimeError)"),
        ((Unspeakable(),), "<Unspeakable> () (it could not be formatted: RuntimeError)"),
        ((5,), "5"),
        (("%(a)s", {"b": 1}), "%(a)s {'b': 1} (it could not be formatted: KeyError)"),
    ],
    ids=lambda said: str(said[0])[:12] if isinstance(said, tuple) and isinstance(said[0], str) else None,
)
def test_a_line_that_cannot_be_put_together_is_kept_all_the_same(
    h: Harness, said: tuple[Any, ...], kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = new_id()  # a logger that pytest has not put its handlers on, which raise what cannot be formatted

    @flow
    def main() -> None:
        get_run_logger(name).info(*said)
        get_run_logger(name).info("after")

    main()

    assert [line.message for line in h.logs()] == [kept, "after"]
    assert ("--- Logging error ---" in capsys.readouterr().err) == ("could not be formatted" in kept)


@pytest.mark.parametrize("end", ["\n", "", "!", "!\n", " ", None, "\n\n"])
@pytest.mark.parametrize("sep", [" ", "", "-", None])
def test_a_line_of_the_log_is_what_print_would_have_written(h: Harness, sep: str | None, end: str | None) -> None:
    @flow(log_prints=True)
    def main() -> str:
        print("a", 2, sep=sep, end=end)
        written = io.StringIO()
        print("a", 2, sep=sep, end=end, file=written)
        return written.getvalue()

    written = main()

    assert [line.message for line in h.logs()] == [written.removesuffix("\n")]


def test_failures_and_retries_stand_in_the_runs_log(h: Harness) -> None:
    @task(retries=1)
    def broken() -> None:
        raise ValueError("no luck")

    @flow
    def main() -> None:
        broken()

    with pytest.raises(ValueError, match="no luck"):
        main()
    warning, of_task, of_flow = h.logs()
    assert (warning.level, warning.message.partition(";")[0]) == (30, "attempt 1 failed: ValueError: no luck")
    assert of_task.task_run_id == h.task_runs()[0].id
    assert "in broken" in of_task.message
    assert (of_flow.level, of_flow.task_run_id) == (40, None)


@pytest.mark.parametrize("submitted", [False, True])
def test_a_cancel_during_a_retry_delay_is_heard_at_once(h: Harness, submitted: bool) -> None:
    waiting = threading.Event()

    @task(retries=1, retry_delay_seconds=60)
    def broken() -> None:
        waiting.set()
        raise ValueError("no luck")

    @flow
    def main() -> None:
        if submitted:
            broken.submit().result()
        else:
            broken()

    def cancel() -> None:
        waiting.wait()
        until(lambda: h.task_runs() and h.task_runs()[0].state.name == "AwaitingRetry", what="the retry delay")
        for held in list(h.engine._held.values()):
            held.stop("cancelled")

    helper = threading.Thread(target=cancel)
    helper.start()
    began = time.monotonic()
    with pytest.raises(RunFailure):
        main()
    helper.join()
    assert time.monotonic() - began < 10
    assert h.flow_runs()[0].state.type is StateType.CANCELLED
    assert h.task_runs()[0].state.type is StateType.CANCELLED


def test_a_logger_outside_a_run_is_refused() -> None:
    with pytest.raises(UsageError, match="outside a flow"):
        get_run_logger()


# -- async


@task
async def aadd(x: int) -> int:
    await asyncio.sleep(0.001)
    return x + 1


def test_async_flows_await_tasks_and_gather_futures(h: Harness) -> None:
    @flow
    async def main() -> int:
        one = await aadd(1)
        many = await asyncio.gather(*[aadd(i) for i in range(3)])
        future = aadd.submit(10)
        threaded = add.submit(future)
        return one + sum(many) + await threaded

    assert asyncio.run(main()) == 2 + 6 + 12
    assert h.flow_runs()[0].state.type is StateType.COMPLETED
    assert len(h.task_runs()) == 6


def test_a_sync_flow_submits_async_tasks(h: Harness) -> None:
    @flow
    def main() -> list[int]:
        return [future.result() for future in aadd.map([1, 2, 3])]

    assert main() == [2, 3, 4]


def test_a_sync_flow_inside_a_running_loop_does_not_wait_for_that_loop(h: Harness) -> None:
    @flow
    def main() -> list[int]:
        return [future.result() for future in aadd.map([1, 2])]

    async def notebook() -> list[int]:
        return main()

    assert asyncio.run(notebook()) == [2, 3]


def test_async_timeouts_and_retries(h: Harness) -> None:
    tries: list[int] = []

    @task(timeout_seconds=0.05, retries=1)
    async def slow() -> None:
        tries.append(1)
        await asyncio.sleep(10)

    @flow
    async def main() -> None:
        await slow()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert h.task_runs()[0].state.name == "TimedOut"


def test_a_cancelled_async_task_is_recorded_and_the_users_own_timeout_stays_his(h: Harness) -> None:
    @task
    async def slow() -> None:
        await asyncio.sleep(10)

    @flow
    async def main() -> str:
        try:
            async with asyncio.timeout(0.05):
                await slow()
        except TimeoutError:
            return "mine"
        return "not mine"

    assert asyncio.run(main()) == "mine"
    assert h.task_runs()[0].state.name == "Cancelled"


def test_cancelling_a_flow_from_outside_stops_its_threads_and_records_it(h: Harness) -> None:
    started = threading.Event()

    @task
    def spin() -> None:
        started.set()
        while True:
            time.sleep(0.01)

    @flow
    def main() -> None:
        spin.submit().result()

    def cancel() -> None:
        started.wait()
        for held in list(h.engine._held.values()):
            held.stop("cancelled")

    helper = threading.Thread(target=cancel)
    helper.start()
    with pytest.raises(RunFailure):
        main()
    helper.join()
    assert h.flow_runs()[0].state.type is StateType.CANCELLED
    assert h.task_runs()[0].state.type is StateType.CANCELLED


def test_a_flow_with_one_task_loads_nothing_heavy(tmp_path: Path) -> None:
    script = tmp_path / "one.py"
    script.write_text(
        "import sys\nfrom legato import flow, task\n\n@task\ndef one():\n    return 1\n\n@flow\ndef main():\n    return one()\n\nmain()\n"
        "heavy = {'typing_extensions', 'inspect', 'asyncio', 'logging', 'hashlib', 'random', 'traceback', 'pydantic', 'cloudpickle', 'json'}\n"
        "print(sorted(heavy & {name for name, module in sys.modules.items() if module is not None}), len(sys.modules))\n"
    )
    environ = {**os.environ, "LEGATO_HOME": str(tmp_path / "home")}

    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=True)

    heavy, _, count = done.stdout.strip().rpartition(" ")
    assert heavy == "[]"
    assert int(count) < 190
