"""Running a flow of a file here and now: the first Ctrl-C cancels the run cleanly, the second kills it."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from legato.cli.failures import CANCELLED, CRASHED, FAILED, INTERRUPTED, Failure
from legato.cli.output import show_one
from legato.cli.parameters import check_names, parse_parameters, types_of
from legato.cli.session import Session, path_typed
from legato.core.errors import LegatoError, ParameterError, RunCancelled, RunCrashed, RunSuspended
from legato.core.names import typed
from legato.core.spelling import close_to
from legato.engine.script import CANCEL
from legato.engine.shell import FlowShell
from legato.engine.tracebacks import relink
from legato.sdk.calls import collected
from legato.sdk.definitions import Kind
from legato.sdk.flow_calls import new_flow_shell, run_shell
from legato.sdk.flows import Flow
from legato.sdk.loading import load_flow
from legato.sdk.process import close_engine, current_engine


def run_file(session: Session, entrypoint: str, given: Sequence[str]) -> int:
    """Run "FILE[:FLOW]" with `-p` parameters; returns the exit code that tells how the run ended."""
    flow = load_flow(_absolute(entrypoint), Path.cwd())
    parameters = _parameters(flow, given)
    return drive(session, flow, lambda: new_flow_shell(flow, None, (), parameters))


def drive(session: Session, flow: Flow[Any, Any], make: Callable[[], FlowShell]) -> int:
    """Run the flow run that `make` begins or takes up; returns the exit code that tells how it ended."""
    try:
        shell = make()
        if flow.makes is not Kind.VALUE:
            shell.fn = collected(flow)
        return _run(session, shell, is_async=flow.is_async)
    finally:
        close_engine()


def _absolute(entrypoint: str) -> str:
    path, colon, name = entrypoint.partition(":")
    return f"{path_typed(path).absolute()}{colon}{name}"


def _parameters(flow: Flow[Any, Any], given: Sequence[str]) -> dict[str, Any]:
    try:
        signature = inspect.signature(flow.fn).parameters
    except (TypeError, ValueError):
        return parse_parameters(given)
    values = parse_parameters(given, types_of(flow))
    if not any(one.kind is one.VAR_KEYWORD for one in signature.values()):
        check_names(values, tuple(signature), f"flow '{flow.name}'")
    missing = [
        n
        for n, one in signature.items()
        if one.default is one.empty and n not in values and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    if missing:
        raise ParameterError(f"flow '{flow.name}' needs a value for '{missing[0]}'", hint=f"add -p {missing[0]}=…")
    return values


def _run(session: Session, shell: FlowShell, *, is_async: bool) -> int:
    interrupts = _Interrupts(shell)
    try:
        if is_async:
            import asyncio

            from legato.sdk.acalls import arun_shell

            asyncio.run(arun_shell(shell))
        else:
            run_shell(shell)
    except RunCancelled:
        return _ended(session, shell, INTERRUPTED if interrupts.count else CANCELLED)
    except RunSuspended as error:
        session.hint(f"{error.message}; {error.hint}")
        return _ended(session, shell, 0)
    except RunCrashed as error:
        raise Failure(error.message, exit_code=CRASHED, hint=error.hint, code=error.code) from None
    except Exception as error:  # noqa: BLE001 it is in the run's record; here the user sees their own traceback
        _print_traceback(error)
        return _ended(session, shell, FAILED)
    finally:
        interrupts.restore()
    return _ended(session, shell, 0)


def _print_traceback(error: Exception) -> None:
    """The user's frames. An error of ours about how the flow was used says all in its message."""
    if isinstance(error, LegatoError):
        return
    relink(error)
    sys.stderr.write("".join(traceback.format_exception(error)))


def _ended(session: Session, shell: FlowShell, code: int) -> int:
    """Print what a person or a program wants of the run: the value's preview, or its record."""
    run = current_engine().store.get_flow_run(shell.run_id)
    if session.wants_json or session.output == "name":
        show_one(session, run, [], name=run.id)
    elif run.result is not None and run.result.preview and run.result.preview != "None":
        print(run.result.preview)
    if code:
        session.hint(f"See it: legato run show {typed(run.id)}")
    return code


class _Interrupts:
    """What Ctrl-C means while the run goes on."""

    def __init__(self, shell: FlowShell) -> None:
        self.count = 0
        self._shell = shell
        self._before = [(one, signal.signal(one, self._on_signal)) for one in (signal.SIGINT, signal.SIGTERM)]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 the signal module's signature
        if number == signal.SIGINT:
            self.count += 1
        if self.count >= 2:
            os.write(2, b"Killed. The run is found dead, and recorded as CRASHED, by the next command that looks.\n")
            os._exit(INTERRUPTED)
        os.write(2, b"\nCancelling; Ctrl-C again kills.\n")
        if self._shell.region is None:  # the user's code has not begun: there is nothing to stop yet
            raise KeyboardInterrupt
        self._shell.stop(CANCEL)

    def restore(self) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)


def is_file_word(word: str, verbs: Sequence[str]) -> bool:
    """Whether the first word after `run` means a file. Raises `Failure` for one that is neither a file nor a verb."""
    path = path_typed(word.partition(":")[0])
    if path.is_file():
        return True
    close = close_to(word, verbs)
    looks_like_file = "/" in word or ".py" in word or ":" in word
    if looks_like_file:
        near = close_to(path.name, [one.name for one in path.parent.glob("*.py")] if path.parent.is_dir() else [])
        hint = f"did you mean  {path.parent / near[0]} ?" if near else f"looked in {path.parent.absolute()}"
        raise Failure(f"no file '{path}'", exit_code=3, hint=hint, next_step="Help: legato run --help", code="not_found")
    raise Failure(
        f"'{word}' is neither a file nor a command of 'legato run'",
        exit_code=2,
        hint=f"did you mean  legato run {close[0]} ?" if close else f"its commands are {', '.join(verbs)}",
        next_step="Help: legato run --help",
        code="usage",
    )
