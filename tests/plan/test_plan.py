"""The graph before anything runs: it is what a run will record, says what is not known, and calls nothing of the user's."""

# ruff: noqa: B018, BLE001, E731, PERF401, PLE0643, PLW0108, PLW0602, PTH123, RUF018, SIM108, SIM201 odd code is what is tested
import asyncio
import contextlib
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from legato import allow_failure, flow, quote, runtime, task, unmapped
from legato.core.errors import NotFound, UsageError
from legato.core.graph import RECORDED, Plan
from legato.engine.futures import as_completed
from legato.testing import Harness

BROKEN: list[str] = []
"""The task run that is to fail, as its plan names it."""


def fail_if_broken() -> None:
    run = runtime.task_run
    assert run is not None
    path = run.name if runtime.flow_run is None or runtime.flow_run.parent_run_id is None else f"{run.flow_name}/{run.name}"
    if path in BROKEN:
        raise ValueError(f"{path} is broken")


@task
def load(x: int = 0) -> list[int]:
    fail_if_broken()
    return [x]


@task
def clean(rows: Any, n: int = 1) -> list[Any]:
    fail_if_broken()
    return [f"{rows} {n}"]


@task(retries=1, persist_result=True, timeout_seconds=60)
def train(*parts: Any, **named: Any) -> list[Any]:
    fail_if_broken()
    return [f"{parts} {named}"]


@task(trigger="any_failed")
def alert(*parts: Any) -> list[str]:
    fail_if_broken()
    return ["alert"]


@task(trigger="all_done")
def sweep(*parts: Any) -> list[str]:
    fail_if_broken()
    return ["swept"]


@task
def outer(rows: Any) -> list[Any]:
    fail_if_broken()
    return clean(rows, 2)


@task
async def fetch(x: int) -> list[int]:
    fail_if_broken()
    return [x]


def helper(rows: Any, times: int = 2) -> list[Any]:
    made = []
    for n in range(times):
        made.append(clean.submit(rows, n))
    return made


@flow
def child(rows: Any) -> list[Any]:
    return clean(clean(rows))


class Steps:
    scale = 3

    @task
    def scaled(self, x: int) -> list[int]:
        return [x * self.scale]

    @flow
    def main(self) -> None:
        first = self.scaled(2)
        clean(first)


# ---------------------------------------------------------------------- flows whose plans are whole


@flow
def straight() -> None:
    a = load(1)
    b = clean(a)
    train(a, b)


@flow
def futures() -> list[Any]:
    a, b = load.submit(1), load.submit(2)
    c = train.submit(a, [b], extra={"k": a})
    sweep.submit(wait_for=[a, c])
    return c.result()


@flow
def branches(month: int = 3) -> None:
    if month > 2 and not month == 9:
        a = load(1)
    else:
        a = clean([2])
    clean(a) if month % 2 else train(a)
    name = f"m{month}"
    if name == "m3":
        alert(a)


@flow
def loops(names: tuple[str, ...] = ("a", "b", "c")) -> None:
    rows = load.submit()
    for n, name in enumerate(names):
        if name == "b":
            continue
        rows = clean.submit(rows, n)
    while False:
        load()
    [load.submit(x) for x in range(4) if x != 2]
    {k: clean.submit(rows) for k in ("p", "q")}


@flow
def mapped() -> None:
    base = load.submit(1)
    parts = clean.map([1, 2, 3], n=unmapped(7))
    more = clean.map(parts, n=[4, 5, 6], wait_for=[base])
    train.submit(more)
    total = parts.result()
    train(total[0])


@flow
def helped() -> None:
    rows = load.submit()
    both = helper(rows)
    train.submit(*both, *helper(rows, times=1))
    clean.with_options(name="tidy", retries=4).submit(rows)


@flow
def nested() -> None:
    rows = load(1)
    child(rows)
    outer(rows)


@flow
def wrapped() -> None:
    a = load.submit(1)
    sweep.submit(allow_failure(a))
    clean.submit(quote(a.run_id))
    first, second = load.submit(3), load.submit(4)
    for done in as_completed([first, second]):
        done.result()
    pair = (first, second)
    x, y = pair
    train.submit(y)
    alert.submit(x, return_state=False)


