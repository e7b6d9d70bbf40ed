"""Why a run is as it is: every state in every situation gets sentences, with the numbers that are known."""

import re
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.core.explanation import Explanation, Facts, in_words, listed, type_in_words
from legato.core.records import (
    Agent,
    ErrorDetail,
    FlowRun,
    JournalEntry,
    QueueFilter,
    QueueStatus,
    Result,
    RunInput,
    RunKind,
    TaskRun,
    WorkQueue,
)
from legato.core.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    NAMES,
    PAUSED,
    PENDING,
    RUNNING,
    SCHEDULED,
    TYPE_OF,
    State,
    StateType,
)
from legato.core.why import explain

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def state(name: str, seconds: float = 0, message: str = "", due: float | None = None) -> State:
    return State(TYPE_OF[name], name, ago(seconds), message, NOW + timedelta(seconds=due) if due is not None else None)


def flow_run(is_in: str = "Running", seconds: float = 60, *, message: str = "", due: float | None = None, **particulars: Any) -> FlowRun:
    common = {"id": "r", "flow_name": "etl", "name": "amber-heron", "created_at": ago(900), "expected_start_at": ago(seconds)}
    if due is not None:
        common["due_at"] = NOW + timedelta(seconds=due)
    return FlowRun(state=state(is_in, seconds, message, due), **{**common, **particulars})


def task_run(is_in: str = "Running", seconds: float = 60, *, message: str = "", due: float | None = None, **particulars: Any) -> TaskRun:
    common = {"id": "t", "flow_run_id": "r", "key": "jobs.train", "name": "train-0", "created_at": ago(900)}
    return TaskRun(state=state(is_in, seconds, message, due), **{**common, **particulars})


def journal(*states: State) -> list[JournalEntry]:
    return [JournalEntry(n, RunKind.TASK, "t", "r", n, 1, one) for n, one in enumerate(states, 1)]


def queue(name: str = "gpu", *, limit: int | None = None, paused: bool = False, tags: tuple[str, ...] = (), **numbers: int) -> QueueStatus:
    filter_ = QueueFilter(tags=tags)
    made = WorkQueue(id=f"q-{name}", name=name, created_at=ago(1e5), filter=filter_, concurrency_limit=limit, paused=paused)
    return QueueStatus(queue=made, **numbers)


def agent(name: str = "w-1", *queues: str, seen: float = 1, **particulars: Any) -> Agent:
    return Agent(id=name, name=name, queues=queues or ("gpu",), started_at=ago(9000), last_seen_at=ago(seen), **particulars)


def late(seconds: float = 40, **facts: Any) -> Explanation:
    run = flow_run("Scheduled", seconds, due=-seconds, deployment_id="d", deployment_name="etl/prod")
    return explain(Facts(now=NOW, run=run, **facts))


# ---------------------------------------------------------------------- a flow run that waits


def test_a_full_queue_names_its_slots_their_holders_the_line_and_when_one_frees() -> None:
    holders = [flow_run(seconds=240), flow_run(seconds=12, name="brave-newt", flow_name="other")]

    got = late(queues=[queue(limit=2, running=2, agents=1)], holders=holders, before=3, usual_s={"etl": 360.0})

    assert got.sentences == (
        "Late by 40 s: queue 'gpu' is at its limit: 2 of 2 slots, held by amber-heron (4 min) and brave-newt (12 s)",
        "3 runs are before it",
        "The next slot usually frees in about 2 min",
    )
    assert (got.facts["limit"], got.facts["running"], got.facts["before"], got.facts["next_slot_s"]) == (2, 2, 3, 120.0)
    assert [one["name"] for one in got.facts["held_by"]] == ["amber-heron", "brave-newt"]
    assert got.hint == "legato work-queue set-limit gpu 3"


