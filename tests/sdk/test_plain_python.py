"""Plain Python stays plain: what may be decorated, how deep it may recurse, where it may be called, and what stays the program's own."""

import asyncio
import concurrent.futures
import contextlib
import functools
import io
import logging.config
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from legato import Flow, SequentialTaskRunner, Task, ThreadTaskRunner, flow, get_run_logger, propagate_context, task
from legato.core.errors import UsageError
from legato.testing import Harness


def add(a: int, b: int = 2) -> int:
    return a + b


async def aadd(a: int, b: int = 2) -> int:
    await asyncio.sleep(0)
    return a + b


class Adder:
    def __call__(self, a: int, b: int = 2) -> int:
        return a + b


class AsyncAdder:
    async def __call__(self, a: int, b: int = 2) -> int:
        await asyncio.sleep(0)
        return a + b


def wrapped(fn: Any) -> Any:
    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return call


SYNC: dict[str, Any] = {
    "function": add,
    "partial": functools.partial(add, b=2),
    "partial of a partial": functools.partial(functools.partial(add), b=2),
    "object": Adder(),
    "bound method": Adder().__call__,
    "lambda": lambda a, b=2: a + b,
    "wrapped": wrapped(add),
}
ASYNC: dict[str, Any] = {
    "function": aadd,
    "partial": functools.partial(aadd, b=2),
    "object": AsyncAdder(),
    "wrapped": wrapped(aadd),
    "wrapped twice": wrapped(wrapped(aadd)),
}


@pytest.mark.parametrize("decorate", [task, flow], ids=["task", "flow"])
@pytest.mark.parametrize("kind", SYNC)
def test_whatever_can_be_called_can_be_a_flow_or_task(h: Harness, kind: str, decorate: Any) -> None:
    made = decorate(SYNC[kind])

    @flow
    def main() -> tuple[int, ...]:
        return made(1), made(1, b=3) if "partial" not in kind else 4, *([made.submit(1).result()] if decorate is task else [3])

    assert main() == (3, 4, 3)
    assert made(1) == 3
    assert decorate(SYNC[kind], name="called so").name == "called so"


@pytest.mark.parametrize("decorate", [task, flow], ids=["task", "flow"])
@pytest.mark.parametrize("kind", ASYNC)
def test_whatever_can_be_awaited_can_be_a_flow_or_task(h: Harness, kind: str, decorate: Any) -> None:
    made = decorate(ASYNC[kind])

    @flow
    async def main() -> tuple[int, ...]:
        return await made(1), *([await made.submit(1)] if decorate is task else [3])

    assert asyncio.run(main()) == (3, 3)


def test_a_sync_wrapper_of_an_async_function_runs_to_its_end_in_a_sync_flow(h: Harness) -> None:
    made = task(wrapped(aadd))

    @flow
    def main() -> tuple[Any, Any]:
        return made(1), made.submit(1).result()

    assert main() == (3, 3)


@pytest.mark.parametrize("decorate", [task, flow], ids=["task", "flow"])
@pytest.mark.parametrize("parameter", ["wait_for", "return_state"])
def test_a_parameter_that_every_call_takes_for_itself_is_refused_at_the_decorator(decorate: Any, parameter: str) -> None:
    namespace: dict[str, Any] = {}
    for definition in (f"def fn({parameter}): pass", f"def fn(a, *, {parameter}=1): pass", f"async def fn({parameter}): pass"):
        exec(definition, namespace)
        with pytest.raises(UsageError, match=parameter):
            decorate(namespace["fn"])


@pytest.mark.parametrize("thing", [3, "text", None])
def test_what_cannot_be_called_is_refused_at_the_decorator(thing: Any) -> None:
    with pytest.raises(UsageError):
        task(thing) if thing is not None else Task(thing)


@pytest.mark.parametrize("name", ["self", "task", "fn", "args", "kwargs", "parent", "flow", "name", "key", "cls", "shell"])
def test_any_other_name_may_be_a_parameter(h: Harness, name: str) -> None:
    @task
    def t(**kwargs: Any) -> Any:
        return kwargs

    @flow
    def f(**kwargs: Any) -> Any:
        return t(**kwargs), t.submit(**kwargs).result(), t.map(**{name: [3]}).result()

    assert f(**{name: 3}) == ({name: 3}, {name: 3}, [{name: 3}])


