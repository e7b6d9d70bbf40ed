"""The artifacts example does what its README says, in processes of its own."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "artifacts" / "report.py"


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def legato(*words: str) -> str:
    return run("-m", "legato.cli", *words)


def test_the_report_is_there_after_a_run_and_a_variable_steers_the_next(legato_home: Path) -> None:
    assert run(str(EXAMPLE)) == "0.2\n"
    assert "after 20 epochs" in legato("artifact", "get", "comparison")
    assert legato("artifact", "get", "rates").splitlines()[0] == "rate,epochs,loss"
    assert legato("artifact", "get", "loss-curve").startswith("<svg")

    legato("variable", "set", "epochs", "50")
    run(str(EXAMPLE))

    assert "after 50 epochs" in legato("artifact", "get", "comparison")
    assert "after 20 epochs" in legato("artifact", "get", "comparison", "--version", "1")
    assert len(legato("artifact", "ls", "--kind", "progress", "-o", "name").split()) == 6