@pytest.mark.parametrize(
    ("facts", "title", "hint"),
    [
        ({}, "Late by 40 s: no work queue takes it (0 queues looked at)", "legato work-queue create default"),
        (
            {"queues": [queue(tags=("gpu",))]},
            "Late by 40 s: no work queue takes it (1 queue looked at)",
            "legato work-queue ls",
        ),
        (
            {"queues": [queue(paused=True, waiting=3)]},
            "Late by 40 s: queue 'gpu' is paused, and 3 runs wait there",
            "legato work-queue resume gpu",
        ),
        (
            {"queues": [queue()], "agents": [agent(seen=180), agent("w-2", "cpu")]},
            "Late by 40 s: no agent has looked at queue 'gpu' for 3 min",
            "legato agent start gpu",
        ),
        (
            {"queues": [queue()]},
            "Late by 40 s: queue 'gpu' has no live agent: none came within a day, or those that did have ended",
            "legato agent start gpu",
        ),
        (
            {"queues": [queue(agents=1)], "agents": [agent(capacity=4, running=4)]},
            "Late by 40 s: every agent of queue 'gpu' is busy: 'w-1' runs 4 of 4",
            "legato agent start gpu",
        ),
        (
            {"queues": [queue(agents=2)], "agents": [agent(capacity=4, running=1)]},
            "Late by 40 s: waits for one of 2 agents of queue 'gpu' to take it",
            "",
        ),
        (
            {"queues": [queue(agents=1)], "deployment_is_gone": True},
            "Late by 40 s: its deployment 'etl/prod' was deleted, so no agent takes it",
            "legato run cancel amber-heron",
        ),
        (
            {"queues": [queue("cpu", limit=1, running=1, agents=1), queue("gpu", agents=1)]},
            "Late by 40 s: waits for one of 1 agent of queue 'gpu' to take it",
            "",
        ),
    ],
)
def test_a_late_run_names_what_is_in_its_way(facts: dict[str, Any], title: str, hint: str) -> None:
    got = late(**facts)

    assert (got.kind, got.title, got.hint) == ("waiting", title, hint)
    assert got.facts["late_s"] == 40.0


def test_a_run_that_is_due_this_moment_is_not_called_late() -> None:
    assert late(2, queues=[queue(agents=1)]).title.startswith("Due for 2.0 s: waits for one of 1 agent")


def test_a_run_of_no_deployment_is_started_by_nobody() -> None:
    got = explain(Facts(now=NOW, run=flow_run("Scheduled", 40, due=-40)))

    assert "nobody starts it" in got.title
    assert got.hint == "legato run resume amber-heron"


@pytest.mark.parametrize(("message", "is_said"), [("by hand", False), ("attempt 1 was lost", True)])
def test_who_made_a_run_is_not_its_last_word(message: str, is_said: bool) -> None:
    got = explain(Facts(now=NOW, run=flow_run("Scheduled", 40, due=-40, trigger="by hand", message=message)))

    assert any("Its last word" in sentence for sentence in got.sentences) is is_said


def test_a_planned_run_says_when_it_starts_and_who_planned_it() -> None:
    got = explain(Facts(now=NOW, run=flow_run("Scheduled", 5, due=10800, trigger="schedule every 3 h")))

    assert got.sentences == ("Scheduled: starts in 3 h", "Made by: schedule every 3 h")
    assert got.facts["due_in_s"] == 10800


RETRYING = "attempt 2 failed: OSError: disk full; attempt 3 of 5 follows in 30 s"


@pytest.mark.parametrize("is_task", [False, True])
def test_a_retry_says_which_attempt_when_and_why(is_task: bool) -> None:
    waits = {"is_in": "AwaitingRetry", "seconds": 18, "message": RETRYING, "due": 12.0, "attempt": 2, "retries": 4}
    run = flow_run() if is_task else flow_run(**waits)

    got = explain(Facts(now=NOW, run=run, task=task_run(**waits) if is_task else None))

    assert got.title == "Next attempt (3 of 5) in 12 s because attempt 2 failed: OSError: disk full"
    assert (got.facts["next_attempt"], got.facts["attempts"], got.facts["due_in_s"]) == (3, 5, 12.0)


