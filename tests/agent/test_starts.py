"""What goes wrong between a claim and a run's own first word: each run that cannot be started ends with the reason, and takes nobody with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from legato.core.states import StateType
from legato.flow_runners.options import SubprocessFlowRunner
from legato.flow_runners.output import CUT_AT, KEPT, Output
from legato.flow_runners.subprocess import Process, SubprocessLauncher
from legato.system import process_is_alive

from tests.agent.conftest import Workplace
from tests.agent.test_made_ahead import children_of
from tests.support.waiting import until

GOOD = "@flow\ndef main():\n    return 1\n"
BAD_RUNNERS: dict[str, dict[str, Any]] = {
    "a name with =": {"env": {"A=B": "x"}},
    "a name with NUL": {"env": {"A\0": "x"}},
    "no name": {"env": {"": "x"}},
    "a value with NUL": {"env": {"TOKEN": "a\0b"}},
    "no such interpreter": {"python": "/nonexistent/python"},
    "an interpreter with NUL": {"python": "/usr/bin/py\0thon"},
    "no interpreter at all": {"python": "/bin/false"},
    "a program that says other things": {"python": "/bin/echo"},
    "a folder": {"python": "/"},
    "a type nobody knows": {"type": "submarine"},
    "an option of another type": {"env": 3},
}


def corrupted(place: Workplace, kind: str) -> str:
    """A run whose deployment says this of its flow runner, as an older or other program may have stored it."""
    import msgspec

    deployment = msgspec.structs.replace(place.deploy(GOOD, name=kind), flow_runner={"type": "subprocess", **BAD_RUNNERS[kind]})
    place.store.save_deployment(deployment)
    return place.schedule(place.store.get_deployment(deployment.id))


@pytest.mark.parametrize("warm", [True, False])
def test_whatever_keeps_a_run_from_starting_fails_that_run_and_no_other(place: Workplace, warm: bool) -> None:
    runs = {kind: corrupted(place, kind) for kind in BAD_RUNNERS}
    agent = place.agent(warm=warm)

    for kind, run_id in runs.items():
        ended = place.ended(run_id)
        assert ended.state.type is StateType.FAILED, kind
        assert len(ended.state.message or "") > 20, kind

    assert place.ended(place.schedule(place.deploy(GOOD))).state.type is StateType.COMPLETED
    assert agent.poll() is None


ENDING_WHILE_LOADED = {
    "os._exit(3)": "exit code 3 while loading flows.py",
    "os.kill(os.getpid(), 11)": "killed by SIGSEGV while loading flows.py",
    "print('no licence'); raise SystemExit(4)": "exit code 4 while loading flows.py: no licence",
}


def test_a_file_that_ends_its_process_is_given_up_after_three_starts_and_told_why(place: Workplace) -> None:
    runs = {
        end: place.schedule(place.deploy(f"if os.environ.get('LEGATO_RESOLVED'): {end}\n" + GOOD, name=f"d{number}"))
        for number, end in enumerate(ENDING_WHILE_LOADED)
    }
    place.agent()

    for end, run_id in runs.items():
        ended = place.ended(run_id)
        assert ended.state.type is StateType.FAILED
        assert (ended.state.message or "").startswith("could not be started 3 times")
        assert ENDING_WHILE_LOADED[end] in (ended.state.message or "")


def test_the_last_output_of_a_killed_process_stands_in_the_runs_log(place: Workplace) -> None:
    place.agent()
    source = "@flow\ndef main():\n    print('about to die')\n    os.write(2, b'last words')\n    os.kill(os.getpid(), 9)\n"

    ended = place.ended(place.schedule(place.deploy(source)))

    assert ended.state.type is StateType.CRASHED
    assert "SIGKILL" in (ended.state.message or "")
    (line,) = [line for line in place.store.read_logs(ended.id) if line.logger == "legato.output"]
    assert "about to die" in line.message
    assert line.message.endswith("last words")
    assert list((place.home / "output").glob(f"{ended.id}*")) == []


def test_runs_whose_warm_parent_was_killed_before_it_came_up_are_handed_out_again(place: Workplace) -> None:
    run_id = place.schedule(place.deploy(GOOD))
    agent = place.agent()
    parent = until(
        lambda: [pid for pid in children_of(agent.pid) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()], what="a warm parent"
    )
    os.kill(parent[0], signal.SIGKILL)

    assert place.ended(run_id).state.type is StateType.COMPLETED


LEAVING = """
import subprocess
@flow
def main(how: str):
    pids = [os.getpid()]
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(999)"
    for session in (False, True):
        child = subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, start_new_session=session)
        child.stdout.readline()
        pids.append(child.pid)
    pid = os.fork()
    if pid == 0:  # a daemon as textbooks make them
        os.setsid()
        if os.fork():
            os._exit(0)
        with open(LEDGER + how, "a") as file: file.write(f"{os.getpid()}\\n")
        time.sleep(999)
        os._exit(0)
    os.waitpid(pid, 0)
    with open(LEDGER + how, "a") as file: file.write("\\n".join(map(str, pids)) + "\\n")
    while not os.path.exists(LEDGER + ".go"): time.sleep(0.02)
    if how == "raises": raise ValueError
    if how == "killed": os.kill(os.getpid(), 9)
    time.sleep(0 if how == "ends" else 999)
