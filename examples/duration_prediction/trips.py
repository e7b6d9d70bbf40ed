"""Trips for the example: two months made up here with the green-taxi schema, or real monthly files.

Made-up trips are as dirty as real ones (zero distances, negative and day-long durations), so that cleaning has something to do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ("lpep_pickup_datetime", "lpep_dropoff_datetime", "PULocationID", "DOLocationID", "trip_distance")
ZONES = 60


def generated_month(year: int, month: int, rows: int = 10_000) -> pd.DataFrame:
    """`rows` made-up trips of one month; the same for the same month. Duration follows distance, the hour, and the pair of zones."""
    random = np.random.default_rng(year * 100 + month)
    zones = np.random.default_rng(7)
    place = zones.uniform(0, 15, (ZONES, 2))
    slowness = zones.uniform(0.7, 1.6, (ZONES, ZONES))
    start, end = random.integers(0, ZONES, rows), random.integers(0, ZONES, rows)
    distance = np.hypot(*(place[start] - place[end]).T) * random.uniform(1.0, 1.3, rows)
    pickup = pd.Timestamp(year, month, 1) + pd.to_timedelta(random.uniform(0, 27 * 24 * 3600, rows).round(), unit="s")
    rush = np.where(np.isin(pickup.hour, (8, 9, 17, 18)), 1.35, 1.0)
    minutes = 3 + 2.2 * distance * slowness[start, end] * rush + random.normal(0, 1.5, rows)
    dirty = random.random(rows)
    minutes = np.where(dirty < 0.01, -5, np.where(dirty > 0.99, 24 * 60, minutes))
    return pd.DataFrame(
        {
            "lpep_pickup_datetime": pickup,
            "lpep_dropoff_datetime": pickup + pd.to_timedelta(minutes, unit="m"),
            "PULocationID": start,
            "DOLocationID": end,
            "trip_distance": np.where(dirty < 0.005, 0.0, distance.round(2)),
        }
    )


def read_month(path: str) -> pd.DataFrame:
    """One month's trips: a Parquet file, or "generated:YYYY-MM"."""
    if path.startswith("generated:"):
        year, month = path.removeprefix("generated:").split("-")
        return generated_month(int(year), int(month))
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}; leave --train and --val out to use generated trips")
    return pd.read_parquet(path, columns=list(COLUMNS))
