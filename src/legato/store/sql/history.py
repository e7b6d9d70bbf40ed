"""What runs leave behind for people to look at: task runs, the journal, log lines, artifacts; and variables, which people leave for runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from legato.core.clock import to_us
from legato.core.errors import Conflict, NotFound
from legato.core.ids import is_id
from legato.core.names import typed
from legato.core.records import (
    Artifact,
    ArtifactFilter,
    ArtifactPage,
    Change,
    ChangeKind,
    JournalEntry,
    LogLine,
    TaskRun,
    TaskRunPage,
    Variable,
)
from legato.core.states import StateType
from legato.store import rows
from legato.store.database import Session
from legato.store.sql.subject import SqlSubject, changes, note, number, statements


class SqlHistory(SqlSubject):
    """Task runs, journal, logs."""

    def get_task_run(self, run_id: str) -> TaskRun:
        with self._reading() as session:
            row = session.row(self._sql["task_run_by_id"], id=run_id)
        if row is None:
            raise NotFound("task run", run_id)
        return rows.task_run_of(row)

    def list_task_runs(self, flow_run_id: str, *, cursor: str | None = None, limit: int = 1000) -> TaskRunPage:
        after = number(cursor)
        with self._reading() as session:
            found = session.rows(self._sql["task_runs_after"], flow_run_id=flow_run_id, after=after, limit=limit + 1)
        items = [rows.task_run_of(row[1:]) for row in found[:limit]]
        return TaskRunPage(items, str(found[limit - 1][0]) if len(found) > limit else None)

    def count_task_runs(self, flow_run_ids: Sequence[str]) -> dict[str, dict[StateType, int]]:
        counts: dict[str, dict[StateType, int]] = {}
        with self._reading() as session:
            for run_id, state, n in session.rows(self._sql["count_task_runs"], ids=list(flow_run_ids)):
                counts.setdefault(run_id, {})[StateType(state)] = n
        return counts

    def list_transitions(self, run_id: str) -> list[JournalEntry]:
        with self._reading() as session:
            return [rows.journal_entry_of(row) for row in session.rows(self._sql["transitions_of"], run_id=run_id)]

    def read_journal(self, after: int = 0, *, limit: int = 1000) -> list[JournalEntry]:
        with self._reading() as session:
            return [rows.journal_entry_of(row) for row in session.rows(self._sql["journal_after"], after=after, limit=limit)]

    def read_changes(self, after: int = 0, *, limit: int = 1000) -> list[Change]:
        with self._reading() as session:
            return [rows.change_of(row) for row in session.rows(self._sql["changes_after"], after=after, limit=limit)]

    def journal_position(self) -> int:
        with self._reading() as session:
            row = session.row(self._sql["journal_position"])
        return int(row[0]) if row else 0

    def read_logs(
        self,
        flow_run_id: str,
        *,
        task_run_id: str | None = None,
        min_level: int = 0,
        text: str = "",
        after: int = 0,
        limit: int = 500,
    ) -> list[LogLine]:
        from legato.store import lists  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

        where = lists.Where()
        where.add("flow_run_id = :flow_run_id and n > :after and level >= :level", flow_run_id=flow_run_id, after=after, level=min_level)
        if task_run_id is not None:
            where.add("task_run_id = :task_run_id", task_run_id=task_run_id)
        if text:
            where.add("lower(message) like :text escape '\\'", text=lists.containing(text))
        sql = f"select n, {', '.join(rows.LOG)} from log where {where.text} order by n limit :limit"  # noqa: S608 built from names of ours
        with self._reading() as session:
            return [rows.log_line_of(row) for row in session.rows(sql, **where.parameters, limit=limit)]

    def count_logs(self, flow_run_ids: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        with self._reading() as session:
            found = session.rows(self._sql["count_logs"], ids=list(flow_run_ids))
        return {run_id: (int(total), int(warnings), int(errors)) for run_id, total, warnings, errors in found}


_ALL_ARTIFACTS = ArtifactFilter()


class SqlMade(SqlSubject):
    """Artifacts and variables."""

    def get_artifact(self, wanted: str, *, version: int = 0) -> Artifact:
        with self._reading() as session:
            if is_id(wanted):
                row = session.row(self._sql["artifact_by_id"], id=wanted)
            else:
                row = session.row(self._sql["artifact_of_key"], key=rows.storable(wanted), version=version)
        if row is None:
            named = f"{wanted} version {version}" if version else wanted
            raise NotFound("artifact", named, hint="legato artifact ls lists them")
        return rows.artifact_of(row)

    def list_artifacts(
        self,
        filter: ArtifactFilter = _ALL_ARTIFACTS,
        *,
        cursor: str | None = None,
        limit: int = 100,
        oldest_first: bool = False,
        brief: bool = False,
    ) -> ArtifactPage:
        from legato.core.artifacts import BRIEF_DATA  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

        longest = BRIEF_DATA if brief else None
        from legato.store import lists  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

        sql, parameters = lists.select_artifacts(filter, after=number(cursor), oldest_first=oldest_first, longest=longest)
        with self._reading() as session:
            found = session.rows(sql, **parameters, limit=limit + 1)
        return ArtifactPage([rows.artifact_of(row) for row in found[:limit]], str(found[limit - 1][0]) if len(found) > limit else None)

    def get_variable(self, name: str) -> Variable:
        with self._reading() as session:
            return _variable(session, name)

    @changes
    def set_variable(self, session: Session, variable: Variable, *, overwrite: bool = True, now: datetime | None = None) -> Variable:
        now = self._now(now)
        from legato.core.artifacts import check_variable_name  # noqa: PLC0415 start-up time: whoever only runs a flow lists nothing

        check_variable_name(variable.name)
        value = {"value": rows.text_of(variable.value), "tags": rows.text_of(variable.tags)}
        statement = self._sql["save_variable" if overwrite else "add_variable"]
        if not session.run(statement, name=variable.name, now=to_us(now), **value):
            raise Conflict(f"there is a variable '{variable.name}' already", hint="say overwrite=True (--overwrite) to replace its value")
        note(session, ChangeKind.VARIABLE, variable.name, "set", now)
        return _variable(session, variable.name)

    def list_variables(self) -> list[Variable]:
        with self._reading() as session:
            return [rows.variable_of(row) for row in session.rows(self._sql["list_variables"])]

    @changes
    def delete_variable(self, session: Session, name: str) -> None:
        _variable(session, name)
        session.run(self._sql["delete_variable"], name=name)
        note(session, ChangeKind.VARIABLE, name, "deleted", self._now(None))


def _variable(session: Session, name: str) -> Variable:
    row = session.row(statements()["variable_by_name"], name=rows.storable(name))
    if row is None:
        raise NotFound("variable", name, hint=f"legato variable ls lists them; make it: legato variable set {typed(name)} VALUE")
    return rows.variable_of(row)
