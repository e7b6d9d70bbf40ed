"""What an agent does with runs that work, fail, die, hang and are cancelled: real processes, real signals."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from legato.core.states import StateType
from legato.system import SystemClock

from tests.agent.conftest import Workplace
from tests.support.waiting import until

WORKING = """
@task
def double(x: int) -> int:
    return 2 * x

@flow
def main(x: int = 1) -> int:
    print("doubling")
    return double(x)
"""

WRITE = """
def write(word):
    with open(LEDGER, "a") as file:
        file.write(f"{word}:{os.getpid()}\\n")
        file.flush()
        os.fsync(file.fileno())
"""

WAITING = (
    WRITE
    + """
@task
def wait_for_go():
    while not os.path.exists(LEDGER + ".go"):
        time.sleep(0.02)

@flow
def main():
    write("began")
    wait_for_go()
    write("ended")
"""
)


@pytest.mark.parametrize("warm", [True, False])
def test_an_agent_runs_what_is_due_and_records_its_tasks_and_result(place: Workplace, warm: bool) -> None:
    run_id = place.schedule(place.deploy(WORKING), x=21)
    place.agent(warm=warm)

    run = place.ended(run_id)

    assert (run.state.name, run.attempt, run.work_queue) == ("Completed", 1, "default")
    assert run.result is not None
    assert run.result.preview == "42"
    assert [entry.state.name for entry in place.store.list_transitions(run_id)] == ["Scheduled", "Pending", "Running", "Completed"]
    assert [task_run.name for task_run in place.store.list_task_runs(run_id).items] == ["double-0"]


def test_a_run_uses_the_source_that_was_deployed_not_what_the_file_says_now(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(WORKING), x=1)
    (place.source / "flows.py").write_text("raise SystemError('edited since')")
    place.agent()

    assert place.ended(run_id).state.name == "Completed"


def test_a_failing_flow_is_failed_with_its_error_and_not_lost(place: Workplace) -> None:
    run_id = place.schedule(place.deploy("@flow\ndef main():\n    raise ValueError('no such column')\n"))
    place.agent()

    run = place.ended(run_id)

    assert (run.state.type, run.lost) == (StateType.FAILED, 0)
    assert run.error is not None
    assert (run.error.type, run.error.message, run.error.function) == ("ValueError", "no such column", "main")


def test_parameters_that_do_not_fit_fail_the_run_with_a_clear_message(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(WORKING), x="many")
    place.agent()

    run = place.ended(run_id)

    assert run.state.type is StateType.FAILED
    assert "parameter 'x' does not fit" in run.state.message


def test_a_flow_process_that_is_killed_is_crashed_within_seconds_and_frees_its_slot(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(WAITING))
    place.agent()
    os.kill(place.wrote("began"), signal.SIGKILL)

    run = place.ended(run_id, within_s=10)

    assert (run.state.type, run.lost, run.lease_expires_at) == (StateType.CRASHED, 1, None)
    assert "SIGKILL" in run.state.message
    assert all(task_run.state.is_final for task_run in place.store.list_task_runs(run_id).items)
    assert place.store.get_queue("default").running == 0


def test_a_killed_run_runs_again_where_its_policy_says_so(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(WAITING, on_lost="retry"))
    place.agent()
    first = place.wrote("began")
    os.kill(first, signal.SIGKILL)
    until(lambda: len(place.lines()) > 1, what="the second attempt")
    (place.ledger.parent / "ledger.txt.go").touch()

    run = place.ended(run_id)

    assert (run.state.name, run.attempt, run.lost) == ("Completed", 2, 1)
    assert [line.partition(":")[0] for line in place.lines()] == ["began", "began", "ended"]


def test_a_process_that_leaves_without_a_word_is_crashed_even_with_exit_code_0(place: Workplace) -> None:
    run_id = place.schedule(place.deploy("@flow\ndef main():\n    os._exit(0)\n"))
    place.agent()

    run = place.ended(run_id)

    assert run.state.type is StateType.CRASHED
    assert "exit code 0" in run.state.message


def test_a_cancelled_run_stops_and_is_cancelled(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(WAITING))
    place.agent()
    pid = place.wrote("began")
    place.store.request_cancel(run_id)

    run = place.ended(run_id, within_s=15)

    assert run.state.type is StateType.CANCELLED
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the process's end")
    assert [line.partition(":")[0] for line in place.lines()] == ["began"]


def test_when_the_agent_is_killed_its_run_ends_right_and_nothing_runs_twice(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(WAITING))
    agent = place.agent()
    place.wrote("began")
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    place.agent()
    (place.ledger.parent / "ledger.txt.go").touch()

    run = place.ended(run_id)

    assert (run.state.name, run.attempt) == ("Completed", 1)
    assert [line.partition(":")[0] for line in place.lines()] == ["began", "ended"]


def test_when_the_whole_host_dies_the_lease_ends_and_the_run_is_crashed(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(WAITING))
    agent = place.agent()
    pid = place.wrote("began")
    agent.send_signal(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    later = SystemClock().now() + timedelta(seconds=45)

    (lost,) = place.store.expired_leases(now=later)
    place.store.report_lost(lost.id, lost.epoch, "no sign of life", now=later)

    run = place.run(run_id)
    assert (run.state.type, run.lease_expires_at) == (StateType.CRASHED, None)


def test_a_run_that_was_claimed_but_never_started_is_handed_out_again(place: Workplace) -> None:
    from legato.core.records import ClaimRequest

    run_id = place.schedule(place.deploy(WORKING), x=2)
    (claim,) = place.store.claim_runs(ClaimRequest(agent_id="gone", queues=("default",), lease_s=1))
    place.store.report_lost(run_id, claim.flow_run.epoch, "no sign of life")
    place.agent()

    run = place.ended(run_id)

    assert (run.state.name, run.attempt) == ("Completed", 2)


def test_an_agent_asked_to_stop_lets_its_runs_finish_first(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(WAITING))
    agent = place.agent()
    place.wrote("began")
    agent.send_signal(signal.SIGTERM)
    (place.ledger.parent / "ledger.txt.go").touch()

    assert agent.wait(20) == 0
    assert place.run(run_id).state.name == "Completed"
    assert place.store.list_agents() == []


def test_an_agent_runs_no_more_at_once_than_its_limit(place: Workplace) -> None:
    deployment = place.deploy(WAITING)
    ids = [place.schedule(deployment) for _ in range(3)]
    place.agent(limit=2)
    until(lambda: len(place.lines()) == 2, what="two runs")

    assert [place.run(id_).state.name for id_ in ids].count("Scheduled") == 1

    (place.ledger.parent / "ledger.txt.go").touch()
    assert {place.ended(id_).state.name for id_ in ids} == {"Completed"}


def test_a_warm_parent_learns_which_packages_runs_import(place: Workplace) -> None:
    source = (
        "import sys\nfrom legato import flow\nloaded = 'pandas' in sys.modules\n@flow\ndef main():\n    import pandas\n    return loaded\n"
    )
    deployment = place.deploy(source)
    place.agent()

    def knew_pandas() -> bool:
        result = place.ended(place.schedule(deployment)).result
        return result is not None and result.preview == "True"

    until(knew_pandas, within_s=60, what="a run that finds pandas imported already")


def test_a_package_that_starts_threads_is_left_out_by_the_next_parent(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = place.source.parent / "site-packages"
    packages.mkdir()
    (packages / "threaded.py").write_text("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    source = "import sys\nfrom legato import flow\nloaded = 'threaded' in sys.modules\n@flow\ndef main():\n    import threaded\n    return loaded\n"
    deployment = place.deploy(source)
    place.agent()

    def found_it_loaded() -> bool:
        run = place.ended(place.schedule(deployment))
        assert run.state.name == "Completed"
        return run.result is not None and run.result.preview == "True"

    found = [found_it_loaded() for _ in range(8)]
    assert not any(found[-3:])
