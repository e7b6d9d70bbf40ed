"""Import, and a whole process with one flow and one task, as multiples of a bare interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row, best_of, home, python

ONE_TASK = """
from legato import flow, task

@task
def one():
    return 1

@flow
def main():
    return one()

main()
"""


def rows() -> Iterator[Row]:
    """Two rows."""
    with home() as folder:
        script = Path(folder) / "one_task.py"
        script.write_text(ONE_TASK)
        python(str(script))  # the database exists, the byte code is compiled
        bare = best_of(15, lambda: python("-c", "pass"))
        imported = best_of(15, lambda: python("-c", "from legato import flow, task"))
        whole = best_of(15, lambda: python(str(script)))
    yield Row("from legato import flow, task", imported / bare, "x bare", 3, bare * 1e3, "ms, bare interpreter")
    yield Row("process: one flow, one task", whole / bare, "x bare", 6, bare * 1e3, "ms, bare interpreter")
