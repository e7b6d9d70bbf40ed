"""Flows that wait for a person: pausing in their process, suspending without one, and being held from outside."""

import asyncio
import threading
import time
from collections import Counter
from typing import Annotated, Any, Literal

import pydantic
import pytest

from legato import flow, pause_flow_run, runtime, suspend_flow_run, task
from legato.core.errors import PauseTimeout, RunCancelled, RunFailure, RunSuspended, UsageError
from legato.core.records import FlowRun, RunInput
from legato.core.states import StateType
from legato.engine.script import CANCEL
from legato.testing import Harness

from tests.support.waiting import until

ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def clean() -> None:
    ran.clear()


class Approval(pydantic.BaseModel):
    ok: bool
    reason: str = ""


@task(persist_result=True)
def work(n: int) -> int:
    ran[f"work {n}"] += 1
    return n


def asked(h: Harness, n: int = 1) -> RunInput:
    """The question that a run waits with, once it does."""

    def look() -> RunInput | None:
        runs = h.store.list_flow_runs(oldest_first=True).items
        open_ = [one for run in runs for one in h.store.list_inputs(run.id) if one.answered_at is None]
        return open_[n - 1] if len(open_) >= n else None

    found = until(look, what="a question")
    assert found is not None
    return found


def answer(h: Harness, value: Any) -> None:
    wanted = asked(h)
    h.store.answer_input(wanted.flow_run_id, wanted.key, value)


def answering(h: Harness, value: Any) -> threading.Thread:
    thread = threading.Thread(target=answer, args=(h, value))
    thread.start()
    return thread


def only(h: Harness) -> FlowRun:
    (run,) = h.flow_runs()
    return run


# -- pausing


def test_a_paused_flow_goes_on_with_the_typed_answer(h: Harness) -> None:
    @flow
    def main() -> Approval:
        work(1)
        return pause_flow_run(Approval, prompt="Deploy?")

    thread = answering(h, {"ok": "true"})
    assert main() == Approval(ok=True)
    thread.join()

    assert h.states(only(h)) == ["Running", "Paused", "Running", "Completed"]
    (wanted,) = h.store.list_inputs(only(h).id)
    assert (wanted.prompt, wanted.schema["required"]) == ("Deploy?", ["ok"])


def test_an_async_flow_pauses_without_holding_its_loop(h: Harness) -> None:
    beats = []

    async def beat() -> None:
        while True:
            beats.append(1)
            await asyncio.sleep(0.01)

    @flow
    async def main() -> Any:
        beating = asyncio.ensure_future(beat())
        got = await pause_flow_run.aio(prompt="?")
        beating.cancel()
        return got

    def answer_once_it_beats() -> None:
        asked(h)
        seen = len(beats)
        until(lambda: len(beats) > seen + 3, what="the loop's beat while the flow is paused")
        answer(h, [1, 2])

    thread = threading.Thread(target=answer_once_it_beats)
    thread.start()
    assert asyncio.run(main()) == [1, 2]
    thread.join()


def test_an_answer_that_does_not_fit_is_asked_for_again(h: Harness) -> None:
    @flow
    def main() -> int:
        return pause_flow_run(Annotated[int, pydantic.AfterValidator(odd)], prompt="how many?")  # type: ignore[arg-type, no-any-return]

    def odd(n: int) -> int:
        if n % 2 == 0:
            raise ValueError("an odd number is wanted")
        return n

    def answer_twice() -> None:
        answer(h, 2)  # JSON Schema cannot tell
        until(lambda: asked(h).key.endswith("+"))
        answer(h, 3)

    thread = threading.Thread(target=answer_twice)
    thread.start()
    assert main() == 3
    thread.join()
    assert h.store.list_inputs(only(h).id)[1].prompt == (
        "how many? (the answer does not fit, so it is asked again: Value error, an odd number is wanted)"
    )


def test_a_pause_that_nobody_answers_times_out(h: Harness) -> None:
    @flow
    def main() -> None:
        pause_flow_run(timeout=0.05, prompt="anyone?")

    with pytest.raises(PauseTimeout, match=r"nobody answered within 0\.05 s: anyone"):
        main()
    assert h.states(only(h)) == ["Running", "Paused", "Running", "Failed"]


def test_a_paused_flow_can_be_cancelled(h: Harness) -> None:
    @flow
    def main() -> None:
        pause_flow_run(prompt="?")

    def cancel() -> None:
        asked(h)
        until(lambda: h.store.get_flow_run(asked(h).flow_run_id).state.type is StateType.PAUSED)
        h.engine._held[asked(h).flow_run_id].stop(CANCEL)

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(RunCancelled):
        main()
    thread.join()
    assert only(h).state.name == "Cancelled"


