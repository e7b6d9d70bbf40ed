"""What a flow runner starts: it takes a claimed run, fetches its bundle, loads its flow, and runs it to an end.

`python -m legato.sdk.entry` reads the claim (JSON) from standard input. A warm parent calls `main` in its forked child.

Exit codes: 0 the run completed; 1 it failed; 9 it was cancelled; 75 it was suspended; 8 it could not be told how it ended (the agent asks the store, and
reports the attempt lost). Whatever the code, a run is over only when the store says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from legato import crashing
from legato.core.errors import LegatoError, RunCancelled, RunCrashed, RunSuspended, Unavailable
from legato.core.planning import has_generated_name
from legato.core.records import Claim, Deployment, FlowRun, LogLine, RunKind, Transition
from legato.core.states import FAILED, State
from legato.engine.process import Engine
from legato.engine.script import CANCEL
from legato.engine.shell import FlowShell
from legato.engine.tracebacks import error_detail
from legato.in_use import mark_in_use
from legato.logs import console
from legato.sdk.calls import collected
from legato.sdk.definitions import Kind
from legato.sdk.flow_calls import compiled_flow, flow_shell, run_shell
from legato.sdk.flows import Flow
from legato.sdk.keys import carry
from legato.sdk.loading import load_flow
from legato.sdk.process import close_engine, current_engine, current_settings
from legato.settings import Settings
from legato.storage import bundles
from legato.storage.local import LocalStorage
from legato.system import SystemClock, now

_T = TypeVar("_T")

COMPLETED, FAILED_CODE, CRASHED_CODE, CANCELLED_CODE, SUSPENDED_CODE = 0, 1, 8, 9, 75


def main(claim: Claim) -> int:
    """Run a claimed flow run to its end; returns the exit code."""
    engine = current_engine()
    try:
        return _run(claim, engine)
    except Unavailable as error:
        console.line("ERROR", f"flow run '{claim.flow_run.name}'", str(error))
        return CRASHED_CODE
    finally:
        close_engine()
        forget_ready()


def _run(claim: Claim, engine: Engine) -> int:
    run = claim.flow_run
    try:
        folder = _patiently(lambda: _working_folder(claim))
    except OSError as error:  # this machine's, or the server's, and no fault of the run: it is handed out again
        console.line("ERROR", f"flow run '{run.name}'", f"its source cannot be had here: {error}")
        return CRASHED_CODE
    except LegatoError as error:
        return _could_not_start(claim, engine, error)
    try:
        flow, parameters = _prepare(claim, folder)
    except Exception as error:  # noqa: BLE001 whatever keeps a flow from being loaded is the run's failure, and is recorded as such
        return _could_not_start(claim, engine, error)
    shell = flow_shell(flow, engine, run, parameters, new=False)
    _name(shell, flow, run)
    if flow.makes is not Kind.VALUE:
        shell.fn = collected(flow)
    signal.signal(signal.SIGTERM, lambda *_: shell.stop(CANCEL))
    try:
        if flow.is_async:
            _run_async(shell)
        else:
            run_shell(shell)
    except RunCancelled:
        return CANCELLED_CODE
    except RunCrashed:
        return CRASHED_CODE
    except RunSuspended:
        return SUSPENDED_CODE
    except Exception:  # noqa: BLE001 it is in the run's record, with its traceback
        return FAILED_CODE
    return COMPLETED


def _name(shell: FlowShell, flow: Flow[Any, Any], run: FlowRun) -> None:
    """Call a run what its flow's `flow_run_name` makes of its parameters, unless a person has named it. One that cannot be filled keeps nothing
    from running: the run goes on under the name it was planned with, and says so in its log.
    """
    if flow.options.get("flow_run_name") is None or not has_generated_name(run):
        return
    try:
        shell.name = shell.renamed = compiled_flow(flow).run_name(shell.parameters, run.id)
    except Exception as error:  # noqa: BLE001 the user's function may raise anything
        said = error.message if isinstance(error, LegatoError) else f"flow_run_name raised {type(error).__name__}: {error}"
        message = f"{said}; the run keeps the name '{run.name}'"
        shell.engine.outbox.add(LogLine(run.id, now(), console.LEVELS["WARNING"], "legato.engine", message, epoch=run.epoch))
        console.line("WARNING", f"flow run '{run.name}'", message)


def _run_async(shell: FlowShell) -> None:
    import asyncio  # noqa: PLC0415 start-up time: sync flows never need it

    from legato.sdk.acalls import arun_shell  # noqa: PLC0415

    asyncio.run(arun_shell(shell))


def _working_folder(claim: Claim) -> Path:
    """The folder that the run works in, with the deployment's source in it. Raises `OSError` where that cannot be had."""
    deployment, run, chosen = claim.deployment, claim.flow_run, current_settings()
    if not deployment.bundle:
        return Path.cwd()
    folder = bundles.working_folder(chosen.home, run.id, run.epoch, run.attempt)
    ready = _ready.pop(deployment.bundle, None)
    if ready is not None and not folder.exists():
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        ready.rename(folder)
        _use(folder)
        carry(str(folder), f"deployment {deployment.full_name}")
    else:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _use(folder)
        unpack_source(deployment, folder, chosen)
    os.chdir(folder)
    return folder


