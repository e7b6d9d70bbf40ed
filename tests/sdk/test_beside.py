"""What a call does beside giving its value: what it gave lives on, or a variable is another. Then its value cannot stand for it."""

import functools
import gc
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pandas as pd
import pytest

from legato.core.resume import LIVES_ON
from legato.engine.identity.elsewhere import lives_on
from legato.sdk.code import known_by
from legato.sdk.looks import Look
from legato.sdk.updates import only_looks_up, reads
from legato.testing import Harness, harness

KEPT: dict[str, Any] = {"list": [0], "nested": {"a": [0]}, "frame": pd.DataFrame({"a": [1]})}


class Box:
    of_class: ClassVar = [0]

    def __init__(self, held: Any) -> None:
        self.held = held
        self.parent: Any = None
        self.siblings: Any = None


class Node:
    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.parts.append(self)


def tree(count: int) -> Box:
    root = Box([])
    for n in range(count):
        child = Box(n)
        child.parent, child.siblings = root, root.held
        root.held.append(child)
    return root


@functools.cache
def cached() -> list[int]:
    return [0]


def closure() -> Callable[[], list[int]]:
    held = [0]
    return lambda: held


HELD = closure()

LIVE_ON: dict[str, Callable[[], Any]] = {
    "a global": lambda: KEPT["list"],
    "a part of a global": lambda: KEPT["nested"]["a"],
    "a frame in a global": lambda: KEPT["frame"],
    "in a new list": lambda: [KEPT["list"]],
    "in a new object": lambda: Box({"a": KEPT["list"]}),
    "of a cache": cached,
    "of a closure": HELD,
    "of a class": lambda: Box.of_class,
    "the cache's in a tuple": lambda: (1, cached()),
    "in a tree of many": lambda: [tree(80), KEPT["list"]],
}

NEW: dict[str, Callable[[], Any]] = {
    "list": lambda: [0],
    "nested": lambda: {"a": [[0], {"b": (1, [2])}]},
    "shared inside": lambda: [[0]] * 2,
    "object": lambda: Box([0]),
    "ring": Node,
    "tree": lambda: tree(3),
    "tree of many": lambda: tree(80),
    "frame": lambda: pd.DataFrame({"a": [1]}),
    "copy of a global": lambda: list(KEPT["list"]),
    "frame made of another": lambda: KEPT["frame"].assign(b=1),
    "classes and functions": lambda: [Box, closure, len],
    "names": lambda: ["a", KEPT["list"][0]],
    "made by a function inside": lambda: list(map(lambda n: [n], range(3))),  # noqa: C417 a function inside is what this is about
}


def gives(make: Callable[[], Any]) -> str:
    value = make()
    return "lives on" if lives_on(value, [], known_by) else "is new"


@pytest.mark.parametrize("kind", LIVE_ON)
def test_what_somebody_else_holds_lives_on(kind: str) -> None:
    gives(list)  # so that the references of this code are known

    assert gives(LIVE_ON[kind]) == "lives on"


@pytest.mark.parametrize("kind", NEW)
def test_what_nobody_else_holds_does_not(kind: str) -> None:
    gc.collect()

    assert [gives(NEW[kind]) for _ in range(3)] == ["is new"] * 3


READS: dict[str, tuple[str, Any]] = {
    "S[0] += 1": ("def f(): S[0] += 1", frozenset()),
    "S.n += 1": ("def f(): S.n += 1", frozenset()),
    "S += 1": ("def f():\n    global S\n    S += 1", frozenset()),
    "append": ("def f(): S.append(1)", frozenset()),
    "deep": ("def f(): S['a'].rows[1] = 2", frozenset()),
    "delete": ("def f(): del S['a']", frozenset()),
    "an item": ("def f(): return S['a'] + 1", frozenset({"a"})),
    "an item beside updates": ("def f():\n    S['b'] = 1\n    return S['a']", frozenset({"a"})),
    "whole": ("def f(): return S", None),
    "handed on": ("def f(): print(S)", None),
    "any item": ("def f(x): return S[x]", None),
    "in its own update": ("def f(): S['a'] = S", None),
    "what an update gives": ("def f(): return S.pop()", None),
    "inside": ("def f():\n    def g(): return S\n    return g()", None),
    "in a comprehension": ("def f(): return [n for n in S]", None),
    "as an attribute": ("def f(): return m.S", None),
}


