"""A user's script with a little of everything that pages show. Runs against the server or database that its environment names.

python seed.py NAME [ARGUMENT]      runs one of the flows below
"""

import sys
import time
from pathlib import Path
from typing import Any

from legato import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
    flow,
    get_run_logger,
    task,
    track,
)


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


REPORT = """# Evaluation

Best model: **train-3**, loss `0.125`, see [the run](https://example.com/runs/3) or [this](javascript:alert(1)).

| model | loss |
|---|---:|
| train-3 | 0.125 |

- <img src=x onerror="window.injected = 1">
- <script>window.injected = 1</script>

> Trained on two months of data.

```python
print("**as it is**")
```
"""
CURVE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100" width="400" height="200">'
    b'<polyline points="5,10 40,55 90,80 195,92" fill="none" stroke="#5b34d6" stroke-width="3"/>'
)


@flow
def shows(path: str = "") -> None:
    """An artifact of each kind; with a path, a bar that stands at half until the file is there."""
    for version in (1, 2):
        create_markdown_artifact(REPORT if version == 2 else "first", key="evaluation", title="Evaluation")
    rows = [{"city": name, "n": n, "late": n > 9} for name, n in (("Oslo", 10), ("Rome", 9), ("Bergen", 100))]
    create_table_artifact(rows, key="cities", title="Trips by city", description="All of January.")
    create_link_artifact("https://example.com/experiments/7", "experiment 7", title="Tracked at")
    create_image_artifact(CURVE + b"<!--" + path.encode().ljust(5000) + b"--></svg>", key="loss-curve", title="Loss")
    create_image_artifact(CURVE + b"</svg>", title="A small image")
    create_image_artifact("https://example.com/elsewhere.png", title="Elsewhere")
    for n in track(range(4), "loading files"):
        if path and n == 2:
            wait_for_file(path)


FLOWS: dict[str, Any] = {"wide": wide, "outer": outer, "endless": endless, "waits": waits, "shows": shows, "model_training": model_training}

if __name__ == "__main__":
    for name in sys.argv[1].split(","):
        which, _, argument = name.partition("=")
        arguments = [int(argument) if argument.isdigit() else argument] if argument else []
        FLOWS[which](*arguments, return_state=True)
