"""The budgets of the design, measured: `make bench`, or `python -m benchmarks [starts tasks shapes store lists scheduler server agent]`."""

from __future__ import annotations

import importlib
import os
import platform
import sys

from benchmarks.measure import Row

GROUPS = ("starts", "tasks", "shapes", "store", "lists", "scheduler", "server", "agent")


def line(row: Row) -> str:
    """One row as text."""
    verdict = "ok  " if row.holds else "MISS"
    floor = f"  [{row.floor:.1f} {row.floor_is}]" if row.floor is not None else ""
    sign = ">=" if row.more_is_better else "<="
    return f"{verdict} {row.what:<52} {row.measured:>10,.1f} {row.unit:<8} {sign} {row.budget:<9,g}{floor}  {row.note}".rstrip()


def main(groups: list[str]) -> int:
    """Measure the groups, print a line as soon as a row is known. Missed budgets do not fail: the table is for reading."""
    unknown = set(groups) - set(GROUPS)
    if unknown:
        print(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
        return 2
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}")
    for group in groups or GROUPS:
        print(f"\n{group}")
        for row in importlib.import_module(f"benchmarks.{group}").rows():
            print(line(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
