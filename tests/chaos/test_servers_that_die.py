"""A flow and the server it reports to, killed at points of their own: the run goes on, or is gone on with, and nothing is lost or done twice."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.chaos.sweep import Attempt, Case, Scene, Zygote
from tests.chaos.test_sweep import ONLY_AWAY, judged
from tests.server.process import ServerProcess
from tests.support.waiting import until


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as one:
        yield one


class ServedScene(Scene):
    """A scene whose store is a server's. It dies at `server_dies_at`, and comes back at once, or when the flow's process is dead too."""

    def __init__(self, folder: Path, zygote: Zygote, case: Case, *, server_dies_at: str, comes_back: bool) -> None:
        super().__init__(folder, zygote, case)
        self.home.mkdir()
        self._server = ServerProcess(folder / "server", database=f"sqlite:///{self.database}")
        (folder / "server").mkdir()
        self._dies_at = server_dies_at
        self._comes_back = comes_back

    def __enter__(self) -> Self:
        os.environ["LEGATO_CRASH_AT"] = self._dies_at
        try:
            self._server.start()
        finally:
            del os.environ["LEGATO_CRASH_AT"]
        self._environ["LEGATO_API_URL"] = self._server.url
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def _attempt(self, command: list[str], crash: str) -> Attempt:
        is_first = self._dies_at != ""
        nurse = threading.Thread(target=self._bring_back, daemon=True)
        if is_first and self._comes_back:
            nurse.start()
        attempt = super()._attempt(command, crash)
        if is_first and self._comes_back:
            nurse.join(30)
            assert not nurse.is_alive(), "the server has not died"
        elif is_first:
            self._bring_back()
        self._dies_at = ""
        until(lambda: self._is_free, what="that nobody holds the run")
        return attempt

    def _bring_back(self) -> None:
        port, process = self._server.port, self._server.process
        assert process is not None
        process.wait(30)
        self._server.signal_streams_closed()
        self._server.start(port)

    @property
    def _is_free(self) -> bool:
        run = self.run()
        return run is None or run.lease_expires_at is None


@pytest.mark.parametrize(
    "dies_at",
    [
        "store.committed:9",
        *(pytest.param(f"store.{p}:{n}", marks=pytest.mark.chaos) for p in ("committing", "committed") for n in (1, 3, 12, 17)),
    ],
)
def test_a_flow_outlives_its_server(dies_at: str, zygote: Zygote, tmp_path: Path) -> None:
    with ServedScene(tmp_path / "scene", zygote, Case("direct"), server_dies_at=dies_at, comes_back=True) as scene:
        ending = scene.play()

    assert ending.wrong == []


@pytest.mark.parametrize(
    "crashes",
    [
        ("spool.written:1",),
        pytest.param(("spool.written:1", "spool.sent:1"), marks=pytest.mark.chaos),
        pytest.param(("spool.written:1", "spool.drained:1"), marks=pytest.mark.chaos),
        pytest.param(("spool.written:1", "task.after_code:4"), marks=pytest.mark.chaos),
    ],
    ids="+".join,
)
def test_what_the_dead_server_was_not_told_is_told_when_both_are_back(crashes: tuple[str, ...], zygote: Zygote, tmp_path: Path) -> None:
    with ServedScene(tmp_path / "scene", zygote, Case("direct", crashes), server_dies_at="store.committed:9", comes_back=False) as scene:
        ending = scene.play()

    judged([ending])
    assert {point for counts in ending.reached for point in counts} >= ONLY_AWAY
