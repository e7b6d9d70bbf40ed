"""What waits to be taken for the first time follows its deployment, whoever made it; and what became a run stays the one run of its tick."""

import contextlib
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from legato.core.errors import LegatoError
from legato.core.planning import run_of
from legato.core.records import Catchup, Deployment, FlowRun, FlowRunFilter, QueueFilter, TagLimit
from legato.core.states import RUNNING, SCHEDULED
from legato.services import scheduler
from legato.store.lists import select_due
from legato.store.open import open_sql_store
from legato.store.port import Store
from legato.system import new_id

from tests.store.make import NOON, add_deployment, add_queue, apply, at, claim, every, move


def by_hand(store: Store, deployment: Deployment, seconds: float = 0, **given: Any) -> FlowRun:
    """A run that a person makes of a deployment as they have read it, due at once."""
    return store.create_flow_run(run_of(deployment, id=new_id(), due_at=at(0), now=at(0), trigger="by hand", **given), now=at(seconds))


EDITED = {"tags": ("gpu",), "flow_runner": {"type": "docker"}, "parameters": {"a": 2}, "concurrency_limit": 1}


def _made_before(store: Store, deployment: Deployment) -> list[str]:
    made = [by_hand(store, deployment, tags=("mine",)).id for _ in range(3)]
    store.save_deployment(msgspec.structs.replace(deployment, **EDITED), now=at(1))
    return made


def _made_from_an_older_reading(store: Store, deployment: Deployment) -> list[str]:
    store.save_deployment(msgspec.structs.replace(deployment, **EDITED), now=at(1))
    return [by_hand(store, deployment, 1, tags=("mine",)).id for _ in range(3)]


def _cancelled_meanwhile(store: Store, deployment: Deployment) -> list[str]:
    made = [by_hand(store, deployment, tags=("mine",)).id for _ in range(3)]
    for id_ in made:
        store.request_cancel(id_, now=at(1))
    store.save_deployment(msgspec.structs.replace(deployment, **EDITED), now=at(1))
    return [store.schedule_again(id_, why="after all", now=at(2)).id for id_ in made]


@pytest.mark.parametrize("made", [_made_before, _made_from_an_older_reading, _cancelled_meanwhile])
def test_a_run_by_hand_is_found_and_held_back_by_what_its_deployment_is_now(
    store: Store, made: Callable[[Store, Deployment], list[str]]
) -> None:
    add_queue(store, "cpu", flow_runners=("subprocess",))
    add_queue(store, "gpu", tags=("gpu",), flow_runners=("docker",))
    store.save_limit(TagLimit(tag="gpu", size=2))
    ids = made(store, add_deployment(store, tags=("old",), flow_runner={"type": "subprocess"}, parameters={"a": 1}))

    listed = store.list_flow_runs(FlowRunFilter(tags=("gpu", "mine"))).items
    assert sorted(run.id for run in listed) == sorted(ids)
    assert {(run.flow_runner, run.parameters["a"]) for run in listed} == {("docker", 2)}
    assert claim(store, "cpu", limit=9, seconds=3) == []
    assert len(claim(store, "gpu", limit=9, seconds=3)) == 1  # the deployment's own limit
    store.save_deployment(msgspec.structs.replace(store.get_deployment("etl/prod"), concurrency_limit=None), now=at(4))
    assert len(claim(store, "gpu", limit=9, seconds=5)) == 1  # the tag's
    assert claim(store, "gpu", limit=9, seconds=6) == []


def test_a_run_by_hand_loses_the_tags_its_deployment_has_lost_and_keeps_its_own(store: Store) -> None:
    deployment = add_deployment(store, tags=("a", "b"))
    run = by_hand(store, deployment, tags=("mine",))

    store.save_deployment(msgspec.structs.replace(deployment, tags=("b", "c")), now=at(1))

    assert store.get_flow_run(run.id).tags == ("b", "c", "mine")
    assert store.list_flow_runs(FlowRunFilter(tags=("a",))).items == []


def test_a_queue_that_gets_a_name_counts_the_runs_that_go_on_under_it(store: Store) -> None:
    add_queue(store)
    deployment = add_deployment(store)
    for _ in range(2):
        by_hand(store, deployment)
    assert len(claim(store)) == 1
    store.delete_queue("main")
    other = add_queue(store, "other", concurrency_limit=1)

    store.save_queue(msgspec.structs.replace(other, name="main"))

    assert store.get_queue("main", now=at(1)).running == 1
    assert claim(store, seconds=1) == []


