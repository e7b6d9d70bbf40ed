"""What counts as a function's code, and what does not. Each test writes a small project and changes one thing in it."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.sdk.code import changed_code, code_of, source_digest

Load = Callable[..., ModuleType]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Write and import modules given as name="source"; the last one is returned. The same names again replace them."""

    def load(**sources: str) -> ModuleType:
        module = None
        for name, source in sources.items():
            path = tmp_path / f"{name}.py"
            path.write_text(source, encoding="utf-8")
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, name, module)
            code = compile(source, str(path), "exec")  # not from a cached .pyc of the same second
            exec(code, vars(module))
        assert module is not None
        return module

    return load


def changes(project: Load, before: str, after: str) -> list[str]:
    """The names that differ for `main` when a module's text changes."""
    old = code_of(project(steps=before).main)
    return changed_code(old, code_of(project(steps=after).main))


def test_a_changed_line_changes_the_function_s_hash(project: Load) -> None:
    assert changes(project, "def main(x):\n    return x + 1", "def main(x):\n    return x + 2") == ["main"]


def test_an_operator_changes_the_function_s_hash(project: Load) -> None:
    assert changes(project, "def main(x):\n    return x + 1", "def main(x):\n    return x - 1") == ["main"]


@pytest.mark.parametrize(
    "after",
    [
        "\n\n# why\ndef main(x):\n    # because\n    return x + 1",
        'def main(x):\n    """Now it says what it does."""\n    return x + 1',
        "def main(x: int) -> int:\n    return x + 1",
        "def main(x):\n\n\n    return (\n        x + 1\n    )",
    ],
    ids=["comments", "docstring", "annotations", "layout"],
)
def test_what_does_nothing_changes_nothing(project: Load, after: str) -> None:
    assert changes(project, "def main(x):\n    return x + 1", after) == []


def test_a_docstring_before_a_bare_return_changes_nothing(project: Load) -> None:
    assert changes(project, "def main(x):\n    print(x, 1)", 'def main(x):\n    """New."""\n    print(x, 1)') == []


def test_a_changed_default_changes_the_hash(project: Load) -> None:
    assert changes(project, "def main(x=1):\n    return x", "def main(x=2):\n    return x") == ["main"]


def test_a_renamed_parameter_changes_the_hash(project: Load) -> None:
    assert changes(project, "def main(x):\n    return x", "def main(y):\n    return y") == ["main"]


def test_a_helper_of_a_helper_counts(project: Load) -> None:
    before = "def deep(x): return x + 1\ndef middle(x): return deep(x)\ndef main(x): return middle(x)"

    assert changes(project, before, before.replace("x + 1", "x * 2")) == ["deep"]


def test_a_function_that_is_not_reached_does_not_count(project: Load) -> None:
    before = "def other(x): return x + 1\ndef main(x): return x"

    assert changes(project, before, before.replace("x + 1", "x * 2")) == []


def test_helpers_that_call_each_other_are_each_found_once(project: Load) -> None:
    module = project(steps="def a(n): return b(n)\ndef b(n): return a(n)\ndef main(n): return a(n)")

    assert set(code_of(module.main)) == {"a", "b", "main"}


def test_a_helper_in_another_module_counts_under_its_full_name(project: Load) -> None:
    flow = "import cleaning\nfrom cleaning import scale\ndef main(x): return cleaning.clean(scale(x))"
    old = code_of(project(cleaning="def clean(x): return x\ndef scale(x): return x", steps=flow).main)
    new = code_of(project(cleaning="def clean(x): return [x]\ndef scale(x): return x", steps=flow).main)

    assert set(old) == {"main", "cleaning.clean", "cleaning.scale"}
    assert changed_code(old, new) == ["cleaning.clean"]


def test_the_standard_library_and_packages_are_taken_as_given(project: Load) -> None:
    module = project(steps="import json, msgspec, textwrap\ndef main(x): return json.dumps(textwrap.dedent(msgspec.json.encode(x)))")

    assert set(code_of(module.main)) == {"main"}


def test_methods_and_bases_of_a_class_count(project: Load) -> None:
    before = "class Base:\n    def f(self): return 1\nclass Model(Base):\n    rate = 0.1\n    def g(self): return 2\ndef main(): return Model().g()"

    assert changes(project, before, before.replace("return 1", "return 3")) == ["Base.f"]
    assert changes(project, before, before.replace("return 2", "return 3")) == ["Model.g"]
    assert changes(project, before, before.replace("0.1", "0.2")) == ["Model"]


def test_an_object_in_a_global_is_known_by_its_class(project: Load) -> None:
    before = "class Client:\n    def get(self): return 1\nclient = Client()\ndef main(): return client.get()"

    assert changes(project, before, before.replace("return 1", "return 2")) == ["Client.get"]


