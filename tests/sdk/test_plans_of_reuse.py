"""The plan that is printed before a run goes on tells what then comes: each call that is reused, each that runs, and why."""

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from legato import flow, task
from legato.core.resume import PlanLine
from legato.core.reuse_plan import in_groups
from legato.engine.identity.ledger import Ledger
from legato.sdk import resuming
from legato.sdk.flow_calls import pasts_known_to, run_shell
from legato.testing import Harness

HEAD = """
import asyncio, threading, os
from pathlib import Path
from legato import ProcessTaskRunner, allow_failure, flow, task

FACTOR = 2
OTHER = 3

@task
def load(n): return n

@task
def times(n): return n * FACTOR

@task
def other(n): return n * OTHER

@task
def large(n): return str(n) * 20_000

@task
def fails(): raise OSError("here")

def end():
    if os.environ.get("CUT"): raise OSError("cut off")
"""


class Case(NamedTuple):
    """A flow called `main`, what is replaced in its file before it goes on, and what of the first attempt's calls is then reused."""

    name: str
    body: str
    edits: tuple[tuple[str, str], ...] = ()
    reused: str = ""
    loses_files: bool = False


FACTOR = (("FACTOR = 2", "FACTOR = 5"),)
OTHER = (("OTHER = 3", "OTHER = 5"),)

