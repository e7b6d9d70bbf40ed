"""The example prints its plan before, and the reasons after; what the plan said of a failure is what happens."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "why_and_plan" / "monthly.py"


def run(*arguments: str) -> list[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def test_the_plan_before_and_the_reasons_after(legato_home: Path) -> None:
    lines = run(str(EXAMPLE))
    again = run(str(EXAMPLE))
    failed = run(str(EXAMPLE), "13")

    assert lines[0] == "flow monthly(month=3, test=False)"
    assert lines[1].startswith("├─ load-0 (cached by INPUTS; submitted)  line ")
    assert "'train-0': 'UpstreamFailed', 'alert-0': 'runs'" in lines[4]
    assert lines[5].startswith("load-0: Completed in ")
    assert lines[7] == "alert-0: Skipped: trigger any_failed said no: 0 of 1 before it failed"
    assert again[5].startswith("load-0: Cached ")
    assert failed[5] == "alert: no model this month"
    assert failed[6:8] == [
        "load-0: Failed: ValueError: there is no month 13",
        "train-0: Did not run because 'load-0' is Failed (ValueError: there is no month 13)",
    ]
    assert failed[8].startswith("alert-0: Completed in ")
    mermaid = run("-m", "legato.cli", "plan", str(EXAMPLE), "-p", "month=3", "--mermaid")
    assert mermaid[0] == "flowchart TD"