def test_static_class_methods_and_properties_count(project: Load) -> None:
    before = (
        "class C:\n    @staticmethod\n    def s(): return 1\n    @classmethod\n    def c(cls): return 2\n"
        "    @property\n    def p(self): return 3\ndef main(): return C.s()"
    )

    assert changes(project, before, before.replace("return 1", "return 9")) == ["C.s"]
    assert changes(project, before, before.replace("return 2", "return 9")) == ["C.c"]
    assert changes(project, before, before.replace("return 3", "return 9")) == ["C.p"]


def test_enum_members_and_dataclass_defaults_count(project: Load) -> None:
    before = (
        "from dataclasses import dataclass\nfrom enum import Enum\nclass Kind(Enum):\n    A = 1\n@dataclass\nclass Row:\n    n: int = 5\n"
        "def main(): return Row(), Kind.A"
    )

    assert changes(project, before, before.replace("A = 1", "A = 2")) == ["Kind"]
    assert "Row" in changes(project, before, before.replace("n: int = 5", "n: int = 6"))


def test_tasks_flows_partials_and_decorated_functions_are_looked_into(project: Load) -> None:
    before = (
        "import functools\nfrom legato import flow, task\n@task(retries=1)\ndef step(): return 1\n@flow\ndef sub(): return 2\n"
        "def raw(x): return 3\npartly = functools.partial(raw, 1)\n@functools.cache\ndef cached(): return 4\n"
        "def own(f):\n    @functools.wraps(f)\n    def wrapper(*a): return f(*a)\n    return wrapper\n@own\ndef wrapped(): return 5\n"
        "@flow\ndef main(): return step(), sub(), partly(), cached(), wrapped()"
    )
    for number, name in enumerate(["step", "sub", "raw", "cached", "wrapped"], 1):
        assert changes(project, before, before.replace(f"return {number}", "return 9")) == [name]


def test_functions_kept_in_a_dict_count(project: Load) -> None:
    before = "def a(): return 1\nSTEPS = {'a': a}\ndef main(k): return STEPS[k]()"

    assert changes(project, before, before.replace("return 1", "return 2")) == ["a"]


def test_lambdas_and_inner_functions_count(project: Load) -> None:
    before = "double = lambda x: x * 2\ndef main(x):\n    def inner(y): return y + 1\n    return inner(double(x))"

    assert changes(project, before, before.replace("x * 2", "x * 3")) == ["<lambda>"]
    assert changes(project, before, before.replace("y + 1", "y + 2")) == ["main"]


def test_what_a_closure_holds_counts(project: Load) -> None:
    before = "def make(n):\n    def main(x): return x + n\n    return main\nmain = make(1)"

    assert changes(project, before, before.replace("make(1)", "make(2)")) == ["make.<locals>.main"]


def test_a_constant_in_capitals_counts(project: Load) -> None:
    before = "LIMIT = 10\ndef main(x): return x < LIMIT"

    assert changes(project, before, before.replace("10", "11")) == ["LIMIT"]


def test_a_variable_does_not_count_however_it_is_spelled(project: Load) -> None:
    before = "count = 10\nCALLS = 1\ndef main(x):\n    global CALLS\n    CALLS += 1\n    return count"

    assert changes(project, before, before.replace("10", "11").replace("CALLS = 1", "CALLS = 5")) == []


def test_an_async_function_differs_from_a_plain_one(project: Load) -> None:
    assert changes(project, "def main(x): return x", "async def main(x): return x") == ["main"]


def test_a_builtin_and_an_installed_function_have_no_code_of_ours() -> None:
    import json

    assert code_of(len) == {}
    assert code_of(json.dumps) == {}


SCRIPT = """
import sys
class Model:
    kinds = frozenset({"a", "b", "c", "d"})
    def fit(self, x): return x in {"one", "two", "three", "four"}
def main(x): return Model().fit(x)
if __name__ == "__main__":
    from legato.sdk.code import code_of
    print(sorted(code_of(main).items()))
"""


def test_hashes_are_equal_in_every_process_and_whether_run_or_imported(project: Load, tmp_path: Path) -> None:
    imported = code_of(project(script=SCRIPT).main)
    said = {
        subprocess.run(
            [sys.executable, str(tmp_path / "script.py")],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for seed in ("0", "1", "2")
    }

    assert said == {str(sorted(imported.items()))}


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=4))
def test_a_source_digest_does_not_depend_on_the_order(code: dict[str, str]) -> None:
    assert source_digest(code) == source_digest(dict(reversed(code.items())))


def test_a_helper_redefined_in_an_interactive_session_is_seen() -> None:
    scope = {"__name__": "__main__", "__builtins__": __builtins__}
    exec("def helper(): return 1\ndef main(): return helper()", scope)
    before = code_of(scope["main"])
    exec("def helper(): return 2", scope)

    assert changed_code(before, code_of(scope["main"])) == ["helper"]
