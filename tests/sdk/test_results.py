"""Results of flows and tasks: how they are stored, and how past ones are read."""

from typing import Any

import pytest

from legato import INPUTS, flow, read_result, task
from legato.core.errors import NotFound, ResultMissing, UsageError
from legato.testing import Harness

from tests.store.served import SetClock, served


@task(persist_result=True)
def load(n: int) -> list[int]:
    return list(range(n))


@task
def unstored() -> int:
    return 1


@flow
def numbers(n: int) -> int:
    unstored()
    return len(load(n))


def test_a_past_run_s_value_is_read_by_name_id_and_the_beginning_of_its_id(h: Harness) -> None:
    numbers(3)
    (run,) = h.flow_runs()

    assert [read_result(run.name), read_result(run.id), read_result(run.id[:30])] == [3, 3, 3]


def test_a_task_s_value_is_read_by_its_name_or_id_small_or_large(h: Harness) -> None:
    numbers(3)
    numbers(5000)
    small, large = h.flow_runs()

    assert read_result(small.name, "load-0") == [0, 1, 2]
    assert read_result(large.id, task="load-0") == list(range(5000))
    assert read_result(h.task_runs(small)[1].id) == [0, 1, 2]
    assert h.task_runs(large)[1].result.key


def test_of_several_attempts_the_latest_one_s_value_is_read(h: Harness) -> None:
    going_well: list[bool] = []

    @task(persist_result=True)
    def count() -> int:
        if not going_well:
            raise ValueError("not yet")
        return 7

    @flow
    def counting() -> int:
        return count()

    with pytest.raises(ValueError, match="not yet"):
        counting()
    (run,) = h.flow_runs()
    going_well.append(True)
    counting.resume(run.id)

    assert read_result(run.name, task="count-0") == 7


def test_what_has_no_stored_value_says_why(h: Harness) -> None:
    numbers(1)
    (run,) = h.flow_runs()

    with pytest.raises(ResultMissing, match=r"'unstored-0' has no stored value: it is Completed\ngive the task persist_result"):
        read_result(run.name, "unstored-0")


def test_what_is_not_there_is_not_found(h: Harness) -> None:
    numbers(1)

    with pytest.raises(NotFound, match="flow run 'nobody'"):
        read_result("nobody")
    with pytest.raises(NotFound, match="load-7"):
        read_result(h.flow_runs()[0].name, "load-7")


def test_a_name_that_two_runs_have_is_refused_with_their_ids(h: Harness) -> None:
    twins = numbers.with_options(flow_run_name="twin")
    twins(1), twins(2)

    with pytest.raises(UsageError, match=f"'twin' could be any of these runs: .*{h.flow_runs()[0].id}"):
        read_result("twin")


def test_through_a_server_with_shared_storage_values_are_read_as_well(h: Harness) -> None:
    from legato.engine.process import Engine
    from legato.sdk import process
    from legato.store.remote import RemoteStore

    numbers(5000)
    (run,) = h.flow_runs()
    with served(h.store, SetClock()) as url:
        engine = Engine(RemoteStore(url), h.engine.blobs)
        process.use_engine(engine, process.current_settings())

        assert read_result(run.name, "load-0") == list(range(5000))
        process.use_engine(h.engine, process.current_settings())
        engine.close()


def test_a_task_s_serializer_beats_the_flow_s_and_a_cached_value_is_read_by_the_one_that_wrote_it(h: Harness) -> None:
    @task(persist_result=True, result_serializer="pickle")
    def own() -> list[int]:
        return [1]

    @task(cache_policy=INPUTS)
    def inherited() -> list[int]:
        return [2]

    @flow(result_serializer="zlib/json")
    def main() -> list[Any]:
        return [own(), inherited()]

    assert main() == [[1], [2]]
    assert [run.result and run.result.serializer for run in h.task_runs()] == ["cloudpickle", "zlib/json"]
    assert h.flow_runs()[0].result.serializer == "zlib/json"
    assert main.with_options(result_serializer=None)() == [[1], [2]]


def test_a_serializer_that_does_not_exist_is_refused_before_anything_runs(h: Harness) -> None:
    @task(result_serializer="jason")
    def wrong() -> int:
        return 1

    @flow
    def main() -> int:
        return wrong()

    with pytest.raises(UsageError, match="no result serializer 'jason'"):
        main()
    assert h.task_runs() == []


class Hostile:
    """Whatever is asked of it raises."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)

    def __repr__(self) -> str:
        raise ValueError("repr")

    def __len__(self) -> int:
        raise ValueError("len")

    def __bool__(self) -> bool:
        raise ValueError("bool")

    def __eq__(self, other: object) -> bool:
        raise ValueError("eq")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("make", [Hostile, lambda: [Hostile()], lambda: {"a": Hostile()}, lambda: (Hostile(), 1)])
def test_a_value_that_raises_whatever_is_asked_is_a_value_all_the_same(h: Harness, make: Any) -> None:
    @task(persist_result=True)
    def t(x: Any) -> Any:
        return x

    @flow(retries=1)
    def f() -> Any:
        return t(make())

    f()

    assert {run.state.name for run in [*h.flow_runs(), *h.task_runs()]} == {"Completed"}