def _use(folder: Path) -> None:
    """Keep others from tidying it away, until this process has ended."""
    mark_in_use(os.open(folder, os.O_RDONLY | os.O_CLOEXEC))


_ready: dict[str, Path] = {}
"""By bundle: a folder of this process's own with its source, that a run may take as its working folder."""

COMPILED = 200
"""How many files of a bundle are compiled ahead, at most: a run imports a few, and compiles what it misses."""


def make_ready(keys: Sequence[str]) -> None:
    """In a process that waits for a run: read the settings, greet the server, and unpack the bundles that it may be of.

    What cannot be had ahead is had then.
    """
    chosen = current_settings()
    if chosen.api_url:
        with contextlib.suppress(LegatoError, OSError):
            current_engine().store.list_flow_runs(limit=1)  # the connection stays open
            current_engine().make_ready()
    for key in keys:
        folder = bundles.ready_folder(chosen.home, os.getpid(), len(_ready))
        try:
            folder.mkdir(mode=0o700, parents=True)
            bundles.unpack(LocalStorage(chosen.home / "storage").get(key), folder)
        except (LegatoError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            continue
        _ready[key] = folder
        if not sys.dont_write_bytecode:
            _compile(folder)


def rehearse() -> None:
    """In a process that waits for a run: make one that nobody records (see `rehearsal`)."""
    chosen = current_settings()
    if not chosen.api_url or crashing.armed is not None:  # a process that is to die at its first task is not to die here
        return
    from legato.sdk import rehearsal  # noqa: PLC0415 start-up time: a cold start has no time to rehearse

    try:
        rehearsal.rehearse(bundles.ready_folder(chosen.home, os.getpid(), len(_ready)))
    except Exception as error:  # noqa: BLE001 the run that comes does not depend on it: it begins some milliseconds later
        console.line("WARNING", "legato", f"a process that waits for runs could not be made ready: {type(error).__name__}: {error}")


def _compile(folder: Path) -> None:
    import py_compile  # noqa: PLC0415 start-up time: nobody waits for this

    for file in sorted(folder.rglob("*.py"))[:COMPILED]:
        with contextlib.suppress(py_compile.PyCompileError, OSError, ValueError, RecursionError):
            py_compile.compile(str(file), doraise=True, quiet=2)


def forget_ready() -> None:
    """Remove what was unpacked ahead and is not wanted."""
    while _ready:
        shutil.rmtree(_ready.popitem()[1], ignore_errors=True)


def unpack_source(deployment: Deployment, folder: Path, chosen: Settings) -> None:
    """Unpack a deployment's bundle, if it has one."""
    if deployment.bundle:
        bundles.unpack(storage_of(chosen).get(deployment.bundle), folder)
        carry(str(folder), f"deployment {deployment.full_name}")


def _prepare(claim: Claim, folder: Path) -> tuple[Flow[Any, Any], dict[str, Any]]:
    flow = load_flow(claim.deployment.entrypoint, folder)
    return flow, compiled_flow(flow).parameters((), {**claim.deployment.parameters, **claim.flow_run.parameters})


FETCH_PATIENCE_S = 60.0
"""A server that is away when a run begins is waited for: it was there a moment ago, when the run was claimed. So is room on a disk."""


def _patiently(fetch: Callable[[], _T]) -> _T:
    """What it gives. Raises `OSError` (`Unavailable` is one) when it stays away."""
    clock, waited = SystemClock(), 0.0
    while True:
        try:
            return fetch()
        except OSError:
            if waited >= FETCH_PATIENCE_S:
                raise
            clock.sleep(1.0)
            waited += 1.0


def storage_of(chosen: Settings) -> bundles.Blobs:
    """Where bundles are: on this machine, and behind the server if there is one."""
    local = LocalStorage(chosen.home / "storage")
    if not chosen.api_url:
        return local
    from legato.storage.remote import ServerStorage  # noqa: PLC0415 start-up time: only with a server

    return ServerStorage(chosen.api_url, local, api_key=chosen.api_key)


def _could_not_start(claim: Claim, engine: Engine, error: Exception) -> int:
    run = claim.flow_run
    message = error.message if isinstance(error, LegatoError) else f"{type(error).__name__}: {error}"
    failed = State(FAILED, "Failed", SystemClock().now(), f"the flow could not be loaded: {message}")
    engine.gate(Transition(RunKind.FLOW, run.id, run.seq + 1, failed, run.attempt, run.epoch, error=error_detail(error)))
    console.line("ERROR", f"flow run '{run.name}'", failed.message)
    return FAILED_CODE


def _cold() -> int:
    """As a program of its own: the claim comes from standard input, and what is printed is printed at once."""
    import faulthandler  # noqa: PLC0415 a warm parent has seen to it

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text streams of this process
    faulthandler.enable()
    return main(msgspec.json.decode(sys.stdin.buffer.read(), type=Claim))


if __name__ == "__main__":
    sys.exit(_cold())
