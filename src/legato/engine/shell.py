"""The shells: they do what a script asks, for one flow run or one task run. Each is also the context that user code runs in.

A shell knows the store, the clock and the threads; it decides nothing. What a run's next state is, the script says.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from legato import crashing
from legato.core.errors import UpstreamFailed
from legato.core.records import CacheAsk, ErrorDetail, FlowRun, LogLine, Result, RunKind, TaskRun, Transition, Verdict, VerdictKind
from legato.core.resume import Again, CallId, Past, Reuse
from legato.core.states import CANCELLED, COMPLETED, FINAL, PENDING, RUNNING, SCHEDULED, State
from legato.engine import results, waiting
from legato.engine.futures import SCOPE
from legato.engine.guarded import described
from legato.engine.hooks import Hooks, run_hooks
from legato.engine.ledger import Ledger
from legato.engine.process import Engine
from legato.engine.script import (
    ABANDONED,
    CALLERS_TIMEOUT,
    TIMEOUT,
    Call,
    CloseItems,
    Drain,
    Draw,
    Exhausted,
    Instruction,
    Item,
    Load,
    Next,
    Policy,
    Propose,
    Recalled,
    RecallPast,
    Save,
    Settle,
    Sleep,
    Stop,
    Suspend,
)
from legato.engine.stops import Region, call_with_timeout, inner_region
from legato.engine.tracebacks import error_detail
from legato.logs import console
from legato.system import now

if TYPE_CHECKING:
    from legato.engine.futures import Future

_TRACKED_STRONGLY = 256
"""How many plain containers a flow remembers as some task's value. Others are remembered weakly, for as long as they live."""

_PENDING = Propose(PENDING, "Pending")

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

    loop: Any

    def start(self, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context) -> None: ...

    def close(self) -> None: ...


Apart: TypeAlias = Callable[[contextvars.Context, Callable[[], Any], float], Any]

GRACE_S = 2.0
"""How long code that was stopped may go on, before what cannot be stopped is abandoned."""