@pytest.mark.parametrize("ask", [pause_flow_run, suspend_flow_run])
def test_only_flows_can_wait_for_a_person(h: Harness, ask: Any) -> None:
    @task
    def inside() -> None:
        ask()

    @flow
    def main() -> None:
        inside()

    with pytest.raises(UsageError, match=r"_flow_run\(\) was called outside a flow"):
        ask()
    with pytest.raises(UsageError, match=r"(?s)was called in task run 'inside-0'.*call it in the flow"):
        main()


# -- suspending


def test_a_suspended_flow_lets_its_process_go_and_runs_again_with_the_answer(h: Harness) -> None:
    seen = []

    @flow
    def main() -> tuple[int, int]:
        first = work(1)
        futures = work.map([2, 3])
        try:
            extra = suspend_flow_run(int, prompt="how many?")
        finally:
            seen.append(runtime.flow_run.is_suspending if runtime.flow_run else None)
        return first + sum(futures.result()), extra

    with pytest.raises(RunSuspended, match=r"(?s)is suspended.*legato run resume"):
        main()
    suspended = only(h)
    assert (suspended.state.type, suspended.state.name, suspended.lease_expires_at) == (StateType.PAUSED, "Suspended", None)
    assert {task_run.state.name for task_run in h.task_runs()} == {"Completed"}

    answer(h, 10)
    assert main.resume(suspended.id) == (6, 10)

    assert ran == {"work 1": 1, "work 2": 1, "work 3": 1}
    assert seen == [True, False]
    assert (only(h).state.name, only(h).attempt) == ("Completed", 2)


@pytest.mark.parametrize(("one", "other"), [("k" * 700 + "1", "k" * 700 + "2"), ("report-\udcff", "report-\\udcff"), ("a\0b", "a\\0b")])
def test_each_question_gets_its_own_answer_however_alike_their_keys_are(h: Harness, one: str, other: str) -> None:
    @flow
    def main() -> tuple[int, int]:
        return suspend_flow_run(int, key=one), suspend_flow_run(int, key=other)

    with pytest.raises(RunSuspended):
        main()
    answer(h, 1)
    with pytest.raises(RunSuspended):
        main.resume(only(h).id)
    answer(h, 2)

    assert main.resume(only(h).id) == (1, 2)


def test_a_flow_that_is_to_be_cancelled_is_cancelled_when_it_suspends_itself(h: Harness) -> None:
    @flow
    def main() -> Any:
        h.store.request_cancel(only(h).id)
        return suspend_flow_run(prompt="?")

    with pytest.raises(RunCancelled):
        main()

    assert only(h).state.name == "Cancelled"


def test_a_flow_resumed_without_an_answer_is_suspended_again(h: Harness) -> None:
    @flow
    def main() -> Any:
        return suspend_flow_run(prompt="?")

    with pytest.raises(RunSuspended):
        main()
    with pytest.raises(RunSuspended):
        main.resume(only(h).id)
    answer(h, "now")
    assert main.resume(only(h).id) == "now"
    assert only(h).attempt == 3


@pytest.mark.parametrize("kind", ["bare except", "group"])
def test_code_that_swallows_the_suspension_is_suspended_all_the_same(h: Harness, kind: str) -> None:
    @flow
    async def main() -> None:
        if kind == "bare except":
            try:
                await suspend_flow_run.aio()
            except BaseException:  # noqa: BLE001 what it is about
                ran["swallowed"] += 1
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(suspend_flow_run.aio())

    with pytest.raises(RunSuspended):
        asyncio.run(main())
    assert only(h).state.name == "Suspended"


def test_after_a_swallowed_suspension_no_task_begins(h: Harness) -> None:
    @flow
    def main() -> None:
        try:
            suspend_flow_run()
        except BaseException:  # noqa: BLE001 what it is about
            work(9)

    with pytest.raises(RunSuspended):
        main()
    assert ran == {}


