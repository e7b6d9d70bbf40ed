"""What a reading finds: nodes, edges, moments and what is not known, each at the place in the code that is being read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from legato.core.caching import as_policy
from legato.core.errors import LegatoError
from legato.core.graph import FUTURE, VALUE, Edge, Moment, Node, NotKnown, Part, Plan
from legato.plan.values import Spec, Value, deps_of
from legato.plan.world import Doubts

STEPS = 60_000
NODES = 3_000


class TooMuch(Exception):
    """The flow has more steps than a plan shows."""


class Record:
    """Gathers what is found. `place`: where the reading stands."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.moments: list[Moment] = []
        self.not_known: dict[tuple[int, str], NotKnown] = {}
        self.caught: set[int] = set()
        self.caught_all: set[int] = set()
        self.shaky: dict[int, int] = {}
        self.place: tuple[Part, ...] = ()
        self.counters: list[Counter[str]] = [Counter()]
        self.steps = 0
        self.ids = 0

    def plan(self, flow: str, parameters: dict[str, str], file: str, line: int) -> Plan:
        return Plan(
            flow=flow,
            parameters=parameters,
            nodes=tuple(self.nodes),
            edges=tuple(self.edges),
            not_known=tuple(sorted(self.not_known.values(), key=lambda one: one.line)),
            moments=tuple(self.moments),
            caught=frozenset(self.caught),
            caught_all=frozenset(self.caught_all),
            file=file,
            line=line,
        )

    # ------------------------------------------------------------------ where the reading stands

    def note(self, line: int, what: str) -> None:
        """Something the source does not tell."""
        self.not_known.setdefault((line, what), NotKnown(line, what))

    def may_raise(self, line: int) -> None:
        """Code that is not known runs here: within a `try` that catches, what follows in its body is only reached if it raises nothing."""
        for part in self.here():
            if part.kind == "try" and part.part == "body" and part.id in self.caught:
                self.shaky.setdefault(part.id, line)

    def step(self) -> None:
        self.steps += 1
        if self.steps > STEPS:
            raise TooMuch

    def new_id(self) -> int:
        self.ids += 1
        return self.ids

    def branch(self, text: str, part: str = "body") -> Part:
        """A new branch that nobody can decide."""
        return Part("if", self.new_id(), part, text)

    @contextmanager
    def within(self, *parts: Part | None) -> Iterator[None]:
        before = self.place
        self.place = (*before, *(part for part in parts if part is not None))
        try:
            yield
        finally:
            self.place = before

    @property
    def doubts(self) -> Doubts:
        """The branches and loops around that nobody can decide."""
        return frozenset((part.id, part.part) for part in self.place if part.text and part.kind in ("if", "loop", "try"))

    @property
    def in_loop(self) -> bool:
        """Whether one of them is a loop."""
        return any(part.kind == "loop" and part.text for part in self.place)

    def here(self) -> tuple[Part, ...]:
        """The parts of the place that are in the function being read."""
        inner = max((n for n, part in enumerate(self.place) if part.kind in ("call", "flow", "task")), default=-1)
        return self.place[inner + 1 :]

    # ------------------------------------------------------------------ taking back

    def snapshot(self) -> tuple[Any, ...]:
        counters = [counter.copy() for counter in self.counters]
        return (
            len(self.nodes), len(self.edges), len(self.moments), dict(self.not_known), set(self.caught), set(self.caught_all), counters, self.ids,
        )  # fmt: skip

    def take_back(self, snapshot: tuple[Any, ...]) -> None:
        """Forget what was found since."""
        nodes, edges, moments, self.not_known, self.caught, self.caught_all, counters, self.ids = snapshot
        del self.nodes[nodes:], self.edges[edges:], self.moments[moments:]
        for counter, before in zip(self.counters, counters, strict=True):
            counter.clear()
            counter.update(before)

    # ------------------------------------------------------------------ calls

    def ask(self, value: Value) -> None:
        """Results are asked for: a failure there is raised here."""
        for node, (how, _) in deps_of(value).items():
            if self.nodes[node].awaited or (how in (FUTURE, VALUE) and self.nodes[node].submitted):
                self.moments.append(Moment("ask", self.place, node))

    def call(self, spec: Spec, line: int, *, submitted: bool, repeat: str, quiet: bool) -> Node:
        """A node for a call of a task or flow at this place."""
        if len(self.nodes) >= NODES:
            raise TooMuch
        loops = [part.text for part in self.place if part.kind == "loop"]
        texts = [part.text for part in self.place if part.text and part.kind in ("if", "try")]
        texts += [
            f"unless line {self.shaky[part.id]} raises"
            for part in self.place
            if part.kind == "try" and part.part == "body" and part.id in self.shaky
        ]
        options = spec.options
        repeat = repeat or (loops[-1] if loops else "")
        cached = options.get("cache_policy") or options.get("cache_key_fn")
        trigger = options.get("trigger")
        timeout = options.get("timeout_seconds")
        retries = options.get("retries", 0)
        node = Node(
            id=len(self.nodes),
            name=self._name_of(spec, repeat),
            kind=spec.kind,
            task=spec.name,
            key=spec.key,
            file=spec.file,
            line=line,
            trigger=trigger if isinstance(trigger, str) else getattr(trigger, "__name__", "all_succeeded") if trigger else "all_succeeded",
            retries=retries if isinstance(retries, int) else 0,
            timeout_s=float(timeout) if isinstance(timeout, (int, float)) else None,
            cached=_policy_text(cached),
            persisted=bool(options.get("persist_result")) or bool(cached),
            submitted=submitted,
            parent=next((part.id for part in reversed(self.place) if part.kind in ("flow", "task")), None),
            condition="; ".join(dict.fromkeys(texts)),
            repeat=repeat,
            quiet=quiet,
            awaited=spec.is_async and not submitted and not spec.makes_items,
        )
        self.nodes.append(node)
        return node

    def _name_of(self, spec: Spec, repeat: str) -> str:
        counter = self.counters[-1]
        name = f"{spec.name}-{counter[spec.name]}" if spec.kind == "task" else spec.name
        if repeat or spec.kind == "flow":
            name = spec.name
            same = sum(1 for node in self.nodes if node.name == name or node.name.startswith(f"{name} ("))
            name = f"{name} ({same + 1})" if same else name
        counter[spec.name] += 1
        return name


def _policy_text(cached: Any) -> str:
    if not cached:
        return ""
    try:
        return repr(as_policy(cached))
    except LegatoError:
        return "?"
