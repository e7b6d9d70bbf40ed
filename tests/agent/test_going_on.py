"""Deployed runs that go on: retried after a failure or a crash, suspended and answered, forked, paused from outside."""

from legato.core.records import FlowRun
from legato.core.states import PAUSED, StateType

from tests.agent.conftest import Workplace
from tests.support.waiting import until

STEPS = """
@task
def step(n):
    with open(LEDGER, "a") as ledger:
        ledger.write(f"step{n}:{os.getpid()}\\n")
    return n
"""


def steps(place: Workplace) -> list[str]:
    return [line.partition(":")[0] for line in place.lines()]


def test_a_run_that_is_killed_is_run_again_and_does_not_redo_what_finished(place: Workplace) -> None:
    deployed = place.deploy(
        STEPS
        + """
@flow(persist_result=True)
def main():
    total = step(1) + sum(step.map([2, 3]).result())
    if not os.path.exists(LEDGER + ".killed"):
        open(LEDGER + ".killed", "w").close()
        os.kill(os.getpid(), 9)
    return total + step(4)
""",
        on_lost="retry",
    )
    place.agent()

    run = place.ended(place.schedule(deployed))

    assert (run.state.name, run.attempt) == ("Completed", 2)
    assert run.result is not None
    assert run.result.preview == "10"
    assert sorted(steps(place)) == ["step1", "step2", "step3", "step4"]


def test_a_failed_run_that_is_scheduled_again_goes_on_where_it_failed(place: Workplace) -> None:
    deployed = place.deploy(
        STEPS
        + """
@flow(persist_result=True)
def main():
    first = step(1)
    if not os.path.exists(LEDGER + ".mended"):
        raise OSError("not yet")
    return first + step(2)
"""
    )
    place.agent()
    run_id = place.schedule(deployed)
    assert place.ended(run_id).state.name == "Failed"
    (place.ledger.parent / (place.ledger.name + ".mended")).touch()

    place.store.schedule_again(run_id, why="retried by hand")

    run = until(lambda: _ended_as(place, run_id, "Completed"), what="the second attempt's end")
    assert (run.attempt, steps(place)) == (2, ["step1", "step2"])


def _ended_as(place: Workplace, run_id: str, name: str) -> FlowRun | None:
    run = place.run(run_id)
    return run if run.state.name == name else None


def test_a_suspended_run_frees_its_place_and_goes_on_with_the_answer(place: Workplace) -> None:
    deployed = place.deploy(
        "from legato import suspend_flow_run\n"
        + STEPS
        + """
@flow(persist_result=True)
def main():
    return step(1) + suspend_flow_run(int, prompt="how many?")
"""
    )
    place.agent()
    run_id = place.schedule(deployed)
    until(lambda: place.run(run_id).state.type is PAUSED, what="the suspension")
    pid = place.wrote("step1")
    until(lambda: not _lives(pid), what="the end of its process")

    suspended = place.run(run_id)
    assert (suspended.state.name, suspended.lease_expires_at) == ("Suspended", None)
    assert place.store.get_queue("default").running == 0
    (asked,) = place.store.list_inputs(run_id)
    place.store.answer_input(run_id, asked.key, 41)
    place.store.schedule_again(run_id, why="answered")

    run = place.ended(run_id)
    assert run.result is not None
    assert (run.state.name, run.result.preview, steps(place)) == ("Completed", "42", ["step1"])


def _lives(pid: int) -> bool:
    from legato.system import process_is_alive

    return process_is_alive(pid)


def test_a_running_run_is_paused_and_goes_on(place: Workplace) -> None:
    deployed = place.deploy(
        STEPS
        + """
@flow
def main():
    n = 0
    while not os.path.exists(LEDGER + ".enough"):
        n += 1
        step("-")
        time.sleep(0.05)
    return n
"""
    )
    place.agent()
    run_id = place.schedule(deployed)
    place.wrote("step-")

    place.store.request_pause(run_id)

    until(lambda: place.run(run_id).state.type is PAUSED, what="the pause")
    seen = len(steps(place))
    (asked,) = place.store.list_inputs(run_id)
    assert asked.prompt == "paused by a person"
    assert len(steps(place)) == seen
    place.store.answer_input(run_id, asked.key, None)
    until(lambda: place.run(run_id).state.type is StateType.RUNNING, what="that it goes on")
    until(lambda: len(steps(place)) > seen, what="the next step")
    (place.ledger.parent / (place.ledger.name + ".enough")).touch()
    assert place.ended(run_id).state.name == "Completed"