def test_a_subflows_suspension_suspends_the_flow_around_it(h: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    @flow(persist_result=True)
    def child() -> int:
        return work(5) + int(suspend_flow_run(int))

    @flow
    def main() -> int:
        return child() + work(1)

    with pytest.raises(RunSuspended):
        main()
    root = next(run for run in h.flow_runs() if run.flow_name == "main")
    inner = next(run for run in h.flow_runs() if run.flow_name == "child")
    assert {run.state.name for run in h.flow_runs()} == {"Suspended"}

    answer(h, 100)
    assert main.resume(root.id) == 106
    assert ran == {"work 5": 1, "work 1": 1}
    said = capsys.readouterr().err
    assert f"again, because it never finished: {inner.name}" in said.partition("reused")[2], "its own name: it goes on as itself"


# -- held from outside


def test_a_flow_that_somebody_pauses_waits_before_its_next_task(h: Harness) -> None:
    @flow
    def main() -> int:
        work(1)
        h.engine._held[runtime.flow_run.id].pause()  # type: ignore[union-attr]
        return work(2)

    thread = answering(h, None)
    assert main() == 2
    thread.join()
    assert h.states(only(h)) == ["Running", "Paused", "Running", "Completed"]
    assert h.journal(only(h))[1].state.message == "paused by a person"


def test_an_async_flow_that_somebody_pauses_waits_where_it_awaits(h: Harness) -> None:
    @task
    async def later(n: int) -> int:
        ran[f"later {n}"] += 1
        return n

    @flow
    async def main() -> int:
        await later(1)
        h.engine._held[runtime.flow_run.id].pause()  # type: ignore[union-attr]
        return await later(2)

    thread = answering(h, None)
    assert asyncio.run(main()) == 2
    thread.join()
    assert h.states(only(h)) == ["Running", "Paused", "Running", "Completed"]


def test_the_wish_to_pause_comes_with_the_heartbeat(h: Harness) -> None:
    @flow
    def main() -> int:
        run_id = runtime.flow_run.id  # type: ignore[union-attr]
        h.store.request_pause(run_id)
        h.engine._beat({run_id: h.engine._held[run_id]})
        return work(1)

    thread = answering(h, None)
    assert main() == 1
    thread.join()
    assert (only(h).pause_requested_at, "Paused" in h.states(only(h))) == (None, True)


@task
async def awork(n: int) -> int:
    return work.fn(n)  # type: ignore[no-any-return]


@flow
def inner() -> int:
    return work(1) + work(2)


@flow
def alone() -> int:
    return work(1) + work(2) + work(3)


@flow
def around_another() -> int:
    return inner() + work(3)


@flow
async def awaiting() -> int:
    return await awork(1) + await awork(2) + await awork(3)


@flow
async def gathering() -> int:
    first = await awork(1)
    return first + sum(await asyncio.gather(awork(2), awork(3)))


HELD_FLOWS: list[Any] = [alone, around_another, awaiting, gathering]


@pytest.mark.parametrize("main", HELD_FLOWS, ids=lambda one: one.name)
def test_one_wish_is_one_pause_and_one_word_lets_it_go_on(h: Harness, monkeypatch: pytest.MonkeyPatch, main: Any) -> None:
    """Beats go on while it is paused, and tell of the wish each time, until it is answered."""
    wished = threading.Event()

    def beat() -> None:
        held = dict(h.engine._held)
        if held:
            h.engine._beat(held)

    def wish(n: int) -> int:
        if n == 1:
            outermost = next(one for one in h.store.list_flow_runs(oldest_first=True).items if one.parent_run_id is None)
            h.store.request_pause(outermost.id)
            beat()
            wished.set()
        return n

    monkeypatch.setattr(work, "fn", wish)
    monkeypatch.setattr(awork, "fn", _async_twin(wish))

    def person() -> None:
        wished.wait(10)
        wanted = asked(h)
        for _ in range(3):
            beat()
        h.store.answer_input(wanted.flow_run_id, wanted.key, None)

    thread = threading.Thread(target=person)
    thread.start()
    value = asyncio.run(main()) if main.is_async else main()
    thread.join()

    assert value == 6
    states = Counter(name for run in h.flow_runs() for name in h.states(run))
    assert states["Paused"] == 1
    assert all(run.pause_requested_at is None for run in h.flow_runs())


def _async_twin(fn: Any) -> Any:
    async def twin(n: int) -> int:
        return fn(n)

    return twin


def test_what_was_asked_before_it_went_on_tells_of_the_wish_it_followed(h: Harness) -> None:
    @flow
    def main() -> tuple[bool, bool]:
        shell = h.engine._held[runtime.flow_run.id]  # type: ignore[union-attr]
        before = time.monotonic()
        shell.goes_on()
        shell.pause(before)
        late = shell.interrupted
        shell.pause(time.monotonic())
        new, shell.interrupted = shell.interrupted, False
        return late, new

    assert main() == (False, True)


# ---------------------------------------------------------------------- answers are held against their type


class Decision(pydantic.BaseModel):
    ok: bool
    share: float = 0.5
    reason: Literal["cost", "time"] = "cost"


ANSWERS: list[tuple[Any, Any, bool]] = [
    # what is asked for, an answer, and whether it fits
    (Literal["a", "b"], "a", True),
    (Literal["a", "b"], "c", False),
    (Literal[1, 2], 2, True),
    (Literal[1, 2], 3, False),
    (bool, True, True),
    (bool, "perhaps", False),
    (int, 3, True),
    (int, 3.5, False),
    (int, "3", True),
    (str, "3", True),
    (str, 3, False),
    (int | None, None, True),
    (int | None, "x", False),
    (list[int], [1, 2], True),
    (list[int], [1, "x"], False),
    (dict[str, float], {"a": 1}, True),
    (dict[str, float], {"a": "x"}, False),
    (tuple[int, str], [1, "a"], True),
    (tuple[int, str], [1], False),
    (Annotated[int, pydantic.Field(ge=0, le=10)], 10, True),
    (Annotated[int, pydantic.Field(ge=0, le=10)], 11, False),
    (Annotated[str, pydantic.Field(pattern="^[a-z]+$")], "abc", True),
    (Annotated[str, pydantic.Field(pattern="^[a-z]+$")], "ABC", False),
    (Decision, {"ok": True, "share": 1}, True),
    (Decision, {"ok": True, "reason": "mood"}, False),
    (Decision, {"share": 1}, False),
    (list[Decision], [{"ok": True}], True),
    (list[Decision], [{"ok": True}, {"reason": "cost"}], False),
    (None, {"any": ["thing"]}, True),
]


@pytest.mark.parametrize(("wanted", "answer", "fits"), ANSWERS)
def test_an_answer_is_held_against_the_type_that_was_asked_for(h: Harness, wanted: Any, answer: Any, fits: bool) -> None:
    refused: list[str] = []

    def answers() -> None:
        run = h.flow_runs()[0]
        [question] = until(lambda: h.store.list_inputs(run.id))
        try:
            h.store.answer_input(run.id, question.key, answer)
        except UsageError as error:
            refused.append(str(error))
            h.store.request_cancel(run.id)

    @flow
    def asks() -> Any:
        thread = threading.Thread(target=answers)
        thread.start()
        try:
            return pause_flow_run(wanted, timeout=30 if fits else 0.5)
        finally:
            thread.join()

    if fits:
        given = asks()
        assert given in (answer, 3) or isinstance(given, (Decision, tuple, list))
    else:
        with pytest.raises(RunFailure):
            asks()
        assert "does not fit" in refused[0]


@pytest.mark.parametrize("wanted", [threading.Lock, object()])
def test_a_type_that_no_json_can_give_is_refused_when_it_is_asked_for(h: Harness, wanted: Any) -> None:
    @flow
    def asks() -> Any:
        return pause_flow_run(wanted)

    with pytest.raises(UsageError, match="cannot be asked for"):
        asks()


def test_a_text_in_place_of_a_type_is_told_where_it_belongs(h: Harness) -> None:
    @flow
    def main() -> None:
        pause_flow_run("Go on?")

    with pytest.raises(UsageError, match=r"what is asked for is a type, not 'Go on\?'") as caught:
        main()

    assert caught.value.hint == "a text for people is the prompt: pause_flow_run(bool, prompt='Go on?')"


@pytest.mark.parametrize("timeout", ["soon", -1, None, float("nan"), True])
def test_a_timeout_that_is_no_time_is_refused(h: Harness, timeout: Any) -> None:
    @flow
    def asks() -> Any:
        return pause_flow_run(timeout=timeout)

    with pytest.raises(UsageError, match="timeout"):
        asks()


def test_a_sync_pause_in_an_async_flow_names_the_way(h: Harness) -> None:
    @flow
    async def asks() -> Any:
        return pause_flow_run()

    with pytest.raises(UsageError, match="aio"):
        asyncio.run(asks())


@pytest.mark.parametrize("n", [2, 3, 5])
def test_several_questions_may_be_open_at_once(h: Harness, n: int) -> None:
    @flow
    async def asks() -> list[Any]:
        return await asyncio.gather(*(pause_flow_run.aio(int, timeout=30, key=f"q{i}") for i in range(n)))

    def answers() -> None:
        run = until(h.flow_runs)[0]
        for question in until(lambda: open_ if len(open_ := h.store.list_inputs(run.id)) == n else None, what="all questions"):
            h.store.answer_input(run.id, question.key, int(question.key[1]))

    thread = threading.Thread(target=answers)
    thread.start()
    given = asyncio.run(asks())
    thread.join()

    assert given == list(range(n))
    assert [name for name in h.states(h.flow_runs()[0]) if name != "Running"] == ["Paused", "Completed"]
