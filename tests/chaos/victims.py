"""The flows that are killed. Each body says in a ledger that it ran, durably, before it does anything else.

Four kinds that do much the same: nested tasks, a flow inside, a map, a retry, a cached task, a skipped one, a value too large for its row,
one that is not stored, and a suspension in the middle. A task run's name is what its body writes, so ledger and store can be held together.
"""

import asyncio
import os
from pathlib import Path

from legato import INPUTS, flow, pause_flow_run, suspend_flow_run, task
from legato.task_runners.processes import ProcessTaskRunner

LEDGER = Path(os.environ.get("VICTIM_LEDGER", os.devnull))


def note(name: str) -> int:
    """Write a line; returns how many of this name there are now."""
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"{name} {os.getpid()}\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)
    return sum(line.startswith(f"{name} ") for line in LEDGER.read_text().splitlines())


@task(task_run_name="load({n})")
def load(n: int) -> int:
    note(f"load({n})")
    return n


@task(task_run_name="blob({n})")
def blob(n: int) -> str:
    note(f"blob({n})")
    return "x" * (10_000 + n)


@task(task_run_name="flaky({n})", retries=1)
def flaky(n: int) -> int:
    if note(f"flaky({n})") == 1:
        raise OSError("not at the first try")
    return n


@task(task_run_name="outer({n})")
def outer(n: int) -> int:
    note(f"outer({n})")
    return load(n + 100) + load(n + 200)


@task(task_run_name="forgotten({n})", persist_result=False)
def forgotten(n: int) -> int:
    note(f"forgotten({n})")
    return n


@task(task_run_name="cached({n})", cache_policy=INPUTS)
def cached(n: int) -> int:
    note(f"cached({n})")
    return n


@task(task_run_name="total")
def total(parts: list[int]) -> int:
    note("total")
    return sum(parts)


@task(task_run_name="never", trigger="any_failed")
def never(_: object) -> int:
    note("never")
    return 0


@flow(persist_result=True)
def child(n: int) -> int:
    note(f"child({n})")
    return load(n) + load(n + 1)


@flow(persist_result=True)
def direct() -> int:
    note("direct")
    sum_ = load(1) + load(2) + len(blob(3)) + flaky(4) + outer(5) + forgotten(6) + child(20) + cached(7) + cached(7)
    never.submit(load.submit(8)).wait()
    sum_ += suspend_flow_run()
    return total([sum_, load(9), child(30), forgotten(10)])


@flow(persist_result=True)
def threaded() -> int:
    note("threaded")
    parts = [load.submit(1), flaky.submit(4), outer.submit(5), forgotten.submit(6), cached.submit(7), cached.submit(7)]
    large = blob.submit(3)
    never.submit(parts[0])
    more = load.map([11, 12, 13])
    sum_ = sum(part.result() for part in parts) + sum(more.result()) + len(large.result()) + child(20)
    answer = suspend_flow_run()
    return total.submit([sum_, answer, load.submit(9), outer.submit(40), *load.map([14, 15])]).result()


@flow(persist_result=True, task_runner=ProcessTaskRunner(max_workers=2))
def processed() -> int:
    note("processed")
    parts = [load.submit(1), flaky.submit(4), outer.submit(5), forgotten.submit(6), cached.submit(7)]
    large = blob.submit(3)
    sum_ = sum(part.result() for part in parts) + sum(load.map([11, 12]).result()) + len(large.result()) + child(20)
    never.submit(load.submit(8)).wait()
    answer = suspend_flow_run()
    return total.submit([sum_, answer, load(9), outer.submit(40), cached.submit(7)]).result()


@task(task_run_name="load({n})")
async def aload(n: int) -> int:
    note(f"load({n})")
    await asyncio.sleep(0)
    return n


@task(task_run_name="blob({n})")
async def ablob(n: int) -> str:
    note(f"blob({n})")
    return "x" * (10_000 + n)


