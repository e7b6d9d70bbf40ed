"""The shells: they do what a script asks, for one flow run or one task run. Each is also the context that user code runs in.

A shell knows the store, the clock and the threads; it decides nothing. What a run's next state is, the script says.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from legato import crashing
from legato.core.errors import ResultMissing
from legato.core.records import CacheAsk, FlowRun, Result, RunInput, RunKind, TaskRun, Verdict
from legato.core.resume import NOT_TO_BE_STORED, Again, CallId, Lane, Past, Reuse
from legato.core.states import CANCELLED, COMPLETED, FINAL, State
from legato.engine import recording, results, waiting
from legato.engine.guarded import ask_user, described
from legato.engine.hooks import Hooks, run_hooks
from legato.engine.identity import lanes
from legato.engine.identity.lanes import Sighting, has_ended
from legato.engine.identity.ledger import NOTHING, Ledger
from legato.engine.makers import Makers
from legato.engine.open_tasks import OpenTasks
from legato.engine.process import Engine
from legato.engine.recording import transition_of
from legato.engine.script import (
    ABANDONED,
    CALL,
    CALLERS_TIMEOUT,
    PENDING_STATE,
    TIMEOUT,
    CloseItems,
    Conclude,
    Consult,
    Drain,
    Draw,
    Ending,
    Exhausted,
    Instruction,
    Item,
    Load,
    Next,
    Policy,
    Prepare,
    Propose,
    Recalled,
    RecallPast,
    Save,
    Settle,
    Sleep,
    Stop,
    Suspend,
)
from legato.engine.signals import interruptible
from legato.engine.stops import Region, call_with_timeout
from legato.logs import console
from legato.system import now

if TYPE_CHECKING:
    from legato.engine.futures import Future
    from legato.engine.identity.calls import Seal

_UNTRACKED = (type(None), bool, int, float, str, bytes)


class Beside(Protocol):
    """What looks at what a call does beside giving its value."""

    def begin(self) -> None:
        """The call begins."""
        ...

    def found(self, value: Any, given: Any, kwargs: Any, *, is_plain: bool) -> str:
        """It has ended: what it did, in words, "" when it was nothing. `given`: its arguments, and what it was called on."""
        ...


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


class Preparation(Protocol):
    """What must be done before a call can begin."""

    @property
    def futures(self) -> Sequence[Future[Any]]:
        """What must have ended first."""
        ...

    def finish(self) -> None:
        """They have: put their values in place, and find out what the cache is asked. Raises what keeps the call from beginning."""
        ...


Apart: TypeAlias = Callable[[contextvars.Context, Callable[[], Any], float], Any]

GRACE_S = 2.0
"""How long code that was stopped may go on, before what cannot be stopped is abandoned."""


LEFT_UNREAD = "the run around it ended before its reader had come to the end"


class Shell:
    """What the two kinds have in common: a run's identity, its sequence, and how a proposal becomes a transition."""

    kind: RunKind
    flow: FlowShell
    log_prints: bool
    cache: CacheAsk | None = None
    start_message = ""
    """Said with the state in which it starts, where the script says nothing."""
    renamed: str | None = None
    """What a flow run that was planned is called from its beginning on, where its flow says so."""
    tags: tuple[str, ...] = ()

    # What most runs never change is on the class: a task run's shell is made in a microsecond.
    seq = 0
    told = 0
    """The sequence number of the last transition that the store, or the outbox, has taken."""
    preparation: Preparation | None = None
    place: Any = None
    """The place in a task runner that its code runs on."""
    ended_by: BaseException | None = None
    """What has ended the run badly although its code returned."""
    depth = 0
    """How many tasks its code stands inside."""
    is_abandoned = False
    """Whether its end was recorded although its code goes on."""
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
    own_s = 0.0
    """Seconds that a generator's own code has taken in this attempt; its reader's time does not count."""
    lanes: dict[int, Lane] | None = None
    """The lines of execution of its code, as far as they have called anything."""
    changed_inside = ""
    """A new or changed call that it has made, and whose end it knows of."""
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
        return self._perform_rarer(i)

    def _perform_rarer(self, i: Instruction) -> Any:
        if i is CALL:
            return self.call()
        if isinstance(i, Next):
            return self.next_item(i)
        if isinstance(i, Sleep):
            return self.sleep(seconds_of(i))
        if isinstance(i, Draw):
            return self.engine.draw()
        if isinstance(i, Save):
            return self.save(i.value)
        if isinstance(i, Load):
            value = self.load(i)
            if self.hooks is not None:
                self.run_hooks("Cached")
            return value
        if isinstance(i, RecallPast):
            return self.recall(repeats=i.repeats)
        if isinstance(i, Prepare):
            return self.prepare()
        if isinstance(i, Conclude):
            return self.conclude(i)
        if isinstance(i, Consult):
            return self.consult(i)
        if isinstance(i, CloseItems):
            return self.close_items()
        if isinstance(i, Drain):
            return self.flow.open_tasks.drain()
        assert isinstance(i, Settle), i
        return self.settle(i)

    def prepare(self) -> None:
        """Make the call ready. A stop of the run, or of the one it was called from, ends the wait."""
        assert self.preparation is not None, "asked of calls that have something to prepare"
        for future in self.preparation.futures:
            future.await_end(self._check_stopped)
        self._check_stopped()
        self.preparation.finish()

    def _check_stopped(self) -> None:
        """Raise `Stop` when this run, or the one it was called from, has been asked to stop."""
        reason = self.stop_reason
        if reason is None and self.outer is not None and self.outer.reason is not None:
            reason = CALLERS_TIMEOUT if self.outer.reason == TIMEOUT else self.outer.reason
        if reason is not None:
            raise Stop(reason)

    def consult(self, i: Consult) -> Any:
        """Ask a callable of the user's, in the run's own context."""
        token = CURRENT.set(self)
        try:
            return ask_user(i.role, i.fn, *i.args)
        finally:
            CURRENT.reset(token)

    def conclude(self, i: Conclude) -> Ending | None:
        """What the returned value makes of the run: the definition's rule."""
        unseen = self.flow.open_tasks.take_unseen() if i.settles else []
        if self.definition is None:
            return None
        ending: Ending | None = self.definition.conclude(self, i.value, unseen)
        self.ended_by = ending.error if ending is not None else None
        return ending

    def end_anyhow(self, exc: BaseException) -> None:
        """The script has ended by this: see to it that the run has ended as well."""
        recording.end_anyhow(self, exc)

    def abandon_open(self, reason: str) -> None:
        """The run is being ended by force: so is what it has under way. A task has nothing: its submissions are its flow's."""

    def run_hooks(self, proposed: str) -> None:
        """Call the user's hooks for the state that was entered: the one proposed, unless the run was cancelled in its place.

        A value from the cache has to be had first.
        """
        assert self.hooks is not None
        state = self.state
        if state is not None and state.name in self.hooks and state.name in (proposed, "Cancelled"):
            token = CURRENT.set(self)
            try:
                run_hooks(self, state)
            finally:
                CURRENT.reset(token)

    def recall(self, *, repeats: bool = True) -> Recalled:
        """What an earlier attempt knows of this call. Only tasks ask."""
        raise NotImplementedError

    @property
    def taint_inside(self) -> str:
        """The new or changed call that this run's code comes after from its beginning, "" when there is none."""
        raise NotImplementedError

    def new_lane_number(self) -> int:
        """What a new lane of its code is called in the record."""
        return self.flow.ledger.new_lane_number()

    @property
    def task_name(self) -> str:
        """The task's name; "" for a flow."""
        return ""

    def named_arguments(self) -> Mapping[str, Any]:
        """The call's arguments by name."""
        raise NotImplementedError

    def settle(self, i: Settle) -> None:
        """Wait for what was submitted. A task has nothing to settle: its submissions are its flow's."""
        raise NotImplementedError(i)

    # -- states

    def propose(self, i: Propose) -> Verdict | None:
        """Have a state recorded; the verdict, where it is waited for."""
        if self.is_abandoned:
            return None
        transition = transition_of(self, i)
        if not i.gate:
            self.engine.outbox.report(transition)
            self.told = self.seq
            return None
        return recording.taken(self, transition, self.engine.gate(transition))

    def begins_again(self) -> None:
        """Another attempt begins."""

    def ends(self, i: Propose) -> Result | None:
        """The run enters a last state: what is kept with it beside what was proposed; those who must know are told."""
        return i.result

    def record(self, state: State) -> tuple[FlowRun | None, TaskRun | None]:
        """The run's record, which its first transition carries."""
        raise NotImplementedError

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

    def next_item(self, i: Next) -> Item | Exhausted:
        """Have the user's generator go on, in a context of its own: its body sees itself as the current run, its reader does not."""
        region = self._stoppable()
        if self._context is None:
            self._context, self.own_s = contextvars.copy_context(), 0.0
            self._context.run(CURRENT.set, self)
            self.items = self._context.run(self.fn, *self.args, **self.kwargs)
            self.hands_items()
        items = self.items
        go_on = functools.partial(items.throw, i.thrown) if i.thrown is not None else functools.partial(items.send, i.sent)
        began = time.monotonic()
        try:
            return Item(call_with_timeout(region, self.left_s(), self._context.run, (go_on,), {}))
        except StopIteration as end:
            return Exhausted(end.value)
        except Exception:
            self._context = None  # a retry begins with a new generator
            raise
        finally:
            self.own_s += time.monotonic() - began

    def hands_items(self) -> None:
        """Its generator begins: its reader may never come to the end, and the run around it must not wait for that."""
        around = self.caller.flow if self.caller is not None else None
        if around is not None:
            around.open_tasks.read(self)

    def leave_unread(self) -> None:
        """Record the end of a generator that waits for a reader who did not come in time. What it still does is not recorded."""
        is_open = self.state is None or self.state.type not in FINAL
        if is_open and not self.is_abandoned and self.items is not None and not is_running(self.items):
            self.abandon_open(LEFT_UNREAD)
            self.perform(Propose(COMPLETED, "Completed", LEFT_UNREAD, gate=self.kind is RunKind.FLOW))
            self.is_abandoned = True

    def leave_at_exit(self) -> None:
        """The process ends: a generator that waits for a reader runs its `finally` blocks, as Python has it, while they can still be recorded."""
        if not is_running(self.items):
            try:
                self.close_items()
            except Exception as error:  # noqa: BLE001 its code's own, and nobody is there to catch it
                console.line("WARNING", f"{self.kind} run '{self.name}'", f"closing its generator failed: {described(error)}")
        self.leave_unread()

    def left_s(self) -> float | None:
        """How much of its time a generator has left; None: as much as it likes."""
        limit = self.policy.timeout_s
        return None if limit is None else max(limit - self.own_s, 0.0)

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
        region = self.region = Region(self.outer)
        if self.stop_reason is not None:
            raise Stop(self.stop_reason)
        return region

    def load(self, i: Load) -> Any:
        """A stored value."""
        return results.load(i.result, self.engine.blobs)

    def save(self, value: Any) -> Result:
        return results.save(value, self.engine.blobs, self.policy.serializer or self.flow.policy.serializer)


