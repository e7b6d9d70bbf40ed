"""Whole processes: flows run from files, Ctrl-C, deaths, agents, servers, and the house of both."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from legato.core.states import CANCELLED, COMPLETED, CRASHED
from legato.store.port import Store

from tests.cli.conftest import Command
from tests.support.ports import free_port

FLOWS = """
import time
from pathlib import Path
from legato import flow, task

@task
def double(n):
    return 2 * n

@flow(log_prints=True)
def etl(n: int = 2, who: str = "me"):
    print("hello", who)
    return sum(f.result() for f in double.map(list(range(n))))

@flow
def bad():
    raise ValueError("no data")

@flow
def lazy():
    return (n for n in range(3))

@flow
def slow():
    Path("started").touch()
    for _ in range(600):
        time.sleep(0.1)

@flow
def stubborn():
    Path("started").touch()
    for _ in range(600):
        try:
            time.sleep(0.1)
        except BaseException:
            pass
"""

DEPLOY = """
from flows import etl
from legato import CronSchedule, Deployment
Deployment(etl, name="prod", schedule=CronSchedule(cron="0 8 * * *"), parameters={"n": 3}, tags=["prod"])
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def flows(tmp_path: Path) -> Path:
    """A folder with flows, and a file that deploys one."""
    (tmp_path / "flows.py").write_text(FLOWS, encoding="utf-8")
    (tmp_path / "deploy.py").write_text(DEPLOY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command line and leave it running; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "legato.cli", *arguments]
        one = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(one)
        return one

    yield begin
    for one in started:
        if one.poll() is None:
            one.send_signal(signal.SIGTERM)
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()
        one.communicate()


def wait_until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


# ------------------------------------------------------------------ flows of files


def test_a_flow_runs_here_with_its_log_on_stderr_and_its_value_on_stdout(process: Command, store: Store) -> None:
    answer = process("run", "flows.py:etl", "-p", "n=4", "-p", "who=42")

    assert answer.code == 0, answer.err
    assert answer.out == "12\n"
    assert "hello 42" in answer.err
    assert store.list_flow_runs().items[0].parameters == {"n": 4, "who": "42"}


def test_a_failed_flow_shows_the_users_lines_and_no_others(process: Command) -> None:
    answer = process("run", "flows.py:bad")

    assert answer.code == 1
    assert 'raise ValueError("no data")' in answer.err
    assert f"{os.sep}legato{os.sep}" not in answer.err.partition("Traceback")[2]
    assert "legato run show" in answer.err


def test_a_value_that_cannot_be_kept_is_told_and_the_run_completes(process: Command, store: Store) -> None:
    answer = process("run", "flows.py:lazy")

    assert answer.code == 0
    assert "cannot be serialised" in answer.err
    assert store.list_flow_runs().items[0].state.type is COMPLETED


