"""The rules, walked exhaustively: every state, every proposal, every holder; and the policy for lost runs."""

from itertools import product

import msgspec
import pytest

from legato.core.caching import CacheEntry, CacheHolder
from legato.core.records import Result, RunKind, Transition, Verdict, VerdictKind
from legato.core.retry import MAX_LOST
from legato.core.rules import FLOW_RUN_RULES, TASK_RUN_RULES, Facts, RunFacts, decide, is_plain, state_after_crash, state_after_loss
from legato.core.states import (
    COMPLETED,
    CRASHED,
    FAILED,
    FINAL,
    INITIAL,
    NAMES,
    PENDING,
    RUNNING,
    SCHEDULED,
    TRANSITIONS,
    State,
    StateType,
    may_follow,
)

from tests.store.make import NOON, at, scheduled, task_of

FLOW, TASK = RunKind.FLOW, RunKind.TASK


def facts_of(type_: StateType, **particulars: object) -> RunFacts:
    known = {"state_name": NAMES[type_][0], "seq": 3, "attempt": 2, "epoch": 3, "name": "r", **particulars}
    return RunFacts(type_, **known)  # type: ignore[arg-type]


def proposal(kind: RunKind, type_: StateType, *, seq: int = 4, fence: int | None = 3, reopen: bool = False) -> Transition:
    return Transition(kind, "r", seq, State(type_, NAMES[type_][0], NOON), 2, fence=fence, reopen=reopen)


# tokens: nobody's, an earlier holder's, one that is none, the present holder's
EVERY_CASE = list(product((FLOW, TASK), StateType, StateType, (None, 1, 2, 3), (False, True), (False, True), (3, 4, 5)))


@pytest.mark.parametrize("kind", [FLOW, TASK])
def test_no_rule_ever_leaves_the_table(kind: RunKind) -> None:
    for case_kind, current, proposed, fence, reopen, cancel, seq in EVERY_CASE:
        if case_kind is not kind:
            continue
        run = facts_of(current, cancel_requested=cancel)
        parent = facts_of(RUNNING, cancel_requested=cancel) if kind is TASK else None
        verdict = decide(Facts(proposal(kind, proposed, seq=seq, fence=fence, reopen=reopen), NOON, run, parent))

        if verdict.kind is VerdictKind.ACCEPTED:
            believed = current is CRASHED and proposed in FINAL and kind is FLOW and fence == run.epoch
            assert believed or may_follow(current, proposed, reopen=reopen), (current, proposed)
            assert fence in (None, 3)
            assert believed or seq == run.seq + 1
        elif verdict.kind is VerdictKind.INSTEAD:
            assert verdict.state is not None
            assert verdict.state.type in TRANSITIONS[current]
        else:
            assert (verdict.kind, bool(verdict.code), bool(verdict.reason)) == (VerdictKind.REFUSED, True, True)
            assert (verdict.seq, verdict.attempt) == (run.seq, run.attempt)


def test_what_is_plain_is_what_the_rules_accept() -> None:
    run = scheduled(attempt=2, epoch=3)
    plain = 0
    for parent_type, current, proposed, fence, epoch, cancel, reopen in product(
        StateType, (None, *StateType), StateType, (None, 1, 2, 3, 4), (3, 4), (False, True), (False, True)
    ):
        parent = facts_of(parent_type, epoch=epoch, cancel_requested=cancel)
        task_run = None if current is None else facts_of(current)
        for kind, seq, recorded in product((FLOW, TASK), (0, 1, 3, 4, 5), (False, True)):
            t = proposal(kind, proposed, seq=seq, fence=fence, reopen=reopen)
            if recorded:
                t = msgspec.structs.replace(t, task_run=task_of(run).task_run)
            if is_plain(t, task_run, parent):
                plain += 1
                assert decide(Facts(t, NOON, task_run, parent)) == Verdict(VerdictKind.ACCEPTED, seq, t.attempt), (t, task_run, parent)
    assert plain > 500
    assert is_plain(task_of(run), None, facts_of(RUNNING))
    assert is_plain(proposal(TASK, COMPLETED), facts_of(RUNNING), facts_of(RUNNING))


