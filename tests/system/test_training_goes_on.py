"""Real frames and models, and a process that is killed after each task in turn: every finished body has run once in all, the words are true, the
run's graph has its edges. Synthetic rides stand in for real ones, unless LEGATO_TEST_RIDES names a folder of taxi trips in Parquet.
"""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from legato.store.open import open_sql_store

SCRIPT = """
import os, signal
from pathlib import Path
import numpy as np
import pandas as pd
from pydantic import BaseModel
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from legato import flow, task

HERE = Path(__file__).parent

class Score(BaseModel):
    mean: float
    model: str

def ran(name):
    with (HERE / "ran").open("a") as f: f.write(name + "\\n")

def still_alive(n):
    if os.environ.get("KILL_AFTER") == str(n): os.kill(os.getpid(), signal.SIGKILL)

def given():
    folder = os.environ.get("RIDES")
    if folder:
        frame = pd.read_parquet(sorted(Path(folder).glob("*.parquet"))[0]).head(4000)
        return pd.DataFrame({
            "distance": frame["trip_distance"].astype(float).to_numpy(),
            "pickup": frame[next(c for c in frame if "pickup_datetime" in c)].to_numpy(),
            "zone": frame["PULocationID"].astype(str).to_numpy(),
            "amount": frame["fare_amount"].astype(float).to_numpy(),
        })
    rng = np.random.default_rng(7)
    distance = rng.gamma(2, 2, 4000)
    return pd.DataFrame({
        "distance": np.where(rng.random(4000) < 0.01, np.nan, distance),
        "pickup": pd.date_range("2019-01-01", periods=4000, freq="7min"),
        "zone": rng.choice(["east", "west", "north"], 4000),
        "amount": 3 + 2.5 * distance + rng.normal(0, 1, 4000),
    })

@task
def load():
    ran("load")
    return given()

@task
def clean(frame):
    ran("clean")
    kept = frame.dropna().query("distance > 0 and amount > 0").copy()
    kept["zone"] = kept["zone"].astype("category")
    kept["hour"] = kept["pickup"].dt.hour
    return kept

@task
def split(frame):
    ran("split")
    features = frame[["distance", "hour"]]
    return features[::2], features[1::2], frame["amount"][::2], frame["amount"][1::2]

@task
def train(kind, x, y):
    ran("train " + kind)
    model = LinearRegression() if kind == "line" else RandomForestRegressor(8, random_state=1, n_jobs=1)
    return make_pipeline(StandardScaler(), model).fit(x, y)

@task
def evaluate(kind, model, x, y):
    ran("evaluate " + kind)
    return Score(mean=round(float(np.abs(model.predict(x) - y).mean()), 6), model=kind)

@task
def best(scores):
    ran("best")
    return min(scores, key=lambda score: score.mean).model

@flow(persist_result=True, flow_run_name="training")
def main():
    frame = load(); still_alive(1)
    frame = clean(frame); still_alive(2)
    x, x_test, y, y_test = split(frame); still_alive(3)
    line = train("line", x, y); still_alive(4)
    forest = train.submit("forest", x, y); forest.wait(); still_alive(5)
    first = evaluate("line", line, x_test, y_test); still_alive(6)
    second = evaluate.submit("forest", forest, x_test, y_test).result(); still_alive(7)
    chosen = best([first, second]); still_alive(8)
    assert isinstance(first, Score), type(first)
    return chosen

if __name__ == "__main__":
    main()
"""

BODIES = ["load", "clean", "split", "train line", "train forest", "evaluate line", "evaluate forest", "best"]
EDGES = {
    "load-0": set(),
    "clean-0": {"load-0"},
    "split-0": {"clean-0"},
    "train-0": {"split-0"},
    "train-1": {"split-0"},
    "evaluate-0": {"train-0", "split-0"},
    "evaluate-1": {"train-1", "split-0"},
    "best-0": {"evaluate-0", "evaluate-1"},
}


def run(args: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "LEGATO_HOME": str(folder / "home"),
        "LEGATO_LOG_LEVEL": "INFO",
        "RIDES": os.environ.get("LEGATO_TEST_RIDES", ""),
        **more,
    }
    return subprocess.run(args, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("finished", range(1, 9))
def test_a_training_that_is_killed_goes_on_where_it_was(tmp_path: Path, finished: int) -> None:
    (tmp_path / "training.py").write_text(SCRIPT)

    killed = run([sys.executable, "training.py"], tmp_path, KILL_AFTER=str(finished))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = (tmp_path / "ran").read_text().splitlines()
    resumed = run([str(Path(sys.executable).parent / "legato"), "run", "retry", "training"], tmp_path)

    assert resumed.returncode == 0, resumed.stderr
    ran = (tmp_path / "ran").read_text().splitlines()
    assert before == BODIES[:finished]
    assert Counter(ran) == Counter(BODIES)
    said = resumed.stdout + resumed.stderr
    is_or_are = "is reused if it is" if finished == 1 else "are reused if they are"
    assert f"of {finished} earlier task runs {finished} {is_or_are} called alike, 0 run again" in said
    again = len(BODIES) - finished
    assert f"reused {finished} task run{'s' if finished != 1 else ''}, {again or 'none'} ran" in said
    assert set(re.findall("again, because (.*?): ", said)) <= {"it was not called before", "it was not called with these inputs before"}
    assert edges(tmp_path) == EDGES


def edges(folder: Path) -> dict[str, set[str]]:
    """Of the last attempt: by task run, those it depends on."""
    store = open_sql_store(f"sqlite:///{folder / 'home' / 'legato.db'}")
    try:
        (found,) = store.find_flow_runs("training")
        tasks = [one for one in store.list_task_runs(found.id).items if one.flow_attempt == found.attempt]
    finally:
        store.close()
    names = {one.id: one.name for one in tasks}
    return {one.name: {names[up] for up in one.upstream if up in names} for one in tasks}
