"""What counts as a function's code, and what does not. Each test writes a small project and changes one thing in it."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.sdk.code import changed_code, code_of, not_compared, source_digest

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


def test_a_variable_counts_by_the_statement_that_makes_it(project: Load) -> None:
    before = "count = 10\nCALLS = 1\ndef main(x):\n    global CALLS\n    CALLS += 1\n    return count"

    assert changes(project, before, before.replace("10", "11")) == ["count"]
    assert changes(project, before, before.replace("CALLS = 1", "CALLS = 5")) == ["CALLS"]
    module = project(steps=before)
    first = code_of(module.main)
    module.main(1)
    assert code_of(module.main) == first


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


# ---------------------------------------------------------------------- values


HELD = {
    "a library's function": ("import math\nf = math.sqrt\ndef main(x): return f(x)", "math.sqrt", "math.floor"),
    "a library's function by another name": ("from math import sqrt as f\ndef main(x): return f(x)", "sqrt", "floor"),
    "a library by another name": ("import json as lib\ndef main(x): return lib.dumps(x)", "json", "pickle"),
    "a library's class in a closure": ("def make(kind):\n    def inner(x): return kind(x)\n    return inner\nmain = make(int)", "make(int)", "make(float)"),
    "another name of an own function": ("def a(): return 1\ndef b(): return 2\ng = a\ndef main(): return g(), a(), b()", "g = a", "g = b"),
    "a dict": ("CONFIG = {'lr': 0.1}\ndef main(): return CONFIG['lr']", "0.1", "0.2"),
    "a list": ("cols = ['a']\ndef main(): return list(cols)", "'a'", "'a', 'b'"),
    "a number in small letters": ("rate = 0.1\ndef main(x): return x * rate", "0.1", "0.2"),
    "a regular expression": ("import re\nRX = re.compile('a')\ndef main(x): return RX.match(x)", "'a'", "'b'"),
    "its flags": ("import re\nRX = re.compile('a')\ndef main(x): return RX.match(x)", "'a'", "'a', re.I"),
    "a path": ("from pathlib import Path\nHERE = Path('a')\ndef main(): return HERE", "Path('a')", "Path('b')"),
    "a time": ("from datetime import timedelta\nWAIT = timedelta(1)\ndef main(): return WAIT", "timedelta(1)", "timedelta(2)"),
    "a set": ("KINDS = {'a', 'b'}\ndef main(x): return x in KINDS", "'b'", "'c'"),
    "a dataclass": ("import dataclasses\n@dataclasses.dataclass\nclass Cfg:\n    lr: float\nCFG = Cfg(0.1)\ndef main(): return CFG.lr", "Cfg(0.1)", "Cfg(0.2)"),
    "an instance": ("class Cfg:\n    def __init__(self, lr): self.lr = lr\nCFG = Cfg(0.1)\ndef main(): return CFG.lr", "Cfg(0.1)", "Cfg(0.2)"),
    "a default": ("def main(o={'a': 1}): return o['a']", "1", "2"),
    "a default by name": ("def main(*, o=[1]): return o", "[1]", "[2]"),
    "a closure over a list": ("def make(n):\n    def inner(x): return x + n[0]\n    return inner\nmain = make([1])", "[1]", "[2]"),
    "a closure over an object": ("class K:\n    def __init__(self, n): self.n = n\ndef make(k):\n    def inner(x): return k.n\n    return inner\nmain = make(K(1))", "K(1)", "K(2)"),
    "a closure over a method": ("class K:\n    def __init__(self, n): self.n = n\n    def get(self): return self.n\ndef make(f):\n    def inner(x): return f()\n    return inner\nmain = make(K(1).get)", "K(1)", "K(2)"),
    "a partial's argument": ("import functools\ndef base(x, k): return x * k\ng = functools.partial(base, k=2)\ndef main(x): return g(x)", "k=2", "k=3"),
    "a bound builtin": ("get = {'a': 1}.get\ndef main(x): return get(x)", "1", "2"),
    "a class's list": ("class Cfg:\n    cols = ['a']\ndef main(): return Cfg.cols", "'a'", "'b'"),
    "a class's base": ("class A: pass\nclass B: pass\nclass Cfg(A): pass\ndef main(): return Cfg()", "Cfg(A)", "Cfg(B)"),
    "a method of a value's class": ("class K:\n    def go(self): return 1\nk = K()\ndef main(): return k.go()", "return 1", "return 2"),
    "a pydantic default": ("import pydantic\nclass M(pydantic.BaseModel):\n    cols: list = ['a']\ndef main(): return M().cols", "'a'", "'b'"),
    "a pydantic constraint": ("import pydantic\nclass M(pydantic.BaseModel):\n    n: int = pydantic.Field(1, ge=0)\ndef main(n): return M(n=n)", "ge=0", "ge=1"),
    "a pydantic type": ("import pydantic\nclass M(pydantic.BaseModel):\n    n: int\ndef main(n): return M(n=n).n", "n: int", "n: str"),
    "an enum's value": ("import enum\nclass E(enum.Enum):\n    A = [1]\ndef main(): return E.A.value", "[1]", "[2]"),
    "a frame": ("import pandas as pd\nT = pd.DataFrame({'a': [1]})\ndef main(): return T", "[1]", "[2]"),
    "an array": ("import numpy as np\nT = np.array([1])\ndef main(): return T", "[1]", "[2]"),
    "what is too large": ("T = [str(n) for n in range(1, 300_000)]\ndef main(): return T[0]", "range(1", "range(2"),
    "what has no form": ("import sqlite3\nDB = sqlite3.connect(':memory:', timeout=1)\ndef main(): return DB", "timeout=1", "timeout=2"),
    "what a memo is filled with": ("memo = {}\nmemo[3] = 0\nfor n in (4, 5): memo[n] = 1\ndef main(x): return memo.setdefault(x, 2)", "= 0", "= 7"),
    "where a counter begins": ("N = [0]\ndef main():\n    N[0] += 1\n    return N[0]", "[0]\ndef", "[5]\ndef"),
    "one value of two of which the other changes": ("C = {'a': 1}\nD = {}\ndef main(x):\n    D[x] = C['a']\n    return D[x]", "'a': 1", "'a': 2"),
    "what a local of its value changes": ("C = {'n': 1}\ndef main():\n    n = C['n']\n    n += 1\n    return n", "'n': 1", "'n': 2"),
}  # fmt: skip


@pytest.mark.parametrize("held", HELD)
def test_a_value_that_code_holds_counts(project: Load, held: str) -> None:
    before, old, new = HELD[held]
    assert before.count(old) == 1, "the edit is one"

    assert changes(project, before, before.replace(old, new))


USED = {
    "a counter": "N = [0]\ndef main():\n    N[0] += 1\n    return N[0]",
    "a memo": "memo = {}\ndef main(x=1):\n    if x not in memo: memo[x] = x\n    return memo[x]",
    "a memo of a helper": "memo = {}\ndef look(x):\n    memo.setdefault(x, 1)\ndef main(): return look(2)",
    "a list it adds to": "seen = []\ndef main(): seen.append(1)",
    "an attribute of a global": "class S: pass\nS.n = 0\ns = S()\ns.n = 0\ndef main(): s.n += 1",
    "a client that remembers": "class C:\n    def __init__(self): self.token = None\n    def get(self):\n        self.token = 1\nc = C()\ndef main(): c.get()",
    "an iterator": "import itertools\nids = itertools.count()\ndef main(): return next(ids)",
    "a source of random numbers": "import random\nrng = random.Random(1)\ndef main(): return rng.random()",
    "NumPy's": "import numpy as np\nrng = np.random.default_rng(1)\ndef main(): return rng.random()",
    "a logger": "import logging\nlog = logging.getLogger('x')\ndef main(): log.setLevel(10)",
    "a global it rebinds": "n = 0\ndef main():\n    global n\n    n += 1",
    "a cell it rebinds": "def make():\n    n = 0\n    def main():\n        nonlocal n\n        n += 1\n    return main\nmain = make()",
    "a cell it adds to": "def make(seen):\n    def main(): seen.append(1)\n    return main\nmain = make([])",
    "an import in its body": "def main():\n    from helpers import clean\n    return clean()",
    "a class whose objects are pickled": "import pickle\nclass K: pass\nk = K()\ndef main(): return pickle.dumps(K().__reduce_ex__(4)[1:2]), k",
    "a cached function": "import functools\n@functools.cache\ndef f(x): return [x]\ndef main(): return f(1)",
    "an object whose properties are cached": "import functools\nclass K:\n    @functools.cached_property\n    def a(self): return 1\nk = K()\ndef main(): return k.a",
}  # fmt: skip


@pytest.mark.parametrize("used", USED)
def test_running_a_function_does_not_change_what_it_is(project: Load, used: str) -> None:
    module = project(helpers="def clean(): return 1", steps=USED[used])
    before = code_of(module.main)

    module.main()

    assert code_of(module.main) == before


def test_a_value_that_is_set_between_two_calls_is_seen(project: Load) -> None:
    module = project(steps="CONFIG = {'lr': 1}\nrate = 2\ndef main(): return CONFIG['lr'] * rate")
    before = code_of(module.main)

    module.CONFIG["lr"] = 3
    assert changed_code(before, code_of(module.main)) == ["CONFIG"]
    module.rate = 4
    assert changed_code(before, code_of(module.main)) == ["CONFIG", "rate"]
    module.CONFIG["lr"], module.rate = 1, 2
    assert code_of(module.main) == before


IMPORTED = {
    "from a module": "from helpers import clean\n    return clean()",
    "a module": "import helpers\n    return helpers.clean()",
    "by a name": "import importlib\n    return importlib.import_module('helpers').clean()",
    "in a function inside": "def go():\n        import helpers\n        return helpers.clean()\n    return go()",
}


@pytest.mark.parametrize("way", IMPORTED)
@pytest.mark.parametrize("has_run", [False, True])
def test_what_a_body_imports_counts_with_what_that_imports(
    project: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, has_run: bool
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    deep, helpers = "def go(): return 1", 'from deep import go\n\ndef clean():\n    """Clean."""\n    return go()'
    for name, text in (("deep", deep), ("helpers", helpers)):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    main = f"def main():\n    {IMPORTED[way]}"
    module = project(steps=main)
    if has_run:
        project(deep=deep, helpers=helpers)
        module.main()
    before = code_of(module.main)

    (tmp_path / "deep.py").write_text("def go(): return 2")
    assert changed_code(before, code_of(project(steps=main).main)) == ["deep"]
    (tmp_path / "deep.py").write_text("# nothing new\ndef go(): return 1")
    (tmp_path / "helpers.py").write_text(helpers.replace("Clean.", "Clean it."))
    assert code_of(project(steps=main).main) == before
    (tmp_path / "helpers.py").write_text(helpers.replace("go()", "-go()"))
    assert changed_code(before, code_of(project(steps=main).main)) == ["helpers"]


def test_a_module_that_is_handed_on_counts_whole(project: Load, tmp_path: Path) -> None:
    main = "import helpers\ndef main(how): return getattr(helpers, how)()"
    before = code_of(project(helpers="def clean(): return 1", steps=main).main)

    (tmp_path / "helpers.py").write_text("def clean(): return 2")

    assert changed_code(before, code_of(project(steps=main).main)) == ["helpers"]


def test_what_cannot_be_compared_is_named(project: Load) -> None:
    module = project(steps="import threading\nlock = threading.Lock()\nmemo = {}\nRATE = 1\ndef main(x):\n    with lock: memo[x] = RATE")

    assert not_compared(module.main) == ["lock", "memo"]


def test_classes_that_hold_each_other_end(project: Load) -> None:
    text = "class A: pass\nclass B:\n    a = A()\nA.b = B()\nA.own = A()\nk = A()\ndef main(): return k.b.a"

    assert code_of(project(steps=text).main) == code_of(project(steps=text).main)
    assert changes(project, text, text.replace("B:\n", "B:\n    n = 1\n"))


def test_in_which_order_things_are_found_does_not_count(project: Load, tmp_path: Path) -> None:
    parts = "".join(f"def f{n}(x=[{n}], *, y={{'a': {n}}}): return {n}\n" for n in range(20))
    text = f"import dataclasses\n{parts}@dataclasses.dataclass\nclass K:\n    a: int = 1\n    b: list = dataclasses.field(default_factory=list)\n    def c(self, x=(1,)): return {{}}\ndef main(): return K, {', '.join(f'f{n}' for n in range(20))}"
    project(steps=text)
    program = "import steps; from legato.sdk.code import code_digest; print(code_digest(steps.main))"

    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "1234"
    }

    assert len(found) == 1
