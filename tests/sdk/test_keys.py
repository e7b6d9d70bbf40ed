"""What a task is called: the same however its file is run, and never what another project's task is called."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from legato import flow, task
from legato.sdk import keys

SCRIPT = """
from legato import INPUTS, ProcessTaskRunner, flow, task

@task(cache_policy=INPUTS)
def load(day):
    return "{shop} " + day

@task
def outer(day):
    return load(day)

class Shop:
    @task
    def open(self):
        return 1

@flow(task_runner=ProcessTaskRunner(1))
def far():
    return outer.submit("monday").result()

@flow
def near():
    return load("monday")

if __name__ == "__main__":
    import sys
    print({{"far": far, "near": near, "key": lambda: (load.key, load.scope, Shop().open.key)}}[sys.argv[1]]())
"""


def run(args: list[str], *, cwd: Path, home: Path) -> str:
    env = {**os.environ, "LEGATO_HOME": str(home), "LEGATO_LOG_LEVEL": "CRITICAL"}
    done = subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def project(folder: Path, *, shop: str = "north", name: str = "", file: str = "flow.py") -> Path:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(SCRIPT.format(shop=shop))
    if name:
        (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    return folder


def test_a_script_has_one_key_however_it_is_run(tmp_path: Path) -> None:
    root = project(tmp_path / "shop", file="src/pk/etl.py", name="shop")
    (root / "src/pk/__init__.py").touch()
    (tmp_path / "link").symlink_to(root)
    show = "import sys; sys.path.insert(0, {path!r}); from pk.etl import *; print((load.key, load.scope, Shop().open.key))"
    ways = [
        (["etl.py", "key"], root / "src/pk"),
        ([str(root / "src/pk/etl.py"), "key"], tmp_path),
        ([str(tmp_path / "link/src/pk/etl.py"), "key"], tmp_path),
        (["-m", "pk.etl", "key"], root / "src"),
        (["-c", show.format(path=str(root / "src"))], tmp_path),
    ]

    seen = {run(args, cwd=cwd, home=tmp_path / "home") for args, cwd in ways}

    assert seen == {"('pk.etl.load', 'project shop', 'pk.etl.Shop.open')"}


@pytest.mark.parametrize("way", ["near", "far"])
def test_two_projects_with_files_of_one_name_share_nothing(tmp_path: Path, way: str) -> None:
    said = [run(["flow.py", way], cwd=project(tmp_path / shop, shop=shop), home=tmp_path / "home") for shop in ("north", "south")]

    assert said == ["north monday", "south monday"]


def test_two_scripts_of_one_folder_share_nothing_in_worker_processes(tmp_path: Path) -> None:
    for shop in ("north", "south"):
        project(tmp_path, shop=shop, file=f"{shop}.py")

    said = [run([f"{shop}.py", "far"], cwd=tmp_path, home=tmp_path / "home") for shop in ("north", "south")]

    assert said == ["north monday", "south monday"]


def test_what_a_flow_cached_is_found_by_its_workers(tmp_path: Path) -> None:
    folder = project(tmp_path / "shop")

    said = [run(["flow.py", "near"], cwd=folder, home=tmp_path / "home")]
    (folder / "flow.py").write_text((folder / "flow.py").read_text().replace("north", "edited"))
    said.append(run(["flow.py", "far"], cwd=folder, home=tmp_path / "home"))

    assert said == ["north monday", "north monday"]


def test_a_project_that_has_a_name_may_be_moved(tmp_path: Path) -> None:
    scopes = {
        name: {
            run(["flow.py", "key"], cwd=project(tmp_path / f"{place}-{name}", name=name), home=tmp_path / "home").split("'")[3]
            for place in ("here", "there")
        }
        for name in ("shop", "")
    }

    assert scopes["shop"] == {"project shop"}
    assert len(scopes[""]) == 2


def test_a_bundle_s_place_is_not_its_project(tmp_path: Path) -> None:
    root = project(tmp_path / "unpacked")
    keys.carry(str(root), "deployment far/nightly")

    assert keys.root_of(str(root)) == str(root)
    assert keys.scope_of(str(root)) == "deployment far/nightly"


def test_a_key_travels_with_what_it_names() -> None:
    @task
    def inner() -> None: ...

    again = pickle.loads(cloudpickle.dumps(inner))

    assert (again.key, again.scope) == (inner.key, inner.scope)
    assert inner.with_options(name="x").key == inner.key


def test_functions_of_one_name_are_told_apart() -> None:
    @task
    def step() -> int:
        return 1

    first = step

    @task
    def step() -> int:  # type: ignore[no-redef]
        return 2

    lambdas = [task(lambda: 1, name="one"), task(lambda: 2, name="two")]

    assert len({first.key, step.key, *(one.key for one in lambdas)}) == 4
    assert first.key.endswith("step")
    assert flow(first.fn).key == first.key
