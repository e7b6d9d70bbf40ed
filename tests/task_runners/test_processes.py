"""What is special to worker processes: they report live, can be stopped by force, die without taking others along, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from legato import ProcessTaskRunner, flow, get_run_logger, task
from legato.core.errors import RunCrashed, TaskTimeout, UsageError
from legato.testing import Harness

from tests.support.waiting import until
from tests.task_runners import work
from tests.task_runners.conftest import make


@pytest.fixture(params=["forkserver", "spawn"])
def processes(request: pytest.FixtureRequest) -> Any:
    """Both ways of starting workers."""
    return make(request.param, request)


def in_flow(runner: Any, body: Callable[[], Any]) -> Any:
    @flow(task_runner=runner)
    def main() -> Any:
        return body()

    return main()


def in_background(run: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=run)
    thread.start()
    return thread


@task
def log_and_wait(file: Path) -> str:
    get_run_logger().info("it has begun")
    work.double(1)
    end = time.monotonic() + 30
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return "waited"


@task
def swallow_stops(file: Path) -> None:
    """Cannot be asked to stop, and has started a program of its own."""
    program = subprocess.Popen(["sleep", "60"])
    work.note(file, str(program.pid))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001 that is the point
            continue


@task
def sleep_long() -> None:
    time.sleep(60)


def test_lines_and_nested_tasks_are_seen_while_the_task_runs(h: Harness, processes: Any, tmp_path: Path) -> None:
    file = tmp_path / "go"
    thread = in_background(lambda: in_flow(processes, lambda: log_and_wait.submit(file).result()))

    until(lambda: h.flow_runs() and [line.message for line in h.logs()] == ["it has begun"], what="the line")
    until(lambda: [run.state.name for run in h.task_runs() if run.name == "double-0.0"] == ["Completed"], what="the nested task")
    assert [run.state.name for run in h.task_runs() if run.name == "log_and_wait-0"] == ["Running"]
    file.touch()
    thread.join(10)

    assert not thread.is_alive()


def test_a_sleeping_task_is_stopped_at_once(h: Harness, processes: Any) -> None:
    def body() -> float:
        work.double.submit(1).result()
        began = time.monotonic()
        with pytest.raises(TaskTimeout):
            sleep_long.with_options(timeout_seconds=0.2).submit().result()
        return time.monotonic() - began

    assert in_flow(processes, body) < 1.9  # without the grace before force, that is


def test_a_task_that_does_not_hear_is_ended_by_force_with_all_it_has_started(h: Harness, processes: Any, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def body() -> None:
        with pytest.raises(TaskTimeout):
            swallow_stops.with_options(timeout_seconds=4).submit(file).result()

    in_flow(processes, body)

    assert [run.state.name for run in h.task_runs()] == ["TimedOut"]
    pid = int(work.notes(file)[0])
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, what="the program's end")


def test_the_neighbours_of_a_task_that_dies_are_not_lost(h: Harness, processes: Any, tmp_path: Path) -> None:
    def body() -> None:
        others = [work.note_slowly.submit(tmp_path / "notes", 0.1) for _ in range(3)]
        dead = [work.die.submit("kill"), work.die.submit("exit")]
        others += [work.note_slowly.submit(tmp_path / "notes", 0.01) for _ in range(3)]
        for future in dead:
            with pytest.raises(RunCrashed, match=r"killed by signal 9 \(SIGKILL\)|ended with exit code 3"):
                future.result()
        for future in others:
            future.result()

    in_flow(processes, body)

    assert len(work.notes(tmp_path / "notes")) == 6


def test_a_worker_that_died_idle_is_replaced(h: Harness, processes: Any) -> None:
    def body() -> None:
        pid = work.where.submit().result()
        os.kill(pid, signal.SIGKILL)
        assert work.where.submit().result() != pid

    in_flow(processes, body)

    assert {run.state.name for run in h.task_runs()} == {"Completed"}


def test_what_was_reported_before_a_kill_is_kept(h: Harness, processes: Any, tmp_path: Path) -> None:
    seen: list[BaseException | None] = []
    thread = in_background(lambda: in_flow(processes, lambda: seen.append(_waiting(tmp_path).exception())))

    line = until(lambda: h.flow_runs() and h.logs(), what="the line")[0]
    os.kill(int(work.notes(tmp_path / "pid")[0]), signal.SIGKILL)
    thread.join(10)

    assert isinstance(seen[0], RunCrashed)
    assert h.logs()[0].message == line.message == "here I am"


def _waiting(folder: Path) -> Any:
    @task
    def wait() -> None:
        work.note(folder / "pid", str(os.getpid()))
        get_run_logger().info("here I am")
        time.sleep(60)

    return wait.submit()


def test_nothing_is_left_behind(h: Harness, processes: Any) -> None:
    in_flow(processes, lambda: work.double.submit(1).result())  # whatever is opened once for the whole process is open now
    files, children = set(Path("/proc/self/fd").iterdir()), psutil.Process().children(recursive=True)

    def body() -> None:
        work.double.submit(1).result()
        work.die.submit("kill").exception()
        sleep_long.with_options(timeout_seconds=0.05).submit().exception()

    in_flow(processes, body)

    assert set(psutil.Process().children(recursive=True)) <= set(children)  # those of clusters that other tests use
    assert set(Path("/proc/self/fd").iterdir()) <= files


def test_a_worker_is_replaced_before_it_keeps_too_many_functions(h: Harness) -> None:
    def body() -> list[int]:
        pids = []
        for n in range(300):

            @task
            def one(n: int = n) -> int:
                return os.getpid()

            pids.append(one.submit().result())
        return pids

    pids = in_flow(ProcessTaskRunner(1), body)

    assert len(set(pids)) == 2


def test_a_flow_in_a_task_may_have_worker_processes_of_its_own(h: Harness) -> None:
    @flow(task_runner=ProcessTaskRunner(1))
    def inner() -> int:
        return work.where.submit().result()

    @task
    def around() -> tuple[int, int]:
        return os.getpid(), inner()

    outer, innermost = in_flow(ProcessTaskRunner(1), lambda: around.submit().result())

    assert len({outer, innermost, os.getpid()}) == 3
    assert [run.state.name for run in h.flow_runs()] == ["Completed", "Completed"]


@pytest.mark.parametrize(
    ("options", "said"), [({"max_workers": 0}, "max_workers is 0"), ({"start_method": "fork"}, "start_method is 'fork'")]
)
def test_options_that_make_no_sense_are_refused(options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ProcessTaskRunner(**options)


# -- whole programs


PROGRAM = """
import os, time
from legato import ProcessTaskRunner, flow, task

