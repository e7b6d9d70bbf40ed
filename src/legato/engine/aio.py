"""The engine on an event loop: the async driver, and what its shells do there.

Everything that needs asyncio is here: importing asyncio costs three times the start of an interpreter, and sync flows never need it.
The control flow itself is in `script`; this is the twin of `drive` and of the shells' sync ways, and of nothing else.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

from legato import crashing
from legato.engine import recording
from legato.engine.futures import Future, ended, on_loop
from legato.engine.guarded import ask_user_async
from legato.engine.open_tasks import OpenTasks, seconds_to_settle
from legato.engine.script import (
    CALL,
    CANCEL,
    TIMEOUT,
    CloseItems,
    Conclude,
    Consult,
    Exhausted,
    Hand,
    Instruction,
    Item,
    Next,
    Prepare,
    Propose,
    RecallPast,
    Save,
    Script,
    Settle,
    Sleep,
    Stop,
)
from legato.engine.shell import CURRENT, FlowShell, Shell, TaskShell, seconds_of
from legato.engine.signals import interruptible


async def adrive(script: Script, shell: Any, perform: Callable[[Instruction], Awaitable[Any]] | None = None) -> Any:
    """`drive` on an event loop. asyncio's cancellation is shown to the script as a `Stop`, and handed back to asyncio at the end.

    `shell` is what `drive` takes; `perform` does what the script asks, in place of `aperform`.
    """
    cancelled: asyncio.CancelledError | None = None
    try:
        instruction = next(script)
        while True:
            try:
                reply = await (aperform(shell, instruction) if perform is None else perform(instruction))
            except asyncio.CancelledError as exc:
                cancelled = exc
                instruction = script.throw(Stop(CANCEL))
            except GeneratorExit:  # its loop has gone: nothing can be awaited any more
                script.close()
                raise
            except BaseException as exc:  # noqa: BLE001 the script decides about every exception
                instruction = script.throw(exc)
            else:
                instruction = script.send(reply)
    except StopIteration as end:
        if cancelled is not None:
            raise cancelled from None
        return end.value
    except BaseException as exc:
        shell.end_anyhow(exc)
        if cancelled is not None:
            raise cancelled from None
        raise


async def adrive_stream(script: Script, shell: Shell) -> AsyncGenerator[Any, Any]:
    """`drive_stream` on an event loop: an async generator of a script's items. What the script returns is dropped, as async generators must."""
    cancelled: asyncio.CancelledError | None = None
    try:
        instruction = next(script)
        while True:
            try:
                reply = (yield instruction.item) if type(instruction) is Hand else await aperform(shell, instruction)
            except asyncio.CancelledError as exc:
                cancelled = exc
                instruction = script.throw(Stop(CANCEL))
            except BaseException as exc:  # noqa: BLE001 the script decides about every exception
                instruction = script.throw(exc)
            else:
                instruction = script.send(reply)
    except StopIteration:
        if cancelled is not None:
            raise cancelled from None
    except BaseException as exc:
        shell.end_anyhow(exc)
        if cancelled is not None:
            raise cancelled from None
        raise


async def aperform(shell: Shell, i: Instruction) -> Any:
    """Do what a script asks, without holding up the loop: what waits for the store or a file does so in a thread."""
    if isinstance(i, Propose):
        verdict = await _propose(shell, i)
        if shell.hooks is not None:
            shell.run_hooks(i.name)
        return verdict
    if i is CALL:
        return await _call(shell)
    twin = _TWINS.get(type(i))
    return shell.perform(i) if twin is None else await twin(shell, i)


async def _sleep(shell: Shell, i: Sleep) -> None:
    crashing.reached("task.waiting")
    await _region_of(shell).call(asyncio.sleep, (seconds_of(i),), {}, None)


async def _close_items(shell: Shell, _: CloseItems) -> None:
    if shell.items is not None:
        await shell.items.aclose()


async def _recall(shell: Shell, i: RecallPast) -> Any:
    return await asyncio.to_thread(shell.perform, i)


async def _save(shell: Shell, i: Save) -> Any:
    return await asyncio.to_thread(shell.save, i.value)


