"""A plan that says it is whole names the calls that the run makes: hundreds of generated flows, each planned and then run."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from legato.core.graph import Plan
from legato.testing import Harness, harness

from tests.plan.generate import module

FLOWS = 200
SEEDS = (20261127,)


def load(source: str, folder: Path, name: str) -> ModuleType:
    file = folder / f"{name}.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Any]:
    names: list[str] = []

    def act(source: str) -> ModuleType:
        names.append(f"generated_{len(names)}_{tmp_path.name}")
        return load(source, tmp_path, names[-1])

    yield act
    for name in names:
        sys.modules.pop(name, None)


def planned(plan: Plan) -> list[str]:
    return sorted(plan.path(node) for node in plan.nodes)


def recorded(h: Harness) -> list[str]:
    runs = {run.id: run for run in h.flow_runs()}
    names = [run.flow_name for run in runs.values() if run.parent_run_id is not None]
    return sorted(
        [
            *names,
            *(("" if run.parent_run_id is None else f"{run.flow_name}/") + one.name for run in runs.values() for one in h.task_runs(run)),
        ]
    )


def without_numbers(names: list[str]) -> list[str]:
    """Flows called twice have no numbers of their own in the store, and in a plan they have."""
    return sorted("/".join(part.partition(" (")[0] for part in name.split("/")) for name in names)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_whole_means_equal_to_a_run(seed: int, loaded: Any) -> None:
    made = loaded(module(seed, FLOWS))
    whole, wrong = 0, []
    for n in range(FLOWS):
        made.TOTAL, made.SHARED[:] = 0, [1, 2]
        made.cached.cache_clear()
        made.Settings.n = 2
        one = getattr(made, f"f{n}")
        plan = one.plan()
        if not plan.is_whole:
            continue
        whole += 1
        with harness() as h:
            with contextlib.suppress(Exception):
                one()
            names = recorded(h)
        if without_numbers(planned(plan)) != without_numbers(names):
            wrong.append((f"f{n}", planned(plan), names))

    assert wrong == []
    assert whole >= FLOWS // 4, "the plans have become too vague to mean anything"
