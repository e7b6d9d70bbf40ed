"""What may be reused when a flow runs again: which finished call of the earlier attempt is this call, and is its value still good? Pure.

A call is known inside its flow run by its *group* (the call that contains it, the task, a hash of its inputs) and its *occurrence* among
equals; or by an explicit key. The *lane* is the line of execution (thread or asyncio task) it was called from. A future among the inputs
counts by the call that makes it; what it really was is compared when the call is about to run (`Result.inputs`).

A stored value is refused, and the task runs again, when
- its code, or that of a helper it reaches, has changed;
- its inputs are other than they were;
- a new or changed call came before it in its lane and had ended: the earlier run reached this line without it;
- its equals gave different values and came from several lanes, or the flow's own code has changed: nobody can tell which is which.

`docs/design/resume.md` has the scenarios this was measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from legato.core.records import FlowRun, Result, TaskRun
from legato.core.states import COMPLETED, FAILED, StateType


class CallId(msgspec.Struct, frozen=True):
    """Which call of a flow run this is. As text: "group.occurrence.lane"."""

    group: str
    occurrence: int
    lane: int

    def __str__(self) -> str:
        return f"{self.group}.{self.occurrence}.{self.lane}"

    @property
    def path(self) -> str:
        """What identifies it as a parent of other calls: the same in every attempt."""
        return f"{self.group}.{self.occurrence}"

    @classmethod
    def parse(cls, text: str) -> CallId | None:
        """The inverse of `str`; None for a run that was recorded without one."""
        group, _, rest = text.partition(".")
        occurrence, _, lane = rest.partition(".")
        return cls(group, int(occurrence), int(lane)) if lane else None


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

    @property
    def is_stored(self) -> bool:
        """Whether its value can be had."""
        return self.state is COMPLETED and self.result is not None and not self.result.unavailable


class Reuse(msgspec.Struct, frozen=True):
    """The earlier call whose value is this call's."""

    past: Past


class Again(msgspec.Struct, frozen=True):
    """Why a call runs. `changed`: it is new, or other than it was; what follows it in its lane runs again too."""

    why: str
    changed: bool = False
    past: Past | None = None


Recall: TypeAlias = Reuse | Again


class _Group(msgspec.Struct):
    """The calls with one task and equal inputs."""

    calls: dict[int, Past]
    used: set[int]
    differ: bool = False
    lanes: int = 1


class Memory:
    """What an earlier attempt left behind. Ask it for each call, in the order the calls are made; not safe for two threads at once.

    `flow_changed`: the flow's own code is other than it was. `code_differs(code_before, code_now)` names what has changed, "" when nothing.
    """

    def __init__(self, past: Iterable[Past], *, flow_changed: bool = False, by_inputs_only: bool = False) -> None:
        self._flow_changed = flow_changed
        self._by_inputs_only = by_inputs_only
        self._groups: dict[str, _Group] = {}
        self._keys: set[str] = set()
        self._tainted: dict[int, str] = {}
        self.past: list[Past] = list(past)
        for one in self.past:
            self._keys.add(one.key)
            self._groups.setdefault(one.call.group, _Group({}, set())).calls[one.call.occurrence] = one
        for group in self._groups.values():
            group.differ = len({one.result.hash for one in group.calls.values() if one.is_stored and one.result}) > 1
            group.lanes = len({one.call.lane for one in group.calls.values()})

    def tainted(self, lane: int) -> str:
        """The new or changed call that has ended in this lane, "" when there is none."""
        return self._tainted.get(lane, "")

    def ran(self, name: str, lane: int, again: Again) -> None:
        """A call that was not reused has ended."""
        if again.changed and not self._by_inputs_only:
            self._tainted.setdefault(lane, name)

    def recall(self, call: CallId, key: str, *, code: Mapping[str, str] | None = None, below: str = "", inputs: str = "") -> Recall:
        """The earlier call whose value may stand for this one; or why it runs.

        `below`: what `tainted` said when the call was made; `inputs`: a hash of what the futures among its arguments have come to.
        """
        group = self._groups.get(call.group)
        if group is None:
            return Again("its inputs differ" if key in self._keys else "it was not called before", changed=True)
        found = self._find(group, call)
        if isinstance(found, Again):
            return found
        if found.forced:
            return Again(found.forced, changed=True, past=found)
        if not found.is_stored:
            return Again(_why_not_stored(found), changed=found.state is FAILED, past=found)
        if code is not None and found.code is not None and (names := changed_names(found.code, code)):
            return Again(f"its code differs: {names} changed", changed=True, past=found)
        if found.result is not None and found.result.inputs != inputs:
            return Again("its inputs differ", changed=True, past=found)
        if below and not self._by_inputs_only:
            return Again(f"it comes after '{below}', which is new or changed", changed=False, past=found)
        group.used.add(found.call.occurrence)
        return Reuse(found)

    def _find(self, group: _Group, call: CallId) -> Past | Again:
        stored = {n: one for n, one in group.calls.items() if one.is_stored}
        if group.differ and group.lanes > 1:
            some = next(iter(stored.values()))
            why = (
                f"calls of '{some.name.rpartition('-')[0] or some.name}' with the same inputs came from several threads and gave different"
            )
            return Again(f"{why} values; give each call a key", past=some)
        if group.differ and self._flow_changed:
            return Again("calls with the same inputs gave different values, and the flow's code has changed", changed=True)
        if group.lanes > 1:
            free = min(stored.keys() - group.used, default=None)
            if free is not None:
                return stored[free]
        if call.occurrence not in group.calls:
            return Again("it was not called so often before", changed=True)
        return group.calls[call.occurrence]


