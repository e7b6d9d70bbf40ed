"""Logs of runs: what user code logs or prints inside a flow or task goes to the console and to the run's log in the store."""

from __future__ import annotations

import builtins
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import BuiltinFunctionType
from typing import Any

from legato.core.errors import UsageError
from legato.core.records import LogLine
from legato.engine.shell import CURRENT, FlowShell, Shell
from legato.engine.stops import enter, leave
from legato.logs import console
from legato.sdk.process import current_settings
from legato.system import now

LONGEST_LINE = 65_536
"""Characters kept of one message; a longer one is cut and says so."""


class _Before:
    """What `print` was before it was ours, and Python's own."""

    theirs: Callable[..., None] = print
    real: Callable[..., None] = print


_before = _Before()
_thread = threading.local()
"""`calling`: whether this thread is in what was there before, which may call ours again."""


class RunHandler(logging.Handler):
    """Sends records to the log of the run whose code made them, and to the console."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self._message_of(record)
            shell = CURRENT.get()
            at = datetime.fromtimestamp(record.created, UTC)
            write_line(shell, record.levelno, record.name, message, at=at, on_console=self.is_on_console())
        except Exception:  # noqa: BLE001 the logging module's own rule: report to stderr, never break the caller
            self.handleError(record)

    def _message_of(self, record: logging.LogRecord) -> str:
        """What was said; where it cannot be put together, what it was to be made of: a line is not lost for a wrong `%s`."""
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001 too few arguments, an object whose __str__ raises: what is the user's may raise anything
            self.handleError(record)
            return f"{_as_it_is(record.msg)} {_as_it_is(record.args)} (it could not be formatted: {type(error).__name__})"

    def is_on_console(self) -> bool:
        """Whether its lines are printed as well."""
        return True


class ExtraHandler(RunHandler):
    """Sends what another library logs inside a run to the run's log; elsewhere it is not ours. The console shows it unless the program
    has a handler of its own for it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if CURRENT.get() is not None:
            super().emit(record)

    def is_on_console(self) -> bool:
        return not logging.getLogger().handlers


def _as_it_is(value: object) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 as above
        return f"<{type(value).__name__}>"


def attach_extra_loggers(names: Iterable[str]) -> None:
    """From now on, lines of these loggers that are logged inside runs go to the runs' logs."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, RunHandler) for handler in logger.handlers):
            logger.addHandler(ExtraHandler())
            if logger.level == logging.NOTSET:
                logger.setLevel(current_settings().log_level)


def get_run_logger(name: str = "legato.run") -> logging.Logger:
    """A standard logger whose lines go to the current run's log. Raises `UsageError` outside a flow or task."""
    if CURRENT.get() is None:
        raise UsageError("get_run_logger() was called outside a flow or task", hint="use logging.getLogger(__name__) there")
    return _logger(name)


def _logger(name: str) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.disabled = False  # as dictConfig leaves every logger that it was not told of
    if not any(isinstance(handler, RunHandler) for handler in logger.handlers):
        logger.addHandler(RunHandler())
        logger.setLevel(current_settings().log_level)
        logger.propagate = False
    return logger


def write_line(shell: Shell | None, level: int, logger: str, message: str, *, at: datetime | None = None, on_console: bool = True) -> None:
    """Put one line on the console, and in the run's log."""
    if level < console.LEVELS[current_settings().log_level]:
        return
    if len(message) > LONGEST_LINE:
        message = f"{message[:LONGEST_LINE]}… ({len(message) - LONGEST_LINE} more characters were cut)"
    if on_console:
        console.line(_level_name(level), who(shell), message)
    if shell is not None:
        task_run_id = None if isinstance(shell, FlowShell) else shell.run_id
        line = LogLine(shell.flow.run_id, at or now(), level, logger, message, task_run_id)
        region = leave(shell.region)  # a report may write to the store, or to a flow's process: no place for a Stop to land in
        try:
            shell.engine.outbox.report(line)
        finally:
            enter(region)


def who(shell: Shell | None) -> str:
    """The run's name for a line on the console."""
    if shell is None:
        return "legato"
    return f"flow run '{shell.name}'" if isinstance(shell, FlowShell) else f"task run '{shell.name}'"


def patch_print() -> None:
    """From now on, `print` in runs with log_prints makes log lines. Elsewhere it is what it was.

    Other libraries replace `print` as well (Ray does, by one that calls what was there when Ray was imported). Ours is put on top again, and
    calls theirs for what is no log line.
    """
    if builtins.print is not _print_or_log:
        if isinstance(builtins.print, BuiltinFunctionType):
            _before.real = builtins.print
        _before.theirs = builtins.print
        builtins.print = _print_or_log


def _print_or_log(*values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False) -> None:
    shell = CURRENT.get()
    if shell is None or not shell.log_prints or (file is not None and file is not sys.stdout):
        _print_as_before(*values, sep=sep, end=end, file=file, flush=flush)
        return
    is_caught = sys.stdout is not sys.__stdout__
    if is_caught:  # redirect_stdout, pytest's capsys, a notebook: whoever asked for what is printed gets it, too
        _before.real(*values, sep=sep, end=end, flush=flush)
    text = (" " if sep is None else sep).join(str(value) for value in values) + ("" if end is None else end.removesuffix("\n"))
    write_line(shell, logging.INFO, "print", text, on_console=not is_caught)


def _print_as_before(*values: Any, **how: Any) -> None:
    if getattr(_thread, "calling", False):
        _before.real(*values, **how)
        return
    _thread.calling = True
    try:
        _before.theirs(*values, **how)
    finally:
        _thread.calling = False


def _level_name(level: int) -> str:
    return next((name for name, number in reversed(console.LEVELS.items()) if level >= number), "DEBUG")
