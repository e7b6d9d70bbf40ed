"""A run that nobody records: made in a process that waits for a real one, so that this one finds everything warm.

A forked process shares its memory with its parent until it writes, and Python writes wherever it looks. The first run in it pays some 500
page faults for that, and a thread or a table made here and there for the first time: 3 to 4 ms before the first line of user code. A small
flow that has been loaded, run and told to a store that keeps nothing, over the wire's whole form, has paid them before. It leaves nothing
behind: no module, no path, no file, no line of output.
"""

from __future__ import annotations

import contextvars
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from legato.core.ownership import begun
from legato.core.records import BeatReply, FlowRun, Verdict, VerdictKind
from legato.core.states import PENDING, State
from legato.engine.process import Engine
from legato.sdk.flow_calls import compiled_flow, flow_shell, run_shell
from legato.sdk.loading import load_flow
from legato.storage.local import LocalStorage
from legato.store.remote import RemoteStore
from legato.system import new_id, now

if TYPE_CHECKING:
    import urllib3

MODULE = "legato_rehearsal"
SOURCE = """\
from legato import Deployment, flow, task


@task
def step(n: int) -> int:
    return n + 1


@flow
def rehearsal(n: int = 1) -> int:
    return step(n)
"""


class Answer(NamedTuple):
    """What of an HTTP response is looked at."""

    status: int
    data: bytes


class Nobody(RemoteStore):
    """A server that is not there: it takes every transition and log line, and keeps none."""

    def __init__(self) -> None:
        super().__init__("http://localhost")

    def _send(self, method: str, target: str, body: bytes, timeout_s: float, key: str = "") -> urllib3.BaseHTTPResponse:  # noqa: ARG002 a store's signature
        asked: Mapping[str, list[Any]] = msgspec.json.decode(body)
        verdicts = [Verdict(VerdictKind.ACCEPTED) for _ in asked.get("transitions", ())]
        replies = [BeatReply(beat["run_id"], alive=True) for beat in asked.get("beats", ())]
        return cast("urllib3.BaseHTTPResponse", Answer(200, msgspec.json.encode(verdicts or replies)))  # all that `call` looks at


def rehearse(folder: Path) -> object:
    """What the small flow gave: 2. `folder` is made for it, and goes away again."""
    path = list(sys.path)
    engine = Engine(Nobody(), LocalStorage(folder / "storage"))
    try:
        folder.mkdir(mode=0o700, parents=True)
        (folder / f"{MODULE}.py").write_text(SOURCE, encoding="utf-8")
        return contextvars.copy_context().run(_run, engine, folder)
    finally:
        engine.close()
        sys.path[:] = path
        sys.modules.pop(MODULE, None)
        sys.path_importer_cache.pop(str(folder), None)
        shutil.rmtree(folder, ignore_errors=True)


def _run(engine: Engine, folder: Path) -> object:
    """As `entry` does it with a claimed run."""
    flow = load_flow(f"{MODULE}.py:rehearsal", folder)
    parameters = compiled_flow(flow).parameters((), {"n": 1})
    at = now()
    run = FlowRun(
        id=new_id(),
        flow_name=flow.name,
        name=flow.name,
        state=State(PENDING, "Pending", at),
        seq=2,
        attempt=1,
        epoch=begun(0),
        created_at=at,
        expected_start_at=at,
    )
    shell = flow_shell(flow, engine, run, parameters, new=False)
    shell.quiet = True
    return run_shell(shell)
