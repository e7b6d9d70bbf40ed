"""The task runners example does what its README says, in processes of its own."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "task_runners" / "monte_carlo.py"


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_estimate_is_the_same_on_every_runner_and_survives_a_killed_worker(legato_home: Path) -> None:
    lines = run(str(EXAMPLE)).splitlines()

    assert [line.partition(":")[0] for line in lines] == ["threads", "processes", "with a killed worker"]
    estimates = {line.partition(": ")[2].split()[0] for line in lines}
    assert len(estimates) == 1
    assert 3.1 < float(estimates.pop()) < 3.2
    assert run("-m", "legato.cli", "run", "ls", "-o", "name").count("\n") == 3
