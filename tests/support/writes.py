"""Ways in which a task changes something outside itself that somebody else reads: one table for the tests of what a call does beside its value.

`change` stands in the task's body (of `v`), `look` is what is read, `reset` puts it back as it was at the beginning. `others` are modules beside.
"""

from __future__ import annotations

from typing import NamedTuple


class Write(NamedTuple):
    """What stands before the task, the task's body, what is read by another, and what makes it as it was."""

    defs: str
    change: str
    look: str
    reset: str
    others: tuple[tuple[str, str], ...] = ()


SETTINGS = (("settings_w", "SCALE = 0\nROWS = []\nclass Cfg:\n    scale = 0\n"),)
CFG = "class Cfg:\n    scale = 0\n    rows = []\n    @classmethod\n    def count(cls): cls.scale += 1\n    def put(this, v): this.held.append(v)\n    def __init__(self): self.held = []\n"
LOCKED = "import threading\nclass Store:\n    def __init__(self): self.lock, self.rows = threading.Lock(), []\nS = Store()"

WRITES: dict[str, Write] = {
    "a global, rebound": Write("S = 0", "global S; S = v", "S", "globals().__setitem__('S', 0)"),
    "a global, added to": Write("S = 0", "global S; S += v", "S", "globals().__setitem__('S', 0)"),
    "a list": Write("R = []", "R.append(v)", "list(R)", "R.clear()"),
    "a dict's item": Write("D = {}", "D['k'] = v", "D.get('k')", "D.clear()"),
    "a dict's list": Write("D = {}", "D.setdefault('k', []).append(v)", "D.setdefault('k', [])[:]", "D.clear()"),
    "a dict's list, read as an item": Write("D = {'k': []}", "D['k'].append(v)", "D['k'][:]", "D['k'].clear()"),
    "a large dict": Write("D = {str(n): n for n in range(2000)}", "D['7'] = v * 100", "D['7']", "D.__setitem__('7', 7)"),
    "a large dict's list": Write("D = {str(n): [n] for n in range(100)}", "D['7'].append(v)", "D['7'][:]", "D.__setitem__('7', [7])"),
    "a large table of lists": Write("T = {str(n): [n] for n in range(5000)}", "T['7'].append(v)", "T['7'][:]", "T.__setitem__('7', [7])"),
    "a large table, handed on": Write("T = {str(n): n for n in range(5000)}\ndef put(t, v): t['7'] = v * 100", "put(T, v)", "T['7']", "T.__setitem__('7', 7)"),
    "a large table, by another name": Write("T = {str(n): n for n in range(5000)}", "t = T; t['7'] = v * 100", "T['7']", "T.__setitem__('7', 7)"),
    "a large list, sorted": Write("T = list(range(500, 0, -1))", "T.sort()", "T[0]", "T.sort(reverse=True)"),
    "a set": Write("T = set()", "T.add(v)", "sorted(T)", "T.clear()"),
    "a deque": Write("import collections\nQ = collections.deque()", "Q.append(v)", "list(Q)", "Q.clear()"),
    "a class's attribute": Write(CFG, "Cfg.scale = v", "Cfg.scale", "setattr(Cfg, 'scale', 0)"),
    "a class's attribute, read by its method": Write(CFG + "    def get(self): return self.scale\nc = Cfg()", "Cfg.scale = v", "c.get()", "setattr(Cfg, 'scale', 0)"),
    "a class's list": Write(CFG, "Cfg.rows.append(v)", "Cfg.rows[:]", "Cfg.rows.clear()"),
    "a class's counter": Write(CFG, "Cfg.count()", "Cfg.scale", "setattr(Cfg, 'scale', 0)"),
    "a subclass's attribute": Write(CFG + "class Sub(Cfg): pass", "Sub.scale = v", "Sub.scale", "'scale' in vars(Sub) and delattr(Sub, 'scale')"),
    "a new attribute of a class": Write("class K: pass", "K.new = v", "getattr(K, 'new', None)", "hasattr(K, 'new') and delattr(K, 'new')"),
    "a class's attribute, by setattr": Write(CFG, "setattr(Cfg, 'sca' + 'le', v)", "Cfg.scale", "setattr(Cfg, 'scale', 0)"),
    "a module's attribute": Write("import settings_w", "settings_w.SCALE = v", "settings_w.SCALE", "setattr(settings_w, 'SCALE', 0)", SETTINGS),
    "a module's attribute, by setattr": Write("import settings_w", "setattr(settings_w, 'SCALE', v)", "settings_w.SCALE", "setattr(settings_w, 'SCALE', 0)", SETTINGS),
    "a module's attribute, by a name put together": Write("import settings_w", "setattr(settings_w, 'SCA' + 'LE', v)", "settings_w.SCALE", "setattr(settings_w, 'SCALE', 0)", SETTINGS),
    "a module's attribute, read by getattr": Write("import settings_w", "settings_w.SCALE = v", "getattr(settings_w, 'SCA' + 'LE')", "setattr(settings_w, 'SCALE', 0)", SETTINGS),
    "a module's new attribute": Write("import settings_w", "settings_w.NEW = v", "getattr(settings_w, 'NEW', None)", "vars(settings_w).pop('NEW', None)", SETTINGS),
    "a module's list": Write("import settings_w", "settings_w.ROWS.append(v)", "settings_w.ROWS[:]", "settings_w.ROWS.clear()", SETTINGS),
    "a module's class": Write("import settings_w", "settings_w.Cfg.scale = v", "settings_w.Cfg.scale", "setattr(settings_w.Cfg, 'scale', 0)", SETTINGS),
    "a module's list, imported": Write("from settings_w import ROWS", "ROWS.append(v)", "ROWS[:]", "ROWS.clear()", SETTINGS),
    "a module found by its name": Write("import sys, settings_w", "sys.modules['settings_w'].SCALE = v", "settings_w.SCALE", "setattr(settings_w, 'SCALE', 0)", SETTINGS),
    "globals().update": Write("S = 0", "globals().update(S=v)", "S", "globals().__setitem__('S', 0)"),
    "globals() by a new name": Write("S = 0", "globals()['NE' + 'W'] = v", "globals().get('NEW')", "globals().pop('NEW', None)"),
    "by exec": Write("S = 0", "exec(f'S = {v}', globals())", "S", "globals().__setitem__('S', 0)"),
    "an alias": Write("R = []", "r = R; r.append(v)", "R[:]", "R.clear()"),
    "an alias by a branch": Write("R = []", "r = R if v else []; r.append(v)", "R[:]", "R.clear()"),
    "another name": Write("R = []\nSAME = R", "SAME.append(v)", "R[:]", "R.clear()"),
    "a part under another name": Write("R = []\nD = {'r': R}", "D['r'].append(v)", "R[:]", "R.clear()"),
    "a helper's default": Write("R = []\ndef put(v, to=R): to.append(v)", "put(v)", "R[:]", "R.clear()"),
    "read through a default": Write("R = []\ndef rows(of=R): return of[:]", "R.append(v)", "rows()", "R.clear()"),
    "a default only": Write("def rows(v=None, to=[]):\n    if v is not None: to.append(v)\n    return to", "rows(v)", "rows()[:]", "rows().clear()"),
    "what a helper gives": Write("R = []\ndef rows(): return R", "rows().append(v)", "rows()[:]", "R.clear()"),
    "what a helper makes when it is first asked": Write("R = None\ndef rows():\n    global R\n    if R is None: R = []\n    return R", "rows().append(v)", "rows()[:]", "globals().__setitem__('R', None)"),
    "a library's function": Write("import heapq\nR = []", "heapq.heappush(R, v)", "R[:]", "R.clear()"),
    "a bound method in a variable": Write("R = []", "put = R.append; put(v)", "R[:]", "R.clear()"),
    "a bound method in a global": Write("R = []\nput = R.append", "put(v)", "R[:]", "R.clear()"),
    "a partial": Write("import functools, operator\nR = [0]\nput = functools.partial(operator.setitem, R, 0)", "put(v)", "R[:]", "R.__setitem__(0, 0)"),
    "a method with another first name": Write(CFG + "c = Cfg()", "c.put(v)", "c.held[:]", "c.held.clear()"),
    "an object's attribute": Write(CFG + "c = Cfg()", "c.scale = v", "c.scale", "setattr(c, 'scale', 0)"),
    "an object's attribute, by setattr": Write(CFG + "c = Cfg()", "setattr(c, 'sca' + 'le', v)", "c.scale", "setattr(c, 'scale', 0)"),
    "an object's dict": Write(CFG + "c = Cfg()", "c.__dict__['scale'] = v", "c.scale", "setattr(c, 'scale', 0)"),
    "an object in a list": Write(CFG + "R = [Cfg()]", "R[0].scale = v", "R[0].scale", "setattr(R[0], 'scale', 0)"),
    "an object that is filled when it is first asked": Write("class Box:\n    rows = None\n    def get(self):\n        if self.rows is None: self.rows = []\n        return self.rows\nb = Box()", "b.get().append(v)", "b.get()[:]", "setattr(b, 'rows', None)"),
    "an object with a lock": Write(LOCKED, "S.rows.append(v)", "S.rows[:]", "S.rows.clear()"),
    "a function's attribute": Write("def f(): pass\nf.n = 0", "f.n = v", "f.n", "setattr(f, 'n', 0)"),
    "a function's new attribute": Write("def f(): pass", "f.n = v", "getattr(f, 'n', None)", "vars(f).pop('n', None)"),
    "a closure": Write("def made():\n    held = []\n    def put(v): held.append(v)\n    def get(): return held[:]\n    return put, get, held.clear\nput, get, clear = made()", "put(v)", "get()", "clear()"),
    "a closure, rebound": Write("def made():\n    n = 0\n    def put(v):\n        nonlocal n\n        n = v\n    def get(): return n\n    return put, get\nput, get = made()", "put(v)", "get()", "put(0)"),
    "a method replaced": Write("class K:\n    def go(self): return 0\nk = K()\ndef first(self): return 0", "K.go = lambda self: v", "k.go()", "setattr(K, 'go', first)"),
    "an array": Write("import numpy as np\nA = np.zeros(2)", "A[0] = v", "A.tolist()", "A.__setitem__(0, 0)"),
    "an array through a view": Write("import numpy as np\nA = np.zeros(2)\nV = A[:1]", "V[0] = v", "A.tolist()", "A.__setitem__(0, 0)"),
    "an array, by a library": Write("import numpy as np\nA = np.zeros(2)", "np.put(A, [0], [v])", "A.tolist()", "A.__setitem__(0, 0)"),
    "a large array": Write("import numpy as np\nA = np.zeros(200_000)", "A[70_000] = v", "A[70_000]", "A.__setitem__(70_000, 0)"),
    "a frame's column": Write("import pandas as pd\nF = pd.DataFrame({'a': [0]})", "F['b'] = v", "F.to_dict()", "F.pop('b') if 'b' in F else 0"),
    "a frame in place": Write("import pandas as pd\nF = pd.DataFrame({'a': [0]})", "F.loc[0, 'a'] = v", "F.to_dict()", "F.__setitem__('a', [0])"),
    "a model": Write("from sklearn.linear_model import LinearRegression\nM = LinearRegression()", "M.fit([[0], [1]], [0, v])", "getattr(M, 'coef_', [0])[0].round(3)", "vars(M).pop('coef_', None)"),
    "a thread's own": Write("import threading\nL = threading.local()", "L.n = v", "getattr(L, 'n', None)", "vars(L).clear()"),
    "the environment": Write("import os", "os.environ['SET_BY_A_TASK'] = str(v)", "os.environ.get('SET_BY_A_TASK')", "os.environ.pop('SET_BY_A_TASK', None)"),
    "the seed of random": Write("import random", "random.seed(v)", "random.random()", "random.seed(99)"),
    "the seed of NumPy": Write("import numpy as np", "np.random.seed(v)", "float(np.random.rand())", "np.random.seed(99)"),
    "the seed, drawn by an imported function": Write("import random\nfrom random import randint", "random.seed(v)", "randint(0, 10**9)", "random.seed(99)"),
    "a value in a partial's keywords": Write("import functools\nD = {}\ndef put(v, to): to['k'] = v\nset_ = functools.partial(put, to=D)", "set_(v)", "D.get('k')", "D.clear()"),
    "a counter that helpers share": Write("N = [0]\ndef following():\n    N[0] += 1\n    return N[0]", "return following()", "following()", "N.__setitem__(0, 0)"),
    "an iterator": Write("def fresh(): return iter([1, 2, 3])\nI = [fresh()]", "next(I[0])", "next(I[0])", "I.__setitem__(0, fresh())"),
    "what has no form": Write("def fresh(): return (n for n in [1, 2, 3])\nI = [fresh()]", "next(I[0])", "next(I[0])", "I.__setitem__(0, fresh())"),
    "a list of one's own class": Write("class Rows(list):\n    def put(self, v): self.append(v)\nR = Rows()", "R.put(v)", "R[:]", "R.clear()"),
    "an attribute of a list of one's own class": Write("class Rows(list): n = 0\nR = Rows()", "R.n = v", "R.n", "setattr(R, 'n', 0)"),
    "a dict of one's own class": Write("class Reg(dict):\n    def put(self, v): self[v] = v\nR = Reg()", "R.put(v)", "sorted(R)", "R.clear()"),
    "an attribute of a dict of one's own class": Write("class Reg(dict): n = 0\nR = Reg()", "R.n = v", "R.n", "setattr(R, 'n', 0)"),
    "a set of one's own class": Write("class Seen(set): pass\nR = Seen()", "R.add(v)", "sorted(R)", "R.clear()"),
    "a deque of one's own class": Write("import collections\nclass Q(collections.deque): pass\nR = Q()", "R.append(v)", "list(R)", "R.clear()"),
    "a slot": Write("class Box:\n    __slots__ = ('n',)\nb = Box()\nb.n = 0", "b.n = v", "b.n", "setattr(b, 'n', 0)"),
    "a slot beside attributes": Write("class Base:\n    __slots__ = ('n',)\nclass Box(Base): pass\nb = Box()\nb.n = 0", "b.n = v", "b.n", "setattr(b, 'n', 0)"),
    "a model's private attribute": Write("import pydantic\nclass M(pydantic.BaseModel):\n    _n: int = pydantic.PrivateAttr(0)\nm = M()", "m._n = v", "m._n", "setattr(m, '_n', 0)"),
    "the order of a dict": Write("D = {'a': 1, 'b': 2}", "D['a'] = D.pop('a')", "list(D)", "(D.clear(), D.update(a=1, b=2))"),
    "the order of an ordered dict": Write("import collections\nD = collections.OrderedDict(a=1, b=2)", "D.move_to_end('a')", "list(D)", "D.move_to_end('b')"),
    "a method in a partial": Write("import functools\nR = []\nput = functools.partial(R.append)", "put(v)", "R[:]", "R.clear()"),
    "a descriptor's value": Write("class Kept:\n    held = {}\n    def __get__(self, of, kind=None): return self.held.get('n')\n    def __set__(self, of, v): self.held['n'] = v\nclass Box: n = Kept()\nb = Box()", "b.n = v", "b.n", "Kept.held.clear()"),
    "attributes kept by __setattr__": Write("class Box:\n    def __init__(self): object.__setattr__(self, 'held', {})\n    def __getattr__(self, name): return self.held.get(name)\n    def __setattr__(self, name, v): self.held[name] = v\nb = Box()", "b.n = v", "b.n", "b.held.clear()"),
    "what functools.cache keeps": Write("import functools\n@functools.cache\ndef conf(): return {'k': 0}", "conf()['k'] = v", "conf()['k']", "conf.cache_clear()"),
    "what functools.lru_cache keeps": Write("import functools\n@functools.lru_cache(maxsize=8)\ndef rows(of): return []", "rows('a').append(v)", "rows('a')[:]", "rows.cache_clear()"),
}  # fmt: skip


