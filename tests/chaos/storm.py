"""A house in a storm: a server, two agents behind proxies that fail, flows that run all the time, and whatever can go wrong with them."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from legato.core.errors import LegatoError
from legato.core.planning import run_of
from legato.core.queues import LEASE_S
from legato.core.records import FlowRunFilter, QueueFilter, WorkQueue
from legato.core.states import FINAL, StateType
from legato.sdk import deployments
from legato.storage.local import LocalStorage
from legato.storage.remote import ServerStorage
from legato.store.open import open_sql_store
from legato.store.remote import RemoteStore
from legato.system import SystemClock, new_id

from tests.chaos import stormy_flows
from tests.chaos.faulty import ANSWERS, FaultProxy
from tests.chaos.history import Cut, History, Line, ledger_of
from tests.server.process import ServerProcess
from tests.support.surroundings import without_legato_settings
from tests.support.waiting import until

T = TypeVar("T")
NARROW = 3
"""The limit of the queue that has one."""

DISK_MB = 48
ROUTES = (".", "POST .*/transitions", "POST .*/heartbeats", "POST .*/claims", "GET .*/bundles")


class Agent:
    """An agent with a home and a proxy of its own, that is started again when it was killed."""

    def __init__(self, number: int, disk: Path, said: Path, server: ServerProcess) -> None:
        self.number = number
        self.home = disk / f"agent{number}"
        self.proxy = FaultProxy(server.port)
        self._said = said / f"agent{number}.log"
        self._ledger = said / "ledger"
        self.process: subprocess.Popen[bytes] | None = None
        self.busy = threading.Lock()

    def start(self) -> None:
        environ = {
            **without_legato_settings(os.environ),
            "LEGATO_HOME": str(self.home),
            "LEGATO_API_URL": self.proxy.url,
            "STORM_LEDGER": str(self._ledger),
            "STORM_AGENT": str(self.number),
            "NO_COLOR": "1",
        }
        with self._said.open("ab") as log:
            command = [sys.executable, "-m", "legato.cli", "agent", "start", "narrow", "broad", "--limit", "5"]
            self.process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def parents(self) -> list[int]:
        """Its warm parents."""
        assert self.process is not None
        found = []
        for pid in _children_of(self.process.pid):
            with contextlib.suppress(OSError):
                if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found


class House:
    """Everything, on a small disk of its own where the machine allows one."""

    def __init__(self, place: Path, chance: random.Random) -> None:
        self.place = place
        self.chance = chance
        self.disk = place / "disk"
        self.kept = place / "kept"
        """A copy of a small disk, which is gone in the end."""
        self.ledger = place / "ledger"
        self.ledger.touch()
        self.is_small = _mount(self.disk)
        self.server = ServerProcess(self.disk / "server", log=place / "server.log")
        self.faults: Counter[str] = Counter()
        self.cuts: list[Cut] = []
        self.made: list[str] = []
        self.cancelled: dict[str, datetime] = {}
        self.ended_by_themselves: list[str] = []
        self.looked_at = SystemClock().now()
        """When it was last asked whether all is over: what is due later, nobody has to have run."""
        self._server_busy = threading.Lock()
        self._stopped: set[int] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """The server, what is deployed, both agents."""
        self.server.start()
        self.port = self.server.port
        self.store = RemoteStore(self.server.url)
        clock = SystemClock()
        for name, limit in (("narrow", NARROW), ("broad", None)):
            queue = WorkQueue(id=new_id(), name=name, created_at=clock.now(), filter=QueueFilter(tags=(name,)), concurrency_limit=limit)
            self.store.save_queue(queue)
        source = self.place / "source"
        source.mkdir()
        shutil.copy(stormy_flows.__file__, source / "stormy_flows.py")
        declared = deployments.deployments_in(source / "stormy_flows.py")
        storage = ServerStorage(self.server.url, LocalStorage(self.place / "storage"))
        self.deployments = deployments.create(declared, self.store, storage, root=source, clock=clock)
        self.agents = [Agent(number, self.disk, self.place, self.server) for number in range(2)]
        for agent in self.agents:
            agent.start()
        until(lambda: len(self.store.list_agents()) == 2, what="both agents")

    # -- what people do meanwhile

    def surely(self, ask: Callable[[], T], *, within_s: float = 120.0) -> T:
        """What the server answers, however often it has to be asked."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                return ask()
            except LegatoError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def make_run(self) -> None:
        """A run by hand; some are cancelled soon after."""
        deployment = self.chance.choice([one for one in self.deployments if not one.schedules])
        now = SystemClock().now()
        run = run_of(deployment, id=new_id(), due_at=now, now=now, trigger="by hand", parameters={"n": self.chance.randint(2, 6)})
        self.surely(lambda: self.store.create_flow_run(run))
        self.made.append(run.id)
        if self.chance.random() < 0.05:
            time.sleep(self.chance.random() * 3)
            try:
                self.surely(lambda: self.store.request_cancel(run.id))
            except LegatoError:
                return  # it has ended
            self.cancelled[run.id] = SystemClock().now()

    # -- what goes wrong

    def working(self) -> list[Line]:
        """Bodies that have begun and not ended, of processes that are there."""
        open_: dict[tuple[str, int, str], Line] = {}
        for line in ledger_of(self.ledger.read_text()):
            key = (line.run_id, line.attempt, line.body)
            if line.word == "start":
                open_[key] = line
            else:
                open_.pop(key, None)
        return [line for line in open_.values() if self._is_ours(line.pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            return str(self.ledger).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False

    @contextmanager
    def cut_off(self, *, agent: int | None = None, pid: int | None = None) -> Iterator[None]:
        """Note that somebody can neither hear nor be heard: a process, an agent with its runs, or everybody."""
        begun = time.time()
        try:
            yield
        finally:
            with self._lock:
                self.cuts.append(Cut(begun, time.time(), agent, pid))

    def _stop_for(self, pid: int, seconds: float) -> None:
        with self._lock:
            self._stopped.add(pid)
        _signal(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self.go_on(pid)

    def go_on(self, pid: int) -> None:
        with self._lock:
            if pid in self._stopped:
                self._stopped.discard(pid)
                _signal(pid, signal.SIGCONT)

    def a_run_is_killed(self) -> bool:
        if not (working := self.working()):
            return False
        _signal(self.chance.choice(working).pid, signal.SIGKILL)
        return True

    def a_run_is_stopped(self) -> bool:
        if not (working := self.working()):
            return False
        pid = self.chance.choice(working).pid
        with self.cut_off(pid=pid):
            self._stop_for(pid, self.chance.choice([2, 8, LEASE_S + 8]))
        return True

    def an_agent_is_killed(self) -> bool:
        agent = self.chance.choice(self.agents)
        with agent.busy:
            assert agent.process is not None
            if agent.process.poll() is not None:
                self.ended_by_themselves.append(f"agent {agent.number} ended by itself, exit code {agent.process.returncode}")
            agent.send(signal.SIGKILL)
            agent.process.wait()
            time.sleep(self.chance.choice([0, 1, 6]))
            agent.start()
        return True

    def an_agent_is_stopped(self) -> bool:
        agent = self.chance.choice(self.agents)
        assert agent.process is not None
        self._stop_for(agent.process.pid, self.chance.choice([3, 10, LEASE_S + 10]))
        return True

    def a_warm_parent_is_killed(self) -> bool:
        parents = self.chance.choice(self.agents).parents()
        for pid in parents:
            _signal(pid, signal.SIGKILL)
        return bool(parents)

    def the_server_is_killed(self) -> bool:
        if not self._server_busy.acquire(blocking=False):
            return False
        try:
            process = self.server.process
            assert process is not None
            with self.cut_off():
                process.kill()
                process.wait()
                self.server.signal_streams_closed()
                time.sleep(self.chance.choice([0, 2, 8]))
                self._start_server()
        finally:
            self._server_busy.release()
        return True

    def _start_server(self) -> None:
        while True:
            try:
                self.server.start(self.port)
            except RuntimeError:  # the disk is full just now
                time.sleep(0.5)
            else:
                return

    def the_server_is_stopped(self) -> bool:
        if not self._server_busy.acquire(blocking=False):
            return False
        try:
            process = self.server.process
            assert process is not None
            with self.cut_off():
                self._stop_for(process.pid, self.chance.choice([1, 4, 12]))
        finally:
            self._server_busy.release()
        return True

    def answers_are_wrong(self) -> bool:
        agent, answer = self.chance.choice(self.agents), self.chance.choice(ANSWERS)
        return self._proxied(agent, self.chance.choice(ROUTES), answer, self.chance.choice([2, 6, 14]))

    def an_agent_is_cut_off(self) -> bool:
        agent, answer = self.chance.choice(self.agents), self.chance.choice(["reset", "silence"])
        return self._proxied(agent, ".", answer, self.chance.choice([5, 15, LEASE_S + 12]))

    def _proxied(self, agent: Agent, route: str, answer: str, seconds: float) -> bool:
        hits = agent.proxy.hits
        with self.cut_off(agent=agent.number):
            agent.proxy.fault(route, answer, seconds)
            time.sleep(seconds)
        return agent.proxy.hits > hits

    def the_disk_is_full(self) -> bool:
        if not self.is_small:
            return False
        ballast = self.disk / "ballast"
        with self.cut_off():  # nobody's signs of life can be written down
            with contextlib.suppress(OSError), ballast.open("wb") as file:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            time.sleep(self.chance.choice([2, 5, 9]))
            ballast.unlink(missing_ok=True)
        return True

    def kinds(self) -> list[Callable[[], bool]]:
        """All that may go wrong, the usual more often."""
        return [
            *([self.a_run_is_killed] * 4),
            *([self.a_run_is_stopped] * 2),
            self.an_agent_is_killed,
            self.an_agent_is_stopped,
            self.a_warm_parent_is_killed,
            self.the_server_is_killed,
            self.the_server_is_stopped,
            *([self.answers_are_wrong] * 4),
            self.an_agent_is_cut_off,
            *([self.the_disk_is_full] * (1 if self.is_small else 0)),
        ]

    def something_goes_wrong(self, kind: Callable[[], bool]) -> None:
        if kind():
            with self._lock:
                self.faults[kind.__name__.replace("_", " ")] += 1

    # -- the end

    def all_is_over(self) -> bool:
        """Whether no run that is due waits, or goes on."""
        open_ = FlowRunFilter(states=tuple(type_ for type_ in StateType if type_ not in FINAL))
        oldest = self.surely(lambda: self.store.list_flow_runs(open_, limit=500, oldest_first=True)).items
        self.looked_at = SystemClock().now()
        return not any(run.expected_start_at <= self.looked_at for run in oldest)

    def close(self) -> None:
        for pid in list(self._stopped):
            self.go_on(pid)
        for agent in getattr(self, "agents", []):
            if agent.process.poll() is not None:
                self.ended_by_themselves.append(f"agent {agent.number} ended by itself, exit code {agent.process.returncode}")
            agent.send(signal.SIGTERM)
        for agent in getattr(self, "agents", []):
            try:
                agent.process.wait(20)
            except subprocess.TimeoutExpired:
                agent.process.kill()
                agent.process.wait()
            agent.proxy.shutdown()
            agent.proxy.server_close()
        self.server.stop()
        for line in ledger_of(self.ledger.read_text()):
            if self._is_ours(line.pid):
                _signal(line.pid, signal.SIGKILL)

    def history(self) -> History:
        """What there is to judge, read from the database itself once everybody has gone."""
        database = (self.kept if self.is_small else self.disk) / "server" / "legato.db"
        store = open_sql_store(f"sqlite:///{database}")
        try:
            journal = store.read_journal(0, limit=1_000_000)
            runs = []
            page = store.list_flow_runs(limit=1000, oldest_first=True)
            runs += page.items
            while page.cursor:
                page = store.list_flow_runs(cursor=page.cursor, limit=1000, oldest_first=True)
                runs += page.items
            tasks = [task for run in runs for task in store.list_task_runs(run.id, limit=10_000).items]
        finally:
            store.close()
        with contextlib.closing(sqlite3.connect(database)) as rows:
            ticks = [(schedule, at) for schedule, at in rows.execute("select schedule_id, at from tick")]
            slots = [holder for (holder,) in rows.execute("select holder from slot")]
        schedule = next(one for deployment in self.deployments for one in deployment.schedules)
        return History(
            journal,
            runs,
            tasks,
            ledger_of(self.ledger.read_text()),
            ticks,
            slots,
            limits={"narrow": NARROW},
            every_s={schedule.id: 4},
            made=self.made,
            cuts=self.cuts,
            cancelled=self.cancelled,
            ended_at=self.looked_at,
        )


@contextmanager
def house_in_a_storm(place: Path, chance: random.Random) -> Iterator[House]:
    made = House(place, chance)
    try:
        made.start()
        yield made
    finally:
        made.close()
        if made.is_small:
            shutil.copytree(made.disk, made.kept)
            subprocess.run(["umount", "--lazy", str(made.disk)], check=False)


def _mount(folder: Path) -> bool:
    """A small disk in memory, where this user may make one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _children_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return []


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
