"""A month of made-up taxi trips: tasks of several kinds, futures inside records, triggers, retries and hooks, in one flow.

python taxi_month.py [--broken]
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from legato import as_completed, exponential_backoff, flow, get_run_logger, runtime, tags, task, unmapped


@dataclass
class Trip:
    zone: int
    minutes: float


@dataclass
class Summary:
    month: int
    by_zone: list[Any] = field(default_factory=list)


@task
def trips(month: int, n: int) -> Iterator[Trip]:
    """A generator: its run lasts as long as somebody reads from it."""
    source = random.Random(month)
    for _ in range(n):
        yield Trip(source.randrange(4), source.uniform(2, 40))


def on_retry(_task: Any, run: Any, state: Any) -> None:
    print(f"{run.name} will be tried again: {state.message.partition(';')[0]}")


@task(task_run_name="zone-{zone}", retries=2, retry_delay_seconds=exponential_backoff(0.01), on_retry=on_retry)
def mean_of(zone: int, month: list[Trip], broken: bool) -> float:
    if zone == 2 and runtime.task_run is not None and (broken or runtime.task_run.attempt == 1):
        raise OSError("zone 2 does not answer")
    durations = [trip.minutes for trip in month if trip.zone == zone]
    return round(sum(durations) / len(durations), 1)


@task
def report(summary: Summary) -> str:
    """Its argument holds futures: they are replaced by their values before it is called."""
    return f"month {summary.month}: " + ", ".join(f"zone {n} {minutes} min" for n, minutes in enumerate(summary.by_zone))


@task(trigger="any_failed")
def excuse(*outcomes: Any) -> str:
    return "; ".join(str(one) for one in outcomes if isinstance(one, Exception))


@flow
def taxi_month(month: int = 3, broken: bool = False) -> str:
    with tags("taxi"):
        data = list(trips(month, 400))
        means = mean_of.map([0, 1, 2, 3], unmapped(data), broken)
        for future in as_completed(means):
            get_run_logger().info("%s ended: %s", future.name, future.state)
        apology = excuse.submit(*means)
        summary = report.submit(Summary(month, list(means)))
        return apology.result() or summary.result()


if __name__ == "__main__":
    print(taxi_month(broken="--broken" in sys.argv))
