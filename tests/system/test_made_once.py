"""Two real processes that want the same cached result: one makes it, and when that one is killed the other does."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.waiting import until
from tests.system.conftest import House

SAME_WORK = """

@task(cache_policy=lambda context, parameters: f"slow-{parameters['n']}")  # two files: their tasks have keys of their own
def slow(n):
    with open(LEDGER, "a") as file:
        file.write(f"slow:{os.getpid()}\\n")
    deadline = time.monotonic() + 60
    while not os.path.exists(LEDGER + ".go") and time.monotonic() < deadline:
        time.sleep(0.02)
    return n * 6

@flow
def wants():
    return slow(7)

if __name__ == "__main__":
    assert wants() == 42
"""


def waiting(house: House) -> list[str]:
    runs = [task for run in house.runs() for task in house.store.list_task_runs(run.id).items]
    return [run.state.message for run in runs if run.state.name == "Scheduled"]


def first_and_second(house: House, *, remote: tuple[bool, bool]):
    """Two processes: the first makes the result, the second waits for it."""
    first = house.script(SAME_WORK, remote=remote[0])
    until(house.lines, what="the first process's work")
    second = house.script(SAME_WORK, remote=remote[1])
    until(lambda: waiting(house), what="the second process's wait")
    return first, second


@pytest.mark.parametrize(
    "remote", [(True, True), (False, False), (True, False)], ids=["through a server", "in its database", "one of each"]
)
def test_two_processes_make_a_result_once(house: House, remote: tuple[bool, bool]) -> None:
    house.start_server()
    first, second = first_and_second(house, remote=remote)
    assert "waits for 'slow-0' of run '" in waiting(house)[0]
    Path(f"{house.ledger}.go").touch()

    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert len(house.lines()) == 1
    names = [task.state.name for run in house.runs() for task in house.store.list_task_runs(run.id).items]
    assert sorted(names) == ["Cached", "Completed"]


@pytest.mark.parametrize("remote", [True, False], ids=["through a server", "in its database"])
def test_when_the_process_that_makes_it_is_killed_the_other_does(house: House, remote: bool) -> None:
    house.start_server()
    first, second = first_and_second(house, remote=(remote, remote))
    first.send_signal(signal.SIGKILL)
    Path(f"{house.ledger}.go").touch()

    assert second.wait(60) == 0
    first.wait()
    makers = [int(line.partition(":")[2]) for line in house.lines()]
    assert makers == [first.pid, second.pid]


def test_without_any_server_a_killed_process_is_noticed_by_the_one_that_waits(house: House) -> None:
    house.start_server()
    house.kill_server()
    first = house.script(SAME_WORK, remote=False)
    until(house.lines, what="the first process's work")
    second = house.script(SAME_WORK, remote=False)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    Path(f"{house.ledger}.go").touch()

    assert second.wait(20) == 0, "long before the lease of the killed one runs out"
    assert len(house.lines()) == 2
