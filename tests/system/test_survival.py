"""What must survive: the server killed under flows that report to it, processes killed under a server that watches them."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from legato.core.planning import run_of
from legato.core.records import FlowRun, WorkQueue
from legato.core.schedules import IntervalSchedule
from legato.core.states import StateType
from legato.sdk import deployments
from legato.storage.local import LocalStorage
from legato.system import SystemClock, new_id

from tests.support.waiting import until
from tests.system.conftest import House

STEPS = """
def write(word):
    with open(LEDGER, "a") as file:
        file.write(f"{word}:{os.getpid()}\\n")
        file.flush()
        os.fsync(file.fileno())

@task
def step(n):
    write(f"step{n}")
    deadline = time.monotonic() + 30
    while n == 5 and not os.path.exists(LEDGER + ".go") and time.monotonic() < deadline:
        time.sleep(0.02)
    return n

@flow
def steps():
    return sum(step(n) for n in range(20))

if __name__ == "__main__":
    steps()
"""


def go_on(house: House) -> None:
    Path(f"{house.ledger}.go").touch()


def pid_at(house: House, word: str) -> int:
    found = until(lambda: [line for line in house.lines() if line.startswith(word + ":")], what=word)
    return int(found[0].partition(":")[2])


@pytest.mark.parametrize("remote", [True, False], ids=["reporting to the server", "writing into its database"])
def test_flows_in_flight_finish_while_the_server_is_dead_and_all_their_states_are_there_afterwards(house: House, remote: bool) -> None:
    house.start_server()
    script = house.script(STEPS, remote=remote)
    pid_at(house, "step5")
    house.kill_server()
    go_on(house)
    pid_at(house, "step19")
    house.start_server()

    assert script.wait(60) == 0
    (run,) = house.runs()
    assert (run.state.name, run.result and run.result.preview) == ("Completed", "190")
    tasks = house.store.list_task_runs(run.id).items
    assert [task_run.state.name for task_run in tasks] == ["Completed"] * 20
    assert [entry.seq for entry in house.store.list_transitions(tasks[-1].id)] == [1, 2]
    assert len(house.lines()) == 20


def test_what_could_not_be_sent_is_sent_by_the_next_process_and_believed(house: House) -> None:
    house.start_server()
    script = house.script(STEPS)
    pid_at(house, "step5")
    house.kill_server()
    go_on(house)
    assert script.wait(90) == 0
    assert list((house.client_home / "spool").rglob("*.spool"))
    house.start_server()
    until(lambda: house.runs()[0].state.name == "Crashed", what="the run being given up: its process is gone")

    house.script("@flow\ndef other():\n    pass\n\nother()\n").wait(60)

    first, other = house.runs()
    assert (first.state.name, other.state.name) == ("Completed", "Completed")
    assert {task_run.state.name for task_run in house.store.list_task_runs(first.id).items} == {"Completed"}
    assert not list((house.client_home / "spool").rglob("*.spool"))


@pytest.mark.parametrize("remote", [True, False], ids=["reporting to the server", "writing into its database"])
def test_a_flow_process_that_is_killed_is_crashed_by_the_server_within_45_s(house: House, remote: bool) -> None:
    house.start_server()
    house.script(STEPS, remote=remote)
    os.kill(pid_at(house, "step5"), signal.SIGKILL)

    until(lambda: house.runs()[0].state.type is StateType.CRASHED, within_s=45, what="the crash being noticed")

    (run,) = house.runs()
    assert run.lease_expires_at is None
    assert all(task_run.state.is_final for task_run in house.store.list_task_runs(run.id).items)


def deploy(house: House, source: str, **options: object) -> None:
    folder = house.folder / "flows"
    folder.mkdir()
    text = "import os, time\nfrom datetime import timedelta\nfrom legato import Deployment, IntervalSchedule, flow, task\n"
    (folder / "flows.py").write_text(
        text + source.replace("LEDGER", repr(str(house.ledger))) + f"\nDeployment(steps, name='test', **{options!r})\n"
    )
    declared = deployments.deployments_in(folder / "flows.py")
    if "every" in source:
        declared[0].schedules = [IntervalSchedule(interval=timedelta(seconds=1))]
    deployments.create(declared, house.store, LocalStorage(house.client_home / "storage"), root=folder, clock=SystemClock())
    house.store.save_queue(WorkQueue(id=new_id(), name="default", created_at=SystemClock().now()))


def scheduled_now(house: House) -> str:
    deployment = house.store.get_deployment("steps/test")
    now = SystemClock().now()
    return house.store.create_flow_run(run_of(deployment, id=new_id(), due_at=now, now=now, trigger="test")).id


def test_a_deployed_run_outlives_the_servers_death(house: House) -> None:
    house.start_server()
    deploy(house, STEPS)
    house.agent("default")
    run_id = scheduled_now(house)
    pid_at(house, "step5")
    house.kill_server()
    go_on(house)
    pid_at(house, "step19")
    house.start_server()

    until(lambda: house.store.get_flow_run(run_id).state.is_final, within_s=60, what="the run's end")

    run = house.store.get_flow_run(run_id)
    assert (run.state.name, run.attempt) == ("Completed", 1)
    assert len(house.lines()) == 20


def test_scheduled_runs_are_made_handed_out_and_completed_with_nobody_touching_anything(house: House) -> None:
    house.start_server()
    deploy(house, "# every second\n@flow\ndef steps():\n    return 1\n")
    house.agent("default")

    def completed() -> list[FlowRun]:
        return [run for run in house.runs() if run.state.name == "Completed"]

    done = until(lambda: completed() if len(completed()) >= 2 else [], within_s=40, what="two scheduled runs")

    assert len({run.expected_start_at for run in done}) == len(done)
    assert all(run.trigger.startswith("schedule") for run in done)