@task(task_run_name="flaky({n})", retries=1)
async def aflaky(n: int) -> int:
    if note(f"flaky({n})") == 1:
        raise OSError("not at the first try")
    return n


@task(task_run_name="outer({n})")
async def aouter(n: int) -> int:
    note(f"outer({n})")
    one, two = await asyncio.gather(aload(n + 100), aload(n + 200))
    return one + two


@task(task_run_name="forgotten({n})", persist_result=False)
async def aforgotten(n: int) -> int:
    note(f"forgotten({n})")
    return n


@task(task_run_name="cached({n})", cache_policy=INPUTS)
async def acached(n: int) -> int:
    note(f"cached({n})")
    return n


@task(task_run_name="never", trigger="any_failed")
async def anever(_: object) -> int:
    note("never")
    return 0


@flow(persist_result=True)
async def achild(n: int) -> int:
    note(f"child({n})")
    return sum(await asyncio.gather(aload(n), aload(n + 1)))


@flow(persist_result=True)
async def gathered() -> int:
    note("gathered")
    first = await asyncio.gather(aload(1), aflaky(4), aouter(5), aforgotten(6), acached(7), achild(20))
    async with asyncio.TaskGroup() as group:
        large = group.create_task(ablob(3))
        more = [group.create_task(aload(n)) for n in (11, 12, 13)]
    again = await acached(7)
    skipped = anever.submit(aload.submit(8))
    await skipped
    sum_ = sum(first) + sum(one.result() for one in more) + len(large.result()) + again
    answer = await suspend_flow_run.aio()
    mapped = [await one for one in aload.map([14, 15])]
    return sum([sum_, answer, await aload(9), await aouter(40), *mapped])


@flow(persist_result=True)
def asking() -> int:
    note("asking")
    return load(1) + pause_flow_run(timeout=60) + load(2)


@flow(persist_result=True)
async def aasking() -> int:
    note("aasking")
    return await aload(1) + await pause_flow_run.aio(timeout=60) + await aload(2)


ANSWER = 1_000
"""What a person says when a flow asks."""

WORTH = {
    "direct": 1 + 2 + 10_003 + 4 + 310 + 6 + 41 + 7 + 7 + ANSWER + 9 + 61 + 10,
    "threaded": 1 + 4 + 310 + 6 + 7 + 7 + 36 + 10_003 + 41 + ANSWER + 9 + 380 + 29,
    "processed": 1 + 4 + 310 + 6 + 7 + 23 + 10_003 + 41 + ANSWER + 9 + 380 + 7,
    "gathered": 1 + 4 + 310 + 6 + 7 + 41 + 36 + 10_003 + 7 + ANSWER + 9 + 380 + 29,
    "asking": 1 + ANSWER + 2,
    "aasking": 1 + ANSWER + 2,
}
"""What each flow comes to."""

_COMMON = {"load(1)", "blob(3)", "flaky(4)", "outer(5)", "load(105)", "load(205)", "forgotten(6)", "child(20)", "load(20)", "load(21)"}
_LATER = {"load(9)", "outer(40)", "load(140)", "load(240)"}
BODIES = {
    "direct": _COMMON
    | {"direct", "cached(7)", "load(2)", "load(8)", "load(9)", "child(30)", "load(30)", "load(31)", "forgotten(10)", "total"},
    "threaded": _COMMON | _LATER | {"threaded", "cached(7)", "total", *(f"load({n})" for n in range(11, 16))},
    "processed": _COMMON | _LATER | {"processed", "cached(7)", "total", "load(8)", "load(11)", "load(12)"},
    "gathered": _COMMON | _LATER | {"gathered", "cached(7)", "load(8)", *(f"load({n})" for n in range(11, 16))},
    "asking": {"asking", "load(1)", "load(2)"},
    "aasking": {"aasking", "load(1)", "load(2)"},
}
"""The bodies that must have run at least once."""

UNSTORED = {"forgotten(6)", "forgotten(10)", *BODIES}
"""Bodies that run in every attempt: their value is not stored, or they are the flow itself."""
