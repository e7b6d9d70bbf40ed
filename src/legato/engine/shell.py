"""The shells: they do what a script asks, for one flow run or one task run. Each is also the context that user code runs in.

A shell knows the store, the clock and the threads; it decides nothing. What a run's next state is, the script says.
"""

from __future__ import annotations

import contextvars
import itertools
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from legato.core.errors import UpstreamFailed
from legato.core.records import ErrorDetail, FlowRun, LogLine, Result, RunKind, TaskRun, Transition, Verdict, VerdictKind
from legato.core.states import FINAL, SCHEDULED, State
from legato.engine import results
from legato.engine.process import Engine
from legato.engine.script import Call, Draw, Instruction, Load, Policy, Propose, Save, Settle, Sleep, Stop
from legato.engine.stops import Region, call_with_timeout
from legato.engine.tracebacks import error_detail
from legato.logs import console
from legato.system import now

if TYPE_CHECKING:
    from legato.engine.futures import Future

_TRACKED_STRONGLY = 256
"""How many plain containers a flow remembers as some task's value. Others are remembered weakly, for as long as they live."""

_UNTRACKED = (type(None), bool, int, float, str, bytes)


class TaskRunner(Protocol):
    """How a flow's submitted tasks are executed."""

    name: str

    def submit(self, future: Future[Any]) -> None:
        """Have `future.claim` and `future.run` called, soon, on some thread."""
        ...

    def close(self) -> None: ...


class Stoppable(Protocol):
    """A stretch of user code that can be ended from outside."""

    def stop(self, reason: str) -> None: ...


class Background(Protocol):
    """Where a sync flow's async tasks run (`aio.BackgroundLoop`)."""

    def start(self, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context) -> None: ...

    def close(self) -> None: ...


