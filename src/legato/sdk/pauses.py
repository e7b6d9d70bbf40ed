"""Pausing and suspending: a flow asks a person, and goes on with the answer.

`pause_flow_run` waits in its process; `suspend_flow_run` lets the process go: the flow unwinds, and runs again from the top when it is
resumed, where finished tasks whose values are stored are not run again and this call returns the answer. `hold` is a person's wish to pause.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from legato import crashing
from legato.core.errors import UsageError
from legato.core.records import HELD, RunInput
from legato.core.states import PAUSED
from legato.engine.drive import drive
from legato.engine.script import Answer, AskPerson, Await, Drain, Instruction, Propose, Suspend, run_pause
from legato.engine.shell import FlowShell, Shell
from legato.engine.signals import interruptible
from legato.engine.stops import Region
from legato.logs import console
from legato.store.columns import token
from legato.system import new_id, now

T = TypeVar("T")

POLL_S = 0.25
"""How often a paused run looks for its answer. A person takes seconds; a look costs a fraction of a millisecond."""


class Pause:
    """Performs the instructions of one pause, for the flow whose code asked for it."""

    def __init__(self, flow: FlowShell, wanted: RunInput, check: Callable[[Any], Any]) -> None:
        self.flow = flow
        self.wanted = wanted
        self._check = check
        self._asked_again = 0

    def perform(self, i: Instruction) -> Any:
        if isinstance(i, Propose):
            return self.propose(i)
        if isinstance(i, AskPerson):
            return self.ask()
        if isinstance(i, Await):
            region = Region(self._outer)
            return region.call(self._wait, (i.seconds,), {})
        assert isinstance(i, Drain), i
        return self.flow.open_tasks.drain()

    def propose(self, i: Propose) -> Any:
        """The flow is paused from its first open question to the last one's answer."""
        with self.flow.asking:
            if i.type is PAUSED:
                self.flow.questions += 1
                is_ours = self.flow.questions == 1
            else:
                self.flow.questions -= 1
                is_ours = self.flow.questions == 0
            return self.flow.propose(i) if is_ours else None

    def call(self) -> Any:
        raise NotImplementedError("a pause calls nothing")

    def end_anyhow(self, exc: BaseException) -> None:
        """The flow around it sees to its own end."""

    @property
    def _outer(self) -> Region | None:
        region = self.flow.region
        return region if isinstance(region, Region) else None

    def ask(self) -> Answer | None:
        """Record the question; the answer, if it is there and fits."""
        self.flow.engine.outbox.flush()
        asked = self.flow.engine.store.ask_input(self.wanted)
        crashing.reached("pause.asked")
        return self._answer_in(asked)

    def look(self) -> Answer | None:
        """The answer, if it is there by now and fits."""
        found = self.flow.engine.store.list_inputs(self.flow.run_id)
        return next((answer for one in found if one.key == self.wanted.key and (answer := self._answer_in(one))), None)

    def _answer_in(self, asked: RunInput) -> Answer | None:
        if asked.answered_at is None:
            return None
        try:
            answer = Answer(self._check(asked.answer))
        except ValueError as error:
            from legato.sdk.parameters import first_reason  # noqa: PLC0415 start-up time: only for answers that do not fit

            return self._ask_anew(first_reason(error))
        crashing.reached("pause.answered")
        return answer

    def _ask_anew(self, why: str) -> Answer | None:
        """The answer does not fit what the flow wants by now: say so, and ask again under another key."""
        self._asked_again += 1
        text = f"the answer does not fit, so it is asked again: {why}"
        console.line("ERROR", f"flow run '{self.flow.name}'", text)
        self.wanted = RunInput(
            flow_run_id=self.wanted.flow_run_id,
            key=token(f"{self.wanted.key}+"),
            asked_at=now(),
            prompt=f"{self.wanted.prompt} ({text})",
            schema=self.wanted.schema,
        )
        return self.ask()

    @interruptible
    def _wait(self, seconds: float) -> Answer | None:
        crashing.reached("pause.waiting")
        end = time.monotonic() + seconds
        while (answer := self.look()) is None and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, POLL_S))
        return answer


def hold(parent: Shell) -> None:
    """A call from a flow that is to unwind, or that somebody wants to pause: raise `Suspend`, or wait for the word to go on."""
    flow = parent.flow
    if flow.suspending:
        raise Suspend
    if parent is not flow or flow.region is None or not isinstance(flow.region, Region):
        return  # what a task began goes on; an async flow is held where it awaits
    pause = held(flow)
    drive(run_pause(False, math.inf, pause.wanted.prompt), pause)
    flow.goes_on()


def held(flow: FlowShell) -> Pause:
    """The pause that a person wished for: one, however many calls of the flow are held by it. `FlowShell.goes_on` ends it."""
    with flow.asking:
        if flow.hold is None:
            flow.hold = RunInput(flow_run_id=flow.run_id, key=f"{HELD}{new_id()}", asked_at=now(), prompt="paused by a person")
        return Pause(flow, flow.hold, lambda answer: answer)


def pause_for(flow: FlowShell, wanted: Any, prompt: str, key: str) -> Pause:
    schema, check = _typed(wanted)
    asked = RunInput(flow_run_id=flow.run_id, key=token(f"{key}/{flow.number_of(f'?{key}')}"), asked_at=now(), prompt=prompt, schema=schema)
    return Pause(flow, asked, check)


def _typed(wanted: Any) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """The JSON Schema of an annotation, and what turns an answer into a value of it (or raises `ValueError`)."""
    if wanted is None:
        return {}, lambda answer: answer
    import pydantic  # start-up time: wanted by flows that ask for typed answers

    if isinstance(wanted, str):
        raise UsageError(
            f"what is asked for is a type, not {wanted[:60]!r}",
            hint=f"a text for people is the prompt: pause_flow_run(bool, prompt={wanted[:60]!r})",
        )
    try:
        adapter = pydantic.TypeAdapter(wanted)
        return adapter.json_schema(), adapter.validate_python
    except pydantic.errors.PydanticUserError as error:
        raise UsageError(
            f"an answer of type {getattr(wanted, '__name__', wanted)} cannot be asked for: {str(error).splitlines()[0]}",
            hint="ask for what can be given as JSON: str, bool, Literal['a', 'b'], a pydantic model, a dataclass",
        ) from None


def said(pause: Pause) -> str:
    return pause.wanted.prompt or "waits for a person"


def unwinding(flow: FlowShell, run: Callable[[], T]) -> T:
    try:
        return run()
    except Suspend:
        flow.suspend()
        raise