HARMLESS: dict[str, Write] = {
    "nothing": Write("R = [1]", "return R[0] + v", "R[:]", "1"),
    "nothing, of a class": Write(CFG, "return Cfg.scale + v", "Cfg.scale", "1"),
    "nothing, of a large array": Write("import numpy as np\nA = np.zeros(200_000)", "return float(A.sum()) + v", "float(A[7])", "1"),
    "nothing, of a frame": Write("import pandas as pd\nF = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})", "return int(F[F.a == v].a.sum())", "int(F.a.sum())", "1"),
    "nothing, of an object with a lock": Write(LOCKED, "\n    with S.lock: return len(S.rows)", "len(S.rows)", "1"),
    "what is put back": Write("R = []", "R.append(v); R.pop()", "R[:]", "1"),
    "a memo": Write("MEMO = {}\ndef half(n):\n    if n not in MEMO: MEMO[n] = n / 2\n    return MEMO[n]", "return half(v)", "half(7)", "1"),
    "a memo of frames": Write("import pandas as pd\nMEMO = {}\ndef table(n):\n    if n not in MEMO: MEMO[n] = pd.DataFrame({'a': [n]})\n    return MEMO[n]", "return int(table(v).a.sum())", "int(table(7).a.sum())", "1"),
    "a large memo of frames": Write("import pandas as pd\nMEMO = {n: pd.DataFrame({'a': [n]}) for n in range(100, 200)}\ndef table(n):\n    if n not in MEMO: MEMO[n] = pd.DataFrame({'a': [n]})\n    return MEMO[n]", "return int(table(v).a.sum())", "int(table(7).a.sum())", "1"),
    "a large table": Write("T = {str(n): n for n in range(5000)}", "return T['7'] + v", "T.get('8')", "1"),
    "functools.cache": Write("import functools\n@functools.cache\ndef half(n): return n / 2", "return half(v)", "half(7)", "1"),
    "functools.lru_cache of lists": Write("import functools\n@functools.lru_cache\ndef upto(n): return [*range(n)]", "return sum(upto(v))", "sum(upto(3))", "1"),
    "a client made when it is first asked for": Write("import threading\nC = None\ndef client():\n    global C\n    if C is None: C = threading.Lock()\n    return C", "\n    with client(): return v", "client() is not None", "1"),
    "an object's own memo": Write("class Box:\n    rows = None\n    def get(self):\n        if self.rows is None: self.rows = [1]\n        return self.rows\nb = Box()", "return len(b.get()) + v", "len(b.get())", "1"),
    "a cached property": Write("import functools\nclass Box:\n    n = 1\n    @functools.cached_property\n    def rows(self): return [self.n]\nb = Box()", "return b.rows[0] + v", "b.rows[0]", "1"),
    "a counter that nobody reads": Write("N = {'calls': 0}", "N['calls'] += 1; return v", "1", "1"),
    "a new object of a class": Write("class Box: n = 0", "b = Box(); b.n = v; return b.n", "Box.n", "1"),
    "its own list": Write("R = [1]", "r = list(R); r.append(v); return r", "R[:]", "1"),
    "a seed of its own": Write("import random\nimport numpy as np", "random.seed(1); np.random.seed(1); return random.random() + v", "np.random.default_rng(3).random()", "1"),
    "a logger": Write("import logging\nlog = logging.getLogger('a.writer')", "log.debug('x'); return v", "log.name", "1"),
    "a compiled pattern": Write("import re\nP = re.compile('a+')", "return P.sub(str(v), 'aab')", "P.pattern", "1"),
    "a named tuple's class": Write("import collections\nPair = collections.namedtuple('Pair', 'a b')", "return Pair(v, 1)", "Pair(1, 2)", "1"),
    "a pydantic model": Write("import pydantic\nclass M(pydantic.BaseModel):\n    a: int = 1\nm = M()", "return M(a=v).a + m.a", "m.a", "1"),
    "a model that predicts": Write("from sklearn.linear_model import LinearRegression\nM = LinearRegression().fit([[0], [1]], [0, 1])", "return float(M.predict([[v]])[0].round(3))", "float(M.coef_[0].round(3))", "1"),
}  # fmt: skip
"""What is no effect: it is reused."""