async def _prepare(shell: Shell, _: Prepare) -> None:
    assert shell.preparation is not None, "asked of calls that have something to prepare"
    await _region_of(shell).call(_all_ended, (shell.preparation.futures,), {}, None)
    shell.preparation.finish()


async def _all_ended(futures: Sequence[Future[Any]]) -> None:
    for future in futures:
        await ended(future)


async def _conclude(shell: Shell, i: Conclude) -> Any:
    if shell.definition is not None:
        await _region_of(shell).call(_all_ended, (shell.definition.returned_futures(i.value),), {}, None)
    return shell.conclude(i)


async def _consult(shell: Shell, i: Consult) -> Any:
    """Ask a callable of the user's: a coroutine function is awaited here, where the flow's own loop is."""
    token = CURRENT.set(shell)
    try:
        return await ask_user_async(i.role, i.fn, *i.args)
    finally:
        CURRENT.reset(token)


async def _settle(shell: Shell, i: Settle) -> None:
    """The twin of `OpenTasks.settle`."""
    assert isinstance(shell, FlowShell), "a task has nothing to settle"
    open_tasks = shell.open_tasks
    open_tasks.stop(i.stop)
    try:
        async with asyncio.timeout(seconds_to_settle(i, shell.ends_at)):
            if i.stop:
                await _none_under_way(open_tasks)
            else:  # a stop that comes now ends the wait
                await _region_of(shell).call(_none_under_way, (open_tasks,), {}, None)
    except TimeoutError:
        open_tasks.out_of_time(i)
    open_tasks.settled()


async def _none_under_way(open_tasks: OpenTasks) -> None:
    while (future := open_tasks.one_under_way()) is not None:
        await ended(future)


async def _propose(shell: Shell, i: Propose) -> Any:
    if shell.is_abandoned:
        return None
    transition = recording.transition_of(shell, i)
    if not i.gate:
        shell.engine.outbox.add(transition)
        shell.told = shell.seq
        return None
    return recording.taken(shell, transition, await asyncio.shield(asyncio.to_thread(shell.engine.gate, transition)))


async def _call(shell: Shell) -> Any:
    region = _region_of(shell)
    if isinstance(shell, FlowShell):
        shell.begin_clock()
    token = CURRENT.set(shell)
    crashing.reached("task.before_code" if isinstance(shell, TaskShell) else "flow.before_code")
    if isinstance(shell, (TaskShell, FlowShell)) and shell.beside is not None:
        shell.beside.begin()
    try:
        value = await region.call(shell.fn, shell.args, shell.kwargs, shell.policy.timeout_s)
    except BaseException:
        shell.check_suspended()  # also when user code has caught it, or wrapped it in a group
        raise
    finally:
        CURRENT.reset(token)
    shell.check_suspended()
    crashing.reached("task.after_code" if isinstance(shell, TaskShell) else "flow.after_code")
    if isinstance(shell, (TaskShell, FlowShell)):
        shell.gave(value)
    return value


async def _next(shell: Shell, i: Next) -> Item | Exhausted:
    """Have an async generator go on. Its body sees itself as the current run, its reader does not."""
    region = _region_of(shell)
    token = CURRENT.set(shell)
    began = time.monotonic()
    try:
        if shell.items is None:
            shell.items, shell.own_s = shell.fn(*shell.args, **shell.kwargs), 0.0
            shell.hands_items()
        go_on, with_ = (shell.items.athrow, i.thrown) if i.thrown is not None else (shell.items.asend, i.sent)
        return Item(await region.call(go_on, (with_,), {}, shell.left_s()))
    except StopAsyncIteration:
        return Exhausted(None)
    except Exception:
        shell.items = None  # a retry begins with a new generator
        raise
    finally:
        shell.own_s += time.monotonic() - began
        CURRENT.reset(token)


_TWINS: dict[type, Callable[[Any, Any], Awaitable[Any]]] = {
    Sleep: _sleep,
    Next: _next,
    CloseItems: _close_items,
    RecallPast: _recall,
    Save: _save,
    Prepare: _prepare,
    Conclude: _conclude,
    Consult: _consult,
    Settle: _settle,
}
"""Instruction -> how it is performed on a loop, for those that wait. The others are performed as anywhere."""


