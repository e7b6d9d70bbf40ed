"""What may be reused when a flow runs again: which finished call of the earlier attempt is this call, and is its value still good? Pure.

A call is known inside its flow run by its *group* (the call that contains it, the task, what it is called on, its arguments) and its *occurrence*
among equals; or by an explicit key. The *lane* is the line of execution (thread or asyncio task) it was called from. A future among the inputs
counts by the call that makes it; what it really was is compared when the call is about to run (`Result.inputs`).

A stored value is refused, and the task runs again, when
- its code, or that of a helper it reaches, or a value they hold, has changed;
- its inputs are other than they were, or cannot be compared;
- it changed its arguments, or a variable that others read, or what it gave lives on elsewhere too: what was done there would be missing;
- a new or changed call came before it in its lane and had ended: the earlier run reached this line without it;
- a call that came before it in its lane, and had ended, has not been made this time;
- its equals gave different values and came from several lanes, or the flow's own code has changed: nobody can tell which is which.

`docs/design/identity.md` has the rules and what they were measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from legato.core.digests import hex_digest
from legato.core.records import FlowRun, Result, TaskRun
from legato.core.states import COMPLETED, FAILED, FINAL, StateType

UNKNOWN = "-?"
"""In a group: what it was called with cannot be compared. No other call is of that group."""


BODY = "<body>"
"""In a flow's recorded code: the marks of its own body, no function's hash."""

NOT_KEPT = "<not kept>"
"""There as well: the parameters that are recorded by another value than the run was given."""


def place_in(path: str, key: str) -> str:
    """Where calls of a function stand: what contains them, "" for a flow's own code, and the function."""
    return hex_digest(f"{path}/{key}".encode("utf-8", "surrogatepass"), 12)


class CallId(msgspec.Struct, frozen=True, gc=False):
    """Which call of a flow run this is. As text: "group.occurrence.lane", and in what else it differs from one without.

    `number` counts the calls of the flow run's `attempt`. `submitted`: its caller did not wait for it there and then. `code`: one hash for its code.
    `seen`: the numbers, in ranges, of the submitted calls whose end its lane has come to know since the lane's call before. `body`: one hash for
    the body of the flow that made it. `after`: the first call of a lane names the lane that this one came out of.
    """

    group: str
    occurrence: int
    lane: int
    number: int = -1
    submitted: bool = False
    code: str = ""
    seen: tuple[tuple[int, int], ...] = ()
    attempt: int = 0
    body: str = ""
    after: int = -1

    def __str__(self) -> str:
        text = f"{self.group}.{self.occurrence}.{self.lane}"
        if self.number < 0:
            return text
        seen = "_".join([f"{a}-{b}" if a != b else str(a) for a, b in self.seen]) if self.seen else ""
        text = f"{text}.{self.number}{'s' if self.submitted else 'd'}.{self.code}.{seen}.{self.attempt}.{self.body}"
        return text if self.after < 0 else f"{text}.{self.after}"

    @property
    def path(self) -> str:
        """What identifies it as a parent of other calls: the same in every attempt."""
        return f"{self.group}.{self.occurrence}"

    @property
    def place(self) -> str:
        """Where it stands: see `place_in`."""
        return self.group.partition("-")[0]

    @property
    def is_unknown(self) -> bool:
        """Whether it is like no other call, because what it was called with cannot be compared."""
        return UNKNOWN in self.group

    @classmethod
    def parse(cls, text: str) -> CallId | None:
        """The inverse of `str`; None for a run that was recorded without one."""
        group, occurrence, lane, number, code, seen, attempt, body, after = (*text.split("."), *[""] * 8)[:9]
        if not lane:
            return None
        if not number:
            return cls(group, int(occurrence), int(lane))
        ends = [part.partition("-") for part in seen.split("_") if part]
        ranges = tuple((int(a), int(b or a)) for a, _, b in ends)
        return cls(
            group,
            int(occurrence),
            int(lane),
            int(number[:-1]),
            number.endswith("s"),
            code,
            ranges,
            int(attempt or 0),
            body,
            int(after or -1),
        )