@flow
def guarded() -> None:
    try:
        a = load(1)
    finally:
        b = load.submit(2)
    with_state = clean(a, return_state=True)
    del with_state
    train.submit(b, a)


@flow
async def asynchronous() -> None:
    a = await fetch(1)
    b = fetch.submit(2)
    both = await asyncio.gather(*[fetch(n) for n in range(2)])
    train(a, await b)
    clean(both[0])


@flow
def local_functions(n: int = 2) -> None:
    @task
    def inner(x: int) -> list[int]:
        return [x]

    def twice(x: int) -> list[Any]:
        return [inner.submit(x), inner.submit(x + 1)]

    chain = functools.reduce
    del chain
    made = [one for k in range(n) for one in twice(k)]
    train.submit(made)


@flow
def many_ways(config: dict[str, Any] | None = None) -> None:
    config = config or {"steps": ["load", "clean"], "deep": {"n": 2}}
    rows = None
    for step in config["steps"]:
        if step == "load":
            rows = load.submit(config["deep"]["n"])
        elif step == "clean":
            rows = clean.submit(rows)
    table = {}
    table["rows"] = rows
    for key, value in table.items():
        train.submit(value, name=key)
    while True:
        break


WHOLE = [straight, futures, branches, loops, mapped, helped, nested, wrapped, guarded, asynchronous, local_functions, many_ways]


def planned(plan: Plan) -> tuple[list[str], set[tuple[str, str]]]:
    """Names, and edges that a run records, by path."""
    path = {node.id: plan.path(node) for node in plan.nodes}
    return sorted(path.values()), {(path[e.source], path[e.target]) for e in plan.edges if e.how in RECORDED}


def recorded(h: Harness) -> tuple[list[str], set[tuple[str, str]]]:
    """The same of what a run has left in the store."""
    runs = {run.id: run for run in h.flow_runs()}
    top = next(run for run in runs.values() if run.parent_run_id is None)
    path: dict[str, str] = {}
    for run in runs.values():
        prefix = "" if run is top else f"{run.flow_name}/"
        if prefix:
            path[run.id] = run.flow_name
        path |= {one.id: prefix + one.name for one in h.task_runs(run)}
    edges = {(path[up], path[one.id]) for run in runs.values() for one in h.task_runs(run) for up in one.upstream}
    edges |= {(path[up], path[run.id]) for run in runs.values() for up in run.upstream}
    return sorted(path.values()), edges


@pytest.mark.parametrize("made", WHOLE, ids=lambda one: one.name)
def test_a_plan_without_unknowns_is_what_a_run_records(made: Any, h: Harness) -> None:
    plan = made.plan()
    outcome = made()
    if asyncio.iscoroutine(outcome):
        asyncio.run(outcome)

    assert plan.not_known == ()
    nodes, edges = planned(plan)
    names, upstream = recorded(h)
    assert (nodes, edges) == (names, upstream)


@pytest.mark.parametrize("month", range(1, 12))
def test_a_branch_on_parameters_is_the_one_that_the_run_takes(month: int, h: Harness) -> None:
    plan = branches.plan(month=month)
    branches(month)

    assert planned(plan) == recorded(h)
    assert plan.is_whole


def test_methods_are_flows_and_tasks_too(h: Harness) -> None:
    plan = Steps().main.plan()
    Steps().main()

    assert planned(plan)[0] == ["clean-0", "scaled-0"] == recorded(h)[0]
    assert plan.upstream("clean-0") == ["scaled-0"]


# ---------------------------------------------------------------------- nothing is run


def test_nothing_of_the_users_is_called(tmp_path: Path) -> None:
    called: list[str] = []

    class Odd:
        @property
        def rows(self) -> int:
            called.append("property")
            return 1

        def __bool__(self) -> bool:
            called.append("bool")
            return True

        def __iter__(self) -> Any:
            called.append("iter")
            return iter([1])

        def __eq__(self, other: object) -> bool:
            called.append("eq")
            return True

        __hash__ = None  # type: ignore[assignment]

        def __getattr__(self, name: str) -> Any:
            called.append(name)
            return name

    @task
    def write(x: int) -> int:
        (tmp_path / "written").touch()
        return x

    def count() -> int:
        called.append("helper")
        (tmp_path / "helped").touch()
        return 3

    odd = Odd()

    @flow(on_completion=lambda *_: called.append("hook"))
    def main(given: Any = odd) -> None:
        for _ in range(count()):
            write(1)
        if given or given == 3 or given.rows or given.missing:
            write(2)
        for each in given:
            write(each)
        given(1)
        odd.save(write(len(given)))
        print("not even this")

    plan = main.plan()

    assert called == []
    assert list(tmp_path.iterdir()) == []
    assert len(plan.nodes) == 6