@pytest.mark.parametrize("way", ["call", "submit", "flow"])
def test_tasks_may_recurse_at_least_a_quarter_as_deep_as_plain_functions(h: Harness, way: str) -> None:
    levels = sys.getrecursionlimit() // 4 if way != "flow" else 60

    @task
    def down(n: int) -> int:
        return 0 if n == 0 else 1 + (down(n - 1) if way == "call" else down.submit(n - 1).result())

    @flow
    def nested(n: int) -> int:
        return 0 if n == 0 else 1 + nested(n - 1)

    @flow
    def main() -> int:
        return nested(levels) if way == "flow" else down(levels)

    assert main() == levels


def test_endless_recursion_ends_as_it_does_without_us(h: Harness) -> None:
    before = sys.getrecursionlimit()

    @task
    def forever() -> Any:
        return forever()

    @flow
    def main() -> str:
        try:
            forever()
        except RecursionError:
            return "it ended"
        return ""

    assert main() == "it ended"
    assert sys.getrecursionlimit() == before
    assert {run.state.is_final for run in h.task_runs()} == {True}


# ---------------------------------------------------------------------- threads and processes of one's own


@task
def double(n: int) -> int:
    return 2 * n


def in_threads(n: int) -> None:
    threads = [threading.Thread(target=double, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_a_pool(n: int) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(double, range(n)))


class OwnThread(threading.Thread):
    def run(self) -> None:
        double(1)


def in_threads_of_a_class(n: int) -> None:
    threads = [OwnThread() for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_a_timer(n: int) -> None:
    timers = [threading.Timer(0, double, args=(1,)) for _ in range(n)]
    for timer in timers:
        timer.start()
    for timer in timers:
        timer.join()


def on_a_loops_pool(n: int) -> None:
    async def run() -> None:
        await asyncio.gather(*(asyncio.to_thread(double, i) for i in range(n)))

    asyncio.run(run())


def in_a_pool_of_threads(n: int) -> None:
    from multiprocessing.pool import ThreadPool

    with ThreadPool(2) as pool:
        pool.map(double, range(n))


THREADS = {fn.__name__: fn for fn in (in_threads, in_a_pool, in_threads_of_a_class, in_a_timer, on_a_loops_pool, in_a_pool_of_threads)}


@pytest.mark.parametrize("inside", ["flow", "task", "submitted task"])
@pytest.mark.parametrize("way", THREADS)
def test_tasks_on_threads_of_ones_own_belong_to_the_run(h: Harness, way: str, inside: str) -> None:
    @task
    def outer() -> None:
        THREADS[way](3)

    @flow
    def main() -> None:
        if inside == "flow":
            THREADS[way](3)
        elif inside == "task":
            outer()
        else:
            outer.submit().result()

    main()

    assert len(h.flow_runs()) == 1
    doubles = [run for run in h.task_runs() if run.name.startswith("double")]
    assert len(doubles) == 3
    outers = {run.id for run in h.task_runs() if run.name.startswith("outer")}
    assert {run.parent_task_id for run in doubles} == (outers or {None})


def test_a_thread_that_outlives_its_flow_is_outside_of_it(h: Harness) -> None:
    go = threading.Event()

    def later() -> None:
        go.wait(30)
        double(1)

    thread = threading.Thread(target=later)

    @flow
    def main() -> None:
        thread.start()

    main()
    go.set()
    thread.join()

    assert [run.flow_name for run in h.flow_runs()] == ["main", "double"]


def test_a_pool_that_knows_nothing_is_helped_by_propagate_context(h: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    work: list[Any] = []
    wanted, done = threading.Semaphore(0), threading.Semaphore(0)

    def worker() -> None:
        for _ in range(2):
            wanted.acquire()
            work.pop()(3)
            done.release()

    thread = threading.Thread(target=worker)
    thread.start()

    @flow
    def main() -> None:
        for one in (propagate_context(double), double):
            work.append(one)
            wanted.release()
            done.acquire()

    main()
    thread.join()

    assert [run.flow_name for run in h.flow_runs()] == ["main", "double"]
    assert [run.name for run in h.task_runs()] == ["double-0"]
    assert capsys.readouterr().err.count("propagate_context") <= 1  # said once a process


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_scripts_task_travels_to_a_process_pool(tmp_path: Path, method: str) -> None:
    (tmp_path / "script.py").write_text(
        textwrap.dedent(f"""
        import multiprocessing, pickle
        from concurrent.futures import ProcessPoolExecutor
        from legato import task

        @task(retries=1)
        def double(n):
            return 2 * n if n == 0 else 2 + double.fn(n - 1)

        if __name__ == "__main__":
            assert pickle.loads(pickle.dumps(double)) is double
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r})) as pool:
                print(list(pool.map(double, range(3))))
        """)
    )
    environ = {**os.environ, "LEGATO_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.strip() == "[0, 2, 4]", done.stderr


# ---------------------------------------------------------------------- what stays the program's own


def test_what_is_printed_in_a_task_reaches_whoever_redirects_it(h: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    @task(log_prints=True)
    def report() -> str:
        with contextlib.redirect_stdout(io.StringIO()) as text:
            print("42 rows", end=";")
        print("to the console")
        return text.getvalue()

    assert report() == "42 rows;"
    assert capsys.readouterr().out == "to the console\n"
    assert [line.message for line in h.logs()] == ["42 rows;", "to the console"]


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """What a test configures stays in it: dictConfig silences every logger of the process."""
    root = logging.getLogger()
    loggers = [root, *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    before = [(one, one.disabled, one.level, one.propagate, list(one.handlers)) for one in loggers]
    yield
    for logger, *saved in before:
        logger.disabled, logger.level, logger.propagate, logger.handlers = saved
    root.manager._clear_cache()


@pytest.mark.parametrize("disable", [True, False])
@pytest.mark.usefixtures("logging_as_before")
def test_dictconfig_does_not_silence_the_runs_log(h: Harness, disable: bool) -> None:
    @flow
    def main() -> None:
        get_run_logger().warning("before")
        config = {"version": 1, "handlers": {"none": {"class": "logging.NullHandler"}}, "root": {"handlers": ["none"], "level": "ERROR"}}
        logging.config.dictConfig({**config, "disable_existing_loggers": disable})
        get_run_logger().warning("after")

    main()

    assert [line.message for line in h.logs()] == ["before", "after"]


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGURG", "SIGALRM", "SIGTERM", "SIGHUP"])
def test_signal_handlers_of_the_program_are_its_own(h: Harness, name: str) -> None:
    number = getattr(signal, name)
    heard: list[int] = []
    before = signal.signal(number, lambda n, _: heard.append(n))
    try:

        @flow
        def main() -> None:
            os.kill(os.getpid(), number)

        main()
        os.kill(os.getpid(), number)
        assert heard == [number, number]
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGURG])
def test_signals_are_as_before_when_no_flow_runs(h: Harness, number: int) -> None:
    before = signal.getsignal(number)

    @flow
    def main() -> None:
        double(1)

    main()

    assert signal.getsignal(number) is before


# ---------------------------------------------------------------------- dialects


class MyTask(Task[Any, Any]):
    """As another system's dialect makes one: a call gives a future."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.submit(*args, **kwargs)


class MyFlow(Flow[Any, Any]):
    def conclude(self, shell: Any, value: Any, unseen: Any) -> Any:
        return super().conclude(shell, value, ())

    def outcome(self, shell: Any, **how: Any) -> Any:
        return ("mine", super().outcome(shell, **how).name)


class Holder:
    t = MyTask(lambda self, x: x, name="t")


def test_a_definition_of_ones_own_survives_whatever_is_done_with_it(h: Harness) -> None:
    import pickle

    t = MyTask(add, name="t")
    for kept in (t.with_options(name="z"), t.with_options(retries=2).with_options(tags=["a"]), Holder().t, pickle.loads(pickle.dumps(t))):
        assert type(kept) is MyTask
    assert t.with_options(name="z").name == "z"

    f = MyFlow(lambda: t(1), name="f", task_runner=SequentialTaskRunner())
    assert type(f.with_options(name="g")) is MyFlow
    assert f() == 3
    assert f(return_state=True) == ("mine", "Completed")


def test_a_dialects_rule_decides_how_a_flow_ends(h: Harness) -> None:
    @task
    def bad() -> None:
        raise ValueError

    def body() -> int:
        bad.submit()
        return 1

    assert MyFlow(body, name="lenient", task_runner=ThreadTaskRunner(max_workers=1))() == 1
    assert h.flow_runs()[0].state.name == "Completed"