def test_every_rule_answers_every_case_without_raising() -> None:
    cached = Result(inline=b"1")
    entry, holder = CacheEntry("k", cached, NOON), CacheHolder("other", NOON)
    for rule in (*FLOW_RUN_RULES, *TASK_RUN_RULES):
        for kind, current, proposed, fence, reopen, cancel, seq in EVERY_CASE:
            for run, parent in ((None, None), (facts_of(current, cancel_requested=cancel), facts_of(current, cancel_requested=cancel))):
                proposed_now = proposal(kind, proposed, seq=seq, fence=fence, reopen=reopen)
                answer = rule(Facts(proposed_now, NOON, run, parent, cached=cached, entry=entry, holder=holder))
                assert answer is None or isinstance(answer, Verdict)


@pytest.mark.parametrize("type_", StateType)
def test_a_run_begins_in_an_initial_state_only(type_: StateType) -> None:
    run = scheduled()
    first = Transition(FLOW, run.id, 1, State(type_, NAMES[type_][0], NOON), 0, flow_run=run)

    assert (decide(Facts(first, NOON)).kind is VerdictKind.ACCEPTED) == (type_ in INITIAL)


@pytest.mark.parametrize("parent", StateType)
def test_tasks_start_under_living_flow_runs_only(parent: StateType) -> None:
    run = scheduled(attempt=2, epoch=3)
    verdict = decide(Facts(task_of(run), NOON, None, facts_of(parent)))

    assert (verdict.kind is VerdictKind.ACCEPTED) == (parent not in FINAL or parent is CRASHED)


@pytest.mark.parametrize("fence", [1, 2, 4, 5])
def test_a_stale_holder_is_fenced_whatever_it_proposes(fence: int) -> None:
    for kind, current, proposed in product((FLOW, TASK), StateType, StateType):
        verdict = decide(Facts(proposal(kind, proposed, fence=fence), NOON, facts_of(current), facts_of(RUNNING)))
        assert (verdict.kind, verdict.code) == (VerdictKind.REFUSED, "fenced")


@pytest.mark.parametrize("type_", [type_ for type_ in StateType if type_ not in FINAL])
@pytest.mark.parametrize("claimed", [True, False])
def test_what_becomes_of_a_lost_run_is_in_the_table(type_: StateType, claimed: bool) -> None:
    after = state_after_loss(facts_of(type_, claimed=claimed), NOON, "gone")

    assert after.type in TRANSITIONS[type_]
    assert (after.type is SCHEDULED) == (type_ is PENDING and claimed)
    assert "gone" in after.message


def test_a_crashed_run_comes_again_until_it_was_lost_too_often() -> None:
    def again(**particulars: object) -> bool:
        return state_after_crash(facts_of(CRASHED, **{"retry_when_lost": True, "lost": 1, **particulars}), at(0)) is not None

    assert again()
    assert again(lost=MAX_LOST - 1)
    assert not again(lost=MAX_LOST)
    assert not again(retry_when_lost=False)
    assert not again(cancel_requested=True)


@pytest.mark.parametrize(
    ("run", "proposed", "message"),
    [
        (facts_of(PENDING, attempt=1), RUNNING, "cancelled before it started"),
        (facts_of(PENDING, attempt=2), RUNNING, "cancelled before it started again"),
        (facts_of(RUNNING, attempt=1), SCHEDULED, "cancelled before it started again"),
    ],
)
def test_what_was_cancelled_before_its_first_start_is_not_said_to_start_again(run: RunFacts, proposed: StateType, message: str) -> None:
    run.cancel_requested = True
    verdict = decide(Facts(proposal(FLOW, proposed), NOON, run, None))

    assert verdict.state is not None
    assert verdict.state.message == message


