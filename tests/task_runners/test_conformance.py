"""What every task runner must do. The tests see it as users do: from the flow, from what is recorded, and from files that tasks write."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legato import Variable, allow_failure, flow, tags, task
from legato.core.errors import RunCancelled, RunCrashed, RunFailure, TaskTimeout, UpstreamFailed, UsageError
from legato.testing import Harness

from tests.support.waiting import until
from tests.task_runners import work
from tests.task_runners.conftest import make


def in_flow(runner: Any, body: Callable[[], Any], **options: Any) -> Any:
    """Run `body` as a flow whose tasks go to `runner`."""

    @flow(task_runner=runner, **options)
    def main() -> Any:
        return body()

    return main()


# -- values


def test_a_value_comes_back(h: Harness, runner: Any) -> None:
    assert in_flow(runner, lambda: work.double.submit(21).result()) == 42

    (run,) = h.task_runs()
    assert run.name == "double-0"
    assert h.states(run) == ["Pending", "Running", "Completed"]


def test_map_keeps_the_order(h: Harness, runner: Any) -> None:
    assert in_flow(runner, lambda: [future.result() for future in work.double.map(range(20))]) == [2 * n for n in range(20)]


def test_tasks_run_elsewhere_and_their_workers_are_kept(h: Harness, away: Any) -> None:
    import os

    pids = in_flow(away, lambda: [work.where.submit().result() for _ in range(6)])

    assert os.getpid() not in pids
    assert len(set(pids)) <= 2


def test_a_function_inside_another_function_runs_with_what_it_closes_over(h: Harness, runner: Any) -> None:
    factor = 3

    class Box:
        def __init__(self, content: int) -> None:
            self.content = content

    @task
    def fill(x: int) -> Box:
        return Box(factor * x)

    box = in_flow(runner, lambda: fill.submit(5).result())

    assert type(box) is Box
    assert box.content == 15


def test_large_values_go_there_and_back(h: Harness, runner: Any) -> None:
    data = bytes(range(256)) * 20_000  # 5 MB

    assert in_flow(runner, lambda: work.big.submit(data).result()) == data[::-1]


def test_a_direct_call_stays_in_the_flows_process(h: Harness, runner: Any) -> None:
    import os

    assert in_flow(runner, work.where) == os.getpid()


def test_async_tasks_are_awaited_where_tasks_run(h: Harness, runner: Any) -> None:
    assert in_flow(runner, lambda: work.double_later.submit(4).result()) == 8

    names = {run.name.partition("-")[0]: run for run in h.task_runs()}
    assert names.keys() == {"double_later", "double_much_later"}
    assert [line.message for line in h.logs()] == ["awaited 4"]


@pytest.mark.parametrize("make_items", [work.count_to, work.count_slowly_to], ids=["sync", "async"])
def test_a_submitted_generator_task_gives_the_list_of_its_items(h: Harness, runner: Any, make_items: Any) -> None:
    assert in_flow(runner, lambda: make_items.submit(3).result()) == [0, 1, 2]


async def _async_body(results: list[Any]) -> None:
    futures = work.double.map([1, 2, 3])
    results.extend([await future for future in futures])
    results.append(await work.double_later.submit(5))


def test_an_async_flow_awaits_its_futures(h: Harness, runner: Any) -> None:
    import asyncio

    results: list[Any] = []

    @flow(task_runner=runner)
    async def main() -> None:
        await _async_body(results)

    asyncio.run(main())

    assert results == [2, 4, 6, 10]


# -- dependencies


def test_futures_are_arguments(h: Harness, runner: Any) -> None:
    def body() -> int:
        first = work.double.submit(2)
        return int(work.add.submit(first, y=first).result())

    assert in_flow(runner, body) == 8

    first, second = h.task_runs()
    assert second.upstream == (first.id,)


def test_wait_for_waits(h: Harness, concurrent: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes"

    def body() -> None:
        first = work.note_slowly.submit(file)
        work.work_at_third.with_options(retries=0).submit(file, wait_for=[first]).exception()

    in_flow(concurrent, body)

    assert work.notes(file) == ["done", "tried"]


def test_a_failed_upstream_keeps_a_task_from_starting(h: Harness, runner: Any) -> None:
    def body() -> None:
        refused = work.refuse.submit()
        with pytest.raises(UpstreamFailed, match="refuse-0"):
            work.double.submit(refused).result()
        assert refused.exception() is not None

    in_flow(runner, body)

    assert [run.state.name for run in h.task_runs()] == ["Failed", "UpstreamFailed"]


def test_a_failure_that_is_allowed_is_handed_on(h: Harness, runner: Any) -> None:
    @task
    def describe(value: Any) -> str:
        return f"{type(value).__name__} {value.code}"

    assert in_flow(runner, lambda: describe.submit(allow_failure(work.refuse.submit())).result()) == "Refusal 17"


# -- failures


def test_an_exception_comes_back_as_what_it_was(h: Harness, runner: Any) -> None:
    def body() -> None:
        with pytest.raises(work.Refusal, match="the loan was refused with code 17") as caught:
            work.refuse.submit().result()
        assert (caught.value.what, caught.value.code) == ("the loan", 17)

    in_flow(runner, body)

    (run,) = h.task_runs()
    assert run.error is not None
    assert (run.error.type, run.error.function, Path(run.error.file).name) == ("Refusal", "_deeper", "work.py")
    assert 'raise Refusal("the loan", 17)' in run.error.source
    assert "in refuse" in run.error.traceback
    assert "in _deeper" in run.error.traceback


def test_an_exception_keeps_its_cause(h: Harness, runner: Any) -> None:
    @task
    def rethrow() -> None:
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise ValueError("the effect") from error

    def body() -> None:
        with pytest.raises(ValueError, match="the effect") as caught:
            rethrow.submit().result()
        assert type(caught.value.__cause__) is KeyError

    in_flow(runner, body)

    (run,) = h.task_runs()
    assert run.error is not None
    assert "the direct cause" in run.error.traceback


def test_a_task_is_tried_again(h: Harness, runner: Any, tmp_path: Path) -> None:
    assert in_flow(runner, lambda: work.work_at_third.submit(tmp_path / "notes").result()) == 3

    (run,) = h.task_runs()
    assert h.states(run) == ["Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed"]
    assert run.attempt == 3


def test_a_failure_nobody_asked_about_fails_the_flow(h: Harness, runner: Any) -> None:
    with pytest.raises(UpstreamFailed, match="refuse-0"):
        in_flow(runner, lambda: work.refuse.submit() and None)


def test_sys_exit_in_a_task_crashes_the_task_only(h: Harness, runner: Any) -> None:
    @task
    def leave() -> None:
        raise SystemExit(4)

    def body() -> int:
        future = leave.submit()
        assert isinstance(future.exception(), SystemExit)
        return int(work.double.submit(2).result())

    assert in_flow(runner, body) == 4
    assert [run.state.name for run in h.task_runs()] == ["Crashed", "Completed"]


# -- stopping


def test_a_task_is_stopped_at_its_timeout(h: Harness, runner: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes"

    def body() -> None:
        work.double.submit(1).result()  # a worker is there: what follows is the function's own time
        with pytest.raises(TaskTimeout, match=r"longer than its timeout of 0\.5 s"):
            work.spin.with_options(timeout_seconds=0.5).submit(file).result()
        assert work.double.submit(4).result() == 8

    in_flow(runner, body)

    assert until(lambda: len(work.notes(file)) == 2 and work.notes(file)) == ["begun", "cleaned"]
    assert [run.state.name for run in h.task_runs()] == ["Completed", "TimedOut", "Completed"]


@pytest.mark.parametrize("endless", [work.spin, work.wait_forever], ids=["sync", "async"])
def test_cancelling_the_flow_stops_its_tasks(h: Harness, concurrent: Any, tmp_path: Path, endless: Any) -> None:
    file = tmp_path / "notes"
    caught: list[BaseException] = []

    def run() -> None:
        try:
            in_flow(concurrent, lambda: endless.submit(file).result())
        except BaseException as exc:  # noqa: BLE001 whatever it is, the test looks at it
            caught.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: work.notes(file), what="the task's beginning")
    h.store.request_cancel(h.flow_runs()[0].id)
    h.engine._beat(dict(h.engine._held))
    thread.join(20)

    assert not thread.is_alive()
    assert isinstance(caught[0], RunCancelled)
    assert until(lambda: len(work.notes(file)) == 2 and work.notes(file)) == ["begun", "cleaned"]
    assert h.flow_runs()[0].state.name == "Cancelled"
    assert [run.state.name for run in h.task_runs()] == ["Cancelled"]


# -- what tasks say


def test_log_lines_arrive_in_the_runs_log(h: Harness, runner: Any) -> None:
    in_flow(runner, lambda: [work.log_and_print.submit(word).result() for word in ("one", "two")])

    runs = {run.name: run.id for run in h.task_runs()}
    logged = [(line.task_run_id, line.level, line.message) for line in h.logs()]
    assert logged == [(runs["log_and_print-0"], 30, "logged one"), (runs["log_and_print-1"], 30, "logged two")]


def test_prints_arrive_in_the_runs_log_if_the_flow_wants_that(h: Harness, runner: Any) -> None:
    in_flow(runner, lambda: work.log_and_print.submit("one").result(), log_prints=True)

    assert [(line.logger, line.message) for line in h.logs()] == [("legato.run", "logged one"), ("print", "printed one")]


# -- tasks and flows in tasks


def test_a_task_called_in_a_task_is_recorded_in_the_same_flow(h: Harness, runner: Any) -> None:
    assert in_flow(runner, lambda: work.outer.submit(3).result()) == 7

    by_task = {run.key.rpartition(".")[2]: run for run in h.task_runs()}
    assert by_task.keys() == {"outer", "double"}
    assert by_task["double"].flow_run_id == h.flow_runs()[0].id
    assert h.states(by_task["double"]) == ["Running", "Completed"]


def test_tags_reach_the_tasks_called_in_a_task(h: Harness, runner: Any) -> None:
    def body() -> None:
        with tags("night"):
            work.outer.submit(3).result()
        work.outer.submit(3).result()

    in_flow(runner, body)

    assert sorted(run.tags for run in h.task_runs()) == [(), (), ("night",), ("night",)]


def test_a_task_may_submit_tasks_and_wait_for_them(h: Harness, runner: Any) -> None:
    assert in_flow(runner, lambda: [future.result() for future in work.outer_that_submits.map(range(6))]) == [2, 6, 10, 14, 18, 22]

    assert len(h.task_runs()) == 18
    assert {run.state.name for run in h.task_runs()} == {"Completed"}


def test_a_tree_of_waiting_tasks_does_not_deadlock(h: Harness, runner: Any) -> None:
    assert in_flow(runner, lambda: work.tree.submit(6).result()) == 127

    assert len(h.task_runs()) == 127


def test_the_flow_ends_after_all_that_was_submitted(h: Harness, concurrent: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes"

    def body() -> None:
        work.leave_behind.submit(file)
        work.note_slowly.submit(file)

    in_flow(concurrent, body)

    assert work.notes(file) == ["done", "done"]
    assert [run.state.name for run in h.task_runs()] == ["Completed"] * 3
    assert h.flow_runs()[0].state.name == "Completed"


def test_a_failure_left_behind_in_a_task_fails_the_flow(h: Harness, runner: Any) -> None:
    with pytest.raises(UpstreamFailed, match=r"refuse-.*refused with code 17"):
        in_flow(runner, lambda: work.leave_a_failure_behind.submit().result())


def test_a_flow_called_in_a_task_is_a_run_of_its_own(h: Harness, runner: Any) -> None:
    assert in_flow(runner, lambda: work.call_a_flow.submit(3).result()) == 4

    main, inner = h.flow_runs()
    assert (main.flow_name, inner.flow_name, inner.parent_run_id) == ("main", "inner-flow", main.id)
    assert inner.state.name == "Completed"
    assert [run.name.partition("-")[0] for run in h.task_runs(inner)] == ["add"]


# -- artifacts and variables


def test_an_artifact_made_in_a_task_is_the_tasks(h: Harness, runner: Any) -> None:
    in_flow(runner, lambda: work.show.submit("# Hello").result())

    (artifact,) = h.store.list_artifacts().items
    assert (artifact.key, artifact.task_run_id) == ("shown", h.task_runs()[0].id)


@pytest.mark.parametrize("local", ["threads", "forkserver", "spawn"])
def test_a_task_on_this_machine_reads_variables(h: Harness, local: str, request: pytest.FixtureRequest) -> None:
    Variable.set("limit", 10)

    assert in_flow(make(local, request), lambda: work.read_variable.submit("limit").result()) == 10


def test_a_task_on_a_cluster_cannot_read_variables_and_says_so(h: Harness, request: pytest.FixtureRequest) -> None:
    Variable.set("limit", 10)

    with pytest.raises(UsageError, match="the store cannot be asked"):
        in_flow(make("dask", request), lambda: work.read_variable.submit("limit").result())


# -- results


def test_results_are_stored_and_cached_ones_are_not_made_again(h: Harness, runner: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes"

    @task(cache_key_fn=lambda _task, parameters: str(parameters["x"]))
    def make(x: int) -> list[int]:
        work.note(file, "made")
        return [x] * 2000

    for _ in range(2):
        assert in_flow(runner, lambda: make.submit(7).result()) == [7] * 2000

    assert work.notes(file) == ["made"]
    first, second = (h.task_runs(run)[0] for run in h.flow_runs())
    assert (first.state.name, second.state.name) == ("Completed", "Cached")


def test_a_retry_of_the_flow_reuses_what_its_tasks_gave(h: Harness, runner: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes"

    def body() -> list[int]:
        values = [future.result() for future in work.note_and_double.map([str(file)] * 3, [1, 2, 3])]
        if not work.notes(tmp_path / "attempts"):
            work.note(tmp_path / "attempts", "one")
            raise ValueError("the first attempt fails")
        return values

    assert in_flow(runner, body, retries=1, persist_result=True) == [2, 4, 6]

    assert len(work.notes(file)) == 3


def test_a_task_knows_its_run_and_its_flows(h: Harness, runner: Any) -> None:
    @flow(task_runner=runner)
    def main(city: str) -> Any:
        return work.describe_run.submit(5).result()

    described = main("rome")

    assert described == ("describe_run-0", "describe_run", {"x": 5}, h.flow_runs()[0].id, "main")


def test_hooks_are_called_in_the_flows_process(h: Harness, runner: Any) -> None:
    import os

    pids: list[int] = []

    in_flow(runner, lambda: work.double.with_options(on_completion=lambda *_: pids.append(os.getpid())).submit(1).result())

    assert pids == [os.getpid()]


def test_a_nested_tasks_result_is_stored(h: Harness, runner: Any) -> None:
    @task(persist_result=True)
    def inner() -> bytes:
        return b"x" * 10_000

    @task
    def around() -> int:
        return len(inner())

    assert in_flow(runner, lambda: around.submit().result()) == 10_000

    stored = next(run.result for run in h.task_runs() if run.name.startswith("inner"))
    assert stored is not None
    assert stored.key is not None
    assert len(h.engine.blobs.get(stored.key)) == stored.size


# -- things that cannot travel


def test_an_argument_that_cannot_travel_is_named(h: Harness, away: Any) -> None:
    def body() -> None:
        with pytest.raises(UsageError, match=r"argument 'y' of task 'add' is of type _thread\.lock, which cannot be sent") as caught:
            work.add.submit(1, threading.Lock()).result()  # type: ignore[arg-type]
        assert "make it in the task" in caught.value.hint

    in_flow(away, body)


def test_a_result_that_cannot_travel_is_a_failure_that_says_so(h: Harness, away: Any) -> None:
    def body() -> None:
        with pytest.raises(UsageError, match=r"the result of task 'give_lock' is of type _thread\.lock"):
            work.give_lock.submit().result()

    in_flow(away, body)


def test_a_function_that_cannot_travel_is_a_failure_that_says_so(h: Harness, away: Any) -> None:
    lock = threading.Lock()

    @task
    def locked() -> bool:
        return lock.locked()

    def body() -> None:
        with pytest.raises(UsageError, match="the function of task 'locked' cannot be sent to another process"):
            locked.submit().result()

    in_flow(away, body)


def test_an_exception_that_cannot_travel_is_replaced_by_one_that_says_what_it_said(h: Harness, away: Any) -> None:
    def body() -> None:
        with pytest.raises(RunFailure, match="Sullen: I hold a lock") as caught:
            work.sulk.submit().result()
        assert type(caught.value) is RunFailure

    in_flow(away, body)

    (run,) = h.task_runs()
    assert run.error is not None
    assert run.error.function == "sulk"


# -- workers that die


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_task_whose_worker_dies_is_crashed_and_the_next_finds_another(h: Harness, away: Any, how: str) -> None:
    def body() -> None:
        with pytest.raises(RunCrashed, match="die-0"):
            work.die.submit(how).result()
        assert work.double.submit(8).result() == 16

    in_flow(away, body)

    assert [run.state.name for run in h.task_runs()] == ["Crashed", "Completed"]


def test_a_lost_task_is_tried_again(h: Harness, away: Any, tmp_path: Path) -> None:
    assert in_flow(away, lambda: work.die_once.submit(tmp_path / "notes").result()) == "survived"


# -- many


@pytest.mark.timeout(240)
def test_a_thousand_tasks(h: Harness, runner: Any) -> None:
    assert in_flow(runner, lambda: sum(future.result() for future in work.double.map(range(1000)))) == 999_000

    assert h.store.count_task_runs([h.flow_runs()[0].id])[h.flow_runs()[0].id] == {"completed": 1000}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_tasks(h: Harness, runner: Any) -> None:
    before = threading.active_count()
    begun = []

    def body() -> int:
        futures = work.double.map(range(10_000))
        begun.append(threading.active_count() - before)
        return sum(future.result() for future in futures)

    assert in_flow(runner, body) == 99_990_000

    assert h.store.count_task_runs([h.flow_runs()[0].id])[h.flow_runs()[0].id] == {"completed": 10_000}
    assert begun[0] < 60


def test_two_flows_at_once(h: Harness, runner: Any) -> None:
    sums: dict[int, int] = {}

    def run(first: int) -> None:
        sums[first] = in_flow(runner, lambda: sum(future.result() for future in work.double.map(range(first, first + 50))))

    threads = [threading.Thread(target=run, args=(first,)) for first in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sums == {0: 2450, 100: 12_450}