CASES = [
    Case("nothing", "@flow(persist_result=True)\ndef main():\n    a = load(1)\n    b = times(a)\n    end()\n", (), "load-0 times-0"),
    Case("first", "@flow(persist_result=True)\ndef main():\n    b = times(1)\n    load(b)\n    load(7)\n    end()\n", FACTOR, ""),
    Case("last", "@flow(persist_result=True)\ndef main():\n    a = load(1)\n    times(a)\n    end()\n", FACTOR, "load-0"),
    Case(
        "submitted beside",
        "@flow(persist_result=True)\ndef main():\n    a = times.submit(1)\n    b = load.submit(2)\n    b.result()\n    a.result()\n    end()\n",
        FACTOR,
        "load-0",
    ),
    Case(
        "submitted and handed on",
        "@flow(persist_result=True)\ndef main():\n    a = times.submit(1)\n    b = load.submit(2)\n    c = other.submit(a)\n    d = other.submit(b)\n"
        "    d.result(), c.result()\n    end()\n",
        FACTOR,
        "load-0 other-1",
    ),
    Case(
        "waited for",
        "@flow(persist_result=True)\ndef main():\n    a = times.submit(1)\n    c = load.submit(3, wait_for=[a])\n    load.submit(4).result()\n    c.result()\n    end()\n",
        FACTOR,
        "load-1",
    ),
    Case(
        "mapped",
        "@flow(persist_result=True)\ndef main():\n    a = times.map([1, 2, 3])\n    b = load.map(a)\n    c = load.map([7, 8]).result()\n    b.result()\n    end()\n",
        FACTOR,
        "load-3 load-4",
    ),
    Case(
        "task in a task",
        "@task\ndef outer(n):\n    return load(n) + times(n) + load(9)\n@flow(persist_result=True)\ndef main():\n    load(1)\n    outer(1)\n    load(2)\n    end()\n",
        FACTOR,
        "load-0",
    ),
    Case(
        "task in a task, whole",
        "@task\ndef outer(n):\n    return load(n) + times(n)\n@flow(persist_result=True)\ndef main():\n    load(1)\n    outer(1)\n    other(2)\n    end()\n",
        OTHER,
        "load-0 outer-0",
    ),
    Case(
        "generator",
        "@task\ndef items():\n    yield 1\n    yield 2\n@flow(persist_result=True)\ndef main():\n    got = list(items())\n    load(len(got))\n    end()\n",
        (),
        "load-0",
    ),
    Case(
        "generator, submitted",
        "@task\ndef items():\n    yield 1\n    yield 2\n@flow(persist_result=True)\ndef main():\n    got = list(items.submit().result())\n    load(len(got))\n    end()\n",
        (),
        "items-0 load-0",
    ),
    Case(
        "inner flow",
        "@flow(persist_result=True)\ndef inner(n):\n    return times(n)\n@flow(persist_result=True)\ndef main():\n    load(1)\n    inner(1)\n    load(2)\n    end()\n",
        FACTOR,
        "load-0",
    ),
    Case(
        "inner flow, whole",
        "@flow(persist_result=True)\ndef inner(n):\n    return times(n)\n@flow(persist_result=True)\ndef main():\n    load(1)\n    inner(1)\n    other(2)\n    end()\n",
        OTHER,
        "load-0 inner",
    ),
    Case(
        "inner flow's own code",
        "@flow(persist_result=True)\ndef inner(n):\n    return times(n) + 1\n@flow(persist_result=True)\ndef main():\n    inner(1)\n    load(2)\n    end()\n",
        (("times(n) + 1", "times(n) + 2"),),
        "",
    ),
    Case("files", "@flow(persist_result=True)\ndef main():\n    large(1)\n    load(2)\n    end()\n", (), "load-0", loses_files=True),
    Case(
        "threads",
        "def work():\n    load(1)\n    times(2)\n    load(3)\n@flow(persist_result=True)\ndef main():\n    t = threading.Thread(target=work)\n    t.start()\n    t.join()\n"
        "    load(9)\n    end()\n",
        FACTOR,
        "load-0",
    ),
    Case(
        "threads of one's own that share nothing",
        "def work(f, n):\n    f(n)\n    load(n + 10)\n@flow(persist_result=True)\ndef main():\n    for f in (times, other):\n        t = threading.Thread(target=work, args=(f, 1))\n"
        "        t.start()\n        t.join()\n    end()\n",
        OTHER,
        "times-0 load-0",
    ),
    Case(
        "asyncio",
        "@task\nasync def soon(n):\n    return n * FACTOR\n@flow(persist_result=True)\nasync def amain():\n    await asyncio.gather(soon(1), soon(2))\n    load(3)\n"
        "@flow(persist_result=True)\ndef main():\n    load(1)\n    asyncio.run(amain())\n    end()\n",
        FACTOR,
        "load-0",
    ),
    Case(
        "failed and caught",
        "@flow(persist_result=True)\ndef main():\n    load(1)\n    try:\n        fails()\n    except OSError:\n        pass\n    load(2)\n    end()\n",
        (),
        "load-0",
    ),
    Case(
        "failure handed on",
        "@flow(persist_result=True)\ndef main():\n    f = fails.submit()\n    load.submit(1, wait_for=[allow_failure(f)]).result()\n    load(2)\n    end()\n",
        (),
        "",
    ),
    Case(
        "changes its argument",
        "@task\ndef fill(d):\n    d['a'] = 1\n@flow(persist_result=True)\ndef main():\n    d = {}\n    fill(d)\n    load(d['a'])\n    end()\n",
        (),
        "load-0",
    ),
    Case(
        "not stored",
        "@task(persist_result=False)\ndef say(n): return n\n@flow(persist_result=True)\ndef main():\n    say(1)\n    load(1)\n    end()\n",
        (),
        "load-0",
    ),
    Case(
        "given what cannot be compared",
        "@task\ndef look(lock): return 1\n@flow(persist_result=True)\ndef main():\n    load(0)\n    look(threading.Lock())\n    load(1)\n    end()\n",
        (),
        "load-0",
    ),
    Case(
        "a method",
        "class Box:\n    def __init__(self, n): self.n = n\n    @task\n    def look(self): return self.n * FACTOR\n@flow(persist_result=True)\ndef main():\n    load(0)\n    Box(1).look()\n"
        "    load(1)\n    end()\n",
        FACTOR,
        "load-0",
    ),
]


