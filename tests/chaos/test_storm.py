"""Server, two agents and real flows while everything goes wrong at once; then the history is judged by the invariants.

`make chaos` lets it rage for ten minutes (LEGATO_TEST_STORM_S). What judges is shown to find what it looks for, in every run of the tests.
"""

import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.history import broken, overlaps
from tests.chaos.storm import house_in_a_storm
from tests.support.surroundings import TEST_SETTINGS

STORM_S = float(TEST_SETTINGS.get("LEGATO_TEST_STORM_S", "600"))
CALM_S = 0.3
"""The part at the end in which nothing goes wrong any more: whether all comes to an end is judged then."""

RUN_EVERY_S, FAULT_EVERY_S = 1.0, 2.4
"""How often a run is made, and something goes wrong."""


@pytest.mark.chaos
@pytest.mark.timeout(STORM_S + 600)
def test_in_a_storm_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    seed = int(TEST_SETTINGS.get("LEGATO_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    with house_in_a_storm(tmp_path, random.Random(seed)) as house, ThreadPoolExecutor(16) as pool:
        begun = time.monotonic()
        made = wrong_so_far = 0
        jobs: list[Future[None]] = []
        pause = threading.Event()
        while (passed := time.monotonic() - begun) < STORM_S * (1 - CALM_S):
            if made < passed / RUN_EVERY_S:
                made += 1
                jobs.append(pool.submit(house.make_run))
            if wrong_so_far < passed / FAULT_EVERY_S:
                wrong_so_far += 1
                jobs.append(pool.submit(house.something_goes_wrong, house.chance.choice(house.kinds())))
            pause.wait(0.15)
        for job in jobs:
            job.result()
        deadline = time.monotonic() + max(STORM_S * CALM_S, 150)
        while time.monotonic() < deadline and not house.all_is_over():
            pause.wait(2.0)
    history = house.history()
    assert history.ended_at is not None

    wrong = broken(history) + house.ended_by_themselves
    states = Counter(run.state.name for run in history.runs if run.expected_start_at <= history.ended_at)
    report = {
        "seed": seed,
        "seconds": round(time.monotonic() - begun),
        "runs": sum(states.values()),
        "states": states,
        "attempts": Counter(run.attempt for run in history.runs),
        "faults": sum(house.faults.values()),
        "by kind": house.faults,
        "bodies": sum(line.word == "start" for line in history.ledger),
        "worked at one time with a later attempt": len(list(overlaps(history))),
        "wrong": wrong[:40],
    }
    text = json.dumps(report, indent=1)
    print(text)
    if folder := TEST_SETTINGS.get("LEGATO_TEST_STORM_REPORT"):
        Path(folder).write_text(text)
    assert wrong == []
    assert sum(states.values()) >= STORM_S / 2
    assert sum(house.faults.values()) >= STORM_S / 6
