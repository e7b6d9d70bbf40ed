"""Which calls are reused when a flow goes on: what counts as an input, what comes before what, and that the words and the graph are true."""

import asyncio
import contextvars
import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from legato import INPUTS, Flow, ProcessTaskRunner, SequentialTaskRunner, flow, runtime, task
from legato.core.records import TaskRun
from legato.sdk.definitions import wanted
from legato.testing import Harness

ran: Counter[str] = Counter()


class Switch:
    """What a test changes between two attempts. No part of what a task is."""

    attempt = 1

    def __legato_hash__(self) -> None:
        return None


switch = Switch()


@pytest.fixture(autouse=True)
def clean() -> None:
    ran.clear()
    switch.attempt = 1


def end() -> None:
    if switch.attempt == 1:
        raise ValueError("stop here")


def twice(h: Harness, main: Flow[..., Any]) -> Any:
    """What the flow gives when it has failed at its end and goes on."""
    with pytest.raises(ValueError, match="stop here"):
        main()
    h.engine.outbox.flush()
    ran.clear()
    switch.attempt = 2
    return main.resume(h.flow_runs()[0].id)


def last(h: Harness) -> dict[str, TaskRun]:
    return {one.name: one for one in h.task_runs() if one.flow_attempt == 2}


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    @task(persist_result=True)
    def open(self, day: int) -> str:
        ran["open"] += 1
        return f"{self.name} {day}"


def test_what_a_method_is_called_on_is_an_input(h: Harness) -> None:
    @flow
    def main() -> list[str]:
        names = ("north", "south") if switch.attempt == 1 else ("south", "west")
        found = [Shop(name).open(1) for name in names] + Shop("east").open.map([1, 2]).result()
        end()
        return found

    assert twice(h, main) == ["south 1", "west 1", "east 1", "east 2"]


@pytest.mark.parametrize("stored", [True, False])
def test_a_read_behind_a_write_that_is_another_is_read_again(h: Harness, tmp_path: Path, stored: bool) -> None:
    table = tmp_path / "table"

    @task(persist_result=stored)
    def write(rows: Any) -> None:
        table.write_text(str(len(rows)))

    @task(persist_result=True)
    def read() -> str:
        return table.read_text()

    @flow
    def main() -> str:
        write(pd.DataFrame({"a": range(switch.attempt)}))
        found = read()
        end()
        return found

    assert twice(h, main) == "2"


def test_a_submitted_change_counts_once_its_end_was_asked_for(h: Harness) -> None:
    @task(persist_result=True)
    def branch(n: int) -> int:
        ran[f"branch {n}"] += 1
        return n

    @task(persist_result=True)
    def after(n: int) -> int:
        ran[f"after {n}"] += 1
        return n

    @flow
    def main() -> int:
        futures = [branch.submit(n or 10 * switch.attempt) for n in range(3)]
        unasked = [after.submit(n) for n in range(3)]
        total = sum(one.result() for one in [*futures, *unasked])
        total += after(7)
        end()
        return total

    assert twice(h, main) == 33
    assert ran == {"branch 20": 1, "after 7": 1}


def test_what_waits_for_a_change_comes_after_it(h: Harness) -> None:
    @task(persist_result=True)
    def write(n: int) -> None:
        ran["write"] += 1

    @task(persist_result=True)
    def read() -> int:
        ran["read"] += 1
        return switch.attempt

    @flow
    def main() -> int:
        found = read.submit(wait_for=[write.submit(switch.attempt)]).result()
        end()
        return found

    assert twice(h, main) == 2
    assert ran == {"write": 1, "read": 1}


def test_a_change_inside_a_task_or_flow_is_one_of_its_caller(h: Harness) -> None:
    @task(persist_result=True)
    def write(n: int) -> None:
        ran["write"] += 1

    @task(persist_result=True)
    def read(who: str) -> int:
        ran[f"read {who}"] += 1
        return switch.attempt

    @task
    def outer() -> None:
        write(switch.attempt)

    @flow
    def inner() -> None:
        if switch.attempt == 1:
            write(1)
            raise ValueError("inner stops")
        write(2)

    @flow
    def main() -> list[int]:
        outer()
        found = [read("task")]
        try:
            inner()
        except ValueError:
            found.append(0)
        found.append(read("flow"))
        end()
        return found

    assert twice(h, main) == [2, 2]
    assert (ran["read task"], ran["read flow"]) == (1, 1)


