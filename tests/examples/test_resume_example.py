"""The resume example does what its README says, in processes of its own."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "resume" / "invoices.py"


def test_a_killed_run_goes_on_and_makes_again_only_what_was_not_recorded(tmp_path: Path, legato_home: Path) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)

    made = [line.removeprefix("making the invoice for ") for line in done.stdout.splitlines() if line.startswith("making")]
    assert made == ["ann", "bob", "cleo", "cleo", "dan", "eve"]
    assert "the first process ended with -9" in done.stdout
    assert ": invoice for cleo, invoice for dan, invoice for eve" in done.stderr
    assert "reused 2 task runs, 3 ran" in done.stderr
    listed = subprocess.run([sys.executable, "-m", "legato.cli", "run", "ls", "-o", "json"], capture_output=True, text=True, check=True)
    (run,) = json.loads(listed.stdout)
    assert (run["state"]["type"], run["attempt"]) == ("completed", 2)