def ranges_of(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as ranges, ascending."""
    found: list[list[int]] = []
    for n in sorted(numbers):
        if found and n <= found[-1][1] + 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return tuple((a, b) for a, b in found)


class Lane:
    """A line of execution in what one run calls: what it has come to know of since.

    `taint`: the new or changed call whose end it knows of, "" when there is none. `seen`: calls whose end it knows of, by number, since its last
    call; its own direct ones go without saying. `known`: all of both, for a lane that came out of another, which may learn of it when this one is over.
    `after`: the lane that it came out of, until its first call has said so. `children`: lanes of work it had given away, which are over.
    """

    __slots__ = ("after", "children", "index", "known", "line", "seen", "taint")

    def __init__(self, index: int = 0, taint: str = "", creator: Lane | None = None) -> None:
        self.index = index
        self.taint = taint
        self.seen: list[int] = []
        self.known: list[int] | None = None
        self.after = -1
        self.children: list[Lane] = []
        self.line: Any = None
        """What runs in it, as far as that can be asked whether it is over."""
        if creator is not None:
            self.taint = taint or creator.taint
            self.seen, self.known, self.after = list(creator.seen), [], creator.index

    def ended(self, name: str) -> None:
        """A call that is new or changed has ended, and this lane knows."""
        self.taint = self.taint or name

    def sees(self, number: int) -> None:
        """A submitted call has ended, and this lane knows."""
        self.seen.append(number)
        if self.known is not None:
            self.known.append(number)

    def calls(self, number: int) -> None:
        """A direct call is made from here."""
        if self.known is not None:
            self.known.append(number)

    def joins(self, other: Lane) -> None:
        """Another lane is over, and what came out of it: what happened there happened before what this one calls from now on."""
        while other.children:
            other.joins(other.children.pop())
        self.taint = self.taint or other.taint
        for number in other.known or ():
            self.sees(number)


class Event:
    """A call that had ended before others in its lane, after those behind it."""

    __slots__ = ("before", "key", "name", "path")

    def __init__(self, past: Past, before: Event | None) -> None:
        self.path = past.call.path
        self.name = past.name
        self.key = past.key
        self.before = before


class Past(msgspec.Struct, frozen=True):
    """One call of the earlier attempt: what is known of its run."""

    name: str
    key: str
    call: CallId
    state: StateType
    run_id: str = ""
    result: Result | None = None
    code: Mapping[str, str] | None = None
    forced: str = ""
    """Why it is to run again whatever it gave, "" when it is not."""
    before: Event | None = None
    """The last of the calls that had ended in its lane before it was made."""
    inside: str = ""
    """The path of the call that made it, "" for the flow's own code."""
    upstream: tuple[str, ...] = ()
    """The runs whose results it was given or waited for."""

    @property
    def is_flow(self) -> bool:
        """Whether it is a flow inside the flow."""
        return self.key.startswith("flow ")

    @property
    def is_stored(self) -> bool:
        """Whether its value can be had."""
        return self.state is COMPLETED and self.result is not None and not self.result.unavailable


class Reuse(msgspec.Struct, frozen=True):
    """The earlier call whose value is this call's."""

    past: Past


class Again(msgspec.Struct, frozen=True):
    """Why a call runs. `changed`: it is new, or other than it was; what follows it in its lane runs again too.

    `is_same`: it is what it was, though it did not end well; what it calls itself may be reused.
    """

    why: str
    changed: bool = False
    past: Past | None = None
    is_same: bool = False

    @property
    def goes_on(self) -> Past | None:
        """The earlier run of a flow that goes on as a new attempt of itself; one that had completed does not: its value is not good any more."""
        return self.past if self.past is not None and self.past.is_flow and self.past.state is not COMPLETED else None

    @property
    def taints_inside(self) -> bool:
        """Whether what it calls itself comes after a change."""
        return self.changed and not self.is_same


Recall: TypeAlias = Reuse | Again

ITEM_BY_ITEM = "it hands on its items one by one"
"""Why a generator that a flow reads itself runs, whatever it gave."""


class PlanLine(msgspec.Struct, frozen=True):
    """What will become, or has become, of one call."""

    name: str
    reused: bool
    why: str
    is_flow: bool = False


class _Group(msgspec.Struct):
    """The calls with one task and equal inputs."""

    calls: dict[int, Past]
    used: set[int]
    differ: bool = False
    lanes: int = 1


class Memory:
    """What an earlier attempt left behind. Ask it for each call, in the order the calls are made; not safe for two threads at once.

    `flow_changed`: the flow's own code is other than it was. `by_inputs_only`: tasks touch nothing but their inputs, so what came before does not count.
    `other_parameters`: the flow is given others on purpose, so that it may well call a task for other inputs than it did.
    """

    def __init__(
        self, past: Iterable[Past], *, flow_changed: bool = False, by_inputs_only: bool = False, other_parameters: bool = False
    ) -> None:
        self.flow_changed = flow_changed or other_parameters
        self._other_parameters = other_parameters
        self._by_inputs_only = by_inputs_only
        self._groups: dict[str, _Group] = {}
        self._not_met: dict[str, set[str]] = {}
        """Task key -> the earlier calls of it that have not been met again this time, by their paths."""
        self._made: set[str] = set()
        self._passed: dict[str, set[Event]] = {}
        self.past: list[Past] = list(past)
        for one in self.past:
            self._not_met.setdefault(one.key, set()).add(one.call.path)
            self._groups.setdefault(one.call.group, _Group({}, set())).calls[one.call.occurrence] = one
        for group in self._groups.values():
            group.differ = len({one.result.hash for one in group.calls.values() if one.is_stored and one.result}) > 1
            group.lanes = len({one.call.lane for one in group.calls.values()})

    def made(self, call: CallId) -> None:
        """A call has been made this time, too."""
        self._made.add(call.path)

    def recall(
        self,
        call: CallId,
        key: str,
        *,
        code: Mapping[str, str] | None = None,
        below: str = "",
        inputs: str = "",
        unknown: str = "",
        behind_edit: Callable[[str], str] | None = None,
    ) -> Recall:
        """The earlier call whose value may stand for this one; or why it runs.

        `below`: the new or changed call that it comes after, as far as it may know; `inputs`: a hash of what the futures among its arguments
        have come to; `unknown`: why what it is called with cannot be compared; `behind_edit(body)`: the place in the flow's code that it comes after
        and that was another when calls were made in that body, "" when there is none.
        """
        self.made(call)
        if unknown:
            return Again(unknown, changed=True)
        group = self._groups.get(call.group)
        if group is None:
            same_task = self._not_met.get(key)
            return Again("it was not called with these inputs before" if same_task else "it was not called before", changed=True)
        found = self._find(group, call)
        if isinstance(found, Again):
            return found
        self._not_met.get(key, set()).discard(found.call.path)
        why = self._why_not(found, call, code, inputs)
        if why is not None:
            return why
        if not self._by_inputs_only:
            if below:
                return Again(f"it comes after '{below}', which is new or changed", changed=False, past=found)
            if behind_edit is not None and (place := behind_edit(found.call.body)):
                return Again(f"it comes after {place}", changed=True, past=found)
            if missing := self._missing(found.before, key):
                return Again(f"it came after '{missing}', which has not been called this time", changed=True, past=found)
        group.used.add(found.call.occurrence)
        return Reuse(found)

    def _why_not(self, found: Past, call: CallId, code: Mapping[str, str] | None, inputs: str) -> Again | None:
        """What speaks against an earlier call's value by itself."""
        if found.forced:
            return Again(found.forced, changed=True, past=found)
        if differs := _other_code(found, call, code):
            return Again(differs, changed=True, past=found)
        if found.result is not None and found.result.inputs != inputs:
            return Again("what it depends on gave something else", changed=True, past=found)
        if not found.is_stored:
            return Again(_why_not_stored(found), changed=found.state is FAILED, past=found, is_same=True)
        if found.result is not None and (beside := beside_its_value(found.result)):
            return Again(beside, changed=False, past=found)
        return None

    def _missing(self, last: Event | None, key: str) -> str:
        """The name of a call that had ended before and has not been made this time, "" when there is none."""
        event, ahead = last, []
        passed = self._passed.setdefault(key if self._other_parameters else "", set())
        while event is not None and event not in passed:
            if event.path not in self._made and not (self._other_parameters and event.key == key):
                return event.name
            ahead.append(event)
            event = event.before
        passed.update(ahead)
        return ""

    def _find(self, group: _Group, call: CallId) -> Past | Again:
        stored = {n: one for n, one in group.calls.items() if one.is_stored}
        if group.differ and group.lanes > 1:
            some = next(iter(stored.values()))
            why = (
                f"calls of '{some.name.rpartition('-')[0] or some.name}' with the same inputs came from several threads and gave different"
            )
            return Again(f"{why} values; give each call a key", past=some)
        if group.differ and self.flow_changed:
            return Again("calls with the same inputs gave different values, and the flow's code has changed", changed=True)
        if group.lanes > 1:
            free = min(stored.keys() - group.used, default=None)
            if free is not None:
                return stored[free]
        if call.occurrence not in group.calls:
            return Again("it was not called so often before", changed=True)
        return group.calls[call.occurrence]


_CHANGED_ITS_ARGUMENTS = "it changed its arguments: what it did to them cannot be had from its value"

LIVES_ON = "what it gave lives on elsewhere too: a copy would not be the same"


def beside_its_value(result: Result) -> str:
    """What a call did beside giving its value, in words: without it the value is not enough."""
    return result.beside or (_CHANGED_ITS_ARGUMENTS if result.changed else "")


NOT_TO_BE_STORED = "there is no persist_result"
"""Why a result that is there only for its inputs has no value."""


def _other_code(past: Past, call: CallId, code: Mapping[str, str] | None) -> str:
    """In words, that the code is other than it was; "" when it is the same, as far as both are known."""
    if code is not None and past.code is not None:
        names = changed_names(past.code, code)
        return f"its code differs: {names} changed" if names else ""
    return "its code differs" if past.call.code and call.code and past.call.code != call.code else ""


def _why_not_stored(past: Past) -> str:
    if past.state is not COMPLETED:
        return "it failed" if past.state is FAILED else "it never finished"
    if past.result is not None and past.result.unavailable == NOT_TO_BE_STORED:
        return "its value was not stored"
    if past.result is not None and past.result.unavailable:
        return f"its value was not stored: {past.result.unavailable}"
    return "its value was not stored"


def changed_names(before: Mapping[str, str], now: Mapping[str, str], *, limit: int = 3) -> str:
    """The functions whose code differs, in words; "" when none does."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name) and name not in (BODY, NOT_KEPT))
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"'{name}'" for name in names[:limit]) + more


def pasts_of(tasks: Iterable[TaskRun], children: Iterable[FlowRun] = (), *, fork_task: str | None = None) -> list[Past]:
    """The calls an earlier attempt made: of each, the latest record. With `fork_task`, that task and all that depended on it run again."""
    forced = _downstream_of(fork_task, tasks := list(tasks)) if fork_task else {}
    calls = {task.id: call for task in tasks if (call := CallId.parse(task.call)) is not None}
    made = []
    for task in tasks:
        if (call := calls.get(task.id)) is not None:
            around = calls.get(task.parent_task_id or "")
            past = Past(task.name, task.key, call, task.state.type, task.id, task.result, task.code, forced.get(task.id, ""))
            made.append(msgspec.structs.replace(past, inside=around.path if around is not None else "", upstream=task.upstream))
    for run in children:
        call = CallId.parse(run.call)
        if call is not None:
            key = f"flow {run.flow_name}"
            inside = (
                next((one.path for one in calls.values() if place_in(one.path, key) == call.place), "")
                if call.place != place_in("", key)
                else ""
            )
            made.append(Past(run.name, key, call, run.state.type, run.id, run.result, run.code, inside=inside, upstream=run.upstream))
    return latest(in_order(made))


def in_order(made: Sequence[Past]) -> list[Past]:
    """The calls with what had ended before each in its lane; numbers and lanes mean something within one attempt.

    Direct calls had ended when the next one of their lane was made; submitted ones when their lane had come to know of it.
    """
    by_number = {(past.call.attempt, past.call.number): past for past in made}
    last: dict[tuple[int, int], Event | None] = {}
    found: dict[int, Past] = {}
    for n in sorted(range(len(made)), key=lambda n: (made[n].call.attempt, made[n].call.number)):
        past, call = made[n], made[n].call
        lane = (call.attempt, call.lane)
        if call.after >= 0 and lane not in last:
            last[lane] = last.get((call.attempt, call.after))
        for a, b in call.seen:
            for number in range(a, b + 1):
                seen = by_number.get((call.attempt, number))
                if seen is not None and seen.state in FINAL:
                    last[lane] = Event(seen, last.get(lane))
        found[n] = msgspec.structs.replace(past, before=last.get(lane))
        if call.number >= 0 and not call.submitted and past.state in FINAL:
            last[lane] = Event(past, last.get(lane))
    return [found[n] for n in range(len(made))]


def latest(pasts: Iterable[Past]) -> list[Past]:
    """Of each call its last record, but an earlier one where that has the value and no later one has. `pasts` in the order they were made."""
    kept: dict[tuple[str, int], Past] = {}
    for past in pasts:
        place = (past.call.group, past.call.occurrence)
        before = kept.get(place)
        if before is None or past.is_stored or not before.is_stored:
            kept[place] = past
    return list(kept.values())


def _downstream_of(name: str, tasks: Sequence[TaskRun]) -> dict[str, str]:
    """By task run id, why it runs again: it is the one named, or was given its value, directly or not."""
    forced = {task.id: f"forked from '{name}'" for task in tasks if name in (task.name, task.id) or task.name.rpartition("-")[0] == name}
    for task in tasks:  # in the order they were begun: whatever a task depends on stands before it
        if task.id not in forced and any(up in forced for up in task.upstream):
            forced[task.id] = f"it depends on '{name}', from which the run was forked"
    return forced
