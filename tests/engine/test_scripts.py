"""The scripts: the same instructions whoever drives them, and the right ones for each way a call can go."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from legato.core.errors import RunCrashed, UpstreamFailed
from legato.core.records import Result, Verdict, VerdictKind
from legato.core.retry import RetryPolicy
from legato.core.states import COMPLETED, FAILED, State
from legato.engine import aio
from legato.engine.drive import drive
from legato.engine.script import (
    Call,
    Conclude,
    Draw,
    Ending,
    Instruction,
    Load,
    Lost,
    Policy,
    Propose,
    Save,
    Script,
    Settle,
    Sleep,
    Stop,
    run_flow,
    run_task,
)

ACCEPTED = Verdict(VerdictKind.ACCEPTED)
STORED = Result(type="int", preview="7")
CACHED = Verdict(VerdictKind.INSTEAD, state=State(COMPLETED, "Cached", datetime(2026, 1, 1, tzinfo=UTC)), result=STORED)


class Recorder:
    """Performs instructions from a list of outcomes for the calls, and writes down what was asked."""

    def __init__(self, *outcomes: Any, start: Verdict = ACCEPTED, unseen: list[str] | None = None) -> None:
        self.outcomes = list(outcomes)
        self.start = start
        self.unseen = unseen or []
        self.trace: list[str] = []

    def perform(self, i: Instruction) -> Any:
        if isinstance(i, Propose):
            self.trace.append(f"{i.name}{' (gate)' if i.gate else ''}")
            return self.start if i.name == "Running" and i.gate else ACCEPTED
        return self.call() if isinstance(i, Call) else self._rest(i)

    def call(self) -> Any:
        self.trace.append("call")
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def end_anyhow(self, exc: BaseException) -> None:
        self.ended_by = exc

    def _rest(self, i: Instruction) -> Any:
        match i:
            case Sleep(seconds):
                self.trace.append(f"sleep {seconds:g}")
                return None
            case Draw():
                return 0.5
            case Save(value):
                self.trace.append(f"save {value}")
                return STORED
            case Load():
                self.trace.append("load")
                return 7
            case Settle(stop):
                self.trace.append(f"settle {stop}".strip())
                return None
            case Conclude():
                return Ending(FAILED, "Failed", error=UpstreamFailed(", ".join(self.unseen))) if self.unseen else None


CASES: dict[str, tuple[Callable[[], Script], Callable[[], Recorder], list[str], Any]] = {
    "a task that works": (lambda: run_task(Policy()), lambda: Recorder(1), ["Running", "call", "Completed"], 1),
    "a stored task": (lambda: run_task(Policy(persist=True)), lambda: Recorder(1), ["Running", "call", "save 1", "Completed (gate)"], 1),
    "a cached task": (
        lambda: run_task(Policy(persist=True, gated=True)),
        lambda: Recorder(start=CACHED),
        ["Running (gate)", "load"],
        7,
    ),
    "a task that fails": (lambda: run_task(Policy()), lambda: Recorder(ValueError()), ["Running", "call", "Failed"], ValueError),
    "a task tried again": (
        lambda: run_task(Policy(retry=RetryPolicy(1, 3.0))),
        lambda: Recorder(ValueError(), 2),
        ["Running", "call", "AwaitingRetry", "sleep 3", "Retrying (gate)", "call", "Completed"],
        2,
    ),
    "a task whose process was lost": (
        lambda: run_task(Policy()),
        lambda: Recorder(Lost("it was killed")),
        ["Running", "call", "Crashed"],
        RunCrashed,
    ),
    "a lost task tried again": (
        lambda: run_task(Policy(retry=RetryPolicy(1))),
        lambda: Recorder(Lost("it was killed"), 2),
        ["Running", "call", "AwaitingRetry", "sleep 0", "Retrying (gate)", "call", "Completed"],
        2,
    ),
    "a task that never works": (
        lambda: run_task(Policy(retry=RetryPolicy(1))),
        lambda: Recorder(ValueError(), KeyError()),
        ["Running", "call", "AwaitingRetry", "sleep 0", "Retrying (gate)", "call", "Failed"],
        KeyError,
    ),
    "a task stopped by its timeout": (
        lambda: run_task(Policy(timeout_s=1)),
        lambda: Recorder(Stop("timeout")),
        ["Running", "call", "TimedOut"],
        TimeoutError,
    ),
    "a task cancelled": (lambda: run_task(Policy()), lambda: Recorder(Stop("cancelled")), ["Running", "call", "Cancelled"], "cancelled"),
    "a task that leaves the interpreter": (
        lambda: run_task(Policy()),
        lambda: Recorder(SystemExit(3)),
        ["Running", "call", "Crashed"],
        SystemExit,
    ),
    "a flow interrupted from the keyboard": (
        lambda: run_flow(Policy()),
        lambda: Recorder(KeyboardInterrupt()),
        ["Running (gate)", "call", "settle cancelled", "Cancelled (gate)"],
        KeyboardInterrupt,
    ),
    "a flow that works": (
        lambda: run_flow(Policy()),
        lambda: Recorder(1),
        ["Running (gate)", "call", "settle", "save 1", "Completed (gate)"],
        1,
    ),
    "a flow with an unseen failure": (
        lambda: run_flow(Policy()),
        lambda: Recorder(1, unseen=["'train-3' (ValueError: no)"]),
        ["Running (gate)", "call", "settle", "Failed (gate)"],
        "train-3",
    ),
    "a flow cancelled": (
        lambda: run_flow(Policy()),
        lambda: Recorder(Stop("cancelled")),
        ["Running (gate)", "call", "settle cancelled", "Cancelled (gate)"],
        "cancelled",
    ),
}


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except BaseException as error:  # noqa: BLE001 the outcome is what is compared
        return error


@pytest.mark.parametrize("name", CASES)
def test_a_script_asks_for_the_same_things_in_the_same_order_whoever_drives_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, recorder, expected, value = CASES[name]
    sync, on_loop = recorder(), recorder()

    async def perform(shell: Any, i: Instruction) -> Any:
        return shell.perform(i)

    monkeypatch.setattr(aio, "aperform", perform)

    sync_outcome = outcome(lambda: drive(script(), sync))
    async_outcome = outcome(lambda: asyncio.run(aio.adrive(script(), on_loop)))

    assert sync.trace == on_loop.trace == expected
    assert type(sync_outcome) is type(async_outcome)
    if isinstance(value, type):
        assert isinstance(sync_outcome, value)
    elif isinstance(value, str):
        assert value in str(sync_outcome)
    else:
        assert sync_outcome == async_outcome == value


def test_asyncio_gets_its_own_cancellation_back() -> None:
    class Blocking(Recorder):
        pass

    async def main() -> list[str]:
        recorder = Recorder()

        async def perform(shell: Any, i: Instruction) -> Any:
            if isinstance(i, Call):
                recorder.trace.append("call")
                await asyncio.sleep(10)
            return shell.perform(i) if not isinstance(i, Call) else None

        original, aio.aperform = aio.aperform, perform
        try:
            running = asyncio.create_task(aio.adrive(run_task(Policy()), recorder))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        finally:
            aio.aperform = original
        return recorder.trace

    assert asyncio.run(main()) == ["Running", "call", "Cancelled"]
