"""The examples of many tasks and of results do what their READMEs say."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()


def test_thousands_of_tasks_are_counted(legato_home: Path) -> None:
    assert run(str(EXAMPLES / "many_tasks" / "count_words.py"), "900") == ["3500 letters in 900 words", "500 of 1000 said yes"]


def test_results_are_read_by_another_process(legato_home: Path) -> None:
    script = str(EXAMPLES / "results" / "monthly.py")

    assert run(script) == ["7.5"]
    assert run(script, "--read") == ["2000 rows, mean 7.5, 500 notes"]
