"""Ways in which what a function gives depends on something else than its own lines, each with an edit of that: one table for the tests of code.

`§` stands for a number, so that several may stand in one file. The body is that of a function of `x`, a whole number; it gives something else
after the edit. `libs` are modules beside the file, by name.
"""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """What stands before the function, its body, and the edit: the one place of `old` in any of the texts becomes `new`."""

    defs: str
    body: str
    old: str
    new: str
    libs: tuple[tuple[str, str], ...] = ()

    def numbered(self, number: str) -> Edit:
        """With names of its own."""
        texts = [text.replace("§", number) for text in self[:4]]
        return Edit(*texts, tuple((name.replace("§", number), text.replace("§", number)) for name, text in self.libs))

    def edited(self) -> Edit:
        """The second version."""
        places = [self.defs, self.body, *(text for _, text in self.libs)]
        assert sum(text.count(self.old) for text in places) == 1, f"{self.old!r} is not one place"
        defs, body, *libs = (text.replace(self.old, self.new) for text in places)
        return self._replace(defs=defs, body=body, libs=tuple((name, text) for (name, _), text in zip(self.libs, libs, strict=True)))


HEAD = """
import abc, collections, contextvars, copy, dataclasses, enum, functools, importlib, itertools, math, operator, os, random, re, string, sys, types, typing
import attrs, msgspec, numpy as np, pandas as pd, pydantic
"""

