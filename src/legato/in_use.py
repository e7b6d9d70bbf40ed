"""Files and folders that a living process uses, told by a lock on them: it goes with the last process that has them open, however that ends.

Several agents may share a home, and serve stores that know nothing of each other's runs: so what may be tidied away cannot be asked of a store.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def mark_in_use(descriptor: int) -> None:
    """Say of an open file or folder that it is in use, for as long as this process, or one that was given the descriptor, has it open."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl  # noqa: PLC0415 not on every platform

        fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits at most for whoever just asks


def is_in_use(path: Path) -> bool:
    """Whether somebody has marked this file or folder as in use, and lives."""
    try:
        import fcntl  # noqa: PLC0415 not on every platform

        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
