"""Transactions: a block of a flow whose tasks are undone together when it fails, and confirmed together when it succeeds.

A task says how by its hooks `on_rollback` and `on_commit`, which are given the transaction. The outermost block's success calls the commit
hooks in the order in which the tasks began; a block that raises calls the rollback hooks of its tasks in reverse, also those of the task that
failed. A block with a `key` is done once: its commit is recorded in the store, as a task run whose cached result are the values that were set.

There is no two-phase commit here: hooks are ordinary code, run at least once, and a process that is killed runs none of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping
from contextvars import Token
from types import CoroutineType, TracebackType
from typing import Any, Self, TypeAlias

from legato.core.errors import RunCancelled, UpstreamFailed, UsageError
from legato.core.records import CacheAsk, LogLine, Verdict, VerdictKind
from legato.core.states import COMPLETED, FAILED, FINAL, State
from legato.engine.drive import drive
from legato.engine.futures import SCOPE, Future
from legato.engine.hooks import Hooks
from legato.engine.runtime import RunView
from legato.engine.script import Instruction, Load, Policy, Propose, Save, Suspend, admitted
from legato.engine.shell import CURRENT, FlowShell, TaskShell
from legato.logs import console
from legato.sdk.caching import enclosing, would_hold_up_a_loop
from legato.sdk.definitions import Definition
from legato.store.columns import token
from legato.system import new_id, now

TransactionHook: TypeAlias = Callable[["Transaction"], Any]

_MISSING = object()
_POLICY = Policy(persist=True, gated=True)
_ACTIVE, _STAGED, _COMMITTED, _ROLLED_BACK = "active", "staged", "committed", "rolled back"


class Transaction:
    """What `transaction()` gives, and what hooks are given. `set` and `get` carry values from the tasks to their hooks."""

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.parent: Transaction | None = SCOPE.get()
        self._values: dict[str, Any] = {}
        self._steps: list[_Step | Transaction] = []
        self._status = _ACTIVE
        self._was_committed = False
        self._shell: TaskShell | None = None
        self._flow: FlowShell | None = None
        self._token: Token[Any] | None = None

    def __repr__(self) -> str:
        return f"<transaction {self.key!r}: {self._status}>" if self.key else f"<transaction: {self._status}>"

    # ------------------------------------------------------------------ what users ask and say

    def set(self, name: str, value: Any) -> None:
        """Remember a value for the hooks; with a key, for whoever finds the transaction committed as well."""
        self._values[name] = value

    def get(self, name: str, default: Any = _MISSING) -> Any:
        """The value that was set here, or in a block around this one. Raises `UsageError` when there is none, and no default is given."""
        scope: Transaction | None = self
        while scope is not None:
            if name in scope._values:  # noqa: SLF001 of the same class
                return scope._values[name]  # noqa: SLF001 of the same class
            scope = scope.parent
        if default is _MISSING:
            raise UsageError(f"the transaction has no value '{name}'", hint="set it with txn.set(...), or give get() a default")
        return default

    def is_committed(self) -> bool:
        """Whether it has been committed: just now, or, with a key, ever before. Ask at the top of the block, and leave out what is done."""
        return self._was_committed or self._status == _COMMITTED

    def is_rolled_back(self) -> bool:
        """Whether its rollback hooks were called."""
        return self._status == _ROLLED_BACK

    # ------------------------------------------------------------------ the block

    def __enter__(self) -> Self:
        shell = self._begin()
        if shell is not None:
            self._take(drive(_start(), shell))
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._close()
        if isinstance(exc, Suspend):
            self._let_go()
            return
        for future in self._unfinished():
            future.wait()
        failed = self._failed(exc)
        for call in self._end(failed):
            call()
        if failed is not None and exc is None:
            raise failed

    async def __aenter__(self) -> Self:
        from legato.engine.aio import adrive  # noqa: PLC0415 start-up time: sync flows never need asyncio

        shell = self._begin()
        if shell is not None:
            self._take(await adrive(_start(), shell))
        self._open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        import asyncio  # noqa: PLC0415 it is running here

        from legato.engine.futures import ended  # noqa: PLC0415 it needs asyncio

        self._close()
        if isinstance(exc, Suspend):
            self._let_go()
            return
        for future in self._unfinished():
            await ended(future)
        failed = self._failed(exc)
        for call in self._end(failed):
            outcome = call() if isinstance(call, _HookCall) else await asyncio.to_thread(call)
            if isinstance(outcome, CoroutineType):
                await call.finished(outcome)
        if failed is not None and exc is None:
            raise failed

    def _begin(self) -> TaskShell | None:
        """Check where the block stands; the shell of the task run that records it, if it has a key."""
        current = CURRENT.get()
        self._flow = current.flow if current is not None else None
        if self.key is None:
            return None
        if current is None or self._flow is None:
            raise UsageError(f"transaction(key={self.key!r}) was opened outside a flow", hint="open it inside a function with @flow")
        if getattr(self._flow.engine.store, "answers_later", False):
            raise UsageError(
                f"transaction(key={self.key!r}) cannot be opened by a task on a cluster's worker: nobody there can say whether it is done",
                hint="open it in the flow, or in a task on threads or processes",
            )
        shell = TaskShell(
            self._flow, new_id(), f"transaction {self.key}", _POLICY, _nothing, (), {}, key="legato.transaction", caller=current
        )
        shell.parent_task_id = current.run_id if current is not self._flow else None
        key = token(f"transaction/{self.key}")
        shell.cache_key = key
        shell.cache = CacheAsk(key=key, policy="transaction", patient=not would_hold_up_a_loop(), within=enclosing(shell))
        self._shell = shell
        return shell

    def _take(self, values: Mapping[str, Any] | None) -> None:
        if values is not None:
            self._was_committed = True
            self._values.update(values)

    def _open(self) -> None:
        self._token = SCOPE.set(self)

    def _close(self) -> None:
        if self._token is not None:
            SCOPE.reset(self._token)
            self._token = None

    def _let_go(self) -> None:
        """The flow is suspended: nothing is undone, for it goes on later, and what it has done then counts."""
        if self._shell is not None and not self._was_committed:
            self._shell.propose(Propose(FAILED, "Failed", "its flow was suspended", gate=True))

    def _unfinished(self) -> list[Future[Any]]:
        """Tasks that were submitted in the block and have not ended."""
        return [future for future in self._flow.open_tasks.under_way() if _is_inside(future.scope, self)] if self._flow is not None else []

    def _failed(self, exc: BaseException | None) -> BaseException | None:
        """Why the block is to be undone: what it raised, or a task submitted in it whose failure nobody has seen."""
        if exc is not None or self._flow is None:
            return exc
        failed = [future for future in self._flow.open_tasks.failed() if _is_inside(future.scope, self) and future.unseen_failure]
        if not failed:
            return None
        first = failed[0]
        error = UpstreamFailed(f"task run '{first.name}' did not complete: {type(first.failure).__name__}: {first.failure}")
        error.__cause__ = first.failure
        first.seen = True
        return error

    def _end(self, failed: BaseException | None) -> Generator[Any, None, None]:
        """What is to be called now, one after the other."""
        if failed is not None:
            yield from self._undo(failed)
        elif self.parent is not None and self.parent._status == _ACTIVE:  # noqa: SLF001 of the same class
            self._status = _STAGED
            self.parent._steps.append(self)  # noqa: SLF001 of the same class
        else:
            yield from self._confirm()

    def _confirm(self) -> Generator[Any, None, None]:
        for step in self._steps:
            if isinstance(step, Transaction):
                yield from step._confirm()  # noqa: SLF001 of the same class
            elif step.has_completed:
                yield from (_HookCall(self, hook, step) for hook in step.hooks("on_commit"))
        self._status = _COMMITTED
        if self._shell is not None and not self._was_committed:
            yield self._record_commit

    def _undo(self, failed: BaseException) -> Generator[Any, None, None]:
        self._status = _ROLLED_BACK
        for step in reversed(self._steps):
            if isinstance(step, Transaction):
                yield from step._undo(failed)  # noqa: SLF001 of the same class
            else:
                yield from (_HookCall(self, hook, step) for hook in step.hooks("on_rollback"))
        if self._shell is not None and not self._was_committed and self._shell.state is not None and self._shell.state.type not in FINAL:
            why = f"rolled back: {type(failed).__name__}: {failed}".split("\n", 1)[0][:500]
            yield functools.partial(self._shell.propose, Propose(FAILED, "Failed", why, gate=True))

    def _record_commit(self) -> None:
        shell = self._shell
        assert shell is not None, "only a transaction with a key is recorded"
        result = shell.perform(Save(self._values))
        if result.unavailable:
            self.say("WARNING", f"the values of transaction '{self.key}' are not kept: {result.unavailable}")
            result = shell.perform(Save({}))
        shell.propose(Propose(COMPLETED, "Completed", gate=True, result=result))

    # ------------------------------------------------------------------ tasks and hooks

    def run_ids(self) -> list[str]:
        """The task runs that record this block and those around it."""
        own = [self._shell.run_id] if self._shell is not None else []
        return own + (self.parent.run_ids() if self.parent is not None else [])

    def stage(self, definition: Any, view: RunView) -> None:
        """A task with hooks has begun in this block."""
        self._steps.append(_Step(definition, view))

    def say(self, level: str, text: str) -> None:
        """A line in the flow run's log and on the console."""
        console.line(level, repr(self), text)
        if self._flow is not None:
            line = LogLine(self._flow.run_id, now(), console.LEVELS[level], "legato.transactions", text)
            self._flow.engine.outbox.report(line)


