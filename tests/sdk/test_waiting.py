"""Nothing waits for itself: in whatever form code waits, its worker lends its place, and what could never end is an error at once."""

import ast
import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import legato
from legato import SequentialTaskRunner, ThreadTaskRunner, as_completed, flow, task, transaction, wait
from legato.core.errors import UsageError


@task
def child(n: int) -> int:
    return n


@task
def three() -> list[int]:
    return [1, 2, 3]


def in_a_transaction() -> int:
    with transaction():
        futures = child.map([1, 2, 3])
    return sum(futures.result())


WAYS: dict[str, Callable[[], int]] = {
    "result": lambda: sum(child.submit(n).result() for n in (1, 2, 3)),
    "result, within a time": lambda: sum(future.result(timeout=20) for future in [child.submit(n) for n in (1, 2, 3)]),
    "wait": lambda: sum(future.wait() for future in [child.submit(n) for n in (1, 2, 3)]) * 2,
    "exception": lambda: sum(future.exception() is None for future in [child.submit(n) for n in (1, 2, 3)]) * 2,
    "map.result": lambda: sum(child.map([1, 2, 3]).result()),
    "map.result, within a time": lambda: sum(child.map([1, 2, 3]).result(timeout=20)),
    "map.wait": lambda: child.map([1, 2, 3]).wait() * 6,
    "map over a future": lambda: sum(child.map(three.submit()).result()),
    "length of a map over a future": lambda: len(child.map(three.submit())) * 2,
    "items of a map over a future": lambda: sum(future.result() for future in child.map(three.submit())),
    "wait for all": lambda: len(wait(child.map([1, 2, 3])).done) * 2,
    "wait for the first": lambda: 6 if wait(child.map([1, 2, 3]), return_when="first").done else 0,
    "wait for a failure": lambda: len(wait(child.map([1, 2, 3]), return_when="failure").done) * 2,
    "as completed": lambda: sum(future.result() for future in as_completed(child.map([1, 2, 3]))),
    "as an argument": lambda: child(child.submit(6)),  # type: ignore[arg-type]
    "as a submitted argument": lambda: child.submit(child.submit(6)).result(),
    "wait_for": lambda: child(6, wait_for=child.map([1, 2, 3])),
    "a transaction": in_a_transaction,
}


@pytest.mark.timeout(40)
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_parents_that_wait_for_children_never_use_up_the_workers(way: str, workers: int) -> None:
    @task
    def parent(_n: int) -> int:
        return WAYS[way]()

    @task
    def grandparent(n: int) -> int:
        return parent.submit(n).result()

    @flow(task_runner=ThreadTaskRunner(max_workers=workers))
    def family() -> list[int]:
        return [one.result() for one in [*parent.map(range(4)), *grandparent.map(range(2))]]

    assert family() == [6] * 6


@pytest.mark.timeout(40)
@pytest.mark.parametrize("way", WAYS)
def test_a_subflow_in_a_task_lends_the_place_of_that_task(way: str) -> None:
    @flow
    def inner() -> int:
        return WAYS[way]()

    @task
    def runs_a_flow() -> int:
        return inner()

    @flow(task_runner=ThreadTaskRunner(max_workers=1))
    def outer() -> list[int]:
        return [one.result() for one in [runs_a_flow.submit(), runs_a_flow.submit()]]

    assert outer() == [6, 6]


@pytest.mark.timeout(40)
def test_a_subflow_may_wait_for_what_the_flow_around_it_has_submitted() -> None:
    @flow
    def inner(ahead: Any) -> int:
        return child.submit(ahead).result()

    @task
    def runs_a_flow(ahead: list[Any]) -> int:
        return inner(ahead[0]())

    @flow(task_runner=ThreadTaskRunner(max_workers=1))
    def outer() -> int:
        futures: list[Any] = []
        known = threading.Event()

        def ahead() -> Any:
            known.wait(30)
            return futures[0]

        first = runs_a_flow.submit([ahead])
        futures.append(child.submit(6))
        known.set()
        return first.result()

    assert outer() == 6


# ---------------------------------------------------------------------- on a loop


