"""Why a run waits, asked of every store: the facts are read through the port, so SQLite, PostgreSQL and a server say the same."""

import pytest

from legato.core.errors import NotFound, UsageError
from legato.core.explanation import Explanation
from legato.core.records import Agent, LogLine, RunInput, RunKind, Transition
from legato.core.states import COMPLETED, FAILED, PAUSED, PENDING, RUNNING, SCHEDULED, State
from legato.core.why import explain
from legato.store.evidence import facts_of_flow_run, facts_of_task_run, find_explained
from legato.store.port import Store

from tests.store.make import NOON, add_deployment, add_queue, apply, at, begin, claim, move, scheduled, step, task_of


def why(store: Store, wanted: str, seconds: float) -> Explanation:
    run, task = find_explained(store, wanted)
    now = at(seconds)
    return explain(facts_of_flow_run(store, run, now) if task is None else facts_of_task_run(store, task, run, now))


def add_agent(store: Store, *queues: str, seconds: float = 0, **particulars: int) -> None:
    agent = Agent(id="w", name="w-1", queues=queues, started_at=NOON, last_seen_at=at(seconds), **particulars)
    store.save_agent(agent, now=at(seconds))


def test_a_run_behind_a_full_queue_names_who_holds_the_slots_and_who_is_before_it(store: Store) -> None:
    deployment = add_deployment(store)
    add_queue(store, concurrency_limit=1)
    add_agent(store, "main", seconds=60)
    for n, name in enumerate(("amber-heron", "brave-newt", "calm-otter")):
        store.create_flow_run(scheduled(n, deployment=deployment, name=name), now=NOON)
    first = claim(store, seconds=10, lease_s=900)[0].flow_run
    apply(store, move(first, RUNNING, 20), 20)

    got = why(store, "calm-otter", 90)

    assert got.sentences == (
        "Late by 88 s: queue 'main' is at its limit: 1 of 1 slots, held by amber-heron (70 s)",
        "1 run is before it",
    )
    assert got.facts["held_by"] == [{"id": first.id, "name": "amber-heron", "for_s": 70.0}]


def test_how_long_the_holders_usually_take_says_when_a_slot_is_free(store: Store) -> None:
    deployment = add_deployment(store)
    add_queue(store, concurrency_limit=1)
    add_agent(store, "main", seconds=150)
    before = begin(store, name="done-before")
    apply(store, move(before, COMPLETED, 100), 100)
    store.create_flow_run(scheduled(100, deployment=deployment, name="holder"), now=NOON)
    store.create_flow_run(scheduled(101, deployment=deployment, name="waiter"), now=NOON)
    holder = claim(store, seconds=102, lease_s=900)[0].flow_run
    apply(store, move(holder, RUNNING, 120), 120)

    got = why(store, "waiter", 160)

    assert got.sentences[1:] == ("It is next in line", "The next slot usually frees in about 60 s")


def test_a_queue_that_nobody_looks_at_says_since_when_and_who_did_last(store: Store) -> None:
    add_queue(store)
    add_agent(store, "main", seconds=20)
    store.create_flow_run(scheduled(160, deployment=add_deployment(store)), now=NOON)

    got = why(store, "amber-heron", 200)

    assert got.sentences == (
        "Late by 40 s: no agent has looked at queue 'main' for 3 min",
        "The last that did was 'w-1'",
        "It is next in line",
    )
    assert got.hint == "legato agent start main"


def test_a_deleted_deployment_and_a_missing_queue_are_named(store: Store) -> None:
    run = store.create_flow_run(scheduled(deployment=add_deployment(store)), now=NOON)

    assert why(store, run.id, 30).title == "Late by 30 s: no work queue takes it (0 queues looked at)"


def test_a_paused_run_tells_what_it_asks(store: Store) -> None:
    run = begin(store)
    store.ask_input(RunInput(flow_run_id=run.id, key="k", asked_at=at(5), prompt="Deploy?"))
    apply(store, move(run, PAUSED, 6, message="Deploy?"), 6)

    assert why(store, run.id, 126).sentences == ("Paused for 2 min: asks 'Deploy?'",)


def test_a_failed_run_counts_its_tasks_and_names_the_one(store: Store) -> None:
    run = begin(store)
    good, bad = task_of(run, 1, name="load-0"), task_of(run, 2, name="train-0")
    store.apply([good, bad], [LogLine(run.id, at(1), 20, "l", "hello")], now=at(2))
    for one, end in ((good, COMPLETED), (bad, FAILED)):
        running = step(one, RUNNING, 3)
        store.apply([running, step(running, end, 4)], now=at(4))
    apply(store, move(run, FAILED, 5, message="ValueError: x"), 5)

    got = why(store, "amber-heron", 6)

    assert got.sentences[0].startswith("Failed at train-0: ")
    assert got.sentences[1] == "1 of 2 tasks completed"


def test_a_task_waits_for_another_whose_time_is_told(store: Store) -> None:
    run = begin(store)
    first = task_of(run, 1, name="load-0")
    store.apply([first, step(first, RUNNING, 2)], now=at(2))
    second = task_of(run, 3, PENDING, name="train-0", upstream=(first.run_id, run.id))
    store.apply([second], now=at(3))

    got = why(store, "amber-heron/train-0", 63)

    assert got.sentences == ("Waits for 'load-0', running for 61 s and 'amber-heron', running for 63 s", "It was submitted 60 s ago")
    assert why(store, second.run_id, 63) == got


def test_a_task_that_is_tried_again_says_when_and_why(store: Store) -> None:
    run = begin(store)
    first = task_of(run, 1, retries=2)
    running = step(first, RUNNING, 2)
    store.apply([first, running], now=at(2))
    message = "attempt 1 failed: OSError: disk full; attempt 2 of 3 follows in 30 s"
    state = State(SCHEDULED, "AwaitingRetry", at(4), message, at(34))
    waits = Transition(RunKind.TASK, first.run_id, 3, state, 1, fence=1)
    store.apply([waits], now=at(4))

    got = why(store, "amber-heron/train-0", 22)

    assert got.title == "Next attempt (2 of 3) in 12 s because attempt 1 failed: OSError: disk full"


def test_what_is_not_there_and_what_is_ambiguous_is_said(store: Store) -> None:
    begin(store)
    begin(store)

    with pytest.raises(NotFound):
        find_explained(store, "nobody")
    with pytest.raises(UsageError, match=r"'amber-heron' could be any of these runs: .*, "):
        find_explained(store, "amber-heron")
