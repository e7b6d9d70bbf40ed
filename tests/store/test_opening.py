"""Opening a store: a process that only reports loads little, and has all verbs all the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from legato.core.records import Variable
from legato.store.open import open_store
from legato.store.port import Store
from legato.store.sql import SqlStore
from legato.system import now

VERBS = sorted(name for name in dir(Store) if not name.startswith("_") and name not in ("can_wait", "call"))


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_for_reports_has_each_verb_of_the_port(tmp_path: Path, verb: str) -> None:
    store = open_store(f"sqlite:///{tmp_path}/legato.db", reports_only=True)

    assert hasattr(store, verb)

    store.close()


def test_it_becomes_the_whole_store_and_keeps_its_database(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/legato.db", reports_only=True)
    assert not isinstance(store, SqlStore)

    store.set_variable(Variable(name="x", value=1, updated_at=now()))

    assert isinstance(store, SqlStore)
    assert store.get_variable("x").value == 1
    with pytest.raises(AttributeError, match="no_such_verb"):
        _ = store.no_such_verb  # type: ignore[attr-defined]
    store.close()


def test_a_script_that_runs_a_flow_loads_only_what_reports(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("""
import sys
from legato import flow, task

@task
def one(): return 1

@flow
def main(): return one()

main()
print(sorted(name for name in sys.modules if name.startswith(("legato.store.sql.", "legato.store.port", "legato.core.schedules."))))
""")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert (
        done.stdout.strip()
        == "['legato.core.schedules.kinds', 'legato.core.schedules.streams', 'legato.store.sql.reports', 'legato.store.sql.subject']"
    )
