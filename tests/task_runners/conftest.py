"""One suite, every runner. Clusters are started once a session, because starting them is what takes long."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from legato import DaskTaskRunner, ProcessTaskRunner, RayTaskRunner, SequentialTaskRunner, ThreadTaskRunner
from legato.testing import Harness, harness

ELSEWHERE = ["forkserver", "spawn", "dask", pytest.param("ray", marks=pytest.mark.slow)]
ALL = ["threads", "sequential", *ELSEWHERE]


@pytest.fixture
def h() -> Iterator[Harness]:
    with harness() as opened:
        yield opened


@pytest.fixture(scope="session")
def dask_cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0", host="127.0.0.1") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray

    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # a socket's path has at most 107 characters
    try:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=200_000_000,
            _node_ip_address="127.0.0.1",
            logging_level="ERROR",
            log_to_driver=False,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


MAKERS: dict[str, Callable[[], Any]] = {
    "threads": lambda: ThreadTaskRunner(4),
    "sequential": SequentialTaskRunner,
    "forkserver": lambda: ProcessTaskRunner(2),
    "spawn": lambda: ProcessTaskRunner(2, start_method="spawn"),
    "ray": RayTaskRunner,
}


def make(name: str, request: pytest.FixtureRequest) -> Any:
    """A runner by its name here."""
    if name == "dask":
        return DaskTaskRunner(request.getfixturevalue("dask_cluster"))
    if name == "ray":
        request.getfixturevalue("ray_cluster")
    return MAKERS[name]()


@pytest.fixture(params=ALL)
def runner(request: pytest.FixtureRequest) -> Any:
    """Each runner."""
    return make(request.param, request)


@pytest.fixture(params=ELSEWHERE)
def away(request: pytest.FixtureRequest) -> Any:
    """Each runner that performs tasks in other processes."""
    return make(request.param, request)


@pytest.fixture(params=["threads", *ELSEWHERE])
def concurrent(request: pytest.FixtureRequest) -> Any:
    """Each runner whose `submit` does not wait for the task."""
    return make(request.param, request)
