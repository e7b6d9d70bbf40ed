"""A task that changes what others read is not taken for its value, however it changes it and however it is called; one that only looks is."""

import importlib
import itertools
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from legato.testing import Harness, harness

from tests.support.writes import HARMLESS, WRITES, Write

HEAD = "from legato import INPUTS, flow, runtime, task\nFAILS = []\n"

CALLS: dict[str, tuple[str, str]] = {
    "direct": ("", "change(1)"),
    "submitted": ("", "change.submit(1).result()"),
    "mapped": ("", "change.map([1]).result()"),
    "nested": ("@task({options})\ndef outer(v):\n    change(v)", "outer(1)"),
    "in a flow inside": ("@flow(persist_result=True)\ndef inner(v):\n    change(v)", "inner(1)"),
    "in a helper": ("def helper(v):\n    change(v)", "helper(1)"),
    "async": ("", "change.submit(1).result()"),
}
"""How the task is called: what stands behind it, and the line."""

READS: dict[str, str] = {
    "by a task": "look()",
    "by a submitted task": "look.submit().result()",
    "by the flow": "{look}",
    "by a flow inside": "looks()",
    "by two": "[look(), {look}][0]",
}

WAYS = ("resumed", "in one process", "cached")


def source(write: Write, way: str, call: str, read: str) -> str:
    options = "cache_policy=INPUTS" if way == "cached" else "persist_result=True" if way == "resumed" else ""
    more, line = CALLS[call]
    is_async = "async " if call == "async" else ""
    body = f"@task({options})\n{is_async}def change(v):\n    {write.change}\n"
    body += f"{more.format(options=options)}\n@task\ndef look(): return {write.look}\n@flow\ndef looks(): return look()\n"
    reset = f"    {write.reset}\n" if way != "resumed" else ""
    retries = "retries=1" if way == "in one process" else ""
    fails = "runtime.flow_run.attempt == 1 and not FAILS" if way == "in one process" else "FAILS"
    end = f"    if {fails}: raise ValueError('here')\n    return repr(seen)\n"
    return f"{HEAD}{write.defs}\n{body}@flow({retries})\ndef main():\n{reset}    {line}\n    seen = {READS[read].format(look=write.look)}\n{end}"


def loaded(folder: Path, write: Write, text: str) -> ModuleType:
    """The script as a module of its own, and those beside it, as a new process would have them."""
    for name, other in write.others:
        (folder / f"{name}.py").write_text(other)
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    module = types.ModuleType("writes")
    module.__file__ = str(folder / "writes.py")
    (folder / "writes.py").write_text(text)
    sys.modules["writes"] = module
    exec(compile(text, module.__file__, "exec"), vars(module))
    return module


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("SET_BY_A_TASK", raising=False)
    yield tmp_path
    for name in ("writes", "settings_w"):
        sys.modules.pop(name, None)


def played(h: Harness, folder: Path, write: Write, way: str, call: str, read: str) -> tuple[Any, Any]:
    """What the flow saw when it went on, and the truth."""
    text = source(write, way, call, read)
    module: Any = loaded(folder, write, text)
    reset(module, write)
    if way == "resumed":
        module.FAILS.append(1)
        with pytest.raises(ValueError, match="here"):
            module.main()
        h.engine.outbox.flush()
        again: Any = loaded(folder, write, text)
        reset(again, write)
        seen = again.main.resume(h.flow_runs()[0].id)
    elif way == "cached":
        module.main()
        h.engine.outbox.flush()
        seen = module.main()
    else:
        seen = module.main()
    with harness():
        fresh: Any = loaded(folder, write, text)
        reset(fresh, write)
        fresh.FAILS.append(1) if way == "in one process" else None
        return seen, fresh.main()


def reset(module: Any, write: Write) -> None:
    """What outlives the module: the environment."""
    if "environ" in write.reset:
        exec(write.reset, vars(module))


def some(n: int, kind: str) -> tuple[str, str, str, str]:
    """For each kind of change one way to go on, to call and to read: those of its neighbours differ."""
    ways = [(way, call, read) for way, call, read in itertools.product(WAYS, CALLS, READS) if not is_chance(kind, call, read)]
    return kind, *ways[n * 37 % len(ways)]


def is_chance(kind: str, call: str, read: str) -> bool:
    """Whether no order says what is seen; or, of a count of calls, the flow's own code counts how many there were in this attempt."""
    if kind == "a class's counter":
        return "{look}" in READS[read]
    return kind == "a thread's own" and (call in ("submitted", "mapped", "async") or read == "by a submitted task")


@pytest.mark.parametrize(("kind", "way", "call", "read"), [some(n, kind) for n, kind in enumerate(WRITES)])
def test_what_a_task_changes_is_seen_by_those_that_read_it(folder: Path, kind: str, way: str, call: str, read: str) -> None:
    with harness() as h:
        seen, truth = played(h, folder, WRITES[kind], way, call, read)

    assert seen == truth


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", WRITES)
def test_it_is_seen_in_all_ways(folder: Path, kind: str) -> None:
    wrong = []
    for way, call, read in itertools.product(WAYS, CALLS, READS):
        if is_chance(kind, call, read):
            continue
        with harness() as h:
            seen, truth = played(h, folder, WRITES[kind], way, call, read)
        if seen != truth:
            wrong.append(f"{way}, {call}, {read}: {seen}, not {truth}")

    assert not wrong


@pytest.mark.parametrize(("kind", "way"), [(kind, WAYS[n % len(WAYS)]) for n, kind in enumerate(HARMLESS)])
def test_what_changes_nothing_that_others_read_is_reused(h: Harness, folder: Path, kind: str, way: str) -> None:
    seen, truth = played(h, folder, HARMLESS[kind], way, "direct", "by a task")
    again = [run for run in h.task_runs(h.flow_runs()[-1]) if run.name.startswith("change")]

    assert seen == truth
    assert again[-1].state.name == "Cached", again[-1].state.message