@pytest.mark.parametrize("kind", READS)
def test_it_is_told_whether_a_function_reads_a_variable(kind: str, tmp_path: Path) -> None:
    text, expected = READS[kind]
    file = tmp_path / "read.py"
    file.write_text(f"import functools\n\n\n{text}\n")
    scope: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)

    assert reads(scope["f"], "S") == expected


LOOKS_UP = {
    "def f(x): return S[x] + 1": True,
    "def f(x): return x in S and S.get(x)": True,
    "def f(): return [k for k, v in S.items()]": True,
    "def f():\n    for k in S: print(k)": True,
    "def f(): return len(S) + max(S) + sum(sorted(S.values()))": True,
    "def f(): return 1": True,
    "def f(x): S[x] = 1": False,
    "def f(x): S[x] += 1": False,
    "def f(x): del S[x]": False,
    "def f(x): return S": False,
    "def f(x): return x(S)": False,
    "def f(x): s = S; s.clear()": False,
    "def f(x): S.append(x)": False,
    "def f(x): return [S, x]": False,
    "def f(x): return S.sort": False,
    "def f(x):\n    global S\n    S = x": False,
    "def f(x): return m.S(x)": False,
    "def f(x):\n    def g(): S.clear()\n    return g()": False,
    "def f(x): return globals()['S'][x]": False,
    "def sorted(s): s.clear()\ndef f(x): return sorted(S)": False,
}


@pytest.mark.parametrize("text", LOOKS_UP)
def test_it_is_proven_that_a_function_only_looks_items_up(text: str, tmp_path: Path) -> None:
    file = tmp_path / "looks.py"
    file.write_text(text)
    scope: dict[str, Any] = {}
    exec(compile(text, str(file), "exec"), scope)

    assert only_looks_up(scope["f"], "S") is LOOKS_UP[text]


def test_a_function_without_a_source_reads_anything() -> None:
    scope: dict[str, Any] = {}
    exec("def f(): pass", scope)

    assert reads(scope["f"], "S") is None


# ---------------------------------------------------------------------- in a flow


@pytest.fixture
def h() -> Iterator[Harness]:
    with harness() as made:
        yield made


HEAD = "from legato import flow, task\n"

EFFECTS = {
    "an item that another task reads": ("S = {}\n@task\ndef look(): return S['k']", "S['k'] = v", "look()", True),
    "an item that another task does not read": ("S = {'a': 1}\n@task\ndef look(): return S['a']", "S['k'] = v", "look()", False),
    "a global that another task reads": ("S = []\n@task\ndef look(): return list(S)", "S.append(v)", "look()", True),
    "a rebound global": ("S = 0\n@task\ndef look(): return S", "global S; S = v", "look()", True),
    "an attribute": ("class K: n = 0\nS = K()\n@task\ndef look(): return S.n", "S.n = v", "look()", True),
    "read in a helper of a flow inside": (
        "S = []\ndef seen(): return list(S)\n@task\ndef look(): return seen()\n@flow\ndef inner(): return look()",
        "S.append(v)",
        "inner()",
        True,
    ),
    "what nobody reads": ("S = {'k': 0}", "S['k'] += v", "1", False),
    "an item that nobody reads": ("S = {'k': 0, 'a': 1}", "S['k'] += v", "S['a']", False),
    "a memo": ("S = {}", "return S.setdefault(v, v)", "1", False),
    "something made when it is first asked for": (
        "S = None\ndef get():\n    global S\n    if S is None: S = object()\n    return S",
        "get()",
        "get() is not None",
        False,
    ),
    "nothing": ("S = {'k': 1}", "return S['k'] + v", "S['k']", False),
}