class _Step:
    """One task run of a block, with its hooks."""

    def __init__(self, definition: Definition[Any, Any], view: RunView) -> None:
        self._options = definition.options
        self._view = view

    def hooks(self, option: str) -> tuple[TransactionHook, ...]:
        given = self._options.get(option) or ()
        return (given,) if callable(given) else tuple(given)

    @property
    def has_completed(self) -> bool:
        state = self._view.state
        return state is not None and state.type is COMPLETED

    @property
    def name(self) -> str:
        return self._view.name


class _HookCall:
    """A hook that is to be called. What it raises is told and keeps no other from being called."""

    def __init__(self, txn: Transaction, hook: TransactionHook, step: _Step) -> None:
        self._txn, self._hook, self._step = txn, hook, step

    def __call__(self) -> Any:
        try:
            outcome = self._hook(self._txn)
        except Exception as error:  # noqa: BLE001 a hook is user code
            self._tell(error)
            return None
        if isinstance(outcome, CoroutineType) and not would_hold_up_a_loop():
            import asyncio  # noqa: PLC0415 an async hook in a sync flow

            try:
                asyncio.run(outcome)
            except Exception as error:  # noqa: BLE001 a hook is user code
                self._tell(error)
            return None
        return outcome

    async def finished(self, outcome: CoroutineType[Any, Any, Any]) -> None:
        try:
            await outcome
        except Exception as error:  # noqa: BLE001 a hook is user code
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        name = getattr(self._hook, "__name__", repr(self._hook))
        self._txn.say("ERROR", f"hook {name} of task run '{self._step.name}' failed: {type(error).__name__}: {error}")


