"""Random flows: ordinary Python around a few tasks, with what a reader of source gets wrong: aliases, in-place changes, laziness, closures."""

import random
from collections.abc import Callable

PREAMBLE = """
import contextlib, functools, itertools, os, dataclasses
from legato import flow, task

@task
def a(x=0): return x
@task
def b(x=0, y=0): return [x, y]
@task
def grow(xs): xs.append(len(xs)); return 1
@task
def size(xs): return len(xs)
@task
def outer(x=0): return a(x)

TOTAL = 0
SHARED = [1, 2]

def unknown(): return os.getpid() % 3
def coin(): return os.getpid() % 2 == 0
def helper(n):
    if n > 2: return b(n)
    return a(n)
def maybe(n):
    if coin(): return n
    return None
def check(n):
    if n > 3: raise ValueError(n)
def steps(n):
    for i in range(n): yield a(i)
def some():
    for i in range(unknown()): yield i
def bump():
    global TOTAL
    TOTAL += 1
    return TOTAL
def push(xs, x): xs.append(x)
def twice(fn):
    @functools.wraps(fn)
    def inner(*args):
        fn(*args)
        return fn(*args)
    return inner
@twice
def doubled(x): return a(x)
@contextlib.contextmanager
def around(n):
    a(n)
    yield n
    b(n)
@functools.lru_cache
def cached(x): return b(x)

class Pipe:
    kind = "pipe"
    def __init__(self, n=1): self.n = n; self.seen = []
    def run(self):
        for i in range(self.n): self.seen.append(a(i))
        return self
    def more(self): self.n += 1; return self
    @property
    def last(self): return b(self.n)
    @classmethod
    def make(cls, n): return cls(n)
    @staticmethod
    def one(): return a(1)
    def __call__(self, x): return a(x)
    def __enter__(self): a(5); return self
    def __exit__(self, *_): b(5)
class Longer(Pipe):
    def run(self):
        super().run()
        return b(self.n)
@dataclasses.dataclass
class Settings:
    n: int = 2
    names: list = dataclasses.field(default_factory=list)
class Adder:
    def __init__(self): self.n = 0
    def __add__(self, other): a(other); self.n += 1; return self
    def __len__(self): b(1); return 2
    def __iter__(self): return iter([1, 2])

@flow
def nested(n=1):
    for i in range(n): a(i)
    return n
"""


