"""Deployments: a flow made runnable by others, declared in a file and registered by `legato deployment create FILE`."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from legato.core import records
from legato.core.clock import Clock
from legato.core.errors import UsageError
from legato.core.fitting import short
from legato.core.foreign_words import DEPLOYMENT_OPTIONS
from legato.core.records import Catchup, DeploymentSchedule, OnLost
from legato.core.schedules import CronSchedule, IntervalSchedule, RRuleSchedule, Schedule
from legato.core.spelling import close_to
from legato.flow_runners.options import FlowRunner, SubprocessFlowRunner, to_record
from legato.sdk.flow_calls import compiled_flow
from legato.sdk.flows import Flow
from legato.sdk.loading import entrypoint_of, load_flow, run_file
from legato.storage import bundles
from legato.store.port import Store
from legato.system import new_id

_collected: contextvars.ContextVar[list[Deployment] | None] = contextvars.ContextVar("legato_deployments", default=None)


class Deployment:
    """A flow and how it is to be run by others.

    `flow`: a flow, or `entrypoint`: "path/to/file.py:flow". `name` tells it from the flow's other deployments. `parameters`: defaults for
    scheduled runs. `schedule` (or `schedules`): when. `flow_runner`: how (default: a process on the agent's machine). `tags`: for queues
    and filters. `path`: the folder to pack as source (default: the deployment file's), relative to the file that says it. `on_lost="retry"`: a run whose process or machine
    went away is started again. `catchup`: what becomes of ticks missed while no server was up. `concurrency_limit`: how many of its runs
    agents may hold at once, over all queues.
    Raises `UsageError` where it is written, for anything that cannot work.
    """

    def __init__(
        self,
        flow: Flow[Any, Any] | None = None,
        *,
        name: str,
        entrypoint: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        schedule: Schedule | None = None,
        schedules: Sequence[Schedule] = (),
        flow_runner: FlowRunner | None = None,
        tags: Iterable[str] = (),
        version: str = "",
        description: str = "",
        paused: bool | None = None,
        path: str | Path | None = None,
        on_lost: str = "fail",
        catchup: str = "latest",
        concurrency_limit: int | None = None,
    ) -> None:
        if (flow is None) == (entrypoint is None):
            raise UsageError(f"deployment '{name}' needs a flow or an entrypoint, and not both")
        if flow is not None and not isinstance(flow, Flow):
            raise UsageError(f"deployment '{name}': {flow!r} is no flow", hint="decorate the function with @flow")
        if not _is_name(name):
            shown = repr(name) if len(str(name)) <= LONGEST_NAME else f"{str(name)[:60]!r}…"
            raise UsageError(
                f"{shown} cannot be a deployment's name", hint="give a short name without '/'; the flow's name is put before it"
            )
        self.flow = flow
        self.name = name
        self.entrypoint = _fits(name, "entrypoint", entrypoint, str | None, '"path/to/file.py:flow"')
        self.parameters = dict(_fits(name, "parameters", parameters, Mapping | None, 'a dict by name, such as {"month": 3}') or {})
        given = _fits(name, "schedules", schedules, list | tuple, "a list of schedules") if schedules != () else ()
        self.schedules = [_checked_schedule(name, one) for one in ([schedule] if schedule is not None else []) + list(given)]
        twice = next((one for i, one in enumerate(self.schedules) if one in self.schedules[:i]), None)
        if twice is not None:
            raise UsageError(f"deployment '{name}' has the schedule {twice!r} twice", hint="each would make runs of its own: name it once")
        self.flow_runner = to_record(_fits(name, "flow_runner", flow_runner, SubprocessFlowRunner | None, "SubprocessFlowRunner()"))
        self.tags = tuple(_fits(name, "tags", tags, Iterable, 'a list of text, such as ["nightly"]'))
        if isinstance(tags, str) or not all(isinstance(tag, str) and tag.strip() == tag != "" and tag.isprintable() for tag in self.tags):
            raise UsageError(f"deployment '{name}' has tags={tags!r}", hint='give a list of text, such as ["nightly"]')
        _fits(name, "version", version, str, 'text, such as "1.4"')
        _fits(name, "description", description, str, "text")
        _fits(name, "paused", paused, bool | None, "True or False; left out, it stays as it is")
        _fits(name, "path", path, str | Path | None, "a folder")
        self.version = version
        self.description = description
        self.paused = paused
        self.path = _beside_the_caller(Path(path)) if path is not None else None
        self.on_lost = _choice(OnLost, "on_lost", on_lost)
        self.catchup = _choice(Catchup, "catchup", catchup)
        if concurrency_limit is not None and (type(concurrency_limit) is not int or concurrency_limit < 0):
            raise UsageError(f"deployment '{name}' has concurrency_limit={concurrency_limit!r}", hint="give a number from 0 up, or none")
        self.concurrency_limit = concurrency_limit
        if (collected := _collected.get()) is not None:
            collected.append(self)

    def record(self, *, root: Path, bundle: str | None, now: datetime) -> records.Deployment:
        """The record to be saved. `root` is the folder that was packed; the flow is found from there. Checks the parameters."""
        flow = self.flow if self.flow is not None else load_flow(self.entrypoint or "", root)
        compiled = compiled_flow(flow)
        known = compiled.signature.json_schema()
        unknown = self.parameters.keys() - known["properties"].keys()
        if unknown:
            raise UsageError(
                f"deployment '{flow.name}/{self.name}': flow '{flow.name}' has no parameter '{min(unknown)}'",
                hint=f"its parameters are {', '.join(known['properties']) or 'none'}",
            )
        checked = compiled.signature.validate(self.parameters)
        for name, recorded in compiled.signature.changed_by_recording(self.parameters, checked).items():
            raise UsageError(
                f"deployment '{flow.name}/{self.name}': parameter '{name}' is a {type(self.parameters[name]).__name__} "
                f"that its runs would be given as {short(recorded)}",
                hint="give what JSON holds, or annotate the parameter; of large data give the path",
            )
        return records.Deployment(
            id=new_id(),
            flow_name=flow.name,
            name=self.name,
            entrypoint=self.entrypoint or entrypoint_of(flow, root),
            created_at=now,
            updated_at=now,
            bundle=bundle,
            description=self.description or inspect.cleandoc(flow.fn.__doc__ or ""),
            version=self.version or str(flow.options.get("version") or ""),
            parameters=compiled.signature.plain(self.parameters),
            parameter_schema=known,
            tags=tuple(dict.fromkeys((*compiled.tags, *self.tags))),
            flow_runner=self.flow_runner,
            schedules=tuple(DeploymentSchedule(id=new_id(), schedule=one, catchup=self.catchup) for one in self.schedules),
            paused=self.paused,
            retries=flow.options.get("retries", 0),
            on_lost=self.on_lost,
            concurrency_limit=self.concurrency_limit,
        )


def _telling(init: Callable[..., None]) -> Callable[..., None]:
    """The same, but an option that there is not is answered with what to write in its place."""
    known = tuple(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def told(self: Deployment, *args: Any, **options: Any) -> None:
        for option in options:
            if option not in known:
                raise _no_option(str(options.get("name", "")), option, known)
        init(self, *args, **options)

    return told


if not TYPE_CHECKING:  # what type checkers see is the signature, which knows no others
    Deployment.__init__ = _telling(Deployment.__init__)


def deployments_in(file: Path) -> list[Deployment]:
    """Run a file and return the deployments it declares. Raises `UsageError` when it cannot be run, or declares none."""
    with _collecting() as found:
        run_file(file)
    if not found:
        raise UsageError(f"{file} declares no deployment", hint="write Deployment(flow, name='…') in it, outside of any `if __name__`")
    return found


class Prepared(NamedTuple):
    """Deployments that are ready to be saved: each with the folder that was packed, and what of these folders was left out."""

    ready: list[tuple[Path, records.Deployment]]
    packed: dict[Path, bytes]
    left_out: list[bundles.LeftOut]


def prepare(declared: Sequence[Deployment], *, root: Path, clock: Clock) -> Prepared:
    """Check the deployments and pack their source, once for each folder. Nothing is saved."""
    ready: list[tuple[Path, records.Deployment]] = []
    for deployment in declared:
        folder = (deployment.path or root).resolve()
        record = deployment.record(root=folder, bundle=None, now=clock.now())
        if any(record.full_name == other.full_name for _, other in ready):
            raise UsageError(
                f"deployment '{record.full_name}' is declared twice", hint="the second would replace the first: give one another name"
            )
        ready.append((folder, record))
    packed: dict[Path, bytes] = {}
    left_out: list[bundles.LeftOut] = []
    for folder in dict.fromkeys(folder for folder, _ in ready):
        found = bundles.contents(folder)
        left_out += found.left_out
        for _, record in ready:
            _require_file(record.entrypoint.partition(":")[0], folder, found)
        packed[folder] = bundles.packed(found, folder)
    return Prepared(ready, packed, left_out)


def _require_file(name: str, folder: Path, found: bundles.Contents) -> None:
    """The flow's own file has to be in the bundle."""
    if name in found.files or not (folder / name).exists():
        return
    above = [str(parent) + "/" for parent in PurePosixPath(name).parents]
    why = next((one.why for one in found.left_out if one.path == name or one.path in above), "git ignores it")
    raise UsageError(f"the flow's own file {name} would not be in the bundle: {why}", hint="take it out of .gitignore, or move it")


def try_loading(prepared: Prepared) -> None:
    """Load each flow from its packed bundle, in a fresh process, as a run will. Raises `UsageError` saying what a run would have met."""
    for folder, data in prepared.packed.items():
        entrypoints = list(dict.fromkeys(record.entrypoint for where, record in prepared.ready if where == folder))
        with tempfile.TemporaryDirectory(prefix="legato-bundle-") as place:
            bundles.unpack(data, Path(place))
            for entrypoint in entrypoints:
                _try(entrypoint, Path(place), prepared.left_out)


def _try(entrypoint: str, place: Path, left_out: Sequence[bundles.LeftOut]) -> None:
    command = [sys.executable, "-c", _TRIAL, entrypoint, str(place)]
    try:
        tried = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TRIAL_S, check=False, cwd=place, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{entrypoint}: loading the flow takes more than {TRIAL_S:.0f} s",
            hint='what takes long, or waits for something, belongs into the flow or below if __name__ == "__main__":',
        ) from None
    if tried.returncode == 0:
        return
    lines = [line for line in tried.stderr.replace(str(place) + os.sep, "").strip().splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith(_SAID)), lines[-1] if lines else f"exit code {tried.returncode}")
    notes = "; ".join(bundles.words_about(list(left_out), 3))
    raise UsageError(
        f"{entrypoint} cannot be loaded from its bundle, as a run would do it: {said.removeprefix(_SAID)}",
        hint=notes
        or "all that it imports has to be installed, or lie in the folder that is packed: Deployment(…, path='..') packs another one",
    )