@pytest.mark.parametrize("proposed", StateType)
@pytest.mark.parametrize("current", StateType)
def test_whoever_lets_go_of_a_run_leaves_it_where_somebody_can_go_on(current: StateType, proposed: StateType) -> None:
    for fence, cancel, happened in product((None, 3), (False, True), (False, True)):
        run = facts_of(current, cancel_requested=cancel)
        released = msgspec.structs.replace(proposal(FLOW, proposed, fence=fence), release=True, happened=happened)
        verdict = decide(Facts(released, NOON, run))

        left_in = verdict.state.type if verdict.state is not None else proposed
        if verdict.kind in (VerdictKind.ACCEPTED, VerdictKind.INSTEAD):
            assert left_in not in (PENDING, RUNNING), "nobody holds it any more"
            assert not cancel or left_in in FINAL, "nobody would hear of the wish"


@pytest.mark.parametrize("kind", [FLOW, TASK])
def test_only_the_store_hands_a_run_over(kind: RunKind) -> None:
    for current, proposed, epoch in product(StateType, (PENDING, RUNNING), (2, 3)):
        facts = Facts(proposal(kind, proposed, fence=None), NOON, facts_of(current, epoch=epoch), facts_of(RUNNING))

        if kind is FLOW:
            assert decide(facts).kind is VerdictKind.REFUSED, (current, proposed, epoch)
            facts.hands_over = True
        assert (decide(facts).kind is VerdictKind.ACCEPTED) == may_follow(current, proposed), (current, proposed, epoch)


def test_a_token_re_opens_nothing() -> None:
    for final, fence in product(FINAL, (1, 2, 3, 4)):
        assert decide(Facts(proposal(FLOW, SCHEDULED, fence=fence, reopen=True), NOON, facts_of(final))).kind is VerdictKind.REFUSED


def test_a_holder_begins_anew_a_task_whose_cached_value_is_gone_and_no_other() -> None:
    for final, fence in product(FINAL, (1, 2, 3, 4)):
        for name in NAMES[final]:
            task = facts_of(final, kind=TASK, flow_run_id="f", state_name=name)
            verdict = decide(Facts(proposal(TASK, SCHEDULED, fence=fence, reopen=True), NOON, task, facts_of(RUNNING)))
            assert (verdict.kind is VerdictKind.ACCEPTED) == (name == "Cached" and fence == 3), (name, fence)


@pytest.mark.parametrize("what", ["another id", "the other kind's record", "the other kind's run", "another flow run"])
def test_a_transition_speaks_of_the_run_that_it_carries(what: str) -> None:
    run, task = scheduled(attempt=2, epoch=3), task_of(scheduled(attempt=2, epoch=3))
    other = msgspec.structs.replace(task.task_run, flow_run_id=run.id)
    begun = facts_of(RUNNING, kind=TASK, flow_run_id="another", seq=1)
    first = Transition(FLOW, run.id, 1, run.state, 0, flow_run=run)
    wrong = {
        "another id": [(msgspec.structs.replace(first, run_id="x"), None), (msgspec.structs.replace(task, run_id="x"), None)],
        "the other kind's record": [(msgspec.structs.replace(first, kind=TASK), None), (msgspec.structs.replace(task, kind=FLOW), None)],
        "the other kind's run": [
            (proposal(TASK, FAILED), facts_of(RUNNING, kind=FLOW)),
            (proposal(FLOW, FAILED), facts_of(RUNNING, kind=TASK)),
        ],
        "another flow run": [(msgspec.structs.replace(task, seq=2, state=State(FAILED, "Failed", NOON), task_run=other), begun)],
    }[what]

    for transition, facts in wrong:
        assert not is_plain(transition, facts, facts_of(RUNNING)), transition
        assert decide(Facts(transition, NOON, facts, facts_of(RUNNING))).code == "illegal_transition", transition
