"""A process forks: by daemonising, by multiprocessing, before its workers start, inside a task, beside threads that write. Nothing that was
acknowledged is lost in parent or child, nothing hangs, and a child says nothing for its parent's runs.
"""

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def run(home: Path, source: str, *, within_s: float = 60) -> str:
    script = home / "script.py"
    script.write_text("import os, sys, time, threading\nfrom legato import flow, task\n" + textwrap.dedent(source))
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("LEGATO_")},
        "LEGATO_HOME": str(home),
        "LEGATO_LOG_LEVEL": "error",
    }
    done = subprocess.run([sys.executable, str(script)], env=environ, capture_output=True, text=True, timeout=within_s, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def history(home: Path) -> list[tuple[str, str, str | None]]:
    with sqlite3.connect(home / "legato.db") as connection:
        rows = connection.execute("select flow_name, state_name, parent_run_id from flow_run order by n").fetchall()
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
    return rows


def test_a_script_that_daemonises_after_its_first_flow_loses_nothing(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        @flow
        def f(n): return n
        f(0)
        read, write = os.pipe()
        if os.fork():
            os.close(write); os.read(read, 1); os._exit(0)   # the parent waits here for the test's sake only
        os.setsid()
        for n in range(20): f(n)
        """,
    )

    assert [state for _, state, _ in history(tmp_path)] == ["Completed"] * 21


def test_the_parents_last_close_takes_nothing_of_the_childs_away(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        @flow
        def f(n): return n
        f(0)
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            f(1); os.write(ready[1], b"x"); os.read(go[0], 1)
            for n in range(10): f(n)
            sys.exit(0)
        os.read(ready[0], 1)
        from legato.sdk.process import close_engine
        f(2); close_engine(); os.write(go[1], b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        """,
    )

    assert [state for _, state, _ in history(tmp_path)] == ["Completed"] * 13


def test_workers_that_are_forked_after_preloading_run_flows_of_their_own(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        @flow
        def f(n): return n
        f(0)
        pids = []
        for _ in range(4):
            pid = os.fork()
            if not pid:
                for n in range(10): f(n)
                sys.exit(0)
            pids.append(pid)
        for n in range(10): f(n)
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4
        """,
    )

    assert [state for _, state, _ in history(tmp_path)] == ["Completed"] * 51


def test_multiprocessing_inside_a_task_makes_runs_of_their_own(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        import multiprocessing
        @flow
        def inner(n): return n * 2
        @task
        def spread():
            with multiprocessing.get_context("fork").Pool(2) as pool: return pool.map(inner, range(6))
        @flow
        def outer(): return spread()
        assert outer() == [0, 2, 4, 6, 8, 10]
        """,
    )

    rows = history(tmp_path)
    assert sorted(rows, key=str) == sorted([("outer", "Completed", None)] + [("inner", "Completed", None)] * 6, key=str)


CHILDS_ENDS = {
    # what the child does, and what its parent hears of its end; None: where a task has a thread or process of its own, that ends; elsewhere the child would go on with the rest of the script
    "an exit": ("sys.exit(3)", 3),
    "an exit without a code": ("sys.exit()", 0),
    "an exit at once": ("os._exit(4)", 4),
    "an exception": ("raise ValueError('of the child')", None),
    "a signal": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)", -15),
    "Ctrl-C": ("signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGINT); time.sleep(30)", -2),
    "another program": ("os.execvp('true', ['true'])", 0),
    "its return": ("return 'of the child'", None),
    "a task and an exit": ("one(); sys.exit(6)", 6),
}
FORKING_TASKS = {
    "called": "forks()",
    "submitted": "forks.submit().result()",
    "in a worker process": "forks.submit().result()",
    "in the flow itself": "forks.fn()",
    "async": "asyncio.run(aforks())",
}


@pytest.mark.parametrize(
    ("where", "end"),
    [
        (where, end)
        for where in FORKING_TASKS
        for end, (_, code) in CHILDS_ENDS.items()
        if code is not None or where in ("in a worker process", "submitted")
    ],
)
def test_a_forked_childs_end_is_its_own(tmp_path: Path, where: str, end: str) -> None:
    does, code = CHILDS_ENDS[end]
    runner = "ProcessTaskRunner(1)" if where == "in a worker process" else "ThreadTaskRunner(2)"
    out = run(
        tmp_path,
        f"""
        import asyncio, signal
        from legato import ProcessTaskRunner, ThreadTaskRunner
        @task
        def one(): return 1
        @task
        def forks():
            pid = os.fork()
            if not pid:
                {does}
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        @task
        async def aforks(): return forks.fn()
        @flow(task_runner={runner})
        def f(): return {FORKING_TASKS[where]}
        if __name__ == "__main__": print(f())
        """,
    )

    heard = int(out.split()[-1])
    assert heard == code if code is not None else heard in (0, 1)
    assert ("f", "Completed", None) in history(tmp_path)
    assert {state for _, state, _ in history(tmp_path)} == {"Completed"}
    with sqlite3.connect(tmp_path / "legato.db") as connection:
        assert {state for (state,) in connection.execute("select state_name from task_run")} <= {"Completed"}
    connection.close()


FORKS_BESIDE_THREADS = """
    @task
    def t(n): return n
    @flow
    def f(n): return t(n)
    done, stop = [], threading.Event()
    def work():
        while not stop.is_set(): done.append(f(len(done)))
    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads: each.start()
    bad = 0
    for _ in range({forks}):
        pid = os.fork()
        if not pid:
            f(1); os._exit(0) if __import__("legato.sdk.process").sdk.process.close_engine() else os._exit(5)
        for _ in range(600):
            got, status = os.waitpid(pid, os.WNOHANG)
            if got: break
            time.sleep(0.05)
        else:
            os.kill(pid, 9); os.waitpid(pid, 0); bad += 1
        bad += got and os.waitstatus_to_exitcode(status) != 0
    stop.set()
    for each in threads: each.join()
    print(len(done), bad)
"""


@pytest.mark.parametrize("forks", [10, pytest.param(1000, marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])])
def test_forks_beside_threads_that_write_lose_nothing_and_hang_nobody(tmp_path: Path, forks: int) -> None:
    done, bad = map(int, run(tmp_path, FORKS_BESIDE_THREADS.format(forks=forks), within_s=100 if forks < 100 else 1700).split())

    assert bad == 0
    assert [state for _, state, _ in history(tmp_path)] == ["Completed"] * (done + forks)
