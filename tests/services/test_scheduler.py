"""The scheduler: what it plans, what it catches up, and that no tick becomes two runs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from legato.core.records import Catchup, FlowRun, FlowRunFilter
from legato.core.schedules import CronSchedule
from legato.services import scheduler
from legato.services.scheduler import AHEAD, MAX_AHEAD, MIN_AHEAD
from legato.store.open import open_sql_store
from legato.store.port import Store

from tests.store.make import NOON, add_deployment, at, every

HOUR, DAY = 3600, 86_400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    yield opened
    opened.close()


def planned(store: Store) -> list[FlowRun]:
    return store.list_flow_runs(FlowRunFilter(), limit=1000, oldest_first=True).items


def starts(store: Store) -> list[datetime]:
    return [run.expected_start_at for run in planned(store)]


def test_runs_are_planned_a_day_ahead(store: Store) -> None:
    add_deployment(store, schedules=[every(HOUR)], parameters={"n": 1}, tags=("prod",), flow_runner={"type": "docker"}, retries=2)

    report = scheduler.tick(store, NOON)

    assert report == scheduler.Report(created=24)
    assert starts(store) == [at(HOUR * i) for i in range(1, 25)]
    run = planned(store)[0]
    assert (run.trigger, run.parameters, run.tags, run.flow_runner, run.retries) == (
        "schedule: every hour",
        {"n": 1},
        ("prod",),
        "docker",
        2,
    )
    assert (run.deployment_name, run.due_at, run.state.message) == ("etl/prod", at(HOUR), "schedule: every hour")


def test_at_least_three_runs_are_planned_however_far_ahead(store: Store) -> None:
    add_deployment(store, schedules=[every(7 * DAY)])

    scheduler.tick(store, NOON)

    assert starts(store) == [at(7 * DAY * i) for i in (1, 2, 3)]
    assert MIN_AHEAD == 3


def test_at_most_a_hundred_runs_are_planned_at_a_time(store: Store) -> None:
    add_deployment(store, schedules=[every(60)])

    scheduler.tick(store, NOON)
    assert len(planned(store)) == MAX_AHEAD
    scheduler.tick(store, at(600))

    assert starts(store) == [at(60 * i) for i in range(1, MAX_AHEAD + 11)]


def test_ticking_again_plans_nothing_twice(store: Store) -> None:
    add_deployment(store, schedules=[every(HOUR)])
    scheduler.tick(store, NOON)

    assert scheduler.tick(store, NOON) == scheduler.Report()
    assert scheduler.tick(store, at(HOUR)).created == 1


def test_two_schedulers_plan_each_tick_once(store: Store, tmp_path: Path) -> None:
    other = open_sql_store(f"sqlite:///{tmp_path}/legato.db")
    add_deployment(store, schedules=[every(HOUR)])
    stale = other.due_schedules(now=NOON)
    scheduler.tick(store, NOON)

    class Stale:
        """The other scheduler, which read the schedules before this one wrote."""

        def __getattr__(self, verb: str) -> object:
            return getattr(other, verb)

        def due_schedules(self, **_: object) -> object:
            return stale

    assert scheduler.tick(Stale(), NOON).created == 0  # type: ignore[arg-type]
    assert len(starts(store)) == len(set(starts(store))) == 24
    other.close()


@pytest.mark.parametrize(
    ("catchup", "caught_up", "skipped"), [(Catchup.LATEST, [120], 119), (Catchup.ALL, range(1, 121), 0), (Catchup.NONE, [], 120)]
)
def test_what_passed_while_nobody_was_up_follows_the_policy(store: Store, catchup: Catchup, caught_up: object, skipped: int) -> None:
    minutely = every(60, catchup=catchup)
    (schedule,) = add_deployment(store, schedules=[minutely]).schedules
    back = at(120 * 60 + 5)
    assert schedule.cursor_at == NOON

    reports = [scheduler.tick(store, back) for _ in range(4)]

    assert sum(report.skipped for report in reports) == skipped
    assert [start for start in starts(store) if start <= back] == [at(60 * i) for i in caught_up]  # type: ignore[attr-defined]
    assert starts(store)[-1] > back


def test_an_edited_schedule_is_skipped_and_planned_the_next_time(store: Store) -> None:
    add_deployment(store, schedules=[every(HOUR)])
    stale = store.due_schedules(now=NOON)
    add_deployment(store, schedules=[every(2 * HOUR, id=stale[0].schedule.id)])

    class Stale:
        def __getattr__(self, verb: str) -> object:
            return getattr(store, verb)

        def due_schedules(self, **_: object) -> object:
            return stale

    assert scheduler.tick(Stale(), NOON).conflicts == 1  # type: ignore[arg-type]
    assert planned(store) == []
    assert scheduler.tick(store, NOON).created == 12


def test_one_schedules_trouble_is_not_the_others(store: Store) -> None:
    leap_days = CronSchedule(cron="0 0 29 2 *")
    add_deployment(store, "never", schedules=[every(60, schedule=leap_days)])
    add_deployment(store, "hourly", schedules=[every(HOUR)])

    report = scheduler.tick(store, datetime(2499, 6, 1, tzinfo=UTC))

    assert report.created + report.skipped > 0
    assert {run.deployment_name for run in planned(store)} >= {"etl/hourly"}


def test_names_are_readable_and_the_same_for_the_same_tick(store: Store) -> None:
    (schedule,) = add_deployment(store, schedules=[every(HOUR)]).schedules
    scheduler.tick(store, NOON)
    first = [run.name for run in planned(store)]
    store.set_deployment_paused("etl/prod", paused=True, now=NOON)
    store.set_deployment_paused("etl/prod", paused=False, now=NOON)
    scheduler.tick(store, NOON)

    assert [run.name for run in planned(store)] == first
    assert all(name.count("-") == 1 for name in first)
    assert len(set(first)) > 20
    assert schedule.id


def test_a_clock_that_jumps_back_plans_nothing_again(store: Store) -> None:
    add_deployment(store, schedules=[every(HOUR)])
    scheduler.tick(store, at(DAY))
    before = starts(store)

    scheduler.tick(store, NOON)

    assert starts(store) == before
    assert timedelta(hours=24) == AHEAD