FACTOR = 3

class Odd(Exception):
    pass

def helper(x):
    return FACTOR * x

@task
def triple(x):
    if x == 7:
        raise Odd(x)
    return helper(x)

@task
def note_pid_and_sleep(path):
    with open(path, "a") as file:
        print(os.getpid(), file=file, flush=True)
    time.sleep(60)

@flow(task_runner=ProcessTaskRunner(2))
def main():
"""


def program(folder: Path, body: str, end: str = "main()\n") -> Path:
    file = folder / "program.py"
    file.write_text(PROGRAM + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n\n" + end, encoding="utf-8")
    return file


def test_a_script_needs_no_guard_around_its_main_part(tmp_path: Path, legato_home: Path) -> None:
    file = program(
        tmp_path,
        """
        try:
            triple.submit(7).result()
        except Odd as odd:
            print("odd", odd)
        print(sum(triple.map([1, 2, 3]).result()))
        """,
    )

    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "odd 7\n18\n"


@pytest.mark.parametrize(
    "pool",
    ["multiprocessing.get_context('fork').Pool(2)", "concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context('fork'))"],
)
def test_a_task_may_have_a_pool_of_its_own_for_a_scripts_functions(tmp_path: Path, legato_home: Path, pool: str) -> None:
    file = tmp_path / "script.py"
    file.write_text(
        textwrap.dedent(f"""
        import concurrent.futures, multiprocessing, pickle
        from legato import ProcessTaskRunner, flow, task

        class Pair:
            def __init__(self, n):
                self.n = n

        def square(n):
            return n * n

        def paired(n):
            return Pair(square(n))

        @task
        def squares(n):
            with {pool} as pool:
                return [one.n for one in pool.map(paired, range(n))]

        @task
        def other(n):
            return pickle.loads(pickle.dumps(square))(n), type(pickle.loads(pickle.dumps(Pair(n)))) is Pair

        @flow(task_runner=ProcessTaskRunner(1))
        def main():
            print(squares.submit(4).result(), other.submit(3).result(), squares.submit(2).result())

        main()
        """)
    )

    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0, 1, 4, 9] (9, True) [0, 1]\n"


def start(file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def workers_of(pids: Path) -> list[int]:
    return [int(pid) for pid in until(lambda: len(work.notes(pids)) == 2 and work.notes(pids), what="two workers")]


def are_gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_workers_end_when_the_flows_process_is_killed(tmp_path: Path, legato_home: Path) -> None:
    pids = tmp_path / "pids"
    running = start(program(tmp_path, f"[note_pid_and_sleep.submit({str(pids)!r}) for _ in range(2)]"))
    workers = workers_of(pids)
    parents = [psutil.Process(pid).ppid() for pid in workers]

    running.kill()
    running.communicate()

    until(lambda: are_gone(workers + parents), what="the end of workers and their parent")


def test_ctrl_c_ends_the_flow_and_its_workers_without_their_tracebacks(tmp_path: Path, legato_home: Path) -> None:
    pids = tmp_path / "pids"
    running = start(program(tmp_path, f"[note_pid_and_sleep.submit({str(pids)!r}) for _ in range(2)][0].result()"))
    workers = workers_of(pids)

    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    _, said = running.communicate(timeout=30)

    until(lambda: are_gone(workers), what="the workers' end")
    assert said.count("Traceback") == 1, said
    assert said.rstrip().endswith("KeyboardInterrupt"), said