@task
async def adouble(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


@task
def sync_sum(values: Any) -> Any:
    return values


def asked_in_a_transaction() -> None:
    with transaction():
        adouble.submit(1)


BLOCKING: dict[str, Callable[[], Any]] = {
    "result": lambda: adouble.submit(1).result(),
    "result, within a time": lambda: adouble.submit(1).result(timeout=30),
    "exception": lambda: adouble.submit(1).exception(),
    "wait": lambda: adouble.submit(1).wait(),
    "map.result": lambda: adouble.map([1, 2]).result(),
    "map.wait": lambda: adouble.map([1, 2]).wait(),
    "wait for all": lambda: wait(adouble.map([1, 2])),
    "wait for the first": lambda: wait(adouble.map([1, 2]), return_when="first"),
    "as completed": lambda: list(as_completed(adouble.map([1, 2]))),
    "an argument of a sync task": lambda: sync_sum(adouble.submit(1)),
    "wait_for of a sync task": lambda: sync_sum(1, wait_for=[adouble.submit(1)]),
    "a sync task that waits for it": lambda: sync_sum.submit(adouble.submit(1)).result(),
    "a sync task that waits for a list of it": lambda: sync_sum.submit(adouble.map([1, 2])).result(),
    "a map over a future": lambda: adouble.map(three.submit()).result(),
    "a map over a future of the loop": lambda: len(child.map(sync_sum.submit(adouble.map([1, 2])))),
    "submit(return_state=True)": lambda: adouble.submit(1, return_state=True),
    "a transaction": asked_in_a_transaction,
}


@pytest.mark.timeout(40)
@pytest.mark.parametrize("way", BLOCKING)
def test_waiting_on_a_loop_for_work_of_that_loop_is_an_error_that_names_await(way: str) -> None:
    @flow
    async def holds_up_its_loop() -> str:
        try:
            BLOCKING[way]()
        except UsageError as error:
            return str(error)
        return "nothing was said"

    assert "await" in asyncio.run(holds_up_its_loop())


@pytest.mark.timeout(40)
def test_a_thread_that_waits_for_a_loop_which_waits_for_it_is_seen() -> None:
    @flow
    async def circle() -> str:
        ahead: list[Any] = []
        known = threading.Event()

        @task
        def waits() -> int:
            known.wait(30)
            return int(ahead[0].result())

        future = waits.submit()
        ahead.append(adouble.submit(1))
        known.set()
        try:
            future.result()
        except UsageError as error:
            return str(error)
        return "nothing was said"

    assert "await" in asyncio.run(circle())


@pytest.mark.timeout(40)
def test_tasks_that_wait_for_each_other_are_seen() -> None:
    ahead: dict[str, Any] = {}
    known = threading.Event()

    @task
    def waits_for(other: str) -> int:
        known.wait(30)
        return int(ahead[other].result())

    @flow(task_runner=ThreadTaskRunner(max_workers=4))
    def circle() -> None:
        ahead["a"] = waits_for.submit("b")
        ahead["b"] = waits_for.submit("a")
        known.set()
        ahead["a"].result()

    with pytest.raises(UsageError, match="waits for it"):
        circle()


@pytest.mark.timeout(40)
def test_what_is_not_of_this_loop_may_be_waited_for_on_it() -> None:
    @task
    def runs_async_tasks() -> int:
        return sum(adouble.map([1, 2]).result())  # they run on the flow's own loop: a sync task cannot give way to this one

    @flow
    async def outer() -> list[int]:
        return [child.submit(1).result(), runs_async_tasks(), await adouble.submit(3)]

    assert asyncio.run(outer()) == [1, 6, 6]


@pytest.mark.timeout(40)
def test_a_sequential_runner_waits_for_nobody() -> None:
    @flow(task_runner=SequentialTaskRunner())
    def one_after_the_other() -> list[int]:
        return [way() for way in WAYS.values()]

    assert one_after_the_other() == [6] * len(WAYS)


# ---------------------------------------------------------------------- callbacks


@pytest.mark.timeout(40)
@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_callback_that_raises_keeps_nothing_else_from_going_on(kind: type[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    go = threading.Event()

    @task
    def first() -> int:
        go.wait(30)
        return 1

    def unlucky(_: Any) -> None:
        raise kind("no")

    @flow(task_runner=ThreadTaskRunner(max_workers=1))
    def f() -> int:
        future = first.submit()
        future.add_done_callback(lambda _: seen.append("before"))
        future.add_done_callback(unlucky)
        future.add_done_callback(lambda _: seen.append("after"))
        after = child.submit(future)
        go.set()
        return after.result()

    assert f() == 1
    assert seen == ["before", "after"]
    assert f"unlucky raised {kind.__name__}" in capsys.readouterr().err


@pytest.mark.timeout(40)
def test_a_loop_that_was_closed_meanwhile_keeps_nothing_from_going_on() -> None:
    go = threading.Event()

    @task
    def slow() -> int:
        go.wait(30)
        return 1

    async def waited(future: Any) -> Any:
        return await future

    @flow(task_runner=ThreadTaskRunner(max_workers=1))
    def f() -> int:
        future = slow.submit()

        async def brief() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waited(future), 0.01)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(aiter(as_completed([future]))), 0.01)

        asyncio.run(brief())
        after = child.submit(future)
        go.set()
        return after.result()

    assert f() == 1


# ---------------------------------------------------------------------- one seam


def test_threads_are_blocked_for_futures_in_one_place_only() -> None:
    """Whoever builds another way to wait gives away the workers' places again: `waiting.wait_for` is the way."""
    package = Path(legato.__file__).parent
    blocking = {
        f"{path.relative_to(package)}: {node.func.attr}"
        for path in [*package.glob("engine/*.py"), *package.glob("sdk/*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _blocks(node.func)
    }

    assert blocking == {
        "engine/waiting.py: wait",
        "engine/stops.py: wait",  # the thread of timeouts
        "engine/guarded.py: join",  # an async callable of the user's
        "engine/aio.py: join",  # the end of a loop that has nothing to do
    }


def _blocks(called: ast.Attribute) -> bool:
    owner = ast.unparse(called.value)
    if called.attr == "join":
        return "thread" in owner
    return called.attr in ("wait", "acquire") and any(
        word in owner for word in ("event", "_closed", "_changed", "_expanded", "_arrived", "lock")
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_call_that_nobody_awaits_is_named(recwarn: pytest.WarningsRecorder) -> None:
    @flow
    async def forgets() -> None:
        adouble(1)

    asyncio.run(forgets())

    said = [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)]
    assert said
    assert all("adouble" in text for text in said)


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda: child.map([1, 2, 3])[:2], [1, 2]),
        (lambda: child.map([1, 2, 3])[::-1], [3, 2, 1]),
        (lambda: child.map([1]) + child.map([2]), [1, 2]),
        (lambda: [child.submit(1)] + child.map([2]), [1, 2]),  # noqa: RUF005 a list in front is what is tried
        (lambda: child.map([1, 2]).copy(), [1, 2]),
        (lambda: child.map(three.submit())[1:], [2, 3]),
        (lambda: child.map([])[:5], []),
    ],
)
def test_parts_and_sums_of_what_map_returns_are_lists_of_futures_too(make: Callable[[], Any], values: list[int]) -> None:
    @flow
    def main() -> list[int]:
        futures = make()
        assert futures.wait()
        return list(futures.result())

    assert main() == values


def on_a_thread(work: Callable[[], Any]) -> Any:
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(work()))
    thread.start()
    thread.join()
    return got[0]


def on_a_pool(work: Callable[[], Any]) -> Any:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return max(pool.map(lambda _: work(), range(3)))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", [on_a_thread, on_a_pool])
@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_waits_on_threads_of_its_own_lends_its_place(way: str, where: Callable[[Callable[[], Any]], Any]) -> None:
    @task
    def parent(_n: int) -> Any:
        return where(WAYS[way])

    @flow(task_runner=ThreadTaskRunner(max_workers=1))
    def family() -> list[Any]:
        return [one.result() for one in parent.map(range(2))]

    assert family() == [6] * 2


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_future_that_is_given_twice_counts_once(n: int) -> None:
    @flow
    def main() -> tuple[int, int, int]:
        future = child.submit(1)
        waited = wait([future] * n)
        return len(list(as_completed([future] * n))), len(waited.done), len(waited.not_done)

    assert main() == (1, 1, 0)
