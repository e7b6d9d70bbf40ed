"""Transitions inside one transaction: load the facts, let the rules decide, write what they decided.

Within a batch each decision is projected onto the facts for the next one, so several reports on one run become one row write and their
journal rows. The writes need no reading back: SQL sees each run once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from legato.core.clock import from_us, to_us
from legato.core.ownership import begun, ended
from legato.core.queues import LEASE_S
from legato.core.records import CacheAsk, FlowRun, Result, RunKind, Transition, Verdict, VerdictKind
from legato.core.rules import Facts, decide, is_plain
from legato.core.states import CANCELLED, CRASHED, FINAL, RUNNING, SCHEDULED, TYPE_OF, State, StateType
from legato.store import columns, rows
from legato.store.database import Row, Session
from legato.store.reuse import Reuse, ask_of
from legato.store.rows import text_of
from legato.store.working import Working, created, finite, key_of, new_row, row_of_changes, working_flow, working_task
from legato.system import new_id

_FLOW, _TASK = RunKind.FLOW, RunKind.TASK
_ACCEPTED, _INSTEAD = VerdictKind.ACCEPTED, VerdictKind.INSTEAD
_CHANGING: Mapping[RunKind, Mapping[str, str]] = {
    _FLOW: {"id": "text", **{name: rows.FLOW_RUN[name] for name in rows.CHANGING[_FLOW]}},
    _TASK: {"id": "text", **{name: rows.TASK_RUN[name] for name in rows.CHANGING[_TASK]}},
}


_PLAIN_NAMES = {type_: type_.value.capitalize() for type_ in StateType}


class Batch:
    """The work of one transaction on runs. Use: `decide` each transition, then `write` once."""

    def __init__(self, session: Session, statements: Mapping[str, str], now: datetime) -> None:
        self._session = session
        self._sql = statements
        self._now = now
        self._runs: dict[str, Working] = {}
        self._reuse = Reuse(session, statements, now)
        self._numbers: dict[RunKind, Iterator[int]] = {}
        self._journal: list[Row] = []
        self._freed: list[str] = []
        self._renamed: list[Working] = []
        self._swept: list[tuple[str, State]] = []
        self._outlived: list[str] = []

    def load(self, transitions: Sequence[Transition], *, trusting: bool = False) -> None:
        """Read what the rules need to know of these transitions' runs.

        `trusting`: task runs that are said to be new are not looked for. If one is there after all, `write` raises `Conflict`.
        """
        self._take_numbers(_FLOW, "flow_run", sum(t.flow_run is not None for t in transitions))
        self._take_numbers(_TASK, "task_run", sum(t.task_run is not None for t in transitions))
        flow_ids = {t.run_id for t in transitions if t.kind is _FLOW}
        new_ids = {t.run_id for t in transitions if t.task_run is not None} if trusting else set()
        task_ids = {t.run_id for t in transitions if t.kind is _TASK} - new_ids
        parents = {t.task_run.flow_run_id for t in transitions if t.task_run is not None}
        parents.update(
            t.flow_run.parent_run_id for t in transitions if t.parent_epoch is not None and t.flow_run and t.flow_run.parent_run_id
        )
        if self._session.row_locks:  # flow runs are locked first, by id, and the tasks read in a statement that begins after that
            owners = self._session.rows(self._sql["flow_runs_of_tasks"], ids=sorted(task_ids)) if task_ids else []
            parents.update(row[0] for row in owners)
            if wanted := flow_ids | parents:
                self._load_flow_runs(wanted)
        task_rows = self._session.rows(self._sql["task_run_facts"], ids=sorted(task_ids)) if task_ids else []
        parents.update(row[6] for row in task_rows)
        if wanted := (flow_ids | parents) - self._runs.keys():
            self._load_flow_runs(wanted)
        for row in task_rows:
            self._runs[row[0]] = working_task(row)
        asks = [self._ask_of(t, self._runs.get(t.run_id)) for t in transitions if t.kind is _TASK and t.state.type is RUNNING]
        self._reuse.load([ask for ask in asks if ask is not None])

    def _take_numbers(self, kind: RunKind, table: str, count: int) -> None:
        if count:
            self._numbers[kind] = self._session.numbers(table, count)

    def _load_flow_runs(self, ids: Iterable[str]) -> None:
        for row in self._session.rows(self._sql["flow_run_facts"], ids=sorted(ids)):
            self._runs[row[0]] = working_flow(row)

    def decide(self, t: Transition, *, hands_over: bool = False) -> Verdict:
        """The verdict on one transition; an accepted or replaced one is projected onto the facts. `hands_over`: `lease` follows."""
        run, record, parent = self._runs.get(t.run_id), t.task_run, None
        if record is not None:
            parent = self._runs.get(record.flow_run_id)
        elif run is not None and t.kind is _TASK:
            parent = self._runs.get(run.flow_run_id)
        around = self._runs.get(t.flow_run.parent_run_id or "") if t.parent_epoch is not None and t.flow_run is not None else None
        if parent is not None and is_plain(t, run, parent) and (t.state.type is not RUNNING or self._ask_of(t, run) is None):
            self._project(t, t.state, t.result, run)
            return Verdict(_ACCEPTED, t.seq, t.attempt)
        facts, ask = Facts(t, self._now, run, parent, around, hands_over=hands_over), None
        if run is not None and t.seq <= run.seq:
            facts.recorded = self._recorded(run, t.seq)
            facts.latest = from_us(run.state_at)
            facts.cached = msgspec.json.decode(run.result, type=Result) if run.result else None
        else:
            ask = self._ask_of(t, run)
            if ask is not None:
                facts.entry, facts.holder = self._reuse.facts(ask, t.run_id)
        verdict = decide(facts)
        if verdict.kind is _ACCEPTED:
            if verdict.seq != t.seq:
                t = msgspec.structs.replace(t, seq=verdict.seq)
            self._project(t, self._started(t, ask, run) if ask is not None else t.state, t.result, run)
        elif verdict.kind is VerdictKind.WAIT and ask is not None:
            self._reuse.waits(ask)
        elif verdict.kind is _INSTEAD and verdict.state is not None and not verdict.seq:
            self._project(t, verdict.state, verdict.result, run)
            verdict = msgspec.structs.replace(verdict, seq=t.seq, attempt=t.attempt)
        return verdict

    def _ask_of(self, t: Transition, run: Working | None) -> CacheAsk | None:
        if t.happened:  # it ran: there is nothing to ask any more
            return None
        record = t.task_run if t.task_run is not None else run
        return ask_of(t, record.cache_key, record.cache_expires_s) if record is not None else t.cache

    def _started(self, t: Transition, ask: CacheAsk, run: Working | None) -> State:
        """The state in which a cacheable task starts: it says why nothing stored was taken."""
        flow_run_id, name = (
            (t.task_run.flow_run_id, t.task_run.name) if t.task_run is not None else (run.flow_run_id, run.name) if run else ("", "")
        )
        why = self._reuse.started(ask, t.run_id, flow_run_id, name, to_us(self._now))
        return msgspec.structs.replace(t.state, message=why) if why and not t.state.message else t.state

    def _recorded(self, run: Working, seq: int) -> State | None:
        if seq == run.seq:
            return State(run.state_type, run.state_name, from_us(run.state_at), run.state_message)
        for key, written, _, type_, name, at, message, _ in reversed(self._journal):  # by this very batch
            if key == key_of(run) and written == seq:
                return State(StateType(type_), rows.state_name(type_, name), from_us(at), message)
        row = self._session.row(self._sql["recorded_state"], run=key_of(run), seq=seq)
        return None if row is None else State(StateType(row[0]), rows.state_name(row[0], row[1]), from_us(row[2]), row[3])

    def _project(self, t: Transition, state: State, result: Result | None, run: Working | None) -> None:
        if run is None:
            run = self._runs[t.run_id] = self._begin(t)
        came_from = run.state_type
        at = to_us(state.at)
        type_ = state.type
        message = rows.storable(state.message)
        name = state.name if state.name in TYPE_OF else columns.name(state.name)
        run.state_type, run.state_name, run.state_at, run.state_message = type_, name, at, message
        run.seq, run.attempt, run.changed = t.seq, t.attempt, True
        due_at = to_us(state.due_at or state.at) if type_ is SCHEDULED else None
        if t.cache is not None:
            run.cache_key, run.cache_expires_s = columns.token(t.cache.key), finite(t.cache.expires_s)
        if type_ is RUNNING:
            run.started_at = run.started_at or at
            run.unstarted = 0
        elif type_ in FINAL:
            run.ended_at = at
            run.result = text_of(result) if result is not None else None
            run.error = text_of(t.error) if t.error is not None else None
            if run.cache_key is not None and run.kind is _TASK and state.name != "Cached":
                is_reusable = state.name == "Completed" and not (result is not None and result.changed)
                made = run.result if is_reusable else None
                self._reuse.ended(run.id, run.name, run.cache_key, expires_s=run.cache_expires_s, result=made, at=at)
        elif type_ is SCHEDULED:
            run.due_at, run.ended_at, run.result, run.error = due_at, None, None, None
            if came_from in FINAL:  # what it takes is counted from the start of the attempt that comes
                run.started_at = None
        if t.kind is _FLOW:
            self._after_flow_run(t, run, state, came_from)
        known = "" if name == _PLAIN_NAMES[type_] else name
        # `value` is a property written in Python, and costs as much as the row
        self._journal.append((run.n if run.kind is _TASK else -run.n, t.seq, t.attempt, type_._value_, known, at, message, due_at))

    def _begin(self, t: Transition) -> Working:
        """The working form of a run whose first transition was accepted, with its number."""
        run = created(t)
        run.n = next(self._numbers[t.kind])
        if t.task_run is not None:
            run.flow_run = self._runs[t.task_run.flow_run_id].n
        elif run.epoch and t.flow_run is not None and t.flow_run.lease_expires_at is not None:
            run.lease_expires_at = to_us(self._now + timedelta(seconds=LEASE_S))  # its maker's clock judges no lease, this one does
        return run

    def _after_flow_run(self, t: Transition, run: Working, state: State, came_from: StateType) -> None:
        """What a flow run's transition brings with it: a name of its own, leases and slots let go, what ran inside swept up."""
        if t.name is not None and run.record is None:
            run.name = columns.name(t.name)
            self._renamed.append(run)
        if state.type in FINAL or t.release or (state.type is SCHEDULED and t.fence is None):
            if run.lease_expires_at is not None or run.work_queue is not None:
                self._freed.append(run.id)
            run.lease_expires_at = None
            self._outlived.append(run.id)
            if t.release or t.fence is None:  # a holder's own end raises nothing: it may still tell of its tasks
                run.epoch = ended(run.epoch)
        if state.type in (CRASHED, CANCELLED):
            self._swept.append((run.id, state))
            if state.type is CRASHED and came_from is not SCHEDULED:
                run.lost += 1

    def lease(self, run_id: str, *, queue: str | None, agent_id: str | None, until: datetime) -> None:
        """Hand a run that was just moved to PENDING to its holder, whose token is the run's new epoch."""
        run = self._runs[run_id]
        run.epoch = begun(run.epoch)
        run.work_queue, run.agent_id = queue, agent_id and columns.ident(agent_id)
        run.lease_expires_at = to_us(until)

    def facts_of(self, run_id: str) -> Working | None:
        """What is known of a run that `load` has read."""
        return self._runs.get(run_id)

    def write(self) -> None:
        """Write everything decided. Lock order: run rows were locked by `load` in id order; the journal's lock comes last."""
        self._sweep_what_was_told_late()
        while self._swept:
            self._sweep(*self._swept.pop())
        new = {_FLOW: [], _TASK: []}  # type: dict[RunKind, list[Row]]
        old = {_FLOW: [], _TASK: []}  # type: dict[RunKind, list[Row]]
        for run in self._runs.values():
            if run.changed:
                if run.record is not None:
                    new[run.kind].append(new_row(run))
                else:
                    old[run.kind].append(row_of_changes(run.kind)(run))
        session = self._session
        if new[_FLOW]:
            session.insert("flow_run", *in_workspace(session, rows.NUMBERED_FLOW_RUN, new[_FLOW]))
            self._register([run.record for run in self._runs.values() if isinstance(run.record, FlowRun)])
        if new[_TASK]:
            session.insert("task_run", rows.NUMBERED_TASK_RUN, new[_TASK])
        if old[_FLOW]:
            session.update("flow_run", _CHANGING[_FLOW], old[_FLOW])
        if old[_TASK]:
            session.update("task_run", _CHANGING[_TASK], old[_TASK])
        for id_ in sorted(self._outlived):
            session.run(self._sql["outlive"], flow_run_id=id_, until=to_us(self._now + timedelta(seconds=LEASE_S)))
        for run in self._renamed:
            session.run(self._sql["rename_flow_run"], id=run.id, name=run.name)
        if self._freed:
            session.run(self._sql["free_slots"], ids=self._freed)
        self._reuse.write()
        self._write_journal()

    def _write_journal(self) -> None:
        if self._journal:
            self._session.append_to_journal(*in_workspace(self._session, rows.JOURNAL, self._journal))

    def _register(self, runs: Sequence[FlowRun]) -> None:
        """Make known the flows and tags of new runs."""
        created_at = {run.flow_name: run.created_at for run in runs}
        for name, at in sorted(created_at.items()):
            self._session.run(self._sql["add_flow"], id=new_id(), name=columns.name(name), now=to_us(at))
        tag_runs(self._session, self._sql, [(tag, run.id) for run in runs for tag in dict.fromkeys(run.tags)])

    def _sweep_what_was_told_late(self) -> None:
        """Tasks that a given-up flow run's holder tells of only now, and not to their end: nothing runs under a crashed flow run."""
        for run in list(self._runs.values()):
            if run.changed and run.kind is _TASK and run.state_type not in FINAL:
                parent = self._runs.get(run.flow_run_id)
                if parent is not None and parent.state_type is CRASHED:
                    crashed = State(CRASHED, "Crashed", self._now, f"its flow run was given up: {parent.state_message}")
                    self._project(Transition(_TASK, run.id, run.seq + 1, crashed, run.attempt), crashed, None, run)

    def _sweep(self, flow_run_id: str, state: State) -> None:
        """End what ran inside a flow run that has crashed or was cancelled: its open task runs, and flow runs in the same process."""
        found = [row[0] for row in self._session.rows(self._sql["unfinished_tasks"], flow_run_id=flow_run_id)]
        if missing := [id_ for id_ in found if id_ not in self._runs]:
            for row in self._session.rows(self._sql["task_run_facts"], ids=sorted(missing)):
                self._runs[row[0]] = working_task(row)
        children = [row[0] for row in self._session.rows(self._sql["unfinished_children"], flow_run_id=flow_run_id)]
        if missing := [id_ for id_ in children if id_ not in self._runs]:
            self._load_flow_runs(missing)
        inside = [run for run in self._runs.values() if run.flow_run_id == flow_run_id and run.kind is _TASK]
        inside += [run for run in self._runs.values() if run.id in children or _began_inside(run, flow_run_id)]
        for run in inside:
            if run.state_type not in FINAL:
                ended = State(state.type, state.name, state.at, f"its flow run was {state.name.lower()}: {state.message}")
                self._project(Transition(run.kind, run.id, run.seq + 1, ended, run.attempt), ended, None, run)


def in_workspace(session: Session, columns: Mapping[str, str], values: list[Row]) -> tuple[Mapping[str, str], list[Row]]:
    """Columns and rows of a table that carries the workspace; the first is the database's own default, and costs nothing."""
    if session.workspace == 1:
        return columns, values
    return {**columns, "workspace": "bigint"}, [(*row, session.workspace) for row in values]


def tag_runs(session: Session, sql: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> None:
    """Put tags on flow runs that have none yet, given as (tag, run id). Tags are taken in one order, whoever writes."""
    runs_of: dict[str, list[str]] = {}
    for tag, run_id in pairs:
        runs_of.setdefault(columns.name(tag), []).append(run_id)
    for tag, run_ids in sorted(runs_of.items()):
        session.run(sql["add_tag"], name=tag)
        for run_id in run_ids:
            session.run(sql["tag_run"], name=tag, run_id=run_id)


def _began_inside(run: Working, flow_run_id: str) -> bool:
    """Whether this run began, in this very batch, in the process of that one."""
    record = run.record
    return isinstance(record, FlowRun) and record.parent_run_id == flow_run_id and record.deployment_id is None
