"""The course's pipeline: read two months of taxi trips, add features, search a little, train the best model, evaluate it.

    python train.py                                                        on generated trips
    python train.py --train trips-2019-01.parquet --val trips-2019-02.parquet    on real monthly files of the same schema

Take the decorators off and it is the same program. With them each step is tracked, tried again when it fails, and there to look at afterwards.
With MLflow installed, and MLFLOW_TRACKING_URI set, parameters and error of the best model are logged there too.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from datetime import timedelta
from typing import Any

import pandas as pd
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import Ridge
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import Pipeline, make_pipeline

from legato import flow, get_run_logger, task, task_input_hash, unmapped

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from trips import read_month


@task(retries=3, retry_delay_seconds=[1, 5, 30], tags=["io"])
def read_dataframe(path: str) -> pd.DataFrame:
    """Trips of one month that lasted between one minute and one hour, with their duration in minutes."""
    trips = read_month(path)
    trips["duration"] = (trips.lpep_dropoff_datetime - trips.lpep_pickup_datetime).dt.total_seconds() / 60
    kept = trips[trips.duration.between(1, 60)].copy()
    get_run_logger().info("%s: kept %d of %d trips", path, len(kept), len(trips))
    return kept


@task
def add_features(train: pd.DataFrame, val: pd.DataFrame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each trip as a dict of features: the pair of zones, the hour, and the distance."""
    return _features(train), _features(val)


def _features(trips: pd.DataFrame) -> list[dict[str, Any]]:
    pair = trips.PULocationID.astype(str) + "_" + trips.DOLocationID.astype(str)
    frame = pd.DataFrame({"pair": pair, "hour": trips.lpep_pickup_datetime.dt.hour.astype(str), "distance": trips.trip_distance})
    return frame.to_dict(orient="records")


@task(cache_key_fn=task_input_hash, cache_expiration=timedelta(days=7))
def grid(low: float, high: float, steps: int) -> list[float]:
    """Regularisation strengths to try, evenly apart on a logarithmic scale. The same question is answered from the cache."""
    return [low * (high / low) ** (i / (steps - 1)) for i in range(steps)]


@task
def try_alpha(
    alpha: float, train: list[dict[str, Any]], y_train: pd.Series, val: list[dict[str, Any]], y_val: pd.Series
) -> tuple[float, float]:
    """The validation error in minutes (RMSE) of one strength: (error, alpha)."""
    model = _model(alpha).fit(train, y_train)
    return float(root_mean_squared_error(y_val, model.predict(val))), alpha


@task
def choose_best(tried: list[tuple[float, float]]) -> tuple[float, float]:
    """Of all tries the one with the least error: (error, alpha)."""
    return min(tried)


@task
def train_best(best: tuple[float, float], train: list[dict[str, Any]], y_train: pd.Series) -> Pipeline:
    """The model with the chosen strength."""
    _, alpha = best
    return _model(alpha).fit(train, y_train)


@task
def evaluate(model: Pipeline, val: list[dict[str, Any]], y_val: pd.Series) -> float:
    """The model's error on the validation month, in minutes (RMSE)."""
    return float(root_mean_squared_error(y_val, model.predict(val)))


@task
def log_to_mlflow(best: tuple[float, float], error: float) -> bool:
    """Log the best model's parameters and error, where MLflow is installed and a tracking server named."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return False
    try:
        import mlflow  # noqa: PLC0415 optional
    except ImportError:
        get_run_logger().warning("MLFLOW_TRACKING_URI is set, but MLflow is not installed: pip install mlflow")
        return False
    with mlflow.start_run():
        mlflow.log_params({"alpha": best[1]})
        mlflow.log_metric("rmse", error)
    return True


def _model(alpha: float) -> Pipeline:
    return make_pipeline(DictVectorizer(dtype=float), Ridge(alpha=alpha, solver="sparse_cg"))


@flow(log_prints=True)
def duration_prediction(train_path: str = "generated:2021-01", val_path: str = "generated:2021-02", steps: int = 4) -> dict[str, float]:
    """Train a model of trip durations on one month, and validate it on the next. Returns the best alpha and its error in minutes."""
    train, val = read_dataframe.submit(train_path), read_dataframe.submit(val_path)
    x_train, x_val = add_features(train, val)  # type: ignore[arg-type]  # futures stand for their values
    y_train, y_val = train.result().duration, val.result().duration
    strengths = grid.submit(0.1, 10.0, steps)
    tried = try_alpha.map(strengths, unmapped(x_train), unmapped(y_train), unmapped(x_val), unmapped(y_val))
    best = choose_best(tried)
    model = train_best(best, x_train, y_train)
    error = evaluate.submit(model, x_val, y_val)
    log_to_mlflow(best, error)
    final, (_, alpha) = error.result(), best
    print(f"validation error: {final:.2f} minutes (RMSE) with alpha={alpha:g}")
    return {"alpha": alpha, "rmse": final}


def main() -> None:
    """Read the command line, run the flow, say where to look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default="generated:2021-01", help="Parquet file of the month to train on")
    parser.add_argument("--val", default="generated:2021-02", help="Parquet file of the month to validate on")
    parser.add_argument("--steps", type=int, default=4, help="how many models to try")
    chosen = parser.parse_args()
    state = duration_prediction(chosen.train, chosen.val, chosen.steps, return_state=True)  # type: ignore[call-arg]
    outcome = state.result()
    print(f"\nTrained. Validation error: {outcome['rmse']:.2f} minutes (RMSE), alpha={outcome['alpha']:g}")
    print(f"See the run:          legato run show {state.run_id}")
    print("See it in a browser:  legato server start     (then open http://127.0.0.1:4200)")


if __name__ == "__main__":
    main()
