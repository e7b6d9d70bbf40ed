"""No value is reused where a fresh run would have given another: generated scenarios, each against the truth; and the other way round."""

import re
from pathlib import Path

import pytest

from tests.chaos.reuse_scenarios import Maker, play

SHORT, LONG = 200, 2000
BATCH = 20


def batches(first: int, count: int) -> list[range]:
    return [range(n, n + BATCH) for n in range(first, first + count, BATCH)]


@pytest.mark.parametrize(
    "seeds",
    [
        *batches(0, SHORT),
        *(pytest.param(one, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)]) for one in batches(SHORT, LONG)),
    ],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
def test_going_on_gives_what_a_fresh_run_gives(seeds: range, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for seed in seeds:
        scenario = Maker(seed).scenario()
        folder = tmp_path / str(seed)
        folder.mkdir()
        came = play(scenario, folder, lambda: capsys.readouterr().err)
        if repr(came.seen) != repr(came.truth):
            wrong.append(f"{scenario}\nseen  {came.seen}\ntruth {came.truth}\n{came.said}")

    assert not wrong, f"{len(wrong)} of {len(seeds)}:\n" + "\n\n".join(wrong)


@pytest.mark.parametrize(
    "seeds",
    [
        *batches(0, 60),
        *(pytest.param(one, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)]) for one in batches(60, 400)),
    ],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
def test_what_nobody_has_edited_is_reused_whole(seeds: range, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in seeds:
        scenario = Maker(seed, edits=False).scenario()
        folder = tmp_path / str(seed)
        folder.mkdir()
        came = play(scenario, folder, lambda: capsys.readouterr().err)
        again = {name for step in scenario.steps for name in step.reruns}

        assert repr(came.seen) == repr(came.truth), f"{scenario}\n{came}"
        if not again:
            assert came.ran == [], f"{scenario}\n{came.said}"


PLANNED = re.compile(r"of (\d+) earlier task runs (at most )?(\d+) (?:is|are) reused")
WORDS = re.compile(r"reused (\d+) task runs?, (\d+|none) ran")


@pytest.mark.parametrize("seeds", batches(300, 40), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_the_words_at_the_end_count_every_task_run(seeds: range, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in seeds:
        scenario = Maker(seed).scenario()
        folder = tmp_path / str(seed)
        folder.mkdir()
        came = play(scenario, folder, lambda: capsys.readouterr().err)
        if scenario.way in ("in one process", "cached"):
            continue

        reused, ran = WORDS.findall(came.said)[-1]
        assert int(reused) + int(ran.replace("none", "0")) == came.rows, f"{scenario}\n{came.said}"
        assert_planned(came.said, int(reused), f"{scenario}\n{came.said}")


def assert_planned(said: str, reused: int, about: str) -> None:
    """The plan that was printed before told what came: how many values are reused when the calls are made alike; else at most that many."""
    (of, at_most, kept) = PLANNED.findall(said)[0]
    assert reused <= int(kept) <= int(of), about
    if not at_most and "it was not called" not in said:
        assert reused == int(kept), about
