"""The plan of what will be reused, in words."""

from collections.abc import Mapping

from legato.core.records import Result
from legato.core.resume import CallId, Past, in_order
from legato.core.reuse_plan import ITEM_BY_ITEM, Today, in_groups, plan
from legato.core.states import COMPLETED, FAILED, RUNNING, StateType


def past(name: str, n: int, *, key: str = "t", lane: int = 0, state: StateType = COMPLETED, code: Mapping[str, str] | None = None) -> Past:
    result = Result(hash=name, inline=b"v") if state is COMPLETED else None
    return Past(name, key, CallId(name, 0, lane, n, attempt=1), state, name, result, code)


def today(**code: str) -> Today:
    return Today(lambda _: code or None)


def why(pasts: list[Past], now: Today) -> dict[str, str]:
    return {line.name: line.why for line in plan(in_order(pasts), now) if not line.reused}


def test_it_says_what_is_reused_and_why_the_rest_is_not() -> None:
    pasts = [past("a-0", 0, code={"clean": "2"}), past("b-0", 1, code={"clean": "1"}), past("c-0", 2, state=RUNNING)]

    lines = plan(in_order(pasts), today(clean="2"))

    assert [(line.name, line.reused, line.why) for line in lines] == [
        ("a-0", True, "it finished, and its value is stored"),
        ("b-0", False, "its code differs: 'clean' changed"),
        ("c-0", False, "it never finished"),
    ]
    assert in_groups(lines) == [
        "of 3 earlier task runs 1 is reused if it is called alike, 2 run again",
        "  reused: a-0",
        "  again, because its code differs: 'clean' changed: b-0",
        "  again, because it never finished: c-0",
    ]


def test_what_comes_after_a_change_in_its_lane_runs_again_and_what_is_beside_does_not() -> None:
    pasts = [past("a", 0, code={"f": "1"}), past("after", 1), past("beside", 2, lane=1)]

    assert why(pasts, today(f="2")) == {"a": "its code differs: 'f' changed", "after": "it comes after 'a', which is new or changed"}


def test_what_failed_unchanged_spoils_what_comes_after_and_what_was_cut_off_does_not() -> None:
    assert list(why([past("a", 0, state=FAILED), past("b", 1)], today())) == ["a", "b"]
    assert list(why([past("a", 0, state=RUNNING), past("b", 1)], today())) == ["a"]


def test_what_is_lost_or_hands_on_its_items_runs_again_alone() -> None:
    pasts = [past("a", 0), past("b", 1)]

    assert why(pasts, Today(lambda _: None, lost=lambda result: "deleted" if result.hash == "a" else "")) == {
        "a": "its stored value is gone: deleted"
    }
    assert why(pasts, Today(lambda _: None, makes_items=lambda _: True)) == {"a": ITEM_BY_ITEM, "b": ITEM_BY_ITEM}


def test_a_task_that_is_gone_is_not_called_and_what_came_after_it_runs_again() -> None:
    pasts = [past("a", 0), past("old", 1, key="gone"), past("c", 2)]

    lines = plan(in_order(pasts), Today(lambda _: None, is_gone=lambda key: key == "gone"))

    assert in_groups(lines, edited="line 3 of the flow, whose code changed")[0] == (
        "of 3 earlier task runs at most 1 is reused if it is called alike, at least 1 runs again, 1 is not called any more"
    )