def transaction(key: str | None = None) -> Transaction:
    """A block whose tasks succeed or are undone together; it is entered by `with`, in async flows by `async with`.

    With a `key` it is done once, by one run at a time: others wait, and then find `txn.is_committed()` true and the values that were set.
    """
    return Transaction(key)


def with_staging(hooks: Hooks | None) -> Hooks:
    """A task's hooks, with the one by which it joins the transaction it is in."""
    before = hooks or {}
    return {**before, **{name: (stage, *before.get(name, ())) for name in ("Running", "Cached")}}


def stage(definition: Any, view: RunView, state: State) -> None:
    """The hook by which a task that has begun joins the transaction it is in. One that was answered from the cache did nothing here."""
    scope: Transaction | None = SCOPE.get()
    if scope is not None and not (state.name == "Cached" and view.asked_the_cache):
        scope.stage(definition, view)


def _start() -> Generator[Instruction, Any, Mapping[str, Any] | None]:
    """Ask to begin; returns the values of an earlier commit, if there was one."""
    verdict: Verdict | None = yield from admitted(1, gated=True)
    if verdict is None or verdict.kind is VerdictKind.ACCEPTED:
        return None
    if verdict.kind is VerdictKind.INSTEAD and verdict.result is not None:
        values: Mapping[str, Any] = yield Load(verdict.result)
        return values
    raise RunCancelled(f"not started: {verdict.reason or 'the store refused'}")


def _is_inside(scope: Transaction | None, txn: Transaction) -> bool:
    while scope is not None:
        if scope is txn:
            return True
        scope = scope.parent
    return False


def _nothing() -> None:
    """The function of a transaction's own task run: the block is the user's, and runs in place."""