"""


HOW_RUNS_END = ("ends", "raises", "killed", "cancelled")


@pytest.mark.parametrize("warm", [True, False])
def test_nothing_that_a_run_started_outlives_it(place: Workplace, warm: bool) -> None:
    """Runs that end in four ways, side by side: what each has left behind is its own, and goes with it."""
    deployment = place.deploy(LEAVING.replace("PYTHON", repr(sys.executable)))
    runs = {how: place.schedule(deployment, how=how) for how in HOW_RUNS_END}
    place.agent(warm=warm)
    ledgers = [Path(f"{place.ledger}{how}") for how in HOW_RUNS_END]
    until(lambda: all(ledger.exists() and len(ledger.read_text().split()) == 4 for ledger in ledgers))
    pids = [int(word) for ledger in ledgers for word in ledger.read_text().split()]
    assert all(process_is_alive(pid) for pid in pids)

    Path(f"{place.ledger}.go").touch()
    place.store.request_cancel(runs["cancelled"])
    for run_id in runs.values():
        place.ended(run_id)

    until(lambda: not any(process_is_alive(pid) for pid in pids), within_s=25)


def test_an_end_that_was_left_out_of_the_connection_is_told_to_those_that_wait(tmp_path: Path) -> None:
    """A warm parent that is killed with a request in flight: at once, not when a lease ends."""
    ends: list[tuple[int, str, bool]] = []
    launcher = SubprocessLauncher(dict(os.environ), outputs=tmp_path)
    process = Process(_Claim(), lambda one, code: ends.append((code, one.reason, one.in_vain)))  # type: ignore[arg-type]
    launcher.prepare(SubprocessFlowRunner())
    (parent,) = launcher._parents.values()
    os.kill(parent._child.pid, signal.SIGSTOP)
    parent._starting["t"] = process
    os.kill(parent._child.pid, signal.SIGKILL)

    until(lambda: bool(ends), within_s=20)
    assert ends[0][0] == -9
    assert not ends[0][2], "a parent that was killed is no interpreter that cannot be used: the next one may come up"
    launcher.close()


class _Claim:
    """Whose process it is does not matter here."""

    flow_run = SimpleNamespace(id="r", epoch=1, attempt=1)


def test_what_was_asked_of_a_process_before_it_came_up_is_done_when_it_does() -> None:
    child = subprocess.Popen(["sleep", "999"], start_new_session=True)
    process = Process(_Claim(), lambda *_: None)  # type: ignore[arg-type]

    process.stop()
    process.started(child.pid)

    assert child.wait(10) == -signal.SIGTERM


def test_output_that_grows_without_end_is_cut_and_its_end_kept(tmp_path: Path) -> None:
    shown: list[int] = []
    output = Output(tmp_path / "a.log", lambda data: shown.append(len(data)))
    descriptor = output.open()
    for _ in range(3):
        os.write(descriptor, b"x" * CUT_AT)
        output.pump()
    os.write(descriptor, b"the end\0\xff")
    os.close(descriptor)
    started = time.monotonic()

    assert output.path.stat().st_size < CUT_AT
    assert output.tail().endswith("the end\N{REPLACEMENT CHARACTER}")
    assert len(output.tail()) <= KEPT
    output.remove()
    assert sum(shown) == 3 * CUT_AT + 9
    assert time.monotonic() - started < 60


def test_a_run_works_in_a_folder_of_its_own_and_spoils_no_other(place: Workplace) -> None:
    place.agent()
    (place.source / "inbox").mkdir()
    (place.source / "inbox" / "a.txt").write_text("as deployed")
    source = "@flow\ndef main():\n    text = open('inbox/a.txt').read()\n    os.rename('inbox/a.txt', 'gone')\n    open('flows.py', 'w').close()\n    return text\n"
    deployment = place.deploy(source)

    ended = [place.ended(place.schedule(deployment)) for _ in range(2)]

    assert [run.state.type for run in ended] == [StateType.COMPLETED] * 2
    until(lambda: not list((place.home / "runs").iterdir()), within_s=10)


GREEDY = {
    "memory": (
        "@flow\ndef main():\n    held = [bytearray(400_000_000)]\n    time.sleep(60)\n",
        {"memory_mb": 300},
        "more than its limit of 300 MB",
    ),
    "memory of a child": (
        "import subprocess, sys\n@flow\ndef main():\n    subprocess.run([sys.executable, '-c', 'x = bytearray(400_000_000); import time; time.sleep(60)'])\n",
        {"memory_mb": 300},
        "more than its limit of 300 MB",
    ),
    "processes": (
        "import subprocess\n@flow\ndef main():\n    held = [subprocess.Popen(['sleep', '60']) for _ in range(8)]\n    time.sleep(60)\n",
        {"processes": 4},
        "more than its limit of 4",
    ),
}


@pytest.mark.parametrize("kind", list(GREEDY))
def test_a_run_that_takes_more_than_it_may_is_ended_and_says_so(place: Workplace, kind: str) -> None:
    source, limits, says = GREEDY[kind]
    place.agent()
    deployment = place.deploy("from legato import SubprocessFlowRunner\n" + source, flow_runner=SubprocessFlowRunner(**limits))

    ended = place.ended(place.schedule(deployment))

    assert ended.state.type is StateType.CRASHED
    assert says in (ended.state.message or "")


def test_a_machine_on_which_a_run_has_no_room_is_no_fault_of_the_run(place: Workplace) -> None:
    (place.home / "runs").write_text("in the way of its folder, as a full disk would be")
    place.agent()
    run_id = place.schedule(place.deploy(GOOD))
    until(lambda: place.run(run_id).state.type is StateType.PENDING, what="a first start in vain")

    (place.home / "runs").unlink()

    assert place.ended(run_id).state.type is StateType.COMPLETED


def test_a_thread_that_never_ends_keeps_no_place_for_ever_and_is_told_of(place: Workplace) -> None:
    source = """
import threading
from legato import SubprocessFlowRunner
@flow
def main():
    with open(LEDGER, "a") as file: file.write(f"ran:{os.getpid()}\\n")
    threading.Thread(target=threading.Event().wait).start()
"""
    first = place.schedule(place.deploy(source, flow_runner=SubprocessFlowRunner(linger_s=1.0)))
    agent = place.agent(limit=1)
    assert place.ended(first).state.name == "Completed"
    pid = place.wrote("ran")
    second = place.schedule(place.deploy("@flow\ndef main(): return 2\n"))

    assert place.ended(second).state.name == "Completed"
    assert not process_is_alive(pid)
    said = [line.message for line in place.store.read_logs(first)]
    assert any("went on for 1 s after the run's end, and is ended now" in message for message in said)
    assert place.run(first).state.name == "Completed"
    agent.terminate()
