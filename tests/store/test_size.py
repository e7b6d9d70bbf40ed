"""What a tracked task takes on disk: at most 450 bytes of database, with its history."""

import subprocess
import sys
from pathlib import Path

import pytest

TASKS = 4_000
MOST = 450
PROGRAM = """
import os, sqlite3
from legato import flow, task
from legato.store.open import open_sql_store

path = os.environ["LEGATO_HOME"] + "/legato.db"
open_sql_store(f"sqlite:///{path}").close()

def size():
    connection = sqlite3.connect(path)
    connection.execute("pragma wal_checkpoint(truncate)")
    pages, each = connection.execute("select * from pragma_page_count, pragma_page_size").fetchone()
    connection.close()
    return pages * each

@task
def double(x):
    return 2 * x

@flow
def run():
    HOW

before = size()
run()
print((size() - before) / TASKS)
"""


@pytest.mark.parametrize("how", ["for n in range(TASKS): double(n)", "double.map(range(TASKS)).result()"])
def test_a_tracked_task_takes_little_room(how: str, legato_home: Path) -> None:
    program = PROGRAM.replace("HOW", how).replace("TASKS", str(TASKS))
    done = subprocess.run(
        [sys.executable, "-c", program], env={"LEGATO_HOME": str(legato_home)}, capture_output=True, text=True, timeout=60, check=True
    )

    assert 200 < float(done.stdout.splitlines()[-1]) <= MOST
