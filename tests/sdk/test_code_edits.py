"""An edit anywhere that a function's outcome depends on changes what its code is; one that it does not depend on leaves it as it is."""

import importlib
import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from legato.sdk.code import changed_code, code_of
from legato.sdk.flow_calls import compiled_flow

from tests.support.code_edits import EDITS, HEAD, Edit

OTHER = "SCALE = 3\ndef helper(x): return x * SCALE\n@functools.cache\ndef other(x): return helper(x)\n"

TOUCHES_ALL = frozenset(
    (
        *("memo filled by a function", "opaque object set up elsewhere", "abc registration", "monkeypatched library", "executed code"),
        *(
            "data frame's accessor",
            "seed of a library",
            "seed in a module that is imported",
            "option of a library",
            "environment of the process",
        ),
    )
)
"""What is done at a module's top by calling something, or to a library: it counts for all code of the module."""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Edit], ModuleType]]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = {"steps"}

    def load_(edit: Edit, future: str = "") -> ModuleType:
        for name, text in edit.libs:
            (tmp_path / f"{name}.py").parent.mkdir(exist_ok=True)
            (tmp_path / f"{name}.py").write_text(text)
            names.add(name.replace("/", ".").removesuffix(".__init__"))
        for name in names:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return module_of(tmp_path / "steps.py", f"{future}{HEAD}{OTHER}{edit.defs}\ndef main(x):\n    {edit.body}\n")

    yield load_
    for name in names:
        sys.modules.pop(name, None)


def module_of(file: Path, source: str) -> ModuleType:
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas says that an accessor is registered twice
        exec(compile(source, str(file), "exec", dont_inherit=True), vars(module))
    return module


@pytest.mark.parametrize("kind", EDITS)
def test_what_a_function_depends_on_is_part_of_its_code(load: Callable[[Edit], ModuleType], kind: str) -> None:
    edit = EDITS[kind].numbered("1")
    module = load(edit)
    before, beside = code_of(module.main), code_of(module.other)
    gave = module.main(3)

    assert code_of(module.main) == before, "running it does not change it"
    again = load(edit)
    assert code_of(again.main) == before, "the same source is the same code"
    after = load(edit.edited())
    assert changed_code(before, code_of(after.main))
    if kind not in TOUCHES_ALL:
        assert code_of(after.other) == beside, "what does not depend on it is as it was"
    assert after.main(3) != gave, "the edit is one that shows"


FUTURE = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    "kind", [kind for kind, edit in EDITS.items() if (": " in edit.defs and "class" in edit.defs) or "def g§(n: " in edit.defs]
)
def test_annotations_that_are_texts_count_as_well(load: Callable[..., ModuleType], kind: str) -> None:
    edit = EDITS[kind].numbered("1")
    before = code_of(load(edit, FUTURE).main)

    assert code_of(load(edit, FUTURE).main) == before
    assert changed_code(before, code_of(load(edit.edited(), FUTURE).main))


def test_code_is_the_same_in_every_process(tmp_path: Path) -> None:
    whole = ("globals(", "eval(", "exec(", "modules[")  # these reach all the others
    edits = {n: edit.numbered(str(n)) for n, edit in enumerate(EDITS.values()) if not any(way in edit.body for way in whole)}
    for edit in edits.values():
        for name, text in edit.libs:
            (tmp_path / f"{name}.py").parent.mkdir(exist_ok=True)
            (tmp_path / f"{name}.py").write_text(text)
    mains = "\n".join(f"{edit.defs}\ndef main{n}(x):\n    {edit.body}" for n, edit in edits.items())
    (tmp_path / "steps.py").write_text(f"{HEAD}{mains}\n")
    program = f"import steps; from legato.sdk.code import code_digest\nfor n in {list(edits)}: print(n, code_digest(getattr(steps, f'main{{n}}')))"
    asked = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in "12"
    ]
    found = [one.communicate()[0].splitlines() for one in asked]

    assert found[0] == found[1]
    assert len(found[0]) == len(edits)


HOLDS_FUNCTIONS = {
    "a list": "STEPS = [a, b]\n@flow\ndef main():\n    for step in STEPS: t(step(1))",
    "a dict": "STEPS = {'a': a, 'l': lambda x: x * 2}\n@flow\ndef main(): t(STEPS['l'](1))",
    "a partial": "import functools\nSTEP = functools.partial(a)\n@flow\ndef main(): t(STEP(1))",
    "an object": "class K:\n    def __init__(self, f): self.f = f\nSTEP = K(a)\n@flow\ndef main(): t(STEP.f(1))",
    "a closure": "def made(f):\n    @flow\n    def main(): t([f][0](1))\n    return main\nmain = made(a)",
    "tasks": "STEPS = [t, task(a)]\n@flow\ndef main():\n    for step in STEPS: step(1)",
}


@pytest.mark.parametrize("kind", HOLDS_FUNCTIONS)
def test_a_script_s_flow_is_the_same_when_it_is_run_and_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = f"from legato import flow, task\ndef a(x): return x + 1\ndef b(x): return x + 2\n@task\ndef t(x): return x\n{HOLDS_FUNCTIONS[kind]}\n"
    file = tmp_path / "held.py"
    file.write_text(source)
    found = []
    for name in ("__main__", "held"):
        module = ModuleType(name)
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(source, str(file), "exec"), vars(module))
        found.append(compiled_flow(module.main).body().marks)

    assert found[0] == found[1]