TOLD_OTHERWISE = ("it was not called with these inputs before", "what it depends on gave something else")
"""What only the run can know; the plan says what it comes after."""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Makes a module of a source, in a file of one name."""
    file = tmp_path / "planned.py"
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(source: str) -> ModuleType:
        file.write_text(source)
        spec = importlib.util.spec_from_file_location("planned", file)
        assert spec is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules["planned"] = made
        exec(compile(source, str(file), "exec"), vars(made))
        return made

    yield load
    sys.modules.pop("planned", None)


def edited(case: Case) -> str:
    text = HEAD + case.body
    for old, new in case.edits:
        assert old in text
        text = text.replace(old, new)
    return text


def short(lines: list[PlanLine], names: dict[str, str]) -> dict[str, tuple[bool, str]]:
    def known(text: str) -> str:
        return functools.reduce(lambda text, name: text.replace(name, names[name]), names, text)

    return {known(line.name): (line.reused, "" if line.reused else known(line.why)) for line in lines}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_is_what_comes(case: Case, h: Harness, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUT", "1")
    with pytest.raises(OSError, match="cut off"):
        module(HEAD + case.body).main()
    monkeypatch.delenv("CUT")
    run = next(one for one in h.flow_runs() if one.parent_run_id is None)
    if case.loses_files:
        for file in (h.home / "storage").rglob("*"):
            if file.is_file():
                file.unlink()
    main = module(edited(case)).main
    flows = {one.name: one.flow_name for one in h.flow_runs()}

    planned = short(resuming.planned(main, run, pasts_known_to(h.engine, run)), flows)
    shell = resuming.taken_up(main, run, why="tested")
    run_shell(shell)

    came = outcomes(shell.ledger, {**flows, **{one.name: one.flow_name for one in h.flow_runs()}})
    assert {name for name, (reused, _) in planned.items() if reused} == set(case.reused.split())
    assert {name: reused for name, (reused, _) in came.items() if name in planned} == {
        name: reused for name, (reused, _) in planned.items() if name in came
    }
    for name, (reused, why) in came.items():
        if not reused and name in planned and why not in TOLD_OTHERWISE and "compared" not in planned[name][1]:
            assert planned[name][1] == why


def outcomes(ledger: Ledger, flows: dict[str, str]) -> dict[str, tuple[bool, str]]:
    return short(ledger.outcomes, flows)


def test_a_flow_that_was_edited_twice_runs_again_whole(
    h: Harness, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt between was made in a body that nobody has kept."""
    source = HEAD + "@flow(persist_result=True)\ndef main():\n    load(1)\n    times(2)\n    end()\n"
    monkeypatch.setenv("CUT", "1")
    with pytest.raises(OSError, match="cut off"):
        module(source).main()
    run = h.flow_runs()[0]
    with pytest.raises(OSError, match="cut off"):
        module(source.replace("times(2)", "times(3)")).main.resume(run.id)
    monkeypatch.delenv("CUT")
    flow, run = module(source.replace("times(2)", "times(4)")).main, h.flow_runs()[0]

    planned = short(resuming.planned(flow, run, pasts_known_to(h.engine, run)), {})
    shell = resuming.taken_up(flow, run, why="tested")
    run_shell(shell)

    came = outcomes(shell.ledger, {})
    assert came["load-0"] == planned["load-0"] == (False, "it comes after the flow's code, which changed")


def test_a_renamed_task_is_called_no_more(h: Harness, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(
        "renamed",
        "@flow(persist_result=True)\ndef main():\n    load(1)\n    times(2)\n    other(3)\n    end()\n",
        (("def times", "def multiply"), ("    times(2)", "    multiply(2)")),
    )
    monkeypatch.setenv("CUT", "1")
    with pytest.raises(OSError, match="cut off"):
        module(HEAD + case.body).main()
    run = h.flow_runs()[0]
    flow = module(edited(case)).main

    lines = resuming.planned(flow, run, pasts_known_to(h.engine, run))

    assert in_groups(lines, edited=resuming.edited_line(flow, run)) == [
        "of 3 earlier task runs at most 1 is reused if it is called alike, at least 1 runs again, 1 is not called any more",
        "  reused: load-0",
        f"  again as well: whatever comes after {resuming.edited_line(flow, run)}",
        "  not again, because its task is not in the code any more: times-0",
        "  again, because it came after 'times-0', which has not been called this time: other-0",
    ]


@pytest.mark.parametrize("task", ["load", "times", "other"])
def test_the_plan_of_a_fork_is_what_comes(
    task: str, h: Harness, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = module(
        HEAD + "@flow(persist_result=True)\ndef main():\n    a = load(1)\n    b = times(a)\n    c = other(b)\n    load(7)\n    end()\n"
    ).main
    flow()
    run = h.flow_runs()[0]

    planned = short(resuming.planned(flow, run, resuming.pasts_to_fork(h.engine, run, task)), {})
    shell = resuming.forked(flow, run, task=task, changes={})
    run_shell(shell)

    assert short(shell.ledger.outcomes, {}) == planned


def test_a_task_that_is_defined_inside_a_function_is_not_taken_for_gone(h: Harness) -> None:
    @task
    def load(n: int) -> int:
        return n

    @flow
    def main() -> None:
        load(1)

    main()

    assert not resuming.today(main).is_gone(h.task_runs()[0].key)
