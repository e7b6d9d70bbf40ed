"""What judges histories finds what it looks for: a right history is right, and each way of spoiling it breaks the invariant that names it."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from legato.core.records import FlowRun, JournalEntry, RunKind, TaskRun
from legato.core.states import COMPLETED, CRASHED, FAILED, PENDING, RUNNING, SCHEDULED, State, StateType

from tests.chaos.history import HEARS_WITHIN_S, INVARIANTS, Cut, History, Line, broken, overlaps
from tests.store.make import NOON, at

Spoil = Callable[[History], History]
FIRST = NOON.timestamp()
STORY = [
    ("a", SCHEDULED, 0), ("a", PENDING, 1), ("b", SCHEDULED, 0), ("a", RUNNING, 1), ("t1", PENDING, 1), ("t1", RUNNING, 1), ("t1", COMPLETED, 1),
    ("a", CRASHED, 1), ("a", SCHEDULED, 1), ("b", PENDING, 1), ("b", RUNNING, 1), ("b", COMPLETED, 1), ("a", PENDING, 2), ("a", RUNNING, 2),
    ("t2", RUNNING, 1), ("t2", COMPLETED, 1), ("a", COMPLETED, 2),
]  # fmt: skip
"""Two runs of a queue with room for one. The first is lost once, after a task of it was completed."""


def run(id_: str, attempt: int, type_: StateType = COMPLETED) -> FlowRun:
    state = State(type_, type_.capitalize(), at(20))
    return FlowRun(
        id=id_,
        flow_name="f",
        name=id_,
        state=state,
        attempt=attempt,
        created_at=NOON,
        expected_start_at=NOON,
        work_queue="q",
        schedule_id="s",
    )


def task(id_: str, name: str, flow_attempt: int) -> TaskRun:
    state = State(COMPLETED, "Completed", at(20))
    return TaskRun(id=id_, flow_run_id="a", key="k", name=name, state=state, created_at=NOON, flow_attempt=flow_attempt)


def told() -> History:
    """The story, right in everything."""
    journal, seqs = [], dict.fromkeys(("a", "b", "t1", "t2"), 0)
    for pos, (id_, type_, attempt) in enumerate(STORY, 1):
        seqs[id_] += 1
        kind = RunKind.TASK if id_.startswith("t") else RunKind.FLOW
        journal.append(
            JournalEntry(
                pos, kind, id_, "a" if kind is RunKind.TASK else id_, seqs[id_], attempt, State(type_, type_.capitalize(), at(pos))
            )
        )
    second = msgspec.structs.replace(run("b", 1), expected_start_at=at(4))
    ledger = [
        *(Line(FIRST + second, word, "a", attempt, 9, body) for second, word, attempt, body in [
            (6.5, "start", 1, "one-0"), (7, "stop", 1, "one-0"), (7.1, "acked", 1, "one-0"),
            (14.5, "acked", 2, "one-0"), (15.5, "start", 2, "two-0"), (16, "stop", 2, "two-0"), (16.5, "acked", 2, "two-0")]),
        Line(FIRST + 11.5, "start", "b", 1, 8, "three-0"),
    ]  # fmt: skip
    ticks = [("s", int(FIRST)), ("s", int(FIRST) + 4)]
    tasks = [task("t1", "one-0", 1), task("t2", "two-0", 2)]
    return History(journal, [run("a", 2), second], tasks, ledger, ticks, [], {"q": 1}, {"s": 4}, ["a", "b"], {}, at(60))


def entry(number: int, **changed: object) -> Spoil:
    """The journal's entry of that position says something else."""

    def spoil(history: History) -> History:
        journal = list(history.journal)
        journal[number - 1] = msgspec.structs.replace(journal[number - 1], **changed)
        return dataclasses.replace(history, journal=journal)

    return spoil


def became(number: int, type_: StateType) -> Spoil:
    return entry(number, state=State(type_, type_.capitalize(), at(number)))


def with_(**changed: object) -> Spoil:
    return lambda history: dataclasses.replace(history, **changed)


def and_line(second: float, word: str, run_id: str, attempt: int, body: str) -> Spoil:
    return lambda history: dataclasses.replace(history, ledger=[*history.ledger, Line(FIRST + second, word, run_id, attempt, 7, body)])


