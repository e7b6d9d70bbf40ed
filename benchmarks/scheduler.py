"""The scheduler with many deployments: the first tick, which plans them all, and a tick with nothing to do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta

from benchmarks.measure import Row, home
from legato.core.records import Deployment, DeploymentSchedule
from legato.core.schedules import CronSchedule
from legato.services import scheduler
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore
from legato.system import new_id, now

DEPLOYMENTS = int(os.environ.get("LEGATO_BENCH_DEPLOYMENTS", "10000"))


def _deploy(store: SqlStore, n: int) -> None:
    at = now()
    schedule = DeploymentSchedule(id=new_id(), schedule=CronSchedule(cron=f"{n % 60} {n % 24} * * *"))
    store.save_deployment(
        Deployment(id=new_id(), flow_name="etl", name=f"d{n}", entrypoint="f.py:f", created_at=at, updated_at=at, schedules=(schedule,))
    )


def rows() -> Iterator[Row]:
    with home() as folder:
        store = open_sql_store(f"sqlite:///{folder}/scheduler.db")
        with store.together():
            for n in range(DEPLOYMENTS):
                _deploy(store, n)
        at = now()
        began = time.process_time()
        report = scheduler.tick(store, at)
        first_ms = (time.process_time() - began) * 1000 / DEPLOYMENTS
        yield Row("planning a daily schedule, CPU", first_ms, "ms", 1.0, note=f"{report.created} runs of {DEPLOYMENTS} schedules")
        began = time.process_time()
        for n in range(20):
            scheduler.tick(store, at + timedelta(seconds=n))
        yield Row("an idle tick, CPU", (time.process_time() - began) * 1000 / 20, "ms", 20.0, note=f"{DEPLOYMENTS} deployments")
        store.close()
