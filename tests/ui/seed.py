"""A user's script with a little of everything that pages show. Runs against the server or database that its environment names.

python seed.py NAME [ARGUMENT]      runs one of the flows below
"""

import sys
import time
from pathlib import Path
from typing import Any

from legato import flow, get_run_logger, task


@task
def read_dataframe(month: str) -> list[int]:
    get_run_logger().info("read %s", month)
    return [len(month)] * 3


@task
def add_features(one: Any, other: Any) -> Any:
    return one + other


@task
def train(n: int, features: Any, broken: int = -1) -> int:
    log = get_run_logger()
    log.debug("model %d", n)
    if n == broken:
        log.error("model %d cannot be trained", n)
        raise ValueError("no such column 'PULocationID'")
    log.info("model %d trained on %d features", n, len(features))
    return n


@task
def select(models: Any) -> Any:
    return min(models)


@task
def evaluate(model: Any) -> Any:
    return model / 2


@task
def report(score: Any) -> str:
    get_run_logger().warning("reported %.1f without a plot", score)
    return f"score {score}"


@flow(log_prints=True)
def model_training(broken: int = -1) -> str:
    """The course's pipeline: twelve tasks on six rings."""
    features = add_features.submit(read_dataframe.submit("2021-01"), read_dataframe.submit("2021-02"))
    models = [train.submit(n, features, broken) for n in range(6)]
    best = select.submit(models)
    print("all models are on their way")
    return report.submit(evaluate.submit(best)).result()


@task
def square(n: int) -> int:
    if n == 137:
        raise RuntimeError("137 is not for squaring")
    return n * n


@task
def total(squares: Any) -> int:
    return sum(squares)


@flow
def wide() -> int:
    """Two hundred mapped tasks, one of which fails."""
    return total.submit(square.map(range(200))).result()


@task
def wait_for_file(path: str) -> int:
    deadline = time.monotonic() + 60
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return 1


@task
def after(n: int) -> int:
    get_run_logger().info("the file came")
    return n


@flow
def waits(path: str) -> int:
    """Runs until the file at `path` is there."""
    return after(wait_for_file(path))


@task
def tick() -> None:
    time.sleep(0.05)


@flow
def endless() -> None:
    """Runs until somebody stops it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        tick()


@flow
def inner() -> Any:
    return select([3, 2])


@flow
def outer() -> Any:
    """A flow with a flow inside, and no task of its own besides."""
    return inner()


FLOWS: dict[str, Any] = {"wide": wide, "outer": outer, "endless": endless, "waits": waits, "model_training": model_training}

if __name__ == "__main__":
    for name in sys.argv[1].split(","):
        which, _, argument = name.partition("=")
        arguments = [int(argument) if argument.isdigit() else argument] if argument else []
        FLOWS[which](*arguments, return_state=True)