def test_what_cannot_be_compared_runs_again_with_all_it_calls(h: Harness) -> None:
    @task(persist_result=True)
    def inner() -> int:
        ran["inner"] += 1
        return switch.attempt

    @task(persist_result=True)
    def outer(lock: Any) -> int:
        assert lock is not None
        return inner()

    @task(persist_result=True)
    def before() -> int:
        ran["before"] += 1
        return 0

    @flow
    def main() -> int:
        found = before() + outer(threading.Lock()) + inner()
        end()
        return found

    assert twice(h, main) == 4
    assert ran == {"inner": 2}


def test_frames_arrays_and_models_are_reused_by_what_they_hold(h: Harness) -> None:
    from sklearn.linear_model import LinearRegression

    @task
    def load() -> pd.DataFrame:
        ran["load"] += 1
        return pd.DataFrame({"x": np.arange(10.0), "y": np.arange(10.0) * 2, "kind": pd.Categorical(list("ababababab"))})

    @task
    def clean(frame: pd.DataFrame) -> pd.DataFrame:
        ran["clean"] += 1
        return frame

    @task
    def fit(frame: pd.DataFrame, *, weights: Any) -> Any:
        ran["fit"] += 1
        return LinearRegression().fit(frame[["x"]], frame["y"], weights)

    @task
    def score(model: Any, frame: pd.DataFrame) -> float:
        ran["score"] += 1
        return round(float(model.score(frame[["x"]], frame["y"])), 3)

    @flow(persist_result=True)
    def main() -> float:
        frame = clean(load())
        model = fit.submit(frame, weights=np.ones(10))
        found = score(model, frame) + score(model.result(), frame.copy())
        end()
        return found

    assert twice(h, main) == 2.0
    assert ran == {}


def test_a_value_that_the_flow_changes_is_another_input(h: Harness) -> None:
    @task(persist_result=True)
    def load() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    @task(persist_result=True)
    def columns(frame: pd.DataFrame) -> list[str]:
        return list(frame)

    @flow
    def main() -> list[str]:
        frame = load()
        frame["first" if switch.attempt == 1 else "second"] = 1
        found = columns(frame)
        end()
        return found

    assert twice(h, main) == ["a", "second"]


def test_a_task_that_changes_its_arguments_runs_again_and_spoils_nothing(h: Harness) -> None:
    @task(persist_result=True)
    def fill(table: dict[str, int]) -> None:
        ran["fill"] += 1
        table["k"] = 1

    @task(persist_result=True)
    def use(table: dict[str, int]) -> int:
        ran["use"] += 1
        return len(table)

    @flow
    def main() -> tuple[dict[str, int], int]:
        table: dict[str, int] = {}
        fill(table)
        found = table, use(table)
        end()
        return found

    assert twice(h, main) == ({"k": 1}, 1)
    assert ran == {"fill": 1}


def test_a_task_that_gives_back_its_argument_gives_back_this_one(h: Harness) -> None:
    @task(persist_result=True)
    def same(values: list[int]) -> list[int]:
        ran["same"] += 1
        return values

    @flow
    def main() -> list[int]:
        values = [1]
        same(values).append(2)
        end()
        return values

    assert twice(h, main) == [1, 2]
    assert ran == {}


def test_a_flow_retried_in_its_process_asks_the_same_of_a_call(h: Harness) -> None:
    @flow(retries=1)
    def main() -> list[Any]:
        n = runtime.flow_run.attempt
        found = [Shop(f"shop {n}").open(1), Shop("one").open(np.arange(n))]
        if n == 1:
            raise ValueError("again")
        return found

    assert main() == ["shop 2 1", "one [0 1]"]


def test_in_worker_processes_a_change_is_one_of_the_flow_s(h: Harness) -> None:
    @task(persist_result=True)
    def write(n: int) -> int:
        return n

    @task
    def outer(n: int) -> int:
        return write(n)

    @task(persist_result=True)
    def read() -> int:
        ran["read"] += 1
        return switch.attempt

    @flow(task_runner=ProcessTaskRunner(1))
    def main() -> int:
        outer.submit(switch.attempt).result()
        found = read()
        end()
        return found

    assert twice(h, main) == 2
    assert ran == {"read": 1}


