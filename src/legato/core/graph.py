"""The graph of a flow before it runs: its calls, what they depend on, what of it is not known, and what a failure would keep from running. Pure.

`legato.plan` reads it from the flow's source. A *place* says where in the code a call stands: within which branches, `try` parts, flows
and tasks. From the places and the triggers, `Plan.after_failure` says what becomes of each call when one fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from legato.core.errors import NotFound
from legato.core.states import COMPLETED, FAILED, StateType
from legato.core.triggers import TRIGGERS, Decision, Upstream, all_succeeded, decide

FUTURE, VALUE, WAIT_FOR, COMPUTED = "future", "value", "wait_for", "computed"
RECORDED = frozenset((FUTURE, VALUE, WAIT_FOR))
"""Edges that a run records as well; what the flow's own code computed from a value is known only here."""

RUNS, FAILS, UPSTREAM_FAILED, SKIPPED, NOT_REACHED = "runs", "fails", "UpstreamFailed", "Skipped", "is not reached"


class Part(NamedTuple):
    """One step of a place. `kind`: try, if, loop, flow or task; `part`: body, except, else, finally; `text`: the condition, in words."""

    kind: str
    id: int
    part: str = ""
    text: str = ""


class Node(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One call of a task or flow, or, with `repeat`, calls of which nobody knows yet how many there are.

    `name` is the run's, as far as it can be told. `submitted`: it does not hold the flow up. `parent`: the call it is inside of. `condition`:
    when it is made at all. `quiet`: its failure is not raised in the flow (`return_state=True`). `awaited`: it is raised where it is awaited.
    """

    id: int
    name: str
    kind: str = "task"
    task: str = ""
    key: str = ""
    file: str = ""
    line: int = 0
    trigger: str = "all_succeeded"
    retries: int = 0
    timeout_s: float | None = None
    cached: str = ""
    persisted: bool = False
    submitted: bool = False
    parent: int | None = None
    condition: str = ""
    repeat: str = ""
    quiet: bool = False
    awaited: bool = False

    @property
    def raises_at_once(self) -> bool:
        """Whether its failure is raised where it is called."""
        return not (self.submitted or self.quiet or self.awaited)


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """That one call depends on another: `how` is future, value, wait_for, or computed. `tolerated`: a failure there is let pass."""

    source: int
    target: int
    how: str = FUTURE
    tolerated: bool = False


class NotKnown(msgspec.Struct, frozen=True):
    """Something that the source does not tell, and on which line."""

    line: int
    what: str


class Moment(msgspec.Struct, frozen=True):
    """What happens in the order of the code: a call is made, its result is asked for, or an error is raised on."""

    kind: str
    place: tuple[Part, ...]
    node: int = -1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A flow's graph before anything has run. `print` it, or take `mermaid()`, `json()`, `to_dict()`; ask `after_failure("load")`."""

    flow: str
    parameters: dict[str, str]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    not_known: tuple[NotKnown, ...] = ()
    moments: tuple[Moment, ...] = ()
    caught: frozenset[int] = frozenset()
    """`try` statements that catch what is raised in their bodies: a task's own error is taken to be of a type they name."""
    caught_all: frozenset[int] = frozenset()
    """Those that catch every error, that a run before failed included."""
    file: str = ""
    line: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every call is known: no loop of unknown length, no unknown branch, nothing that could not be read."""
        return not self.not_known and not any(node.repeat or node.condition for node in self.nodes)

    def path(self, node: Node) -> str:
        """What names a call in the whole plan: its name, after that of the flow it is inside of ("sub/load-0")."""
        parent = node.parent
        while parent is not None and self.nodes[parent].kind != "flow":
            parent = self.nodes[parent].parent
        return f"{self.path(self.nodes[parent])}/{node.name}" if parent is not None else node.name

    def named(self, name: str) -> list[Node]:
        """The calls meant by a run's name ("load-0", "sub/load-0"), or by a task's ("load": all its calls). Raises `NotFound`."""
        found = [node for node in self.nodes if self.path(node) == name]
        found = found or [node for node in self.nodes if name in (node.name, node.task, node.key)]
        if not found:
            names = ", ".join(self.path(node) for node in self.nodes[:8])
            raise NotFound(
                "call", name, hint=f"the plan of flow '{self.flow}' has {names}" if names else f"flow '{self.flow}' calls no task"
            )
        return found

    def upstream(self, name: str) -> list[str]:
        """The names of what a call depends on."""
        wanted = {node.id for node in self.named(name)}
        names = {node.id: self.path(node) for node in self.nodes}
        return list(dict.fromkeys(names[edge.source] for edge in self.edges if edge.target in wanted))

    def after_failure(self, name: str) -> dict[str, str]:
        """What becomes of each call if this one (of a task's name: all of its calls) fails for good.

        "fails", "runs", "UpstreamFailed", "Skipped", or "is not reached". What a branch decides that is not known yet is taken as made.
        """
        wanted = {node.id for node in self.named(name)}
        return _Failure(self, wanted).outcomes()

    def to_dict(self) -> dict[str, Any]:
        """The graph as plain data."""
        data: dict[str, Any] = msgspec.to_builtins(
            {
                "flow": self.flow,
                "file": self.file,
                "line": self.line,
                "parameters": self.parameters,
                "nodes": self.nodes,
                "edges": self.edges,
                "not_known": self.not_known,
            }
        )
        return data

    def json(self, *, indent: int | None = None) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def mermaid(self) -> str:
        """The graph as a Mermaid flowchart."""
        return "\n".join(_mermaid(self))

    def __str__(self) -> str:
        return "\n".join(_text(self))


# ---------------------------------------------------------------------- what a failure does


class _Failure:
    """Goes through the moments in order, with some calls failing."""

    def __init__(self, plan: Plan, failing: set[int]) -> None:
        self.plan = plan
        self.failing = failing
        self.by_id = {node.id: node for node in plan.nodes}
        self.before: dict[int, list[Edge]] = {}
        for edge in plan.edges:
            self.before.setdefault(edge.target, []).append(edge)
        self.became: dict[int, str] = {}
        self.dead: list[tuple[Part, ...]] = []
        self.raised: set[int] = set()
        self.unwound: set[int] = set()

    def outcomes(self) -> dict[str, str]:
        for moment in self.plan.moments:
            if not self._reached(moment.place):
                if moment.kind == "call":
                    self.became[moment.node] = NOT_REACHED
            elif moment.kind == "raise":
                self._raise(moment.place)
            elif moment.kind == "return":
                self._leave(moment.place)
            elif moment.kind == "ask":
                if (became := self.became.get(moment.node)) in (FAILS, UPSTREAM_FAILED):
                    self._raise(moment.place, own=became == FAILS)
            else:
                self._call(self.by_id[moment.node], moment.place)
        return {self.plan.path(node): self.became.get(node.id, NOT_REACHED) for node in self.plan.nodes}

    def _reached(self, place: tuple[Part, ...]) -> bool:
        for part in place:
            if part.kind == "try" and part.part == "except" and part.id not in self.raised:
                return False
            if part.kind in ("flow", "task") and self.became.get(part.id) in (NOT_REACHED, UPSTREAM_FAILED, SKIPPED):
                return False
        return not any(place[: len(dead)] == dead and not self._is_last_wish(place[len(dead) :]) for dead in self.dead)

    def _is_last_wish(self, inner: tuple[Part, ...]) -> bool:
        """Whether it stands in the `finally` of a `try` that an exception has passed through: that runs all the same."""
        return any(part.kind == "try" and part.part == "finally" and part.id in self.unwound for part in inner)

    def _call(self, node: Node, place: tuple[Part, ...]) -> None:
        self.became[node.id] = outcome = self._outcome(node)
        if outcome in (FAILS, UPSTREAM_FAILED) and node.raises_at_once:
            self._raise(place, own=outcome == FAILS)

    def _leave(self, place: tuple[Part, ...]) -> None:
        """A handler returns: the rest of its function is dead."""
        inner = max((n for n, part in enumerate(place) if part.kind in ("call", "flow", "task")), default=-1)
        self.unwound.update(part.id for part in place[inner + 1 :] if part.kind == "try")
        self.dead.append(place[: inner + 1])

    def _outcome(self, node: Node) -> str:
        edges = [edge for edge in self.before.get(node.id, ()) if edge.how in (FUTURE, WAIT_FOR) and not edge.tolerated]
        sources = dict.fromkeys(edge.source for edge in edges if self.became.get(edge.source) != NOT_REACHED)
        upstream = [self._upstream(source) for source in sources]
        trigger = TRIGGERS.get(node.trigger)
        if upstream or trigger not in (all_succeeded, None):
            decision, _ = decide(trigger or all_succeeded, upstream)
            if decision is Decision.FAIL:
                return UPSTREAM_FAILED
            if decision is Decision.SKIP:
                return SKIPPED
        return FAILS if node.id in self.failing else RUNS

    def _upstream(self, id_: int) -> Upstream:
        became = self.became.get(id_, RUNS)
        state: StateType = FAILED if became in (FAILS, UPSTREAM_FAILED) else COMPLETED
        return Upstream(self.by_id[id_].name, state, skipped=became == SKIPPED)

    def _raise(self, place: tuple[Part, ...], *, own: bool = True) -> None:
        """An exception leaves `place`: the rest of every body it passes through is dead, up to who catches it.

        `own`: it may be of any type; otherwise it is the one that says that a run before failed.
        """
        catching = self.plan.caught if own else self.plan.caught_all
        for n in range(len(place) - 1, -1, -1):
            part = place[n]
            if part.kind == "try":
                self.unwound.add(part.id)
            if part.kind == "try" and part.part == "body" and part.id in catching:
                self.raised.add(part.id)
                self.dead += [place[: n + 1], (*place[:n], Part("try", part.id, "else"))]
                return
            if part.kind in ("flow", "task"):
                self.dead.append(place[: n + 1])
                self.became[part.id] = FAILS
                if not self.by_id[part.id].raises_at_once:
                    return
        self.dead.append(())


# ---------------------------------------------------------------------- to text and pictures


def _remarks(plan: Plan, node: Node, names: dict[int, str]) -> Iterable[str]:
    before = [edge for edge in plan.edges if edge.target == node.id]
    strict = list(dict.fromkeys(names[edge.source] for edge in before if not edge.tolerated))
    lenient = list(dict.fromkeys(names[edge.source] for edge in before if edge.tolerated))
    if node.condition:
        yield node.condition
    if strict:
        yield f"after {_some(strict)}"
    if lenient:
        yield f"after {_some(lenient)}, even if failed"
    if node.trigger != "all_succeeded":
        yield f"trigger {node.trigger}"
    if node.retries:
        yield f"{node.retries} {'retry' if node.retries == 1 else 'retries'}"
    if node.timeout_s is not None:
        yield f"at most {node.timeout_s:g} s"
    if node.cached:
        yield f"cached by {node.cached}"
    elif node.persisted:
        yield "stored"
    if node.submitted:
        yield "submitted"


def _some(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _text(plan: Plan) -> Iterable[str]:
    given = ", ".join(f"{name}={value}" for name, value in plan.parameters.items())
    yield f"flow {plan.flow}({given})"
    names = {node.id: node.name for node in plan.nodes}
    children: dict[int | None, list[Node]] = {}
    for node in plan.nodes:
        children.setdefault(node.parent, []).append(node)
    yield from _branch(plan, children, None, "", names)
    if not plan.nodes:
        yield "  it calls no task"
    if plan.not_known:
        yield "Not known before it runs:"
        for one in plan.not_known:
            yield f"  line {one.line}: {one.what}"


def _branch(plan: Plan, children: dict[int | None, list[Node]], parent: int | None, indent: str, names: dict[int, str]) -> Iterable[str]:
    below = children.get(parent, [])
    for node in below:
        last = node is below[-1]
        label = f"{'flow ' if node.kind == 'flow' else ''}{node.name}" + (f" {node.repeat}" if node.repeat else "")
        remarks = "; ".join(_remarks(plan, node, names))
        yield f"{indent}{'└─' if last else '├─'} {label}{f' ({remarks})' if remarks else ''}  line {node.line}"
        yield from _branch(plan, children, node.id, f"{indent}{'   ' if last else '│  '}", names)


def _mermaid(plan: Plan) -> Iterable[str]:
    yield "flowchart TD"
    for node in plan.nodes:
        label = "<br/>".join(_quoted(part) for part in (node.name, node.repeat, node.condition) if part)
        opening, closing = ("[[", "]]") if node.kind == "flow" else ("([", "])") if node.repeat else ("[", "]")
        yield f'  n{node.id}{opening}"{label}"{closing}'
    for edge in plan.edges:
        if edge.how == COMPUTED:
            yield f"  n{edge.source} -.-> n{edge.target}"
        elif edge.how == WAIT_FOR:
            yield f"  n{edge.source} -- waits for --> n{edge.target}"
        else:
            yield f"  n{edge.source} --> n{edge.target}"
    for node in plan.nodes:
        if node.parent is not None:
            yield f"  n{node.parent} --o n{node.id}"
    if any(node.condition for node in plan.nodes):
        yield "  classDef maybe stroke-dasharray: 4 4"
        yield f"  class {','.join(f'n{node.id}' for node in plan.nodes if node.condition)} maybe"


def _quoted(text: str) -> str:
    return text.replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