SPOILT: list[tuple[str, Spoil]] = [
    ("I1 legal", became(4, COMPLETED)),
    ("I1 legal", became(7, PENDING)),
    ("I1 legal", became(9, CRASHED)),
    ("I1 legal", lambda h: entry(9, attempt=2)(became(9, COMPLETED)(h))),
    ("I2 gapless", entry(5, pos=50)),
    ("I2 gapless", entry(9, seq=7)),
    ("I3 fencing", entry(17, attempt=1)),
    ("I3 fencing", lambda h: dataclasses.replace(h, tasks=[h.tasks[0], msgspec.structs.replace(h.tasks[1], flow_attempt=1)])),
    ("I4 one lease", became(9, PENDING)),
    ("I5 no overlap", and_line(15.6, "stop", "a", 1, "zombie-0")),
    ("I5 no overlap", lambda h: with_(cuts=[Cut(FIRST, FIRST + 60, pid=8), Cut(FIRST, FIRST + 60, agent=1)])(and_line(15.6, "stop", "a", 1, "zombie-0")(h))),
    ("I5 no overlap", lambda h: with_(cuts=[Cut(FIRST, FIRST + 15)])(and_line(15 + HEARS_WITHIN_S + 1, "stop", "a", 1, "zombie-0")(h))),
    ("I6 ticks", with_(ticks=[("s", 1), ("s", 1)])),
    ("I6 ticks", lambda h: dataclasses.replace(h, runs=[h.runs[0], msgspec.structs.replace(h.runs[1], expected_start_at=at(8))])),
    ("I6 ticks", lambda h: dataclasses.replace(h, runs=[h.runs[0], msgspec.structs.replace(h.runs[1], expected_start_at=NOON)])),
    ("I7 limits", with_(limits={"q": 0})),
    ("I7 limits", became(9, PENDING)),
    ("I8 no leak", with_(slots=["b"])),
    ("I9 terminal", became(9, CRASHED)),
    ("I9 terminal", lambda h: dataclasses.replace(h, tasks=[msgspec.structs.replace(h.tasks[0], state=State(RUNNING, "Running", NOON)), h.tasks[1]])),
    ("I10 acked", with_(made=["c"])),
    ("I10 acked", lambda h: dataclasses.replace(h, tasks=h.tasks[:1])),
    ("I11 no phantom", and_line(12, "start", "c", 1, "x-0")),
    ("I11 no phantom", lambda h: with_(cuts=[Cut(FIRST, FIRST + 60, pid=8)])(and_line(12, "start", "c", 1, "x-0")(h))),
    ("I11 no phantom", lambda h: with_(cuts=[Cut(FIRST, FIRST + 60)])(and_line(3, "start", "a", 1, "x-0")(h))),
    ("I11 no phantom", and_line(3, "start", "a", 1, "x-0")),
    ("I12 never run", became(11, CRASHED)),
    ("I13 liveness", lambda h: dataclasses.replace(h, runs=[run("a", 2, RUNNING), h.runs[1]])),
    ("I13 liveness", lambda h: dataclasses.replace(h, runs=[run("a", 2, SCHEDULED), h.runs[1]])),
    ("I13 liveness", lambda h: dataclasses.replace(h, runs=[msgspec.structs.replace(h.runs[0], lease_expires_at=NOON), h.runs[1]])),
    ("nothing again", and_line(16.8, "start", "a", 2, "one-0")),
    ("fates", lambda h: dataclasses.replace(h, runs=[run("a", 2, FAILED), h.runs[1]])),
    ("fates", lambda h: dataclasses.replace(h, runs=[run("a", 2, CRASHED), h.runs[1]])),
    ("I15 cancel", with_(cancelled={"a": at(12.5)})),
]  # fmt: skip


def test_a_right_history_is_right() -> None:
    assert broken(told()) == []
    assert list(overlaps(told())) == []


@pytest.mark.parametrize(("name", "spoil"), SPOILT, ids=[f"{name} {number}" for number, (name, _) in enumerate(SPOILT)])
def test_a_spoilt_history_breaks_the_invariant_that_names_it(name: str, spoil: Spoil) -> None:
    assert list(INVARIANTS[name](spoil(told()))) != []


def test_each_invariant_is_shown_to_find_something() -> None:
    assert {name for name, _ in SPOILT} == INVARIANTS.keys()


def test_an_attempt_that_works_on_beside_a_later_one_is_seen() -> None:
    assert list(overlaps(and_line(15.6, "stop", "a", 1, "zombie-0")(told()))) == [("a", 1, 2)]


@pytest.mark.parametrize("cut", [Cut(FIRST + 5, FIRST + 60), Cut(FIRST + 5, FIRST + 60, pid=7), Cut(FIRST + 5, FIRST + 60, agent=-1)])
def test_who_was_cut_off_cannot_know_that_it_is_given_up(cut: Cut) -> None:
    beside = and_line(15.6, "stop", "a", 1, "zombie-0")(told())

    assert broken(with_(cuts=[cut])(beside)) == []


def test_what_is_planned_for_later_is_no_run_that_hangs() -> None:
    planned = msgspec.structs.replace(run("c", 0, SCHEDULED), expected_start_at=NOON + timedelta(hours=1))

    assert broken(dataclasses.replace(told(), runs=[*told().runs, planned], every_s={})) == []


def test_the_late_end_of_a_run_that_was_given_up_is_believed() -> None:
    told_late = became(9, COMPLETED)(told())

    assert list(INVARIANTS["I9 terminal"](told_late)) == []
    assert not any("from Crashed to Completed" in sentence for sentence in INVARIANTS["I1 legal"](told_late))
