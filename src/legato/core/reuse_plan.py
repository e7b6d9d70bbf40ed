"""What people are told of reuse: the plan, before a run goes on, and what came of it. Pure.

The plan plays the next attempt: the earlier one's calls are made again alike, in their lanes, and asked of the same `Memory` that will be asked when
the flow runs. So it knows what comes after a change as well. Not known to it is what an edited flow, or other parameters, will call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from legato.core.records import Result
from legato.core.resume import ITEM_BY_ITEM, Again, Lane, Memory, Past, PlanLine, Reuse
from legato.core.states import FINAL

GONE = "its task is not in the code any more"


class Today(msgspec.Struct, frozen=True):
    """What a plan is told of the code and the storage as they are now.

    `code(past)`: the functions that what was called is made of, None: it is not known. `is_gone(key)`: it is not defined any more.
    `makes_items(key)`: it is a generator. `lost(result)`: why a stored value cannot be had any more, "" when it can. `behind_edit(body)`: the place that all calls come after which were made
    in that body of the flow, "" when not all do.
    """

    code: Callable[[Past], Mapping[str, str] | None]
    is_gone: Callable[[str], bool] = lambda _: False
    makes_items: Callable[[str], bool] = lambda _: False
    lost: Callable[[Result], str] = lambda _: ""
    behind_edit: Callable[[str], str] = lambda _: ""


def plan(pasts: Sequence[Past], today: Today, *, flow_changed: bool = False) -> list[PlanLine]:
    """What is reused and what runs again if each call of the earlier attempt is made again alike; what a reused one contains is not called.

    `flow_changed`: the flow's own code is other than it was, so that equal calls with other values cannot be told apart.
    """
    play = _Play(pasts, today, flow_changed=flow_changed)
    return [line for past in sorted(pasts, key=_when) for line in play.made_again(past)]


def _when(past: Past) -> tuple[int, int]:
    """Where a call stands in the next attempt: what only earlier attempts have reached comes after what the latest has."""
    return (-past.call.attempt, past.call.number)


class _Play:
    """The next attempt, call by call."""

    def __init__(self, pasts: Sequence[Past], today: Today, *, flow_changed: bool) -> None:
        self._today = today
        self._memory = Memory(pasts, flow_changed=flow_changed)
        self._by_number = {(past.call.attempt, past.call.number): past for past in pasts}
        self._by_run = {past.run_id: past for past in pasts}
        self._names = {past.call.path: past.name for past in pasts}
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._open: dict[str, dict[int, Past]] = {}
        """By path and lane, the last direct call: it ends before the next one there is made, or with what contains it."""
        self._answers: dict[str, Again] = {}
        self._below: dict[str, str] = {}
        """By path, the change that a call comes after."""
        self._changed_inside: dict[str, str] = {}
        self._reused: set[str] = set()
        for past in pasts:
            if not today.is_gone(past.key):
                self._memory.made(past.call)

    def made_again(self, past: Past) -> list[PlanLine]:
        """What becomes of a call; nothing when it lies inside one whose value is reused."""
        call = past.call
        if past.inside in self._reused:
            self._reused.add(call.path)
            return []
        if self._today.is_gone(past.key):
            return [PlanLine(past.name, False, GONE, past.is_flow)]
        lane = self._lane_of(past)
        below = self._below[call.path] = lane.taint or self._after_what_it_is_given(past)
        answer = self._asked(past, below)
        if isinstance(answer, Reuse):
            self._reused.add(call.path)
        else:
            self._answers[call.path] = answer
        if not call.submitted and past.state in FINAL:
            self._open.setdefault(past.inside, {})[call.lane] = past
        if isinstance(answer, Reuse):
            return [PlanLine(past.name, True, "it finished, and its value is stored", past.is_flow)]
        return [PlanLine(past.name, False, answer.why, past.is_flow)]

    def _asked(self, past: Past, below: str) -> Reuse | Again:
        unknown = "what it was called with cannot be compared" if past.call.is_unknown else ""
        code, inputs = self._today.code(past), past.result.inputs if past.result is not None else ""
        behind = self._today.behind_edit
        answer = self._memory.recall(past.call, past.key, code=code, below=below, inputs=inputs, unknown=unknown, behind_edit=behind)
        if isinstance(answer, Again):
            return answer
        if not past.call.submitted and self._today.makes_items(past.key):
            return Again(ITEM_BY_ITEM, past=answer.past)
        lost = self._today.lost(answer.past.result) if answer.past.result is not None else ""
        return Again(f"its stored value is gone: {lost}", past=answer.past) if lost else answer

    def _lane_of(self, past: Past) -> Lane:
        """The lane a call is made in, with what it knows by then."""
        place = (past.inside, past.call.lane)
        lane = self._lanes.get(place)
        if lane is None:
            creator = self._lanes.get((past.inside, past.call.after))
            lane = self._lanes[place] = Lane(past.call.lane, self._taint_inside(past.inside) or (creator.taint if creator else ""))
        if (before := self._open.get(past.inside, {}).pop(past.call.lane, None)) is not None:
            self._ends(before, past.inside, lane)
        for first, last in past.call.seen:
            for number in range(first, last + 1):
                if (seen := self._by_number.get((past.call.attempt, number))) is not None:
                    self._ends(seen, past.inside, lane)
        return lane

    def _taint_inside(self, path: str) -> str:
        """What comes before all that a call contains."""
        again = self._answers.get(path)
        return self._below.get(path, "") or (self._names[path] if again is not None and again.taints_inside else "")

    def _ends(self, past: Past, inside: str, lane: Lane) -> None:
        """A lane learns of the end of a call; so does what contains the lane, when that was new or changed."""
        if changed := self._changed(past):
            lane.ended(changed)
            self._changed_inside.setdefault(inside, changed)

    def _changed(self, past: Past) -> str:
        """The name of the new or changed call that whoever knows of this one's end comes after, "" when there is none."""
        path = past.call.path
        for index, last in self._open.pop(path, {}).items():
            self._ends(last, path, self._lanes[path, index])
        again = self._answers.get(path)
        if again is not None and (again.changed or self._below.get(path)):
            return past.name
        return self._changed_inside.get(path, "")

    def _after_what_it_is_given(self, past: Past) -> str:
        """The new or changed call among those whose results it is given."""
        given = (self._by_run.get(run_id) for run_id in past.upstream)
        return next((changed for one in given if one is not None and one.call.submitted and (changed := self._changed(one))), "")