# ---------------------------------------------------------------------- what is not known


@flow
def vague(files: list[str], threshold: float, helper_given: Any) -> None:
    rows = [load.submit(name) for name in files]
    cleaned = clean.map(rows)
    quality = sum(helper_given(cleaned))
    if quality > threshold:
        train(cleaned)
    else:
        alert(quality)
    n = 0
    while quality < n:
        load(n)
        n = n + 1
    for file in files:
        if file == "stop":
            break
        clean(file)


def test_what_is_not_known_is_said_and_shown_as_such() -> None:
    plan = vague.plan(threshold=0.5)

    assert [(node.name, node.repeat, node.condition) for node in plan.nodes] == [
        ("load", "× ? (over 'files')", ""),
        ("clean", "× ? (over 'rows')", ""),
        ("train-0", "", "if quality > threshold"),
        ("alert-0", "", "unless quality > threshold"),
        ("load (2)", "× ? (while quality < n)", ""),
        ("clean (2)", "× ? (over 'files')", "unless file == 'stop'"),
    ]
    assert [one.what for one in plan.not_known] == ["what `helper_given(cleaned)` does is not known: it is no task"]
    assert plan.upstream("clean") == ["load"]
    assert plan.upstream("alert-0") == ["clean"]
    assert plan.parameters == {"files": "?", "threshold": "0.5", "helper_given": "?"}
    assert not plan.is_whole


def test_parameters_make_more_of_it_known() -> None:
    plan = vague.plan(files=["a", "b"], threshold=0.5)

    assert [node.name for node in plan.nodes[:4]] == ["load-0", "load-1", "clean-0", "clean-1"]
    assert plan.upstream("clean-1") == ["load-1"]


def test_a_task_mapped_over_a_future_is_one_step() -> None:
    @flow
    def main() -> None:
        rows = load.submit()
        parts = clean.map(rows)
        train.submit(parts)

    plan = main.plan()

    assert [(node.name, node.repeat) for node in plan.nodes] == [("load-0", ""), ("clean", "× ? (over 'rows')"), ("train-0", "")]
    assert (plan.upstream("clean"), plan.upstream("train-0")) == (["load-0"], ["clean"])


def test_a_task_handed_to_code_that_cannot_be_read_is_noted() -> None:
    @flow
    def main(pool: Any) -> None:
        pool.submit(load, 1)

    assert [one.what for one in main.plan().not_known] == ["whether `pool.submit` calls 'load', which it is handed, is not known"]


ODD: list[Callable[..., Any]] = []


def odd(fn: Callable[..., Any]) -> Callable[..., Any]:
    ODD.append(fn)
    return fn


@odd
def recursion(n: Any) -> Any:
    return recursion(load(n))


@odd
def endless_and_large() -> None:
    x = 10**10**10
    y = "a" * 10**12
    z = range(10**12)
    for _ in z:
        load(x)
    sum(z)
    list(z)
    del y


@odd
def matches(x: Any) -> Any:
    match x:
        case {"a": [1, *rest]} if rest:
            load(rest)
        case str() as text:
            clean(text)
        case _:
            return
    train(x)


@odd
def scopes() -> None:
    import os as system
    from json import dumps

    global LEFT

    class Inner:
        value = 1

    def generator() -> Any:
        x = yield load(1)
        yield from (clean(i) for i in range(2))
        return x

    lambda_ = lambda *a, **k: load(*a, **k)
    lambda_(1, *[2, 3], k=4)
    for one in generator():
        clean(one)
    [*first, last] = [load(i) for i in range(3)]
    clean(first[0])
    clean(last[-1:])
    a = b = load(7)
    a[0], b.x, (c, *d) = 1, 2, (3, 4)
    assert (e := load(8)), "message"
    del c, d, e, Inner, system, dumps
    async_ = not ~1 + -(2**3) @ 4  # type: ignore[operator]
    1 / 0
    [][3]
    {}["k"]
    "x".join(1)  # type: ignore[arg-type]
    print(f"{async_!r:>10}", end="")
    raise ValueError(load(9))


