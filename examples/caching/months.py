"""Features of some months: made once for equal inputs and code, published together or not at all.

python months.py FOLDER january february
"""

import sys
from pathlib import Path

from legato import INPUTS, SOURCE, flow, task, transaction

SCALE = 10


def clean(values: list[int]) -> list[int]:
    """A helper: when it changes, features are made anew."""
    return [value * SCALE for value in values]


@task(cache_policy=INPUTS + SOURCE)
def features(month: str) -> list[int]:
    print(f"working on {month}")
    return clean([len(month), month.count("a")])


@task
def write(folder: str, month: str, values: list[int]) -> None:
    Path(folder, f"{month}.draft").write_text(f"{values}\n")
    if not sum(values[1:]):
        raise ValueError(f"{month} has no letter a")


@write.on_commit
def publish(txn) -> None:
    for draft in Path(txn.get("folder")).glob("*.draft"):
        draft.rename(draft.with_suffix(".txt"))


@write.on_rollback
def discard(txn) -> None:
    for draft in Path(txn.get("folder")).glob("*.draft"):
        draft.unlink()


@flow
def publish_months(months: list[str], folder: str) -> None:
    made = {month: features(month) for month in months}
    with transaction() as txn:
        txn.set("folder", folder)
        for month, values in made.items():
            write(folder, month, values)


if __name__ == "__main__":
    publish_months(sys.argv[2:], sys.argv[1])
