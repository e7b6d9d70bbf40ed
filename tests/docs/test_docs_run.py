"""Every Python block of the README and the documentation runs: what a reader copies works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import pages
from tests.support.pages import python_blocks
from tests.support.surroundings import without_legato_settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def run(page: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs a page as its reader would: a fresh interpreter, an empty directory, a Legato that was never used."""
    work = directory / "work"
    work.mkdir()
    env = without_legato_settings(os.environ) | {"LEGATO_HOME": str(directory / "home"), "PYTHONSAFEPATH": "1", "NO_COLOR": "1"}
    return subprocess.run([sys.executable, pages.__file__, str(page)], cwd=work, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    if all(block.no_run for block in python_blocks(page.read_text(encoding="utf-8"))):
        return  # a page without code to run costs no interpreter

    done = run(page, tmp_path)

    assert done.returncode == 0, f"{page}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"


def write(directory: Path, text: str) -> Path:
    page = directory / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_blocks_share_names_and_run_in_order(tmp_path: Path) -> None:
    page = write(tmp_path, "```python\nx = 20\n```\n\n```python\nprint(__name__, x + 1)\n```\n")

    assert run(page, tmp_path).stdout == "__main__ 21\n"


def test_a_failing_block_is_reported_with_the_line_of_the_page(tmp_path: Path) -> None:
    page = write(tmp_path, "# Title\n\n```python\nok = 1\nraise ValueError('here')\n```\n")

    done = run(page, tmp_path)

    assert done.returncode == 1
    assert f'page.md", line 5, in <module>\n    {"raise ValueError"}' in done.stderr


def test_functions_of_a_page_have_a_source(tmp_path: Path) -> None:
    page = write(tmp_path, "text\n\n```python\nimport inspect\n\n\ndef f():\n    return 1\n\n\nprint(inspect.getsource(f))\n```\n")

    assert run(page, tmp_path).stdout == "def f():\n    return 1\n\n"


def test_a_marked_block_is_left_out(tmp_path: Path) -> None:
    page = write(tmp_path, "<!-- no-run: needs a cluster -->\n\n```python\nraise SystemExit(9)\n```\n\n```python\nprint('ran')\n```\n")

    assert run(page, tmp_path).stdout == "ran\n"


def test_blocks_in_lists_and_with_attributes_are_found_and_other_languages_are_not() -> None:
    page = '1. item\n\n    ```python title="flow.py"\n    x = 1\n    ```\n\n```sh\n```\n\n````markdown\n```python\nnot this\n```\n````\n'

    assert [block.source for block in python_blocks(page)] == ["x = 1"]


@pytest.mark.parametrize("text", ["```python\nx = 1\n", "<!-- no-run: -->\n```python\nx = 1\n```\n"])
def test_an_open_block_and_an_unexplained_no_run_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"never closed|needs a reason"):
        list(python_blocks(text))
