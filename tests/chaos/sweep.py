"""One case of the sweep: a flow is killed at a point, gone on with until it completes, and then everything is held against everything.

What a case finds wrong are sentences; an empty list is a case that ended right.
"""

import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from legato.core.errors import LegatoError
from legato.core.records import FlowRun, TaskRun
from legato.core.states import FINAL, PAUSED, TRANSITIONS, StateType
from legato.engine import results
from legato.storage.local import LocalStorage
from legato.store.open import open_sql_store
from legato.store.sql import SqlStore

from tests.chaos import victims
from tests.support.surroundings import without_legato_settings

VICTIMS = Path(victims.__file__)
ROOT = VICTIMS.parents[2]
MOST_ATTEMPTS = 8
KILLED = -9


class Zygote:
    """Runs command lines in forks of a warm process, one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()

    def run(self, arguments: Sequence[str], *, environ: dict[str, str], folder: Path, out: Path) -> int:
        """Its exit code, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wish = {"arguments": list(arguments), "environ": environ, "folder": str(folder), "out": str(out)}
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Interpreters:
    """Runs command lines as people do: each in an interpreter of its own."""

    def run(self, arguments: Sequence[str], *, environ: dict[str, str], folder: Path, out: Path) -> int:
        with out.open("ab") as said:
            command = [sys.executable, "-m", "legato.cli", *arguments]
            return subprocess.run(command, cwd=folder, env=environ, stdout=said, stderr=said, timeout=60, check=False).returncode


@dataclass(frozen=True)
class Case:
    """A kind of flow, and where each of its attempts is killed: "point:n", or "" for one that is not."""

    kind: str
    crashes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}-{'+'.join(crash or 'none' for crash in self.crashes)}"


@dataclass
class Attempt:
    """What was there right after a process had ended: the names whose completion was committed, and how much the ledger held."""

    code: int
    killed: int
    committed: frozenset[str]
    ledger: int


@dataclass
class Ending:
    """How a case ended."""

    case: Case
    wrong: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    reached: list[Counter[str]] = field(default_factory=list)
    """By attempt: the points reached, by the process that reached them most often."""

    @property
    def crashed(self) -> int:
        """How many processes were killed at a point."""
        return sum(one.killed for one in self.attempts)


