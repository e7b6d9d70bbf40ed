"""`legato run retry`, `resume`, `fork` and `pause`, as a person at a terminal meets them."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Command
from tests.support.waiting import until

FLOW = """
import os, sys
from legato import flow, task, suspend_flow_run, pause_flow_run

@task
def load(n):
    open("ledger", "a").write(f"load {n}\\n")
    return n

@task
def train(rows):
    open("ledger", "a").write("train\\n")
    if os.path.exists("killed"):
        os.kill(os.getpid(), 9)
    if os.path.exists("broken"):
        raise ValueError("no such column")
    return sum(rows)

@flow(persist_result=True, flow_run_name="the-run")
def main(month: int = 3):
    return train([load(month), load(month + 1)])

@flow(flow_run_name="waits")
def waits():
    return pause_flow_run(int, prompt="how many?")

if __name__ == "__main__":
    globals()[sys.argv[1]]()
"""


def script(folder: Path, flow: str = "main") -> subprocess.CompletedProcess[str]:
    (folder / "jobs.py").write_text(FLOW)
    return subprocess.run([sys.executable, "jobs.py", flow], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def ledger(folder: Path) -> list[str]:
    return (folder / "ledger").read_text().splitlines()


def test_a_killed_script_is_retried_from_its_file_and_the_plan_is_told(process: Command, tmp_path: Path) -> None:
    (tmp_path / "killed").touch()
    assert script(tmp_path).returncode == -9
    (tmp_path / "killed").unlink()

    plan = process("run", "retry", "the-run", "--plan")
    done = process("run", "retry", "the-run")

    assert "2 are reused if they are called alike" in plan.out
    assert (done.code, done.out) == (0, "7\n")
    assert "reused 2 task runs, 1 ran" in done.err
    assert ledger(tmp_path) == ["load 3", "load 4", "train", "train"]
    shown = json.loads(process("run", "show", "the-run", "-o", "json").out)
    assert (shown["state"]["name"], shown["attempt"]) == ("Completed", 2)


def test_changed_code_is_run_again_and_said_to_have_changed(process: Command, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    assert script(tmp_path).returncode == 1
    (tmp_path / "broken").unlink()
    (tmp_path / "jobs.py").write_text(FLOW.replace("    return n\n", "    return n * 10\n"))

    plan = process("run", "resume", "the-run", "--plan", "-o", "json")
    done = process("run", "resume", "the-run")

    assert {line["name"]: line["why"] for line in json.loads(plan.out)} == {
        "load-0": "its code differs: 'load' changed",
        "load-1": "its code differs: 'load' changed",
        "train-0": "it failed",
    }
    assert done.out == "70\n"


def test_a_completed_run_is_not_retried_but_forked(process: Command, tmp_path: Path) -> None:
    script(tmp_path)
    run_id = json.loads(process("run", "ls", "-o", "json").out)[0]["id"]

    refused = process("run", "retry", "the-run")
    forked = process("run", "fork", run_id, "--from", "load-1")
    planned = process("run", "fork", run_id, "-p", "month=4", "--plan")
    as_before = process("run", "fork", run_id, "-p", "month=3", "--plan")
    other = process("run", "fork", run_id, "-p", "month=4")
    ambiguous = process("run", "fork", "the-run", "--from", "load-1")

    assert (refused.code, "legato run fork" in refused.err) == (5, True)
    assert (forked.code, forked.out) == (0, "7\n")
    assert "because of month" in planned.out
    assert "because of" not in as_before.out
    assert (other.code, other.out) == (0, "9\n")
    assert (ambiguous.code, "could be any of these runs" in ambiguous.err) == (2, True)
    assert ledger(tmp_path) == ["load 3", "load 4", "train", "load 4", "train", "load 5", "train"]


def test_a_task_that_never_was_is_refused_with_those_that_were(process: Command, tmp_path: Path) -> None:
    script(tmp_path)

    refused = process("run", "fork", "the-run", "--from", "lod")
    plan = process("run", "fork", "the-run", "--from", "lod", "--plan")
    why = process("why", "the-run/lod-0")

    assert (why.code, "no task run 'the-run/lod-0'" in why.err) == (3, True)
    assert refused.code == plan.code == 3
    assert "load-0, load-1, train-0" in refused.err
    assert "load-0, load-1, train-0" in plan.err


def test_a_task_that_several_attempts_ran_is_the_latest_one(process: Command, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    script(tmp_path)
    (tmp_path / "broken").unlink()
    process("run", "retry", "the-run")

    shown = process("task", "show", "the-run/train-0", "--json", "state.name,flow_attempt")
    why = process("why", "the-run/train-0")
    logs = process("run", "logs", "the-run", "--task", "train-0")

    assert json.loads(shown.out) == {"state.name": "Completed", "flow_attempt": 2}
    assert (why.code, why.out.splitlines()[0].split(" in ")[0]) == (0, "Completed")
    assert (logs.code, "no such column" in logs.out) == (0, False)


def test_an_answer_to_a_run_that_failed_is_told_to_retry_it(process: Command, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    script(tmp_path)

    refused = process("run", "resume", "the-run", "--answer", "3")

    assert (refused.code, "legato run retry the-run" in refused.err) == (2, True)


def test_a_run_whose_file_is_gone_says_where_it_was(process: Command, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    script(tmp_path)
    (tmp_path / "jobs.py").unlink()

    refused = process("run", "retry", "the-run")

    assert refused.code == 3
    assert f"the flow of run 'the-run' is not at {tmp_path / 'jobs.py'}:main any more" in refused.err


def test_a_paused_script_is_answered_from_another_terminal(process: Command, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(FLOW)
    waiting = subprocess.Popen([sys.executable, "jobs.py", "waits"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        until(lambda: "how many?" in process("run", "show", "waits").out, what="the question")

        wrong = process("run", "resume", "waits")
        unfit = process("run", "resume", "waits", "--answer", "many")
        planned = process("run", "resume", "waits", "--answer", "13", "--plan")
        elsewhere = process("run", "resume", "waits", "--answer", "13", "--key", "who")
        right = process("run", "resume", "waits", "--answer", "12")

        assert (planned.code, "nothing runs again" in planned.out + planned.err) == (0, True)
        assert (elsewhere.code, "it asks for " in elsewhere.err) == (2, True)
        assert (wrong.code, "asks for integer" in wrong.err) == (2, True)
        assert (unfit.code, "the answer 'many' does not fit 'how many?', which asks for integer" in unfit.err) == (2, True)
        assert (right.code, waiting.wait(20)) == (0, 0)
    finally:
        waiting.kill()
        waiting.wait()
    assert json.loads(process("run", "show", "waits", "-o", "json").out)["result"]["preview"] == "12"


def test_only_a_running_run_can_be_paused(process: Command, tmp_path: Path) -> None:
    script(tmp_path)

    refused = process("run", "pause", "the-run")

    assert (refused.code, "only a run that is running can be paused" in refused.err) == (5, True)


SUSPENDS = """
from legato import flow, suspend_flow_run

@flow(name="asks", flow_run_name="asks", persist_result=True)
def main():
    return suspend_flow_run(int, prompt="how many?", key="many")

if __name__ == "__main__":
    main()
"""


def test_the_plan_of_a_suspended_run_answers_nothing(process: Command, tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(SUSPENDS)
    subprocess.run([sys.executable, "asks.py"], cwd=tmp_path, check=False, capture_output=True)

    planned = process("run", "resume", "asks", "--answer", "13", "--plan")
    without = process("run", "resume", "asks", "--plan")
    done = process("run", "resume", "asks", "--answer", "12", "--key", "many")

    assert (planned.code, without.code) == (0, 0)
    assert done.code == 0
    assert json.loads(process("run", "show", "asks", "-o", "json").out)["result"]["preview"] == "12"
