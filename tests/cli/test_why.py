"""`legato why`: what it prints, for the reasons people ask about most."""

import json
import re
from datetime import timedelta

import msgspec
import pytest

from legato.core.records import FlowRun, FlowRunFilter, RunInput, RunKind, TaskRun, Transition, WorkQueue
from legato.core.states import COMPLETED, PAUSED, PENDING, RUNNING, SCHEDULED, State
from legato.store.port import Store
from legato.system import SystemClock, new_id

from tests.cli.conftest import Command, add_deployment, add_run


def add_due(store: Store, name: str, seconds: float) -> FlowRun:
    """A run of deployment etl/prod that was due so long ago."""
    deployment = next(iter(store.list_deployments()), None) or add_deployment(store)
    due = SystemClock().now() - timedelta(seconds=seconds)
    return store.create_flow_run(
        FlowRun(
            id=new_id(),
            flow_name="etl",
            name=name,
            state=State(SCHEDULED, "Scheduled", due, "", due),
            created_at=due,
            expected_start_at=due,
            due_at=due,
            deployment_id=deployment.id,
            deployment_name=deployment.full_name,
        )
    )


def add_task(store: Store, run: FlowRun, name: str, *states: State) -> TaskRun:
    first = State(PENDING, "Pending", states[0].at)
    task = TaskRun(id=new_id(), flow_run_id=run.id, key="m.f", name=name, state=first, created_at=first.at, retries=4)
    moves = [Transition(RunKind.TASK, task.id, 1, first, 1, fence=1, task_run=task)]
    moves += [Transition(RunKind.TASK, task.id, n, state, 1, fence=1) for n, state in enumerate(states, 2)]
    store.apply(moves)
    return task


def test_late_without_an_agent(legato: Command, store: Store) -> None:
    store.save_queue(WorkQueue(id=new_id(), name="gpu", created_at=SystemClock().now()))
    add_due(store, "amber-heron", 300)

    answer = legato("why", "amber-heron")

    assert (
        answer.out
        == "Late by 5 min: queue 'gpu' has no live agent: none came within a day, or those that did have ended\nIt is next in line\n"
    )
    assert answer.err == "Try: legato agent start gpu\n"


def test_behind_a_limit(legato: Command, store: Store) -> None:
    from legato.core.records import Agent, ClaimRequest

    now = SystemClock().now()
    store.save_queue(WorkQueue(id=new_id(), name="gpu", created_at=now, concurrency_limit=1))
    store.save_agent(Agent(id="w", name="w-1", queues=("gpu",), started_at=now, last_seen_at=now))
    add_due(store, "amber-heron", 300)
    store.claim_runs(ClaimRequest(agent_id="w", queues=("gpu",)))
    add_due(store, "brave-newt", 240)

    answer = legato("why", "brave-newt")

    assert re.fullmatch(
        r"Late by 4 min: queue 'gpu' is at its limit: 1 of 1 slots, held by amber-heron \(.*s\)\nIt is next in line\n", answer.out
    )
    facts = json.loads(legato("why", "brave-newt", "-o", "json").out)
    assert facts["sentences"][0].startswith("Late by 4 min: queue 'gpu' is at its limit")
    assert (facts["facts"]["queue"], facts["facts"]["limit"], facts["facts"]["before"]) == ("gpu", 1, 0)
    assert facts["hint"] == "legato work-queue set-limit gpu 2"


def test_a_retry(legato: Command, store: Store) -> None:
    run, now = add_run(store, "amber-heron", ended=None), SystemClock().now()
    message = "attempt 2 failed: OSError: disk full; attempt 3 of 5 follows in 10805 s"
    waits = State(SCHEDULED, "AwaitingRetry", now, message)
    add_task(store, run, "load-0", State(RUNNING, "Running", now), waits)

    answer = legato("why", "amber-heron/load-0")

    assert answer.out == "Next attempt (3 of 5) in 3 h because attempt 2 failed: OSError: disk full\n"


def test_a_pause(legato: Command, store: Store) -> None:
    run, now = add_run(store, "amber-heron", ended=None), SystemClock().now()
    store.ask_input(RunInput(flow_run_id=run.id, key="k", asked_at=now, prompt="Deploy?"))
    paused = State(PAUSED, "Paused", now - timedelta(seconds=125), "Deploy?")
    store.apply([Transition(RunKind.FLOW, run.id, 2, paused, 1, fence=1)])

    answer = legato("why", "amber-heron")

    assert (answer.out, answer.err) == ("Paused for 2 min: asks 'Deploy?'\n", "Try: legato run resume amber-heron\n")
    assert "Why\tPaused for 2 min: asks 'Deploy?'" in legato("run", "show", "amber-heron").out


@pytest.mark.parametrize(
    ("name", "message", "said"),
    [
        (
            "Cached",
            "reused the result of 'load-0' of run 'calm-otter', made 3 min ago (INPUTS; key k)",
            "Cached 5 min ago: it reused the result of 'load-0' of run 'calm-otter', made 3 min ago (INPUTS; key k)\n",
        ),
        (
            "Skipped",
            "trigger any_failed said no: 0 of 2 before it failed",
            "Skipped: trigger any_failed said no: 0 of 2 before it failed\n",
        ),
    ],
)
def test_cached_and_skipped(name: str, message: str, said: str, legato: Command, store: Store) -> None:
    run = add_run(store, "amber-heron", ended=None)
    add_task(store, run, "load-0", State(COMPLETED, name, SystemClock().now() - timedelta(seconds=301), message))

    assert legato("why", "amber-heron/load-0").out == said
    assert f"Why\t{said}" in legato("task", "show", "amber-heron/load-0").out


def test_every_run_of_a_store_can_be_explained_by_id(legato: Command, store: Store) -> None:
    from legato.core.states import FAILED

    for n, ended in enumerate((None, COMPLETED, FAILED)):
        add_run(store, f"run-{n}", ended=ended)

    for run in store.list_flow_runs(FlowRunFilter()).items:
        answer = legato("why", run.id, "-o", "json")
        assert answer.code == 0
        assert json.loads(answer.out)["facts"]["state"] == run.state.name


def test_what_is_not_there_ends_with_3(legato: Command, store: Store) -> None:
    assert [legato("why", wanted).code for wanted in ("nobody", "nobody/load-0", new_id())] == [3, 3, 3]
    assert msgspec.json.encode(store.list_flow_runs().items) == b"[]"


@pytest.mark.parametrize("name", ["amber-heron", "report for May", "it's done", "train $1; rm", "Größe #3"])
@pytest.mark.parametrize("twice", [False, True], ids=["one of its name", "two of its name"])
def test_what_it_says_to_try_can_be_typed(name: str, twice: bool, legato: Command, store: Store) -> None:
    import shlex

    from legato.core.states import FAILED

    run = add_run(store, name, ended=FAILED)
    if twice:
        add_run(store, name)

    said = legato("why", run.id).err.removeprefix("Try: ").strip()

    program, *words = shlex.split(said)
    assert program == "legato"
    assert legato(*words).code == 0, said
