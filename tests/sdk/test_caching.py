"""Cached tasks, seen from user code: what is reused, what runs again, and why, as the runs' messages say it."""

import asyncio
import functools
import os
import random
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from legato import DEFAULT, FILES, INPUTS, NONE, PARAMETERS, RUN, SOURCE, TASK, CacheKeyFn, ThreadTaskRunner, flow, task
from legato.core.errors import RunFailure, UsageError
from legato.core.records import TaskRun
from legato.core.states import StateType
from legato.sdk import files, process
from legato.testing import Harness, harness

from tests.support.waiting import until


@pytest.fixture
def calls() -> list[Any]:
    """What the cached functions note when they really run."""
    return []


def runs_of(h: Harness) -> list[TaskRun]:
    return [task_run for run in h.flow_runs() for task_run in h.task_runs(run)]


def start_message(h: Harness, task_run: TaskRun) -> str:
    return next(entry.state.message for entry in h.journal(task_run) if entry.state.type is StateType.RUNNING)


def caller(step: Any) -> Callable[..., Any]:
    @flow
    def main(*arguments: Any, **named: Any) -> Any:
        return step(*arguments, **named)

    return main


# -- policies


def test_equal_inputs_are_worked_out_once_and_other_inputs_by_themselves(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS)
    def double(x: int) -> int:
        calls.append(x)
        return 2 * x

    main = caller(double)

    assert [main(1), main(2), main(1)] == [2, 4, 2]
    assert calls == [1, 2]
    first, second, third = runs_of(h)
    assert start_message(h, first) == "not in the cache: no result of this task is stored"
    assert start_message(h, second).startswith("not in the cache: input 'x' differs from the latest stored result, of 'double-0' of run '")
    assert third.state.name == "Cached"
    assert third.state.message.startswith(f"reused the result of 'double-0' of run '{h.flow_runs()[0].name}', made 0 s ago (INPUTS; key ")


def test_a_submitted_task_is_cached_as_well(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS)
    def double(x: int) -> int:
        calls.append(x)
        return 2 * x

    @flow
    def main() -> list[int]:
        first = double.submit(1)
        return [double.submit(first).result(), double.submit(2).result()]

    assert main() == [4, 4]
    assert sorted(calls) == [1, 2]
    assert [run.state.name for run in runs_of(h)].count("Cached") == 1
    assert all(run.cache_key for run in runs_of(h))


def test_two_tasks_with_equal_inputs_do_not_share(h: Harness) -> None:
    @task(cache_policy=INPUTS)
    def one(x: int) -> str:
        return "one"

    @task(cache_policy=INPUTS)
    def other(x: int) -> str:
        return "other"

    assert (caller(one)(1), caller(other)(1)) == ("one", "other")


def test_an_input_that_was_left_out_does_not_count(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS - "connection")
    def load(table: str, connection: object) -> str:
        calls.append(table)
        return table

    main = caller(load)
    main("a", threading.Lock()), main("a", connection=threading.Lock()), main("b", None)

    assert calls == ["a", "b"]


def test_leaving_out_what_is_no_input_is_a_mistake(h: Harness) -> None:
    @task(cache_policy=INPUTS - "conection")
    def load(connection: object) -> None: ...

    with pytest.raises(UsageError, match=r"leaves out 'conection', which is none of its inputs\nits inputs are connection"):
        caller(load)(1)


def test_changed_code_of_a_helper_is_a_miss_that_names_it(h: Harness) -> None:
    def load(helper: str) -> Any:
        scope: dict[str, Any] = {"__name__": "project", "task": task, "SOURCE": SOURCE}
        exec(f"def clean(x): return x {helper}\n@task(cache_policy=SOURCE)\ndef load(x): return clean(x)", scope)
        return caller(scope["load"])

    assert [load("+ 1")(1), load("+ 1")(1), load("+ 2")(1)] == [2, 2, 3]
    first, second, third = runs_of(h)
    assert (first.state.name, second.state.name, third.state.name) == ("Completed", "Cached", "Completed")
    assert "not in the cache: the code of 'clean' differs" in start_message(h, third)


def test_run_keeps_results_inside_one_flow_run(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=RUN + INPUTS)
    def note(x: int) -> int:
        calls.append(x)
        return x

    @flow
    def main() -> int:
        return note(1) + note(1)

    assert [main(), main()] == [2, 2]
    assert calls == [1, 1]
    assert "the flow run differs" in start_message(h, runs_of(h)[2])


