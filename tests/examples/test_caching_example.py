"""The caching example does what its README says, in processes of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "caching" / "months.py"


def run(script: Path, *arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, sorted(line for line in done.stdout.splitlines() if line.startswith("working on"))


def last_messages() -> list[str]:
    def legato(*words: str) -> list[dict[str, object]]:
        said = subprocess.run(
            [sys.executable, "-m", "legato.cli", *words, "-o", "json"], capture_output=True, text=True, timeout=60, check=True
        )
        return list(json.loads(said.stdout))

    latest = str(legato("run", "ls")[0]["id"])
    return [str(task["state"]) for task in legato("task", "ls", latest)]


def test_months_are_made_once_and_published_together_or_not_at_all(tmp_path: Path, legato_home: Path) -> None:
    script = Path(shutil.copy(EXAMPLE, tmp_path))
    out = tmp_path / "out"
    out.mkdir()

    assert run(script, str(out), "january", "february") == (0, ["working on february", "working on january"])
    assert run(script, str(out), "january", "march") == (0, ["working on march"])
    assert sorted(path.name for path in out.iterdir()) == ["february.txt", "january.txt", "march.txt"]
    assert any("reused the result of 'features-0' of run '" in message for message in last_messages())

    assert run(script, str(out), "april", "july") == (1, ["working on april", "working on july"])
    assert sorted(path.name for path in out.iterdir()) == ["february.txt", "january.txt", "march.txt"]

    script.write_text(script.read_text().replace("value * SCALE", "value * SCALE + 1"))
    assert run(script, str(out), "january", "march") == (0, ["working on january", "working on march"])