@odd
def tries(x: Any) -> Any:
    try:
        return load(x)
    except (ValueError, KeyError) as error:
        clean(error)
    except Exception:
        raise
    else:
        train(1)
    finally:
        sweep()
    with open(x) as one, open(x):
        clean(one)
    return alert()


@pytest.mark.parametrize("fn", ODD, ids=lambda fn: fn.__name__)
def test_odd_code_makes_the_plan_vaguer_never_an_error(fn: Callable[..., Any]) -> None:
    plan = flow(fn).plan()

    assert plan.nodes
    json.loads(plan.json())
    assert str(plan).startswith("flow ")
    assert plan.mermaid().startswith("flowchart TD")
    for node in plan.nodes:
        assert plan.after_failure(plan.path(node))


@pytest.mark.timeout(400)
def test_every_function_of_this_project_can_be_planned() -> None:
    """Thousands of lines of real code that was not written for this."""
    import inspect

    from legato.cli import grammar, output
    from legato.plan import calls as plan_calls
    from legato.plan import containers, expressions, statements
    from legato.sdk import arguments, calls, code, resuming
    from legato.store import sql, transitions

    for module in (arguments, calls, code, plan_calls, containers, expressions, statements, resuming, sql, transitions, grammar, output):
        for fn in [one for _, one in inspect.getmembers(module, inspect.isfunction) if one.__module__ == module.__name__]:
            str(flow(fn).plan())


# ---------------------------------------------------------------------- after a failure


@flow
def pipeline() -> None:
    rows = load.submit()
    good = clean.submit(rows)
    model = train.submit(good)
    alert.submit(model)
    sweep.submit(model)
    load.submit(5)


def test_triggers_say_beforehand_what_will_not_run_after_which_failure() -> None:
    plan = pipeline.plan()

    assert plan.after_failure("clean") == {
        "load-0": "runs",
        "clean-0": "fails",
        "train-0": "UpstreamFailed",
        "alert-0": "runs",
        "sweep-0": "runs",
        "load-1": "runs",
    }
    assert plan.after_failure("load-1")["alert-0"] == "Skipped"
    with pytest.raises(NotFound, match="has load-0"):
        plan.after_failure("lod")


@flow
def handled() -> list[Any]:
    try:
        rows = load(1)
        clean(rows)
    except ValueError:
        rows = clean.with_options(name="fallback")([])
    finally:
        sweep()
    train(rows)
    return rows


@flow
def returned() -> Any:
    try:
        rows = load(1)
    except Exception:
        return alert()
    train(rows)
    return rows


@flow
def reraised() -> None:
    kept = load.submit(9)
    try:
        load(1)
    except Exception:
        sweep()
        raise
    train(kept)


@pytest.mark.parametrize(
    ("made", "fails", "outcomes"),
    [
        (handled, "load-0", ["fails", "is not reached", "runs", "runs", "runs"]),
        (handled, "train-0", ["runs", "runs", "is not reached", "runs", "fails"]),
        (returned, "load-0", ["fails", "Skipped", "is not reached"]),
        (returned, "train-0", ["runs", "is not reached", "fails"]),
        (reraised, "load-1", ["runs", "fails", "runs", "is not reached"]),
        (straight, "load-0", ["fails", "is not reached", "is not reached"]),
        (nested, "child/clean-0", ["runs", "fails", "fails", "is not reached", "is not reached", "is not reached"]),
        (nested, "outer-0", ["runs", "runs", "runs", "runs", "fails", "is not reached"]),
    ],
)
def test_an_exception_stops_what_follows_up_to_who_catches_it(made: Any, fails: str, outcomes: list[str]) -> None:
    assert list(made.plan().after_failure(fails).values()) == outcomes


