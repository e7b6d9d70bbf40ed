"""What a flow runner starts: it takes a claimed run, fetches its bundle, loads its flow, and runs it to an end.

`python -m legato.sdk.entry` reads the claim (JSON) from standard input. A warm parent calls `main` in its forked child.

Exit codes: 0 the run completed; 1 it failed; 9 it was cancelled; 75 it was suspended; 8 it could not be told how it ended (the agent asks the store, and
reports the attempt lost). Whatever the code, a run is over only when the store says so.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from legato.core.errors import LegatoError, RunCancelled, RunCrashed, RunSuspended, Unavailable
from legato.core.records import Claim, Deployment, RunKind, Transition
from legato.core.states import FAILED, State
from legato.engine.process import Engine
from legato.engine.script import CANCEL
from legato.engine.shell import FlowShell
from legato.engine.tracebacks import error_detail
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
from legato.system import SystemClock

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


def _run(claim: Claim, engine: Engine) -> int:
    run = claim.flow_run
    try:
        flow, parameters = _prepare(claim)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 whatever keeps a flow from being loaded is the run's failure, and is recorded as such
        return _could_not_start(claim, engine, error)
    shell = flow_shell(flow, engine, run, parameters, new=False)
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


def _run_async(shell: FlowShell) -> None:
    import asyncio  # noqa: PLC0415 start-up time: sync flows never need it

    from legato.sdk.acalls import arun_shell  # noqa: PLC0415

    asyncio.run(arun_shell(shell))


def _prepare(claim: Claim) -> tuple[Flow[Any, Any], dict[str, Any]]:
    deployment, run, chosen = claim.deployment, claim.flow_run, current_settings()
    folder = Path.cwd()
    if deployment.bundle:
        folder = bundles.working_folder(chosen.home, run.id, run.epoch, run.attempt)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(folder)
    flow = flow_in(deployment, folder, chosen)
    compiled = compiled_flow(flow)
    return flow, compiled.parameters((), {**deployment.parameters, **run.parameters})


def flow_in(deployment: Deployment, folder: Path, chosen: Settings) -> Flow[Any, Any]:
    """A deployment's flow, loaded from `folder`, into which its bundle is unpacked if it has one."""
    if deployment.bundle:
        bundles.unpack(_fetched(storage_of(chosen), deployment.bundle), folder)
        carry(str(folder), f"deployment {deployment.full_name}")
    return load_flow(deployment.entrypoint, folder)


FETCH_PATIENCE_S = 60.0
"""A server that is away when a run begins is waited for: it was there a moment ago, when the run was claimed."""


def _fetched(storage: bundles.Blobs, key: str) -> bytes:
    """A bundle's bytes. Raises `Unavailable` when the server stays away, which is no fault of the run: it is handed out again."""
    clock, waited = SystemClock(), 0.0
    while True:
        try:
            return storage.get(key)
        except Unavailable:
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
