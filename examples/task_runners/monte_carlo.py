"""Estimates pi on every core: the same flow on threads, where pure Python takes turns, and on worker processes, where it does not.

Run it: `python monte_carlo.py`. One worker is killed on the way, on purpose, and its task is tried again.
"""

import os
import random
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from legato import ProcessTaskRunner, ThreadTaskRunner, flow, get_run_logger, task

POINTS = 400_000


@task(retries=1)
def hits(seed: int, accident: Path | None = None) -> int:
    """How many of POINTS random points lie in the quarter circle."""
    if accident is not None and not accident.exists():
        accident.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    source = random.Random(seed)
    found = sum(source.random() ** 2 + source.random() ** 2 < 1 for _ in range(POINTS))
    get_run_logger().info("seed %d: %d points inside, in process %d", seed, found, os.getpid())
    return found


@flow
def estimate(pieces: int = 8, accident: Path | None = None) -> float:
    """An estimate of pi from pieces * POINTS points."""
    futures = [hits.submit(seed, accident if seed == 3 else None) for seed in range(pieces)]
    return 4 * sum(future.result() for future in futures) / (pieces * POINTS)


if __name__ == "__main__":
    runners = {"threads": ThreadTaskRunner(), "processes": ProcessTaskRunner()}
    for name, runner in runners.items():
        began = time.perf_counter()
        pi = estimate.with_options(task_runner=runner)()
        print(f"{name}: {pi:.4f} in {time.perf_counter() - began:.1f} s")
    with TemporaryDirectory() as folder:
        pi = estimate.with_options(task_runner=ProcessTaskRunner())(accident=Path(folder) / "happened")
    print(f"with a killed worker: {pi:.4f}")