def test_a_lost_run_that_is_tried_again_says_that_and_what_it_waits_for() -> None:
    message = "attempt 1 was lost; its policy schedules it again"
    run = flow_run("AwaitingRetry", 20, message=message, due=-20, attempt=1, deployment_id="d")

    got = explain(Facts(now=NOW, run=run, queues=[queue()]))

    assert got.sentences[0] == f"Next attempt (2 of 2) is due since 20 s because {message}"
    assert got.sentences[1].startswith("Late by 20 s: queue 'gpu' has no live agent")


# ---------------------------------------------------------------------- a flow run in other states


def test_a_paused_run_says_what_it_asks_and_how_to_answer() -> None:
    asked = [
        RunInput(flow_run_id="r", key="a", asked_at=ago(200), prompt="Name?", answered_at=ago(190)),
        RunInput(flow_run_id="r", key="b", asked_at=ago(120), prompt="Deploy?", schema={"type": "boolean"}),
    ]

    got = explain(Facts(now=NOW, run=flow_run("Paused", 180), inputs=asked))

    assert got.sentences == ("Paused for 3 min: asks 'Deploy?'", "The answer is to be of type boolean")
    assert (got.kind, got.hint, got.facts["since_s"]) == ("paused", "legato run resume amber-heron", 180.0)


def test_a_running_run_says_how_far_it_is_what_keeps_it_and_what_is_usual() -> None:
    busy = [
        task_run("Running", 240, started_at=ago(240)),
        task_run("AwaitingRetry", 5, message="attempt 1 failed: E: x; attempt 2 of 3 follows in 9 s", due=4.0, id="u", name="load-1"),
    ]
    run = flow_run(seconds=300, started_at=ago(300))

    got = explain(Facts(now=NOW, run=run, counts={COMPLETED: 3, RUNNING: 1, SCHEDULED: 1}, tasks=busy, usual_s={"etl": 360.0}, reused=2))

    assert got.sentences == (
        "3 of 5 tasks done, 1 running",
        "Running for 5 min; it usually takes 6 min",
        "Now: 'train-0' (4 min) and 'load-1' waits 4.0 s for attempt 2 of 3",
        "2 results of earlier attempts were reused",
    )


def test_a_run_whose_process_is_silent_says_so() -> None:
    got = explain(Facts(now=NOW, run=flow_run(started_at=ago(60), lease_expires_at=ago(25))))

    assert got.facts["overdue_s"] == 25.0
    assert any("sign of life 25 s ago" in one for one in got.sentences)


@pytest.mark.parametrize(
    ("wish", "title"),
    [("cancel_requested_at", "Cancelling for 7.0 s: its process was asked to stop"), ("pause_requested_at", "Pausing for 7.0 s: it stops")],
)
def test_a_wish_stands_first(wish: str, title: str) -> None:
    assert explain(Facts(now=NOW, run=flow_run(**{wish: ago(7)}))).title.startswith(title)


def test_a_failed_run_names_the_task_the_error_and_how_much_was_done() -> None:
    error = ErrorDetail("ValueError", "no such column\nsecond line")
    failed = task_run("Failed", id="t9", error=error, attempt=3, retries=2)

    got = explain(Facts(now=NOW, run=flow_run("Failed"), failed_task=failed, counts={COMPLETED: 8, FAILED: 1, PENDING: 3}))

    assert got.sentences == (
        "Failed at train-0: ValueError: no such column",
        "That was attempt 3 of 3",
        "8 of 12 tasks completed, 3 never ran",
    )
    assert (got.task_run_id, got.error) == ("t9", error)


def test_a_run_lost_too_often_says_that_it_is_not_tried_again() -> None:
    got = explain(Facts(now=NOW, run=flow_run("Crashed", message="its process 7 on w-1 is gone", lost=3)))

    assert got.sentences == (
        "Crashed: its process 7 on w-1 is gone",
        "It was lost 3 times, so it is not tried again by itself (the limit is 3)",
    )