def test_parameters_ask_for_the_flow_s_own(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=PARAMETERS)
    def note(x: int) -> None:
        calls.append(x)

    @flow
    def main(month: str, x: int = 0) -> None:
        note(x)

    main("jan"), main(month="jan"), main("feb"), main("jan", x=1)
    assert calls == [0, 0, 1]
    assert "the flow's parameters differ" in start_message(h, runs_of(h)[2])


def test_task_alone_is_one_result_for_all_calls(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=TASK)
    def note(x: int) -> int:
        calls.append(x)
        return x

    main = caller(note)
    assert [main(1), main(2)] == [1, 1]


def test_default_is_inputs_and_code(h: Harness, calls: list[Any]) -> None:
    assert DEFAULT == INPUTS + SOURCE


def test_none_caches_nothing_and_asks_nothing(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=NONE)
    def note(x: int) -> int:
        calls.append(x)
        return x

    main = caller(note)
    main(1), main(1)

    assert calls == [1, 1]
    assert runs_of(h)[0].result is None


# -- key functions


def test_a_function_s_key_is_used_as_it_is_and_shared_between_tasks(h: Harness, calls: list[Any]) -> None:
    def by_month(context: Any, parameters: dict[str, Any]) -> str:
        calls.append((context.task.name, context.flow_run_name))
        return f"month-{parameters['month']}"

    @task(cache_policy=by_month)
    def one(month: int) -> str:
        return "one"

    @task(cache_key_fn=by_month)
    def other(month: int) -> str:
        return "other"

    assert (caller(one)(1), caller(other)(1), caller(other)(2)) == ("one", "one", "other")
    assert runs_of(h)[0].cache_key == "month-1"
    assert calls[0] == ("one", h.flow_runs()[0].name)


def test_a_function_combined_with_a_policy_is_one_part_of_the_key(h: Harness) -> None:
    def version(context: Any, parameters: dict[str, Any]) -> str:
        return "v1"

    @task(cache_policy=CacheKeyFn(version) + INPUTS)
    def one(x: int) -> int:
        return x

    assert [caller(one)(1), caller(one)(2)] == [1, 2]
    assert "v1" not in str(runs_of(h)[0].cache_key)


def test_a_function_that_returns_none_leaves_the_call_uncached(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=lambda _context, _parameters: None)
    def note() -> None:
        calls.append(1)

    main = caller(note)
    main(), main()

    assert calls == [1, 1]
    assert start_message(h, runs_of(h)[0]) == "not cached: the key function returned None"


def test_what_a_key_function_raises_fails_the_task(h: Harness) -> None:
    @task(cache_policy=lambda _context, parameters: parameters["no such"])
    def note() -> None: ...

    with pytest.raises(KeyError):
        caller(note)()
    (run,) = runs_of(h)
    assert (run.state.type, run.state.message) == (StateType.FAILED, "before it began: KeyError: 'no such'")


def test_a_policy_and_a_key_function_together_are_refused(h: Harness) -> None:
    @task(cache_policy=INPUTS, cache_key_fn=lambda _context, _parameters: "k")
    def note() -> None: ...

    with pytest.raises(UsageError, match="both a cache_policy and a cache_key_fn"):
        caller(note)()


# -- inputs


def test_an_input_without_a_hash_leaves_the_call_uncached_and_says_so(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS)
    def use(connection: object) -> str:
        calls.append(1)
        return "done"

    main = caller(use)

    assert [main(threading.Lock()), main(threading.Lock())] == ["done", "done"]
    assert len(calls) == 2
    (run, _) = runs_of(h)
    assert run.state.name == "Completed"
    assert start_message(h, run) == (
        "not cached: argument 'connection' of type lock has no stable hash, so it cannot be part of a cache key"
    )  # fmt: skip


class Plain:
    """Of no kind that is known: taken apart as pickling would."""

    def __init__(self, n: int) -> None:
        self.n = n


def test_an_object_of_a_kind_that_nobody_knows_is_known_by_what_it_holds(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS)
    def use(value: Plain) -> int:
        calls.append(value.n)
        return value.n

    main = caller(use)

    assert [main(Plain(1)), main(Plain(1)), main(Plain(2))] == [1, 1, 2]
    assert calls == [1, 2]


