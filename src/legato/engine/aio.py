"""The engine on an event loop: the async driver, and what its shells do there.

Everything that needs asyncio is here: importing asyncio costs three times the start of an interpreter, and sync flows never need it.
The control flow itself is in `script`; this is the twin of `drive` and of the shells' sync ways, and of nothing else.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

from legato import crashing
from legato.engine.futures import Future, ended
from legato.engine.script import (
    CANCEL,
    TIMEOUT,
    Call,
    CloseItems,
    Exhausted,
    Hand,
    Instruction,
    Item,
    Next,
    Propose,
    RecallPast,
    Save,
    Script,
    Settle,
    Sleep,
    Stop,
)
from legato.engine.shell import ABANDON_AFTER_S, CURRENT, FlowShell, Shell, TaskShell, seconds_of


async def adrive(script: Script, shell: Shell, perform: Callable[[Instruction], Awaitable[Any]] | None = None) -> Any:
    """`drive` on an event loop. asyncio's cancellation is shown to the script as a `Stop`, and handed back to asyncio at the end.

    `perform` does what the script asks, in place of `aperform`.
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
            except BaseException as exc:  # noqa: BLE001 the script decides about every exception
                instruction = script.throw(exc)
            else:
                instruction = script.send(reply)
    except StopIteration as end:
        if cancelled is not None:
            raise cancelled from None
        return end.value
    except BaseException:
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
    except BaseException:
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
    if isinstance(i, Call):
        return await _call(shell)
    if isinstance(i, Sleep):
        crashing.reached("task.waiting")
        return await _region_of(shell).call(asyncio.sleep, (seconds_of(i),), {}, None)
    if isinstance(i, Next):
        return await _next(shell, i.sent)
    if isinstance(i, CloseItems):
        return await shell.items.aclose() if shell.items is not None else None
    if isinstance(i, RecallPast):
        return await asyncio.to_thread(shell.recall)
    if isinstance(i, Settle) and isinstance(shell, FlowShell):
        return await _settle(shell, i)
    if isinstance(i, Save):
        return await asyncio.to_thread(shell.save, i.value)
    return shell.perform(i)


async def _settle(shell: FlowShell, i: Settle) -> list[str]:
    shell.stop_tasks(i.stop)
    try:
        async with asyncio.timeout(ABANDON_AFTER_S if i.stop else None):
            while (future := shell.an_open_future()) is not None:
                await ended(future)
    except TimeoutError:
        shell.abandon_tasks(i.stop)
    crashing.reached("flow.settled")
    return shell.unseen_failures()


async def _propose(shell: Shell, i: Propose) -> Any:
    transition = shell.transition(i)
    if not i.gate:
        shell.engine.outbox.add(transition)
        return None
    return shell.taken(transition, await asyncio.shield(asyncio.to_thread(shell.engine.gate, transition)))


async def _call(shell: Shell) -> Any:
    region = _region_of(shell)
    token = CURRENT.set(shell)
    crashing.reached("task.before_code" if isinstance(shell, TaskShell) else "flow.before_code")
    try:
        value = await region.call(shell.fn, shell.args, shell.kwargs, shell.policy.timeout_s)
    except BaseException:
        shell.check_suspended()  # also when user code has caught it, or wrapped it in a group
        raise
    finally:
        CURRENT.reset(token)
    shell.check_suspended()
    crashing.reached("task.after_code" if isinstance(shell, TaskShell) else "flow.after_code")
    if isinstance(shell, TaskShell):
        shell.gave(value)
    return value


async def _next(shell: Shell, sent: Any) -> Item | Exhausted:
    """Have an async generator go on. Its body sees itself as the current run, its reader does not."""
    region = _region_of(shell)
    if shell.items is None:
        shell.items = shell.fn(*shell.args, **shell.kwargs)
    token = CURRENT.set(shell)
    try:
        return Item(await region.call(shell.items.asend, (sent,), {}, shell.policy.timeout_s))
    except StopAsyncIteration:
        return Exhausted(None)
    except Exception:
        shell.items = None  # a retry begins with a new generator
        raise
    finally:
        CURRENT.reset(token)


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

    async def call(self, fn: Callable[..., Any], args: Any, kwargs: Any, timeout_s: float | None) -> Any:
        """Await `fn` as this region. Raises `Stop` with its reason when it was stopped or took longer than `timeout_s`."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        limit = asyncio.timeout(timeout_s)
        try:
            self._check()
            async with limit:
                return await fn(*args, **kwargs)
        except asyncio.CancelledError:
            if self.reason is None:
                raise
            self._task.uncancel() if self._task is not None else None
            raise Stop(self.reason) from None
        except TimeoutError:
            if limit.expired():
                raise Stop(TIMEOUT) from None
            raise
        finally:
            self._task = None

    def _check(self) -> None:
        if self.reason is not None:
            raise Stop(self.reason)

    def stop(self, reason: str) -> None:
        """Ask for it to end, from any thread."""
        if self.reason is None:
            self.reason = reason
            task, loop = self._task, self._loop
            if task is not None and loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)


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
        """Stop the loop. Nothing runs on it any more: the flow has settled its tasks."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self.loop.close()


_kept: set[asyncio.Task[Any]] = set()


def _keep(task: asyncio.Task[Any]) -> None:
    """The loop holds its tasks weakly; hold them until they are done."""
    _kept.add(task)
    task.add_done_callback(_kept.discard)