def test_a_resumed_run_says_who_resumed_it() -> None:
    states = [state("Running", 90), state("Crashed", 80), state("Pending", 70, "resumed in a process of its user's"), state("Running", 60)]

    got = explain(Facts(now=NOW, run=flow_run(attempt=2), journal=journal(*states), reused=1))

    assert "This is attempt 2: resumed in a process of its user's" in got.sentences
    assert "1 result of earlier attempts was reused" in got.sentences


def test_a_cancelled_run_says_when_why_and_that_it_never_began() -> None:
    run = flow_run("Cancelled", 120, message="cancelled before it started", cancel_requested_at=ago(130))

    got = explain(Facts(now=NOW, run=run))

    assert got.sentences == ("Cancelled 2 min ago: cancelled before it started", "It was asked for 2 min ago", "It never started")


# ---------------------------------------------------------------------- task runs


def about_task(task: TaskRun, run: FlowRun | None = None, **facts: Any) -> Explanation:
    return explain(Facts(now=NOW, run=run or flow_run(), task=task, **facts))


def test_a_task_names_what_it_waits_for_and_what_that_is_doing() -> None:
    upstream = [task_run("Completed", id="a", name="load-0"), task_run("Running", id="b", name="join-0", started_at=ago(240))]

    got = about_task(task_run("Pending", 250), upstream=upstream)

    assert got.sentences == (
        "Waits for 'join-0', running for 4 min; 1 of 2 before it have ended",
        "It was submitted 4 min ago",
    )
    assert got.facts["waits_for"] == [{"id": "b", "name": "join-0", "state": "Running"}]


def test_a_task_that_is_ready_waits_for_a_place() -> None:
    busy = [task_run("Running", id="b", name="big-0", started_at=ago(30))]

    got = about_task(task_run("Pending", 9), counts={RUNNING: 4}, tasks=busy)

    assert got.title == "Ready to run for 9.0 s, waits for a free place at its flow's task runner (4 tasks running)"
    assert got.sentences[1] == "Before it: 'big-0' running for 30 s"


def test_a_task_of_an_ended_flow_never_ran() -> None:
    got = about_task(task_run("Pending"), run=flow_run("Failed", 180, ended_at=ago(180)))

    assert (got.kind, got.title) == ("cancelled", "Never ran: its flow run 'amber-heron' ended (Failed) 3 min ago")


@pytest.mark.parametrize(
    ("task", "title"),
    [
        (
            task_run("Cached", 30, message="reused the result of 'load-0' of run 'x', made 3 min ago (INPUTS; key k)"),
            "Cached 30 s ago: it reused the result of 'load-0' of run 'x', made 3 min ago (INPUTS; key k)",
        ),
        (
            task_run("Cached", 30, message="reused from 'load-0' of an earlier attempt"),
            "Reused 30 s ago: it reused from 'load-0' of an earlier attempt",
        ),
        (
            task_run("Skipped", 30, message="trigger any_failed said no: 0 of 2 before it failed"),
            "Skipped: trigger any_failed said no: 0 of 2 before it failed",
        ),
        (
            task_run("Scheduled", 40, message="waits for 'f-0' of run 'x', which is making this result since 2 s", cache_key="k"),
            "For 40 s it waits for 'f-0' of run 'x', which is making this result since 2 s",
        ),
        (task_run("TimedOut", message="the task took longer than its timeout of 5 s"), "Timed out: the task took longer than its timeout"),
        (task_run("Cancelled", 5, message="stopped: cancelled"), "Cancelled 5.0 s ago: stopped: cancelled"),
        (task_run("Crashed", message="its process went away"), "Crashed: its process went away"),
        (task_run("Running", 9, attempt=2, retries=2, started_at=ago(9)), "Running for 9.0 s, attempt 2 of 3"),
    ],
)
def test_a_task_says_its_reason(task: TaskRun, title: str) -> None:
    assert about_task(task).title.startswith(title)