EDITS: dict[str, Edit] = {
    # 1 enums
    "order of an enum": Edit("class E§(enum.Enum):\n    A = 1\n    B = 2", "return [e.name for e in E§][x % 2]", "A = 1\n    B = 2", "B = 2\n    A = 1"),
    "alias of an enum": Edit("class E§(enum.Enum):\n    A = 1\n    B = 2\n    C = 1", "return E§['C'].value + x", "C = 1", "C = 2"),
    "auto of an enum": Edit("class E§(enum.Enum):\n    A = enum.auto()\n    B = enum.auto()", "return E§.B.value + x", "A = enum.auto()\n    ", ""),
    "kind of an enum": Edit("class E§(enum.IntEnum):\n    A = 1\n    B = 2", "return str(type(E§.A | E§.B))", "enum.IntEnum", "enum.IntFlag"),
    "boundary of a flag": Edit("class E§(enum.Flag, boundary=enum.KEEP):\n    A = 1", "return E§(8 + x - x).value", "enum.KEEP", "enum.CONFORM"),
    "auto values of an enum": Edit("class E§(enum.Enum):\n    @staticmethod\n    def _generate_next_value_(name, start, count, last): return name.lower()\n    A = enum.auto()", "return E§.A.value", "name.lower()", "name"),
    "_missing_ of an enum": Edit("class E§(enum.Enum):\n    A = 1\n    @classmethod\n    def _missing_(cls, v): return 1", "return E§._missing_(x)", "return 1", "return 2"),
    # 2 functions of libraries
    "builtin of one name": Edit("from math import sqrt as g§", "return str(g§(x))", "math", "cmath"),
    "builtin under its own name": Edit("from math import sqrt", "return str(sqrt(x))", "from math", "from cmath"),
    "method of a builtin type": Edit("g§ = str.upper", "return g§('aB')", "upper", "lower"),
    "bound method of a builtin": Edit("g§ = 'a-b'.split", "return g§('-')", "split", "partition"),
    "ufunc": Edit("g§ = np.sin", "return float(g§(x))", "np.sin", "np.cos"),
    "partial of a builtin": Edit("g§ = functools.partial(math.pow, 2)", "return g§(x)", "math.pow", "math.fmod"),
    "itemgetter": Edit("g§ = operator.itemgetter(0)", "return g§([x, x + 1])", "itemgetter(0)", "itemgetter(1)"),
    "attrgetter": Edit("g§ = operator.attrgetter('real')", "return g§(x)", "'real'", "'imag'"),
    "methodcaller": Edit("g§ = operator.methodcaller('ljust', 3)", "return g§(str(x))", "'ljust'", "'rjust'"),
    "class method of a type": Edit("g§ = dict.fromkeys", "return g§([x])", "dict.fromkeys", "collections.Counter.fromkeys if 0 else set"),
    "reduce of an operator": Edit("def g§(v): return functools.reduce(OP§, v)\nOP§ = operator.add", "return g§([x, 2, 3])", "operator.add", "operator.mul"),
    "library function under an attribute": Edit("class K§: pass\nK§.f = math.ceil", "return K§.f(x + .5)", "math.ceil", "math.floor"),
    "library function in a dict": Edit("D§ = {'f': math.ceil}", "return D§['f'](x + .5)", "math.ceil", "math.floor"),
    "library function in a closure": Edit("def mk§(f):\n    def inner(x): return f(x)\n    return inner\ng§ = mk§(math.ceil)", "return g§(x + .5)", "math.ceil", "math.floor"),
    "library function as a default": Edit("def g§(x, f=math.ceil): return f(x)", "return g§(x + .5)", "math.ceil", "math.floor"),
    # 3 fields
    "metadata of a dataclass field": Edit("@dataclasses.dataclass\nclass K§:\n    a: int = dataclasses.field(default=1, metadata={'unit': 'm'})", "return dataclasses.fields(K§)[0].metadata['unit']", "'m'", "'cm'"),
    "default_factory": Edit("@dataclasses.dataclass\nclass K§:\n    a: list = dataclasses.field(default_factory=lambda: [1])", "return K§().a * x", "[1]", "[2]"),
    "default_factory that is a class": Edit("@dataclasses.dataclass\nclass K§:\n    a: object = dataclasses.field(default_factory=list)", "return str(K§().a)", "factory=list", "factory=dict"),
    "repr of a field": Edit("@dataclasses.dataclass\nclass K§:\n    a: int = dataclasses.field(default=1, repr=True)", "return repr(K§())", "repr=True", "repr=False"),
    "type of a dataclass field": Edit("@dataclasses.dataclass\nclass K§:\n    a: int = 1", "return str(dataclasses.fields(K§)[0].type)", "a: int", "a: float"),
    "order of a dataclass": Edit("@dataclasses.dataclass(order=True)\nclass K§:\n    a: int\n    b: int", "return K§(a=1, b=2) < K§(a=2, b=1)", "a: int\n    b: int", "b: int\n    a: int"),
    "compare of a field": Edit("@dataclasses.dataclass\nclass K§:\n    a: int = dataclasses.field(default=1, compare=True)", "return K§(1) == K§(2)", "compare=True", "compare=False"),
    "options of a dataclass": Edit("@dataclasses.dataclass(eq=True)\nclass K§:\n    a: int = 1", "return K§() == K§()", "eq=True", "eq=False"),
    "metadata of an attrs field": Edit("@attrs.define\nclass K§:\n    a: int = attrs.field(default=1, metadata={'u': 1})", "return attrs.fields(K§).a.metadata['u']", "'u': 1", "'u': 2"),
    "converter of an attrs field": Edit("@attrs.define\nclass K§:\n    a: int = attrs.field(default=1, converter=int)", "return str(K§(x).a)", "converter=int", "converter=float"),
    "validator of an attrs field": Edit("@attrs.define\nclass K§:\n    a: int = attrs.field(default=1, validator=attrs.validators.ge(0))", "\n    try: return K§(x).a\n    except ValueError: return 'no'", "ge(0)", "ge(100)"),
    # 4 structs, typed dicts, named tuples
    "type of a struct field": Edit("class K§(msgspec.Struct):\n    a: int", "return str(msgspec.convert({'a': x}, K§).a)", "a: int", "a: float"),
    "constraint of a struct field": Edit("class K§(msgspec.Struct):\n    a: typing.Annotated[int, msgspec.Meta(ge=0)]", "\n    try: return msgspec.convert({'a': x}, K§).a\n    except msgspec.ValidationError: return 'no'", "ge=0", "ge=100"),
    "options of a struct": Edit("class K§(msgspec.Struct, rename=None):\n    a_b: int = 1", "return str(msgspec.json.encode(K§()))", "rename=None", "rename='camel'"),
    "default of a struct": Edit("class K§(msgspec.Struct):\n    a: int = 1", "return K§().a + x", "a: int = 1", "a: int = 2"),
    "tag of a struct": Edit("class K§(msgspec.Struct, tag='a'):\n    a: int = 1", "return str(msgspec.json.encode(K§()))", "tag='a'", "tag='b'"),
    "typed dict": Edit("class K§(typing.TypedDict):\n    a: int", "return str(typing.get_type_hints(K§))", "a: int", "a: str"),
    "total of a typed dict": Edit("class K§(typing.TypedDict, total=True):\n    a: int", "return str(K§.__total__)", "total=True", "total=False"),
    "named tuple": Edit("class K§(typing.NamedTuple):\n    a: int = 1", "return K§().a + x", "a: int = 1", "a: int = 2"),
    "order of a named tuple": Edit("K§ = collections.namedtuple('K§', 'a b')", "return K§(1, 2).a", "'a b'", "'b a'"),
    # 5 pydantic
    "fields of a validator": Edit("class M§(pydantic.BaseModel):\n    a: int = 0\n    b: int = 0\n    @pydantic.field_validator('a')\n    def v(cls, n): return n + 100", "return str(M§(a=x, b=x))", "validator('a')", "validator('b')"),
    "mode of a validator": Edit("class M§(pydantic.BaseModel):\n    a: int = 0\n    @pydantic.field_validator('a', mode='after')\n    def v(cls, n): return n * 2", "return str(M§(a=str(x)))", "'after'", "'before'"),
    "body of a validator": Edit("class M§(pydantic.BaseModel):\n    a: int = 0\n    @pydantic.field_validator('a')\n    def v(cls, n): return n * 2", "return str(M§(a=x))", "n * 2", "n * 3"),
    "a serializer's fields": Edit("class M§(pydantic.BaseModel):\n    a: int = 0\n    b: int = 0\n    @pydantic.field_serializer('a')\n    def s(self, n): return 'n'", "return str(M§().model_dump())", "serializer('a')", "serializer('b')"),
    "computed field": Edit("class M§(pydantic.BaseModel):\n    a: int = 0\n    @pydantic.computed_field(alias='c')\n    @property\n    def d(self) -> int: return 1", "return str(M§().model_dump(by_alias=True))", "alias='c'", "alias='e'"),
    "model_config": Edit("class M§(pydantic.BaseModel):\n    model_config = pydantic.ConfigDict(extra='allow')\n    a: int = 0", "return str(M§(b=1).model_dump())", "'allow'", "'ignore'"),
    "validate_call": Edit("@pydantic.validate_call\ndef g§(n: int): return str(n)", "return g§(x)", "n: int", "n: float"),
    "constraint of validate_call": Edit("@pydantic.validate_call\ndef g§(n: typing.Annotated[int, pydantic.Field(ge=0)]): return n", "\n    try: return g§(x)\n    except ValueError: return 'no'", "ge=0", "ge=100"),
    "model validator's mode": Edit("class M§(pydantic.BaseModel):\n    a: int = 0\n    @pydantic.model_validator(mode='before')\n    @classmethod\n    def v(cls, d): return {'a': 7}", "return str(M§(a=x).a)", "{'a': 7}", "{'a': 8}"),
    "type adapter": Edit("T§ = pydantic.TypeAdapter(int)", "return str(T§.validate_python(x))", "(int)", "(float)"),
    "root model": Edit("class M§(pydantic.RootModel):\n    root: list[int]", "return str(M§([x]).root)", "list[int]", "list[str] | list[float]"),
    "private attribute of a model": Edit("class M§(pydantic.BaseModel):\n    _p: int = pydantic.PrivateAttr(1)", "return M§()._p + x", "PrivateAttr(1)", "PrivateAttr(2)"),
    "inherited config": Edit("class B§(pydantic.BaseModel):\n    model_config = pydantic.ConfigDict(extra='allow')\nclass M§(B§):\n    a: int = 0", "return str(M§(b=1).model_dump())", "'allow'", "'ignore'"),
    "nested model": Edit("class N§(pydantic.BaseModel):\n    n: int = 1\nclass M§(pydantic.BaseModel):\n    a: N§ = N§()", "return str(M§())", "n: int = 1", "n: int = 2"),
    "type of a nested model": Edit("class N§(pydantic.BaseModel):\n    n: int\nclass M§(pydantic.BaseModel):\n    a: list[N§]", "return str(M§(a=[{'n': x}]))", "n: int", "n: float"),
    # 6 values made at import
    "built at import": Edit("def build§(): return [1]\nSTATE§ = build§()", "STATE§.append(0); return STATE§[0] + x", "[1]", "[2]"),
    "built from a constant": Edit("N§ = 1\nSTATE§ = [N§]", "STATE§.append(0); return STATE§[0] + x", "N§ = 1", "N§ = 2"),
    "memo filled by a function": Edit("memo§ = {}\ndef fill§():\n    memo§[3] = 1\nfill§()", "memo§.setdefault(x, 5); return memo§[3]", "= 1", "= 2"),
    "large value": Edit("def build§(): return list(range(1, 400_000))\nBIG§ = build§()", "return BIG§[x]", "range(1,", "range(2,"),
    "large value by a constant": Edit("FIRST§ = 1\nBIG§ = [*range(FIRST§, 400_000)]", "return BIG§[x]", "FIRST§ = 1", "FIRST§ = 2"),
    "seed of a generator": Edit("SEED§ = 1\nrng§ = np.random.default_rng(SEED§)", "return float(rng§.random())", "SEED§ = 1", "SEED§ = 2"),
    "seed in a builder": Edit("def mk§(): return random.Random(1)\nrng§ = mk§()", "return rng§.random()", "Random(1)", "Random(2)"),
    "iterator": Edit("START§ = 1\nids§ = itertools.count(START§)", "return next(ids§)", "START§ = 1", "START§ = 5"),
    "generator in a global": Edit("def gen§():\n    yield from (1, 2)\nids§ = gen§()", "return next(ids§)", "(1, 2)", "(5, 6)"),
    "generator expression in a global": Edit("ids§ = (n * 2 for n in (1, 2))", "return next(ids§)", "n * 2", "n * 3"),
    "opaque object with a constant": Edit("class O§:\n    def __init__(self, n): self.n, self.g = n, (i for i in ())\nN§ = 1\no§ = O§(N§)", "return o§.n + x", "N§ = 1", "N§ = 2"),
    "opaque object from a builder": Edit("class O§:\n    def __init__(self, n): self.n, self.g = n, (i for i in ())\ndef mk§(): return O§(1)\no§ = mk§()", "return o§.n + x", "O§(1)", "O§(2)"),
    "opaque object from a builder's helper": Edit("class O§:\n    def __init__(self, n): self.n, self.g = n, (i for i in ())\ndef n§(): return 1\ndef mk§(): return O§(n§())\no§ = mk§()", "return o§.n + x", "return 1", "return 2"),
    "opaque object set up elsewhere": Edit("class O§:\n    def __init__(self): self.g = (i for i in ())\no§ = O§()\ndef set§(): o§.n = 1\nset§()", "return o§.n + x", "o§.n = 1", "o§.n = 2"),
    "opaque object set by another module": Edit("import opq§, setter§\n", "return opq§.o.n + x", "o.n = 1", "o.n = 2", (("opq§", "class O: pass\no = O()\no.g = (i for i in ())"), ("setter§", "import opq§\nopq§.o.n = 1"))),
    "counter's beginning by a constant": Edit("FIRST§ = 1\nN§ = [FIRST§]", "N§[0] += 1; return N§[0]", "FIRST§ = 1", "FIRST§ = 5"),
    "rebound global by a constant": Edit("FIRST§ = 1\nn§ = FIRST§", "global n§; n§ += 1; return n§", "FIRST§ = 1", "FIRST§ = 5"),
    "object with a lock": Edit("import threading\nclass O§:\n    def __init__(self, n): self.n, self.lock = n, threading.Lock()\ndef mk§(n): return O§(n)\no§ = mk§(n=1)", "return o§.n + x", "n=1", "n=2"),
    "bound method of an opaque object": Edit("class O§:\n    def __init__(self, n): self.n, self.g = n, (i for i in ())\n    def m(self): return self.n\nN§ = 1\nm§ = O§(N§).m", "return m§() + x", "N§ = 1", "N§ = 2"),
    "opaque value in a list": Edit("class O§:\n    def __init__(self, n): self.n, self.g = n, (i for i in ())\nN§ = 1\nL§ = [O§(N§)]", "return L§[0].n + x", "N§ = 1", "N§ = 2"),
    "opaque value in a class": Edit("class O§:\n    def __init__(self, n): self.n, self.g = n, (i for i in ())\nN§ = 1\nclass K§:\n    o = O§(N§)", "return K§.o.n + x", "N§ = 1", "N§ = 2"),
    "opaque value in a default": Edit("class O§:\n    def __init__(self, n): self.n, self.g = n, (i for i in ())\nN§ = 1\ndef g§(o=O§(N§)): return o.n", "return g§() + x", "N§ = 1", "N§ = 2"),
    "opaque value in a closure": Edit("class O§:\n    def __init__(self, n): self.n, self.g = n, (i for i in ())\nN§ = 1\ndef mk§(o):\n    def inner(): return o.n\n    return inner\ng§ = mk§(O§(N§))", "return g§() + x", "N§ = 1", "N§ = 2"),
    # 7 singledispatch
    "type of a registration": Edit("@functools.singledispatch\ndef g§(v): return 'any'\n@g§.register(int)\ndef _i§(v): return 'one'", "return g§(x)", "register(int)", "register(str)"),
    "annotated registration": Edit("@functools.singledispatch\ndef g§(v): return 'any'\n@g§.register\ndef _i§(v: int): return 'one'", "return g§(x)", "v: int", "v: str"),
    "body of a registration": Edit("@functools.singledispatch\ndef g§(v): return 'any'\n@g§.register(int)\ndef _(v): return 'one'", "return g§(x)", "'one'", "'two'"),
    "registration in another module": Edit("import disp§, regs§", "return disp§.g(x)", "register(int)", "register(str)", (("disp§", "import functools\n@functools.singledispatch\ndef g(v): return 'any'"), ("regs§", "import disp§\n@disp§.g.register(int)\ndef _(v): return 'one'"))),
    "singledispatchmethod": Edit("class K§:\n    @functools.singledispatchmethod\n    def m(self, v): return 'any'\n    @m.register(int)\n    def _(self, v): return 'one'", "return K§().m(x)", "register(int)", "register(str)"),
    # 8 lambdas inside values
    "lambda in a dict": Edit("D§ = {'a': lambda v: v + 1}", "return D§['a'](x)", "v + 1", "v + 2"),
    "lambdas swapped in a list": Edit("L§ = [lambda v: v + 1, lambda v: v + 2]", "return L§[0](x)", "[lambda v: v + 1, lambda v: v + 2]", "[lambda v: v + 2, lambda v: v + 1]"),
    "lambdas swapped in a dict": Edit("D§ = {'a': lambda v: v + 1, 'b': lambda v: v + 2}", "return D§['a'](x)", "'a': lambda v: v + 1, 'b': lambda v: v + 2", "'b': lambda v: v + 1, 'a': lambda v: v + 2"),
    "functions swapped in a dict": Edit("def a§(v): return v + 1\ndef b§(v): return v + 2\nD§ = {'a': a§, 'b': b§}", "return D§['a'](x)", "'a': a§, 'b': b§", "'a': b§, 'b': a§"),
    "lambdas swapped in an object": Edit("class O§:\n    def __init__(self, f, g): self.f, self.g = f, g\no§ = O§(lambda v: v + 1, lambda v: v + 2)", "return o§.f(x)", "lambda v: v + 1, lambda v: v + 2", "lambda v: v + 2, lambda v: v + 1"),
    "lambda in a deep dict": Edit("D§ = {'a': [{'b': lambda v: v + 1}]}", "return D§['a'][0]['b'](x)", "v + 1", "v + 2"),
    "lambda in a large dict": Edit("D§ = {n: (lambda v: v + 1) for n in range(300)}", "return D§[3](x)", "v + 1", "v + 2"),
    "method names in a table": Edit("class K§:\n    def a(self): return 1\n    def b(self): return 2\nNAMES§ = {'f': 'a'}", "return getattr(K§(), NAMES§['f'])() + x", "'f': 'a'", "'f': 'b'"),
    # 9 properties and aliases
    "alias of a property": Edit("class K§:\n    @property\n    def a(self): return 1\n    @property\n    def b(self): return 2\n    c = a", "return K§().c + x", "c = a", "c = b"),
    "alias of a method": Edit("class K§:\n    def a(self): return 1\n    def b(self): return 2\n    c = a", "return K§().c() + x", "c = a", "c = b"),
    "swapped property functions": Edit("class K§:\n    def a(self): return 1\n    def b(self): return 2\n    c = property(a)", "return K§().c + x", "property(a)", "property(b)"),
    "own descriptor": Edit("class D§:\n    def __init__(self, n): self.n = n\n    def __get__(self, o, t): return self.n\nclass K§:\n    d = D§(1)", "return K§().d + x", "D§(1)", "D§(2)"),
    "partialmethod": Edit("class K§:\n    def m(self, n): return n\n    p = functools.partialmethod(m, 1)", "return K§().p() + x", "(m, 1)", "(m, 2)"),
    "static for class method": Edit("class K§:\n    @staticmethod\n    def m(v=None): return str(v is None)\n", "return K§.m()", "staticmethod", "classmethod"),
    "property for method's alias": Edit("class K§:\n    def a(self): return 1\n    b = staticmethod(a)", "return str(type(vars(K§)['b']))", "staticmethod(a)", "classmethod(a)"),
    "cached_property's function": Edit("class K§:\n    def a(self): return 1\n    def b(self): return 2\n    c = functools.cached_property(a)\n    c.__set_name__(None, 'c')", "return K§().c + x", "property(a)", "property(b)"),
    "slots": Edit("class K§:\n    __slots__ = ('a', 'b')", "return K§.__slots__[0]", "('a', 'b')", "('b', 'a')"),
    "inherited method": Edit("class A§:\n    def m(self): return 1\nclass B§:\n    def m(self): return 2\nclass K§(A§, B§): pass", "return K§().m() + x", "(A§, B§)", "(B§, A§)"),
    # 10 subclasses and registries
    "subclasses": Edit("class B§: pass\nclass C§(B§): n = 1", "return B§.__subclasses__()[0].n + x", "n = 1", "n = 2"),
    "new subclass": Edit("class B§: pass\nclass C§(B§): pass\nclass D§: pass", "return len(B§.__subclasses__()) + x", "class D§:", "class D§(B§):"),
    "registry by a decorator": Edit("R§ = {}\ndef reg§(name):\n    def inner(f):\n        R§[name] = f\n        return f\n    return inner\n@reg§('a')\ndef one§(v): return v + 1\n@reg§('b')\ndef two§(v): return v + 2", "return R§['a'](x)", "'a')\ndef one§(v): return v + 1\n@reg§('b')", "'b')\ndef one§(v): return v + 1\n@reg§('a')"),
    "registry that is added to": Edit("R§ = []\ndef reg§(f):\n    R§.append(f)\n    return f\n@reg§\ndef one§(v): return v + 1\ndef two§(v): return v + 2", "reg§(two§); return R§[0](x)", "v + 1", "v + 9"),
    "__init_subclass__": Edit("class B§:\n    found = []\n    def __init_subclass__(cls, n=0): B§.found.append(n)\nclass C§(B§, n=1): pass", "return B§.found[0] + x", "n=1", "n=2"),
    "registry of an __init_subclass__": Edit("class B§:\n    found = {}\n    def __init_subclass__(cls, **k): B§.found[cls.__name__] = cls\nclass C§(B§):\n    def go(self): return 1", "return B§.found['C§']().go() + x", "return 1", "return 2"),
    "metaclass's keywords": Edit("class Meta§(type):\n    def __new__(m, name, bases, ns, n=0): return super().__new__(m, name, bases, {**ns, 'n': n})\nclass K§(metaclass=Meta§, n=1): pass", "return K§.n + x", "n=1", "n=2"),
    "metaclass's method": Edit("class Meta§(type):\n    def size(cls): return 1\nclass K§(metaclass=Meta§): pass", "return K§.size() + x", "return 1", "return 2"),
    "abc registration": Edit("class A§(abc.ABC): pass\nA§.register(int)", "return str(isinstance(x, A§))", "register(int)", "register(str)"),
    "registry in another module": Edit("import reg§, plug§", "return reg§.R['a'](x)", "v + 1", "v + 2", (("reg§", "R = {}\ndef add(f): R['a'] = f; return f"), ("plug§", "import reg§\n@reg§.add\ndef a(v): return v + 1"))),
    "classes by their module": Edit("class Step§:\n    n = 1", "return next(v for k, v in list(globals().items()) if k == 'Step§').n + x", "n = 1", "n = 2"),
    # 16 sentinels
    "sentinel's name": Edit("class S§:\n    def __init__(self, n): self.n = n\nM§ = S§('a')", "return M§.n", "'a'", "'b'"),
    # and more of their neighbours
    "functools.cache": Edit("@functools.cache\ndef g§(v): return v + 1", "return g§(x)", "v + 1", "v + 2"),
    "lru_cache around a lambda": Edit("g§ = functools.lru_cache(lambda v: v + 1)", "return g§(x)", "v + 1", "v + 2"),
    "helper of a cached helper": Edit("def h§(v): return v + 1\n@functools.cache\ndef g§(v): return h§(v)", "return g§(x)", "v + 1", "v + 2"),
    "typed cache": Edit("@functools.lru_cache(typed=True)\ndef g§(v, w): return str(v)", "g§.cache_clear(); g§(x, 1); return g§(float(x), 1)", "typed=True", "typed=False"),
    "default of a context variable": Edit("V§ = contextvars.ContextVar('v', default=1)", "return V§.get() + x", "default=1", "default=2"),
    "value of a context variable": Edit("V§ = contextvars.ContextVar('v')\nV§.set(1)", "return V§.get() + x", "set(1)", "set(2)"),
    "class decorator": Edit("def add§(n):\n    def inner(cls):\n        cls.n = n\n        return cls\n    return inner\n@add§(1)\nclass K§: pass", "return K§.n + x", "add§(1)", "add§(2)"),
    "class decorator's body": Edit("def add§(cls):\n    cls.n = 1\n    return cls\n@add§\nclass K§: pass", "return K§.n + x", "cls.n = 1", "cls.n = 2"),
    "decorator's body": Edit("def twice§(f):\n    def inner(v): return f(v) * 2\n    return inner\n@twice§\ndef g§(v): return v", "return g§(x)", "* 2", "* 3"),
    "decorator's argument": Edit("def times§(n):\n    def deco(f):\n        @functools.wraps(f)\n        def inner(v): return f(v) * n\n        return inner\n    return deco\n@times§(2)\ndef g§(v): return v", "return g§(x)", "times§(2)", "times§(3)"),
    "wrapper that is an object": Edit("class W§:\n    def __init__(self, f, n): self.f, self.n = f, n\n    def __call__(self, v): return self.f(v) * self.n\ng§ = W§(lambda v: v + 1, 2)", "return g§(x)", "v + 1", "v + 2"),
    "closure over a loop variable": Edit("FS§ = []\nfor n§ in (1, 2): FS§.append(lambda v, n=n§: v + n)", "return FS§[0](x)", "(1, 2)", "(3, 2)"),
    "closures in a comprehension": Edit("FS§ = [(lambda n: lambda v: v + n)(n) for n in (1, 2)]", "return FS§[0](x)", "in (1, 2)", "in (2, 1)"),
    "__class_getitem__": Edit("class K§:\n    def __class_getitem__(cls, n): return n + 1", "return K§[x]", "n + 1", "n + 2"),
    "flags of a pattern": Edit("RX§ = re.compile('A', 0)", "return str(RX§.findall('aA'))", ", 0", ", re.I"),
    "string template": Edit("T§ = string.Template('a $x')", "return T§.substitute(x=x)", "'a $x'", "'b $x'"),
    "template's delimiter": Edit("class T§(string.Template):\n    delimiter = '$'", "return T§('%x $x').substitute(x=x)", "'$'", "'%'"),
    "module's __getattr__": Edit("import lib§", "return lib§.anything + x", "return 1", "return 2", (("lib§", "def __getattr__(name):\n    if name == 'anything': return 1\n    raise AttributeError(name)"),)),
    "star import": Edit("from lib§ import *", "return star§(x)", "v + 1", "v + 2", (("lib§", "def star§(v): return v + 1"),)),
    "star import of a constant": Edit("from lib§ import *", "return STAR§ + x", "STAR§ = 1", "STAR§ = 2", (("lib§", "STAR§ = 1"),)),
    "which of two star imports": Edit("from lib§ import *", "return STAR§ + x", "import b§", "import a§", (("lib§", "import b§ as here\nfor n in vars(here): globals()[n] = getattr(here, n)"), ("a§", "STAR§ = 1"), ("b§", "STAR§ = 2"))),
    "__all__": Edit("STAR§ = 7\nfrom lib§ import *", "return STAR§ + x", "'STAR§'", "'OTHER§'", (("lib§", "STAR§ = 1\nOTHER§ = 2\n__all__ = ['STAR§']"),)),
    "conditional import": Edit("FAST§ = True\nif FAST§: from a§ import go as go§\nelse: from b§ import go as go§", "return go§(x)", "FAST§ = True", "FAST§ = False", (("a§", "def go(v): return v + 1"), ("b§", "def go(v): return v + 2"))),
    "import that may fail": Edit("try: from a§ import missing as go§\nexcept ImportError: from b§ import go as go§", "return go§(x)", "v + 2", "v + 3", (("a§", "x = 1"), ("b§", "def go(v): return v + 2"))),
    "monkeypatched module": Edit("import lib§\nlib§.go = lambda v: v + 5", "return lib§.go(x)", "v + 5", "v + 6", (("lib§", "def go(v): return v + 1"),)),
    "monkeypatched value": Edit("import lib§\nlib§.RATE = 5", "return lib§.go(x)", "RATE = 5", "RATE = 6", (("lib§", "RATE = 1\ndef go(v): return v * RATE"),)),
    "monkeypatched method": Edit("class K§:\n    def go(self): return 1\ndef new§(self): return 2\nK§.go = new§", "return K§().go() + x", "return 2", "return 3"),
    "monkeypatched library": Edit("def mine§(v): return 1\nclass Lib§: pass\nnp.mine§ = mine§", "return np.mine§(x) + x", "return 1", "return 2"),
    "dispatch by a dict of names": Edit("def a§(v): return v + 1\ndef b§(v): return v + 2\nT§ = {'go': 'a§'}", "return globals()[T§['go']](x)", "'go': 'a§'", "'go': 'b§'"),
    "globals by name": Edit("def a§(v): return v + 1", "return globals()['a' + '§'](x)", "v + 1", "v + 2"),
    "globals by a made name": Edit("def a§(v): return v + 1", "return globals()['%s§' % 'a'](x)", "v + 1", "v + 2"),
    "getattr of a module": Edit("import lib§", "return getattr(lib§, 'g' + 'o')(x)", "v + 1", "v + 2", (("lib§", "def go(v): return v + 1"),)),
    "getattr of this module": Edit("def a§(v): return v + 1", "return getattr(sys.modules[__name__], 'a' + '§')(x)", "v + 1", "v + 2"),
    "vars of a module": Edit("import lib§", "return vars(lib§)['g' + 'o'](x)", "v + 1", "v + 2", (("lib§", "def go(v): return v + 1"),)),
    "attribute that is a module": Edit("import pkg§\nimport lib§\npkg§.inner = lib§", "return pkg§.inner.go(x)", "v + 1", "v + 2", (("pkg§", "inner = None"), ("lib§", "def go(v): return v + 1"))),
    "executed code": Edit("CODE§ = 'def ex§(v): return v + 1'\nexec(CODE§)", "return ex§(x)", "v + 1", "v + 2"),
    "executed in a body": Edit("CODE§ = 'v + 1'", "return eval(CODE§, {'v': x})", "v + 1", "v + 2"),
    "eval that names a function": Edit("def a§(v): return v + 1", "return eval('a' + '§(3)')", "v + 1", "v + 2"),
    "lookup of a class by name": Edit("class K§:\n    n = 1", "return globals()['K' + '§'].n + x", "n = 1", "n = 2"),
    "namedtuple's method": Edit("class K§(collections.namedtuple('B', 'a')):\n    def twice(self): return self.a * 2", "return K§(x).twice()", "* 2", "* 3"),
    "simple namespace": Edit("S§ = types.SimpleNamespace(n=1)", "return S§.n + x", "n=1", "n=2"),
    "mapping proxy": Edit("P§ = types.MappingProxyType({'n': 1})", "return P§['n'] + x", "'n': 1", "'n': 2"),
    "function in a mapping proxy": Edit("P§ = types.MappingProxyType({'f': lambda v: v + 1})", "return P§['f'](x)", "v + 1", "v + 2"),
    "chain map": Edit("C§ = collections.ChainMap({'n': 1}, {'n': 2})", "return C§['n'] + x", "'n': 1", "'n': 3"),
    "defaultdict's factory": Edit("D§ = collections.defaultdict(lambda: 1)", "return D§.default_factory() + x", "lambda: 1", "lambda: 2"),
    "deque's length": Edit("D§ = collections.deque([1, 2], maxlen=2)", "return D§.maxlen + x", "maxlen=2", "maxlen=3"),
    "order of a dict": Edit("D§ = {'a': 1, 'b': 2}", "return next(iter(D§))", "'a': 1, 'b': 2", "'b': 2, 'a': 1"),
    "operator of a class": Edit("class K§:\n    def __add__(self, o): return 1", "return (K§() + 1) + x", "return 1", "return 2"),
    "__call__ of an object": Edit("class K§:\n    def __call__(self): return 1\nk§ = K§()", "return k§() + x", "return 1", "return 2"),
    "__getattr__ of an object": Edit("class K§:\n    def __getattr__(self, name):\n        if name.startswith('__'): raise AttributeError(name)\n        return 1\nk§ = K§()", "return k§.any + x", "return 1", "return 2"),
    "type made by type()": Edit("K§ = type('K§', (), {'n': 1})", "return K§.n + x", "'n': 1", "'n': 2"),
    "class made by a function": Edit("def mk§(v):\n    class K:\n        n = v\n    return K\nK§ = mk§(1)", "return K§.n + x", "mk§(1)", "mk§(2)"),
    "make_dataclass": Edit("K§ = dataclasses.make_dataclass('K§', [('a', int, 1)])", "return K§().a + x", "int, 1", "int, 2"),
    "create_model": Edit("M§ = pydantic.create_model('M§', a=(int, 1))", "return M§().a + x", "(int, 1)", "(int, 2)"),
    "functional enum": Edit("E§ = enum.Enum('E§', 'A B')", "return E§.A.value + x", "'A B'", "'B A'"),
    "new type alias": Edit("T§ = list[int]", "return str(pydantic.TypeAdapter(T§).validate_python([x]))", "list[int]", "list[float]"),
    "annotation that is read": Edit("def g§(v: int): return v", "return str(typing.get_type_hints(g§))", "v: int", "v: str"),
    "docstring that is read": Edit("def g§(v):\n    'one'\n    return v", "return g§.__doc__", "'one'", "'two'"),
    "docstring of a class that is read": Edit("class K§:\n    'one'", "return K§.__doc__", "'one'", "'two'"),
    "name that is read": Edit("def a§(): pass\nf§ = a§", "return f§.__name__ + f§.__qualname__", "def a§(): pass\nf§ = a§", "def b§(): pass\nf§ = b§"),
    "generic alias's argument": Edit("class K§(typing.Generic[typing.TypeVar('T')]): pass\nA§ = K§[int]", "return str(A§.__args__)", "[int]", "[str]"),
    "protocol of a base": Edit("class A§:\n    n = 1\nclass K§(A§): pass\nk§ = K§()", "return k§.n + x", "n = 1", "n = 2"),
    "default of a nested function": Edit("def g§(v):\n    def h(w, n=1): return w + n\n    return h(v)", "return g§(x)", "n=1", "n=2"),
    "star args defaults": Edit("def g§(*a, k=1): return k", "return g§(x) + x", "k=1", "k=2"),
    "async helper": Edit("import asyncio\nasync def g§(v): return v + 1\ndef run§(v):\n    c = g§(v)\n    try: c.send(None)\n    except StopIteration as e: return e.value", "return run§(x)", "v + 1", "v + 2"),
    "generator helper": Edit("def g§(v): yield v + 1", "return next(g§(x))", "v + 1", "v + 2"),
    "context manager": Edit("import contextlib\n@contextlib.contextmanager\ndef g§(): yield 1", "\n    with g§() as n: return n + x", "yield 1", "yield 2"),
    "exit stack of a class": Edit("class K§:\n    def __enter__(self): return 1\n    def __exit__(self, *a): pass", "\n    with K§() as n: return n + x", "return 1", "return 2"),
    "exception class": Edit("class Err§(ValueError):\n    def __str__(self): return 'one'", "return str(Err§())", "'one'", "'two'"),
    "method from a mixin in another module": Edit("import mix§\nclass K§(mix§.Mixin): pass", "return K§().go() + x", "return 1", "return 2", (("mix§", "class Mixin:\n    def go(self): return 1"),)),
    "constant two imports away": Edit("from a§ import go as go§", "return go§(x)", "RATE = 1", "RATE = 2", (("b§", "RATE = 1"), ("a§", "from b§ import RATE\ndef go(v): return v * RATE"))),
    "package's function": Edit("import one§.two", "return one§.two.go(x)", "v + 1", "v + 2", (("one§/__init__", ""), ("one§/two", "def go(v): return v + 1"))),
    "relative import in a body": Edit("import one§", "return one§.go(x)", "v + 1", "v + 2", (("one§/__init__", "def go(v):\n    from .two import deep\n    return deep(v)"), ("one§/two", "def deep(v): return v + 1"))),
    "frozenset of functions": Edit("def a§(v): return v + 1\nF§ = frozenset({a§})", "return next(iter(F§))(x)", "v + 1", "v + 2"),
    "property of a metaclass": Edit("class Meta§(type):\n    @property\n    def n(cls): return 1\nclass K§(metaclass=Meta§): pass", "return K§.n + x", "return 1", "return 2"),
    "weak values": Edit("import weakref\nclass K§:\n    n = 1\nkeep§ = K§()\nW§ = weakref.WeakValueDictionary(a=keep§)", "return W§['a'].n + x", "n = 1", "n = 2"),
    "weak reference": Edit("import weakref\nclass K§:\n    def __init__(self, n): self.n = n\nkeep§ = K§(1)\nW§ = weakref.ref(keep§)", "return W§().n + x", "K§(1)", "K§(2)"),
    "thread local": Edit("import threading\nL§ = threading.local()\nL§.n = 1", "return getattr(L§, 'n', 0) + x", "L§.n = 1", "L§.n = 2"),
    "random state of NumPy": Edit("R§ = np.random.RandomState(1)", "return float(R§.rand())", "RandomState(1)", "RandomState(2)"),
    "data frame's accessor": Edit("@pd.api.extensions.register_dataframe_accessor('acc§')\nclass Acc§:\n    def __init__(self, df): pass\n    def go(self): return 1", "return pd.DataFrame({'a': [x]}).acc§.go() + x", "return 1", "return 2"),
    "vectorised function": Edit("g§ = np.vectorize(lambda v: v + 1)", "return int(g§(x))", "v + 1", "v + 2"),
    "structured type": Edit("T§ = np.dtype([('a', '<i4')])", "return str(T§)", "'<i4'", "'<i8'"),
    "polynomial": Edit("P§ = np.polynomial.Polynomial([1, 2])", "return float(P§(x))", "[1, 2]", "[1, 3]"),
    "date": Edit("import datetime as dt\nD§ = dt.date(2024, 1, 1)", "return str(D§)", "2024", "2025"),
    "environment's default": Edit("A§ = os.environ.get('NOT_SET_§', 'a')", "return A§", "'a'", "'b'"),
    "seed of a library": Edit("random.seed(1)", "return random.random()", "seed(1)", "seed(2)"),
    "option of a library": Edit("np.set_printoptions(precision=1)", "return str(np.array([x + .123456]))", "precision=1", "precision=2"),
    "environment of the process": Edit("os.environ['SET_§'] = 'a'", "return os.environ['SET_§']", "= 'a'", "= 'b'"),
    "seed in a module that is imported": Edit("import setup§", "return random.random()", "seed(1)", "seed(2)", (("setup§", "import random\nrandom.seed(1)"),)),
    "constant in an annotation": Edit("LIMIT§ = 0\nclass K§(msgspec.Struct):\n    a: typing.Annotated[int, msgspec.Meta(ge=LIMIT§)]", "\n    try: return msgspec.convert({'a': x}, K§).a\n    except msgspec.ValidationError: return 'no'", "LIMIT§ = 0", "LIMIT§ = 100"),
    "alias in an annotation": Edit("A§ = typing.Annotated[int, pydantic.Field(ge=0)]\nclass M§(pydantic.BaseModel):\n    a: A§", "\n    try: return M§(a=x).a\n    except ValueError: return 'no'", "ge=0", "ge=100"),
}  # fmt: skip