def _why_not_stored(past: Past) -> str:
    if past.state is not COMPLETED:
        return "it failed" if past.state is FAILED else "it never finished"
    if past.result is not None and past.result.unavailable:
        return f"its value was not stored: {past.result.unavailable}"
    return "its value was not stored"


def changed_names(before: Mapping[str, str], now: Mapping[str, str], *, limit: int = 3) -> str:
    """The functions whose code differs, in words; "" when none does."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"'{name}'" for name in names[:limit]) + more


def pasts_of(tasks: Iterable[TaskRun], children: Iterable[FlowRun] = (), *, fork_task: str | None = None) -> list[Past]:
    """The calls an earlier attempt made: of each, the latest record. With `fork_task`, that task and all that depended on it run again."""
    made = []
    forced = _downstream_of(fork_task, tasks := list(tasks)) if fork_task else {}
    for task in tasks:
        call = CallId.parse(task.call)
        if call is not None:
            made.append(Past(task.name, task.key, call, task.state.type, task.id, task.result, task.code, forced.get(task.id, "")))
    for run in children:
        call = CallId.parse(run.call)
        if call is not None:
            made.append(Past(run.name, f"flow {run.flow_name}", call, run.state.type, run.id, run.result, run.code))
    return latest(made)


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


class PlanLine(msgspec.Struct, frozen=True):
    """What will become of one call of the earlier attempt when the flow makes it again in the same way."""

    name: str
    reused: bool
    why: str


def plan(pasts: Iterable[Past], code_now: Callable[[str], Mapping[str, str] | None]) -> list[PlanLine]:
    """What is reused and what runs again, as far as it can be told before the flow's code has run. `code_now(key)`: a task's code today."""
    lines = []
    for past in pasts:
        now = code_now(past.key)
        changed = changed_names(past.code, now) if past.code is not None and now is not None else ""
        if past.forced:
            lines.append(PlanLine(past.name, False, past.forced))
        elif not past.is_stored:
            lines.append(PlanLine(past.name, False, _why_not_stored(past)))
        elif changed:
            lines.append(PlanLine(past.name, False, f"its code differs: {changed} changed"))
        else:
            lines.append(PlanLine(past.name, True, "it finished, and its value is stored"))
    return lines


def in_groups(lines: Sequence[PlanLine], *, limit: int = 12) -> list[str]:
    """The plan as lines of text: counts, then each reason with the tasks it is about."""
    reused = [line.name for line in lines if line.reused]
    total = len(lines) - len(reused)
    kept = "1 is reused if it is called alike" if len(reused) == 1 else f"{len(reused)} are reused if they are called alike"
    text = [f"of {len(lines)} earlier task runs {kept}, {total} run{'s' if total == 1 else ''} again"]
    if reused:
        text.append(f"  reused: {_some(reused)}")
    return text + _reasons(lines, limit)


def _reasons(lines: Iterable[PlanLine], limit: int) -> list[str]:
    again: dict[str, list[str]] = {}
    for line in lines:
        if not line.reused:
            again.setdefault(line.why, []).append(line.name)
    text = [f"  again, because {why}: {_some(names)}" for why, names in list(again.items())[:limit]]
    if len(again) > limit:
        text.append(f"  and {len(again) - limit} more reasons")
    return text


def reuse_in_words(reused: Sequence[str], again: Sequence[tuple[str, str]], *, limit: int = 12) -> list[str]:
    """What came of it: how many calls were given their earlier values, and why the others ran."""
    lines = [PlanLine(name, True, "") for name in reused] + [PlanLine(name, False, why) for name, why in again]
    ran = f"{len(again)} ran" if again else "none ran"
    return [f"reused {len(reused)} task run{'s' if len(reused) != 1 else ''}, {ran}", *_reasons(lines, limit)]


def _some(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