CURRENT: contextvars.ContextVar[Shell | None] = contextvars.ContextVar("legato_run", default=None)
"""The run whose user code is running here."""
lanes.current.run = CURRENT.get


def _runs_of_caller() -> list[str]:
    shell, ids = CURRENT.get(), []
    while shell is not None:
        ids.append(shell.run_id)
        shell = shell.caller
    return ids


waiting.runs.of_caller = _runs_of_caller


def is_running(items: Any) -> bool:
    """Whether a generator of either kind is running now."""
    return bool(getattr(items, "gi_running", False) or getattr(items, "ag_running", False))


def seconds_of(i: Sleep) -> float:
    """How long to sleep. An instant of another clock is trusted within a second: then the store is asked again."""
    return i.seconds if i.until is None else min(max((i.until - now()).total_seconds(), 0.01), 1.0)


@interruptible
def _doze(seconds: float) -> None:
    """Sleep in short stretches: a stop reaches a worker thread only between calls into C."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


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
    on: Any = NOTHING
    """What its function is called on."""
    lane: Lane | None = None
    """The lane it was called from."""
    sighting: Sighting | None = None
    """For those that ask for the end of a submitted call."""
    below = ""
    behind_edit: Callable[[str], str] | None = None
    """Tells whether it stands behind the place where its flow's code was edited."""
    unknown = ""
    """Why what it is called with cannot be compared, "" when it can."""
    seal: Seal | None = None
    _again: Again | None = None
    _was_asked = False
    has_changed = False
    """Whether its arguments were changed, by the call or while it waited."""
    beside: Beside | None = None
    """What looks at what else the call does."""
    hands_on_items = False
    """Whether its caller is given its items one by one: they cannot come from a cache."""
    _beside = ""
    _alias = ""

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
        caller: Shell | None,
        tags: tuple[str, ...] = (),
        upstream: tuple[str, ...] = (),
    ) -> None:
        self.engine = flow.engine  # as `Shell.__init__` does, without a call more for each task
        self.run_id = run_id
        self.name = name
        self.policy = policy
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.caller = caller
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
            self.propose(Propose(CANCELLED, "Cancelled", f"stopped: {reason}{ABANDONED}"))
        self.is_abandoned = True

    def begins_again(self) -> None:
        self.flow.open_tasks.forgive(by=self.run_id)

    def perform(self, i: Instruction) -> Any:
        if type(i) is Propose and not i.gate and self.hooks is None and not self.is_abandoned:  # `propose`, for most states of a task
            self.engine.outbox.report(transition_of(self, i))
            self.told = self.seq
            return None
        return Shell.perform(self, i)

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

    @property
    def taint_inside(self) -> str:
        again = self._again
        return self.below or (self.name if again is not None and again.taints_inside else "")

    def recall(self, *, repeats: bool = True) -> Recalled:
        ledger, call = self.flow.ledger, self.call_id
        self._was_asked = True
        if call is None:
            return Recalled()
        code = self.code() if self.code is not None else None
        found = ledger.recall(
            self.name,
            call,
            self.key,
            code=code,
            below=self.below,
            inputs=self.inputs,
            unknown=self.unknown,
            behind_edit=self.behind_edit,
            repeats=repeats,
        )
        if isinstance(found, Reuse):
            had = ledger.value_of(self.name, found, self.engine.blobs)
            if isinstance(had, Recalled):
                return self._reused(had)
            found = had
        if found is None:
            return Recalled()
        self._again = found
        return Recalled(found.why)

    def _reused(self, had: Recalled) -> Recalled:
        """An earlier value stands for this call's: what it was given it hands back itself, and whoever is given it depends on this call."""
        crashing.reached("task.reused")
        if self.seq == 0:
            self.propose(PENDING_STATE)
        result = had.result
        assert result is not None, "a value was had"
        self._remember(result)
        if result.alias:
            from legato.engine.identity.calls import with_aliases  # noqa: PLC0415 start-up time: most values hold nothing of what was given

            had = Recalled(had.why, result, with_aliases(had.value, result.alias, self.on, self.args, self.kwargs))
        if type(had.value) not in _UNTRACKED:
            self.flow.makers.made(had.value, self.run_id)
        return had

    def ends(self, i: Propose) -> Result | None:
        """What is kept, and what the ledger and whoever called are told: it decides about later calls, and about a retry of the flow."""
        if i.name == "Skipped":
            crashing.reached("task.skipped")
        result = i.result
        if (self.inputs or self.has_changed or self._alias or self._beside) and i.type is COMPLETED and i.name != "Cached":
            result = self._with_identity(result)
        ledger = self.flow.ledger
        if ledger.memory is not None:
            if not self._was_asked:
                self._was_asked = True
                ledger.was_not_asked(self.name, i.message or f"it was {i.name.lower()} before it began")
            self._tell_callers()
        if result is not None and self.call_id is not None and i.type is COMPLETED and i.name != "Cached" and result.hash:
            self._remember(result)
        return result

    def _with_identity(self, result: Result | None) -> Result:
        """What is to be known of the call beside its value: what its futures came to, whether it changed its arguments or holds them."""
        result = result or Result(serializer="", unavailable=NOT_TO_BE_STORED)
        beside = self._beside or result.beside
        changed = self.has_changed or bool(beside)
        return msgspec.structs.replace(result, inputs=self.inputs, changed=changed, alias=self._alias, beside=beside)

    def _tell_callers(self) -> None:
        """A new or changed call has ended: its lane comes after it, or whoever asks for its end will."""
        again = self._again
        changed = self.name if again is not None and (again.changed or self.below) else self.changed_inside
        if not changed:
            return
        if self.sighting is not None:
            self.sighting.changed = changed
        elif self.lane is not None and self.caller is not None:
            has_ended(self.caller, self.lane, changed)

    def _remember(self, result: Result) -> None:
        ledger, call = self.flow.ledger, self.call_id
        if call is not None and ledger.keeps_values:
            code = self.code() if self.code is not None else None
            ledger.made(Past(self.name, self.key, call, COMPLETED, self.run_id, result, code))

    def call(self) -> Any:
        if self.beside is not None:
            self.beside.begin()
        if self.elsewhere is not None:
            value = self.elsewhere(self)
        elif crashing.armed is not None or self.policy.timeout_s is not None:
            crashing.reached("task.before_code")
            value = Shell.call(self)
            crashing.reached("task.after_code")
        else:  # what `Shell.call` comes to without a timeout, one frame less
            region = self.region = Region(self.outer)
            if self.stop_reason is not None:
                raise Stop(self.stop_reason)
            token = CURRENT.set(self)
            try:
                value = region.call(self.fn, self.args, self.kwargs)
            finally:
                CURRENT.reset(token)
        if type(value) not in _UNTRACKED or self.flow.ledger.keeps_values or self.seal is not None or self.beside is not None:
            self.gave(value)
        return value

    def gave(self, value: Any) -> None:
        """Note what the user's function returned."""
        if self.seal is not None:
            self._look_again(value)
        if self.beside is not None:
            self.flow.makers.let_go(value)
            given = self.args if self.on is NOTHING else (self.on, *self.args)
            self._beside = self.beside.found(value, given, self.kwargs, is_plain=type(value) in _UNTRACKED)
        if type(value) not in _UNTRACKED:
            self.flow.makers.made(value, self.run_id)
        if self.call_id is not None and not self.policy.persist:
            self._keep(value)

    def _look_again(self, value: Any) -> None:
        """Whether the call has changed its arguments, and whether its value holds them."""
        from legato.engine.identity.calls import alias_of  # noqa: PLC0415 start-up time: few calls are sealed

        assert self.seal is not None, "asked of calls that are sealed"
        self.has_changed = self.has_changed or self.seal.is_broken(self.args, self.kwargs)
        self._alias = "" if self.has_changed or type(value) in _UNTRACKED else alias_of(value, self.on, self.args, self.kwargs)

    def load(self, i: Load) -> Any:
        """A value from the cache: what the call was given it hands back itself, and whoever is given it depends on this call.

        Raises `ResultMissing` when it cannot be had any more; the cache is asked for what is stored later, and a second time for nothing.
        """
        try:
            value = Shell.load(self, i)
        except ResultMissing:
            if self.cache is not None and self.state is not None:
                is_second = self.cache.newer_than is not None
                self.cache = msgspec.structs.replace(self.cache, newer_than=self.state.at, refresh=is_second)
            raise
        if i.result.alias:
            from legato.engine.identity.calls import with_aliases  # noqa: PLC0415 start-up time: most values hold nothing of what was given

            value = with_aliases(value, i.result.alias, self.on, self.args, self.kwargs)
        if type(value) not in _UNTRACKED:
            self.flow.makers.made(value, self.run_id)
        return value

    def _keep(self, value: Any) -> None:
        """Keep an unstored value for a retry of the flow in this process, serialised: the object itself may be changed meanwhile."""
        ledger = self.flow.ledger
        if ledger.keeps_values:
            result = results.snapshot(value) if results.weight_of(value) < ledger.room else results.TOO_LARGE
            self._remember(self._with_identity(result))


