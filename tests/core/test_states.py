"""The state table: closed, complete, and the same for everybody who reads it."""

import pytest

from legato.core.records import FlowRun
from legato.core.states import (
    CANCELLED,
    COMPLETED,
    FINAL,
    INITIAL,
    NAMES,
    PENDING,
    REOPENS,
    RUNNING,
    SCHEDULED,
    TRANSITIONS,
    TYPE_OF,
    State,
    StateType,
    describe_states,
    may_follow,
)

from tests.store.make import NOON, scheduled


def test_every_type_stands_in_every_table() -> None:
    assert set(TRANSITIONS) == set(NAMES) == set(StateType)
    assert set(REOPENS) == FINAL
    assert {state["type"] for state in describe_states()} == {str(t) for t in StateType}


@pytest.mark.parametrize("current", [None, *StateType])
@pytest.mark.parametrize("proposed", StateType)
def test_what_may_follow_is_what_the_tables_say(current: StateType | None, proposed: StateType) -> None:
    allowed = INITIAL if current is None else TRANSITIONS[current]

    assert may_follow(current, proposed) == (proposed in allowed)
    assert may_follow(current, proposed, reopen=True) == (proposed in (REOPENS[current] if current in FINAL else allowed))


def test_nothing_follows_a_final_state_within_an_attempt() -> None:
    assert all(TRANSITIONS[final] == frozenset() for final in FINAL)


def test_every_type_can_be_reached_and_every_run_can_end() -> None:
    reached, edge = set(INITIAL), set(INITIAL)
    while edge:
        edge = {after for type_ in edge for after in TRANSITIONS[type_]} - reached
        reached |= edge

    assert reached == set(StateType)
    assert all(TRANSITIONS[type_] & FINAL for type_ in StateType if type_ not in FINAL)


def test_a_name_belongs_to_one_type() -> None:
    assert sum(len(names) for names in NAMES.values()) == len(TYPE_OF)
    assert all(TYPE_OF[name] is type_ for type_, names in NAMES.items() for name in names)


def test_a_wish_to_cancel_shows_until_the_run_has_ended() -> None:
    def shown(type_: StateType) -> str:
        run: FlowRun = scheduled(cancel_requested_at=NOON)
        return FlowRun(**{f: getattr(run, f) for f in run.__struct_fields__} | {"state": State(type_, NAMES[type_][0], NOON)}).display_state

    assert [shown(t) for t in (SCHEDULED, PENDING, RUNNING, COMPLETED, CANCELLED)] == ["Cancelling"] * 3 + ["Completed", "Cancelled"]