@pytest.mark.parametrize(
    ("line", "code", "wanted"),
    [
        ("run broken.py", 2, "broken.py, line 1"),
        ("run lacking.py", 2, "install no_such_module"),
        ("run unguarded.py", 2, "below if __name__"),
        ("run flows.py", 2, "flows.py:etl"),
        ("run flows.py:elt", 3, "did you mean etl?"),
        ("run flow.py", 3, "flows.py"),
        ("run flows.py:etl -p n=many", 2, "parameter 'n' does not fit"),
        ("run flows.py:etl -p whom=x", 2, "Did you mean  who ?"),
        ("deployment create badcron.py", 2, "61"),
        ("deployment create broken.py", 2, "broken.py, line 1"),
        ("deployment create flow.py", 3, "did you mean flows.py?"),
        ("deployment create flows.py", 2, "declares no deployment"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(line: str, code: int, wanted: str, flows: Path, process: Command, store: Store) -> None:
    (flows / "broken.py").write_text("def x(:\n", encoding="utf-8")
    (flows / "lacking.py").write_text("import no_such_module\n", encoding="utf-8")
    (flows / "unguarded.py").write_text("1 / 0\n", encoding="utf-8")
    (flows / "badcron.py").write_text(DEPLOY.replace("0 8", "61 8"), encoding="utf-8")

    answer = process(*line.split())

    assert (answer.code, answer.out) == (code, "")
    assert wanted in answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err.splitlines()) <= 4
    assert store.list_flow_runs().items == []


def test_ctrl_c_cancels_the_run_cleanly(start: Start, flows: Path, store: Store) -> None:
    running = start("run", "flows.py:slow")
    wait_until((flows / "started").exists, "the flow has begun")

    running.send_signal(signal.SIGINT)

    assert running.wait(30) == 130
    assert store.list_flow_runs().items[0].state.type is CANCELLED


def test_a_second_ctrl_c_kills_and_the_next_command_tells_the_truth(start: Start, process: Command, flows: Path) -> None:
    running = start("run", "flows.py:stubborn")
    wait_until((flows / "started").exists, "the flow has begun")

    assert running.stderr is not None
    running.send_signal(signal.SIGINT)
    while "Cancelling" not in running.stderr.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)

    assert running.wait(30) == 130
    [run] = json.loads(process("run", "ls", "-o", "json").out)
    assert run["state"]["type"] == CRASHED


# ------------------------------------------------------------------ deployments, agents, servers


def test_a_deployment_is_created_run_by_an_agent_and_found(process: Command) -> None:
    dry = process("deployment", "create", "deploy.py", "--dry-run")
    assert "Nothing was saved" in dry.err
    assert process("deployment", "ls", "-o", "name").out == ""

    created = process("deployment", "create", "deploy.py")
    assert created.code == 0, created.err
    assert "Run it: legato deployment run etl/prod" in created.err
    assert "Nothing will run it yet" in created.err
    run_id = process("deployment", "run", "etl/prod", "-o", "name").out.strip()
    served = process("agent", "start", "default", "--create", "--once")

    assert served.code == 0, served.err
    assert process("run", "watch", run_id).code == 0
    shown = json.loads(process("run", "show", run_id, "-o", "json").out)
    assert (shown["state"]["type"], shown["work_queue"], shown["parameters"]) == ("completed", "default", {"n": 3})


def test_the_house_comes_up_serves_and_goes_down_with_its_children(start: Start, process: Command, legato_home: Path) -> None:
    port = free_port()
    house = start("up", "--port", str(port), "--no-browser")
    assert house.stdout is not None
    url = house.stdout.readline().strip()
    assert url == f"http://127.0.0.1:{port}", house.communicate()[1]

    status = json.loads(process("server", "status", "-o", "json").out)
    second = process("up")
    taken = subprocess.run(
        [sys.executable, "-m", "legato.cli", "server", "start", "--port", str(port)],
        env={**os.environ, "LEGATO_HOME": str(legato_home / "other")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    created = process("--api-url", f"{url}/api", "deployment", "create", "deploy.py")
    watched = process("--api-url", f"{url}/api", "deployment", "run", "prod", "--watch", "--timeout", "60")
    answered = process("api", "GET", "flow-runs", "-f", "state=completed")
    agents = json.loads(process("agent", "ls", "-o", "json", "--api-url", url).out)
    house.send_signal(signal.SIGINT)

    assert house.wait(30) == 0
    assert status["url"] == url
    assert (second.code, second.err.splitlines()[0]) == (5, f"Error: a server runs already, at {url}.")
    assert (taken.returncode, taken.stderr.splitlines()[0]) == (2, f"Error: port {port} is taken.")
    assert created.code == 0, created.err
    assert watched.code == 0, watched.err
    assert "Completed" in watched.out
    assert len(json.loads(answered.out)["items"]) == 1
    assert process("server", "status").code == 6
    for pid in (status["pid"], *(agent["pid"] for agent in agents)):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_server_is_stopped_by_name_of_its_home(start: Start, process: Command) -> None:
    server = start("server", "start", "--port", "0")
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")

    stopped = process("server", "stop")

    assert stopped.code == 0, stopped.err
    assert server.wait(30) == 0
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


def test_a_misspelt_variable_is_told_once_and_what_was_meant(process: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGATO_API_URI", "http://127.0.0.1:1/api")

    for line in (("run", "flows.py:etl"), ("run", "ls")):
        said = process(*line).err
        assert said.count("LEGATO_API_URI is no setting of Legato's, and has no effect. Did you mean LEGATO_API_URL?") == 1


def test_an_agent_waits_for_a_server_that_is_not_there_yet(start: Start, process: Command, legato_home: Path) -> None:
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    agent = start("--api-url", api, "agent", "start", "default", "--create")
    assert agent.stderr is not None
    assert "trying until it is there" in agent.stderr.readline()
    house = start("server", "start", "--port", str(port))
    assert house.stdout is not None
    assert house.stdout.readline()

    def seen() -> list[object]:
        return json.loads(process("--api-url", api, "agent", "ls", "-o", "json").out)

    wait_until(seen, "the agent has begun")
    assert process("--api-url", f"http://127.0.0.1:{free_port()}/api", "agent", "start", "default", "--once").code == 6
