"""What users' type checkers see: mypy and pyright agree on what is right (right.py) and what is wrong (wrong.py).

An error that is expected is marked for both checkers, and a mark that is not needed is an error: so each line of wrong.py is wrong.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import legato

HERE = Path(__file__).resolve().parent


def mypy(*files: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--no-error-summary", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, cwd=HERE.parents[1]).stdout


def pyright(*files: Path, folder: Path = HERE) -> str:
    """What basedpyright finds (pyright with its engine in the package, so that nothing is loaded when it runs), in pyright's standard mode."""
    command = [
        str(Path(sys.executable).parent / "basedpyright"),
        "--pythonpath",
        sys.executable,
        "-p",
        str(folder),
        "--outputjson",
        *map(str, files),
    ]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=110, check=False).stdout)
    assert report["summary"]["filesAnalyzed"] >= 1
    return "\n".join(f"{one['file']}:{one['range']['start']['line'] + 1}: {one['message']}" for one in report["generalDiagnostics"])


@pytest.mark.parametrize("check", [mypy, pyright])
def test_right_uses_have_the_right_types_and_wrong_ones_are_errors(check) -> None:
    found = check(HERE / "right.py", HERE / "wrong.py") if check is mypy else check()

    assert found == ""


@pytest.mark.parametrize("check", [mypy, pyright])
def test_every_public_name_is_known_and_what_is_none_is_not(check, tmp_path: Path) -> None:
    names = [name for name in legato.__all__ if name != "__version__"]
    file = tmp_path / "names.py"
    file.write_text(f"from legato import {', '.join(names)}\nfrom legato import flaw\n\nprint({', '.join(names)})\n", encoding="utf-8")
    (tmp_path / "pyrightconfig.json").write_text((HERE / "pyrightconfig.json").read_text(encoding="utf-8"), encoding="utf-8")

    found = check(file) if check is mypy else check(folder=tmp_path)

    assert len([line for line in found.splitlines() if "error" in line or "names.py" in line]) == 1, found
    assert "flaw" in found


def test_every_mark_in_the_wrong_uses_is_for_both_checkers() -> None:
    lines = (HERE / "wrong.py").read_text(encoding="utf-8").splitlines()
    marked = [line for line in lines if "type: ignore[" in line]

    assert len(marked) >= 20
    assert [line for line in marked if "# pyright: ignore[" not in line] == []