class Source:
    def __init__(self, name: str) -> None:
        self.name = name

    @task(cache_policy=INPUTS)
    def read(self, n: int) -> str:
        return f"{self.name}{n}"


def test_a_method_s_object_is_one_of_its_inputs(h: Harness) -> None:
    a, b = Source("a"), Source("b")

    @flow
    def main() -> list[str]:
        return [a.read(1), b.read(1), a.read(1)]

    assert main() == ["a1", "b1", "a1"]
    assert [run.state.name for run in runs_of(h)] == ["Completed", "Completed", "Cached"]


def test_a_function_as_an_input_is_its_code_and_what_it_holds(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS)
    def use(fn: Callable[[int], int]) -> int:
        calls.append(1)
        return fn(1)

    def adder(n: list[int]) -> Callable[[int], int]:
        return lambda x: x + n[0]

    main = caller(use)

    assert [main(adder([1])), main(adder([1])), main(adder([2]))] == [2, 2, 3]
    assert len(calls) == 2


# -- refreshing, expiring


def test_refresh_runs_again_and_replaces_what_is_stored(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS)
    def count(x: int) -> int:
        calls.append(x)
        return len(calls)

    assert [caller(count)(1), caller(count.with_options(refresh_cache=True))(1), caller(count)(1)] == [1, 2, 2]
    assert start_message(h, runs_of(h)[1]) == "runs because refresh_cache is on"


def test_a_setting_refreshes_all_tasks_but_those_that_say_no(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS)
    def always(x: int) -> int:
        calls.append(x)
        return x

    caller(always)(1)
    process.use_engine(h.engine, process.current_settings()._replace(refresh_cache=True))
    caller(always.with_options())(1)
    caller(always.with_options(refresh_cache=False))(1)

    assert calls == [1, 1]


def test_an_expired_result_is_a_miss_that_says_since_when(h: Harness) -> None:
    @task(cache_policy=INPUTS, cache_expiration=timedelta(0))
    def one(x: int) -> int:
        return x

    caller(one)(1), caller(one)(1)
    assert start_message(h, runs_of(h)[1]) == "not in the cache: the stored result expired 0 s ago"


# -- made once


def test_of_many_threads_one_makes_the_result_and_the_others_wait_for_it(h: Harness, calls: list[Any]) -> None:
    everybody_asked = threading.Event()

    @task(cache_policy=INPUTS)
    def slow(x: int) -> int:
        calls.append(x)
        assert everybody_asked.wait(30)
        return x

    @flow(task_runner=ThreadTaskRunner(max_workers=6))
    def main() -> list[int]:
        futures = [slow.submit(7) for _ in range(6)]
        until(lambda: [run.state.name for run in runs_of(h)].count("Scheduled") == 5, what="five that wait")
        everybody_asked.set()
        return [future.result() for future in futures]

    assert main() == [7] * 6
    assert calls == [7]
    runs = runs_of(h)
    assert sorted(run.state.name for run in runs) == ["Cached"] * 5 + ["Completed"]
    waited = next(run for run in runs if run.state.name == "Cached")
    assert h.states(waited) == ["Pending", "Scheduled", "Cached"]
    assert "which is making this result since" in h.journal(waited)[1].state.message


def test_two_flow_runs_at_once_share_the_work(h: Harness, calls: list[Any]) -> None:
    asked = threading.Event()

    @task(cache_policy=INPUTS)
    def slow(x: int) -> int:
        calls.append(x)
        assert asked.wait(30)
        return x

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(caller(slow)(1))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: "Scheduled" in [run.state.name for run in runs_of(h)], what="one that waits")
    asked.set()
    for thread in threads:
        thread.join(30)

    assert (results, calls) == ([1, 1], [1])


