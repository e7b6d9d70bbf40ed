"""Everything a flow and a task can be: generators, methods, calls outside flows, names, tags."""

import asyncio
import builtins
import functools
import itertools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from legato import Future, flow, runtime, tags, task
from legato.core.errors import UsageError
from legato.sdk import logging as logging_of_runs
from legato.sdk.process import current_settings, use_engine
from legato.testing import Harness

from tests.support.waiting import until


@task
def double(x: int) -> int:
    return 2 * x


@task
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@task
async def anumbers(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


# -- generators


def test_a_generator_task_hands_on_its_items_as_they_come(h: Harness) -> None:
    seen: list[Any] = []

    @task
    def talk() -> Generator[int, None, str]:
        for i in range(3):
            seen.append(("made", i))
            yield i
        return "bye"

    @flow
    def main() -> str:
        items = talk()
        assert seen == []
        while True:
            try:
                seen.append(("got", next(items)))
            except StopIteration as end:
                return str(end.value)

    assert main() == "bye"
    assert seen == [("made", 0), ("got", 0), ("made", 1), ("got", 1), ("made", 2), ("got", 2)]
    (run,) = h.task_runs()
    assert (run.name, run.state.name, run.state.message) == ("talk-0", "Completed", "3 items")


def test_what_the_reader_sends_reaches_the_generator(h: Harness) -> None:
    @task
    def echo() -> Generator[Any, Any, None]:
        said = yield "ready"
        while True:
            said = yield f"you said {said}"

    @flow
    def main() -> list[str]:
        talk = echo()
        heard = [next(talk), talk.send("a"), talk.send("b")]
        talk.close()
        return heard

    assert main() == ["ready", "you said a", "you said b"]
    assert h.task_runs()[0].state.message == "the reader stopped after 3 items"


def test_a_reader_that_stops_runs_the_generators_finally(h: Harness) -> None:
    closed = []

    @task
    def forever() -> Iterator[int]:
        try:
            n = 0
            while True:
                yield n
                n += 1
        finally:
            closed.append(runtime.task_run.name)

    @flow
    def main() -> int:
        for item in forever():
            if item == 2:
                break
        return item

    assert main() == 2
    assert closed == ["forever-0"]
    assert h.task_runs()[0].state.name == "Completed"


def test_a_generators_body_is_its_run_and_its_reader_is_not(h: Harness) -> None:
    inside: list[str] = []

    @task
    def items() -> Iterator[int]:
        inside.append(runtime.task_run.name)
        yield 1

    @flow
    def main() -> None:
        for _ in items():
            inside.append(str(runtime.task_run))  # noqa: PERF401 said inside the loop, on purpose

    main()
    assert inside == ["items-0", "None"]


def test_a_generator_that_fails_before_its_first_item_is_tried_again_and_later_not(h: Harness) -> None:
    calls = []

    @task(retries=2)
    def flaky(after: int) -> Iterator[int]:
        calls.append(1)
        for i in range(5):
            if len(calls) < 3 and i == after:
                raise OSError("down")
            yield i

    @flow
    def early() -> list[int]:
        return list(flaky(0))

    assert early() == [0, 1, 2, 3, 4]
    assert len(calls) == 3

    calls.clear()

    @flow
    def late() -> list[int]:
        return list(flaky(2))

    with pytest.raises(OSError, match="down"):
        late()
    assert len(calls) == 1


def test_a_submitted_generator_gives_the_list_of_its_items(h: Harness) -> None:
    @flow
    def main() -> list[list[int]]:
        return [numbers.submit(3).result(), *numbers.map([1, 2]).result(), anumbers.submit(2).result()]

    assert main() == [[0, 1, 2], [0], [0, 1], [0, 1]]


def test_the_items_of_a_stored_generator_are_stored_as_a_list(h: Harness) -> None:
    @flow
    def main() -> int:
        return sum(numbers.with_options(persist_result=True)(4))

    assert main() == 6
    result = h.task_runs()[0].result
    assert result is not None
    assert result.preview == "[0, 1, 2, 3]"


def test_async_generators_too(h: Harness) -> None:
    @flow
    async def main() -> list[int]:
        return [item async for item in anumbers(3)]

    assert asyncio.run(main()) == [0, 1, 2]
    assert h.task_runs()[0].state.message == "3 items"


def test_a_flow_can_be_a_generator(h: Harness) -> None:
    @flow
    def main(n: int) -> Iterator[int]:
        for i in range(n):
            yield double(i)

    assert list(main(3)) == [0, 2, 4]
    assert (h.flow_runs()[0].state.name, len(h.task_runs())) == ("Completed", 3)


def test_an_async_flow_can_be_a_generator(h: Harness) -> None:
    @flow
    async def main(n: int) -> AsyncIterator[int]:
        async for i in anumbers(n):
            yield double(i)

    async def read() -> list[int]:
        return [item async for item in main(3)]

    assert asyncio.run(read()) == [0, 2, 4]
    assert h.flow_runs()[0].state.name == "Completed"


# -- methods


class Model:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    @task
    def scale(self, x: int) -> int:
        return self.factor * x

    @task
    @staticmethod
    def plain(x: int) -> int:
        return x + 1

    @staticmethod
    @task
    def outer_static(x: int) -> int:
        return x + 2

    @task
    @classmethod
    def make(cls, x: int) -> str:
        return f"{cls.__name__}{x}"

    @classmethod
    @task
    def outer_class(cls, x: int) -> str:
        return f"{cls.__name__}{x}"

    @flow
    def run(self, x: int) -> int:
        return self.scale(x) + self.scale.submit(x).result()


class Better(Model):
    pass


def test_methods_static_and_class_methods_are_tasks(h: Harness) -> None:
    @flow
    def main() -> list[Any]:
        model = Better(3)
        return [model.scale(2), model.plain(1), Model.plain(1), model.outer_static(1), model.make(5), Model.make(5), Better.outer_class(6)]

    assert main() == [6, 2, 2, 3, "Better5", "Model5", "Better6"]
    assert [run.name for run in h.task_runs()][:2] == ["scale-0", "plain-0"]


def test_a_method_can_be_a_flow(h: Harness) -> None:
    assert Model(2).run(5) == 20
    assert h.flow_runs()[0].flow_name == "run"


# -- outside flows


def test_submitting_outside_a_flow_gives_a_future_and_a_tracked_run(h: Harness) -> None:
    future = double.submit(4)

    assert isinstance(future, Future)
    assert future.result(10) == 8
    until(lambda: h.flow_runs()[0].state.name == "Completed")
    assert h.flow_runs()[0].id == future.run_id


def test_mapping_outside_a_flow_is_one_flow_run(h: Harness) -> None:
    futures = double.map([1, 2, 3])

    assert futures.result(timeout=10) == [2, 4, 6]
    assert [future.result() for future in futures] == [2, 4, 6]
    until(lambda: h.flow_runs()[0].state.name == "Completed")
    assert (len(h.flow_runs()), len(h.task_runs())) == (1, 3)


def test_async_and_generator_tasks_outside_flows(h: Harness) -> None:
    @task
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x

    async def read() -> tuple[int, list[int]]:
        return await later(3), [item async for item in anumbers(2)]

    assert asyncio.run(read()) == (3, [0, 1])
    assert list(numbers(2)) == [0, 1]
    assert [run.state.name for run in h.flow_runs()] == ["Completed"] * 3


def test_a_task_that_fails_outside_a_flow_raises_what_it_raised_and_is_recorded(h: Harness) -> None:
    @task(retries=1)
    def broken() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        broken()
    with pytest.raises(KeyError):
        broken.submit().result(10)
    until(lambda: [run.state.name for run in h.flow_runs()] == ["Failed", "Failed"])


# -- tasks in tasks


def test_a_task_called_in_a_task_knows_who_called_it(h: Harness) -> None:
    @task
    def outer(x: int) -> int:
        return double(x) + double.submit(x).result()

    @flow
    def main() -> int:
        return outer.submit(1).result() + outer(2)

    assert main() == 12
    by_name = {run.name: run for run in h.task_runs()}
    callers = {run.parent_task_id for run in by_name.values() if run.name.startswith("double")}
    assert callers == {by_name["outer-0"].id, by_name["outer-1"].id}


# -- names and tags


def test_task_run_names_come_from_templates_and_functions(h: Harness) -> None:
    @task(task_run_name="load-{month}-{task_name}")
    def load(month: str, year: int = 2021) -> None: ...

    @task(task_run_name=lambda: f"named in {threading.current_thread().name}")
    def other() -> None: ...

    @flow
    def main() -> None:
        load("03")
        load.submit("04").result()
        other()

    main()
    assert [run.name for run in h.task_runs()] == ["load-03-load", "load-04-load", "named in MainThread"]


def test_a_template_that_cannot_be_filled_says_what_it_may_name(h: Harness) -> None:
    @task(task_run_name="load-{moth}")
    def load(month: str) -> None: ...

    @flow
    def main() -> None:
        load("03")

    with pytest.raises(UsageError, match=r"(?s)task_run_name 'load-\{moth\}' of task 'load' cannot be filled: 'moth'.*parameters"):
        main()


def test_tags_are_given_to_everything_that_begins_inside(h: Harness) -> None:
    @task(tags=["own"])
    def tagged() -> None: ...

    @flow(tags=["f"])
    def main() -> None:
        with tags("a", "own"):
            tagged()
            with tags("b"):
                tagged.submit().result()
        tagged()

    with tags("outer"):
        main()

    assert h.flow_runs()[0].tags == ("f", "outer")
    assert [run.tags for run in h.task_runs()] == [("own", "outer", "a"), ("own", "outer", "a", "b"), ("own", "outer")]


# -- runtime


def test_runtime_tells_where_the_code_is(h: Harness) -> None:
    @task(tags=["t"], retries=1)
    def inner(x: int, y: int = 2) -> dict[str, Any]:
        if runtime.task_run.attempt == 1:
            raise OSError
        run, flow_run = runtime.task_run, runtime.flow_run
        return {
            "task": (run.name, run.task_name, run.attempt, run.tags, dict(run.parameters)),
            "flow": (flow_run.flow_name, dict(flow_run.parameters)),
            "same": run.flow_run_id == flow_run.id,
        }

    @flow
    def main(month: str) -> Any:
        assert runtime.task_run is None
        return inner(1)

    assert main("03") == {"task": ("inner-0", "inner", 2, ("t",), {"x": 1, "y": 2}), "flow": ("main", {"month": "03"}), "same": True}


def test_runtime_outside_a_flow_is_none() -> None:
    assert runtime.flow_run is None
    assert runtime.task_run is None


# -- loggers of other libraries


def test_lines_of_extra_loggers_go_to_the_runs_log(h: Harness) -> None:
    use_engine(h.engine, current_settings()._replace(extra_loggers=("some.library",)))
    library = logging.getLogger("some.library")

    @task
    def work() -> None:
        library.warning("pool is full")
        logging.getLogger("some.other").warning("not asked for")

    @flow
    def main() -> None:
        work()

    library.warning("before any run")
    main()
    library.warning("after the run")

    assert [(line.logger, line.message, line.task_run_id) for line in h.logs()] == [("some.library", "pool is full", h.task_runs()[0].id)]


@pytest.mark.parametrize("when", ["before", "after", "after, by one that calls Python's own", "restored"])
def test_prints_are_logged_though_another_library_replaces_print(
    h: Harness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    real = logging_of_runs._before.real
    monkeypatch.setattr(logging_of_runs._before, "theirs", real)
    monkeypatch.setattr(builtins, "print", real)

    def install(inner: Callable[..., None]) -> None:
        monkeypatch.setattr(builtins, "print", functools.partial(inner))

    @flow(log_prints=True)
    def main() -> None:
        print("said")

    if when == "before":
        install(builtins.print)
    main()
    if when.startswith("after"):
        install(builtins.print if when == "after" else real)
    if when == "restored":
        monkeypatch.setattr(builtins, "print", real)
    main()
    print("outside", end="!")

    assert [line.message for run in h.flow_runs() for line in h.logs(run)] == ["said", "said"]
    assert capsys.readouterr().out == "said\nsaid\noutside!"  # whoever catches what is printed gets it as well


@pytest.mark.parametrize("where", ["sub-flow", "task of a sub-flow", "sub-flow of a task"])
@pytest.mark.parametrize(("outer", "inner", "innermost"), list(itertools.product([None, True, False], repeat=3)))
def test_log_prints_left_out_is_what_the_caller_has(
    h: Harness, where: str, outer: bool | None, inner: bool | None, innermost: bool | None
) -> None:
    def say() -> None:
        print("said")

    if where == "sub-flow of a task":
        middle = task(flow(say, log_prints=innermost), name="middle", log_prints=inner)
        options = [outer, innermost]
    elif where == "task of a sub-flow":
        middle, options = flow(task(say, log_prints=innermost), name="middle", log_prints=inner), [outer, inner, innermost]
    else:
        middle, options = flow(say, log_prints=inner), [outer, inner]

    @flow(log_prints=outer)
    def main() -> None:
        middle()

    main()

    expected = [option for option in options if option is not None]
    said = [line.message for run in h.flow_runs() for line in h.logs(run)]
    assert said == (["said"] if expected and expected[-1] else [])