class Scene:
    """Where a case takes place: a home, a ledger, a trace."""

    def __init__(self, folder: Path, runner: Zygote | Interpreters, case: Case, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.case = case
        self.home = folder / "home"
        self.ledger = folder / "ledger"
        self.trace = folder / "trace"
        self.said = folder / "said"
        self._runner = runner
        self._environ = {
            **without_legato_settings(os.environ),
            "LEGATO_HOME": str(self.home),
            "VICTIM_LEDGER": str(self.ledger),
            "LEGATO_CRASH_TRACE": str(self.trace),
            "NO_COLOR": "1",
            **environ,
        }

    def play(self) -> Ending:
        """The whole case."""
        ending = Ending(self.case)
        for n in range(MOST_ATTEMPTS):
            run = self.run()
            if run is not None and run.state.type is StateType.COMPLETED:
                break
            crash = self.case.crashes[n] if n < len(self.case.crashes) else ""
            ending.attempts.append(self._attempt(self._command(run), crash))
            ending.reached.append(self._reached())
        ending.wrong = self.check(ending)
        return ending

    def _command(self, run: FlowRun | None) -> list[str]:
        if run is None:
            return ["run", f"{VICTIMS}:{self.case.kind}"]
        if run.state.type is PAUSED and run.lease_expires_at is None:
            self.answer(run)
            return ["run", "resume", run.id]
        self.answer(run)
        return ["run", "retry", run.id]

    def answer(self, run: FlowRun) -> None:
        """Answer what is asked, as a person would between attempts."""
        with self.opened() as store:
            for one in store.list_inputs(run.id):
                if one.answered_at is None:
                    store.answer_input(run.id, one.key, 1_000)

    def _attempt(self, command: list[str], crash: str) -> Attempt:
        self.trace.unlink(missing_ok=True)
        environ = {**self._environ, "LEGATO_CRASH_AT": crash}
        code = self._runner.run(command, environ=environ, folder=self.folder, out=self.said)
        killed = sum(line.endswith(" killed") for line in self._trace())
        return Attempt(code, killed, self.committed(), len(self.bodies()))

    def _trace(self) -> list[str]:
        return self.trace.read_text().splitlines() if self.trace.exists() else []

    def _reached(self) -> Counter[str]:
        most: Counter[str] = Counter()
        for line in self._trace():
            _, point, n = line.split()[:3]
            most[point] = max(most[point], int(n))
        return most

    # -- looking

    @property
    def database(self) -> Path:
        return self.home / "legato.db"

    def opened(self) -> "_Opened":
        return _Opened(self.database)

    def run(self) -> FlowRun | None:
        """The one outermost run, None: it is not known to the store."""
        if not self.database.exists():
            return None
        with self.opened() as store:
            found = [run for run in store.list_flow_runs(oldest_first=True, limit=1000).items if run.parent_run_id is None]
        assert len(found) <= 1, found
        return found[0] if found else None

    def committed(self) -> frozenset[str]:
        """The bodies whose completion, with a value, is in the database file now."""
        if not self.database.exists():
            return frozenset()
        connection = sqlite3.connect(self.database)
        try:
            tasks = connection.execute("select name from task_run where state_type = 'completed' and result is not null").fetchall()
            flows = connection.execute(
                "select flow_name, parameters, parent_run_id from flow_run where state_type = 'completed' and result is not null"
            ).fetchall()
        finally:
            connection.close()
        names = {name for (name,) in tasks}
        names |= {f"child({json.loads(given)['n']})" if parent else flow for flow, given, parent in flows}
        return frozenset(names)

    def bodies(self) -> list[str]:
        """The ledger: what has run, in order."""
        return [line.rpartition(" ")[0] for line in self.ledger.read_text().splitlines()] if self.ledger.exists() else []

    # -- judging

    def check(self, ending: Ending) -> list[str]:
        """What is wrong, in sentences."""
        run = self.run()
        if run is None or run.state.type is not StateType.COMPLETED:
            state = f"{run.state.name}: {run.state.message}" if run else "unknown to the store"
            return [f"the run is {state} after {len(ending.attempts)} attempts", *self.said.read_text().splitlines()[-12:]]
        with self.opened() as store:
            runs = store.list_flow_runs(oldest_first=True, limit=1000).items
            tasks = [task for one in runs for task in store.list_task_runs(one.id, limit=10_000).items]
            wrong = [*self._values(run, [*runs, *tasks]), *self._histories(store, [*runs, *tasks]), *_left_open(runs, tasks)]
        return [*wrong, *self._executions(ending), *self._left_behind()]

    def _values(self, run: FlowRun, all_runs: Iterable[FlowRun | TaskRun]) -> list[str]:
        wrong = []
        blobs = LocalStorage(self.home / "storage")
        expected = victims.WORTH[self.case.kind]
        assert run.result is not None
        if (value := results.load(run.result, blobs)) != expected:
            wrong.append(f"the value is {value}, not {expected}")
        for one in all_runs:
            if one.result is not None:
                try:
                    results.load(one.result, blobs)
                except LegatoError as error:
                    wrong.append(f"the result of {one.name} is bad: {error}")
        return wrong

    def _histories(self, store: SqlStore, all_runs: Iterable[FlowRun | TaskRun]) -> list[str]:
        wrong = []
        for one in all_runs:
            entries = store.list_transitions(one.id)
            if [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
                wrong.append(f"the journal of {one.name} has gaps: {[entry.seq for entry in entries]}")
            for before, after in itertools.pairwise(entries):
                reopened = before.state.type in FINAL and after.state.type is StateType.SCHEDULED
                answered = after.state.name == "Cached"  # in place of a start, whatever the task was waiting in
                if after.state.type not in TRANSITIONS[before.state.type] and not reopened and not answered:
                    wrong.append(f"{one.name} went from {before.state.name} to {after.state.name}")
        positions = [entry.pos for entry in store.read_journal(0, limit=100_000)]
        if positions != list(range(1, len(positions) + 1)):
            wrong.append("the journal's positions have gaps")
        return wrong

    def _executions(self, ending: Ending) -> list[str]:
        ran, wrong = self.bodies(), []
        counts = Counter(ran)
        needed = victims.BODIES[self.case.kind]
        if missing := needed - counts.keys():
            wrong.append(f"never ran: {sorted(missing)}")
        may_fail = any(one.killed and one.code != KILLED for one in ending.attempts)  # a task whose worker died: what waits for that runs
        if strange := counts.keys() - needed - ({"never"} if may_fail else set()):
            wrong.append(f"ran, and should not have: {sorted(strange)}")
        for n, attempt in enumerate(ending.attempts, 1):
            if again := attempt.committed.intersection(ran[attempt.ledger :]):
                wrong.append(f"ran again after its completion was committed in attempt {n}: {sorted(again)}")
        for name, count in counts.items():
            hits = [
                max(one.killed, name in victims.UNSTORED or one.code not in (0, KILLED))
                for one in ending.attempts[:-1]
                if name not in one.committed
            ]
            allowed = 1 + sum(hits) + name.startswith("flaky") + (ending.attempts[-1].killed if ending.attempts else 0)
            if count > allowed:
                wrong.append(f"{name} ran {count} times, {allowed} are explained")
        return wrong

    def _left_behind(self) -> list[str]:
        connection = sqlite3.connect(self.database)
        try:
            counts = {table: connection.execute(f"select count(*) from {table}").fetchone()[0] for table in ("slot", "cache_claim")}
            (sound,) = connection.execute("pragma integrity_check").fetchone()
        finally:
            connection.close()
        wrong = [f"{n} rows are left in {table}" for table, n in counts.items() if n]
        return wrong if sound == "ok" else [*wrong, f"the database is damaged: {sound}"]


class _Opened:
    """The store of a database file, for a moment."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> SqlStore:
        self._store = open_sql_store(f"sqlite:///{self._path}")
        return self._store

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._store.close()


def _left_open(runs: Iterable[FlowRun], tasks: Iterable[TaskRun]) -> list[str]:
    wrong = [f"{one.name} was left {one.state.name} under an ended run" for one in [*runs, *tasks] if one.state.type not in FINAL]
    return wrong + [f"{one.name} still has a lease" for one in runs if one.lease_expires_at is not None]


def some_of(times: int, chance: random.Random, most: int = 4) -> list[int]:
    """Which of so many times to crash at: the first, the last, and some between."""
    between = list(range(2, times))
    return sorted({1, times, *chance.sample(between, min(len(between), most - 2))})
