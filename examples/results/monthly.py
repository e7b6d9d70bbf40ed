"""Results that outlive their run: a frame, a number and a compressed text are stored, and read back by another process.

python monthly.py            # makes them
python monthly.py --read     # reads them, without running anything
"""

import sys

import pandas as pd

from legato import flow, read_result, task


@task(persist_result=True)
def trips(month: int) -> pd.DataFrame:
    """A frame is stored as Arrow, when pyarrow is there."""
    return pd.DataFrame({"zone": range(2000), "minutes": [month + n % 10 for n in range(2000)]})


@task(persist_result=True, result_serializer="compressed/json")
def notes(month: int) -> list[str]:
    return [f"month {month}: nothing to report"] * 500


@task(persist_result=True)
def mean(frame: pd.DataFrame) -> float:
    return float(frame["minutes"].mean())


@flow(flow_run_name="month-{month}")
def monthly(month: int = 3) -> float:
    notes(month)
    return mean(trips(month))


if __name__ == "__main__":
    if "--read" in sys.argv:
        frame = read_result("month-3", task="trips-0")
        print(f"{len(frame)} rows, mean {read_result('month-3')}, {len(read_result('month-3', task='notes-0'))} notes")
    else:
        print(monthly())
