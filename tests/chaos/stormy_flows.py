"""The flows that run in the storm: each body writes into a ledger when it begins and ends, and a flow when a completion was told to it."""

import os
import time
from datetime import timedelta

from legato import Deployment, IntervalSchedule, flow, runtime, task

LEDGER = os.environ.get("STORM_LEDGER", os.devnull)


def note(word: str, body: str) -> None:
    run = runtime.flow_run
    assert run is not None
    agent = os.environ.get("STORM_AGENT", "-1")  # asked here: a value that the file holds would be part of what its tasks are
    line = f"{time.time():.6f} {word} {run.id} {run.attempt} {os.getpid()} {agent} {body}\n"
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def work(seconds: float) -> str:
    """A body: returns the name of its task run."""
    assert runtime.task_run is not None
    name = runtime.task_run.name
    note("start", name)
    time.sleep(seconds)
    note("stop", name)
    return name


@task
def step(n: int, seconds: float) -> str:
    return work(seconds)


@task(retries=2)
def moody(n: int, seconds: float) -> str:
    assert runtime.task_run is not None
    name = work(seconds)
    if runtime.task_run.attempt == 1 and n % 2:
        raise ConnectionError("the first time never works")
    return name


@flow(persist_result=True)
def steps(n: int = 4, seconds: float = 0.4) -> int:
    for i in range(n):
        note("acked", step(i, seconds))
    return n


@flow(persist_result=True)
def wide(n: int = 6, seconds: float = 0.5) -> int:
    for name in step.map(range(n), seconds=seconds).result():
        note("acked", name)
    return n


@flow(persist_result=True)
def tries(n: int = 3, seconds: float = 0.2) -> int:
    for i in range(n):
        note("acked", moody(i, seconds))
    return n


@flow(persist_result=True)
def within(n: int = 2, seconds: float = 0.3) -> int:
    return sum(steps(2, seconds + i / 100) for i in range(n))


@flow(persist_result=True)
def tick() -> int:
    note("acked", step(0, 0.05))
    return 1


for one, tag in ((steps, "broad"), (wide, "broad"), (tries, "narrow"), (within, "narrow"), (steps, "narrow")):
    Deployment(one, name=tag, tags=[tag], on_lost="retry")
Deployment(tick, name="ticking", tags=["broad"], on_lost="retry", catchup="all", schedule=IntervalSchedule(interval=timedelta(seconds=4)))
