"""Every crash point, in every kind of flow: killed there, gone on with, and held against what is promised (docs/explanation/crashes.md)."""

import itertools
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest

import legato
from legato.crashing import POINTS

from tests.chaos.sweep import Case, Ending, Interpreters, Scene, Zygote, some_of

KINDS = ("direct", "gathered", "threaded", "processed")
ONLY_AWAY = {"spool.written", "spool.sent", "spool.drained"}
"""Reached where the store is a server's: see test_servers_and_flows_that_die."""

ASKING = {"pause.waiting"}
"""Reached where a flow waits for its answer in its process."""

Profiles = Mapping[tuple[str, int], Counter[str]]


@pytest.fixture(scope="module")
def crews(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Crews"]:
    """Two warm processes to fork victims from."""
    with Zygote() as one, Zygote() as two:
        yield Crews([one, two], tmp_path_factory.mktemp("sweep"))


class Crews:
    """Plays cases, as many at a time as there are zygotes."""

    def __init__(self, zygotes: list[Zygote], folder: Path) -> None:
        self._free: SimpleQueue[Zygote] = SimpleQueue()
        for zygote in zygotes:
            self._free.put(zygote)
        self._threads = len(zygotes)
        self._folder = folder
        self._numbers = itertools.count()

    def play(self, cases: Iterable[Case]) -> list[Ending]:
        """How each ended, in order."""
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(self._one, cases))

    def _one(self, case: Case) -> Ending:
        zygote = self._free.get()
        try:
            return Scene(self._folder / f"{next(self._numbers)}", zygote, case).play()
        finally:
            self._free.put(zygote)


@pytest.fixture(scope="module")
def profiles(crews: Crews) -> Profiles:
    """How often each kind reaches each point when nothing happens: from the start to its suspension, and from there to its end."""
    found = {}
    for ending in crews.play([Case(kind) for kind in KINDS]):
        assert ending.wrong == [], ending
        assert len(ending.attempts) == 2, ending
        for n, counts in enumerate(ending.reached):
            found[ending.case.kind, n] = counts
    return found


def case_of(kind: str, attempt: int, point: str, n: int) -> Case:
    return Case(kind, (*[""] * attempt, f"{point}:{n}"))


def judged(endings: list[Ending]) -> None:
    """Print how many ended right, point by point; fail when one did not, or when nothing was killed where it was meant to be."""
    cases: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for ending in endings:
        point = "+".join(crash.partition(":")[0] for crash in ending.case.crashes if crash)
        cases[point] += 1
        right[point] += not ending.wrong
    width = max(map(len, cases))
    print(f"\n{'point':<{width}}  cases  ended right")
    for point, n in sorted(cases.items()):
        print(f"{point:<{width}}  {n:>5}  {right[point]:>11}")
    killed = sum(ending.crashed for ending in endings)
    unhurt = [str(ending.case) for ending in endings if not ending.crashed]
    print(f"{len(cases)} points, {len(endings)} cases, {killed} processes killed, {right.total()} ended right, {len(unhurt)} met no crash")
    wrong = {str(ending.case): ending.wrong for ending in endings if ending.wrong}
    assert not wrong, "\n".join(f"{case}:\n  " + "\n  ".join(said) for case, said in wrong.items())
    assert len(unhurt) <= len(endings) // 10, f"nobody was killed in {unhurt}"  # which worker gets how many jobs is not the same each time


# ---------------------------------------------------------------------- the list of points


def test_the_points_in_the_code_are_those_in_the_list() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in Path(legato.__path__[0]).rglob("*.py"))
    named = {name for call in re.findall(r"\breached\(([^)]*)\)", text) for name in re.findall(r'"([\w.]+)"', call)}

    assert named == set(POINTS)


def test_every_point_is_reached_by_a_flow_of_the_sweep(profiles: Profiles) -> None:
    reached = set().union(*profiles.values())

    assert reached == set(POINTS) - ONLY_AWAY - ASKING


# ---------------------------------------------------------------------- the sweep


def test_a_flow_killed_at_any_point_completes_when_it_is_retried(crews: Crews, profiles: Profiles) -> None:
    """One case a point, each kind in turn: the part of the sweep that is run with every change."""
    turn = itertools.cycle(KINDS)
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for (kind, attempt), counts in profiles.items():
        for point in counts:
            places[point].append((kind, attempt))
    cases = []
    for point, where in sorted(places.items()):
        kind = next(k for k in turn if any(k == one for one, _ in where))
        attempt = min(a for k, a in where if k == kind)
        cases.append(case_of(kind, attempt, point, (profiles[kind, attempt][point] + 1) // 2))

    judged(crews.play(cases))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_for_processes_that_nobody_forked(kind: str, tmp_path: Path) -> None:
    judged([Scene(tmp_path, Interpreters(), Case(kind, ("task.after_code:5",))).play()])


FOUND = {
    "a worker's nested task is not run again": Case("processed", ("question.answered:1",)),
    "what a dead worker had begun is ended": Case("processed", ("question.sending:1",)),
    "a run whose process died while it took it up can be retried": Case("gathered", ("", "run.taken:1")),
    "a flow inside that is killed twice forgets nothing": Case("direct", ("result.serialised:10", "flow.settled:1")),
    "nor does an async one": Case("gathered", ("flow.after_code:1", "flow.after_code:1")),
}


@pytest.mark.parametrize("case", FOUND.values(), ids=FOUND.keys())
def test_what_the_sweep_has_found_stays_mended(case: Case, crews: Crews) -> None:
    judged(crews.play([case]))


@pytest.mark.parametrize("kind", ["asking", "aasking"])
@pytest.mark.parametrize("point", ["pause.waiting", "pause.asked"])
def test_a_question_outlives_the_process_that_asked_it(kind: str, point: str, crews: Crews) -> None:
    judged(crews.play([Case(kind, (f"{point}:1",))]))


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_sweep(kind: str, crews: Crews, profiles: Profiles) -> None:
    seed = int(os.environ.get("SWEEP_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"\n{kind}: SWEEP_SEED={seed}")
    chance = random.Random(seed)
    cases = [
        case_of(kind, attempt, point, n)
        for attempt in (0, 1)
        for point, times in sorted(profiles[kind, attempt].items())
        for n in some_of(times, chance)
    ]

    judged(crews.play(cases))


def double_crashes(profiles: Profiles, chance: random.Random, how_many: int) -> list[Case]:
    """Killed once, and again while it is being gone on with."""
    cases = []
    for _ in range(how_many):
        kind = chance.choice(KINDS)
        crashes = []
        for attempt in (0, 1):
            counts = profiles[kind, attempt]
            point = chance.choice(sorted(counts))
            crashes.append(f"{point}:{chance.randint(1, counts[point])}")
        cases.append(Case(kind, tuple(crashes)))
    return cases


@pytest.mark.parametrize("how_many", [12, pytest.param(300, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)])])
def test_a_flow_killed_twice_completes_too(how_many: int, crews: Crews, profiles: Profiles) -> None:
    seed = int(os.environ.get("SWEEP_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"\nSWEEP_SEED={seed}")

    judged(crews.play(double_crashes(profiles, random.Random(seed), how_many)))