def test_a_task_that_did_not_run_names_the_failure_before_it() -> None:
    broken = task_run("Failed", id="a", name="load-0", error=ErrorDetail("OSError", "no disk"))

    got = about_task(task_run("UpstreamFailed"), upstream=[broken, task_run("Completed", id="b", name="other-0")])

    assert got.title == "Did not run because 'load-0' is Failed (OSError: no disk)"
    assert (got.facts["failed_before"], got.facts["before"], got.hint) == (1, 2, "legato why amber-heron/load-0")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("not in the cache: input 'x' differs from the latest", "It was not in the cache: input 'x' differs from the latest"),
        (
            "runs again: its code differs: 'load' changed",
            "It ran again, although an earlier attempt had called it, because its code differs: 'load' changed",
        ),
        ("runs because refresh_cache is on", "Runs because refresh_cache is on"),
    ],
)
def test_a_task_that_ran_says_why_it_was_not_taken_from_elsewhere(said: str, sentence: str) -> None:
    done = task_run("Completed", started_at=ago(12), ended_at=ago(10), result=Result(preview="42"))

    got = about_task(done, journal=journal(state("Running", 12, said), state("Completed", 10)))

    assert got.sentences == ("Completed in 2.0 s", sentence, "Result: 42")


def test_a_task_with_failed_attempts_tells_of_each() -> None:
    states = [
        state("Running", 60),
        state("AwaitingRetry", 50, "attempt 1 failed: OSError: x; attempt 2 of 3 follows in 1 s"),
        state("Retrying"),
    ]

    got = about_task(task_run("Completed", attempt=2, retries=2), journal=journal(*states))

    assert "Attempt 2 of 3; before it failed attempt 1: OSError: x" in got.sentences


# ---------------------------------------------------------------------- whatever is known or not

BARE = [(name, None) for name in TYPE_OF] + [(name, flow) for name, flow in product(TYPE_OF, ("Running", "Failed", "Paused", "Scheduled"))]


@pytest.mark.parametrize(("name", "flow"), BARE)
def test_every_state_has_a_reason_when_nothing_else_is_known(name: str, flow: str | None) -> None:
    facts = Facts(now=NOW, run=flow_run(flow or name), task=task_run(name) if flow else None)

    got = explain(facts)

    assert got.kind in {"failed", "crashed", "waiting", "running", "paused", "completed", "cancelled"}
    assert all(got.sentences)
    assert str(got)
    msgspec.json.encode(got)


messages = st.one_of(st.just(""), st.just(RETRYING), st.text(max_size=30))
moments = st.one_of(st.none(), st.integers(-100_000, 100_000).map(lambda s: NOW + timedelta(seconds=s)))
numbers = st.integers(0, 5)


@st.composite
def any_state(draw: st.DrawFn) -> State:
    type_ = draw(st.sampled_from(StateType))
    return State(type_, draw(st.sampled_from(NAMES[type_])), draw(moments) or NOW, draw(messages), draw(moments))


@st.composite
def any_flow_run(draw: st.DrawFn) -> FlowRun:
    times = {
        name: draw(moments)
        for name in ("due_at", "started_at", "ended_at", "lease_expires_at", "cancel_requested_at", "pause_requested_at")
    }
    deployment = draw(st.sampled_from([None, "d"]))
    return FlowRun(
        id="r", flow_name="etl", name="amber-heron", state=draw(any_state()), created_at=NOW, expected_start_at=draw(moments) or NOW,
        attempt=draw(numbers), retries=draw(numbers), lost=draw(numbers), deployment_id=deployment, deployment_name=deployment,
        agent_id=draw(st.sampled_from([None, "w-1"])), trigger=draw(messages), tags=draw(st.sampled_from([(), ("gpu",)])), **times,
    )  # fmt: skip