TRIAL_S = 120.0
_SAID = "legato-said: "
_TRIAL = f"""
import os, sys
from pathlib import Path
from legato.core.errors import LegatoError
from legato.sdk.loading import load_flow
try:
    load_flow(sys.argv[1], Path(sys.argv[2]))
except LegatoError as error:
    sys.stderr.write("\\n{_SAID}" + error.message.replace("\\n", " ") + "\\n")
    sys.stderr.flush()
    os._exit(1)
sys.stdout.flush()
os._exit(0)
"""


def create(
    declared: Sequence[Deployment], store: Store, storage: bundles.Blobs, *, root: Path, clock: Clock, tries: bool = False
) -> list[records.Deployment]:
    """Pack the source once for each folder, and save the deployments. All are checked before any is saved; with `tries`, by loading them."""
    prepared = prepare(declared, root=root, clock=clock)
    if tries:
        try_loading(prepared)
    return save(prepared, store, storage)


def save(prepared: Prepared, store: Store, storage: bundles.Blobs) -> list[records.Deployment]:
    """Store what was packed, and save the deployments."""
    keys = {folder: storage.put(data) for folder, data in prepared.packed.items()}
    return [store.save_deployment(_with_bundle(record, keys[folder])) for folder, record in prepared.ready]


def _beside_the_caller(path: Path) -> Path:
    """A relative path is meant from the file that says it, wherever the command is called."""
    if path.is_absolute():
        return path
    frame = sys._getframe(1)  # noqa: SLF001 whoever wrote Deployment(...) is the first that is not of this file
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    file = Path(frame.f_code.co_filename)
    return (file.parent if file.is_file() else Path.cwd()) / path


