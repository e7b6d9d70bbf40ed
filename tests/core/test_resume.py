"""What may be reused: the scenarios that broke simpler schemes, as properties over many interleavings; and each refusal by itself.

A simulated flow is a list of calls in lanes. A first run makes them in some interleaving and may be cut off; a second run makes the same, or
edited, calls in another interleaving. A reuse is wrong when the call is given a value that its own position did not make the first time.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.records import Result
from legato.core.resume import (
    NOT_TO_BE_STORED,
    Again,
    CallId,
    Lane,
    Memory,
    Past,
    Reuse,
    changed_names,
    in_order,
    ranges_of,
)
from legato.core.states import COMPLETED, CRASHED, FAILED, RUNNING, StateType


class Call(msgspec.Struct, frozen=True):
    """One call of the simulated flow: which place in the code it is, its task and inputs. An impure one gives another value each time."""

    place: str
    task: str
    inputs: int = 0
    impure: bool = False
    reads: str = ""


class Run(msgspec.Struct):
    values: dict[str, object]
    pasts: list[Past]
    reused: dict[str, str]
    ran: list[str]


def interleaved(lanes: list[list[Call]], rng: random.Random) -> Iterator[tuple[int, Call]]:
    left = [list(lane) for lane in lanes]
    while any(left):
        n = rng.choice([n for n, lane in enumerate(left) if lane])
        yield n, left[n].pop(0)


def execute(lanes: list[list[Call]], seed: int, memory: Memory | None = None, *, cut: int | None = None, world: dict[str, int]) -> Run:
    """Make the calls; `world` is what impure tasks read and change."""
    rng = random.Random(seed)
    occurrences: dict[str, int] = {}
    known: dict[int, Lane] = defaultdict(Lane)
    run = Run({}, [], {}, [])
    for step, (lane, call) in enumerate(interleaved(lanes, rng)):
        group = f"{call.task}/{call.inputs}"
        call_id = CallId(group, occurrences.get(group, 0), lane)
        occurrences[group] = call_id.occurrence + 1
        found = memory.recall(call_id, call.task, below=known[lane].taint) if memory is not None else None
        if isinstance(found, Reuse):
            run.reused[call.place] = found.past.run_id
            run.values[call.place] = found.past.result.preview if found.past.result else None
            run.pasts.append(found.past)
            continue
        if cut is not None and step >= cut:
            run.pasts.append(Past(call.place, call.task, call_id, RUNNING, call.place))
            break
        world["clock"] += 1
        if call.task.startswith("write"):
            world["table"] = call.inputs
        value = str(world["clock"] if call.impure else world["table"] if call.task == "read" else (call.task, call.inputs))
        run.values[call.place] = value
        run.ran.append(call.place)
        run.pasts.append(Past(call.place, call.task, call_id, COMPLETED, call.place, Result(hash=value, preview=value, inline=b"x")))
        if isinstance(found, Again) and found.changed:
            known[lane].ended(call.place)
    return run


def lanes_of(lanes: int, calls: int, *, same: bool, impure: bool) -> list[list[Call]]:
    return [[Call(f"{n}.{i}", "t", 0 if same else n * 100 + i, impure) for i in range(calls)] for n in range(lanes)]


def wrong(first: Run, second: Run, edited: Mapping[str, str] = {}) -> list[str]:
    """Places that were given a value other than the one they had made themselves.

    A place that had made none may be given any lane's: the second run is then what another interleaving of the first would have been.
    """
    found = []
    for place, source in second.reused.items():
        own = first.values.get(edited.get(place, place))
        if own is not None and str(own) != str(first.values[source]):
            found.append(place)
    return found


SEEDS = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 40))


@given(SEEDS, st.booleans(), st.booleans())
def test_lanes_that_crashed_never_get_each_others_values(seeds: tuple[int, int, int], same: bool, impure: bool) -> None:
    lanes = lanes_of(4, 10, same=same, impure=impure)
    world = {"clock": 0, "table": 0}
    first = execute(lanes, seeds[0], cut=seeds[2], world=world)
    second = execute(lanes, seeds[1], Memory(first.pasts), world=world)

    if impure or not same:
        assert wrong(first, second) == []
    if not same:  # distinct inputs: nothing that was finished runs again
        assert not set(second.ran) & {p.name for p in first.pasts if p.is_stored}
    if same and not impure:  # equal and pure: as many runs as there are values missing, whichever lane makes them
        assert len(second.ran) == 40 - sum(p.is_stored for p in first.pasts)


@given(SEEDS)
def test_a_poll_loop_goes_on_where_it_was(seeds: tuple[int, int, int]) -> None:
    lanes = [[Call(f"p{i}", "poll", 0, impure=True) for i in range(10)]]
    world = {"clock": 0, "table": 0}
    first = execute(lanes, seeds[0], cut=seeds[2] % 10, world=world)
    second = execute(lanes, seeds[1], Memory(first.pasts), world=world)

    assert wrong(first, second) == []
    assert len(second.reused) == seeds[2] % 10


@given(SEEDS, st.integers(0, 9), st.booleans())
def test_a_call_inserted_by_an_edit_never_shifts_values(seeds: tuple[int, int, int], at: int, impure: bool) -> None:
    calls = [Call(f"c{i}", "now", 0 if impure else i, impure) for i in range(10)]
    edited = [*calls[:at], Call("new", "now", 0 if impure else 99, impure), *calls[at:]]
    world = {"clock": 0, "table": 0}
    first = execute([calls], seeds[0], world=world)
    second = execute([edited], seeds[1], Memory(first.pasts, flow_changed=True), world=world)

    assert wrong(first, second) == []
    if not impure:
        assert {f"c{i}" for i in range(at)} <= second.reused.keys()


@given(SEEDS)
def test_a_read_below_a_changed_write_is_read_again(seeds: tuple[int, int, int]) -> None:
    world = {"clock": 0, "table": 0}
    first = execute([[Call("w", "write", 1), Call("r", "read")]], seeds[0], world=world)
    second = execute([[Call("w", "write", 2), Call("r", "read")]], seeds[1], Memory(first.pasts), world=world)

    assert (first.values["r"], second.values["r"]) == ("1", "2")


@given(SEEDS)
def test_one_changed_branch_of_a_fan_out_leaves_the_others_alone(seeds: tuple[int, int, int]) -> None:
    lanes = lanes_of(8, 3, same=False, impure=False)
    edited = [[Call("x", "t", 9999), *lanes[0][1:]], *lanes[1:]]
    world = {"clock": 0, "table": 0}
    first = execute(lanes, seeds[0], world=world)
    second = execute(edited, seeds[1], Memory(first.pasts), world=world)

    assert set(second.ran) == {"x", "0.1", "0.2"}


@given(SEEDS)
def test_a_loop_over_a_set_is_never_wrong(seeds: tuple[int, int, int]) -> None:
    calls = [Call(f"s{i}", "t", i) for i in range(12)]
    shuffled = random.Random(seeds[1]).sample(calls, 12)
    world = {"clock": 0, "table": 0}
    first = execute([calls], seeds[0], cut=seeds[2] % 12, world=world)
    second = execute([shuffled], seeds[1], Memory(first.pasts), world=world)

    assert wrong(first, second) == []


# -- each refusal by itself


def past(name: str = "t-0", group: str = "g", n: int = 0, lane: int = 0, **more: object) -> Past:
    made = {"state": COMPLETED, "result": Result(hash="v", inline=b"v"), **more}
    return Past(name, "t", CallId(group, n, lane), run_id=name, **made)  # type: ignore[arg-type]


def why(memory: Memory, group: str = "g", n: int = 0, **more: object) -> str:
    found = memory.recall(CallId(group, n, 0), "t", **more)  # type: ignore[arg-type]
    return found.why if isinstance(found, Again) else "reused"


@pytest.mark.parametrize(
    ("made", "asked", "reason"),
    [
        ({}, {}, "reused"),
        ({"state": RUNNING, "result": None}, {}, "it never finished"),
        ({"state": CRASHED, "result": None}, {}, "it never finished"),
        ({"state": FAILED, "result": None}, {}, "it failed"),
        ({"result": None}, {}, "its value was not stored"),
        ({"result": Result(unavailable="cannot be pickled")}, {}, "its value was not stored: cannot be pickled"),
        ({"code": {"f": "1", "clean": "2"}}, {"code": {"f": "1", "clean": "3"}}, "its code differs: 'clean' changed"),
        ({"code": {"f": "1"}}, {"code": {"f": "1"}}, "reused"),
        ({"code": {"f": "1"}, "result": None}, {"code": {"f": "2"}}, "its code differs: 'f' changed"),
        ({"result": Result(unavailable=NOT_TO_BE_STORED, inputs="i")}, {"inputs": "i"}, "its value was not stored"),
        ({"result": Result(unavailable=NOT_TO_BE_STORED, inputs="i")}, {"inputs": "j"}, "what it depends on gave something else"),
        (
            {"result": Result(hash="v", inline=b"v", changed=True)},
            {},
            "it changed its arguments: what it did to them cannot be had from its value",
        ),
        ({}, {"unknown": "its argument x cannot be compared"}, "its argument x cannot be compared"),
        ({}, {"inputs": "other"}, "what it depends on gave something else"),
        ({}, {"below": "write-0"}, "it comes after 'write-0', which is new or changed"),
        ({"forced": "forked from 't'"}, {}, "forked from 't'"),
        ({}, {"group": "other"}, "it was not called with these inputs before"),
        ({}, {"n": 1}, "it was not called so often before"),
    ],
)
def test_why_a_call_runs_again(made: dict[str, object], asked: dict[str, object], reason: str) -> None:
    assert why(Memory([past(**made)]), **asked) == reason  # type: ignore[arg-type]


@given(st.integers(1, 12), st.integers(0, 12), st.data())
def test_the_rest_of_a_loop_that_was_cut_off_is_new_and_no_call_with_other_inputs(calls: int, cut: int, data: st.DataObject) -> None:
    memory = Memory([past(f"t-{i}", f"g{i}") for i in range(min(cut, calls))])

    said = [why(memory, f"g{i}") for i in range(calls)]

    assert said == ["reused"] * min(cut, calls) + ["it was not called before"] * (calls - min(cut, calls))
    if cut:  # one of those that were made is left out: then another may stand for it
        other = Memory([past(f"t-{i}", f"g{i}") for i in range(cut)])
        left_out = data.draw(st.integers(0, cut - 1))
        assert [why(other, f"g{i}") for i in range(cut) if i != left_out] == ["reused"] * (cut - 1)
        assert why(other, "another") == "it was not called with these inputs before"


def test_a_task_that_was_never_called_is_new() -> None:
    assert why(Memory([])) == "it was not called before"


def test_equals_from_several_lanes_that_differ_are_not_told_apart() -> None:
    memory = Memory([past("a-0", n=0, lane=0), past("a-1", n=1, lane=1, result=Result(hash="w", inline=b"w"))])

    assert "came from several threads and gave different values; give each call a key" in why(memory)


@pytest.mark.parametrize(("state", "taints"), [(RUNNING, False), (CRASHED, False), (FAILED, True)])
def test_what_ran_again_unchanged_does_not_spoil_what_comes_after(state: StateType, taints: bool) -> None:
    memory = Memory([past("a-0", "a", state=state, result=None), past("b-0", "b")])

    found = memory.recall(CallId("a", 0, 0), "t")

    assert isinstance(found, Again)
    assert found.changed is taints


def test_by_inputs_only_what_comes_after_a_change_is_reused() -> None:
    memory = Memory([past("b-0", "b")], by_inputs_only=True)

    assert why(memory, "b", below="new") == "reused"


def test_a_call_id_is_its_text() -> None:
    for call in (CallId("0a1b", 3, 2), CallId("0a", 0, 1, 7, True, "c0de", ((0, 4), (6, 6)), 2), CallId("0a", 0, 1, 7)):
        assert CallId.parse(str(call)) == call
    assert CallId.parse("") is None


# -- what came before


def call(number: int, group: str, *, lane: int = 0, submitted: bool = False, seen: tuple[tuple[int, int], ...] = ()) -> Past:
    made = CallId(group, 0, lane, number, submitted, "", seen, 1)
    return Past(f"{group}-0", "t", made, COMPLETED, group, Result(hash=group, inline=b"v"))


def asked(memory: Memory, *groups: str) -> list[str]:
    """What becomes of calls that are made in this order in one lane."""
    lane, found = Lane(), []
    for group in groups:
        answer = memory.recall(CallId(group, 0, 0), "t", below=lane.taint)
        if isinstance(answer, Again) and answer.changed:
            lane.ended(group)
        found.append("reused" if isinstance(answer, Reuse) else answer.why)
    return found


def test_a_read_behind_a_write_that_was_taken_out_is_read_again() -> None:
    first = in_order([call(0, "write"), call(1, "read")])

    assert asked(Memory(first), "write", "read") == ["reused", "reused"]
    assert asked(Memory(first), "read") == ["it came after 'write-0', which has not been called this time"]


def test_writes_that_changed_places_are_written_again() -> None:
    first = in_order([call(0, "one"), call(1, "two"), call(2, "read")])

    assert asked(Memory(first), "two", "one", "read") == [
        "it came after 'one-0', which has not been called this time",
        "it comes after 'two', which is new or changed",
        "it comes after 'two', which is new or changed",
    ]


def test_submitted_calls_came_before_only_once_their_end_was_known() -> None:
    unseen = in_order([call(0, "a", submitted=True), call(1, "b", submitted=True), call(2, "read")])
    seen = in_order([call(0, "a", submitted=True), call(1, "b", submitted=True), call(2, "read", seen=((0, 1),))])

    assert asked(Memory(unseen), "b", "a", "read") == ["reused"] * 3
    assert asked(Memory(seen), "b", "a", "read") == ["reused"] * 3
    assert asked(Memory(unseen), "a", "read") == ["reused"] * 2
    assert asked(Memory(seen), "a", "read") == ["reused", "it came after 'b-0', which has not been called this time"]


def test_what_came_before_in_another_lane_did_not() -> None:
    first = in_order([call(0, "write"), call(1, "read", lane=1)])

    assert asked(Memory(first), "read") == ["reused"]


@given(st.lists(st.integers(0, 300)))
def test_ranges_hold_the_numbers_they_were_made_of(numbers: list[int]) -> None:
    assert [n for a, b in ranges_of(numbers) for n in range(a, b + 1)] == sorted(set(numbers))


def test_changed_names_are_listed_up_to_a_few() -> None:
    assert changed_names({}, {}) == ""
    assert changed_names({"a": "1"}, {"a": "2", "b": "1", "c": "1", "d": "1"}) == "'a', 'b', 'c' and 1 more"
