"""What users write, and the types that come out of it. Not run: two type checkers read it (test_type_checkers.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from datetime import timedelta
from typing import Any, assert_type

from legato import (
    INPUTS,
    SOURCE,
    CacheKeyFn,
    CachePolicy,
    CronSchedule,
    Explanation,
    Flow,
    Future,
    IntervalSchedule,
    Plan,
    Task,
    ThreadTaskRunner,
    Upstream,
    Variable,
    all_succeeded,
    allow_failure,
    any_failed,
    as_completed,
    create_markdown_artifact,
    explain,
    exponential_backoff,
    flow,
    get_run_logger,
    pause_flow_run,
    quote,
    runtime,
    tags,
    task,
    track,
    transaction,
    unmapped,
    wait,
)
from legato.core.states import FAILED, State
from legato.engine.futures import FutureList
from legato.engine.runtime import RunView
from legato.sdk.run_states import RunState


def noticed(flow: Any, run: RunView, state: State) -> None: ...


def both(upstream: Any) -> bool:
    return all_succeeded(upstream) or any_failed(upstream)


@task
def load(month: int, city: str = "rome") -> list[int]:
    return [month]


@task(
    name="train",
    retries=3,
    retry_delay_seconds=exponential_backoff(2),
    retry_condition_fn=lambda exc: isinstance(exc, OSError),
    cache_policy=INPUTS + SOURCE - "city",
    cache_expiration=timedelta(days=1),
    timeout_seconds=60,
    persist_result=True,
    log_prints=True,
    trigger=both,
    tags=["gpu"],
    on_failure=noticed,
    on_completion=[noticed, noticed],
)
def train(rows: list[int], rate: float = 0.1) -> dict[str, float]:
    return {"loss": rate}


@task(trigger="any_failed", retry_delay_seconds=[1, 2, 3])
def alert(*anything: object) -> None: ...


@task
async def fetch(url: str) -> bytes:
    return b""


@task
def lines(path: str) -> Generator[str, None, int]:
    yield path
    return 1


@task(retries=1)
async def pages(url: str) -> AsyncIterator[bytes]:
    yield b""


class Model:
    rate = 0.1

    @task
    def fit(self, rows: list[int]) -> float:
        return self.rate

    @task(retries=2)
    def score(self, rows: list[int], /, *, deep: bool = False) -> float:
        return self.rate

    @task(retries=1)
    @classmethod
    def made(cls, rate: float) -> float:
        return rate

    @staticmethod
    @task
    def plain(rows: list[int]) -> int:
        return len(rows)

    @flow
    def main(self, month: int) -> str:
        rows = load(month)
        assert_type(self.fit(rows), float)
        assert_type(self.fit.submit(rows), Future[float])
        assert_type(self.score(rows, deep=True), float)
        assert_type(self.made(0.1), float)
        assert_type(self.made.submit(0.1), Future[float])
        assert_type(Model.plain(rows), int)
        assert_type(Model.fit(self, rows), float)
        return ""


@flow
def child(rows: list[int]) -> int:
    return len(rows)


@flow(name="main", task_runner=ThreadTaskRunner(max_workers=4), retries=1, log_prints=True, on_crashed=noticed)
def main(month: int, *, test: bool = False) -> str:
    assert_type(load(month), list[int])
    assert_type(load(month, city="oslo"), list[int])

    rows = load.submit(month)
    assert_type(rows, Future[list[int]])
    assert_type(rows.result(), list[int])
    assert_type(rows.result(timeout=3), list[int])
    assert_type(rows.result(raise_on_failure=False), list[int] | BaseException)
    assert_type(rows.exception(), BaseException | None)
    assert_type(rows.done(), bool)
    assert_type(rows.wait(1.0), bool)

    model = train.submit(rows, rate=0.2, wait_for=[rows])
    assert_type(model, Future[dict[str, float]])
    assert_type(train.submit(allow_failure(rows)).result(), dict[str, float])
    assert_type(train.submit(rows=quote([1])), Future[dict[str, float]])
    assert_type(alert.submit(model), Future[None])
    assert_type(train(load(month), wait_for=[model]), dict[str, float])

    many = train.map([[1], [2]], rate=unmapped(0.1))
    assert_type(many, FutureList[dict[str, float]])
    assert_type(many.result(), list[dict[str, float]])
    assert_type(many[0], Future[dict[str, float]])
    assert_type(load.map(rows, wait_for=[model]), FutureList[list[int]])
    for done in as_completed(many):
        assert_type(done, Future[dict[str, float]])
    assert_type(wait(many, timeout=1, return_when="first").done, list[Future[dict[str, float]]])

    state = load(month, return_state=True)
    assert_type(state, RunState[list[int]])
    assert_type(state.result(), list[int])
    assert_type(load.submit(month, return_state=True), RunState[list[int]])
    assert_type(load.map([1, 2], return_state=True), list[RunState[list[int]]])
    assert_type(child([1], return_state=True), RunState[int])
    assert_type(child([1]), int)

    assert_type(lines("x"), Generator[str, None, int])
    assert_type(lines.submit("x"), Future[list[str]])
    assert_type(lines.map(["x", "y"]).result(), list[list[str]])
    assert_type(fetch.submit("u"), Future[bytes])
    assert_type(fetch.map(["u"]).result(), list[bytes])
    assert_type(pages.submit("u"), Future[list[bytes]])

    other = load.with_options(retries=5, name="other")
    assert_type(other(1), list[int])
    assert_type(other.submit(1), Future[list[int]])
    assert_type(child.with_options(name="x")([1]), int)

    if runtime.flow_run is not None:
        assert_type(runtime.flow_run.id, str)
        assert_type(runtime.flow_run.attempt, int)
    with tags("a", "b"), transaction(key="k"):
        get_run_logger().info("hello")
    for item in track([1, 2], "loading"):
        assert_type(item, int)
    create_markdown_artifact("# done", key="report")
    Variable.set("n", 3, overwrite=True)
    assert_type(pause_flow_run(wait_for_input=bool, prompt="Deploy?"), bool)
    assert_type(explain(rows), Explanation)
    assert_type(explain("amber-heron/load-0").sentences, tuple[str, ...])
    return "done"


@flow
async def amain(url: str) -> int:
    assert_type(await fetch(url), bytes)
    future = fetch.submit(url)
    assert_type(future, Future[bytes])
    assert_type(await future, bytes)
    assert_type(await asyncio.gather(fetch(url), fetch(url)), tuple[bytes, bytes])
    assert_type(await fetch(url, return_state=True), RunState[bytes])
    async for page in pages(url):
        assert_type(page, bytes)
    async for done in as_completed([future]):
        assert_type(done, Future[bytes])
    assert_type(await Variable.aget("n"), Any)
    return 1


@flow
def stream(n: int) -> Iterator[int]:
    yield n


assert_type(main(3, test=True), str)
assert_type(main.plan(month=3), Plan)
assert_type(main.plan().after_failure("load"), dict[str, str])
coroutine: Coroutine[Any, Any, int] = amain("u")
assert_type(asyncio.run(amain("u")), int)
assert_type(stream(3), Iterator[int])
assert_type(Model().main(month=3), str)
assert_type(main.name, str)
assert_type(main.fn(3), str)


def takes_flow(one: Flow[..., str], other: Task[[str], Coroutine[Any, Any, bytes]]) -> None: ...


takes_flow(main, fetch)
policy: CachePolicy = CacheKeyFn(lambda context, parameters: str(parameters["month"]))
schedules = [CronSchedule(cron="0 3 * * *"), IntervalSchedule(interval=timedelta(hours=1))]
any_failed([Upstream("a", FAILED)])