def _no_option(name: str, option: str, known: Sequence[str]) -> UsageError:
    close = close_to(option, known)
    hint = DEPLOYMENT_OPTIONS.get(option) or (f"did you mean {close[0]}?" if close else f"its options are {', '.join(known)}")
    return UsageError(f"deployment '{name}' has no option '{option}'", hint=hint)


def _with_bundle(record: records.Deployment, bundle: str) -> records.Deployment:
    return msgspec.structs.replace(record, bundle=bundle)


@contextlib.contextmanager
def _collecting() -> Iterator[list[Deployment]]:
    found: list[Deployment] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


LONGEST_NAME = 200
"""Characters of a deployment's name: it stands in lists, in addresses, and in commands that people type."""


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and name == name.strip() and "/" not in name and 0 < len(name) <= LONGEST_NAME


def _fits(owner: str, option: str, value: Any, types: Any, meant: str) -> Any:
    """The value, if an option may have it."""
    if not isinstance(value, types):
        raise UsageError(f"deployment '{owner}' has {option}={value!r}", hint=f"give {meant}")
    return value


def _checked_schedule(name: str, schedule: Any) -> Schedule:
    if not isinstance(schedule, (IntervalSchedule, CronSchedule, RRuleSchedule)):
        raise UsageError(
            f"deployment '{name}': {schedule!r} is no schedule",
            hint="use IntervalSchedule(interval=timedelta(minutes=5)), CronSchedule(cron='0 8 * * *') or RRuleSchedule(rrule='FREQ=DAILY')",
        )
    return schedule


def _choice(kind: Any, name: str, value: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"{name}={value!r} is no choice", hint=f"use one of {', '.join(repr(str(one)) for one in kind)}") from None