# ---------------------------------------------------------------------- in words


def in_groups(lines: Sequence[PlanLine], *, limit: int = 12, edited: str = "", others: Sequence[str] = ()) -> list[str]:
    """The plan as lines of text: counts, then each reason with the tasks it is about.

    `edited`: the place where the flow's own code was changed; `others`: the parameters that are others than they were. Where there are any, the
    counts are the most that can be reused.
    """
    tasks, flows = [line for line in lines if not line.is_flow], [line for line in lines if line.is_flow]
    at_most = bool(edited or others)
    text = [_counted(tasks, "task run", at_most) + (f"; {_counted(flows, 'flow run', at_most)} inside it" if flows else "")]
    if reused := [line.name for line in lines if line.reused]:
        text.append(f"  reused: {_some(reused)}")
    if edited:
        text.append(f"  again as well: whatever comes after {edited}")
    if others:
        text.append(f"  again as well: whatever is called with something else because of {', '.join(others)}, and what comes after it")
    return text + _reasons(lines, limit)


def _counted(lines: Sequence[PlanLine], what: str, at_most: bool) -> str:
    reused, gone = sum(line.reused for line in lines), sum(line.why == GONE for line in lines)
    again = len(lines) - reused - gone
    most, least = ("at most ", "at least ") if at_most else ("", "")
    kept = f"{most}1 is reused if it is called alike" if reused == 1 else f"{most}{reused} are reused if they are called alike"
    dropped = f", {gone} {'is' if gone == 1 else 'are'} not called any more" if gone else ""
    return f"of {len(lines)} earlier {what}s {kept}, {least}{again} run{'s' if again == 1 else ''} again{dropped}"


def _reasons(lines: Iterable[PlanLine], limit: int) -> list[str]:
    again: dict[str, list[str]] = {}
    for line in lines:
        if not line.reused:
            again.setdefault(line.why, []).append(line.name)
    text = [f"  {'not again' if why == GONE else 'again'}, because {why}: {_some(names)}" for why, names in list(again.items())[:limit]]
    if len(again) > limit:
        text.append(f"  and {len(again) - limit} more reasons")
    return text


def reuse_in_words(lines: Sequence[PlanLine], *, limit: int = 12) -> list[str]:
    """What came of it: how many calls were given their earlier values, and why the others ran."""
    tasks, flows = [line for line in lines if not line.is_flow], [line for line in lines if line.is_flow]
    text = _what_came(tasks, "task run") + (f"; {_what_came(flows, 'flow run')} inside it" if flows else "")
    return [text, *_reasons(lines, limit)]


def _what_came(lines: Sequence[PlanLine], what: str) -> str:
    reused = sum(line.reused for line in lines)
    ran = len(lines) - reused
    return f"reused {reused} {what}{'s' if reused != 1 else ''}, {ran or 'none'} ran"


def _some(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