def test_asyncio_tasks_do_not_get_each_others_values(h: Harness) -> None:
    @task(persist_result=True)
    async def sample(who: list[str]) -> str:
        return who[0]

    @flow
    async def main() -> list[str]:
        async def one(who: str, first: bool) -> str:
            if not first:
                await asyncio.sleep(0.01)
            return await sample([who])

        jobs = [asyncio.create_task(one(who, first=(who == "a") == (switch.attempt == 1)), name="worker") for who in "ab"]
        found = [await job for job in jobs]
        end()
        return found

    with pytest.raises(ValueError, match="stop here"):
        asyncio.run(main())
    h.engine.outbox.flush()
    switch.attempt = 2

    assert asyncio.run(main.resume(h.flow_runs()[0].id)) == ["a", "b"]


def files(tmp_path: Path) -> tuple[Any, Any]:
    """A task that writes a table, and one that reads it."""
    table = tmp_path / "table"

    @task(persist_result=True)
    def write(n: int) -> None:
        table.write_text(str(n))

    @task(persist_result=True)
    def read() -> str:
        ran["read"] += 1
        return table.read_text()

    return write, read


AROUND = ["asyncio", "threads", "executor"]


def in_a_line_of_its_own(way: str, act: Callable[[], Any]) -> list[Any]:
    """Call something on another thread, or in another asyncio task, and wait for that."""
    found: list[Any] = []
    if way == "threads":
        thread = threading.Thread(target=contextvars.copy_context().run, args=(lambda: found.append(act()),))
        thread.start()
        thread.join()
    elif way == "executor":
        with ThreadPoolExecutor(1) as pool:
            found += [pool.submit(contextvars.copy_context().run, act).result()]
    else:

        async def one() -> None:
            found.append(act())

        async def both() -> None:
            await asyncio.gather(one(), asyncio.sleep(0))

        asyncio.run(both())
    return found


@pytest.mark.parametrize("way", AROUND)
@pytest.mark.parametrize("change", ["other value", "taken out"])
def test_what_happened_in_a_line_that_is_over_came_before(h: Harness, tmp_path: Path, way: str, change: str) -> None:
    write, read = files(tmp_path)
    (tmp_path / "base").touch()

    @flow
    def main() -> str:
        (tmp_path / "table").write_text("base")
        if switch.attempt == 1 or change == "other value":
            in_a_line_of_its_own(way, lambda: write(switch.attempt))
        found = read()
        end()
        return str(found)

    assert twice(h, main) == ("2" if change == "other value" else "base")


@pytest.mark.parametrize("way", AROUND)
@pytest.mark.parametrize("change", ["other value", "taken out"])
def test_a_line_comes_after_what_happened_where_it_began(h: Harness, tmp_path: Path, way: str, change: str) -> None:
    write, read = files(tmp_path)

    @flow
    def main() -> str:
        (tmp_path / "table").write_text("base")
        if switch.attempt == 1 or change == "other value":
            write.submit(switch.attempt).result()
        (found,) = in_a_line_of_its_own(way, read)
        end()
        return str(found)

    assert twice(h, main) == ("2" if change == "other value" else "base")


@pytest.mark.parametrize("way", AROUND)
def test_lines_that_are_as_they_were_are_reused(h: Harness, tmp_path: Path, way: str) -> None:
    write, read = files(tmp_path)

    @flow
    def main() -> list[str]:
        write(1)
        found = in_a_line_of_its_own(way, read) + in_a_line_of_its_own(way, read) + [read()]
        end()
        return found

    assert twice(h, main) == ["1", "1", "1"]
    assert ran == {}


def test_where_tasks_are_called_in_place_their_end_is_known_at_once(h: Harness, tmp_path: Path) -> None:
    write, read = files(tmp_path)

    @flow(task_runner=SequentialTaskRunner())
    def main() -> str:
        write.submit(switch.attempt)
        found = read()
        end()
        return str(found)

    assert twice(h, main) == "2"


# ---------------------------------------------------------------------- words and arrows


def graph(h: Harness, attempt: int) -> dict[str, set[str]]:
    runs = [one for one in h.task_runs() if one.flow_attempt == attempt]
    names = {one.id: one.name for one in runs}
    return {one.name: {names.get(up, up) for up in one.upstream} for one in runs}


def test_a_run_that_goes_on_has_the_arrows_of_the_first(h: Harness) -> None:
    @task
    def load() -> list[int]:
        return [1, 2]

    @task
    def part(values: list[int]) -> tuple[list[int], list[int]]:
        return values[:1], values[1:]

    @task
    def join(one: list[int], other: list[int]) -> dict[str, Any]:
        return {"held": [one, other]}

    @flow(persist_result=True)
    def main() -> Any:
        one, other = part(load())
        found = join(join(one, other)["held"][0], other)
        end()
        return found

    twice(h, main)

    assert graph(h, 2) == graph(h, 1)
    assert graph(h, 2)["part-0"] == {"load-0"}
    assert all(one.state.name == "Cached" for one in last(h).values())