class FlowShell(Shell):
    """One flow run, and what its tasks share: names, the runner, the tasks under way, and who made which value."""

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
        self.lane: Lane | None = None
        self.below = ""
        self.seal: Seal | None = None
        self.beside: Beside | None = None
        self._beside = ""
        self.code: Mapping[str, str] | None = None
        self.body = ""
        """One hash for the body of its function, "" when nobody will want to know."""
        self.edits: Callable[[], Callable[[str], str] | None] | None = None
        """Asked at each of its calls when it goes on: whether that stands behind the place where the code was edited."""
        self.knows_calls = True
        """Whether it is worth while to know exactly what its calls are made with: something is, or may be, stored."""
        self.recalled: Recalled | None = None
        self.parameters: Mapping[str, Any] = {}
        self.suspending = False
        self.interrupted = False
        """Whether the next call from this flow's code must stop first: to pause, or to unwind."""
        self.hold: RunInput | None = None
        """The question that a person's wish to pause has put, while it is open: all calls that are held meanwhile wait for its answer."""
        self.went_on_s = -math.inf
        """When it last went on after such a question, as the monotonic clock has it."""
        self.quiet = False
        """Whether nothing is said on the console when it begins and ends."""
        self.children: weakref.WeakSet[FlowShell] = weakref.WeakSet()
        if parent is not None:
            parent.children.add(self)
        self._new_run = new_run
        self._make_runner = make_runner
        self._runner: TaskRunner | None = None
        self.open_tasks = OpenTasks()
        self.makers = Makers()
        self._counters: dict[str, itertools.count[int]] = {}
        self.background: Background | None = None
        self.ends_at: float | None = None
        """When the time of this attempt is over, as the monotonic clock has it."""
        self.questions = 0
        """How many of its questions to people are open; changed under `asking`."""
        self.asking = threading.Lock()

    def record(self, state: State) -> tuple[FlowRun | None, TaskRun | None]:
        return (msgspec.structs.replace(self._new_run, state=state) if self._new_run else None), None

    def call(self) -> Any:
        crashing.reached("flow.before_code")
        self.begin_clock()
        if self.beside is not None:
            self.beside.begin()
        try:
            value = super().call()
        except BaseException:
            self.check_suspended()  # also when user code has caught it, or wrapped it in a group
            raise
        self.check_suspended()
        crashing.reached("flow.after_code")
        self.gave(value)
        return value

    def gave(self, value: Any) -> None:
        """Note what the user's function returned."""
        if self.beside is not None:
            self.makers.let_go(value)
            self._beside = self.beside.found(value, self.args, self.kwargs, is_plain=type(value) in _UNTRACKED)

    def begin_clock(self) -> None:
        """An attempt begins: its time runs."""
        limit = self.policy.timeout_s
        self.ends_at = None if limit is None else time.monotonic() + limit

    def check_suspended(self) -> None:
        if self.suspending:
            raise Suspend from None

    def begins_again(self) -> None:
        self.open_tasks.forgive()
        self.ledger.restart()
        self.lanes, self.changed_inside = None, ""

    def ends(self, i: Propose) -> Result | None:
        if self.parent is None or self.call_id is None:
            return i.result
        return self._tell_parent(self.parent.ledger, self.call_id, i)

    @property
    def taint_inside(self) -> str:
        again = self.again
        return self.below or (self.name if again is not None and again.taints_inside else "")

    def _tell_parent(self, ledger: Ledger, call: CallId, i: Propose) -> Result | None:
        """What came of this call, for the ledger of the flow that made it, and for the lane it was called from."""
        changed = self.name if self.again is not None and (self.again.changed or self.below) else self.changed_inside
        if changed and ledger.memory is not None and self.lane is not None and self.caller is not None:
            has_ended(self.caller, self.lane, changed)
        result = i.result
        if i.type is COMPLETED and result is not None:
            if self.seal is not None and self.seal.is_broken((), self.parameters):
                result = msgspec.structs.replace(result, changed=True)
            if self._beside:
                result = msgspec.structs.replace(result, changed=True, beside=self._beside)
            if ledger.keeps_values:
                ledger.made(Past(self.name, f"flow {self.flow_name}", call, COMPLETED, self.run_id, result, self.code))
        return result

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

    def pause(self, asked_s: float = math.inf) -> None:
        """Have this flow, and the flows it is running, pause before their next call.

        `asked_s`: when the store was asked whether somebody wishes it. An answer to what was asked before the flow went on may tell of the
        wish that it has followed by then.
        """
        with self.asking:
            if asked_s > self.went_on_s:
                self.interrupted = True
        for child in list(self.children):
            child.pause(asked_s)

    def goes_on(self) -> None:
        """A person's word to go on is for this flow, and for those around it: they were held by one wish."""
        flow: FlowShell | None = self
        while flow is not None:
            with flow.asking:
                flow.went_on_s, flow.interrupted = time.monotonic(), flow.suspending
            flow = flow.parent
        self.hold = None

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

    # -- submitted tasks

    @property
    def runner(self) -> TaskRunner:
        """The flow's task runner, made when it is first wanted."""
        if self._runner is None:
            self._runner = self._make_runner()
        return self._runner

    def settle(self, i: Settle) -> None:
        self.open_tasks.settle(i, self.ends_at, self._check_stopped)

    def abandon_open(self, reason: str) -> None:
        self.open_tasks.stop(reason)
        self.open_tasks.abandon(reason)
        self.open_tasks.leave_unread()

    def stop(self, reason: str) -> None:
        super().stop(reason)
        self.open_tasks.stop(reason)

    def close(self) -> None:
        """Let go of threads and the loop. The run has ended, so what goes wrong here is told and changes nothing."""
        for opened in (self._runner, self.background):
            if opened is not None:
                try:
                    opened.close()
                except Exception as error:  # noqa: BLE001 a cluster's own clean-up may raise anything
                    console.line("WARNING", f"flow run '{self.name}'", f"closing its task runner failed: {described(error)}")
        self.makers.clear()
