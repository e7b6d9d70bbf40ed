"""A deployment with a parameter and a schedule, for `legato deployment create`."""

from datetime import timedelta

from legato import Deployment, IntervalSchedule, flow, task


@task
def greet(name: str) -> str:
    print(f"Hello, {name}")
    return f"Hello, {name}"


@flow(log_prints=True)
def greeting(name: str = "world", times: int = 1) -> str:
    """Greets somebody."""
    return [greet(name) for _ in range(times)][-1]


Deployment(
    greeting,
    name="hourly",
    schedule=IntervalSchedule(interval=timedelta(hours=1)),
    parameters={"name": "everybody"},
    tags=["demo"],
    description="Says hello every hour.",
)
