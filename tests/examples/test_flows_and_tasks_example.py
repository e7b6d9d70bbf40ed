"""The example of flows and tasks does what its README says."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "flows_and_tasks" / "taxi_month.py"


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def states() -> dict[str, str]:
    latest = json.loads(run("-m", "legato.cli", "run", "ls", "-o", "json"))[0]["id"]
    return {one["name"]: one["state"]["name"] for one in json.loads(run("-m", "legato.cli", "task", "ls", latest, "-o", "json"))}


def test_a_month_is_summed_up_and_a_broken_zone_is_excused(legato_home: Path) -> None:
    said = run(str(EXAMPLE))
    assert said.splitlines()[0].startswith("zone-2 will be tried again: attempt 1 failed: OSError")
    assert said.splitlines()[-1].startswith("month 3: zone 0 ")
    assert states() == {
        "trips-0": "Completed",
        "zone-0": "Completed",
        "zone-1": "Completed",
        "zone-2": "Completed",
        "zone-3": "Completed",
        "excuse-0": "Skipped",
        "report-0": "Completed",
    }

    assert run(str(EXAMPLE), "--broken").splitlines()[-1] == "zone 2 does not answer"
    assert (states()["zone-2"], states()["excuse-0"], states()["report-0"]) == ("Failed", "Completed", "UpstreamFailed")