def test_a_cached_run_has_the_arrows_of_the_first(h: Harness) -> None:
    @task(cache_policy=INPUTS)
    def load() -> list[int]:
        return [1, 2]

    @task(cache_policy=INPUTS)
    def double(values: list[int]) -> list[int]:
        return [2 * value for value in values]

    @flow
    def main() -> int:
        return sum(double(double(load())))

    assert [main(), main()] == [12, 12]
    first, second = (h.task_runs(run) for run in h.flow_runs())

    def arrows(runs: list[TaskRun]) -> list[list[int]]:
        places = {one.id: n for n, one in enumerate(runs)}
        return [[places[up] for up in one.upstream] for one in runs]

    assert arrows(first) == arrows(second) == [[], [0], [1]]
    assert {one.state.name for one in second} == {"Cached"}


def test_plan_and_words_count_every_task_run_and_flow(h: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    @task(persist_result=True)
    def kept(n: int) -> int:
        return n

    @task
    def unkept(n: Any) -> int:
        return len(str(n))

    @task(persist_result=True)
    def items(n: int) -> Any:
        yield from range(n)

    @task(trigger="all_failed")
    def never(n: int) -> int:
        return n

    @flow
    def inner() -> int:
        return kept(5)

    @flow
    def main() -> int:
        total = kept(1) + unkept([1]) + sum(items(2)) + inner() + len(kept.map([2, 3]).result())
        never.submit(kept.submit(4)).result()
        unkept(object())
        end()
        return total

    twice(h, main)

    said = capsys.readouterr().err
    rows = last(h)
    assert len(rows) == 8
    assert "of 8 earlier task runs" in said
    assert "of 1 earlier flow runs 1 is reused" in said
    reused, ran_again, flows = re.findall(r"reused (\d+) task runs?, (\d+) ran; reused (\d+) flow run, none ran inside it", said)[-1]
    assert int(reused) == sum(one.state.name == "Cached" for one in rows.values()) == 4
    assert (int(reused) + int(ran_again), flows) == (8, "1")


def test_a_process_that_stores_nothing_looks_at_nothing(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "import sys\nfrom legato import flow, task\n\nclass Heavy:\n    def __reduce_ex__(self, _):\n        raise SystemExit('looked at')\n\n"
        "@task\ndef use(x):\n    return 1\n\n@flow\ndef main():\n    return use(Heavy())\n\n"
        "assert main() == 1\nprint('legato.sdk.code' in sys.modules)\n"
    )

    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_what_is_stored_anywhere_is_known_to_be() -> None:
    before = wanted.any
    try:
        wanted.any = False
        task(lambda: 1, name="one", persist_result=True)

        assert wanted.any
    finally:
        wanted.any = before


def test_a_class_of_a_script_is_the_same_when_its_run_goes_on(tmp_path: Path, run_legato: Callable[..., str]) -> None:
    (tmp_path / "script.py").write_text(
        "import os, sys\nfrom enum import Enum\nfrom pydantic import BaseModel\nfrom legato import flow, task\n\n"
        "class Kind(Enum):\n    A = 1\n\nclass Model(BaseModel):\n    kind: Kind\n\n"
        "@task(persist_result=True)\ndef make():\n    print('made')\n    return Model(kind=Kind.A)\n\n"
        "@task(persist_result=True)\ndef look(model):\n    print('looked')\n    return isinstance(model, Model) and model.kind is Kind.A\n\n"
        "@flow(flow_run_name='it')\ndef main():\n    model = make()\n    seen = look(model), isinstance(model, Model), model.kind is Kind.A\n"
        "    if not os.path.exists('ok'): raise ValueError('stop')\n    return seen\n\nif __name__ == '__main__':\n    main()\n"
    )
    run_legato(sys.executable, "script.py", expect=1)
    (tmp_path / "ok").touch()

    said = run_legato(str(Path(sys.executable).parent / "legato"), "run", "retry", "it")

    assert json.loads(said.splitlines()[0].replace("(", "[").replace(")", "]").replace("True", "true").replace("False", "false")) == [
        True,
        True,
        True,
    ]
    assert "made" not in said
    assert "looked" not in said


@pytest.fixture
def run_legato(tmp_path: Path) -> Callable[..., str]:
    def run(*args: str, expect: int = 0) -> str:
        done = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == expect, done.stderr
        return done.stdout

    return run