def loaded(folder: Path, source: str) -> ModuleType:
    module = types.ModuleType("effects")
    module.__file__ = str(folder / "effects.py")
    (folder / "effects.py").write_text(source)
    exec(compile(source, module.__file__, "exec"), vars(module))
    return module


@pytest.mark.parametrize("kind", EFFECTS)
def test_a_call_that_changes_what_others_read_is_not_reused(h: Harness, kind: str, tmp_path: Path) -> None:
    defs, change, look, is_effect = EFFECTS[kind]
    source = (
        f"{HEAD}FAILS = []\n{defs}\n@task(persist_result=True)\ndef change(v):\n    {change}\n@flow\ndef main():\n    change(7)\n"
        f"    if FAILS: raise ValueError('here')\n    return {look}\n"
    )
    module = loaded(tmp_path, source)
    module.FAILS.append(1)
    with pytest.raises(ValueError, match="here"):
        module.main()
    h.engine.outbox.flush()

    gave = loaded(tmp_path, source).main.resume(h.flow_runs()[0].id)
    again = [run for run in h.task_runs() if run.flow_attempt == 2 and run.name.startswith("change") and "reused" not in run.state.message]

    assert gave == loaded(tmp_path, source).main()
    assert bool(again) is is_effect


def test_a_value_that_lives_on_is_not_reused_and_it_is_said(h: Harness, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = (
        f"{HEAD}FAILS = []\nNONE = object()\n@task(persist_result=True)\ndef find(v): return [v, NONE]\n@flow\ndef main():\n"
        "    found = find(1)[1]\n    if FAILS: raise ValueError('here')\n    return found is NONE\n"
    )
    module = loaded(tmp_path, source)
    module.FAILS.append(1)
    with pytest.raises(ValueError, match="here"):
        module.main()
    h.engine.outbox.flush()

    assert loaded(tmp_path, source).main.resume(h.flow_runs()[0].id) is True
    assert LIVES_ON in capsys.readouterr().err


HANDED_ON = {
    "task": "@task(persist_result=True)\ndef outer(): return make()",
    "flow": "@flow(persist_result=True)\ndef outer(): return make()",
    "task, inside": "@task(persist_result=True)\ndef outer(): return {'a': make(), 'b': [make()]}",
    "flow, inside": "@flow(persist_result=True)\ndef outer(): return (make(), {'b': make()})",
}


@pytest.mark.parametrize("kind", HANDED_ON)
def test_what_a_task_inside_gave_and_nobody_else_holds_is_reused_when_it_is_handed_on(h: Harness, kind: str, tmp_path: Path) -> None:
    source = (
        f"{HEAD}FAILS = []\nRAN = []\n@task(persist_result=True)\ndef make():\n    RAN.append('make')\n    return [1]\n{HANDED_ON[kind]}\n"
        "@flow\ndef main():\n    x = outer()\n    if FAILS: raise ValueError('here')\n    return x\n"
    )
    module = loaded(tmp_path, source)
    module.FAILS.append(1)
    with pytest.raises(ValueError, match="here"):
        module.main()
    h.engine.outbox.flush()

    again = loaded(tmp_path, source)
    assert again.main.resume(h.flow_runs()[0].id) == loaded(tmp_path, source).main()
    assert again.RAN == []


def numbers() -> Iterator[int]:
    yield 1
    yield 2


@pytest.mark.parametrize("hold", [lambda held: [held], Box, lambda held: {"a": held}], ids=["list", "object", "dict"])
def test_a_generator_is_as_it_was_until_it_is_read_and_when_it_is_over(hold: Callable[[Any], Any]) -> None:
    generator = numbers()
    holder = hold(generator)

    def look() -> Look:
        return Look(holder, is_object=isinstance(holder, Box))

    untouched = look()
    assert untouched.compared_with(look())[0] == ""
    next(generator)
    begun = look()
    assert untouched.compared_with(begun)[0] == begun.compared_with(look())[0] == "changes"
    list(generator)
    over = look()
    assert untouched.compared_with(over)[0] == "changes"
    assert over.compared_with(look())[0] == ""
