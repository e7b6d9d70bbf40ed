"""What users see of an exception: their own frames. And what is stored with a failed run."""

from __future__ import annotations

import os
from itertools import pairwise
from types import TracebackType

from legato.core.errors import LegatoError, Unavailable
from legato.core.records import ErrorDetail

_OURS = __name__.partition(".")[0] + "."
_LIMIT = 20_000
"""Characters of traceback kept with a run. The end, where the error is, is what is kept."""

_MOST_FRAMES = 60
"""Frames of it that are written out."""


def relink(exc: BaseException) -> None:
    """Take our frames out of an exception's traceback, in place. Costs some microseconds, and only when something failed.

    Follow it with a bare `raise`, which leaves no frame of its own. If all frames are ours they stay, unless the error was raised on purpose.
    LEGATO_TRACEBACKS=full turns it off.
    """
    if os.environ.get("LEGATO_TRACEBACKS") == "full":
        return
    if isinstance(exc, Unavailable):  # it says what its cause said, and where in our code that was said is nobody's business
        exc.__cause__, exc.__suppress_context__ = None, True
    frames = [tb for tb in _walk(exc.__traceback__) if not _is_ours(tb)]
    if not frames:
        if isinstance(exc, LegatoError):  # raised on purpose: what it says is for the caller, where we said it is not
            exc.__traceback__ = None
        return
    for outer, inner in pairwise(frames):
        outer.tb_next = inner
    frames[-1].tb_next = None
    exc.__traceback__ = frames[0]
    if isinstance(exc, BaseExceptionGroup):
        for member in exc.exceptions:
            relink(member)


def error_detail(exc: BaseException) -> ErrorDetail:
    """The exception as it is stored: type, message, where in the user's code, and the traceback without our frames."""
    import linecache  # noqa: PLC0415 start-up time: wanted when something has failed
    import traceback  # noqa: PLC0415 the same

    relink(exc)
    frames = [tb for tb in _walk(exc.__traceback__) if not _is_ours(tb)]
    where = frames[-1] if frames else None
    for tb in frames:
        if not _is_library(tb):
            where = tb
    left_out = max(0, len(frames) - _MOST_FRAMES)  # an endless recursion's are all alike, and each costs a tenth of a millisecond
    text = "".join(traceback.format_exception(exc, limit=-_MOST_FRAMES if left_out else None))[-_LIMIT:]
    if left_out:
        text = f"({left_out} frames above these are left out)\n{text}"
    if where is None:
        return ErrorDetail(type(exc).__name__, _message(exc), traceback=text)
    code = where.tb_frame.f_code
    lines = [linecache.getline(code.co_filename, n) for n in range(max(1, where.tb_lineno - 2), where.tb_lineno + 3)]
    return ErrorDetail(
        type=type(exc).__name__,
        message=_message(exc),
        file=code.co_filename,
        line=where.tb_lineno,
        function=code.co_name,
        source="".join(lines),
        traceback=text,
    )


def _message(exc: BaseException) -> str:
    try:
        if isinstance(exc, LegatoError):
            return f"{exc.message} ({exc.hint})" if exc.hint else exc.message
        return str(exc)[:2000]
    except Exception as error:  # noqa: BLE001 a user's __str__ may raise anything; the run's true state matters more
        return f"<its message could not be made: {type(error).__name__}>"


def _walk(tb: TracebackType | None) -> list[TracebackType]:
    found = []
    while tb is not None:
        found.append(tb)
        tb = tb.tb_next
    return found


def _is_ours(tb: TracebackType) -> bool:
    return str(tb.tb_frame.f_globals.get("__name__", "")).startswith(_OURS)


def _is_library(tb: TracebackType) -> bool:
    name = tb.tb_frame.f_code.co_filename
    return "site-packages" in name or name.startswith("<") or f"{os.sep}lib{os.sep}python" in name