class Maker:
    """Makes one flow. `ints` and `lists` are the names it may use."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.ints, self.lists, self.count = ["n"], ["xs"], 0

    def flow(self, name: str) -> str:
        self.lines = ["@flow", f"def {name}():", "    n, xs = 2, [1, 2]"]
        self.block(1, self.rng.randint(3, 7))
        return "\n".join(self.lines) + "\n"

    def new(self, names: list[str], stem: str) -> str:
        self.count += 1
        names.append(f"{stem}{self.count}")
        return names[-1]

    def number(self) -> str:
        x, xs = self.rng.choice(self.ints), self.rng.choice(self.lists)
        return self.rng.choice(
            [x, x, "1", "3", f"{x} + 1", f"len({xs})", f"len({xs})", f"({x} if coin() else 2)", "unknown()", f"max({x}, 1)"]
        )

    def test(self) -> str:
        x, xs = self.rng.choice(self.ints), self.rng.choice(self.lists)
        known = [f"{x} > 2", f"{x} == 2", f"not {xs}", f"{x} in {xs}", f"len({xs}) > 2", f"{x} % 2 == 0", f"1 < {x} < 4"]
        return self.rng.choice([*known, *known, "coin()", f"{x} is None", f"maybe({x})"])

    def block(self, depth: int, size: int) -> None:
        ints, lists = list(self.ints), list(self.lists)
        for _ in range(size):
            self.statement(depth)
        if depth > 1:
            self.ints, self.lists = ints, lists

    def say(self, depth: int, *lines: str) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def statement(self, depth: int) -> None:
        makers: list[Callable[[int], None]] = [self.call, self.call, self.change, self.change, self.name, self.odd, self.odd]
        if depth < 4:
            makers += [self.branch, self.loop, self.guard, self.closure]
        self.rng.choice(makers)(depth)

    def call(self, depth: int) -> None:
        x, xs = self.number(), self.rng.choice(self.lists)
        self.say(
            depth,
            self.rng.choice(
                [
                    f"a({x})",
                    f"b({x}, y={self.number()})",
                    f"a.submit({x}).result()",
                    f"a.map({xs})",
                    f"helper({x})",
                    f"size({xs})",
                    f"nested({x})",
                    "outer(1)",
                ]
            ),
        )

    def name(self, depth: int) -> None:
        x, xs, new = self.number(), self.rng.choice(self.lists), self.rng.random()
        if new < 0.4:
            self.say(depth, f"{self.new(self.ints, 'i')} = {x}")
        elif new < 0.7:
            value = self.rng.choice(
                [
                    "[1, 2, 3]",
                    xs,
                    f"{xs}[1:]",
                    f"[v for v in {xs}]",
                    f"list({xs})",
                    f"[*{xs}, {x}]",
                    f"{xs} + [4]",
                    f"sorted({xs})",
                    f"{xs}.copy()",
                    f"list(map(str, {xs}))",
                    f"[v for v in {xs} if v != 1]",
                ]
            )
            self.say(depth, f"{self.new(self.lists, 'l')} = {value}")
        else:
            self.say(depth, f"{self.rng.choice(self.ints)} = {x}")

    def change(self, depth: int) -> None:
        xs, x = self.rng.choice(self.lists), self.number()
        self.say(
            depth,
            self.rng.choice(
                [
                    f"{xs}.append({x})", f"{xs}.insert(0, {x})", f"{xs}.extend([{x}, 9])", f"{xs}.reverse()", f"{xs}.clear()", f"{xs} += [{x}]",
                    f"push({xs}, {x})", f"grow({xs})", f"del {xs}[:1]", f"{xs}[:1] = [7, 8]", f"if {xs}: {xs}.pop()", f"if {xs}: {xs}.pop(0)",
                    f"if 1 in {xs}: {xs}.remove(1)", f"if {xs}: {xs}[0] = {x}", f"if {xs}: del {xs}[0]", f"SHARED.append({x})", "bump()",
                    f"{self.rng.choice(self.ints)} += 1",
                ]
            ),
        )  # fmt: skip

    def branch(self, depth: int) -> None:
        if self.rng.random() < 0.3:
            self.say(depth, f"match {self.rng.choice([*self.ints, *self.lists])}:")
            for pattern in self.rng.sample(["1", "2 | 3", "[]", "[first]", "[_, *rest]", "int(k) if k > 2", "str()"], 2):
                self.say(depth + 1, f"case {pattern}:")
                self.block(depth + 2, self.rng.randint(1, 2))
            self.say(depth + 1, "case _:")
            self.block(depth + 2, 1)
            return
        self.say(depth, f"if {self.test()}:")
        self.block(depth + 1, self.rng.randint(1, 3))
        if self.rng.random() < 0.3:
            self.say(depth + 1, self.rng.choice(["return", "return 1", "raise ValueError"]))
        if self.rng.random() < 0.5:
            self.say(depth, "else:")
            self.block(depth + 1, self.rng.randint(1, 2))

    def loop(self, depth: int) -> None:
        self.count += 1
        kind, k = self.rng.random(), f"k{self.count}"
        if kind < 0.25:
            self.say(depth, f"{k} = 0", f"while {k} < {self.rng.choice(['3', self.rng.choice(self.ints)])}:", f"    {k} += 1")
        else:
            xs = self.rng.choice(self.lists)
            over = self.rng.choice(
                [
                    f"list({xs})",
                    f"range({self.number()})",
                    f"enumerate({xs}[:3])",
                    "some()",
                    f"reversed({xs}[:3])",
                    "steps(2)",
                    f"tuple({xs})",
                    "range(2)",
                ]
            )
            self.say(depth, f"for {k} in {over}:")
        self.ints.append(k) if kind < 0.25 else None
        self.block(depth + 1, self.rng.randint(1, 3))
        if self.rng.random() < 0.4:
            self.say(depth + 1, f"if {self.test()}:", f"    {self.rng.choice(['break', 'continue', 'return'])}", "a(7)")
        if self.rng.random() < 0.2:
            self.say(depth, "else:", "    b(8)")

    def guard(self, depth: int) -> None:
        if self.rng.random() < 0.5:
            self.say(
                depth, f"with {self.rng.choice(['around(1)', 'Pipe(2)', 'contextlib.suppress(ValueError)', 'contextlib.nullcontext()'])}:"
            )
            self.block(depth + 1, self.rng.randint(1, 2))
            return
        self.say(depth, "try:", f"    {self.rng.choice([f'check({self.number()})', 'pass', 'int(str(maybe(1)))', 'a(3)'])}")
        self.block(depth + 1, self.rng.randint(1, 2))
        self.say(depth, "except (ValueError, TypeError):")
        self.block(depth + 1, 1)
        if self.rng.random() < 0.3:
            self.say(depth, "finally:", "    b(9)")

    def closure(self, depth: int) -> None:
        self.count += 1
        f, x = f"f{self.count}", self.rng.choice(self.ints)
        self.say(depth, f"def {f}(v=1):", *([f"    nonlocal {x}", f"    {x} = 3"] if depth == 99 else []))
        before = list(self.ints)
        self.ints = [name for name in self.ints if not name.startswith("k")]
        self.say(
            depth + 1,
            self.rng.choice(
                [
                    f"return a({self.rng.choice(self.ints or ['1'])} if v else 1)",
                    f"return [a(u) for u in {self.rng.choice(self.lists)}]",
                    f"{self.rng.choice(self.lists)}.append(v)",
                ]
            ),
        )
        self.ints = before
        self.say(
            depth,
            self.rng.choice(
                [f"{f}()", f"{f}(2); {f}()", f"list(map({f}, [1, 2]))", f"[{f}] [0]()", f"sorted([2, 1], key=lambda q: ({f}(q), q)[1])"]
            ),
        )

    def odd(self, depth: int) -> None:
        x, xs, y = self.number(), self.rng.choice(self.lists), self.rng.choice(self.ints)
        self.count += 1
        c = f"c{self.count}"
        self.say(
            depth,
            *self.rng.choice(
                [
                    (f"{c} = Pipe({y}); {c}.run().more().run()",), ("Longer(2).run()",), (f"{c} = Pipe(1); {c}.n = {x}; {c}.run()",),
                    ("Pipe(3).last",), ("Pipe.make(2).run(); Pipe.one()",), ("Pipe()(4)",), ("doubled(1)",), ("cached(1); cached(1)",),
                    (f"{c} = {{'k': {x}, 'm': 2}}; {c}.update(m={x}); {c}.pop('k')", f"for _ in {c}: a(1)"),
                    (f"{c} = {{1, 2, {x}}}", f"for _ in {c}: a(2)"), (f"any(a(v) for v in {xs})",), (f"sum(len(b(v)) for v in {xs})",),
                    (f"{c} = (a(v) for v in {xs})",), (f"{c} = steps(2); list({c}); list({c})",), (f"{c} = iter({xs}); list({c}); [a(v) for v in {c}]",),
                    (f"functools.reduce(lambda p, q: a(q), {xs}, 0)",), (f"for _ in filter(lambda v: v != 1, {xs}): a(3)",),
                    ("for t in (a, b): t(1)",), ("functools.partial(b, 1)(y=2)",), (f"{c} = [a, b]; {c}.pop(0)(1)",), (f"(a if {self.test()} else b)(1)",),
                    (f"{c} = Settings(); {c}.names.append(1); {c}.n += 1", f"for _ in range({c}.n + len({c}.names)): a(4)"),
                    ("Adder() + 1",), ("len(Adder())",), ("for _ in Adder(): a(1)",), ("for _ in SHARED: a(6)",), ("for _ in range(min(TOTAL, 5)): a(5)",),
                    (f"{c} = {xs}; {c}.append(1)", f"for _ in {xs}: b(1)"), (f"{c} = [{xs}, [1]]; {c}[0].append(5)", f"for _ in {xs}: b(2)"),
                    (f"for p, q in itertools.product({xs}[:2], [1, 2]): b(p, q)",), (f"for p, q in zip({xs}, [1, 2, 3]): b(p, q)",),
                    (f"first, *rest = [*{xs}, 0]", "for _ in rest: a(1)"), (f"[{c} := v for v in {xs}]", f"if {xs}: a({c})"),
                    (f"setattr(Settings, 'n', {x}); {c} = Settings()", f"for _ in range({c}.n): a(2)", "Settings.n = 2"),
                    ("with contextlib.ExitStack() as st: st.enter_context(around(2)); st.callback(b, 1)",),
                    (f"{y} = {y} or 1 and a(1) and 2",), (f"assert {self.test()}",), (f"{c} = {xs}.copy(); {c}.sort(key=str)", f"[a(v) for v in {c}]"),
                    (f"{c} = {xs} and {xs}[0]", f"a({c})"), (f"{c} = (lambda *vs, **kw: [a(v) for v in vs])", f"{c}(*{xs}, z=1)"),
                ]
            ),
        )  # fmt: skip


def module(seed: int, flows: int) -> str:
    """The source of a module with so many flows, `f0`, `f1`, ….

    Each begins with the globals as they were: what one leaves there is no other's business.
    """
    rng = random.Random(seed)
    return PREAMBLE + "\n".join(Maker(rng).flow(f"f{n}") for n in range(flows))
