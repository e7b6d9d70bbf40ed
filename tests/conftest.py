"""Every test starts alone: its own LEGATO_HOME, no LEGATO_… setting from outside."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.surroundings import without_legato_settings

pytest_plugins = ["tests.support.postgres"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `chaos` runs when it is asked for (`make chaos`), and is no part of an ordinary run."""
    if "chaos" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("chaos")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("chaos")]


# Times on a loaded machine say nothing about the code; a failing example should be easy to take home.
settings.register_profile("legato", deadline=None, print_blob=True)
settings.load_profile("legato")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Also for what session fixtures start: nothing a test does reaches the developer's own history."""
    before = dict(os.environ)
    kept = without_legato_settings(before)
    for name in before.keys() - kept.keys():
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="legato-session-") as home:
        os.environ["LEGATO_HOME"] = home
        yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def legato_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This test's LEGATO_HOME: a path inside its `tmp_path` that does not exist yet."""
    for name in [name for name in os.environ if name.startswith("LEGATO_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "legato-home"
    monkeypatch.setenv("LEGATO_HOME", str(home))
    return home