class Shell:
    """What the two kinds have in common: a run's identity, its sequence, and how a proposal becomes a transition."""

    kind: RunKind
    flow: FlowShell
    log_prints: bool
    cache: CacheAsk | None = None
    start_message = ""
    """Said with the state in which it starts, where the script says nothing."""
    tags: tuple[str, ...] = ()

    # What most runs never change is on the class: a task run's shell is made in a microsecond.
    seq = 0
    attempt = 1
    epoch = 1
    """A flow run's token (see `core.ownership`); that of a run made here is the first."""
    parent_epoch: int | None = None
    """The token of the run around this one, when it begins."""
    state: State | None = None
    region: Stoppable | None = None
    stop_reason: str | None = None
    on_start: Callable[[], None] | None = None
    outer: Region | None = None
    hooks: Hooks | None = None
    definition: Any = None
    items: Any = None
    apart: Apart | None = None
    """Makes a call that has a timeout on a thread of its own, which can be abandoned where nothing stops it."""
    _context: contextvars.Context | None = None

    def __init__(self, engine: Engine, run_id: str, name: str, policy: Policy, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.engine = engine
        self.run_id = run_id
        self.name = name
        self.policy = policy
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.caller: Shell | None = CURRENT.get()
        """The run whose code called this one."""

    def perform(self, i: Instruction) -> Any:
        if isinstance(i, Propose):
            verdict = self.propose(i)
            if self.hooks is not None:
                self.run_hooks(i.name)
            return verdict
        if isinstance(i, Call):
            return self.call()
        return self._perform_rarer(i)

    def _perform_rarer(self, i: Instruction) -> Any:
        if isinstance(i, Next):
            return self.next_item(i.sent)
        if isinstance(i, Sleep):
            return self.sleep(seconds_of(i))
        if isinstance(i, Draw):
            return self.engine.draw()
        if isinstance(i, Save):
            return self.save(i.value)
        if isinstance(i, Load):
            return results.load(i.result, self.engine.blobs)
        if isinstance(i, RecallPast):
            return self.recall()
        if isinstance(i, CloseItems):
            return self.close_items()
        if isinstance(i, Drain):
            return self.flow.drain()
        assert isinstance(i, Settle), i
        return self.settle(i)

    def run_hooks(self, proposed: str) -> None:
        """Call the user's hooks for the state that was entered: the one proposed, unless the store put another in its place."""
        assert self.hooks is not None
        state = self.state
        if state is not None and state.name in self.hooks and state.name in (proposed, "Cached", "Cancelled"):
            token = CURRENT.set(self)
            try:
                run_hooks(self, state)
            finally:
                CURRENT.reset(token)

    def recall(self) -> Recalled:
        """What an earlier attempt knows of this call. Only tasks ask."""
        raise NotImplementedError

    @property
    def task_name(self) -> str:
        """The task's name; "" for a flow."""
        return ""

    def named_arguments(self) -> Mapping[str, Any]:
        """The call's arguments by name."""
        raise NotImplementedError

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
        fence = self.flow.epoch  # the token of whoever holds the run
        type_, name, message = i.type, i.name, i.message
        asked, due_at, error = None, None, None
        if type_ is RUNNING:
            message = message or self.start_message
            asked = self.cache
            if name == "Retrying":
                self.attempt += 1
        elif type_ is SCHEDULED:
            due_at = at + timedelta(seconds=i.delay_s)
        state = self.state = State(type_, name, at, message, due_at)
        if i.error is not None:
            error = error_detail(i.error) if type_ is not SCHEDULED else None
            self._log_failure(state, error)
        flow_run, task_run = self.record(state) if seq == 1 else (None, None)
        return Transition(
            self.kind,
            self.run_id,
            seq,
            state,
            self.attempt,
            fence,
            flow_run,
            task_run,
            i.result,
            error,
            False,
            i.release,
            asked,
            parent_epoch=self.parent_epoch if flow_run is not None else None,
        )

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
        if verdict.kind is VerdictKind.WAIT:  # nothing was recorded: the number is still free
            self.seq -= 1
            self.attempt -= transition.state.name == "Retrying"
            self.state = None
            return verdict
        if verdict.kind is VerdictKind.REFUSED and transition.state.type in FINAL:
            raise Stop(verdict.reason)
        if verdict.state is not None:
            self.state = verdict.state
            if verdict.result is not None:
                crashing.reached("task.cached")
        elif self.on_start is not None and transition.state.name == "Running":
            self.on_start()
        return verdict

    # -- user code

    def call(self) -> Any:
        region = self._stoppable()
        token = CURRENT.set(self)
        try:
            if self.policy.timeout_s is None:
                return region.call(self.fn, self.args, self.kwargs)
            if self.apart is not None:
                call = functools.partial(call_with_timeout, region, self.policy.timeout_s, self.fn, self.args, self.kwargs)
                return self.apart(contextvars.copy_context(), call, self.policy.timeout_s + GRACE_S)
            return call_with_timeout(region, self.policy.timeout_s, self.fn, self.args, self.kwargs)
        finally:
            CURRENT.reset(token)

    def next_item(self, sent: Any) -> Item | Exhausted:
        """Have the user's generator go on, in a context of its own: its body sees itself as the current run, its reader does not."""
        region = self._stoppable()
        if self._context is None:
            self._context = contextvars.copy_context()
            self._context.run(CURRENT.set, self)
            self.items = self._context.run(self.fn, *self.args, **self.kwargs)
        go_on = self.items.__next__ if sent is None else lambda: self.items.send(sent)
        try:
            return Item(call_with_timeout(region, self.policy.timeout_s, self._context.run, (go_on,), {}))
        except StopIteration as end:
            return Exhausted(end.value)
        except Exception:
            self._context = None  # a retry begins with a new generator
            raise

    def check_suspended(self) -> None:
        """Raise `Suspend` when the flow is unwinding, whatever its code makes of that."""

    def close_items(self) -> None:
        """Have the user's generator run its `finally` blocks."""
        if self._context is not None:
            self._context.run(self.items.close)

    def stop(self, reason: str) -> None:
        """End the user's code from outside, or keep it from beginning."""
        self.stop_reason = reason
        if self.region is not None:
            self.region.stop(reason)

    def sleep(self, seconds: float) -> None:
        crashing.reached("task.waiting")
        self._stoppable().call(_doze, (seconds,), {})

    def _stoppable(self) -> Region:
        """A new region, which a stop of this run, or of the one it was called from, ends. Raises `Stop` when that was asked for already."""
        region = self.region = inner_region(self.outer)
        if self.stop_reason is not None:
            raise Stop(self.stop_reason)
        return region

    def save(self, value: Any) -> Result:
        return results.save(value, self.engine.blobs, self.policy.serializer or self.flow.policy.serializer)


CURRENT: contextvars.ContextVar[Shell | None] = contextvars.ContextVar("legato_run", default=None)
"""The run whose user code is running here."""


def _runs_of_caller() -> list[str]:
    shell, ids = CURRENT.get(), []
    while shell is not None:
        ids.append(shell.run_id)
        shell = shell.caller
    return ids


waiting.runs.of_caller = _runs_of_caller


def seconds_of(i: Sleep) -> float:
    """How long to sleep. An instant of another clock is trusted within a second: then the store is asked again."""
    return i.seconds if i.until is None else min(max((i.until - now()).total_seconds(), 0.01), 1.0)


def _doze(seconds: float) -> None:
    """Sleep in short stretches: a stop reaches a worker thread only between calls into C."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


def leave_user_code(shell: Shell | None) -> Region | None:
    """User code has called into the engine: nothing is raised from outside until `enter_user_code`. Returns the region to go back to."""
    region = shell.region if shell is not None else None
    if type(region) is Region and region.is_here and not region.is_out:  # what the engine calls back on this thread may call it again
        region.step_out()
        return region
    return None


def enter_user_code(region: Region | None) -> None:
    """Go back to the user's code; raises `Stop` if somebody asked for that meanwhile."""
    if region is not None:
        region.inner = None
        region.step_in()


ABANDON_AFTER_S = 5.0
"""How long a flow that was stopped waits for its tasks to stop."""


class TaskShell(Shell):
    """One task run."""

    kind = RunKind.TASK
    cache_key: str | None = None
    cache_expires_s: float | None = None
    scope_tags: tuple[str, ...] = ()
    """Tags that the runs it begins are given, too."""
    elsewhere: Callable[[TaskShell], Any] | None = None
    """Performs the call in place of this process: another process's, a cluster's. All the rest of a task's life stays here."""
    call_id: CallId | None = None
    parent_task_id: str | None = None
    code: Callable[[], Mapping[str, str]] | None = None
    inputs = ""
    below = ""
    not_reusable = ""
    _again: Again | None = None
    is_abandoned = False
    """Whether its end was recorded although its code goes on."""

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
    ) -> None:
        Shell.__init__(self, flow.engine, run_id, name, policy, fn, args, kwargs)
        self.flow = flow
        self.log_prints = flow.log_prints
        self.key = key
        self.tags = tags
        self.upstream = upstream

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
            call=str(self.call_id) if self.call_id is not None else "",
            code=dict(self.code()) if self.code is not None and self.policy.persist else None,
            parent_task_id=self.parent_task_id,
        )

    def abandon(self, reason: str) -> None:
        """Record that it was cancelled, although its code goes on."""
        state = self.state
        if state is None or state.type not in FINAL:
            self.engine.outbox.report(self.transition(Propose(CANCELLED, "Cancelled", f"stopped: {reason}{ABANDONED}")))
        self.is_abandoned = True

    def propose(self, i: Propose) -> Verdict | None:
        if self.is_abandoned:
            return None
        return Shell.propose(self, i)

    @property
    def recalls(self) -> bool:
        """Whether an earlier attempt may know of this call."""
        return self.flow.ledger.memory is not None

    @property
    def task_name(self) -> str:
        return str(self.definition.name)

    def named_arguments(self) -> Mapping[str, Any]:
        named: Mapping[str, Any] = self.definition.compiled.signature.bind(tuple(self.args), self.kwargs)
        return named

    def recall(self) -> Recalled:
        ledger, call = self.flow.ledger, self.call_id
        if call is None:
            return Recalled(self.not_reusable)
        code = self.code() if self.code is not None else None
        found = ledger.recall(self.name, call, self.key, code=code, below=self.below, inputs=self.inputs)
        if isinstance(found, Reuse):
            had = ledger.value_of(self.name, found, self.engine.blobs)
            if isinstance(had, Recalled):
                crashing.reached("task.reused")
                if self.seq == 0:
                    self.propose(_PENDING)
                assert had.result is not None, "a value was had"
                self._remember(had.result)
                return had
            found = had
        if found is None:
            return Recalled()
        self._again = found
        return Recalled(found.why)

    def transition(self, i: Propose) -> Transition:
        if i.result is not None and self.inputs:
            i = Propose(i.type, i.name, i.message, i.gate, msgspec.structs.replace(i.result, inputs=self.inputs), i.error, i.delay_s)
        transition = Shell.transition(self, i)
        if i.type in FINAL and (self._again is not None or i.result is not None):
            self._ended(i)
        return transition

    def _ended(self, i: Propose) -> None:
        """Tell the ledger: what came of this call decides about later ones, and about a retry of the flow."""
        ledger = self.flow.ledger
        if self.call_id is None:
            return
        if self._again is not None:
            ledger.ran(self.name, self.call_id, self._again)
        if i.type is COMPLETED and i.result is not None and i.name != "Cached":
            self._remember(i.result)

    def _remember(self, result: Result) -> None:
        ledger, call = self.flow.ledger, self.call_id
        if call is not None and ledger.keeps_values:
            code = self.code() if self.code is not None else None
            ledger.made(Past(self.name, self.key, call, COMPLETED, self.run_id, result, code))

    def call(self) -> Any:
        if self.elsewhere is not None:
            value = self.elsewhere(self)
        elif crashing.armed is None:
            value = Shell.call(self)
        else:
            crashing.reached("task.before_code")
            value = Shell.call(self)
            crashing.reached("task.after_code")
        if type(value) not in _UNTRACKED or self.flow.ledger.keeps_values:
            self.gave(value)
        return value

    def gave(self, value: Any) -> None:
        """Note what the user's function returned."""
        if type(value) not in _UNTRACKED:
            self.flow.made(value, self.run_id)
        if self.call_id is not None and not self.policy.persist:
            self._keep(value)

    def _keep(self, value: Any) -> None:
        """Keep an unstored value for a retry of the flow in this process, serialised: the object itself may be changed meanwhile."""
        ledger = self.flow.ledger
        if ledger.keeps_values:
            result = results.snapshot(value) if results.weight_of(value) < ledger.room else results.TOO_LARGE
            self._remember(msgspec.structs.replace(result, inputs=self.inputs))


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
        parent: FlowShell | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(engine, run_id, name, policy, fn, args, kwargs)
        self.flow = self
        self.log_prints = log_prints
        self.parent = parent
        self.ledger = ledger or Ledger()
        self.call_id: CallId | None = None
        self.again: Again | None = None
        self.recalled: Recalled | None = None
        self.parameters: Mapping[str, Any] = {}
        self.suspending = False
        self.interrupted = False
        """Whether the next call from this flow's code must stop first: to pause, or to unwind."""
        self.quiet = False
        """Whether nothing is said on the console when it begins and ends."""
        self.children: weakref.WeakSet[FlowShell] = weakref.WeakSet()
        if parent is not None:
            parent.children.add(self)
        self._new_run = new_run
        self._make_runner = make_runner
        self._runner: TaskRunner | None = None
        self._open: set[Future[Any]] = set()
        self._failed: dict[Future[Any], None] = {}
        self.unseen_elsewhere: list[str] = []
        self._counters: dict[str, itertools.count[int]] = {}
        self._makers: dict[int, tuple[Any, str]] = {}
        self._kept: deque[int] = deque()
        self.background: Background | None = None
        self._shells: weakref.WeakSet[TaskShell] = weakref.WeakSet()

    def record(self, state: State) -> tuple[FlowRun | None, TaskRun | None]:
        return (msgspec.structs.replace(self._new_run, state=state) if self._new_run else None), None

    def call(self) -> Any:
        crashing.reached("flow.before_code")
        try:
            value = super().call()
        except BaseException:
            self.check_suspended()  # also when user code has caught it, or wrapped it in a group
            raise
        self.check_suspended()
        crashing.reached("flow.after_code")
        return value

    def check_suspended(self) -> None:
        if self.suspending:
            raise Suspend from None

    def transition(self, i: Propose) -> Transition:
        if i.name == "Retrying":
            self.ledger.restart()
        if i.type in FINAL and self.parent is not None and self.call_id is not None:
            self._tell_parent(self.parent.ledger, self.call_id, i)
        return super().transition(i)

    def _tell_parent(self, ledger: Ledger, call: CallId, i: Propose) -> None:
        """What came of this call, for the ledger of the flow that made it."""
        if self.again is not None:
            ledger.ran(self.name, call, self.again)
        if i.type is COMPLETED and i.result is not None and ledger.keeps_values:
            ledger.made(Past(self.name, f"flow {self.flow_name}", call, COMPLETED, self.run_id, i.result))

    @property
    def flow_name(self) -> str:
        """The flow's name."""
        return str(self.definition.name)

    def named_arguments(self) -> Mapping[str, Any]:
        return self.parameters

    def suspend(self) -> None:
        """From now on this flow, and every flow around it, unwinds."""
        flow: FlowShell | None = self
        while flow is not None:
            flow.suspending = flow.interrupted = True
            flow = flow.parent

    def pause(self) -> None:
        """Have this flow, and the flows it is running, pause before their next call."""
        self.interrupted = True
        for child in list(self.children):
            child.pause()

    @property
    def keeps_values(self) -> bool:
        """Whether what tasks give is kept for a retry in this process."""
        return self.ledger.keeps_values

    # -- names and dependencies

    def number_of(self, task_name: str) -> int | str:
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

    def opened(self, future: Future[Any], shell: TaskShell | None) -> None:
        """A task was submitted: the flow does not end before it."""
        self._open.add(future)
        future.scope = SCOPE.get()
        if shell is not None:
            self._shells.add(shell)
        future.then(self._closed)

    def _closed(self, future: Future[Any]) -> None:
        if future.unseen_failure:
            future.note_failure(self._failed)
        self._open.discard(future)

    def open_futures(self) -> list[Future[Any]]:
        """The submitted tasks that have not ended."""
        return list(self._open.copy())

    def failed_futures(self) -> list[Future[Any]]:
        """Submitted tasks that failed, as far as nobody has dealt with it."""
        return list(self._failed.copy())

    def settle(self, i: Settle) -> list[str]:
        self.stop_tasks(i.stop)
        deadline = time.monotonic() + ABANDON_AFTER_S if i.stop else None
        while (future := self.an_open_future()) is not None:
            if deadline is None:
                future.wait()
            elif not future.wait(max(0.0, deadline - time.monotonic())):
                self.abandon_tasks(i.stop)
                break
        crashing.reached("flow.settled")
        return self.unseen_failures()

    def abandon_tasks(self, reason: str) -> None:
        """Record the end of tasks that were asked to stop and have not: they are blocked outside of Python. What they still do does not count."""
        open_ = {future.run_id: future for future in list(self._open)}
        for shell in list(self._shells):
            future = open_.get(shell.run_id)
            if future is not None and not shell.is_abandoned:
                shell.abandon(reason)
                console.line("WARNING", f"task run '{shell.name}'", "it could not be stopped: its thread was abandoned")

    def drain(self) -> None:
        """Wait until what is under way here has ended, so that a suspension loses no work. Called from the flow's own code."""
        while (future := self.an_open_future()) is not None:
            future.wait()

    def an_open_future(self) -> Future[Any] | None:
        """One of the submitted tasks that have not ended."""
        while True:
            try:
                return next(iter(self._open), None)
            except RuntimeError:  # another thread has just ended one
                continue

    def unseen_failures(self) -> list[str]:
        """Names of failed tasks that nobody asked about. One whose failure another task or the flow has met is not repeated."""
        failed, self._failed = self._failed, {}
        elsewhere, self.unseen_elsewhere = self.unseen_elsewhere, []
        return elsewhere + [
            f"'{future.name}' ({described(failure)})"
            for future in failed
            if future.unseen_failure and (failure := future.failure) is not None and not isinstance(failure, UpstreamFailed)
        ]

    def stop(self, reason: str) -> None:
        super().stop(reason)
        self.stop_tasks(reason)

    def stop_tasks(self, reason: str) -> None:
        """Ask the submitted tasks that have not ended to stop."""
        for shell in list(self._shells) if reason else ():
            shell.stop(CALLERS_TIMEOUT if reason == TIMEOUT else reason)

    def close(self) -> None:
        """Let go of threads and the loop. The run has ended."""
        if self._runner is not None:
            self._runner.close()
        if self.background is not None:
            self.background.close()
        self._makers.clear()
