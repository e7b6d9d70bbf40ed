"""What `run gc` removes: stored bytes that nothing refers to, and no others; and what removed runs give back."""

import json
from pathlib import Path
from typing import Any

import pytest

from legato.store.port import Store
from legato.store.sql import SqlStore

SOURCE = """
from legato import Deployment, INPUTS, create_image_artifact, flow, task
@task(cache_policy=INPUTS)
def cached(n): return "x" * 50_000 + str(n)
@flow(persist_result=True)
def main(n: int = 1): return "y" * 60_000 + str(n) + cached(n)[:1]
Deployment(main, name="d")
if __name__ == "__main__": main()
"""


def stored(home: Path) -> int:
    return len([file for file in (home / "storage").glob("??/*") if file.is_file()])


@pytest.mark.timeout(120)
def test_gc_removes_what_nothing_refers_to(legato: Any, process: Any, tmp_path: Path, legato_home: Path) -> None:
    (tmp_path / "flow.py").write_text(SOURCE)
    assert process("deployment", "create", "flow.py").code == 0
    for n in ("1", "2"):
        assert process("run", "flow.py", "-p", f"n={n}").code == 0
    before = stored(legato_home)

    kept = json.loads(legato("run", "gc", "--older-than", "0s", "--yes", "-o", "json").out)
    assert (kept["files"], stored(legato_home)) == (0, before)
    assert legato("run", "rm", "--filter", "flow:main", "--yes").code == 0
    would = json.loads(legato("run", "gc", "--older-than", "0s", "--dry-run", "-o", "json").out)
    young = json.loads(legato("run", "gc", "--yes", "-o", "json").out)
    gone = json.loads(legato("run", "gc", "--older-than", "0s", "--yes", "-o", "json").out)

    assert (would["files"], would["removed"], young["files"]) == (gone["files"], False, 0)
    assert gone["files"] == 2  # the flow's two results; what is cached, and the bundle, are wanted still
    assert stored(legato_home) == before - 2
    assert process("run", "flow.py", "-p", "n=1").code == 0


def test_a_servers_results_are_not_looked_for_here(legato: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGATO_API_URL", "http://127.0.0.1:9/api")

    done = legato("run", "gc", "--yes")

    assert done.code == 2
    assert "on its machine" in done.err


@pytest.mark.timeout(120)
def test_gc_removes_cached_results_that_have_expired(legato: Any, process: Any, tmp_path: Path, legato_home: Path, store: Store) -> None:
    expiring = SOURCE.replace("cache_policy=INPUTS", "cache_policy=INPUTS, cache_expiration=timedelta(days=1)")
    (tmp_path / "flow.py").write_text(f"from datetime import timedelta\n{expiring}")
    assert process("run", "flow.py").code == 0
    assert legato("run", "rm", "--filter", "flow:main", "--yes").code == 0
    legato("run", "gc", "--older-than", "0s", "--yes")
    kept = stored(legato_home)
    assert isinstance(store, SqlStore)
    store.database.transact(lambda session: session.run("update cache set expires_at = 1"))

    would = json.loads(legato("run", "gc", "--older-than", "0s", "--dry-run", "-o", "json").out)
    gone = json.loads(legato("run", "gc", "--older-than", "0s", "--yes", "-o", "json").out)

    assert would["files"] == gone["files"] == 1
    assert stored(legato_home) == kept - 1
    with store.database.read() as session:
        assert session.rows("select key from cache") == []
