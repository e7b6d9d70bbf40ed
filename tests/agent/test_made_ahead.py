"""What a warm parent does ahead of a run: a child that waits, with the last sources unpacked. It must never be missed, outlive anybody, or be stale."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from legato.system import process_is_alive

from tests.agent.conftest import Workplace
from tests.support.waiting import until

FLOW = """
import sys
@task
def twice(n):
    return 2 * n
@flow
def main(n: int = 1):
    twice.submit(n).result()
    with open(LEDGER, "a") as file: file.write(f"ran:{os.getpid()}\\n")
    return WORD
"""


def children_of(pid: int) -> set[int]:
    return {int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()}


def parent_of(agent: subprocess.Popen[str]) -> int:
    def look() -> list[int]:
        return [pid for pid in children_of(agent.pid) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    return until(look, what="the warm parent")[0]


def test_a_child_waits_runs_what_comes_and_is_followed_by_another(place: Workplace) -> None:
    deployment = place.deploy(FLOW.replace("WORD", "1"))
    parent = parent_of(place.agent())
    waiting = until(lambda: children_of(parent), what="a child that waits")
    place.ended(place.schedule(deployment))
    until(lambda: children_of(parent) - waiting, what="another")
    (folder,) = until(lambda: list((place.home / "ready").glob("*/flows.py")), what="the source being unpacked ahead")
    place.ended(place.schedule(deployment))

    first, second = (int(line.partition(":")[2]) for line in place.lines())
    assert {first} == waiting
    assert folder.parent.name.startswith(f"{second}-")


def test_a_child_that_was_killed_is_not_missed(place: Workplace) -> None:
    deployment = place.deploy(FLOW.replace("WORD", "1"))
    parent = parent_of(place.agent())
    for _ in range(3):
        for pid in until(lambda: children_of(parent), what="a child that waits"):
            os.kill(pid, signal.SIGKILL)
        run = place.ended(place.schedule(deployment))
        assert run.state.name == "Completed"
    assert len(place.lines()) == 3


def test_what_was_unpacked_ahead_is_what_is_deployed_now(place: Workplace) -> None:
    place.agent()
    said = []
    for word in ("'old'", "'new'", "'newer'"):
        deployment = place.deploy(FLOW.replace("WORD", word))
        for _ in range(2):
            result = place.ended(place.schedule(deployment)).result
            assert result is not None
            said.append(result.preview.strip('"'))
            until(lambda: list((place.home / "ready").glob("*/flows.py")), what="a source unpacked ahead")

    assert [word.strip("'") for word in said] == ["old", "old", "new", "new", "newer", "newer"]


def test_nothing_that_was_made_ahead_is_left_behind(place: Workplace) -> None:
    deployment = place.deploy(FLOW.replace("WORD", "1"))
    for number in (signal.SIGTERM, signal.SIGKILL):
        agent = place.agent()
        parent = parent_of(agent)
        place.ended(place.schedule(deployment))
        until(lambda: list((place.home / "ready").glob("*/flows.py")), what="a source unpacked ahead")
        made = {parent, *children_of(parent)}
        agent.send_signal(number)
        agent.wait(20)

        until(lambda made=made: not any(process_is_alive(pid) for pid in made), what="the end of parent and child")
        assert list((place.home / "ready").iterdir()) == []


def test_a_run_loads_nothing_of_ours_that_the_warm_parent_could_have_loaded(place: Workplace) -> None:
    listing = "sorted(name for name in sys.modules if name.startswith('legato.'))"
    run_id = place.schedule(place.deploy(FLOW.replace("WORD", f"' '.join({listing})")))
    place.agent()
    result = place.ended(run_id).result
    assert result is not None
    from legato.engine import results
    from legato.storage.local import LocalStorage

    loaded = set(results.load(result, LocalStorage(place.home / "storage")).split())
    ahead = subprocess.run(
        [sys.executable, "-c", f"import importlib, json, sys; from legato.agent.forkserver import PRELOADED\n[importlib.import_module(n) for n in PRELOADED]\nprint(json.dumps({listing}))"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    assert loaded - set(json.loads(ahead)) == set()
