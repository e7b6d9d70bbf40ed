"""Flows that run again: what is reused within one process, when a run is taken up, and when it is forked."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from legato import Flow, flow, runtime, task
from legato.core.errors import Conflict, NotFound, UsageError
from legato.engine.identity import ledger
from legato.sdk import resuming
from legato.sdk.flow_calls import run_shell
from legato.testing import Harness


class Switches(set[str]):
    """What a test has switched on. No part of what a task is, although its code reads it."""

    def __legato_hash__(self) -> None:
        return None


ran: Counter[str] = Counter()
broken = Switches()


@pytest.fixture(autouse=True)
def clean() -> None:
    ran.clear()
    broken.clear()


def step(name: str, value: Any = None) -> Any:
    ran[name] += 1
    if name in broken:
        raise OSError(f"{name} is broken")
    return value


@task
def load(n: int) -> list[int]:
    return step(f"load {n}", [n])


@task
def total(parts: list[list[int]]) -> int:
    return step("total", sum(part[0] for part in parts))


@task(persist_result=False)
def announce(n: int) -> None:
    step(f"announce {n}")


@flow(persist_result=True)
def pipeline(extra: int = 0) -> int:
    parts = [load(1), load(2)]
    announce(1)
    more = load.map([3, 4])
    return total.submit([*parts, more[0], more[1]]).result() + extra


def again(h: Harness, which: Flow[..., Any], run_id: str | None = None) -> Any:
    h.engine.outbox.flush()
    return which.resume(run_id or h.flow_runs()[0].id)


def test_a_resumed_run_runs_only_what_did_not_finish(h: Harness) -> None:
    broken.add("total")
    with pytest.raises(OSError, match="total is broken"):
        pipeline()
    broken.clear()

    assert again(h, pipeline) == 10

    assert ran == {"load 1": 1, "load 2": 1, "load 3": 1, "load 4": 1, "announce 1": 2, "total": 2}
    (run,) = h.flow_runs()
    assert (run.state.name, run.attempt) == ("Completed", 2)
    second = {task_run.name: task_run for task_run in h.task_runs() if task_run.flow_attempt == 2}
    assert {name: one.state.name for name, one in second.items()} == {
        "load-0": "Cached",
        "load-1": "Cached",
        "announce-0": "Completed",
        "load-2": "Cached",
        "load-3": "Cached",
        "total-0": "Completed",
    }
    assert second["load-0"].state.message == "reused from 'load-0' of an earlier attempt"


def test_the_plan_and_what_came_of_it_are_printed(h: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    broken.add("total")
    with pytest.raises(OSError, match="total is broken"):
        pipeline()
    broken.clear()
    capsys.readouterr()

    again(h, pipeline)

    said = capsys.readouterr().err
    assert "of 6 earlier task runs 4 are reused if they are called alike, 2 run again" in said
    assert "again, because it failed: total-0" in said
    assert "again, because its value was not stored: announce-0" in said
    assert "reused 4 task runs, 2 ran" in said


def test_other_inputs_run_again_and_what_follows_them_too(h: Harness) -> None:
    inputs = [1]

    @flow(persist_result=True)
    def main() -> int:
        first = load(inputs[0])
        second = load(10)
        if len(inputs) == 1:
            raise OSError("cut off")
        return first[0] + second[0]

    with pytest.raises(OSError, match="cut off"):
        main()
    inputs[:] = [2, 2]
    assert again(h, main) == 12

    assert ran == {"load 1": 1, "load 2": 1, "load 10": 2}
    messages = [one.message for one in (entry.state for run in h.task_runs()[2:] for entry in h.journal(run)) if one.message]
    assert messages == [
        "runs again: it was not called with these inputs before",
        "runs again: it comes after 'load-0', which is new or changed",
    ]


def test_a_run_that_completed_or_is_held_is_not_taken_up(h: Harness) -> None:
    pipeline()
    with pytest.raises(Conflict, match="is completed"):
        again(h, pipeline)
    with pytest.raises(NotFound, match="no flow run 'nobody'"):
        pipeline.resume("nobody")

    other = flow(lambda: None, name="other")
    with pytest.raises(UsageError, match="is of flow 'pipeline', not 'other'"):
        again(h, other)

    @flow
    def meddling() -> None:
        h.engine.outbox.flush()
        meddling.resume(h.flow_runs()[-1].id)

    with pytest.raises(Conflict, match="somebody holds it"):
        meddling()


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "in memory"])
def test_a_flow_that_retries_in_its_process_does_not_redo_its_tasks(h: Harness, stored: bool) -> None:
    @flow(retries=2, persist_result=stored)
    def main() -> int:
        parts = load.map([1, 2]).result()
        if ran["try"] < 2:
            step("try")
            raise OSError("not yet")
        return total(parts)

    assert main() == 3
    assert ran == {"load 1": 1, "load 2": 1, "try": 2, "total": 1}
    assert [run.state.name for run in h.task_runs() if run.flow_attempt == 3 or run.name == "total-0"][-1] == "Completed"


def test_a_value_that_the_flow_changed_is_reused_as_its_task_made_it(h: Harness) -> None:
    @flow(retries=1)
    def main() -> list[int]:
        part = load(1)
        part.append(len(part))
        step("try")
        if ran["try"] == 1:
            raise OSError("again")
        return part

    assert main() == [1, 1]
    assert ran["load 1"] == 1


def test_async_flows_are_resumed_too(h: Harness) -> None:
    @task(persist_result=True)
    async def fetch(n: int) -> int:
        return int(step(f"fetch {n}", n))

    @flow
    async def main() -> int:
        values = await asyncio.gather(*[fetch(n) for n in range(5)])
        step("end")
        return sum(values)

    broken.add("end")
    with pytest.raises(OSError, match="end is broken"):
        asyncio.run(main())
    broken.clear()

    async def take_up() -> int:
        return int(await again(h, main))

    assert asyncio.run(take_up()) == 10
    assert all(ran[f"fetch {n}"] == 1 for n in range(5))


def test_equal_calls_of_an_impure_task_are_told_apart_by_order_or_by_key(h: Harness) -> None:
    @task(persist_result=True)
    def sample() -> int:
        ran["sample"] += 1
        return ran["sample"]

    def one_flow(sampled: Callable[[], list[int]]) -> Flow[[], list[int]]:
        @flow
        def main() -> list[int]:
            values = sampled()
            step("end")
            return values

        return main

    in_order = one_flow(lambda: [sample(), sample(), sample()])
    broken.add("end")
    with pytest.raises(OSError, match="end is broken"):
        in_order()
    broken.clear()
    assert again(h, in_order) == [1, 2, 3]

    def from_threads(keys: bool) -> list[int]:
        found: dict[int, int] = {}

        @task
        def lane(n: int) -> None:
            found[n] = (sample.with_options(key=str(n)) if keys else sample)()

        for future in [lane.submit(n) for n in range(3)]:
            future.result()
        return [found[n] for n in range(3)]

    for keys in (True, False):
        ran.clear()
        threaded = one_flow(lambda keys=keys: from_threads(keys))  # type: ignore[misc]
        broken.add("end")
        with pytest.raises(OSError, match="end is broken"):
            threaded()
        first = [run for run in h.flow_runs() if run.state.name == "Failed"][-1]
        broken.clear()
        again(h, threaded, first.id)
        assert ran["sample"] == 3 or not keys


def test_nested_flows_and_tasks_in_tasks_are_reused(h: Harness) -> None:
    @task(persist_result=True)
    def outer(n: int) -> int:
        value = load.with_options(persist_result=True)(n)[0]
        step(f"outer {n}")
        return value

    @flow(persist_result=True)
    def child(n: int) -> int:
        return int(load(n)[0]) + 100

    @flow(persist_result=True)
    def main() -> int:
        return outer(1) + child(2) + child(3) + step("end", 0)

    broken.update({"end", "outer 1"})
    with pytest.raises(OSError, match="outer 1 is broken"):
        main()
    broken.discard("outer 1")
    with pytest.raises(OSError, match="end is broken"):
        again(h, main)
    broken.clear()
    assert again(h, main) == 206
    assert ran == {"load 1": 1, "outer 1": 2, "load 2": 1, "load 3": 1, "end": 2}


def test_a_fork_reuses_all_but_a_task_and_what_depended_on_it(h: Harness) -> None:
    assert pipeline() == 10
    h.engine.outbox.flush()
    source = h.flow_runs()[0]

    assert run_shell(resuming.forked(pipeline, source, task="load-1", changes={})) == 10

    assert ran == {"load 1": 1, "load 2": 2, "load 3": 2, "load 4": 2, "announce 1": 2, "total": 2}
    forked = h.flow_runs()[1]
    assert (forked.forked_from, forked.fork_task, forked.trigger) == (source.id, "load-1", f"forked from {source.name} at load-1")
    assert h.flow_runs()[0] == source


def test_a_fork_with_other_parameters_reuses_what_they_do_not_touch(h: Harness) -> None:
    assert pipeline() == 10
    h.engine.outbox.flush()

    assert run_shell(resuming.forked(pipeline, h.flow_runs()[0], task="", changes={"extra": 5})) == 15

    assert ran["load 1"] == ran["load 4"] == ran["total"] == 1


def test_a_fork_that_is_retried_reuses_what_it_had_finished_itself(h: Harness) -> None:
    assert pipeline() == 10
    source = h.flow_runs()[0]
    broken.add("total")
    with pytest.raises(OSError, match="total is broken"):
        run_shell(resuming.forked(pipeline, source, task="load-1", changes={}))
    broken.clear()

    assert again(h, pipeline, h.flow_runs()[1].id) == 10

    assert ran == {"load 1": 1, "load 2": 2, "load 3": 2, "load 4": 2, "announce 1": 3, "total": 3}


def test_a_fork_from_a_task_that_never_was_names_those_that_were(h: Harness) -> None:
    pipeline()
    h.engine.outbox.flush()

    with pytest.raises(NotFound, match=r"(?s)laod.*its task runs are announce-0, load-0"):
        resuming.forked(pipeline, h.flow_runs()[0], task="laod", changes={})


def test_inputs_without_a_stable_hash_are_never_reused_and_say_so(h: Harness) -> None:
    lock = threading.Lock()

    @task(persist_result=True)
    def use(_: Any) -> int:
        return int(step("use", 1))

    @flow
    def main() -> int:
        return use(lock) + step("end", 0)

    broken.add("end")
    with pytest.raises(OSError, match="end is broken"):
        main()
    broken.clear()
    assert again(h, main) == 1
    assert ran["use"] == 2
    last = h.task_runs()[-1]
    assert "argument 0 of type lock has no stable hash" in next(e.state.message for e in h.journal(last) if e.state.name == "Running")


def test_what_is_too_large_to_keep_is_made_again_and_not_copied(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KEPT_BYTES", 10_000)

    class Heavy:
        nbytes = 20_000

        def __reduce__(self) -> tuple[Any, ...]:
            ran["copied"] += 1
            return Heavy, ()

    @task
    def heavy() -> Heavy:
        ran["heavy"] += 1
        return Heavy()

    @flow(retries=1)
    def main() -> None:
        heavy()
        load(1)
        step("try")
        if ran["try"] == 1:
            raise OSError("again")

    main()
    assert ran == {"heavy": 2, "load 1": 1, "try": 2}


def test_a_run_that_was_taken_up_does_not_begin_before_the_store_has_heard_of_it(h: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store may have handed it to somebody else meanwhile; nothing is lost by waiting."""
    from legato.core.errors import Unavailable
    from legato.engine import process

    broken.add("total")
    with pytest.raises(OSError, match="broken"):
        pipeline()
    broken.clear()
    ran.clear()
    monkeypatch.setattr(process, "PATIENCE_S", 0.0)
    gate, seen = h.engine.outbox.gate, []

    def away(transition: Any) -> Any:
        seen.append((transition.state.name, sum(ran.values())))
        if len(seen) < 4:
            raise Unavailable("the server is away")
        return gate(transition)

    monkeypatch.setattr(h.engine.outbox, "gate", away)

    assert again(h, pipeline) == 10
    assert seen[:4] == [("Retrying", 0)] * 4 or seen[:4] == [("Running", 0)] * 4
    assert ran["total"] == 1


def test_a_call_is_known_by_whatever_text_its_key_is(h: Harness) -> None:
    """Names of files are keys, and need be no Unicode; they may be long, and alike."""
    keys = ["", " ", "a", "a\0", "a\\0", "k" * 700 + "1", "k" * 700 + "2", "report-\udcff", "report-\\udcff", "é", "e\u0301"]
    drawn: list[str] = []
    runs: list[str] = []

    @task(persist_result=True)
    def draw(value: int) -> int:
        drawn.append(keys[value])
        return len(drawn)

    @flow
    def main() -> list[int]:
        runs.append(runtime.flow_run.id if runtime.flow_run else "")
        values = [draw.with_options(key=key)(n) for n, key in enumerate(keys)]
        if len(runs) == 1:
            raise ValueError("not yet")
        return values

    with pytest.raises(ValueError, match="not yet"):
        main()

    assert main.resume(runs[0]) == list(range(1, len(keys) + 1))
    assert drawn == keys
