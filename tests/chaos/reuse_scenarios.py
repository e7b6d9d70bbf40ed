"""Scenarios of reuse, generated: two versions of a flow's source, made of steps of many kinds; one step differs between them.

The first version runs and fails at its end; the second goes on from there; the truth is a run of the second in a world of its own. What the flow
has observed must be the same. `WORLD` is a folder that stands for everything outside: tables that tasks write and read, and who has run.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import sys
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

import pytest

from legato.testing import harness

from tests.support.code_edits import EDITS
from tests.support.code_edits import HEAD as LIBRARIES
from tests.support.writes import WRITES

HEAD = (
    f"""{LIBRARIES}"""
    """
import asyncio, dataclasses, datetime as dt, enum, functools, os, re
from collections import OrderedDict, defaultdict, namedtuple
from decimal import Decimal
from pathlib import Path, PurePosixPath
import numpy as np
import pandas as pd
import pydantic
from legato import DEFAULT, flow, runtime, task

class Told(Exception): pass

def world(name):
    return os.path.join(os.environ["WORLD"], name)
def put(name, v):
    with open(world(name), "w") as f: f.write(repr(v))
def get(name):
    try:
        with open(world(name)) as f: return f.read()
    except FileNotFoundError: return None
def hit(name):
    with open(world("ran"), "a") as f: f.write(name + " ")
def show(x):
    if isinstance(x, pd.DataFrame): return repr((list(x.items()), x.dtypes.to_dict(), x.attrs, [getattr(x[c], "cat", None) and list(x[c].cat.categories) for c in x]))
    if isinstance(x, np.ndarray): return repr((x.tolist(), x.dtype, x.shape))
    if isinstance(x, (functools.partial, type(show))): return repr(x(*[1] * (not isinstance(x, functools.partial))))
    if isinstance(x, defaultdict): return repr((x, x["new"]))
    return repr((type(x).__name__, x, getattr(x, "__dict__", None)))

@dataclasses.dataclass
class S3:
    path: object
@dataclasses.dataclass
class GCS:
    path: object
class Box:
    def __init__(self, held): self.held = held
    def __repr__(self): return f"Box({self.held!r})"
class Colour(enum.Enum):
    A = "a"
class Shade(enum.Enum):
    A = "a"
Pair = namedtuple("Pair", "a b")
class Model(pydantic.BaseModel):
    a: int = 1
class Listed(list): pass
def tagged(values, tag):
    made = Listed(values)
    made.tag = tag
    return made
def framed(values, **attrs):
    made = pd.DataFrame({"a": values})
    made.attrs.update(attrs)
    return made