@pytest.mark.parametrize("broken", ["load", "clean", "train"])
def test_what_it_says_of_a_failure_is_what_a_run_does(broken: str, h: Harness) -> None:
    def step(name: str, given: Any) -> list[Any]:
        if name == broken:
            raise ValueError(name)
        return [str(given)]

    @task(name="load")
    def load_() -> Any:
        return step("load", 0)

    @task(name="clean")
    def clean_(rows: Any) -> Any:
        return step("clean", rows)

    @task(name="train")
    def train_(rows: Any) -> Any:
        return step("train", rows)

    @flow
    def main() -> None:
        rows = load_.submit()
        good = clean_.submit(rows)
        model = train_.submit(good, wait_for=[rows])
        alert.submit(model)
        sweep.submit(good)
        alert.submit(rows)

    said = main.plan().after_failure(broken)
    with contextlib.suppress(ValueError):
        main()

    (run,) = h.flow_runs()
    became = {one.name: one.state.name for one in h.task_runs(run)}
    assert {name: {"fails": "Failed", "runs": "Completed"}.get(outcome, outcome) for name, outcome in said.items()} == became


def failures() -> list[Any]:
    """Every call of every whole flow, and of those that catch."""
    made = [*WHOLE, handled, returned, reraised, pipeline]
    return [
        pytest.param(one, plan.path(node), id=f"{one.name}: {plan.path(node)}")
        for one in made
        for plan in [one.plan()]
        for node in plan.nodes
        if node.kind == "task" and node.task != "inner"  # these can be told to fail
    ]


def became(h: Harness) -> dict[str, str]:
    """What became of each call, by path."""
    words = {"Failed": "fails", "Completed": "runs"}
    found = {}
    for run in h.flow_runs():
        prefix = "" if run.parent_run_id is None else f"{run.flow_name}/"
        if prefix:
            found[run.flow_name] = words.get(run.state.name, run.state.name)
        found |= {prefix + one.name: words.get(one.state.name, one.state.name) for one in h.task_runs(run)}
    return found


@pytest.mark.parametrize(("made", "name"), failures())
def test_whichever_call_fails_the_run_does_what_the_plan_said(made: Any, name: str, h: Harness) -> None:
    BROKEN.append(name)
    try:
        with contextlib.suppress(Exception):
            outcome = made()
            if asyncio.iscoroutine(outcome):
                asyncio.run(outcome)
    finally:
        BROKEN.clear()

    said = made.plan().after_failure(name)
    real = became(h)
    assert said == {path: real.get(path, "is not reached") for path in said}
    assert real.keys() <= said.keys()


# ---------------------------------------------------------------------- how it is shown, and refused


def test_it_reads_as_a_tree_and_as_mermaid() -> None:
    plan = nested.plan()

    lines = str(plan).splitlines()
    assert lines[0] == "flow nested()"
    assert [line.rpartition("  line ")[0] for line in lines[1:]] == [
        "├─ load-0",
        "├─ flow child (after load-0)",
        "│  ├─ clean-0",
        "│  └─ clean-1 (after clean-0)",
        "└─ outer-0 (after load-0)",
        "   └─ clean-0 (after load-0)",
    ]
    assert 'n1[["child"]]' in plan.mermaid()
    assert "  n0 --> n4" in plan.mermaid().splitlines()


def test_a_node_tells_the_tasks_options_and_where_it_is_called() -> None:
    (node,) = [one for one in straight.plan().nodes if one.task == "train"]

    assert (node.retries, node.persisted, node.timeout_s, node.submitted) == (1, True, 60.0, False)
    source = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert source[node.line - 1].strip() == "train(a, b)"
    assert json.loads(straight.plan().json())["nodes"][0]["name"] == "load-0"


def test_without_source_it_says_so() -> None:
    scope: dict[str, Any] = {}
    exec("def main():\n    return 1\n", scope)

    with pytest.raises(UsageError, match="the source of flow 'main' is not available"):
        flow(scope["main"]).plan()


def test_a_parameter_that_the_flow_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="has no parameter 'mnth'"):
        branches.plan(mnth=3)


def test_a_large_plan_ends_with_a_note() -> None:
    @flow
    def main() -> None:
        for a in range(80):
            for b in range(80):
                load.submit(a + b)

    plan = main.plan()

    assert len(plan.nodes) == 3000
    assert "the plan ends here" in plan.not_known[0].what
