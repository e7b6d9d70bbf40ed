"""The approval example does what its README says, in processes of its own."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "approval" / "release.py"


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def legato(*words: str, code: int = 0) -> str:
    return run("-m", "legato.cli", *words, code=code)


def test_a_release_waits_for_its_approval_without_a_process_and_tests_once(legato_home: Path) -> None:
    assert "flow run 'release-1.0' is suspended" in run(str(EXAMPLE))
    shown = legato("run", "show", "release-1.0")
    assert "Release 1.0? 1.0 passed 12 of 12" in shown
    assert "legato run resume release-1.0 -p ok=… -p reason=…" in shown

    assert "asks for ok=boolean, reason=string" in legato("run", "resume", "release-1.0", "-p", "reason=no", code=2)
    said = legato("run", "resume", "release-1.0", "-p", "ok=true")

    assert "published 1.0 (1.0 passed 12 of 12)" in said
    assert "testing" not in said
    assert "Completed" in legato("run", "show", "release-1.0")