def cat(values, kinds): return pd.DataFrame({"a": pd.Categorical(values, kinds)})
ZONE = dt.timezone(dt.timedelta(hours=10))
"""
)

VALUES = [
    *(("(1, 2)", "[1, 2]"), ("1", "True"), ("1", "1.0"), ("'1'", "1"), ("-0.0", "0.0"), ("b'a'", "bytearray(b'a')"), ("None", "0"), ("2**70", "2**71")),
    *(("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"), ("{1}", "[1]"), ("{1}", "frozenset({1})"), ("[1, [2, {'a': (3,)}]]", "[1, [2, {'a': [3]}]]")),
    *(("dt.date(2024, 1, 1)", "dt.datetime(2024, 1, 1)"), ("dt.datetime(2024, 1, 1, 20, tzinfo=dt.timezone.utc)", "dt.datetime(2024, 1, 2, 6, tzinfo=ZONE)")),
    *(("Decimal('1.5')", "'1.5'"), ("Decimal('1.5')", "Decimal('1.50')"), ("S3('x')", "GCS('x')"), ("S3([1])", "S3([2])"), ("[S3('x')]", "[GCS('x')]"), ("Colour.A", "Shade.A")),
    *(("Pair(1, 2)", "(1, 2)"), ("[1] * 2000", "[1] * 1999 + [2]"), ("'x' * 5000", "'x' * 4999 + 'y'"), ("np.arange(3)", "np.arange(3.0)"), ("np.zeros((2, 3))", "np.zeros((3, 2))")),
    *(("np.arange(2000)", "np.arange(2000) * (np.arange(2000) != 7)"), ("framed([1, 2])", "framed([1, 3])"), ("framed([1])", "framed([1.0])"), ("framed([1], k=1)", "framed([1], k=2)")),
    *(("framed(list(range(500)))", "framed([*range(499), 0])"), ("framed(['a', None])", "framed(['a', 'b'])"), ("cat(['x'], ['x', 'y'])", "cat(['x'], ['x'])")),
    *(("OrderedDict(a=1, b=2)", "OrderedDict(b=2, a=1)"), ("defaultdict(int)", "defaultdict(list)"), ("Path('a')", "PurePosixPath('a')"), ("Model(a=1)", "Model(a=2)"), ("Model(a=1)", "Model()")),
    *(("tagged([1], 1)", "tagged([1], 2)"), ("functools.partial(int, '1')", "functools.partial(int, '2')"), ("(lambda x: x + 1)", "(lambda x: x + 2)"), ("Box(1)", "Box(2)"), ("Box([1])", "Box((1,))")),
    *(("re.compile('a')", "re.compile('b')"), ("pd.Timedelta(1, 'ns')", "pd.Timedelta(2, 'ns')"), ("dt.timedelta(1)", "dt.timedelta(2)"), ("pd.Timestamp('2024')", "pd.Timestamp('2024', tz='UTC')")),
]  # fmt: skip
"""Pairs of values that something can tell apart."""

CODE: dict[str, tuple[str, str, str, str]] = {
    "constant": ("", "return x + 10", "10", "20"),
    "operator": ("", "return x + 10", "+", "-"),
    "number": ("RATE{i} = 10", "return x * RATE{i}", "10", "20"),
    "small letters": ("rate{i} = 10", "return x * rate{i}", "10", "20"),
    "list": ("COLS{i} = [1, 2]", "return [x, *COLS{i}]", "1, 2", "1, 3"),
    "dict": ("CONFIG{i} = {{'lr': 1}}", "return x * CONFIG{i}['lr']", "'lr': 1", "'lr': 2"),
    "path": ("HERE{i} = Path('a')", "return str(HERE{i}) * x", "'a'", "'b'"),
    "pattern": ("RX{i} = re.compile('a+')", "return RX{i}.sub(str(x), 'aabb')", "a+", "b+"),
    "partial": ("base{i} = lambda x, k: x * k\ng{i} = functools.partial(base{i}, k=2)", "return g{i}(x)", "k=2", "k=3"),
    "helper": ("def help{i}(x): return x + 1", "return help{i}(x)", "x + 1", "x + 2"),
    "helper of a helper": ("def deep{i}(x): return x + 1\ndef help{i}(x): return deep{i}(x)", "return help{i}(x)", "x + 1", "x + 2"),
    "helper in a dict": ("def help{i}(x): return x + 1\nSTEPS{i} = {{'a': help{i}}}", "return STEPS{i}['a'](x)", "x + 1", "x + 2"),
    "class": ("class C{i}:\n    n = 1\n    def go(self, x): return x + self.n", "return C{i}().go(x)", "n = 1", "n = 2"),
    "class's list": ("class C{i}:\n    cols = [1]", "return C{i}.cols * x", "[1]", "[2]"),
    "config": (
        "@dataclasses.dataclass(frozen=True)\nclass Cfg{i}:\n    lr: int\nCFG{i} = Cfg{i}(1)",
        "return x * CFG{i}.lr",
        "Cfg{i}(1)",
        "Cfg{i}(2)",
    ),
    "field": ("class M{i}(pydantic.BaseModel):\n    n: int = pydantic.Field(1)", "return x + M{i}().n", "Field(1)", "Field(2)"),
    "frame": ("TABLE{i} = framed([1, 2])", "return x * int(TABLE{i}.a.sum())", "[1, 2]", "[1, 3]"),
    "another function": (
        "def a{i}(x): return x + 1\ndef b{i}(x): return x + 2\nf{i} = a{i}",
        "return f{i}(x)",
        "f{i} = a{i}",
        "f{i} = b{i}",
    ),
    "a library's": ("import math\nf{i} = math.ceil", "return f{i}(x + 0.5)", "math.ceil", "math.floor"),
    "a memo's beginning": ("memo{i} = {{}}\nmemo{i}[3] = 0", "memo{i}.setdefault(x, 1); return memo{i}[3]", "= 0", "= 5"),
    "import": ("import lib{i}", "return lib{i}.go(x)", "", ""),
    "import from": ("from lib{i} import go as go{i}", "return go{i}(x)", "", ""),
    "import inside": ("", "from lib{i} import go; return go(x)", "", ""),
    "module handed on": ("import lib{i}", "return getattr(lib{i}, 'go')(x)", "", ""),
}
"""How a task's code may depend on something: what stands before it, its body, and what an edit replaces by what ("": the module lib)."""


_MOVES = ("next(", ".rand", "append(", "+= 1", "setdefault", "random", "count(", "iter(")
"""Signs of code that changes what it uses: it is no wonder when it runs again."""


@dataclass
class Step:
    """One step of a flow: definitions and lines of the body, in both versions; modules beside the script."""

    kind: str
    defs: tuple[str, str]
    body: tuple[str, str]
    libs: tuple[dict[str, str], dict[str, str]] = field(default_factory=lambda: ({}, {}))
    reruns: tuple[str, ...] = ()
    """Bodies that run again although nothing was edited."""


