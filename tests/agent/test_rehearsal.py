"""The run that nobody records: it goes through, leaves nothing behind, and is not needed."""

import sys
import threading
from pathlib import Path

import pytest

from legato.engine.shell import CURRENT
from legato.sdk import entry, rehearsal
from legato.sdk.process import use_engine
from legato.settings import load


def test_it_runs_and_leaves_nothing_behind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rehearsal.rehearse(tmp_path / "first")  # what is Legato's own is imported now
    before = set(sys.modules), list(sys.path), set(sys.path_importer_cache), set(threading.enumerate())
    result = rehearsal.rehearse(tmp_path / "second")

    assert result == 2
    assert (set(sys.modules), list(sys.path), set(sys.path_importer_cache), set(threading.enumerate())) == before
    assert CURRENT.get() is None
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_one_that_fails_is_told_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ready").write_text("where a folder should be")
    chosen = load({"LEGATO_HOME": str(tmp_path), "LEGATO_API_URL": "http://127.0.0.1:9/api"}, folder=tmp_path)
    use_engine(None, chosen)
    try:
        entry.rehearse()
    finally:
        use_engine(None, None)

    assert "could not be made ready: NotADirectoryError" in capfd.readouterr().err
