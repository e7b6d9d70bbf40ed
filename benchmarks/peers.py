"""Legato and its peers on the same workloads, in one run: `make bench-peers`, or `python -m benchmarks.peers [--system NAME] [WORKLOAD ...]`.

Each peer lives in an environment of its own below `.cache/peers`, made on first use from the package index. Each measurement is a fresh
process. One that does not install, start or finish is a line in the table. CPU is measured on both sides: a server that still works when the
client has its answers is waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import measure
from benchmarks.systems import prefect
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).parents[1]
SYSTEMS = ("plain", "legato", "legato, server", "dbos", "prefect")
LONGEST_S = 240
PACKAGES = {"prefect": ("prefect", "fastapi<0.150"), "dbos": ("dbos",)}
"""What is installed for a peer: the newest that the index has. FastAPI 0.159 takes away what the server of Prefect 3.8.8 is made of."""
_HEAD = ("workload", "system", "tasks", "wall s", "ms a task", "x legato", "client CPU ms", "server CPU ms", "client peak MB")


@dataclass
class Place:
    """Where a system runs: which interpreter, with what in its environment, and the server that it reports to."""

    module: str
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    server: int | None = None


def environment_of(name: str) -> str:
    """The interpreter of a peer's own environment, made if it is not there. Raises `CalledProcessError`."""
    folder = ROOT / ".cache" / "peers" / name
    python = str(folder / "bin" / "python")
    if not (folder / "ready").exists():
        uv = shutil.which("uv")
        shutil.rmtree(folder, ignore_errors=True)
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)] if uv else [sys.executable, "-m", "venv", str(folder)]
        fill = [uv, "pip", "install", "--quiet", "--python", python] if uv else [python, "-m", "pip", "install", "--quiet"]
        for command in (make, [*fill, *PACKAGES[name]]):
            subprocess.run(command, check=True, capture_output=True, text=True)
        (folder / "ready").touch()
    return python


@contextmanager
def placed(system: str, folder: Path) -> Iterator[Place]:
    """A system, ready to be measured."""
    match system:
        case "legato, server":
            with measure.server(folder) as (url, pid):
                yield Place("legato", environment={"LEGATO_API_URL": f"{url}/api"}, server=pid)
        case "prefect":
            python = environment_of(system)
            with prefect.serving(python, folder / "server") as (environment, pid):
                yield Place(system, python, environment, pid)
        case "dbos":
            yield Place(system, environment_of(system))
        case _:
            yield Place(system)


def cpu_of(pid: int | None) -> float:
    """Seconds of CPU a process and its children have used."""
    if pid is None:
        return 0.0
    used = 0.0
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        try:
            used += sum(one.cpu_times()[:2])
        except psutil.Error:  # it has ended meanwhile
            continue
    return used


def settled_cpu_of(pid: int | None) -> float:
    """The same, when the server has caught up: a second in which it used less than a tenth of a core, or two minutes."""
    used = cpu_of(pid)
    for _ in range(120 if pid else 0):
        before = used
        time.sleep(1)
        used = cpu_of(pid)
        if used - before < 0.1:
            break
    return used


def run_one(place: Place, workload: str, n: int, home: Path) -> dict[str, Any]:
    """What `benchmarks.one` says, and the server's CPU."""
    environment = {**os.environ, **place.environment, "PYTHONPATH": str(ROOT)}
    before = settled_cpu_of(place.server)
    command = [place.python, "-m", "benchmarks.one", place.module, workload, str(n), str(home)]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {LONGEST_S} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]}
    answer: dict[str, Any] = json.loads(lines[-1])
    answer["server_cpu_s"] = settled_cpu_of(place.server) - before if place.server else None
    return answer


def row(workload: str, system: str, answer: Mapping[str, Any], ours: float | None) -> str:
    """One line of the table."""
    if "wall_s" not in answer:
        why = f"not offered: {answer['unsupported']}" if "unsupported" in answer else f"failed: {answer['failed']}"
        return f"| {workload} | {system} | {why} |" + " |" * (len(_HEAD) - 3)
    tasks = answer["tasks"]
    each = answer["wall_s"] / tasks * 1e3
    server = answer["server_cpu_s"]
    cells = (
        *(workload, system, f"{tasks:,}", f"{answer['wall_s']:.2f}", f"{each:.3f}", f"{each / ours:.1f}" if ours else ""),
        *(f"{answer['cpu_s'] / tasks * 1e3:.3f}", "" if server is None else f"{server / tasks * 1e3:.3f}", f"{answer['peak_mb']:.0f}"),
    )
    return f"| {' | '.join(cells)} |"


def compare(systems: Sequence[str], workloads: Sequence[str]) -> None:
    """Print the table, a line as soon as it is known. Workload by workload, so that the machine's mood is the same for all."""
    places: dict[str, Place] = {}
    with ExitStack() as open_, measure.home() as folder:
        for system in systems:
            home = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="peer-", dir=folder)))
            try:
                places[system] = open_.enter_context(placed(system, home))
            except (subprocess.CalledProcessError, RuntimeError, OSError) as error:
                said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
                print(f"{system} is left out: {said[-1] if said else error}\n", flush=True)
        print(f"| {' | '.join(_HEAD)} |\n|{'---|' * len(_HEAD)}", flush=True)
        versions = {}
        for workload in workloads:
            ours = None
            for system, place in places.items():
                n = WORKLOADS[workload].sizes.get(system, WORKLOADS[workload].n)
                with tempfile.TemporaryDirectory(prefix="one-", dir=folder) as home:
                    answer = run_one(place, workload, n, Path(home))
                if system == "legato" and "wall_s" in answer:
                    ours = answer["wall_s"] / answer["tasks"] * 1e3
                versions[system] = answer.get("version") or versions.get(system, "")
                print(row(workload, system, answer, ours), flush=True)
    print("\n" + ", ".join(f"{system} {version}" for system, version in versions.items() if version))


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="those whose name begins so; default: all")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="default: all")
    chosen = parser.parse_args(arguments)
    workloads = [name for name in WORKLOADS if not chosen.workloads or name.startswith(tuple(chosen.workloads))]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    compare(chosen.system or SYSTEMS, workloads)


if __name__ == "__main__":
    main(sys.argv[1:])