@dataclass
class Scenario:
    seed: int
    way: str
    steps: list[Step]
    has_edit: bool

    def source(self, version: int) -> str:
        defs = "\n".join(step.defs[version] for step in self.steps)
        body = "\n".join(step.body[version] for step in self.steps)
        retries = "retries=1, " if self.way == "in one process" else ""
        end = "if FAILS(): raise Told('here')\nreturn out"
        return (
            f"{HEAD}\ndef FAILS(): return {'runtime.flow_run.attempt == 1' if retries else 'os.environ.get(chr(70)) is not None'}\n"
            f"def pick(a, b): return a() if {'runtime.flow_run.attempt == 1 and not os.environ.get(chr(84))' if retries else 'os.environ.get(chr(70))'} else b()\n"
            f"{defs}\n@flow({retries}validate_parameters=False)\ndef main():\n    out = []\n{indent(body, '    ')}\n{indent(end, '    ')}\n"
        )

    def __str__(self) -> str:
        first, second = self.source(0).removeprefix(HEAD), self.source(1).removeprefix(HEAD)
        libs = "\n".join(f"--- {name}: {text!r} -> {step.libs[1][name]!r}" for step in self.steps for name, text in step.libs[0].items())
        return f"seed {self.seed}, {self.way}: {', '.join(step.kind for step in self.steps)}\n{first}\n=== second\n{second}\n{libs}"