def _region_of(shell: Shell) -> AsyncRegion:
    region = AsyncRegion()
    shell.region = region
    if shell.stop_reason is not None:
        raise Stop(shell.stop_reason)
    return region


class AsyncRegion:
    """A stretch of async user code: the asyncio task that runs it. The twin of `stops.Region`."""

    __slots__ = ("_loop", "_task", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    @interruptible
    async def call(self, fn: Callable[..., Any], args: Any, kwargs: Any, timeout_s: float | None) -> Any:
        """Await `fn` as this region. Raises `Stop` with its reason when it was stopped or took longer than `timeout_s`."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        limit = asyncio.timeout(timeout_s)
        try:
            self._check()
            async with limit:
                value = await fn(*args, **kwargs)
        except (Exception, asyncio.CancelledError):
            if (stop := self._stop(limit)) is not None:  # whatever its code made of being stopped
                raise stop from None
            raise
        else:
            if (stop := self._stop(limit)) is not None:
                raise stop
            return value
        finally:
            self._task = None

    def _stop(self, limit: asyncio.Timeout) -> Stop | None:
        """What ended this region from outside, if anything did: also when its code has swallowed that, or has held the loop past its time."""
        if self.reason is not None:
            if self._task is not None and self._task.cancelling():
                self._task.uncancel()
            return Stop(self.reason)
        until = limit.when()
        late = until is not None and self._loop is not None and self._loop.time() > until
        return Stop(TIMEOUT) if limit.expired() or late else None

    def _check(self) -> None:
        if self.reason is not None:
            raise Stop(self.reason)

    def stop(self, reason: str) -> None:
        """Ask for it to end, from any thread."""
        if self.reason is None:
            self.reason = reason
            if self._task is not None and self._loop is not None:
                on_loop(self._loop, self._cancel)()

    def _cancel(self) -> None:
        if self._task is not None:  # else it has ended meanwhile, and what the loop does now is somebody else's
            self._task.cancel()


async def _into(future: Future[Any], coroutine: Coroutine[Any, Any, Any]) -> None:
    """Await a coroutine, and put what it gives or raises into a future."""
    try:
        value = await coroutine
    except BaseException as exc:  # noqa: BLE001 handed to whoever asks for the result
        future.fail(exc)
    else:
        future.finish(value)


def start(future: Future[Any], coroutine: Coroutine[Any, Any, Any], flow: FlowShell, context: contextvars.Context) -> None:
    """Run a coroutine, for a future, on the loop that the submitting code runs on; for sync code, on the flow's own.

    The kind of the submitting function decides, not whether a loop is running: a notebook's loop, or one that a library keeps in this
    thread, stands still while a sync flow waits for its futures.
    """
    submitter = CURRENT.get()
    if submitter is not None and isinstance(submitter.region, AsyncRegion):
        future.loop = asyncio.get_running_loop()
        _keep(future.loop.create_task(_into(future, coroutine), context=context))
        return
    if flow.background is None:
        flow.background = BackgroundLoop()
    future.loop = flow.background.loop
    flow.background.start(_into(future, coroutine), context)


_CLOSING_S = 0.2
"""A loop that nothing blocks has stopped by then; one that is blocked is left to its daemon thread."""


class BackgroundLoop:
    """An event loop on a thread of its own: where a sync flow's submitted async tasks run."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="legato-async-tasks", daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, Any], context: contextvars.Context) -> None:
        """Run a coroutine there, in `context`."""
        self.loop.call_soon_threadsafe(lambda: _keep(self.loop.create_task(coroutine, context=context)))

    def close(self) -> None:
        """Stop the loop. Nothing runs on it any more, the flow has settled its tasks, but for what blocks it and was abandoned."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CLOSING_S)
        if not self._thread.is_alive():
            self.loop.close()


_kept: set[asyncio.Task[Any]] = set()


def _keep(task: asyncio.Task[Any]) -> None:
    """The loop holds its tasks weakly; hold them until they are done."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)
