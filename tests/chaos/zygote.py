"""Processes with the command line, at the price of a fork: this one has imported everything, and begun nothing.

Reads a line of JSON for each: arguments, environment, folder, and where its output goes; answers with its exit code. The child takes its crash
points from that environment, as a fresh interpreter would.
"""

import json
import os
import signal
import sys
from pathlib import Path

import legato.cli.local_run
import legato.cli.run_again
import legato.sdk.acalls
import legato.sdk.apauses
import legato.sdk.asking
import legato.sdk.caching
import legato.sdk.calls
import legato.sdk.code
import legato.sdk.parameters
import legato.sdk.resuming
import legato.services.reaper
import legato.store.open
import legato.task_runners.processes
import legato.task_runners.threads  # noqa: F401 loaded here so that no child has to
from legato import crashing
from legato.cli.main import run

TOO_LONG_S = 60


def be(wish: dict[str, object]) -> int:
    """The child's life."""
    environ = {str(name): str(value) for name, value in dict(wish["environ"]).items()}  # type: ignore[call-overload]
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(str(wish["folder"]))
    out = os.open(str(wish["out"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    signal.alarm(TOO_LONG_S)
    crashing.arm(environ.get("LEGATO_CRASH_AT", ""), environ.get("LEGATO_CRASH_TRACE", ""))
    return run(list(wish["arguments"]))  # type: ignore[call-overload]


def main() -> int:
    """Serve wishes until there are no more."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return be(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