class Maker:
    """Makes scenarios of random numbers."""

    def __init__(self, seed: int, *, edits: bool = True) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.edits = edits
        self.way = self.rng.choice(["edited", "edited", "by attempt", "in one process", "cached"]) if edits else "edited"
        self.number = 0

    def scenario(self) -> Scenario:
        count = self.rng.randint(1, 4)
        if self.way == "cached":
            kinds = [
                self.value,
                self.chain,
                self.loop,
                self.code,
                self.edit,
                self.edit,
                self.edit,
                self.sentinel,
                self.two_of_one,
                self.converted,
                self.elsewhere,
            ]
            return self.of(kinds, count)
        kinds = [self.value, self.value, self.chain, self.written, self.written, self.mutated, self.alias, self.loop]
        kinds += (
            [self.code, self.edit, self.edit, self.edit, self.in_body, self.in_body, self.plain, self.moved, self.converted]
            if self.way == "edited"
            else []
        )
        kinds += [self.on_own_thread]
        kinds += [self.two_of_one, self.state, self.elsewhere, self.elsewhere, self.sentinel] if self.way != "in one process" else []
        return self.of(kinds, count)

    def of(self, kinds: list[Callable[[bool], Step]], count: int) -> Scenario:
        """A scenario of so many steps of these kinds, one of them edited."""
        edited = self.rng.randrange(count) if self.edits else -1
        return Scenario(self.seed, self.way, [self.rng.choice(kinds)(n == edited) for n in range(count)], self.edits)

    def name(self) -> str:
        self.number += 1
        return str(self.number)

    def persist(self, often: float = 0.8) -> str:
        if self.way == "cached":
            return "cache_policy=DEFAULT"
        return "persist_result=True" if self.rng.random() < often or not self.edits else ""

    def pair(self, first: str, second: str, edit: bool) -> tuple[str, str]:
        """An expression in both versions: the same, edited, or decided while it runs."""
        if not edit:
            return first, first
        if self.way in ("edited", "cached"):
            return first, second
        chosen = f"pick(lambda: {first}, lambda: {second})"
        return chosen, chosen

    # -- steps

    def value(self, edit: bool) -> Step:
        """A task is called with a value, in one of many ways."""
        i, (first, second) = self.name(), self.rng.choice(VALUES)
        if self.rng.random() < 0.5:
            first, second = second, first
        a, b = self.pair(first, second, edit)
        option = self.persist()
        task = f"@task({option})\ndef t{i}(x):\n    hit('t{i}')\n    return show(x)"
        ways = {
            "direct": (task, "t{i}({v})"),
            "by name": (task, "t{i}(x={v})"),
            "submitted": (task, "t{i}.submit({v}).result()"),
            "mapped": (task, "t{i}.map([{v}, 7]).result()"),
            "nested": (f"{task}\n@task({self.persist(0.5)})\ndef o{i}(x): return t{i}(x)", "o{i}({v})"),
            "in a flow": (f"{task}\n@flow(validate_parameters=False)\ndef s{i}(x): return t{i}(x)", "s{i}({v})"),
            "of a method": (f"class K{i}:\n    def __init__(self, v): self.v = v\n    @task({option})\n    def m(self, n):\n        hit('t{i}')\n        return show(self.v)", "K{i}({v}).m(1)"),
            "of a submitted method": (f"class K{i}:\n    def __init__(self, v): self.v = v\n    @task({option})\n    def m(self, n):\n        hit('t{i}')\n        return show(self.v)", "K{i}({v}).m.map([1, 2]).result()"),
            "of a partial": (f"def f{i}(v, n):\n    hit('t{i}')\n    return show(v)", "task(functools.partial(f{i}, {v}), name='t{i}', " + option + ")(1)"),
            "of a closure": (f"def mk{i}(v):\n    @task({option})\n    def t(n):\n        hit('t{i}')\n        return show(v)\n    return t", "mk{i}({v})(1)"),
            "async": (task.replace("\ndef", "\nasync def"), "t{i}.submit({v}).result()"),
            "of a future": (f"{task}\n@task({self.persist()})\ndef g{i}():\n    return GIVEN{i}()\ndef GIVEN{i}(): return {{v}}", "t{i}.submit(g{i}.submit()).result()"),
        }  # fmt: skip
        way = self.rng.choice(list(ways))
        defs, call = ways[way]
        if way == "of a future" and self.way != "edited":
            way, (defs, call) = "direct", ways["direct"]
        bodies = tuple(f"out.append({call.format(i=i, v=v)})" for v in (a, b))
        return Step(
            f"value {first} {way}{' edited' if edit else ''}",
            (defs.replace("{v}", a), defs.replace("{v}", b)),
            (bodies[0], bodies[1]),
            reruns=(f"t{i}",) if "defaultdict" in first else (),
        )

    def code(self, edit: bool) -> Step:
        """A task's code, or what it reaches, is another."""
        i, what = self.name(), self.rng.choice(list(CODE))
        before, body, old, new = (part.format(i=i) if part else "" for part in CODE[what])
        text = f"{before}\n@task({self.persist()})\ndef t{i}(x):\n    hit('t{i}')\n    {body}"
        lib = "def go(x): return x + deep(x)\ndef deep(x): return 1"
        libs = ({f"lib{i}": lib}, {f"lib{i}": lib.replace("return 1", "return 2") if edit else lib}) if not old else ({}, {})
        after = text.replace(old, new, 1) if edit and old else text
        call = self.rng.choice([f"out.append(t{i}(3))", f"out.append(t{i}.submit(3).result())", f"out.append(t{i}.map([3, 4]).result())"])
        if self.rng.random() < 0.25:
            text, after = (f"{one}\n@flow\ndef s{i}(): return t{i}(3)" for one in (text, after))
            call = f"out.append(s{i}())"
        return Step(f"code {what}{' edited' if edit else ''}", (text, after), (call, call), libs)

    def edit(self, edit: bool) -> Step:
        """A task depends on something in one of many ways."""
        i, what = self.name(), self.rng.choice(list(EDITS))
        first = EDITS[what].numbered(i)
        versions = first, first.edited() if edit else first
        task = f"\n@task({self.persist(0.9)})\ndef t{i}(x):\n    hit('t{i}')\n    {{}}"
        call = self.rng.choice(
            [f"out.append(show(t{i}(3)))", f"out.append(show(t{i}.submit(3).result()))", f"out.append(show(t{i}.map([3]).result()))"]
        )
        texts = [one.defs + task.replace("{}", one.body) for one in versions]
        if self.rng.random() < 0.25:
            texts = [f"{one}\n@flow\ndef s{i}(): return t{i}(3)" for one in texts]
            call = f"out.append(show(s{i}()))"
        moves = any(word in first.defs + first.body for word in _MOVES)
        return Step(
            f"edit {what}{' edited' if edit else ''}",
            (texts[0], texts[1]),
            (call, call),
            (dict(versions[0].libs), dict(versions[1].libs)),
            reruns=(f"t{i}",) if moves else (),
        )

    def in_body(self, edit: bool) -> Step:
        """The flow's own code writes what a task reads, and comes by it in one of many ways."""
        i, what = self.name(), self.rng.choice(list(EDITS))
        first = EDITS[what].numbered(i)
        versions = first, first.edited() if edit else first
        texts = [
            f"{one.defs}\ndef e{i}(x):\n    {one.body}\nclass Zo{i}:\n    def go(self, x): return e{i}(x)\nzo{i} = Zo{i}()\nZd{i} = {{'a': e{i}}}"
            for one in versions
        ]
        read = f"\n@task(persist_result=True)\ndef r{i}():\n    hit('r{i}')\n    return get('t{i}')"
        way = self.rng.choice([f"e{i}(3)", f"[e{i}(n) for n in [3]][0]", f"next(e{i}(n) for n in [3])", f"(lambda: e{i}(3))()", f"zo{i}.go(3)", f"Zd{i}['a'](3)", f"list(map(e{i}, [3]))[0]", f"functools.partial(e{i}, 3)()", f"inner{i}()", f"{{n: zo{i}.go(n) for n in [3]}}[3]"])  # fmt: skip
        lines = ([f"def inner{i}(): return e{i}(3)"] if way.startswith("inner") else []) + [
            f"put('t{i}', show({way}))",
            f"out.append(r{i}())",
        ]
        moves = any(word in first.defs + first.body for word in _MOVES)
        return Step(
            f"in the body {what}{' edited' if edit else ''}",
            (texts[0] + read, texts[1] + read),
            ("\n".join(lines),) * 2,
            (dict(versions[0].libs), dict(versions[1].libs)),
            reruns=(f"r{i}",) if moves else (),
        )

    def converted(self, edit: bool) -> Step:
        """A flow inside the flow converts what it is given, as it is annotated."""
        i = self.name()
        defs = f"class P{i}(pydantic.BaseModel):\n    n: int = 1\n@flow\ndef s{i}(x: int, p: P{i}): return show((x, p))"
        old, new = self.rng.choice([("x: int", "x: float"), ("n: int = 1", "n: float = 1"), ("x: int", "x: str | int")])
        call = f"out.append(s{i}('3', {{}}))"
        return Step(f"converted {new}{' edited' if edit else ''}", (defs, defs.replace(old, new) if edit else defs), (call, call))

    def on_own_thread(self, edit: bool) -> Step:
        """A task that writes runs on a thread or pool of the flow's own; a task reads."""
        i = self.name()
        a, b = self.pair("1", "2", edit)
        defs = f"from concurrent.futures import ThreadPoolExecutor\nimport threading\n@task({self.persist()})\ndef w{i}(v): put('t{i}', v)\n@task(persist_result=True)\ndef r{i}():\n    hit('r{i}')\n    return get('t{i}')\nPOOL{i} = ThreadPoolExecutor(1)"
        ways = [
            "th = threading.Thread(target=w{i}, args=({v},)); th.start(); th.join()",
            "POOL{i}.submit(w{i}, {v}).result()",
            "list(POOL{i}.map(w{i}, [{v}]))",
            "with ThreadPoolExecutor(2) as pool: pool.submit(w{i}, {v})",
            "with ThreadPoolExecutor(2) as pool: pool.submit(w{i}, {v}).result(); out.append(r{i}())",
            "asyncio.run(asyncio.to_thread(w{i}, {v}))",
            "f{i} = POOL{i}.submit(w{i}, {v}); __import__('concurrent.futures').futures.wait([f{i}])",
            "f{i} = POOL{i}.submit(w{i}, {v})\nfor g in __import__('concurrent.futures').futures.as_completed([f{i}]): pass",
            "f{i} = POOL{i}.submit(w{i}, {v}); f{i}.exception()",
        ]
        way = self.rng.choice(ways)
        lines = [f"{way.format(i=i, v=v)}\nout.append(r{i}())" for v in (a, b)]
        return Step(f"on a thread{' edited' if edit else ''}", (defs, defs), (lines[0], lines[1]))

    def two_of_one(self, edit: bool) -> Step:
        """Two calls give one object, which is then changed; or compared."""
        i = self.name()
        a, b = self.pair("1", "2", edit)
        make, part = self.rng.choice(
            [("[0]", "{x}"), ("[[0]]", "{x}[0]"), ("{{'a': [0]}}", "{x}['a']"), ("Box([0])", "{x}.held"), ("([0],)", "{x}[0]")]
        )
        how = self.rng.choice(["KEPT{i}", "kept{i}()", "first{i}"])
        defs = f"KEPT{i} = {make.format()}\n@functools.cache\ndef kept{i}(): return {make.format()}\n@task({self.persist(0.9)})\ndef m{i}(n):\n    hit('m{i}')\n    return {'n' if how.startswith('first') else how.format(i=i)}"
        call = "m{i}(1); y{i} = m{i}(2)" if not how.startswith("first") else "m{i}(KEPT{i}); y{i} = m{i}(x{i})"
        change = part.format(x=f"x{i}") + ".append({v})"
        lines = [
            f"x{i} = {call.format(i=i)}\n{change.format(v=v)}\nout.append((show({part.format(x=f'y{i}')}), x{i} is y{i}))" for v in (a, b)
        ]
        return Step(f"two of one {make} {how}{' edited' if edit else ''}", (defs, defs), (lines[0], lines[1]), reruns=(f"m{i}",))

    def state(self, edit: bool) -> Step:
        """A task changes a global, which another task reads."""
        i = self.name()
        a, b = self.pair("1", "2", edit)
        make, change, look = self.rng.choice(
            [
                ("{}", "S{i}['k'] = v", "dict(S{i})"),
                ("[]", "S{i}.append(v)", "list(S{i})"),
                ("Box(0)", "S{i}.held = v", "S{i}.held"),
                ("0", "global S{i}; S{i} = v", "S{i}"),
                ("0", "global S{i}; S{i} += v", "S{i}"),
                ("np.zeros(2)", "S{i}[0] = v", "S{i}.tolist()"),
                ("itertools.count(1)", "next(S{i})", "repr(S{i})"),
                ("random.Random(1)", "S{i}.random()", "S{i}.random()"),
            ]
        )
        defs = f"S{i} = {make}\n@task({self.persist(0.9)})\ndef w{i}(v):\n    {change.format(i=i)}\n@task({self.persist(0.5)})\ndef r{i}(n): return {look.format(i=i)}"
        read = self.rng.choice([f"r{i}(1)", f"r{i}.submit(1).result()"])
        call = self.rng.choice(["w{i}({v})", "w{i}.submit({v}).result()"])
        lines = [f"{call.format(i=i, v=v)}\nout.append(show({read}))" for v in (a, b)]
        return Step(f"state {change}{' edited' if edit else ''}", (defs, defs), (lines[0], lines[1]), reruns=(f"w{i}", f"r{i}"))

    def elsewhere(self, edit: bool) -> Step:
        """A task changes something outside itself in one of many ways, which another reads."""
        i, kind = self.name(), self.rng.choice(list(WRITES))
        write = WRITES[kind]
        a, b = self.pair("1", "2", edit)
        text = f"from legato import DEFAULT, flow, task\n{write.defs}\n@task({self.persist(0.9)})\ndef change(v):\n    {write.change}\n@task({self.persist(0.3)})\ndef look(): return {write.look}\n@flow\ndef looks(): return {write.look}\n"
        call = self.rng.choice(
            [f"state{i}.change({{v}})", f"state{i}.change.submit({{v}}).result()", f"state{i}.change.map([{{v}}]).result()"]
        )
        read = self.rng.choice([f"state{i}.look()", f"state{i}.look.submit().result()", f"state{i}.looks()"])
        lines = [f"{call.format(v=v)}\nout.append(repr({read}))" for v in (a, b)]
        libs = {f"state{i}": text, **dict(write.others)}
        return Step(
            f"elsewhere {kind}{' edited' if edit else ''}", (f"import state{i}",) * 2, (lines[0], lines[1]), (libs, libs), reruns=("w",)
        )

    def sentinel(self, edit: bool) -> Step:
        """A task gives an object that is known by being itself."""
        i = self.name()
        make = self.rng.choice(
            ["object()", "Box(0)", "[]", "type('Missing', (), {})()", "enum.Enum('E', 'A').A", "pydantic.TypeAdapter(int)"]
        )
        give, take = self.rng.choice([("M{i}", "x{i}"), ("[M{i}]", "x{i}[0]"), ("{{'a': M{i}}}", "x{i}['a']"), ("(1, M{i})", "x{i}[1]")])
        a, b = self.pair("1", "2", edit)
        defs = f"M{i} = {make}\n@task({self.persist(0.9)})\ndef m{i}(n):\n    hit('m{i}')\n    return {give.format(i=i)}\n@task({self.persist(0.9)})\ndef u{i}(x, n): return x is M{i}"
        use = take.format(i=i)
        lines = [f"x{i} = m{i}({v})\nout.append(({use} is M{i}, u{i}({use}, {v})))" for v in (a, b)]
        return Step(f"sentinel {make} {give}{' edited' if edit else ''}", (defs, defs), (lines[0], lines[1]), reruns=(f"m{i}", f"u{i}"))

    def written(self, edit: bool) -> Step:
        """Something is written with one value or another, and read without inputs."""
        i = self.name()
        a, b = self.pair("1", "2", edit)
        form = self.rng.choice(["{v}", "[{v}] * 3000", "framed([{v}])", "Box({v})", "np.array([{v}])", "(x for x in [{v}])"])
        write = f"@task({self.persist(0.5)})\ndef w{i}(v):\n    put('t{i}', show(list(v) if hasattr(v, '__next__') else v))"
        read = f"@task({self.persist(0.9)})\ndef r{i}():\n    return get('t{i}')"
        calls = {
            "direct": (write, "w{i}({v})"),
            "submitted": (write, "w{i}.submit({v}).result()"),
            "waited for": (write, "w{i}.submit({v}).wait()"),
            "mapped": (write, "w{i}.map([{v}]).result()"),
            "nested": (f"{write}\n@task({self.persist(0.5)})\ndef o{i}(v):\n    w{i}(v)", "o{i}({v})"),
            "in a flow": (f"{write}\n@flow(validate_parameters=False)\ndef s{i}(v):\n    w{i}(v)", "s{i}({v})"),
            "in a helper": (f"{write}\ndef h{i}(v): w{i}(v)", "h{i}({v})"),
        }
        reads = {
            "direct": (read, "r{i}()"),
            "submitted": (read, "r{i}.submit().result()"),
            "in a flow": (f"{read}\n@flow\ndef q{i}(): return r{i}()", "q{i}()"),
            "nested": (f"{read}\n@task({self.persist(0.5)})\ndef n{i}(): return r{i}()", "n{i}()"),
        }
        way, (defs, call) = self.rng.choice(list(calls.items()))
        how, (more, ask) = self.rng.choice(list(reads.items()))
        lines = [f"{call.format(i=i, v=form.format(v=v))}\nout.append({ask.format(i=i)})" for v in (a, b)]
        if self.rng.random() < 0.2:
            lines = [f"f{i} = w{i}.submit({form.format(v=v)})\nout.append(r{i}.submit(wait_for=[f{i}]).result())" for v in (a, b)]
            way, how = "submitted", "waiting for it"
        again = (f"t{i}",) if "for x" in form else ()
        return Step(
            f"written {form} {way}, read {how}{' edited' if edit else ''}", (f"{defs}\n{more}",) * 2, (lines[0], lines[1]), reruns=again
        )

    def plain(self, edit: bool) -> Step:
        """The flow's own code, or a plain helper of it, writes what a task reads."""
        i = self.name()
        read = f"@task(persist_result=True)\ndef r{i}():\n    hit('r{i}')\n    return get('t{i}')"
        if self.rng.random() < 0.5:
            defs = read, read
            body = f"put('t{i}', 1)\nout.append(r{i}())", f"put('t{i}', {2 if edit else 1})\nout.append(r{i}())"
        else:
            helper = f"def h{i}(): put('t{i}', 1)"
            defs = f"{read}\n{helper}", f"{read}\n{helper.replace('1)', '2)') if edit else helper}"
            body = (f"h{i}()\nout.append(r{i}())",) * 2
        if self.rng.random() < 0.3:
            body = tuple(f"for n{i} in range(2):\n{indent(part, '    ')}" for part in body)  # type: ignore[assignment]
        return Step(f"plain{' edited' if edit else ''}", defs, body)

    def moved(self, edit: bool) -> Step:
        """A write is taken out, put in, or changes places with another. (What one did that is not made any more, nobody can undo.)"""
        i = self.name()
        defs = (
            f"@task(persist_result=True)\ndef w{i}(v):\n    put('t{i}', v)\n@task(persist_result=True)\ndef r{i}():\n    return get('t{i}')"
        )
        wait = self.rng.choice(["w{i}({v})", "w{i}.submit({v}).result()"])
        one, two = (wait.format(i=i, v=v) for v in (1, 2))
        first, second = self.rng.choice([([one], []), ([], [one]), ([one, two], [two, one])])
        base, read = f"put('t{i}', 'base')", f"out.append(r{i}())"
        chosen = second if edit else first
        return Step(
            f"moved {first} {second}{' edited' if edit else ''}",
            (defs, defs),
            ("\n".join([base, *first, read]), "\n".join([base, *chosen, read])),
        )

    def mutated(self, edit: bool) -> Step:
        """A task changes what it is given, or somebody does while it waits."""
        i = self.name()
        a, b = self.pair("1", "2", edit)
        make, change, look = self.rng.choice(
            [
                ("{}", "d['k'] = v", "d{i}"),
                ("[]", "d.append(v)", "d{i}"),
                ("Box(0)", "d.held = v", "d{i}"),
                ("np.zeros(2)", "d[0] = v", "d{i}.tolist()"),
                ("framed([0])", "d['b'] = v", "list(d{i})"),
            ]
        )
        defs = f"@task({self.persist()})\ndef f{i}(d, v):\n    {change}"
        call = self.rng.choice(["f{i}(d{i}, {v})", "f{i}.submit(d{i}, {v}).result()"])
        bodies = [f"d{i} = {make}\n{call.format(i=i, v=v)}\nout.append(show({look.format(i=i)}))" for v in (a, b)]
        return Step(f"mutated{' edited' if edit else ''}", (defs, defs), (bodies[0], bodies[1]))

    def alias(self, edit: bool) -> Step:
        """A task gives back what it was given, which is then changed."""
        i = self.name()
        a, b = self.pair("1", "2", edit)
        give, take = self.rng.choice(
            [
                ("d", "e{i}"),
                ("[d, 1]", "e{i}[0]"),
                ("{'a': d}", "e{i}['a']"),
                ("(d, d)", "e{i}[1]"),
                ("{'a': {'b': d}}", "e{i}['a']['b']"),
                ("Box([d])", "e{i}.held[0]"),
            ]
        )
        defs = f"@task({self.persist()})\ndef f{i}(d):\n    hit('f{i}')\n    return {give}"
        bodies = [f"d{i} = [0]\ne{i} = f{i}(d{i})\n{take.format(i=i)}.append({v})\nout.append((d{i}, show(e{i})))" for v in (a, b)]
        return Step(f"alias{' edited' if edit else ''}", (defs, defs), (bodies[0], bodies[1]))

    def chain(self, edit: bool) -> Step:
        """What one task makes, another is given, changed on the way or not."""
        i = self.name()
        kinds = [
            ("[1]", "x{i}.append({v})"),
            ("framed([1])", "x{i}['b'] = {v}"),
            ("Box([1])", "x{i}.held.append({v})"),
            ("np.arange(3)", "x{i}[0] = {v}"),
            ("Model(a=1)", "x{i}.a = {v}"),
            ("{{'a': [1]}}", "x{i}['a'].append({v})"),
        ]
        make, change = self.rng.choice(kinds)
        defs = f"@task({self.persist()})\ndef m{i}():\n    hit('m{i}')\n    return {make.format()}\n@task({self.persist()})\ndef u{i}(x):\n    hit('u{i}')\n    return show(x)"
        a, b = self.pair("8", "9", edit)
        call = self.rng.choice(["u{i}(x{i})", "u{i}.submit(x{i}).result()", "u{i}([x{i}])"])
        first = self.rng.choice(["x{i} = m{i}()", "x{i} = m{i}.submit().result()"])
        bodies = ["\n".join([first.format(i=i), change.format(i=i, v=v), f"out.append({call.format(i=i)})"]) for v in (a, b)]
        return Step(f"chain {make}{' edited' if edit else ''}", (defs, defs), (bodies[0], bodies[1]))

    def loop(self, edit: bool) -> Step:
        """A task for each of some values."""
        i = self.name()
        a, b = self.pair("[1, 2, 3]", self.rng.choice(["[3, 2, 1]", "[2, 3]", "[1, 4, 2, 3]", "[(1,), 2, 3]"]), edit)
        defs = f"@task({self.persist()})\ndef t{i}(x):\n    hit('t{i}')\n    return show(x)"
        ways = [
            "for n in {v}: out.append(t{i}(n))",
            "out.append([f.result() for f in [t{i}.submit(n) for n in {v}]])",
            "out.append(t{i}.map({v}).result())",
        ]
        way = self.rng.choice(ways)
        return Step(f"loop{' edited' if edit else ''}", (defs, defs), (way.format(i=i, v=a), way.format(i=i, v=b)))