@st.composite
def any_task_run(draw: st.DrawFn) -> TaskRun:
    error = draw(st.sampled_from([None, ErrorDetail("E", ""), ErrorDetail("E", "m\nn", "f.py", 3, "f")]))
    result = draw(st.sampled_from([None, Result(preview="1"), Result(unavailable="too odd")]))
    return TaskRun(
        id=draw(st.sampled_from(["t", "u"])), flow_run_id="r", key="m.f", name="f-0", state=draw(any_state()), created_at=NOW,
        started_at=draw(moments), ended_at=draw(moments), attempt=draw(numbers), retries=draw(numbers), error=error, result=result,
    )  # fmt: skip


@st.composite
def any_queue(draw: st.DrawFn) -> QueueStatus:
    limit = draw(st.one_of(st.none(), numbers))
    live = {name: draw(numbers) for name in ("running", "waiting", "agents")}
    return queue(
        draw(st.sampled_from(["gpu", "cpu"])), limit=limit, paused=draw(st.booleans()), tags=draw(st.sampled_from([(), ("gpu",)])), **live
    )


any_agent = st.builds(agent, st.just("w-1"), st.sampled_from(["gpu", "cpu"]), seen=st.integers(0, 9000), capacity=numbers, running=numbers)
any_input = st.builds(RunInput, flow_run_id=st.just("r"), key=st.just("k"), asked_at=st.just(NOW), prompt=messages, answered_at=moments)
any_facts = st.builds(
    Facts,
    now=st.just(NOW),
    run=any_flow_run(),
    task=st.one_of(st.none(), any_task_run()),
    journal=st.lists(any_state(), max_size=5).map(lambda states: journal(*states)),
    counts=st.dictionaries(st.sampled_from(StateType), numbers, max_size=4),
    tasks=st.lists(any_task_run(), max_size=3),
    failed_task=st.one_of(st.none(), any_task_run()),
    reused=numbers,
    usual_s=st.sampled_from([{}, {"etl": 12.5}]),
    deployment_is_gone=st.booleans(),
    queues=st.lists(any_queue(), max_size=2),
    agents=st.lists(any_agent, max_size=2),
    holders=st.lists(any_flow_run(), max_size=3),
    before=st.one_of(st.none(), numbers),
    inputs=st.lists(any_input, max_size=2),
    upstream=st.lists(st.one_of(any_task_run(), any_flow_run()), max_size=4),
)


@given(any_facts)
def test_it_never_raises_and_always_says_something_in_single_lines(facts: Facts) -> None:
    got = explain(facts)

    assert got.sentences
    assert all(one.strip() and "\n" not in one for one in got.sentences)
    assert len(set(got.sentences)) == len(got.sentences)
    msgspec.json.encode(got)


@given(any_facts)
def test_what_waits_names_a_number(facts: Facts) -> None:
    got = explain(facts)

    if got.kind in ("waiting", "paused"):
        assert any(re.search(r"\d", one) for one in got.sentences), got.sentences


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.028, "28 ms"), (1.24, "1.2 s"), (28, "28 s"), (240, "4 min"), (10_800, "3 h"), (432_000, "5 days"), (-5, "0 ms")],
)
def test_spans_are_told_as_people_tell_them(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words


def test_lists_end_with_and() -> None:
    assert [listed(list("abcde")[:n]) for n in range(6)] == ["", "a", "a and b", "a, b and c", "a, b, c and 1 more", "a, b, c and 2 more"]


assert {PENDING, RUNNING, PAUSED, COMPLETED, FAILED, CRASHED, CANCELLED, SCHEDULED} == set(StateType)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer"}, "integer"),
        ({"type": "array", "items": {"type": "string"}}, "array of string"),
        ({"type": "array"}, "array"),
        ({"enum": ["a", "b", 3]}, "a, b or 3"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"title": "Decision", "type": "object"}, "Decision"),
        ({}, "JSON"),
    ],
)
def test_what_is_asked_for_is_named(schema: dict[str, Any], words: str) -> None:
    assert type_in_words(schema) == words