class Shell:
    """What the two kinds have in common: a run's identity, its sequence, and how a proposal becomes a transition."""

    kind: RunKind
    flow: FlowShell
    log_prints: bool

    def __init__(self, engine: Engine, run_id: str, name: str, policy: Policy, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.engine = engine
        self.run_id = run_id
        self.name = name
        self.policy = policy
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.seq = 0
        self.attempt = 1
        self.state: State | None = None
        self.region: Stoppable | None = None
        self.stop_reason: str | None = None
        self.on_start: Callable[[], None] | None = None
        self.outer: Region | None = None

    def perform(self, i: Instruction) -> Any:
        if isinstance(i, Propose):
            return self.propose(i)
        if isinstance(i, Call):
            return self.call()
        if isinstance(i, Sleep):
            return self.sleep(i.seconds)
        if isinstance(i, Draw):
            return self.engine.draw()
        if isinstance(i, Save):
            return self.save(i.value)
        if isinstance(i, Load):
            return results.load(i.result, self.engine.blobs)
        return self.settle(i)

    def settle(self, i: Settle) -> list[str]:
        """Wait for what was submitted. A task has nothing to settle: its submissions are its flow's."""
        raise NotImplementedError(i)

    # -- states

    def propose(self, i: Propose) -> Verdict | None:
        transition = self.transition(i)
        if not i.gate:
            self.engine.outbox.report(transition)
            return None
        return self.taken(transition, self.engine.gate(transition))

    def transition(self, i: Propose) -> Transition:
        """The next transition of this run. The first one carries the run's record."""
        at = now()
        self.seq = seq = self.seq + 1
        fence = self.flow.attempt
        if i.name == "Retrying":
            self.attempt += 1
        due_at = at + timedelta(seconds=i.delay_s) if i.type is SCHEDULED else None
        state = self.state = State(i.type, i.name, at, i.message, due_at)
        error = error_detail(i.error) if i.error is not None and i.type is not SCHEDULED else None
        if i.error is not None:
            self._log_failure(state, error)
        flow_run, task_run = self.record(state) if seq == 1 else (None, None)
        return Transition(self.kind, self.run_id, seq, state, self.attempt, fence, flow_run, task_run, i.result, error)

    def _log_failure(self, state: State, error: ErrorDetail | None) -> None:
        """A failure, or a failure that will be tried again, in the run's own log; a task's on the console too (a flow's end is said there)."""
        level = "WARNING" if error is None else "ERROR"
        if console.LEVELS[level] < self.engine.log_level:
            return
        is_task = self.kind is RunKind.TASK
        text = state.message if error is None else f"{state.message}\n{error.traceback}".rstrip()
        task_run_id = self.run_id if is_task else None
        self.engine.outbox.add(LogLine(self.flow.run_id, state.at, console.LEVELS[level], "legato.engine", text, task_run_id))
        if is_task or error is None:
            console.line(level, f"{self.kind} run '{self.name}'", state.message)

    def record(self, state: State) -> tuple[FlowRun | None, TaskRun | None]:
        """The run's record, which its first transition carries."""
        raise NotImplementedError

    def taken(self, transition: Transition, verdict: Verdict) -> Verdict:
        """Note a verdict; "already" means a repeat of ours was recorded, which is as good as accepted."""
        if verdict.kind is VerdictKind.ALREADY:
            verdict = Verdict(VerdictKind.ACCEPTED, seq=transition.seq, attempt=transition.attempt)
        if verdict.kind is VerdictKind.REFUSED and transition.state.type in FINAL:
            raise Stop(verdict.reason)
        if verdict.state is not None:
            self.state = verdict.state
        elif self.on_start is not None and transition.state.name == "Running":
            self.on_start()
        return verdict

    # -- user code

    def call(self) -> Any:
        region = self._stoppable()
        token = CURRENT.set(self)
        try:
            return call_with_timeout(region, self.policy.timeout_s, self.fn, self.args, self.kwargs)
        finally:
            CURRENT.reset(token)

    def stop(self, reason: str) -> None:
        """End the user's code from outside, or keep it from beginning."""
        self.stop_reason = reason
        if self.region is not None:
            self.region.stop(reason)

    def sleep(self, seconds: float) -> None:
        self._stoppable().call(_doze, (seconds,), {})

    def _stoppable(self) -> Region:
        """A new region, which a stop of this run, or of the one it was called from, ends. Raises `Stop` when that was asked for already."""
        region = self.region = Region()
        if self.outer is not None:
            self.outer.inner = region
        reason = self.stop_reason or (self.outer.reason if self.outer is not None else None)
        if reason is not None:
            raise Stop(reason)
        return region

    def save(self, value: Any) -> Result:
        return results.save(value, self.engine.blobs)


CURRENT: contextvars.ContextVar[Shell | None] = contextvars.ContextVar("legato_run", default=None)
"""The run whose user code is running here."""


def _doze(seconds: float) -> None:
    """Sleep in short stretches: a stop reaches a worker thread only between calls into C."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


def leave_user_code(shell: Shell | None) -> Region | None:
    """User code has called into the engine: nothing is raised from outside until `enter_user_code`. Returns the region to go back to."""
    region = shell.region if shell is not None else None
    if type(region) is Region and region.is_here:
        region.step_out()
        return region
    return None


def enter_user_code(region: Region | None) -> None:
    """Go back to the user's code; raises `Stop` if somebody asked for that meanwhile."""
    if region is not None:
        region.inner = None
        region.step_in()


class TaskShell(Shell):
    """One task run."""

    kind = RunKind.TASK

    def __init__(
        self,
        flow: FlowShell,
        run_id: str,
        name: str,
        policy: Policy,
        fn: Callable[..., Any],
        args: Any,
        kwargs: Any,
        *,
        key: str,
        tags: tuple[str, ...] = (),
        upstream: tuple[str, ...] = (),
        cache_key: str | None = None,
        cache_expires_s: float | None = None,
    ) -> None:
        super().__init__(flow.engine, run_id, name, policy, fn, args, kwargs)
        self.flow = flow
        self.log_prints = flow.log_prints
        self.key = key
        self.tags = tags
        self.upstream = upstream
        self.cache_key = cache_key
        self.cache_expires_s = cache_expires_s
        self.elsewhere: Callable[[TaskShell], Any] | None = None
        """Performs the call in place of this process: another process's, a cluster's. All the rest of a task's life stays here."""

    def record(self, state: State) -> tuple[FlowRun | None, TaskRun | None]:
        return None, TaskRun(
            id=self.run_id,
            flow_run_id=self.flow.run_id,
            key=self.key,
            name=self.name,
            state=state,
            flow_attempt=self.flow.attempt,
            created_at=state.at,
            tags=self.tags,
            upstream=self.upstream,
            cache_key=self.cache_key,
            cache_expires_s=self.cache_expires_s,
            retries=self.policy.retry.retries,
        )

    def call(self) -> Any:
        value = super().call() if self.elsewhere is None else self.elsewhere(self)
        if type(value) not in _UNTRACKED:
            self.flow.made(value, self.run_id)
        return value


class FlowShell(Shell):
    """One flow run, and what its tasks share: names, the runner, the futures not yet settled, and who made which value."""

    kind = RunKind.FLOW

    def __init__(
        self,
        engine: Engine,
        run_id: str,
        name: str,
        policy: Policy,
        fn: Callable[..., Any],
        args: Any,
        kwargs: Any,
        *,
        make_runner: Callable[[], TaskRunner],
        new_run: FlowRun | None = None,
        log_prints: bool = False,
    ) -> None:
        super().__init__(engine, run_id, name, policy, fn, args, kwargs)
        self.flow = self
        self.log_prints = log_prints
        self._new_run = new_run
        self._make_runner = make_runner
        self._runner: TaskRunner | None = None
        self._open: set[Future[Any]] = set()
        self._failed: list[Future[Any]] = []
        self._counters: dict[str, itertools.count[int]] = {}
        self._makers: dict[int, tuple[Any, str]] = {}
        self._kept: deque[int] = deque()
        self.background: Background | None = None
        self._shells: weakref.WeakSet[TaskShell] = weakref.WeakSet()

    def record(self, state: State) -> tuple[FlowRun | None, TaskRun | None]:
        return (msgspec.structs.replace(self._new_run, state=state) if self._new_run else None), None

    # -- names and dependencies

    def number_of(self, task_name: str) -> int:
        """The next display number of a task's runs: train-0, train-1, …"""
        counter = self._counters.get(task_name)
        if counter is None:
            counter = self._counters.setdefault(task_name, itertools.count())
        return next(counter)

    def made(self, value: Any, run_id: str) -> None:
        """Remember which task run made a value (and, for a tuple or list, its items), so that whoever is given it depends on that run."""
        self._remember(value, run_id)
        if type(value) in (tuple, list) and len(value) <= 32:
            for item in value:
                if type(item) not in _UNTRACKED:
                    self._remember(item, run_id)

    def _remember(self, value: Any, run_id: str) -> None:
        key = id(value)
        try:
            self._makers[key] = (weakref.ref(value, lambda _: self._makers.pop(key, None)), run_id)
        except TypeError:
            self._makers[key] = (value, run_id)
            self._kept.append(key)
            if len(self._kept) > _TRACKED_STRONGLY:
                self._makers.pop(self._kept.popleft(), None)

    def maker_of(self, value: Any) -> str | None:
        """The run that made this very object, if a task of this flow did."""
        found = self._makers.get(id(value))
        if found is None:
            return None
        ref, run_id = found
        return run_id if (ref() if isinstance(ref, weakref.ref) else ref) is value else None

    @property
    def has_makers(self) -> bool:
        """Whether any value is remembered: spares a look-up for each argument when none is."""
        return bool(self._makers)

    # -- submitted tasks

    @property
    def runner(self) -> TaskRunner:
        """The flow's task runner, made when it is first wanted."""
        if self._runner is None:
            self._runner = self._make_runner()
        return self._runner

    def opened(self, future: Future[Any], shell: TaskShell) -> None:
        """A task was submitted: the flow does not end before it."""
        self._open.add(future)
        self._shells.add(shell)
        future.add_done_callback(self._closed)

    def _closed(self, future: Future[Any]) -> None:
        if future.unseen_failure:
            self._failed.append(future)
        self._open.discard(future)

    def settle(self, i: Settle) -> list[str]:
        self.stop_tasks(i.stop)
        while (future := self.an_open_future()) is not None:
            future.wait()
        return self.unseen_failures()

    def an_open_future(self) -> Future[Any] | None:
        """One of the submitted tasks that have not ended."""
        while True:
            try:
                return next(iter(self._open), None)
            except RuntimeError:  # another thread has just ended one
                continue

    def unseen_failures(self) -> list[str]:
        """Names of failed tasks that nobody asked about. One whose failure another task or the flow has met is not repeated."""
        failed, self._failed = self._failed, []
        return [
            f"'{future.name}' ({type(future.failure).__name__}: {future.failure})"
            for future in failed
            if future.unseen_failure and not isinstance(future.failure, UpstreamFailed)
        ]

    def stop(self, reason: str) -> None:
        super().stop(reason)
        self.stop_tasks(reason)

    def stop_tasks(self, reason: str) -> None:
        """Ask the submitted tasks that have not ended to stop."""
        for shell in list(self._shells) if reason else ():
            shell.stop(reason)

    def close(self) -> None:
        """Let go of threads and the loop. The run has ended."""
        if self._runner is not None:
            self._runner.close()
        if self.background is not None:
            self.background.close()
        self._makers.clear()