@pytest.mark.parametrize("many", [1, 40, 3000])
def test_a_queue_may_ask_for_many_tags_and_as_many_limits_may_be_full(store: Store, many: int) -> None:
    tags = tuple(f"t{i}" for i in range(many))
    add_queue(store, "all", tags=tags)
    deployment = add_deployment(store)
    wanted, other = by_hand(store, deployment, tags=(*tags, "x")), by_hand(store, deployment, tags=tags[1:])
    for tag in tags[:40]:
        store.save_limit(TagLimit(tag=tag, size=0))

    assert [run.id for run in store.preview_queue("all", until=at(1))] == [wanted.id]
    assert claim(store, "all", limit=9) == []
    for tag in tags[:40]:
        store.delete_limit(tag)
    assert [each.flow_run.id for each in claim(store, "all", limit=9)] == [wanted.id]
    assert store.get_flow_run(other.id).state.type is SCHEDULED


class Planner:
    """A schedule that is edited, paused, resumed and looked at while its runs are taken, cancelled and claimed, and the clock is set."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.store = open_sql_store("sqlite://")
        self.now = 0.0
        self.latest = 0.0
        add_queue(self.store)
        schedule = every(60, catchup=Catchup.ALL)
        self.id = schedule.id
        add_deployment(self.store, schedules=[schedule])

    def walk(self, steps: int) -> None:
        verbs = [self.plan, self.plan, self.edit, self.pause, self.cancel, self.take, self.claim, self.forward, self.forward, self.back]
        for _ in range(steps):
            with contextlib.suppress(LegatoError):
                self.chance.choice(verbs)()
        self.store.set_deployment_paused("etl/prod", False, now=at(self.now))
        scheduler.tick(self.store, at(self.now), jumped=True)

    def runs(self) -> list[FlowRun]:
        return self.store.list_flow_runs(FlowRunFilter(), limit=10_000).items

    def plan(self) -> None:
        scheduler.tick(self.store, at(self.now), jumped=self.chance.random() < 0.2)

    def edit(self) -> None:
        deployment = self.store.get_deployment("etl/prod")
        (schedule,) = deployment.schedules
        edited = msgspec.structs.replace(schedule, catchup=self.chance.choice([Catchup.ALL, Catchup.LATEST]))
        self.store.save_deployment(msgspec.structs.replace(deployment, schedules=(edited,)), now=at(self.now))

    def pause(self) -> None:
        self.store.set_deployment_paused("etl/prod", self.chance.random() < 0.5, now=at(self.now))

    def cancel(self) -> None:
        for run in self.chance.sample(runs := self.runs(), min(1, len(runs))):
            self.store.request_cancel(run.id, now=at(self.now))

    def take(self) -> None:
        for run in self.chance.sample(runs := self.runs(), min(1, len(runs))):
            self.store.take_flow_run(run.id, host="h", pid=1, lease_s=30, why="x", now=at(self.now))

    def claim(self) -> None:
        for each in claim(self.store, limit=2, seconds=self.now):
            apply(self.store, move(each.flow_run, RUNNING, self.now), self.now)

    def forward(self) -> None:
        self.now += self.chance.choice([30, 60, 200])
        self.latest = max(self.latest, self.now)

    def back(self) -> None:
        if self.chance.random() < 0.3:
            self.now = max(0.0, self.now - self.chance.choice([60, 600]))


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_no_tick_is_ever_two_runs_and_none_that_lies_ahead_is_none(first: int) -> None:
    for seed in range(first, first + 30):
        planner = Planner(seed)
        planner.walk(40)
        ticks = Counter(run.expected_start_at for run in planner.runs())
        assert [tick for tick, many in ticks.items() if many > 1] == [], seed
        ahead = NOON.timestamp() + (planner.latest // 60 + 1) * 60
        assert {ahead, ahead + 60, ahead + 120} <= {tick.timestamp() for tick in ticks}, seed
        planner.store.close()


def test_the_filter_of_a_queue_is_asked_in_one_question_however_many_tags_it_names() -> None:
    texts = {select_due(QueueFilter(tags=tags), lock=False, but_tags=tags)[0] for tags in (("a",), tuple("abcdefgh"))}
    assert len(texts) == 1