# ---------------------------------------------------------------------- running them


@dataclass
class Came:
    """What came of a scenario: what the flow observed when it went on, the truth, and which bodies ran in the second attempt."""

    seen: Any
    truth: Any
    ran: list[str]
    said: str
    rows: int
    """Task runs of the second attempt, as recorded."""


@contextmanager
def environment(**values: str) -> Any:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: value for name, value in values.items() if value})
    for name in (name for name, value in values.items() if not value):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def module_name(file: str) -> str:
    return file.replace("/", ".").removesuffix(".__init__")


def load(scenario: Scenario, version: int, folder: Path) -> ModuleType:
    """The scenario's script as a module, with those beside it. The same names again replace them."""
    for step in scenario.steps:
        for name, text in step.libs[version].items():
            (folder / f"{name}.py").parent.mkdir(exist_ok=True)
            (folder / f"{name}.py").write_text(text)
            sys.modules.pop(module_name(name), None)
    file = folder / "scenario.py"
    file.write_text(scenario.source(version))
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location("scenario", file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scenario"] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas says that an accessor is registered twice
        exec(compile(file.read_text(), str(file), "exec"), vars(module))
    return module


def play(scenario: Scenario, folder: Path, said: Callable[[], str]) -> Came:
    """Run the first version to its end, go on with the second, and run the second in a world of its own."""
    sys.path.insert(0, str(folder))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    worlds = [folder / "world", folder / "other"]
    for world in worlds:
        world.mkdir()
    try:
        with harness() as h, environment(WORLD=str(worlds[0]), F="1", T=""):
            module = load(scenario, 0, folder)
            ran: list[str] = []
            if scenario.way == "in one process":
                seen = module.main()
            elif scenario.way == "cached":
                with environment(F=""):
                    module.main()
                    h.engine.outbox.flush()
                    (worlds[0] / "ran").unlink(missing_ok=True)
                    seen = load(scenario, 1, folder).main()
            else:
                with pytest.raises(Exception, match="here"):
                    module.main()
                h.engine.outbox.flush()
                (worlds[0] / "ran").unlink(missing_ok=True)
                with environment(F=""):
                    seen = load(scenario, 1, folder).main.resume(h.flow_runs()[0].id)
                ran = (worlds[0] / "ran").read_text().split() if (worlds[0] / "ran").exists() else []
            rows = sum(one.flow_attempt == 2 for one in h.task_runs())
        text = said()
        with harness(), environment(WORLD=str(worlds[1]), F="", T="1"):
            truth = load(scenario, 1, folder).main()
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(folder))
        for name in ["scenario", *(module_name(name) for step in scenario.steps for name in step.libs[0])]:
            sys.modules.pop(name, None)
    return Came(seen, truth, ran, text, rows)
