"""A monthly training: what it will do, before it runs; and why each step became what it did, after."""

from __future__ import annotations

import sys

from legato import INPUTS, explain, flow, task


@task(cache_policy=INPUTS)
def load(month: int) -> list[int]:
    """Rows of a month; of month 13 there are none."""
    if month > 12:
        raise ValueError(f"there is no month {month}")
    return [month * day for day in range(1, 29)]


@task
def train(rows: list[int]) -> dict[str, float]:
    """A model: the mean."""
    return {"mean": sum(rows) / len(rows)}


@task(trigger="any_failed")
def alert(model: object) -> None:  # noqa: ARG001 what it waits for
    """Runs only when something before it has failed."""
    print("alert: no model this month")


@flow
def monthly(month: int, test: bool = False) -> None:
    """Load, train, and call for help if that fails."""
    rows = load.submit(month)
    model = train.submit(rows)
    if not test:
        alert.submit(model)


if __name__ == "__main__":
    month = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    plan = monthly.plan(month=month)
    print(plan)
    print("if load fails:", plan.after_failure("load"))

    state = monthly(month=month, return_state=True)
    for node in plan.nodes:
        print(f"{node.name}: {explain(f'{state.run_id}/{node.name}').title}")