def test_when_the_one_that_makes_it_fails_the_next_tries(h: Harness, calls: list[Any]) -> None:
    asked = threading.Event()

    @task(cache_policy=INPUTS)
    def slow(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            assert asked.wait(30)
            raise ValueError("the first always fails")
        return x

    @flow
    def main() -> list[Any]:
        futures = [slow.submit(1), slow.submit(1)]
        until(lambda: "Scheduled" in [run.state.name for run in runs_of(h)], what="one that waits")
        asked.set()
        return [future.result(raise_on_failure=False) for future in futures]

    assert sorted(map(str, main())) == ["1", "the first always fails"]
    assert calls == [1, 1]


def test_a_task_that_calls_itself_with_equal_inputs_does_not_wait_for_itself(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=TASK)
    def nested(depth: int) -> int:
        calls.append(depth)
        return nested(depth - 1) if depth else 0

    @flow
    def main() -> int:
        return nested(2)

    assert main() == 0
    assert calls == [2, 1, 0]


def test_nor_by_way_of_a_submitted_task_or_a_flow_in_between(h: Harness) -> None:
    @task(cache_policy=TASK)
    def same(kind: str) -> str:
        if kind == "submit":
            return str(same.submit("leaf").result())
        return inner() if kind == "flow" else "leaf"

    @flow
    def inner() -> str:
        return same("leaf")

    @flow
    def main(kind: str) -> str:
        return same(kind)

    for kind in ("submit", "flow"):
        with harness():
            assert main(kind) == "leaf"


def test_async_tasks_wait_for_each_other_without_holding_up_the_loop(h: Harness, calls: list[Any]) -> None:
    @task(cache_policy=INPUTS)
    async def slow(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0.05)
        return x

    @flow
    async def main() -> list[int]:
        return list(await asyncio.gather(*(slow(3) for _ in range(4))))

    assert asyncio.run(main()) == [3] * 4
    assert calls == [3]


def test_a_sync_task_called_on_a_loop_does_not_wait_for_one_that_needs_that_loop(h: Harness, calls: list[Any]) -> None:
    started = asyncio.Event()

    @task(cache_policy=lambda _context, _parameters: "shared")
    async def on_the_loop() -> int:
        started.set()
        await asyncio.sleep(0.01)
        return 1

    @task(cache_policy=lambda _context, _parameters: "shared")
    def blocking() -> int:
        return 2

    @flow
    async def main() -> tuple[int, int]:
        other = asyncio.ensure_future(on_the_loop())
        await started.wait()
        return blocking(), await other

    assert asyncio.run(main()) == (2, 1)


def test_one_that_waits_can_be_cancelled(h: Harness) -> None:
    asked = threading.Event()

    @task(cache_policy=INPUTS)
    def slow(x: int) -> int:
        assert asked.wait(30)
        return x

    outcome: list[BaseException] = []

    def second() -> None:
        try:
            caller(slow)(1)
        except RunFailure as error:
            outcome.append(error)

    first, other = threading.Thread(target=caller(slow), args=(1,)), threading.Thread(target=second)
    first.start()
    until(lambda: [run.state.name for run in runs_of(h)] == ["Running"], what="the first")
    other.start()
    until(lambda: "Scheduled" in [run.state.name for run in runs_of(h)], what="the second's wait")
    waiting = next(run for run in runs_of(h) if run.state.name == "Scheduled")
    h.store.request_cancel(waiting.flow_run_id)
    other.join(30)
    asked.set()
    first.join(30)

    assert "cancelled" in str(outcome[0])
    assert h.store.get_task_run(waiting.id).state.name == "Cancelled"


# -- files, and what a call does to its arguments


def test_files_count_by_what_is_in_them(h: Harness, calls: list[Any], tmp_path: Path) -> None:
    @task(cache_policy=INPUTS + FILES)
    def read(path: Path, others: Sequence[Path] = ()) -> str:
        calls.append(path.name)
        return path.read_text() if path.is_file() else ",".join(sorted(one.name for one in path.iterdir()))

    main = caller(read)
    file, folder = tmp_path / "a.txt", tmp_path / "many"
    folder.mkdir()

    file.write_text("one")
    assert [main(file), main(file), main(folder)] == ["one", "one", ""]
    file.write_text("two")
    (folder / "b.txt").write_text("x")
    assert [main(file), main(folder), main(folder)] == ["two", "b.txt", "b.txt"]
    file.write_text("one")
    assert main(file) == "one"
    assert calls == ["a.txt", "many", "a.txt", "many"]
    assert "the file behind input 'path'" in " ".join(start_message(h, run) for run in runs_of(h) if run.state.name == "Completed")


def test_files_inside_of_arguments_count_and_ones_that_are_not_there(h: Harness, calls: list[Any], tmp_path: Path) -> None:
    @task(cache_policy=INPUTS + FILES)
    def count(paths: dict[str, list[Path]]) -> int:
        calls.append(1)
        return sum(path.exists() for path in paths["all"])

    main = caller(count)
    paths = {"all": [tmp_path / "a", tmp_path / "b"]}

    assert main(paths) == 0
    (tmp_path / "b").touch()
    assert [main(paths), main(paths)] == [1, 1]
    assert len(calls) == 2


def test_a_large_file_counts_by_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_READ", 3)
    file = tmp_path / "large"
    file.write_text("1234")
    before = files.behind(file)
    os.utime(file, ns=(1, 1))

    assert files.behind(file) != before
    assert files.behind([1, "text"]) == ""


def test_a_call_that_changed_its_arguments_is_not_cached(h: Harness) -> None:
    @task(cache_policy=INPUTS)
    def fill(table: dict[str, int]) -> int:
        table["k"] = 1
        return len(table)

    @flow
    def main() -> list[dict[str, int]]:
        tables: list[dict[str, int]] = [{}, {}]
        for table in tables:
            fill(table)
        return tables

    assert main() == [{"k": 1}, {"k": 1}]


def test_a_hit_hands_back_what_the_call_was_given(h: Harness) -> None:
    @task(cache_policy=INPUTS)
    def same(values: list[int]) -> list[int]:
        return values

    @flow
    def main() -> tuple[list[int], list[int]]:
        one, other = [1], [1]
        same(one).append(2)
        same(other).append(3)
        return one, other

    assert main() == ([1, 2], [1, 3])


def test_tasks_of_one_factory_share_nothing(h: Harness) -> None:
    def make(factor: Any) -> Any:
        @task(cache_policy=INPUTS)
        def scale(x: int) -> Any:
            return factor[0] * x

        return scale

    @flow
    def main() -> list[Any]:
        return [make([2])(10), make([3])(10), make([2])(10)]

    assert main() == [20, 30, 20]
    assert [run.state.name for run in runs_of(h)] == ["Completed", "Completed", "Cached"]


@functools.cache
def _remembered() -> list[int]:
    return []


CHANGED_STATES: dict[str, tuple[Callable[[int], Any], Callable[[], Any]]] = {
    "a memo's list": (lambda v: _remembered().append(v), lambda: _remembered()[-1]),
    "a seed": (lambda v: random.seed(v), lambda: random.random()),  # noqa: PLW0108 as code of this module
    "the environment": (lambda v: os.environ.update(SET_BY_A_TASK=str(v)), lambda: os.environ.get("SET_BY_A_TASK")),
}


@pytest.mark.parametrize("state", CHANGED_STATES)
def test_what_a_kept_task_has_changed_is_an_input_of_cached_tasks_that_read_it(
    h: Harness, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    change, look = CHANGED_STATES[state]
    monkeypatch.setenv("SET_BY_A_TASK", "")
    changes, looks = task(change, name="change", persist_result=True), task(look, name="look", cache_policy=DEFAULT)

    @flow
    def main(v: int) -> Any:
        changes(v)
        return looks()

    before = random.getstate()
    try:
        for v in (1, 2, 1, 2):
            seen = main(v)
            change(v)
            assert seen == look()
    finally:
        random.setstate(before)


def key_as_given(context: object, parameters: dict[str, Any]) -> object:
    return parameters["key"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", " "),
        ("a" * 599 + "b", "a" * 599 + "c"),
        ("k" * 9_000 + "1", "k" * 9_000 + "2"),
        ("a\0b", "a\\0b"),
        ("\udcff", "\\udcff"),
        ("ü" * 601, "ü" * 602),
    ],
    ids=["empty", "longest", "long", "NUL", "no Unicode", "wide"],
)
def test_whatever_text_a_key_function_gives_equal_keys_share_a_result_and_others_do_not(
    h: Harness, calls: list[Any], one: str, other: str
) -> None:
    @task(cache_key_fn=key_as_given)
    def work(key: str, value: int) -> int:
        calls.append(value)
        return value

    main = caller(work)

    assert [main(one, 1), main(other, 2), main(one, 3), main(other, 4)] == [1, 2, 1, 2]
    assert calls == [1, 2]
